//! The answer to an HTTP check as it arrives: head, then as much of the body as is kept.

use sockeye_http::h1::{ChunkDecoder, Decoded, Limits, Strictness, parse_response};
use sockeye_http::{BodyLength, Method, RequestFacts, ResponseHead, Version};

/// One response being read.
///
/// It is only looked at, never passed on, so the parser is as tolerant as it can be.
#[derive(Debug)]
pub struct HttpResponse {
    request: RequestFacts,
    bytes_max: usize,
    /// What was received of the head.
    raw: Vec<u8>,
    head: ResponseHead,
    body: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    Chunked(Box<ChunkDecoder>),
    UntilClose,
    Complete,
    /// The body breaks its own framing.
    Broken,
}

/// The head is no HTTP response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed response head")]
pub struct Malformed;

impl HttpResponse {
    /// `is_head`: the request was HEAD, whose answer has no body. Head and body keep at most `bytes_max` bytes each.
    pub fn new(is_head: bool, bytes_max: usize) -> Self {
        let method = if is_head { Method::Head } else { Method::Get };
        Self {
            request: RequestFacts { method, version: Version::Http11, upgrade: true },
            bytes_max,
            raw: Vec::new(),
            head: ResponseHead::new(),
            body: Vec::new(),
            state: State::Head,
        }
    }

    /// Takes the next bytes of the connection.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if !matches!(self.state, State::Head) {
            self.push_body(bytes);
            return Ok(());
        }
        self.raw.extend_from_slice(bytes);
        let limits = Limits { head_bytes_max: self.bytes_max, ..Limits::default() };
        let parsed = parse_response(&self.raw, &mut self.head, self.request, &limits, Strictness::Relaxed);
        let Some(consumed) = parsed.map_err(|_| Malformed)? else { return Ok(()) };
        self.state = match self.head.body {
            _ if self.head.interim => State::Complete,
            BodyLength::None | BodyLength::Length(0) | BodyLength::Tunnel => State::Complete,
            BodyLength::Length(bytes) => State::Length(bytes),
            BodyLength::Chunked => State::Chunked(Box::default()),
            BodyLength::UntilClose => State::UntilClose,
        };
        let rest = self.raw.split_off(consumed);
        self.raw = Vec::new();
        self.push_body(&rest);
        Ok(())
    }

    /// The server sends no more.
    pub fn end(&mut self) -> Result<(), Malformed> {
        if matches!(self.state, State::Head) {
            return Err(Malformed);
        }
        if !matches!(self.state, State::Broken) {
            self.state = State::Complete;
        }
        Ok(())
    }

    /// The head, once it is complete.
    pub fn head(&self) -> Option<&ResponseHead> {
        (!matches!(self.state, State::Head)).then_some(&self.head)
    }

    /// The part of the body that is kept, without its transfer coding.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// No further byte can change a verdict: the body is over, cannot go on, or fills the space there is.
    pub fn is_final(&self) -> bool {
        matches!(self.state, State::Complete | State::Broken) || self.body.len() >= self.bytes_max
    }

    /// The body breaks its own framing.
    pub fn is_broken(&self) -> bool {
        matches!(self.state, State::Broken)
    }

    /// Nothing has arrived.
    pub fn is_empty(&self) -> bool {
        matches!(self.state, State::Head) && self.raw.is_empty()
    }

    fn push_body(&mut self, mut bytes: &[u8]) {
        match &mut self.state {
            State::Head | State::Complete | State::Broken => {}
            State::UntilClose => keep(&mut self.body, bytes, self.bytes_max),
            State::Length(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                keep(&mut self.body, &bytes[..taken], self.bytes_max);
                *left -= taken as u64;
                if *left == 0 {
                    self.state = State::Complete;
                }
            }
            State::Chunked(decoder) => loop {
                match decoder.decode(bytes, &Limits::default(), Strictness::Strict) {
                    Ok((consumed, Decoded::Data(data))) => {
                        keep(&mut self.body, &bytes[data], self.bytes_max);
                        bytes = &bytes[consumed..];
                    }
                    Ok((_, Decoded::NeedMore)) => break,
                    Ok((_, Decoded::Done)) => {
                        self.state = State::Complete;
                        break;
                    }
                    Err(_) => {
                        self.state = State::Broken;
                        break;
                    }
                }
            },
        }
    }
}

fn keep(body: &mut Vec<u8>, bytes: &[u8], bytes_max: usize) {
    let space = bytes_max.saturating_sub(body.len());
    body.extend_from_slice(&bytes[..bytes.len().min(space)]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `text` in two pieces split at each place; `end` closes afterwards.
    fn check(text: &str, end: bool, expected: &str) {
        for at in 0..=text.len() {
            let mut response = HttpResponse::new(false, 512);
            let mut fed = response.push(&text.as_bytes()[..at]);
            if fed.is_ok() {
                fed = response.push(&text.as_bytes()[at..]);
            }
            if end && fed.is_ok() {
                fed = response.end();
            }
            assert_eq!(render(fed, &response), expected, "{text:?} split at {at}");
        }
    }

    fn render(fed: Result<(), Malformed>, response: &HttpResponse) -> String {
        if fed.is_err() {
            return "malformed".to_owned();
        }
        let Some(head) = response.head() else { return "head".to_owned() };
        let state = if response.is_broken() {
            "broken"
        } else if response.is_final() {
            "final"
        } else {
            "open"
        };
        let body = String::from_utf8_lossy(response.body());
        format!("{} [{}] {state} {body:?}", head.status(), String::from_utf8_lossy(head.reason()))
    }

    #[test]
    fn responses() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, "200 [OK] final \"abc\"");
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", false, "200 [OK] final \"abc\"");
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", false, "200 [OK] open \"abc\"");
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", true, "200 [OK] final \"abc\"");
        check("HTTP/1.0 200 OK\r\n\r\nabc", false, "200 [OK] open \"abc\"");
        check("HTTP/1.0 200 OK\r\n\r\nabc", true, "200 [OK] final \"abc\"");
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
            false,
            "200 [OK] final \"abcdef\"",
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, "200 [OK] broken \"\"");
        check("HTTP/1.1 503 \r\nContent-Length: 0\r\n\r\n", false, "503 [] final \"\"");
        check("HTTP/1.1 204 No\r\n\r\nxx", false, "204 [No] final \"\"");
        check("HTTP/1.1 200 O", false, "head");
        check("HTTP/1.1 200 O", true, "malformed");
        check("garbage\r\n\r\n", false, "malformed");
        check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", false, "malformed");
        check(&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(600)), false, "malformed");
        check(
            &format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(600)),
            false,
            &format!("200 [OK] final {:?}", "x".repeat(512)),
        );
    }

    #[test]
    fn head_has_no_body() {
        let mut response = HttpResponse::new(true, 512);
        let fed = response.push(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
        assert_eq!(render(fed, &response), "200 [OK] final \"\"");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever arrives, in whatever pieces, memory stays bounded and nothing panics.
        #[test]
        fn anything_is_bounded(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..12), start in any::<bool>()) {
            let mut response = HttpResponse::new(false, 512);
            if start {
                response.push(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            }
            for piece in pieces {
                if response.push(&piece).is_err() {
                    break;
                }
                prop_assert!(response.body().len() <= 512 && response.raw.len() <= 512 + 200);
            }
        }
    }
}
