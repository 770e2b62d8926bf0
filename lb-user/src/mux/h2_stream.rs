//! One stream of a client's HTTP/2 connection: a session on one end of a pipe, frames on the other.
//!
//! Both run in one task. What a client may send is bounded by the stream's window and by the pipe; the window opens
//! again as the pipe drains.

use std::io;
use std::io::IoSlice;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use sockeye_conn::PipeEnd;
use sockeye_h2::{Broken, encode_trailers};
use sockeye_h2::request::{Kind, Translated};
use sockeye_h2::response::{ResponseReader, Step};
use sockeye_http::h1::ChunkHeader;

/// Between the frames of a stream and the pipe of its session.
#[derive(Debug)]
pub(super) struct Bridge {
    pipe: PipeEnd,
    up: Up,
    down: Down,
    /// Bytes that went either way.
    moved: u64,
}

/// The request: frames to the pipe.
#[derive(Debug)]
struct Up {
    /// What is being written: framing or the head, content, and the end of a chunk.
    before: Vec<u8>,
    data: Bytes,
    after: &'static [u8],
    written: usize,
    /// `None` at the end of the body.
    body: Option<RecvStream>,
    kind: Kind,
    chunked: bool,
}

/// The response: the pipe to frames.
#[derive(Debug)]
struct Down {
    reader: ResponseReader,
    respond: SendResponse<Bytes>,
    /// The content, once the head is sent.
    send: Option<SendStream<Bytes>>,
    /// An incomplete head.
    partial: Vec<u8>,
    data: Bytes,
    trailers: Option<HeaderMap>,
    /// All of the response has been read from the pipe.
    whole: bool,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The response was sent whole.
    Whole,
    /// The client, or its connection, is gone.
    Gone,
    /// The session ended in the middle of the response.
    Broken,
}

impl Bridge {
    /// For a request whose head is translated in `head`; its body is still to come.
    pub(super) fn new(
        pipe: PipeEnd,
        head: Vec<u8>,
        translated: &Translated,
        body: RecvStream,
        respond: SendResponse<Bytes>,
    ) -> Self {
        let ended = body.is_end_stream() && translated.kind == Kind::Exchange;
        let up = Up {
            before: head,
            data: Bytes::new(),
            after: b"",
            written: 0,
            body: (!ended).then_some(body),
            kind: translated.kind,
            chunked: translated.chunked,
        };
        let down = Down {
            reader: ResponseReader::new(translated),
            respond,
            send: None,
            partial: Vec::new(),
            data: Bytes::new(),
            trailers: None,
            whole: false,
        };
        Self { pipe, up, down, moved: 0 }
    }

    /// Grows with every progress.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Moves what can be moved from the client to the session.
    pub(super) fn poll_up(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(more) = self.poll_request(cx) {
            if !more {
                return;
            }
        }
    }

    /// Writes what is at hand, then takes the next piece; false at the end.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let up = &mut self.up;
        loop {
            let (pieces, left) = up.left();
            if left == 0 {
                break;
            }
            let slices = pieces.map(IoSlice::new);
            match ready!(self.pipe.poll_write_vectored(cx, &slices)) {
                Ok(n) => {
                    up.written += n;
                    self.moved += n as u64;
                }
                Err(_) => {
                    // The session has ended and reads no more: neither do we.
                    up.forget();
                    return Poll::Ready(false);
                }
            }
        }
        let Some(body) = &mut up.body else { return Poll::Ready(false) };
        if !up.data.is_empty() {
            // Fails only for more than was received.
            let _ = body.flow_control().release_capacity(up.data.len());
        }
        up.before.clear();
        up.data = Bytes::new();
        up.after = b"";
        up.written = 0;
        match ready!(body.poll_data(cx)) {
            Some(Ok(data)) => {
                if up.chunked && !data.is_empty() {
                    up.before.extend_from_slice(ChunkHeader::new(data.len() as u64).as_bytes());
                    up.after = b"\r\n";
                }
                up.data = data;
            }
            Some(Err(_)) => {
                self.pipe.abort(io::ErrorKind::ConnectionReset);
                up.forget();
                return Poll::Ready(false);
            }
            None => {
                let trailers = ready!(body.poll_trailers(cx));
                let sound = match (trailers, up.chunked) {
                    (Err(_), _) => false,
                    (Ok(trailers), true) => encode_trailers(trailers.as_ref(), &mut up.before).is_ok(),
                    (Ok(_), false) => true,
                };
                up.body = None;
                if !sound {
                    self.pipe.abort(io::ErrorKind::ConnectionReset);
                    self.down.respond.send_reset(Reason::PROTOCOL_ERROR);
                    up.forget();
                    return Poll::Ready(false);
                }
                if up.kind != Kind::Exchange {
                    self.pipe.shutdown_write();
                }
            }
        }
        Poll::Ready(true)
    }

    /// Moves what can be moved from the session to the client; ready at the end of the stream.
    pub(super) fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            if ready!(self.down.poll_send(cx, &mut self.moved)) == Sent::Gone {
                self.pipe.abort(io::ErrorKind::ConnectionReset);
                return Poll::Ready(Ended::Gone);
            }
            if self.down.whole {
                return Poll::Ready(Ended::Whole);
            }
            if self.down.poll_reset(cx).is_ready() {
                self.pipe.abort(io::ErrorKind::ConnectionReset);
                return Poll::Ready(Ended::Gone);
            }
            let read = match ready!(self.pipe.poll_read_ready(cx)) {
                Ok(()) => self.down.read(&mut self.pipe),
                Err(_) => Err(Cut::Session),
            };
            match read {
                Ok(n) => self.moved += n as u64,
                Err(Cut::Client) => return Poll::Ready(Ended::Gone),
                Err(Cut::Session) => {
                    let reason =
                        if self.down.reader.has_begun() { Reason::INTERNAL_ERROR } else { Reason::CANCEL };
                    self.reset(reason);
                    return Poll::Ready(Ended::Broken);
                }
            }
        }
    }

    /// Ends the stream on the client's side.
    pub(super) fn reset(&mut self, reason: Reason) {
        match &mut self.down.send {
            Some(send) => send.send_reset(reason),
            None => self.down.respond.send_reset(reason),
        }
    }
}

