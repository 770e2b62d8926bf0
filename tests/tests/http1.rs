//! HTTP/1 through the proxy, byte by byte: framing, keep-alive, interim responses, tunnels, versions.

use lb_tests::http::{chunked, post};
use lb_tests::{Peer, Rig, get, is_haproxy, ok};

/// The daemon rewrites header names in lower case, like every HTTP/2-era proxy; values and order stay.
#[tokio::test]
async fn head_is_normalized_and_nothing_else() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig
        .asked("GET /Path?Query=1 HTTP/1.1\r\nHost: Test\r\nX-Two:  b \r\nX-One:a\r\nX-Two: \tc\r\nX-Empty:\r\n\r\n")
        .await;
    origin
        .expect("GET /Path?Query=1 HTTP/1.1\r\nhost: Test\r\nx-two: b\r\nx-one: a\r\nx-two: c\r\nx-empty: \r\n\r\n")
        .await;
    origin
        .send("HTTP/1.1 200 All Good\r\nServer: X\r\nContent-Length: 2\r\nX-B: \t1 \r\nX-A: 2\r\n\r\nhi")
        .await;
    client
        .expect("HTTP/1.1 200 All Good\r\nserver: X\r\ncontent-length: 2\r\nx-b: 1\r\nx-a: 2\r\n\r\nhi")
        .await;
    rig.log()
        .expect("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n>/<n>/<n> 200 <n> - - ---- 1/1/0/0/0 0/0 \"GET /Path?Query=1 HTTP/1.1\"")
        .await;
}

#[tokio::test]
async fn keep_alive_keeps_both_connections() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/0")).await;
    for index in 0..10 {
        if index > 0 {
            client.send(get(&format!("/{index}"))).await;
        }
        origin.expect(get(&format!("/{index}"))).await;
        origin.send(ok(&format!("body {index}"))).await;
        client.expect(ok(&format!("body {index}"))).await;
    }
    assert_eq!(rig.origin.accepted(), 1);
    client.close();
    for _ in 0..10 {
        rig.log().wait("<*> 200 <n> - - ---- 1/1/0/0/0 0/0 \"GET /<n> HTTP/1.1\"").await;
    }
    rig.log().expect_quiet().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked([get("/1"), post("/2", "two"), get("/3")].concat()).await;
    for (request, answer) in [(get("/1"), "one"), (post("/2", "two"), "second"), (get("/3"), "three")] {
        origin.expect(request).await;
        // The next request waits for this answer.
        origin.expect_quiet_for(std::time::Duration::from_millis(10)).await;
        origin.send(ok(answer)).await;
        client.expect(ok(answer)).await;
    }
}

