//! What clients must not do in HTTP/2 (RFC 9113, RFC 7541), and what they do to keep a proxy busy.

use lb_tests::frames::*;
use lb_tests::{Daemon, Origin, Rig, Served, Setup, eventually, ok};

/// How a violation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The stream is reset or answered 400; the connection goes on.
    Stream,
    /// GOAWAY with this code.
    Connection(u32),
}

/// A daemon that answers by itself, so that what gets through is seen.
fn answering() -> Daemon {
    let cfg = Rig::http().quiet().frontend("http-request return status 200 if { path / }").cfg();
    Setup::new(cfg).start()
}

/// What one request with these fields comes to.
async fn check_request(
    daemon: &mut Daemon,
    list: &[(&str, &str)],
    ended: bool,
    body: &[&[u8]],
    expected: End,
) {
    let mut client = Frames::client(daemon.connect("fe").await, &[]).await;
    let flags = if ended { END_STREAM | END_HEADERS } else { END_HEADERS };
    client.send(HEADERS, flags, 1, &fields(list)).await;
    for (index, data) in body.iter().enumerate() {
        let flags = if index + 1 == body.len() { END_STREAM } else { 0 };
        client.send(DATA, flags, 1, data).await;
    }
    let end = outcome(&mut client, 1).await;
    assert_eq!(end, Some(expected), "{list:?}");
    if expected == End::Stream {
        client.get(3, "/").await;
        assert_eq!(outcome(&mut client, 3).await, None, "after {list:?}");
    }
}

/// How a stream ends; `None` with an answer of 200.
async fn outcome(client: &mut Frames, stream: u32) -> Option<End> {
    loop {
        let frame = client.next().await;
        match frame.kind {
            GOAWAY => return Some(End::Connection(frame.code())),
            RST_STREAM if frame.stream == stream => {
                assert_eq!(frame.code(), PROTOCOL_ERROR);
                return Some(End::Stream);
            }
            HEADERS if frame.stream == stream => match frame.status() {
                Some(200) => return None,
                Some(400) => return Some(End::Stream),
                _ => panic!("{frame:?}"),
            },
            _ => {}
        }
    }
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "a.example");
const PATH: (&str, &str) = (":path", "/");

