//! One stream of a client's HTTP/2 connection: a session on one end of a pipe, frames on the other.
//!
//! Both run in one task. What a client may send is bounded by the stream's window and by the pipe; the window opens
//! again as the pipe drains.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use sockeye_conn::PipeEnd;
use sockeye_h2::request::{Kind, Translated};
use sockeye_h2::response::{ResponseReader, Step};
use sockeye_h2::{Broken, encode_trailers};

use super::h2_halves::{ToFrames, ToPipe};

/// Between the frames of a stream and the pipe of its session.
#[derive(Debug)]
pub(crate) struct Bridge {
    pipe: PipeEnd,
    up: Up,
    down: Down,
    /// Bytes that went either way.
    moved: u64,
}

/// The request: frames to the pipe.
#[derive(Debug)]
struct Up {
    out: ToPipe,
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
    frames: ToFrames,
    /// An incomplete head.
    partial: Vec<u8>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The response was sent whole.
    Whole,
    /// The client, or its connection, is gone.
    Gone,
    /// The session ended in the middle of the response.
    Broken,
}

impl Bridge {
    /// For a request whose head is translated in `head`; its body is still to come.
    pub(crate) fn new(
        pipe: PipeEnd,
        head: Vec<u8>,
        translated: &Translated,
        body: RecvStream,
        respond: SendResponse<Bytes>,
    ) -> Self {
        let ended = body.is_end_stream() && translated.kind == Kind::Exchange;
        let up = Up {
            out: ToPipe::new(head),
            body: (!ended).then_some(body),
            kind: translated.kind,
            chunked: translated.chunked,
        };
        let down = Down {
            reader: ResponseReader::new(translated),
            respond,
            frames: ToFrames::default(),
            partial: Vec::new(),
        };
        Self { pipe, up, down, moved: 0 }
    }

    /// Grows with every progress.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// Moves what can be moved from the client to the session.
    pub(crate) fn poll_up(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(more) = self.poll_request(cx) {
            if !more {
                return;
            }
        }
    }

    /// Writes what is at hand, then takes the next piece; false at the end.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let up = &mut self.up;
        if ready!(up.out.poll_write(cx, &mut self.pipe, up.body.as_mut(), &mut self.moved)).is_err() {
            // The session has ended and reads no more: neither do we.
            up.forget();
            return Poll::Ready(false);
        }
        let Some(body) = &mut up.body else { return Poll::Ready(false) };
        match ready!(body.poll_data(cx)) {
            Some(Ok(data)) => up.out.put(data, up.chunked),
            Some(Err(_)) => {
                self.pipe.abort(io::ErrorKind::ConnectionReset);
                up.forget();
                return Poll::Ready(false);
            }
            None => {
                let sound = match (ready!(body.poll_trailers(cx)), up.chunked) {
                    (Err(_), _) => false,
                    (Ok(trailers), true) => encode_trailers(trailers.as_ref(), &mut up.out.before).is_ok(),
                    (Ok(_), false) => true,
                };
                up.body = None;
                if !sound {
                    self.pipe.abort(io::ErrorKind::ConnectionReset);
                    self.down.reset(Reason::PROTOCOL_ERROR);
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
    pub(crate) fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            let sent = ready!(self.down.frames.poll_send(cx, &mut self.moved));
            if sent.is_ok() && self.down.frames.whole {
                return Poll::Ready(Ended::Whole);
            }
            if sent.is_err() || self.down.poll_reset(cx).is_ready() {
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
                    self.reset(Reason::CANCEL);
                    return Poll::Ready(Ended::Broken);
                }
            }
        }
    }

    /// Ends the stream on the client's side.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.down.reset(reason);
    }
}

impl Up {
    /// Takes no more of the body; what is unread gives its part of the connection's window back.
    fn forget(&mut self) {
        self.body = None;
        self.out.clear();
    }
}

/// Who has broken a response off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Client,
    Session,
}

impl Down {
    /// Ready when the client has reset the stream.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.frames.send {
            Some(send) => send.poll_reset(cx).map(|_| ()),
            None => self.respond.poll_reset(cx).map(|_| ()),
        }
    }

    fn reset(&mut self, reason: Reason) {
        if self.frames.send.is_some() {
            self.frames.reset(reason);
        } else {
            self.respond.send_reset(reason);
        }
    }

    /// Takes what the pipe holds, of which there must be something or the end. Returns how much it was.
    fn read(&mut self, pipe: &mut PipeEnd) -> Result<usize, Cut> {
        let mut result = Ok(());
        let taken = pipe.take_with(|bytes| {
            result = if self.partial.is_empty() {
                self.digest(bytes, false).map(|used| self.partial.extend_from_slice(&bytes[used..]))
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
            if !self.frames.whole {
                return Err(Cut::Session);
            }
        }
        Ok(n)
    }

    /// Goes through bytes of the response. Returns how many were used; the others are of an incomplete head.
    fn digest(&mut self, bytes: &[u8], ended: bool) -> Result<usize, Cut> {
        let mut at = 0;
        let mut data = BytesMut::new();
        while !self.frames.whole {
            let (used, step) = self.reader.step(&bytes[at..], ended).map_err(|_: Broken| Cut::Session)?;
            match step {
                Step::NeedMore if used == 0 => break,
                Step::NeedMore => {}
                Step::Interim(response) => {
                    self.respond.send_informational(response).map_err(|_| Cut::Client)?;
                }
                Step::Head(response, whole) => {
                    self.frames.whole = whole;
                    let send = self.respond.send_response(response, whole).map_err(|_| Cut::Client)?;
                    self.frames.send = Some(send);
                }
                Step::Data(range) => {
                    if data.is_empty() {
                        data.reserve(bytes.len() - at);
                    }
                    data.extend_from_slice(&bytes[at..][range]);
                    self.frames.whole = self.reader.is_done();
                }
                Step::End(trailers) => {
                    self.frames.whole = true;
                    if data.is_empty() && trailers.is_none() {
                        self.frames.end().map_err(|_| Cut::Client)?;
                    }
                    self.frames.trailers = trailers;
                }
            }
            at += used;
        }
        self.frames.data = data.freeze();
        Ok(at)
    }
}
