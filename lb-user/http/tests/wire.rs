//! What goes on, byte for byte, as observed on HAProxy 3.2's wire except where noted; and the facts a stream acts on.

use sockeye_http::h1::{
    ConnectionHeader, EncodeOptions, Limits, Strictness, encode_request, encode_response, parse_request,
    parse_response,
};
use sockeye_http::{BodyLength, Method, RequestFacts, RequestHead, ResponseHead, Version};

fn request(input: &[u8]) -> RequestHead {
    request_in(input, Strictness::Strict)
}

fn request_in(input: &[u8], strictness: Strictness) -> RequestHead {
    let mut head = RequestHead::new();
    match parse_request(input, &mut head, &Limits::default(), strictness) {
        Ok(Some(consumed)) => assert_eq!(consumed, input.len()),
        other => panic!("{other:?} for {}", input.escape_ascii()),
    }
    head
}

fn response_to(facts: RequestFacts, input: &[u8]) -> ResponseHead {
    let mut head = ResponseHead::new();
    match parse_response(input, &mut head, facts, &Limits::default(), Strictness::Strict) {
        Ok(Some(consumed)) => assert_eq!(consumed, input.len()),
        other => panic!("{other:?} for {}", input.escape_ascii()),
    }
    head
}

fn sent(head: &RequestHead, connection: ConnectionHeader) -> String {
    let mut out = Vec::new();
    encode_request(head, &mut out, EncodeOptions { connection });
    out.escape_ascii().to_string().replace("\\r\\n", "\n")
}

fn returned(head: &ResponseHead, connection: ConnectionHeader) -> String {
    let mut out = Vec::new();
    encode_response(head, &mut out, EncodeOptions { connection });
    out.escape_ascii().to_string().replace("\\r\\n", "\n")
}

/// `input` (lines joined by CRLF) goes on as `expected`.
fn check_request(input: &str, connection: ConnectionHeader, expected: &str) {
    let head = request(input.replace('\n', "\r\n").as_bytes());
    assert_eq!(sent(&head, connection), expected, "for {input:?}");
}

fn check_response(facts: RequestFacts, input: &str, connection: ConnectionHeader, expected: &str) {
    let head = response_to(facts, input.replace('\n', "\r\n").as_bytes());
    assert_eq!(returned(&head, connection), expected, "for {input:?}");
}

const GET: RequestFacts = RequestFacts { method: Method::Get, version: Version::Http11, upgrade: false };

