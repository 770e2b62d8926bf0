//! User side of the shield: the list into the kernel's trie, its counters out.
//!
//! A change is made so that each packet meets the old list's verdict or the new one's: longer prefixes come first
//! and go last.

mod list;

use std::collections::HashMap as StdHashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::lpm_trie::{Key as TrieKey, LpmTrie};
use aya::maps::{Map, MapError, PerCpuArray, PerCpuValues};
use lb_common::limits::SHIELD_PREFIXES;
use lb_common::packet::Address;
use lb_common::shield::{Hits, Key, LAYOUT, Prefix};
use rustix::time::{ClockId, clock_gettime};

pub use list::{ShieldEntry, ShieldList, ShieldSaid, TooManyPrefixes};

use crate::batch;
use crate::loader::LoadError;

/// Prefixes that a change may add to a list, at least: a map cannot grow, and during a change it holds both lists.
const ROOM: u32 = 1_024;

/// Why the shield could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum ShieldError {
    #[error("{0} prefixes, and the shield was made for {1}")]
    Full(usize, u32),
    #[error("map: {0}")]
    Map(#[from] MapError),
    #[error("bpf: {0}")]
    Batch(#[from] io::Error),
}

/// What a prefix decided about, with the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShieldHits {
    pub entry: ShieldEntry,
    pub packets: u64,
    /// IP bytes, headers included.
    pub bytes: u64,
}

/// The shield's maps of a loaded program, and what is in them.
pub struct Shield {
    /// A trie; aya's type for it does not give away its descriptor.
    prefixes: Map,
    /// An array with a value per CPU, likewise.
    hits: Map,
    list: ShieldList,
    /// The counter of each entry of `list`.
    indices: Vec<u32>,
    /// Counters that no entry has.
    free: Vec<u32>,
    /// Counters from here on were never used, and are 0.
    fresh: u32,
    capacity: u32,
    cpus: usize,
}

impl Shield {
    /// How large the maps of a shield must be that may get lists of up to about this many prefixes.
    pub fn capacity(prefixes: usize) -> u32 {
        let prefixes = u32::try_from(prefixes).unwrap_or(u32::MAX).min(SHIELD_PREFIXES);
        (prefixes.saturating_mul(2)).max(prefixes + ROOM)
    }

