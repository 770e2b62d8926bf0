//! What workers say about themselves: an array of the kernel program, mapped into the process.
//!
//! Each worker writes its own element and nobody waits for anybody: a few plain stores per turn of its loop and per
//! connection.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::MapData;
use lb_common::steer::{BUSY_AFTER_NS_MAX, BUSY_NS, Load};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::time::{ClockId, clock_gettime};

/// [`Load`] as two writers see it.
#[repr(C)]
struct SharedLoad {
    sessions: AtomicU64,
    taken: AtomicU64,
    working_since: AtomicU64,
    busy_until: AtomicU64,
    _padding: [u64; 4],
    assigned: AtomicU64,
    _padding_of_program: [u64; 7],
}

const _: () = assert!(size_of::<SharedLoad>() == size_of::<Load>());

/// The array of loads, mapped into this process.
pub(super) struct Loads {
    first: NonNull<SharedLoad>,
    count: usize,
}

// SAFETY: the mapping lives until drop, holds only atomics, and belongs to no thread.
unsafe impl Send for Loads {}
// SAFETY: as above.
unsafe impl Sync for Loads {}

impl Loads {
    /// Maps `count` elements, which is how many the map has.
    pub(super) fn new(map: &MapData, count: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let bytes = count * size_of::<SharedLoad>();
        // SAFETY: a new mapping at an address of the kernel's choice; the map has at least this size.
        let address = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, map.fd().as_fd(), 0)?
        };
        let first = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { first, count })
    }

    fn load(&self, worker: usize) -> &SharedLoad {
        assert!(worker < self.count, "made for every worker");
        // SAFETY: checked above to be inside the mapping, which lives as long as `self`.
        unsafe { self.first.add(worker).as_ref() }
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and no reference to it outlives `self`.
        let _ =
            unsafe { rustix::mm::munmap(self.first.as_ptr().cast(), self.count * size_of::<SharedLoad>()) };
    }
}

/// Where one worker says how much it has to do. Only its own thread uses it.
pub struct WorkerLoad {
    loads: Arc<Loads>,
    worker: usize,
    /// What `assigned` was at the last [`forget`](Self::forget).
    assigned_before: Cell<u64>,
}

impl WorkerLoad {
    pub(super) fn new(loads: Arc<Loads>, worker: usize) -> Self {
        Self { loads, worker, assigned_before: Cell::new(0) }
    }

    /// How many sessions it has.
    pub fn set_sessions(&self, sessions: usize) {
        self.load().sessions.store(sessions as u64, Ordering::Relaxed);
    }

    /// It has taken one of the connections that were given to it.
    pub fn accepted(&self) {
        let load = self.load();
        let taken = load.taken.load(Ordering::Relaxed);
        // One from a socket that is not steered was never given.
        if taken < load.assigned.load(Ordering::Relaxed) {
            load.taken.store(taken + 1, Ordering::Relaxed);
        }
    }

    /// What was given to it before the last call and has not come by now will not: its client has gone, or never was.
    pub fn forget(&self) {
        let load = self.load();
        let before = self.assigned_before.replace(load.assigned.load(Ordering::Relaxed));
        if load.taken.load(Ordering::Relaxed) < before {
            load.taken.store(before, Ordering::Relaxed);
        }
    }

    /// It has something to do from now on.
    pub fn works(&self) {
        self.load().working_since.store(now(), Ordering::Relaxed);
    }

    /// It has nothing to do from now on.
    pub fn rests(&self) {
        let load = self.load();
        let since = load.working_since.swap(0, Ordering::Relaxed);
        if since == 0 {
            return;
        }
        let now = now();
        let worked = now.saturating_sub(since);
        if worked > BUSY_NS {
            load.busy_until.store(now + worked.min(BUSY_AFTER_NS_MAX), Ordering::Relaxed);
        }
    }

    /// Connections given to it that it has not taken.
    pub fn waiting(&self) -> u64 {
        let load = self.load();
        load.assigned.load(Ordering::Relaxed).saturating_sub(load.taken.load(Ordering::Relaxed))
    }

    fn load(&self) -> &SharedLoad {
        self.loads.load(self.worker)
    }
}

impl fmt::Debug for WorkerLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.load().sessions.load(Ordering::Relaxed);
        f.debug_struct("WorkerLoad")
            .field("worker", &self.worker)
            .field("sessions", &sessions)
            .finish_non_exhaustive()
    }
}

/// The clock of `bpf_ktime_get_ns`.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
