//! What the `option http…` words and `http-reuse` change in what each side sees.

use std::net::{IpAddr, Ipv4Addr};

use lb_tests::http::post;
use lb_tests::{Origin, Rig, Served, Setup, eventually, get, is_haproxy, ok};

/// A rig whose origin answers by itself and counts connections.
fn served(defaults: &str, server: &str) -> (lb_tests::Daemon, Served) {
    let origin = Served::new("x");
    let daemon = Rig::http().defaults(defaults).server(server).setup().at("s1", origin.addr()).start();
    (daemon, origin)
}

#[tokio::test]
async fn httpclose_closes_both_sides() {
    let mut rig = Rig::http().defaults("option httpclose").start();
    let (mut client, mut origin) = rig.asked([get("/1"), get("/2")].concat()).await;
    origin.expect("GET /1 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
    origin.send(ok("a")).await;
    client.expect_last("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\na").await;
    origin.expect_closed().await;
    rig.origin.expect_quiet().await;
}

#[tokio::test]
async fn http_server_close_keeps_the_client() {
    let mut rig = Rig::http().defaults("option http-server-close").start();
    let (mut client, mut origin) = rig.asked(get("/1")).await;
    origin.expect("GET /1 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
    origin.send(ok("a")).await;
    client.expect(ok("a")).await;
    origin.expect_closed().await;
    client.send(get("/2")).await;
    let mut origin = rig.origin.accept().await;
    origin.expect("GET /2 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
    origin.send(ok("b")).await;
    client.expect(ok("b")).await;
}

#[tokio::test]
async fn disable_h2_upgrade_takes_the_preface_for_a_request() {
    let mut rig = Rig::http().defaults("option disable-h2-upgrade").start();
    let mut client = rig.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // HAProxy knows no other version than its own two.
    let status = if is_haproxy() { 400 } else { 505 };
    assert!(client.rest_text().await.starts_with(&format!("HTTP/1.1 {status} ")));
}

#[tokio::test]
async fn pretend_keepalive_does_not_announce_the_close() {
    let mut rig = Rig::http().defaults("option http-server-close\noption http-pretend-keepalive").start();
    let (mut client, mut origin) = rig.asked(get("/1")).await;
    origin.expect(get("/1")).await;
    origin.send(ok("a")).await;
    client.expect(ok("a")).await;
    origin.expect_closed().await;
}

#[tokio::test]
async fn forwardfor_adds_the_client() {
    let mut rig = Rig::http().defaults("option forwardfor").start();
    let (_client, mut origin) =
        rig.asked("GET / HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 10.1.1.1\r\n\r\n").await;
    origin
        .expect(
            "GET / HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 10.1.1.1\r\nx-forwarded-for: 127.0.0.1\r\n\r\n",
        )
        .await;
}

#[tokio::test]
async fn forwardfor_if_none_respects_the_one_before() {
    let mut rig = Rig::http().defaults("option forwardfor if-none").start();
    let (mut client, mut origin) =
        rig.asked("GET /1 HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 10.1.1.1\r\n\r\n").await;
    origin.expect("GET /1 HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 10.1.1.1\r\n\r\n").await;
    origin.send(ok("")).await;
    client.expect(ok("")).await;
    client.send(get("/2")).await;
    origin.expect("GET /2 HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 127.0.0.1\r\n\r\n").await;
}

#[tokio::test]
async fn forwardfor_except_and_header() {
    let mut rig = Rig::http().defaults("option forwardfor except 127.0.0.0/30 header X-Client").start();
    let mut trusted = rig.client().await;
    trusted.send(get("/trusted")).await;
    let mut origin = rig.origin.accept().await;
    origin.expect(get("/trusted")).await;
    origin.send(ok("")).await;
    trusted.expect(ok("")).await;
    let mut other = rig.daemon.connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77)), "fe").await;
    other.send(get("/other")).await;
    let expected = "GET /other HTTP/1.1\r\nhost: test\r\nx-client: 127.0.0.77\r\n\r\n";
    let mut origin = tokio::select! {
        origin = rig.origin.accept() => origin,
        // The first connection may be used again.
        () = async { origin.expect(expected).await } => return,
    };
    origin.expect(expected).await;
}

#[tokio::test]
async fn originalto_names_the_frontend() {
    let mut rig = Rig::http().defaults("option originalto").start();
    let (_client, mut origin) = rig.asked(get("/")).await;
    origin.expect("GET / HTTP/1.1\r\nhost: test\r\nx-original-to: 127.0.0.1\r\n\r\n").await;
}

