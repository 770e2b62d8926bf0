//! Requests that must not go on: each with its violation and the status the client gets. Every one of them has been a
//! way to smuggle a request, to confuse a log, or to reach a host that rules did not see.

use sockeye_http::RequestHead;
use sockeye_http::h1::Violation as V;
use sockeye_http::h1::{Limits, Strictness, parse_request};

fn violation(input: &[u8], strictness: Strictness) -> Result<Option<usize>, (V, u16)> {
    parse_request(input, &mut RequestHead::new(), &Limits::default(), strictness)
        .map_err(|error| (error.violation, error.status()))
}

/// Every input is refused with this violation and status; the input's position is inside it.
fn check(expected: V, status: u16, inputs: &[&[u8]]) {
    for input in inputs {
        let shown = input.escape_ascii();
        assert_eq!(violation(input, Strictness::Strict), Err((expected, status)), "{shown}");
        let error = parse_request(input, &mut RequestHead::new(), &Limits::default(), Strictness::Strict);
        let position = error.expect_err("refused above").position;
        assert!(position <= input.len(), "{position} is outside of {shown}");
    }
}

/// The same for field lines after a valid request line and Host.
fn check_fields(expected: V, status: u16, fields: &[&[u8]]) {
    for field in fields {
        let input = [b"POST /x HTTP/1.1\r\nHost: a\r\n", *field, b"\r\n\r\n"].concat();
        check(expected, status, &[&input]);
    }
}

#[test]
fn methods() {
    check(
        V::BadMethod,
        400,
        &[
            b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\tGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET\x0b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET\0 / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET: / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"(GET) / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x80\x2e\x01\x03\x01",
            b": x\r\n\r\n",
            b"\"GET\" / HTTP/1.1\r\n\r\n",
        ],
    );
}