#[tokio::test]
async fn any_split_of_the_bytes_is_the_same_message() {
    let mut rig = Rig::http().start();
    let request = "POST /slow HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n";
    let response = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nHello, World";
    let mut client = rig.client().await;
    let mut origin = None;
    for size in [1, 2, 3, 5, 7, 11, 1000] {
        client.send_pieces(request, size).await;
        let origin = match &mut origin {
            Some(origin) => origin,
            none => none.insert(rig.origin.accept().await),
        };
        let seen = origin.reply().await;
        assert_eq!(seen.head, "POST /slow HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(seen.text(), "Wikipedia");
        origin.send_pieces(response, size).await;
        client.expect(response).await;
    }
}

#[tokio::test]
async fn content_length_body_goes_through_both_ways() {
    let mut rig = Rig::http().start();
    let body = "0123456789".repeat(20_000);
    let mut client = rig.client().await;
    let request = post("/", &body);
    let accept = rig.origin.accept();
    let ((), mut origin) = tokio::join!(client.send(&request), async {
        let mut origin = accept.await;
        origin.expect(&request).await;
        origin
    });
    let response = ok(&body);
    tokio::join!(origin.send(&response), client.expect(&response));
    client.send(get("/after")).await;
    origin.expect(get("/after")).await;
}

#[tokio::test]
async fn chunked_bodies_larger_than_the_buffers() {
    let mut rig = Rig::http().start();
    let body: Vec<u8> = (0..400_000_u32).map(|index| index.to_le_bytes()[index as usize % 3]).collect();
    let head = "POST /c HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = rig.client().await;
    for size in [100_000, 16_384, 999] {
        let request = [head.as_bytes(), &chunked(&body, size)].concat();
        let accept = rig.origin.accept();
        let ((), mut origin) = tokio::join!(client.send(&request), async {
            let mut origin = accept.await;
            let seen = origin.reply().await;
            assert_eq!(seen.head, head);
            assert!(seen.body == body, "the body arrived changed");
            origin
        });
        let response = [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n".as_bytes(),
            &chunked(&body, size),
        ]
        .concat();
        let ((), answer) = tokio::join!(origin.send(&response), client.reply());
        assert_eq!(answer.head, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        assert!(answer.body == body, "the body arrived changed");
    }
}

#[tokio::test]
async fn trailers_go_through() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig
        .asked("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Next:2\r\n\r\n")
        .await;
    origin.expect("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n").await;
    origin.expect("3\r\nabc\r\n0\r\nx-sum: 1\r\nx-next: 2\r\n\r\n").await;
    origin
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Digest: z\r\n\r\n")
        .await;
    client.expect("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.expect("2\r\nok\r\n0\r\nx-digest: z\r\n\r\n").await;
}

#[tokio::test]
async fn chunk_extensions_are_dropped() {
    let mut rig = Rig::http().start();
    let (_client, mut origin) = rig
        .asked("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3;name=value\r\nabc\r\n0;x\r\n\r\n")
        .await;
    origin.expect("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n").await;
    origin.expect("3\r\nabc\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn response_until_close() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.expect(get("/")).await;
    origin.send("HTTP/1.1 200 OK\r\nx: y\r\n\r\nuntil ").await;
    origin.send("the end").await;
    origin.close();
    client.expect_last("HTTP/1.1 200 OK\r\nx: y\r\nconnection: close\r\n\r\nuntil the end").await;
}

#[tokio::test]
async fn response_until_close_to_an_old_client() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked("GET / HTTP/1.0\r\n\r\n").await;
    assert!(origin.head().await.starts_with("GET / HTTP/1.0\r\n"));
    origin.send("HTTP/1.0 200 OK\r\n\r\nold").await;
    origin.close();
    client.expect_last("HTTP/1.0 200 OK\r\n\r\nold").await;
}

#[tokio::test]
async fn http_1_0_closes_unless_it_asks_to_stay() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked("GET / HTTP/1.0\r\nhost: test\r\n\r\n").await;
    let seen = origin.head().await;
    assert!(seen.starts_with("GET / HTTP/1.0\r\nhost: test\r\n"), "{seen}");
    origin.send(ok("bye")).await;
    let answer = client.reply().await;
    assert_eq!(answer.text(), "bye");
    client.expect_end().await;

    let mut client = rig.client().await;
    client.send("GET /2 HTTP/1.0\r\nhost: test\r\nconnection: keep-alive\r\n\r\n").await;
    let mut origin = rig.origin.accept().await;
    assert_eq!(origin.head().await, "GET /2 HTTP/1.0\r\nhost: test\r\nconnection: keep-alive\r\n\r\n");
    origin.send("HTTP/1.0 200 OK\r\ncontent-length: 4\r\nconnection: keep-alive\r\n\r\nstay").await;
    client.expect("HTTP/1.0 200 OK\r\ncontent-length: 4\r\nconnection: keep-alive\r\n\r\nstay").await;
    client.expect_quiet().await;
}

#[tokio::test]
async fn connection_close_of_the_client() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) =
        rig.asked("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
    // Each hop has its own connection: the server's may stay.
    origin.expect(get("/")).await;
    origin.send(ok("last")).await;
    client.expect_last("HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nlast").await;
}

#[tokio::test]
async fn connection_close_of_the_server() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.expect(get("/")).await;
    origin.send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx").await;
    origin.close();
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").await;
    client.send(get("/again")).await;
    rig.origin.accept().await.expect(get("/again")).await;
}

#[tokio::test]
async fn hop_by_hop_headers_stay_on_their_hop() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig
        .asked(
            "GET / HTTP/1.1\r\nhost: test\r\nkeep-alive: timeout=5\r\nconnection: keep-alive\r\nx: y\r\n\r\n",
        )
        .await;
    let seen = origin.head().await;
    assert!(!seen.contains("connection:"), "{seen}");
    origin.send("HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n").await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
}

