//! `ebpf.clamp-mss`: the largest segment that a TCP handshake offers is lowered to what fits both ways.
//!
//! Only NAT sees both halves of a handshake, and only there do the segments that it is about come through here.

use lb_common::counters::PacketExit as Exit;
use lb_common::limits::PACKET_TCP_OPTIONS;
use lb_common::packet::{Address, CLAMP_MSS};

use crate::checksum::difference;
use crate::decide::{Target, service};
use crate::frame::Frame;
use crate::headers::{Packet, V4, V6, at, forget, read, recall};
use crate::maps::server;
use crate::route::mtu;

/// Bytes of a TCP header without options; the segment size does not count them either (RFC 6691).
const TCP_HEADER: usize = 20;

/// Kinds of options (RFC 9293 section 3.1).
const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const SEGMENT_SIZE: u8 = 2;

/// Lowers what a SYN offers, if the service wants it. A header that makes no sense stays as it is.
#[inline(never)]
pub fn lower(ctx: &impl Frame, packet: &mut Packet, target: &Target) {
    if !wanted(packet, target) {
        return;
    }
    ctx.gather(usize::MAX);
    let fits = both_ways(ctx, packet, target);
    let headers = TCP_HEADER as u32 + if packet.v6 { size_of::<V6>() } else { size_of::<V4>() } as u32;
    if fits <= headers {
        return;
    }
    // When this fails the offer has not been touched.
    let _ = options(ctx, packet, (fits - headers) as u16);
}

#[inline(always)]
fn wanted(packet: &Packet, target: &Target) -> bool {
    let key = &packet.key;
    let found = if target.backward {
        service(&target.source, target.source_port, key.protocol)
    } else {
        service(&key.destination, key.destination_port, key.protocol)
    };
    found.is_some_and(|service| service.flags & CLAMP_MSS != 0)
}

/// Largest IP packet between the client and the server; 0 when it is not known.
#[inline(always)]
fn both_ways(ctx: &impl Frame, packet: &Packet, target: &Target) -> u32 {
    let Some(server) = server(target.server) else { return 0 };
    let client: &Address = if target.backward { &target.destination } else { &packet.key.source };
    let mut least = server.mtu;
    for way in [&server.address, client] {
        let fits = mtu(ctx, packet, way);
        if fits != 0 && (least == 0 || fits < least) {
            least = fits;
        }
    }
    least
}

/// Finds the offer among the options, and lowers it.
#[inline(always)]
fn options(ctx: &impl Frame, packet: &mut Packet, size: u16) -> Option<()> {
    let end = packet.network + packet.headers as usize;
    let mut option = packet.transport + TCP_HEADER;
    forget(&mut packet.option, option);
    for _ in 0..PACKET_TCP_OPTIONS {
        option = recall(&packet.option);
        if option + 4 > end {
            return None;
        }
        let [kind, length, high, low]: [u8; 4] = read(ctx, option)?;
        let step = match kind {
            END => return None,
            NO_OPERATION => 1,
            SEGMENT_SIZE if length == 4 => {
                let offer = u16::from_be_bytes([high, low]);
                if offer > size {
                    replace(ctx, packet, option + 2, offer, size).ok()?;
                }
                return Some(());
            }
            _ if length < 2 => return None,
            _ => length as usize,
        };
        forget(&mut packet.option, option + step);
    }
    None
}

#[inline(always)]
fn replace(ctx: &impl Frame, packet: &Packet, place: usize, old: u16, new: u16) -> Result<(), Exit> {
    let field = at::<u16>(ctx, place).ok_or(Exit::Malformed)?;
    // SAFETY: `at` checked the bounds.
    unsafe { field.write_unaligned(new.to_be()) };
    // Behind an odd number of bytes it lies across two words of the sum.
    let (old, new) = if (place - packet.transport) & 1 == 0 {
        (old.to_be(), new.to_be())
    } else {
        (old.to_le(), new.to_le())
    };
    ctx.correct(packet, 0, difference(old as u64, new as u64))
}
