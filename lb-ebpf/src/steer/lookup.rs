//! The bind that owns the address and port of a packet without a connection, where that is a prefix or a range.
//!
//! The kernel's own look-up comes after this program, so that binds of one address and port are written into the same
//! lists, as ranges that leave the packet alone. Which of the bind's sockets gets it is decided afterwards, among all
//! that share the address of the one given here.

use aya_ebpf::bindings::{bpf_sk_lookup, sk_action};
use aya_ebpf::macros::sk_lookup;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::programs::SkLookupContext;
use lb_common::counters::steer as counter;
use lb_common::limits::{STEER_DOORS, STEER_RANGES};
use lb_common::steer::{Prefix, Range, Words};

use crate::maps::{PREFIXES, RANGES, SOCKETS, count};

const AF_INET: u32 = 2;
const TCP: u32 = 6;
/// What is in front of an IPv4 address in IPv6 (RFC 4291 section 2.5.5.2).
const MAPPED: u32 = 0x0000_ffff_u32.to_be();

#[sk_lookup]
pub fn lookup(ctx: SkLookupContext) -> u32 {
    count(try_lookup(&ctx).unwrap_or_else(|why| why));
    // Without a socket this goes on with the kernel's own look-up.
    sk_action::SK_PASS
}

/// Both results are counters; the error is why no socket was given.
#[inline(always)]
fn try_lookup(ctx: &SkLookupContext) -> Result<u32, u32> {
    let lookup: *const bpf_sk_lookup = ctx.lookup;
    // SAFETY: the kernel made the context; each field is read with its own size.
    let (protocol, port, interface) = unsafe {
        (
            (&raw const (*lookup).protocol).read_volatile(),
            (&raw const (*lookup).local_port).read_volatile(),
            (&raw const (*lookup).ingress_ifindex).read_volatile(),
        )
    };
    if protocol != TCP {
        return Err(counter::NOT_TCP);
    }
    let prefix = PREFIXES.get(Key::new(128, address(lookup))).ok_or(counter::NO_PREFIX)?;
    // One loop after the other: the verifier of 6.1 keeps no more than 8,192 ways in mind, and would multiply them.
    let range = owner(prefix, port, interface)?;
    if range.sockets == 0 { Err(counter::EXACT) } else { give(ctx, range) }
}

/// The first range of the prefix's list that has the port.
#[inline(never)]
fn owner(prefix: &Prefix, port: u32, interface: u32) -> Result<&'static Range, u32> {
    let (first, ranges) = (prefix.first, prefix.count);
    for step in 0..STEER_RANGES {
        if step >= ranges {
            break;
        }
        let range = RANGES.get(first + step).ok_or(counter::NO_RANGE)?;
        let elsewhere = range.interface != 0 && range.interface != interface;
        if port >= range.low && port <= range.high && !elsewhere {
            return Ok(range);
        }
    }
    Err(counter::NO_RANGE)
}

/// All fields are read before one is chosen: a choice of where to read would be an offset that the verifier does not know.
#[inline(always)]
fn address(lookup: *const bpf_sk_lookup) -> Words {
    // SAFETY: as above.
    let (family, ipv4, ipv6) = unsafe {
        (
            (&raw const (*lookup).family).read_volatile(),
            (&raw const (*lookup).local_ip4).read_volatile(),
            [
                (&raw const (*lookup).local_ip6[0]).read_volatile(),
                (&raw const (*lookup).local_ip6[1]).read_volatile(),
                (&raw const (*lookup).local_ip6[2]).read_volatile(),
                (&raw const (*lookup).local_ip6[3]).read_volatile(),
            ],
        )
    };
    if family == AF_INET { [0, 0, MAPPED, ipv4] } else { ipv6 }
}

/// The first socket of the bind that is still there. Written out, because of a loop the compiler makes one that ends
/// when two numbers are equal, whose end the verifier of 6.1 does not see.
#[inline(always)]
fn give(ctx: &SkLookupContext, range: &Range) -> Result<u32, u32> {
    const { assert!(STEER_DOORS == 4) };
    let is_open = |step: u32| {
        step < range.sockets && SOCKETS.redirect_sk_lookup(ctx, range.socket + step, 0).is_ok()
    };
    if is_open(0) || is_open(1) || is_open(2) || is_open(3) { Ok(counter::OWNED) } else { Err(counter::NO_DOOR) }
}
