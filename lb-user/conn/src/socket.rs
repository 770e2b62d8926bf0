//! A stream socket registered with this thread's runtime.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected TCP or unix stream socket.
///
/// The poll functions register the calling task and never block. A read that returns fewer bytes than asked
/// for also clears the socket's readiness, so the next poll does not cost a system call to learn `EAGAIN`.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Registers a connected, non-blocking TCP socket.
    pub fn from_tcp(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::Tcp(TcpStream::from_std(fd.into())?))
    }

    /// Registers a connected, non-blocking unix stream socket.
    pub fn from_unix(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::Unix(UnixStream::from_std(fd.into())?))
    }

    pub fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Ready when a read would not block: data, end of stream or an error.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Ready when a write would not block.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Reads into `space`; 0 is the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(space);
        match self {
            Self::Tcp(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buf))?,
            Self::Unix(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buf))?,
        }
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Writes the start of `bytes`.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    /// Writes the start of `slices` in one system call.
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    /// Runs `call`, a read-like system call on the descriptor, once the socket is readable. `WouldBlock` from it
    /// means the socket has nothing, and registers the task.
    pub fn poll_io_read<T>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.poll_io(cx, Interest::READABLE, &mut call)
    }

    /// Runs `call`, a write-like system call on the descriptor, once the socket is writable. `WouldBlock` from
    /// it means the socket is full, and registers the task.
    pub fn poll_io_write<T>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.poll_io(cx, Interest::WRITABLE, &mut call)
    }

    fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        call: &mut dyn FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            if interest.is_readable() {
                ready!(self.poll_read_ready(cx))?;
            } else {
                ready!(self.poll_write_ready(cx))?;
            }
            let result = match self {
                Self::Tcp(stream) => stream.try_io(interest, || call(stream.as_fd())),
                Self::Unix(stream) => stream.try_io(interest, || call(stream.as_fd())),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Sends the end of our direction (FIN); what was written before it still arrives.
    pub fn shutdown_write(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(std::net::Shutdown::Write)
    }

    /// Makes the close that follows a reset (RST), which tells the peer that the stream is not complete.
    pub fn reset_on_close(&self) {
        // A socket whose peer has reset it already refuses the option; the close is then no different.
        let _ = SockRef::from(self).set_linger(Some(std::time::Duration::ZERO));
    }

    /// `TCP_NODELAY`; nothing on a unix socket.
    pub fn set_nodelay(&self, on: bool) {
        if let Self::Tcp(stream) = self {
            // Fails only on a socket that is gone already, which the next read reports.
            let _ = stream.set_nodelay(on);
        }
    }

    /// The error that made the socket fail, if any (`SO_ERROR`), which reading it clears.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Tcp(stream) => stream.take_error(),
            Self::Unix(stream) => stream.take_error(),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
