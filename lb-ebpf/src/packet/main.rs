//! `mode packet`: balancing in XDP or at a tc ingress hook, one packet in, one packet out.
//!
//! Parse, look up, decide, rewrite: one file each. A packet that is not certainly ours goes to the kernel as it
//! came; one that is ours and cannot be delivered is dropped. Each way out has its counter.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod checksum;
mod clamp;
mod classifier;
mod debug;
mod decide;
mod forward;
mod frame;
mod headers;
mod icmp;
mod maps;
mod route;
mod shield;
mod snat;
mod too_big;

use aya_ebpf::Global;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::counters::PacketExit as Exit;
use lb_common::packet::forwarding;

use frame::Frame;
use headers::{ICMP, ICMP6, Part};

/// Parts that the daemon switches on or off before it loads the program; the verifier leaves out what is off.
#[unsafe(no_mangle)]
static WITH_SHIELD: Global<u8> = Global::new(0);
#[unsafe(no_mangle)]
static WITH_SERVICES: Global<u8> = Global::new(1);
#[unsafe(no_mangle)]
static WITH_DEBUG: Global<u8> = Global::new(0);

/// Ethernet and IP headers, and those of TCP over IPv4.
const HEADERS_USUAL: usize = 54;

/// An action with the counter that says why.
struct Verdict {
    action: u32,
    why: Exit,
}

#[xdp]
pub fn packet(ctx: XdpContext) -> u32 {
    run(&ctx)
}

/// The same for interfaces without a driver that knows XDP; whole socket buffers, unlike generic XDP.
#[classifier]
pub fn packet_tc(ctx: TcContext) -> i32 {
    run(&ctx) as i32
}

#[inline(always)]
fn run<F: Frame>(ctx: &F) -> u32 {
    let verdict = match try_packet(ctx) {
        Ok(verdict) => verdict,
        Err(why) => {
            // Otherwise the verifier would go through what follows once for each reason.
            let why = maps::forgotten(why);
            if WITH_DEBUG.load() != 0 {
                debug::say(ctx, why);
            }
            Verdict { action: forward::refuse::<F>(why), why }
        }
    };
    maps::count(verdict.why);
    verdict.action
}

/// The error is why the packet goes no further here. Steps are functions of their own for the verifier's sake: the
/// stacks of those that are in progress at once may have 512 bytes together.
#[inline(always)]
fn try_packet(ctx: &impl Frame) -> Result<Verdict, Exit> {
    ctx.gather(HEADERS_USUAL);
    if WITH_SHIELD.load() != 0 {
        shield::check(ctx)?;
    }
    if WITH_SERVICES.load() == 0 {
        return Err(Exit::ShieldPassed);
    }
    let packet = maps::scratch(0).ok_or(Exit::Malformed)?;
    match facts(ctx, packet) {
        // What is missing may be there and not yet readable.
        Err(Exit::Malformed | Exit::NotIp) if ctx.gather(usize::MAX) => facts(ctx, packet)?,
        other => other?,
    }
    let target = maps::target().ok_or(Exit::Malformed)?;
    if (packet.protocol == ICMP || packet.protocol == ICMP6) && packet.part != Part::Later {
        ctx.gather(usize::MAX);
        let inner = maps::scratch(1).ok_or(Exit::Malformed)?;
        icmp::parse(ctx, packet, inner)?;
        icmp::target(packet, inner, target)?;
        if target.forwarding == forwarding::NAT {
            return icmp::translate(ctx, packet, inner, target);
        }
        return forward::send(ctx, packet, target);
    }
    decide::target(packet, target)?;
    if packet.handshake && target.forwarding == forwarding::NAT {
        clamp::lower(ctx, packet, target);
    }
    match forward::send(ctx, packet, target) {
        Err(Exit::TooBig) => {
            let source = if target.backward { target.source } else { packet.key.destination };
            too_big::tell(ctx, packet, &source)
        }
        other => other,
    }
}

/// What the headers say.
#[inline(always)]
fn facts(ctx: &impl Frame, packet: &mut headers::Packet) -> Result<(), Exit> {
    headers::parse(ctx, packet)?;
    if packet.part == Part::Later { Ok(()) } else { headers::transport(ctx, packet) }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// As the other programs'.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