#[test]
fn requests_on_the_wire() {
    use ConnectionHeader as C;
    for (input, connection, expected) in [
        (
            "GET /x HTTP/1.1\nHOST: A.com\nUser-Agent: Curl\nAccept: */*\n\n",
            C::None,
            "GET /x HTTP/1.1\nhost: A.com\nuser-agent: Curl\naccept: */*\n\n",
        ),
        (
            "POST /x HTTP/1.1\nContent-Length: 3\nHost: a\nX-B: \t v  \n\n",
            C::None,
            "POST /x HTTP/1.1\ncontent-length: 3\nhost: a\nx-b: v\n\n",
        ),
        // Duplicates collapse, numbers are written anew.
        (
            "POST /x HTTP/1.1\nContent-Length: 003, 3\nHost: a\ncontent-length: 3\nHost: A\n\n",
            C::None,
            "POST /x HTTP/1.1\ncontent-length: 3\nhost: a\n\n",
        ),
        (
            "POST /x HTTP/1.1\nTransfer-Encoding: Chunked\nHost: a\n\n",
            C::None,
            "POST /x HTTP/1.1\ntransfer-encoding: chunked\nhost: a\n\n",
        ),
        (
            "POST /x HTTP/1.1\nContent-Length: 3\nTransfer-Encoding: chunked\nHost: a\n\n",
            C::None,
            "POST /x HTTP/1.1\ntransfer-encoding: chunked\nhost: a\n\n",
        ),
        ("GET /x HTTP/1.1\nConnection: close\nHost: a\n\n", C::None, "GET /x HTTP/1.1\nhost: a\n\n"),
        ("GET /x HTTP/1.1\nHost: a\n\n", C::Close, "GET /x HTTP/1.1\nhost: a\nconnection: close\n\n"),
        ("GET /x HTTP/1.0\n\n", C::KeepAlive, "GET /x HTTP/1.0\nconnection: keep-alive\n\n"),
        // HAProxy forwards these four; RFC 9110 §7.6.1 does not let a proxy do so.
        (
            "GET /x HTTP/1.1\nConnection: keep-alive, X-Foo\nX-Foo: 1\nKeep-Alive: timeout=5\n\
             Proxy-Connection: keep-alive\nHost: a\n\n",
            C::None,
            "GET /x HTTP/1.1\nhost: a\n\n",
        ),
        // A client cannot nominate away what is for everybody.
        (
            "GET /x HTTP/1.1\nConnection: Host, Cookie, X-Forwarded-For, close\nHost: a\nCookie: c\nX-Forwarded-For: i\n\n",
            C::None,
            "GET /x HTTP/1.1\nhost: a\ncookie: c\nx-forwarded-for: i\n\n",
        ),
        (
            "GET /x HTTP/1.1\nConnection: TE\nTE: trailers, gzip;q=1\nHost: a\n\n",
            C::Close,
            "GET /x HTTP/1.1\nte: trailers\nhost: a\nconnection: close, te\n\n",
        ),
        ("GET /x HTTP/1.1\nTE: trailers\nHost: a\n\n", C::None, "GET /x HTTP/1.1\nhost: a\n\n"),
        (
            "GET /ws HTTP/1.1\nHost: a\nConnection: keep-alive, Upgrade\nUpgrade: websocket\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n",
            C::Upgrade,
            "GET /ws HTTP/1.1\nhost: a\nconnection: upgrade\nupgrade: websocket\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\n\n",
        ),
        ("GET /ws HTTP/1.1\nHost: a\nUpgrade: foo\n\n", C::None, "GET /ws HTTP/1.1\nhost: a\n\n"),
        (
            "GET / HTTP/1.1\nHost: a\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMA\n\n",
            C::None,
            "GET / HTTP/1.1\nhost: a\n\n",
        ),
        (
            "GET / HTTP/1.1\nHost: a\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c, foo\nHTTP2-Settings: AAMA\n\n",
            C::Upgrade,
            "GET / HTTP/1.1\nhost: a\nconnection: upgrade\nupgrade: foo\n\n",
        ),
        (
            "GET http://a.com/x HTTP/1.1\nHost: a.com\n\n",
            C::None,
            "GET http://a.com/x HTTP/1.1\nhost: a.com\n\n",
        ),
        (
            "GET http://a.com:80/x HTTP/1.1\nHost: A.com\n\n",
            C::None,
            "GET http://a.com/x HTTP/1.1\nhost: a.com\n\n",
        ),
        (
            "GET http://a.com/x HTTP/1.1\nHost: a.com:80\n\n",
            C::None,
            "GET http://a.com/x HTTP/1.1\nhost: a.com:80\n\n",
        ),
        (
            "GET https://a.com:443/ HTTP/1.1\nHost: a.com:443\n\n",
            C::None,
            "GET https://a.com/ HTTP/1.1\nhost: a.com\n\n",
        ),
        (
            "GET http://a.com: HTTP/1.1\nHost: a.com:\n\n",
            C::None,
            "GET http://a.com/ HTTP/1.1\nhost: a.com\n\n",
        ),
        (
            "GET http://a.com?q HTTP/1.1\nHost: a.com\n\n",
            C::None,
            "GET http://a.com?q HTTP/1.1\nhost: a.com\n\n",
        ),
        ("OPTIONS http://a HTTP/1.1\nHost: a\n\n", C::None, "OPTIONS http://a HTTP/1.1\nhost: a\n\n"),
        ("OPTIONS * HTTP/1.1\nHost: a\n\n", C::None, "OPTIONS * HTTP/1.1\nhost: a\n\n"),
        ("CONNECT a:443 HTTP/1.1\nHost: a:443\n\n", C::None, "CONNECT a:443 HTTP/1.1\nhost: a\n\n"),
        (
            "CONNECT [::1]:81 HTTP/1.1\nHost: [::1]:81\n\n",
            C::None,
            "CONNECT [::1]:81 HTTP/1.1\nhost: [::1]:81\n\n",
        ),
        ("GET /x HTTP/1.2\nHost: a\n\n", C::None, "GET /x HTTP/1.1\nhost: a\n\n"),
        ("\n\nPROPFIND /x HTTP/1.1\nHost:\n\n", C::None, "PROPFIND /x HTTP/1.1\nhost: \n\n"),
        (
            "GET /\"<>\\^`{|} HTTP/1.1\nHost: a_b-c.d:65535\n\n",
            C::None,
            "GET /\"<>\\^`{|} HTTP/1.1\nhost: a_b-c.d:65535\n\n",
        ),
    ] {
        check_request(input, connection, &expected.escape_default().to_string().replace("\\n", "\n"));
    }
}

