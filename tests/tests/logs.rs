//! Log lines: what they say, in which format, and to whom they go.

use lb_tests::pattern::matches;
use lb_tests::{LogReceiver, Origin, Rig, Setup, get, is_haproxy, ok};

/// A frontend with these `log` lines and a backend that refuses; one request makes one line.
fn logging(global: &str, log: &str) -> Setup {
    Setup::new(format!(
        "global\n    nbthread 1\n    {global}\n\
         defaults\n    mode http\n    timeout client 5s\n    timeout server 5s\n    timeout connect 5s\n    retries 0\n    option httplog\n\
         frontend fe\n    bind <fe>\n    {log}\n    default_backend be\n\
         backend be\n    server s1 <s1>\n"
    ))
}

const LINE: &str = "127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/-1/-1/<n> 503 <n> - - SC-- 1/1/0/0/0 0/0 \"GET /logged HTTP/1.1\"";

async fn refused(setup: Setup) -> lb_tests::Daemon {
    let mut daemon = setup.start();
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/logged")).await.status(), 503);
    daemon
}

#[tokio::test]
async fn formats_on_standard_output() {
    for (format, expected) in [
        ("", "<<n>><*> <n> <n>:<n>:<n> <*>[<n>]: LINE"),
        ("format raw", "LINE"),
        ("format short", "<6>LINE"),
        ("format rfc3164", "<<n>><*> <n> <n>:<n>:<n> <*>[<n>]: LINE"),
        ("format rfc5424", "<<n>>1 <n>-<n>-<n>T<n>:<n>:<n><*> - <*> <n> - - LINE"),
        ("format priority", "<<n>>LINE"),
        ("format timed", "<<n>><n>-<n>-<n>T<n>:<n>:<n><*> LINE"),
        ("format iso", "<n>-<n>-<n>T<n>:<n>:<n><*> LINE"),
    ] {
        let daemon = refused(logging("", &format!("log stdout {format} local0"))).await;
        let line = daemon.stdout.next().await;
        assert!(matches(&expected.replace("LINE", LINE), &line), "{format}: {line}");
    }
}

#[tokio::test]
async fn udp_line_is_rfc3164_by_default() {
    let receiver = LogReceiver::udp().await;
    let _daemon = refused(logging("log-tag proxy", "log <log> local3").at("log", receiver.addr())).await;
    // Facility local3 is 19, level info is 6: 19 * 8 + 6.
    receiver.expect(&format!("<158><*> <*> <n>:<n>:<n> proxy[<n>]: {LINE}\n").replace('\n', "<*>")).await;
}

#[tokio::test]
async fn unix_datagram_socket() {
    let setup = logging("log-tag proxy", "log <dir>/log.sock format rfc5424 daemon");
    let receiver = LogReceiver::unix(&setup.dir().join("log.sock"));
    let _daemon = refused(setup).await;
    receiver.expect(&format!("<30>1 <n>-<n>-<n>T<n>:<n>:<n><*> - proxy <n> - - {LINE}<*>")).await;
}

#[tokio::test]
async fn facilities_and_levels() {
    for (words, priority) in [("kern", 6), ("user", 14), ("local7", 190), ("audit", 110), ("cron2", 126)] {
        let daemon = refused(logging("", &format!("log stdout format priority {words}"))).await;
        daemon.stdout.expect(&format!("<{priority}>{LINE}")).await;
    }
    // Only what is at least as important as the first level goes out; what is more important than the second is lowered.
    let daemon = refused(logging(
        "",
        "log stdout format priority local0 debug notice\n    option log-separate-errors",
    ))
    .await;
    daemon.stdout.expect(&format!("<133>{LINE}")).await;
    let daemon = refused(logging("", "log stdout format priority local0 notice")).await;
    daemon.stdout.expect_quiet().await;
}

#[tokio::test]
async fn every_target_gets_its_line() {
    let first = LogReceiver::udp().await;
    let second = LogReceiver::udp().await;
    let _daemon = refused(
        logging(
            "log <first> format raw local0\n    log stdout format raw local1",
            "log global\n    log <second> format raw local2",
        )
        .at("first", first.addr())
        .at("second", second.addr()),
    )
    .await;
    first.wait(&format!("{LINE}<*>")).await;
    second.wait(&format!("{LINE}<*>")).await;
    _daemon.stdout.wait(LINE).await;
}

