//! A small network of namespaces: a client, a router, balancers and servers.
//!
//! ```text
//!  client ──── router ══╦══ balancer …     10.1.0.0/24  fd01::/64   client's side
//!                       ╚══ server …       10.2.0.0/24  fd02::/64   one Ethernet segment
//! ```
//!
//! A balancer with two arms has `eth0` on a cable of its own to the router and `eth1` on the segment. The router sends what
//! is for the services to the balancers, one or several of them by the flow's hash. A socket
//! belongs to the namespace in which it was made, so sockets are made by threads that enter it and used like any
//! other. Everything is removed on drop, and what a killed test left by the next one. Needs root, iproute2 and
//! ethtool; says so without.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use crate::eventually;

/// The services' addresses; the balancers own them.
pub const SERVICE: [&str; 2] = ["192.0.2.1", "2001:db8:2::1"];
pub const CLIENT: [&str; 2] = ["10.1.0.2", "fd01::2"];
const ROUTER: [&str; 2] = ["10.2.0.1", "fd02::1"];
/// The one interface of clients, servers and one-armed balancers.
pub const INTERFACE: &str = "eth0";
/// A two-armed balancer's interface on the servers' segment.
const INNER: &str = "eth1";

/// A server's address: IPv4 and IPv6.
pub fn server(number: usize) -> [String; 2] {
    [format!("10.2.0.{}", 20 + number), format!("fd02::{}", 20 + number)]
}

/// A balancer's own address.
pub fn balancer(number: usize) -> [String; 2] {
    [format!("10.2.0.{}", 10 + number), format!("fd02::{}", 10 + number)]
}

/// How many interfaces a balancer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arms {
    One,
    /// XDP of a veth pair sends at once only to another pair.
    Two,
}

/// The two ends of a two-armed balancer's own cable: the router's addresses and the balancer's.
fn cable(number: usize) -> [[String; 2]; 2] {
    [1, 2].map(|end| [format!("10.3.{number}.{end}"), format!("fd03:{number}::{end}")])
}

/// The whole network.
pub struct Net {
    arms: Arms,
    pub client: Namespace,
    pub router: Namespace,
    pub balancers: Vec<Balancer>,
    pub servers: Vec<Namespace>,
}

impl Net {
    /// Nothing, and the reason on standard error, where it cannot be made. The servers answer through the first
    /// balancer, which also gets everything for the services.
    pub async fn new(arms: Arms, balancers: usize, servers: usize) -> Option<Self> {
        match Self::build(arms, balancers, servers) {
            Ok(net) => {
                net.ready().await;
                Some(net)
            }
            Err(reason) => {
                eprintln!("skipped: network namespaces need root, iproute2 and ethtool: {reason}");
                None
            }
        }
    }

    fn build(arms: Arms, balancers: usize, servers: usize) -> Result<Self, String> {
        remove_left_over();
        let number = next_number();
        let client = Namespace::new(number, "c")?;
        let router = Namespace::new(number, "r")?;
        router.ip_all(&["link add lan type bridge mcast_snooping 0", "link set lan up"])?;
        router.set("net/ipv4/ip_forward", "1")?;
        router.set("net/ipv6/conf/all/forwarding", "1")?;
        // Nodes are equal if each flow, not each client, may meet another one.
        router.set("net/ipv4/fib_multipath_hash_policy", "1")?;
        router.set("net/ipv6/fib_multipath_hash_policy", "1")?;
        for address in [format!("{}/24", ROUTER[0]), format!("{}/64", ROUTER[1])] {
            router.ip_all(&[format!("addr add {address} dev lan nodad")])?;
        }
        client.join(INTERFACE, &router, "c0", &CLIENT.map(str::to_owned))?;
        router.ip_all(&["addr add 10.1.0.1/24 dev c0", "addr add fd01::1/64 dev c0 nodad"])?;
        client.ip_all(&["route add default via 10.1.0.1", "route add default via fd01::1"])?;
        let mut net = Self { arms, client, router, balancers: Vec::new(), servers: Vec::new() };
        for index in 0..balancers {
            let this = Balancer::new(Namespace::new(number, &format!("b{index}"))?)?;
            this.set("net/ipv4/ip_forward", "1")?;
            this.set("net/ipv6/conf/all/forwarding", "1")?;
            this.set("net/ipv4/conf/all/send_redirects", "0")?;
            this.set("net/ipv4/conf/default/send_redirects", "0")?;
            net.balancers.push(this);
            net.connect_balancer(index)?;
        }
        for index in 0..servers {
            let this = Namespace::new(number, &format!("s{index}"))?;
            let port = format!("s{index}");
            this.join(INTERFACE, &net.router, &port, &server(index))?;
            net.router.ip_all(&[format!("link set {port} master lan")])?;
            net.servers.push(this);
        }
        if balancers > 0 {
            net.announce(&[0])?;
            net.answer_by(&balancer(0))?;
        }
        Ok(net)
    }

