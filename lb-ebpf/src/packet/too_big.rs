//! Packets that are larger than their way: the sender is told what fits (RFC 1191, RFC 8201).
//!
//! IPv4 senders are told even when they allow fragments, where nobody here could make them: see
//! [`nat`](crate::forward::send).

use aya_ebpf::helpers::bpf_csum_diff;
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use lb_common::counters::PacketExit as Exit;
use lb_common::limits::PACKET_ANSWERS;
use lb_common::packet::{Address, LINK_MIN_V6};

use crate::Verdict;
use crate::checksum::{self, fold};
use crate::frame::Frame;
use crate::headers::{ICMP, ICMP6, Packet, Part, V4, V6, at, read};

/// What one CPU has answered in this second.
#[map]
static ANSWERS: PerCpuArray<Answers> = PerCpuArray::with_max_entries(1, 0);

#[derive(Clone, Copy)]
struct Answers {
    second: u64,
    count: u64,
}

const NANOSECONDS: u64 = 1_000_000_000;

/// Type and code of the answers, and the time to live that they start with.
const NEEDS_FRAGMENTS: u16 = u16::from_ne_bytes([3, 4]);
const PACKET_TOO_BIG: u16 = u16::from_ne_bytes([2, 0]);
const TTL: u8 = 64;

/// How much of the packet an answer quotes: an IPv4 host must take 576 bytes (RFC 1812 section 4.3.2.3), an IPv6 one
/// the least that every link carries (RFC 4443 section 2.4). [`bpf_csum_diff`] takes 512 bytes at once.
const LENGTH_V4: usize = 576;
const QUOTE_V4: usize = LENGTH_V4 - size_of::<V4>() - size_of::<Icmp>();
const QUOTE_V6: usize = LINK_MIN_V6 as usize - size_of::<V6>() - size_of::<Icmp>();
const SUM_STEP: usize = 512;

/// "Fragmentation needed" and "packet too big"; they differ in where the limit is.
#[repr(C)]
#[derive(Clone, Copy)]
struct Icmp {
    kind: u16,
    checksum: u16,
    limit: [u16; 2],
}

/// Turns the packet into an answer to its sender; `source` is where the answer comes from, an address of ours. The
/// error is why it is dropped instead.
#[inline(never)]
pub fn tell(ctx: &impl Frame, packet: &Packet, source: &Address) -> Result<Verdict, Exit> {
    let quote = if packet.v6 { QUOTE_V6 } else { QUOTE_V4 };
    // Later fragments are never answered (RFC 1122 section 3.2.2; that the source is one host has been seen to), and an IPv6 host takes no smaller limit.
    if packet.part == Part::Later
        || (packet.length as usize) < quote
        || (packet.v6 && packet.mtu < LINK_MIN_V6)
        || !may_answer()
    {
        return Err(Exit::TooBig);
    }
    if packet.v6 {
        tell_v6(ctx, packet, source)?
    } else {
        tell_v4(ctx, packet, source)?
    }
    let addresses: [[u16; 3]; 2] = read(ctx, 0).ok_or(Exit::TooBig)?;
    let place = at::<[[u16; 3]; 2]>(ctx, 0).ok_or(Exit::TooBig)?;
    // SAFETY: `at` checked the bounds.
    unsafe { place.write_unaligned([addresses[1], addresses[0]]) };
    Ok(Verdict { action: ctx.transmit(ctx.interface()), why: Exit::TooBigAnswered })
}

/// Whether this CPU has answers left for this second.
#[inline(always)]
fn may_answer() -> bool {
    // SAFETY: the helper has no conditions.
    let second = unsafe { bpf_ktime_get_coarse_ns() } / NANOSECONDS;
    let Some(answers) = ANSWERS.get_ptr_mut(0) else { return false };
    // SAFETY: the element belongs to this CPU, on which no other run of the program is in progress.
    let answers = unsafe { &mut *answers };
    if answers.second != second {
        *answers = Answers { second, count: 0 };
    }
    answers.count += 1;
    answers.count <= PACKET_ANSWERS
}

