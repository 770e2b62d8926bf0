//! `ebpf.shield` end to end: in the kernel through network namespaces, which need root, and at accept without them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use lb_tests::daemon::Signal;
use lb_tests::netns::{Arms, Balancer, CLIENT, INTERFACE, SERVICE};
use lb_tests::{Daemon, Net, Peer, Setup, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A second client, beside [`CLIENT`].
const DENIED: [&str; 2] = ["10.1.0.66", "fd01::66"];
/// A third one, denied for [`EXPIRES`].
const EXPIRED: [&str; 2] = ["10.1.0.77", "fd01::77"];
/// Long enough for a first packet to be dropped, however busy the machine is; TCP sends another after a second, and the
/// next one two seconds later.
const EXPIRES: &str = "2s";

const PORT: u16 = 8080;

/// Clients with all three addresses in one namespace, a balancer in another.
async fn network() -> Option<Net> {
    let net = Net::new(Arms::One, 1, 0).await?;
    for address in [DENIED, EXPIRED] {
        net.client
            .ip_all(&[
                format!("addr add {}/24 dev {INTERFACE}", address[0]),
                format!("addr add {}/64 dev {INTERFACE} nodad", address[1]),
            ])
            .expect("addresses");
    }
    Some(net)
}

fn cfg(global: &str) -> String {
    let [v4, v6] = SERVICE;
    format!(
        "global\n  log stdout format raw local0\n  {global}\ndefaults\n  mode http\n  log global\n  \
         timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n  timeout http-request 30s\n\
         listen web\n  bind {v4}:{PORT}\n  bind [{v6}]:{PORT}\n"
    )
}

/// The daemon on the balancer. Its sockets are there when it has said where its program is.
async fn start(balancer: &Balancer, cfg: String) -> Daemon {
    let daemon = Setup::new(cfg).wrap(&balancer.wrapper()).start();
    let line = daemon.stderr.wait("[NOTICE]   (<n>) : packet: instance <*>").await;
    assert!(line.contains(" eth0 (") && line.contains(", the shield"), "{line}");
    daemon
}

/// A connection from one of the client's addresses.
async fn connect(net: &Net, from: &str) -> io::Result<TcpStream> {
    let from: IpAddr = from.parse().expect("an address");
    let family = usize::from(from.is_ipv6());
    let to = SocketAddr::new(SERVICE[family].parse().expect("an address"), PORT);
    let socket = net.client.enter(|| {
        let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind((from, 0).into())?;
        Ok::<_, io::Error>(socket)
    })?;
    socket.connect(to).await
}

/// An answer over a connection: there is no server.
async fn ask(mut connection: TcpStream) {
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("a request");
    let mut answer = String::new();
    within("an answer", connection.read_to_string(&mut answer)).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

/// Packets and refused connections of a prefix, as SIGHUP shows them.
async fn hits(daemon: &Daemon, prefix: &str) -> [u64; 2] {
    daemon.stdout.skip();
    daemon.signal(Signal::HUP);
    daemon.stdout.wait("<*>SIGHUP: Proxy web has <*>").await;
    let lines = daemon.stdout.all();
    let wanted = format!(" {prefix}: ");
    let Some(line) =
        lines.iter().rev().find(|line| line.contains("SIGHUP: Shield ") && line.contains(&wanted))
    else {
        return [0; 2];
    };
    // `SIGHUP: Shield deny PREFIX: 2 packets, 120 bytes, 0 connections refused.`
    let (_, counted) = line.split_once(&wanted).expect("the prefix");
    let numbers: Vec<u64> = counted.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers.len(), 3, "{line}");
    [numbers[0], numbers[2]]
}

/// Waits until this many packets of a prefix were counted.
async fn until_hits(daemon: &Daemon, prefix: &str, packets: u64) {
    within(format!("{packets} packets of {prefix}"), async {
        while hits(daemon, prefix).await[0] < packets {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn denied_packets_are_dropped_by_tc() {
    in_the_kernel("tc").await;
}

#[tokio::test]
async fn denied_packets_are_dropped_by_native_xdp() {
    in_the_kernel("native").await;
}

#[tokio::test]
async fn denied_packets_are_dropped_by_generic_xdp() {
    in_the_kernel("generic").await;
}

/// The denied client gets no answer at all, others do, and the one whose time is over does.
async fn in_the_kernel(attach: &str) {
    let Some(net) = network().await else { return };
    let expires = [0, 1].map(|family| format!("ebpf.shield deny {} expires {EXPIRES}", EXPIRED[family]));
    let global = format!(
        "ebpf.attach {attach}\n ebpf.shield deny {}\n ebpf.shield deny fd01::60/123\n \
         ebpf.shield allow fd01::77\n {}\n {}",
        DENIED[0], expires[0], expires[1]
    );
    let daemon = start(&net.balancers[0], cfg(&global)).await;
    let expired = connect(&net, EXPIRED[0]);
    tokio::pin!(expired);
    tokio::select! {
        biased;
        outcome = &mut expired => panic!("{outcome:?}"),
        () = until_hits(&daemon, "10.1.0.77/32", 1) => {}
    }
    for (family, prefix) in ["10.1.0.66/32", "fd01::60/123"].into_iter().enumerate() {
        let denied = connect(&net, DENIED[family]);
        tokio::pin!(denied);
        tokio::select! {
            biased;
            outcome = &mut denied => panic!("{outcome:?}"),
            () = until_hits(&daemon, prefix, 1) => {}
        }
        ask(within("a connection", connect(&net, CLIENT[family])).await.expect("a connection")).await;
    }
    // Inside of what is denied, and said twice of one address: allow is stronger.
    ask(within("a connection", connect(&net, EXPIRED[1])).await.expect("a connection")).await;
    ask(within("the end of the ban", expired).await.expect("a connection")).await;
    // All of that in the kernel.
    assert_eq!([hits(&daemon, "10.1.0.66/32").await[1], hits(&daemon, "10.1.0.77/32").await[1]], [0; 2]);
    daemon.signal(Signal::TERM);
    daemon.exit().await;
    assert_eq!(net.balancers[0].pinned(), Vec::<std::path::PathBuf>::new());
    assert!(!net.balancers[0].has_program());
}

/// Whether a client gets an answer; its connection is reset otherwise, maybe before it knows of it.
async fn is_answered(from: &str, to: SocketAddr) -> bool {
    let outcome = async {
        let mut client = Peer::connect_from(from.parse().expect("an address"), to).await?;
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
        Ok::<_, io::Error>(client.try_reply().await.is_some())
    };
    match outcome.await {
        Ok(answered) => answered,
        Err(error) => {
            let reset = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
            assert!(reset.contains(&error.kind()), "{error}");
            false
        }
    }
}

/// A packet that comes in where the program is not meets the list when the connection is accepted.
#[tokio::test]
async fn without_the_kernel_connections_are_refused() {
    let cfg = "global\n  log stdout format raw local0\n  ebpf.accel off\n  ebpf.shield deny 127.0.0.64/29\n  \
         ebpf.shield allow 127.0.0.66\n  ebpf.shield deny 127.0.0.77 expires 1s\ndefaults\n  mode http\n  log global\n  \
         timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n\
         listen web\n  bind <web>\n";
    let mut daemon = Setup::new(cfg).start();
    daemon
        .stderr
        .wait("<*>shield: denied clients are refused when their connections are accepted, not in the kernel: ebpf.accel off.")
        .await;
    // It listens.
    daemon.connect("web").await.ask("GET / HTTP/1.0\r\n\r\n").await;
    let web = daemon.addr("web");
    for (from, passes) in [("127.0.0.65", false), ("127.0.0.66", true), ("127.0.0.72", true)] {
        assert_eq!(within("an outcome", is_answered(from, web)).await, passes, "{from}");
    }
    // A denied client is refused again and again until its time is over.
    within("the end of the ban", async { while !is_answered("127.0.0.77", web).await {} }).await;
    assert_eq!(hits(&daemon, "127.0.0.64/29").await, [0, 1]);
    assert!(hits(&daemon, "127.0.0.77/32").await[1] > 0);
    assert_eq!(hits(&daemon, "127.0.0.66/32").await, [0, 0]);
}

/// After kill -9 the denied client still gets no answer, where others are told that nobody listens; the next process
/// takes over and counts.
#[tokio::test]
async fn it_outlives_the_daemon() {
    let Some(net) = network().await else { return };
    let cfg = cfg(&format!("ebpf.shield deny {}", DENIED[0]));
    let daemon = start(&net.balancers[0], cfg.clone()).await;
    daemon.signal(Signal::KILL);
    daemon.exit().await;
    let denied = connect(&net, DENIED[0]);
    tokio::pin!(denied);
    let passes = async { within("an outcome", connect(&net, CLIENT[0])).await };
    let refused = tokio::select! {
        biased;
        outcome = &mut denied => panic!("{outcome:?}"),
        outcome = passes => outcome.expect_err("nobody listens"),
    };
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    let daemon = start(&net.balancers[0], cfg).await;
    tokio::select! {
        biased;
        outcome = &mut denied => panic!("{outcome:?}"),
        () = until_hits(&daemon, "10.1.0.66/32", 1) => {}
    }
    ask(within("a connection", connect(&net, CLIENT[0])).await.expect("a connection")).await;
}

/// `configs/shield.cfg`, with clients of the networks that it names.
#[tokio::test]
async fn the_example_does_what_it_says() {
    let Some(net) = network().await else { return };
    let clients =
        [("198.51.100.7", false), ("198.51.100.77", true), ("203.0.113.7", false), ("203.0.113.8", true)];
    for (client, _) in clients.into_iter().chain([("192.0.2.200", false)]) {
        net.client.ip_all(&[format!("addr add {client}/32 dev {INTERFACE}")]).expect("an address");
        net.router.ip_all(&[format!("route add {client}/32 dev c0")]).expect("a route");
    }
    let setup = Setup::new("");
    let list = include_str!("../../configs/maps/denied.list");
    let text = include_str!("../../configs/shield.cfg");
    let text =
        text.replace("configs/maps/denied.list", &setup.dir().join("denied.list").display().to_string());
    let daemon = setup
        .file("denied.list", list)
        .file("example.cfg", text)
        .arg("-f")
        .arg("<dir>/example.cfg")
        .wrap(&net.balancers[0].wrapper())
        .start();
    let line = daemon.stderr.wait("[NOTICE]   (<n>) : packet: instance <*>").await;
    assert!(line.contains("lo (") && line.contains("eth0 ("), "{line}");
    for (client, passes) in clients.into_iter().chain([("192.0.2.200", false)]) {
        let connection = connect(&net, client);
        if passes {
            ask(within("a connection", connection).await.expect("a connection")).await;
            continue;
        }
        let prefix = match client {
            "198.51.100.7" => "198.51.100.0/24",
            "192.0.2.200" => "192.0.2.128/25",
            one => &format!("{one}/32"),
        };
        tokio::pin!(connection);
        tokio::select! {
            biased;
            outcome = &mut connection => panic!("{outcome:?}"),
            () = until_hits(&daemon, prefix, 1) => {}
        }
    }
}
