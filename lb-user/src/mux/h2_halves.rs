//! The two ways between a stream's frames and the pipe of its session, whichever side the stream is on.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use sockeye_conn::PipeEnd;
use sockeye_http::h1::ChunkHeader;

/// What is being written into a pipe: a head or framing, content, and the end of a chunk.
#[derive(Debug, Default)]
pub(crate) struct ToPipe {
    pub(crate) before: Vec<u8>,
    data: Bytes,
    after: &'static [u8],
    written: usize,
}

impl ToPipe {
    /// Begins with these bytes.
    pub(crate) fn new(before: Vec<u8>) -> Self {
        Self { before, ..Self::default() }
    }

    /// Content to be written next, as a chunk or as it is.
    pub(crate) fn put(&mut self, data: Bytes, chunked: bool) {
        if chunked && !data.is_empty() {
            self.before.extend_from_slice(ChunkHeader::new(data.len() as u64).as_bytes());
            self.after = b"\r\n";
        }
        self.data = data;
    }

    /// Writes all of it, then opens the window of `body`, from which it came.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut PipeEnd,
        body: Option<&mut RecvStream>,
        moved: &mut u64,
    ) -> Poll<io::Result<()>> {
        loop {
            let (pieces, left) = self.left();
            if left == 0 {
                break;
            }
            let n = ready!(pipe.poll_write_vectored(cx, &pieces.map(IoSlice::new)))?;
            self.written += n;
            *moved += n as u64;
        }
        if let Some(body) = body.filter(|_| !self.data.is_empty()) {
            // Fails only for more than was received.
            let _ = body.flow_control().release_capacity(self.data.len());
        }
        self.clear();
        Poll::Ready(Ok(()))
    }

    pub(crate) fn clear(&mut self) {
        self.before.clear();
        self.data = Bytes::new();
        self.after = b"";
        self.written = 0;
    }

    /// What is still to be written, and how much it is.
    fn left(&self) -> ([&[u8]; 3], usize) {
        let mut skip = self.written;
        let mut left = 0;
        let pieces = [&self.before[..], &self.data, self.after].map(|piece| {
            let n = skip.min(piece.len());
            skip -= n;
            left += piece.len() - n;
            &piece[n..]
        });
        (pieces, left)
    }
}

/// What is being sent in frames, once the head is sent.
#[derive(Debug, Default)]
pub(crate) struct ToFrames {
    pub(crate) send: Option<SendStream<Bytes>>,
    pub(crate) data: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
    /// Nothing follows `data` and `trailers`.
    pub(crate) whole: bool,
}

/// The stream, or its connection, is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl ToFrames {
    /// Sends what there is, as the peer's windows allow.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, moved: &mut u64) -> Poll<Result<(), Gone>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Ok(())) };
        while !self.data.is_empty() {
            let mut capacity = send.capacity();
            if capacity == 0 {
                send.reserve_capacity(self.data.len());
                capacity = send.capacity();
            }
            if capacity == 0 {
                match ready!(send.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => return Poll::Ready(Err(Gone)),
                }
            }
            let piece = self.data.split_to(capacity.min(self.data.len()));
            *moved += piece.len() as u64;
            let last = self.data.is_empty() && self.whole && self.trailers.is_none();
            send.send_data(piece, last).map_err(|_| Gone)?;
        }
        if let Some(trailers) = self.trailers.take() {
            send.send_trailers(trailers).map_err(|_| Gone)?;
        }
        Poll::Ready(Ok(()))
    }

    /// The end, for which there is neither content nor trailers to carry it.
    pub(crate) fn end(&mut self) -> Result<(), Gone> {
        match &mut self.send {
            Some(send) => send.send_data(Bytes::new(), true).map_err(|_| Gone),
            None => Ok(()),
        }
    }

    pub(crate) fn reset(&mut self, reason: Reason) {
        if let Some(send) = &mut self.send {
            send.send_reset(reason);
        }
    }
}