#[test]
fn targets() {
    check(
        V::BadTarget,
        400,
        &[
            b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\x0b HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
    check(
        V::BareCr,
        400,
        &[b"GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"],
    );
    check(V::Fragment, 400, &[b"GET /x#f HTTP/1.1\r\nHost: a\r\n\r\n", b"GET # HTTP/1.1\r\nHost: a\r\n\r\n"]);
    check(
        V::BadTargetForm,
        400,
        &[
            b"GET x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            b"OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n",
            b"OPTIONS *?x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET ?x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http:/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http:x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET ://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET 1http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET ht_tp://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://u:p@a/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://a:b/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://a:65536/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://a,b/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://a\\b/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://[::1/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://[::1]x/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://:80/x HTTP/1.1\r\n\r\n",
            b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n",
            b"CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n",
            b"CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"CONNECT u@a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"CONNECT :80 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"CONNECT * HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn versions() {
    check(
        V::BadVersion,
        400,
        &[
            b"GET /x\r\nHost: a\r\n\r\n",
            b"GET /x \r\nHost: a\r\n\r\n",
            b"GET /x http/1.1\r\nHost: a\r\n\r\n",
            b"GET /x Http/1.1\r\nHost: a\r\n\r\n",
            b"GET /x  HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/1.1 \r\nHost: a\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/11\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/1.10\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/01.1\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/1.\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/.1\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/1,1\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/1.1x\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/+1.1\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/1.1\t\r\nHost: a\r\n\r\n",
            b"GET /x HTTP\r\nHost: a\r\n\r\n",
            b"GET /x HTTPS/1.1\r\nHost: a\r\n\r\n",
            b"GET /x RTSP/1.0\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
    check(
        V::UnsupportedVersion,
        505,
        &[
            b"GET /x HTTP/0.9\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/2.0\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/3.0\r\nHost: a\r\n\r\n",
            b"GET /x HTTP/9.9\r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn line_ends() {
    check(
        V::BareLf,
        400,
        &[
            b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"GET / HTTP/1.1\r\nX: a\nTransfer-Encoding: chunked\r\nHost: a\r\n\r\n",
        ],
    );
    check(
        V::BareCr,
        400,
        &[
            b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\rX\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: a\r\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nX\r: a\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\n\rX: a\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n",
        ],
    );
    check(V::TooManyEmptyLines, 400, &[&[&b"\r\n".repeat(9)[..], b"GET / HTTP/1.1\r\n\r\n"].concat()]);
    check(V::ObsFold, 400, &[b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"]);
    check_fields(
        V::ObsFold,
        400,
        &[b"X: 1\r\n 2", b"X: 1\r\n\t2", b"X:\r\n 2", b"X: 1\r\n ", b"X: 1\r\n \r\nY: 2"],
    );
    check_fields(V::ObsFold, 400, &[b"Transfer-Encoding:\r\n chunked", b"Content-Length: 1\r\n 0"]);
}

#[test]
fn fields() {
    check_fields(
        V::MissingColon,
        400,
        &[b"nocolon", b"no colon", b"Transfer-Encoding chunked", b"X\0", b"\0"],
    );
    check_fields(V::EmptyFieldName, 400, &[b": v", b":", b":: v"]);
    check_fields(
        V::SpaceBeforeColon,
        400,
        &[b"X : v", b"X\t: v", b"X  : v", b"Transfer-Encoding : chunked", b"Content-Length : 5", b"Host : b"],
    );
    check_fields(
        V::BadFieldName,
        400,
        &[
            b"X Y: v",
            b"X@Y: v",
            b"X(: v",
            b"X): v",
            b"X/Y: v",
            b"X[]: v",
            b"X{}: v",
            b"X<>: v",
            b"X=Y: v",
            b"X?: v",
            b"X\\: v",
            b"X\": v",
            b"X,Y: v",
            b"X;Y: v",
            b"X\x80: v",
            b"X\xff: v",
            b"X\0: v",
            b"X\x01: v",
            b"X\x0b: v",
            b"X\x7f: v",
            b"Transfer-Encoding\x0b: chunked",
            b"Transfer\x00Encoding: chunked",
            b"\x00Transfer-Encoding: chunked",
            b"Content-Length\x00: 5",
            b"X-A-Name-Longer-Than-Sixty-Four-Letters-So-That-It-Takes-The-Slow-Way\x01: v",
        ],
    );
    check_fields(
        V::BadFieldValue,
        400,
        &[
            b"X: a\0b",
            b"X: \x01",
            b"X: a\x08",
            b"X: a\x0bb",
            b"X: a\x0cb",
            b"X: a\x1fb",
            b"X: a\x7fb",
            b"X: \0",
            b"X: 12345678\0",
            b"X: 1234567\x7f90123456",
            b"X: \t12345678\x1b[0m",
            b"Transfer-Encoding: \x0bchunked",
            b"Transfer-Encoding: chunked\x0b",
            b"Transfer-Encoding: chunked\0",
            b"Content-Length: 5\0",
        ],
    );
}

#[test]
fn content_length() {
    check_fields(
        V::BadContentLength,
        400,
        &[
            b"Content-Length:",
            b"Content-Length: +3",
            b"Content-Length: -3",
            b"Content-Length: 0x3",
            b"Content-Length: 3 3",
            b"Content-Length: 3a",
            b"Content-Length: a",
            b"Content-Length: 3;x",
            b"Content-Length: 3.0",
            b"Content-Length: 3e2",
            b"Content-Length: 3_0",
            b"Content-Length: \"3\"",
            b"Content-Length: 3,",
            b"Content-Length: ,3",
            b"Content-Length: 3,,3",
            b"Content-Length: ,",
            b"Content-Length: 3\tx",
            b"Content-Length: \xb2",
            b"Content-Length: \xef\xbc\x93",
        ],
    );
    check_fields(
        V::ContentLengthConflict,
        400,
        &[
            b"Content-Length: 3, 4",
            b"Content-Length: 3\r\nContent-Length: 4",
            b"Content-Length: 0\r\nContent-Length: 3",
            b"Content-Length: 3, 3\r\ncontent-length: 4",
            b"CONTENT-LENGTH: 3\r\nX: y\r\ncontent-length: 30",
        ],
    );
    check_fields(
        V::ContentLengthOverflow,
        400,
        &[
            b"Content-Length: 18446744073709551616",
            b"Content-Length: 18446744073709551619",
            b"Content-Length: 99999999999999999999999",
            b"Content-Length: 3, 99999999999999999999999",
        ],
    );
}

#[test]
fn transfer_encoding() {
    check_fields(
        V::BadTransferEncoding,
        400,
        &[
            b"Transfer-Encoding:",
            b"Transfer-Encoding: ,chunked",
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding: chunk",
            b"Transfer-Encoding: chunkedx",
            b"Transfer-Encoding: cow",
            b"Transfer-Encoding: cow, chunked",
            b"Transfer-Encoding: chunked;q=1",
            b"Transfer-Encoding: chunked ;q=1",
            b"Transfer-Encoding: \"chunked\"",
            b"Transfer-Encoding: 'chunked'",
            b"Transfer-Encoding: chunked chunked",
            b"Transfer-Encoding: chun\xc9\xaded",
            b"Transfer-Encoding: trailers",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding: deflate",
            b"Transfer-Encoding: gzip\r\nContent-Length: 3",
            b"Content-Length: 3\r\nTransfer-Encoding: identity",
            b"Transfer-Encoding: chunked\xa0",
            b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: {chunked}",
        ],
    );
    check_fields(
        V::ChunkedNotLast,
        400,
        &[
            b"Transfer-Encoding: chunked, chunked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked, gzip",
            b"Transfer-Encoding: chunked, identity",
            b"Transfer-Encoding: chunked,",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
            b"Transfer-Encoding: chunked\r\ntransfer-encoding: identity",
            b"Transfer-Encoding: chunked\r\nX: y\r\nTRANSFER-ENCODING: x",
        ],
    );
    check_fields(
        V::UnsupportedTransferCoding,
        422,
        &[
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding: identity, chunked",
            b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        ],
    );
    check(
        V::TransferEncodingInHttp10,
        400,
        &[
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.0\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n",
        ],
    );
    check(
        V::UnexpectedPayload,
        413,
        &[
            b"GET / HTTP/1.0\r\nContent-Length: 3\r\n\r\n",
            b"HEAD / HTTP/1.0\r\nContent-Length: 3\r\n\r\n",
            b"DELETE / HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
        ],
    );
}

#[test]
fn host() {
    for bad in [
        &b"a b"[..],
        b"a, b",
        b"a,b",
        b"u@a",
        b"u:p@a",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a\\b",
        b"a\"b",
        b"<a>",
        b"a|b",
        b"a{b",
        b"a^b",
        b"a`b",
        b"\xe9",
        b"a\tb",
        b"a:b",
        b"a:80b",
        b"a:+80",
        b"a:-1",
        b"a:65536",
        b"a:99999",
        b"a:000080",
        b"a:80:80",
        b"a::80",
        b":80",
        b":",
        b"[::1",
        b"::1]",
        b"[]",
        b"[::1]x",
        b"[::1]:x",
        b"[a]",
        b"[::1 ]",
        b"http://a",
    ] {
        check(V::BadHost, 400, &[&[b"GET / HTTP/1.1\r\nHost: ", bad, b"\r\n\r\n"].concat()]);
    }
    check_fields(V::HostConflict, 400, &[b"Host: b", b"Host:", b"host: a:80", b"X: y\r\nHOST: b"]);
    check(
        V::HostMismatch,
        400,
        &[
            b"GET http://a.com/x HTTP/1.1\r\nHost: b.com\r\n\r\n",
            b"GET http://a.com/x HTTP/1.1\r\nHost:\r\n\r\n",
            b"GET http://a.com/x HTTP/1.1\r\nHost: a.com:81\r\n\r\n",
            b"GET http://a.com:81/x HTTP/1.1\r\nHost: a.com\r\n\r\n",
            b"GET http://a.com/x HTTP/1.1\r\nHost: a.com:443\r\n\r\n",
            b"GET https://a.com/x HTTP/1.1\r\nHost: a.com:80\r\n\r\n",
            b"GET http://a.com/x HTTP/1.1\r\nHost: a.com.\r\n\r\n",
            b"GET ftp://a.com:21/x HTTP/1.1\r\nHost: a.com\r\n\r\n",
            b"CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n",
            b"CONNECT a:8443 HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn websocket_without_a_key() {
    check_fields(
        V::BadWebsocketKey,
        400,
        &[
            b"Connection: upgrade\r\nUpgrade: websocket",
            b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: short",
            b"Connection: upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=",
            b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25j*Q==",
            b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ],
    );
}

#[test]
fn sizes() {
    let limits = Limits { fields_max: 4, head_bytes_max: 64, ..Limits::default() };
    let status = |input: &[u8]| {
        parse_request(input, &mut RequestHead::new(), &limits, Strictness::Strict)
            .map_err(|error| error.violation)
    };
    let head_of = |bytes: usize| [b"GET /", &b"x".repeat(bytes - 18)[..], b" HTTP/1.1\r\n\r\n"].concat();
    assert_eq!(status(&head_of(64)), Ok(Some(64)));
    assert_eq!(status(&head_of(65)), Err(V::HeadTooLarge));
    assert_eq!(status(&head_of(65)[..63]), Ok(None));
    assert_eq!(status(&head_of(65)[..64]), Err(V::HeadTooLarge));
    assert_eq!(status(&head_of(90)), Err(V::RequestLineTooLong));
    assert_eq!(status(&b"G".repeat(64)), Err(V::HeadTooLarge));
    let error = parse_request(&head_of(65), &mut RequestHead::new(), &limits, Strictness::Strict);
    assert_eq!(error.map_err(|error| error.status()), Err(431));
    let error = parse_request(&head_of(90), &mut RequestHead::new(), &limits, Strictness::Strict);
    assert_eq!(error.map_err(|error| error.status()), Err(414));
    // What lies behind the limit is not looked at.
    assert_eq!(
        status(&[&b"GET / HTTP/1.1\r\nX: "[..], &b"x".repeat(64), b"\0"].concat()),
        Err(V::HeadTooLarge)
    );
    assert_eq!(status(b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n").map(|n| n.is_some()), Ok(true));
    assert_eq!(status(b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n\r\n"), Err(V::TooManyFields));
}

#[test]
fn relaxed_mode_accepts_what_the_manual_lists_and_nothing_else() {
    for accepted in [
        &b"GET / HTTP/1.1\nHost: a\n\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX@Y: dropped\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\0: dropped\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /x#f HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a/x HTTP/1.1\r\nHost: b\r\n\r\n",
        b"CONNECT a HTTP/1.1\r\nHost: b\r\n\r\n",
        b"GET / HTTP/01.01\r\nHost: a\r\n\r\n",
        b"GET /\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let shown = accepted.escape_ascii();
        assert_eq!(violation(accepted, Strictness::Relaxed), Ok(Some(accepted.len())), "{shown}");
    }
    for (expected, refused) in [
        (V::BareCr, &b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"[..]),
        (V::SpaceBeforeColon, b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n"),
        (V::BadTarget, b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n"),
        (V::BadVersion, b"POST /\r\n"),
        (V::UnsupportedVersion, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        (V::BadHost, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (V::HostConflict, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (V::BadContentLength, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n"),
        (V::ChunkedNotLast, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n"),
        (V::BadTransferEncoding, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"),
        (
            V::ChunkedNotLast,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n , chunked\r\n\r\n",
        ),
    ] {
        let shown = refused.escape_ascii();
        assert_eq!(
            violation(refused, Strictness::Relaxed),
            Err((expected, expected_status(expected))),
            "{shown}"
        );
    }
}

fn expected_status(violation: V) -> u16 {
    if violation == V::UnsupportedVersion { 505 } else { 400 }
}
