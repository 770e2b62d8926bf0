//! Counter types and the process-wide totals.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

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
