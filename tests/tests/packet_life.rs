//! `mode packet` through the life of the daemon and of its servers, with clients that never stop. Through network
//! namespaces; needs root, says so and passes without.

use std::time::{Duration, Instant};

use lb_tests::daemon::Signal;
use lb_tests::packet::{Farm, Load, Way, service};
use lb_tests::{Daemon, Flow, eventually, within};

/// Clients of each load: half of each kind for each family.
const SHORT: usize = 2;
const LONG: usize = 6;
/// Rounds that show that a load goes on.
const ROUNDS: usize = 20;

const CHECK: &str = "check inter 100 fall 1 rise 1";

/// Opens some flows beside a load, so that it has time to go wrong.
async fn goes_on(farm: &Farm) {
    for _ in 0..ROUNDS {
        for family in 0..2 {
            let flow = Flow::open(&farm.net.client, service(family));
            let flow = within("a flow beside the load", flow).await.expect("a flow");
            within("its end", flow.close()).await.expect("an end");
        }
    }
}

async fn terminate(farm: &Farm, daemon: Daemon) {
    daemon.signal(Signal::TERM);
    daemon.exit().await;
    // Nothing is left: the balancer's kernel refuses what came to the service, and nothing is pinned.
    let refused = Flow::open(&farm.net.client, service(0)).await.err().expect("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(farm.net.balancers[0].pinned(), Vec::<std::path::PathBuf>::new());
    assert!(!farm.net.balancers[0].has_program());
}

#[tokio::test]
async fn packets_go_on_without_the_daemon_at_tc() {
    packets_go_on_without_the_daemon("tc").await;
}

#[tokio::test]
async fn packets_go_on_without_the_daemon_in_native_xdp() {
    packets_go_on_without_the_daemon("native").await;
}

async fn packets_go_on_without_the_daemon(attach: &str) {
    let Some(farm) = Farm::for_attach(attach, Way::Nat, 2).await else { return };
    let cfg = farm.cfg(&format!("ebpf.attach {attach}"), CHECK);
    let daemon = farm.start(&cfg).await;
    let load = Load::start(&farm, SHORT, LONG).await;
    goes_on(&farm).await;
    daemon.signal(Signal::KILL);
    daemon.exit().await;
    assert!(!farm.net.balancers[0].pinned().is_empty());
    goes_on(&farm).await;
    // The next one takes over what the first has left.
    let daemon = farm.setup(0, &cfg).start();
    daemon.stderr.wait("<*>packet: instance default<*>").await;
    goes_on(&farm).await;
    let tally = load.stop().await;
    assert!(tally.errors.is_empty(), "{attach}: {tally:?}");
    assert!(tally.exchanges > LONG * ROUNDS && tally.flows.len() == 2, "{attach}: {tally:?}");
    terminate(&farm, daemon).await;
}

#[tokio::test]
async fn a_reload_loses_nothing() {
    let Some(farm) = Farm::new(Way::Nat, 1, 2).await else { return };
    let cfg = farm.cfg("ebpf.attach tc", CHECK);
    let mut daemon = farm.start(&cfg).await;
    let load = Load::start(&farm, SHORT, LONG).await;
    goes_on(&farm).await;
    for round in 0..3 {
        // Servers change their place in the file and keep their flows.
        let cfg = if round % 2 == 0 { reversed(&cfg) } else { cfg.clone() };
        let next = farm.setup(0, cfg).arg("-sf").arg(daemon.pid().to_string()).start();
        next.stderr.wait("<*>packet: instance default<*>").await;
        daemon.exit().await;
        daemon = next;
        goes_on(&farm).await;
    }
    let tally = load.stop().await;
    assert!(tally.errors.is_empty(), "{tally:?}");
    assert!(tally.exchanges > LONG * ROUNDS && tally.flows.len() == 2, "{tally:?}");
    terminate(&farm, daemon).await;
}

/// The file with neighbouring server lines exchanged.
fn reversed(cfg: &str) -> String {
    let mut lines: Vec<&str> = cfg.lines().collect();
    for at in 1..lines.len() {
        let is_server = |line: &str| line.trim_start().starts_with("server ");
        if is_server(lines[at - 1]) && is_server(lines[at]) {
            lines.swap(at - 1, at);
        }
    }
    lines.join("\n") + "\n"
}

#[tokio::test]
async fn a_dead_server_gets_no_new_flow_and_keeps_its_old_ones() {
    let Some(mut farm) = Farm::new(Way::Nat, 1, 3).await else { return };
    let daemon = farm.start(farm.cfg("ebpf.attach tc", CHECK)).await;
    let load = Load::start(&farm, 0, LONG).await;
    let mut echo = farm.echoes.remove(1);
    echo.close().await;
    for section in ["web", "web6"] {
        said(&daemon, &format!("Server {section}/s1 is DOWN<*>")).await;
    }
    settle(&farm).await;
    for family in 0..2 {
        let spread = farm.spread(family, 30).await;
        assert!(!spread.contains_key("s1") && spread.len() == 2, "{spread:?}");
    }
    let tally = load.stop().await;
    assert!(tally.errors.is_empty() && tally.exchanges > LONG, "{tally:?}");
    // It returns: new flows too.
    drop(echo);
    farm.echoes.push(farm.echo(1));
    for section in ["web", "web6"] {
        said(&daemon, &format!("Server {section}/s1 is UP<*>")).await;
    }
    settle(&farm).await;
    for family in 0..2 {
        let spread = farm.spread(family, 60).await;
        assert_eq!(spread.len(), 3, "{spread:?}");
    }
    terminate(&farm, daemon).await;
}

/// Waits until the log has such a line, before or after others that were waited for.
async fn said(daemon: &Daemon, pattern: &str) {
    eventually(format!("a line {pattern}"), || daemon.stdout.count(pattern) > 0).await;
}

/// The kernel has a server's new state within 50 ms once the daemon has it; a machine that is busy with other tests
/// takes longer.
const SETTLED: Duration = Duration::from_secs(1);

/// Waits until new flows are all served, which they must be soon after the daemon knows its servers' states.
async fn settle(farm: &Farm) {
    let begun = Instant::now();
    let mut served = 0;
    while served < 2 * ROUNDS {
        served += 1;
        if Flow::open(&farm.net.client, service(served % 2)).await.is_err() {
            assert!(
                begun.elapsed() < SETTLED,
                "a new flow is refused {:?} after the change",
                begun.elapsed()
            );
            served = 0;
        }
    }
}

#[tokio::test]
async fn flows_of_a_dead_server_are_dropped_where_the_file_says_so() {
    let Some(mut farm) = Farm::new(Way::Nat, 1, 2).await else { return };
    let words = format!("{CHECK} on-marked-down shutdown-sessions");
    let daemon = farm.start(farm.cfg("ebpf.attach tc", &words)).await;
    let mut flows = Vec::new();
    while flows.len() < 20 {
        let flow = Flow::open(&farm.net.client, service(0));
        flows.push(within("a flow", flow).await.expect("a flow"));
    }
    farm.echoes[1].close().await;
    daemon.stdout.wait("Server web/s1 is DOWN<*>").await;
    let begun = Instant::now();
    let of_the_dead = flows.iter_mut().find(|flow| flow.server == "s1").expect("twenty flows meet both");
    while answers(of_the_dead).await {
        assert!(begun.elapsed() < SETTLED, "flows go on {:?} after the change", begun.elapsed());
    }
    let mut lost = 0;
    for flow in &mut flows {
        if flow.server == "s0" {
            within("an answer", flow.ask(b"still there?")).await.expect("an answer");
        } else {
            lost += 1;
            assert!(!answers(flow).await, "a flow of a server that is down goes on");
        }
    }
    assert!(lost > 0 && lost < flows.len());
    terminate(&farm, daemon).await;
}

async fn answers(flow: &mut Flow) -> bool {
    matches!(tokio::time::timeout(lb_tests::QUIET, flow.ask(b"still there?")).await, Ok(Ok(())))
}

#[tokio::test]
async fn a_reload_that_disables_a_server_drains_it() {
    let Some(farm) = Farm::new(Way::Nat, 1, 2).await else { return };
    let cfg = farm.cfg("ebpf.attach tc", CHECK);
    let daemon = farm.start(&cfg).await;
    let load = Load::start(&farm, SHORT, LONG).await;
    goes_on(&farm).await;
    let disabled: String = cfg
        .lines()
        .map(
            |line| {
                if line.contains("server s1 ") { format!("{line} weight 0\n") } else { format!("{line}\n") }
            },
        )
        .collect();
    let next = farm.setup(0, disabled).arg("-sf").arg(daemon.pid().to_string()).start();
    next.stderr.wait("<*>packet: instance default<*>").await;
    daemon.exit().await;
    for family in 0..2 {
        let spread = farm.spread(family, 20).await;
        assert_eq!(spread.keys().collect::<Vec<_>>(), ["s0"]);
    }
    let tally = load.stop().await;
    assert!(tally.errors.is_empty(), "{tally:?}");
    terminate(&farm, next).await;
}

#[tokio::test]
async fn what_a_dead_daemon_left_is_unloaded() {
    let Some(farm) = Farm::new(Way::Nat, 1, 1).await else { return };
    let daemon = farm.start(farm.cfg("ebpf.attach tc", "")).await;
    daemon.signal(Signal::KILL);
    daemon.exit().await;
    let unload = lb_tests::Setup::new("").wrap(&farm.net.balancers[0].wrapper());
    let exit = unload.arg("--unload").arg("default").run_bare().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(farm.net.balancers[0].pinned(), Vec::<std::path::PathBuf>::new());
    let refused = Flow::open(&farm.net.client, service(0)).await.err().expect("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_second_daemon_of_an_instance_is_refused() {
    let Some(farm) = Farm::new(Way::Nat, 1, 1).await else { return };
    let cfg = farm.cfg("ebpf.attach tc", "");
    let daemon = farm.start(&cfg).await;
    let exit = within("the refusal", farm.setup(0, &cfg).start().exit()).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains("-sf"), "{}", exit.stderr);
    farm.ready().await;
    terminate(&farm, daemon).await;
}

#[tokio::test]
async fn an_interface_may_go_and_return() {
    let Some(farm) = Farm::new(Way::Nat, 1, 1).await else { return };
    let daemon = farm.start(farm.cfg("ebpf.attach tc", "")).await;
    let net = &farm.net;
    net.balancers[0].ip("link del eth0").expect("ip");
    daemon.stderr.wait("<*>interface eth0 is gone<*>").await;
    net.connect_balancer(0).expect("a new interface");
    daemon.stderr.wait("<*>attached to interface eth0<*>").await;
    eventually("the interface", || net.balancers[0].is_up("eth0")).await;
    farm.ready().await;
    terminate(&farm, daemon).await;
}

#[tokio::test]
async fn flows_outlive_the_servers_interface_going_down() {
    // Two arms: the services' address does not keep the program on the servers' side.
    let Some(farm) = Farm::for_attach("native", Way::Nat, 1).await else { return };
    let cfg = farm.cfg("ebpf.attach tc", "");
    let daemon = farm.start(cfg).await;
    let balancer = &farm.net.balancers[0];
    let mut flow = within("a flow", Flow::open(&farm.net.client, service(0))).await.expect("a flow");
    // The routes to the servers of IPv6 stay away, as the addresses do.
    balancer.ip("route del default").expect("ip");
    balancer.ip("link set eth1 down").expect("ip");
    daemon.stderr.wait("<*>no route to 10.2.0.20<*>").await;
    balancer.ip_all(&["link set eth1 up", "route add default via 10.3.0.1"]).expect("ip");
    within("an answer", flow.ask(b"hello")).await.expect("an answer");
    daemon.stderr.wait("<*>no longer so<*>no route to 10.2.0.20<*>").await;
    within("an answer", flow.ask(b"hello")).await.expect("an answer");
    daemon.signal(Signal::TERM);
    let exit = daemon.exit().await;
    assert!(!exit.stderr.contains("no longer needed"), "{}", exit.stderr);
}

#[tokio::test]
async fn flows_outlive_a_soft_stop() {
    let Some(farm) = Farm::new(Way::Nat, 1, 1).await else { return };
    let cfg = farm.cfg("ebpf.attach tc\n  hard-stop-after 2s", "");
    let daemon = farm.start(cfg).await;
    let mut flow = within("a flow", Flow::open(&farm.net.client, service(0))).await.expect("a flow");
    daemon.signal(Signal::USR1);
    // Workers, who have nothing to end, are gone by then.
    daemon.stderr.wait("<*>Proxy web6 stopped<*>").await;
    for _ in 0..ROUNDS {
        within("an answer", flow.ask(b"hello")).await.expect("an answer");
    }
    assert!(farm.net.balancers[0].has_program());
    daemon.stderr.wait("<*>performing a hard-stop<*>").await;
    let exit = daemon.exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert_eq!(farm.net.balancers[0].pinned(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn an_address_on_no_interface_is_refused() {
    let Some(farm) = Farm::new(Way::Nat, 1, 1).await else { return };
    let cfg = farm.cfg("ebpf.attach tc", "").replace("192.0.2.1:80", "192.0.2.77:80");
    let exit = within("the refusal", farm.setup(0, cfg).start().exit()).await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains("192.0.2.77 is on no interface"), "{}", exit.stderr);
    assert_eq!(farm.net.balancers[0].pinned(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn other_modes_stand_beside_it_on_one_interface() {
    let Some(farm) = Farm::new(Way::Nat, 1, 2).await else { return };
    let own = &lb_tests::netns::server(0)[0];
    let cfg = format!(
        "{}listen proxied\n  mode tcp\n  bind 192.0.2.1:81\n  server s0 {own}:8080\nfrontend pages\n  mode http\n  \
         bind 192.0.2.1:82\n  http-request return status 200 content-type text/plain string here\n",
        farm.cfg("ebpf.attach tc", CHECK)
    );
    let daemon = farm.start(cfg).await;
    let proxied = Flow::when_ready(&farm.net.client, "192.0.2.1:81".parse().expect("an address")).await;
    // A connection of the daemon's own: the server sees the balancer.
    assert_eq!((&*proxied.server, proxied.seen.ip().to_string()), ("s0", "10.2.0.10".to_owned()));
    let page =
        farm.net.client.connect("192.0.2.1:82".parse().expect("an address")).await.expect("a connection");
    let mut page = lb_tests::Peer::tcp(page, "client");
    let reply = page.ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(format!("{reply:?}").contains("200"), "{reply:?}");
    let spread = farm.spread(0, 20).await;
    assert_eq!(spread.len(), 2, "{spread:?}");
    terminate(&farm, daemon).await;
}

#[tokio::test]
async fn flows_survive_the_death_of_a_node() {
    let Some(farm) = Farm::new(Way::Dsr, 2, 3).await else { return };
    let cfg = farm.cfg("ebpf.attach tc", CHECK);
    let nodes = [farm.setup(0, &cfg).start(), farm.setup(1, &cfg).start()];
    for (index, node) in nodes.iter().enumerate() {
        farm.net.announce(&[index]).expect("routes");
        node.stderr.wait("<*>packet: instance default<*>").await;
        farm.ready().await;
    }
    farm.net.announce(&[0, 1]).expect("routes");
    let load = Load::start(&farm, SHORT, 4 * LONG).await;
    goes_on(&farm).await;
    let [first, second] = nodes;
    // As if its machine had died: the route goes, and nobody forwards there.
    farm.net.announce(&[1]).expect("routes");
    first.signal(Signal::KILL);
    first.exit().await;
    farm.net.balancers[0].ip("link set eth0 down").expect("ip");
    goes_on(&farm).await;
    let tally = load.stop().await;
    assert!(tally.errors.is_empty(), "{tally:?}");
    assert!(tally.exchanges > 4 * LONG && tally.flows.len() == 3, "{tally:?}");
    second.signal(Signal::TERM);
    second.exit().await;
}
