//! Map capacities, each with its reason.

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
