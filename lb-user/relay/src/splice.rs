//! The path for bulk: pages go from socket to socket through a pipe and are never copied.
//!
//! The pipe is filled only when it is empty. So a refusal to fill always means an empty socket, never a full
//! pipe; the end of the stream and errors are met only after everything before them has been delivered; and
//! what a stopped receiver can make us hold is one pipe.

use std::io;
use std::task::{Context, Poll};

use sockeye_conn::Socket;

use crate::RelayError;
use crate::pipes::LentPipe;

/// A fill below this would have been as cheap as a copy.
const SMALL_FILL_BYTES: usize = 16 * 1024;
/// Small fills in a row after which a direction is no longer bulky.
const SMALL_FILLS_MAX: u32 = 16;

/// State of the splice path of one direction.
#[derive(Debug, Default)]
pub(crate) struct Splicing {
    /// Present while bytes are inside, and between a fill and the next.
    pipe: Option<LentPipe>,
    small_fills: u32,
    /// An error of the receiver that is still to be reported.
    failed: Option<io::Error>,
}

/// What one fill found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    Bytes,
    Eof,
    /// The socket is readable, yet there is nothing to splice: urgent data, or a wake-up for nothing. Only
    /// read(2) can tell.
    Unclear,
    /// No pipe to be had.
    NoPipe,
    /// The kernel cannot splice from this socket.
    Refused,
}

/// What one drain did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    Bytes(usize),
    /// The kernel cannot splice to this socket; the bytes are still inside.
    Refused,
}

impl Splicing {
    /// Whether everything that went in has come out, and well.
    pub(crate) fn is_empty(&self) -> bool {
        self.failed.is_none() && self.pipe.as_ref().is_none_or(|pipe| pipe.is_empty())
    }

    /// Whether recent fills were too small for the trouble.
    pub(crate) fn is_calm(&self) -> bool {
        self.small_fills >= SMALL_FILLS_MAX
    }

    /// Moves what is inside to the receiver.
    pub(crate) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        dst: &Socket,
    ) -> Poll<Result<Drain, RelayError>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(RelayError::Write(error)));
        }
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(Drain::Bytes(0))) };
        let before = pipe.filled();
        let drained = dst.poll_io_write(cx, |fd| {
            // One splice(2) is several sends inside the kernel. When a later one fails the call still reports
            // the bytes of the first, and the socket's error is spent: a reader of that socket would then take
            // the reset for a clean end. So the error has to be met here, before anybody else looks.
            while !pipe.is_empty() {
                if pipe.drain(fd)? == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
            Ok(())
        });
        let moved = before - pipe.filled();
        match drained {
            Poll::Pending if moved == 0 => Poll::Pending,
            Poll::Ready(Err(error)) if moved == 0 && is_refusal(&error) => Poll::Ready(Ok(Drain::Refused)),
            Poll::Ready(Err(error)) if moved == 0 => Poll::Ready(Err(RelayError::Write(error))),
            Poll::Ready(Err(error)) => {
                self.failed = Some(error);
                Poll::Ready(Ok(Drain::Bytes(moved)))
            }
            Poll::Pending | Poll::Ready(Ok(())) => Poll::Ready(Ok(Drain::Bytes(moved))),
        }
    }

    /// Fills the pipe once, with at most `most` bytes. Only to be called when it is empty.
    ///
    /// `woken` says that nothing was read since the task was woken, so that a socket which is readable but has
    /// nothing is suspicious.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        src: &Socket,
        most: u64,
        woken: bool,
    ) -> Poll<Result<Fill, RelayError>> {
        debug_assert!(self.is_empty(), "reading while the receiver is behind");
        if src.poll_read_ready(cx).map_err(RelayError::Read)?.is_pending() {
            self.pipe = None;
            return Poll::Pending;
        }
        if self.pipe.is_none() {
            self.pipe = LentPipe::take();
        }
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(Fill::NoPipe)) };
        let capacity = pipe.capacity();
        let asked = usize::try_from(most).map_or(capacity, |most| most.min(capacity));
        let filled = src.poll_io_read(cx, |fd| match pipe.fill(fd, asked) {
            Err(error) if woken && error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            filled => filled.map(Some),
        });
        match filled {
            Poll::Pending => {
                self.pipe = None;
                Poll::Pending
            }
            Poll::Ready(Ok(None)) => {
                self.pipe = None;
                Poll::Ready(Ok(Fill::Unclear))
            }
            Poll::Ready(Ok(Some(0))) => {
                self.pipe = None;
                Poll::Ready(Ok(Fill::Eof))
            }
            Poll::Ready(Ok(Some(n))) => {
                let small = n < SMALL_FILL_BYTES;
                self.small_fills = if small { self.small_fills + 1 } else { 0 };
                Poll::Ready(Ok(Fill::Bytes))
            }
            Poll::Ready(Err(error)) if is_refusal(&error) => {
                self.pipe = None;
                Poll::Ready(Ok(Fill::Refused))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(RelayError::Read(error))),
        }
    }

    /// Takes bytes out of the pipe again, for a receiver that refuses them from it.
    pub(crate) fn take_back(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.pipe.as_mut().map_or(Ok(0), |pipe| pipe.read(space))
    }
}

/// Whether an error says "not with splice(2)" rather than "not at all".
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}