#[test]
fn responses_on_the_wire() {
    use ConnectionHeader as C;
    let head = RequestFacts { method: Method::Head, ..GET };
    let connect = RequestFacts { method: Method::Connect, ..GET };
    let upgrade = RequestFacts { upgrade: true, ..GET };
    for (facts, input, connection, expected) in [
        (
            GET,
            "HTTP/1.1 200 OK\nServer: X\nContent-Length: 2\nX-A: b\n\n",
            C::None,
            "HTTP/1.1 200 OK\nserver: X\ncontent-length: 2\nx-a: b\n\n",
        ),
        (
            GET,
            "HTTP/1.1 200 OK\nServer: X\nTransfer-Encoding: chunked\nX-A: b\n\n",
            C::None,
            "HTTP/1.1 200 OK\nserver: X\ntransfer-encoding: chunked\nx-a: b\n\n",
        ),
        (
            GET,
            "HTTP/1.1 200 OK\nServer: X\n\n",
            C::Close,
            "HTTP/1.1 200 OK\nserver: X\nconnection: close\n\n",
        ),
        (
            GET,
            "HTTP/1.1 200 OK\nConnection: keep-alive\nKeep-Alive: timeout=5\nContent-Length: 2\n\n",
            C::KeepAlive,
            "HTTP/1.1 200 OK\ncontent-length: 2\nconnection: keep-alive\n\n",
        ),
        (
            GET,
            "HTTP/1.1 200 OK\nContent-Length: 2\nTransfer-Encoding: chunked\n\n",
            C::None,
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n",
        ),
        (GET, "HTTP/1.1 204 No Content\nContent-Length: 2\n\n", C::None, "HTTP/1.1 204 No Content\n\n"),
        (
            GET,
            "HTTP/1.1 204 No Content\nTransfer-Encoding: chunked\n\n",
            C::None,
            "HTTP/1.1 204 No Content\n\n",
        ),
        (GET, "HTTP/1.1 304 x\nContent-Length: 020\n\n", C::None, "HTTP/1.1 304 x\ncontent-length: 020\n\n"),
        (head, "HTTP/1.1 200 OK\nContent-Length: 20\n\n", C::None, "HTTP/1.1 200 OK\ncontent-length: 20\n\n"),
        (
            head,
            "HTTP/1.1 200 OK\nTransfer-Encoding: CHUNKED\n\n",
            C::None,
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n",
        ),
        (connect, "HTTP/1.1 200 OK\nContent-Length: 2\n\n", C::None, "HTTP/1.1 200 OK\n\n"),
        (GET, "HTTP/1.1 103 Early\nLink: a\n\n", C::None, "HTTP/1.1 103 Early\nlink: a\n\n"),
        (
            upgrade,
            "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: foo\nContent-Length: 3\n\n",
            C::Upgrade,
            "HTTP/1.1 101 Switching Protocols\nconnection: upgrade\nupgrade: foo\n\n",
        ),
        (GET, "HTTP/1.1 200\nContent-Length: 0\n\n", C::None, "HTTP/1.1 200 OK\ncontent-length: 0\n\n"),
        (GET, "HTTP/1.1 299 \nContent-Length: 0\n\n", C::None, "HTTP/1.1 299 Success\ncontent-length: 0\n\n"),
        (GET, "HTTP/1.2 200 OK\nContent-Length: 0\n\n", C::None, "HTTP/1.1 200 OK\ncontent-length: 0\n\n"),
        (GET, "HTTP/1.0 200 OK\nConnection: X-A, close\nX-A: b\n\n", C::None, "HTTP/1.0 200 OK\n\n"),
    ] {
        check_response(facts, input, connection, expected);
    }
}

