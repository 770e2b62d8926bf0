//! From bytes to facts: bounds-checked reads, and what one packet says about itself.
//!
//! The only pointer arithmetic of the program is in [`at`]. Nothing here changes a packet. Facts go into memory of a
//! map and come back from there, so that the verifier forgets on which of the many ways they were found: with facts in
//! registers it went through more than a million instructions.

use core::arch::asm;

use lb_common::counters::PacketExit as Exit;
use lb_common::limits::PACKET_EXTENSION_HEADERS;
use lb_common::packet::{Address, FlowKey, MAPPED, TCP, UDP, is_v4};

use crate::checksum;
use crate::frame::Frame;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
pub const VLAN_TAG: usize = 4;
pub const VLAN_TAGS_MAX: usize = 2;
pub const ETHERTYPE_V4: u16 = 0x0800_u16.to_be();
pub const ETHERTYPE_V6: u16 = 0x86dd_u16.to_be();
const ETHERTYPE_8021Q: u16 = 0x8100_u16.to_be();
const ETHERTYPE_8021AD: u16 = 0x88a8_u16.to_be();

/// Extension headers that are stepped over (RFC 8200 section 4).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

pub const ICMP: u8 = 1;
pub const ICMP6: u8 = 58;

/// Offsets within a packet stay below this: link, network and extension headers, and those inside an ICMP error.
const OFFSET_MASK: usize = 0x3ff;

/// The fragment offset, "more fragments" and "do not fragment" of an IPv4 header.
const V4_OFFSET: u16 = 0x1fff;
const V4_MORE: u16 = 0x2000;
const V4_WHOLE: u16 = 0x4000;

/// The flags of a TCP header that matter here.
pub const TCP_FIN: u8 = 0x01;
const TCP_SYN: u8 = 0x02;
pub const TCP_RST: u8 = 0x04;
const TCP_ACK: u8 = 0x10;

/// The same value, of which the compiler knows nothing.
#[inline(always)]
pub fn opaque(value: usize) -> usize {
    let mut value = value;
    // SAFETY: moves a register to itself. An empty instruction would not do: two lines of source for one instruction
    // make the kernel refuse the line information.
    unsafe { asm!("{0} = {0}", inout(reg) value) };
    value
}

/// A pointer to `T` at `offset`, if the packet holds it all.
#[inline(always)]
pub fn at<T>(ctx: &impl Frame, offset: usize) -> Option<*mut T> {
    let end = ctx.end();
    // The bound has to stay in the program: the verifier forgets bounds when a value rests on the stack.
    let place = opaque(offset) & OFFSET_MASK;
    // Else the compiler would check one sum and use another, and the verifier knows only the one that was compared
    // with the end.
    let start = opaque(ctx.start() + place);
    if start + size_of::<T>() > end { None } else { Some(start as *mut T) }
}

/// A copy of the `T` at `offset`.
#[inline(always)]
pub fn read<T: Copy>(ctx: &impl Frame, offset: usize) -> Option<T> {
    // SAFETY: `at` checked the bounds; headers have no alignment of their own.
    at::<T>(ctx, offset).map(|place| unsafe { place.read_unaligned() })
}

/// An IPv4 header without options (RFC 791 section 3.1), in network order.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct V4 {
    pub version_length: u8,
    pub service: u8,
    pub total_length: u16,
    pub identification: u16,
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: u16,
    pub source: u32,
    pub destination: u32,
}

/// An IPv6 header (RFC 8200 section 3), in network order.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct V6 {
    pub version_class_flow: u32,
    pub payload_length: u16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: Address,
    pub destination: Address,
}

impl V6 {
    /// The sum of its words, which no checksum of its own outweighs.
    #[inline(always)]
    pub fn sum(&self) -> u64 {
        let rest = u32::from_ne_bytes([self.next_header, self.hop_limit, 0, 0]) as u64;
        let length = self.payload_length as u64;
        let addresses = checksum::address(&self.source) + checksum::address(&self.destination);
        self.version_class_flow as u64 + length + rest + addresses
    }
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// It has the transport header.
    First,
    Later,
}

/// What is known of a packet. Offsets are from the Ethernet header.
#[derive(Clone, Copy)]
pub struct Packet {
    /// Where the IP header begins.
    pub network: usize,
    /// Where the transport header begins.
    pub transport: usize,
    /// Where the TCP option in hand begins.
    pub option: usize,
    /// What was found to fit the way, when the packet does not.
    pub mtu: u32,
    /// Bytes from the IP header on, as that says itself.
    pub length: u32,
    /// The part of these that is IP and transport headers; nothing in a later fragment and in an ICMP message.
    pub headers: u32,
    pub v6: bool,
    /// It has VLAN tags, before its IP header or beside the packet.
    pub tagged: bool,
    /// Nobody may cut it into fragments.
    pub whole: bool,
    pub protocol: u8,
    pub ttl: u8,
    /// A TCP segment that begins a flow.
    pub syn: bool,
    /// All flags of a TCP segment.
    pub tcp_flags: u8,
    /// Either half of a TCP handshake.
    pub handshake: bool,
    pub part: Part,
    pub identification: u32,
    /// Ports are 0 in a later fragment and in an ICMP message.
    pub key: FlowKey,
}

