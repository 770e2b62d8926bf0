//! What tests of `mode packet` share: the network with echo servers in it, the usual section, and clients as a load.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::daemon::Setup;
use crate::echo::{Echo, Flow};
use crate::netns::{Arms, Net, SERVICE, server};
use crate::{Daemon, PATIENCE, within};

/// The port that clients speak to, and the one that servers of NAT listen on.
pub const PORT: u16 = 80;
pub const SERVER_PORT: u16 = 8080;

/// How packets travel in a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Nat,
    /// With `source`: servers see the balancer.
    Snat,
    Dsr,
    Ipip,
}

/// A service's address and port.
pub fn service(family: usize) -> SocketAddr {
    SocketAddr::new(address(SERVICE[family]), PORT)
}

pub fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The network, with servers of both families and protocols that are named `s0`, `s1`, ….
pub struct Farm {
    pub net: Arc<Net>,
    pub way: Way,
    pub echoes: Vec<Echo>,
}

impl Farm {
    /// Nothing where there can be no network. Balancers have one arm.
    pub async fn new(way: Way, balancers: usize, servers: usize) -> Option<Self> {
        Self::with(Arms::One, way, balancers, servers).await
    }

    /// For `ebpf.attach` of this kind: native XDP has two arms.
    pub async fn for_attach(attach: &str, way: Way, servers: usize) -> Option<Self> {
        let arms = if attach == "native" { Arms::Two } else { Arms::One };
        Self::with(arms, way, 1, servers).await
    }

    async fn with(arms: Arms, way: Way, balancers: usize, servers: usize) -> Option<Self> {
        let net = Net::new(arms, balancers, servers).await?;
        if way != Way::Nat {
            net.answer_directly().expect("addresses and routes");
        }
        let mut farm = Self { net: Arc::new(net), way, echoes: Vec::new() };
        for index in 0..servers {
            let echo = farm.echo(index);
            farm.echoes.push(echo);
        }
        Some(farm)
    }

    /// A server, as at the beginning.
    pub fn echo(&self, index: usize) -> Echo {
        let namespace = &self.net.servers[index];
        let mut echo = Echo::new(format!("s{index}"));
        for family in 0..2 {
            let own = address(&server(index)[family]);
            let at = match self.way {
                Way::Nat | Way::Snat => vec![SocketAddr::new(own, SERVER_PORT)],
                // Checks come to its own address.
                Way::Dsr | Way::Ipip => vec![service(family), SocketAddr::new(own, PORT)],
            };
            for at in at {
                echo.tcp(namespace, at).udp(namespace, at);
            }
        }
        if self.way == Way::Ipip {
            echo.tunnel_end(namespace);
        }
        echo
    }

    /// Sections `web` and `web6` with a server for each, which has these words too.
    pub fn sections(&self, words: &str) -> String {
        let mut text = String::new();
        for (family, name) in ["web", "web6"].into_iter().enumerate() {
            let service = service(family);
            text += &format!("listen {name}\n  mode packet\n  bind {service}\n  bind udp@{service}\n");
            text += match self.way {
                Way::Nat => "  ebpf.forward nat\n",
                Way::Snat => ["  source 10.2.0.10\n", "  source [fd02::10]\n"][family],
                Way::Dsr => "  ebpf.forward dsr\n",
                Way::Ipip => "  ebpf.forward ipip\n",
            };
            for index in 0..self.net.servers.len() {
                let own = address(&server(index)[family]);
                let port = if matches!(self.way, Way::Nat | Way::Snat) { SERVER_PORT } else { PORT };
                text += &format!("  server s{index} {} {words}\n", SocketAddr::new(own, port));
            }
        }
        text
    }

    /// The usual configuration, with `global` and sections behind it.
    pub fn cfg(&self, global: &str, words: &str) -> String {
        format!(
            "global\n  {global}\ndefaults\n  log stdout format raw local0\n  timeout connect 5s\n  timeout client 1m\n  \
             timeout server 1m\n{}",
            self.sections(words)
        )
    }

    /// The daemon on a balancer, not started yet.
    pub fn setup(&self, balancer: usize, cfg: impl std::fmt::Display) -> Setup {
        Setup::new(cfg).wrap(&self.net.balancers[balancer].wrapper()).arg("-d")
    }

