//! The examples of `mode packet` at work, with the addresses of a network of namespaces. Needs root, says so and passes
//! without.

use std::net::SocketAddr;
use std::path::Path;

use lb_tests::echo::ask_udp;
use lb_tests::netns::{Arms, Net, SERVICE, server};
use lb_tests::packet::address;
use lb_tests::{Daemon, Echo, Flow, Peer, Setup, within};

/// An example with its addresses filled in, started on the first balancer.
fn start(net: &Net, name: &str) -> Daemon {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root of the checkout");
    let text = std::fs::read_to_string(folder.join("configs").join(name)).expect("the example");
    let mut setup = Setup::new(text).wrap(&net.balancers[0].wrapper());
    setup = setup.env("SERVICE", SERVICE[0]).env("SERVICE6", SERVICE[1]).env("SERVICE_ALL", ALL);
    setup = setup.env("SOURCE", "10.2.0.10").env("INTERFACE", "eth0");
    for index in 0..3 {
        let [v4, v6] = server(index);
        setup = setup.env(&format!("SERVER_{}", index + 1), &v4).env(&format!("SERVER6_{}", index + 1), &v6);
    }
    setup.start()
}

/// The address that the example of DSR serves with all its ports.
const ALL: &str = "192.0.2.2";

fn at(host: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address(host), port)
}

/// Three servers, filled by `each`.
fn servers(net: &Net, each: impl Fn(&mut Echo, usize)) -> Vec<Echo> {
    (0..net.servers.len())
        .map(|index| {
            let mut echo = Echo::new(format!("s{index}"));
            each(&mut echo, index);
            echo
        })
        .collect()
}

/// Every new flow works, from the moment on when one does; the servers that they met.
async fn meets(net: &Net, to: SocketAddr, expected: &[&str]) {
    Flow::when_ready(&net.client, to).await.close().await.expect("an end");
    let mut met = Vec::new();
    for _ in 0..24 {
        let flow = within("a flow", Flow::open(&net.client, to)).await.expect("a flow");
        met.push(flow.server.clone());
        within("an end", flow.close()).await.expect("an end");
    }
    met.sort();
    met.dedup();
    assert_eq!(met, expected, "{to}");
}

#[tokio::test]
async fn nat() {
    let Some(net) = Net::new(Arms::One, 1, 3).await else { return };
    let _servers = servers(&net, |echo, index| {
        let [v4, v6] = server(index);
        let namespace = &net.servers[index];
        echo.pages(namespace, at(&v4, 80)).tcp(namespace, at(&v4, 443)).tcp(namespace, at(&v6, 8080));
        echo.tcp(namespace, at(&v4, 25));
    });
    let _daemon = start(&net, "packet-nat.cfg");
    // The third is a backup.
    meets(&net, at(SERVICE[0], 443), &["s0", "s1"]).await;
    meets(&net, at(SERVICE[1], 80), &["s0", "s1"]).await;
    let page = within("a connection", net.client.connect(at(SERVICE[0], 80))).await.expect("a connection");
    let reply = Peer::tcp(page, "client").ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(format!("{reply:?}").contains("200"), "{reply:?}");
}

#[tokio::test]
async fn direct_server_return() {
    let Some(net) = Net::new(Arms::One, 1, 3).await else { return };
    net.answer_directly().expect("addresses and routes");
    net.router.ip(&format!("route add {ALL} via 10.2.0.10")).expect("ip");
    for namespace in &net.servers {
        namespace.ip(&format!("addr add {ALL}/32 dev lo")).expect("ip");
    }
    let _servers = servers(&net, |echo, index| {
        let [v4, _] = server(index);
        let namespace = &net.servers[index];
        for to in [at(&v4, 80), at(SERVICE[0], 80), at(SERVICE[0], 443), at(ALL, 7777)] {
            echo.tcp(namespace, to);
        }
        echo.udp(namespace, at(ALL, 7777));
    });
    let _daemon = start(&net, "packet-dsr.cfg");
    meets(&net, at(SERVICE[0], 80), &["s0", "s1", "s2"]).await;
    meets(&net, at(SERVICE[0], 443), &["s0", "s1", "s2"]).await;
    // One client, one server, whatever the port.
    let flow = Flow::when_ready(&net.client, at(ALL, 7777)).await;
    meets(&net, at(ALL, 7777), &[&flow.server]).await;
    let socket = net.client.connect_udp(at(ALL, 7777)).await.expect("a socket");
    let (name, _) = within("an answer", ask_udp(&socket, b"hello")).await.expect("an answer");
    assert_eq!(name, flow.server);
}

#[tokio::test]
async fn tunnels() {
    let Some(net) = Net::new(Arms::One, 1, 2).await else { return };
    net.answer_directly().expect("addresses and routes");
    let _servers = servers(&net, |echo, index| {
        let [v4, _] = server(index);
        let namespace = &net.servers[index];
        for to in [at(&v4, 80), at(SERVICE[0], 80), at(SERVICE[0], 443), at(SERVICE[1], 80)] {
            echo.tcp(namespace, to);
        }
        echo.tunnel_end(namespace);
    });
    let _daemon = start(&net, "packet-ipip.cfg");
    for to in [at(SERVICE[0], 80), at(SERVICE[0], 443), at(SERVICE[1], 80)] {
        meets(&net, to, &["s0", "s1"]).await;
        // Segments as large as both ends agree upon.
        let flow = within("a flow", Flow::open(&net.client, to)).await.expect("a flow");
        let bulk = vec![7; 200_000];
        let came = within("the bulk", flow.exchange(&bulk)).await.expect("the bulk");
        assert!(came == bulk, "{} bytes came back", came.len());
    }
}

#[tokio::test]
async fn datagrams() {
    let Some(net) = Net::new(Arms::One, 1, 2).await else { return };
    let _servers = servers(&net, |echo, index| {
        let [v4, _] = server(index);
        let namespace = &net.servers[index];
        echo.tcp(namespace, at(&v4, 53)).udp(namespace, at(&v4, 53)).tcp(namespace, at(&v4, 8000));
        for port in 5000..5010 {
            echo.udp(namespace, at(&v4, port));
        }
    });
    let _daemon = start(&net, "packet-udp.cfg");
    meets(&net, at(SERVICE[0], 53), &["s0", "s1"]).await;
    let mut met = Vec::new();
    for _ in 0..24 {
        let socket = net.client.connect_udp(at(SERVICE[0], 53)).await.expect("a socket");
        met.push(within("an answer", ask_udp(&socket, b"question")).await.expect("an answer").0);
    }
    met.sort();
    met.dedup();
    assert_eq!(met, ["s0", "s1"]);
    // A client's streams go to one server.
    let mut met = Vec::new();
    for port in 5000..5010 {
        let socket = net.client.connect_udp(at(SERVICE[0], port)).await.expect("a socket");
        met.push(within("an answer", ask_udp(&socket, b"media")).await.expect("an answer").0);
    }
    met.dedup();
    assert_eq!(met.len(), 1, "{met:?}");
}