/// Reads a packet up to its transport header. The error is why the kernel gets it.
#[inline(never)]
pub fn parse(ctx: &impl Frame, packet: &mut Packet) -> Result<(), Exit> {
    // The destination's first byte is odd for broadcast and multicast.
    let first: u8 = read(ctx, 0).ok_or(Exit::NotIp)?;
    if first & 1 == 1 || ctx.for_others() {
        return Err(Exit::NotUnicast);
    }
    let (ethertype, network) = ethernet(ctx).ok_or(Exit::NotIp)?;
    forget(&mut packet.network, network);
    packet.tagged = network != ETHERNET || ctx.tag_beside();
    match ethertype {
        ETHERTYPE_V4 => network_v4(ctx, packet)?,
        ETHERTYPE_V6 => network_v6(ctx, packet)?,
        _ => return Err(Exit::NotIp),
    }
    if ctx.bytes() < packet.network + packet.length as usize {
        return Err(Exit::Malformed);
    }
    if is_from_host(packet) { Ok(()) } else { Err(Exit::NotUnicast) }
}

/// Whether the source may be the address of one other host (RFC 1122 section 3.2.1.3, RFC 4291 section 2.7): nothing
/// here asks the kernel, which would drop what pretends to come from nowhere or from this host. One that calls its own
/// address is no other either.
#[inline(always)]
fn is_from_host(packet: &Packet) -> bool {
    let key = &packet.key;
    let (word, first) = if packet.v6 {
        (key.source[0], key.source[0].to_ne_bytes()[0])
    } else {
        (key.source[3], key.source[3].to_ne_bytes()[0])
    };
    let is_unicast = if packet.v6 { word != 0 && first != 0xff } else { first != 0 && first != 127 && first < 224 };
    is_unicast && key.source != key.destination
}

/// What is behind the Ethernet header and its tags, and where.
#[inline(always)]
pub fn ethernet(ctx: &impl Frame) -> Option<(u16, usize)> {
    let mut ethertype: u16 = read(ctx, 12)?;
    let mut network = ETHERNET;
    for _ in 0..VLAN_TAGS_MAX {
        if !is_tag(ethertype) {
            break;
        }
        ethertype = read(ctx, network + 2)?;
        network += VLAN_TAG;
    }
    Some((ethertype, network))
}

/// Whether a VLAN tag stands where this type does.
#[inline(always)]
pub fn is_tag(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_8021Q || ethertype == ETHERTYPE_8021AD
}

/// Writes an offset so that the verifier does not know it afterwards.
#[inline(always)]
pub fn forget(place: &mut usize, offset: usize) {
    // SAFETY: a reference is valid.
    unsafe { core::ptr::from_mut(place).write_volatile(offset) };
}

/// What is in memory, and not what the compiler knows of it.
#[inline(always)]
pub fn recall(place: &usize) -> usize {
    // SAFETY: a reference is valid.
    unsafe { core::ptr::from_ref(place).read_volatile() }
}

/// Length of a packet that stands for several which have no length together, because they are more than 64 KiB.
#[inline(always)]
fn oversize(ctx: &impl Frame, network: usize) -> u32 {
    if ctx.segment() == 0 { 0 } else { (ctx.bytes() as u32).wrapping_sub(network as u32) }
}

/// The IPv4 header at `network`; also for the one inside an ICMP error, whose payload may be cut off.
#[inline(never)]
pub fn network_v4(ctx: &impl Frame, packet: &mut Packet) -> Result<(), Exit> {
    let network = recall(&packet.network);
    let header: V4 = read(ctx, network).ok_or(Exit::Malformed)?;
    let bytes = ((header.version_length & 0x0f) as usize) * 4;
    let length = match u16::from_be(header.total_length) {
        0 => oversize(ctx, network),
        length => length as u32,
    };
    if header.version_length >> 4 != 4 || bytes < 20 || length < bytes as u32 {
        return Err(Exit::Malformed);
    }
    let fragment = u16::from_be(header.fragment);
    forget(&mut packet.transport, network + bytes);
    packet.length = length;
    packet.headers = 0;
    packet.v6 = false;
    packet.whole = fragment & V4_WHOLE != 0;
    packet.protocol = header.protocol;
    packet.ttl = header.ttl;
    packet.syn = false;
    packet.tcp_flags = 0;
    packet.handshake = false;
    packet.part = match (fragment & V4_OFFSET, fragment & V4_MORE) {
        (0, 0) => Part::Whole,
        (0, _) => Part::First,
        _ => Part::Later,
    };
    packet.identification = header.identification as u32;
    packet.key = FlowKey {
        source: [0, 0, MAPPED, header.source],
        destination: [0, 0, MAPPED, header.destination],
        source_port: 0,
        destination_port: 0,
        protocol: header.protocol as u32,
    };
    Ok(())
}

