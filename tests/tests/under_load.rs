//! Faults that a review found in what a load shows: limits, queues, tracking, the time a stop takes.

use std::time::{Duration, Instant};

use lb_tests::daemon::Signal;
use lb_tests::{Origin, Peer, Rig, Served, Setup, get, is_haproxy, ok, within};

/// `Negotiate` authenticates a connection as NTLM does.
#[tokio::test]
async fn negotiate_connections_stay_with_their_client() {
    let mut rig = Rig::http().defaults("http-reuse always").start();
    let (mut alice, mut hers) = rig.asked(get("/1")).await;
    hers.head().await;
    hers.send("HTTP/1.1 401 No\r\nwww-authenticate: Negotiate\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(alice.reply().await.status(), 401);

    let (mut bob, mut his) = rig.asked(get("/2")).await;
    assert!(his.head().await.starts_with("GET /2 "));
    his.send(ok("his")).await;
    assert_eq!(bob.reply().await.text(), "his");

    alice.send(get("/3")).await;
    assert!(hers.head().await.starts_with("GET /3 "));
    hers.send(ok("hers")).await;
    assert_eq!(alice.reply().await.text(), "hers");
}

/// A server may follow one that follows another: the chain's end decides, and is what the log names.
#[tokio::test]
async fn tracking_chains_follow_their_end() {
    let mut origin = Served::new("x");
    let mut daemon = Setup::new(format!(
        "{}backend other\n    server t1 <s1> track other/t2\n    server t2 <s1> track be/s1\n",
        Rig::http().server("check inter 50ms fall 2 rise 2").cfg()
    ))
    .at("s1", origin.addr())
    .start();
    daemon.connect("fe").await.ask(get("/")).await;
    daemon.stdout.skip();
    let chain = |state: &str, ends: [&str; 2]| {
        let [t1, t2] = ends;
        let line =
            |server: &str, via: &str, end: &str| format!("Server other/{server} is {state} via {via}. {end}");
        [line("t1", "other/t2", t1), line("t2", "be/s1", t2)]
    };
    let log = daemon.stdout.clone();
    let both = async |lines: [String; 2]| {
        // Which of the two comes first is left open.
        let mut seen = vec![log.wait("Server other/<*>").await, log.wait("Server other/<*>").await];
        seen.sort();
        assert_eq!(seen, lines);
    };
    origin.stop();
    both(chain(
        "DOWN",
        [
            "0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.",
            "1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.",
        ],
    ))
    .await;
    origin.start();
    both(chain(
        "UP",
        [
            "2 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.",
            "1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.",
        ],
    ))
    .await;
}

/// Requests wait for an active server only as long as there is one. Ours alone: HAProxy's stay in line until a stream of
/// the backup ends, and there is none.
#[tokio::test]
async fn waiting_requests_move_to_the_backup_when_the_active_server_goes_down() {
    if is_haproxy() {
        return;
    }
    let (active, backup) = (Origin::bind(), Served::new("backup"));
    let mut probe = Served::new("healthy");
    let mut daemon = Setup::new(
        "global\n nbthread 1\n log stdout format raw local0\ndefaults\n mode http\n log global\n timeout client 30s\n \
         timeout server 30s\n timeout connect 5s\n timeout queue 20s\n option redispatch\n\
         listen fe\n bind <fe>\n option httpchk\n server a <a> maxconn 1 check port <probe.port> inter 50ms fall 2\n \
         server b <b> backup\n",
    )
    .at("a", active.addr())
    .at("b", backup.addr())
    .at("probe", probe.addr())
    .start();
    let mut one = daemon.connect("fe").await;
    one.send(get("/1")).await;
    let mut server = active.accept().await;
    server.head().await;
    let mut two = daemon.connect("fe").await;
    two.send(get("/2")).await;
    two.expect_quiet().await;
    probe.stop();
    daemon
        .stdout
        .wait("Server fe/a is DOWN<*> 0 active and 1 backup servers left. Running on backup. 1 sessions active, 0 requeued, 0 remaining in queue.")
        .await;
    assert_eq!(two.reply().await.text(), "backup");
    server.send(ok("active")).await;
    assert_eq!(one.reply().await.text(), "active");
}

/// `grace` delays a soft stop and no more.
#[tokio::test]
async fn grace_ends_on_time() {
    let mut rig = Rig::http().global("grace 1s").start();
    rig.client().await.close();
    let told = Instant::now();
    rig.daemon.signal(Signal::USR1);
    assert_eq!(rig.daemon.exit().await.code, Some(0));
    let took = told.elapsed();
    assert!((Duration::from_millis(950)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

/// Idle connections end all within `close-spread-time`, and not all at once.
#[tokio::test]
async fn close_spread_time_spreads_and_ends() {
    const SPREAD: Duration = Duration::from_secs(1);
    let origin = Served::new("x");
    let plan = Rig::http().global("close-spread-time 1s").quiet();
    let mut daemon = plan.setup().at("s1", origin.addr()).start();
    let mut clients: Vec<Peer> = Vec::new();
    for _ in 0..30 {
        let mut client = daemon.connect("fe").await;
        client.ask(get("/")).await;
        clients.push(client);
    }
    let told = Instant::now();
    daemon.signal(Signal::USR1);
    let mut closed = tokio::task::JoinSet::new();
    for mut client in clients {
        closed.spawn(async move {
            client.expect_closed().await;
            told.elapsed()
        });
    }
    let mut times = Vec::new();
    while let Some(time) = within("an idle connection to close", closed.join_next()).await {
        times.push(time.expect("a client"));
    }
    times.sort();
    let (first, last) = (times[0], times[times.len() - 1]);
    assert!(last < SPREAD + Duration::from_millis(700), "{times:?}");
    assert!(last > first + SPREAD / 4, "{times:?}");
}

/// Idle server connections are given up when descriptors run out: no request fails for them. Ours alone: HAProxy counts
/// idle connections against what it was configured for, not against what it got, and has no descriptor left here.
#[tokio::test]
async fn idle_connections_make_room_for_requests() {
    if is_haproxy() {
        return;
    }
    const DESCRIPTORS: usize = 80;
    const SERVERS: usize = 60;
    let (idle, busy) = (Served::new("idle"), Origin::bind());
    let servers: String = (0..SERVERS).map(|n| format!("    server i{n} <idle>\n")).collect();
    let mut daemon = Setup::new(format!(
        "global\n    nbthread 1\n    maxconn 200\n    no strict-limits\ndefaults\n    mode http\n    http-reuse always\n    \
         timeout client 30s\n    timeout server 30s\n    timeout connect 5s\n\
         frontend fe\n    bind <fe>\n    default_backend idle\nfrontend busyfe\n    bind <busyfe>\n    default_backend busy\n\
         backend idle\n    balance roundrobin\n{servers}backend busy\n    server s <busy>\n"
    ))
    .at("idle", idle.addr())
    .at("busy", busy.addr())
    .wrap(&["prlimit", &format!("--nofile={DESCRIPTORS}"), "setpriv", "--bounding-set=-sys_resource", "--"])
    .start();
    let mut client = daemon.connect("fe").await;
    let open = |pid| std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the daemon runs").count();
    // The daemon has opened what it needs once it has answered; one of these is the first idle connection.
    assert_eq!(client.ask(get("/")).await.status(), 200);
    let before = open(daemon.pid()) - 1;
    for _ in 0..2 * SERVERS {
        assert_eq!(client.ask(get("/")).await.status(), 200);
    }
    let idling = open(daemon.pid());
    assert!(idling > before + 4, "no idle connections: the test shows nothing");
    // As many requests at once as there are descriptors for, if no idle connection keeps one.
    let room = (DESCRIPTORS - before) / 2 - 1;
    let mut under_way = Vec::new();
    for _ in 0..room {
        let mut client = daemon.connect("busyfe").await;
        client.send(get("/")).await;
        under_way.push((client, busy.accept().await));
    }
    for (client, server) in &mut under_way {
        server.head().await;
        server.send(ok("busy")).await;
        assert_eq!(client.reply().await.text(), "busy");
    }
}
