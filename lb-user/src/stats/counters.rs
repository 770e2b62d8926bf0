//! Counter types and the process-wide totals.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A number of things that exist now: connections, sessions, queued requests.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU32);

impl Gauge {
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Adds one and returns how many there are with it.
    pub fn enter(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Adds one unless that would be more than `limit`.
    pub fn enter_below(&self, limit: u32) -> bool {
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < limit).then_some(now + 1))
            .is_ok()
    }

    /// Takes one away and returns how many are left. In one order with [`now`](Self::now): who leaves one thing and
    /// then looks at another needs no fence between, which would cost as much again.
    pub fn leave(&self) -> u32 {
        self.0.fetch_sub(1, Ordering::SeqCst) - 1
    }

    pub fn now(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A number of things that have happened.
#[derive(Debug, Default)]
pub struct Total(AtomicU64);

impl Total {
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts, and says how many there were before.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes over what somebody else has counted.
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }
}

/// How many things happened in the last second: of the second that runs, and the share of the one before that is less
/// than a second ago.
#[derive(Debug, Default)]
pub struct Rate {
    /// Seconds since the start in the upper half, count in the lower.
    running: AtomicU64,
    /// The same of the second before.
    before: AtomicU64,
}

impl Rate {
    pub const fn new() -> Self {
        Self { running: AtomicU64::new(0), before: AtomicU64::new(0) }
    }

    /// Counts one at `now`.
    pub fn count(&self, now: Instant) {
        let second = uptime(now).as_secs() & 0xffff_ffff;
        let known = self.running.load(Ordering::Relaxed);
        if known >> 32 == second {
            self.running.fetch_add(1, Ordering::Relaxed);
        } else if self
            .running
            .compare_exchange(known, second << 32 | 1, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
        {
            self.before.store(known, Ordering::Relaxed);
        } else {
            self.running.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many in the last second.
    pub fn now(&self) -> i64 {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> i64 {
        let uptime = uptime(now);
        let second = uptime.as_secs() & 0xffff_ffff;
        let (running, before) = (self.running.load(Ordering::Relaxed), self.before.load(Ordering::Relaxed));
        let count = |entry: u64, wanted: u64| if entry >> 32 == wanted { entry & 0xffff_ffff } else { 0 };
        let last = count(running, second.wrapping_sub(1)).max(count(before, second.wrapping_sub(1)));
        let left = u64::from(1000 - uptime.subsec_millis());
        i64::try_from(count(running, second) + last * left / 1000).unwrap_or(i64::MAX)
    }
}

/// Time since the first thing was counted, and two seconds, so that the first second has one before it.
fn uptime(now: Instant) -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(|| now.checked_sub(Duration::from_secs(2)).unwrap_or(now));
    now.duration_since(start)
}

/// Totals of the process.
#[derive(Debug)]
pub struct Process {
    /// Client connections accepted since the start.
    pub accepted: Total,
    /// Streams (TCP sessions, HTTP requests) since the start.
    pub streams: Total,
}

/// The totals of this process.
pub static PROCESS: Process = Process { accepted: Total::new(), streams: Total::new() };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_forgets_what_is_a_second_old() {
        let rate = Rate::new();
        let begin = Instant::now();
        // To the beginning of a second of the counter's own.
        let begin = begin + Duration::from_millis(u64::from(1000 - uptime(begin).subsec_millis()));
        for _ in 0..10 {
            rate.count(begin);
        }
        let after = |milliseconds| rate.at(begin + Duration::from_millis(milliseconds));
        assert_eq!(after(10), 10);
        assert_eq!(after(1500), 5);
        assert_eq!(after(2100), 0);
        rate.count(begin + Duration::from_millis(1200));
        assert_eq!(after(1250), 1 + 7);
        assert_eq!(after(5000), 0);
    }
}
