//! The path without us: a kernel program hands what one socket receives to the other.
//!
//! The order of things is the content here; each step is there because transfers broke without it. The source
//! is read to the end before the hand-over and nothing of it is left in our buffer. While packets are gated the
//! destination first takes all that was redirected, then what we copy, and only then may the gate open. The end
//! of the source is passed on only when the destination has been given every byte that arrived.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use sockeye_accel::{InsertError, Link, Sockmap};
use sockeye_conn::{Socket, Timer};
use sockeye_sys::tcp_info::{tcp_info, unacknowledged, unread};
use tokio::time::Instant;

use crate::counters;
use crate::watch::Watch;
use crate::{Path, RelayError};

/// How often to look whether the destination has taken everything: first, and at most.
const DRAIN_POLL_MIN: Duration = Duration::from_millis(1);
const DRAIN_POLL_MAX: Duration = Duration::from_millis(32);

/// `tcpi_state` of a connection that carries data both ways.
const TCP_ESTABLISHED: u8 = 1;
/// `tcpi_state` of a connection that is no more.
const TCP_CLOSE: u8 = 7;

/// A direction in the kernel's hands.
#[derive(Debug)]
pub(crate) struct Forwarding {
    link: Link,
    /// Bytes the source had received when the kernel took over, all of them read by us.
    received_base: u64,
    /// Bytes the destination had been given when the kernel took over.
    written_base: u64,
    /// Bytes that the gate gave us and we wrote to the destination.
    copied: u64,
    /// Bytes redirected that the counters know of.
    counted: u64,
    /// Up to which redirected byte the destination is known to have taken everything.
    drained: u64,
    timer: Timer,
    wait: Duration,
    /// Present while the source is quiet: packets that are redirected do not wake us.
    watch: Option<Watch>,
    /// The source could not be made quiet.
    stays_loud: bool,
    /// The source was made loud and nothing was read since. The runtime learns only in its next turn that a new
    /// registration is readable, so until then "nothing to read" means nothing.
    awaits_read: bool,
    /// The task that is woken when the gate closes.
    waker: Option<Waker>,
}

/// Whether a direction can be handed over now.
#[derive(Debug)]
pub(crate) enum HandOver {
    Done(Box<Forwarding>),
    /// Bytes arrived meanwhile: copy them and ask again.
    NotNow,
    /// The other direction has it already.
    Busy,
    /// Not between these sockets.
    Refused,
}

impl Forwarding {
    /// Hands over. Only to be called when nothing is held and the source had nothing more to read.
    pub(crate) fn start(sockmap: &Arc<Sockmap>, src: &Socket, dst: &Socket) -> HandOver {
        let (received_base, written_base) = match quiescent(src, dst) {
            Ok(Some(bases)) => bases,
            Ok(None) => return HandOver::NotNow,
            Err(_) => return HandOver::Refused,
        };
        match sockmap.insert(src, dst) {
            Ok(link) => HandOver::Done(Box::new(Self {
                link,
                received_base,
                written_base,
                copied: 0,
                counted: 0,
                drained: 0,
                timer: Timer::new(),
                wait: DRAIN_POLL_MIN,
                watch: None,
                stays_loud: false,
                awaits_read: false,
                waker: None,
            })),
            Err(InsertError::Busy) => HandOver::Busy,
            Err(InsertError::Full | InsertError::Socket(_) | InsertError::Refused(_)) => HandOver::Refused,
        }
    }

    /// Bytes that wait in the source for us to copy them.
    pub(crate) fn has_passed(&self) -> bool {
        self.link.passed() > self.copied
    }

    /// Ready when the source needs a reader: it has ended or failed, or the gate has closed. Always so when the
    /// source could not be made quiet.
    pub(crate) fn poll_attention(
        &mut self,
        cx: &mut Context<'_>,
        src: &mut Socket,
    ) -> Poll<Result<(), RelayError>> {
        let Some(watch) = &self.watch else { return Poll::Ready(Ok(())) };
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.link.set_waker(cx.waker());
            self.waker = Some(cx.waker().clone());
        }
        if self.link.takes_lead() {
            watch.add_gates(self.link.sockmap().events_fd()).map_err(RelayError::Read)?;
        }
        while !self.link.is_gated() && !self.has_passed() {
            let seen = ready!(watch.poll(cx)).map_err(RelayError::Read)?;
            if seen.gates {
                self.link.sockmap().dispatch();
            }
            if seen.end {
                break;
            }
        }
        src.set_loud().map_err(RelayError::Read)?;
        self.watch = None;
        self.waker = None;
        self.awaits_read = true;
        self.link.clear_waker();
        // The other direction writes to this socket, whose registration is a new one.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    /// Makes the source quiet, now that there is nothing to read. Whether it was made so.
    pub(crate) fn settle(&mut self, cx: &Context<'_>, src: &mut Socket) -> Result<bool, RelayError> {
        if self.stays_loud || self.awaits_read || self.link.is_gated() || self.has_passed() {
            return Ok(false);
        }
        self.watch = src.set_quiet().and_then(|()| Watch::new(&*src)).ok();
        if self.watch.is_none() {
            // No descriptors left: it goes on at the price of a wake-up per packet.
            self.stays_loud = true;
            src.set_loud().map_err(RelayError::Read)?;
        }
        // The other direction writes to this socket, whose registration is a new one.
        cx.waker().wake_by_ref();
        Ok(!self.stays_loud)
    }

