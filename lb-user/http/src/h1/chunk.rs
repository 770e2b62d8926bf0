//! Chunked bodies (RFC 9112 §7.1), both ways.
//!
//! The decoder is a state machine over whatever slices arrive; data is never copied, only pointed at. Extensions are
//! checked and dropped ("A recipient MUST ignore unrecognized chunk extensions"), trailers are read like any fields and
//! stripped of those that must not be there. The encoder writes what goes around data that stays where it is:
//! `writev([chunk header, data, CRLF])`.

use std::ops::Range;

use super::error::{ParseError, Violation};
use super::lines::Lines;
use super::parse::{Limits, Strictness};
use crate::headers::Headers;

/// What [`ChunkDecoder::decode`] found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decoded {
    /// Everything was consumed and the body goes on.
    NeedMore,
    /// Body bytes at this range of the input.
    Data(Range<usize>),
    /// The body is over; trailers, if any, are in [`ChunkDecoder::trailers`].
    Done,
}

/// Decodes one chunked body.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    state: State,
    /// Digits of the size read so far.
    digits: u8,
    /// Size being read, then bytes of the chunk still to come.
    remaining: u64,
    /// Bytes of white space and extension on this size line.
    extension_bytes: usize,
    /// Trailer lines as received; a body without trailers never allocates it.
    trailer_text: Vec<u8>,
    trailers: Headers,
}

/// One state per place in the grammar; names say what comes next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Size,
    /// White space after the size or around an extension's parts.
    BeforeExtension,
    ExtensionNameStart,
    ExtensionName,
    AfterExtensionName,
    ExtensionValueStart,
    ExtensionValue,
    ExtensionQuoted,
    ExtensionQuotedEscape,
    SizeLineFeed,
    Data,
    DataCarriageReturn,
    DataLineFeed,
    /// At the start of a trailer line.
    Trailers,
    Done,
}

/// Hexadecimal digits of a chunk size. 15 digits are 2^60 - 1 bytes; leading zeros count.
const SIZE_DIGITS_MAX: u8 = 15;
/// White space and extension of one chunk: legitimate ones are signatures of some dozen bytes, and a peer that sends
/// megabytes of extensions around one byte of data must not keep us busy.
const EXTENSION_BYTES_MAX: usize = 1024;

impl ChunkDecoder {
    /// At the start of a body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Back to the start of a body, keeping storage.
    pub fn reset(&mut self) {
        let (mut trailer_text, mut trailers) =
            (std::mem::take(&mut self.trailer_text), std::mem::take(&mut self.trailers));
        trailer_text.clear();
        trailers.clear();
        *self = Self { trailer_text, trailers, ..Self::default() };
    }

    /// True after [`Decoded::Done`].
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of the current chunk still to come: while positive, that many raw bytes may be moved by other means
    /// (splice) and be accounted with [`Self::skip_data`].
    pub fn data_remaining(&self) -> u64 {
        if self.state == State::Data { self.remaining } else { 0 }
    }

