//! ICMP errors about known flows: the packet inside says which, and both are translated.

use lb_common::counters::PacketExit as Exit;
use lb_common::packet::{FlowKey, TCP, UDP};

use crate::Verdict;
use crate::checksum::{self, apply, difference};
use crate::decide::{Target, endpoint, service_of, to_server};
use crate::forward::{leave, rewrite_address, write_port};
use crate::frame::Frame;
use crate::headers::{Packet, Part, V4, V6, at, forget, network_v4, network_v6, read};
use crate::maps::{BACKWARD, SERVICES, server};
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

/// The target of an ICMP error, by the flow of the packet inside.
#[inline(never)]
pub fn target(packet: &Packet, inner: &Packet) -> Result<Target, Exit> {
    let key = &inner.key;
    // About an answer of ours to a client: it must reach the server that sent it.
    // SAFETY: the value is replaced whole and stays until the program ends.
    if let Some(service) = unsafe { SERVICES.get(&endpoint(&key.source, key.source_port, key.protocol)) } {
        if packet.key.destination != key.source {
            return Err(Exit::NoService);
        }
        let flow = FlowKey {
            source: key.destination,
            destination: key.source,
            source_port: key.destination_port,
            destination_port: key.source_port,
            protocol: key.protocol,
        };
        return to_server(&flow, service, false, false);
    }
    // About a packet of the client to a server, from that server or a router before it.
    let to = endpoint(&key.destination, key.destination_port, key.protocol);
    // SAFETY: as above.
    let backward = unsafe { BACKWARD.get(&to) }.ok_or(Exit::OtherProtocol)?;
    if packet.key.destination != key.source {
        return Err(Exit::NoFlow);
    }
    service_of(backward, &key.source, key.source_port, key.protocol)
}

/// Rewrites the message and the packet inside. On the way to the server that is the outer destination and the inner
/// source; on the way back the inner destination, and the outer source if the server itself complains.
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
    let link = if target.backward {
        route(ctx, packet, packet.length, &target.address, &packet.key.destination, None)?
    } else {
        route(ctx, packet, packet.length, &packet.key.source, &target.address, Some(about))?
    };
    if !link.fits {
        return Err(Exit::TooBig);
    }
    let (old, old_port) = if target.backward {
        (&inner.key.destination, inner.key.destination_port)
    } else {
        (&inner.key.source, inner.key.source_port)
    };
    let port = if target.port == 0 { old_port } else { target.port };
    // A router's own address stays, but the time to live changes all the same.
    let keeps_source = target.backward && packet.key.source != about.address;
    let outer = if keeps_source { &packet.key.source } else { &target.address };
    let outer_change = rewrite_address(ctx, packet, target.backward, outer)?;

    let inner_change = difference(checksum::address(old), checksum::address(&target.address));
    let mut change = difference(old_port as u64, port as u64);
    // SAFETY: `at` checks the bounds each time; headers may lie at any address.
    unsafe {
        if packet.v6 {
            let header = at::<V6>(ctx, inner.network).ok_or(Exit::Malformed)?;
            let place =
                if target.backward { &raw mut (*header).destination } else { &raw mut (*header).source };
            place.write_unaligned(target.address);
            // ICMPv6 covers the outer addresses too, and IPv6 has no checksum that would outweigh the inner ones.
            change += outer_change + inner_change;
        } else {
            let header = at::<V4>(ctx, inner.network).ok_or(Exit::Malformed)?;
            let place =
                if target.backward { &raw mut (*header).destination } else { &raw mut (*header).source };
            place.write_unaligned(target.address[3]);
            let sum = &raw mut (*header).checksum;
            sum.write_unaligned(apply(sum.read_unaligned(), inner_change));
        }
        write_port(ctx, inner.transport, !target.backward, port)?;
        let sum = at::<u16>(ctx, packet.transport + 2).ok_or(Exit::Malformed)?;
        sum.write_unaligned(apply(sum.read_unaligned(), change));
    }
    let verdict = leave(ctx, packet, &link, target.backward)?;
    Ok(Verdict { why: if link.known { Exit::IcmpError } else { verdict.why }, ..verdict })
}
