//! NAT: the way back of every flow, and the source port that makes it the only one of its kind.
//!
//! A server tells flows apart by the client's address and port. Two flows that would look the same to it, because they
//! came through different services or because all clients get one address, are given different ports here. Both halves
//! of a flow are looked at once a tick, so that neither is forgotten while the other is in use; a half that got lost is
//! made again, and one that belongs to another flow by now is never used.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};
use aya_ebpf::cty::{c_long, c_void};
use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use aya_ebpf::helpers::generated::bpf_loop;
use lb_common::limits::PACKET_PORTS_TRIED;
use lb_common::packet::{
    Address, Connection, FlowKey, Reverse, SOURCE_NAT, Server, TCP, TICK_SHIFT, life, source_ports, state,
    step,
};

use crate::headers::{TCP_FIN, TCP_RST};
use crate::maps::{CONNECTIONS, REVERSE, Room, room, server};

/// Ports for flows that cannot have their client's own, where no range is asked for: all but the well-known.
const PORTS: (u16, u16) = (1_024, u16::MAX);

/// Ticks without a packet after which a flow may lose its port to another one that finds no free port.
mod silence {
    /// It is over (RFC 9293 section 3.6.1 lets a port be used again within TIME-WAIT by a newer segment). No less than
    /// a step: whose port it was must notice at its next packet.
    pub const OVER: u32 = lb_common::packet::TICKS_LONG;
    /// The client never answered the server, whatever the service's idle time: else a few packets per second from
    /// addresses that nobody has would hold all ports. A handshake that is only slow gets another port for its next SYN.
    pub const HALF_OPEN: u32 = 8;
    /// UDP (RFC 4787, requirement 5: no less than two minutes).
    pub const DATAGRAMS: u32 = 120;
    /// TCP (RFC 5382, requirement 5: no less than two hours and four minutes).
    pub const ESTABLISHED: u32 = 7_440;
}

/// Now, as entries have it.
#[inline(always)]
pub fn tick() -> u32 {
    // SAFETY: no arguments.
    (unsafe { bpf_ktime_get_coarse_ns() } >> TICK_SHIFT) as u32
}

/// Ticks since `then`; 0 if another CPU was ahead of this one.
#[inline(always)]
fn since(now: u32, then: u32) -> u32 {
    let ticks = now.wrapping_sub(then);
    if ticks > i32::MAX as u32 { 0 } else { ticks }
}

/// Whether an entry has been without a packet for longer than it may.
#[inline(always)]
pub fn is_idle(now: u32, last_seen: u32, idle: u32) -> bool {
    idle != 0 && since(now, last_seen) > idle
}

/// Prepares the way back of a flow to `server`, all but the port.
#[inline(always)]
pub fn prepare(room: &mut Room, flow: &FlowKey, server: &Server, entry: Connection, idle: u32) {
    room.reverse = Reverse {
        flow: *flow,
        server: entry.server,
        generation: entry.generation,
        last_seen: entry.last_seen,
        idle,
        port: entry.port,
        life: entry.life as u8,
        padding: 0,
    };
    room.key = way_back(flow, server, entry.port);
}

/// The ends of the packets that the server answers a flow with.
#[inline(always)]
fn way_back(flow: &FlowKey, server: &Server, port: u16) -> FlowKey {
    FlowKey {
        source: server.address,
        destination: *source(flow, server),
        source_port: if server.port == 0 { flow.destination_port } else { server.port },
        destination_port: port,
        protocol: flow.protocol,
    }
}

/// What the server sees as the client's address.
#[inline(always)]
pub fn source<'a>(flow: &'a FlowKey, server: &'a Server) -> &'a Address {
    if server.flags & SOURCE_NAT != 0 { &server.source } else { &flow.source }
}

