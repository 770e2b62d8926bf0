//! Networks by their prefix: the longest one counts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Id;
use super::ids::Ids;
use crate::pattern::Network;

/// Networks of IPv4 and IPv6.
#[derive(Debug, Default)]
pub(super) struct Networks {
    v4: Prefixes,
    v6: Prefixes,
    /// IPv4 masks with holes are looked through last.
    masked: Vec<(u32, u32, Id)>,
}

impl Networks {
    pub(super) fn put(&mut self, network: Network, id: Id) {
        match network {
            Network::Prefix(IpAddr::V4(address), length) => self.v4.put(bits_v4(address), length, id),
            Network::Prefix(IpAddr::V6(address), length) => self.v6.put(address.to_bits(), length, id),
            Network::Masked(address, mask) => self.masked.push((address & mask, mask, id)),
        }
    }

    pub(super) fn remove(&mut self, network: Network, id: Id) {
        match network {
            Network::Prefix(IpAddr::V4(address), length) => self.v4.remove(bits_v4(address), length, id),
            Network::Prefix(IpAddr::V6(address), length) => self.v6.remove(address.to_bits(), length, id),
            Network::Masked(..) => self.masked.retain(|(_, _, known)| *known != id),
        }
    }

    /// As manual 7.1.6 says which address is in which network.
    pub(super) fn find(&self, address: IpAddr) -> Option<Id> {
        let (in_prefix, v4) = match address {
            IpAddr::V4(v4) => {
                let found = self.v4.find(bits_v4(v4), 32);
                (found.or_else(|| self.v6.find(v4.to_ipv6_mapped().to_bits(), 128)), Some(v4))
            }
            IpAddr::V6(v6) => {
                let v4 = embedded(v6);
                let found = self.v6.find(v6.to_bits(), 128);
                (found.or_else(|| self.v4.find(bits_v4(v4?), 32)), v4)
            }
        };
        in_prefix.or_else(|| {
            let bits = v4?.to_bits();
            self.masked.iter().find(|(address, mask, _)| bits & mask == *address).map(|(_, _, id)| *id)
        })
    }
}

/// IPv4 uses the upper 32 of 128 bits.
fn bits_v4(address: Ipv4Addr) -> u128 {
    u128::from(address.to_bits()) << 96
}

/// The IPv4 address in `::ffff:a.b.c.d`, `::a.b.c.d` and `2002:ab:cd::`.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

/// In the order of their first address, wider ones first.
#[derive(Debug, Default)]
struct Prefixes(BTreeMap<(u128, u8), Ids>);

impl Prefixes {
    fn put(&mut self, address: u128, length: u8, id: Id) {
        self.0.entry((first(address, length), length)).or_default().push(id);
    }

    fn remove(&mut self, address: u128, length: u8, id: Id) {
        let key = (first(address, length), length);
        if self.0.get_mut(&key).is_some_and(|ids| ids.remove(id)) {
            self.0.remove(&key);
        }
    }

    /// The last network that begins at or before the address has it, or the network that has it has that one, too:
    /// then it is no longer than what both have in common. So few steps suffice, and never more than there are bits.
    fn find(&self, address: u128, bits: u8) -> Option<Id> {
        let mut limit = (address, bits);
        loop {
            let ((network, length), ids) = self.0.range(..=limit).next_back()?;
            let common = u8::try_from((network ^ address).leading_zeros()).unwrap_or(u8::MAX);
            if common >= *length {
                return ids.first();
            }
            limit = (first(address, common), common);
        }
    }
}

fn first(address: u128, length: u8) -> u128 {
    address & u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0)
}
