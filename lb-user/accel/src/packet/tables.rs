//! The array of all Maglev tables, mapped into this process: filled where no program looks.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use aya::maps::MapData;

use super::PacketSizes;

/// Tables beyond those that are in use at a time: a change fills a table that no service uses, and one that was in use until now
/// rests until the last packet has left it.
const TABLES_SPARE: u32 = 4;

/// The array of all tables, mapped into this process.
pub(super) struct Tables {
    first: NonNull<AtomicU32>,
    bytes: usize,
    size: u32,
    /// Offsets of tables that no service uses, the longest unused first.
    free: VecDeque<u32>,
    /// How many services use the table at an offset.
    users: HashMap<u32, u32>,
}

// SAFETY: the mapping lives until drop, holds only atomics, and belongs to no thread.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

impl Tables {
    pub(super) fn new(map: &MapData, sizes: &PacketSizes) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let bytes = table_entries(sizes)? as usize * size_of::<u32>();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; the map has at least this size.
        let address =
            unsafe { mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, map.fd().as_fd(), 0)? };
        let first = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let free = (0..sizes.tables + TABLES_SPARE).map(|number| number * sizes.table).collect();
        Ok(Self { first, bytes, size: sizes.table, free, users: HashMap::new() })
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

    /// A service uses the table from now on.
    pub(super) fn hold(&mut self, offset: u32) {
        *self.users.entry(offset).or_default() += 1;
    }

    /// A service no longer does; or, without users, nobody is going to.
    pub(super) fn release(&mut self, offset: u32) {
        let left = self.users.remove(&offset).unwrap_or(1).saturating_sub(1);
        if left > 0 {
            self.users.insert(offset, left);
        } else {
            self.free.push_back(offset);
        }
    }

    /// Whether any service uses the table.
    pub(super) fn is_held(&self, offset: u32) -> bool {
        self.users.contains_key(&offset)
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no reference to it outlives `self`.
        let _ = unsafe { rustix::mm::munmap(self.first.as_ptr().cast(), self.bytes) };
    }
}

/// Entries of the array for tables of these sizes; the kernel has none for more than a `u32` can say.
pub(super) fn table_entries(sizes: &PacketSizes) -> io::Result<u32> {
    let tables = sizes.tables.checked_add(TABLES_SPARE);
    let entries = tables.and_then(|tables| tables.checked_mul(sizes.table));
    entries.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_tables_than_there_are_numbers() {
        let check = |tables, table, expected: Option<u32>| {
            let sizes = PacketSizes { tables, table, ..PacketSizes::default() };
            assert_eq!(table_entries(&sizes).ok(), expected, "{tables} of {table}");
        };
        check(0, 65_537, Some(262_148));
        check(64, 65_537, Some(4_456_516));
        check(1_019, 4_194_301, Some(4_290_769_923));
        check(1_020, 4_194_301, Some(4_294_964_224));
        check(1_021, 4_194_301, None);
        check(u32::MAX, u32::MAX, None);
    }
}