#[tokio::test]
async fn bodiless_responses() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked("HEAD /head HTTP/1.1\r\nhost: test\r\n\r\n").await;
    origin.expect("HEAD /head HTTP/1.1\r\nhost: test\r\n\r\n").await;
    origin.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;

    client.send("HEAD /chunked HTTP/1.1\r\nhost: test\r\n\r\n").await;
    origin.expect("HEAD /chunked HTTP/1.1\r\nhost: test\r\n\r\n").await;
    origin.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.expect("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;

    client.send(get("/204")).await;
    origin.expect(get("/204")).await;
    origin.send("HTTP/1.1 204 No Content\r\nx: y\r\n\r\n").await;
    client.expect("HTTP/1.1 204 No Content\r\nx: y\r\n\r\n").await;

    client.send(get("/304")).await;
    origin.expect(get("/304")).await;
    origin.send("HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\netag: \"1\"\r\n\r\n").await;
    client.expect("HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\netag: \"1\"\r\n\r\n").await;

    client.send(get("/end")).await;
    origin.expect(get("/end")).await;
    origin.send(ok("")).await;
    client.expect(ok("")).await;
}

#[tokio::test]
async fn expect_100_continue_is_a_dialogue() {
    let mut rig = Rig::http().start();
    let head = "POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    let (mut client, mut origin) = rig.asked(head).await;
    origin.expect(head).await;
    client.expect_quiet().await;
    origin.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.expect("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("body").await;
    origin.expect("body").await;
    origin.send(ok("done")).await;
    client.expect(ok("done")).await;
    client.send(get("/next")).await;
    origin.expect(get("/next")).await;
}

#[tokio::test]
async fn expect_100_continue_may_be_declined() {
    let mut rig = Rig::http().start();
    let head = "POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    let (mut client, mut origin) = rig.asked(head).await;
    origin.expect(head).await;
    origin.send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n").await;
    let answer = client.head().await;
    assert!(answer.starts_with("HTTP/1.1 417 Expectation Failed\r\n"), "{answer}");
}

#[tokio::test]
async fn interim_responses_go_through() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.expect(get("/")).await;
    origin.send("HTTP/1.1 102 Processing\r\n\r\n").await;
    client.expect("HTTP/1.1 102 Processing\r\n\r\n").await;
    origin.send("HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n").await;
    client.expect("HTTP/1.1 103 Early Hints\r\nlink: </s.css>; rel=preload\r\n\r\n").await;
    origin.send(ok("at last")).await;
    client.expect(ok("at last")).await;
    rig.log().wait("<*> 200 <n> - - ---- <*>").await;
}

#[tokio::test]
async fn websocket_becomes_a_tunnel() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig
        .asked(
            "GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .await;
    let seen = origin.head().await;
    assert!(seen.starts_with("GET /chat HTTP/1.1\r\n"), "{seen}");
    for line in [
        "host: test\r\n",
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ] {
        assert!(
            seen.to_ascii_lowercase().contains(&line.to_ascii_lowercase()),
            "{line} is missing in {seen}"
        );
    }
    origin
        .send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x02\x03early",
        )
        .await;
    let answer = client.head().await;
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
    client.expect("\x02\x03early").await;
    tunnel(&mut client, &mut origin).await;
    origin.send("bye").await;
    origin.close();
    client.expect_last("bye").await;
    client.close();
    rig.log().wait("<*> fe be/s1 <n>/<n>/<n>/<n>/<n> 101 <n> - - ---- <*> \"GET /chat HTTP/1.1\"").await;
}

#[tokio::test]
async fn refused_upgrade_stays_http() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig
        .asked("GET / HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno").await;
    client.expect(ok("no")).await;
    client.send(get("/next")).await;
    origin.expect(get("/next")).await;
}

#[tokio::test]
async fn connect_becomes_a_tunnel() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) =
        rig.asked("CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n").await;
    // The default port leaves the host header, not the target.
    origin.expect("CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n").await;
    origin.send("HTTP/1.1 200 Established\r\n\r\n").await;
    client.expect("HTTP/1.1 200 Established\r\n\r\n").await;
    tunnel(&mut client, &mut origin).await;
    client.send("last").await;
    client.close();
    origin.expect_last("last").await;
}

#[tokio::test]
async fn refused_connect_stays_http() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) =
        rig.asked("CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n").await;
    origin.head().await;
    origin.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    let answer = client.reply().await;
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
}

/// Bytes that are no HTTP go both ways.
async fn tunnel(client: &mut Peer, origin: &mut Peer) {
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    tokio::join!(client.send(&bytes), origin.expect(&bytes));
    tokio::join!(origin.send(&bytes), client.expect(&bytes));
    client.send("GET / HTTP/1.1\r\n\r\n\r\n").await;
    origin.expect("GET / HTTP/1.1\r\n\r\n\r\n").await;
}