    /// Accounts for `bytes` of the current chunk that were moved past the decoder; at most [`Self::data_remaining`].
    pub fn skip_data(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.data_remaining());
        if self.state == State::Data {
            self.remaining -= bytes.min(self.remaining);
            if self.remaining == 0 {
                self.state = State::DataCarriageReturn;
            }
        }
    }

    /// The trailers that may go on, once done.
    pub fn trailers(&self) -> &Headers {
        &self.trailers
    }

    /// Looks at `input` and returns how many of its bytes were consumed and what they were. Call again with the rest
    /// until [`Decoded::NeedMore`] or [`Decoded::Done`]; bytes after `Done` belong to the next message.
    /// [`Decoded::Data`] ranges are inside the consumed bytes.
    ///
    /// # Errors
    /// The first violation; the message is broken and the connection must be closed.
    pub fn decode(
        &mut self,
        input: &[u8],
        limits: &Limits,
        strictness: Strictness,
    ) -> Result<(usize, Decoded), ParseError> {
        let mut position = 0;
        while position < input.len() {
            match self.state {
                State::Data => {
                    let available = input.len() - position;
                    let length =
                        usize::try_from(self.remaining).map_or(available, |left| left.min(available));
                    self.skip_data(length as u64);
                    let end = position + length;
                    return Ok((end, Decoded::Data(position..end)));
                }
                State::Trailers => {
                    return self.trailer_lines(&input[position..], limits, strictness).map_or_else(
                        |error| Err(ParseError { position: error.position + position, ..error }),
                        |(consumed, decoded)| Ok((position + consumed, decoded)),
                    );
                }
                State::Done => return Ok((position, Decoded::Done)),
                state => {
                    self.state = self
                        .step(state, input[position])
                        .map_err(|violation| ParseError::new(violation, position))?;
                    position += 1;
                }
            }
        }
        Ok((position, if self.state == State::Done { Decoded::Done } else { Decoded::NeedMore }))
    }

    /// One byte outside of data and trailers.
    fn step(&mut self, state: State, byte: u8) -> Result<State, Violation> {
        use State as S;
        let next = match (state, byte) {
            (S::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.digits == SIZE_DIGITS_MAX {
                    return Err(Violation::ChunkSizeOverflow);
                }
                self.digits += 1;
                self.remaining = self.remaining << 4 | u64::from(hexadecimal(byte));
                return Ok(S::Size);
            }
            (S::Size, _) if self.digits == 0 => return Err(Violation::BadChunkSize),
            // RFC 9112 §7.1.1 has white space only before ";", but old servers pad sizes with spaces and HAProxy reads
            // them: all agree on the size.
            (S::Size | S::BeforeExtension, b' ' | b'\t') => S::BeforeExtension,
            (
                S::Size | S::BeforeExtension | S::AfterExtensionName | S::ExtensionName | S::ExtensionValue,
                b';',
            ) => S::ExtensionNameStart,
            (S::Size | S::BeforeExtension | S::ExtensionName | S::ExtensionValue, b'\r') => {
                self.extension_bytes = 0;
                return Ok(S::SizeLineFeed);
            }
            (S::ExtensionNameStart | S::AfterExtensionName | S::ExtensionValueStart, b' ' | b'\t') => state,
            (S::ExtensionNameStart | S::ExtensionName, byte) if crate::scan::is_token_byte(byte) => {
                S::ExtensionName
            }
            (S::ExtensionName, b' ' | b'\t') => S::AfterExtensionName,
            (S::ExtensionName | S::AfterExtensionName, b'=') => S::ExtensionValueStart,
            (S::ExtensionValueStart, b'"') => S::ExtensionQuoted,
            (S::ExtensionValueStart | S::ExtensionValue, byte) if crate::scan::is_token_byte(byte) => {
                S::ExtensionValue
            }
            (S::ExtensionValue, b' ' | b'\t') => S::BeforeExtension,
            (S::ExtensionQuoted, b'\\') => S::ExtensionQuotedEscape,
            // A closed quote ends the value: only white space, ";" or the end of the line may follow.
            (S::ExtensionQuoted, b'"') => S::BeforeExtension,
            (S::ExtensionQuoted | S::ExtensionQuotedEscape, b'\t' | b' '..=b'~' | 0x80..) => {
                S::ExtensionQuoted
            }
            (S::SizeLineFeed, b'\n') => {
                self.digits = 0;
                return Ok(if self.remaining == 0 { S::Trailers } else { S::Data });
            }
            (S::DataCarriageReturn, b'\r') => return Ok(S::DataLineFeed),
            (S::DataLineFeed, b'\n') => return Ok(S::Size),
            (S::DataCarriageReturn | S::DataLineFeed, _) => return Err(Violation::BadChunkEnd),
            (S::SizeLineFeed, _) => return Err(Violation::BareCr),
            (_, b'\n') => return Err(Violation::BareLf),
            (S::Size, _) => return Err(Violation::BadChunkSize),
            _ => return Err(Violation::BadChunkExtension),
        };
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err(Violation::ChunkExtensionTooLong);
        }
        Ok(next)
    }

    /// Gathers trailer lines until the empty one, then reads them like header fields.
    fn trailer_lines(
        &mut self,
        input: &[u8],
        limits: &Limits,
        strictness: Strictness,
    ) -> Result<(usize, Decoded), ParseError> {
        // No trailers, all at once: nearly every body ends here.
        if self.trailer_text.is_empty() && input.starts_with(b"\r\n") {
            self.state = State::Done;
            return Ok((2, Decoded::Done));
        }
        let mut position = 0;
        while position < input.len() {
            let rest = &input[position..];
            let (length, complete) = match memchr::memchr(b'\n', rest) {
                Some(length) => (length + 1, true),
                None => (rest.len(), false),
            };
            if self.trailer_text.len() + length > limits.head_bytes_max {
                return Err(ParseError::new(Violation::TrailersTooLarge, position));
            }
            self.trailer_text.extend_from_slice(&rest[..length]);
            position += length;
            if complete && ends_with_empty_line(&self.trailer_text) {
                self.read_trailers(limits, strictness)
                    // Positions inside trailers count from their start, which may lie in an earlier slice.
                    .map_err(|violation| ParseError::new(violation, position - 1))?;
                self.state = State::Done;
                return Ok((position, Decoded::Done));
            }
        }
        Ok((position, Decoded::NeedMore))
    }

    fn read_trailers(&mut self, limits: &Limits, strictness: Strictness) -> Result<(), Violation> {
        let mut lines = Lines { bytes: &self.trailer_text, position: 0, strictness };
        let folded = lines
            .fields(0, &mut self.trailers.fields, limits.fields_max)
            .map_err(|error| error.violation)?
            // The caller saw the empty line.
            .ok_or(Violation::BareLf)?;
        self.trailers.text.extend_from_slice(&self.trailer_text);
        folded.finish(&mut self.trailers);
        self.trailers.retain(|name, _| !is_forbidden_trailer(name));
        Ok(())
    }
}

