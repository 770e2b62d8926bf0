//! The packet in hand, as XDP or as tc has it: the same parse, decide and forward code makes two programs.
//!
//! XDP has the bytes of one Ethernet frame. tc has a socket buffer: several segments may travel as one, the first
//! bytes alone may be in one piece, and the transport checksum may be left for the hardware to complete.

use aya_ebpf::bindings::{
    BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_FIXED_GSO,
    BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_SHOT, TC_ACT_UNSPEC, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC,
    bpf_fib_lookup as Route, xdp_action,
};
use aya_ebpf::helpers::{
    bpf_csum_update, bpf_fib_lookup, bpf_l4_csum_replace, bpf_redirect, bpf_redirect_neigh,
    bpf_skb_adjust_room, bpf_xdp_adjust_head,
};
use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::counters::PacketExit as Exit;
use lb_common::packet::TCP;

use crate::checksum::{apply, fold};
use crate::headers::{Packet, V4, V6, at, read};

/// What the steps need of the packet beside its headers.
pub trait Frame {
    /// The action that gives the packet to the kernel.
    const PASS: u32;
    const DROP: u32;

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
    /// Asks the kernel's routes; what it returns is in include/uapi/linux/bpf.h.
    fn look_up(&self, params: &mut Route) -> i64;
    /// The action that sends the packet as it is now out of an interface.
    fn transmit(&self, ifindex: u32) -> u32;
    /// The same when the next hop's Ethernet address is not known.
    fn transmit_unknown(&self, ifindex: u32) -> u32;
    /// Makes room for an outer IP header; what becomes of it and of the Ethernet addresses is the caller's.
    fn wrap(&self, packet: &Packet, over_v4: bool) -> Result<(), Exit>;
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
fn checksum_place(packet: &Packet) -> usize {
    packet.transport + if packet.protocol == TCP { TCP_CHECKSUM } else { UDP_CHECKSUM }
}

impl Frame for XdpContext {
    const PASS: u32 = xdp_action::XDP_PASS;
    const DROP: u32 = xdp_action::XDP_DROP;

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
        self.data_end() - self.data()
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
    fn look_up(&self, params: &mut Route) -> i64 {
        // SAFETY: the context is that of this run, the parameters are on the stack with their size.
        unsafe { bpf_fib_lookup(self.ctx.cast(), params, size_of::<Route>() as i32, 0) as i64 }
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
    fn transmit_unknown(&self, _ifindex: u32) -> u32 {
        xdp_action::XDP_PASS
    }

    #[inline(always)]
    fn wrap(&self, packet: &Packet, over_v4: bool) -> Result<(), Exit> {
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
        Ok(())
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

/// `pkt_type` of a frame that an interface received for another Ethernet address (include/uapi/linux/if_packet.h).
const PACKET_OTHERHOST: u32 = 3;

impl Frame for TcContext {
    /// What other classifiers of the interface do not want either goes to the kernel.
    const PASS: u32 = TC_ACT_UNSPEC as u32;
    const DROP: u32 = TC_ACT_SHOT as u32;

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
        self.len() as usize
    }

    #[inline(always)]
    fn for_others(&self) -> bool {
        // SAFETY: the context is that of this run.
        unsafe { (*self.skb.skb).pkt_type == PACKET_OTHERHOST }
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.skb.skb).ifindex }
    }

    #[inline(always)]
    fn segment(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (*self.skb.skb).gso_size }
    }

    #[inline(always)]
    fn look_up(&self, params: &mut Route) -> i64 {
        // SAFETY: the context is that of this run, the parameters are on the stack with their size.
        unsafe { bpf_fib_lookup(self.skb.skb.cast(), params, size_of::<Route>() as i32, 0) as i64 }
    }

    #[inline(always)]
    fn transmit(&self, ifindex: u32) -> u32 {
        // SAFETY: no pointers.
        unsafe { bpf_redirect(ifindex, 0) as u32 }
    }

    #[inline(always)]
    fn transmit_unknown(&self, ifindex: u32) -> u32 {
        // The kernel looks up the route once more, and keeps the packet while it asks for the next hop's address.
        // SAFETY: no parameters are given.
        unsafe { bpf_redirect_neigh(ifindex, core::ptr::null_mut(), 0, 0) as u32 }
    }

    #[inline(always)]
    fn wrap(&self, _packet: &Packet, over_v4: bool) -> Result<(), Exit> {
        let (room, family) = if over_v4 {
            (size_of::<V4>(), BPF_F_ADJ_ROOM_ENCAP_L3_IPV4)
        } else {
            (size_of::<V6>(), BPF_F_ADJ_ROOM_ENCAP_L3_IPV6)
        };
        // Whether the segments fit was decided by their size as it is.
        let flags = (family | BPF_F_ADJ_ROOM_FIXED_GSO) as u64;
        // SAFETY: the context is that of this run; all pointers into the packet are made anew.
        let failed = unsafe { bpf_skb_adjust_room(self.skb.skb, room as i32, BPF_ADJ_ROOM_MAC, flags) };
        if failed == 0 { Ok(()) } else { Err(Exit::NoRoom) }
    }

    #[inline(always)]
    fn correct(&self, packet: &Packet, addresses: u64, rest: u64) -> Result<(), Exit> {
        let (skb, place) = (self.skb.skb, checksum_place(packet) as u32);
        let udp = if packet.protocol == TCP { 0 } else { BPF_F_MARK_MANGLED_0 as u64 };
        let addresses = fold(addresses) as u64;
        // An offloaded sum has only the addresses in it, so the kernel is told apart what changed.
        // SAFETY: the context is that of this run; the kernel checks the offset.
        let failed = unsafe {
            bpf_l4_csum_replace(skb, place, 0, addresses, udp | BPF_F_PSEUDO_HDR as u64)
                | bpf_l4_csum_replace(skb, place, 0, fold(rest) as u64, udp)
        };
        if failed != 0 {
            return Err(Exit::Malformed);
        }
        if packet.v6 {
            // The call above took the addresses for IPv4's, which the header's own checksum outweighs.
            self.changed(addresses);
        }
        Ok(())
    }

    #[inline(always)]
    fn changed(&self, change: u64) {
        // Fails when there is no such sum, which is as well.
        // SAFETY: the context is that of this run.
        let _ = unsafe { bpf_csum_update(self.skb.skb, fold(change) as u32) };
    }
}
