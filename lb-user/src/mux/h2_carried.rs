//! One exchange with a server over a stream of its HTTP/2 connection: the proxy's code writes a request of HTTP/1 into a
//! pipe and reads the response out of it.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::Request;
use sockeye_conn::PipeEnd;
use sockeye_h2::request::Kind;
use sockeye_h2::upstream::{Asked, RequestReader, Step, encode_interim, encode_response};
use sockeye_h2::{Broken, encode_trailers};

use super::h2_halves::{Gone, ToFrames, ToPipe};
use super::h2_io::Watch;

/// Between a pipe and the frames of a stream to a server.
#[derive(Debug)]
pub(crate) struct Carried {
    pipe: PipeEnd,
    requests: SendRequest<Bytes>,
    watch: Rc<Watch>,
    reader: RequestReader,
    /// An incomplete head, or what follows one that is not sent yet.
    partial: Vec<u8>,
    /// The head, until it is sent.
    head: Option<(Box<Request<()>>, Asked)>,
    frames: ToFrames,
    /// All of the request has been sent.
    sent: bool,
    asked: Option<Asked>,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    out: ToPipe,
    chunked: bool,
    /// The response is complete but for what is in `out`.
    received: bool,
    moved: u64,
}

/// Why an exchange ended before its response did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The server has not looked at the request (RFC 9113 §8.7): sending it elsewhere is safe.
    Refused,
    /// This stream alone was reset, by the server or for a violation: it would be again.
    Reset,
    /// The stream or the connection broke.
    Broken,
    /// The server's response is malformed.
    Malformed,
    /// Nobody waits for the response any more.
    Abandoned,
}

impl From<Gone> for Failed {
    fn from(_: Gone) -> Self {
        Self::Broken
    }
}

impl From<h2::Error> for Failed {
    fn from(error: h2::Error) -> Self {
        let refused = error.reason() == Some(Reason::REFUSED_STREAM) || error.is_go_away();
        match error.is_remote() && refused {
            true => Self::Refused,
            false if error.is_reset() => Self::Reset,
            false => Self::Broken,
        }
    }
}

impl Carried {
    pub(crate) fn new(pipe: PipeEnd, requests: SendRequest<Bytes>, watch: Rc<Watch>, https: bool) -> Self {
        Self {
            pipe,
            requests,
            watch,
            head: None,
            reader: RequestReader::new(https),
            partial: Vec::new(),
            frames: ToFrames::default(),
            sent: false,
            asked: None,
            response: None,
            body: None,
            out: ToPipe::default(),
            chunked: false,
            received: false,
            moved: 0,
        }
    }

