//! A TLS handshake on a socket.

use std::io;
use std::task::{Context, Poll, ready};

use sockeye_record::{Handshake, Progress, RECORD_BYTES_MAX, Step};

use super::{Counted, TlsSocket};
use crate::Socket;

/// Bytes of handshake that a peer may send: four records' worth of certificates.
const HANDSHAKE_BYTES_MAX: usize = 4 * RECORD_BYTES_MAX;
/// How much of the peer's first words is kept to tell what they are.
const BEGINNING_BYTES: usize = 8;
/// How much of a handshake is read at a time.
const HANDSHAKE_READ_BYTES: usize = 4 * 1024;

/// Why a handshake did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer closed its end; whether it had sent anything.
    #[error("the connection was closed during the handshake")]
    Closed { after_bytes: bool },
    #[error("the connection broke during the handshake: {0}")]
    Io(io::Error),
    #[error("{0}")]
    Tls(rustls::Error),
    #[error("the peer's handshake is too long")]
    TooLong,
}

/// A handshake under way on a socket.
pub struct Handshaking {
    /// Taken at the end.
    io: Option<Socket>,
    handshake: Option<Handshake>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
    read: usize,
    /// The first bytes of the peer, `read` of them at most.
    beginning: [u8; BEGINNING_BYTES],
    done: bool,
    /// A client speaks first, so nothing is read before the first step.
    begun: bool,
    /// Told to the peer first.
    failed: Option<rustls::Error>,
    /// Taken at the end.
    counted: Option<Counted>,
}

impl Handshaking {
    /// `read` is what has been read of the peer already.
    pub fn new(io: Socket, handshake: Handshake, read: Vec<u8>) -> Self {
        let count = read.len();
        let mut beginning = [0; BEGINNING_BYTES];
        beginning.iter_mut().zip(&read).for_each(|(to, byte)| *to = *byte);
        Self {
            io: Some(io),
            handshake: Some(handshake),
            incoming: read,
            outgoing: Vec::new(),
            sent: 0,
            read: count,
            beginning,
            done: false,
            begun: false,
            failed: None,
            counted: Some(Counted::new()),
        }
    }

    /// Shakes hands. Afterwards content can be read and written.
    ///
    /// # Errors
    /// When the handshake fails; the peer has been told why as far as it can be told.
    pub async fn run(mut self) -> Result<Socket, HandshakeError> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// The socket of a handshake that failed: the peer may still be told so.
    pub fn into_io(self) -> Option<Socket> {
        self.io
    }

    /// One poll of [`run`](Self::run), for whoever has to look at what rustls found out in it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Socket, HandshakeError>> {
        loop {
            let io = self.io.as_mut().ok_or_else(gone)?;
            while self.sent < self.outgoing.len() {
                let bytes = &self.outgoing[self.sent..];
                let sent = ready!(io.poll_write(cx, bytes));
                match (sent, self.failed.take()) {
                    (Ok(n), failed) => {
                        self.sent += n;
                        self.failed = failed;
                    }
                    (Err(_), Some(failed)) => return Poll::Ready(Err(HandshakeError::Tls(failed))),
                    (Err(error), None) => return Poll::Ready(Err(HandshakeError::Io(error))),
                }
            }
            self.outgoing.clear();
            self.sent = 0;
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(HandshakeError::Tls(error)));
            }
            if self.done {
                return Poll::Ready(self.finish());
            }
            if std::mem::replace(&mut self.begun, true) {
                ready!(self.poll_fill(cx))?;
            }
            let handshake = self.handshake.as_mut().ok_or_else(gone)?;
            let (used, step) = handshake.step(&mut self.incoming, &mut self.outgoing);
            self.incoming.drain(..used);
            match step {
                Ok(Step::Read) => {}
                Ok(Step::Done) => self.done = true,
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// How what the peer said began: who speaks no TLS is known by it.
    pub fn beginning(&self) -> &[u8] {
        &self.beginning[..self.read.min(BEGINNING_BYTES)]
    }

    /// How far the handshake has come, if it is not over.
    pub fn progress(&self) -> Option<Progress> {
        self.handshake.as_ref().map(Handshake::progress)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(())) };
        let at = self.incoming.len();
        if at >= HANDSHAKE_BYTES_MAX {
            return Poll::Ready(Err(HandshakeError::TooLong));
        }
        self.incoming.resize(at + HANDSHAKE_READ_BYTES, 0);
        let read = io.poll_read(cx, &mut self.incoming[at..]);
        self.incoming.truncate(at + if let Poll::Ready(Ok(n)) = read { n } else { 0 });
        match ready!(read) {
            Ok(0) => Poll::Ready(Err(HandshakeError::Closed { after_bytes: self.read > 0 })),
            Ok(n) => {
                let free = self.beginning.iter_mut().skip(self.read);
                free.zip(&self.incoming[at..]).for_each(|(to, byte)| *to = *byte);
                self.read += n;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(HandshakeError::Io(error))),
        }
    }

    fn finish(&mut self) -> Result<Socket, HandshakeError> {
        let (Some(io), Some(handshake), Some(counted)) =
            (self.io.take(), self.handshake.take(), self.counted.take())
        else {
            return Err(gone());
        };
        let established = handshake.finish().map_err(HandshakeError::Tls)?;
        let socket = TlsSocket::new(io, established, &self.incoming, counted).map_err(HandshakeError::Io)?;
        Ok(Socket::Tls(Box::new(socket)))
    }
}

/// Asked again after its end.
fn gone() -> HandshakeError {
    HandshakeError::Io(io::ErrorKind::NotConnected.into())
}
