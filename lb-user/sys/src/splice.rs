//! splice(2) and the pipes it goes through.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};

/// A pipe as a bounded store of pages on their way from one socket to another.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    capacity: usize,
    filled: usize,
}

impl Pipe {
    /// A pipe that holds `bytes`, or as much as this process may have.
    ///
    /// # Errors
    /// When no descriptors are left.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // Refused past /proc/sys/fs/pipe-user-pages-soft; the pipe then keeps the size it was born with.
        let capacity = match fcntl_setpipe_size(&writer, bytes) {
            Ok(capacity) => capacity,
            Err(_) => fcntl_getpipe_size(&writer)?,
        };
        Ok(Self { reader, writer, capacity, filled: 0 })
    }

    /// Bytes of full pages the pipe can hold. It fills earlier when the pages are not full.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes inside.
    pub fn filled(&self) -> usize {
        self.filled
    }

    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Moves at most `most` bytes from `src` into the pipe; 0 is the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when `src` has nothing or the pipe is full: unambiguous only with an empty pipe.
    /// `InvalidInput` when `src` cannot be spliced from.
    pub fn fill(&mut self, src: impl AsFd, most: usize) -> io::Result<usize> {
        let n = splice(src, None, &self.writer, None, most, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?;
        self.filled += n;
        Ok(n)
    }

    /// Moves what is inside to `dst`, as far as it takes it.
    ///
    /// # Errors
    /// `WouldBlock` when `dst` is full, and whatever a write to `dst` reports.
    pub fn drain(&mut self, dst: impl AsFd) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let n = splice(&self.reader, None, dst, None, self.filled, flags)?;
        self.filled -= n;
        Ok(n)
    }

    /// Takes bytes out into `space`, for a receiver that cannot be spliced to.
    ///
    /// # Errors
    /// Those of read(2) on a pipe; never `WouldBlock` while the pipe is not empty.
    pub fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let n = rustix::io::read(&self.reader, space)?;
        self.filled -= n;
        Ok(n)
    }
}

/// Whether splice(2) may be used here: some sandboxes refuse it.
///
/// # Errors
/// What the kernel says when it may not, or when no descriptors are left to find out.
pub fn probe() -> io::Result<()> {
    let source = Pipe::new(1)?;
    match Pipe::new(1)?.fill(&source.reader, 1) {
        // There is nothing to move, which is not a refusal.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        outcome => outcome.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_probe_finds_what_the_others_use() {
        probe().unwrap();
    }

    #[test]
    fn moves_bytes_and_tells_empty_from_ended() {
        let (mut near, src) = UnixStream::pair().unwrap();
        let (dst, mut far) = UnixStream::pair().unwrap();
        src.set_nonblocking(true).unwrap();
        let mut pipe = Pipe::new(1 << 18).unwrap();
        assert_eq!(pipe.fill(&src, 10).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        near.write_all(b"hello, world").unwrap();
        assert_eq!(pipe.fill(&src, 5).unwrap(), 5);
        assert_eq!(pipe.drain(&dst).unwrap(), 5);
        assert_eq!(pipe.fill(&src, 100).unwrap(), 7);
        let mut space = [0; 4];
        assert_eq!(pipe.read(&mut space).unwrap(), 4);
        assert_eq!((&space, pipe.filled()), (b", wo", 3));
        assert_eq!(pipe.drain(&dst).unwrap(), 3);
        assert!(pipe.is_empty());
        drop(near);
        assert_eq!(pipe.fill(&src, 100).unwrap(), 0);
        drop(dst);
        let mut all = String::new();
        far.read_to_string(&mut all).unwrap();
        assert_eq!(all, "hellorld");
    }
}
