//! Responses that must not go on: the client gets 502 instead. A server that can be made to send one of these would
//! otherwise poison the connection for the next client.

use sockeye_http::h1::Violation as V;
use sockeye_http::h1::{Limits, Strictness, parse_response};
use sockeye_http::{BodyLength, Method, RequestFacts, ResponseHead, Version};

const GET: RequestFacts = RequestFacts { method: Method::Get, version: Version::Http11, upgrade: false };
const UPGRADE: RequestFacts = RequestFacts { upgrade: true, ..GET };

fn violation(input: &[u8], request: RequestFacts, strictness: Strictness) -> Result<Option<usize>, V> {
    parse_response(input, &mut ResponseHead::new(), request, &Limits::default(), strictness)
        .map_err(|error| error.violation)
}

fn check(expected: V, inputs: &[&[u8]]) {
    for input in inputs {
        assert_eq!(violation(input, GET, Strictness::Strict), Err(expected), "{}", input.escape_ascii());
    }
}

fn check_fields(expected: V, fields: &[&[u8]]) {
    for field in fields {
        check(expected, &[&[b"HTTP/1.1 200 OK\r\n", *field, b"\r\n\r\n"].concat()]);
    }
}

#[test]
fn status_lines() {
    check(
        V::BadVersion,
        &[
            b"hello\r\n\r\n",
            b"http/1.1 200 OK\r\n\r\n",
            b" HTTP/1.1 200 OK\r\n\r\n",
            b"\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/11 200 OK\r\n\r\n",
            b"HTTP/1.10 200 OK\r\n\r\n",
            b"HTTP/1. 200 OK\r\n\r\n",
            b"HTTP/ 200 OK\r\n\r\n",
            b"HTTP/1.1\t200 OK\r\n\r\n",
            b"ICY 200 OK\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x15\x03\x03\x00\x02\x02\x46",
            b"220 smtp ready\r\n",
            b"HTTPS/1.1 200 OK\r\n\r\n",
        ],
    );
    check(V::UnsupportedVersion, &[b"HTTP/2.0 200 OK\r\n\r\n", b"HTTP/0.9 200 OK\r\n\r\n"]);
    check(
        V::BadStatus,
        &[
            b"HTTP/1.1\r\n\r\n",
            b"HTTP/1.1 \r\n\r\n",
            b"HTTP/1.1  200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 099 OK\r\n\r\n",
            b"HTTP/1.1 000 OK\r\n\r\n",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"HTTP/1.1 +20 OK\r\n\r\n",
            b"HTTP/1.1 -20 OK\r\n\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1 200OK\r\n\r\n",
            b"HTTP/1.1 200\tOK\r\n\r\n",
        ],
    );
    check(
        V::BadReason,
        &[b"HTTP/1.1 200 O\0K\r\n\r\n", b"HTTP/1.1 200 O\x7fK\r\n\r\n", b"HTTP/1.1 200 \x1b[1m\r\n\r\n"],
    );
    check(V::BareCr, &[b"HTTP/1.1 200 O\rK\r\n\r\n", b"HTTP/1.1\r 200 OK\r\n\r\n"]);
    check(
        V::BareLf,
        &[b"HTTP/1.1 200 OK\n\n", b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n", b"HTTP/1.1 200 OK\r\n\n"],
    );
}

#[test]
fn fields() {
    check_fields(V::ObsFold, &[b" X: v", b"X: a\r\n b", b"X: a\r\n\tb"]);
    check_fields(V::MissingColon, &[b"nocolon", b"X y"]);
    check_fields(V::EmptyFieldName, &[b": v"]);
    check_fields(V::SpaceBeforeColon, &[b"X : v", b"Content-Length : 3", b"Transfer-Encoding\t: chunked"]);
    check_fields(V::BadFieldName, &[b"X@: v", b"X\0: v", b"X\xe9: v", b"Content Length: 3"]);
    check_fields(V::BadFieldValue, &[b"X: \0", b"X: a\x01", b"X: a\x7f", b"Set-Cookie: a=\x0bb"]);
    check_fields(V::BareCr, &[b"X: a\rSet-Cookie: b", b"X: a\r", b"X\r: a"]);
    let many = b"X: y\r\n".repeat(102);
    check(V::TooManyFields, &[&[b"HTTP/1.1 200 OK\r\n", &many[..], b"\r\n"].concat()]);
    let large = b"x".repeat(16_384);
    check(V::HeadTooLarge, &[&[b"HTTP/1.1 200 OK\r\nX: ", &large[..], b"\r\n\r\n"].concat()]);
}

#[test]
fn framing() {
    check_fields(
        V::BadContentLength,
        &[
            b"Content-Length:",
            b"Content-Length: +3",
            b"Content-Length: -3",
            b"Content-Length: 0x3",
            b"Content-Length: 3 3",
            b"Content-Length: 3,",
            b"Content-Length: three",
        ],
    );
    check_fields(
        V::ContentLengthConflict,
        &[
            b"Content-Length: 3, 4",
            b"Content-Length: 3\r\nContent-Length: 4",
            b"Content-Length: 3\r\ncontent-length: 0",
        ],
    );
    check_fields(V::ContentLengthOverflow, &[b"Content-Length: 18446744073709551616"]);
    check_fields(
        V::BadTransferEncoding,
        &[
            b"Transfer-Encoding:",
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding: cow",
            b"Transfer-Encoding: ,chunked",
            b"Transfer-Encoding: chunked;q=1",
        ],
    );
    check_fields(
        V::ChunkedNotLast,
        &[
            b"Transfer-Encoding: chunked, chunked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked, gzip",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        ],
    );
    check_fields(
        V::UnsupportedTransferCoding,
        &[b"Transfer-Encoding: gzip", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity"],
    );
}

#[test]
fn switching_protocols() {
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";
    check(V::UnaskedUpgrade, &[switch, b"HTTP/1.1 101 x\r\n\r\n"]);
    let asked = |input: &[u8]| violation(input, UPGRADE, Strictness::Strict);
    assert_eq!(asked(switch), Ok(Some(switch.len())));
    for unasked in [
        &b"HTTP/1.1 101 x\r\n\r\n"[..],
        b"HTTP/1.1 101 x\r\nUpgrade: foo\r\n\r\n",
        b"HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.0 101 x\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
    ] {
        assert_eq!(asked(unasked), Err(V::UnaskedUpgrade), "{}", unasked.escape_ascii());
    }
    let websocket = b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(asked(websocket), Err(V::BadWebsocketAccept));
    assert_eq!(violation(websocket, UPGRADE, Strictness::Relaxed), Ok(Some(websocket.len())));
    let answered = b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_eq!(asked(answered), Ok(Some(answered.len())));
}

#[test]
fn responses_that_lie_about_their_length_end_the_connection() {
    for (lie, body) in [
        (&b"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n"[..], BodyLength::None),
        (b"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", BodyLength::None),
        (b"HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\n", BodyLength::None),
        (b"HTTP/1.1 200 x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", BodyLength::Chunked),
        (
            b"HTTP/1.0 200 x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
            BodyLength::Chunked,
        ),
        (b"HTTP/1.1 200 x\r\n\r\n", BodyLength::UntilClose),
        // Accepted in relaxed mode only, like HAProxy.
        (b"HTTP/1.1 200 x\r\nTransfer-Encoding:\r\nContent-Length: 5\r\n\r\n", BodyLength::UntilClose),
    ] {
        let mut head = ResponseHead::new();
        let parsed = parse_response(lie, &mut head, GET, &Limits::default(), Strictness::Relaxed);
        assert_eq!(parsed, Ok(Some(lie.len())), "{}", lie.escape_ascii());
        assert_eq!((head.body, head.keep_alive), (body, false), "{}", lie.escape_ascii());
        if body != BodyLength::Chunked {
            assert!(!head.headers().contains(b"transfer-encoding"));
        }
        assert!(!head.headers().contains(b"content-length"));
    }
}

#[test]
fn relaxed_mode_accepts_what_the_manual_lists_and_nothing_else() {
    for accepted in [
        &b"HTTP/1.1 2000 OK\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\nX: y\n\n",
        b"HTTP/1.1 200 OK\r\nX@: dropped\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        b"HTTP/01.01 200 OK\r\n\r\n",
    ] {
        assert_eq!(
            violation(accepted, GET, Strictness::Relaxed),
            Ok(Some(accepted.len())),
            "{}",
            accepted.escape_ascii()
        );
    }
    for (expected, refused) in [
        (V::BadStatus, &b"HTTP/1.1 70000 OK\r\n\r\n"[..]),
        (V::BareCr, b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n"),
        (V::ContentLengthConflict, b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\n"),
        (V::ChunkedNotLast, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"),
        (V::UnaskedUpgrade, b"HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n"),
    ] {
        assert_eq!(violation(refused, GET, Strictness::Relaxed), Err(expected), "{}", refused.escape_ascii());
    }
}