#[tokio::test]
async fn malformed_requests_are_never_answered() {
    let mut daemon = answering();
    let malformed: &[&[(&str, &str)]] = &[
        // RFC 9113 §8.2.1: names and values.
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x", " leading")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x", "trailing\t")],
        // §8.2.2: fields of a connection.
        &[METHOD, SCHEME, AUTHORITY, PATH, ("connection", "close")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("keep-alive", "1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("proxy-connection", "x")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("transfer-encoding", "chunked")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("upgrade", "h2c")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("te", "gzip")],
        // §8.3: pseudo fields.
        &[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")],
        &[METHOD, SCHEME, AUTHORITY, PATH, PATH],
        &[METHOD, METHOD, SCHEME, AUTHORITY, PATH],
        &[METHOD, SCHEME, AUTHORITY, ("x", "1"), PATH],
        &[METHOD, SCHEME, AUTHORITY],
        &[METHOD, AUTHORITY, PATH],
        &[SCHEME, AUTHORITY, PATH],
        // §8.3.1: what they may be.
        &[METHOD, SCHEME, AUTHORITY, (":path", "")],
        &[METHOD, SCHEME, AUTHORITY, (":path", "relative")],
        &[METHOD, SCHEME, AUTHORITY, (":path", "*")],
        &[METHOD, SCHEME, AUTHORITY, (":path", "/a b")],
        &[METHOD, SCHEME, AUTHORITY, (":path", "/\r\nx: y")],
        &[("method", "GET"), METHOD, SCHEME, AUTHORITY, PATH],
        &[METHOD, (":scheme", "ht tp"), AUTHORITY, PATH],
        &[METHOD, SCHEME, (":authority", "user@a.example"), PATH],
        &[METHOD, SCHEME, (":authority", "a.example/x"), PATH],
        &[METHOD, SCHEME, (":authority", "a.example:99999"), PATH],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "b.example")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "a.example:81")],
        &[METHOD, SCHEME, PATH, ("host", "a.example"), ("host", "b.example")],
        // §8.5: CONNECT.
        &[(":method", "CONNECT"), SCHEME, (":authority", "a.example:80"), PATH],
        &[(":method", "CONNECT")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (":protocol", "websocket")],
        &[(":method", "CONNECT"), SCHEME, AUTHORITY, PATH, (":protocol", "unknown")],
        // §8.1.1: a length without content, or none at all.
        &[METHOD, SCHEME, AUTHORITY, PATH, ("content-length", "1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("content-length", "-1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("content-length", "0x1")],
    ];
    for list in malformed {
        check_request(&mut daemon, list, true, &[], End::Stream).await;
    }
    // Names and values that no field can have; RFC 9113 §5.4.2 leaves it open to end the connection, too.
    let impossible: &[&[(&str, &str)]] = &[
        &[METHOD, SCHEME, AUTHORITY, PATH, ("X-Upper", "1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("with space", "1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("colon:", "1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("", "1")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x", "nu\0l")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x", "line\nfeed")],
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x", "carriage\rreturn: y")],
        &[METHOD, SCHEME, AUTHORITY, PATH, (":unknown", "1")],
        &[(":method", "G ET"), SCHEME, AUTHORITY, PATH],
        &[(":method", ""), SCHEME, AUTHORITY, PATH],
    ];
    for list in impossible {
        check_request(&mut daemon, list, true, &[], End::Connection(PROTOCOL_ERROR)).await;
    }
}

#[tokio::test]
async fn content_must_be_as_long_as_announced() {
    let origin = Served::new("fine");
    let mut daemon = Setup::new(Rig::http().quiet().cfg()).at("s1", origin.addr()).start();
    let post = (":method", "POST");
    for (length, body) in
        [("3", &[&b"ab"[..]][..]), ("3", &[b"abcd"]), ("0", &[b"a"]), ("3", &[b"ab", b"cd"])]
    {
        let list = [post, SCHEME, AUTHORITY, PATH, ("content-length", length)];
        check_request(&mut daemon, &list, false, body, End::Stream).await;
    }
    // Two lengths, of which only one can be right.
    let list = [post, SCHEME, AUTHORITY, PATH, ("content-length", "1"), ("content-length", "2")];
    check_request(&mut daemon, &list, false, &[b"a"], End::Stream).await;
    assert!(
        origin.requests().iter().all(|request| !request.head.starts_with("POST") || request.body.len() < 3)
    );
}

/// What frames do to a connection with stream 1 half closed and answered.
async fn check_frames(daemon: &mut Daemon, frames: &[Vec<u8>], expected: u32) {
    let mut client = Frames::client(daemon.connect("fe").await, &[]).await;
    client.get(1, "/").await;
    assert_eq!(outcome(&mut client, 1).await, None);
    client.peer.try_send(frames.concat()).await;
    loop {
        let frame = client.next().await;
        if frame.kind == GOAWAY {
            // The frame layer calls most violations by the general name (RFC 9113 §7: codes are for diagnosis).
            assert!([expected, PROTOCOL_ERROR].contains(&frame.code()), "{frames:?}: {frame:?}");
            break;
        }
    }
    client.peer.rest().await;
}

#[tokio::test]
async fn violations_of_the_connection_end_it() {
    let mut daemon = answering();
    let block = request("/");
    let headers = |flags: u8, stream: u32| frame(HEADERS, flags, stream, &block);
    let whole = END_STREAM | END_HEADERS;
    let cases: &[(&[Vec<u8>], u32)] = &[
        // RFC 9113 §4.2, §6: sizes.
        (&[frame(DATA, 0, 3, &[0; 16_385])], FRAME_SIZE_ERROR),
        (&[frame(PING, 0, 0, &[0; 7])], FRAME_SIZE_ERROR),
        (&[frame(SETTINGS, 0, 0, &[0; 5])], FRAME_SIZE_ERROR),
        (&[frame(SETTINGS, ACK, 0, &[0; 6])], FRAME_SIZE_ERROR),
        (&[frame(WINDOW_UPDATE, 0, 0, &[0; 3])], FRAME_SIZE_ERROR),
        (&[frame(RST_STREAM, 0, 1, &[0; 3])], FRAME_SIZE_ERROR),
        // §5.1.1: numbers of streams.
        (&[headers(whole, 2)], PROTOCOL_ERROR),
        (&[headers(whole, 5), headers(whole, 3)], PROTOCOL_ERROR),
        // §5.1: states.
        (&[frame(DATA, 0, 7, b"idle")], PROTOCOL_ERROR),
        (&[frame(RST_STREAM, 0, 7, &8u32.to_be_bytes())], PROTOCOL_ERROR),
        (&[frame(WINDOW_UPDATE, 0, 7, &1u32.to_be_bytes())], PROTOCOL_ERROR),
        // §6: frames on the wrong stream.
        (&[frame(DATA, 0, 0, b"zero")], PROTOCOL_ERROR),
        (&[headers(whole, 0)], PROTOCOL_ERROR),
        (&[frame(RST_STREAM, 0, 0, &[0; 4])], PROTOCOL_ERROR),
        (&[frame(SETTINGS, 0, 1, &[])], PROTOCOL_ERROR),
        (&[frame(PING, 0, 1, &[0; 8])], PROTOCOL_ERROR),
        (&[frame(GOAWAY, 0, 1, &[0; 8])], PROTOCOL_ERROR),
        (&[frame(PUSH_PROMISE, END_HEADERS, 1, &[0; 8])], PROTOCOL_ERROR),
        // §6.1: padding longer than the frame.
        (&[frame(DATA, 8, 3, &[9, 0])], PROTOCOL_ERROR),
        // §6.5.2: values of settings.
        (&[frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])], PROTOCOL_ERROR),
        (&[frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])], FLOW_CONTROL_ERROR),
        (&[frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1])], PROTOCOL_ERROR),
        // §6.9: windows.
        (&[frame(WINDOW_UPDATE, 0, 0, &[0; 4])], PROTOCOL_ERROR),
        (&[frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])], FLOW_CONTROL_ERROR),
        // §6.10: a field block is not to be interrupted.
        (&[headers(END_STREAM, 3), frame(PING, 0, 0, &[0; 8])], PROTOCOL_ERROR),
        (&[headers(END_STREAM, 3), frame(CONTINUATION, END_HEADERS, 5, &[])], PROTOCOL_ERROR),
        (&[frame(CONTINUATION, END_HEADERS, 1, &[])], PROTOCOL_ERROR),
        // RFC 7541: an index of nothing, a table larger than agreed, a number without end, bad Huffman code.
        (&[frame(HEADERS, whole, 3, &[0xff, 0xff, 0x03])], COMPRESSION_ERROR),
        (&[frame(HEADERS, whole, 3, &[0x80])], COMPRESSION_ERROR),
        (&[frame(HEADERS, whole, 3, &[0x3f, 0xe1, 0xff, 0x03])], COMPRESSION_ERROR),
        (&[frame(HEADERS, whole, 3, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])], COMPRESSION_ERROR),
        (&[frame(HEADERS, whole, 3, &[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00])], COMPRESSION_ERROR),
    ];
    for (frames, code) in cases {
        check_frames(&mut daemon, frames, *code).await;
    }
}

