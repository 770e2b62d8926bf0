//! The shield: a packet from a denied address goes nowhere.
//!
//! It reads the source address by itself, before anything else is looked at: what the other steps leave to the
//! kernel (broadcasts, extension headers, other protocols) must not get past it.

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{LpmTrie, PerCpuArray};
use lb_common::counters::PacketExit as Exit;
use lb_common::packet::{Address, MAPPED};
use lb_common::shield::{BITS, EXPIRED_MAX, Hits, Prefix, V4_BITS};

use crate::frame::Frame;
use crate::headers::{self, ETHERTYPE_V4, ETHERTYPE_V6, V4, V6, read};

/// Made as large as the list needs.
#[map]
static SHIELD_PREFIXES: LpmTrie<Address, Prefix> = LpmTrie::with_max_entries(1, BPF_F_NO_PREALLOC);
#[map]
static SHIELD_HITS: PerCpuArray<Hits> = PerCpuArray::with_max_entries(1, 0);

/// Where a packet comes from, as its IP header says.
struct Source {
    address: Address,
    /// [`V4_BITS`] for IPv4, of which IPv6 prefixes say nothing.
    bits_min: u32,
    /// IP bytes.
    bytes: u32,
}

/// The error is why a packet is stopped. One without an IP address has nothing to fear.
#[inline(never)]
pub fn check(ctx: &impl Frame) -> Result<(), Exit> {
    let source = match source(ctx) {
        Some(source) => source,
        // What is missing may be there and not yet readable.
        None if ctx.gather(usize::MAX) => match self::source(ctx) {
            Some(source) => source,
            None => return Ok(()),
        },
        None => return Ok(()),
    };
    if allows(&source) { Ok(()) } else { Err(Exit::ShieldDenied) }
}

#[inline(always)]
fn source(ctx: &impl Frame) -> Option<Source> {
    let (ethertype, network) = headers::ethernet(ctx)?;
    match ethertype {
        ETHERTYPE_V4 => {
            let header: V4 = read(ctx, network)?;
            let address = [0, 0, MAPPED, header.source];
            let bytes = u16::from_be(header.total_length) as u32;
            Some(Source { address, bits_min: V4_BITS as u32, bytes })
        }
        ETHERTYPE_V6 => {
            let header: V6 = read(ctx, network)?;
            let bytes = u16::from_be(header.payload_length) as u32 + size_of::<V6>() as u32;
            Some(Source { address: header.source, bits_min: 0, bytes })
        }
        _ => None,
    }
}

#[inline(always)]
fn allows(source: &Source) -> bool {
    let mut bits = BITS as u32;
    for _ in 0..EXPIRED_MAX {
        let Some(prefix) = SHIELD_PREFIXES.get(Key::new(bits, source.address)) else { return true };
        if (prefix.bits as u32) < source.bits_min {
            return true;
        }
        // SAFETY: the helper has no conditions.
        let now = if prefix.expires() { unsafe { bpf_ktime_get_boot_ns() } } else { 0 };
        if let Some(allowed) = prefix.allows(now) {
            count(prefix.hits, source.bytes);
            return allowed;
        }
        // Nothing that holds: as if it were not there, so the next shorter one decides.
        bits = prefix.bits as u32;
        if bits <= source.bits_min {
            return true;
        }
        bits -= 1;
    }
    true
}

#[inline(always)]
fn count(index: u32, bytes: u32) {
    if let Some(hits) = SHIELD_HITS.get_ptr_mut(index) {
        // SAFETY: the element belongs to this CPU, on which no other run of the program is in progress.
        unsafe {
            (*hits).packets += 1;
            (*hits).bytes += bytes as u64;
        }
    }
}
