//! Where a packet goes: its service, its flow, its server. Nothing here reads or changes the packet.

use lb_common::counters::PacketExit as Exit;
use lb_common::packet::{
    Address, Connection, Endpoint, FlowKey, Fragment, FragmentKey, SOURCE_HASH, STATELESS, Server, Service,
    TCP, entry, features, forwarding, state,
};

use crate::headers::{Packet, Part};
use crate::maps::{BACKWARD, CONNECTIONS, FRAGMENTS, REVERSE, SERVICES, TABLES, account, has, room, server};
use crate::snat;

/// What is to be done with a packet.
#[derive(Clone, Copy)]
pub struct Target {
    /// NAT: what becomes of the packet's source.
    pub source: Address,
    /// NAT: what becomes of its destination.
    pub destination: Address,
    pub source_port: u16,
    pub destination_port: u16,
    /// One of [`forwarding`].
    pub forwarding: u8,
    /// From the server to the client.
    pub backward: bool,
    /// Index of the server.
    pub server: u32,
    pub generation: u32,
}

/// What the table of connections is told of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Nothing: it is not the flow's own packet.
    Nothing,
    /// A packet with these TCP flags.
    Flags(u8),
    /// The first segment of a TCP flow.
    Syn,
}

/// Finds the target of a packet, by what its headers say. It is put into memory of a map, as facts are: the verifier
/// takes the place of a large result for a pointer into a stack that ends.
#[inline(never)]
pub fn target(packet: &Packet, found: &mut Target) -> Result<(), Exit> {
    if packet.part == Part::Later {
        *found = later_fragment(packet)?;
        return Ok(());
    }
    let key = &packet.key;
    let told = if packet.syn { Told::Syn } else { Told::Flags(packet.tcp_flags) };
    let target = match service(&key.destination, key.destination_port, key.protocol) {
        Some(service) => to_server(key, service, told)?,
        None => to_client(key, told)?,
    };
    if packet.part == Part::First {
        let fragment = Fragment {
            source: target.source,
            destination: target.destination,
            server: target.server,
            generation: target.generation,
            forwarding: target.forwarding,
            backward: target.backward as u8,
            padding: [0; 6],
        };
        // When this fails the later fragments are left to the kernel, which counts them.
        let _ = FRAGMENTS.insert(&fragment_key(packet), &fragment, 0);
    }
    *found = target;
    Ok(())
}

/// The service with this address and port, or the one with all ports of this address that no other has.
#[inline(always)]
pub fn service(address: &Address, port: u16, protocol: u32) -> Option<&'static Service> {
    let mut key = Endpoint { address: *address, port, protocol: protocol as u16 };
    // SAFETY: the value is replaced whole and stays until the program ends.
    let exact = unsafe { SERVICES.get(&key) };
    if exact.is_some() || !has(features::ALL_PORTS) {
        return exact;
    }
    key.port = 0;
    // SAFETY: as above.
    unsafe { SERVICES.get(&key) }
}

/// From a client: the server that has the flow, or the one that its hash chooses.
#[inline(always)]
pub fn to_server(flow: &FlowKey, service: &Service, told: Told) -> Result<Target, Exit> {
    if service.flags & STATELESS != 0 {
        let (index, chosen) = choose(flow, service)?;
        return Ok(forward(flow, service, index, chosen, flow.source_port));
    }
    let nat = service.forwarding == forwarding::NAT;
    let now = if nat || service.idle != 0 { snat::tick() } else { 0 };
    let mut old = Connection { server: u32::MAX, generation: 0, last_seen: now, port: 0, life: 0 };
    if let Some(known) = CONNECTIONS.get_ptr_mut(flow) {
        // SAFETY: entries stay in memory while the program runs. Another flow may be given this one at any time; what
        // is written here is harmless in any of them, and its server is one that the generation belongs to.
        let known = unsafe { &mut *known };
        if let Some(server) = server(known.server)
            && server.generation == known.generation
            && server.state != state::FREE
        {
            old = *known;
            if told != Told::Syn && !snat::is_idle(now, old.last_seen, service.idle) {
                if server.state == state::UP {
                    let mut port = old.port;
                    if let Told::Flags(flags) = told {
                        if nat && snat::is_news(known, now, flags, service.idle) {
                            port = snat::refresh(flow, known, now, flags, service.idle);
                            if port == 0 {
                                return Err(Exit::NoPort);
                            }
                        } else if service.idle != 0 && snat::is_due(now, old.last_seen, service.idle) {
                            known.last_seen = now;
                        }
                    }
                    return Ok(forward(flow, service, old.server, server, port));
                }
                // A flow of datagrams that has ended begins again with the next one.
                if flow.protocol == TCP as u32 {
                    return Err(Exit::ServerDown);
                }
            }
        }
    }
    if nat && told == Told::Nothing {
        return Err(Exit::NoFlow);
    }
    let (index, chosen) = choose(flow, service)?;
    let mut port = flow.source_port;
    if told != Told::Nothing {
        let mut connection =
            Connection { server: index, generation: chosen.generation, last_seen: now, port, life: 0 };
        if nat {
            if old.server == index {
                connection.port = old.port;
            } else if old.server != u32::MAX {
                snat::forget(flow, &old);
            }
            let room = room().ok_or(Exit::NoPort)?;
            snat::prepare(room, flow, chosen, connection, service.idle);
            port = snat::allocate(chosen);
            if port == 0 {
                return Err(Exit::NoPort);
            }
            connection.port = port;
        }
        // When this fails the flow is as one of a stateless service.
        let _ = CONNECTIONS.insert(flow, &connection, 0);
        account(index, false, 0);
    }
    Ok(forward(flow, service, index, chosen, port))
}

