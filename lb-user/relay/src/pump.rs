//! One direction of a relay, and the ladder of paths it climbs.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sockeye_accel::Sockmap;
use sockeye_conn::{Buffer, Socket};
use sockeye_sys::tcp_info::tcp_info;

use crate::copy::{Copy, Read};
use crate::counters;
use crate::policy::{Path, Policy, Splice};
use crate::sockmap::{Forwarding, HandOver};
use crate::splice::{Drain, Fill, Splicing};

/// Bytes one poll may move before the other tasks of the thread get their turn; about 0.2 ms of copying.
const POLL_BYTES_MAX: u64 = 1024 * 1024;
/// Reads one poll may do before the other tasks get their turn, for senders of many small pieces.
const POLL_READS_MAX: u32 = 32;

/// Bytes that must have come in full reads, without a pause, before a direction is worth a pipe.
const SPLICE_AFTER_BYTES: u64 = 128 * 1024;
/// Bytes of a known length that must be left for a pipe to be worth it.
const SPLICE_LEFT_BYTES_MIN: u64 = 128 * 1024;
/// What a direction must have done before it is handed to the kernel, which costs as much as four exchanges of
/// messages: bytes for one that is bulky, reads for one that is chatty.
const SOCKMAP_AFTER_BYTES: u64 = 64 * 1024;
const SOCKMAP_AFTER_READS: u32 = 16;

