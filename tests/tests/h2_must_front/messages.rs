//! Compressed fields, messages, prefaces and what must be answered: RFC 7541, RFC 9113 §3.4 and §8.

use super::*;

#[tokio::test]
async fn field_compression() {
    // A new name in clear and a value in Huffman code.
    let huffman = |bytes: &[u8]| {
        asks(&[&[0x00, 1, b'x', 0x80 | u8::try_from(bytes.len()).unwrap()][..], bytes].concat())
    };
    let indexed = |value: usize| [&[0x40][..], &fields(&[("x", &"v".repeat(value))])[1..]].concat();
    let before = |bytes: &[u8]| headers(WHOLE, 1, &[bytes, &request("/")].concat());
    check(
        plan(),
        vec![
            ("RFC 7541 §2.3.3 an index of the static table", asks(&[0x90]), Answers(200)),
            (
                "RFC 7541 §2.3.3 the last index of the static table, a pseudo field too late",
                asks(&[0x81]),
                MALFORMED,
            ),
            ("RFC 7541 §6.1 index 0", asks(&[0x80]), COMPRESSION),
            ("RFC 7541 §2.3.3 an index past an empty table", asks(&[0xbe]), COMPRESSION),
            ("RFC 7541 §2.3.3 a name's index past the table", asks(&[0x7e, 1, b'x']), COMPRESSION),
            (
                "RFC 7541 §2.3.3 an index of the dynamic table",
                asks(&[&indexed(9)[..], &[0xbe]].concat()),
                Answers(200),
            ),
            (
                "RFC 7541 §2.3.3 an index past the dynamic table",
                asks(&[&indexed(9)[..], &[0xbf]].concat()),
                COMPRESSION,
            ),
            (
                "RFC 7541 §4.4 what was pushed out is gone",
                asks(&[&indexed(2_500)[..], &indexed(2_500), &[0xbf]].concat()),
                COMPRESSION,
            ),
            (
                "RFC 7541 §4.4 what pushed it out is there",
                asks(&[&indexed(2_500)[..], &indexed(2_500), &[0xbe]].concat()),
                Answers(200),
            ),
            (
                "RFC 7541 §4.4 what is larger than the table empties it",
                asks(&[&indexed(9)[..], &indexed(4_096), &[0xbe]].concat()),
                COMPRESSION,
            ),
            (
                "RFC 7541 §4.3 a smaller table has less",
                [asks(&indexed(9)), headers(WHOLE, 3, &[&[0x20][..], &request("/"), &[0xbe]].concat())]
                    .concat(),
                Ends(&[COMPRESSION_ERROR, PROTOCOL_ERROR]),
            ),
            (
                "RFC 7541 §5.1 an integer of five octets too large",
                asks(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
                COMPRESSION,
            ),
            ("RFC 7541 §5.1 an integer without end", asks(&[0xff; 40]), COMPRESSION),
            ("RFC 7541 §5.1 an integer cut off", asks(&[0xff]), COMPRESSION),
            ("RFC 7541 §5.2 a string longer than the block", asks(&[0x00, 1, b'x', 5, b'a']), COMPRESSION),
            (
                "RFC 7541 §5.2 a name longer than the block",
                asks(&[0x00, 0x7f, 0xff, 0xff, 0x7f]),
                COMPRESSION,
            ),
            ("RFC 7541 §5.2 a name without value", asks(&[0x00, 1, b'x']), COMPRESSION),
            ("RFC 7541 §5.2 Huffman code", huffman(&[0x1f]), Answers(200)),
            ("RFC 7541 §5.2 Huffman code of nothing", huffman(&[]), Answers(200)),
            ("RFC 7541 §5.2 padding of more than 7 bits", huffman(&[0x1f, 0xff]), COMPRESSION),
            ("RFC 7541 §5.2 padding of 8 bits alone", huffman(&[0xff]), COMPRESSION),
            ("RFC 7541 §5.2 padding that is not of EOS", huffman(&[0x18]), COMPRESSION),
            ("RFC 7541 §5.2 the code of EOS", huffman(&[0xff, 0xff, 0xff, 0xff]), COMPRESSION),
            ("RFC 7541 §6.3 a table as large as agreed", before(&[0x3f, 0xe1, 0x1f]), Answers(200)),
            ("RFC 7541 §6.3 a larger one", before(&[0x3f, 0xe2, 0x1f]), COMPRESSION),
            ("RFC 7541 §4.2 down and up again", before(&[0x20, 0x3f, 0xe1, 0x1f]), Answers(200)),
            ("RFC 7541 §4.2 a change behind a field", asks(&[0x20]), COMPRESSION),
            ("RFC 7541 §6.2.3 a field that is never indexed", asks(&[0x10, 1, b'x', 1, b'y']), Answers(200)),
            ("RFC 7541 §6.2.1 a name of the table", asks(&[0x54, 1, b'y']), Answers(200)),
        ],
    )
    .await;
}

#[tokio::test]
async fn messages() {
    let trailers = headers(WHOLE, 1, &fields(&[("x", "y")]));
    check(
        plan(),
        vec![
            (
                "§8.1.1 a length that holds",
                posts(&[("content-length", "3")], &[data(END_STREAM, b"abc")]),
                Works,
            ),
            (
                "§8.1.1 less than announced",
                posts(&[("content-length", "3")], &[data(END_STREAM, b"ab")]),
                MALFORMED,
            ),
            ("§8.1.1 more than announced", posts(&[("content-length", "3")], &[data(0, b"abcd")]), MALFORMED),
            (
                "§8.1.1 less than announced, in trailers",
                posts(&[("content-length", "3")], &[data(0, b"ab"), trailers.clone()]),
                MALFORMED,
            ),
            (
                "§8.1.1 padding is not content",
                posts(&[("content-length", "3")], &[data(PADDED | END_STREAM, &[2, b'a', 0, 0])]),
                MALFORMED,
            ),
            (
                "§8.1.1 two lengths",
                posts(&[("content-length", "3"), ("content-length", "4")], &[data(0, b"abc")]),
                MALFORMED,
            ),
            (
                "§8.1.1 a list of lengths",
                posts(&[("content-length", "3, 3")], &[data(END_STREAM, b"abc")]),
                MALFORMED,
            ),
            (
                "§8.1.1 a length with a sign",
                posts(&[("content-length", "+3")], &[data(END_STREAM, b"abc")]),
                MALFORMED,
            ),
            (
                "§8.1.1 a length past any number",
                posts(&[("content-length", "99999999999999999999")], &[data(0, b"abc")]),
                MALFORMED,
            ),
            (
                "§8.2.2 TE of more than trailers",
                posts(&[("te", "trailers, gzip")], &[data(END_STREAM, b"")]),
                MALFORMED,
            ),
            ("§8.2.2 TE of trailers", posts(&[("te", "trailers")], &[data(END_STREAM, b"")]), Works),
            (
                "§8.2.2 transfer-encoding",
                posts(&[("transfer-encoding", "chunked")], &[data(END_STREAM, b"0\r\n\r\n")]),
                MALFORMED,
            ),
            ("§8.2.2 proxy-connection", posts(&[("proxy-connection", "keep-alive")], &[]), MALFORMED),
            (
                "§8.5 DATA in a CONNECT that no one has taken",
                [
                    headers(END_HEADERS, 1, &fields(&[(":method", "CONNECT"), (":authority", "a:80")])),
                    data(0, b"x"),
                ]
                .concat(),
                Works,
            ),
        ],
    )
    .await;
}

/// What the daemon says to a client that begins with these bytes, until the end of the connection.
async fn check_preface(daemon: &mut Daemon, name: &str, bytes: &[u8], expected: Option<u32>) {
    let mut peer: Peer = daemon.connect("fe").await;
    peer.try_send(bytes).await;
    let rest = peer.rest().await;
    let goaway = |code: u32| {
        let last = &code.to_be_bytes();
        rest.windows(17).any(|frame| frame[3] == GOAWAY && frame[..3] == [0, 0, 8] && frame[13..] == last[..])
    };
    match expected {
        Some(code) => assert!(goaway(code), "{name}: {rest:?}"),
        None => assert!(!rest.windows(3).any(|bytes| bytes == b"200"), "{name}: {rest:?}"),
    }
}

#[tokio::test]
async fn prefaces() {
    let cfg = plan().defaults("timeout http-request 300ms").cfg().replace("bind <fe>", "bind <fe> proto h2");
    let mut daemon = Setup::new(cfg).start();
    let with = |bytes: &[u8]| [PREFACE, bytes].concat();
    let block = request("/");
    check_preface(&mut daemon, "§3.4 another text", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", None).await;
    check_preface(&mut daemon, "§3.4 a request of HTTP/1", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", None).await;
    check_preface(&mut daemon, "§3.4 half of it", &PREFACE[..12], None).await;
    let code = Some(PROTOCOL_ERROR);
    check_preface(&mut daemon, "§3.4 HEADERS first", &with(&headers(WHOLE, 1, &block)), code).await;
    check_preface(&mut daemon, "§3.4 PING first", &with(&frame(PING, 0, 0, &[0; 8])), code).await;
    check_preface(&mut daemon, "§3.4 an acknowledgement first", &with(&frame(SETTINGS, ACK, 0, &[])), code)
        .await;
    check_preface(&mut daemon, "§3.4 an unknown frame first", &with(&frame(0x42, 0, 0, &[])), code).await;
    works(&mut daemon).await;
}

#[tokio::test]
async fn what_must_be_answered() {
    let origin = Origin::bind();
    let hello = "http-request return status 200 content-type text/plain string hello if { path /hello }";
    let mut daemon = Setup::new(plan().frontend(hello).cfg()).at("s1", origin.addr()).start();
    let mut client = Frames::client(daemon.connect("fe").await, &[]).await;
    // §6.7: the same bytes, acknowledged; no answer to an answer.
    client.send(PING, ACK, 0, b"an reply").await;
    client.send(PING, 0, 0, b"12345678").await;
    let pong = client.wait(PING).await;
    assert_eq!((pong.flags, &pong.payload[..]), (ACK, &b"12345678"[..]));
    // §6.5.3: each SETTINGS is acknowledged, an acknowledgement is not.
    for value in [1u32, 2, 3] {
        client.peer.send(setting(3, value)).await;
        let ack = client.wait(SETTINGS).await;
        assert_eq!((ack.flags, ack.payload.len()), (ACK, 0));
    }
    // §6.9.1: a stream's window holds content back; it comes as far as the window opens.
    client.peer.send(setting(4, 0)).await;
    client.wait(SETTINGS).await;
    client.get(1, "/hello").await;
    assert_eq!(client.wait(HEADERS).await.status(), Some(200));
    client.peer.send(update(1, 2)).await;
    let data = client.wait(DATA).await;
    assert_eq!((data.flags, &data.payload[..]), (0, &b"he"[..]));
    client.peer.send(update(1, 9)).await;
    let data = client.wait(DATA).await;
    assert_eq!((data.flags, &data.payload[..]), (END_STREAM, &b"llo"[..]));
    // §4.3.1: a smaller table is acknowledged by the next field block.
    client.peer.send(setting(1, 0)).await;
    client.wait(SETTINGS).await;
    client.get(3, "/").await;
    assert_eq!(client.wait(HEADERS).await.payload[0], 0x20);
}

#[tokio::test]
async fn pseudo_fields_in_trailers_reach_nobody() {
    // §8.1 calls them malformed. The frame layer drops them: what is left of the trailers goes on.
    for (trailers, expected) in [
        (fields(&[(":path", "/x"), ("x-sum", "1")]), "0\r\nx-sum: 1\r\n\r\n"),
        (request("/second"), "0\r\n\r\n"),
    ] {
        let mut rig = plan().start();
        let mut client = Frames::client(rig.client().await, &[]).await;
        client.peer.send(open(headers(WHOLE, 1, &trailers))).await;
        let mut origin = rig.origin.accept().await;
        assert!(origin.head().await.starts_with("GET /wait HTTP/1.1\r\n"));
        origin.expect(expected).await;
        origin.expect_quiet().await;
    }
}
