//! The way to a server or a client: over which interface, to which Ethernet address, with which VLAN tag.

use aya_ebpf::bindings::bpf_fib_lookup as Route;
use lb_common::counters::PacketExit as Exit;
use lb_common::packet::{Address, LINKED, MAPPED, Server, is_v4};

use crate::frame::Frame;
use crate::headers::Packet;

pub const AF_INET: u8 = 2;
pub const AF_INET6: u8 = 10;

/// What `bpf_fib_lookup` returns (include/uapi/linux/bpf.h).
const FIB_SUCCESS: i64 = 0;
const FIB_NOT_FORWARDED: i64 = 4;
const FIB_FORWARDING_OFF: i64 = 5;
const FIB_NO_NEIGHBOUR: i64 = 7;
const FIB_TOO_BIG: i64 = 8;

/// A VLAN tag in network order; without one the protocol is 0.
#[derive(Clone, Copy)]
pub struct Tag {
    /// 802.1Q or 802.1ad.
    pub protocol: u16,
    /// Priority and number of the VLAN.
    pub control: u16,
}

impl Tag {
    pub const NONE: Self = Self { protocol: 0, control: 0 };

    #[inline(always)]
    pub fn is_some(self) -> bool {
        self.protocol != 0
    }
}

/// The next hop on a network.
#[derive(Clone, Copy)]
pub struct Link {
    pub ifindex: u32,
    /// The VLAN that it is in.
    pub tag: Tag,
    /// Destination and source as the Ethernet header has them; all zero when the kernel has to find them out.
    pub addresses: [u16; 6],
    pub known: bool,
    /// The next hop's IP address, when that is all that is known of it.
    pub next: Address,
    /// Whether the packet is not larger than the way allows; if it is, only `mtu` is right.
    pub fits: bool,
    /// Largest IP packet; 0 when it is not known.
    pub mtu: u32,
}

impl Link {
    #[inline(always)]
    fn new(ctx: &impl Frame, ifindex: u32, to: &[u8; 6], from: &[u8; 6], mtu: u32) -> Self {
        let word = |bytes: &[u8; 6], at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let addresses = [word(to, 0), word(to, 2), word(to, 4), word(from, 0), word(from, 2), word(from, 4)];
        let (ifindex, tag) = ctx.lower(ifindex);
        Self { ifindex, tag, addresses, known: true, next: [0; 4], fits: true, mtu }
    }

    /// To a next hop whose Ethernet address the kernel has to find out.
    #[inline(always)]
    fn unknown(ifindex: u32, next: Address) -> Self {
        Self { ifindex, tag: Tag::NONE, addresses: [0; 6], known: false, next, fits: true, mtu: 0 }
    }

    /// Not at all.
    #[inline(always)]
    fn too_small(mtu: u32) -> Self {
        Self { fits: false, mtu, ..Self::unknown(0, [0; 4]) }
    }
}

/// Bytes from the IP header on of the largest packet that this one becomes on a wire.
#[inline(always)]
pub fn on_wire(ctx: &impl Frame, packet: &Packet) -> u32 {
    let segment = ctx.segment();
    if segment == 0 { packet.length } else { packet.headers + segment }
}

/// The way to `destination` for a packet of `length`: to a server by the link that the daemon found, if it did; else
/// by the kernel's routes.
#[inline(always)]
pub fn route(
    ctx: &impl Frame,
    packet: &Packet,
    length: u32,
    source: &Address,
    destination: &Address,
    server: Option<&Server>,
) -> Result<Link, Exit> {
    if let Some(server) = server {
        if server.mtu != 0 && length > server.mtu {
            return Ok(Link::too_small(server.mtu));
        }
        if server.flags & LINKED != 0 {
            return Ok(Link::new(ctx, server.ifindex, &server.mac, &server.source_mac, server.mtu));
        }
    }
    let mut params = question(ctx, packet, length, source, destination);
    let found = ctx.look_up(&mut params);
    // SAFETY: both fields of the union are the same integer. The kernel puts the way's limit where the length was.
    let mtu = unsafe { params.__bindgen_anon_1.mtu_result } as u32;
    match found {
        FIB_SUCCESS => Ok(Link::new(ctx, params.ifindex, &params.dmac, &params.smac, mtu)),
        FIB_NO_NEIGHBOUR => {
            // SAFETY: the kernel puts the next hop's address where the destination was. All fields are integers.
            let next = unsafe {
                if params.family == AF_INET {
                    [0, 0, MAPPED, params.__bindgen_anon_4.ipv4_dst]
                } else {
                    params.__bindgen_anon_4.ipv6_dst
                }
            };
            Ok(Link::unknown(params.ifindex, next))
        }
        FIB_TOO_BIG => Ok(Link::too_small(mtu)),
        FIB_FORWARDING_OFF => Err(Exit::ForwardingOff),
        // The answer to a question of this host itself, such as a health check, or an answer to nowhere.
        FIB_NOT_FORWARDED if server.is_none() => Err(Exit::NotForwarded),
        _ => Err(Exit::NoRoute),
    }
}

/// Largest IP packet on the way to `destination`; 0 when the kernel does not know, for one because the next hop's
/// Ethernet address is not known yet.
#[inline(never)]
pub fn mtu(ctx: &impl Frame, packet: &Packet, destination: &Address) -> u32 {
    let mut params = question(ctx, packet, 1, &packet.key.source, destination);
    let found = ctx.look_up(&mut params);
    // SAFETY: as above.
    if found == FIB_SUCCESS { unsafe { params.__bindgen_anon_1.mtu_result as u32 } } else { 0 }
}

#[inline(always)]
fn question(
    ctx: &impl Frame,
    packet: &Packet,
    length: u32,
    source: &Address,
    destination: &Address,
) -> Route {
    // SAFETY: integers only.
    let mut params: Route = unsafe { core::mem::zeroed() };
    params.ifindex = ctx.interface();
    params.l4_protocol = packet.protocol;
    params.__bindgen_anon_1.tot_len = length as u16;
    if is_v4(destination) {
        params.family = AF_INET;
        params.__bindgen_anon_3.ipv4_src = source[3];
        params.__bindgen_anon_4.ipv4_dst = destination[3];
    } else {
        params.family = AF_INET6;
        params.__bindgen_anon_3.ipv6_src = *source;
        params.__bindgen_anon_4.ipv6_dst = *destination;
    }
    params
}
