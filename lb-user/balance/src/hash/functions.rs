//! The hash functions of `hash-type`: all in the public domain, with the values HAProxy computes, so that a mixed
//! fleet sends a key to the same server.

use crate::algorithm::{Hash, HashFunction, HashSource};

/// The hash of a key as `cfg` says.
///
/// A client address (`balance source`) is not hashed by the function but folded to 32 bits, as in HAProxy.
pub fn hash(cfg: &Hash, key: &[u8]) -> u32 {
    let hash = match (&cfg.source, cfg.function) {
        (HashSource::Source, _) => fold(key),
        (_, HashFunction::Sdbm) => sdbm(key),
        (_, HashFunction::Djb2) => djb2(key),
        (_, HashFunction::Wt6) => wt6(key),
        (_, HashFunction::Crc32) => crc32fast::hash(key),
        (_, HashFunction::None) => number(key),
    };
    if cfg.avalanche { avalanche(hash) } else { hash }
}

/// Bob Jenkins' full avalanche of a 32-bit integer (burtleburtle.net/bob/hash/integer.html), spread over the ring
/// by a prime near three quarters of it.
pub fn avalanche(hash: u32) -> u32 {
    let mut a = hash;
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

/// The hash of the sdbm database library.
fn sdbm(key: &[u8]) -> u32 {
    key.iter().fold(0, |hash: u32, byte| {
        u32::from(*byte).wrapping_add(hash << 6).wrapping_add(hash << 16).wrapping_sub(hash)
    })
}

/// Dan Bernstein's hash.
fn djb2(key: &[u8]) -> u32 {
    key.iter().fold(5381, |hash: u32, byte| (hash << 5).wrapping_add(hash).wrapping_add(u32::from(*byte)))
}

/// Willy Tarreau's hash number 6: two words that swap and rotate by amounts they choose themselves.
fn wt6(key: &[u8]) -> u32 {
    let (mut first, mut second) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut first_turn, mut second_turn) = (6, 18);
    for byte in key {
        first = !(first ^ u32::from(*byte));
        second = !second.wrapping_add(u32::from(*byte));
        (first, second) = (second.rotate_left(first_turn), first.rotate_left(second_turn));
        let turns = ((first >> 16) ^ second) & 0xffff;
        (first_turn, second_turn) = (turns & 0x1f, turns >> 11);
    }
    first ^ second
}

/// The words of an address, added without carry.
fn fold(address: &[u8]) -> u32 {
    address
        .chunks_exact(4)
        .fold(0, |hash, word| hash ^ u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

/// The lower half of the decimal number the key starts with, read as C's `strtoll` does: blanks and a sign first,
/// saturated to 64 bits, 0 without a digit.
fn number(key: &[u8]) -> u32 {
    let text = key.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let magnitude = digits.iter().take_while(|byte| byte.is_ascii_digit()).fold(0_i64, |number, digit| {
        let digit = i64::from(digit - b'0');
        let number = number.saturating_mul(10);
        if negative { number.saturating_sub(digit) } else { number.saturating_add(digit) }
    });
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the lower half is the hash")]
    let low = magnitude as u32;
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(function: HashFunction, key: &str, expected: u32) {
        let cfg = Hash {
            function,
            ..Hash::new(HashSource::Uri { whole: false, len: 0, depth: 0, path_only: false })
        };
        assert_eq!(hash(&cfg, key.as_bytes()), expected, "{function:?} of {key:?}");
    }

    #[test]
    fn none_reads_numbers_as_c_does() {
        check(HashFunction::None, "12345", 12345);
        check(HashFunction::None, "4294967295", u32::MAX);
        check(HashFunction::None, "4294967296", 0);
        check(HashFunction::None, "99999999999", 1_215_752_191);
        check(HashFunction::None, "18446744073709551616", u32::MAX);
        check(HashFunction::None, "-5", 0_u32.wrapping_sub(5));
        check(HashFunction::None, " +7x", 7);
        check(HashFunction::None, "abc", 0);
        check(HashFunction::None, "", 0);
    }

    #[test]
    fn known_values() {
        check(HashFunction::Crc32, "123456789", 0xcbf4_3926);
        check(HashFunction::Djb2, "", 5381);
        check(HashFunction::Djb2, "a", 177_670);
        check(HashFunction::Sdbm, "a", 97);
        check(HashFunction::Sdbm, "", 0);
    }
}
