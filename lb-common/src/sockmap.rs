//! One direction between two sockets, forwarded by the stream verdict program.
//!
//! Userspace inserts the destination, then the source, and from then on each received packet meets the program.
//! The kernel has no backpressure on this path, so the program compares what it redirected with what the
//! destination has taken, and gates the flow when the difference passes a limit: from the gate on every packet
//! goes to userspace, which copies until it has caught up and then asks for the gate to be opened.

/// State of a [`Flow`]: nothing was redirected since userspace last wrote to the destination. Set by userspace
/// at insertion, and by the program's own reopening of the gate.
pub const FRESH: u32 = 0;
/// Packets go to the destination. Set by the program.
pub const REDIRECTING: u32 = 1;
/// Packets go to userspace. Set by the program.
pub const GATED: u32 = 2;

/// One forwarded direction, at the same index as its sockets. Userspace maps the array into its memory.
///
/// Each field has one writer. Packets of one socket are seen one after the other, so the program's fields need
/// no more than that.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Program: bytes redirected since insertion.
    pub redirected: u64,
    /// Program: bytes given to userspace since insertion.
    pub passed: u64,
    /// Userspace: how many of `passed` were read and written on.
    pub consumed: u64,
    /// [`FRESH`], [`REDIRECTING`] or [`GATED`]. Userspace writes it before insertion, the program afterwards.
    pub state: u32,
    /// Program: sequence number that the destination's next write will have once it took all redirected bytes.
    pub expected_seq: u32,
    /// Userspace: bytes that may be redirected and not yet taken by the destination.
    pub backlog_bytes_max: u32,
    /// Userspace: 1 asks for the gate to be opened at the first packet that finds `consumed` equal to `passed`.
    pub resume: u32,
    /// Program: how many times the flow was gated.
    pub gates: u32,
    pub padding: [u32; 5],
}

const _: () = assert!(size_of::<Flow>() == 64, "one cache line per flow");

/// What the ring buffer carries: this flow was gated.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Index of the flow.
    pub slot: u32,
    /// [`GATED`].
    pub kind: u32,
}

const _: () = assert!(size_of::<Event>() == 8);

// SAFETY: plain integers without padding between them; every bit pattern is valid.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Flow {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hidden_padding() {
        let fields = 3 * size_of::<u64>() + 5 * size_of::<u32>() + size_of::<[u32; 5]>();
        assert_eq!(size_of::<Flow>(), fields);
    }
}
