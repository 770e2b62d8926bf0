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

/// Counts the variants below.
const fn one(_: PacketExit) -> u32 {
    1
}

/// Declares the ways out of the packet program, with the words that summaries use.
macro_rules! exits {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal,)+) => {
        /// Ways out of the packet program; each packet takes exactly one.
        #[repr(u32)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum PacketExit {
            $($(#[doc = $doc])+ $name,)+
        }

        /// The names of the packet program's counters, in the order of [`PacketExit`].
        pub const PACKET_NAMES: [&str; PACKET_EXITS as usize] = [$($word),+];

        /// How many [`PacketExit`]s there are.
        pub const PACKET_EXITS: u32 = 0 $(+ one(PacketExit::$name))+;
    };
}

exits! {
    /// Sent out of the interface that it came from, to a server.
    Sent = "sent",
    /// Sent out of another interface, to a server.
    Redirected = "redirected",
    /// An answer, sent out of the interface that it came from.
    SentBack = "sent_back",
    /// An answer, sent out of another interface.
    RedirectedBack = "redirected_back",
    /// An ICMP error about a known flow, translated and sent on.
    IcmpError = "icmp_error",
    /// Translated, and given to the kernel to find the next hop's address.
    NoNeighbour = "no_neighbour",
    /// Lost: the kernel got a copy that nobody accepts, to find the next hop's address for the packets that follow.
    NeighbourAsked = "neighbour_asked",
    /// Larger than the way allows; an ICMP message tells its sender what fits.
    TooBigAnswered = "too_big_answered",
    /// Translated, and given to the kernel to be cut into fragments.
    ToFragment = "to_fragment",
    /// To the kernel: the shield lets it pass, and there is nothing but the shield.
    ShieldPassed = "shield_passed",
    /// To the kernel: neither IPv4 nor IPv6, or too many VLAN tags.
    NotIp = "not_ip",
    /// To the kernel: not for our Ethernet address alone, or not from one other host.
    NotUnicast = "not_unicast",
    /// To the kernel: neither TCP nor UDP nor an ICMP error.
    OtherProtocol = "other_protocol",
    /// To the kernel: for none of our services.
    NoService = "no_service",
    /// To the kernel: from a server, but of no flow of ours.
    NoFlow = "no_flow",
    /// To the kernel: from a server to this host itself, or to where no route leads.
    NotForwarded = "not_forwarded",
    /// To the kernel: lengths or headers that contradict each other.
    Malformed = "malformed",
    /// To the kernel: IPv6 extension headers that are too many, too long, or still have to be acted upon on the way.
    ExtensionHeaders = "extension_headers",
    /// To the kernel: a later fragment whose first one was not for us or has not been seen.
    Fragment = "fragment",
    /// Dropped: no server is up.
    NoServer = "no_server",
    /// Dropped: its server is down and `on-marked-down` ends its flows.
    ServerDown = "server_down",
    /// Dropped: every source port that a new flow could have at its server belongs to another one.
    NoPort = "no_port",
    /// Dropped: its time to live ends here.
    TimeToLive = "time_to_live",
    /// Dropped: larger than the way allows, and its sender is not to be told, or too many have been told.
    TooBig = "too_big",
    /// Dropped: no route to the server or the client, or one that leads nowhere.
    NoRoute = "no_route",
    /// Dropped: the interface does not forward packets (`net.ipv4.conf.*.forwarding`).
    ForwardingOff = "forwarding_off",
    /// Dropped: the next hop's address is not known and this packet cannot wait for it in the kernel.
    NoLink = "no_link",
    /// Dropped: no room for an outer header or a VLAN tag.
    NoRoom = "no_room",
    /// Dropped: the shield denies its source address.
    ShieldDenied = "shield_denied",
}

/// Ways out of the two steering programs. [`STEER_NAMES`] has the words that summaries use.
pub mod steer {
    /// To the worker with the least to do.
    pub const LEAST: u32 = 0;
    /// The same, and every worker that was looked at was busy.
    pub const LEAST_BUSY: u32 = 1;
    /// To the worker of this CPU.
    pub const CPU: u32 = 2;
    /// Left to the kernel's hash: the sockets are none of ours.
    pub const NO_GROUP: u32 = 3;
    /// Left to the kernel's hash: the worker has closed its socket.
    pub const NO_SOCKET: u32 = 4;
    /// To the bind that owns the port.
    pub const OWNED: u32 = 5;
    /// Left to the kernel: not TCP.
    pub const NOT_TCP: u32 = 6;
    /// Left to the kernel: an address that is in no bind's prefix.
    pub const NO_PREFIX: u32 = 7;
    /// Left to the kernel: a port that is in no bind's range.
    pub const NO_RANGE: u32 = 8;
    /// Left to the kernel: a bind of its own has this address and port.
    pub const EXACT: u32 = 9;
    /// Left to the kernel: the bind has closed its sockets.
    pub const NO_DOOR: u32 = 10;

    /// How many there are.
    pub const COUNT: u32 = 11;
}

/// The names of [`steer`]'s counters, in their order.
pub const STEER_NAMES: [&str; steer::COUNT as usize] = [
    "least",
    "least_busy",
    "cpu",
    "no_group",
    "no_socket",
    "owned",
    "not_tcp",
    "no_prefix",
    "no_range",
    "exact",
    "no_door",
];
