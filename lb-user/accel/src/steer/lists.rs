//! Which ranges of ports apply to which addresses: pure.
//!
//! The kernel's trie finds the longest prefix of an address and nothing else, so each prefix brings the ranges of all
//! prefixes around it, behind its own. More specific comes first, as in the kernel's own look-up: a longer prefix, then
//! a named interface, then fewer ports.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use lb_common::limits::STEER_RANGES;
use lb_common::steer::{MAPPED_BITS, Range, Words};

/// Addresses and ports, and the sockets that they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) prefix: Prefix,
    pub(super) ports: RangeInclusive<u16>,
    /// 0 for any.
    pub(super) interface: u32,
    pub(super) socket: u32,
    /// 0: a bind of this very address and port, which the kernel finds by itself.
    pub(super) sockets: u32,
}

/// A prefix as the trie has it. The address has no bits behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix {
    address: u128,
    pub(super) bits: u8,
}

impl Prefix {
    /// `bits` counts in the address's own family.
    pub(super) fn new(address: IpAddr, bits: u8) -> Self {
        let (address, bits) = match address {
            IpAddr::V4(address) => (address.to_ipv6_mapped(), MAPPED_BITS + bits.min(32)),
            IpAddr::V6(address) => (address, bits.min(128)),
        };
        Self { address: u128::from(address) & mask(bits), bits }
    }

    /// All of IPv4.
    pub(super) fn ipv4() -> Self {
        Self::new(Ipv4Addr::UNSPECIFIED.into(), 0)
    }

    pub(super) fn words(self) -> Words {
        let octets = Ipv6Addr::from(self.address).octets();
        let (words, _) = octets.as_chunks();
        [0, 1, 2, 3].map(|at: usize| u32::from_ne_bytes(words[at]))
    }

    fn is_ipv4(self) -> bool {
        Self::ipv4().contains(self)
    }

