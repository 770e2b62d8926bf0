//! Named indices of the per-CPU counters: every way out of a kernel program has one.

/// Ways out of the sockmap program. [`SOCKMAP_NAMES`] has the words that summaries use.
pub mod sockmap {
    /// Handed to the destination socket.
    pub const REDIRECTED: u32 = 0;
    /// A FIN without data: nothing to hand over.
    pub const END: u32 = 1;
    /// Given to userspace: the destination fell too far behind, and the flow was gated by this one.
    pub const GATED: u32 = 2;
    /// Given to userspace: the flow was gated before.
    pub const PASSED: u32 = 3;
    /// Handed to the destination: userspace had caught up and the gate opened.
    pub const RESUMED: u32 = 4;
    /// Given to userspace: the packet belongs to no full TCP socket.
    pub const NO_SOCKET: u32 = 5;
    /// Given to userspace: the socket belongs to no flow.
    pub const NO_FLOW: u32 = 6;
    /// Given to userspace: the destination socket has left its map.
    pub const NO_DESTINATION: u32 = 7;
    /// Dropped by the kernel: the destination left between the look-up and the redirect.
    pub const REDIRECT_FAILED: u32 = 8;
    /// Not a way out: a gate that could not be reported because the ring buffer was full.
    pub const EVENT_LOST: u32 = 9;

    /// How many there are.
    pub const COUNT: u32 = 10;
}

/// The names of [`sockmap`]'s counters, in their order.
pub const SOCKMAP_NAMES: [&str; sockmap::COUNT as usize] = [
    "redirected",
    "end",
    "gated",
    "passed",
    "resumed",
    "no_socket",
    "no_flow",
    "no_destination",
    "redirect_failed",
    "event_lost",
];
