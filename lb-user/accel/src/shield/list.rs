//! The shield's list: what was said of which prefix, and who is denied by that.
//!
//! Pure. The kernel's trie is filled from it, and without the kernel it is asked itself when a connection is
//! accepted: both come to the same result.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::limits::SHIELD_PREFIXES;
use lb_common::shield::{FOREVER, NEVER, V4_BITS};

/// One thing said of one prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShieldSaid {
    pub address: IpAddr,
    /// 0 to 32 or 128.
    pub bits: u8,
    /// Allowed; else denied.
    pub allow: bool,
    /// Nanoseconds of the boot clock until which it holds; `None` is for ever.
    pub until: Option<u64>,
}

/// The list is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} prefixes, and the shield holds at most {SHIELD_PREFIXES}")]
pub struct TooManyPrefixes(pub usize);

/// A prefix of either family, and all that was said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShieldEntry {
    /// IPv4 in the mapped form; host bits are 0.
    pub(super) address: u128,
    /// Of the mapped form.
    pub(super) bits: u8,
    /// Nanoseconds of the boot clock.
    pub(super) allow_until: u64,
    pub(super) deny_until: u64,
    /// The next shorter prefix that this one is in; [`NONE`].
    parent: u32,
}

/// No entry.
const NONE: u32 = u32::MAX;

impl ShieldEntry {
    /// Whether packets may pass; `None` when all that was said has expired.
    pub fn allows(&self, now: u64) -> Option<bool> {
        if now < self.allow_until { Some(true) } else { (now < self.deny_until).then_some(false) }
    }

    /// Bits in front of the prefix proper.
    fn offset(&self) -> u8 {
        if is_v4(self.address) && self.bits >= V4_BITS { V4_BITS } else { 0 }
    }

    fn contains(&self, address: u128) -> bool {
        masked(address, self.bits) == self.address
    }
}

impl fmt::Display for ShieldEntry {
    /// As in a configuration: `192.0.2.0/24`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from(self.address);
        match self.offset() {
            0 => write!(f, "{address}/{}", self.bits),
            offset => {
                write!(
                    f,
                    "{}/{}",
                    address.to_ipv4_mapped().unwrap_or(Ipv4Addr::UNSPECIFIED),
                    self.bits - offset
                )
            }
        }
    }
}

/// All prefixes, sorted; each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShieldList {
    /// By address, shorter prefixes first: a prefix comes behind all that it is in.
    entries: Vec<ShieldEntry>,
}

impl ShieldList {
    /// Puts together what was said. Of one prefix allow and deny are both remembered, and each until the latest time
    /// that was given for it.
    ///
    /// # Errors
    /// When there are more than [`SHIELD_PREFIXES`].
    pub fn new(said: impl IntoIterator<Item = ShieldSaid>) -> Result<Self, TooManyPrefixes> {
        let mut entries: Vec<ShieldEntry> = said.into_iter().map(entry).collect();
        entries.sort_unstable_by_key(|entry| (entry.address, entry.bits));
        entries.dedup_by(|next, first| {
            let same = (next.address, next.bits) == (first.address, first.bits);
            if same {
                first.allow_until = first.allow_until.max(next.allow_until);
                first.deny_until = first.deny_until.max(next.deny_until);
            }
            same
        });
        if entries.len() > SHIELD_PREFIXES as usize {
            return Err(TooManyPrefixes(entries.len()));
        }
        // The prefixes that the one in hand may be in, each inside the one before.
        let mut around: Vec<u32> = Vec::new();
        for index in 0..entries.len() {
            let address = entries[index].address;
            while around.last().is_some_and(|&last| !entries[last as usize].contains(address)) {
                around.pop();
            }
            entries[index].parent = around.last().copied().unwrap_or(NONE);
            around.push(u32::try_from(index).unwrap_or(NONE));
        }
        Ok(Self { entries })
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// By address, shorter prefixes first.
    pub fn entries(&self) -> &[ShieldEntry] {
        &self.entries
    }

    /// The longest prefix around `address` of which something holds at `now` (nanoseconds of the boot clock): its place
    /// among [`entries`](Self::entries), and whether it allows.
    pub fn find(&self, address: IpAddr, now: u64) -> Option<(usize, bool)> {
        let address = mapped(address);
        // An IPv6 prefix may be around all mapped addresses, and still says nothing about IPv4.
        let shortest = if is_v4(address) { V4_BITS } else { 0 };
        let behind = self.entries.partition_point(|entry| entry.address <= address);
        let mut index = behind.checked_sub(1)?;
        loop {
            let entry = self.entries.get(index)?;
            if entry.bits < shortest {
                return None;
            }
            if entry.contains(address)
                && let Some(allowed) = entry.allows(now)
            {
                return Some((index, allowed));
            }
            index = entry.parent as usize;
        }
    }

    /// The next time after `now` at which something expires.
    pub fn next_expiry(&self, now: u64) -> Option<u64> {
        let times = self.entries.iter().flat_map(|entry| [entry.allow_until, entry.deny_until]);
        times.filter(|&until| until > now && until != FOREVER).min()
    }
}

fn entry(said: ShieldSaid) -> ShieldEntry {
    let bits = if said.address.is_ipv4() { said.bits.min(32) + V4_BITS } else { said.bits.min(128) };
    let until = said.until.unwrap_or(FOREVER);
    let (allow_until, deny_until) = if said.allow { (until, NEVER) } else { (NEVER, until) };
    ShieldEntry { address: masked(mapped(said.address), bits), bits, allow_until, deny_until, parent: NONE }
}

/// An address as the trie has it, as one number.
fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn is_v4(address: u128) -> bool {
    address >> 32 == 0xffff
}

/// The first `bits` bits.
fn masked(address: u128, bits: u8) -> u128 {
    address & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `deny 10.0.0.0/8`, `allow 10.1.0.0/16 @50`: one a line, with the time until which it holds.
    fn said(lines: &str) -> Vec<ShieldSaid> {
        let line = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (address, bits) = words[1].split_once('/').unwrap();
            ShieldSaid {
                address: address.parse().unwrap(),
                bits: bits.parse().unwrap(),
                allow: words[0] == "allow",
                until: words.get(2).map(|until| until.parse().unwrap()),
            }
        };
        lines.lines().map(str::trim).filter(|text| !text.is_empty()).map(line).collect()
    }