#[test]
fn request_facts() {
    for (input, body, keep_alive) in [
        ("GET / HTTP/1.1\n\n", BodyLength::None, true),
        ("GET / HTTP/1.1\nConnection: close\n\n", BodyLength::None, false),
        ("GET / HTTP/1.1\nConnection: keep-alive, Close\n\n", BodyLength::None, false),
        ("GET / HTTP/1.1\nConnection: x\nConnection: close\n\n", BodyLength::None, false),
        ("GET / HTTP/1.0\n\n", BodyLength::None, false),
        ("GET / HTTP/1.0\nConnection: Keep-Alive\n\n", BodyLength::None, true),
        ("GET / HTTP/1.0\nConnection: keep-alive, close\n\n", BodyLength::None, false),
        ("POST / HTTP/1.1\nContent-Length: 0\n\n", BodyLength::Length(0), true),
        ("POST / HTTP/1.1\nContent-Length: 18446744073709551615\n\n", BodyLength::Length(u64::MAX), true),
        ("GET / HTTP/1.1\nTransfer-Encoding: chunked\n\n", BodyLength::Chunked, true),
        ("GET / HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 3\n\n", BodyLength::Chunked, false),
        ("POST / HTTP/1.0\nContent-Length: 3\n\n", BodyLength::Length(3), false),
    ] {
        let head = request(input.replace('\n', "\r\n").as_bytes());
        assert_eq!((head.body, head.keep_alive), (body, keep_alive), "for {input:?}");
    }
    for (input, expect, upgrade) in [
        ("PUT / HTTP/1.1\nExpect: 100-Continue\nContent-Length: 1\n\n", true, false),
        ("PUT / HTTP/1.0\nExpect: 100-continue\nContent-Length: 1\n\n", false, false),
        ("PUT / HTTP/1.1\nExpect: other\nContent-Length: 1\n\n", false, false),
        ("GET / HTTP/1.1\nConnection: upgrade\nUpgrade: foo\n\n", false, true),
        ("GET / HTTP/1.1\nConnection: upgrade\nUpgrade: h2c\n\n", false, false),
        ("GET / HTTP/1.1\nConnection: upgrade\nUpgrade: H2C, h2/14\n\n", false, false),
        ("GET / HTTP/1.1\nConnection: upgrade\n\n", false, false),
        ("GET / HTTP/1.0\nConnection: upgrade\nUpgrade: foo\n\n", false, false),
    ] {
        let head = request(input.replace('\n', "\r\n").as_bytes());
        assert_eq!((head.expect_continue, head.upgrade), (expect, upgrade), "for {input:?}");
    }
}

