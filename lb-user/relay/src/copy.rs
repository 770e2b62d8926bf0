//! The path that always works: read into a buffer, write from it.
//!
//! Nothing is read while the receiver has not taken what was read before, so a stopped receiver costs one
//! buffer and then closes the sender's window. No buffer is held while there is nothing to write.

use std::io;
use std::task::{Context, Poll, ready};

use sockeye_conn::{Buffer, Socket};

use crate::RelayError;
use crate::buffers::{Held, Size};

/// State of the copy path of one direction.
#[derive(Debug)]
pub(crate) struct Copy {
    held: Held,
    /// How much the next read asks for.
    size: Size,
    /// Bytes that came in full reads since the last read that was not full.
    streak: u64,
}

/// What one read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    Bytes(usize),
    Eof,
}

impl Copy {
    pub(crate) fn new(first: Buffer) -> Self {
        let held = if first.is_empty() { Held::Nothing } else { Held::Small(first) };
        Self { held, size: Size::Small, streak: 0 }
    }

    /// Whether everything read has been written.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.filled().is_empty()
    }

    /// Bytes that the last full reads brought without a pause.
    pub(crate) fn streak(&self) -> u64 {
        self.streak
    }

    /// Starts over as a direction that has not shown what it is.
    pub(crate) fn calm_down(&mut self) {
        self.streak = 0;
        self.size = Size::Small;
    }

    /// Holds what `read` puts into a buffer. Only to be called when everything held has been written.
    pub(crate) fn hold(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        debug_assert!(self.is_empty(), "two things held");
        let mut held = Held::take(self.size);
        let n = read(held.space())?;
        held.advance(n);
        self.held = held;
        Ok(())
    }

    /// Writes some of what is held, at most `most` bytes; returns how much the receiver took.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        dst: &mut Socket,
        most: u64,
    ) -> Poll<Result<usize, RelayError>> {
        let bytes = self.held.filled();
        let bytes = &bytes[..clamp(most, bytes.len())];
        let n = ready!(dst.poll_write(cx, bytes)).map_err(RelayError::Write)?;
        if n == 0 {
            return Poll::Ready(Err(RelayError::Write(io::ErrorKind::WriteZero.into())));
        }
        self.held.consume(n);
        if self.is_empty() {
            self.held = Held::Nothing;
        }
        Poll::Ready(Ok(n))
    }

    /// Reads once, at most `most` bytes. Only to be called when everything held has been written.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        src: &mut Socket,
        most: u64,
    ) -> Poll<Result<Read, RelayError>> {
        debug_assert!(self.is_empty(), "reading while the receiver is behind");
        // Asked first, so that an idle direction does not even borrow a buffer.
        ready!(src.poll_read_ready(cx)).map_err(RelayError::Read)?;
        let mut held = Held::take(self.size);
        let space = held.space();
        let asked = clamp(most, space.len());
        let n = ready!(src.poll_read(cx, &mut space[..asked])).map_err(RelayError::Read)?;
        if n == 0 {
            return Poll::Ready(Ok(Read::Eof));
        }
        held.advance(n);
        self.held = held;
        self.learn(n, asked);
        Poll::Ready(Ok(Read::Bytes(n)))
    }

    /// Chooses the next read's size by how this one was filled.
    fn learn(&mut self, n: usize, asked: usize) {
        if n == asked {
            self.streak += n as u64;
            self.size = self.size.larger();
        } else {
            self.streak = 0;
            if n < asked / 4 {
                self.size = self.size.smaller();
            }
        }
    }
}

/// `most` as a length of at most `length`.
fn clamp(most: u64, length: usize) -> usize {
    usize::try_from(most).map_or(length, |most| most.min(length))
}