#[tokio::test]
async fn no_log_is_silent() {
    let daemon = refused(logging("log stdout format raw local0", "log global\n    no log")).await;
    daemon.stdout.expect_quiet().await;
}

#[tokio::test]
async fn length_cuts_datagrams() {
    let receiver = LogReceiver::udp().await;
    let mut daemon = logging("", "log <log> len 100 format raw local0").at("log", receiver.addr()).start();
    let mut client = daemon.connect("fe").await;
    client.ask(get(&format!("/{}", "x".repeat(500)))).await;
    let line = receiver.next().await;
    assert!(line.trim_end().len() <= 100 && line.trim_end().len() >= 98, "{} {line}", line.len());
}

#[tokio::test]
async fn sample_takes_its_share() {
    let receiver = LogReceiver::udp().await;
    let mut daemon = logging("", "log <log> format raw sample 2:3 local0").at("log", receiver.addr()).start();
    let mut client = daemon.connect("fe").await;
    for index in 0..9 {
        client.ask(get(&format!("/{index}"))).await;
    }
    for index in [1, 4, 7] {
        receiver.expect(&format!("<*>\"GET /{index} HTTP/1.1\"<*>")).await;
    }
    receiver.expect_quiet().await;
}

#[tokio::test]
async fn missing_receiver_hurts_nobody() {
    // Nobody listens on the socket: lines are dropped, requests are served.
    let origin = Origin::bind().serve(|_| ok("fine"));
    let mut daemon = Rig::http()
        .frontend("log <dir>/nobody.sock local0\nlog 127.0.0.1:<gone.port> local0")
        .setup()
        .at("s1", origin.addr())
        .start();
    let mut client = daemon.connect("fe").await;
    for _ in 0..50 {
        assert_eq!(client.ask(get("/")).await.status(), 200);
    }
}

#[tokio::test]
async fn stuck_receivers_hurt_nobody() {
    // A pipe that nobody empties, and a datagram socket that nobody reads: far more lines than either holds.
    let (_read, write) = rustix::pipe::pipe().expect("a pipe");
    let setup = Rig::http().frontend(&format!(
        "log fd@{} format rfc5424 local0\nlog <dir>/stuck.sock format rfc5424 local0",
        std::os::fd::AsRawFd::as_raw_fd(&write)
    ));
    let origin = Origin::bind().serve(|_| ok("fine"));
    let setup = setup.setup().at("s1", origin.addr());
    let _socket = std::os::unix::net::UnixDatagram::bind(setup.dir().join("stuck.sock")).expect("a socket");
    let mut daemon = setup.start();
    let mut client = daemon.connect("fe").await;
    let target = format!("/{}", "x".repeat(400));
    for _ in 0..300 {
        assert_eq!(client.ask(get(&target)).await.status(), 200);
    }
}

// --- default formats ---

#[tokio::test]
async fn default_format_tells_of_the_connection() {
    for mode in ["http", "tcp"] {
        let mut daemon = Setup::new(format!(
            "global\n nbthread 1\ndefaults\n mode {mode}\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n retries 0\n\
             frontend fe\n bind <fe>\n log stdout format raw local0\n default_backend be\nbackend be\n server s1 <s1>\n"
        ))
        .start();
        let mut client = daemon.connect("fe").await;
        client.try_send(get("/")).await;
        let (from, to) = (client.local().port(), daemon.addr("fe").port());
        daemon
            .stdout
            .expect(&format!("Connect from 127.0.0.1:{from} to 127.0.0.1:{to} (fe/{})", mode.to_uppercase()))
            .await;
    }
}

#[tokio::test]
async fn tcplog_fields() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    let from = client.local().port();
    client.send("12345").await;
    origin.expect("12345").await;
    origin.send("1234567").await;
    client.expect("1234567").await;
    client.close();
    origin.expect_end().await;
    origin.close();
    rig.log().expect(&format!("127.0.0.1:{from} [<date>] fe be/s1 <n>/<n>/<n> 7 -- 1/1/0/0/0 0/0")).await;
}

