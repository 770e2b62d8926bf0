//! Frames, streams and windows: RFC 9113 §3 to §6.

use super::*;

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
