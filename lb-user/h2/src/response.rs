//! The response to a client: bytes of HTTP/1 become heads, data and trailers.

use http::{HeaderMap, Response, StatusCode};
use sockeye_http::h1::{ChunkDecoder, Decoded, Limits, ParseError, Strictness, parse_response};
use sockeye_http::{BodyLength, RequestFacts, ResponseHead};

use crate::fields::fields_of;
use crate::request::{Kind, Translated};

/// Bytes of one head: rules may have made it larger than what is accepted from a server.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of one head, for the same reason.
const FIELDS_MAX: usize = 1_024;

/// Reads one response from bytes that come in any pieces.
#[derive(Debug)]
pub struct ResponseReader {
    facts: RequestFacts,
    kind: Kind,
    head: ResponseHead,
    decoder: ChunkDecoder,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Head,
    Length(u64),
    Chunked,
    UntilClose,
    Done,
}

/// What the next bytes are.
#[derive(Debug)]
pub enum Step {
    /// Not enough to say.
    NeedMore,
    /// A 1xx response; another follows.
    Interim(Response<()>),
    /// The response, and whether it ends with its head.
    Head(Response<()>, bool),
    /// Content, at this range of the input, inside the bytes used.
    Data(std::ops::Range<usize>),
    /// The end, with trailers if there are any.
    End(Option<HeaderMap>),
}

/// Why there is no whole response.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Invalid(#[from] ParseError),
    #[error("the response ended early")]
    Truncated,
    #[error("the head is larger than {HEAD_BYTES_MAX} bytes")]
    TooLarge,
}

impl ResponseReader {
    /// For the response to this request.
    pub fn new(request: &Translated) -> Self {
        Self {
            facts: request.facts,
            kind: request.kind,
            head: ResponseHead::new(),
            decoder: ChunkDecoder::new(),
            state: State::Head,
        }
    }

    /// Whether the head of the final response has been read.
    pub fn has_begun(&self) -> bool {
        self.state != State::Head
    }

    /// Whether all of it has been read.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Looks at `input`, which starts where the last call stopped, and says how many bytes it has used and what they
    /// were. `ended`: no more will come. At most `data_max` bytes of content are taken at a time.
    ///
    /// # Errors
    /// When it is no whole response.
    pub fn step(&mut self, input: &[u8], ended: bool, data_max: usize) -> Result<(usize, Step), Broken> {
        match self.state {
            State::Head => self.read_head(input, ended),
            State::Length(left) => {
                let n = input.len().min(data_max).min(usize::try_from(left).unwrap_or(usize::MAX));
                if n == 0 {
                    return if ended && input.is_empty() { Err(Broken::Truncated) } else { Ok((0, Step::NeedMore)) };
                }
                let left = left - n as u64;
                self.state = if left == 0 { State::Done } else { State::Length(left) };
                Ok((n, Step::Data(0..n)))
            }
            State::UntilClose => {
                let n = input.len().min(data_max);
                if n > 0 {
                    return Ok((n, Step::Data(0..n)));
                }
                if ended && input.is_empty() {
                    self.state = State::Done;
                    return Ok((0, Step::End(None)));
                }
                Ok((0, Step::NeedMore))
            }
            State::Chunked => {
                let input = &input[..input.len().min(data_max)];
                match self.decoder.decode(input, &limits(), Strictness::Relaxed)? {
                    (used, Decoded::Data(range)) => Ok((used, Step::Data(range))),
                    (used, Decoded::Done) => {
                        self.state = State::Done;
                        let trailers = self.decoder.trailers();
                        let trailers =
                            (!trailers.is_empty()).then(|| fields_of(trailers, |_, _| true));
                        Ok((used, Step::End(trailers)))
                    }
                    (_, Decoded::NeedMore) if ended && input.is_empty() => Err(Broken::Truncated),
                    (used, Decoded::NeedMore) => Ok((used, Step::NeedMore)),
                }
            }
            State::Done => Ok((0, Step::End(None))),
        }
    }