    /// The daemon on the first balancer, forwarding.
    pub async fn start(&self, cfg: impl std::fmt::Display) -> Daemon {
        let daemon = self.setup(0, cfg).start();
        self.ready().await;
        daemon
    }

    /// Waits until both families' packets are forwarded.
    pub async fn ready(&self) {
        for family in 0..2 {
            let flow = Flow::when_ready(&self.net.client, service(family)).await;
            flow.close().await.expect("an end");
        }
    }

    /// How many of `count` new flows each server gets; all of them must work.
    pub async fn spread(&self, family: usize, count: usize) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        for _ in 0..count {
            let mut flow =
                within("a flow", Flow::open(&self.net.client, service(family))).await.expect("a flow");
            within("an answer", flow.ask(b"hello")).await.expect("an answer");
            *spread.entry(flow.server.clone()).or_default() += 1;
            within("an end", flow.close()).await.expect("an end");
        }
        spread
    }
}

/// Clients that never stop: some with a new flow for each request, some with one flow for all.
pub struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Tally>,
}

/// What the clients have seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// New flows by server.
    pub flows: BTreeMap<String, usize>,
    /// Exchanges of the flows that stay.
    pub exchanges: usize,
    /// Everything that went wrong.
    pub errors: Vec<String>,
}

impl Load {
    /// `short` clients open flow after flow, `long` ones keep theirs, in turn over both families. Returns once all of
    /// these have theirs.
    pub async fn start(farm: &Farm, short: usize, long: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let open = Arc::new(Semaphore::new(0));
        for number in 0..short + long {
            let (net, stop, to) = (Arc::clone(&farm.net), Arc::clone(&stop), service(number % 2));
            if number < short {
                tasks.spawn(open_and_close(net, stop, to));
            } else {
                tasks.spawn(keep(net, stop, to, Arc::clone(&open)));
            }
        }
        let all = u32::try_from(long).expect("few");
        drop(within("the flows of the load", open.acquire_many(all)).await.expect("an open semaphore"));
        Self { stop, tasks }
    }

    /// Waits until every client ends its round.
    pub async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let tallies = within("the clients", self.tasks.join_all()).await;
        let mut sum = Tally::default();
        for tally in tallies {
            for (server, count) in tally.flows {
                *sum.flows.entry(server).or_default() += count;
            }
            sum.exchanges += tally.exchanges;
            sum.errors.extend(tally.errors);
        }
        sum
    }
}

/// Between two rounds of a client: the load must leave time for what is tested.
const PAUSE: Duration = Duration::from_millis(2);
/// More errors of one client tell no more.
const ERRORS_MAX: usize = 20;

async fn open_and_close(net: Arc<Net>, stop: Arc<AtomicBool>, to: SocketAddr) -> Tally {
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) && tally.errors.len() < ERRORS_MAX {
        let round = async {
            let mut flow = Flow::open(&net.client, to).await?;
            flow.ask(b"hello").await?;
            let server = flow.server.clone();
            flow.close().await.map(|()| server)
        };
        match tokio::time::timeout(PATIENCE, round).await {
            Ok(Ok(server)) => *tally.flows.entry(server).or_default() += 1,
            Ok(Err(error)) => tally.errors.push(format!("a flow to {to}: {error}")),
            Err(_) => tally.errors.push(format!("a flow to {to} got no answer")),
        }
        tokio::time::sleep(PAUSE).await;
    }
    tally
}

async fn keep(net: Arc<Net>, stop: Arc<AtomicBool>, to: SocketAddr, open: Arc<Semaphore>) -> Tally {
    let mut tally = Tally::default();
    let opened = Flow::open(&net.client, to).await;
    open.add_permits(1);
    let mut flow = match opened {
        Ok(flow) => flow,
        Err(error) => {
            tally.errors.push(format!("a flow to {to}: {error}"));
            return tally;
        }
    };
    while !stop.load(Ordering::Relaxed) {
        match tokio::time::timeout(PATIENCE, flow.ask(b"still there?")).await {
            Ok(Ok(())) => tally.exchanges += 1,
            Ok(Err(error)) => tally.errors.push(format!("a kept flow to {}: {error}", flow.server)),
            Err(_) => tally.errors.push(format!("a kept flow to {} got no answer", flow.server)),
        }
        if !tally.errors.is_empty() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    tally
}
