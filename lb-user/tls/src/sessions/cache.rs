//! The cache of sessions, one for all threads.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::server::StoresServerSessions;

use super::Context;

/// Locks are taken for a look-up only, and threads seldom meet at one of these.
const SHARDS: usize = 16;
/// Bytes of a block: `tune.ssl.cachesize` counts blocks, and a session with a client's certificate takes several.
const BLOCK: usize = 200;

/// Sessions by their id, for `lifetime` at most and `blocks` of memory; the oldest go first.
pub(crate) struct Cache {
    shards: [Mutex<Shard>; SHARDS],
    /// Blocks of one shard.
    room: usize,
    lifetime: Duration,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Vec<u8>, Entry>,
    /// In the order of insertion, with what tells a newer entry of the same id apart.
    order: VecDeque<(Vec<u8>, u64)>,
    used: usize,
    inserted: u64,
}

struct Entry {
    value: Vec<u8>,
    context: Context,
    expires: Instant,
    number: u64,
}

impl Entry {
    fn blocks(&self) -> usize {
        self.value.len().div_ceil(BLOCK).max(1)
    }
}

impl Cache {
    /// `blocks` 0: nothing is kept.
    pub(crate) fn new(blocks: usize, lifetime: Duration) -> Self {
        Self { shards: Default::default(), room: blocks.div_ceil(SHARDS), lifetime }
    }

    fn shard(&self, id: &[u8]) -> &Mutex<Shard> {
        // Ids are random, those that we make; those that clients make up may meet wherever they like.
        let number =
            id.iter().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
        &self.shards[number % SHARDS]
    }

    fn put(&self, id: Vec<u8>, value: Vec<u8>, context: Context, now: Instant) -> bool {
        let mut shard = self.shard(&id).lock().unwrap_or_else(PoisonError::into_inner);
        shard.inserted += 1;
        let entry = Entry { value, context, expires: now + self.lifetime, number: shard.inserted };
        if entry.blocks() > self.room {
            return false;
        }
        shard.order.push_back((id.clone(), entry.number));
        shard.used += entry.blocks();
        if let Some(old) = shard.entries.insert(id, entry) {
            shard.used -= old.blocks();
        }
        shard.make_room(self.room, now);
        true
    }

    fn take(&self, id: &[u8], context: &Context, now: Instant, keep: bool) -> Option<Vec<u8>> {
        let mut shard = self.shard(id).lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.entries.get(id)?;
        if entry.context != *context || entry.expires <= now {
            return None;
        }
        if keep {
            return Some(entry.value.clone());
        }
        let entry = shard.entries.remove(id)?;
        shard.used -= entry.blocks();
        Some(entry.value)
    }
}

impl Shard {
    /// Drops what has expired and, while there is too much, the oldest.
    fn make_room(&mut self, room: usize, now: Instant) {
        while let Some((id, number)) = self.order.front() {
            // An entry that was taken or replaced has left its place in the order behind.
            let current = self.entries.get(id).filter(|entry| entry.number == *number);
            let stale = current.is_none_or(|entry| entry.expires <= now);
            if !stale && self.used <= room {
                break;
            }
            if current.is_some()
                && let Some(entry) = self.entries.remove(id)
            {
                self.used -= entry.blocks();
            }
            self.order.pop_front();
        }
        // Places left behind in the middle: taken sessions must not pile up behind one that lives.
        if self.order.len() > 2 * self.entries.len() + SHARDS {
            let entries = &self.entries;
            self.order.retain(|(id, number)| entries.get(id).is_some_and(|entry| entry.number == *number));
        }
    }
}

impl fmt::Debug for Cache {
    /// Without the secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cache").field("room", &self.room).finish_non_exhaustive()
    }
}

/// The cache as one configuration sees it.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) cache: Arc<Cache>,
    pub(crate) context: Context,
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.cache.put(key, value, self.context, Instant::now())
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache.take(key, &self.context, Instant::now(), true)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.cache.take(key, &self.context, Instant::now(), false)
    }

    fn can_cache(&self) -> bool {
        self.cache.room > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: Context = [0; 32];

    fn blocks(cache: &Cache) -> usize {
        let mut sum = 0;
        for shard in &cache.shards {
            let shard = shard.lock().unwrap();
            assert_eq!(shard.used, shard.entries.values().map(Entry::blocks).sum::<usize>());
            assert!(shard.order.len() <= 2 * shard.entries.len() + SHARDS + 1);
            sum += shard.used;
        }
        sum
    }

    #[test]
    fn sessions_live_as_long_as_they_may() {
        let cache = Cache::new(1600, Duration::from_secs(10));
        let start = Instant::now();
        assert!(cache.put(vec![1], vec![7], CONTEXT, start));
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(cache.take(&[1], &CONTEXT, later(9), true), Some(vec![7]));
        assert_eq!(cache.take(&[1], &[1; 32], later(9), true), None, "another context");
        assert_eq!(cache.take(&[1], &CONTEXT, later(10), true), None, "too old");
        assert!(cache.put(vec![1], vec![8], CONTEXT, later(11)));
        assert_eq!(cache.take(&[1], &CONTEXT, later(12), false), Some(vec![8]));
        assert_eq!(cache.take(&[1], &CONTEXT, later(12), false), None, "once");
        assert_eq!(blocks(&cache), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let cache = Cache::new(160, Duration::from_secs(10));
        let start = Instant::now();
        for number in 0u32..5000 {
            let size = 100 + (number as usize % 5) * 150;
            cache.put(number.to_be_bytes().to_vec(), vec![0; size], CONTEXT, start);
            if number % 3 == 0 {
                cache.take(&number.to_be_bytes(), &CONTEXT, start, false);
            }
            if number % 7 == 0 {
                cache.put(number.to_be_bytes().to_vec(), vec![0; size], CONTEXT, start);
            }
        }
        let used = blocks(&cache);
        assert!((80..=160).contains(&used), "{used}");
        assert!(!cache.put(vec![1], vec![0; 10_000], CONTEXT, start), "larger than a shard");
        assert!(!Cache::new(0, Duration::from_secs(1)).put(vec![1], vec![1], CONTEXT, start));
    }
}
