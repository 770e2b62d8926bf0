//! One message on its way from one connection to the other: encoded head, then body.
//!
//! The head and what the reader's buffer already holds of the body leave in one `writev`. What remains of a body
//! whose end is known goes through the relay; a chunked one is decoded, checked and encoded again.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use sockeye_conn::{Buffer, Socket};
use sockeye_http::BodyLength;
use sockeye_http::h1::{ChunkDecoder, ChunkHeader, Decoded, ParseError, encode_trailers};
use sockeye_relay::{End, Policy, Pump, RelayError};

use super::Rules;

/// What the encoder's output may hold of a chunked body before it is sent: two buffers' worth, since chunk
/// framing can make the output longer than the input.
const CHUNK_OUT_BYTES: usize = 64 * 1024;

/// A body up to this size is copied behind its head, because one plain write costs less than a vectored one.
const COPIED_BYTES_MAX: usize = 2 * 1024;

/// A message being sent.
#[derive(Debug)]
pub struct Outgoing {
    /// Encoded bytes, and how many of them are sent.
    out: Vec<u8>,
    out_at: usize,
    /// Bytes at the start of the reader's buffer that belong to the body as they are, and how many are sent.
    direct: usize,
    direct_at: usize,
    rest: Rest,
    /// Body bytes sent, framing not counted.
    body_bytes: u64,
    /// Whether it waits for the receiver rather than for the sender.
    blocked: bool,
    /// Whether the sent bytes of `out` and `direct` are kept, to be sent again.
    retained: bool,
    moved: u64,
}

/// What follows the bytes at hand.
#[derive(Debug)]
enum Rest {
    Done,
    Raw { pump: Box<Pump>, limited: bool },
    Chunked(Box<Chunks>),
}

/// A chunked body being decoded, checked and encoded anew.
#[derive(Debug)]
struct Chunks {
    decoder: ChunkDecoder,
    framed: bool,
    done: bool,
    rules: Rules,
}

/// Why a message did not get through.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("reading: {0}")]
    Read(io::Error),
    #[error("writing: {0}")]
    Write(io::Error),
    /// The sender ended its connection in the middle of the body.
    #[error("the body ended early")]
    Truncated,
    #[error("the body is invalid: {0}")]
    Invalid(#[from] ParseError),
}

impl MoveError {
    /// Whether the peer says that it has not looked at the message: sending it elsewhere cannot do anything twice.
    pub fn is_refused(&self) -> bool {
        self.is(io::ErrorKind::ConnectionRefused)
    }

    /// Whether the peer has ended this exchange alone, and its connection serves others as before.
    pub fn is_of_stream(&self) -> bool {
        self.is(io::ErrorKind::ConnectionAborted)
    }

    fn is(&self, kind: io::ErrorKind) -> bool {
        matches!(self, Self::Read(error) | Self::Write(error) if error.kind() == kind)
    }
}

impl Outgoing {
    /// A message whose head is encoded in `out` and whose body starts in `input`. With `framed` a chunked body
    /// is sent in chunks, otherwise only its content.
    pub fn new(
        mut out: Vec<u8>,
        body: BodyLength,
        framed: bool,
        input: &mut Buffer,
        policy: &Policy,
        rules: Rules,
    ) -> Result<Self, MoveError> {
        let mut direct = 0;
        let mut copied = 0;
        let rest = match body {
            BodyLength::None | BodyLength::Tunnel => Rest::Done,
            BodyLength::Length(length) => {
                let here = (input.len() as u64).min(length);
                direct = usize::try_from(here).unwrap_or(usize::MAX);
                if here == length {
                    Rest::Done
                } else {
                    let pump = Pump::new(policy, Some(length - here), Buffer::none());
                    Rest::Raw { pump: Box::new(pump), limited: true }
                }
            }
            BodyLength::UntilClose => {
                direct = input.len();
                let pump = Pump::new(policy, None, Buffer::none());
                Rest::Raw { pump: Box::new(pump), limited: false }
            }
            BodyLength::Chunked => {
                Rest::Chunked(Box::new(Chunks { decoder: ChunkDecoder::new(), framed, done: false, rules }))
            }
        };
        if direct > 0 && direct <= COPIED_BYTES_MAX {
            out.extend_from_slice(&input.filled()[..direct]);
            input.consume(direct);
            copied = direct as u64;
            direct = 0;
        }
        let mut message = Self {
            out,
            out_at: 0,
            direct,
            direct_at: 0,
            rest,
            body_bytes: copied,
            blocked: false,
            retained: false,
            moved: 0,
        };
        message.encode_chunks(input)?;
        Ok(message)
    }

