//! Health checks: what they send, what they conclude, and how the log says it.

use std::time::Duration;

use lb_tests::{Answer, Daemon, Origin, Peer, Reserved, Rig, Served, Setup, get, ok};

/// A backend with one checked server; the log on standard output.
fn checked(mode: &str, backend: &str, server: &str) -> Setup {
    Setup::new(format!(
        "global\n    nbthread 1\n    log stdout format raw local0\n\
         defaults\n    mode {mode}\n    log global\n    timeout client 30s\n    timeout server 30s\n    timeout connect 5s\n    \
         timeout check 5s\n    option redispatch 1\n    option dontlognull\n\
         frontend fe\n    bind <fe>\n    default_backend be\n\
         backend be\n    {backend}\n    server s1 <s1> {server}\n"
    ))
}

const FAST: &str = "check inter 50ms fall 2 rise 2";

#[tokio::test]
async fn tcp_check_goes_down_and_comes_back() {
    let origin = Origin::bind();
    let addr = origin.addr();
    let mut daemon = checked("tcp", "", FAST).at("s1", addr).start();
    // A TCP check is reset before the origin's accept sees it: only the log tells. The server starts as up.
    daemon.connect("fe").await.close();
    let reserved = origin.stop();
    let log = &daemon.stdout;
    log.wait("Server be/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check duration: <n>ms. 0 active and 0 backup servers left. <n> sessions active, 0 requeued, 0 remaining in queue.").await;
    log.wait("backend be has no server available!").await;
    let _origin = Origin::on(reserved);
    log.wait("Server be/s1 is UP, reason: Layer4 check passed, check duration: <n>ms. 1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.").await;
}

#[tokio::test]
async fn server_starts_up_and_one_failure_takes_it_down() {
    // Until its first success a server has only one life.
    let daemon = checked("tcp", "", "check inter 100ms fall 50").start();
    daemon
        .stdout
        .expect("Server be/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check duration: <n>ms. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.")
        .await;
    daemon.stderr.wait("[WARNING]  (<n>) : Server be/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check duration: <n>ms. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.").await;
    daemon.stderr.wait("[ALERT]    (<n>) : backend 'be' has no server available!").await;
}

#[tokio::test]
async fn down_server_gets_no_traffic() {
    let mut bad = Served::new("bad");
    let good = Served::new("good");
    let mut daemon = Setup::new(format!(
        "{}    server s2 <s2> {FAST}\n",
        Rig::http().backend("balance roundrobin").server(FAST).cfg()
    ))
    .at("s1", bad.addr())
    .at("s2", good.addr())
    .start();
    bad.stop();
    daemon.stdout.wait("Server be/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check duration: <n>ms. 1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.").await;
    let mut client = daemon.connect("fe").await;
    for _ in 0..6 {
        assert_eq!(client.ask(get("/")).await.text(), "good");
    }
}

#[tokio::test]
async fn all_down_is_503() {
    let mut daemon = checked("http", "", FAST).start();
    daemon.stdout.wait("backend be has no server available!").await;
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/")).await.status(), 503);
}

#[tokio::test]
async fn rise_and_fall_are_counted() {
    // Every check is a connection: count them between the transitions.
    let origin = Origin::bind();
    let addr = origin.addr();
    let daemon = checked("http", "option httpchk", "check inter 30ms fall 3 rise 4").at("s1", addr).start();
    let answer_next = async |status: &str| {
        let mut peer = origin.accept().await;
        peer.head().await;
        peer.send(format!("HTTP/1.0 {status} X\r\n\r\n")).await;
        peer.close();
    };
    answer_next("200").await;
    for _ in 0..3 {
        daemon.stdout.expect_quiet_for(Duration::from_millis(5)).await;
        answer_next("500").await;
    }
    daemon.stdout.expect("Server be/s1 is DOWN, reason: Layer7 wrong status, code: 500, info: \"X\", check duration: <n>ms. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.").await;
    daemon.stdout.expect("backend be has no server available!").await;
    for _ in 0..4 {
        daemon.stdout.expect_quiet_for(Duration::from_millis(5)).await;
        answer_next("200").await;
    }
    daemon.stdout.expect("Server be/s1 is UP, reason: Layer7 check passed, code: 200, check duration: <n>ms. 1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.").await;
}

