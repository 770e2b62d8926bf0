//! The worker of a new connection, among those that share the address that the client asked for.
//!
//! Runs for SYNs, for the last packet of a handshake that a cookie stood for, and when a listening socket closes: then
//! for each connection that waited in it, so that another worker, or the next process, takes it over.

use core::arch::asm;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{bpf_sock, sk_action};
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_sk_select_reuseport};
use aya_ebpf::macros::sk_reuseport;
use aya_ebpf::programs::SkReuseportContext;
use lb_common::counters::steer as counter;
use lb_common::limits::STEER_MEMBERS_SEEN;
use lb_common::steer::{BUSY_NS, Group, GroupKey, Load, Member};

use crate::maps::{GROUPS, LOADS, MEMBERS, SOCKETS, count};

/// How many CPUs there are, if they decide; 0 if the load does. The loader sets it.
#[unsafe(no_mangle)]
static BY_CPU: u32 = 0;

const AF_INET: u32 = 2;

/// Added to the load of a worker that is busy: above any number of sessions.
const BUSY: u64 = 1 << 33;

#[sk_reuseport(migrate)]
pub fn reuseport(ctx: SkReuseportContext) -> u32 {
    count(try_reuseport(&ctx).unwrap_or_else(|why| why));
    // Without a selection this leaves the choice to the kernel's hash.
    sk_action::SK_PASS
}

/// Both results are counters; the error is why nothing was selected.
#[inline(always)]
fn try_reuseport(ctx: &SkReuseportContext) -> Result<u32, u32> {
    let key = key(ctx);
    // SAFETY: entries are never changed, only added.
    let group = unsafe { GROUPS.get(&key) }.copied().ok_or(counter::NO_GROUP)?;
    if group.count == 0 {
        return Err(counter::NO_GROUP);
    }
    // SAFETY: the context is the kernel's.
    let hash = unsafe { (&raw const (*ctx.md).hash).read_volatile() };
    // SAFETY: a constant of the loaded object.
    let cpus = unsafe { (&raw const BY_CPU).read_volatile() };
    if cpus != 0 {
        let member = of_cpu(&group, cpus, hash)?;
        return select(ctx, &member).map(|()| counter::CPU);
    }
    let (member, busy) = least(&group, hash)?;
    select(ctx, &member)?;
    Ok(if busy { counter::LEAST_BUSY } else { counter::LEAST })
}

/// A member for each CPU, in as many layers as it takes to name every worker.
#[inline(always)]
fn of_cpu(group: &Group, cpus: u32, hash: u32) -> Result<Member, u32> {
    // SAFETY: the helper has no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let layers = group.count / cpus;
    let layer = if layers > 1 { hash % layers } else { 0 };
    member(group.first + layer * cpus + cpu % cpus)
}

/// The address that the sockets share.
#[inline(always)]
fn key(ctx: &SkReuseportContext) -> GroupKey {
    // SAFETY: the kernel made the context and its socket; each field is read with its own size.
    unsafe {
        let sk: *const bpf_sock = (&raw const (*ctx.md).__bindgen_anon_3.sk).read_volatile();
        let family = (&raw const (*sk).family).read_volatile();
        // All are read before one is chosen: a choice of where to read would be an offset that the verifier does not know.
        let ipv4 = [(&raw const (*sk).src_ip4).read_volatile(), 0, 0, 0];
        let ipv6 = [
            (&raw const (*sk).src_ip6[0]).read_volatile(),
            (&raw const (*sk).src_ip6[1]).read_volatile(),
            (&raw const (*sk).src_ip6[2]).read_volatile(),
            (&raw const (*sk).src_ip6[3]).read_volatile(),
        ];
        let address = if family == AF_INET { ipv4 } else { ipv6 };
        GroupKey {
            address,
            family,
            port: (&raw const (*sk).src_port).read_volatile(),
            interface: (&raw const (*sk).bound_dev_if).read_volatile(),
            padding: 0,
        }
    }
}

/// The member whose worker has the least to do, and whether even that one is busy. Those with as much to do share by
/// hash, because the search starts there.
#[inline(always)]
fn least(group: &Group, hash: u32) -> Result<(Member, bool), u32> {
    // SAFETY: the helper has no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let start = hash % group.count;
    let mut best = None;
    let mut best_load = u64::MAX;
    for step in 0..STEER_MEMBERS_SEEN {
        if step >= group.count {
            break;
        }
        let mut at = start + step;
        if at >= group.count {
            at -= group.count;
        }
        let member = member(group.first + at)?;
        // Always there. No `continue`: kernel 6.1 refuses a loop that is entered again from the instruction before it.
        let load = LOADS.get_ptr(member.worker).ok_or(counter::NO_GROUP)?;
        // SAFETY: the element lives as long as the program.
        let load = unsafe { to_do(load, now) };
        if load < best_load {
            best_load = load;
            best = Some(member);
        }
    }
    best.map(|member| (member, best_load >= BUSY)).ok_or(counter::NO_GROUP)
}

/// Sessions, and connections that are on their way to the worker.
///
/// # Safety
/// `load` must be valid.
#[inline(always)]
unsafe fn to_do(load: *const Load, now: u64) -> u64 {
    // SAFETY: as the caller promises; volatile because the worker writes to the same memory.
    unsafe {
        let sessions = (&raw const (*load).sessions).read_volatile();
        let assigned = (&raw const (*load).assigned).read_volatile();
        // Reset by the worker between the two reads, it may be ahead.
        let waiting = assigned.saturating_sub((&raw const (*load).taken).read_volatile());
        let since = (&raw const (*load).working_since).read_volatile();
        let until = (&raw const (*load).busy_until).read_volatile();
        let busy = now < until || (since != 0 && now > since && now - since > BUSY_NS);
        let to_do = sessions + waiting;
        if busy { to_do + BUSY } else { to_do }
    }
}

#[inline(always)]
fn member(index: u32) -> Result<Member, u32> {
    MEMBERS.get(index).copied().ok_or(counter::NO_GROUP)
}

#[inline(always)]
fn select(ctx: &SkReuseportContext, member: &Member) -> Result<(), u32> {
    let mut socket = member.socket;
    // SAFETY: context and map are what the helper wants, the key is on the stack.
    let selected = unsafe {
        bpf_sk_select_reuseport(
            ctx.as_ptr().cast(),
            (&raw const SOCKETS).cast_mut().cast(),
            (&raw mut socket).cast(),
            0,
        )
    };
    if selected != 0 {
        return Err(counter::NO_SOCKET);
    }
    if let Some(load) = LOADS.get_ptr_mut(member.worker) {
        // The compiler has no atomic addition for this target. Other CPUs add as well.
        // SAFETY: the element lives as long as the program, and the field is 8 bytes that are aligned.
        unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) &raw mut (*load).assigned, in(reg) 1_u64) };
    }
    Ok(())
}