    fn contains(self, other: Self) -> bool {
        self.bits <= other.bits && other.address & mask(self.bits) == self.address
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// More ranges apply to one address than the program goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {STEER_RANGES} port ranges apply to one address")]
pub(super) struct TooMany;

/// The ranges of each prefix, the most specific first.
pub(super) fn lists(owned: &[Owned]) -> Result<Vec<(Prefix, Vec<Range>)>, TooMany> {
    let wide = |prefix: Prefix| owned.iter().any(|one| one.sockets > 0 && applies(one.prefix, prefix));
    let mut prefixes: BTreeSet<Prefix> =
        owned.iter().map(|one| one.prefix).filter(|prefix| wide(*prefix)).collect();
    if prefixes.iter().any(|prefix| prefix.contains(Prefix::ipv4())) {
        // IPv4 is no part of IPv6's wildcard, unless an owner says so.
        prefixes.insert(Prefix::ipv4());
    }
    prefixes.into_iter().map(|prefix| Ok((prefix, list(owned, prefix)?))).collect()
}

/// Whether what `outer` has holds for the addresses of `inner`.
fn applies(outer: Prefix, inner: Prefix) -> bool {
    outer.contains(inner) && outer.is_ipv4() == inner.is_ipv4()
}

fn list(owned: &[Owned], prefix: Prefix) -> Result<Vec<Range>, TooMany> {
    let mut found: Vec<&Owned> = owned.iter().filter(|one| applies(one.prefix, prefix)).collect();
    found.sort_by_key(|one| {
        (std::cmp::Reverse(one.prefix.bits), one.interface == 0, one.ports.end() - one.ports.start())
    });
    if found.len() > STEER_RANGES as usize {
        return Err(TooMany);
    }
    Ok(found.into_iter().map(range).collect())
}

fn range(owned: &Owned) -> Range {
    Range {
        low: u32::from(*owned.ports.start()),
        high: u32::from(*owned.ports.end()),
        interface: owned.interface,
        socket: owned.socket,
        sockets: owned.sockets,
        padding: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ADDRESS/BITS:LOW-HIGH` with socket numbers from 1; `=` in front: a bind of one address and port.
    fn owned(text: &str, number: u32) -> Owned {
        let (exact, text) = (text.starts_with('='), text.trim_start_matches('='));
        let (prefix, ports) = text.rsplit_once(':').unwrap();
        let (address, bits) = prefix.split_once('/').unwrap();
        let (low, high) = ports.split_once('-').unwrap_or((ports, ports));
        Owned {
            prefix: Prefix::new(address.parse().unwrap(), bits.parse().unwrap()),
            ports: low.parse().unwrap()..=high.parse().unwrap(),
            interface: 0,
            socket: number,
            sockets: u32::from(!exact),
        }
    }

    /// What the two steps of the program find: the owner's number, 0 for the kernel's own look-up.
    fn found(lists: &[(Prefix, Vec<Range>)], address: &str, port: u32) -> u32 {
        let address: IpAddr = address.parse().unwrap();
        let key = Prefix::new(address, 128);
        let longest = lists.iter().filter(|(prefix, _)| prefix.contains(key)).max_by_key(|(p, _)| p.bits);
        let ranges = longest.map(|(_, ranges)| &ranges[..]).unwrap_or_default();
        let range = ranges.iter().find(|range| (range.low..=range.high).contains(&port));
        range.filter(|range| range.sockets > 0).map_or(0, |range| range.socket)
    }

    fn check(binds: &[&str], expected: &[(&str, u32, u32)]) {
        let owned: Vec<_> = binds.iter().zip(1..).map(|(text, number)| owned(text, number)).collect();
        let lists = lists(&owned).unwrap();
        for (address, port, owner) in expected {
            assert_eq!(found(&lists, address, *port), *owner, "{binds:?}: {address} port {port}");
        }
    }

    #[test]
    fn the_most_specific_owner() {
        check(
            &["10.0.0.0/8:80", "10.1.0.0/16:443", "10.0.0.0/8:1000-2000", "=10.1.2.3/32:1500"],
            &[
                ("10.9.9.9", 80, 1),
                ("10.1.9.9", 443, 2),
                ("10.1.9.9", 80, 1),
                ("10.1.9.9", 1500, 3),
                ("10.1.2.3", 1500, 0),
                ("10.1.2.3", 1501, 3),
                ("10.1.2.3", 443, 2),
                ("11.0.0.1", 80, 0),
                ("10.0.0.1", 81, 0),
                ("::a00:1", 80, 0),
            ],
        );
    }

    #[test]
    fn wildcards_and_families() {
        check(
            &["0.0.0.0/0:1-65535", "=0.0.0.0/0:22"],
            &[("1.2.3.4", 21, 1), ("1.2.3.4", 22, 0), ("::1", 21, 0)],
        );
        check(&["::/0:1-65535"], &[("2001:db8::1", 9, 1), ("1.2.3.4", 9, 0)]);
        check(&["::/0:1-65535", "0.0.0.0/0:5"], &[("::1", 5, 1), ("1.2.3.4", 5, 2), ("1.2.3.4", 6, 0)]);
        check(
            &["2001:db8::/32:1-9", "2001:db8:1::/48:4-6"],
            &[("2001:db8:1::1", 5, 2), ("2001:db8:1::1", 7, 1)],
        );
    }

    #[test]
    fn only_what_a_range_needs_is_kept() {
        let binds =
            [owned("=192.0.2.1/32:80", 1), owned("=192.0.3.1/32:80", 2), owned("192.0.2.0/24:1-99", 3)];
        assert_eq!(lists(&binds).unwrap().len(), 2);
    }

    #[test]
    fn a_named_limit() {
        let many: Vec<_> = (0..=STEER_RANGES).map(|n| owned(&format!("10.0.0.0/8:{}", n + 1), n)).collect();
        assert_eq!(lists(&many), Err(TooMany));
        assert!(lists(&many[1..]).is_ok());
    }
}