    fn read_head(&mut self, input: &[u8], ended: bool) -> Result<(usize, Step), Broken> {
        let Some(used) = parse_response(input, &mut self.head, self.facts, &limits(), Strictness::Relaxed)? else {
            if input.len() >= HEAD_BYTES_MAX {
                return Err(Broken::TooLarge);
            }
            return if ended { Err(Broken::Truncated) } else { Ok((0, Step::NeedMore)) };
        };
        let response = self.response();
        if self.head.interim {
            return Ok((used, Step::Interim(response)));
        }
        self.state = match self.head.body {
            BodyLength::None | BodyLength::Length(0) => State::Done,
            BodyLength::Length(length) => State::Length(length),
            BodyLength::Chunked => State::Chunked,
            BodyLength::UntilClose | BodyLength::Tunnel => State::UntilClose,
        };
        Ok((used, Step::Head(response, self.state == State::Done)))
    }

    fn response(&self) -> Response<()> {
        let switched = self.kind == Kind::WebSocket && self.head.status() == 101;
        let mut response = Response::new(());
        // RFC 8441 §5: "A 2xx response is used instead of a 101".
        let status = if switched { 200 } else { self.head.status() };
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        *response.headers_mut() =
            fields_of(self.head.headers(), |name, _| !(switched && name == b"sec-websocket-accept"));
        response
    }
}

fn limits() -> Limits {
    Limits { fields_max: FIELDS_MAX, head_bytes_max: HEAD_BYTES_MAX, ..Limits::default() }
}

#[cfg(test)]
mod tests {
    use sockeye_http::{Method, Version};

    use super::*;

    /// What a response becomes, however it is split.
    fn check(kind: Kind, method: Method, input: &str, expected: &str) {
        let facts = RequestFacts { method, version: Version::Http11, upgrade: kind == Kind::WebSocket };
        for piece in [1, 7, usize::MAX] {
            let mut reader = ResponseReader::new(&Translated { kind, chunked: false, facts });
            let bytes = input.as_bytes();
            let (mut at, mut seen, mut out, mut data) = (0, 0, String::new(), Vec::new());
            loop {
                match reader.step(&bytes[at..seen], seen == bytes.len(), 1_000) {
                    Err(error) => {
                        out += &format!("! {error}");
                        break;
                    }
                    Ok((used, step)) => {
                        let start = at;
                        at += used;
                        match step {
                            Step::NeedMore if seen == bytes.len() && at == seen => {}
                            Step::NeedMore => seen = seen.saturating_add(piece).min(bytes.len()),
                            Step::Interim(response) => out += &format!("interim {} ", shown(&response)),
                            Step::Head(response, ended) => {
                                out += &format!("{} ", shown(&response));
                                if ended {
                                    break;
                                }
                            }
                            Step::Data(range) => {
                                data.extend_from_slice(&bytes[start..][range]);
                                if reader.is_done() {
                                    break;
                                }
                            }
                            Step::End(trailers) => {
                                out += &format!("end {trailers:?} ");
                                break;
                            }
                        }
                    }
                }
            }
            out += &String::from_utf8(data).unwrap();
            assert_eq!(out, expected, "{input:?} in pieces of {piece}");
        }
    }

    fn shown(response: &Response<()>) -> String {
        format!("{} {:?}", response.status().as_u16(), response.headers())
    }

    #[test]
    fn responses() {
        use Kind::*;
        check(
            Exchange,
            Method::Get,
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nConnection: close\r\nX: y\r\n\r\nabc",
            r#"200 {"content-length": "3", "x": "y"} abc"#,
        );
        check(
            Exchange,
            Method::Get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nt: 1\r\n\r\n",
            r#"200 {} end Some({"t": "1"}) abcde"#,
        );
        check(Exchange, Method::Get, "HTTP/1.0 503 No\r\n\r\nbody", r#"503 {} end None body"#);
        check(
            Exchange,
            Method::Head,
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n",
            r#"200 {"content-length": "3"} "#,
        );
        check(
            Exchange,
            Method::Get,
            "HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
            r#"interim 103 {"link": "x"} 204 {} "#,
        );
        check(
            WebSocket,
            Method::Get,
            "HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: p\r\n\r\nraw",
            r#"200 {"sec-websocket-protocol": "p"} end None raw"#,
        );
        check(Tunnel, Method::Connect, "HTTP/1.1 200 OK\r\n\r\nraw", "200 {} end None raw");
    }

    #[test]
    fn broken_responses() {
        check(Kind::Exchange, Method::Get, "HTTP/1.1 200 OK\r\ncont", "! the response ended early");
        check(
            Kind::Exchange,
            Method::Get,
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
            r#"200 {"content-length": "9"} ! the response ended earlyabc"#,
        );
        check(
            Kind::Exchange,
            Method::Get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
            "200 {} ! the response ended earlyab",
        );
    }
}
