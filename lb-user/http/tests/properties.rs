//! Properties of whole heads: any split of the input gives the same result, what is written is a fixed point, and the
//! fuzz targets' assertions hold on mutated traffic.

use proptest::prelude::*;
use sockeye_http::h1::{
    EncodeOptions, Limits, ParseError, Strictness, encode_request, parse_request, parse_response,
};
use sockeye_http::{Method, RequestFacts, RequestHead, ResponseHead, Version};

/// Every prefix is either incomplete or gives what the whole input gives.
fn check_splits(input: &[u8], parse: impl Fn(&[u8]) -> Result<Option<(usize, Vec<u8>)>, ParseError>) {
    let whole = parse(input);
    let mut decided = false;
    for length in 0..input.len() {
        let part = parse(&input[..length]);
        if part == Ok(None) {
            assert!(!decided, "undecided again after {length} bytes of {}", input.escape_ascii());
        } else {
            decided = true;
            assert_eq!(part, whole, "after {length} bytes of {}", input.escape_ascii());
        }
    }
}

fn check_request_splits(input: &[u8], strictness: Strictness) {
    let limits = Limits { fields_max: 12, head_bytes_max: 400, ..Limits::default() };
    check_splits(input, |input| {
        let mut head = RequestHead::new();
        let consumed = parse_request(input, &mut head, &limits, strictness)?;
        Ok(consumed.map(|consumed| (consumed, format!("{head:?}").into_bytes())))
    });
}

fn check_response_splits(input: &[u8], strictness: Strictness) {
    let limits = Limits { fields_max: 12, head_bytes_max: 400, ..Limits::default() };
    let request = RequestFacts { method: Method::Get, version: Version::Http11, upgrade: true };
    check_splits(input, |input| {
        let mut head = ResponseHead::new();
        let consumed = parse_response(input, &mut head, request, &limits, strictness)?;
        Ok(consumed.map(|consumed| (consumed, format!("{head:?}").into_bytes())))
    });
}

/// Realistic heads that mutation starts from; together they hold every construct that the parser knows.
const REQUESTS: &[&[u8]] = &[
    b"GET /a/b?c=d HTTP/1.1\r\nHost: example.com:8080\r\nUser-Agent: x\r\nCookie: a=b; c\r\nAccept: */*\r\n\r\n",
    b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;e=\"q\"\r\nabc\r\n0\r\nX: y\r\n\r\n",
    b"PUT /x HTTP/1.0\r\nContent-Length: 5, 5\r\nConnection: keep-alive, X-Y\r\nX-Y: 1\r\nKeep-Alive: 5\r\n\r\nhello",
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\nHTTP2-Settings: AA\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    b"GET http://a.com:80/x?y HTTP/1.1\r\nHost: a.com\r\nTE: trailers\r\nConnection: te\r\nExpect: 100-continue\r\n\r\n",
    b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\nProxy-Connection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost:\r\nX-Folded: a\r\n b\r\n\tc\r\nX@: d\r\n\r\n",
];

const RESPONSES: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\nETag: x\r\n\r\n",
    b"HTTP/1.0 404 Not Found\r\nX-Folded: a\r\n b\r\n\r\n<html>",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    b"HTTP/1.1 304\r\nContent-Length: 10\r\nETag: \"x\"\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
];

/// Words that attacks are made of.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b"0",
    b"-1",
    b"+1",
    b"18446744073709551616",
    b"Content-Length: 3\r\n",
    b"Content-Length: 4\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"chunked",
    b"gzip, ",
    b"Host: b\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/2.0",
    b"Connection: close\r\n",
    b"\r\n\r\n",
    b"0\r\n\r\n",
    b"http://",
    b"@",
    b"#",
    b"*",
];

/// A seed changed in a few places: bytes replaced, words inserted, ranges removed.
fn mutate(random: &mut fastrand::Rng, seed: &[u8]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..=bytes.len());
        match random.u8(..4) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 if at < bytes.len() => {
                let end = (at + random.usize(1..12)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => {
                let end = (at + random.usize(1..40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.usize(..=bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => {
                let word = WORDS[random.usize(..WORDS.len())];
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn seeds_are_accepted() {
    for (index, seed) in REQUESTS.iter().enumerate() {
        let parsed = parse_request(seed, &mut RequestHead::new(), &Limits::default(), Strictness::Relaxed);
        assert!(matches!(parsed, Ok(Some(_))), "request {index}: {parsed:?}");
    }
    let request = RequestFacts { method: Method::Get, version: Version::Http11, upgrade: true };
    for (index, seed) in RESPONSES.iter().enumerate() {
        let parsed =
            parse_response(seed, &mut ResponseHead::new(), request, &Limits::default(), Strictness::Relaxed);
        assert!(matches!(parsed, Ok(Some(_))), "response {index}: {parsed:?}");
    }
}

#[test]
fn any_split_gives_the_same_result() {
    let mut random = fastrand::Rng::with_seed(2);
    for round in 0..300 {
        for strictness in [Strictness::Strict, Strictness::Relaxed] {
            let (request, response) = (REQUESTS[round % REQUESTS.len()], RESPONSES[round % RESPONSES.len()]);
            check_request_splits(request, strictness);
            check_response_splits(response, strictness);
            check_request_splits(&mutate(&mut random, request), strictness);
            check_response_splits(&mutate(&mut random, response), strictness);
        }
    }
}

#[test]
fn fuzz_targets_hold_on_mutated_traffic() {
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..20_000 {
        sockeye_http::fuzz::h1_request(&mutate(&mut random, REQUESTS[round % REQUESTS.len()]));
        sockeye_http::fuzz::h1_response(&mutate(&mut random, RESPONSES[round % RESPONSES.len()]));
    }
}

#[test]
fn fuzz_targets_hold_on_noise() {
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..5_000 {
        let noise: Vec<u8> = (0..random.usize(..120)).map(|_| random.u8(..)).collect();
        sockeye_http::fuzz::h1_request(&noise);
        sockeye_http::fuzz::h1_response(&noise);
        let words: Vec<u8> = (0..random.usize(..20))
            .flat_map(|_| WORDS[random.usize(..WORDS.len())].iter().copied())
            .collect();
        sockeye_http::fuzz::h1_request(&[b"GET / HTTP/1.1\r\n", &words[..]].concat());
        sockeye_http::fuzz::h1_response(&[b"HTTP/1.1 200 OK\r\n", &words[..]].concat());
        sockeye_http::fuzz::h1_request(
            &[b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", &words[..]].concat(),
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// A head in normal form comes out byte for byte as it went in.
    #[test]
    fn encode_after_parse_is_the_identity_on_the_normal_form(
        method in "[A-Z]{1,8}",
        path in "/[a-zA-Z0-9/?&=%._~-]{0,30}",
        fields in proptest::collection::vec(("x-[a-z0-9_-]{1,20}", "[!-~]([ -~\t]{0,30}[!-~])?"), 0..10),
        length in proptest::option::of(any::<u64>()),
    ) {
        prop_assume!(method != "CONNECT");
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: example.com\r\n");
        for (name, value) in &fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(length) = length {
            text.push_str(&format!("content-length: {length}\r\n"));
        }
        text.push_str("\r\n");
        let mut head = RequestHead::new();
        let parsed = parse_request(text.as_bytes(), &mut head, &Limits::default(), Strictness::Strict);
        prop_assert_eq!(parsed, Ok(Some(text.len())));
        let mut out = Vec::new();
        encode_request(&head, &mut out, EncodeOptions::default());
        prop_assert_eq!(String::from_utf8_lossy(&out), text);
    }
}