/// Sends `frames` again and again until the daemon has had enough; fails when it bears all of it, or grows.
async fn check_flood(name: &str, frames: impl Fn(u32) -> Vec<u8>) {
    let mut daemon = answering();
    let mut client = Frames::client(daemon.connect("fe").await, &[]).await;
    client.get(1, "/").await;
    assert_eq!(outcome(&mut client, 1).await, None);
    let before = daemon.rss_kib();
    let mut refused = false;
    for round in 0..2_000u32 {
        let bytes: Vec<u8> = (0..1_000).flat_map(|n| frames(round * 1_000 + n)).collect();
        if !client.peer.try_send(bytes).await {
            refused = true;
            break;
        }
    }
    assert!(refused, "{name}: 2,000,000 rounds were borne");
    let after = daemon.rss_kib();
    assert!(after < before + 16 * 1024, "{name}: from {before} to {after} KiB");
    // Others are served.
    let mut other = Frames::client(daemon.connect("fe").await, &[]).await;
    other.get(1, "/").await;
    assert_eq!(outcome(&mut other, 1).await, None, "{name}");
}

#[tokio::test]
async fn floods_end_the_connection_and_cost_no_memory() {
    let whole = END_STREAM | END_HEADERS;
    let cancel = 8u32.to_be_bytes();
    let stream = |n: u32| 3 + 2 * n;
    check_flood("ping", |_| frame(PING, 0, 0, &[0; 8])).await;
    check_flood("settings", |_| frame(SETTINGS, 0, 0, &[])).await;
    check_flood("priority", |_| frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 0])).await;
    check_flood("window updates", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])).await;
    check_flood("unknown frames", |_| frame(0x77, 0, 0, &[])).await;
    check_flood("rapid reset", |n| {
        [frame(HEADERS, whole, stream(n), &request("/")), frame(RST_STREAM, 0, stream(n), &cancel)].concat()
    })
    .await;
    // The peer provokes resets of ours instead of sending its own.
    check_flood("made you reset", |n| {
        [
            frame(HEADERS, END_HEADERS, stream(n), &request("/hang")),
            frame(WINDOW_UPDATE, 0, stream(n), &[0; 4]),
        ]
        .concat()
    })
    .await;
    check_flood("malformed requests", |n| {
        frame(HEADERS, whole, stream(n), &fields(&[METHOD, SCHEME, AUTHORITY, PATH, ("connection", "x")]))
    })
    .await;
    check_flood("empty data", |n| match n {
        0 => frame(HEADERS, END_HEADERS, 3, &request("/hang")),
        _ => frame(DATA, 0, 3, &[]),
    })
    .await;
    check_flood("empty continuations", |n| match n {
        0 => frame(HEADERS, END_STREAM, 3, &request("/")),
        _ => frame(CONTINUATION, 0, 3, &[]),
    })
    .await;
    check_flood("endless head", |n| match n {
        0 => frame(HEADERS, END_STREAM, 3, &request("/")),
        _ => frame(CONTINUATION, 0, 3, &fields(&[("x-filler", &"x".repeat(1_000))])),
    })
    .await;
}

