//! The embedded object, its maps made to measure.

use aya::{Ebpf, EbpfLoader, include_bytes_aligned};

use crate::LoadError;

/// The object of `lb-ebpf/src/steer`; empty when it was not built.
static STEER: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/steer"));

/// Whether the object is in this binary.
pub(crate) fn is_built() -> bool {
    !STEER.is_empty()
}

/// How many of everything. A map has one element at least.
pub(super) struct Sizes {
    /// The CPUs, if they choose the worker; else 0.
    pub(super) by_cpu: usize,
    pub(super) sockets: usize,
    pub(super) groups: usize,
    pub(super) members: usize,
    pub(super) workers: usize,
    pub(super) prefixes: usize,
    pub(super) ranges: usize,
}

/// Creates the maps.
pub(super) fn create(sizes: &Sizes) -> Result<Ebpf, LoadError> {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let by_cpu = number(sizes.by_cpu);
    let mut loader = EbpfLoader::new();
    // The objects have no relocations against kernel types.
    loader.btf(None).override_global("BY_CPU", &by_cpu, true);
    let maps = [
        ("SOCKETS", sizes.sockets),
        ("GROUPS", sizes.groups),
        ("MEMBERS", sizes.members),
        ("LOADS", sizes.workers),
        ("PREFIXES", sizes.prefixes),
        ("RANGES", sizes.ranges),
    ];
    for (name, count) in maps {
        loader.map_max_entries(name, number(count).max(1));
    }
    Ok(loader.load(STEER)?)
}