#[tokio::test]
async fn originalto_header_word() {
    let mut rig = Rig::http().defaults("option originalto header X-Dst").start();
    let (_client, mut origin) = rig.asked(get("/")).await;
    origin.expect("GET / HTTP/1.1\r\nhost: test\r\nx-dst: 127.0.0.1\r\n\r\n").await;
}

#[tokio::test]
async fn forwarded_follows_rfc_7239() {
    let mut rig = Rig::http().backend("option forwarded").start();
    let (_client, mut origin) = rig.asked(get("/")).await;
    origin.expect("GET / HTTP/1.1\r\nhost: test\r\nforwarded: proto=http;for=127.0.0.1\r\n\r\n").await;
}

#[tokio::test]
async fn forwarded_with_all_parts() {
    let mut rig = Rig::http().backend("option forwarded proto host by by_port for for_port").start();
    let (client, mut origin) = rig.asked(get("/")).await;
    let (by, from) = (rig.daemon.addr("fe").port(), client.local().port());
    origin
        .expect(format!(
            "GET / HTTP/1.1\r\nhost: test\r\n\
             forwarded: proto=http;host=\"test\";by=\"127.0.0.1:{by}\";for=\"127.0.0.1:{from}\"\r\n\r\n"
        ))
        .await;
}

#[tokio::test]
async fn buffer_request_waits_for_the_body() {
    let mut rig = Rig::http().defaults("option http-buffer-request").start();
    let mut client = rig.client().await;
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nabc").await;
    rig.origin.expect_quiet().await;
    client.send("def").await;
    let mut origin = rig.origin.accept().await;
    origin.expect("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nabcdef").await;
    origin.send(ok("")).await;
    client.expect(ok("")).await;
}

#[tokio::test]
async fn without_buffer_request_the_head_goes_ahead() {
    let mut rig = Rig::http().start();
    let (_client, mut origin) =
        rig.asked("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nabc").await;
    origin.expect("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nabc").await;
}

#[tokio::test]
async fn buffer_request_times_out_with_408() {
    let mut rig = Rig::http().defaults("option http-buffer-request\ntimeout http-request 200ms").start();
    let mut client = rig.client().await;
    client.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 6\r\n\r\nabc").await;
    assert_eq!(client.reply().await.status(), 408);
    rig.log()
        .expect("<*> fe fe/<NOSRV> -1/-1/-1/-1/<n> 408 <n> - - cR-- 1/1/0/0/0 0/0 \"POST / HTTP/1.1\"")
        .await;
    rig.origin.expect_quiet().await;
}

#[tokio::test]
async fn monitor_uri_is_answered_here() {
    let mut rig = Rig::http().frontend("monitor-uri /alive").start();
    let mut client = rig.client().await;
    let answer = client.ask(get("/alive")).await;
    assert_eq!(answer.line(), "HTTP/1.1 200 OK");
    assert_eq!(answer.text(), "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n");
    rig.log().expect_quiet().await;
    let mut client = rig.client().await;
    client.send(get("/alive/x")).await;
    rig.origin.accept().await.expect(get("/alive/x")).await;
}

#[tokio::test]
async fn monitor_uri_does_not_match_a_query() {
    let mut rig = Rig::http().frontend("monitor-uri /alive").start();
    let (_client, mut origin) = rig.asked(get("/alive?x=1")).await;
    origin.expect(get("/alive?x=1")).await;
}

#[tokio::test]
async fn dontlognull_hides_silent_connections() {
    let mut rig = Rig::http().defaults("option dontlognull").start();
    rig.client().await.close();
    let (mut client, mut origin) = rig.asked(get("/seen")).await;
    origin.head().await;
    origin.send(ok("")).await;
    client.expect(ok("")).await;
    rig.log().expect("<*>\"GET /seen HTTP/1.1\"").await;
}

#[tokio::test]
async fn silent_connections_are_logged_otherwise() {
    let mut rig = Rig::http().start();
    rig.client().await.close();
    rig.log()
        .expect(
            "127.0.0.1:<n> [<date>] fe fe/<NOSRV> -1/-1/-1/-1/<n> 400 0 - - CR-- 1/1/0/0/0 0/0 \"<BADREQ>\"",
        )
        .await;
}

/// One that only ended its own direction may still read.
#[tokio::test]
async fn a_client_that_ends_before_any_request_is_told() {
    for (option, line) in [("", true), ("option dontlognull", false)] {
        let mut rig = Rig::http().defaults(option).start();
        let mut client = rig.client().await;
        client.finish();
        assert!(client.rest_text().await.starts_with("HTTP/1.1 400 Bad request\r\n"));
        if line {
            rig.log().expect("<*> fe fe/<NOSRV> -1/-1/-1/-1/<n> 400 0 - - CR-- <*> \"<BADREQ>\"").await;
        } else {
            rig.log().expect_quiet().await;
        }
    }
}