    /// Moves what can be moved; ready at the end of the exchange, whose pipe then says how it ended.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let ended = self.poll_exchange(cx);
        if let Poll::Ready(Err(failed)) = ended {
            let kind = match failed {
                Failed::Refused => io::ErrorKind::ConnectionRefused,
                Failed::Reset | Failed::Malformed => io::ErrorKind::ConnectionAborted,
                _ => io::ErrorKind::ConnectionReset,
            };
            self.pipe.abort(kind);
            self.frames.reset(match failed {
                Failed::Malformed => Reason::PROTOCOL_ERROR,
                _ => Reason::CANCEL,
            });
        }
        ended
    }

    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let up = if self.sent { Poll::Ready(Ok(())) } else { self.poll_up(cx) };
        // A response that is there already explains a request that cannot be sent any more.
        let down = self.poll_down(cx)?;
        if down.is_ready() {
            let tunnel = self.asked.as_ref().is_some_and(|asked| asked.kind != Kind::Exchange);
            if !tunnel || up.is_ready() {
                return Poll::Ready(Ok(()));
            }
            // Bytes of the other direction may still come.
            self.pipe.shutdown_write();
        }
        if let Poll::Ready(Err(failed)) = up {
            return Poll::Ready(Err(failed));
        }
        if self.pipe.poll_unread(cx).is_ready() {
            return Poll::Ready(Err(Failed::Abandoned));
        }
        Poll::Pending
    }

    /// The request: the pipe to frames. Ready when all of it is sent.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        loop {
            if self.head.is_some() {
                ready!(self.poll_head(cx))?;
                let rest = std::mem::take(&mut self.partial);
                self.digest(&rest, false)?;
            }
            ready!(self.frames.poll_send(cx, &mut self.moved))?;
            if self.frames.whole {
                self.sent = true;
                return Poll::Ready(Ok(()));
            }
            ready!(self.pipe.poll_read_ready(cx)).map_err(|_| Failed::Abandoned)?;
            self.read()?;
        }
    }

    /// Sends the head once the server may be sent it.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        ready!(self.requests.poll_ready(cx))?;
        let websocket = self.head.as_ref().is_some_and(|(_, asked)| asked.kind == Kind::WebSocket);
        // RFC 8441 §3: not before the server has said that it knows how.
        if websocket && !self.requests.is_extended_connect_protocol_enabled() {
            ready!(self.watch.poll_settings(cx));
            if !self.requests.is_extended_connect_protocol_enabled() {
                return Poll::Ready(Err(Failed::Malformed));
            }
        }
        let Some((mut request, asked)) = self.head.take() else { return Poll::Ready(Ok(())) };
        if websocket {
            request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        }
        let (response, send) =
            self.requests.send_request(*request, self.frames.whole).map_err(|_| Failed::Refused)?;
        self.frames.send = Some(send);
        self.response = Some(response);
        self.asked = Some(asked);
        Poll::Ready(Ok(()))
    }

    /// Takes what the pipe holds, of which there must be something or the end.
    fn read(&mut self) -> Result<(), Failed> {
        let mut partial = std::mem::take(&mut self.partial);
        let mut bytes = BytesMut::new();
        let taken = self.pipe.take_with(|found| {
            bytes.extend_from_slice(found);
            found.len()
        });
        let n = taken.map_err(|_| Failed::Abandoned)?.unwrap_or(0);
        if partial.is_empty() {
            let used = self.digest(&bytes, n == 0)?;
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            partial.extend_from_slice(&bytes);
            let used = self.digest(&partial, n == 0)?;
            self.partial.extend_from_slice(&partial[used..]);
        }
        Ok(())
    }

    /// Goes through bytes of the request. Returns how many were used; the others are of an incomplete head.
    fn digest(&mut self, bytes: &[u8], ended: bool) -> Result<usize, Failed> {
        let mut at = 0;
        let mut data = BytesMut::new();
        while !self.frames.whole && self.head.is_none() {
            let (used, step) =
                self.reader.step(&bytes[at..], ended).map_err(|_: Broken| Failed::Abandoned)?;
            match step {
                Step::NeedMore if used == 0 => break,
                Step::NeedMore => {}
                Step::Head(request, asked, whole) => {
                    self.frames.whole = whole;
                    self.head = Some((request, asked));
                }
                Step::Data(range) => {
                    data.extend_from_slice(&bytes[at..][range]);
                    self.frames.whole = self.reader.is_done();
                }
                Step::End(trailers) => {
                    self.frames.whole = true;
                    if data.is_empty() && trailers.is_none() {
                        self.frames.end()?;
                    }
                    self.frames.trailers = trailers;
                }
            }
            at += used;
        }
        self.frames.data = data.freeze();
        Ok(at)
    }

    /// The response: frames to the pipe. Ready when all of it is written.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        loop {
            ready!(self.out.poll_write(cx, &mut self.pipe, self.body.as_mut(), &mut self.moved))
                .map_err(|_| Failed::Abandoned)?;
            if self.received {
                return Poll::Ready(Ok(()));
            }
            if let Some(response) = &mut self.response {
                ready!(poll_head(cx, response, self.asked.as_ref(), &mut self.out.before))?.map_or_else(
                    || Ok(()),
                    |(body, chunked, ended)| {
                        self.response = None;
                        self.chunked = chunked;
                        self.received = ended;
                        self.body = Some(body);
                        Ok::<_, Failed>(())
                    },
                )?;
                continue;
            }
            let Some(body) = &mut self.body else { return Poll::Pending };
            match ready!(body.poll_data(cx)) {
                Some(data) => self.out.put(data?, self.chunked),
                None => {
                    let trailers = ready!(body.poll_trailers(cx))?;
                    if self.chunked {
                        encode_trailers(trailers.as_ref(), &mut self.out.before)
                            .map_err(|_| Failed::Malformed)?;
                    }
                    self.received = true;
                }
            }
        }
    }
}

/// Takes an interim response (`None`) or the final one: its body, whether that goes on in chunks, whether there is none.
#[allow(clippy::type_complexity, reason = "said once")]
fn poll_head(
    cx: &mut Context<'_>,
    response: &mut ResponseFuture,
    asked: Option<&Asked>,
    out: &mut Vec<u8>,
) -> Poll<Result<Option<(RecvStream, bool, bool)>, Failed>> {
    if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
        let head = interim?.into_parts().0;
        encode_interim(&head, out).map_err(|_| Failed::Malformed)?;
        return Poll::Ready(Ok(None));
    }
    let (head, body) = ready!(std::pin::Pin::new(response).poll(cx))?.into_parts();
    let ended = body.is_end_stream();
    let Some(asked) = asked else { return Poll::Ready(Err(Failed::Broken)) };
    let chunked = encode_response(&head, asked, ended, out).map_err(|_| Failed::Malformed)?;
    let tunnel = asked.kind != Kind::Exchange && head.status.is_success();
    Poll::Ready(Ok(Some((body, chunked, ended && !tunnel))))
}