    /// Gives a balancer its interface, with its own address, those of the services, and the way to the clients.
    pub fn connect_balancer(&self, index: usize) -> Result<(), String> {
        let (this, port) = (&self.balancers[index], format!("b{index}"));
        let inner = if self.arms == Arms::Two { INNER } else { INTERFACE };
        let mut gateway = ROUTER.map(str::to_owned);
        if self.arms == Arms::Two {
            let front = format!("f{index}");
            let [routers, own] = cable(index);
            this.join(INTERFACE, &self.router, &front, &own)?;
            self.router.ip_all(&[
                format!("addr add {}/24 dev {front}", routers[0]),
                format!("addr add {}/64 dev {front} nodad", routers[1]),
            ])?;
            gateway = routers;
        }
        this.join(inner, &self.router, &port, &balancer(index))?;
        self.router.ip_all(&[format!("link set {port} master lan")])?;
        // A new interface has a new Ethernet address, which who knew the old one learns only after seconds.
        self.router.ip_all(&["neigh flush dev lan"])?;
        for server in &self.servers {
            server.ip_all(&[format!("neigh flush dev {INTERFACE}")])?;
        }
        this.ip_all(&[
            format!("addr add {}/32 dev {INTERFACE}", SERVICE[0]),
            format!("addr add {}/128 dev {INTERFACE} nodad", SERVICE[1]),
            format!("route add default via {}", gateway[0]),
            format!("route add default via {}", gateway[1]),
        ])
    }

    /// Waits until every interface carries packets: what is sent before is lost, and sent again only after a second.
    async fn ready(&self) {
        let ends = self.balancers.iter().map(|balancer| &**balancer).chain(&self.servers);
        for namespace in ends.chain([&self.client]) {
            eventually("a veth pair", || namespace.is_up(INTERFACE)).await;
        }
        eventually("the bridge", || self.router.is_up("lan")).await;
    }

    /// Routes the services to these balancers, as a routing daemon would that hears their announcements.
    pub fn announce(&self, balancers: &[usize]) -> Result<(), String> {
        let lines = [0, 1].map(|family| {
            let prefix = format!("{}/{}", SERVICE[family], [32, 128][family]);
            if balancers.is_empty() {
                return format!("route del {prefix}");
            }
            let hop = |index: usize| match self.arms {
                Arms::One => balancer(index),
                Arms::Two => cable(index)[1].clone(),
            };
            let hops = balancers.iter().map(|&index| format!(" nexthop via {}", hop(index)[family]));
            format!("route replace {prefix}{}", hops.collect::<String>())
        });
        self.router.ip_all(&lines)
    }

    /// The servers' way back to clients: through a balancer (NAT), or not (DSR, IPIP).
    pub fn answer_by(&self, gateway: &[String; 2]) -> Result<(), String> {
        for server in &self.servers {
            server
                .ip_all(&gateway.each_ref().map(|gateway| format!("route replace default via {gateway}")))?;
        }
        Ok(())
    }

