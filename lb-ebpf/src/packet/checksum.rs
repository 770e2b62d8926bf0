//! Internet checksums, changed by what changed (RFC 1624): a wrong one stays wrong.
//!
//! The sum of 16-bit words in one's complement is the same in either byte order, so everything here is as the
//! packet has it in memory.

use lb_common::packet::Address;

/// Sum of an address's words, not folded.
#[inline(always)]
pub fn address(address: &Address) -> u64 {
    address[0] as u64 + address[1] as u64 + address[2] as u64 + address[3] as u64
}

/// The same of two addresses.
#[inline(always)]
pub fn addresses(source: &Address, destination: &Address) -> u64 {
    address(source) + address(destination)
}

/// Sum of two ports.
#[inline(always)]
pub fn sum(ports: [u16; 2]) -> u64 {
    ports[0] as u64 + ports[1] as u64
}

/// What a checksum changes by when words with sum `old` become words with sum `new`.
#[inline(always)]
pub fn difference(old: u64, new: u64) -> u64 {
    (!fold(old)) as u64 + new
}

/// A checksum after a [`difference`].
#[inline(always)]
pub fn apply(checksum: u16, difference: u64) -> u16 {
    !fold((!checksum) as u64 + difference)
}

/// The sum in 16 bits.
#[inline(always)]
pub fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}
