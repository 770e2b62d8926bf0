//! What RFC 9113 and RFC 7541 forbid a client, one row for each rule: the bytes, and how the daemon must take them.
//!
//! Where a list of codes has more than one, the first is the RFC's and the others are what the frame layer says instead;
//! codes are for diagnosis (RFC 9113 §7), the end they announce is what counts. What a request's fields may be is in
//! `h2_abuse.rs`, too.

use std::time::Duration;

use lb_tests::frames::*;
use lb_tests::{Daemon, Origin, Peer, Rig, Setup};

/// How long any row may take.
const ROW: Duration = Duration::from_secs(5);
/// The stream that shows that the connection still works.
const LAST: u32 = 99;
const WHOLE: u8 = END_STREAM | END_HEADERS;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;

/// How the daemon takes what a row sends.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// GOAWAY with one of these codes, and the end of the connection.
    Ends(&'static [u32]),
    /// RST_STREAM of stream 1 with one of these codes; the connection goes on.
    Resets(&'static [u32]),
    /// An answer of this status for stream 1; the connection goes on.
    Answers(u16),
    /// Nothing of it: the connection goes on, no stream is reset.
    Works,
}
use Expect::{Answers, Ends, Resets, Works};

const PROTOCOL: Expect = Ends(&[PROTOCOL_ERROR]);
const SIZE: Expect = Ends(&[FRAME_SIZE_ERROR]);
const FLOW: Expect = Ends(&[FLOW_CONTROL_ERROR]);
const CLOSED: Expect = Ends(&[STREAM_CLOSED, PROTOCOL_ERROR]);
/// A field block that cannot be decoded; the frame layer has the general code for it.
const COMPRESSION: Expect = Ends(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);
const MALFORMED: Expect = Resets(&[PROTOCOL_ERROR]);

/// One rule: section and words, what is sent behind the settings, what comes of it.
type Row = (&'static str, Vec<u8>, Expect);

/// Runs all rows and names those that fail.
async fn check(cfg: lb_tests::rig::Plan, rows: Vec<Row>) {
    let origin = Origin::bind();
    let mut daemon = Setup::new(cfg.cfg()).at("s1", origin.addr()).start();
    let mut failures = Vec::new();
    for (name, bytes, expected) in rows {
        let client = Frames::client(daemon.connect("fe").await, &[]).await;
        let row = tokio::time::timeout(ROW, tokio::spawn(row(client, bytes, expected))).await;
        match row {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(failure))) => failures.push(format!("{name}: {expected:?}, but {failure}")),
            Ok(Err(panic)) => failures.push(format!("{name}: {expected:?}, but {panic}")),
            Err(_) => failures.push(format!("{name}: {expected:?}, but nothing happens")),
        }
    }
    works(&mut daemon).await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The daemon takes new connections.
async fn works(daemon: &mut Daemon) {
    let mut client = Frames::client(daemon.connect("fe").await, &[]).await;
    client.get(1, "/").await;
    assert_eq!(client.wait(HEADERS).await.status(), Some(200));
}

/// What is wrong with the daemon's reaction.
async fn row(mut client: Frames, bytes: Vec<u8>, expected: Expect) -> Option<String> {
    client.peer.try_send(bytes).await;
    if let Works = expected {
        client.get(LAST, "/").await;
    }
    loop {
        let frame = client.next().await;
        match (frame.kind, expected) {
            (HEADERS, Ends([0])) => {}
            (GOAWAY, Ends(codes)) => {
                client.peer.rest().await;
                return (!codes.contains(&frame.code())).then(|| format!("{frame:?}"));
            }
            (GOAWAY, _) => return Some(format!("{frame:?}")),
            (RST_STREAM, Resets(codes)) if frame.stream == 1 => {
                if !codes.contains(&frame.code()) {
                    return Some(format!("{frame:?}"));
                }
                client.get(LAST, "/").await;
            }
            (RST_STREAM, Works) => return Some(format!("{frame:?}")),
            (RST_STREAM, _) if frame.stream == 1 => return Some(format!("{frame:?}")),
            (HEADERS, Answers(status)) if frame.stream == 1 => {
                if frame.status() != Some(status) {
                    return Some(format!("{frame:?}"));
                }
                client.get(LAST, "/").await;
            }
            (HEADERS, Resets(_) | Ends(_)) if frame.stream == 1 => return Some(format!("{frame:?}")),
            (HEADERS, _) if frame.stream == LAST => {
                return (frame.status() != Some(200)).then(|| format!("{frame:?}"));
            }
            _ => {}
        }
    }
}

/// `/` is answered by the daemon, anything else waits for a server that never answers.
fn plan() -> lb_tests::rig::Plan {
    Rig::http().quiet().frontend("http-request return status 200 if { path / }")
}

fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, block)
}