    /// The servers answer clients directly, from the services' addresses.
    pub fn answer_directly(&self) -> Result<(), String> {
        self.answer_by(&ROUTER.map(str::to_owned))?;
        for server in &self.servers {
            server.ip_all(&[
                format!("addr add {}/32 dev lo", SERVICE[0]),
                format!("addr add {}/128 dev lo nodad", SERVICE[1]),
            ])?;
        }
        Ok(())
    }
}

/// A balancer: its namespace and a BPF filesystem of its own, which outlives the daemon.
pub struct Balancer {
    namespace: Namespace,
    pins: TempDir,
}

impl Balancer {
    fn new(namespace: Namespace) -> Result<Self, String> {
        let pins =
            tempfile::Builder::new().prefix("sockeye-bpf-").tempdir().map_err(|err| err.to_string())?;
        mount("bpf", pins.path(), "bpf", MountFlags::empty(), None).map_err(|err| format!("bpffs: {err}"))?;
        Ok(Self { namespace, pins })
    }

    /// What stands before the daemon's command line so that it runs here.
    pub fn wrapper(&self) -> Vec<String> {
        // `ip netns exec` mounts the namespace's own sysfs, in which nothing is mounted yet.
        let script = format!("mount --bind {} /sys/fs/bpf && exec \"$@\"", self.pins.path().display());
        ["ip", "netns", "exec", self.name(), "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }

    /// Everything that somebody has pinned, folders included.
    pub fn pinned(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.pins.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(entry.path());
                }
                // The kernel's own: lists of all programs and maps.
                if !entry.file_name().to_string_lossy().ends_with(".debug") {
                    found.push(entry.path());
                }
            }
        }
        found
    }

    /// Whether a program is attached to an interface: by XDP, tc's filters, or a link, which is pinned.
    pub fn has_program(&self) -> bool {
        let links = self.ip("-d link show").unwrap_or_default();
        let filters = self.run(&["tc", "filter", "show", "dev", INTERFACE, "ingress"]).unwrap_or_default();
        let is_link =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("link-"));
        links.contains("prog/xdp") || !filters.trim().is_empty() || self.pinned().iter().any(is_link)
    }
}

impl std::ops::Deref for Balancer {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Pinned programs go with it, unless something of it is still in use: then with that.
        let _ = unmount(self.pins.path(), UnmountFlags::DETACH);
    }
}

/// A network namespace, removed when dropped.
pub struct Namespace {
    name: String,
}

