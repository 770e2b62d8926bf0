//! What the client gets, and the log says, when something goes wrong: error pages, timeouts, retries, redispatch.

use std::time::Instant;

use lb_tests::{Answer, Origin, Rig, Served, Setup, eventually, get, is_haproxy, ok};

const BAD_REQUEST: &str = "HTTP/1.1 400 Bad request\r\nContent-length: 90\r\nCache-Control: no-cache\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n<html><body><h1>400 Bad request</h1>\nYour browser sent an invalid request.\n</body></html>\n";
const REQUEST_TIMEOUT: &str = "HTTP/1.1 408 Request Time-out\r\nContent-length: 110\r\nCache-Control: no-cache\r\nConnection: close\r\nContent-Type: text/html\r\n\r\n<html><body><h1>408 Request Time-out</h1>\nYour browser didn't send a complete request in time.\n</body></html>\n";
const BAD_GATEWAY: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 107\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n\r\n<html><body><h1>502 Bad Gateway</h1>\nThe server returned an invalid or incomplete response.\n</body></html>\n";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 107\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n";
const GATEWAY_TIMEOUT: &str = "HTTP/1.1 504 Gateway Time-out\r\ncontent-length: 92\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n\r\n<html><body><h1>504 Gateway Time-out</h1>\nThe server didn't respond in time.\n</body></html>\n";

#[tokio::test]
async fn bad_request_page() {
    let mut rig = Rig::http().start();
    let mut client = rig.client().await;
    client.send("GARBAGE\r\n\r\n").await;
    client.expect_last(BAD_REQUEST).await;
    rig.log().expect("127.0.0.1:<n> [<date>] fe fe/<NOSRV> -1/-1/-1/-1/<n> 400 <n> - - PR-- 1/1/0/0/0 0/0 \"<BADREQ>\"").await;
}

#[tokio::test]
async fn request_timeout_page() {
    let mut rig = Rig::http().defaults("timeout http-request 150ms").start();
    let mut client = rig.client().await;
    client.send("GET / HTTP/1.1\r\nhost: te").await;
    client.expect_last(REQUEST_TIMEOUT).await;
    rig.log().expect("127.0.0.1:<n> [<date>] fe fe/<NOSRV> -1/-1/-1/-1/<n> 408 <n> - - cR-- 1/1/0/0/0 0/0 \"<BADREQ>\"").await;
}

#[tokio::test]
async fn request_timeout_is_not_reset_by_drips() {
    let mut rig = Rig::http().defaults("timeout http-request 300ms").start();
    let mut client = rig.client().await;
    let start = Instant::now();
    // One byte now and then must not keep a slow loris alive.
    while client.try_send("x").await && start.elapsed().as_secs() < 5 {
        if tokio::time::timeout(std::time::Duration::from_millis(40), client.head()).await.is_ok() {
            break;
        }
    }
    assert!(start.elapsed().as_millis() < 3000, "{:?}", start.elapsed());
    client.rest().await;
}

#[tokio::test]
async fn keep_alive_timeout_closes_without_a_word() {
    let mut rig = Rig::http().defaults("timeout http-keep-alive 150ms\ntimeout http-request 10s").start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    origin.send(ok("x")).await;
    client.expect(ok("x")).await;
    client.expect_end().await;
    rig.log().expect("<*> 200 <n> - - ---- <*>").await;
    rig.log().expect_quiet().await;
}

#[tokio::test]
async fn keep_alive_timeout_does_not_bound_the_first_request() {
    let mut rig = Rig::http().defaults("timeout http-keep-alive 20ms\ntimeout http-request 10s").start();
    let mut client = rig.client().await;
    client.expect_quiet_for(std::time::Duration::from_millis(150)).await;
    client.send(get("/")).await;
    rig.origin.accept().await.expect(get("/")).await;
}

