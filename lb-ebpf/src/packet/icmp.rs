//! ICMP errors about known flows: the packet inside says which, and both are translated.

use lb_common::counters::PacketExit as Exit;
use lb_common::packet::{FlowKey, TCP, UDP};

use crate::Verdict;
use crate::checksum::{addresses, apply, difference, sum};
use crate::decide::{Target, Told, service, to_client, to_server};
use crate::forward::{leave, rewrite_addresses};
use crate::frame::Frame;
use crate::headers::{Packet, Part, V4, V6, at, forget, network_v4, network_v6, read};
use crate::maps::server;
use crate::route::route;

/// Bytes before the packet inside (RFC 792, RFC 4443 section 3).
const ICMP_HEADER: usize = 8;

/// Reads the packet inside an ICMP error into `inner`; other messages are the kernel's.
#[inline(never)]
pub fn parse(ctx: &impl Frame, packet: &Packet, inner: &mut Packet) -> Result<(), Exit> {
    let kind: u8 = read(ctx, packet.transport).ok_or(Exit::Malformed)?;
    let is_error = if packet.v6 { matches!(kind, 1..=4) } else { matches!(kind, 3 | 11 | 12) };
    if !is_error || packet.part != Part::Whole {
        return Err(Exit::OtherProtocol);
    }
    forget(&mut inner.network, packet.transport + ICMP_HEADER);
    if packet.v6 {
        network_v6(ctx, inner)?
    } else {
        network_v4(ctx, inner)?
    }
    if inner.part == Part::Later || (inner.protocol != TCP && inner.protocol != UDP) {
        return Err(Exit::OtherProtocol);
    }
    let [source, destination]: [u16; 2] = read(ctx, inner.transport).ok_or(Exit::Malformed)?;
    inner.key.source_port = source;
    inner.key.destination_port = destination;
    Ok(())
}

/// Finds the target of an ICMP error, by the flow of the packet inside.
#[inline(never)]
pub fn target(packet: &Packet, inner: &Packet, found: &mut Target) -> Result<(), Exit> {
    let key = &inner.key;
    // The flow in the other direction than the packet inside.
    let back = FlowKey {
        source: key.destination,
        destination: key.source,
        source_port: key.destination_port,
        destination_port: key.source_port,
        protocol: key.protocol,
    };
    // About an answer of ours to a client: it must reach the server that sent it.
    if let Some(service) = service(&key.source, key.source_port, key.protocol) {
        if packet.key.destination != key.source {
            return Err(Exit::NoService);
        }
        *found = to_server(&back, service, Told::Nothing)?;
        return Ok(());
    }
    // About a packet of the client to a server, from that server or a router before it.
    match to_client(&back, Told::Nothing) {
        Ok(target) => *found = target,
        Err(Exit::NoService) => return Err(Exit::OtherProtocol),
        Err(why) => return Err(why),
    }
    if packet.key.destination == key.source { Ok(()) } else { Err(Exit::NoFlow) }
}

/// Rewrites the message, and the packet inside, which went the other way.
#[inline(never)]
pub fn translate(
    ctx: &impl Frame,
    packet: &Packet,
    inner: &Packet,
    target: &Target,
) -> Result<Verdict, Exit> {
    if packet.ttl <= 1 {
        return Err(Exit::TimeToLive);
    }
    let about = server(target.server).ok_or(Exit::NoServer)?;
    // A router's own address stays, unless clients have another one towards servers: those may know no way to it.
    let keeps_source = if target.backward {
        packet.key.source != about.address
    } else {
        target.source == inner.key.destination
    };
    let source = if keeps_source { &packet.key.source } else { &target.source };
    let server = if target.backward { None } else { Some(about) };
    let link = route(ctx, packet, packet.length, source, &target.destination, server)?;
    if !link.fits {
        return Err(Exit::TooBig);
    }
    let outer_change = rewrite_addresses(ctx, packet, source, &target.destination)?;

    let inner_change = difference(
        addresses(&inner.key.source, &inner.key.destination),
        addresses(&target.destination, &target.source),
    );
    let ports = [target.destination_port, target.source_port];
    let mut change = difference(sum([inner.key.source_port, inner.key.destination_port]), sum(ports));
    // SAFETY: `at` checks the bounds each time; headers may lie at any address.
    unsafe {
        if packet.v6 {
            let header = at::<V6>(ctx, inner.network).ok_or(Exit::Malformed)?;
            (&raw mut (*header).source).write_unaligned(target.destination);
            (&raw mut (*header).destination).write_unaligned(target.source);
            // ICMPv6 covers the outer addresses too, and IPv6 has no checksum that would outweigh the inner ones.
            change += outer_change + inner_change;
        } else {
            let header = at::<V4>(ctx, inner.network).ok_or(Exit::Malformed)?;
            (&raw mut (*header).source).write_unaligned(target.destination[3]);
            (&raw mut (*header).destination).write_unaligned(target.source[3]);
            let sum = &raw mut (*header).checksum;
            sum.write_unaligned(apply(sum.read_unaligned(), inner_change));
        }
        let place = at::<[u16; 2]>(ctx, inner.transport).ok_or(Exit::Malformed)?;
        place.write_unaligned(ports);
        let sum = at::<u16>(ctx, packet.transport + 2).ok_or(Exit::Malformed)?;
        sum.write_unaligned(apply(sum.read_unaligned(), change));
    }
    let verdict = leave(ctx, packet, &link, target.backward)?;
    Ok(Verdict { why: if link.known { Exit::IcmpError } else { verdict.why }, ..verdict })
}
