//! What the daemon says about servers and services, as the program's maps have it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::packet::{
    Address, Endpoint, IDLE_LONG, LAYOUT, LINKED, MAPPED, SOURCE_NAT, Server, TICK_SHIFT, TICKS_LONG, is_v4,
    state,
};

use super::PacketError;
use super::services::{PacketLink, PacketServer, PacketSource};

/// An address, port and protocol as the program's keys have them.
pub fn endpoint(address: IpAddr, port: u16, protocol: u8) -> Endpoint {
    Endpoint { address: wire(address), port: port.to_be(), protocol: protocol.into() }
}

/// An address as the program's keys have it.
fn wire(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => [0, 0, MAPPED, u32::from_ne_bytes(address.octets())],
        IpAddr::V6(address) => {
            let octets = address.octets();
            let word =
                |at: usize| u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
            [word(0), word(4), word(8), word(12)]
        }
    }
}

/// What [`endpoint`] was made from, but for the protocol.
pub(super) fn socket_address(endpoint: &Endpoint) -> SocketAddr {
    let address: IpAddr = if is_v4(&endpoint.address) {
        Ipv4Addr::from(endpoint.address[3].to_ne_bytes()).into()
    } else {
        let mut octets = [0; 16];
        for (place, word) in octets.chunks_exact_mut(4).zip(endpoint.address) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(octets).into()
    };
    SocketAddr::new(address, u16::from_be(endpoint.port))
}

/// [`LAYOUT`] as values have it.
pub(super) fn layout() -> u16 {
    u16::try_from(LAYOUT).unwrap_or(u16::MAX)
}

/// Seconds as the ticks of entries; rounded up, and lengthened by what `last_seen` may be behind, so that nothing is
/// forgotten too early.
pub(super) fn idle_ticks(seconds: u32) -> u32 {
    if seconds == 0 {
        return 0;
    }
    let ticks = (u64::from(seconds) * 1_000_000_000).div_ceil(1 << TICK_SHIFT);
    let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
    if ticks < IDLE_LONG { ticks } else { ticks.saturating_add(TICKS_LONG) }
}

/// The source of a server with [`PacketSource::Translated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceNat {
    pub(super) ip: IpAddr,
    pub(super) low: u16,
    pub(super) high: u16,
}

impl SourceNat {
    pub(super) fn of(server: &PacketServer) -> Option<Self> {
        match server.source {
            PacketSource::Translated { address, low, high } => Some(Self { ip: address, low, high }),
            PacketSource::Client | PacketSource::Tunnel(_) => None,
        }
    }

    /// Whether servers would send answers to this service's address and port.
    pub(super) fn is_answered_at(&self, service: &Endpoint) -> bool {
        let port = u16::from_be(service.port);
        wire(self.ip) == service.address && (port == 0 || (self.low..=self.high).contains(&port))
    }
}

/// An index without a server.
pub(super) const FREE: Server = Server {
    address: [0; 4],
    source: [0; 4],
    port: 0,
    state: state::FREE,
    flags: 0,
    generation: 0,
    ifindex: 0,
    mac: [0; 6],
    source_mac: [0; 6],
    extra: 0,
    mtu: 0,
};

pub(super) fn encode(server: &PacketServer) -> Result<Server, PacketError> {
    let address = wire(server.address);
    let mut flags = if server.link.is_some() { LINKED } else { 0 };
    let (source, extra) = match server.source {
        PacketSource::Client => ([0; 4], 0),
        PacketSource::Tunnel(from) => {
            let source = one_family(from, server.address)?;
            (source, if is_v4(&address) { outer_sum(&source, &address) } else { 0 })
        }
        PacketSource::Translated { address: from, low, high } => {
            if low == 0 || low > high {
                return Err(PacketError::SourcePorts(low, high));
            }
            flags |= SOURCE_NAT;
            (one_family(from, server.address)?, u32::from(low) | u32::from(high) << 16)
        }
    };
    let link = server.link.unwrap_or(PacketLink { ifindex: 0, mac: [0; 6], source_mac: [0; 6] });
    Ok(Server {
        address,
        source,
        port: server.port.to_be(),
        state: if server.drop { state::DROP } else { state::UP },
        flags,
        generation: server.generation,
        ifindex: link.ifindex,
        mac: link.mac,
        source_mac: link.source_mac,
        extra,
        mtu: server.mtu,
    })
}

fn one_family(from: IpAddr, to: IpAddr) -> Result<Address, PacketError> {
    if from.is_ipv4() == to.is_ipv4() { Ok(wire(from)) } else { Err(PacketError::Families(from, to)) }
}

/// The words of an outer IPv4 header that are the same for each packet: version and length, "do not fragment", and
/// both addresses.
fn outer_sum(source: &Address, destination: &Address) -> u32 {
    let halves = |word: u32| (word & 0xffff) + (word >> 16);
    u32::from(0x4500_u16.to_be()) + u32::from(0x4000_u16.to_be()) + halves(source[3]) + halves(destination[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_never_shorter_than_their_seconds() {
        assert_eq!([0, 1, 2, 33, 60].map(idle_ticks), [0, 1, 2, 31, 60]);
        for seconds in [1, 15, 16, 3_600, u32::MAX / 2, u32::MAX] {
            assert!(u64::from(idle_ticks(seconds)) << TICK_SHIFT >= u64::from(seconds) * 1_000_000_000);
        }
    }

    #[test]
    fn endpoints_can_be_read_again() {
        for text in ["192.0.2.1:80", "[2001:db8::1]:65535", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(socket_address(&endpoint(address.ip(), address.port(), 6)), address);
        }
    }
}
