//! How a packet gets to its target: NAT, direct server return, or inside another packet.
//!
//! The way out is looked up before anything is changed, so that a packet which cannot leave is not half rewritten.

use lb_common::counters::PacketExit as Exit;
use lb_common::packet::{Address, Server, forwarding, is_v4};

use crate::Verdict;
use crate::checksum::{self, addresses, apply, difference, sum};
use crate::decide::Target;
use crate::frame::{Frame, checksum_place};
use crate::headers::{ETHERTYPE_V4, ETHERTYPE_V6, Packet, Part, V4, V6, at, read};
use crate::maps::{account, server};
use crate::route::{Link, on_wire, route};

/// Time to live of outer headers: Linux's own default.
const OUTER_TTL: u8 = 64;
/// "Do not fragment" in an IPv4 header.
const DO_NOT_FRAGMENT: u16 = 0x4000_u16.to_be();
/// IP in IP (RFC 2003) and IPv6 in IP (RFC 2473), as protocol numbers.
const IN_IP_V4: u8 = 4;
const IN_IP_V6: u8 = 41;

/// What spoils a checksum.
const DAMAGE: u16 = 0x5a5a;

/// The action of a packet that goes no further here.
#[inline(always)]
pub fn refuse<F: Frame>(why: Exit) -> u32 {
    // In the order of the enumeration everything from here on is dropped.
    if why as u32 >= Exit::NoServer as u32 { F::DROP } else { F::PASS }
}

#[inline(always)]
fn pass<F: Frame>(_ctx: &F) -> u32 {
    F::PASS
}

/// Rewrites the packet as its target says and sends it. When it does not fit the way, [`Packet::mtu`] says what would.
///
/// Only what NAT sends to a server in its client's name can be cut into fragments, by the kernel: it would not forward
/// what has an address of its own as its source, and nobody could translate the fragments of the others.
#[inline(never)]
pub fn send(ctx: &impl Frame, packet: &mut Packet, target: &Target) -> Result<Verdict, Exit> {
    let server = server(target.server).ok_or(Exit::NoServer)?;
    if packet.ttl <= 1 {
        return Err(Exit::TimeToLive);
    }
    let verdict = match target.forwarding {
        forwarding::NAT => nat(ctx, packet, target, server)?,
        forwarding::DSR => {
            same_family(packet, server)?;
            let link =
                route(ctx, packet, on_wire(ctx, packet), &packet.key.source, &server.address, Some(server))?;
            let link = known(ctx, packet, link, 0)?;
            hop(ctx, packet)?;
            leave(ctx, packet, &link, false)?
        }
        _ => tunnel(ctx, packet, server)?,
    };
    account(target.server, target.backward, packet.length);
    Ok(verdict)
}

#[inline(always)]
fn nat<F: Frame>(ctx: &F, packet: &mut Packet, target: &Target, server: &Server) -> Result<Verdict, Exit> {
    same_family(packet, server)?;
    let server = if target.backward { None } else { Some(server) };
    let link = route(ctx, packet, on_wire(ctx, packet), &target.source, &target.destination, server)?;
    let from_us = target.source != packet.key.source;
    if !link.fits && (packet.whole || from_us) {
        packet.mtu = link.mtu;
        return Err(Exit::TooBig);
    }
    if link.fits && !link.known && !F::WAITS && from_us && !packet.v6 {
        return ask(ctx, packet, target);
    }
    let change = rewrite_addresses(ctx, packet, &target.source, &target.destination)?;
    if packet.part != Part::Later {
        rewrite_transport(ctx, packet, target, change)?;
    }
    leave(ctx, packet, &link, target.backward)
}

/// Makes the kernel ask for the next hop's address, for packets that it would not forward because their source is an
/// address of its own: it gets a copy with the source as it was and a wrong checksum, which whoever it reaches drops.
/// The packet itself is lost: its sender must be ready for that.
#[inline(always)]
fn ask(ctx: &impl Frame, packet: &Packet, target: &Target) -> Result<Verdict, Exit> {
    if packet.part == Part::Later {
        return Err(Exit::NoLink);
    }
    let place = at::<u16>(ctx, checksum_place(packet)).ok_or(Exit::Malformed)?;
    // SAFETY: `at` checked the bounds.
    unsafe {
        let damaged = place.read_unaligned() ^ DAMAGE;
        // 0 says that UDP has no checksum.
        place.write_unaligned(if damaged == 0 { !DAMAGE } else { damaged });
    }
    rewrite_addresses(ctx, packet, &packet.key.source, &target.destination)?;
    Ok(Verdict { action: pass(ctx), why: Exit::NeighbourAsked })
}