#[tokio::test]
async fn httplog_counts_connections_at_every_level() {
    let mut rig = Rig::http().start();
    let (mut first, mut origin) = rig.asked(get("/1")).await;
    origin.head().await;
    let (mut second, mut other) = rig.asked(get("/2")).await;
    other.head().await;
    origin.send(ok("a")).await;
    first.expect(ok("a")).await;
    rig.log().expect("<*> 200 <n> - - ---- 2/2/1/1/0 0/0 \"GET /1 HTTP/1.1\"").await;
    other.send(ok("b")).await;
    second.expect(ok("b")).await;
    rig.log().expect("<*> 200 <n> - - ---- 2/2/0/0/0 0/0 \"GET /2 HTTP/1.1\"").await;
}

#[tokio::test]
async fn httplog_timers() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    client.expect_quiet_for(std::time::Duration::from_millis(120)).await;
    origin.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na").await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na").await;
    client.expect_quiet_for(std::time::Duration::from_millis(120)).await;
    origin.send("b").await;
    client.expect("b").await;
    let line = rig.log().next().await;
    let timers: Vec<i64> =
        line.split(' ').nth(4).expect("timers").split('/').map(|n| n.parse().expect("a number")).collect();
    let [request, queue, connect, response, total] = timers[..] else { panic!("{line}") };
    assert!((0..50).contains(&request) && (0..50).contains(&queue) && (0..50).contains(&connect), "{line}");
    assert!((110..400).contains(&response), "{line}");
    assert!(total >= response + 110, "{line}");
}

#[tokio::test]
async fn bytes_read_are_those_sent_to_the_client() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    let response = ok(&"x".repeat(1000));
    origin.send(&response).await;
    client.expect(&response).await;
    // HAProxy counts its inner form of the head, a few bytes more.
    let count = if is_haproxy() { "<n>".to_owned() } else { response.len().to_string() };
    rig.log().expect(&format!("<*> 200 {count} - - ---- <*>")).await;
}

#[tokio::test]
async fn logasap_speaks_before_the_end() {
    let mut rig = Rig::http().defaults("option logasap").start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
    client.head().await;
    rig.log()
        .expect("<*> fe be/s1 <n>/<n>/<n>/<n>/+<n> 200 +<n> - - ---- 1/1/1/1/0 0/0 \"GET / HTTP/1.1\"")
        .await;
    origin.send("ab").await;
    client.expect("ab").await;
    rig.log().expect_quiet().await;
}

#[tokio::test]
async fn logasap_in_tcp_speaks_at_the_connection() {
    let mut rig = Rig::tcp().defaults("option logasap").start();
    let (_client, _origin) = rig.pair().await;
    rig.log().expect("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/+<n> +0 -- 1/1/1/1/0 0/0").await;
}

#[tokio::test]
async fn log_separate_errors_raises_the_level() {
    let setup = logging("", "log stdout format priority local0\n    option log-separate-errors");
    let daemon = refused(setup).await;
    daemon.stdout.expect(&format!("<131>{LINE}")).await;
}

#[tokio::test]
async fn dontlog_normal_keeps_the_errors() {
    let mut rig = Rig::http().defaults("option dontlog-normal").start();
    let (mut client, mut origin) = rig.asked(get("/normal")).await;
    origin.head().await;
    origin.send(ok("")).await;
    client.expect(ok("")).await;
    let (mut client, mut origin) = rig.asked(get("/failing")).await;
    origin.head().await;
    origin.close();
    client.head().await;
    rig.log().expect("<*> 502 <n> - - SH-- <*> \"GET /failing HTTP/1.1\"").await;
}

#[tokio::test]
async fn odd_characters_are_escaped() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/a\"b")).await;
    origin.head().await;
    origin.send(ok("")).await;
    client.expect(ok("")).await;
    rig.log().expect("<*> \"GET /a#22b HTTP/1.1\"").await;
}

#[tokio::test]
async fn long_requests_are_cut() {
    let mut rig = Rig::http().start();
    let target = format!("/{}", "x".repeat(3000));
    let (mut client, mut origin) = rig.asked(get(&target)).await;
    origin.head().await;
    origin.send(ok("")).await;
    client.expect(ok("")).await;
    let line = rig.log().next().await;
    assert!(line.len() < 1100 && line.contains("\"GET /xxxx"), "{}", line.len());
}