#[inline(always)]
fn tell_v4(ctx: &impl Frame, packet: &Packet, source: &Address) -> Result<(), Exit> {
    let (to, limit) = (packet.key.source[3], packet.mtu);
    let network = ctx.quote(packet, size_of::<V4>() + size_of::<Icmp>(), QUOTE_V4)?;
    let total_length = (LENGTH_V4 as u16).to_be();
    let mut header = V4 {
        version_length: 0x45,
        service: 0,
        total_length,
        identification: 0,
        fragment: 0,
        ttl: TTL,
        protocol: ICMP,
        checksum: 0,
        source: source[3],
        destination: to,
    };
    let word = |high: u8, low: u8| u16::from_ne_bytes([high, low]) as u64;
    header.checksum =
        !fold(word(0x45, 0) + total_length as u64 + word(TTL, ICMP) + source[3] as u64 + to as u64);
    let place = at::<V4>(ctx, network).ok_or(Exit::TooBig)?;
    // SAFETY: `at` checked the bounds.
    unsafe { place.write_unaligned(header) };
    let message = network + size_of::<V4>();
    let limit = [0, (limit as u16).to_be()];
    let sum = sum_of::<QUOTE_V4>(ctx, message + size_of::<Icmp>())?;
    let icmp = Icmp { kind: NEEDS_FRAGMENTS, checksum: 0, limit };
    write(ctx, message, icmp, sum)
}

#[inline(always)]
fn tell_v6(ctx: &impl Frame, packet: &Packet, source: &Address) -> Result<(), Exit> {
    let (to, limit) = (packet.key.source, packet.mtu);
    let network = ctx.quote(packet, size_of::<V6>() + size_of::<Icmp>(), QUOTE_V6)?;
    let payload_length = ((QUOTE_V6 + size_of::<Icmp>()) as u16).to_be();
    let header = V6 {
        version_class_flow: (6_u32 << 28).to_be(),
        payload_length,
        next_header: ICMP6,
        hop_limit: TTL,
        source: *source,
        destination: to,
    };
    let place = at::<V6>(ctx, network).ok_or(Exit::TooBig)?;
    // SAFETY: `at` checked the bounds.
    unsafe { place.write_unaligned(header) };
    ctx.changed(header.sum());
    let message = network + size_of::<V6>();
    let limit = limit.to_be().to_ne_bytes();
    let limit = [u16::from_ne_bytes([limit[0], limit[1]]), u16::from_ne_bytes([limit[2], limit[3]])];
    let sum = sum_of::<QUOTE_V6>(ctx, message + size_of::<Icmp>())?;
    // The pseudo-header: both addresses, the length and the protocol (RFC 8200 section 8.1).
    let pseudo = checksum::address(source)
        + checksum::address(&to)
        + payload_length as u64
        + u16::from_ne_bytes([0, ICMP6]) as u64;
    write(ctx, message, Icmp { kind: PACKET_TOO_BIG, checksum: 0, limit }, sum + pseudo)
}

/// The sum of the `BYTES` that are quoted.
#[inline(always)]
fn sum_of<const BYTES: usize>(ctx: &impl Frame, from: usize) -> Result<u64, Exit> {
    // One check for all: offsets that differ from run to run reach no further than headers do.
    let quote = at::<[u8; BYTES]>(ctx, from).ok_or(Exit::TooBig)?;
    let mut sum = 0;
    let mut place = 0;
    while place < BYTES {
        let step = if BYTES - place < SUM_STEP { BYTES - place } else { SUM_STEP };
        // SAFETY: `at` checked the bounds of all.
        let added = unsafe {
            bpf_csum_diff(core::ptr::null_mut(), 0, quote.cast::<u8>().add(place).cast(), step as u32, sum)
        };
        if added < 0 {
            return Err(Exit::TooBig);
        }
        sum = added as u32;
        place += step;
    }
    Ok(sum as u64)
}

/// Writes the message's header with its checksum; `sum` is that of the rest.
#[inline(always)]
fn write(ctx: &impl Frame, message: usize, icmp: Icmp, sum: u64) -> Result<(), Exit> {
    let [first, second] = icmp.limit;
    let own = icmp.kind as u64 + first as u64 + second as u64;
    let checksum = !fold(sum + own);
    let place = at::<Icmp>(ctx, message).ok_or(Exit::TooBig)?;
    // SAFETY: `at` checked the bounds.
    unsafe { place.write_unaligned(Icmp { checksum, ..icmp }) };
    ctx.changed(own + checksum as u64);
    Ok(())
}
