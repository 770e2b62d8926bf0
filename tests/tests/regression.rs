//! Faults that a review found, each kept from coming back by a test of its name.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lb_tests::daemon::Signal;
use lb_tests::{Origin, Peer, QUIET, Reserved, Rig, Setup, get, is_haproxy};

/// NTLM authenticates a connection, not a request: nobody else may ever speak on it.
#[tokio::test]
async fn ntlm_connections_stay_with_their_client() {
    let mut rig = Rig::http().defaults("http-reuse always").start();
    let (mut alice, mut hers) = rig.asked(get("/1")).await;
    hers.head().await;
    hers.send("HTTP/1.1 401 No\r\nwww-authenticate: NTLM\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(alice.reply().await.status(), 401);
    alice.send("GET /2 HTTP/1.1\r\nhost: test\r\nauthorization: NTLM xyz\r\n\r\n").await;
    assert!(hers.head().await.starts_with("GET /2 "));
    hers.send(lb_tests::ok("hers")).await;
    assert_eq!(alice.reply().await.text(), "hers");

    let (mut bob, mut his) = rig.asked(get("/3")).await;
    assert!(his.head().await.starts_with("GET /3 "));
    his.send(lb_tests::ok("his")).await;
    assert_eq!(bob.reply().await.text(), "his");

    alice.send(get("/4")).await;
    assert!(hers.head().await.starts_with("GET /4 "));
}

/// The content of a request to `monitor-uri` is not the next request.
#[tokio::test]
async fn monitor_uri_with_a_body_is_one_request() {
    let mut rig = Rig::http().frontend("monitor-uri /up").start();
    let mut client = rig.client().await;
    let inner = get("/up");
    client
        .send(format!("POST /up HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{inner}", inner.len()))
        .await;
    client.finish();
    let answers = client.rest_text().await;
    assert_eq!(answers.matches("HTTP/1.").count(), 1, "{answers}");
}

/// A server without an address of its own is as many servers as there are destinations.
#[tokio::test]
async fn reuse_keeps_destinations_apart() {
    let two = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let first = Origin::bind();
    let port = first.addr().port();
    let second = Origin::on(Reserved::on_port(two, port));
    let first = first.serve(|_| lb_tests::ok("one"));
    let second = second.serve(|_| lb_tests::ok("two"));
    let fe = Reserved::v4();
    let fe_port = fe.port();
    let other = Reserved::on_port(two, fe_port);
    let mut daemon = Setup::new(format!(
        "global\n nbthread 1\ndefaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n\
         listen fe\n bind <fe>\n bind <other>\n http-reuse always\n server s 0.0.0.0:{port}\n"
    ))
    .reserved("fe", fe)
    .reserved("other", other)
    .start();
    for (name, body) in [("fe", "one"), ("other", "two"), ("other", "two"), ("fe", "one")] {
        let mut client = daemon.connect(name).await;
        assert_eq!(client.ask(get("/")).await.text(), body, "{name}");
    }
    assert_eq!((first.hits(), second.hits()), (2, 2));
}

/// A backup is for the time when the active servers are down, not for when they are full.
#[tokio::test]
async fn waiting_requests_are_not_for_the_backup() {
    let (active, backup) = (Origin::bind(), Origin::bind());
    let mut daemon = Setup::new(
        "global\n nbthread 1\ndefaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n \
         timeout queue 20s\n\
         listen fe\n bind <fe>\n server a <a> maxconn 1\n server b <b> backup\n",
    )
    .at("a", active.addr())
    .at("b", backup.addr())
    .start();
    let mut one = daemon.connect("fe").await;
    one.send(get("/1")).await;
    let mut server = active.accept().await;
    server.head().await;
    let mut two = daemon.connect("fe").await;
    two.send(get("/2")).await;
    backup.expect_quiet().await;
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    server.close();
    assert_eq!(one.reply().await.status(), 200);
    let mut server = active.accept().await;
    assert!(server.head().await.starts_with("GET /2 "));
    server.send(lb_tests::ok("active")).await;
    assert_eq!(two.reply().await.text(), "active");
}

/// Neither a connection in the making nor the requests that wait behind it outlive `hard-stop-after`.
#[tokio::test]
async fn hard_stop_ends_connecting_and_queued_requests() {
    let deaf = Reserved::v4();
    let _listener = deaf.listen_with_backlog(0);
    // The accept queue is full now: whoever comes later gets no answer to its SYN.
    let mut fillers = Vec::new();
    while let Ok(Ok(peer)) = tokio::time::timeout(QUIET, Peer::connect(deaf.addr())).await {
        fillers.push(peer);
    }
    let plan = Rig::http()
        .global("hard-stop-after 300ms")
        .defaults("timeout queue 20s\ntimeout connect 20s")
        .server("maxconn 1");
    let mut daemon = plan.setup().at("s1", deaf.addr()).start();
    let mut connecting = daemon.connect("fe").await;
    connecting.send(get("/1")).await;
    let mut queued = daemon.connect("fe").await;
    queued.send(get("/2")).await;
    queued.expect_quiet().await;
    daemon.signal(Signal::USR1);
    let end = tokio::time::timeout(Duration::from_secs(4), daemon.exit()).await;
    assert!(end.is_ok(), "the daemon still runs");
    connecting.rest().await;
    queued.rest().await;
}

/// A bind whose threads do not exist would never accept.
#[tokio::test]
async fn a_bind_without_threads_does_not_start() {
    let exit = Setup::new(
        "global\n nbthread 1\ndefaults\n mode http\n timeout client 3s\n timeout server 3s\n timeout connect 1s\n\
         listen o\n bind <fe> thread 3-4\n server s 127.0.0.1:1\n",
    )
    .arg("-db")
    .run()
    .await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains("thread"), "{}", exit.stderr);
}

