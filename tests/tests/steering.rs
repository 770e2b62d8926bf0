//! Steering of new connections: which worker gets one, and binds of whole prefixes and port ranges. What the kernel cannot
//! do here (privileges, objects) is said and left out; what it does is also asked of a daemon without acceleration.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lb_tests::daemon::Signal;
use lb_tests::{Daemon, Origin, Peer, Reserved, Setup, get, is_haproxy, within};

/// Says who serves and what it sees.
const REPLY: &str = "http-request return status 200 content-type text/plain lf-string \
     \"%[thread] %[dst] %[dst_port] %[so_id]\"";

/// A daemon with these words in `global` and these lines in its only frontend.
fn answering(global: &str, binds: &str) -> Setup {
    Setup::new(format!(
        "global\n nbthread 2\n {global}\ndefaults\n mode http\n timeout client 20s\n timeout server 5s\n timeout connect 5s\n\
         frontend fe\n {binds}\n {REPLY}\n"
    ))
}

/// Work for milliseconds, done for the path `/burn`.
fn work() -> String {
    let hashes = ",sha2(512),hex".repeat(30);
    format!(" http-request set-var(txn.a) path{hashes} if {{ path /burn }}\n").repeat(8)
}

/// Whether steering is on in this daemon. Says why it is not, unless that is the test.
async fn steered(daemon: &Daemon) -> bool {
    let line = daemon.stderr.wait("<*>accel: <*>").await;
    let on = line.contains("steering on");
    if !on && !line.contains("ebpf.accel off") {
        let mut error = std::io::stderr();
        writeln!(error, "skipped: {line}").expect("standard error");
    }
    on
}

/// The words of the reply: worker, address, port, number of the listening address.
async fn ask(client: &mut Peer) -> Vec<String> {
    client.ask(get("/")).await.text().split(' ').map(str::to_owned).collect()
}

/// Opens `count` connections one after the other; the worker of each.
async fn workers(daemon: &mut Daemon, count: usize) -> Vec<(String, Peer)> {
    let mut all = Vec::new();
    for _ in 0..count {
        let mut client = daemon.connect("fe").await;
        all.push((ask(&mut client).await.remove(0), client));
    }
    all
}

