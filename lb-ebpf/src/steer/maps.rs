//! What the daemon and the programs share. The daemon knows before it loads them how large each map must be.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, PerCpuArray, SockMap};
use lb_common::counters::steer as counter;
use lb_common::steer::{Group, GroupKey, Load, Member, Prefix, Range, Words};

/// All listening sockets that are steered. A socket map and not an array of `SO_REUSEPORT` sockets, because a socket can
/// be in one of them only, and `lookup` can read but this one.
#[map]
pub static SOCKETS: SockMap = SockMap::with_max_entries(1, 0);
#[map]
pub static GROUPS: HashMap<GroupKey, Group> = HashMap::with_max_entries(1, 0);
#[map]
pub static MEMBERS: Array<Member> = Array::with_max_entries(1, 0);
/// By worker. The daemon maps them into its memory.
#[map]
pub static LOADS: Array<Load> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static PREFIXES: LpmTrie<Words, Prefix> = LpmTrie::with_max_entries(1, 0);
#[map]
pub static RANGES: Array<Range> = Array::with_max_entries(1, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);

#[inline(always)]
pub fn count(counter: u32) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter) {
        // SAFETY: the element belongs to this CPU, on which no other run of the program is in progress.
        unsafe { *value += 1 };
    }
}