    /// Takes the maps out of the object. They are empty: everything passes.
    pub(crate) fn new(prefixes: Map, hits: Map, capacity: u32) -> Result<Self, LoadError> {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| LoadError::Flows(error))?;
        // Both are of the types and sizes that everything below relies on.
        LpmTrie::<_, Address, Prefix>::try_from(&prefixes)?;
        PerCpuArray::<_, Hits>::try_from(&hits)?;
        Ok(Self {
            prefixes,
            hits,
            list: ShieldList::default(),
            indices: Vec::new(),
            free: Vec::new(),
            fresh: 0,
            capacity,
            cpus,
        })
    }

    /// Puts a list in the place of the one before. What was in both keeps its counters.
    ///
    /// # Errors
    /// When both lists together are too long, or the kernel refuses. Then a part of the change may have been made, and the
    /// next one goes on from there.
    pub fn set(&mut self, list: ShieldList) -> Result<(), ShieldError> {
        let key = |entry: &ShieldEntry| (entry.address, entry.bits);
        let old: StdHashMap<_, _> =
            self.list.entries().iter().map(key).zip(self.indices.iter().copied()).collect();
        let new_ones = list.entries().iter().filter(|entry| !old.contains_key(&key(entry))).count();
        if self.list.len() + new_ones > self.capacity as usize {
            return Err(ShieldError::Full(self.list.len() + new_ones, self.capacity));
        }
        let mut indices = Vec::with_capacity(list.len());
        for entry in list.entries() {
            indices.push(match old.get(&key(entry)) {
                Some(index) => *index,
                None => self.counter()?,
            });
        }
        self.insert(&list, &indices)?;
        let mut kept = list.entries().iter().map(key).peekable();
        let mut gone: Vec<(ShieldEntry, u32)> = Vec::new();
        // Both lists are sorted alike.
        for (entry, index) in self.list.entries().iter().zip(&self.indices) {
            while kept.peek().is_some_and(|next| *next < key(entry)) {
                kept.next();
            }
            if kept.peek() != Some(&key(entry)) {
                gone.push((*entry, *index));
            }
        }
        gone.sort_by_key(|(entry, _)| entry.bits);
        (self.list, self.indices) = (list, indices);
        for (entry, index) in gone {
            self.remove(&entry)?;
            self.free.push(index);
        }
        Ok(())
    }

    /// A counter at 0 that no entry has.
    fn counter(&mut self) -> Result<u32, ShieldError> {
        if let Some(index) = self.free.pop() {
            let zero = PerCpuValues::try_from(vec![Hits::default(); self.cpus])?;
            PerCpuArray::try_from(&mut self.hits)?.set(index, zero, 0)?;
            return Ok(index);
        }
        self.fresh += 1;
        Ok(self.fresh - 1)
    }

    /// Longest prefixes first.
    fn insert(&self, list: &ShieldList, indices: &[u32]) -> Result<(), ShieldError> {
        let mut order: Vec<usize> = (0..list.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(list.entries()[at].bits));
        let mut keys = Vec::with_capacity(batch::BATCH);
        let mut values = Vec::with_capacity(batch::BATCH);
        for part in order.chunks(batch::BATCH) {
            keys.clear();
            values.clear();
            for &at in part {
                let entry = &list.entries()[at];
                keys.push(Key { bits: entry.bits.into(), address: wire(entry.address) });
                values.push(Prefix {
                    allow_until: entry.allow_until,
                    deny_until: entry.deny_until,
                    hits: indices[at],
                    bits: entry.bits,
                    padding: 0,
                    layout: LAYOUT,
                });
            }
            batch::update(descriptor(&self.prefixes)?, &keys, &values)?;
        }
        Ok(())
    }

    fn remove(&mut self, entry: &ShieldEntry) -> Result<(), ShieldError> {
        let mut trie = LpmTrie::<_, Address, Prefix>::try_from(&mut self.prefixes)?;
        match trie.remove(&TrieKey::new(entry.bits.into(), wire(entry.address))) {
            Err(MapError::KeyNotFound) | Ok(()) => Ok(()),
            // It was removed before, when it expired.
            Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what has expired at `now` (nanoseconds of the boot clock) out of the trie; it stays in the list, with
    /// its counters. Returns when to come again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn expire(&mut self, now: u64) -> Result<Option<u64>, ShieldError> {
        let expired: Vec<ShieldEntry> =
            self.list.entries().iter().filter(|entry| entry.allows(now).is_none()).copied().collect();
        for entry in expired {
            self.remove(&entry)?;
        }
        Ok(self.list.next_expiry(now))
    }

    /// What each prefix decided about, in the list's order.
    ///
    /// # Errors
    /// When the kernel does not let the map be read.
    pub fn hits(&self) -> Result<Vec<ShieldHits>, ShieldError> {
        let mut sums = vec![Hits::default(); self.fresh as usize];
        batch::per_cpu(descriptor(&self.hits)?, self.fresh, self.cpus, |index, values: &[Hits]| {
            if let Some(sum) = sums.get_mut(index as usize) {
                for value in values {
                    sum.packets += value.packets;
                    sum.bytes += value.bytes;
                }
            }
        })?;
        let hits = self.list.entries().iter().zip(&self.indices).map(|(entry, index)| {
            let Hits { packets, bytes } = sums.get(*index as usize).copied().unwrap_or_default();
            ShieldHits { entry: *entry, packets, bytes }
        });
        Ok(hits.collect())
    }

    /// The list in force.
    pub fn list(&self) -> &ShieldList {
        &self.list
    }
}

impl fmt::Debug for Shield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").field("prefixes", &self.list.len()).finish_non_exhaustive()
    }
}

/// Nanoseconds of the clock by which prefixes expire; it goes on while the machine sleeps.
pub fn boot_clock() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

fn descriptor(map: &Map) -> Result<BorrowedFd<'_>, ShieldError> {
    match map {
        Map::LpmTrie(data) | Map::PerCpuArray(data) => Ok(data.fd().as_fd()),
        _ => Err(io::Error::from(io::ErrorKind::InvalidInput).into()),
    }
}

/// An address as the trie has it.
fn wire(address: u128) -> Address {
    let octets = address.to_be_bytes();
    std::array::from_fn(|word| {
        let at = word * 4;
        u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
    })
}
