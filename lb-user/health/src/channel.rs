//! What a check talks over once it is connected: bytes, or requests of HTTP/2 whose answers look like bytes.

use std::future::poll_fn;
use std::io;

use sockeye_conn::Socket;

use crate::h2::Http2;
use crate::prepared::Send;

/// A connection to a server under check. Dropping it closes it.
#[derive(Debug)]
pub(crate) enum Channel {
    Bytes(Socket),
    Http2(Box<Http2>),
}

impl Channel {
    /// Sends one request, or what the rule has instead.
    pub(crate) async fn send(&mut self, send: &Send) -> io::Result<()> {
        match self {
            Self::Bytes(socket) => write_all(socket, &send.bytes).await,
            Self::Http2(http2) => http2.send(send.http.as_deref()).await,
        }
    }

    /// Reads; 0 is the end of the connection, or of the response that a request of its own would follow.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bytes(socket) => poll_fn(|cx| socket.poll_read(cx, buffer)).await,
            Self::Http2(http2) => poll_fn(|cx| http2.poll_read(cx, buffer)).await,
        }
    }
}

/// Writes all of `bytes`.
pub(crate) async fn write_all(socket: &mut Socket, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match poll_fn(|cx| socket.poll_write(cx, bytes)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}
