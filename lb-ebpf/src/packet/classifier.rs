//! What tc has of a packet: a socket buffer.
//!
//! Sums go through the kernel's helpers, which know whether the hardware is still to complete them.

use aya_ebpf::bindings::{
    BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_FIXED_GSO,
    BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM, TC_ACT_SHOT, TC_ACT_UNSPEC,
    bpf_adj_room_mode::BPF_ADJ_ROOM_MAC, bpf_fib_lookup as Route, bpf_redir_neigh,
    bpf_redir_neigh__bindgen_ty_1 as NextHop,
};
use aya_ebpf::helpers::{
    bpf_csum_update, bpf_fib_lookup, bpf_l4_csum_replace, bpf_redirect, bpf_redirect_neigh,
    bpf_skb_adjust_room, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_store_bytes,
    bpf_skb_vlan_pop,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::TcContext;
use lb_common::counters::PacketExit as Exit;
use lb_common::packet::{TCP, is_v4};

use crate::checksum::fold;
use crate::frame::{Frame, checksum_place};
use crate::headers::{ETHERNET, Packet, V4, V6, VLAN_TAGS_MAX, is_tag, read};
use crate::route::{AF_INET, AF_INET6, Link, Tag};

/// `pkt_type` of a frame that an interface received for another Ethernet address (include/uapi/linux/if_packet.h).
const PACKET_OTHERHOST: u32 = 3;

/// The first bytes from an IP header on, while they are out of their packet.
#[map]
static BEGINNING: PerCpuArray<Beginning> = PerCpuArray::with_max_entries(1, 0);

/// Enough for IP headers with the usual options.
type Beginning = [u8; 128];

/// As much of a packet as the program may look at.
const READABLE: u32 = 1_024;

impl Frame for TcContext {
    /// What other classifiers of the interface do not want either goes to the kernel.
    const PASS: u32 = TC_ACT_UNSPEC as u32;
    const DROP: u32 = TC_ACT_SHOT as u32;
    const WAITS: bool = true;

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
    fn gather(&self, bytes: usize) -> bool {
        let all = self.len();
        let readable = self.end() - self.start();
        if readable >= bytes || readable >= all as usize {
            return false;
        }
        // SAFETY: the context is that of this run; all pointers into the packet are made anew.
        unsafe { bpf_skb_pull_data(self.skb.skb, if all < READABLE { all } else { READABLE }) == 0 }
    }

    #[inline(always)]
    fn tag_beside(&self) -> bool {
        // SAFETY: the context is that of this run.
        unsafe { (*self.skb.skb).vlan_present != 0 }
    }

    #[inline(always)]
    fn look_up(&self, params: &mut Route) -> i64 {
        // SAFETY: the context is that of this run, the parameters are on the stack with their size.
        unsafe { bpf_fib_lookup(self.skb.skb.cast(), params, size_of::<Route>() as i32, 0) as i64 }
    }

    #[inline(always)]
    fn lower(&self, ifindex: u32) -> (u32, Tag) {
        // A VLAN interface adds its tag itself.
        (ifindex, Tag::NONE)
    }

    #[inline(always)]
    fn retag(&self, packet: &Packet, _tag: Tag) -> Result<(), Exit> {
        if packet.tagged { self.untag() } else { Ok(()) }
    }

    #[inline(always)]
    fn transmit(&self, ifindex: u32) -> u32 {
        // SAFETY: no pointers.
        unsafe { bpf_redirect(ifindex, 0) as u32 }
    }

    #[inline(always)]
    fn transmit_unknown(&self, packet: &Packet, link: &Link) -> Result<u32, Exit> {
        self.retag(packet, link.tag)?;
        // The kernel keeps the packet while it asks for the next hop's address.
        let next = if is_v4(&link.next) {
            bpf_redir_neigh {
                nh_family: AF_INET as u32,
                __bindgen_anon_1: NextHop { ipv6_nh: [link.next[3], 0, 0, 0] },
            }
        } else {
            bpf_redir_neigh { nh_family: AF_INET6 as u32, __bindgen_anon_1: NextHop { ipv6_nh: link.next } }
        };
        let (place, bytes) = (&raw const next, size_of::<bpf_redir_neigh>() as i32);
        // SAFETY: the parameters are on the stack with their size. An IPv4 address is the first word of the union.
        Ok(unsafe { bpf_redirect_neigh(link.ifindex, place.cast_mut(), bytes, 0) as u32 })
    }

    #[inline(always)]
    fn wrap(&self, packet: &Packet, over_v4: bool) -> Result<usize, Exit> {
        // The kernel wraps only what has no tag in front of its IP header.
        self.retag(packet, Tag::NONE)?;
        let (room, family) = if over_v4 {
            (size_of::<V4>(), BPF_F_ADJ_ROOM_ENCAP_L3_IPV4)
        } else {
            (size_of::<V6>(), BPF_F_ADJ_ROOM_ENCAP_L3_IPV6)
        };
        // Whether the segments fit was decided by their size as it is.
        let flags = (family | BPF_F_ADJ_ROOM_FIXED_GSO) as u64;
        // SAFETY: the context is that of this run; all pointers into the packet are made anew.
        let failed = unsafe { bpf_skb_adjust_room(self.skb.skb, room as i32, BPF_ADJ_ROOM_MAC, flags) };
        if failed == 0 { Ok(ETHERNET) } else { Err(Exit::NoRoom) }
    }

    #[inline(always)]
    fn quote(&self, packet: &Packet, room: usize, kept: usize) -> Result<usize, Exit> {
        // As for `wrap`; the tag beside the packet stays and is that of the answer, too.
        if packet.network != ETHERNET {
            return Err(Exit::TooBig);
        }
        let beginning = BEGINNING.get_ptr_mut(0).ok_or(Exit::TooBig)?;
        let (skb, bytes, place) = (self.skb.skb, size_of::<Beginning>() as u32, ETHERNET as u32);
        // A sum that the hardware is to complete must not be completed inside the quotation. The kernel gives it up
        // when the place where it starts is taken away; so that is taken away and put back.
        // SAFETY: the context is that of this run; all pointers into the packet are made anew. The element belongs to
        // this CPU, on which no other run of the program is in progress, and has the size that is told.
        let failed = unsafe {
            bpf_skb_change_tail(skb, place + kept as u32, 0)
                | bpf_skb_load_bytes(skb.cast(), place, beginning.cast(), bytes)
                | bpf_skb_adjust_room(skb, -(bytes as i32), BPF_ADJ_ROOM_MAC, 0)
                | bpf_skb_adjust_room(skb, bytes as i32 + room as i32, BPF_ADJ_ROOM_MAC, 0)
                | bpf_skb_store_bytes(
                    skb,
                    place + room as u32,
                    beginning.cast(),
                    bytes,
                    BPF_F_RECOMPUTE_CSUM as u64,
                )
                | bpf_skb_pull_data(skb, place + room as u32 + kept as u32)
        };
        if failed == 0 { Ok(ETHERNET) } else { Err(Exit::TooBig) }
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

/// What is of socket buffers alone.
trait Tagged {
    fn untag(&self) -> Result<(), Exit>;
}

impl Tagged for TcContext {
    /// Takes away every tag, the one beside the packet first.
    #[inline(always)]
    fn untag(&self) -> Result<(), Exit> {
        for _ in 0..VLAN_TAGS_MAX + 1 {
            if !self.tag_beside() && !is_tag(read(self, 12).ok_or(Exit::Malformed)?) {
                break;
            }
            // SAFETY: the context is that of this run; all pointers into the packet are made anew.
            if unsafe { bpf_skb_vlan_pop(self.skb.skb) } != 0 {
                return Err(Exit::NoRoom);
            }
        }
        Ok(())
    }
}