#[tokio::test]
async fn fastinter_and_downinter_pace_the_checks() {
    let daemon = checked("tcp", "", "check inter 60s fastinter 30ms downinter 30ms fall 3 rise 2").start();
    // In steady state a check a minute; while it changes, and while it is down, 30 ms.
    daemon.stdout.wait("Server be/s1 is DOWN<*>").await;
    let reserved_addr = daemon.addr("s1");
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("SO_REUSEPORT");
    socket.bind(reserved_addr).expect("the reserved port");
    let _listener = socket.listen(16).expect("listen");
    daemon.stdout.wait("Server be/s1 is UP<*>").await;
}

/// What the first check of a server sends.
async fn probe(backend: &str, server: &str) -> (Daemon, Origin, Peer) {
    let origin = Origin::bind();
    let daemon = checked("http", backend, server).at("s1", origin.addr()).start();
    let peer = origin.accept().await;
    (daemon, origin, peer)
}

#[tokio::test]
async fn httpchk_forms() {
    let mut problems = Vec::new();
    for (option, expected) in [
        ("option httpchk", "OPTIONS / HTTP/1.0\r\n\r\n"),
        ("option httpchk /health", "OPTIONS /health HTTP/1.0\r\n\r\n"),
        ("option httpchk GET /health", "GET /health HTTP/1.0\r\n\r\n"),
        ("option httpchk HEAD /h HTTP/1.1", "HEAD /h HTTP/1.1\r\nconnection: close\r\n\r\n"),
        (
            "option httpchk GET /h HTTP/1.1 a.test",
            "GET /h HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n",
        ),
        (
            "option httpchk\n    http-check send meth GET uri /x ver HTTP/1.1 hdr host b.test hdr x-y z",
            "GET /x HTTP/1.1\r\nhost: b.test\r\nx-y: z\r\nconnection: close\r\n\r\n",
        ),
        (
            "option httpchk\n    http-check send meth POST uri /p ver HTTP/1.1 hdr host c body \"{}\"",
            "POST /p HTTP/1.1\r\nhost: c\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
        ),
    ] {
        let (_daemon, _origin, mut peer) = probe(option, FAST).await;
        let request = peer.reply().await;
        let seen = format!("{}{}", request.head, request.text());
        if seen != expected {
            problems.push(format!("({option:?}, {seen:?}),"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn http_check_expect_forms() {
    for (expect, response, up) in [
        ("status 200", "HTTP/1.0 200 OK\r\n\r\n", true),
        ("status 200", "HTTP/1.0 204 No\r\n\r\n", false),
        ("! status 500", "HTTP/1.0 404 No\r\n\r\n", true),
        ("status 200,300-310", "HTTP/1.0 302 Found\r\n\r\n", true),
        ("status 200,300-310", "HTTP/1.0 311 No\r\n\r\n", false),
        ("rstatus ^2[0-9][0-9]", "HTTP/1.0 299 OK\r\n\r\n", true),
        ("rstatus ^2[0-9][0-9]", "HTTP/1.0 399 OK\r\n\r\n", false),
        ("string alive", "HTTP/1.0 200 OK\r\n\r\nI am alive, yes", true),
        ("string alive", "HTTP/1.0 200 OK\r\n\r\nI am dead", false),
        ("! string error", "HTTP/1.0 200 OK\r\n\r\nno problem", true),
        ("! string error", "HTTP/1.0 200 OK\r\n\r\nan error", false),
        ("rstring ^v[0-9]+$", "HTTP/1.0 200 OK\r\n\r\nv12", true),
        ("rstring ^v[0-9]+$", "HTTP/1.0 200 OK\r\n\r\nversion", false),
        ("hdr name x-state value ready", "HTTP/1.0 200 OK\r\nX-State: ready\r\n\r\n", true),
        ("hdr name x-state value ready", "HTTP/1.0 200 OK\r\nX-State: busy\r\n\r\n", false),
    ] {
        let (daemon, _origin, mut peer) = probe(
            &format!("option httpchk GET /\n    option log-health-checks\n    http-check expect {expect}"),
            FAST,
        )
        .await;
        peer.head().await;
        peer.send(response).await;
        peer.close();
        let line = daemon.stdout.wait("Health check for server be/s1 <*>").await;
        assert_eq!(line.contains("succeeded"), up, "{expect} on {response:?}: {line}");
    }
}

#[tokio::test]
async fn default_expectation_is_2xx_or_3xx() {
    for (status, up) in [(200, true), (302, true), (399, true), (404, false), (503, false), (101, false)] {
        let (daemon, _origin, mut peer) = probe("option httpchk\n    option log-health-checks", FAST).await;
        peer.head().await;
        peer.send(format!("HTTP/1.0 {status} X\r\n\r\n")).await;
        peer.close();
        let line = daemon.stdout.wait("Health check for server be/s1 <*>").await;
        assert_eq!(line.contains("succeeded"), up, "{status}: {line}");
    }
}

#[tokio::test]
async fn http_check_of_two_steps() {
    let (daemon, origin, mut first) = probe(
        "option httpchk\n    option log-health-checks\n    \
         http-check connect\n    http-check send meth GET uri /one\n    http-check expect status 200\n    \
         http-check comment \"the second step\"\n    \
         http-check connect port <second.port>\n    http-check send meth GET uri /two\n    http-check expect string yes",
        FAST,
    )
    .await;
    assert!(first.head().await.starts_with("GET /one HTTP/1.0\r\n"));
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("SO_REUSEPORT");
    socket.bind(daemon.addr("second")).expect("the reserved port");
    let listener = socket.listen(16).expect("listen");
    first.send(ok("")).await;
    let (stream, _) = lb_tests::within("the second step", listener.accept()).await.expect("accept");
    let mut second = Peer::tcp(stream, "origin");
    assert!(second.head().await.starts_with("GET /two HTTP/1.0\r\n"));
    second.send(ok("no")).await;
    let line = daemon.stdout.wait("Health check for server be/s1 <*>").await;
    assert!(
        line.contains("failed, reason: Layer7 invalid response, info: \"HTTP content check did not match\""),
        "{line}"
    );
    drop(origin);
}

#[tokio::test]
async fn tcp_check_dialogue() {
    let origin = Origin::bind();
    let daemon = checked(
        "tcp",
        "option tcp-check\n    option log-health-checks\n    \
         tcp-check expect string +READY\n    tcp-check send PING\\r\\n\n    tcp-check expect rstring ^\\+PONG\n    \
         tcp-check send-binary 515549540d0a\n    tcp-check expect binary 2b4f4b",
        FAST,
    )
    .at("s1", origin.addr())
    .start();
    let mut peer = origin.accept().await;
    peer.send("+READY\r\n").await;
    peer.expect("PING\r\n").await;
    peer.send("+PONG\r\n").await;
    peer.expect("QUIT\r\n").await;
    peer.send("+OK\r\n").await;
    daemon.stdout.expect("Health check for server be/s1 succeeded, reason: Layer7 check passed, <*>check duration: <n>ms, status: 2/2 UP.").await;
    peer.expect_closed().await;
    let mut peer = origin.accept().await;
    peer.send("+READY\r\n").await;
    peer.expect("PING\r\n").await;
    peer.send("-ERR\r\n").await;
    peer.close();
    let line = daemon.stdout.expect("Health check for server be/s1 failed, reason: Layer7 <*>, check duration: <n>ms, status: 1/2 UP.").await;
    assert!(line.contains("step 3"), "{line}");
}

#[tokio::test]
async fn ssl_hello_chk_wants_a_record_of_ssl() {
    // A server too new for SSLv3 refuses it in an alert; one without SSL says something else.
    let alert = b"\x15\x03\x00\x00\x02\x02\x46".as_slice();
    let clear = b"HTTP/1.0 400 Bad Request\r\n\r\n".as_slice();
    let tells = |answer: &'static [u8], expected: &'static str| async move {
        let origin = Origin::bind();
        let daemon = checked("tcp", "option ssl-hello-chk\n    option log-health-checks", FAST)
            .at("s1", origin.addr())
            .start();
        let mut peer = origin.accept().await;
        // A handshake of SSLv3.
        peer.expect([22, 3, 0]).await;
        peer.send(answer).await;
        daemon.stdout.expect(expected).await;
    };
    tells(
        alert,
        "Health check for server be/s1 succeeded, reason: Layer6 check passed, check duration: <n>ms, status: 2/2 UP.",
    )
    .await;
    tells(
        clear,
        "Health check for server be/s1 failed, reason: Layer6 invalid response, check duration: <n>ms, status: 0/2 DOWN.",
    )
    .await;
}

#[tokio::test]
async fn log_health_checks_tells_every_change() {
    let daemon = checked("tcp", "option log-health-checks", "check inter 40ms fall 3 rise 2").start();
    let log = &daemon.stdout;
    log.expect("Health check for server be/s1 failed, reason: Layer4 connection problem, info: \"Connection refused\", check duration: <n>ms, status: 0/2 DOWN.").await;
    // The reason has just been told.
    log.expect("Server be/s1 is DOWN. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.").await;
}

#[tokio::test]
async fn check_timeout_is_a_failure() {
    let (daemon, _origin, mut peer) =
        probe("option httpchk\n    option log-health-checks\n    timeout check 80ms", FAST).await;
    peer.head().await;
    let line = daemon.stdout.wait("Health check for server be/s1 failed<*>").await;
    assert!(line.contains("reason: Layer7 timeout"), "{line}");
}

#[tokio::test]
async fn invalid_answer_is_a_failure() {
    let (daemon, _origin, mut peer) = probe("option httpchk\n    option log-health-checks", FAST).await;
    peer.head().await;
    peer.send("SSH-2.0-OpenSSH_9\r\n\r\n").await;
    let line = daemon.stdout.wait("Health check for server be/s1 failed<*>").await;
    assert!(
        line.contains("reason: Layer7 invalid response") || line.contains("reason: Socket error"),
        "{line}"
    );
}

#[tokio::test]
async fn port_and_addr_of_the_check() {
    let traffic = Served::new("traffic");
    let checks = Served::new("check");
    let mut daemon = checked("http", "option httpchk", &format!("{FAST} port {}", checks.addr().port()))
        .at("s1", traffic.addr())
        .start();
    checks.wait_hits(2).await;
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/")).await.text(), "traffic");
    assert_eq!(traffic.connections(), 1);

    let checks = Origin::on(Reserved::of("127.0.0.9".parse().expect("an address")));
    let _daemon =
        checked("http", "option httpchk", &format!("{FAST} addr 127.0.0.9 port {}", checks.addr().port()))
            .at("s1", traffic.addr())
            .start();
    checks.accept().await.head().await;
}

#[tokio::test]
async fn observe_layer4_marks_down() {
    // The check's own port is fine; traffic itself tells.
    let checks = Served::new("");
    let mut daemon = checked(
        "http",
        "no option redispatch\n    retries 0",
        &format!(
            "check inter 1h port {} observe layer4 error-limit 3 on-error mark-down",
            checks.addr().port()
        ),
    )
    .start();
    for _ in 0..3 {
        let mut client = daemon.connect("fe").await;
        assert_eq!(client.ask(get("/")).await.status(), 503);
    }
    daemon.stdout.wait("Server be/s1 is DOWN, reason: Health analyze, info: \"Detected 3 consecutive errors, last one was: L4 unsuccessful connection\". 0 active and 0 backup servers left. <n> sessions active, 0 requeued, 0 remaining in queue.").await;
}

#[tokio::test]
async fn observe_layer7_counts_bad_answers() {
    let origin = Origin::bind().serve(|request| {
        if request.target() == "/bad" {
            Answer::from(lb_tests::http::status(500, "Bad", ""))
        } else {
            Answer::from(ok(""))
        }
    });
    let mut daemon = checked("http", "", "check inter 1h observe layer7 error-limit 5 on-error mark-down")
        .at("s1", origin.addr())
        .start();
    let mut client = daemon.connect("fe").await;
    for _ in 0..4 {
        assert_eq!(client.ask(get("/bad")).await.status(), 500);
    }
    // A good answer in between starts the count again.
    assert_eq!(client.ask(get("/good")).await.status(), 200);
    for _ in 0..5 {
        assert_eq!(client.ask(get("/bad")).await.status(), 500);
    }
    let line = daemon.stdout.wait("Server be/s1 is DOWN<*>").await;
    assert!(line.contains("Health analyze"), "{line}");
    assert_eq!(client.ask(get("/good")).await.status(), 503);
}

#[tokio::test]
async fn on_marked_down_shuts_sessions() {
    let origin = Origin::bind();
    let checks = Origin::bind();
    let mut daemon =
        checked("tcp", "", &format!("{FAST} port {} on-marked-down shutdown-sessions", checks.addr().port()))
            .at("s1", origin.addr())
            .start();
    let mut client = daemon.connect("fe").await;
    let mut server = origin.accept().await;
    client.send("x").await;
    server.expect("x").await;
    drop(checks.stop());
    daemon.stdout.wait("Server be/s1 is DOWN<*> 1 sessions active, 0 requeued, 0 remaining in queue.").await;
    client.expect_closed().await;
    server.expect_closed().await;
}

#[tokio::test]
async fn sessions_outlive_a_failed_check_otherwise() {
    let origin = Origin::bind();
    let checks = Origin::bind();
    let mut daemon =
        checked("tcp", "", &format!("{FAST} port {}", checks.addr().port())).at("s1", origin.addr()).start();
    let mut client = daemon.connect("fe").await;
    let mut server = origin.accept().await;
    drop(checks.stop());
    daemon.stdout.wait("Server be/s1 is DOWN<*>").await;
    client.send("still here").await;
    server.expect("still here").await;
}

#[tokio::test]
async fn on_marked_up_shuts_backup_sessions() {
    let main = Reserved::v4();
    let backup = Origin::bind();
    let mut daemon = Setup::new(
        "global\n nbthread 1\n log stdout format raw local0\ndefaults\n mode tcp\n log global\n timeout client 30s\n \
         timeout server 30s\n timeout connect 5s\nlisten fe\n bind <fe>\n \
         server main <main> check inter 50ms rise 2 on-marked-up shutdown-backup-sessions\n server spare <spare> backup\n",
    )
    .at("main", main.addr())
    .at("spare", backup.addr())
    .start();
    daemon
        .stdout
        .wait("Server fe/main is DOWN<*> 0 active and 1 backup servers left. Running on backup. <*>")
        .await;
    let mut client = daemon.connect("fe").await;
    let mut server = backup.accept().await;
    client.send("x").await;
    server.expect("x").await;
    let _main = Origin::on(main);
    daemon.stdout.wait("Server fe/main is UP<*> 1 active and 1 backup servers online. <*>").await;
    client.expect_closed().await;
}

#[tokio::test]
async fn track_follows_another_server() {
    let mut origin = Served::new("x");
    let mut daemon = Setup::new(format!(
        "{}backend other\n    server t1 <s1> track be/s1\n",
        Rig::http().server(FAST).cfg()
    ))
    .at("s1", origin.addr())
    .start();
    daemon.connect("fe").await.ask(get("/")).await;
    origin.stop();
    daemon.stdout.wait("Server be/s1 is DOWN<*>").await;
    daemon.stdout.wait("Server other/t1 is DOWN via be/s1. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.").await;
    origin.start();
    daemon.stdout.wait("Server other/t1 is UP via be/s1. 1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.").await;
}

#[tokio::test]
async fn slowstart_gives_a_new_server_little_at_first() {
    let old = Served::new("old");
    let mut new = Served::new("new");
    new.stop();
    let mut daemon = Setup::new(format!(
        "{}    server s2 <s2> weight 100 slowstart 60s {FAST}\n",
        Rig::http().defaults("http-reuse always").backend("balance roundrobin").server("weight 100").cfg()
    ))
    .at("s1", old.addr())
    .at("s2", new.addr())
    .start();
    daemon.stdout.wait("Server be/s2 is DOWN<*>").await;
    new.start();
    daemon.stdout.wait("Server be/s2 is UP<*>").await;
    let mut client = daemon.connect("fe").await;
    let mut count = 0;
    for _ in 0..100 {
        count += usize::from(client.ask(get("/")).await.text() == "new");
    }
    assert!(count < 30, "{count} of 100 in the first moment of a minute of slow start");
}

#[tokio::test]
async fn backup_takes_over_while_the_other_is_down() {
    let mut main = Served::new("main");
    let spare = Served::new("spare");
    let mut daemon = Setup::new(format!(
        "{}    server s2 <s2> backup\n",
        Rig::http().defaults("option redispatch 1\nretries 2").server(FAST).cfg()
    ))
    .at("s1", main.addr())
    .at("s2", spare.addr())
    .start();
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/")).await.text(), "main");
    main.stop();
    daemon
        .stdout
        .wait("Server be/s1 is DOWN<*> 0 active and 1 backup servers left. Running on backup. <*>")
        .await;
    assert_eq!(client.ask(get("/")).await.text(), "spare");
    main.start();
    daemon.stdout.wait("Server be/s1 is UP<*> 1 active and 1 backup servers online. <*>").await;
    assert_eq!(client.ask(get("/")).await.text(), "main");
}

#[tokio::test]
async fn http_checks_do_not_count_as_traffic() {
    let origin = Served::new("x");
    let daemon = checked("http", "option httpchk GET /check", FAST).at("s1", origin.addr()).start();
    origin.wait_hits(3).await;
    assert!(origin.requests().iter().all(|request| request.target() == "/check"));
    daemon.stdout.expect_quiet().await;
}

#[tokio::test]
async fn disable_on_404_drains() {
    let origin = Origin::bind().serve(|request| {
        if request.target() == "/check" { lb_tests::http::status(404, "Leaving", "") } else { ok("served") }
    });
    let daemon = checked("http", "option httpchk GET /check\n    http-check disable-on-404", FAST)
        .at("s1", origin.addr())
        .start();
    daemon
        .stdout
        .wait("Server be/s1 is stopping, reason: Layer7 check conditionally passed, code: 404, check duration: <n>ms. 0 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.")
        .await;
}