/// Nothing has reached the client yet when the first chunk turns out to be none.
#[tokio::test]
async fn an_invalid_first_chunk_is_a_502() {
    let mut rig = Rig::http().start();
    let (mut client, mut server) = rig.asked(get("/")).await;
    server.head().await;
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nhello\r\n").await;
    assert_eq!(client.reply().await.status(), 502);
}

/// Only the end tells where this response ends: a reset is not that end.
#[tokio::test]
async fn a_reset_is_not_the_end_of_a_response() {
    let mut rig = Rig::http().start();
    let (mut client, mut server) = rig.asked("GET / HTTP/1.0\r\n\r\n").await;
    server.head().await;
    server.send("HTTP/1.0 200 OK\r\n\r\nhalf").await;
    client.head().await;
    client.expect("half").await;
    server.reset();
    // HAProxy 3.2 ends cleanly here: the client cannot tell half a response from a whole one. Ours is stricter.
    if is_haproxy() {
        client.expect_closed().await;
    } else {
        client.expect_reset().await;
    }
}

/// A client that only waits learns of a soft stop at once, not at its own timeout.
#[tokio::test]
async fn soft_stop_closes_idle_connections() {
    let mut rig = Rig::http().global("close-spread-time 200ms").start();
    let (mut client, mut server) = rig.asked(get("/")).await;
    server.head().await;
    server.send(lb_tests::ok("x")).await;
    client.reply().await;
    rig.daemon.signal(Signal::USR1);
    let closed = tokio::time::timeout(Duration::from_secs(3), client.expect_closed()).await;
    assert!(closed.is_ok(), "the idle connection is still open");
}

/// During `grace` a daemon that is told to stop still accepts.
#[tokio::test]
async fn grace_keeps_accepting() {
    let mut rig = Rig::http().global("grace 2s").start();
    rig.client().await.close();
    rig.daemon.signal(Signal::USR1);
    // Longer than a stop without grace takes to close the listener.
    rig.origin.expect_quiet().await;
    let (mut client, mut server) = rig.asked(get("/")).await;
    server.head().await;
    server.send(lb_tests::ok("late")).await;
    assert_eq!(client.reply().await.text(), "late");
}

/// However many idle connections the server closes at once, the next requests find one that works.
#[tokio::test]
async fn a_server_that_closes_its_whole_pool_loses_no_request() {
    const POOL: usize = 320;
    let mut rig = Rig::http().global("maxconn 1000").defaults("http-reuse always").quiet().start();
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    for _ in 0..POOL {
        let (client, mut server) = rig.asked(get("/")).await;
        server.head().await;
        clients.push(client);
        servers.push(server);
    }
    for (client, server) in clients.iter_mut().zip(&mut servers) {
        server.send(lb_tests::ok("x")).await;
        client.reply().await;
    }
    drop(servers);
    for request in [lb_tests::http::post("/1", "abcd"), get("/2"), lb_tests::http::post("/3", "abcd")] {
        let (mut client, mut server) = rig.asked(&request).await;
        server.expect(request.as_bytes()).await;
        server.send(lb_tests::ok("new")).await;
        assert_eq!(client.reply().await.text(), "new");
        server.close();
    }
}