/// A request on stream 1 that waits, its body open or not.
fn waiting(flags: u8) -> Vec<u8> {
    headers(flags | END_HEADERS, 1, &request("/wait"))
}

/// What follows a request on stream 1 whose body is open.
fn open(bytes: Vec<u8>) -> Vec<u8> {
    [waiting(0), bytes].concat()
}

fn update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// A request for `/` in one field block, with `more` behind its fields.
fn asks(more: &[u8]) -> Vec<u8> {
    headers(WHOLE, 1, &[&request("/"), more].concat())
}

/// A request for `/` with these fields in front of a body.
fn posts(list: &[(&str, &str)], body: &[Vec<u8>]) -> Vec<u8> {
    let head = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/wait")];
    let block = fields(&[&head, list].concat());
    [headers(END_HEADERS, 1, &block), body.concat()].concat()
}

fn data(flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, 1, bytes)
}

#[tokio::test]
async fn frames_and_field_blocks() {
    let block = request("/");
    let (start, rest) = block.split_at(7);
    let pieces = || {
        let (last, first) = block.split_last().unwrap();
        let middle = first.chunks(32).flat_map(|piece| frame(CONTINUATION, 0, 1, piece)).collect();
        [headers(END_STREAM, 1, &[]), middle, frame(CONTINUATION, END_HEADERS, 1, &[*last])].concat()
    };
    let interrupted = |other: Vec<u8>| {
        [headers(END_STREAM, 1, start), other, frame(CONTINUATION, END_HEADERS, 1, rest)].concat()
    };
    check(
        plan(),
        vec![
            ("§4.1 the reserved bit is ignored", frame(HEADERS, WHOLE, 1 | 1 << 31, &block), Answers(200)),
            ("§4.1 undefined flags are ignored", headers(WHOLE | 0xd2, 1, &block), Answers(200)),
            ("§4.1 undefined flags of PING", frame(PING, 0xfe, 0, &[0; 8]), Works),
            ("§4.1 undefined flags of SETTINGS", frame(SETTINGS, 0xfe, 0, &[]), Works),
            ("§5.5 unknown types are ignored", frame(0x42, 0xff, 1, b"whatever"), Works),
            ("§5.5 on stream 0, too", frame(0x42, 0, 0, b"whatever"), Works),
            ("§4.2 a frame as large as allowed", open(data(0, &[0; 16_384])), Works),
            ("§4.2 a larger one of DATA", open(data(0, &[0; 16_385])), SIZE),
            ("§4.2 a larger one of HEADERS", headers(WHOLE, 1, &[0; 16_385]), SIZE),
            ("§4.2 a larger one of an unknown type", frame(0x42, 0, 0, &[0; 16_385]), SIZE),
            (
                "§4.3 a block in two frames",
                [headers(END_STREAM, 1, start), frame(CONTINUATION, END_HEADERS, 1, rest)].concat(),
                Answers(200),
            ),
            ("§4.3 a block in many frames", pieces(), Answers(200)),
            ("§4.3 an empty block", headers(WHOLE, 1, &[]), MALFORMED),
            ("§6.2 DATA in a block", interrupted(data(0, b"x")), PROTOCOL),
            ("§6.2 HEADERS in a block", interrupted(headers(WHOLE, 3, &block)), PROTOCOL),
            ("§6.2 PRIORITY in a block", interrupted(frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0])), PROTOCOL),
            ("§6.2 SETTINGS in a block", interrupted(frame(SETTINGS, 0, 0, &[])), PROTOCOL),
            ("§6.2 PING in a block", interrupted(frame(PING, 0, 0, &[0; 8])), PROTOCOL),
            ("§6.2 WINDOW_UPDATE in a block", interrupted(update(0, 1)), PROTOCOL),
            ("§6.2 RST_STREAM in a block", interrupted(reset(1)), PROTOCOL),
            ("§5.5 an unknown type in a block", interrupted(frame(0x42, 0, 0, &[])), PROTOCOL),
            (
                "§6.10 CONTINUATION of another stream",
                [headers(END_STREAM, 1, start), frame(CONTINUATION, END_HEADERS, 3, rest)].concat(),
                PROTOCOL,
            ),
            (
                "§6.10 CONTINUATION of stream 0",
                [headers(END_STREAM, 1, start), frame(CONTINUATION, END_HEADERS, 0, rest)].concat(),
                PROTOCOL,
            ),
            ("§6.10 CONTINUATION alone", frame(CONTINUATION, END_HEADERS, 1, &block), PROTOCOL),
            (
                "§6.10 CONTINUATION of a whole block",
                [waiting(END_STREAM), frame(CONTINUATION, END_HEADERS, 1, &[])].concat(),
                PROTOCOL,
            ),
            (
                "§6.10 CONTINUATION behind DATA",
                open([data(0, b"x"), frame(CONTINUATION, END_HEADERS, 1, &[])].concat()),
                PROTOCOL,
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn states_of_streams() {
    let get = |stream| headers(WHOLE, stream, &request("/"));
    let trailers = fields(&[("x-sum", "1")]);
    check(
        plan(),
        vec![
            ("§5.1 idle: DATA", frame(DATA, 0, 5, b"x"), PROTOCOL),
            ("§5.1 idle: RST_STREAM", reset(5), PROTOCOL),
            ("§5.1 idle: WINDOW_UPDATE", update(5, 1), PROTOCOL),
            ("§5.1 idle: PRIORITY is no opening", frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 0]), Works),
            ("§5.1 idle: DATA on a number of ours", frame(DATA, 0, 2, b"x"), PROTOCOL),
            ("§5.1 idle: WINDOW_UPDATE on a number of ours", update(2, 1), PROTOCOL),
            ("§5.1 idle: RST_STREAM on a number of ours", reset(2), PROTOCOL),
            (
                "§5.1 half closed: DATA",
                [waiting(END_STREAM), data(0, b"x")].concat(),
                Ends(&[STREAM_CLOSED, PROTOCOL_ERROR]),
            ),
            (
                "§5.1 half closed: HEADERS",
                [waiting(END_STREAM), headers(WHOLE, 1, &trailers)].concat(),
                CLOSED,
            ),
            ("§5.1 half closed: WINDOW_UPDATE", [waiting(END_STREAM), update(1, 1)].concat(), Works),
            (
                "§5.1 half closed: PRIORITY",
                [waiting(END_STREAM), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0])].concat(),
                Works,
            ),
            ("§5.1 half closed: RST_STREAM", [waiting(END_STREAM), reset(1)].concat(), Works),
            (
                "§5.1 closed by RST_STREAM: DATA",
                open([reset(1), data(0, b"x")].concat()),
                Resets(&[STREAM_CLOSED]),
            ),
            (
                "§5.1 closed by RST_STREAM: HEADERS",
                [waiting(END_STREAM), reset(1), waiting(END_STREAM)].concat(),
                CLOSED,
            ),
            ("§5.1 closed: WINDOW_UPDATE", [waiting(END_STREAM), reset(1), update(1, 1)].concat(), Works),
            ("§5.1 closed: RST_STREAM", [waiting(END_STREAM), reset(1), reset(1)].concat(), Works),
            (
                "§5.1 closed: PRIORITY",
                [waiting(END_STREAM), reset(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0])].concat(),
                Works,
            ),
            ("§5.1.1 an even number", get(2), PROTOCOL),
            ("§5.1.1 a number below the last", [get(5), get(3)].concat(), CLOSED),
            ("§5.1.1 a number once more", [get(5), get(5)].concat(), CLOSED),
            ("§5.1.1 numbers that are left out", [get(5), get(9)].concat(), Works),
            ("§5.1.1 stream 0", get(0), PROTOCOL),
            ("§8.1 trailers that do not end the stream", open(headers(END_HEADERS, 1, &trailers)), MALFORMED),
            (
                "§8.1 DATA behind trailers",
                open([headers(WHOLE, 1, &trailers), data(0, b"x")].concat()),
                CLOSED,
            ),
            (
                "§8.1 trailers of a connection",
                open(headers(WHOLE, 1, &fields(&[("connection", "x")]))),
                MALFORMED,
            ),
            ("§8.1 trailers in upper case", open(headers(WHOLE, 1, &fields(&[("X-Sum", "x")]))), PROTOCOL),
        ],
    )
    .await;
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let origin = Origin::bind();
    let cfg = plan().global("tune.h2.fe.max-concurrent-streams 3").cfg();
    let mut daemon = Setup::new(cfg).at("s1", origin.addr()).start();
    let mut client = Frames::client(daemon.connect("fe").await, &[]).await;
    for stream in [1, 3, 5, 7] {
        client.get(stream, "/wait").await;
    }
    let refused = client.wait(RST_STREAM).await;
    assert_eq!((refused.stream, refused.code()), (7, REFUSED_STREAM));
    // One that ends makes room.
    client.peer.send(reset(1)).await;
    client.get(9, "/").await;
    let answer = client.wait(HEADERS).await;
    assert_eq!((answer.stream, answer.status()), (9, Some(200)));
}

