//! A stream socket registered with this thread's runtime.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, recv};
use socket2::SockRef;
use sockeye_record::Negotiated;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::{Carrier, PipeEnd, TlsSocket, pipe};

/// A connected TCP or unix stream socket.
///
/// The poll functions register the calling task and never block. A read that returns fewer bytes than asked
/// for also clears the socket's readiness, so the next poll does not cost a system call to learn `EAGAIN`.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// A TCP socket whose arriving bytes the kernel takes care of: they wake nobody, see
    /// [`set_quiet`](Self::set_quiet).
    Quiet(AsyncFd<OwnedFd>),
    /// A stream of a multiplexed connection.
    Pipe(PipeEnd),
    /// Boxed: a session without TLS must not pay for its size.
    Tls(Box<TlsSocket>),
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
        match self {
            Self::Tcp(_) | Self::Quiet(_) => true,
            Self::Unix(_) | Self::Pipe(_) => false,
            Self::Tls(tls) => tls.io().is_tcp(),
        }
    }

    /// Takes the socket out of its place, where something remains that has its addresses and nothing else.
    ///
    /// # Errors
    /// When no descriptor is left; the socket is then where it was.
    pub fn take(&mut self) -> io::Result<Self> {
        let carrier = Carrier::new(self)?;
        Ok(std::mem::replace(self, Self::Pipe(pipe(carrier).0)))
    }

    /// What the TLS handshake agreed on, if there was one.
    pub fn tls(&self) -> Option<&Rc<Negotiated>> {
        match self {
            Self::Tls(tls) => Some(tls.negotiated()),
            Self::Pipe(end) => end.carrier().tls.as_ref(),
            _ => None,
        }
    }

    /// The connection behind it, if it is a stream of one.
    pub fn carrier(&self) -> Option<&Rc<Carrier>> {
        match self {
            Self::Pipe(end) => Some(end.carrier()),
            _ => None,
        }
    }

    /// What a TLS connection was made for, as whoever made it numbered it: connections of the same server that are told
    /// apart by more than their address, such as by the name that was asked for. 0 without TLS.
    pub fn identity(&self) -> u64 {
        match self {
            Self::Tls(tls) => tls.identity,
            _ => 0,
        }
    }

    /// Sets [`identity`](Self::identity); nothing without TLS.
    pub fn set_identity(&mut self, identity: u64) {
        if let Self::Tls(tls) = self {
            tls.identity = identity;
        }
    }

    /// Whether what the kernel's socket carries are the bytes themselves, so that it may move them for us. Everything
    /// else has a descriptor for its addresses and options only.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Unix(_) | Self::Quiet(_))
    }

    /// Ready when a read would not block: data, end of stream or an error.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
            Self::Quiet(_) => Poll::Pending,
            Self::Pipe(end) => end.poll_read_ready(cx),
            Self::Tls(tls) => tls.poll_read_ready(cx),
        }
    }

    /// Ready when a write would not block.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
            Self::Quiet(fd) => fd.poll_write_ready(cx).map_ok(|_| ()),
            Self::Pipe(end) => end.poll_write_ready(cx),
            Self::Tls(tls) => tls.poll_write_ready(cx),
        }
    }

    /// Reads into `space` what is there now, for whoever knows already or only wants to know: nobody is woken later.
    /// `None`: nothing is there; `Some(0)` is the end of the stream.
    ///
    /// It takes nothing from the task's budget, so a loop of nothing but this would starve the other tasks.
    pub fn read_now(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        if let Self::Pipe(end) = self { end.read_now(space) } else { self.take_now(space) }
    }

    /// The same for whoever owns the socket and shares it with itself.
    pub(crate) fn take_now(&self, space: &mut [u8]) -> io::Result<Option<usize>> {
        let mut short = None;
        let mut read = |fd: BorrowedFd<'_>| {
            let (n, _) = recv(fd, &mut *space, RecvFlags::empty())?;
            if n > 0 && n < space.len() {
                // That was all: as after `EAGAIN`, only the next event makes it worth asking again.
                short = Some(n);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(n)
        };
        let result = match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, || read(stream.as_fd())),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, || read(stream.as_fd())),
            Self::Quiet(_) => return Ok(None),
            Self::Pipe(_) => return Err(io::ErrorKind::Unsupported.into()),
            Self::Tls(tls) => return tls.read_now(space),
        };
        match (short, result) {
            (Some(n), _) | (None, Ok(n)) => Ok(Some(n)),
            (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            (None, Err(error)) => Err(error),
        }
    }

    /// Reads into `space`; 0 is the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Pipe(end) => return end.poll_read(cx, space),
            Self::Tls(tls) => return tls.poll_read(cx, space),
            Self::Tcp(_) | Self::Unix(_) | Self::Quiet(_) => {}
        }
        let mut buf = ReadBuf::new(space);
        match self {
            Self::Tcp(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buf))?,
            Self::Unix(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buf))?,
            Self::Quiet(_) | Self::Pipe(_) | Self::Tls(_) => return Poll::Pending,
        }
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Writes the start of `bytes`.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Pipe(end) => return end.poll_write(cx, bytes),
            Self::Tls(tls) => return tls.poll_write(cx, &[IoSlice::new(bytes)]),
            Self::Tcp(_) | Self::Unix(_) | Self::Quiet(_) => {}
        }
        // Not through the C library, which makes every call of a threaded program a cancellation point.
        self.poll_io_write(cx, |fd| Ok(rustix::net::send(fd, bytes, SendFlags::NOSIGNAL)?))
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
            Self::Quiet(_) => self.poll_io_write(cx, |fd| SockRef::from(&fd).send_vectored(slices)),
            Self::Pipe(end) => end.poll_write_vectored(cx, slices),
            Self::Tls(tls) => tls.poll_write(cx, slices),
        }
    }

    /// Runs `call`, a read-like system call on the descriptor, once the socket is readable. `WouldBlock` from it
    /// means the socket has nothing, and registers the task. Only for sockets that are [plain](Self::is_plain).
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
                Self::Quiet(fd) => fd.try_io(interest, |fd| call(fd.as_fd())),
                Self::Pipe(_) | Self::Tls(_) => {
                    return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
                }
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Sends the end of our direction (FIN); what was written before it still arrives.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Pipe(end) => {
                end.shutdown_write();
                return Ok(());
            }
            Self::Tls(tls) => tls.shutdown_write(),
            Self::Tcp(_) | Self::Unix(_) | Self::Quiet(_) => {}
        }
        SockRef::from(self).shutdown(std::net::Shutdown::Write)
    }

    /// Makes the close that follows a reset (RST), which tells the peer that the stream is not complete.
    pub fn reset_on_close(&self) {
        match self {
            Self::Pipe(end) => {
                end.reset_on_close();
                return;
            }
            Self::Tls(tls) => tls.close_silently(),
            Self::Tcp(_) | Self::Unix(_) | Self::Quiet(_) => {}
        }
        // A socket whose peer has reset it already refuses the option; the close is then no different.
        let _ = SockRef::from(self).set_linger(Some(std::time::Duration::ZERO));
    }

    /// `TCP_NODELAY`; nothing on a unix socket.
    pub fn set_nodelay(&self, on: bool) {
        if self.is_tcp() {
            // Fails only on a socket that is gone already, which the next read reports.
            let _ = SockRef::from(self).set_tcp_nodelay(on);
        }
    }

    /// Whether the peer has closed its end or reset the connection, and nothing it sent waits to be read.
    ///
    /// Registers the task for what arrives.
    pub fn is_closed_by_peer(&self, cx: &mut Context<'_>) -> bool {
        matches!(self.poll_peek(cx), Poll::Ready(Ok(0) | Err(_)))
    }

    /// Ready when a read would not block, with a number above 0 if it would find bytes, and 0 if the end. Nothing is
    /// taken.
    pub fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Pipe(end) => return end.poll_peek(cx),
            Self::Tls(tls) => return tls.poll_peek(cx),
            Self::Tcp(_) | Self::Unix(_) | Self::Quiet(_) => {}
        }
        self.poll_io_read(cx, |fd| {
            let mut byte = [0; 1];
            Ok(recv(fd, &mut byte, RecvFlags::PEEK)?.1)
        })
    }

    /// `SO_MARK` of what is sent from now on, for routing and filters. Needs `CAP_NET_ADMIN`.
    pub fn set_mark(&self, mark: u32) {
        // Without the privilege there is no mark, as the manual says of its action.
        let _ = SockRef::from(self).set_mark(mark);
    }

    /// Type of service of what is sent from now on: IPv4 TOS or IPv6 traffic class, 0 to 255.
    pub fn set_tos(&self, tos: u32) {
        let socket = SockRef::from(self);
        // One of the two does not apply.
        let _ = socket.set_tos_v4(tos);
        let _ = socket.set_tclass_v6(tos);
    }

    /// Prepares a close of which the peer gets to know nothing: in repair mode the kernel sends neither FIN nor
    /// RST. Without the privilege for that, a reset that does not live longer than `ttl` hops (1 by default).
    pub fn drop_silently(&self, ttl: Option<u8>) {
        if let Self::Tls(tls) = self {
            tls.close_silently();
        }
        if let Some(carrier) = self.carrier() {
            carrier.silenced.set(true);
        }
        let socket = SockRef::from(self);
        let _ = socket.set_tcp_quickack(false);
        if ttl.is_none() && sockeye_sys::sockopt::set_tcp_repair(self.as_fd(), true).is_ok() {
            return;
        }
        let hops = u32::from(ttl.unwrap_or(1));
        let _ = socket.set_ttl_v4(hops);
        let _ = socket.set_unicast_hops_v6(hops);
        self.reset_on_close();
    }

    /// The error that made the socket fail, if any (`SO_ERROR`), which reading it clears.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self).take_error()
    }

    /// Stops arriving bytes from waking the task, for a socket that a kernel program reads. Reads then wait for
    /// ever, the end of the stream and errors included, until [`set_loud`](Self::set_loud). Writes go on.
    ///
    /// The registration is a new one: whoever waits for this socket must poll it again.
    ///
    /// # Errors
    /// When no descriptor is left; the socket is then as it was.
    #[expect(deprecated, reason = "an OwnedFd keeps the promise for which the new constructor is unsafe")]
    pub fn set_quiet(&mut self) -> io::Result<()> {
        if let Self::Tcp(stream) = self {
            let fd = stream.as_fd().try_clone_to_owned()?;
            *self = Self::Quiet(AsyncFd::with_interest(fd, Interest::WRITABLE)?);
        }
        Ok(())
    }

    /// Undoes [`set_quiet`](Self::set_quiet). What arrived meanwhile is seen by the next poll.
    ///
    /// # Errors
    /// When no descriptor is left; the socket is then as it was.
    pub fn set_loud(&mut self) -> io::Result<()> {
        if let Self::Quiet(fd) = self {
            *self = Self::from_tcp(fd.as_fd().try_clone_to_owned()?)?;
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Quiet(fd) => fd.as_fd(),
            Self::Pipe(end) => end.as_fd(),
            Self::Tls(tls) => tls.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::task::Waker;

    use super::*;

    #[tokio::test]
    async fn a_quiet_socket_writes_but_does_not_wake_its_reader() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = listener.accept().unwrap().0;
        stream.set_nonblocking(true).unwrap();
        let mut socket = Socket::from_tcp(stream.into()).unwrap();
        socket.set_quiet().unwrap();
        assert!(socket.is_tcp());
        peer.write_all(b"hello").unwrap();
        std::future::poll_fn(|cx| socket.poll_write(cx, b"answer")).await.unwrap();
        let mut answer = [0; 6];
        peer.read_exact(&mut answer).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(socket.poll_read(&mut cx, &mut [0; 10]).is_pending());
        socket.set_loud().unwrap();
        let mut space = [0; 10];
        assert_eq!(std::future::poll_fn(|cx| socket.poll_read(cx, &mut space)).await.unwrap(), 5);
    }
}