#[inline(always)]
fn same_family(packet: &Packet, server: &Server) -> Result<(), Exit> {
    if is_v4(&server.address) == packet.v6 { Err(Exit::NoServer) } else { Ok(()) }
}

/// A link over which the packet, with `outer` bytes around it, can be sent at once and in one piece.
#[inline(always)]
fn known<F: Frame>(_ctx: &F, packet: &mut Packet, link: Link, outer: u32) -> Result<Link, Exit> {
    if !link.fits {
        packet.mtu = link.mtu.saturating_sub(outer);
        return Err(Exit::TooBig);
    }
    if link.known || F::WAITS { Ok(link) } else { Err(Exit::NoLink) }
}

/// Sends the packet as it is now over `link`, or gives it to the kernel to find the next hop.
#[inline(always)]
pub fn leave(ctx: &impl Frame, packet: &Packet, link: &Link, backward: bool) -> Result<Verdict, Exit> {
    if !link.fits {
        return Ok(Verdict { action: pass(ctx), why: Exit::ToFragment });
    }
    if !link.known {
        return Ok(Verdict { action: ctx.transmit_unknown(packet, link)?, why: Exit::NoNeighbour });
    }
    ctx.retag(packet, link.tag)?;
    let addresses = at::<[u16; 6]>(ctx, 0).ok_or(Exit::Malformed)?;
    // SAFETY: `at` checked the bounds.
    unsafe { addresses.write_unaligned(link.addresses) };
    let why = match (link.ifindex == ctx.interface(), backward) {
        (true, false) => Exit::Sent,
        (true, true) => Exit::SentBack,
        (false, false) => Exit::Redirected,
        (false, true) => Exit::RedirectedBack,
    };
    Ok(Verdict { action: ctx.transmit(link.ifindex), why })
}

/// Replaces source and destination in the IP header and takes one from the time to live. Returns what checksums that
/// cover the addresses change by.
#[inline(always)]
pub fn rewrite_addresses(
    ctx: &impl Frame,
    packet: &Packet,
    source: &Address,
    destination: &Address,
) -> Result<u64, Exit> {
    let old = addresses(&packet.key.source, &packet.key.destination);
    let change = difference(old, addresses(source, destination));
    if packet.v6 {
        let header = at::<V6>(ctx, packet.network).ok_or(Exit::Malformed)?;
        // SAFETY: `at` checked the bounds; headers may lie at any address.
        unsafe {
            (&raw mut (*header).source).write_unaligned(*source);
            (&raw mut (*header).destination).write_unaligned(*destination);
            (&raw mut (*header).hop_limit).write(packet.ttl - 1);
        }
        let hops = |limit: u8| u16::from_ne_bytes([0, limit]) as u64;
        ctx.changed(difference(hops(packet.ttl), hops(packet.ttl - 1)));
        return Ok(change);
    }
    let header = at::<V4>(ctx, packet.network).ok_or(Exit::Malformed)?;
    // SAFETY: as above.
    unsafe {
        (&raw mut (*header).source).write_unaligned(source[3]);
        (&raw mut (*header).destination).write_unaligned(destination[3]);
        (&raw mut (*header).ttl).write(packet.ttl - 1);
        let sum = &raw mut (*header).checksum;
        // The time to live is the first byte of its word.
        let ttl = |ttl: u8| u16::from_ne_bytes([ttl, 0]) as u64;
        let change = change + difference(ttl(packet.ttl), ttl(packet.ttl - 1));
        sum.write_unaligned(apply(sum.read_unaligned(), change));
    }
    Ok(change)
}

/// Takes one from the time to live and changes nothing else: two balancers that are each other's servers would send a
/// packet round for ever.
#[inline(never)]
fn hop(ctx: &impl Frame, packet: &Packet) -> Result<(), Exit> {
    let left = packet.ttl - 1;
    if packet.v6 {
        let header = at::<V6>(ctx, packet.network).ok_or(Exit::Malformed)?;
        // SAFETY: `at` checked the bounds; headers may lie at any address.
        unsafe { (&raw mut (*header).hop_limit).write(left) };
        let hops = |limit: u8| u16::from_ne_bytes([0, limit]) as u64;
        ctx.changed(difference(hops(packet.ttl), hops(left)));
        return Ok(());
    }
    let header = at::<V4>(ctx, packet.network).ok_or(Exit::Malformed)?;
    let ttl = |ttl: u8| u16::from_ne_bytes([ttl, 0]) as u64;
    // SAFETY: as above.
    unsafe {
        (&raw mut (*header).ttl).write(left);
        let sum = &raw mut (*header).checksum;
        sum.write_unaligned(apply(sum.read_unaligned(), difference(ttl(packet.ttl), ttl(left))));
    }
    Ok(())
}