/// Finds a port for the flow that was prepared and writes its way back; the one in `room` is tried first, if the
/// server may have it. 0 when there is none.
#[inline(never)]
pub fn allocate(server: &Server) -> u16 {
    let Some(room) = room() else { return 0 };
    let translated = server.flags & SOURCE_NAT != 0;
    let (low, high) = if translated { source_ports(server.extra) } else { PORTS };
    let wish = u16::from_be(room.reverse.port);
    room.search = Search {
        low: low as u32,
        span: (high as u32).wrapping_sub(low as u32).wrapping_add(1),
        hash: room.reverse.flow.hash(false),
        wish: if wish != 0 && (!translated || (wish >= low && wish <= high)) { wish } else { 0 },
        oldest: 0,
        silent: 0,
    };
    // A loop of the kernel's: of one of ours the verifier would go through every round, with all that each may find.
    // SAFETY: the function has the signature that the helper calls, and no context.
    unsafe { bpf_loop(PACKET_PORTS_TRIED, attempt as *mut c_void, core::ptr::null_mut(), 0) };
    // The rounds have written there, so it is asked for anew.
    let Some(room) = crate::maps::room() else { return 0 };
    let Search { oldest, silent, .. } = room.search;
    if silent == OURS_FOUND {
        return oldest;
    }
    if silent <= BUSY {
        return 0;
    }
    room.key.destination_port = oldest;
    room.reverse.port = oldest;
    // Who had it notices at its next packet, because it has been silent for longer than a step.
    if REVERSE.insert(&room.key, &room.reverse, BPF_ANY as u64).is_ok() { oldest } else { 0 }
}

/// Where a search for a port is.
#[derive(Clone, Copy)]
pub struct Search {
    low: u32,
    span: u32,
    hash: u32,
    /// Tried first, unless it is 0.
    wish: u16,
    /// The port whose owner was silent for longest, or the one that was found.
    oldest: u16,
    /// For how long, as [`try_port`] says it, or [`OURS_FOUND`].
    silent: u32,
}

/// In place of the silence of a port's owner: the port is ours.
const OURS_FOUND: u32 = u32::MAX;

/// One round of a search; returns 1 when there need be no other.
extern "C" fn attempt(number: u32, _: *mut c_void) -> c_long {
    let Some(room) = room() else { return 1 };
    let Search { low, span, hash, wish, .. } = room.search;
    // Numbers that follow the golden ratio are far apart in any range.
    let spread = hash.wrapping_add(number.wrapping_mul(0x9e37_79b9));
    let other = low.wrapping_add(((spread as u64 * span as u64) >> 32) as u32) as u16;
    let port = if number == 0 && wish != 0 { wish } else { other }.to_be();
    room.key.destination_port = port;
    room.reverse.port = port;
    let found = try_port(room);
    if found == OURS {
        room.search.oldest = port;
        room.search.silent = OURS_FOUND;
        return 1;
    }
    if found > room.search.silent {
        room.search.oldest = port;
        room.search.silent = found;
    }
    0
}

/// What [`try_port`] returns; more than [`BUSY`] is for how long its owner has been silent.
const OURS: u32 = 0;
const BUSY: u32 = 1;

/// Takes the port in `room` if no other flow has it.
#[inline(never)]
fn try_port(room: &Room) -> u32 {
    let Some(entry) = REVERSE.get_ptr(&room.key) else {
        return if REVERSE.insert(&room.key, &room.reverse, BPF_NOEXIST as u64).is_ok() {
            OURS
        } else {
            BUSY
        };
    };
    // SAFETY: entries stay in memory while the program runs.
    let entry = unsafe { &*entry };
    if same(&entry.flow, &room.reverse.flow) {
        return if REVERSE.insert(&room.key, &room.reverse, BPF_ANY as u64).is_ok() { OURS } else { BUSY };
    }
    let silent = since(room.reverse.last_seen, entry.last_seen);
    let half_open = entry.flow.protocol == TCP as u32 && entry.life & life::ANSWERED == 0;
    let limit = if entry.life & life::OVER == life::OVER || !is_current(entry.server, entry.generation) {
        silence::OVER
    } else if half_open && (entry.idle == 0 || entry.idle > silence::HALF_OPEN) {
        silence::HALF_OPEN
    } else if entry.idle > silence::OVER {
        entry.idle
    } else if entry.idle != 0 {
        silence::OVER
    } else if entry.flow.protocol != TCP as u32 {
        silence::DATAGRAMS
    } else {
        silence::ESTABLISHED
    };
    if silent > limit { BUSY + silent } else { BUSY }
}

