//! A pair of sockets forwarded in the kernel, one direction, with a gate against unbounded memory.
//!
//! A stream verdict program: attached to the map `SOURCES`, it runs for every packet that one of its sockets
//! has received and acknowledged. Nothing may be dropped here but the bare FIN, because nobody sends it again.
#![no_std]
#![no_main]

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, sk_action};
use aya_ebpf::helpers::{bpf_map_lookup_elem, bpf_sk_redirect_map, bpf_sk_release, bpf_skc_to_tcp_sock};
use aya_ebpf::macros::{map, stream_verdict};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf, SockMap};
use aya_ebpf::programs::SkBuffContext;
use lb_common::counters::sockmap as counter;
use lb_common::limits::{SOCKMAP_EVENTS_BYTES, SOCKMAP_FLOWS};
use lb_common::sockmap::{Event, FRESH, Flow, GATED, REDIRECTING};

/// Where packets come from. The program is attached here.
#[map]
static SOURCES: SockMap = SockMap::with_max_entries(SOCKMAP_FLOWS, 0);
/// Where packets go: no program, so that what these sockets receive stays theirs.
#[map]
static DESTINATIONS: SockMap = SockMap::with_max_entries(SOCKMAP_FLOWS, 0);
/// Socket cookie of a source to the index of its flow.
#[map]
static SLOTS: HashMap<u64, u32> = HashMap::with_max_entries(SOCKMAP_FLOWS, 0);
#[map]
static FLOWS: Array<Flow> = Array::with_max_entries(SOCKMAP_FLOWS, BPF_F_MMAPABLE);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(SOCKMAP_EVENTS_BYTES, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);

/// Byte offset of the socket cookie in this kernel's `struct tcp_sock`; the loader reads it from BTF.
#[unsafe(no_mangle)]
static TCP_SOCK_COOKIE: u64 = 0;
/// Byte offset of `write_seq` in this kernel's `struct tcp_sock`; the loader reads it from BTF.
#[unsafe(no_mangle)]
static TCP_SOCK_WRITE_SEQ: u64 = 0;

/// What becomes of a packet, and the counter that says why.
enum Verdict {
    /// To the destination with this index.
    Redirect { slot: u32, why: u32 },
    /// To userspace, which reads it from the source.
    Pass { why: u32 },
    /// Nothing to deliver.
    Drop { why: u32 },
}

#[stream_verdict]
pub fn sockmap(ctx: SkBuffContext) -> u32 {
    let verdict = decide(&ctx).unwrap_or_else(|why| Verdict::Pass { why });
    match verdict {
        Verdict::Redirect { slot, why } => {
            // SAFETY: the context is the packet this program was called for, the map a socket map of ours.
            let action = unsafe {
                bpf_sk_redirect_map(ctx.as_ptr().cast(), (&raw const DESTINATIONS).cast_mut().cast(), slot, 0)
            };
            let action = action as u32;
            count(if action == sk_action::SK_PASS { why } else { counter::REDIRECT_FAILED });
            action
        }
        Verdict::Pass { why } => {
            count(why);
            sk_action::SK_PASS
        }
        Verdict::Drop { why } => {
            count(why);
            sk_action::SK_DROP
        }
    }
}

/// The error is the counter of a packet that is none of ours and goes to userspace.
#[inline(always)]
fn decide(ctx: &SkBuffContext) -> Result<Verdict, u32> {
    let bytes = ctx.len();
    if bytes == 0 {
        return Ok(Verdict::Drop { why: counter::END });
    }
    let slot = flow_of(ctx)?;
    let flow = FLOWS.get_ptr_mut(slot).ok_or(counter::NO_FLOW)?;
    let write_seq = write_seq_of_destination(slot)?;
    // SAFETY: the pointer is to a live array element. Userspace writes only `consumed`, `resume` and
    // `backlog_bytes_max`, whole words that are read once here.
    Ok(unsafe { forward(flow, slot, bytes, write_seq) })
}

