//! The packet in hand, as XDP or as tc has it: the same parse, decide and forward code makes two programs.
//!
//! XDP has the bytes of one Ethernet frame. tc has a socket buffer: several segments may travel as one, the first
//! bytes alone may be in one piece, and the transport checksum may be left for the hardware to complete.

use aya_ebpf::bindings::{bpf_fib_lookup as Route, xdp_action};
use aya_ebpf::helpers::{bpf_fib_lookup, bpf_redirect, bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use aya_ebpf::programs::XdpContext;
use lb_common::counters::PacketExit as Exit;
use lb_common::packet::TCP;

use crate::checksum::apply;
use crate::headers::{ETHERNET, ETHERTYPE_V4, ETHERTYPE_V6, Packet, V4, V6, VLAN_TAG, at, opaque, read};
use crate::maps::VLANS;
use crate::route::{Link, Tag};

/// What the steps need of the packet beside its headers.
pub trait Frame {
    /// The action that gives the packet to the kernel.
    const PASS: u32;
    const DROP: u32;
    /// Whether a packet can wait until its next hop's Ethernet address has been found.
    const WAITS: bool;

    /// Address of the Ethernet header.
    fn start(&self) -> usize;
    /// Address behind the last byte that can be read.
    fn end(&self) -> usize;
    /// Bytes of the packet, whether they can be read or not.
    fn bytes(&self) -> usize;
    /// Whether its Ethernet address is that of somebody else, where that is known.
    fn for_others(&self) -> bool;
    /// Index of the interface that it came from.
    fn interface(&self) -> u32;
    /// Bytes of payload in each packet that this one becomes on a wire; 0 for a single one.
    fn segment(&self) -> u32;
    /// Makes at least the first `bytes` readable, or all if there are fewer; whether that changed anything.
    fn gather(&self, bytes: usize) -> bool;
    /// Whether a VLAN tag travels beside the packet.
    fn tag_beside(&self) -> bool;
    /// Asks the kernel's routes; what it returns is in include/uapi/linux/bpf.h.
    fn look_up(&self, params: &mut Route) -> i64;
    /// The interface that a packet for this one has to be handed to, and the tag that it has to have there.
    fn lower(&self, ifindex: u32) -> (u32, Tag);
    /// Gives the packet the tag of its link instead of its own.
    fn retag(&self, packet: &Packet, tag: Tag) -> Result<(), Exit>;
    /// The action that sends the packet as it is now out of an interface.
    fn transmit(&self, ifindex: u32) -> u32;
    /// The same when the next hop's Ethernet address is not known: [`WAITS`](Self::WAITS), or else the kernel takes over.
    fn transmit_unknown(&self, packet: &Packet, link: &Link) -> Result<u32, Exit>;
    /// Makes room for an outer IP header, and returns where; what becomes of it and of the Ethernet addresses is the
    /// caller's.
    fn wrap(&self, packet: &Packet, over_v4: bool) -> Result<usize, Exit>;
    /// Makes room for `room` bytes in front of the IP header and cuts the packet after `kept` bytes from that header
    /// on. Returns where the room is.
    fn quote(&self, packet: &Packet, room: usize, kept: usize) -> Result<usize, Exit>;
    /// Corrects the TCP or UDP checksum: `addresses` is what the IP header's addresses changed by, `rest` what TCP or
    /// UDP itself did.
    fn correct(&self, packet: &Packet, addresses: u64, rest: u64) -> Result<(), Exit>;
    /// Says that bytes changed which no checksum in the packet covers; hardware may have made a sum of all.
    fn changed(&self, change: u64);
}

/// Where the checksums are in the transport headers.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;

#[inline(always)]
pub fn checksum_place(packet: &Packet) -> usize {
    packet.transport + if packet.protocol == TCP { TCP_CHECKSUM } else { UDP_CHECKSUM }
}

impl Frame for XdpContext {
    const PASS: u32 = xdp_action::XDP_PASS;
    const DROP: u32 = xdp_action::XDP_DROP;
    const WAITS: bool = false;

    #[inline(always)]
    fn start(&self) -> usize {
        self.data()
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.data_end()
    }

    #[inline(always)]
    fn bytes(&self) -> usize {
        opaque(self.data_end() - self.data())
    }

    #[inline(always)]
    fn for_others(&self) -> bool {
        false
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn segment(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn gather(&self, _bytes: usize) -> bool {
        false
    }

    #[inline(always)]
    fn tag_beside(&self) -> bool {
        false
    }

    #[inline(always)]
    fn look_up(&self, params: &mut Route) -> i64 {
        // SAFETY: the context is that of this run, the parameters are on the stack with their size.
        unsafe { bpf_fib_lookup(self.ctx.cast(), params, size_of::<Route>() as i32, 0) as i64 }
    }

    #[inline(always)]
    fn lower(&self, ifindex: u32) -> (u32, Tag) {
        if ifindex == self.interface() {
            return (ifindex, Tag::NONE);
        }
        // Nothing below a VLAN interface would add its tag. One that the daemon has not told of may do for itself.
        // SAFETY: eight bytes that are written when the entry is made.
        match unsafe { VLANS.get(&ifindex) } {
            Some(vlan) => (vlan.parent, Tag { protocol: vlan.protocol, control: vlan.control }),
            None => (ifindex, Tag::NONE),
        }
    }

    #[inline(always)]
    fn retag(&self, packet: &Packet, tag: Tag) -> Result<(), Exit> {
        if !packet.tagged && !tag.is_some() {
            return Ok(());
        }
        let ethertype: u16 = read(self, packet.network - 2).ok_or(Exit::Malformed)?;
        let wanted = if tag.is_some() { ETHERNET + VLAN_TAG } else { ETHERNET };
        // SAFETY: the context is that of this run; all pointers into the packet are made anew.
        if unsafe { bpf_xdp_adjust_head(self.ctx, packet.network as i32 - wanted as i32) } != 0 {
            return Err(Exit::NoRoom);
        }
        if tag.is_some() {
            let place = at::<[u16; 3]>(self, 12).ok_or(Exit::NoRoom)?;
            // SAFETY: `at` checked the bounds.
            unsafe { place.write_unaligned([tag.protocol, tag.control, ethertype]) };
        } else {
            let place = at::<u16>(self, 12).ok_or(Exit::NoRoom)?;
            // SAFETY: as above.
            unsafe { place.write_unaligned(ethertype) };
        }
        Ok(())
    }

    #[inline(always)]
    fn transmit(&self, ifindex: u32) -> u32 {
        if ifindex == self.interface() {
            return xdp_action::XDP_TX;
        }
        // SAFETY: no pointers.
        unsafe { bpf_redirect(ifindex, 0) as u32 }
    }

    #[inline(always)]
    fn transmit_unknown(&self, _packet: &Packet, _link: &Link) -> Result<u32, Exit> {
        Ok(xdp_action::XDP_PASS)
    }

    #[inline(always)]
    fn wrap(&self, packet: &Packet, over_v4: bool) -> Result<usize, Exit> {
        let room = if over_v4 { size_of::<V4>() } else { size_of::<V6>() };
        // Tags are the only part of the old Ethernet header that is kept; there are at most two.
        let tags: u64 = if packet.tagged { read(self, 12).ok_or(Exit::Malformed)? } else { 0 };
        // SAFETY: the context is that of this run; all pointers into the packet are made anew.
        if unsafe { bpf_xdp_adjust_head(self.ctx, -(room as i32)) } != 0 {
            return Err(Exit::NoRoom);
        }
        if packet.tagged {
            let place = at::<u64>(self, 12).ok_or(Exit::NoRoom)?;
            // SAFETY: `at` checked the bounds; what of this is no tag is overwritten by the caller.
            unsafe { place.write_unaligned(tags) };
        }
        Ok(packet.network)
    }

    #[inline(always)]
    fn quote(&self, packet: &Packet, room: usize, kept: usize) -> Result<usize, Exit> {
        let network = packet.network;
        let addresses: [u32; 3] = read(self, 0).ok_or(Exit::TooBig)?;
        let tags: u64 = read(self, 12).ok_or(Exit::TooBig)?;
        let less = (network + kept) as i32 - self.bytes() as i32;
        // SAFETY: the context is that of this run; all pointers into the packet are made anew.
        let failed =
            unsafe { bpf_xdp_adjust_tail(self.ctx, less) | bpf_xdp_adjust_head(self.ctx, -(room as i32)) };
        if failed != 0 {
            return Err(Exit::TooBig);
        }
        let place = at::<[u32; 3]>(self, 0).ok_or(Exit::TooBig)?;
        // SAFETY: `at` checked the bounds.
        unsafe { place.write_unaligned(addresses) };
        let place = at::<u64>(self, 12).ok_or(Exit::TooBig)?;
        // SAFETY: as above. Behind the last tag the IP header is still to be written.
        unsafe { place.write_unaligned(tags) };
        let ethertype = at::<u16>(self, network - 2).ok_or(Exit::TooBig)?;
        let family = if packet.v6 { ETHERTYPE_V6 } else { ETHERTYPE_V4 };
        // SAFETY: as above.
        unsafe { ethertype.write_unaligned(family) };
        Ok(network)
    }

    #[inline(always)]
    fn correct(&self, packet: &Packet, addresses: u64, rest: u64) -> Result<(), Exit> {
        let place = at::<u16>(self, checksum_place(packet)).ok_or(Exit::Malformed)?;
        let is_tcp = packet.protocol == TCP;
        // SAFETY: `at` checked the bounds.
        unsafe {
            let old = place.read_unaligned();
            // 0 says that UDP has no checksum, so a sum of 0 is written as its other form (RFC 768).
            if is_tcp || old != 0 {
                let sum = apply(old, addresses + rest);
                place.write_unaligned(if sum == 0 && !is_tcp { 0xffff } else { sum });
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn changed(&self, _change: u64) {}
}
