//! The response to a client: bytes of HTTP/1 become heads, data and trailers.

use std::ops::Range;

use http::{HeaderMap, Response, StatusCode};
use sockeye_http::h1::{Strictness, parse_response};
use sockeye_http::{RequestFacts, ResponseHead};

use crate::body::{BodyReader, Broken, HEAD_BYTES_MAX, Piece, limits};
use crate::fields::fields_of;
use crate::request::{Kind, Translated};

/// Reads one response from bytes that come in any pieces.
#[derive(Debug)]
pub struct ResponseReader {
    facts: RequestFacts,
    kind: Kind,
    head: ResponseHead,
    /// Once the head has been read.
    body: Option<BodyReader>,
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
    Data(Range<usize>),
    /// The end, with trailers if there are any.
    End(Option<HeaderMap>),
}

impl ResponseReader {
    /// For the response to this request.
    pub fn new(request: &Translated) -> Self {
        Self { facts: request.facts, kind: request.kind, head: ResponseHead::new(), body: None }
    }

    /// Whether the head of the final response has been read.
    pub fn has_begun(&self) -> bool {
        self.body.is_some()
    }

    /// Whether all of it has been read.
    pub fn is_done(&self) -> bool {
        self.body.as_ref().is_some_and(BodyReader::is_done)
    }

    /// Looks at `input`, which starts where the last call stopped, and says how many bytes it has used and what they
    /// were. `ended`: no more will come.
    ///
    /// # Errors
    /// When it is no whole response.
    pub fn step(&mut self, input: &[u8], ended: bool) -> Result<(usize, Step), Broken> {
        let Some(body) = &mut self.body else { return self.read_head(input, ended) };
        let (used, piece) = body.step(input, ended)?;
        let step = match piece {
            Piece::NeedMore => Step::NeedMore,
            Piece::Data(range) => Step::Data(range),
            Piece::End(trailers) => Step::End(trailers),
        };
        Ok((used, step))
    }

    fn read_head(&mut self, input: &[u8], ended: bool) -> Result<(usize, Step), Broken> {
        let Some(used) = parse_response(input, &mut self.head, self.facts, &limits(), Strictness::Relaxed)?
        else {
            if input.len() >= HEAD_BYTES_MAX {
                return Err(Broken::TooLarge);
            }
            return if ended { Err(Broken::Truncated) } else { Ok((0, Step::NeedMore)) };
        };
        let response = self.response();
        if self.head.interim {
            return Ok((used, Step::Interim(response)));
        }
        let body = self.body.insert(BodyReader::new(self.head.body));
        Ok((used, Step::Head(response, body.is_done())))
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
                match reader.step(&bytes[at..seen], seen == bytes.len()) {
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
        check(Kind::Exchange, Method::Get, "HTTP/1.1 200 OK\r\ncont", "! the message ended early");
        check(
            Kind::Exchange,
            Method::Get,
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
            r#"200 {"content-length": "9"} ! the message ended earlyabc"#,
        );
        check(
            Kind::Exchange,
            Method::Get,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
            "200 {} ! the message ended earlyab",
        );
    }
}
