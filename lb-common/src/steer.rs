//! Which listening socket, and so which worker, gets a new connection.
//!
//! Two programs share these maps. `lookup` runs first, for packets of no connection: it gives what belongs to a prefix
//! or a range of ports to the sockets of one bind. `reuseport` then chooses among the sockets that share an address.
//! Both run for SYNs only, so they may cost what a packet program may not.

/// The bits of an IPv4 address in front of which the mapped form has its own (RFC 4291 section 2.5.5.2).
pub const MAPPED_BITS: u8 = 96;

/// An address as keys have it: IPv6, or IPv4 mapped into it; the words in network order.
pub type Words = [u32; 4];

/// The sockets of one bind share this: the address of a listening socket as the kernel shows it to programs.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// IPv4 in the first word, the others 0; IPv6 in all of them.
    pub address: Words,
    /// `AF_INET` or `AF_INET6`: both have a wildcard.
    pub family: u32,
    /// In host order.
    pub port: u32,
    /// The interface it is bound to, 0 for none.
    pub interface: u32,
    pub padding: u32,
}

/// The members of a group lie one behind the other.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Index of the first [`Member`].
    pub first: u32,
    /// How many there are: one per worker, or with `cpu` one per CPU.
    pub count: u32,
}

/// One worker and the socket that it accepts from. With fewer sockets than workers several members have the same.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Index into the map of sockets.
    pub socket: u32,
    /// Index of its [`Load`].
    pub worker: u32,
}

/// How much a worker has to do. Each field has one writer but `assigned`, which CPUs add to at once.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Worker: its sessions.
    pub sessions: u64,
    /// Worker: how many of `assigned` it has taken, or has given up waiting for.
    pub taken: u64,
    /// Worker: since when it has not been idle, in nanoseconds of CLOCK_MONOTONIC; 0 while it is.
    pub working_since: u64,
    /// Worker: until when it counts as busy because it was a moment ago; same clock.
    pub busy_until: u64,
    pub padding: [u64; 4],
    /// Program: connections given to it. On a cache line of its own.
    pub assigned: u64,
    pub padding_of_program: [u64; 7],
}

const _: () = assert!(size_of::<Load>() == 128, "a cache line for each side");

/// A worker that has not been idle for this long is busy: nothing new for it while another is not. An ordinary turn of
/// its loop takes some ten microseconds, a handshake with an RSA key 1 to 2 ms.
pub const BUSY_NS: u64 = 5_000_000;

/// A worker that was busy counts as such for as long again, because what kept it is probably not over. But never longer
/// than this, so that one long turn does not cost it its share.
pub const BUSY_AFTER_NS_MAX: u64 = 100_000_000;

/// What a prefix leads to: ranges, the most specific first.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Index of the first [`Range`].
    pub first: u32,
    pub count: u32,
}

/// Ports, and whose they are.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub low: u32,
    /// Included.
    pub high: u32,
    /// Packets that came in there only; 0 for any.
    pub interface: u32,
    /// Index of the first socket of the bind, from the map of sockets.
    pub socket: u32,
    /// How many sockets the bind has, one behind the other; 0 leaves the packet to the kernel's own look-up, because
    /// there is a bind for that very address and port.
    pub sockets: u32,
    pub padding: u32,
}

// SAFETY: plain integers without padding between them; every bit pattern is valid.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for GroupKey {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Group {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Member {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Load {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Prefix {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Range {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hidden_padding() {
        assert_eq!(size_of::<GroupKey>(), 32);
        assert_eq!(size_of::<Range>(), 24);
        assert_eq!(std::mem::offset_of!(Load, assigned), 64);
    }
}