    /// Which prefix decides about an address at a time, and how.
    fn check(list: &ShieldList, address: &str, now: u64, expected: &str) {
        let found = list.find(address.parse().unwrap(), now);
        let found = found.map_or_else(
            || "none".to_owned(),
            |(index, allowed)| {
                format!("{} {}", if allowed { "allow" } else { "deny" }, list.entries()[index])
            },
        );
        assert_eq!(found, expected, "{address} at {now}");
    }

    #[test]
    fn the_longest_prefix_decides() {
        let list = ShieldList::new(said(
            "deny 10.0.0.0/8
             allow 10.1.0.0/16
             deny 10.1.2.3/32
             deny 2001:db8::/32
             allow 2001:db8:1::/48
             deny 192.0.2.0/24",
        ))
        .unwrap();
        for (address, expected) in [
            ("9.255.255.255", "none"),
            ("10.0.0.0", "deny 10.0.0.0/8"),
            ("10.1.2.2", "allow 10.1.0.0/16"),
            ("10.1.2.3", "deny 10.1.2.3/32"),
            ("10.1.2.4", "allow 10.1.0.0/16"),
            ("10.255.255.255", "deny 10.0.0.0/8"),
            ("11.0.0.0", "none"),
            ("192.0.2.255", "deny 192.0.2.0/24"),
            ("2001:db8::1", "deny 2001:db8::/32"),
            ("2001:db8:1::1", "allow 2001:db8:1::/48"),
            ("2001:db9::1", "none"),
        ] {
            check(&list, address, 7, expected);
        }
    }

    #[test]
    fn allow_beats_deny_and_the_later_time_the_earlier() {
        let list = ShieldList::new(said(
            "deny 10.0.0.0/8
             allow 10.0.0.0/8 20
             allow 10.0.0.0/8 10
             deny 10.1.0.0/16 15",
        ))
        .unwrap();
        assert_eq!(list.len(), 2);
        check(&list, "10.0.0.1", 19, "allow 10.0.0.0/8");
        check(&list, "10.0.0.1", 20, "deny 10.0.0.0/8");
        check(&list, "10.1.0.1", 14, "deny 10.1.0.0/16");
        // As if it were not there.
        check(&list, "10.1.0.1", 15, "allow 10.0.0.0/8");
        assert_eq!([0, 15, 20].map(|now| list.next_expiry(now)), [Some(15), Some(20), None]);
    }

    #[test]
    fn ipv6_prefixes_around_mapped_addresses_do_not_deny_ipv4() {
        let list = ShieldList::new(said("deny ::/0\nallow 127.0.0.0/8")).unwrap();
        check(&list, "192.0.2.1", 0, "none");
        check(&list, "127.0.0.1", 0, "allow 127.0.0.0/8");
        check(&list, "2001:db8::1", 0, "deny ::/0");
        let list = ShieldList::new(said("deny 0.0.0.0/0")).unwrap();
        check(&list, "192.0.2.1", 0, "deny 0.0.0.0/0");
        check(&list, "::1", 0, "none");
    }

    fn prefix() -> impl Strategy<Value = ShieldSaid> {
        // Few addresses, so that prefixes are in each other and said twice.
        let v4 =
            (0..=32_u8, 0..8_u32).prop_map(|(bits, host)| (IpAddr::V4((host << 29 | host).into()), bits));
        let v6 = (0..=128_u8, 0..8_u128)
            .prop_map(|(bits, host)| (IpAddr::V6((host << 125 | host << 60 | host).into()), bits));
        (prop_oneof![v4, v6], any::<bool>(), prop::option::of(1..4_u64))
            .prop_map(|((address, bits), allow, until)| ShieldSaid { address, bits, allow, until })
    }

    proptest! {
        #[test]
        fn as_a_search_through_everything(said in prop::collection::vec(prefix(), 0..40), now in 0..5_u64) {
            let list = ShieldList::new(said.clone()).unwrap();
            for asked in &said {
                let address = mapped(asked.address);
                let around = said.iter().filter(|one| {
                    one.address.is_ipv4() == asked.address.is_ipv4()
                        && one.until.is_none_or(|until| now < until)
                        && entry(**one).contains(address)
                });
                let expected = around.max_by_key(|one| (one.bits, one.allow)).map(|one| (one.bits, one.allow));
                let found = list.find(asked.address, now).map(|(index, allowed)| {
                    let entry = list.entries()[index];
                    (entry.bits - entry.offset(), allowed)
                });
                prop_assert_eq!(found, expected);
            }
        }
    }
}
