//! `mode packet` end to end: every way of forwarding, at every place where packets are met, with TCP and UDP over IPv4
//! and IPv6. Through network namespaces; needs root, says so and passes without.

use std::collections::BTreeSet;

use lb_tests::echo::ask_udp;
use lb_tests::netns::{CLIENT, balancer};
use lb_tests::packet::{Farm, Way, address, service};
use lb_tests::{Flow, within};

#[tokio::test]
async fn nat_by_tc() {
    check(Way::Nat, "tc").await;
}

#[tokio::test]
async fn nat_by_native_xdp() {
    check(Way::Nat, "native").await;
}

#[tokio::test]
async fn nat_by_generic_xdp() {
    check(Way::Nat, "generic").await;
}

#[tokio::test]
async fn snat_by_tc() {
    check(Way::Snat, "tc").await;
}

#[tokio::test]
async fn snat_by_native_xdp() {
    check(Way::Snat, "native").await;
}

#[tokio::test]
async fn dsr_by_tc() {
    check(Way::Dsr, "tc").await;
}

#[tokio::test]
async fn dsr_by_native_xdp() {
    check(Way::Dsr, "native").await;
}

#[tokio::test]
async fn ipip_by_tc() {
    check(Way::Ipip, "tc").await;
}

#[tokio::test]
async fn ipip_by_native_xdp() {
    check(Way::Ipip, "native").await;
}

async fn check(way: Way, attach: &str) {
    let Some(farm) = Farm::for_attach(attach, way, 2).await else { return };
    let daemon = farm.start(farm.cfg(&format!("ebpf.attach {attach}"), "check inter 100")).await;
    for family in 0..2 {
        tcp(&farm, family).await;
        udp(&farm, family).await;
    }
    drop(daemon);
}

async fn tcp(farm: &Farm, family: usize) {
    // More than a window, so that segments of every size pass.
    let bulk: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let mut servers = BTreeSet::new();
    for number in 0..16 {
        let mut flow = within("a flow", Flow::open(&farm.net.client, service(family))).await.expect("a flow");
        servers.insert(flow.server.clone());
        match farm.way {
            Way::Snat => assert_eq!(flow.seen.ip(), address(&balancer(0)[family])),
            _ => assert_eq!(flow.seen, flow.local()),
        }
        within("an answer", flow.ask(b"hello")).await.expect("an answer");
        if number == 0 {
            exchange(flow, &bulk).await;
        } else {
            within("an end", flow.close()).await.expect("an end");
        }
    }
    assert_eq!(servers.len(), farm.echoes.len(), "sixteen flows met only {servers:?}");
}

/// Both directions at once: a server that echoes has no room for everything.
async fn exchange(flow: Flow, bulk: &[u8]) {
    let mut echoed = within("the bulk", flow.exchange(bulk)).await.expect("the bulk");
    echoed.truncate(bulk.len());
    assert!(echoed == bulk, "the bulk came back as something else");
}

async fn udp(farm: &Farm, family: usize) {
    let mut servers = BTreeSet::new();
    for number in 0..16 {
        let socket = farm.net.client.connect_udp(service(family)).await.expect("a socket");
        // The largest are fragments on their way.
        let bytes = vec![7; [0, 1, 100, 1_400, 4_000, 9_000][number % 6]];
        let ask = within(format!("an answer to {} bytes", bytes.len()), ask_udp(&socket, &bytes));
        let (server, seen) = ask.await.expect("an answer");
        servers.insert(server.clone());
        match farm.way {
            Way::Snat => assert_eq!(seen.ip(), address(&balancer(0)[family])),
            _ => {
                let local = socket.local_addr().expect("a bound socket");
                assert_eq!((seen.ip(), seen.port()), (address(CLIENT[family]), local.port()));
            }
        }
        // The flow stays where it is.
        let again = within("an answer", ask_udp(&socket, b"again")).await.expect("an answer");
        assert_eq!(again, (server, seen));
    }
    assert_eq!(servers.len(), farm.echoes.len(), "sixteen flows met only {servers:?}");
}