#[tokio::test]
async fn listen_section_names_itself_twice() {
    let origin = Origin::bind().serve(|_| ok(""));
    let mut daemon = Setup::new(
        "global\n nbthread 1\ndefaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n option httplog\n\
         listen both\n bind <fe>\n log stdout format raw local0\n server only <s1>\n",
    )
    .at("s1", origin.addr())
    .start();
    daemon.connect("fe").await.ask(get("/")).await;
    daemon.stdout.expect("127.0.0.1:<n> [<date>] both both/only <n>/<n>/<n>/<n>/<n> 200 <n> - - ---- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"").await;
}

#[tokio::test]
async fn default_backend_of_another_name() {
    let mut rig = Rig::http().start();
    let mut client = rig.client().await;
    client.send("POST /no-answer HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n").await;
    let mut origin = rig.origin.accept().await;
    origin.head().await;
    origin.send("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await;
    client.head().await;
    // The server's own 503 is a normal end.
    rig.log()
        .expect(
            "<*> fe be/s1 <n>/<n>/<n>/<n>/<n> 503 <n> - - ---- 1/1/0/0/0 0/0 \"POST /no-answer HTTP/1.1\"",
        )
        .await;
}

// --- termination states that other files do not meet ---

#[tokio::test]
async fn pd_for_a_broken_chunk_of_the_server() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked(get("/")).await;
    origin.head().await;
    origin.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    client.expect("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    origin.send("zz\r\n").await;
    client.expect_closed().await;
    rig.log().expect("<*> 200 <n> - - PD-- <*>").await;
}

#[tokio::test]
async fn broken_chunk_of_the_client() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) =
        rig.asked("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    origin.head().await;
    client.send("zz\r\n").await;
    client.rest().await;
    rig.log().expect("<*> fe be/s1 <n>/<n>/<n>/-1/<n> 400 <n> - - P<*>-- <*>").await;
}

#[tokio::test]
async fn d_when_the_server_is_marked_down() {
    let origin = Origin::bind();
    let checks = Origin::bind();
    let mut daemon = Rig::tcp()
        .server(&format!(
            "check inter 50ms fall 2 port {} on-marked-down shutdown-sessions",
            checks.addr().port()
        ))
        .setup()
        .at("s1", origin.addr())
        .start();
    let mut client = daemon.connect("fe").await;
    let mut server = origin.accept().await;
    client.send("x").await;
    server.expect("x").await;
    server.send("y").await;
    client.expect("y").await;
    drop(checks.stop());
    // HAProxy says DC, the manual means DD.
    daemon.stdout.wait("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n> 1 D<*> <n>/<n>/<n>/<n>/0 0/0").await;
    drop((client, server));
}

#[tokio::test]
async fn cc_when_the_client_leaves_during_the_connection() {
    let reserved = lb_tests::Reserved::v4();
    let _listener = reserved.listen_with_backlog(0);
    let mut fillers = Vec::new();
    while let Ok(Ok(filler)) =
        tokio::time::timeout(std::time::Duration::from_millis(100), lb_tests::Peer::connect(reserved.addr()))
            .await
    {
        fillers.push(filler);
    }
    let mut daemon = Rig::http().defaults("option abortonclose").setup().at("s1", reserved.addr()).start();
    let mut client = daemon.connect("fe").await;
    client.send(get("/")).await;
    client.expect_quiet().await;
    client.close();
    daemon
        .stdout
        .expect("<*> fe be/s1 <n>/<n>/-1/-1/<n> <*> - - CC-- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"")
        .await;
}

#[tokio::test]
async fn cd_when_the_server_does_not_hear_of_it() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    origin.send("some").await;
    client.expect("some").await;
    client.reset();
    origin.expect_closed().await;
    rig.log().expect("<*> fe be/s1 <n>/<n>/<n> 4 CD 1/1/0/0/0 0/0").await;
}

#[tokio::test]
async fn requests_of_one_connection_have_their_own_lines() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked([get("/1"), get("/2")].concat()).await;
    for index in 1..=2 {
        origin.expect(get(&format!("/{index}"))).await;
        origin.send(ok("")).await;
        client.expect(ok("")).await;
        rig.log().expect(&format!("<*> 200 <n> - - ---- 1/1/0/0/0 0/0 \"GET /{index} HTTP/1.1\"")).await;
    }
    client.close();
    rig.log().expect_quiet().await;
}