    /// A message that is only these bytes.
    pub fn of_bytes(out: Vec<u8>) -> Self {
        Self {
            out,
            out_at: 0,
            direct: 0,
            direct_at: 0,
            rest: Rest::Done,
            body_bytes: 0,
            blocked: false,
            retained: false,
            moved: 0,
        }
    }

    /// Keeps what it sends so that [`rewind`](Self::rewind) can send it again. Returns whether that is possible:
    /// only when all of the message is at hand.
    pub fn retain(&mut self) -> bool {
        self.retained = self.is_at_hand();
        self.retained
    }

    /// Whether nothing of the body has to be read any more.
    fn is_at_hand(&self) -> bool {
        match &self.rest {
            Rest::Done => true,
            Rest::Raw { .. } => false,
            Rest::Chunked(chunks) => chunks.done,
        }
    }

    /// Starts over, on another connection.
    pub fn rewind(&mut self) {
        self.out_at = 0;
        self.direct_at = 0;
    }

    /// Gives the bytes it kept up, and the encoder's storage for the next message.
    pub fn release(mut self, input: &mut Buffer) -> Vec<u8> {
        if self.retained {
            input.consume(self.direct);
        }
        if self.body_bytes > 0 {
            sockeye_relay::count_copied(self.body_bytes);
        }
        self.out.clear();
        self.out
    }

    /// Bytes of any kind that the receiver has accepted.
    pub fn moved(&self) -> u64 {
        self.moved + if let Rest::Raw { pump, .. } = &self.rest { pump.moved() } else { 0 }
    }

    /// Whether it waits for the receiver rather than for the sender.
    pub fn is_blocked(&self) -> bool {
        self.blocked || if let Rest::Raw { pump, .. } = &self.rest { pump.is_blocked() } else { false }
    }