#[tokio::test]
async fn refused_server_is_503() {
    let mut daemon = Rig::http().defaults("retries 0").setup().start();
    let mut client = daemon.connect("fe").await;
    client.send(get("/")).await;
    client.expect(UNAVAILABLE).await;
    daemon.stdout.expect("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/-1/-1/<n> 503 <n> - - SC-- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"").await;
}

#[tokio::test]
async fn connect_timeout_is_503() {
    // A full accept queue: the kernel drops the SYN.
    let reserved = lb_tests::Reserved::v4();
    let _listener = reserved.listen_with_backlog(0);
    let mut fillers = Vec::new();
    while let Ok(Ok(filler)) =
        tokio::time::timeout(std::time::Duration::from_millis(100), lb_tests::Peer::connect(reserved.addr()))
            .await
    {
        fillers.push(filler);
    }
    let mut daemon =
        Rig::http().defaults("timeout connect 200ms\nretries 0").setup().at("s1", reserved.addr()).start();
    let mut client = daemon.connect("fe").await;
    client.send(get("/")).await;
    client.expect(UNAVAILABLE).await;
    daemon.stdout.expect("<*> fe be/s1 <n>/<n>/-1/-1/<n> 503 <n> - - sC-- <*>").await;
}

#[tokio::test]
async fn server_timeout_is_504() {
    let mut rig = Rig::http().defaults("timeout server 150ms").start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.expect(get("/")).await;
    client.expect(GATEWAY_TIMEOUT).await;
    origin.expect_closed().await;
    rig.log().expect("<*> fe be/s1 <n>/<n>/<n>/-1/<n> 504 <n> - - sH-- <*>").await;
}

#[tokio::test]
async fn closed_without_an_answer_is_502() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.expect(get("/")).await;
    origin.close();
    client.expect(BAD_GATEWAY).await;
    rig.log().expect("<*> fe be/s1 <n>/<n>/<n>/-1/<n> 502 <n> - - SH-- <*>").await;
}

#[tokio::test]
async fn garbage_for_an_answer_is_502() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.expect(get("/")).await;
    origin.send("SSH-2.0-OpenSSH\r\n\r\n").await;
    client.expect(BAD_GATEWAY).await;
    rig.log().expect("<*> fe be/s1 <n>/<n>/<n>/-1/<n> 502 <n> - - PH-- <*>").await;
}

#[tokio::test]
async fn truncated_answer_is_not_passed_off_as_whole() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    origin.close();
    client.expect_closed().await;
    rig.log().expect("<*> 200 <n> - - SD-- <*>").await;
}

#[tokio::test]
async fn truncated_chunks_are_not_passed_off_as_whole() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    client.expect("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    origin.close();
    client.expect_closed().await;
    rig.log().expect("<*> 200 <n> - - SD-- <*>").await;
}

#[tokio::test]
async fn server_stalls_in_the_body() {
    let mut rig = Rig::http().defaults("timeout server 150ms").start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    client.expect_closed().await;
    rig.log().expect("<*> 200 <n> - - sD-- <*>").await;
}

#[tokio::test]
async fn client_goes_away_in_the_response() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\nsome").await;
    client.head().await;
    client.reset();
    origin.expect_closed().await;
    rig.log().expect("<*> 200 <n> - - CD-- <*>").await;
}