/// Moves bytes from one socket to another until a known length is reached or the sender ends its direction.
#[derive(Debug)]
pub struct Pump {
    copy: Copy,
    splicing: Splicing,
    path: Path,
    splice: Splice,
    /// Present while the direction may still be handed to the kernel.
    sockmap: Option<Arc<Sockmap>>,
    forwarding: Option<Box<Forwarding>>,
    reads: u32,
    /// Bytes still to be written, if the length is known.
    left: Option<u64>,
    /// Bytes that we moved.
    moved: u64,
    /// Bytes that the kernel was seen to have moved.
    redirected: u64,
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
            splicing: Splicing::default(),
            path: Path::Copy,
            splice: policy.splice,
            sockmap: policy.sockmap.clone().filter(|_| limit.is_none()),
            forwarding: None,
            reads: 0,
            left: limit,
            moved: 0,
            redirected: 0,
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
        if self.path == Path::Sockmap {
            return self.poll_forwarded(cx, src, dst);
        }
        let started_at = self.moved;
        for turn in 0..POLL_READS_MAX {
            ready!(self.poll_flush(cx, dst))?;
            if self.left == Some(0) {
                return Poll::Ready(Ok(End::Limit));
            }
            if self.eof {
                return Poll::Ready(Ok(End::Eof));
            }
            if self.moved - started_at >= POLL_BYTES_MAX {
                break;
            }
            self.choose_path(src, dst);
            match self.path {
                Path::Splice => ready!(self.poll_fill(cx, src, turn == 0))?,
                Path::Copy | Path::Sockmap => {
                    let read = self.poll_read(cx, src);
                    if read.is_pending() && self.hand_over(src, dst) {
                        return self.poll_forwarded(cx, src, dst);
                    }
                    ready!(read)?;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Bytes that the receiver's socket had accepted at the end of the last poll. Grows with every progress of
    /// the direction, whatever its path, so a caller that compares it before and after a poll knows whether to
    /// push its idle timers back. The kernel moves bytes without a poll: let a timer that expires poll first.
    pub fn moved(&self) -> u64 {
        self.moved + self.redirected
    }

    /// For how long the sender has been silent, if only the kernel knows: bytes do not wake the task while it
    /// forwards them, so [`moved`](Self::moved) says that some came and not when.
    pub fn idle(&self, src: &Socket) -> Option<Duration> {
        self.forwarding.as_ref()?;
        tcp_info(src).ok().map(|info| info.last_data_recv)
    }

    /// How bytes travel at this moment.
    pub fn path(&self) -> Path {
        self.path
    }

    /// Whether bytes were read from the sender that the receiver has not taken yet.
    pub fn is_blocked(&self) -> bool {
        !(self.copy.is_empty() && self.splicing.is_empty())
    }

    /// Writes all that was read.
    fn poll_flush(&mut self, cx: &mut Context<'_>, dst: &mut Socket) -> Poll<Result<(), RelayError>> {
        while self.left != Some(0) {
            if !self.copy.is_empty() {
                let n = ready!(self.copy.poll_write(cx, dst, self.left.unwrap_or(u64::MAX)))?;
                self.count(Path::Copy, n as u64);
            } else if !self.splicing.is_empty() {
                match ready!(self.splicing.poll_drain(cx, dst))? {
                    Drain::Bytes(n) => self.count(Path::Splice, n as u64),
                    Drain::Refused => {
                        self.refuse_splice();
                        // A pipe of our own does not fail; if it did, the bytes inside could not be delivered.
                        self.copy.hold(|space| self.splicing.take_back(space)).map_err(RelayError::Write)?;
                    }
                }
            } else {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, src: &mut Socket) -> Poll<Result<(), RelayError>> {
        let read = ready!(self.copy.poll_read(cx, src, self.left.unwrap_or(u64::MAX)))?;
        self.eof = read == Read::Eof;
        self.reads = self.reads.saturating_add(1);
        Poll::Ready(Ok(()))
    }

    /// Hands the direction to the kernel, if it is worth it, allowed and possible. Only to be called when the
    /// sender has nothing more to read and the receiver has everything.
    fn hand_over(&mut self, src: &Socket, dst: &Socket) -> bool {
        let Some(sockmap) = self.sockmap.as_ref().filter(|_| src.is_plain() && dst.is_plain()) else {
            return false;
        };
        if self.moved < SOCKMAP_AFTER_BYTES && self.reads < SOCKMAP_AFTER_READS {
            return false;
        }
        match Forwarding::start(sockmap, src, dst) {
            HandOver::Done(forwarding) => {
                self.forwarding = Some(forwarding);
                self.path = Path::Sockmap;
                self.count(Path::Sockmap, 0);
                return true;
            }
            HandOver::NotNow => {}
            HandOver::Busy => self.sockmap = None,
            HandOver::Refused => {
                counters::add_fallback();
                self.sockmap = None;
            }
        }
        false
    }

    /// The kernel moves the bytes; what is left is its gate, the end and errors.
    fn poll_forwarded(
        &mut self,
        cx: &mut Context<'_>,
        src: &mut Socket,
        dst: &mut Socket,
    ) -> Poll<Result<End, RelayError>> {
        let Some(mut forwarding) = self.forwarding.take() else { return Poll::Ready(Ok(End::Eof)) };
        let result = self.poll_gate(&mut forwarding, cx, src, dst);
        self.redirected = forwarding.count();
        if result.is_pending() {
            self.forwarding = Some(forwarding);
        }
        result
    }

    fn poll_gate(
        &mut self,
        forwarding: &mut Forwarding,
        cx: &mut Context<'_>,
        src: &mut Socket,
        dst: &mut Socket,
    ) -> Poll<Result<End, RelayError>> {
        for _ in 0..POLL_READS_MAX {
            while !self.copy.is_empty() {
                ready!(forwarding.poll_drained(cx, dst))?;
                let n = ready!(self.copy.poll_write(cx, dst, u64::MAX))?;
                forwarding.copied(n as u64, self.copy.is_empty());
                self.count(Path::Copy, n as u64);
            }
            if self.eof {
                if ready!(forwarding.poll_finished(cx, src, dst))? {
                    return Poll::Ready(Ok(End::Eof));
                }
                self.eof = false;
            }
            ready!(forwarding.poll_attention(cx, src))?;
            let read = self.poll_read(cx, src);
            if read.is_pending() && forwarding.settle(cx, src)? {
                continue;
            }
            ready!(read)?;
            forwarding.has_read();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        src: &mut Socket,
        woken: bool,
    ) -> Poll<Result<(), RelayError>> {
        match ready!(self.splicing.poll_fill(cx, src, self.left.unwrap_or(u64::MAX), woken))? {
            Fill::Bytes => Poll::Ready(Ok(())),
            Fill::Eof => {
                self.eof = true;
                Poll::Ready(Ok(()))
            }
            Fill::Unclear => self.poll_read(cx, src),
            Fill::NoPipe => {
                self.path = Path::Copy;
                self.copy.calm_down();
                self.poll_read(cx, src)
            }
            Fill::Refused => {
                self.refuse_splice();
                self.poll_read(cx, src)
            }
        }
    }

    /// Up the ladder for a direction that is bulky, down for one that no longer is.
    fn choose_path(&mut self, src: &Socket, dst: &Socket) {
        match self.path {
            Path::Copy => {
                let worth = self.left.is_none_or(|left| left >= SPLICE_LEFT_BYTES_MIN);
                if self.splice == Splice::Auto
                    && worth
                    && self.copy.streak() >= SPLICE_AFTER_BYTES
                    && src.is_plain()
                    && dst.is_plain()
                {
                    self.path = Path::Splice;
                    self.splicing = Splicing::default();
                }
            }
            Path::Splice => {
                if self.splicing.is_calm() {
                    self.path = Path::Copy;
                    self.copy.calm_down();
                }
            }
            Path::Sockmap => {}
        }
    }

    /// Back to copying for good: the kernel does not splice between these sockets.
    fn refuse_splice(&mut self) {
        counters::add_fallback();
        self.splice = Splice::Never;
        self.path = Path::Copy;
    }

    fn count(&mut self, path: Path, n: u64) {
        self.moved += n;
        if let Some(left) = &mut self.left {
            *left -= n;
        }
        if !self.counted[path as usize] {
            self.counted[path as usize] = true;
            counters::add_flow(path);
        }
        counters::add_bytes(path, n);
    }
}