/// True when the text's last line is empty: with CRLF, or in any way that the line reader will judge.
fn ends_with_empty_line(text: &[u8]) -> bool {
    text == b"\r\n" || text == b"\n" || text.ends_with(b"\n\r\n") || text.ends_with(b"\n\n")
}

/// RFC 9110 §6.5.1: no trailer may carry "message framing, routing, request modifiers, authentication, response control
/// data, or content format". HAProxy drops content-length; we drop them all, so that a server that merges trailers into
/// its header fields is not fooled.
fn is_forbidden_trailer(name: &[u8]) -> bool {
    name.starts_with(b"content-")
        || name.starts_with(b"if-")
        || name.starts_with(b"proxy-")
        || name.starts_with(b"x-forwarded-")
        || name.starts_with(b"sec-")
        || matches!(
            name,
            b"age"
                | b"authorization"
                | b"cache-control"
                | b"connection"
                | b"cookie"
                | b"date"
                | b"expect"
                | b"expires"
                | b"forwarded"
                | b"host"
                | b"http2-settings"
                | b"keep-alive"
                | b"location"
                | b"max-forwards"
                | b"pragma"
                | b"range"
                | b"retry-after"
                | b"set-cookie"
                | b"te"
                | b"trailer"
                | b"transfer-encoding"
                | b"upgrade"
                | b"vary"
                | b"via"
                | b"warning"
                | b"www-authenticate"
        )
}

fn hexadecimal(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// The bytes before a chunk's data: the size in hexadecimal and CRLF, made on the stack.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHeader {
    bytes: [u8; CHUNK_HEADER_BYTES_MAX],
    start: u8,
}

/// 16 hexadecimal digits and CRLF.
pub const CHUNK_HEADER_BYTES_MAX: usize = 18;

/// Ends a body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl ChunkHeader {
    /// For a chunk of `length` bytes. 0 would end the body: write [`LAST_CHUNK`] or [`encode_trailers`] for that.
    pub fn new(length: u64) -> Self {
        debug_assert!(length > 0, "an empty chunk ends the body");
        let mut bytes = [b'0'; CHUNK_HEADER_BYTES_MAX];
        bytes[16] = b'\r';
        bytes[17] = b'\n';
        let mut start = 16usize;
        let mut value = length;
        loop {
            start -= 1;
            bytes[start] = b"0123456789abcdef"[(value & 15) as usize];
            value >>= 4;
            if value == 0 {
                break;
            }
        }
        // start is below 16.
        Self { bytes, start: u8::try_from(start).unwrap_or(0) }
    }

    /// The bytes to write.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start as usize..]
    }
}

/// Appends the last chunk, the trailers, and the empty line.
pub fn encode_trailers(trailers: &Headers, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.iter() {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