fn per_worker(connections: &[(String, Peer)]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for (worker, _) in connections {
        *counts.entry(worker.as_str()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn the_start_line_says_what_is_steered() {
    if is_haproxy() {
        return;
    }
    let check = async |global: &str, binds: &str, expected: &str| {
        let daemon = answering(global, binds).start();
        let line = daemon.stderr.wait("<*>accel: <*>").await;
        assert!(line.contains(expected), "{global}: {line}");
    };
    check("", "bind <fe>", "steering off (not asked for; 'ebpf.steer' does)").await;
    check("ebpf.accel off\n ebpf.steer least", "bind <fe>", "steering off (ebpf.accel off)").await;
    check("noreuseport\n ebpf.steer cpu", "bind <fe>", "steering off (noreuseport)").await;
    let daemon = answering("ebpf.steer least", "bind <fe>").start();
    if steered(&daemon).await {
        check("ebpf.steer least", "bind <fe> shards 1", "steering off (every address has one socket)").await;
        check("ebpf.steer cpu", "bind <fe>", "steering on").await;
    }
}

/// A machine that has no CPU for a worker for some milliseconds makes it busy, and spoils a round. The kernel's hash would
/// need a million rounds for what is asked of one.
const ROUNDS: usize = 5;

#[tokio::test]
async fn the_worker_with_the_fewest_connections() {
    if is_haproxy() {
        return;
    }
    for accel in ["on", "off"] {
        let mut daemon = answering(&format!("ebpf.accel {accel}\n ebpf.steer least"), "bind <fe>").start();
        let on = steered(&daemon).await;
        let mut seen = Vec::new();
        for _ in 0..ROUNDS {
            let all = workers(&mut daemon, 40).await;
            let halves = per_worker(&all).values().all(|count| (18..=22).contains(count));
            // Those of one worker go; as many that come are its own.
            let gone = all[0].0.clone();
            let mut kept = Vec::new();
            for (worker, mut client) in all {
                if worker == gone {
                    client.finish();
                    client.expect_closed().await;
                } else {
                    kept.push(client);
                }
            }
            let come = workers(&mut daemon, 20).await;
            let counts = per_worker(&come);
            seen.push((halves, counts.get(gone.as_str()).copied().unwrap_or_default()));
            if !on || seen.last().is_some_and(|(halves, own)| *halves && *own >= 18) {
                break;
            }
        }
        assert!(!on || seen.last().is_some_and(|(halves, own)| *halves && *own >= 18), "{seen:?}");
    }
}

#[tokio::test]
async fn nothing_new_for_a_busy_worker() {
    if is_haproxy() {
        return;
    }
    for accel in ["on", "off"] {
        let global = format!("ebpf.accel {accel}\n ebpf.steer least");
        let mut daemon = answering(&global, &format!("bind <fe>\n {}", work())).start();
        let on = steered(&daemon).await;
        let mut heavy = daemon.connect("fe").await;
        let busy = ask(&mut heavy).await.remove(0);
        // One connection that always has the next request waiting.
        let (mut reader, mut writer) = heavy.into_tcp().into_split();
        let feeding = tokio::spawn(async move {
            let requests = get("/burn").repeat(20);
            while tokio::io::AsyncWriteExt::write_all(&mut writer, requests.as_bytes()).await.is_ok() {}
        });
        let mut first = vec![0; 4096];
        let read = tokio::io::AsyncReadExt::read(&mut reader, &mut first);
        within("the first answer", read).await.expect("an answer");
        let draining =
            tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
        // All are answered; those that the busy worker got, late.
        let mut seen = Vec::new();
        for _ in 0..ROUNDS {
            let all = workers(&mut daemon, if on { 30 } else { 4 }).await;
            seen.push(per_worker(&all).get(busy.as_str()).copied().unwrap_or_default());
            if !on || seen.ends_with(&[0]) {
                break;
            }
        }
        assert!(!on || seen.ends_with(&[0]), "{seen:?}");
        feeding.abort();
        draining.abort();
    }
}

#[tokio::test]
async fn the_workers_of_a_bind() {
    if is_haproxy() {
        return;
    }
    for (steer, accel) in [("least", "on"), ("cpu", "on"), ("least", "off")] {
        let global = format!("ebpf.accel {accel}\n ebpf.steer {steer}");
        let mut daemon = answering(&global, "bind <fe>\n bind <two> thread 2\n bind <one> shards 1").start();
        let all = workers(&mut daemon, 2).await;
        assert_eq!(all.len(), 2);
        let (mut seen, mut kept) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            let mut client = daemon.connect("two").await;
            seen.push(ask(&mut client).await.remove(0));
            kept.push(client);
            let mut client = daemon.connect("one").await;
            ask(&mut client).await;
            kept.push(client);
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "{global}: {seen:?}");
    }
}

#[tokio::test]
async fn a_soft_stop_ends() {
    if is_haproxy() {
        return;
    }
    let mut daemon = answering("ebpf.steer least", "bind <fe>").start();
    let mut all = workers(&mut daemon, 4).await;
    daemon.signal(Signal::USR1);
    for (_, client) in &mut all {
        client.expect_closed().await;
    }
    assert_eq!(daemon.exit().await.code, Some(0));
}

/// A prefix that no other test has at this moment.
fn prefix(last: u8) -> Ipv4Addr {
    let [low, middle, ..] = std::process::id().to_le_bytes();
    Ipv4Addr::new(127, 64 + middle % 128, low, last)
}

/// Whether the process may bind what no interface has.
fn may_be_transparent() -> bool {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let may = socket.set_ip_transparent_v4(true).is_ok();
    if !may {
        let mut error = std::io::stderr();
        writeln!(error, "skipped: 'transparent' needs CAP_NET_ADMIN").expect("standard error");
    }
    may
}

#[tokio::test]
async fn a_prefix_of_addresses() {
    if is_haproxy() || !may_be_transparent() {
        return;
    }
    for accel in ["on", "off"] {
        let (net, inside) = (prefix(16), prefix(21));
        let global = format!("ebpf.accel {accel}\n ebpf.steer least");
        let binds = format!("bind <fe>\n bind {net}/28:1000-1009 transparent\n bind {inside}:1003");
        let mut daemon = answering(&global, &binds).start();
        let mut kept = vec![daemon.connect("fe").await];
        ask(&mut kept[0]).await;
        for (ip, port, listener) in
            [(net, 1000, "2"), (prefix(31), 1009, "2"), (prefix(24), 1005, "2"), (inside, 1003, "3")]
        {
            for _ in 0..3 {
                let mut client = daemon.connect_to((ip, port).into()).await;
                let words = ask(&mut client).await;
                assert_eq!(
                    words[1..],
                    [ip.to_string(), port.to_string(), listener.to_owned()],
                    "accel {accel}"
                );
                kept.push(client);
            }
        }
        for outside in [SocketAddr::from((net, 1010)), (prefix(15), 1000).into(), (prefix(32), 1000).into()] {
            assert!(Peer::connect(outside).await.is_err(), "accel {accel}: {outside}");
        }
    }
}

#[tokio::test]
async fn a_prefix_that_ordinary_sockets_cannot_have() {
    if is_haproxy() || !may_be_transparent() {
        return;
    }
    let setup = |global: &str| {
        answering(
            &format!("ebpf.steer least\n {global}"),
            &format!("bind <fe>\n bind {}/24:1-65535 transparent", prefix(0)),
        )
    };
    let exit = setup("ebpf.accel off").arg("-db").run().await;
    let expected = "cannot listen on 16776960 addresses and ports: that takes the kernel's help, and steering is off \
                    (ebpf.accel off)";
    assert!(exit.code == Some(1) && exit.stderr.contains(expected), "{}", exit.stderr);
    if sockeye_can_steer().await {
        let mut daemon = setup("").start();
        let mut client = daemon.connect_to((prefix(200), 40_000).into()).await;
        assert_eq!(ask(&mut client).await[2], "40000");
    }
}

/// Whether a daemon here steers when asked to.
async fn sockeye_can_steer() -> bool {
    steered(&answering("ebpf.steer least", "bind <fe>").start()).await
}

#[tokio::test]
async fn a_long_range_of_ports() {
    let mut sockets = Vec::new();
    for accel in ["on", "off"] {
        // The last one is kept free, to see that the range ends.
        let ports = Reserved::range(101);
        let (low, high) = (ports[0].port(), ports[99].port());
        let global = if is_haproxy() { String::new() } else { format!("ebpf.accel {accel}") };
        let mut daemon =
            answering(&global, &format!("bind <first>\n bind 127.0.0.1:{low}-{high}\n bind <fe>")).start();
        for (listener, port) in [(2, low), (51, low + 49), (101, high)] {
            let mut client = daemon.connect_to(([127, 0, 0, 1], port).into()).await;
            let words = ask(&mut client).await;
            assert_eq!(
                words[1..],
                ["127.0.0.1".to_owned(), port.to_string(), listener.to_string()],
                "accel {accel}"
            );
        }
        let mut client = daemon.connect("fe").await;
        assert_eq!(ask(&mut client).await[3], "102");
        assert!(Peer::connect(([127, 0, 0, 1], ports[100].port()).into()).await.is_err());
        let folder = format!("/proc/{}/fd", daemon.pid().as_raw_nonzero());
        sockets.push((
            std::fs::read_dir(folder).expect("descriptors").count(),
            is_haproxy() || steered(&daemon).await,
        ));
    }
    let [(with, on), (without, _)] = sockets[..] else { panic!("two daemons") };
    assert!(
        without >= 200 && (is_haproxy() || !on || with < 100),
        "{with} descriptors, {without} without help"
    );
}

#[tokio::test]
async fn a_port_that_somebody_has_is_not_taken() {
    for accel in ["on", "off"] {
        let ports = Reserved::range(100);
        let taken = ports[50].port();
        let (low, high) = (ports[0].port(), ports[99].port());
        drop(ports);
        let other = std::net::TcpListener::bind((IpAddr::from([127, 0, 0, 1]), taken)).expect("a free port");
        let global = if is_haproxy() { String::new() } else { format!("ebpf.accel {accel}") };
        let exit = answering(&global, &format!("bind 127.0.0.1:{low}-{high}")).arg("-db").run().await;
        let said = exit.stderr.contains("cannot bind socket (Address already in use)");
        assert!(exit.code == Some(1) && said, "accel {accel}: {}", exit.stderr);
        drop(other);
    }
}

#[tokio::test]
async fn the_example() {
    if is_haproxy() || !may_be_transparent() || !sockeye_can_steer().await {
        return;
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/steering.cfg");
    let (net, own) = (prefix(64), prefix(65));
    let text = std::fs::read_to_string(path).expect("the example").replace("bind :8080", "bind <fe>");
    let text = text.replace("192.0.2.0/24", &format!("{net}/28")).replace("192.0.2.1:", &format!("{own}:"));
    let origin = Origin::bind().serve(|request| lb_tests::ok(request.header("X-Tenant").unwrap_or("none")));
    let text = text.replace("192.0.2.129:80", &origin.addr().to_string());
    let mut daemon = Setup::new(text).start();
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/")).await.text(), "none");
    let mut client = daemon.connect_to((prefix(79), 10_999).into()).await;
    assert_eq!(client.ask(get("/")).await.text(), format!("{}:10999", prefix(79)));
    let mut client = daemon.connect_to((own, 10_080).into()).await;
    assert_eq!(client.ask(get("/")).await.text(), "up");
}
