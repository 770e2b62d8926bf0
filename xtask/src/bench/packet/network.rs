//! Three network namespaces in a row: the client, the balancer, the server.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The address that clients call; the balancer's interface has it.
pub(super) const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 98, 1, 100);
/// The server's address.
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 98, 2, 2);

/// What makes the network: `{c}`, `{b}` and `{s}` are the namespaces.
const SET_UP: &[&str] = &[
    "ip netns add {c}",
    "ip netns add {b}",
    "ip netns add {s}",
    "ip link add client0 netns {c} type veth peer name balancer0 netns {b}",
    "ip link add server0 netns {s} type veth peer name balancer1 netns {b}",
    "ip -n {c} address add 10.98.1.2/24 dev client0",
    "ip -n {b} address add 10.98.1.1/24 dev balancer0",
    "ip -n {b} address add 10.98.1.100/24 dev balancer0",
    "ip -n {b} address add 10.98.2.1/24 dev balancer1",
    "ip -n {s} address add 10.98.2.2/24 dev server0",
    "ip -n {c} link set lo up",
    "ip -n {b} link set lo up",
    "ip -n {s} link set lo up",
    "ip -n {c} link set client0 up",
    "ip -n {b} link set balancer0 up",
    "ip -n {b} link set balancer1 up",
    "ip -n {s} link set server0 up",
    "ip -n {c} route add default via 10.98.1.1",
    "ip -n {s} route add default via 10.98.2.1",
    "ip netns exec {b} sysctl -q -w net.ipv4.ip_forward=1",
];

/// Namespaces that go when this is dropped.
pub(super) struct Network {
    names: [String; 3],
}

/// Which of the namespaces.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Client,
    Balancer,
    Server,
}

impl Network {
    pub(super) fn new() -> Result<Self> {
        let pid = std::process::id();
        let network = Self { names: ["c", "b", "s"].map(|name| format!("bench{pid}{name}")) };
        for line in SET_UP {
            network.run(line)?;
        }
        Ok(network)
    }

    pub(super) fn name(&self, place: Place) -> &str {
        &self.names[place as usize]
    }

    /// Runs a command line with the names of the namespaces filled in.
    pub(super) fn run(&self, line: &str) -> Result<()> {
        let [client, balancer, server] = &self.names;
        let line = line.replace("{c}", client).replace("{b}", balancer).replace("{s}", server);
        let mut words = line.split(' ');
        let program = words.next().context("an empty command")?;
        let output =
            Command::new(program).args(words).output().with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            bail!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Moves the calling thread, and what it starts from now on, into a namespace.
    pub(super) fn enter(&self, place: Place) -> Result<()> {
        let file = File::open(format!("/run/netns/{}", self.name(place))).context("the namespace is gone")?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .context("cannot enter the namespace")
    }

    /// XDP in veth sees checksums that the sender left to a card which is not there, so the sender must compute them;
    /// and it hands packets only to a peer that polls, which one with GRO does.
    pub(super) fn as_cards(&self, on: bool) -> Result<()> {
        let state = if on { "off gro on" } else { "on gro off" };
        for interface in ["{c} ethtool -K client0", "{s} ethtool -K server0"] {
            self.run(&format!("ip netns exec {interface} tx {state}"))?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            // What was never made cannot be removed.
            let _ = Command::new("ip").args(["netns", "delete", name]).output();
        }
    }
}