#[tokio::test]
async fn client_goes_away_before_the_response() {
    let mut rig = Rig::http().start();
    let (client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    client.reset();
    origin.expect_closed().await;
    // HAProxy itself says CH, CD or CL, as it happens to look.
    rig.log().expect("<*> fe be/s1 <n>/<n>/<n>/-1/<n> 400 <n> - - C<*>-- 1/1/0/0/0 0/0 <*>").await;
}

#[tokio::test]
async fn client_goes_away_in_the_request_head() {
    let mut rig = Rig::http().start();
    let mut client = rig.client().await;
    client.send("GET / HT").await;
    client.close();
    rig.log().expect("<*> fe fe/<NOSRV> -1/-1/-1/-1/<n> 400 <n> - - CR-- <*> \"<BADREQ>\"").await;
}

#[tokio::test]
async fn client_stalls_in_the_request_body() {
    let mut rig = Rig::http().defaults("timeout client 150ms").start();
    let (mut client, mut origin) =
        rig.asked("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf").await;
    origin.expect("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf").await;
    let status = client.reply().await.status();
    // HAProxy says 400, although the client was merely late.
    assert!(status == 408 || is_haproxy(), "{status}");
    rig.log().expect(&format!("<*> fe be/s1 <n>/<n>/<n>/-1/<n> {status} <n> - - cH-- <*>")).await;
    origin.expect_closed().await;
}

#[tokio::test]
async fn client_goes_away_in_the_request_body() {
    let mut rig = Rig::http().start();
    let (client, mut origin) =
        rig.asked("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf").await;
    origin.expect("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf").await;
    client.close();
    origin.expect_closed().await;
    rig.log().expect("<*> fe be/s1 <n>/<n>/<n>/-1/<n> 400 <n> - - CH-- <*>").await;
}

#[tokio::test]
async fn head_too_large_is_431() {
    let mut rig = Rig::http().start();
    let mut client = rig.client().await;
    client.try_send(format!("GET / HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n", "y".repeat(20_000))).await;
    let answer = client.reply().await;
    assert_eq!(answer.status(), 431);
    client.expect_closed().await;
    rig.origin.expect_quiet().await;
}

#[tokio::test]
async fn response_head_too_large_is_502() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    origin.try_send(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(20_000))).await;
    client.expect(BAD_GATEWAY).await;
}

#[tokio::test]
async fn errorfile_replaces_the_page() {
    let page = "HTTP/1.1 503 Sorry\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nlate";
    let mut daemon = Rig::http()
        .defaults("retries 0\nerrorfile 503 <dir>/503.http")
        .setup()
        .file("503.http", page)
        .start();
    let mut client = daemon.connect("fe").await;
    client.send(get("/")).await;
    client.expect("HTTP/1.1 503 Sorry\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nlate").await;
}

#[tokio::test]
async fn empty_errorfile_closes_in_silence() {
    let mut daemon =
        Rig::http().defaults("timeout http-request 100ms\nerrorfile 408 /dev/null").setup().start();
    let mut client = daemon.connect("fe").await;
    client.send("GET /").await;
    client.expect_end().await;
}

