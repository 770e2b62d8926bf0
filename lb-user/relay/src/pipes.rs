//! The pipes of a thread, lent to directions for the moment that bytes are inside.

use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use sockeye_sys::splice::Pipe;

use crate::counters;

/// Bytes of a pipe when nothing was configured: measured best from 256 KiB to the kernel's limit of 1 MiB.
const PIPE_BYTES: usize = 512 * 1024;
/// A pipe that the kernel made smaller than this moves less per call than a copy does.
const USEFUL_BYTES_MIN: usize = 64 * 1024;
/// Pipes of the process when nothing was configured; two descriptors each.
const PIPES_MAX: usize = 256;
/// Spare pipes a thread keeps. One is in use at a time except while receivers stall.
const SPARE_PIPES_MAX: usize = 8;

static BYTES: AtomicUsize = AtomicUsize::new(PIPE_BYTES);
static LIMIT: AtomicUsize = AtomicUsize::new(PIPES_MAX);
/// Pipes that exist, lent or spare.
static EXISTING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// What the process may spend on splice(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipeLimits {
    /// `maxpipes`: pipes of all threads together, two descriptors each.
    pub pipes: usize,
    /// `tune.pipesize`: bytes of one pipe. The kernel rounds it and may give less.
    pub bytes: usize,
}

impl Default for PipeLimits {
    fn default() -> Self {
        Self { pipes: PIPES_MAX, bytes: PIPE_BYTES }
    }
}

impl PipeLimits {
    /// Makes these the limits of the process. Called once, before it serves.
    pub fn apply(self) {
        BYTES.store(self.bytes, Relaxed);
        LIMIT.store(self.pipes, Relaxed);
    }
}

/// A pipe on loan. Dropping it gives it back when it is empty and closes it otherwise.
#[derive(Debug)]
pub(crate) struct LentPipe {
    pipe: Option<Pipe>,
}

impl LentPipe {
    /// A pipe of this thread, or none when the limit is reached or the kernel gives no useful one.
    pub(crate) fn take() -> Option<Self> {
        let pipe = SPARE.with_borrow_mut(Vec::pop).or_else(|| create().ok());
        if pipe.is_none() {
            counters::add_pipe_refused();
        }
        pipe.map(|pipe| Self { pipe: Some(pipe) })
    }
}

fn create() -> io::Result<Pipe> {
    if EXISTING.fetch_add(1, Relaxed) >= LIMIT.load(Relaxed) {
        EXISTING.fetch_sub(1, Relaxed);
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    let pipe = Pipe::new(BYTES.load(Relaxed)).and_then(|pipe| {
        if pipe.capacity() < USEFUL_BYTES_MIN.min(BYTES.load(Relaxed)) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(pipe)
    });
    if pipe.is_err() {
        EXISTING.fetch_sub(1, Relaxed);
    }
    pipe
}

impl Deref for LentPipe {
    type Target = Pipe;

    fn deref(&self) -> &Pipe {
        self.pipe.as_ref().expect("taken only by drop")
    }
}

impl DerefMut for LentPipe {
    fn deref_mut(&mut self) -> &mut Pipe {
        self.pipe.as_mut().expect("taken only by drop")
    }
}

impl Drop for LentPipe {
    fn drop(&mut self) {
        let Some(pipe) = self.pipe.take() else { return };
        let kept = pipe.is_empty().then(|| {
            // The list may be gone already while its thread ends; then the pipe is simply closed.
            SPARE.try_with(|spare| {
                let Ok(mut spare) = spare.try_borrow_mut() else { return false };
                let room = spare.len() < SPARE_PIPES_MAX;
                if room {
                    spare.push(pipe);
                }
                room
            })
        });
        if !matches!(kept, Some(Ok(true))) {
            EXISTING.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn only_empty_pipes_are_lent_again() {
        let (mut near, src) = UnixStream::pair().unwrap();
        near.write_all(b"left behind").unwrap();
        let mut used = LentPipe::take().unwrap();
        used.fill(&src, 100).unwrap();
        drop(used);
        assert!(SPARE.with_borrow(Vec::is_empty));
        drop(LentPipe::take().unwrap());
        assert_eq!(SPARE.with_borrow(Vec::len), 1);
        assert!(LentPipe::take().unwrap().is_empty());
    }
}
