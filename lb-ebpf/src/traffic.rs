//! Packets of many flows, for measuring only: puts the next flow's packet where the last one was, and goes on in the
//! program that is measured.
//!
//! A test run repeats a program upon one packet, which the program has changed already. This one stands in front of
//! it: each run begins with the whole packet written anew, with another client in it. Without a program to go on in,
//! the packet is sent back as it is, which is the least that any program can cost.
#![no_std]
#![no_main]

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_xdp_adjust_head;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::XdpContext;
use lb_common::limits::TRAFFIC_WORDS;

/// How many flows there are; the daemon's side sets it before loading.
#[unsafe(no_mangle)]
static FLOWS: u32 = 1;
/// How many packets of a flow come one behind the other.
#[unsafe(no_mangle)]
static TRAIN: u32 = 1;
/// Not 0: the packet is IPv6.
#[unsafe(no_mangle)]
static IS_V6: u32 = 0;

/// The packet as it is at the start of each run.
#[map]
static TEMPLATE: Array<[u64; TRAFFIC_WORDS]> = Array::with_max_entries(1, 0);
/// Runs so far.
#[map]
static RUNS: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
/// What is measured.
#[map]
static NEXT: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Where the last word of the client's address is.
const CLIENT_V4: usize = 14 + 12;
const CLIENT_V6: usize = 14 + 8 + 12;

const BYTES: usize = TRAFFIC_WORDS * 8;

#[xdp]
pub fn traffic(ctx: XdpContext) -> u32 {
    if renew(&ctx).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    // SAFETY: the map holds XDP programs alone; without one the call returns.
    let _ = unsafe { NEXT.tail_call(&ctx, 0) };
    xdp_action::XDP_TX
}

#[inline(always)]
fn renew(ctx: &XdpContext) -> Option<()> {
    // The program before may have put another header in front.
    let surplus = (ctx.data_end() - ctx.data()).wrapping_sub(BYTES);
    // SAFETY: pointers into the packet are made after this.
    if surplus != 0 && unsafe { bpf_xdp_adjust_head(ctx.ctx, surplus as i32) } != 0 {
        return None;
    }
    let template = TEMPLATE.get(0)?;
    let runs = RUNS.get_ptr_mut(0)?;
    // SAFETY: the element belongs to this CPU.
    let run = unsafe {
        *runs = (*runs).wrapping_add(1);
        *runs
    };
    // Read once: the verifier knows no relation between two readings.
    let start = ctx.data();
    if start + BYTES > ctx.data_end() {
        return None;
    }
    let words = start as *mut u64;
    // SAFETY: the bounds were checked, and packets begin at an address that is a multiple of eight; the loader's
    // values are read as such, not as the constants seen here.
    unsafe {
        for number in 0..TRAFFIC_WORDS {
            words.add(number).write(template[number]);
        }
        let flows = core::ptr::read_volatile(&raw const FLOWS);
        let is_v6 = core::ptr::read_volatile(&raw const IS_V6) != 0;
        let train = core::ptr::read_volatile(&raw const TRAIN);
        // Neighbours in time are far apart in number, so that nothing is in a cache by accident.
        let number = run.checked_div(train).unwrap_or(0).wrapping_mul(2_654_435_761).checked_rem(flows).unwrap_or(0);
        let client = (0x2000_0000 | number).to_be();
        let halves = (start + if is_v6 { CLIENT_V6 } else { CLIENT_V4 }) as *mut u16;
        halves.write(client as u16);
        halves.add(1).write((client >> 16) as u16);
    }
    Some(())
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// As the other programs'.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
