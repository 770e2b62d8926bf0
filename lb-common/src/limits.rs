//! Map capacities, each with its reason.

/// Flows in `mode packet` that are remembered, unless the daemon asks for another number. The kernel takes about
/// 130 bytes for each at once.
pub const PACKET_CONNECTIONS: u32 = 1 << 20;

/// Source ports that are tried for a new flow in NAT mode: with four of five taken, one flow in 35 finds none of them
/// free and takes the place of one that is over.
pub const PACKET_PORTS_TRIED: u32 = 16;

/// Datagrams whose later fragments find their way: a fragment follows its first within milliseconds.
pub const PACKET_FRAGMENTS: u32 = 4_096;

/// Services, counting each address, port and protocol.
pub const PACKET_SERVICES: u32 = 1_024;

/// Servers of all services together.
pub const PACKET_SERVERS: u32 = 16_384;

/// TCP options that are looked at for the largest segment, which every known system offers among the first.
pub const PACKET_TCP_OPTIONS: usize = 10;

/// Senders of too large packets that one CPU tells what fits, in a second: what Linux allows itself by default
/// (`net.ipv4.icmp_msgs_per_sec`) on all CPUs.
pub const PACKET_ANSWERS: u64 = 1_000;

/// VLAN interfaces that packets may leave through: as many as one cable can have.
pub const PACKET_VLANS: u32 = 4_096;

/// IPv6 extension headers that are followed in one packet. RFC 8200 section 4.1 knows six that may come in front of
/// a transport header, once each but for one.
pub const PACKET_EXTENSION_HEADERS: usize = 6;

/// Prefixes of the shield: the lists that are published of whole countries or of known attackers have some 100,000.
/// Each takes about 100 bytes of the kernel's memory, and 16 for every CPU.
pub const SHIELD_PREFIXES: u32 = 1_000_000;

/// Lines per second that the packet program may say on each CPU (`ebpf.debug on`): a flood of bad packets must not
/// become a flood of lines.
pub const DEBUG_LINES: u64 = 16;

/// Directions that the kernel may forward at once. Each takes two slots of 8 bytes and one [`Flow`]; a process
/// with the usual limit of 20,000 descriptors cannot have more than 10,000 connection pairs.
///
/// [`Flow`]: crate::sockmap::Flow
pub const SOCKMAP_FLOWS: u32 = 8_192;

/// Bytes of the ring buffer that reports gated flows: a power of two of whole pages, room for 10,000 events.
pub const SOCKMAP_EVENTS_BYTES: u32 = 256 * 1024;

/// Bytes of one flow that may be redirected and not yet taken by the destination before its gate closes. What
/// the kernel's worker moves during one of its sleeps; the destination's own send buffer comes on top.
pub const SOCKMAP_BACKLOG_BYTES: u32 = 1024 * 1024;

/// Words of eight bytes in a packet of the measuring program: room for Ethernet, IPv6 and TCP headers and some payload.
pub const TRAFFIC_WORDS: usize = 12;

/// Workers that the steering program looks at for one connection. With more of them it looks at this many, from a
/// place that the connection's hash says.
pub const STEER_MEMBERS_SEEN: u32 = 64;

/// Ranges of ports that may apply to one address: its own and those of the prefixes around it. The program goes
/// through them one by one.
pub const STEER_RANGES: u32 = 64;

/// Sockets of a bind that are tried in turn; the first is gone only while its process ends.
pub const STEER_DOORS: u32 = 4;
