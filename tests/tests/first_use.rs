//! What a new user met who put the daemon beside HAProxy before real clients and servers.

use lb_tests::daemon::Signal;
use lb_tests::http::post;
use lb_tests::{Answer, Origin, Rig, Served, get, is_haproxy, ok};

/// `dontlognull` is for connections that carried nothing: a request that was not understood is something.
#[tokio::test]
async fn dontlognull_logs_what_was_not_understood() {
    let mut rig = Rig::http().defaults("option dontlognull").start();
    for (request, logged) in [
        ("GET / HTTP/1.1\r\nBad Name: x\r\n\r\n", "400 <n> - - PR--"),
        ("GET / HTTP/1.1\r\nhost: half", "400 <n> - - CR--"),
    ] {
        let mut client = rig.client().await;
        client.send(request).await;
        client.finish();
        client.rest().await;
        rig.log().expect(&format!("<*> fe fe/<NOSRV> -1/-1/-1/-1/<n> {logged} <*> \"<BADREQ>\"")).await;
    }
}

/// A client whose server cannot be reached learns that by an end, and its bytes count for `dontlognull`.
#[tokio::test]
async fn a_tcp_client_without_a_server_gets_an_end() {
    let mut daemon =
        Rig::tcp().defaults("retries 1\ntimeout connect 300ms\noption dontlognull").setup().start();
    daemon.connect("fe").await.expect_closed().await;
    let mut client = daemon.connect("fe").await;
    client.send("hello").await;
    client.expect_end().await;
    daemon.stdout.expect("<*> fe be/s1 <n>/-1/<n> 0 SC 1/1/0/0/1 0/0").await;
}

/// Whatever ends a stream, its own line does not count it among the server's.
#[tokio::test]
async fn a_broken_response_is_not_counted_in_its_own_line() {
    let mut rig = Rig::http().start();
    for (head, logged) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "200 <n> - - SD-- 1/1/0/0/0"),
        ("HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n", "101 <n> - - ---- 1/1/0/0/0"),
    ] {
        let request = "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        let (mut client, mut server) = rig.asked(request).await;
        server.head().await;
        server.send(head).await;
        server.finish();
        client.head().await;
        client.finish();
        client.rest().await;
        rig.log().expect(&format!("<*> fe be/s1 <*> {logged} 0/0 \"GET / HTTP/1.1\"")).await;
    }
}

/// A request that was read to its end may be followed by the next, also when no server answered it.
#[tokio::test]
async fn an_error_after_a_whole_request_keeps_the_connection() {
    let bodies = ["x".to_owned(), "y".repeat(6_000)];
    // Nobody listens.
    let mut daemon = Rig::http().defaults("retries 0").setup().start();
    let mut client = daemon.connect("fe").await;
    for body in &bodies {
        client.send(post("/1", body) + &get("/2")).await;
        for _ in 0..2 {
            let reply = client.reply().await;
            assert_eq!((reply.status(), reply.header("connection")), (503, None));
        }
    }
    // Nobody answers.
    let mut rig = Rig::http().defaults("timeout server 300ms").start();
    for body in &bodies {
        let (mut client, mut server) = rig.asked(post("/1", body)).await;
        server.expect(post("/1", body)).await;
        let reply = client.reply().await;
        assert_eq!((reply.status(), reply.header("connection")), (504, None));
        client.send(get("/2")).await;
        let mut server = rig.origin.accept().await;
        server.expect(get("/2")).await;
        server.send(ok("next")).await;
        assert_eq!(client.reply().await.text(), "next");
        server.close();
    }
}

/// Which limit a head is beyond.
#[tokio::test]
async fn a_long_target_is_not_a_long_field() {
    let mut rig = Rig::http().start();
    let long = "x".repeat(20_000);
    for (request, status) in [
        (format!("GET /{long} HTTP/1.1\r\nhost: test\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nhost: test\r\nx: {long}\r\n\r\n"), 431),
    ] {
        let mut client = rig.client().await;
        client.send(request).await;
        assert_eq!(client.reply().await.status(), status);
    }
}

/// A 426 without what to upgrade to would say nothing.
#[tokio::test]
async fn upgrade_required_says_to_what() {
    let mut rig = Rig::http().start();
    let (mut client, mut server) = rig.asked(get("/")).await;
    server.head().await;
    server
        .send("HTTP/1.1 426 Upgrade Required\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.header("upgrade"), Some("websocket"));
}

/// Scripts look for this line.
#[tokio::test]
async fn a_check_says_when_there_were_warnings() {
    let warns = Rig::http().frontend("timeout server 1s").setup().arg("-c").run().await;
    assert_eq!((warns.code, warns.stdout.as_str()), (Some(0), "Warnings were found."));
    let clean = Rig::http().setup().arg("-c").run().await;
    assert_eq!((clean.code, clean.stdout.as_str()), (Some(0), ""));
}

/// With this option a client need not send its request again, however unlucky the moment of the stop.
#[tokio::test]
async fn idle_connections_may_have_one_request_more() {
    let origin = Served::new("x");
    let plan = Rig::http().defaults("option idle-close-on-response");
    let mut daemon = plan.setup().at("s1", origin.addr()).start();
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/1")).await.header("connection"), None);
    daemon.signal(Signal::USR1);
    client.expect_quiet().await;
    assert_eq!(client.ask(get("/2")).await.header("connection"), Some("close"));
    client.expect_closed().await;
    assert_eq!(daemon.exit().await.code, Some(0));
}

/// A server that dies resets its idle connections and may yet accept one more that it resets too. What is safe to repeat
/// is repeated on another server. Ours alone: HAProxy leaves it to the client, unless `retry-on` says more.
#[tokio::test]
async fn a_dying_server_costs_no_idempotent_request() {
    if is_haproxy() {
        return;
    }
    let a = Origin::bind().serve(|request| match request.target() {
        "/die" => Answer::Reset,
        _ => ok("a").into(),
    });
    let b = Served::new("b");
    let mut daemon = Rig::http()
        .defaults("retries 3\noption redispatch 1\nhttp-reuse always")
        .backend("balance first\nserver s0 <s0>")
        .setup()
        .at("s0", a.addr())
        .at("s1", b.addr())
        .start();
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/")).await.text(), "a");
    assert_eq!(client.ask(get("/die")).await.text(), "b");
    assert_eq!((a.hits(), a.connections()), (3, 2));
    // So does one that begins a moment later.
    assert_eq!(client.ask(get("/die")).await.text(), "b");
    // A request that may have done its work is the client's to repeat.
    assert_eq!(client.ask(get("/")).await.text(), "a");
    client.send(post("/die", "x")).await;
    client.expect_closed().await;
    assert_eq!(b.hits(), 2);
}
