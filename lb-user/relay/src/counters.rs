//! Bytes and flows by path. Each thread counts for itself; the sum is made when somebody reads it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Path;

/// The sums over all threads, those that have ended included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub copy: PathCounters,
    pub splice: PathCounters,
    pub sockmap: PathCounters,
    /// Times a direction that deserved a larger buffer went on with a small one: the thread had lent its limit.
    pub buffers_refused: u64,
    /// Times a direction that deserved a pipe went on copying: limit reached or descriptors exhausted.
    pub pipes_refused: u64,
    /// Times the kernel refused a path for a pair of sockets and the direction went on copying.
    pub fallbacks: u64,
}

/// What one path has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathCounters {
    /// Directions that used the path; one that changed paths counts in each of them.
    pub flows: u64,
    /// Bytes that the receiving socket accepted.
    pub bytes: u64,
}

/// The sums so far.
pub fn counters() -> Counters {
    let mut sum = Counters::default();
    for shard in SHARDS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        for path in Path::ALL {
            let into = match path {
                Path::Copy => &mut sum.copy,
                Path::Splice => &mut sum.splice,
                Path::Sockmap => &mut sum.sockmap,
            };
            into.flows += shard.flows[path as usize].load(Relaxed);
            into.bytes += shard.bytes[path as usize].load(Relaxed);
        }
        sum.buffers_refused += shard.buffers_refused.load(Relaxed);
        sum.pipes_refused += shard.pipes_refused.load(Relaxed);
        sum.fallbacks += shard.fallbacks.load(Relaxed);
    }
    sum
}

impl fmt::Display for Counters {
    /// One line for the end-of-run summary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, counted) in [("copy", self.copy), ("splice", self.splice), ("sockmap", self.sockmap)] {
            write!(f, "{path} {} bytes in {} flows, ", counted.bytes, counted.flows)?;
        }
        write!(
            f,
            "refused: {} buffers, {} pipes, {} kernel paths",
            self.buffers_refused, self.pipes_refused, self.fallbacks
        )
    }
}

/// The counters of one thread. Only that thread writes them, so plain loads and stores suffice.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    flows: [AtomicU64; 3],
    bytes: [AtomicU64; 3],
    buffers_refused: AtomicU64,
    pipes_refused: AtomicU64,
    fallbacks: AtomicU64,
}

/// One per thread that ever moved a byte; worker threads are few and live as long as the process.
static SHARDS: Mutex<Vec<Arc<Shard>>> = Mutex::new(Vec::new());

thread_local! {
    static SHARD: Arc<Shard> = {
        let shard = Arc::new(Shard::default());
        SHARDS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shard));
        shard
    };
}

fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

/// Counts bytes that the caller copied itself, beside their message's head: small bodies never become a direction.
pub fn count_copied(bytes: u64) {
    SHARD.with(|shard| {
        add(&shard.flows[Path::Copy as usize], 1);
        add(&shard.bytes[Path::Copy as usize], bytes);
    });
}

pub(crate) fn add_flow(path: Path) {
    SHARD.with(|shard| add(&shard.flows[path as usize], 1));
}

pub(crate) fn add_bytes(path: Path, n: u64) {
    SHARD.with(|shard| add(&shard.bytes[path as usize], n));
}

pub(crate) fn add_buffer_refused() {
    SHARD.with(|shard| add(&shard.buffers_refused, 1));
}

pub(crate) fn add_pipe_refused() {
    SHARD.with(|shard| add(&shard.pipes_refused, 1));
}

pub(crate) fn add_fallback() {
    SHARD.with(|shard| add(&shard.fallbacks, 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_threads_that_have_ended() {
        let before = counters();
        std::thread::spawn(|| {
            add_flow(Path::Sockmap);
            add_bytes(Path::Sockmap, 7);
        })
        .join()
        .unwrap();
        add_bytes(Path::Sockmap, 5);
        let after = counters();
        assert_eq!(after.sockmap.bytes - before.sockmap.bytes, 12);
        assert_eq!(after.sockmap.flows - before.sockmap.flows, 1);
    }
}