/// Replaces both ports, and corrects the checksum for them and for the addresses.
#[inline(always)]
fn rewrite_transport(ctx: &impl Frame, packet: &Packet, target: &Target, addresses: u64) -> Result<(), Exit> {
    let ports = [target.source_port, target.destination_port];
    let place = at::<[u16; 2]>(ctx, packet.transport).ok_or(Exit::Malformed)?;
    // SAFETY: `at` checked the bounds.
    unsafe { place.write_unaligned(ports) };
    ctx.correct(
        packet,
        addresses,
        difference(sum([packet.key.source_port, packet.key.destination_port]), sum(ports)),
    )
}

/// Puts the packet into another one that goes to the server.
#[inline(always)]
fn tunnel(ctx: &impl Frame, packet: &mut Packet, server: &Server) -> Result<Verdict, Exit> {
    let over_v4 = is_v4(&server.address);
    let room = if over_v4 { size_of::<V4>() } else { size_of::<V6>() } as u32;
    let on_wire = on_wire(ctx, packet) + room;
    if on_wire > u16::MAX as u32 {
        packet.mtu = u16::MAX as u32 - room;
        return Err(Exit::TooBig);
    }
    // What stands for several packets may be larger; each of them gets its own length when they are parted.
    let length = (packet.length + room).min(u16::MAX as u32);
    let link = route(ctx, packet, on_wire, &server.source, &server.address, Some(server))?;
    let link = known(ctx, packet, link, room)?;
    let service = service_type(ctx, packet)?;
    hop(ctx, packet)?;
    let network = ctx.wrap(packet, over_v4)?;
    let ethertype = at::<u16>(ctx, network - 2).ok_or(Exit::NoRoom)?;
    // SAFETY: `at` checked the bounds.
    unsafe { ethertype.write_unaligned(if over_v4 { ETHERTYPE_V4 } else { ETHERTYPE_V6 }) };
    let protocol = if packet.v6 { IN_IP_V6 } else { IN_IP_V4 };
    if over_v4 {
        let outer = at::<V4>(ctx, network).ok_or(Exit::NoRoom)?;
        let header = outer_v4(server, service, length, protocol);
        // SAFETY: as above.
        unsafe { outer.write_unaligned(header) };
    } else {
        let outer = at::<V6>(ctx, network).ok_or(Exit::NoRoom)?;
        let header = V6 {
            version_class_flow: ((6 << 28) | ((service as u32) << 20)).to_be(),
            payload_length: ((length - room) as u16).to_be(),
            next_header: protocol,
            hop_limit: OUTER_TTL,
            source: server.source,
            destination: server.address,
        };
        // SAFETY: as above.
        unsafe { outer.write_unaligned(header) };
        ctx.changed(header.sum());
    }
    leave(ctx, packet, &link, false)
}

#[inline(always)]
fn outer_v4(server: &Server, service: u8, length: u32, protocol: u8) -> V4 {
    let total_length = (length as u16).to_be();
    let word = |high: u8, low: u8| u16::from_ne_bytes([high, low]) as u64;
    let sum = server.extra as u64 + word(0, service) + word(OUTER_TTL, protocol) + total_length as u64;
    V4 {
        version_length: 0x45,
        service,
        total_length,
        identification: 0,
        fragment: DO_NOT_FRAGMENT,
        ttl: OUTER_TTL,
        protocol,
        checksum: !checksum::fold(sum),
        source: server.source[3],
        destination: server.address[3],
    }
}

/// Service type or traffic class, congestion bits included: the outer header has the same (RFC 6040).
#[inline(always)]
fn service_type(ctx: &impl Frame, packet: &Packet) -> Result<u8, Exit> {
    let [first, second]: [u8; 2] = read(ctx, packet.network).ok_or(Exit::Malformed)?;
    Ok(if packet.v6 { (first << 4) | (second >> 4) } else { second })
}