/// The server that the service's table has for a flow.
#[inline(always)]
fn choose(flow: &FlowKey, service: &Service) -> Result<(u32, &'static Server), Exit> {
    if service.table_size == 0 {
        return Err(Exit::NoServer);
    }
    let hash = flow.hash(service.flags & SOURCE_HASH != 0);
    let place = service.table_offset.wrapping_add(entry(hash, service.table_size));
    let pair = TABLES.get(place / 2).ok_or(Exit::NoServer)?;
    let index = if place & 1 == 0 { pair[0] } else { pair[1] };
    let chosen = server(index).ok_or(Exit::NoServer)?;
    if chosen.state == state::UP { Ok((index, chosen)) } else { Err(Exit::NoServer) }
}

/// `port` is the client's as the server sees it.
#[inline(always)]
fn forward(flow: &FlowKey, service: &Service, index: u32, server: &Server, port: u16) -> Target {
    let stateless = service.flags & STATELESS != 0;
    Target {
        source: if stateless { flow.source } else { *snat::source(flow, server) },
        destination: server.address,
        source_port: port,
        destination_port: if server.port == 0 { flow.destination_port } else { server.port },
        forwarding: service.forwarding,
        backward: false,
        server: index,
        generation: server.generation,
    }
}

/// From a NAT server: the client and the service that its flow belongs to.
#[inline(always)]
pub fn to_client(key: &FlowKey, told: Told) -> Result<Target, Exit> {
    let Some(entry) = REVERSE.get_ptr_mut(key) else { return stateless(key) };
    // SAFETY: as for connections.
    let entry = unsafe { &mut *entry };
    let (server, now) = (server(entry.server).ok_or(Exit::NoFlow)?, snat::tick());
    let target = Target {
        source: entry.flow.destination,
        destination: entry.flow.source,
        source_port: entry.flow.destination_port,
        destination_port: entry.flow.source_port,
        forwarding: forwarding::NAT,
        backward: true,
        server: entry.server,
        generation: entry.generation,
    };
    if server.generation != entry.generation
        || server.state == state::FREE
        || server.address != key.source
        || entry.port != key.destination_port
        || snat::is_idle(now, entry.last_seen, entry.idle)
    {
        return Err(Exit::NoFlow);
    }
    if server.state == state::DROP && key.protocol == TCP as u32 {
        return Err(Exit::ServerDown);
    }
    if let Told::Flags(flags) = told
        && (snat::is_due(now, entry.last_seen, entry.idle) || snat::is_end(flags))
        && !snat::refresh_back(key, entry, now, flags)
    {
        return Err(Exit::NoFlow);
    }
    Ok(target)
}

/// From a server that has no such flow: its service needs none, or the packet is not ours.
#[inline(always)]
fn stateless(key: &FlowKey) -> Result<Target, Exit> {
    let mut from = Endpoint { address: key.source, port: key.source_port, protocol: key.protocol as u16 };
    // SAFETY: the value is replaced whole and stays until the program ends.
    let mut backward = unsafe { BACKWARD.get(&from) };
    if backward.is_none() && has(features::ALL_PORTS_BACK) {
        from.port = 0;
        // SAFETY: as above.
        backward = unsafe { BACKWARD.get(&from) };
    }
    let backward = backward.ok_or(Exit::NoService)?;
    if backward.flags & STATELESS as u16 == 0 {
        return Err(Exit::NoFlow);
    }
    let service = &backward.service;
    Ok(Target {
        source: service.address,
        destination: key.destination,
        source_port: if service.port == 0 { key.source_port } else { service.port },
        destination_port: key.destination_port,
        forwarding: forwarding::NAT,
        backward: true,
        server: backward.server,
        generation: 0,
    })
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
        source: first.source,
        destination: first.destination,
        source_port: 0,
        destination_port: 0,
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