impl Up {
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

    /// Takes no more of the body; what is unread gives its part of the connection's window back.
    fn forget(&mut self) {
        self.body = None;
        self.before.clear();
        self.data = Bytes::new();
        self.after = b"";
        self.written = 0;
    }
}

/// Whether sending can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    All,
    Gone,
}

/// Who has broken a response off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Client,
    Session,
}

impl Down {
    /// Sends what has been read, as the client's windows allow.
    fn poll_send(&mut self, cx: &mut Context<'_>, moved: &mut u64) -> Poll<Sent> {
        let Some(send) = &mut self.send else { return Poll::Ready(Sent::All) };
        while !self.data.is_empty() {
            let mut capacity = send.capacity();
            if capacity == 0 {
                send.reserve_capacity(self.data.len());
                capacity = send.capacity();
            }
            if capacity == 0 {
                match ready!(send.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => return Poll::Ready(Sent::Gone),
                }
            }
            let piece = self.data.split_to(capacity.min(self.data.len()));
            *moved += piece.len() as u64;
            let last = self.data.is_empty() && self.whole && self.trailers.is_none();
            if send.send_data(piece, last).is_err() {
                return Poll::Ready(Sent::Gone);
            }
        }
        if let Some(trailers) = self.trailers.take()
            && send.send_trailers(trailers).is_err()
        {
            return Poll::Ready(Sent::Gone);
        }
        Poll::Ready(Sent::All)
    }

    /// Ready when the client has reset the stream.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.send {
            Some(send) => send.poll_reset(cx).map(|_| ()),
            None => self.respond.poll_reset(cx).map(|_| ()),
        }
    }

    /// Takes what the pipe holds, of which there must be something or the end. Returns how much it was.
    fn read(&mut self, pipe: &mut PipeEnd) -> Result<usize, Cut> {
        let mut result = Ok(());
        let taken = pipe.take_with(|bytes| {
            result = if self.partial.is_empty() && self.reader.has_begun() {
                self.digest(bytes, false).map(|_| ())
            } else {
                // A head may be larger than what a pipe holds.
                let mut partial = std::mem::take(&mut self.partial);
                partial.extend_from_slice(bytes);
                self.digest(&partial, false).map(|used| {
                    partial.drain(..used);
                    self.partial = partial;
                })
            };
            bytes.len()
        });
        let n = taken.map_err(|_| Cut::Session)?.unwrap_or(0);
        result?;
        if n == 0 {
            self.digest(&[], true)?;
            if !self.whole {
                return Err(Cut::Session);
            }
        }
        Ok(n)
    }

    /// Goes through bytes of the response. Returns how many were used; the others are of an incomplete head.
    fn digest(&mut self, bytes: &[u8], ended: bool) -> Result<usize, Cut> {
        let mut at = 0;
        let mut data = BytesMut::new();
        while !self.whole {
            let begun = self.reader.has_begun();
            let (used, step) =
                self.reader.step(&bytes[at..], ended).map_err(|_: Broken| Cut::Session)?;
            match step {
                Step::NeedMore if used == 0 && (!begun || at == bytes.len()) => break,
                Step::NeedMore => {}
                Step::Interim(response) => {
                    self.respond.send_informational(response).map_err(|_| Cut::Client)?;
                }
                Step::Head(response, whole) => {
                    self.whole = whole;
                    self.begin(response)?;
                }
                Step::Data(range) => {
                    if data.is_empty() {
                        data.reserve(bytes.len() - at);
                    }
                    data.extend_from_slice(&bytes[at..][range]);
                    self.whole = self.reader.is_done();
                }
                Step::End(trailers) => {
                    self.whole = true;
                    self.trailers = trailers;
                    if data.is_empty() && self.trailers.is_none() {
                        let ended = self.send.as_mut().map(|send| send.send_data(Bytes::new(), true));
                        ended.transpose().map_err(|_| Cut::Client)?;
                    }
                }
            }
            at += used;
        }
        self.data = data.freeze();
        Ok(at)
    }

    fn begin(&mut self, response: Response<()>) -> Result<(), Cut> {
        let send = self.respond.send_response(response, self.whole).map_err(|_| Cut::Client)?;
        self.send = Some(send);
        Ok(())
    }
}
