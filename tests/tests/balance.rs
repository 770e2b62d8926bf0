//! Which server gets which request, seen from outside.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use lb_tests::{Daemon, Peer, Served, Setup, get};

/// A backend whose servers answer with their own name.
struct Farm {
    daemon: Daemon,
    _origins: Vec<Served>,
}

impl Farm {
    /// Servers `s1`, `s2`, … with these words each; `backend` lines above them.
    fn start(backend: &str, servers: &[&str]) -> Self {
        const NAMES: [&str; 5] = ["s1", "s2", "s3", "s4", "s5"];
        let origins: Vec<Served> = NAMES[..servers.len()].iter().map(|name| Served::new(name)).collect();
        let lines: String = servers
            .iter()
            .zip(NAMES)
            .map(|(words, name)| format!("    server {name} <{name}> {words}\n"))
            .collect();
        let mut setup = Setup::new(format!(
            "global\n    nbthread 1\n\
             defaults\n    mode http\n    timeout client 30s\n    timeout server 30s\n    timeout connect 5s\n    \
             timeout queue 5s\n    http-reuse always\n\
             frontend fe\n    bind <fe>\n    default_backend be\n\
             backend be\n    {backend}\n{lines}"
        ));
        for (name, origin) in NAMES.iter().zip(&origins) {
            setup = setup.at(name, origin.addr());
        }
        Self { daemon: setup.start(), _origins: origins }
    }

    /// The names of the servers that answer these requests, one after the other.
    async fn sequence(&mut self, requests: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut client = self.daemon.connect("fe").await;
        let mut names = Vec::new();
        for request in requests {
            names.push(answer(&mut client, request).await);
        }
        names
    }

    /// The digits of the servers for GETs of these targets.
    async fn digits(&mut self, targets: impl IntoIterator<Item = String>) -> String {
        let names = self.sequence(targets.into_iter().map(|target| get(&target))).await;
        names.iter().map(|name| &name[1..]).collect()
    }
}

async fn answer(client: &mut Peer, request: String) -> String {
    let answer = client.ask(request).await;
    if answer.status() == 200 { answer.text() } else { format!("s({})", answer.status()) }
}

fn count(names: &[String]) -> BTreeMap<&str, usize> {
    names.iter().fold(BTreeMap::new(), |mut counts, name| {
        *counts.entry(name.as_str()).or_default() += 1;
        counts
    })
}

fn repeat(target: &str, times: usize) -> impl Iterator<Item = String> {
    std::iter::repeat_n(get(target), times)
}

#[tokio::test]
async fn roundrobin_takes_turns() {
    let mut farm = Farm::start("balance roundrobin", &["", "", ""]);
    assert_eq!(farm.digits(std::iter::repeat_n("/".to_owned(), 9)).await, "123123123");
}

#[tokio::test]
async fn roundrobin_is_the_default() {
    // HAProxy 3.3 changed the default to random; 3.2 and all before take turns.
    let mut farm = Farm::start("", &["", "", ""]);
    let names = farm.sequence(repeat("/", 30)).await;
    assert_eq!(names.len(), 30);
    assert!(count(&names).len() == 3, "{names:?}");
}

#[tokio::test]
async fn roundrobin_weights_are_exact_and_smooth() {
    let mut farm = Farm::start("balance roundrobin", &["weight 1", "weight 2", "weight 5"]);
    let names = farm.sequence(repeat("/", 80)).await;
    assert_eq!(count(&names), BTreeMap::from([("s1", 10), ("s2", 20), ("s3", 50)]));
    // No server waits for the end of another's share.
    assert!(names.windows(6).all(|window| window.iter().any(|name| name != "s3")), "{names:?}");
}

#[tokio::test]
async fn static_rr_weights() {
    let mut farm = Farm::start("balance static-rr", &["weight 3", "weight 1"]);
    let names = farm.sequence(repeat("/", 40)).await;
    assert_eq!(count(&names), BTreeMap::from([("s1", 30), ("s2", 10)]));
}

#[tokio::test]
async fn weight_zero_gets_nothing() {
    for algorithm in ["roundrobin", "static-rr", "leastconn", "random", "uri", "first"] {
        let mut farm = Farm::start(&format!("balance {algorithm}"), &["weight 0", ""]);
        let names = farm.sequence((0..20).map(|index| get(&format!("/{index}")))).await;
        assert_eq!(count(&names), BTreeMap::from([("s2", 20)]), "{algorithm}");
    }
}

