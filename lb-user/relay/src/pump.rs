//! One direction of a relay, and the ladder of paths it climbs.

use std::io;
use std::task::{Context, Poll, ready};

use sockeye_conn::{Buffer, Socket};

use crate::copy::{Copy, Read};
use crate::counters;
use crate::policy::{Path, Policy, Splice};

/// Bytes one poll may move before the other tasks of the thread get their turn; about 0.2 ms of copying.
const POLL_BYTES_MAX: u64 = 1024 * 1024;
/// Reads one poll may do before the other tasks get their turn, for senders of many small pieces.
const POLL_READS_MAX: u32 = 32;

/// Moves bytes from one socket to another until a known length is reached or the sender ends its direction.
#[derive(Debug)]
pub struct Pump {
    copy: Copy,
    path: Path,
    splice: Splice,
    /// Bytes still to be written, if the length is known.
    left: Option<u64>,
    moved: u64,
    /// The sender has ended its direction.
    eof: bool,
    /// Which paths this direction has been counted in.
    counted: [bool; 3],
}

/// Why a direction has nothing more to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The known length was moved; what follows in the socket belongs to somebody else.
    Limit,
    /// The sender ended its direction (FIN) and all it sent was written. With a known length: too early.
    Eof,
}

/// A direction broke. Everything that the sender sent before was offered to the receiver first.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The sender's connection failed.
    #[error("reading: {0}")]
    Read(#[source] io::Error),
    /// The receiver's connection failed.
    #[error("writing: {0}")]
    Write(#[source] io::Error),
}

impl Pump {
    /// A direction that starts with `first`, bytes of it which were read already.
    ///
    /// `limit` is the length of a body in bytes, `first` included, which must not hold more than that; `None`
    /// moves until the sender ends its direction. Nothing beyond the limit is ever read from the sender.
    pub fn new(policy: &Policy, limit: Option<u64>, first: Buffer) -> Self {
        debug_assert!(limit.is_none_or(|limit| first.len() as u64 <= limit), "more than the body");
        Self {
            copy: Copy::new(first),
            path: Path::Copy,
            splice: policy.splice,
            left: limit,
            moved: 0,
            eof: false,
            counted: [false; 3],
        }
    }

    /// Moves what can be moved now. Ready only at the end of the direction, or when it breaks; the pump must
    /// not be polled after that.
    ///
    /// Registers the task for whatever it waits for, and yields to other tasks after a bounded amount of work.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        src: &mut Socket,
        dst: &mut Socket,
    ) -> Poll<Result<End, RelayError>> {
        let stop_at = self.moved + POLL_BYTES_MAX;
        for _ in 0..POLL_READS_MAX {
            while !self.copy.is_empty() && self.left != Some(0) {
                let n = ready!(self.copy.poll_write(cx, dst, self.left.unwrap_or(u64::MAX)))?;
                self.count(n as u64);
            }
            if self.left == Some(0) {
                return Poll::Ready(Ok(End::Limit));
            }
            if self.eof {
                return Poll::Ready(Ok(End::Eof));
            }
            if self.moved >= stop_at {
                break;
            }
            if ready!(self.copy.poll_read(cx, src, self.left.unwrap_or(u64::MAX)))? == Read::Eof {
                self.eof = true;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Bytes that the receiver's socket has accepted. Grows with every progress of the direction, whatever its
    /// path, so a caller that compares it with the last value knows whether to push its idle timers back.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// How bytes travel at this moment.
    pub fn path(&self) -> Path {
        self.path
    }

    /// Bytes read from the sender and not yet accepted by the receiver.
    pub fn is_blocked(&self) -> bool {
        !self.copy.is_empty()
    }

    fn count(&mut self, n: u64) {
        self.moved += n;
        if let Some(left) = &mut self.left {
            *left -= n;
        }
        if !self.counted[self.path as usize] {
            self.counted[self.path as usize] = true;
            counters::add_flow(self.path);
        }
        counters::add_bytes(self.path, n);
    }
}
