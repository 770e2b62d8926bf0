//! Map capacities, each with its reason.

/// Directions that the kernel may forward at once. Each takes two slots of 8 bytes and one [`Flow`]; a process
/// with the usual limit of 20,000 descriptors cannot have more than 10,000 connection pairs.
///
/// [`Flow`]: crate::sockmap::Flow
pub const SOCKMAP_FLOWS: u32 = 8_192;

/// Bytes of the ring buffer that reports gated flows: a power of two of whole pages, room for 10,000 events.
pub const SOCKMAP_EVENTS_BYTES: u32 = 256 * 1024;
