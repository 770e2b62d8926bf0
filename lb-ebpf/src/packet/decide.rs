//! Where a packet goes: its service, its flow, its server. Nothing here reads or changes the packet.

use lb_common::counters::PacketExit as Exit;
use lb_common::packet::{
    Address, BACKWARD_SERVICES, Backward, Connection, Endpoint, FlowKey, Fragment, FragmentKey, SOURCE_HASH,
    STATELESS, Server, Service, entry, forwarding, state,
};

use crate::headers::{Packet, Part};
use crate::maps::{BACKWARD, CONNECTIONS, FRAGMENTS, SERVICES, TABLES, account, server};

/// What is to be done with a packet.
#[derive(Clone, Copy)]
pub struct Target {
    /// Takes the place of the destination, or of the source on the way back.
    pub address: Address,
    /// Likewise for the port; 0 keeps it.
    pub port: u16,
    /// One of [`forwarding`].
    pub forwarding: u8,
    /// From the server to the client.
    pub backward: bool,
    /// Index of the server.
    pub server: u32,
    pub generation: u32,
}

/// The target of a packet, by what its headers say.
#[inline(never)]
pub fn target(packet: &Packet) -> Result<Target, Exit> {
    if packet.part == Part::Later {
        return later_fragment(packet);
    }
    let key = endpoint(&packet.key.destination, packet.key.destination_port, packet.key.protocol);
    // SAFETY: the value is replaced whole and stays until the program ends.
    let target = match unsafe { SERVICES.get(&key) } {
        Some(service) => to_server(&packet.key, service, packet.syn, true)?,
        None => to_client(&packet.key)?,
    };
    if packet.part == Part::First {
        let fragment = Fragment {
            address: target.address,
            server: target.server,
            generation: target.generation,
            forwarding: target.forwarding,
            backward: target.backward as u8,
            padding: [0; 6],
        };
        // When this fails the later fragments are left to the kernel, which counts them.
        let _ = FRAGMENTS.insert(&fragment_key(packet), &fragment, 0);
    }
    Ok(target)
}

/// From a client: the server that has the flow, or the one that its hash chooses. `remember` puts a new flow into
/// the connection table.
#[inline(always)]
pub fn to_server(key: &FlowKey, service: &Service, syn: bool, remember: bool) -> Result<Target, Exit> {
    let stateless = service.flags & STATELESS != 0;
    if !stateless && !syn {
        // SAFETY: an entry is eight bytes that are written when it is made; a reused one fails the generation.
        if let Some(connection) = unsafe { CONNECTIONS.get(key) } {
            let connection = *connection;
            let known = server(connection.server).ok_or(Exit::NoServer)?;
            if known.generation == connection.generation && known.state != state::FREE {
                if known.state == state::DROP {
                    return Err(Exit::ServerDown);
                }
                return Ok(forward(known, connection.server, service));
            }
        }
    }
    if service.table_size == 0 {
        return Err(Exit::NoServer);
    }
    let hash = key.hash(service.flags & SOURCE_HASH != 0);
    let place = service.table_offset.wrapping_add(entry(hash, service.table_size));
    let pair = TABLES.get(place / 2).ok_or(Exit::NoServer)?;
    let index = if place & 1 == 0 { pair[0] } else { pair[1] };
    let chosen = server(index).ok_or(Exit::NoServer)?;
    if chosen.state != state::UP {
        return Err(Exit::NoServer);
    }
    if !stateless && remember {
        let connection = Connection { server: index, generation: chosen.generation };
        // When this fails the flow is as one of a stateless service.
        let _ = CONNECTIONS.insert(key, &connection, 0);
        account(index, false, 0);
    }
    Ok(forward(chosen, index, service))
}

#[inline(always)]
fn forward(server: &Server, index: u32, service: &Service) -> Target {
    Target {
        address: server.address,
        port: server.port,
        forwarding: service.forwarding,
        backward: false,
        server: index,
        generation: server.generation,
    }
}

/// From a NAT server: the service that its flow belongs to.
#[inline(always)]
fn to_client(key: &FlowKey) -> Result<Target, Exit> {
    let from = endpoint(&key.source, key.source_port, key.protocol);
    // SAFETY: as for services.
    let backward = unsafe { BACKWARD.get(&from) }.ok_or(Exit::NoService)?;
    service_of(backward, &key.destination, key.destination_port, key.protocol)
}

/// The service through which the client at this address and port speaks with a server.
#[inline(always)]
pub fn service_of(
    backward: &Backward,
    client: &Address,
    client_port: u16,
    protocol: u32,
) -> Result<Target, Exit> {
    let answer = |service: &Endpoint, generation: u32| Target {
        address: service.address,
        port: service.port,
        forwarding: forwarding::NAT,
        backward: true,
        server: backward.server,
        generation,
    };
    if backward.stateless != 0 {
        return Ok(answer(&backward.services[0], 0));
    }
    let known = server(backward.server).ok_or(Exit::NoFlow)?;
    for number in 0..BACKWARD_SERVICES {
        if number as u32 >= backward.count {
            break;
        }
        let service = &backward.services[number];
        let key = FlowKey {
            source: *client,
            destination: service.address,
            source_port: client_port,
            destination_port: service.port,
            protocol,
        };
        // SAFETY: as above.
        if let Some(connection) = unsafe { CONNECTIONS.get(&key) }
            && connection.server == backward.server
            && connection.generation == known.generation
        {
            return Ok(answer(service, known.generation));
        }
    }
    Err(Exit::NoFlow)
}

#[inline(always)]
fn later_fragment(packet: &Packet) -> Result<Target, Exit> {
    // SAFETY: a copy is taken at once.
    let first = *unsafe { FRAGMENTS.get(&fragment_key(packet)) }.ok_or(Exit::Fragment)?;
    let known = server(first.server).ok_or(Exit::Fragment)?;
    // Answers of stateless services do not know the generation.
    if known.state == state::FREE || (first.backward == 0 && known.generation != first.generation) {
        return Err(Exit::Fragment);
    }
    Ok(Target {
        address: first.address,
        port: 0,
        forwarding: first.forwarding,
        backward: first.backward != 0,
        server: first.server,
        generation: first.generation,
    })
}

#[inline(always)]
fn fragment_key(packet: &Packet) -> FragmentKey {
    FragmentKey {
        source: packet.key.source,
        destination: packet.key.destination,
        identification: packet.identification,
        protocol: packet.protocol as u32,
    }
}

#[inline(always)]
pub fn endpoint(address: &Address, port: u16, protocol: u32) -> Endpoint {
    Endpoint { address: *address, port, protocol: protocol as u16 }
}