    /// Sends what can be sent now; ready at the end of the message.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        src: &mut Socket,
        input: &mut Buffer,
        dst: &mut Socket,
    ) -> Poll<Result<(), MoveError>> {
        loop {
            self.blocked = true;
            ready!(self.poll_flush(cx, input, dst)).map_err(MoveError::Write)?;
            self.blocked = false;
            match &mut self.rest {
                Rest::Done => return Poll::Ready(Ok(())),
                Rest::Chunked(chunks) if chunks.done => return Poll::Ready(Ok(())),
                Rest::Raw { pump, limited } => {
                    if input.is_empty() {
                        // The pump reads into buffers of its own size from here on.
                        *input = Buffer::none();
                    }
                    return Poll::Ready(match ready!(pump.poll(cx, src, dst)) {
                        Ok(End::Limit) => Ok(()),
                        Ok(End::Eof) if *limited => Err(MoveError::Truncated),
                        Ok(End::Eof) => Ok(()),
                        Err(RelayError::Read(error)) => Err(MoveError::Read(error)),
                        Err(RelayError::Write(error)) => Err(MoveError::Write(error)),
                    });
                }
                Rest::Chunked(_) => {
                    self.out.clear();
                    self.out_at = 0;
                    if input.is_empty() {
                        if input.capacity() == 0 {
                            ready!(src.poll_read_ready(cx)).map_err(MoveError::Read)?;
                            *input = Buffer::take();
                        }
                        let n = ready!(src.poll_read(cx, input.space())).map_err(MoveError::Read)?;
                        if n == 0 {
                            return Poll::Ready(Err(MoveError::Truncated));
                        }
                        input.advance(n);
                    }
                    self.encode_chunks(input)?;
                }
            }
        }
    }

    /// Decodes the chunks in `input` and appends their new form to the output.
    fn encode_chunks(&mut self, input: &mut Buffer) -> Result<(), MoveError> {
        let Rest::Chunked(chunks) = &mut self.rest else { return Ok(()) };
        let Chunks { decoder, framed, done, rules } = &mut **chunks;
        while !*done && self.out.len() < CHUNK_OUT_BYTES {
            let bytes = input.filled();
            let (used, decoded) = decoder.decode(bytes, &rules.limits, rules.strictness)?;
            match decoded {
                Decoded::Data(range) => {
                    let data = &bytes[range];
                    self.body_bytes += data.len() as u64;
                    if *framed {
                        self.out.extend_from_slice(ChunkHeader::new(data.len() as u64).as_bytes());
                        self.out.extend_from_slice(data);
                        self.out.extend_from_slice(b"\r\n");
                    } else {
                        self.out.extend_from_slice(data);
                    }
                }
                Decoded::Done => {
                    if *framed {
                        encode_trailers(decoder.trailers(), &mut self.out);
                    }
                    *done = true;
                }
                Decoded::NeedMore => {
                    input.consume(used);
                    return Ok(());
                }
            }
            input.consume(used);
        }
        Ok(())
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Buffer,
        dst: &mut Socket,
    ) -> Poll<io::Result<()>> {
        loop {
            let head = &self.out[self.out_at..];
            let from = if self.retained { self.direct_at } else { 0 };
            let body = &input.filled()[from..from + (self.direct - self.direct_at)];
            let n = match (head.is_empty(), body.is_empty()) {
                (true, true) => return Poll::Ready(Ok(())),
                (false, true) => ready!(dst.poll_write(cx, head))?,
                (true, false) => ready!(dst.poll_write(cx, body))?,
                (false, false) => {
                    ready!(dst.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(body)]))?
                }
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.moved += n as u64;
            let of_head = n.min(head.len());
            self.out_at += of_head;
            let of_body = n - of_head;
            self.direct_at += of_body;
            self.body_bytes += of_body as u64;
            if !self.retained {
                input.consume(of_body);
            }
        }
    }
}

/// Watches a body come in, without consuming it.
#[derive(Debug, Default)]
pub struct Arrival {
    decoder: ChunkDecoder,
    /// Bytes that the decoder has seen.
    seen: usize,
    /// Bytes of content among those of the last call.
    content: u64,
}

impl Arrival {
    /// Whether `bytes`, which must start with those of the last call, hold a whole body of this length, or one that
    /// is invalid and will be refused anyway.
    pub fn is_whole(&mut self, body: BodyLength, bytes: &[u8], rules: Rules) -> bool {
        match body {
            BodyLength::None | BodyLength::Tunnel => true,
            BodyLength::Length(length) => {
                self.content = length.min(bytes.len() as u64);
                self.content == length
            }
            BodyLength::UntilClose => false,
            BodyLength::Chunked => loop {
                match self.decoder.decode(&bytes[self.seen..], &rules.limits, rules.strictness) {
                    Ok((_, Decoded::Done)) | Err(_) => return true,
                    Ok((used, Decoded::NeedMore)) => {
                        self.seen += used;
                        return false;
                    }
                    Ok((used, Decoded::Data(data))) => {
                        self.seen += used;
                        self.content += data.len() as u64;
                    }
                }
            },
        }
    }

    /// How much of the content the last call saw, framing not counted.
    pub fn content(&self) -> u64 {
        self.content
    }
}