#[tokio::test]
async fn ignore_probes_answers_and_logs_nothing() {
    let mut rig = Rig::http().defaults("option http-ignore-probes\ntimeout http-request 150ms").start();
    rig.client().await.close();
    let mut silent = rig.client().await;
    silent.expect_last("").await;
    rig.log().expect_quiet().await;
}

// --- http-reuse ---

#[tokio::test]
async fn reuse_never_keeps_a_connection_per_client() {
    let (mut daemon, origin) = served("http-reuse never", "");
    for _ in 0..3 {
        let mut client = daemon.connect("fe").await;
        client.ask(get("/1")).await;
        client.ask(get("/2")).await;
    }
    assert_eq!((origin.connections(), origin.hits()), (3, 6));
}

#[tokio::test]
async fn reuse_always_shares_from_the_first_request() {
    let (mut daemon, origin) = served("http-reuse always", "");
    for _ in 0..5 {
        let mut client = daemon.connect("fe").await;
        assert_eq!(client.ask(get("/")).await.status(), 200);
        client.close();
    }
    assert_eq!((origin.connections(), origin.hits()), (1, 5));
}

#[tokio::test]
async fn reuse_safe_shares_from_the_second_request() {
    let (mut daemon, origin) = served("http-reuse safe", "");
    let mut first = daemon.connect("fe").await;
    first.ask(get("/")).await;
    // The first request of a client is never risked on a used connection.
    let mut second = daemon.connect("fe").await;
    second.ask(get("/")).await;
    assert_eq!(origin.connections(), 2);
    second.ask(get("/")).await;
    first.ask(get("/")).await;
    assert_eq!((origin.connections(), origin.hits()), (2, 4));
}

#[tokio::test]
async fn reuse_aggressive_shares_proven_connections() {
    let (mut daemon, origin) = served("http-reuse aggressive", "");
    let mut first = daemon.connect("fe").await;
    first.ask(get("/")).await;
    first.ask(get("/")).await;
    // That connection has been used twice: a first request may take it.
    let mut second = daemon.connect("fe").await;
    second.ask(get("/")).await;
    assert_eq!((origin.connections(), origin.hits()), (1, 3));
}

#[tokio::test]
async fn reuse_notices_a_closed_connection() {
    // The request may also be on its way when the end of the connection is noticed: then it is sent again.
    let (mut daemon, mut origin) = served("http-reuse always\nretry-on conn-failure empty-response", "");
    let mut client = daemon.connect("fe").await;
    client.ask(get("/1")).await;
    origin.stop();
    eventually("the origin to be gone", || origin.open() == 0).await;
    origin.start();
    assert_eq!(client.ask(get("/2")).await.status(), 200);
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_pipelined_close_race_is_retried_on_a_new_connection() {
    // The server closes the idle connection as soon as the next request is on its way.
    let rig_origin = Origin::bind();
    let mut daemon = Rig::http()
        .defaults("http-reuse always\nretry-on conn-failure empty-response")
        .setup()
        .at("s1", rig_origin.addr())
        .start();
    let mut client = daemon.connect("fe").await;
    client.send(get("/1")).await;
    let mut origin = rig_origin.accept().await;
    origin.expect(get("/1")).await;
    origin.send(ok("1")).await;
    client.expect(ok("1")).await;
    client.send(get("/2")).await;
    origin.expect(get("/2")).await;
    origin.close();
    let mut origin = rig_origin.accept().await;
    origin.expect(get("/2")).await;
    origin.send(ok("2")).await;
    client.expect(ok("2")).await;
}

#[tokio::test]
async fn death_of_a_used_connection_lets_the_client_retry() {
    // On a kept connection a client expects that the server may have closed: silence tells it to try again.
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/1")).await;
    origin.expect(get("/1")).await;
    origin.send(ok("1")).await;
    client.expect(ok("1")).await;
    if is_haproxy() {
        client.send(get("/2")).await;
        origin.expect(get("/2")).await;
        origin.close();
        client.expect_end().await;
        return;
    }
    // What is safe to repeat is repeated for the client.
    client.send(get("/2")).await;
    origin.expect(get("/2")).await;
    origin.close();
    let mut origin = rig.origin.accept().await;
    origin.expect(get("/2")).await;
    origin.send(ok("2")).await;
    client.expect(ok("2")).await;
    // What is not, is for the client to decide.
    let post = "POST /3 HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\nx";
    client.send(post).await;
    origin.expect(post).await;
    origin.close();
    client.expect_end().await;
}

#[tokio::test]
async fn max_reuse_bounds_the_requests_of_a_connection() {
    let (mut daemon, origin) = served("http-reuse always", "max-reuse 2");
    for _ in 0..6 {
        let mut client = daemon.connect("fe").await;
        client.ask(get("/")).await;
        client.close();
    }
    // The first use and two more; HAProxy obeys the word in HTTP/2 only.
    let expected = if is_haproxy() { 1 } else { 2 };
    assert_eq!((origin.connections(), origin.hits()), (expected, 6));
}

#[tokio::test]
async fn pool_max_conn_zero_keeps_nothing() {
    let (mut daemon, origin) = served("http-reuse always", "pool-max-conn 0");
    for _ in 0..3 {
        let mut client = daemon.connect("fe").await;
        client.ask(get("/")).await;
        client.close();
    }
    assert_eq!((origin.connections(), origin.hits()), (3, 3));
}

#[tokio::test]
async fn pool_purge_delay_closes_idle_connections() {
    let (mut daemon, origin) = served("http-reuse always", "pool-purge-delay 100ms");
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(daemon.connect("fe").await);
    }
    for client in &mut clients {
        client.send(get("/")).await;
    }
    for client in &mut clients {
        client.reply().await;
    }
    drop(clients);
    eventually("idle connections to be purged", || origin.open() == 0).await;
}

