//! What RFC 9113 and RFC 7541 forbid a server, one row for each rule: the bytes it answers a request with, and how the
//! daemon must take them. Whatever a row does, its client is answered or hung up on, and nothing of it reaches another.

use std::time::Duration;

use lb_tests::frames::*;
use lb_tests::http::post;
use lb_tests::rig::Plan;
use lb_tests::{Rig, get};

/// How long any row may take.
const ROW: Duration = Duration::from_secs(5);
const WHOLE: u8 = END_STREAM | END_HEADERS;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;

/// How the daemon takes what a server sends.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// The client gets a 502, or hears no more if it got a part; the server gets GOAWAY with one of these codes or is
    /// hung up on.
    Ends(&'static [u32]),
    /// The same for the client; the server's stream is reset with one of these codes or has ended already. Its
    /// connection serves the next request.
    Resets(&'static [u32]),
    /// The client gets a response of this status and this body, and so does the next one.
    Works(u16, &'static str),
}
use Expect::{Ends, Resets, Works};

const PROTOCOL: Expect = Ends(&[PROTOCOL_ERROR]);
const SIZE: Expect = Ends(&[FRAME_SIZE_ERROR]);
const FLOW: Expect = Ends(&[FLOW_CONTROL_ERROR]);
/// A field block that cannot be decoded; the frame layer has the general code for it.
const COMPRESSION: Expect = Ends(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);
const MALFORMED: Expect = Resets(&[PROTOCOL_ERROR, CANCEL]);
/// A response without content.
const FINE: Expect = Works(200, "");

/// One rule: section and words, what is sent for the request on stream 1, what comes of it.
type Row = (&'static str, Vec<u8>, Expect);

fn plan() -> Plan {
    Rig::http().quiet().server("proto h2").backend("http-reuse always").defaults("retries 0")
}

async fn check(rows: Vec<Row>) {
    let mut failures = Vec::new();
    let mut rig = plan().start();
    for (name, bytes, expected) in rows {
        match tokio::time::timeout(ROW, row(&mut rig, &bytes, expected)).await {
            Ok(None) => {}
            Ok(Some(failure)) => failures.push(format!("{name}: {expected:?}, but {failure}")),
            Err(_) => {
                failures.push(format!("{name}: {expected:?}, but nothing happens"));
                rig = plan().start();
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What is wrong with the daemon's reaction.
async fn row(rig: &mut Rig, bytes: &[u8], expected: Expect) -> Option<String> {
    let mut client = rig.client().await;
    client.send(post("/", "x")).await;
    let mut origin = Frames::server(rig.origin.accept().await, &[]).await;
    origin.wait(HEADERS).await;
    origin.wait(DATA).await;
    origin.peer.try_send(bytes).await;
    let reply = client.try_reply().await;
    let text = reply.as_ref().map(|reply| (reply.status(), reply.text()));
    if let Works(status, body) = expected {
        if text != Some((status, body.to_owned())) {
            return Some(format!("{text:?}"));
        }
    } else if text.as_ref().is_some_and(|(status, _)| *status != 502) {
        return Some(format!("{text:?}"));
    }
    if let Ends(codes) = expected {
        return ended(&mut origin, codes).await;
    }
    // The next request, of another client, on the same connection.
    let mut next = rig.client().await;
    next.send(get("/next")).await;
    loop {
        let frame = origin.next().await;
        match (frame.kind, expected) {
            (GOAWAY, _) => return Some(format!("{frame:?}")),
            (RST_STREAM, Resets(codes)) if codes.contains(&frame.code()) => {}
            (RST_STREAM, Works(..)) if frame.code() == 0 => {}
            (RST_STREAM, _) => return Some(format!("{frame:?}")),
            (HEADERS, _) => {
                origin.send(HEADERS, WHOLE, frame.stream, &fields(&[(":status", "404")])).await;
                break;
            }
            _ => {}
        }
    }
    let reply = next.reply().await;
    let sound = reply.status() == 404 && reply.body.is_empty();
    // Left and seen to be closed, so that the next row has a connection of its own.
    origin.send(GOAWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]).await;
    origin.peer.rest().await;
    (!sound).then(|| format!("the next got {}", reply.head))
}

/// Waits for the end of the server's connection; what is wrong with it.
async fn ended(origin: &mut Frames, codes: &[u32]) -> Option<String> {
    let rest = origin.peer.rest().await;
    let mut at = 0;
    while let Some(head) = rest.get(at..at + 9) {
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        if head[3] == GOAWAY
            && let Some(code) = rest.get(at + 13..at + 17)
        {
            let code = u32::from_be_bytes(code.try_into().unwrap_or_default());
            return (!codes.contains(&code)).then(|| format!("GOAWAY with {code}"));
        }
        at += 9 + length;
    }
    Some("no GOAWAY".to_owned())
}

fn status(status: &str, more: &[(&str, &str)]) -> Vec<u8> {
    fields(&[&[(":status", status)], more].concat())
}

fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, block)
}

/// A whole response without content, with `more` behind its fields.
fn answers(more: &[u8]) -> Vec<u8> {
    headers(WHOLE, 1, &[&status("200", &[]), more].concat())
}

fn fine() -> Vec<u8> {
    answers(&[])
}

/// These bytes, then a whole response.
fn before(bytes: Vec<u8>) -> Vec<u8> {
    [bytes, fine()].concat()
}

/// A response's head with these fields, and what follows it.
fn begins(list: &[(&str, &str)], rest: &[Vec<u8>]) -> Vec<u8> {
    [headers(END_HEADERS, 1, &status("200", list)), rest.concat()].concat()
}

fn data(flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, 1, bytes)
}

fn update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

#[tokio::test]
async fn frames_and_field_blocks() {
    let block = status("200", &[("x", "y")]);
    let (start, rest) = block.split_at(5);
    let interrupted = |other: Vec<u8>| {
        [headers(END_STREAM, 1, start), other, frame(CONTINUATION, END_HEADERS, 1, rest)].concat()
    };
    check(vec![
        ("§4.1 the reserved bit is ignored", frame(HEADERS, WHOLE, 1 | 1 << 31, &block), FINE),
        ("§4.1 undefined flags are ignored", headers(WHOLE | 0xd2, 1, &block), FINE),
        ("§5.5 unknown types are ignored", before(frame(0x42, 0xff, 1, b"whatever")), FINE),
        ("§4.2 a frame larger than allowed", begins(&[], &[data(END_STREAM, &[0; 16_385])]), SIZE),
        ("§4.2 a larger one of an unknown type", frame(0x42, 0, 0, &[0; 16_385]), SIZE),
        (
            "§4.3 a block in two frames",
            [headers(END_STREAM, 1, start), frame(CONTINUATION, END_HEADERS, 1, rest)].concat(),
            FINE,
        ),
        ("§4.3 an empty block", headers(WHOLE, 1, &[]), MALFORMED),
        ("§6.2 DATA in a block", interrupted(data(0, b"x")), PROTOCOL),
        ("§6.2 PING in a block", interrupted(frame(PING, 0, 0, &[0; 8])), PROTOCOL),
        ("§6.2 SETTINGS in a block", interrupted(frame(SETTINGS, 0, 0, &[])), PROTOCOL),
        ("§5.5 an unknown type in a block", interrupted(frame(0x42, 0, 0, &[])), PROTOCOL),
        (
            "§6.10 CONTINUATION of another stream",
            [headers(END_STREAM, 1, start), frame(CONTINUATION, END_HEADERS, 3, rest)].concat(),
            PROTOCOL,
        ),
        ("§6.10 CONTINUATION alone", frame(CONTINUATION, END_HEADERS, 1, &block), PROTOCOL),
        (
            "§6.10 CONTINUATION of stream 0",
            [headers(END_STREAM, 1, start), frame(CONTINUATION, END_HEADERS, 0, rest)].concat(),
            PROTOCOL,
        ),
    ])
    .await;
}

#[tokio::test]
async fn states_of_streams() {
    let promise = |promised: u8| frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, promised, 0x82]);
    check(vec![
        ("§5.1 idle: HEADERS on a number of the client's", headers(WHOLE, 3, &status("200", &[])), PROTOCOL),
        ("§5.1 idle: DATA", frame(DATA, 0, 3, b"x"), PROTOCOL),
        ("§5.1 idle: RST_STREAM", frame(RST_STREAM, 0, 3, &[0; 4]), PROTOCOL),
        ("§5.1 idle: WINDOW_UPDATE", update(3, 1), PROTOCOL),
        ("§5.1 idle: HEADERS on a number of the server's", headers(WHOLE, 2, &status("200", &[])), PROTOCOL),
        ("§5.1 idle: DATA on a number of the server's", frame(DATA, 0, 2, b"x"), PROTOCOL),
        ("§5.1 idle: PRIORITY is no opening", before(frame(PRIORITY, 0, 7, &[0, 0, 0, 3, 0])), FINE),
        ("§5.1 closed: PRIORITY", [fine(), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0])].concat(), FINE),
        ("§5.1 closed: WINDOW_UPDATE", [fine(), update(1, 1)].concat(), FINE),
        ("§8.4 PUSH_PROMISE, which was not allowed", before(promise(2)), PROTOCOL),
        ("§6.6 PUSH_PROMISE on stream 0", frame(PUSH_PROMISE, END_HEADERS, 0, &[0, 0, 0, 2, 0x82]), PROTOCOL),
        ("§6.6 PUSH_PROMISE of an odd number", promise(3), PROTOCOL),
        ("§8.1 DATA before HEADERS", data(END_STREAM, b"x"), PROTOCOL),
        ("§8.1 an interim response that ends the stream", headers(WHOLE, 1, &status("103", &[])), MALFORMED),
        (
            "§8.1 DATA behind an interim response",
            [headers(END_HEADERS, 1, &status("103", &[])), data(END_STREAM, b"x")].concat(),
            PROTOCOL,
        ),
    ])
    .await;
}

