//! The shield: which addresses may send us packets at all.
//!
//! One LPM trie holds the prefixes of both families, IPv4 ones in the mapped form (RFC 4291 section 2.5.5.2) with
//! 96 bits in front. The longest prefix that says something at this moment decides. [`LAYOUT`] is in every value.

use crate::packet::Address;

/// Version of this file's layouts.
pub const LAYOUT: u16 = 1;

/// Bits of the longest prefix: one address.
pub const BITS: u8 = 128;

/// Bits in front of an IPv4 prefix.
pub const V4_BITS: u8 = 96;

/// Never, for [`Prefix::allow_until`] and [`Prefix::deny_until`].
pub const NEVER: u64 = 0;
/// For ever, likewise.
pub const FOREVER: u64 = u64::MAX;

/// Longer prefixes that have expired and are skipped to find one that holds. The daemon removes expired ones, so
/// that more than one or two are there only if it is gone; behind the last one nothing is denied.
pub const EXPIRED_MAX: usize = 4;

/// The key of the trie, as the kernel wants it (`struct bpf_lpm_trie_key`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// How many bits of `address` count.
    pub bits: u32,
    /// In network order.
    pub address: Address,
}

const _: () = assert!(size_of::<Key>() == 20);

/// What is said of a prefix. It may be allowed and denied at once; then it is allowed, for as long as that holds.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Nanoseconds of the boot clock until which it is allowed; [`NEVER`], [`FOREVER`].
    pub allow_until: u64,
    /// Likewise until which it is denied.
    pub deny_until: u64,
    /// Index of its [`Hits`].
    pub hits: u32,
    /// Its length, so that the next shorter prefix can be asked for.
    pub bits: u8,
    pub padding: u8,
    /// [`LAYOUT`].
    pub layout: u16,
}

const _: () = assert!(size_of::<Prefix>() == 24);

impl Prefix {
    /// Whether a packet may pass at `now`; `None` when nothing holds any more.
    #[inline(always)]
    pub fn allows(&self, now: u64) -> Option<bool> {
        if now < self.allow_until {
            Some(true)
        } else if now < self.deny_until {
            Some(false)
        } else {
            None
        }
    }

    /// Whether the time matters at all.
    #[inline(always)]
    pub fn expires(&self) -> bool {
        let timed = |until: u64| until != NEVER && until != FOREVER;
        timed(self.allow_until) || timed(self.deny_until)
    }
}

/// What a prefix decided about, per CPU.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hits {
    pub packets: u64,
    /// IP bytes, headers included.
    pub bytes: u64,
}

const _: () = assert!(size_of::<Hits>() == 16);

// SAFETY: fixed-width integers without padding, so that any bytes are a value and all bytes are defined.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Key {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Prefix {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Hits {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow_until: u64, deny_until: u64, now: u64, expected: Option<bool>) {
        let prefix = Prefix { allow_until, deny_until, hits: 0, bits: BITS, padding: 0, layout: LAYOUT };
        assert_eq!(prefix.allows(now), expected, "{prefix:?} at {now}");
    }

    #[test]
    fn allow_beats_deny_as_long_as_it_holds() {
        check(FOREVER, NEVER, 5, Some(true));
        check(NEVER, FOREVER, 5, Some(false));
        check(FOREVER, FOREVER, 5, Some(true));
        check(10, FOREVER, 9, Some(true));
        check(10, FOREVER, 10, Some(false));
        check(10, 20, 20, None);
        check(NEVER, NEVER, 0, None);
    }

    #[test]
    fn no_hidden_padding() {
        assert_eq!(size_of::<Key>(), 4 + size_of::<Address>());
        assert_eq!(size_of::<Prefix>(), 8 + 8 + 4 + 1 + 1 + 2);
    }
}
