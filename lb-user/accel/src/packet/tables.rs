//! The array of all Maglev tables, mapped into this process: filled where no program looks.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use aya::maps::MapData;

use super::PacketSizes;

/// Tables beyond one per service: a change fills a table that no service uses, and one that was in use until now
/// rests until the last packet has left it.
const TABLES_SPARE: u32 = 4;

/// The array of all tables, mapped into this process.
pub(super) struct Tables {
    first: NonNull<AtomicU32>,
    bytes: usize,
    size: u32,
    /// Offsets of tables that no service uses, the longest unused first.
    free: VecDeque<u32>,
}

// SAFETY: the mapping lives until drop, holds only atomics, and belongs to no thread.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

impl Tables {
    pub(super) fn new(map: &MapData, sizes: &PacketSizes) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let bytes = table_entries(sizes) as usize * size_of::<u32>();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; the map has at least this size.
        let address =
            unsafe { mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, map.fd().as_fd(), 0)? };
        let first = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let free = (0..sizes.services + TABLES_SPARE).map(|number| number * sizes.table).collect();
        Ok(Self { first, bytes, size: sizes.table, free })
    }

    /// Writes a table to where no program looks, and says where that is.
    pub(super) fn fill(&mut self, table: &[u32]) -> Option<u32> {
        let offset = self.free.pop_front()?;
        for (place, &index) in (offset as usize..).zip(table.iter().take(self.size as usize)) {
            assert!((place + 1) * size_of::<u32>() <= self.bytes, "offsets come from the free list");
            // SAFETY: checked above to be inside the mapping, which lives as long as `self`.
            unsafe { self.first.add(place).as_ref() }.store(index, Ordering::Relaxed);
        }
        std::sync::atomic::fence(Ordering::Release);
        Some(offset)
    }

    /// Looks at all entries of a table until one is an error.
    pub(super) fn each<E>(
        &self,
        offset: u32,
        size: u32,
        mut look: impl FnMut(u32) -> Result<(), E>,
    ) -> Result<(), E> {
        for place in offset as usize..(offset + size) as usize {
            assert!((place + 1) * size_of::<u32>() <= self.bytes, "offsets come from the free list");
            // SAFETY: as in `fill`.
            look(unsafe { self.first.add(place).as_ref() }.load(Ordering::Relaxed))?;
        }
        Ok(())
    }

    pub(super) fn release(&mut self, offset: u32) {
        self.free.push_back(offset);
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no reference to it outlives `self`.
        let _ = unsafe { rustix::mm::munmap(self.first.as_ptr().cast(), self.bytes) };
    }
}

/// Entries of the array for tables of these sizes.
pub(super) fn table_entries(sizes: &PacketSizes) -> u32 {
    (sizes.services + TABLES_SPARE).saturating_mul(sizes.table)
}
