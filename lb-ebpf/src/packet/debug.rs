//! Lines for the log about packets that are dropped or make no sense (`ebpf.debug on`). In a program that is loaded
//! without them nothing of this is left.
//!
//! A line is numbers and addresses; the daemon has the words.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_log_ebpf::debug;
use lb_common::counters::PacketExit as Exit;
use lb_common::limits::DEBUG_LINES;
use lb_common::packet::{Address, MAPPED, TCP, UDP};

use crate::frame::Frame;
use crate::headers::{self, ETHERTYPE_V4, ETHERTYPE_V6, V4, V6, read};

/// The lines of a moment.
#[repr(C)]
#[derive(Clone, Copy)]
struct Said {
    /// Seconds, nearly.
    second: u64,
    lines: u64,
}

#[map]
static DEBUG_SAID: PerCpuArray<Said> = PerCpuArray::with_max_entries(1, 0);

/// Both ends, as the packet has them now.
struct Ends {
    protocol: u8,
    source: Address,
    destination: Address,
    ports: [u16; 2],
}

/// A line, if this way out is one of those that are worth it and there were not too many of late.
#[inline(never)]
pub fn say(ctx: &impl Frame, why: Exit) -> u32 {
    // In the order of the enumeration all that is dropped comes last. What the shield denies has its own counters.
    let wrong = why as u32 >= Exit::NoServer as u32 && why as u32 != Exit::ShieldDenied as u32;
    if !wrong && why as u32 != Exit::Malformed as u32 || !may_speak() {
        return 0;
    }
    let interface = ctx.interface();
    let Some(ends) = ends(ctx) else {
        debug!((), "{} {}", why as u32, interface);
        return 1;
    };
    debug!(
        (),
        "{} {} {} {:i} {} {:i} {}",
        why as u32,
        interface,
        ends.protocol,
        octets(&ends.source),
        u16::from_be(ends.ports[0]),
        octets(&ends.destination),
        u16::from_be(ends.ports[1])
    );
    1
}

/// Whether this CPU has said less than [`DEBUG_LINES`] in this second.
#[inline(always)]
fn may_speak() -> bool {
    let Some(said) = DEBUG_SAID.get_ptr_mut(0) else { return false };
    // SAFETY: the element belongs to this CPU, on which no other run of the program is in progress; the helper has no
    // conditions.
    unsafe {
        let second = bpf_ktime_get_ns() >> 30;
        if (*said).second != second {
            *said = Said { second, lines: 0 };
        }
        (*said).lines += 1;
        (*said).lines <= DEBUG_LINES
    }
}

#[inline(always)]
fn ends(ctx: &impl Frame) -> Option<Ends> {
    let (ethertype, network) = headers::ethernet(ctx)?;
    let (mut ends, transport) = match ethertype {
        ETHERTYPE_V4 => {
            let header: V4 = read(ctx, network)?;
            let source = [0, 0, MAPPED, header.source];
            let destination = [0, 0, MAPPED, header.destination];
            let bytes = ((header.version_length & 0x0f) as usize) * 4;
            (Ends { protocol: header.protocol, source, destination, ports: [0; 2] }, network + bytes)
        }
        ETHERTYPE_V6 => {
            let header: V6 = read(ctx, network)?;
            let V6 { next_header: protocol, source, destination, .. } = header;
            (Ends { protocol, source, destination, ports: [0; 2] }, network + size_of::<V6>())
        }
        _ => return None,
    };
    if ends.protocol == TCP || ends.protocol == UDP {
        ends.ports = read(ctx, transport).unwrap_or([0; 2]);
    }
    Some(ends)
}

#[inline(always)]
fn octets(address: &Address) -> [u8; 16] {
    let mut octets = [0; 16];
    for (word, bytes) in address.iter().zip(octets.chunks_exact_mut(4)) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    octets
}
