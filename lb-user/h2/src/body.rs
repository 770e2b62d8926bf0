//! The body of an HTTP/1 message, out of bytes that come in any pieces.

use std::ops::Range;

use http::HeaderMap;
use sockeye_http::BodyLength;
use sockeye_http::h1::{ChunkDecoder, Decoded, Limits, ParseError, Strictness};

use crate::fields::fields_of;

/// Bytes of one head: rules may have made it larger than what is accepted from a peer.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of one head, for the same reason.
const FIELDS_MAX: usize = 1_024;

/// Why there is no whole message.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Invalid(#[from] ParseError),
    #[error("the message ended early")]
    Truncated,
    #[error("the head is larger than {HEAD_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the target is not one of HTTP/2")]
    Target,
}

/// What the next bytes of a body are.
#[derive(Debug)]
pub(crate) enum Piece {
    NeedMore,
    /// Content, at this range of the input, inside the bytes used.
    Data(Range<usize>),
    End(Option<HeaderMap>),
}

/// Where in a body the reader is.
#[derive(Debug, Default)]
pub(crate) struct BodyReader {
    state: State,
    decoder: ChunkDecoder,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    Length(u64),
    Chunked,
    UntilClose,
    #[default]
    Done,
}

impl BodyReader {
    pub(crate) fn new(body: BodyLength) -> Self {
        let state = match body {
            BodyLength::None | BodyLength::Length(0) => State::Done,
            BodyLength::Length(length) => State::Length(length),
            BodyLength::Chunked => State::Chunked,
            BodyLength::UntilClose | BodyLength::Tunnel => State::UntilClose,
        };
        Self { state, decoder: ChunkDecoder::new() }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Looks at `input` and says how many bytes of it are used and what they are. `ended`: no more will come.
    pub(crate) fn step(&mut self, input: &[u8], ended: bool) -> Result<(usize, Piece), Broken> {
        let over = ended && input.is_empty();
        match self.state {
            State::Length(_) | State::Chunked if over => Err(Broken::Truncated),
            State::UntilClose if over => {
                self.state = State::Done;
                Ok((0, Piece::End(None)))
            }
            State::Done => Ok((0, Piece::End(None))),
            _ if input.is_empty() => Ok((0, Piece::NeedMore)),
            State::Length(left) => {
                let n = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
                let left = left - n as u64;
                self.state = if left == 0 { State::Done } else { State::Length(left) };
                Ok((n, Piece::Data(0..n)))
            }
            State::UntilClose => Ok((input.len(), Piece::Data(0..input.len()))),
            State::Chunked => match self.decoder.decode(input, &limits(), Strictness::Relaxed)? {
                (used, Decoded::Data(range)) => Ok((used, Piece::Data(range))),
                (used, Decoded::NeedMore) => Ok((used, Piece::NeedMore)),
                (used, Decoded::Done) => {
                    self.state = State::Done;
                    let trailers = self.decoder.trailers();
                    Ok((used, Piece::End((!trailers.is_empty()).then(|| fields_of(trailers, |_, _| true)))))
                }
            },
        }
    }
}

/// How heads are read that our own encoder wrote, or an error page of the configuration's.
pub(crate) fn limits() -> Limits {
    Limits { fields_max: FIELDS_MAX, head_bytes_max: HEAD_BYTES_MAX, ..Limits::default() }
}
