//! The ways from client to server that are compared, and what has to run for each.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::network::{Network, Place, SERVER, SERVICE};

/// How long a way may take until it answers: attempts, with the pause between two of them.
const READY_ATTEMPTS: u32 = 250;
const READY_INTERVAL: std::time::Duration = std::time::Duration::from_millis(20);

/// One column of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// No balancer: the kernel forwards IP packets to the server's own address.
    Forwarding,
    /// Destination NAT by nftables, with connection tracking.
    Nftables,
    /// `mode packet` at the tc hook.
    PacketTc,
    /// `mode packet` in XDP of the driver.
    PacketXdp,
    /// `mode tcp`.
    SockeyeTcp,
    HaproxyTcp,
}

pub(super) const WAYS: [Way; 6] =
    [Way::Forwarding, Way::Nftables, Way::PacketTc, Way::PacketXdp, Way::SockeyeTcp, Way::HaproxyTcp];

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Forwarding => "forwarding",
            Self::Nftables => "nftables",
            Self::PacketTc => "packet tc",
            Self::PacketXdp => "packet xdp",
            Self::SockeyeTcp => "sockeye tcp",
            Self::HaproxyTcp => "haproxy tcp",
        }
    }

    /// Where the client goes.
    pub(super) fn address(self, port: u16) -> SocketAddr {
        let address = if self == Self::Forwarding { SERVER } else { SERVICE };
        SocketAddr::new(address.into(), port)
    }

    fn configuration(self, ports: &[u16]) -> String {
        let (attach, mode) = match self {
            Self::PacketTc => ("    ebpf.attach tc\n", "packet"),
            Self::PacketXdp => ("    ebpf.attach native\n", "packet"),
            _ => ("", "tcp"),
        };
        let own = if mode == "packet" {
            format!("    ebpf.instance bench{}\n", std::process::id())
        } else {
            String::new()
        };
        let mut text = format!(
            "global\n{own}{attach}defaults\n    mode {mode}\n    timeout connect 5s\n    timeout client 5m\n    timeout server 5m\n"
        );
        for port in ports {
            text.push_str(&format!(
                "listen load{port}\n    bind {SERVICE}:{port}\n    server one {SERVER}:{port}\n"
            ));
        }
        text
    }
}

/// The programs of the comparison.
pub(super) struct Programs<'a> {
    pub(super) sockeye: Option<&'a str>,
    pub(super) haproxy: Option<&'a str>,
}

/// A way that is open; dropping it closes it.
pub(super) struct Open<'a> {
    network: &'a Network,
    way: Way,
    child: Option<Child>,
    folder: TempDir,
}

impl<'a> Open<'a> {
    /// Opens the way to these ports; `None` when the program for it was not named.
    pub(super) fn new(
        network: &'a Network,
        way: Way,
        ports: &[u16],
        programs: &Programs<'_>,
    ) -> Result<Option<Self>> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let command = match way {
            Way::Forwarding | Way::Nftables => None,
            Way::HaproxyTcp => Some(programs.haproxy),
            Way::PacketTc | Way::PacketXdp | Way::SockeyeTcp => Some(programs.sockeye),
        };
        let mut open = Self { network, way, child: None, folder };
        match command {
            None => {}
            Some(None) => return Ok(None),
            Some(Some(command)) => open.start(command, ports)?,
        }
        if way == Way::Nftables {
            network.run("ip netns exec {b} nft add table ip bench")?;
            network.run(
                "ip netns exec {b} nft add chain ip bench pre { type nat hook prerouting priority -100 ; }",
            )?;
            network.run(&format!(
                "ip netns exec {{b}} nft add rule ip bench pre ip daddr {SERVICE} dnat to {SERVER}"
            ))?;
        }
        if way == Way::PacketXdp {
            network.as_cards(true)?;
        }
        Ok(Some(open))
    }

    fn start(&mut self, command: &str, ports: &[u16]) -> Result<()> {
        let file = self.folder.path().join("proxy.cfg");
        fs::write(&file, self.way.configuration(ports))?;
        let output = fs::File::create(self.folder.path().join("output"))?;
        let child = Command::new("ip")
            .args(["netns", "exec", self.network.name(Place::Balancer)])
            .args(command.split_whitespace())
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {command}"))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until every port answers a connection.
    pub(super) async fn wait_ready(&mut self, ports: &[u16]) -> Result<()> {
        'ports: for port in ports {
            let address = self.way.address(*port);
            for _ in 0..READY_ATTEMPTS {
                if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                    bail!("{} ended: {status}: {}", self.way.name(), self.last_words());
                }
                // A packet that nobody takes yet is answered by nothing.
                let attempt = tokio::time::timeout(READY_INTERVAL, TcpStream::connect(address)).await;
                if matches!(attempt, Ok(Ok(_))) {
                    continue 'ports;
                }
                tokio::time::sleep(READY_INTERVAL).await;
            }
            bail!("{} does not reach {address}: {}", self.way.name(), self.last_words());
        }
        Ok(())
    }

    pub(super) fn last_words(&self) -> String {
        let text = fs::read(self.folder.path().join("output")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last: Vec<&str> = text.lines().rev().take(5).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _ = child.wait();
        }
        // What is not there need not be undone.
        match self.way {
            Way::Nftables => drop(self.network.run("ip netns exec {b} nft delete table ip bench")),
            Way::PacketXdp => drop(self.network.as_cards(false)),
            _ => {}
        }
    }
}