#[tokio::test]
async fn leastconn_prefers_the_idle() {
    let mut origins = Vec::new();
    let mut setup = Setup::new(
        "global\n nbthread 1\ndefaults\n mode tcp\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n\
         listen fe\n bind <fe>\n balance leastconn\n server s1 <s1>\n server s2 <s2> weight 2\n",
    );
    for name in ["s1", "s2"] {
        let origin = lb_tests::Origin::bind();
        setup = setup.at(name, origin.addr());
        origins.push(origin);
    }
    let mut daemon = setup.start();
    let mut held: Vec<Vec<(Peer, Peer)>> = vec![Vec::new(), Vec::new()];
    for _ in 0..9 {
        let client = daemon.connect("fe").await;
        let (which, peer) = tokio::select! {
            peer = origins[0].accept_any() => (0, peer),
            peer = origins[1].accept_any() => (1, peer),
        };
        held[which].push((client, peer));
    }
    assert_eq!((held[0].len(), held[1].len()), (3, 6));
    // Two sessions of the first server end: it is the least loaded now.
    for (client, mut peer) in held[0].drain(..2) {
        client.close();
        peer.expect_end().await;
        peer.close();
    }
    for _ in 0..2 {
        let _client = daemon.connect("fe").await;
        let peer = origins[0].accept().await;
        held[0].push((_client, peer));
    }
}

#[tokio::test]
async fn first_fills_one_server_before_the_next() {
    let origins = [lb_tests::Origin::bind(), lb_tests::Origin::bind()];
    let mut daemon = Setup::new(
        "global\n nbthread 1\ndefaults\n mode tcp\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n\
         listen fe\n bind <fe>\n balance first\n server s1 <s1> maxconn 2\n server s2 <s2> maxconn 2\n",
    )
    .at("s1", origins[0].addr())
    .at("s2", origins[1].addr())
    .start();
    let mut held = Vec::new();
    for origin in [&origins[0], &origins[0], &origins[1], &origins[1]] {
        let client = daemon.connect("fe").await;
        held.push((client, origin.accept().await));
    }
    let (client, mut peer) = held.remove(0);
    client.close();
    peer.expect_end().await;
    peer.close();
    held.push((daemon.connect("fe").await, origins[0].accept().await));
}

#[tokio::test]
async fn random_reaches_everybody_by_weight() {
    for algorithm in ["random", "random(1)", "random(3)"] {
        let mut farm = Farm::start(&format!("balance {algorithm}"), &["weight 10", "weight 10", "weight 20"]);
        let names = farm.sequence(repeat("/", 400)).await;
        let counts = count(&names);
        assert!(counts.values().all(|share| (40..=320).contains(share)), "{algorithm}: {counts:?}");
    }
}

#[tokio::test]
async fn source_keeps_a_client_on_its_server() {
    let mut farm = Farm::start("balance source", &["", "", ""]);
    let mut servers = BTreeMap::new();
    for host in 1..40 {
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, host));
        for _ in 0..2 {
            let mut client = farm.daemon.connect_from(from, "fe").await;
            let name = answer(&mut client, get("/")).await;
            assert_eq!(servers.entry(host).or_insert_with(|| name.clone()), &name);
        }
    }
    let names: Vec<String> = servers.into_values().collect();
    assert_eq!(count(&names).len(), 3);
}

fn targets() -> impl Iterator<Item = String> {
    (0..40).map(|index| format!("/path/{index}/file{}?q={}", index % 7, index % 3))
}

/// The same hash as HAProxy's: a fleet that mixes both keeps its caches warm. Recorded from HAProxy 3.2.
#[tokio::test]
async fn hashes_agree_with_haproxy() {
    let mut problems = Vec::new();
    for (lines, recorded) in [
        ("balance uri", "2232412232122344122341232441234122324122"),
        ("balance uri whole", "3242234234413212241224123442244122422412"),
        ("balance uri depth 1", "2222222222222222222222222222222222222222"),
        ("balance uri depth 2", "1224234122412242341222423412244234122423"),
        ("balance uri len 7", "1224234122222222222222222222224444444444"),
        ("balance uri path-only", "2232412232122344122341232441234122324122"),
        ("balance uri whole\n    hash-type map-based djb2", "2322442322144222144323211423212144222144"),
        ("balance uri whole\n    hash-type map-based wt6", "2432334243231122122342142241244244122241"),
        ("balance uri whole\n    hash-type map-based crc32", "2442222121224344323242222314222234431141"),
        (
            "balance uri whole\n    hash-type map-based sdbm avalanche",
            "2224242422424314222344244232432211242444",
        ),
        (
            "balance uri whole\n    hash-type map-based djb2 avalanche",
            "3213212413341232244431213224221222244134",
        ),
        ("balance uri whole\n    hash-type consistent", "2332424222424112434412232242243322212124"),
        ("balance uri whole\n    hash-type consistent sdbm", "2412412431412423223243143143244124122242"),
        (
            "balance uri whole\n    hash-type consistent crc32 avalanche",
            "3213233223114243232442443412242444322214",
        ),
        ("balance url_param q", "4124124124124124124124124124124124124124"),
        ("balance url_param q\n    hash-type consistent", "2322322322322322322322322322322322322322"),
    ] {
        let mut farm = Farm::start(lines, &["", "weight 3", "", "weight 2"]);
        let digits = farm.digits(targets()).await;
        if digits != recorded {
            problems.push(format!("({lines:?}, {digits:?}),"));
        }
    }
    // In the form of the table above, to be recorded anew from HAProxy.
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn source_hash_agrees_with_haproxy() {
    let mut farm = Farm::start("balance source", &["", "weight 3", "", "weight 2"]);
    let mut digits = String::new();
    for host in 1..=40 {
        let mut client = farm.daemon.connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), "fe").await;
        digits.push_str(&answer(&mut client, get("/")).await[1..]);
    }
    assert_eq!(digits, "2423412242341224234122423412242341224234");
}