#[tokio::test]
async fn forms_of_the_target() {
    let mut rig = Rig::http().start();
    let mut client = rig.client().await;
    let mut origin = None;
    for (request, seen) in [
        ("OPTIONS * HTTP/1.1\r\nhost: test\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: test\r\n\r\n"),
        (
            // The default port of the scheme says nothing: RFC 3986 section 6.2.3.
            "GET http://test:80/abs?x HTTP/1.1\r\nhost: test:80\r\n\r\n",
            "GET http://test/abs?x HTTP/1.1\r\nhost: test\r\n\r\n",
        ),
        (
            "GET http://test:8080/abs HTTP/1.1\r\nhost: test:8080\r\n\r\n",
            "GET http://test:8080/abs HTTP/1.1\r\nhost: test:8080\r\n\r\n",
        ),
        (
            "GET /a%20b/../c//d;p?q HTTP/1.1\r\nhost: test\r\n\r\n",
            "GET /a%20b/../c//d;p?q HTTP/1.1\r\nhost: test\r\n\r\n",
        ),
        ("DELETE /%ff HTTP/1.1\r\nhost: test\r\n\r\n", "DELETE /%ff HTTP/1.1\r\nhost: test\r\n\r\n"),
        ("BREW /pot HTTP/1.1\r\nhost: test\r\n\r\n", "BREW /pot HTTP/1.1\r\nhost: test\r\n\r\n"),
    ] {
        client.send(request).await;
        let origin = match &mut origin {
            Some(origin) => origin,
            none => none.insert(rig.origin.accept().await),
        };
        origin.expect(seen).await;
        origin.send(ok("x")).await;
        client.expect(ok("x")).await;
    }
}

#[tokio::test]
async fn empty_lines_before_a_request_are_forgiven() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(["\r\n", &get("/1")].concat()).await;
    origin.expect(get("/1")).await;
    origin.send(ok("")).await;
    client.expect(ok("")).await;
    client.send(["\r\n\r\n", &get("/2")].concat()).await;
    origin.expect(get("/2")).await;
}

#[tokio::test]
async fn line_feed_alone_ends_a_line_or_is_refused() {
    let mut rig = Rig::http().start();
    let mut client = rig.client().await;
    client.send("GET /lf HTTP/1.1\nhost: test\n\n").await;
    // Both are right; what travels on is put right.
    tokio::select! {
        mut origin = rig.origin.accept_any() => origin.expect(get("/lf")).await,
        answer = client.head() => assert!(answer.starts_with("HTTP/1.1 400 ") && !is_haproxy(), "{answer}"),
    }
}

#[tokio::test]
async fn large_heads_up_to_the_buffer() {
    let mut rig = Rig::http().start();
    let value = "v".repeat(14_000);
    let request = format!("GET / HTTP/1.1\r\nhost: test\r\nx-large: {value}\r\n\r\n");
    let (mut client, mut origin) = rig.asked(&request).await;
    origin.expect(&request).await;
    let response = format!("HTTP/1.1 200 OK\r\nx-large: {value}\r\ncontent-length: 0\r\n\r\n");
    origin.send(&response).await;
    client.expect(&response).await;
    let many: String = (0..90).map(|index| format!("x-{index}: {index}\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nhost: test\r\n{many}\r\n");
    client.send(&request).await;
    origin.expect(&request).await;
}

#[tokio::test]
async fn early_response_while_the_request_still_comes() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) =
        rig.asked("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\nsome").await;
    origin.expect("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\nsome").await;
    origin.send("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig").await;
    origin.finish();
    let answer = client.reply().await;
    assert_eq!((answer.status(), answer.text().as_str()), (413, "big"));
}

#[tokio::test]
async fn client_half_close_after_the_request_still_gets_the_answer() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    client.finish();
    origin.expect(get("/")).await;
    client.expect_quiet().await;
    origin.send(ok("answer")).await;
    client.expect_last(ok("answer")).await;
    rig.log().wait("<*> 200 <n> - - ---- <*>").await;
}

#[tokio::test]
async fn response_body_streams() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/events")).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.expect("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for event in ["5\r\none\n\n\r\n", "5\r\ntwo\n\n\r\n"] {
        origin.send(event).await;
        client.expect(event).await;
    }
    origin.send("0\r\n\r\n").await;
    client.expect("0\r\n\r\n").await;
}

#[tokio::test]
async fn request_body_streams() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) =
        rig.asked("PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\n").await;
    origin.expect("PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\n").await;
    client.send("abc").await;
    origin.expect("abc").await;
    client.send("def").await;
    origin.expect("def").await;
    origin.send(ok("")).await;
    client.expect(ok("")).await;
}