/// Redirect or pass, and the bookkeeping of either.
///
/// # Safety
/// `flow` must be valid, with no other writer of the program's fields.
#[inline(always)]
unsafe fn forward(flow: *mut Flow, slot: u32, bytes: u32, write_seq: u32) -> Verdict {
    // SAFETY: as the caller promises; volatile because userspace writes to the same memory.
    unsafe {
        let mut why = counter::REDIRECTED;
        match (*flow).state {
            GATED => {
                let caught_up = (&raw const (*flow).resume).read_volatile() == 1
                    && (&raw const (*flow).consumed).read_volatile() == (*flow).passed;
                if !caught_up {
                    return pass(flow, bytes, counter::PASSED);
                }
                (&raw mut (*flow).resume).write_volatile(0);
                (*flow).expected_seq = write_seq;
                why = counter::RESUMED;
            }
            FRESH => (*flow).expected_seq = write_seq,
            _ => {}
        }
        let backlog_bytes = (*flow).expected_seq.wrapping_sub(write_seq);
        if backlog_bytes > (*flow).backlog_bytes_max {
            (*flow).gates += 1;
            (&raw mut (*flow).state).write_volatile(GATED);
            if EVENTS.output::<Event>(&Event { slot, kind: GATED }, 0).is_err() {
                count(counter::EVENT_LOST);
            }
            return pass(flow, bytes, counter::GATED);
        }
        (*flow).expected_seq = (*flow).expected_seq.wrapping_add(bytes);
        (&raw mut (*flow).redirected).write_volatile((*flow).redirected + bytes as u64);
        (&raw mut (*flow).state).write_volatile(REDIRECTING);
        Verdict::Redirect { slot, why }
    }
}

/// # Safety
/// As for [`forward`].
#[inline(always)]
unsafe fn pass(flow: *mut Flow, bytes: u32, why: u32) -> Verdict {
    // SAFETY: as the caller promises.
    unsafe { (&raw mut (*flow).passed).write_volatile((*flow).passed + bytes as u64) };
    Verdict::Pass { why }
}

/// The index of the flow whose source received this packet.
#[inline(always)]
fn flow_of(ctx: &SkBuffContext) -> Result<u32, u32> {
    // SAFETY: the kernel made the context; the verifier checks that the socket is tested for null.
    let cookie = unsafe {
        let sk = (*ctx.skb.skb).__bindgen_anon_2.sk;
        if sk.is_null() {
            return Err(counter::NO_SOCKET);
        }
        let tcp: *const u8 = bpf_skc_to_tcp_sock(sk.cast()).cast();
        if tcp.is_null() {
            return Err(counter::NO_SOCKET);
        }
        // The offset is a constant to the verifier, which checks it against the kernel's own type.
        tcp.add((&raw const TCP_SOCK_COOKIE).read_volatile() as usize).cast::<u64>().read_volatile()
    };
    // SAFETY: a copy is taken at once; userspace only inserts and deletes whole entries.
    unsafe { SLOTS.get(&cookie) }.copied().ok_or(counter::NO_FLOW)
}

/// The sequence number of the next byte that will be written to the destination.
#[inline(always)]
fn write_seq_of_destination(slot: u32) -> Result<u32, u32> {
    // SAFETY: the map is ours and the key is on the stack; the socket is released on every way out.
    unsafe {
        let socket =
            bpf_map_lookup_elem((&raw const DESTINATIONS).cast_mut().cast(), (&raw const slot).cast());
        if socket.is_null() {
            return Err(counter::NO_DESTINATION);
        }
        let tcp: *const u8 = bpf_skc_to_tcp_sock(socket).cast();
        if tcp.is_null() {
            bpf_sk_release(socket);
            return Err(counter::NO_DESTINATION);
        }
        let write_seq =
            tcp.add((&raw const TCP_SOCK_WRITE_SEQ).read_volatile() as usize).cast::<u32>().read_volatile();
        bpf_sk_release(socket);
        Ok(write_seq)
    }
}

#[inline(always)]
fn count(counter: u32) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter) {
        // SAFETY: the element belongs to this CPU, on which no other run of the program is in progress.
        unsafe { *value += 1 };
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The verifier lets only GPL-compatible programs read kernel structures.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
