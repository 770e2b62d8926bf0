//! One end of a connection, byte-exact: the client of a test, or a connection that an origin accepted.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::http::header;
use crate::tls::{Agreed, Stream};
use crate::{PATIENCE, QUIET, Reply, within};

/// A connected socket and the bytes read from it that no expectation has taken yet.
pub struct Peer {
    socket: Socket,
    pending: Vec<u8>,
    name: &'static str,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<Stream>),
}

impl Peer {
    /// A connection to `addr`, without waiting for somebody to listen there.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self::tcp(TcpStream::connect(addr).await?, "client"))
    }

    /// A connection whose local address is `from`.
    pub async fn connect_from(from: IpAddr, addr: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        Ok(Self::tcp(socket.connect(addr).await?, "client"))
    }

    pub async fn connect_unix(path: &Path) -> io::Result<Self> {
        Ok(Self::unix(UnixStream::connect(path).await?, "client"))
    }

    pub fn tcp(stream: TcpStream, name: &'static str) -> Self {
        // Each `send` is a packet of its own, so that a test decides how the bytes are cut.
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Self { socket: Socket::Tcp(stream), pending: Vec::new(), name }
    }

    pub fn unix(stream: UnixStream, name: &'static str) -> Self {
        Self { socket: Socket::Unix(stream), pending: Vec::new(), name }
    }

    /// One after its TLS handshake: see [`crate::tls`].
    pub(crate) fn tls(stream: Stream, name: &'static str) -> Self {
        Self { socket: Socket::Tls(Box::new(stream)), pending: Vec::new(), name }
    }

    /// Our own address.
    pub fn local(&self) -> SocketAddr {
        self.as_tcp().local_addr().expect("a connected socket")
    }

    /// The address of the other side.
    pub fn remote(&self) -> SocketAddr {
        self.as_tcp().peer_addr().expect("a connected socket")
    }

    fn as_tcp(&self) -> &TcpStream {
        match &self.socket {
            Socket::Tcp(stream) => stream,
            Socket::Tls(stream) => stream.get_ref().0.stream(),
            Socket::Unix(_) => panic!("a unix socket"),
        }
    }

    /// The socket itself, for tests that move bulk data both ways at once. Nothing may be pending.
    pub fn into_tcp(self) -> TcpStream {
        assert!(self.pending.is_empty(), "{}: bytes pending: {}", self.name, show(&self.pending));
        self.into_parts().0
    }

    /// The socket, and what was read of it and not taken.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        match self.socket {
            Socket::Tcp(stream) => (stream, self.pending),
            Socket::Tls(_) | Socket::Unix(_) => panic!("{}: not plain TCP", self.name),
        }
    }

    /// What flows through TLS, as a stream of its own. Nothing may be pending.
    pub fn into_tls(self) -> Stream {
        assert!(self.pending.is_empty(), "{}: bytes pending: {}", self.name, show(&self.pending));
        match self.socket {
            Socket::Tls(stream) => *stream,
            Socket::Tcp(_) | Socket::Unix(_) => panic!("{}: no TLS", self.name),
        }
    }

    /// What the TLS handshake agreed on.
    pub fn agreed(&self) -> Agreed {
        match &self.socket {
            Socket::Tls(stream) => Agreed::of(stream),
            Socket::Tcp(_) | Socket::Unix(_) => panic!("{}: no TLS", self.name),
        }
    }

    /// The type and the length of each record that came, if the client was told to listen.
    pub fn records(&self) -> Vec<(u8, usize)> {
        match &self.socket {
            Socket::Tls(stream) => stream.get_ref().0.records(),
            Socket::Tcp(_) | Socket::Unix(_) => panic!("{}: no TLS", self.name),
        }
    }

    /// Writes all of `bytes`; a failure to write fails the test.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let bytes = bytes.as_ref();
            match tokio::time::timeout(PATIENCE, self.write_all(bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(err)) => panic!("{at}: {} cannot send: {err}", self.name),
                Err(_) => panic!("{at}: {} was stuck sending {} bytes", self.name, bytes.len()),
            }
        }
    }

    /// Writes as much of `bytes` as the other side takes; `false` when it hung up before the end.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        within("sending", self.write_all(bytes.as_ref())).await.is_ok()
    }

    /// Writes `bytes` in pieces of `size`, each in a packet of its own.
    #[track_caller]
    pub fn send_pieces(&mut self, bytes: impl AsRef<[u8]>, size: usize) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            for piece in bytes.as_ref().chunks(size) {
                if let Err(err) = within("sending", self.write_all(piece)).await {
                    panic!("{at}: {} cannot send: {err}", self.name);
                }
                // The daemon runs on another CPU: this gives it a chance to see the pieces apart.
                tokio::task::yield_now().await;
            }
        }
    }

    /// The next bytes must be exactly these.
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let expected = expected.as_ref();
            let outcome = tokio::time::timeout(PATIENCE, async {
                while self.pending.len() < expected.len()
                    && expected.starts_with(&self.pending)
                    && self.fill().await? > 0
                {}
                io::Result::Ok(())
            })
            .await;
            let got = &self.pending[..self.pending.len().min(expected.len())];
            assert!(
                got == expected,
                "{at}: {} expected\n{}\ngot\n{}\n({outcome:?})",
                self.name,
                show(expected),
                show(&self.pending)
            );
            self.pending.drain(..expected.len());
        }
    }

    /// Exactly these bytes and then the end of the stream.
    #[track_caller]
    pub fn expect_last(&mut self, expected: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let outcome = tokio::time::timeout(PATIENCE, async {
                while self.fill().await? > 0 {}
                io::Result::Ok(())
            })
            .await;
            assert!(
                self.pending == expected.as_ref() && matches!(outcome, Ok(Ok(()))),
                "{at}: {} expected the end after\n{}\ngot\n{}\n({outcome:?})",
                self.name,
                show(expected.as_ref()),
                show(&self.pending)
            );
            self.pending.clear();
        }
    }

    /// The end of the stream, and no byte before it.
    #[track_caller]
    pub fn expect_end(&mut self) -> impl Future<Output = ()> {
        self.expect_last("")
    }

    /// A reset, and no byte before it.
    #[track_caller]
    pub fn expect_reset(&mut self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let outcome = tokio::time::timeout(PATIENCE, self.fill()).await;
            match outcome {
                Ok(Err(err)) if err.kind() == io::ErrorKind::ConnectionReset => {}
                outcome => {
                    panic!("{at}: {} expected a reset, got {outcome:?} {}", self.name, show(&self.pending))
                }
            }
        }
    }

    /// The end of the stream, clean or by reset, and no byte before it.
    #[track_caller]
    pub fn expect_closed(&mut self) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let outcome = tokio::time::timeout(PATIENCE, self.fill()).await;
            assert!(
                matches!(outcome, Ok(Err(_) | Ok(0))) && self.pending.is_empty(),
                "{at}: {} expected the end, got {outcome:?} {}",
                self.name,
                show(&self.pending)
            );
        }
    }

    /// Neither a byte nor the end arrives for a moment.
    #[track_caller]
    pub fn expect_quiet(&mut self) -> impl Future<Output = ()> {
        self.expect_quiet_for(QUIET)
    }

    /// Neither a byte nor the end arrives for `time`.
    #[track_caller]
    pub fn expect_quiet_for(&mut self, time: Duration) -> impl Future<Output = ()> {
        let at = Location::caller();
        async move {
            let outcome = if self.pending.is_empty() {
                tokio::time::timeout(time, self.fill()).await.ok()
            } else {
                Some(Ok(self.pending.len()))
            };
            if let Some(outcome) = outcome {
                panic!("{at}: {} expected silence, got {outcome:?} {}", self.name, show(&self.pending));
            }
        }
    }

    /// The next `length` bytes.
    #[track_caller]
    pub fn take(&mut self, length: usize) -> impl Future<Output = Vec<u8>> {
        let at = Location::caller();
        async move {
            let outcome = tokio::time::timeout(PATIENCE, async {
                while self.pending.len() < length && self.fill().await? > 0 {}
                io::Result::Ok(())
            })
            .await;
            assert!(
                self.pending.len() >= length,
                "{at}: {} expected {length} bytes, got {} ({outcome:?}): {}",
                self.name,
                self.pending.len(),
                show(&self.pending)
            );
            self.pending.drain(..length).collect()
        }
    }

    /// Everything until the end of the stream, clean or by reset.
    #[track_caller]
    pub fn rest(&mut self) -> impl Future<Output = Vec<u8>> {
        let at = Location::caller();
        async move {
            let outcome =
                tokio::time::timeout(PATIENCE, async { while matches!(self.fill().await, Ok(1..)) {} });
            if outcome.await.is_err() {
                panic!("{at}: {} waited for the end after {}", self.name, show(&self.pending));
            }
            std::mem::take(&mut self.pending)
        }
    }

    /// Everything until the end of the stream, as text.
    #[track_caller]
    pub fn rest_text(&mut self) -> impl Future<Output = String> {
        let rest = self.rest();
        async move { String::from_utf8_lossy(&rest.await).into_owned() }
    }

    /// A message head, up to and with the empty line.
    #[track_caller]
    pub fn head(&mut self) -> impl Future<Output = String> {
        let at = Location::caller();
        async move {
            let outcome = tokio::time::timeout(PATIENCE, self.try_head()).await;
            match outcome {
                Ok(Some(head)) => head,
                outcome => panic!(
                    "{at}: {} expected a message head, got {} ({outcome:?})",
                    self.name,
                    show(&self.pending)
                ),
            }
        }
    }

    /// A whole message: head and body, framed by its own headers.
    #[track_caller]
    pub fn reply(&mut self) -> impl Future<Output = Reply> {
        let at = Location::caller();
        async move {
            match tokio::time::timeout(PATIENCE, self.try_reply()).await {
                Ok(Some(reply)) => reply,
                outcome => panic!(
                    "{at}: {} expected a message, got {} ({outcome:?})",
                    self.name,
                    show(&self.pending)
                ),
            }
        }
    }

    /// The next message, or nothing when the stream ends before one.
    pub async fn try_reply(&mut self) -> Option<Reply> {
        let head = self.try_head().await?;
        let mut body = Vec::new();
        if header(&head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            loop {
                let line = self.try_until(b"\r\n").await?;
                let digits = String::from_utf8_lossy(&line);
                let size = usize::from_str_radix(digits.trim_end().split(';').next()?, 16).ok()?;
                if size == 0 {
                    while self.try_until(b"\r\n").await? != b"\r\n" {}
                    break;
                }
                body.extend(self.try_take(size).await?);
                self.try_take(2).await?;
            }
        } else if let Some(length) = header(&head, "content-length") {
            body = self.try_take(length.parse().ok()?).await?;
        } else if head.starts_with("HTTP/") && !head.contains(" 204 ") && !head.contains(" 304 ") {
            while matches!(self.fill().await, Ok(1..)) {}
            body = std::mem::take(&mut self.pending);
        }
        Some(Reply { head, body })
    }

    /// Sends what is said and reads a whole message.
    #[track_caller]
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> impl Future<Output = Reply> {
        let at = Location::caller();
        async move {
            if self.write_all(request.as_ref()).await.is_err() {
                // The answer may be there all the same.
            }
            match tokio::time::timeout(PATIENCE, self.try_reply()).await {
                Ok(Some(reply)) => reply,
                outcome => panic!(
                    "{at}: {} expected a message, got {} ({outcome:?})",
                    self.name,
                    show(&self.pending)
                ),
            }
        }
    }

    /// FIN: nothing more will be sent, reading goes on. Over TLS without a word: see [`Peer::end`].
    pub fn finish(&mut self) {
        let outcome = match &self.socket {
            Socket::Unix(stream) => SockRef::from(stream).shutdown(std::net::Shutdown::Write),
            _ => SockRef::from(self.as_tcp()).shutdown(std::net::Shutdown::Write),
        };
        // The other side may have reset the connection in the meantime; the next expectation says so.
        drop(outcome);
    }

    /// As [`Peer::finish`], over TLS after a close_notify.
    pub async fn end(&mut self) {
        match &mut self.socket {
            // The other side may be gone; the next expectation says so.
            Socket::Tls(stream) => drop(within("close_notify", stream.shutdown()).await),
            _ => self.finish(),
        }
    }

    /// RST: both directions die at once.
    pub fn reset(self) {
        if !matches!(self.socket, Socket::Unix(_)) {
            SockRef::from(self.as_tcp()).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        }
    }

    /// FIN in both directions; unread bytes turn it into a reset.
    pub fn close(self) {
        drop(self);
    }

    /// Writes without a deadline of its own.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Socket::Tls(stream) = &mut self.socket {
            stream.write_all(bytes).await?;
            return stream.flush().await;
        }
        while !bytes.is_empty() {
            let outcome = match &self.socket {
                Socket::Tcp(stream) => {
                    stream.writable().await?;
                    stream.try_write(bytes)
                }
                Socket::Unix(stream) => {
                    stream.writable().await?;
                    stream.try_write(bytes)
                }
                Socket::Tls(_) => unreachable!("handled above"),
            };
            match outcome {
                Ok(written) => bytes = &bytes[written..],
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// Reads once; 0 at the end of the stream.
    async fn fill(&mut self) -> io::Result<usize> {
        if let Socket::Tls(stream) = &mut self.socket {
            return stream.read_buf(&mut self.pending).await;
        }
        loop {
            let outcome = match &self.socket {
                Socket::Tcp(stream) => {
                    stream.readable().await?;
                    stream.try_read_buf(&mut self.pending)
                }
                Socket::Unix(stream) => {
                    stream.readable().await?;
                    stream.try_read_buf(&mut self.pending)
                }
                Socket::Tls(_) => unreachable!("handled above"),
            };
            match outcome {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            if self.pending.capacity() == self.pending.len() {
                self.pending.reserve(16_384);
            }
        }
    }

    /// What was read and not taken yet.
    pub(crate) fn take_pending(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    async fn try_head(&mut self) -> Option<String> {
        self.try_until(b"\r\n\r\n").await.map(|head| String::from_utf8_lossy(&head).into_owned())
    }

    pub(crate) async fn try_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.pending.windows(end.len()).position(|window| window == end) {
                return Some(self.pending.drain(..at + end.len()).collect());
            }
            if !matches!(self.fill().await, Ok(1..)) {
                return None;
            }
        }
    }

    pub(crate) async fn try_take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.pending.len() < length {
            if !matches!(self.fill().await, Ok(1..)) {
                return None;
            }
        }
        Some(self.pending.drain(..length).collect())
    }
}

/// Bytes for a human, cut where they get boring.
pub fn show(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 2000;
    let shown = bytes[..bytes.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string();
    let text = shown.replace("\\r\\n", "\\r\\n\n");
    if bytes.len() > SHOWN_BYTES_MAX { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}