#[inline(always)]
fn is_current(index: u32, generation: u32) -> bool {
    server(index).is_some_and(|server| server.state != state::FREE && server.generation == generation)
}

#[inline(always)]
pub fn same(one: &FlowKey, other: &FlowKey) -> bool {
    one.source == other.source
        && one.destination == other.destination
        && one.source_port == other.source_port
        && one.destination_port == other.destination_port
        && one.protocol == other.protocol
}

/// What a packet with these TCP flags adds to the life of its flow.
#[inline(always)]
fn ends(flags: u8, end: u8) -> u8 {
    if flags & TCP_RST != 0 {
        life::OVER
    } else if flags & TCP_FIN != 0 {
        end
    } else {
        0
    }
}

/// Whether a flow's packet must be made known to the other half of its flow.
#[inline(always)]
pub fn is_news(connection: &Connection, now: u32, flags: u8, idle: u32) -> bool {
    is_due(now, connection.last_seen, idle) || connection.life & life::ANSWERED as u16 == 0 || is_end(flags)
}

/// Whether it is time to write down that a flow had a packet.
#[inline(always)]
pub fn is_due(now: u32, last_seen: u32, idle: u32) -> bool {
    since(now, last_seen) >= step(idle)
}

/// Whether these TCP flags end a flow, or one direction of it.
#[inline(always)]
pub fn is_end(flags: u8) -> bool {
    flags & (TCP_FIN | TCP_RST) != 0
}

/// A client's packet: makes it known to the way back, which is made again if it got lost. The port may have
/// changed then; 0 when there is none. `idle` is the service's.
#[inline(never)]
pub fn refresh(flow: &FlowKey, connection: &mut Connection, now: u32, flags: u8, idle: u32) -> u16 {
    let (Some(server), Some(room)) = (server(connection.server), room()) else { return 0 };
    let life = connection.life as u8 | life::ANSWERED | ends(flags, life::CLIENT_END);
    connection.last_seen = now;
    connection.life = life as u16;
    prepare(room, flow, server, *connection, idle);
    if let Some(entry) = REVERSE.get_ptr_mut(&room.key) {
        // SAFETY: entries stay in memory while the program runs; what is written is harmless in any of them.
        let entry = unsafe { &mut *entry };
        if same(&entry.flow, flow) {
            entry.last_seen = now;
            entry.idle = idle;
            entry.life |= life;
            return connection.port;
        }
    }
    let port = allocate(server);
    if port != 0 {
        connection.port = port;
    }
    port
}

/// A server's packet: makes it known to the flow's other half, which is made again if it got lost. False when the
/// flow has gone another way since.
#[inline(never)]
pub fn refresh_back(key: &FlowKey, entry: &mut Reverse, now: u32, flags: u8) -> bool {
    let life = entry.life | ends(flags, life::SERVER_END);
    let connection = Connection {
        server: entry.server,
        generation: entry.generation,
        last_seen: now,
        port: entry.port,
        life: life as u16,
    };
    match CONNECTIONS.get_ptr_mut(&entry.flow) {
        Some(known) => {
            // SAFETY: as above.
            let known = unsafe { &mut *known };
            if known.server != entry.server
                || known.generation != entry.generation
                || known.port != entry.port
            {
                let _ = REVERSE.remove(key);
                return false;
            }
            known.last_seen = now;
        }
        // When this fails the client's next packet may choose another server.
        None => drop(CONNECTIONS.insert(&entry.flow, &connection, BPF_NOEXIST as u64)),
    }
    entry.last_seen = now;
    entry.life = life;
    true
}

/// Takes away the way back of a flow that goes another way from now on.
#[inline(never)]
pub fn forget(flow: &FlowKey, connection: &Connection) {
    let (Some(server), Some(room)) = (server(connection.server), room()) else { return };
    // A server that took the index since has flows of its own.
    if server.generation != connection.generation {
        return;
    }
    room.key = way_back(flow, server, connection.port);
    if let Some(entry) = REVERSE.get_ptr(&room.key)
        // SAFETY: as above.
        && same(unsafe { &(*entry).flow }, flow)
    {
        let _ = REVERSE.remove(&room.key);
    }
}