#[tokio::test]
async fn no_server_at_all_is_503() {
    let mut daemon = lb_tests::Daemon::start(
        "global\n nbthread 1\ndefaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n log stdout format raw local0\n option httplog\n\
         frontend fe\n bind <fe>\n default_backend be\nbackend be\n",
    );
    let mut client = daemon.connect("fe").await;
    client.send(get("/")).await;
    client.expect(UNAVAILABLE).await;
    daemon
        .stdout
        .expect("<*> fe be/<NOSRV> <n>/-1/-1/-1/<n> 503 <n> - - SC-- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"")
        .await;
}

#[tokio::test]
async fn no_backend_is_503() {
    let mut daemon = lb_tests::Daemon::start(
        "global\n nbthread 1\ndefaults\n mode http\n timeout client 5s\n log stdout format raw local0\n option httplog\nfrontend fe\n bind <fe>\n",
    );
    let mut client = daemon.connect("fe").await;
    client.send(get("/")).await;
    client.expect(UNAVAILABLE).await;
    daemon.stdout.expect("<*> fe fe/<NOSRV> -1/-1/-1/-1/<n> 503 <n> - - SC-- <*>").await;
}

// --- retries ---

/// One request through two servers; `first` misbehaves, `second` is fine.
async fn two_servers(defaults: &str, first: Served) -> (lb_tests::Daemon, Served, Served, u16) {
    let second = Served::new("second");
    let plan = Rig::http().defaults(defaults).backend("balance roundrobin");
    let mut daemon = Setup::new(format!("{}    server s2 <s2>\n", plan.cfg()))
        .at("s1", first.addr())
        .at("s2", second.addr())
        .start();
    let mut client = daemon.connect("fe").await;
    let status = client.ask(get("/")).await.status();
    (daemon, first, second, status)
}

fn misbehaving(answer: fn() -> Answer) -> Served {
    Origin::bind().serve(move |_| answer())
}

#[tokio::test]
async fn redispatch_goes_to_the_other_server() {
    let mut first = Served::new("first");
    first.stop();
    let (daemon, _, second, status) = two_servers("option redispatch 1\nretries 3", first).await;
    assert_eq!((status, second.hits()), (200, 1));
    daemon.stdout.expect("<*> fe be/s2 <n>/<n>/<n>/<n>/<n> 200 <n> - - ---- 1/1/0/0/+1 0/0 <*>").await;
}

#[tokio::test]
async fn without_redispatch_retries_stay_on_the_server() {
    let mut first = Served::new("first");
    first.stop();
    let (daemon, _, second, status) = two_servers("no option redispatch\nretries 1", first).await;
    assert_eq!((status, second.hits()), (503, 0));
    daemon.stdout.expect("<*> fe be/s1 <n>/<n>/-1/-1/<n> 503 <n> - - SC-- 1/1/0/0/1 0/0 <*>").await;
}

#[tokio::test]
async fn retry_on_empty_response() {
    let first = misbehaving(|| Answer::Close(Vec::new()));
    let (_daemon, first, second, status) =
        two_servers("option redispatch 1\nretry-on empty-response", first).await;
    assert_eq!((status, first.hits(), second.hits()), (200, 1, 1));
}

#[tokio::test]
async fn empty_response_is_not_retried_by_default() {
    let first = misbehaving(|| Answer::Close(Vec::new()));
    let (_daemon, first, second, status) = two_servers("option redispatch 1", first).await;
    assert_eq!((status, first.hits(), second.hits()), (502, 1, 0));
}

#[tokio::test]
async fn retry_on_junk_response() {
    let first = misbehaving(|| "junk\r\n\r\n".into());
    let (_daemon, first, second, status) =
        two_servers("option redispatch 1\nretry-on junk-response", first).await;
    assert_eq!((status, first.hits(), second.hits()), (200, 1, 1));
}

#[tokio::test]
async fn retry_on_response_timeout() {
    let first = misbehaving(|| Answer::Hang);
    let (_daemon, first, second, status) =
        two_servers("option redispatch 1\ntimeout server 200ms\nretry-on response-timeout", first).await;
    assert_eq!((status, first.hits(), second.hits()), (200, 1, 1));
}

#[tokio::test]
async fn retry_on_status_codes() {
    for (code, reason) in [(404, "Not Found"), (429, "Too Many"), (500, "Oops"), (503, "Busy"), (504, "Late")]
    {
        let first = Origin::bind().serve(move |_| lb_tests::http::status(code, reason, "no"));
        let (_daemon, first, second, status) =
            two_servers(&format!("option redispatch 1\nretry-on {code}"), first).await;
        assert_eq!((status, first.hits(), second.hits()), (200, 1, 1), "{code}");
    }
}

#[tokio::test]
async fn other_status_codes_are_not_retried() {
    let first = Origin::bind().serve(|_| lb_tests::http::status(500, "Oops", "no"));
    let (_daemon, first, second, status) = two_servers("option redispatch 1\nretry-on 503", first).await;
    assert_eq!((status, first.hits(), second.hits()), (500, 1, 0));
}

#[tokio::test]
async fn retry_on_all_retryable_errors() {
    for answer in
        [(|| Answer::Reset) as fn() -> Answer, || "junk\r\n\r\n".into(), || Answer::Close(Vec::new())]
    {
        let (_daemon, _, second, status) =
            two_servers("option redispatch 1\nretry-on all-retryable-errors", misbehaving(answer)).await;
        assert_eq!((status, second.hits()), (200, 1));
    }
}

#[tokio::test]
async fn retry_on_none_gives_up_at_once() {
    let mut daemon = Rig::http().defaults("retries 3\nretry-on none").setup().start();
    let mut client = daemon.connect("fe").await;
    let start = Instant::now();
    assert_eq!(client.ask(get("/")).await.status(), 503);
    assert!(start.elapsed().as_millis() < 900, "{:?}", start.elapsed());
}

#[tokio::test]
async fn retries_are_counted_and_bounded() {
    let served = misbehaving(|| Answer::Close(Vec::new()));
    let mut daemon =
        Rig::http().defaults("retries 2\nretry-on empty-response").setup().at("s1", served.addr()).start();
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/")).await.status(), 502);
    assert_eq!(served.hits(), 3);
    daemon.stdout.expect("<*> 502 <n> - - SH-- 1/1/0/0/2 0/0 <*>").await;
}

#[tokio::test]
async fn a_post_is_retried_with_its_body() {
    let first = misbehaving(|| Answer::Close(Vec::new()));
    let second = Served::new("second");
    let plan =
        Rig::http().defaults("option redispatch 1\nretry-on empty-response").backend("balance roundrobin");
    let mut daemon = Setup::new(format!("{}    server s2 <s2>\n", plan.cfg()))
        .at("s1", first.addr())
        .at("s2", second.addr())
        .start();
    let mut client = daemon.connect("fe").await;
    let answer = client.ask(lb_tests::http::post("/", "precious")).await;
    assert_eq!((answer.status(), second.requests()[0].text().as_str()), (200, "precious"));
}

#[tokio::test]
async fn queue_timeout_is_503() {
    let mut rig = Rig::http().defaults("timeout queue 150ms").server("maxconn 1").start();
    let (_busy, mut origin) = rig.asked(get("/busy")).await;
    origin.head().await;
    let mut queued = rig.client().await;
    queued.send(get("/queued")).await;
    queued.expect(UNAVAILABLE).await;
    rig.log()
        .expect("<*> fe be/<NOSRV> <n>/<n>/-1/-1/<n> 503 <n> - - sQ-- 2/2/1/0/0 0/1 \"GET /queued HTTP/1.1\"")
        .await;
    origin.expect_quiet().await;
}

#[tokio::test]
async fn killed_origin_under_load_costs_no_request() {
    let mut first = Served::new("first");
    let second = Served::new("second");
    let plan = Rig::http().quiet().defaults("retries 3\noption redispatch 1\nretry-on all-retryable-errors");
    let mut daemon = Setup::new(format!(
        "{}    server s2 <s2> check inter 50ms fall 2 rise 2\n",
        plan.backend("balance roundrobin\nlog stdout format raw local0")
            .server("check inter 50ms fall 2 rise 2")
            .cfg()
    ))
    .at("s1", first.addr())
    .at("s2", second.addr())
    .start();
    daemon.connect("fe").await.close();
    let fe = daemon.addr("fe");
    let mut load = tokio::task::JoinSet::new();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for _ in 0..8 {
        let stop = stop.clone();
        load.spawn(async move {
            let mut count = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let mut client = lb_tests::Peer::connect(fe).await.expect("a connection");
                for _ in 0..20 {
                    let answer = client.ask(get("/")).await;
                    assert_eq!(answer.status(), 200, "{}", answer.head);
                    count += 1;
                }
            }
            count
        });
    }
    first.wait_hits(200).await;
    first.stop();
    daemon.stdout.wait("<*>Server be/s1 is DOWN<*>").await;
    let before = second.hits();
    eventually("the other server to carry on", || second.hits() > before + 100).await;
    first.start();
    daemon.stdout.wait("<*>Server be/s1 is UP<*>").await;
    let before = first.hits();
    first.wait_hits(before + 50).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let counts = load.join_all().await;
    assert!(counts.iter().sum::<usize>() > 400, "{counts:?}");
}