#[test]
fn response_facts() {
    let head = RequestFacts { method: Method::Head, ..GET };
    let connect = RequestFacts { method: Method::Connect, ..GET };
    for (facts, input, body, keep_alive) in [
        (GET, "HTTP/1.1 200 OK\nContent-Length: 3\n\n", BodyLength::Length(3), true),
        (GET, "HTTP/1.1 200 OK\nContent-Length: 3\nConnection: close\n\n", BodyLength::Length(3), false),
        (GET, "HTTP/1.0 200 OK\nContent-Length: 3\n\n", BodyLength::Length(3), false),
        (GET, "HTTP/1.0 200 OK\nContent-Length: 3\nConnection: keep-alive\n\n", BodyLength::Length(3), true),
        (GET, "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", BodyLength::Chunked, true),
        (GET, "HTTP/1.1 200 OK\n\n", BodyLength::UntilClose, false),
        (GET, "HTTP/1.1 204 OK\n\n", BodyLength::None, true),
        (GET, "HTTP/1.1 304 OK\nContent-Length: 3\n\n", BodyLength::None, true),
        (GET, "HTTP/1.1 100 OK\n\n", BodyLength::None, true),
        (head, "HTTP/1.1 200 OK\n\n", BodyLength::None, true),
        (head, "HTTP/1.1 200 OK\nContent-Length: 3\n\n", BodyLength::None, true),
        (connect, "HTTP/1.1 200 OK\nContent-Length: 3\n\n", BodyLength::Tunnel, false),
        (connect, "HTTP/1.1 403 OK\nContent-Length: 3\n\n", BodyLength::Length(3), true),
    ] {
        let head = response_to(facts, input.replace('\n', "\r\n").as_bytes());
        assert_eq!((head.body, head.keep_alive), (body, keep_alive), "for {input:?}");
    }
}

#[test]
fn relaxed_mode_still_normalizes() {
    let head = request_in(
        b"GET / HTTP/1.1\nHost: a\r\nX@Y: gone\nX: 1\r\n\t2\n  \r\n 3\r\nEmpty:\r\n v\r\n\r\n",
        Strictness::Relaxed,
    );
    assert_eq!(
        sent(&head, ConnectionHeader::None),
        "GET / HTTP/1.1\nhost: a\nx: 1  \\t2      3\nempty: v\n\n"
    );
    // What continues a dropped field goes with it, and does not end up in the field before.
    let head = request_in(b"GET / HTTP/1.1\r\nHost: a\r\nX@Y: gone\r\n .evil\r\n\r\n", Strictness::Relaxed);
    assert_eq!(sent(&head, ConnectionHeader::None), "GET / HTTP/1.1\nhost: a\n\n");
    let head = request_in(b"GET /\r\n", Strictness::Relaxed);
    assert_eq!((head.version(), head.keep_alive), (Version::Http09, false));
}

#[test]
fn a_head_remembers_what_it_received_and_can_be_edited() {
    let mut head =
        request(b"GET /x HTTP/1.1\r\nHost: a\r\nX-CamelCase_1: v\r\nCookie: a=b\r\nX-camelcase_1: w\r\n\r\n");
    let names: Vec<_> =
        head.headers().names_as_received().map(|name| String::from_utf8(name).unwrap()).collect();
    assert_eq!(names, ["Host", "X-CamelCase_1", "Cookie", "X-camelcase_1"]);
    assert_eq!(head.headers().get_all(b"X-CAMELCASE_1").collect::<Vec<_>>(), [b"v", b"w"]);
    head.set_method(b"POST");
    head.set_target(b"/y?z");
    head.headers_mut().set(b"X-CamelCase_1", b"only");
    head.headers_mut().append(b"X-Forwarded-For", b"192.0.2.1");
    assert_eq!(head.headers_mut().remove(b"cookie"), 1);
    head.body = BodyLength::Length(5);
    assert_eq!(head.request_line(), b"GET /x HTTP/1.1");
    assert_eq!(
        sent(&head, ConnectionHeader::None),
        "POST /y?z HTTP/1.1\nhost: a\nx-camelcase_1: only\nx-forwarded-for: 192.0.2.1\ncontent-length: 5\n\n"
    );
    // A framing field that a rule adds cannot contradict the body.
    head.headers_mut().append(b"Transfer-Encoding", b"chunked");
    assert!(!sent(&head, ConnectionHeader::None).contains("transfer-encoding"));
    head.clear();
    assert!(head.headers().is_empty() && head.request_line().is_empty());
}
