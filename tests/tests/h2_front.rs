//! Clients that speak HTTP/2 on a clear port: their requests reach servers as HTTP/1.1.

use bytes::Bytes;
use h2::Reason;
use http::Request;
use lb_tests::frames::*;
use lb_tests::multiplex::{self, Client, post, whole};
use lb_tests::{Origin, Rig, Setup, eventually, ok, show, within};
use rustix::process::Signal;

#[tokio::test]
async fn a_request_arrives_as_one_of_http1_and_is_logged_as_one_of_http2() {
    let mut rig = Rig::http().start();
    let mut client = Client::new(rig.client().await).await;
    let request = Request::get("http://a.example/p?q=1")
        .header("x-one", "1")
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    let (response, _) = client.send(multiplex::build(request), true).await;
    let mut origin = rig.origin.accept().await;
    origin.expect("GET /p?q=1 HTTP/1.1\r\nhost: a.example\r\nx-one: 1\r\ncookie: a=1; b=2\r\n\r\n").await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nX-Two: 2\r\n\r\nhi").await;
    let response = whole(response).await;
    assert_eq!((response.status, response.text()), (200, "hi".to_owned()));
    let names: Vec<&str> = response.headers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["content-length", "x-two"]);
    rig.log().wait(r#"<*> fe be/s1 <*> 200 <*> ---- <*> "GET http://a.example/p?q=1 HTTP/2.0""#).await;
    // The connection stays, and so does the server's.
    let (response, _) = client.send(multiplex::get("/two"), true).await;
    origin.expect("GET /two HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    origin.send(ok("again")).await;
    assert_eq!(whole(response).await.text(), "again");
}

#[tokio::test]
async fn bodies_of_unknown_length_go_in_chunks_with_their_trailers() {
    let mut rig = Rig::http().start();
    let mut client = Client::new(rig.client().await).await;
    let (response, mut body) = client.send(post("/"), false).await;
    let mut origin = rig.origin.accept().await;
    assert!(origin.head().await.contains("transfer-encoding: chunked\r\n"));
    multiplex::write(&mut body, "abc".into(), false).await.unwrap();
    origin.expect("3\r\nabc\r\n").await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", "7".parse().unwrap());
    body.send_trailers(trailers).unwrap();
    origin.expect("0\r\nx-sum: 7\r\n\r\n").await;
    origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await;
    origin.send("0\r\nX-End: 1\r\n\r\n").await;
    let response = whole(response).await;
    assert_eq!(response.text(), "hi");
    assert_eq!(response.trailers.unwrap()["x-end"], "1");
    assert!(!response.headers.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn a_hundred_streams_are_answered_in_any_order() {
    let mut rig = Rig::http().quiet().start();
    let mut client = Client::new(rig.client().await).await;
    let mut responses = Vec::new();
    for number in 0..100 {
        let (response, _) = client.send(multiplex::get(&format!("/{number}")), true).await;
        responses.push((number, response));
    }
    let mut origins = Vec::new();
    for _ in 0..100 {
        origins.push(rig.origin.accept().await);
    }
    for mut origin in origins.into_iter().rev() {
        let target = origin.reply().await.target().to_owned();
        origin.send(ok(&target)).await;
    }
    for (number, response) in responses {
        assert_eq!(whole(response).await.text(), format!("/{number}"));
    }
}

#[tokio::test]
async fn bulk_goes_both_ways_within_the_windows() {
    let mut rig = Rig::http().start();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let mut client = Client::new(rig.client().await).await;
    let request = Request::post("http://a.example/").header("content-length", bytes.len());
    let (response, mut body) = client.send(multiplex::build(request), false).await;
    let mut origin = rig.origin.accept().await;
    assert!(origin.head().await.contains("content-length: 3000000\r\n"));
    let upload = bytes.clone();
    let sending = tokio::spawn(async move { multiplex::write(&mut body, upload.into(), true).await });
    assert!(origin.take(bytes.len()).await == bytes);
    sending.await.unwrap().unwrap();
    let download = bytes.clone();
    let sending = tokio::spawn(async move {
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n").await;
        origin.send(download).await;
    });
    assert!(whole(response).await.body == bytes);
    sending.await.unwrap();
}

#[tokio::test]
async fn interim_responses_and_bodiless_ones() {
    let mut rig = Rig::http().start();
    let mut client = Client::new(rig.client().await).await;
    let (mut response, _) = client.send(multiplex::get("/"), true).await;
    let mut origin = rig.origin.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await;
    let interim = std::future::poll_fn(|cx| response.poll_informational(cx));
    let interim = within("an interim response", interim).await.unwrap().unwrap();
    assert_eq!((interim.status().as_u16(), &interim.headers()["link"]), (103, &"</a>".parse().unwrap()));
    origin.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(whole(response).await.status, 204);
    let head = multiplex::build(Request::head("http://a.example/"));
    let (response, _) = client.send(head, true).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n").await;
    let response = whole(response).await;
    assert_eq!((response.headers["content-length"].to_str().unwrap(), response.body.len()), ("99", 0));
    // A body until the server's close ends the stream, not the connection.
    let (response, _) = client.send(multiplex::get("/"), true).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end").await;
    origin.finish();
    assert_eq!(whole(response).await.text(), "until the end");
}

#[tokio::test]
async fn a_response_cut_short_resets_its_stream_alone() {
    let mut rig = Rig::http().start();
    let mut client = Client::new(rig.client().await).await;
    let (response, _) = client.send(multiplex::get("/"), true).await;
    let mut origin = rig.origin.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort").await;
    let response = within("a response", response).await.unwrap();
    origin.reset();
    let error = multiplex::read(response.into_body()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    let (response, _) = client.send(multiplex::get("/"), true).await;
    let mut origin = rig.origin.accept().await;
    origin.head().await;
    origin.send(ok("fine")).await;
    assert_eq!(whole(response).await.text(), "fine");
}

#[tokio::test]
async fn a_client_that_resets_its_stream_leaves_the_server() {
    let mut rig = Rig::http().start();
    let mut client = Client::new(rig.client().await).await;
    let (response, mut body) = client.send(post("/gone"), false).await;
    let mut origin = rig.origin.accept().await;
    origin.head().await;
    body.send_reset(Reason::CANCEL);
    drop((response, body));
    origin.expect_closed().await;
    rig.log().wait("<*> CH-- <*>").await;
    // Also while a response is on its way.
    let (response, _) = client.send(multiplex::get("/"), true).await;
    let mut origin = rig.origin.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").await;
    drop(within("a response", response).await.unwrap());
    origin.rest().await;
    rig.log().wait("<*> CD-- <*>").await;
}

#[tokio::test]
async fn websockets_open_with_an_extended_connect() {
    let mut rig = Rig::http().start();
    let mut client = Client::new(rig.client().await).await;
    // The daemon's settings, which allow it, are there with the first answer.
    let mut request = Request::builder()
        .method("CONNECT")
        .uri("http://a.example/chat")
        .header("sec-websocket-version", "13")
        .version(http::Version::HTTP_2)
        .body(())
        .unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (response, mut up) = client.send(request, false).await;
    let mut origin = rig.origin.accept().await;
    let head = origin.head().await;
    assert!(head.starts_with("GET /chat HTTP/1.1\r\nhost: a.example\r\n"), "{head}");
    for field in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-key: ",
        "sec-websocket-version: 13\r\n",
    ] {
        assert!(head.contains(field), "{head}");
    }
    origin
        .send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello",
        )
        .await;
    let response = within("a response", response).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().is_empty(), "{:?}", response.headers());
    multiplex::write(&mut up, "from the client".into(), false).await.unwrap();
    origin.expect("from the client").await;
    up.send_data(Bytes::new(), true).unwrap();
    origin.expect_end().await;
    origin.finish();
    assert_eq!(multiplex::read(response.into_body()).await.unwrap().0, b"hello");
}

#[tokio::test]
async fn the_preface_is_for_ports_that_may_speak_http2() {
    let cfg = Rig::http()
        .frontend("http-request return status 200 content-type text/plain lf-string %[req.ver]")
        .cfg();
    let mut h2_only = Setup::new(cfg.replace("bind <fe>", "bind <fe> proto h2")).start();
    let mut client = Client::new(h2_only.connect("fe").await).await;
    assert_eq!(client.get("/").await.text(), "2.0");
    let mut plain = h2_only.connect("fe").await;
    plain.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let rest = plain.rest().await;
    assert!(!rest.starts_with(b"HTTP/"), "{}", show(&rest));
    let mut h1_only = Setup::new(cfg.replace("bind <fe>", "bind <fe> proto h1")).start();
    let mut client = h1_only.connect("fe").await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(client.rest_text().await.starts_with("HTTP/1.1 505 "));
}

#[tokio::test]
async fn an_idle_connection_is_told_to_leave() {
    let mut rig = Rig::http().frontend("timeout http-keep-alive 100ms").start();
    let mut client = Client::new(rig.client().await).await;
    let (response, _) = client.send(multiplex::get("/"), true).await;
    let mut origin = rig.origin.accept().await;
    origin.head().await;
    // While a stream is under way the connection is not idle: others that are, and later, end before it.
    for _ in 0..2 {
        let (mut idle, mut origin) = rig.asked(lb_tests::get("/")).await;
        origin.head().await;
        origin.send(ok("short")).await;
        idle.reply().await;
        idle.expect_closed().await;
    }
    origin.send(ok("late")).await;
    assert_eq!(whole(response).await.text(), "late");
    client.ended().await.unwrap();
}

#[tokio::test]
async fn a_soft_stop_lets_streams_end() {
    let mut rig = Rig::http().start();
    let mut client = Frames::client(rig.client().await, &[]).await;
    client.get(1, "/").await;
    let mut origin = rig.origin.accept().await;
    origin.head().await;
    rig.daemon.signal(Signal::USR1);
    while client.next().await.kind != GOAWAY {}
    origin.send(ok("last")).await;
    let mut content = Vec::new();
    loop {
        let frame = client.next().await;
        match frame.kind {
            DATA => content.extend_from_slice(&frame.payload),
            HEADERS => assert_eq!(frame.status(), Some(200)),
            _ => continue,
        }
        if frame.flags & END_STREAM != 0 {
            break;
        }
    }
    assert_eq!(content, b"last");
    client.peer.rest().await;
    assert_eq!(rig.daemon.exit().await.code, Some(0));
}

#[tokio::test]
async fn session_variables_and_rules_see_streams_of_one_connection() {
    let mut rig = Rig::http()
        .frontend("tcp-request connection set-var(sess.n) int(0)")
        .frontend("http-request set-var(sess.n) var(sess.n),add(1)")
        .frontend("http-request return status 200 content-type text/plain lf-string %[var(sess.n)]:%[req.ver]:%[url]")
        .start();
    let mut client = Client::new(rig.client().await).await;
    assert_eq!(client.get("/a").await.text(), "1:2.0:http://a.example/a");
    assert_eq!(client.get("/b").await.text(), "2:2.0:http://a.example/b");
    let mut other = Client::new(rig.client().await).await;
    assert_eq!(other.get("/c").await.text(), "1:2.0:http://a.example/c");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_waited_for() {
    let origin = Origin::bind().serve(|_| ok(&"x".repeat(200_000)));
    let cfg = Rig::http().frontend("timeout client 200ms").cfg();
    let mut daemon = Setup::new(cfg).at("s1", origin.addr()).start();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let mut client = Client::with(daemon.connect("fe").await, &mut builder).await;
    let (response, _) = client.send(multiplex::get("/"), true).await;
    let response = within("a response", response).await.unwrap();
    assert!(multiplex::read(response.into_body()).await.is_err());
    daemon.stdout.wait("<*> cD-- <*>").await;
    eventually("the server's connection to go", || origin.open() == 0).await;
}

#[tokio::test]
async fn expressions_know_the_connection_of_a_stream() {
    let mut rig = Rig::http()
        .global("tune.h2.fe.max-concurrent-streams 7")
        .frontend(
            "http-request return status 200 content-type text/plain lf-string \
             %[fc_http_major]:%[fc_nb_streams]:%[fc_settings_streams_limit]:%[fc_glitches]:%[src]:%[dst_port] if { path / }",
        )
        .frontend("http-request silent-drop rst-ttl 2 if { path /silent }")
        .start();
    let mut client = Client::new(rig.client().await).await;
    let port = rig.daemon.addr("fe").port();
    assert_eq!(client.get("/").await.text(), format!("2:1:7:0:127.0.0.1:{port}"));
    // What a stream says of its connection is obeyed for all of it.
    let (response, _) = client.send(multiplex::get("/silent"), true).await;
    assert!(within("the end", response).await.is_err());
    let _ = client.ended().await;
}

#[tokio::test]
async fn a_connection_of_the_clients_own_serves_its_streams_one_by_one() {
    let mut rig = Rig::http().backend("http-reuse never").start();
    let mut client = Client::new(rig.client().await).await;
    let (response, _) = client.send(multiplex::get("/first"), true).await;
    let mut origin = rig.origin.accept().await;
    origin.head().await;
    origin.send(ok("mine")).await;
    assert_eq!(whole(response).await.text(), "mine");
    for _ in 0..3 {
        let (response, _) = client.send(multiplex::get("/next"), true).await;
        origin.head().await;
        origin.send(ok("mine")).await;
        assert_eq!(whole(response).await.text(), "mine");
    }
    assert_eq!(rig.origin.accepted(), 1);
}