#[tokio::test]
async fn header_hash_agrees_with_haproxy() {
    let mut problems = Vec::new();
    let with_header =
        |index: u32| format!("GET / HTTP/1.1\r\nhost: h{index}.test\r\nx-user: user{index}\r\n\r\n");
    for (lines, recorded) in [
        ("balance hdr(x-user)", "4122423412224234122442341224233412242341"),
        ("balance hdr(host)", "2242324234224122423423412341221224232423"),
        ("balance hdr(host) use_domain_only", "2341224234412242341222423412244234122423"),
    ] {
        let mut farm = Farm::start(lines, &["", "weight 3", "", "weight 2"]);
        let names = farm.sequence((0..40).map(with_header)).await;
        let digits: String = names.iter().map(|name| &name[1..]).collect();
        if digits != recorded {
            problems.push(format!("({lines:?}, {digits:?}),"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn what_is_not_there_falls_back_to_turns() {
    for lines in ["balance url_param nothing", "balance hdr(x-nothing)"] {
        let mut farm = Farm::start(lines, &["", "", ""]);
        assert_eq!(farm.digits(targets().take(9)).await, "123123123", "{lines}");
    }
}

#[tokio::test]
async fn url_param_in_the_query() {
    let mut farm = Farm::start("balance url_param user", &["", "", ""]);
    let mut seen = BTreeMap::new();
    for round in 0..3 {
        for user in 0..20 {
            let digit = farm.digits([format!("/{round}?a=b&user=u{user}&c={round}")]).await;
            assert_eq!(seen.entry(user).or_insert_with(|| digit.clone()), &digit);
        }
    }
}

#[tokio::test]
async fn backup_waits_for_the_others_to_fail() {
    let mut farm = Farm::start("balance roundrobin", &["", "backup"]);
    assert_eq!(farm.digits(targets().take(4)).await, "1111");
    let mut farm = Farm::start("balance roundrobin", &["disabled", "backup", "backup"]);
    assert_eq!(farm.digits(targets().take(4)).await, "2222");
    let mut farm =
        Farm::start("balance roundrobin\n    option allbackups", &["disabled", "backup", "backup"]);
    assert_eq!(farm.digits(targets().take(4)).await, "2323");
}

#[tokio::test]
async fn disabled_servers_get_nothing_and_none_left_is_503() {
    let mut farm = Farm::start("balance roundrobin", &["disabled", "", "disabled"]);
    assert_eq!(farm.digits(targets().take(3)).await, "222");
    let mut farm = Farm::start("balance roundrobin", &["disabled", "disabled"]);
    assert_eq!(farm.digits(targets().take(1)).await, "(503)");
}

#[tokio::test]
async fn hash_balance_factor_bounds_the_favourite() {
    let origins = [lb_tests::Origin::bind(), lb_tests::Origin::bind()];
    let mut daemon = Setup::new(
        "global\n nbthread 1\ndefaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n\
         listen fe\n bind <fe>\n balance uri\n hash-type consistent\n hash-balance-factor 150\n server s1 <s1>\n server s2 <s2>\n",
    )
    .at("s1", origins[0].addr())
    .at("s2", origins[1].addr())
    .start();
    // Eight requests for one and the same target, all held: neither server may carry much more than its share.
    let mut held = Vec::new();
    let mut counts = [0, 0];
    for _ in 0..8 {
        let mut client = daemon.connect("fe").await;
        client.send(get("/hot")).await;
        let (which, peer) = tokio::select! {
            peer = origins[0].accept_any() => (0, peer),
            peer = origins[1].accept_any() => (1, peer),
        };
        counts[which] += 1;
        held.push((client, peer));
    }
    assert!(counts.iter().all(|count| (2..=6).contains(count)), "{counts:?}");
}