// --- abortonclose ---

#[tokio::test]
async fn abortonclose_drops_a_queued_request() {
    let mut rig = Rig::http().defaults("option abortonclose\ntimeout queue 20s").server("maxconn 1").start();
    let (mut busy, mut origin) = rig.asked(get("/busy")).await;
    origin.head().await;
    let mut queued = rig.client().await;
    queued.send(get("/queued")).await;
    queued.finish();
    rig.log()
        .expect("<*> fe be/<NOSRV> <n>/<n>/-1/-1/<n> -1 0 - - CQ-- 2/2/1/0/0 0/1 \"GET /queued HTTP/1.1\"")
        .await;
    origin.send(ok("")).await;
    busy.expect(ok("")).await;
    origin.expect_quiet().await;
}

#[tokio::test]
async fn without_abortonclose_a_queued_request_goes_on() {
    let mut rig =
        Rig::http().defaults("no option abortonclose\ntimeout queue 20s").server("maxconn 1").start();
    let (mut busy, mut origin) = rig.asked(get("/busy")).await;
    origin.head().await;
    let mut queued = rig.client().await;
    queued.send(get("/queued")).await;
    queued.finish();
    origin.send(ok("")).await;
    busy.expect(ok("")).await;
    busy.close();
    let seen = tokio::select! {
        mut fresh = rig.origin.accept() => fresh.head().await,
        seen = origin.head() => seen,
    };
    assert_eq!(seen, get("/queued"));
}

#[tokio::test]
async fn unsafe_violations_are_accepted_on_demand() {
    let mut rig = Rig::http().frontend("option accept-unsafe-violations-in-http-request").start();
    let (_client, mut origin) = rig.asked("GET /a\"b{c}|d HTTP/1.1\r\nhost: test\r\n\r\n").await;
    origin.expect("GET /a\"b{c}|d HTTP/1.1\r\nhost: test\r\n\r\n").await;
}

#[tokio::test]
async fn bodies_stay_on_keep_alive_server_connections() {
    // Posts, too, share one connection when the mode says so.
    let (mut daemon, origin) = served("http-reuse always", "");
    for index in 0..4 {
        let mut client = daemon.connect("fe").await;
        assert_eq!(client.ask(post("/", &format!("body {index}"))).await.status(), 200);
    }
    assert_eq!(origin.connections(), 1);
    let bodies: Vec<String> = origin.requests().iter().map(|request| request.text()).collect();
    assert_eq!(bodies, ["body 0", "body 1", "body 2", "body 3"]);
}

#[tokio::test]
async fn options_of_two_sections_combine_to_the_stricter() {
    let origin = Served::new("x");
    let mut daemon =
        Setup::new(Rig::http().frontend("option httpclose").backend("option http-server-close").cfg())
            .at("s1", origin.addr())
            .start();
    let mut client = daemon.connect("fe").await;
    let answer = client.ask(get("/")).await;
    assert_eq!(answer.header("connection"), Some("close"));
    client.expect_end().await;
}