impl Namespace {
    fn new(number: u32, label: &str) -> Result<Self, String> {
        let this = Self { name: format!("{PREFIX}{}n{number}{label}", std::process::id()) };
        run(&["ip", "netns", "add", &this.name])?;
        // Interfaces made later ask at once for their neighbours, instead of asking first whether their own address
        // is somebody else's.
        this.set("net/ipv6/conf/default/accept_dad", "0")?;
        this.set("net/ipv6/conf/default/dad_transmits", "0")?;
        this.ip_all(&["link set lo up"])?;
        Ok(this)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A cable: our interface with these addresses, and the other's end by its name.
    pub fn join(
        &self,
        interface: &str,
        other: &Self,
        end: &str,
        addresses: &[String; 2],
    ) -> Result<(), String> {
        let (own, other_name) = (&self.name, &other.name);
        run_words(&format!(
            "ip link add {interface} netns {own} type veth peer name {end} netns {other_name}"
        ))?;
        // Packets as on a wire: whole checksums, nothing larger than the interface's MTU. An end takes what XDP of the
        // other end sends only if it polls, as it does for GRO.
        for (namespace, port, gro) in [(self, interface, "off"), (other, end, "on")] {
            let off = ["tx", "off", "tso", "off", "gso", "off", "gro", gro];
            namespace.run(&[&["ethtool", "-K", port][..], &off].concat())?;
        }
        other.ip_all(&[format!("link set {end} up")])?;
        self.ip_all(&[
            format!("addr add {}/24 dev {interface}", addresses[0]),
            format!("addr add {}/64 dev {interface} nodad", addresses[1]),
            format!("link set {interface} up"),
        ])
    }

    /// Runs `ip` here; what it prints, or why it fails.
    pub fn ip(&self, line: &str) -> Result<String, String> {
        run_words(&format!("ip -n {} {line}", self.name))
    }

    /// Runs several `ip` lines; fails at the first that fails.
    pub fn ip_all(&self, lines: &[impl AsRef<str>]) -> Result<(), String> {
        let text: String = lines.iter().map(|line| format!("{}\n", line.as_ref())).collect();
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|err| format!("ip: {err}"))?;
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).map_err(|err| err.to_string())?;
        let output = child.wait_with_output().map_err(|err| err.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{}: {}", text.trim(), String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Runs a program here; what it prints, or why it fails.
    pub fn run(&self, words: &[&str]) -> Result<String, String> {
        run(&[&["ip", "netns", "exec", &self.name], words].concat())
    }

    /// Sets a variable below `/proc/sys`.
    pub fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let path = Path::new("/proc/sys").join(name);
        self.enter(|| fs::write(&path, value)).map_err(|err| format!("{name}: {err}"))
    }

    /// Whether an interface carries packets.
    pub fn is_up(&self, interface: &str) -> bool {
        self.ip(&format!("link show {interface}")).is_ok_and(|text| text.contains(" state UP "))
    }

    /// Calls `body` in a thread of this namespace.
    pub fn enter<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("a namespace that was made");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may do this");
                body()
            });
            thread.join().expect("the thread of a namespace")
        })
    }

    pub async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.enter(|| match to {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        })?;
        socket.connect(to).await
    }

    /// A UDP socket that hears and speaks only with `to`.
    pub async fn connect_udp(&self, to: SocketAddr) -> io::Result<UdpSocket> {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = self.udp((any, 0).into())?;
        socket.connect(to).await?;
        Ok(socket)
    }

    pub fn listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        let listener = self.enter(|| std::net::TcpListener::bind(at))?;
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    }

    pub fn udp(&self, at: SocketAddr) -> io::Result<UdpSocket> {
        let socket = self.enter(|| std::net::UdpSocket::bind(at))?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }

    /// A raw socket: hears packets of this protocol; with `headers` what it sends begins with the IP header.
    pub fn raw(&self, domain: Domain, protocol: u8, headers: bool) -> io::Result<UdpSocket> {
        let socket =
            self.enter(|| Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(protocol)))))?;
        if headers && domain == Domain::IPV4 {
            socket.set_header_included_v4(true)?;
        } else if headers {
            socket.set_header_included_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        // The calls of a UDP socket are those of every socket of datagrams.
        UdpSocket::from_std(socket.into())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // One that was never made cannot be removed, and nothing else needs to be known.
        drop(run(&["ip", "netns", "del", &self.name]));
    }
}

/// Begins the names of all namespaces, before the number of the process that made them.
const PREFIX: &str = "sk";

fn next_number() -> u32 {
    static MADE: AtomicU32 = AtomicU32::new(0);
    MADE.fetch_add(1, Ordering::Relaxed)
}

/// Removes the namespaces of tests that were killed.
fn remove_left_over() {
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('n')).map(|(pid, _)| pid);
        let is_gone = |pid: &str| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists();
        if maker.is_some_and(is_gone) {
            drop(run(&["ip", "netns", "del", &name]));
        }
    }
}

fn run_words(line: &str) -> Result<String, String> {
    run(&line.split(' ').collect::<Vec<_>>())
}

fn run(words: &[&str]) -> Result<String, String> {
    let output = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|err| format!("{}: {err}", words[0]))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
