//! What the daemon and the program share.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_COMMON_LRU, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray};
use lb_common::counters::{PACKET_EXITS, PacketExit as Exit};
use lb_common::limits::{
    PACKET_CONNECTIONS, PACKET_FRAGMENTS, PACKET_SERVERS, PACKET_SERVICES, PACKET_VLANS,
};
use lb_common::packet::{
    Backward, Connection, Endpoint, FlowKey, Fragment, FragmentKey, Reverse, Server, Service, Statistics,
    VlanDevice,
};

use crate::decide::Target;
use crate::headers::Packet;
use crate::snat::Search;

#[map]
pub static SERVICES: HashMap<Endpoint, Service> = HashMap::with_max_entries(PACKET_SERVICES, 0);
/// By the index that tables and connections hold.
#[map]
pub static SERVERS: Array<Server> = Array::with_max_entries(PACKET_SERVERS, 0);
/// The Maglev tables of all services, one behind the other; the daemon maps them into its memory. Two entries to an
/// element, because the kernel gives every element of an array at least eight bytes.
#[map]
pub static TABLES: Array<[u32; 2]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// Each CPU has its own list of what was used last, so that CPUs do not wait for each other.
#[map]
pub static CONNECTIONS: LruHashMap<FlowKey, Connection> =
    LruHashMap::with_max_entries(PACKET_CONNECTIONS, BPF_F_NO_COMMON_LRU);
/// NAT: the flows by what their servers send.
#[map]
pub static REVERSE: LruHashMap<FlowKey, Reverse> =
    LruHashMap::with_max_entries(PACKET_CONNECTIONS, BPF_F_NO_COMMON_LRU);
/// NAT: addresses that servers answer from.
#[map]
pub static BACKWARD: HashMap<Endpoint, Backward> = HashMap::with_max_entries(PACKET_SERVERS, 0);
/// VLAN interfaces by their index.
#[map]
pub static VLANS: HashMap<u32, VlanDevice> = HashMap::with_max_entries(PACKET_VLANS, BPF_F_NO_PREALLOC);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, Fragment> = LruHashMap::with_max_entries(PACKET_FRAGMENTS, 0);
#[map]
pub static STATISTICS: PerCpuArray<Statistics> = PerCpuArray::with_max_entries(PACKET_SERVERS, 0);
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(PACKET_EXITS, 0);

/// One element: [`lb_common::packet::features`].
#[map]
static FEATURES: Array<u32> = Array::with_max_entries(1, 0);

/// Room for what is made for a look-up, which the stack has none for.
#[map]
static ROOM: PerCpuArray<Room> = PerCpuArray::with_max_entries(1, 0);

/// Room for what is decided about the packet in hand.
#[map]
static TARGET: PerCpuArray<Target> = PerCpuArray::with_max_entries(1, 0);

/// A flow's way back on its way into [`REVERSE`].
pub struct Room {
    pub key: FlowKey,
    pub reverse: Reverse,
    pub search: Search,
    pub why: Exit,
}

/// Room for the facts about a packet and about the one inside it.
#[map]
static SCRATCH: PerCpuArray<Packet> = PerCpuArray::with_max_entries(2, 0);

/// The facts of the packet in hand (0), or of the one inside it (1).
#[inline(always)]
pub fn scratch(number: u32) -> Option<&'static mut Packet> {
    // SAFETY: the element belongs to this CPU and this run, and each number is asked for once.
    SCRATCH.get_ptr_mut(number).map(|packet| unsafe { &mut *packet })
}

#[inline(always)]
pub fn target() -> Option<&'static mut Target> {
    // SAFETY: as above.
    TARGET.get_ptr_mut(0).map(|target| unsafe { &mut *target })
}

#[inline(always)]
pub fn room() -> Option<&'static mut Room> {
    // SAFETY: the element belongs to this CPU and this run, and no step asks for it while another one has it.
    ROOM.get_ptr_mut(0).map(|room| unsafe { &mut *room })
}

/// The same, as a value that the verifier knows nothing of.
#[inline(always)]
pub fn forgotten(why: Exit) -> Exit {
    let Some(room) = room() else { return why };
    let place = &raw mut room.why;
    // SAFETY: what was written is read.
    unsafe {
        place.write_volatile(why);
        place.read_volatile()
    }
}

/// Whether there is any service of this kind ([`lb_common::packet::features`]).
#[inline(always)]
pub fn has(feature: u32) -> bool {
    // SAFETY: one aligned word, which the daemon writes whole.
    FEATURES.get_ptr(0).is_some_and(|features| unsafe { features.read_volatile() } & feature != 0)
}

#[inline(always)]
pub fn count(why: Exit) {
    if let Some(value) = COUNTERS.get_ptr_mut(why as u32) {
        // SAFETY: the element belongs to this CPU, on which no other run of the program is in progress.
        unsafe { *value += 1 };
    }
}

/// The server with this index, if there is one.
#[inline(always)]
pub fn server(index: u32) -> Option<&'static Server> {
    // The array lives as long as the program. The daemon takes an index out of use before it gives it another server.
    SERVERS.get_ptr(index).map(|server| unsafe { &*server })
}

/// Adds to a server's figures; `bytes` 0 counts a new flow.
#[inline(always)]
pub fn account(server: u32, backward: bool, bytes: u32) {
    let Some(statistics) = STATISTICS.get_ptr_mut(server) else { return };
    // SAFETY: as for `count`.
    unsafe {
        if bytes == 0 {
            (*statistics).flows += 1;
        } else if backward {
            (*statistics).packets_out += 1;
            (*statistics).bytes_out += bytes as u64;
        } else {
            (*statistics).packets_in += 1;
            (*statistics).bytes_in += bytes as u64;
        }
    }
}