/// The IPv6 header at `network` and the extension headers behind it.
#[inline(never)]
pub fn network_v6(ctx: &impl Frame, packet: &mut Packet) -> Result<(), Exit> {
    let network = recall(&packet.network);
    let header: V6 = read(ctx, network).ok_or(Exit::Malformed)?;
    let length = match u16::from_be(header.payload_length) {
        0 => oversize(ctx, network),
        payload => payload as u32 + size_of::<V6>() as u32,
    };
    // Mapped addresses do not belong on the wire, and would be mistaken for IPv4 here.
    if u32::from_be(header.version_class_flow) >> 28 != 6
        || length <= size_of::<V6>() as u32
        || is_v4(&header.source)
        || is_v4(&header.destination)
    {
        return Err(Exit::Malformed);
    }
    packet.length = length;
    packet.headers = 0;
    packet.v6 = true;
    packet.whole = true;
    packet.ttl = header.hop_limit;
    packet.syn = false;
    packet.tcp_flags = 0;
    packet.handshake = false;
    packet.part = Part::Whole;
    packet.identification = 0;
    packet.protocol = header.next_header;
    packet.key = FlowKey {
        source: header.source,
        destination: header.destination,
        source_port: 0,
        destination_port: 0,
        protocol: 0,
    };
    forget(&mut packet.transport, network + size_of::<V6>());
    for _ in 0..PACKET_EXTENSION_HEADERS {
        if !matches!(packet.protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS) {
            break;
        }
        extension(ctx, packet)?;
        if packet.part == Part::Later {
            break;
        }
    }
    if packet.part != Part::Later
        && matches!(packet.protocol, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
    {
        return Err(Exit::ExtensionHeaders);
    }
    packet.key.protocol = packet.protocol as u32;
    Ok(())
}

/// Steps over one extension header.
#[inline(always)]
fn extension(ctx: &impl Frame, packet: &mut Packet) -> Result<(), Exit> {
    let offset = recall(&packet.transport);
    let [first, id]: [u32; 2] = read(ctx, offset).ok_or(Exit::Malformed)?;
    let [next, length, _, left] = first.to_ne_bytes();
    let mut bytes = 8;
    match packet.protocol {
        FRAGMENT => {
            let first = u32::from_be(first);
            packet.identification = id;
            packet.part = match (first & 0xfff8, first & 1) {
                (0, 0) => Part::Whole,
                (0, _) => Part::First,
                _ => Part::Later,
            };
        }
        // A routing header with segments left names its next stop, which the kernel must see to.
        ROUTING if left != 0 => return Err(Exit::ExtensionHeaders),
        // The length counts words of 8 bytes beyond the first.
        _ => bytes += (length as usize) * 8,
    }
    packet.protocol = next;
    // What an offset may be, less the transport header and the packet inside an ICMP error.
    if offset + bytes > OFFSET_MASK - 512 {
        return Err(Exit::ExtensionHeaders);
    }
    forget(&mut packet.transport, offset + bytes);
    Ok(())
}

/// Ports and flags of the transport header.
#[inline(never)]
pub fn transport(ctx: &impl Frame, packet: &mut Packet) -> Result<(), Exit> {
    // What the IP header leaves for it; the frame may be padded beyond.
    let end = packet.length as usize + packet.network;
    let room = end.checked_sub(packet.transport).ok_or(Exit::Malformed)?;
    match packet.protocol {
        TCP => {
            let header: [u8; 20] = read(ctx, packet.transport).ok_or(Exit::Malformed)?;
            let bytes = ((header[12] >> 4) as usize) * 4;
            if bytes < 20 || bytes > room {
                return Err(Exit::Malformed);
            }
            packet.tcp_flags = header[13];
            packet.syn = header[13] & (TCP_SYN | TCP_ACK) == TCP_SYN;
            packet.handshake = header[13] & TCP_SYN != 0;
            packet.key.source_port = u16::from_ne_bytes([header[0], header[1]]);
            packet.key.destination_port = u16::from_ne_bytes([header[2], header[3]]);
            packet.headers = packet.length - room as u32 + bytes as u32;
        }
        UDP => {
            let [source, destination, length, _]: [u16; 4] =
                read(ctx, packet.transport).ok_or(Exit::Malformed)?;
            let length = u16::from_be(length) as usize;
            // A first fragment says the length of the whole datagram.
            if length < 8 || room < 8 || (packet.part == Part::Whole && length > room) {
                return Err(Exit::Malformed);
            }
            packet.key.source_port = source;
            packet.key.destination_port = destination;
            packet.headers = packet.length - room as u32 + 8;
        }
        ICMP if !packet.v6 => {}
        ICMP6 if packet.v6 => {}
        _ => return Err(Exit::OtherProtocol),
    }
    Ok(())
}