#[tokio::test]
async fn each_kind_of_frame() {
    let priority = [0, 0, 0, 3, 7];
    check(vec![
        ("§6.1 DATA on stream 0", frame(DATA, 0, 0, b"x"), PROTOCOL),
        ("§6.1 padding", begins(&[], &[data(PADDED | END_STREAM, &[2, b'x', 0, 0])]), Works(200, "x")),
        ("§6.1 nothing but padding", begins(&[], &[data(PADDED | END_STREAM, &[2, 0, 0])]), FINE),
        (
            "§6.1 padding as long as the frame",
            begins(&[("content-length", "1")], &[data(PADDED, &[4, 0, 0, 0])]),
            PROTOCOL,
        ),
        ("§6.2 HEADERS on stream 0", headers(WHOLE, 0, &status("200", &[])), PROTOCOL),
        (
            "§6.2 padding",
            headers(WHOLE | PADDED, 1, &[&[2], &status("200", &[])[..], &[0, 0]].concat()),
            FINE,
        ),
        ("§6.2 padding longer than the block", headers(WHOLE | PADDED, 1, &[9, 0x88]), PROTOCOL),
        ("§6.2 no room for the padding's length", headers(WHOLE | PADDED, 1, &[]), SIZE),
        (
            "§6.2 a priority",
            headers(WHOLE | WITH_PRIORITY, 1, &[&priority[..], &status("200", &[])].concat()),
            FINE,
        ),
        ("§6.2 no room for the priority", headers(WHOLE | WITH_PRIORITY, 1, &[0, 0, 0]), SIZE),
        ("§6.3 PRIORITY on stream 0", frame(PRIORITY, 0, 0, &priority), PROTOCOL),
        ("§6.3 PRIORITY too short", frame(PRIORITY, 0, 1, &[0; 4]), SIZE),
        ("§6.4 RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0; 4]), PROTOCOL),
        ("§6.4 RST_STREAM too short", frame(RST_STREAM, 0, 1, &[0; 3]), SIZE),
        ("§7 RST_STREAM with an unknown code", frame(RST_STREAM, 0, 1, &[0xff; 4]), MALFORMED),
        ("§8.1 RST_STREAM without error, and no response", frame(RST_STREAM, 0, 1, &[0; 4]), MALFORMED),
        ("§6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL),
        ("§6.5 SETTINGS of a length between", frame(SETTINGS, 0, 0, &[0; 7]), SIZE),
        ("§6.5 an acknowledgement with content", frame(SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 1]), SIZE),
        ("§6.5.2 an unknown setting", before(setting(0x4242, 7)), FINE),
        ("§6.5.2 ENABLE_PUSH of a server", setting(2, 1), PROTOCOL),
        ("§6.5.2 ENABLE_PUSH of 2", setting(2, 2), PROTOCOL),
        ("§6.5.2 ENABLE_PUSH of 0", before(setting(2, 0)), FINE),
        ("§6.5.2 INITIAL_WINDOW_SIZE above", setting(4, 0x8000_0000), FLOW),
        ("§6.5.2 MAX_FRAME_SIZE below", setting(5, 16_383), PROTOCOL),
        ("§6.5.2 MAX_FRAME_SIZE above", setting(5, 16_777_216), PROTOCOL),
        ("RFC 8441 §3 ENABLE_CONNECT_PROTOCOL of 2", setting(8, 2), PROTOCOL),
        ("RFC 8441 §3 ENABLE_CONNECT_PROTOCOL taken back", [setting(8, 1), setting(8, 0)].concat(), PROTOCOL),
        ("§6.7 PING on a stream", frame(PING, 0, 1, &[0; 8]), PROTOCOL),
        ("§6.7 PING too short", frame(PING, 0, 0, &[0; 7]), SIZE),
        ("§6.7 an answer to no PING", before(frame(PING, ACK, 0, &[7; 8])), FINE),
        ("§6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
        ("§6.8 GOAWAY too short", frame(GOAWAY, 0, 0, &[0; 7]), SIZE),
        ("§6.9 WINDOW_UPDATE too short", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), SIZE),
        ("§6.9 a window by nothing", update(0, 0), PROTOCOL),
        ("§6.9 a stream's window by nothing", update(1, 0), PROTOCOL),
        ("§6.9.1 a window above", update(0, 0x7fff_ffff), FLOW),
        (
            "§6.9.1 a window that is used no more",
            begins(&[], &[update(1, 0x7fff_ffff).repeat(2), data(END_STREAM, b"x")]),
            Works(200, "x"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn field_compression() {
    let huffman = |bytes: &[u8]| {
        answers(&[&[0x00, 1, b'x', 0x80 | u8::try_from(bytes.len()).unwrap()][..], bytes].concat())
    };
    let with_update = |bytes: &[u8]| headers(WHOLE, 1, &[bytes, &status("200", &[])].concat());
    check(vec![
        ("RFC 7541 §6.1 index 0", answers(&[0x80]), COMPRESSION),
        ("RFC 7541 §2.3.3 an index past the table", answers(&[0xbe]), COMPRESSION),
        ("RFC 7541 §2.3.3 an index of the dynamic table", answers(&[0x40, 1, b'x', 1, b'y', 0xbe]), FINE),
        ("RFC 7541 §2.3.3 one past it", answers(&[0x40, 1, b'x', 1, b'y', 0xbf]), COMPRESSION),
        ("RFC 7541 §5.1 an integer too large", answers(&[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), COMPRESSION),
        ("RFC 7541 §5.1 an integer cut off", answers(&[0xff]), COMPRESSION),
        ("RFC 7541 §5.2 a string longer than the block", answers(&[0x00, 1, b'x', 5, b'a']), COMPRESSION),
        ("RFC 7541 §5.2 Huffman code", huffman(&[0x1f]), FINE),
        ("RFC 7541 §5.2 padding of more than 7 bits", huffman(&[0x1f, 0xff]), COMPRESSION),
        ("RFC 7541 §5.2 padding that is not of EOS", huffman(&[0x18]), COMPRESSION),
        ("RFC 7541 §5.2 the code of EOS", huffman(&[0xff; 4]), COMPRESSION),
        ("RFC 7541 §6.3 a table as large as agreed", with_update(&[0x3f, 0xe1, 0x1f]), FINE),
        ("RFC 7541 §6.3 a larger one", with_update(&[0x3f, 0xe2, 0x1f]), COMPRESSION),
        ("RFC 7541 §4.2 a change behind a field", answers(&[0x20]), COMPRESSION),
    ])
    .await;
}

#[tokio::test]
async fn messages() {
    let trailers = |list: &[(&str, &str)]| headers(WHOLE, 1, &fields(list));
    check(vec![
        (
            "§8.1.1 a length that holds",
            begins(&[("content-length", "1")], &[data(END_STREAM, b"x")]),
            Works(200, "x"),
        ),
        (
            "§8.1.1 a length and no content",
            headers(WHOLE, 1, &status("200", &[("content-length", "1")])),
            MALFORMED,
        ),
        (
            "§8.1.1 two lengths",
            begins(&[("content-length", "1"), ("content-length", "2")], &[data(END_STREAM, b"x")]),
            MALFORMED,
        ),
        ("§8.2.2 connection", begins(&[("connection", "close")], &[]), MALFORMED),
        (
            "§8.2.2 transfer-encoding",
            begins(&[("transfer-encoding", "chunked")], &[data(END_STREAM, b"0\r\n\r\n")]),
            MALFORMED,
        ),
        ("§8.2.2 proxy-connection", begins(&[("proxy-connection", "x")], &[]), MALFORMED),
        ("§8.2.2 upgrade", begins(&[("upgrade", "x")], &[]), MALFORMED),
        ("§8.2.1 white space before a value", begins(&[("x", " y")], &[]), MALFORMED),
        ("§8.2.1 white space behind a value", begins(&[("x", "y ")], &[]), MALFORMED),
        ("§8.2.1 a name in upper case", begins(&[("X", "y")], &[]), PROTOCOL),
        ("§8.2.1 a name with white space", begins(&[("x y", "z")], &[]), PROTOCOL),
        ("§8.2.1 a line break in a value", begins(&[("x", "y\r\nz: a")], &[]), PROTOCOL),
        ("§8.2.1 NUL in a value", begins(&[("x", "\0")], &[]), PROTOCOL),
        (
            "§8.3 a pseudo field of requests reaches nobody",
            headers(WHOLE, 1, &status("200", &[(":path", "/")])),
            FINE,
        ),
        ("§8.3 an unknown pseudo field", begins(&[(":x", "/")], &[]), PROTOCOL),
        ("§8.3 a pseudo field once more", begins(&[(":status", "200")], &[]), MALFORMED),
        (
            "§8.3 a pseudo field behind others",
            headers(WHOLE, 1, &fields(&[("x", "y"), (":status", "200")])),
            MALFORMED,
        ),
        ("§8.3.2 no status", headers(WHOLE, 1, &fields(&[("x", "y")])), MALFORMED),
        ("§8.3.2 a status of two digits", headers(WHOLE, 1, &status("20", &[])), PROTOCOL),
        ("§8.6 status 101", headers(WHOLE, 1, &status("101", &[])), MALFORMED),
        ("§8.1 trailers", begins(&[], &[data(0, b"x"), trailers(&[("x-sum", "1")])]), Works(200, "x")),
        (
            "RFC 9110 §6.4.1 content in a 204",
            [headers(END_HEADERS, 1, &status("204", &[])), data(END_STREAM, b"HTTP/1.1 200 OK\r\n\r\n")]
                .concat(),
            Works(204, ""),
        ),
        (
            "RFC 9110 §6.4.1 content in a 304",
            [headers(END_HEADERS, 1, &status("304", &[])), data(END_STREAM, b"HTTP/1.1 200 OK\r\n\r\n")]
                .concat(),
            Works(304, ""),
        ),
    ])
    .await;
}

#[tokio::test]
async fn settings_come_first() {
    for (name, first) in [
        ("HEADERS", headers(WHOLE, 1, &status("200", &[]))),
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("an acknowledgement", frame(SETTINGS, ACK, 0, &[])),
        ("GOAWAY", frame(GOAWAY, 0, 0, &[0; 8])),
        ("an unknown frame", frame(0x42, 0, 0, &[])),
        ("HTTP/1", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
    ] {
        let mut rig = plan().start();
        let mut client = rig.client().await;
        client.send(post("/", "x")).await;
        let mut origin = rig.origin.accept().await;
        origin.expect(PREFACE).await;
        origin.try_send(&first).await;
        let reply = client.reply().await;
        assert_eq!(reply.status(), 502, "{name}");
        origin.rest().await;
    }
}

#[tokio::test]
async fn interim_responses_come_before_the_one() {
    let mut rig = plan().start();
    let mut client = rig.client().await;
    client.send(post("/", "x")).await;
    let mut origin = Frames::server(rig.origin.accept().await, &[]).await;
    origin.wait(DATA).await;
    let interim = headers(END_HEADERS, 1, &status("103", &[("link", "</a>")]));
    origin.peer.send(before(interim.repeat(2))).await;
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    client.expect(interim.repeat(2)).await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
}

#[tokio::test]
async fn content_past_its_length_reaches_nobody() {
    for (method, list, content) in [
        ("GET", &[("content-length", "1")][..], &b"abcdef"[..]),
        ("HEAD", &[("content-length", "6")], b"abcdef"),
        ("HEAD", &[], b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let mut rig = plan().frontend("http-request return status 404 if { path /next }").start();
        let mut client = rig.client().await;
        client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let mut origin = Frames::server(rig.origin.accept().await, &[]).await;
        origin.wait(HEADERS).await;
        origin.peer.send(begins(list, &[data(0, content), data(END_STREAM, content)])).await;
        let head = client.head().await;
        assert!(["HTTP/1.1 200", "HTTP/1.1 502"].contains(&&head[..12]), "{method}: {head}");
        client.send(get("/next")).await;
        client.finish();
        // Either hung up on, or the next request is answered; never with what was left over.
        let rest = tokio::time::timeout(ROW, client.rest_text()).await.expect("an end");
        let next = rest.rsplit("</html>\n").next().unwrap_or_default().trim_start_matches('a');
        assert!(next.is_empty() || next.starts_with("HTTP/1.1 404 "), "{method}: {rest:?}");
    }
}

#[tokio::test]
async fn what_is_left_is_tried_again_and_what_is_not_offered_waits_no_longer_than_allowed() {
    // §6.8: streams above the last one that GOAWAY names were not looked at.
    let mut rig = Rig::http().quiet().server("proto h2").backend("http-reuse always").start();
    let mut client = rig.client().await;
    client.send(post("/", "x")).await;
    let mut origin = Frames::server(rig.origin.accept().await, &[]).await;
    origin.wait(DATA).await;
    origin.send(GOAWAY, 0, 0, &[0; 8]).await;
    let mut second = Frames::server(rig.origin.accept().await, &[]).await;
    let stream = second.wait(HEADERS).await.stream;
    second.send(HEADERS, WHOLE, stream, &status("204", &[])).await;
    assert_eq!(client.reply().await.status(), 204);
    // §5.1.2: a server that allows no streams gets none.
    let mut rig = plan().backend("timeout server 300ms").start();
    let mut client = rig.client().await;
    client.send(get("/")).await;
    let origin = rig.origin.accept().await;
    let mut origin = Frames::server(origin, &[(3, 0)]).await;
    assert!(client.reply().await.status() >= 502);
    drop(client);
    // §6.9.2: one without a window gets heads and no content.
    let mut client = rig.client().await;
    let _ = tokio::time::timeout(Duration::from_millis(1), origin.next()).await;
    let mut origin = {
        client.send(post("/", "content")).await;
        Frames::server(rig.origin.accept().await, &[(4, 0)]).await
    };
    origin.wait(HEADERS).await;
    assert_eq!(client.reply().await.status(), 504);
}
