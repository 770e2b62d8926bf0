//! What the daemon says about servers and services, as the program's maps have it.

use std::net::IpAddr;

use lb_common::packet::{Address, Endpoint, LINKED, MAPPED, Server, is_v4, state};

use super::{PacketError, PacketLink, PacketServer};

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
    outer_sum: 0,
    mtu: 0,
};

pub(super) fn encode(server: &PacketServer) -> Result<Server, PacketError> {
    let address = wire(server.address);
    let source = server.source.map_or([0; 4], wire);
    if let Some(from) = server.source
        && from.is_ipv4() != server.address.is_ipv4()
    {
        return Err(PacketError::Families(from, server.address));
    }
    let link = server.link.unwrap_or(PacketLink { ifindex: 0, mac: [0; 6], source_mac: [0; 6] });
    Ok(Server {
        address,
        source,
        port: server.port.to_be(),
        state: if server.drop { state::DROP } else { state::UP },
        flags: if server.link.is_some() { LINKED } else { 0 },
        generation: server.generation,
        ifindex: link.ifindex,
        mac: link.mac,
        source_mac: link.source_mac,
        outer_sum: if is_v4(&address) { outer_sum(&source, &address) } else { 0 },
        mtu: server.mtu,
    })
}

/// The words of an outer IPv4 header that are the same for each packet: version and length, "do not fragment", and
/// both addresses.
fn outer_sum(source: &Address, destination: &Address) -> u32 {
    let halves = |word: u32| (word & 0xffff) + (word >> 16);
    u32::from(0x4500_u16.to_be()) + u32::from(0x4000_u16.to_be()) + halves(source[3]) + halves(destination[3])
}