#[tokio::test]
async fn each_kind_of_frame() {
    let exclusive = |on: u32| [&(on | 1 << 31).to_be_bytes()[..], &[7]].concat();
    let prioritized =
        |flags: u8, head: &[u8]| headers(WHOLE | WITH_PRIORITY | flags, 1, &[head, &request("/")].concat());
    let long = [&[0u8; 8][..], b"debug data of any length"].concat();
    check(
        plan(),
        vec![
            ("§6.1 DATA on stream 0", frame(DATA, 0, 0, b"x"), PROTOCOL),
            ("§6.1 padding", open(data(PADDED, &[3, b'x', 0, 0, 0])), Works),
            ("§6.1 nothing but padding", open(data(PADDED, &[3, 0, 0, 0])), Works),
            ("§6.1 padding as long as the frame", open(data(PADDED, &[4, 0, 0, 0])), PROTOCOL),
            ("§6.1 no room for its length", open(data(PADDED, &[])), SIZE),
            (
                "§6.2 padding",
                headers(WHOLE | PADDED, 1, &[&[2], &request("/")[..], &[0, 0]].concat()),
                Answers(200),
            ),
            ("§6.2 padding longer than the block", headers(WHOLE | PADDED, 1, &[9, 0x82]), PROTOCOL),
            ("§6.2 no room for the padding's length", headers(WHOLE | PADDED, 1, &[]), SIZE),
            ("§6.2 a priority", prioritized(0, &exclusive(3)), Answers(200)),
            (
                "§6.2 padding and a priority",
                headers(
                    WHOLE | PADDED | WITH_PRIORITY,
                    1,
                    &[&[1][..], &exclusive(0), &request("/"), &[0]].concat(),
                ),
                Answers(200),
            ),
            ("§6.2 no room for the priority", headers(WHOLE | WITH_PRIORITY, 1, &[0, 0, 0]), SIZE),
            ("§6.3 PRIORITY on stream 0", frame(PRIORITY, 0, 0, &exclusive(3)), PROTOCOL),
            ("§6.3 PRIORITY too short", open(frame(PRIORITY, 0, 1, &[0; 4])), SIZE),
            ("§6.3 PRIORITY too long", open(frame(PRIORITY, 0, 1, &[0; 6])), SIZE),
            ("§6.4 RST_STREAM on stream 0", reset(0), PROTOCOL),
            ("§6.4 RST_STREAM too short", open(frame(RST_STREAM, 0, 1, &[0; 3])), SIZE),
            ("§6.4 RST_STREAM too long", open(frame(RST_STREAM, 0, 1, &[0; 5])), SIZE),
            ("§7 RST_STREAM with an unknown code", open(frame(RST_STREAM, 0, 1, &[0xff; 4])), Works),
            ("§6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), PROTOCOL),
            ("§6.5 SETTINGS of a length between", frame(SETTINGS, 0, 0, &[0; 7]), SIZE),
            ("§6.5 SETTINGS shorter than one", frame(SETTINGS, 0, 0, &[0; 5]), SIZE),
            ("§6.5 an acknowledgement with content", frame(SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 1]), SIZE),
            ("§6.5.3 an acknowledgement of nothing", frame(SETTINGS, ACK, 0, &[]), PROTOCOL),
            ("§6.5.2 an unknown setting", setting(0x4242, 7), Works),
            (
                "§6.5.2 the same setting twice",
                frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1, 0, 4, 0, 0, 255, 255]),
                Works,
            ),
            ("§6.5.2 a client may allow a push or not", setting(2, 1), Works),
            ("§6.5.2 ENABLE_PUSH of 2", setting(2, 2), PROTOCOL),
            ("§6.5.2 INITIAL_WINDOW_SIZE at its most", setting(4, 0x7fff_ffff), Works),
            ("§6.5.2 INITIAL_WINDOW_SIZE above", setting(4, 0x8000_0000), FLOW),
            ("§6.5.2 MAX_FRAME_SIZE at its least", setting(5, 16_384), Works),
            ("§6.5.2 MAX_FRAME_SIZE below", setting(5, 16_383), PROTOCOL),
            ("§6.5.2 MAX_FRAME_SIZE at its most", setting(5, 16_777_215), Works),
            ("§6.5.2 MAX_FRAME_SIZE above", setting(5, 16_777_216), PROTOCOL),
            ("§6.5.2 HEADER_TABLE_SIZE of anything", setting(1, u32::MAX), Works),
            ("§6.5.2 HEADER_TABLE_SIZE of nothing", setting(1, 0), Works),
            ("§6.5.2 MAX_HEADER_LIST_SIZE of anything", setting(6, u32::MAX), Works),
            ("RFC 8441 §3 ENABLE_CONNECT_PROTOCOL of 2", setting(8, 2), PROTOCOL),
            (
                "§6.5.3 settings of before are acknowledged in order",
                [setting(3, 1), setting(3, 2)].concat(),
                Works,
            ),
            (
                "§8.4 PUSH_PROMISE of a client",
                open(frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])),
                PROTOCOL,
            ),
            (
                "§6.6 PUSH_PROMISE on stream 0",
                frame(PUSH_PROMISE, END_HEADERS, 0, &[0, 0, 0, 2, 0x82]),
                PROTOCOL,
            ),
            ("§6.7 PING on a stream", frame(PING, 0, 1, &[0; 8]), PROTOCOL),
            ("§6.7 PING too short", frame(PING, 0, 0, &[0; 7]), SIZE),
            ("§6.7 PING too long", frame(PING, 0, 0, &[0; 9]), SIZE),
            ("§6.7 an answer to no PING", frame(PING, ACK, 0, &[7; 8]), Works),
            ("§6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), PROTOCOL),
            ("§6.8 GOAWAY too short", frame(GOAWAY, 0, 0, &[0; 7]), SIZE),
            (
                "§6.8 GOAWAY with debug data, and a request all the same",
                [frame(GOAWAY, 0, 0, &long), asks(&[])].concat(),
                Ends(&[0]),
            ),
            ("§6.9 WINDOW_UPDATE too short", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), SIZE),
            ("§6.9 WINDOW_UPDATE too long", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1, 0]), SIZE),
            ("§6.9 a window by nothing", update(0, 0), PROTOCOL),
            ("§6.9 a stream's window by nothing", open(update(1, 0)), PROTOCOL),
            ("§6.9 the reserved bit is ignored", update(0, 1 << 31 | 1), Works),
            ("§6.9.1 a window at its most", update(0, 0x7fff_ffff - 65_535), Works),
            ("§6.9.1 a window above", update(0, 0x7fff_ffff), FLOW),
            ("§6.9.1 a stream's window above", open(update(1, 0x7fff_ffff)), Resets(&[FLOW_CONTROL_ERROR])),
            (
                "§6.9.2 a setting that lifts a window above",
                open([update(1, 0x7fff_ffff - 65_535), setting(4, 65_536)].concat()),
                FLOW,
            ),
            ("§6.9.2 a window below nothing", open([setting(4, 0), update(1, 1)].concat()), Works),
        ],
    )
    .await;
}

#[tokio::test]
async fn windows_hold_for_clients_too() {
    let cfg = plan().global("tune.h2.fe.initial-window-size 65535");
    let full = data(0, &[0; 16_384]);
    let much = full.repeat(60);
    check(
        cfg,
        vec![
            ("§6.9.1 as much as the window", open(full.repeat(3)), Works),
            ("§6.9.1 more than the window", open(much), Resets(&[FLOW_CONTROL_ERROR])),
        ],
    )
    .await;
}

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