#[tokio::test]
async fn a_bomb_of_indexed_fields_is_refused() {
    let mut daemon = answering();
    let mut client = Frames::client(daemon.connect("fe").await, &[]).await;
    let before = daemon.rss_kib();
    // One field of 4,000 bytes goes into the table, then each byte stands for it: 16 KiB that mean 64 MiB.
    let mut block = request("/");
    block.push(0x40);
    block.extend_from_slice(&fields(&[("x", &"y".repeat(3_900))])[1..]);
    for round in 0..50 {
        let mut bomb = block.clone();
        bomb.resize(16_000, 0xbe);
        let stream = 1 + 2 * round;
        if !client.peer.try_send(frame(HEADERS, END_STREAM | END_HEADERS, stream, &bomb)).await {
            break;
        }
    }
    let answers = client.peer.rest().await;
    // GOAWAY is the last that is heard of it.
    assert!(answers.windows(2).any(|bytes| bytes == [GOAWAY, 0]), "{answers:?}");
    let after = daemon.rss_kib();
    assert!(after < before + 16 * 1024, "from {before} to {after} KiB");
}

#[tokio::test]
async fn large_responses_that_nobody_reads_wait_at_the_origin() {
    let origin = Origin::bind().serve(|_| ok(&"x".repeat(4_000_000)));
    let cfg = Rig::http().quiet().global("tune.h2.fe.max-concurrent-streams 100").cfg();
    let mut daemon = Setup::new(cfg).at("s1", origin.addr()).start();
    for (name, settings) in [
        // No window for any stream; one byte each; as much as there can be, of which nothing is read.
        ("no window", &[(4, 0)][..]),
        ("small windows", &[(4, 1)]),
        ("large windows", &[(4, 0x7fff_ffff), (5, 16_777_215)]),
    ] {
        let mut client = Frames::client(daemon.connect("fe").await, settings).await;
        let before = daemon.rss_kib();
        let requests =
            (0..100).flat_map(|n| frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * n, &request("/")));
        let update = frame(WINDOW_UPDATE, 0, 0, &0x7000_0000u32.to_be_bytes());
        client.peer.send([update, requests.collect()].concat()).await;
        // All of them have reached the origin, which has sent what anybody takes.
        eventually(format!("{name}: 100 requests"), || origin.open() >= 100).await;
        let mut last = 0;
        eventually(format!("{name}: memory that no longer grows"), || {
            let now = daemon.rss_kib();
            let same = now == last;
            last = now;
            same
        })
        .await;
        // A buffer each way and what the frame layer holds, for each stream; 400 MB are waiting.
        assert!(last < before + 32 * 1024, "{name}: from {before} to {last} KiB");
        client.peer.reset();
        eventually(format!("{name}: the server's connections to go"), || origin.open() == 0).await;
    }
}

#[tokio::test]
async fn bodies_that_trickle_cost_what_their_windows_allow() {
    let origin = Origin::bind();
    let cfg = Rig::http().quiet().cfg();
    let mut daemon = Setup::new(cfg).at("s1", origin.addr()).start();
    let before = daemon.rss_kib();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Frames::client(daemon.connect("fe").await, &[]).await;
        // 50 streams of which each sends all that its window allows to a server that reads nothing.
        for stream in (0..50).map(|n| 1 + 2 * n) {
            let block = request("/");
            let head = frame(HEADERS, END_HEADERS, stream, &block);
            if !client.peer.try_send([head, frame(DATA, 0, stream, &[0; 16_384])].concat()).await {
                break;
            }
        }
        // An answer says that all of it has been taken.
        client.send(PING, 0, 0, &[0; 8]).await;
        client.wait(PING).await;
        clients.push(client);
    }
    let after = daemon.rss_kib();
    assert!(after < before + 48 * 1024, "from {before} to {after} KiB");
}
