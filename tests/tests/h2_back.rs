//! Servers that speak HTTP/2: many exchanges share a connection.

use bytes::Bytes;
use http::Request;
use lb_tests::frames::*;
use lb_tests::http::post;
use lb_tests::multiplex::{self, Client, Server, answer, whole};
use lb_tests::{Peer, Rig, get, within};

/// The usual arrangement with a server that is known to speak HTTP/2.
fn plan() -> lb_tests::rig::Plan {
    Rig::http().server("proto h2").backend("http-reuse always")
}

#[tokio::test]
async fn requests_of_http1_share_a_connection() {
    let mut rig = plan().start();
    let mut client = rig.client().await;
    client.send("GET /one?q HTTP/1.1\r\nHost: a.example\r\nX-One: 1\r\nConnection: keep-alive\r\n\r\n").await;
    let mut origin = Server::new(rig.origin.accept().await).await;
    let (request, mut respond) = origin.next().await.unwrap();
    assert_eq!(request.uri(), "http://a.example/one?q");
    assert_eq!(format!("{:?}", request.headers()), r#"{"x-one": "1"}"#);
    let mut response = answer(200);
    response.headers_mut().insert("x-two", "2".parse().unwrap());
    let mut body = respond.send_response(response, false).unwrap();
    body.send_data("hello".into(), true).unwrap();
    let reply = origin.drive(client.reply()).await;
    assert_eq!(reply.head, "HTTP/1.1 200 OK\r\nx-two: 2\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(reply.text(), "hello");
    rig.log().wait(r#"<*> be/s1 <*> 200 <*> ---- <*> "GET /one?q HTTP/1.1""#).await;
    // Another client, while the first has asked again.
    client.send(post("/two", "body")).await;
    let mut other = rig.client().await;
    other.send(get("/three")).await;
    let both = [origin.next().await.unwrap(), origin.next().await.unwrap()];
    for (request, mut respond) in both {
        let path = request.uri().path().to_owned();
        if path == "/two" {
            let body = origin.drive(multiplex::read(request.into_body())).await.unwrap().0;
            assert_eq!(body, b"body");
        }
        let mut body = respond.send_response(answer(200), false).unwrap();
        body.send_data(path.into(), true).unwrap();
    }
    let (two, three) = origin.drive(async { (client.reply().await, other.reply().await) }).await;
    assert_eq!((two.text(), three.text()), ("/two".to_owned(), "/three".to_owned()));
    assert_eq!(rig.origin.accepted(), 1);
}

#[tokio::test]
async fn bodiless_and_sized_responses() {
    let mut rig = plan().start();
    let mut client = rig.client().await;
    client.send(get("/")).await;
    Server::new(rig.origin.accept().await).await.serve(|request, mut respond| async move {
        let head = request.method() == http::Method::HEAD;
        match request.uri().path() {
            "/" => drop(respond.send_response(answer(200), true)),
            "/204" => drop(respond.send_response(answer(204), true)),
            "/103" => {
                respond.send_informational(answer(103)).unwrap();
                respond.send_response(answer(200), true).unwrap();
            }
            _ => {
                let mut response = answer(200);
                response.headers_mut().insert("content-length", "3".parse().unwrap());
                let mut body = respond.send_response(response, head).unwrap();
                if !head {
                    body.send_data("abc".into(), true).unwrap();
                }
            }
        }
    });
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    client.send(get("/204")).await;
    client.expect("HTTP/1.1 204 No Content\r\n\r\n").await;
    client.send(get("/103")).await;
    client.expect("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    client.send(get("/sized")).await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc").await;
    client.send("HEAD /sized HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n").await;
    client.send(get("/")).await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
}

#[tokio::test]
async fn calls_stream_both_ways_with_trailers() {
    let mut rig = plan().start();
    let mut client = Client::new(rig.client().await).await;
    let request = Request::post("http://a.example/Service/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (response, mut up) = client.send(multiplex::build(request), false).await;
    let mut origin = Server::new(rig.origin.accept().await).await;
    let (request, mut respond) = origin.next().await.unwrap();
    assert_eq!(request.headers()["te"], "trailers");
    let mut received = request.into_body();
    let mut down = respond.send_response(answer(200), false).unwrap();
    let call = async {
        let mut response = within("a head", response).await.unwrap().into_body();
        for round in 0..20u32 {
            let message = Bytes::from(format!("message {round}"));
            multiplex::write(&mut up, message.clone(), false).await.unwrap();
            let data = within("a message", received.data()).await.unwrap().unwrap();
            assert_eq!(data, message);
            down.send_data(data, false).unwrap();
            assert_eq!(within("its echo", response.data()).await.unwrap().unwrap(), message);
        }
        up.send_data(Bytes::new(), true).unwrap();
        assert!(multiplex::read(received).await.unwrap().0.is_empty());
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        down.send_trailers(trailers).unwrap();
        assert!(within("the end", response.data()).await.is_none());
        within("trailers", response.trailers()).await.unwrap().unwrap()
    };
    assert_eq!(origin.drive(call).await["grpc-status"], "0");
    // What failed at once comes without a body.
    let (response, _) = client.send(multiplex::post("/unknown"), true).await;
    let (_, mut respond) = origin.next().await.unwrap();
    let mut failed = answer(200);
    failed.headers_mut().insert("grpc-status", "12".parse().unwrap());
    respond.send_response(failed, true).unwrap();
    let response = origin.drive(whole(response)).await;
    assert_eq!((&response.headers["grpc-status"], response.body.len()), (&"12".parse().unwrap(), 0));
}

#[tokio::test]
async fn bulk_goes_both_ways_within_the_windows() {
    let mut rig = plan().start();
    let bytes: Vec<u8> = (0..2_000_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let mut client = rig.client().await;
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", bytes.len())).await;
    let server = Server::new(rig.origin.accept().await).await;
    let content = Bytes::from(bytes.clone());
    server.serve(move |request, mut respond| {
        let content = content.clone();
        async move {
            assert!(multiplex::read(request.into_body()).await.unwrap().0 == content);
            let mut body = respond.send_response(answer(200), false).unwrap();
            multiplex::write(&mut body, content, true).await.unwrap();
        }
    });
    client.send(&bytes).await;
    assert!(client.reply().await.body == bytes);
}

#[tokio::test]
async fn limits_of_the_server_and_of_the_configuration_open_another_connection() {
    let mut rig = plan().server("max-reuse 3").start();
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(2);
    let (mut clients, mut held) = (Vec::new(), Vec::new());
    let mut first = rig.client().await;
    first.send(get("/0")).await;
    let mut origin = Server::with(rig.origin.accept().await, &mut builder).await;
    held.push(origin.next().await.unwrap().1);
    clients.push(first);
    // The server's settings are known once it has answered anything.
    held.remove(0).send_response(answer(204), true).unwrap();
    origin.drive(clients[0].reply()).await;
    for number in 1..=2 {
        let mut client = rig.client().await;
        client.send(get(&format!("/{number}"))).await;
        held.push(origin.next().await.unwrap().1);
        clients.push(client);
    }
    let mut client = rig.client().await;
    client.send(get("/full")).await;
    let mut second = origin.drive(async { Server::new(rig.origin.accept().await).await }).await;
    let (request, mut respond) = second.next().await.unwrap();
    assert_eq!(request.uri().path(), "/full");
    respond.send_response(answer(204), true).unwrap();
    assert_eq!(second.drive(client.reply()).await.status(), 204);
    for mut respond in held {
        respond.send_response(answer(204), true).unwrap();
    }
    for client in &mut clients[1..] {
        assert_eq!(origin.drive(client.reply()).await.status(), 204);
    }
}

#[tokio::test]
async fn a_connection_that_is_left_ends_what_it_has() {
    let mut rig = plan().start();
    let mut client = rig.client().await;
    client.send(get("/one")).await;
    let mut origin = raw(&rig).await;
    let stream = origin.wait(HEADERS).await.stream;
    // No stream after this one. Frames are taken in order: who answers the PING has heard of it.
    origin.send(GOAWAY, 0, 0, &[stream.to_be_bytes(), [0; 4]].concat()).await;
    origin.send(PING, 0, 0, &[7; 8]).await;
    while origin.wait(PING).await.flags & ACK == 0 {}
    // The next request goes elsewhere; the one under way goes on.
    let mut other = rig.client().await;
    other.send(get("/two")).await;
    let mut second = Server::new(rig.origin.accept().await).await;
    let (request, mut respond_two) = second.next().await.unwrap();
    assert_eq!(request.uri().path(), "/two");
    respond_two.send_response(answer(204), true).unwrap();
    assert_eq!(second.drive(other.reply()).await.status(), 204);
    origin.send(HEADERS, END_STREAM | END_HEADERS, stream, &fields(&[(":status", "200")])).await;
    assert_eq!(client.reply().await.status(), 200);
}

/// The server's side of the first connection, frame by frame.
async fn raw(rig: &Rig) -> Frames {
    Frames::server(rig.origin.accept().await, &[]).await
}

#[tokio::test]
async fn a_refused_stream_is_tried_again() {
    let mut rig = plan().start();
    let mut client = rig.client().await;
    // Not idempotent: safe nevertheless, as the server says.
    client.send(post("/", "body")).await;
    let mut origin = raw(&rig).await;
    let stream = origin.wait(HEADERS).await.stream;
    origin.send(RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes()).await;
    let stream = origin.wait(HEADERS).await.stream;
    assert_eq!(origin.wait(DATA).await.payload, b"body");
    origin.send(HEADERS, END_STREAM | END_HEADERS, stream, &fields(&[(":status", "204")])).await;
    assert_eq!(client.reply().await.status(), 204);
}

#[tokio::test]
async fn what_breaks_before_and_in_a_response() {
    let mut rig = plan().defaults("retries 0").start();
    let mut client = rig.client().await;
    client.send(post("/", "x")).await;
    let mut origin = raw(&rig).await;
    let stream = origin.wait(HEADERS).await.stream;
    origin.send(RST_STREAM, 0, stream, &2u32.to_be_bytes()).await;
    assert_eq!(client.reply().await.status(), 502);
    rig.log().wait("<*> SH-- <*>").await;
    // The connection goes on.
    client.send(get("/cut")).await;
    let stream = origin.wait(HEADERS).await.stream;
    origin.send(HEADERS, END_HEADERS, stream, &fields(&[(":status", "200"), ("content-length", "9")])).await;
    origin.send(DATA, 0, stream, b"short").await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort").await;
    origin.send(RST_STREAM, 0, stream, &2u32.to_be_bytes()).await;
    client.expect_closed().await;
    rig.log().wait("<*> SD-- <*>").await;
    // A connection that dies takes its exchanges along.
    let mut client = rig.client().await;
    client.send(post("/", "x")).await;
    origin.wait(HEADERS).await;
    origin.peer.reset();
    assert_eq!(client.reply().await.status(), 502);
}

#[tokio::test]
async fn a_client_that_leaves_and_a_server_that_sleeps_end_the_stream_alone() {
    let mut rig = plan().backend("timeout server 150ms").start();
    let mut client = rig.client().await;
    client.send(get("/slow")).await;
    let mut origin = raw(&rig).await;
    let stream = origin.wait(HEADERS).await.stream;
    assert_eq!(client.reply().await.status(), 504);
    let reset = origin.wait(RST_STREAM).await;
    assert_eq!((reset.stream, reset.code()), (stream, CANCEL));
    let mut leaving = rig.client().await;
    leaving.send(get("/left")).await;
    let stream = origin.wait(HEADERS).await.stream;
    leaving.reset();
    assert_eq!(origin.wait(RST_STREAM).await.stream, stream);
    let mut client = rig.client().await;
    client.send(get("/")).await;
    let stream = origin.wait(HEADERS).await.stream;
    origin.send(HEADERS, END_STREAM | END_HEADERS, stream, &fields(&[(":status", "200")])).await;
    assert_eq!(client.reply().await.status(), 200);
}

#[tokio::test]
async fn websockets_reach_the_server_with_an_extended_connect() {
    let mut rig = plan().start();
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let mut websocket = rig.client().await;
    websocket
        .send(
            "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    let mut origin = Server::with(rig.origin.accept().await, &mut builder).await;
    let (request, mut respond) = origin.next().await.unwrap();
    assert_eq!(request.method(), "CONNECT");
    assert_eq!(request.extensions().get::<h2::ext::Protocol>().unwrap().as_str(), "websocket");
    assert!(!request.headers().contains_key("sec-websocket-key"));
    let mut down = respond.send_response(answer(200), false).unwrap();
    let talk = async {
        let head = websocket.head().await;
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        let mut up = request.into_body();
        websocket.send("from the client").await;
        assert_eq!(within("bytes", up.data()).await.unwrap().unwrap(), "from the client");
        down.send_data("from the server".into(), true).unwrap();
        websocket.expect("from the server").await;
        websocket.expect_end().await;
        websocket.finish();
        assert!(multiplex::read(up).await.unwrap().0.is_empty());
    };
    origin.drive(talk).await;
}

/// What a client gets of a server that answers with these frames' bytes, given the stream.
async fn check_malformed(frames: impl Fn(u32) -> Vec<u8>) {
    let mut rig = plan().defaults("retries 0").start();
    let mut client = rig.client().await;
    client.send(post("/", "x")).await;
    let mut origin = raw(&rig).await;
    let stream = origin.wait(HEADERS).await.stream;
    let bytes = frames(stream);
    origin.peer.send(&bytes).await;
    let reply = client.try_reply().await;
    assert!(reply.as_ref().is_none_or(|reply| reply.status() == 502), "{bytes:?}: {reply:?}");
    is_served(&mut rig).await;
}

/// Whether the next client is served, on this connection or another.
async fn is_served(rig: &mut Rig) {
    let mut client: Peer = rig.client().await;
    client.send(get("/after")).await;
}

#[tokio::test]
async fn malformed_responses_are_not_passed_on() {
    let head = |list: &[(&str, &str)], flags: u8| {
        let block = fields(list);
        move |stream: u32| frame(HEADERS, flags | END_HEADERS, stream, &block)
    };
    let ok = (":status", "200");
    for list in [
        &[ok, ("connection", "close")][..],
        &[ok, ("transfer-encoding", "chunked")],
        &[ok, ("keep-alive", "1")],
        &[ok, ("upgrade", "x")],
        &[ok, ("X-Upper", "1")],
        &[ok, ("x", " space")],
        &[ok, ("x", "line\r\nfeed: y")],
        &[ok, ok],
        &[("x", "y"), ok],
        &[("x", "y")],
        &[(":status", "abc")],
        &[(":status", "101")],
        &[ok, ("content-length", "3")],
        &[ok, ("content-length", "a")],
    ] {
        check_malformed(head(list, END_STREAM)).await;
    }
    let length = head(&[ok, ("content-length", "3")], 0);
    check_malformed(|stream| [frame(DATA, END_STREAM, stream, b"no head")].concat()).await;
    check_malformed(|stream| [frame(PUSH_PROMISE, END_HEADERS, stream, &[0, 0, 0, 2, 0x82])].concat()).await;
    check_malformed(|stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &[0xff, 0xff, 0x03])).await;
    // More content than announced: the client must not take it for whole.
    let mut rig = plan().start();
    let mut client = rig.client().await;
    client.send(get("/")).await;
    let mut origin = raw(&rig).await;
    let stream = origin.wait(HEADERS).await.stream;
    origin.peer.send([length(stream), frame(DATA, END_STREAM, stream, b"abcdef")].concat()).await;
    let reply = client.reply().await;
    assert!(reply.status() == 502 || !reply.text().contains("abc"), "{reply:?}");
}

#[tokio::test]
async fn an_idle_connection_is_purged_and_a_flooding_one_is_cut() {
    let mut rig = plan().server("pool-purge-delay 100ms").start();
    let mut client = rig.client().await;
    client.send(get("/")).await;
    let mut origin = raw(&rig).await;
    let stream = origin.wait(HEADERS).await.stream;
    origin.send(HEADERS, END_STREAM | END_HEADERS, stream, &fields(&[(":status", "200")])).await;
    assert_eq!(client.reply().await.status(), 200);
    loop {
        let last = origin.next().await;
        if last.kind == GOAWAY {
            assert_eq!(last.code(), 0);
            break;
        }
    }
    origin.peer.expect_closed().await;
    client.send(get("/")).await;
    let mut origin = raw(&rig).await;
    origin.wait(HEADERS).await;
    let before = rig.daemon.rss_kib();
    let pings: Vec<u8> = (0..1_000).flat_map(|_| frame(PING, 0, 0, &[0; 8])).collect();
    let mut rounds = 0;
    while origin.peer.try_send(&pings).await {
        rounds += 1;
        assert!(rounds < 2_000, "never cut");
    }
    assert!(rig.daemon.rss_kib() < before + 16 * 1024);
}