    /// Ready when everything redirected was taken by the destination, so that a copy does not overtake it.
    pub(crate) fn poll_drained(
        &mut self,
        cx: &mut Context<'_>,
        dst: &Socket,
    ) -> Poll<Result<(), RelayError>> {
        // Stable: we are asked only while bytes wait that the gate gave us, and so it is closed.
        let redirected = self.link.redirected();
        if self.drained == redirected {
            return Poll::Ready(Ok(()));
        }
        loop {
            if self.written(dst)? >= redirected + self.copied {
                self.drained = redirected;
                self.calm_down();
                return Poll::Ready(Ok(()));
            }
            if self.poll_wait(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Ready with `true` when the destination has been given every byte of a source that has ended; with
    /// `false` when there turned out to be more to copy.
    pub(crate) fn poll_finished(
        &mut self,
        cx: &mut Context<'_>,
        src: &Socket,
        dst: &Socket,
    ) -> Poll<Result<bool, RelayError>> {
        loop {
            if self.has_passed() {
                return Poll::Ready(Ok(false));
            }
            let received = tcp_info(src).map_err(RelayError::Read)?.bytes_received;
            // The FIN counts as one byte.
            if received.saturating_sub(1).saturating_sub(self.received_base) <= self.written(dst)? {
                return Poll::Ready(Ok(true));
            }
            if self.poll_wait(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Takes note that a read of the source came back.
    pub(crate) fn has_read(&mut self) {
        self.awaits_read = false;
    }

    /// Takes note of bytes that we wrote to the destination; `all` when nothing is left to write.
    pub(crate) fn copied(&mut self, n: u64, all: bool) {
        self.copied += n;
        if all {
            self.link.resume(self.copied);
        }
    }

    /// Bytes that the kernel has moved; adds what is new of them to the counters.
    pub(crate) fn count(&mut self) -> u64 {
        let redirected = self.link.redirected();
        if redirected != self.counted {
            counters::add_bytes(Path::Sockmap, redirected - self.counted);
            self.counted = redirected;
        }
        redirected
    }

    /// Bytes that the destination has been given since the kernel took over. May be short, never too much.
    fn written(&self, dst: &Socket) -> Result<u64, RelayError> {
        // Acknowledged first: an acknowledgement between the two moves bytes from one to the other.
        let info = tcp_info(dst).map_err(RelayError::Write)?;
        if info.state == TCP_CLOSE {
            return Err(RelayError::Write(io::ErrorKind::ConnectionReset.into()));
        }
        let unacknowledged = unacknowledged(dst).map_err(RelayError::Write)?;
        Ok((info.bytes_acked + unacknowledged).saturating_sub(self.written_base))
    }

    /// Nobody tells when the kernel's worker has written its backlog, so it is asked now and then.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.deadline().is_none() {
            self.timer.set(Some(Instant::now() + self.wait));
            self.wait = (self.wait * 2).min(DRAIN_POLL_MAX);
        }
        ready!(self.timer.poll_expired(cx));
        self.timer.set(None);
        Poll::Ready(())
    }

    fn calm_down(&mut self) {
        self.timer.set(None);
        self.wait = DRAIN_POLL_MIN;
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.count();
    }
}

/// What `src` has received and `dst` has been given, if both are established and nothing waits in `src`.
fn quiescent(src: &Socket, dst: &Socket) -> io::Result<Option<(u64, u64)>> {
    let before = tcp_info(src)?;
    let waiting = unread(src)?;
    let after = tcp_info(src)?;
    let to = tcp_info(dst)?;
    if before.state != TCP_ESTABLISHED || after.state != TCP_ESTABLISHED || to.state != TCP_ESTABLISHED {
        return Err(io::ErrorKind::NotConnected.into());
    }
    if waiting > 0 || before.bytes_received != after.bytes_received {
        return Ok(None);
    }
    Ok(Some((after.bytes_received, to.bytes_acked + unacknowledged(dst)?)))
}
