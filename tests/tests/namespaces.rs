//! Through network namespaces: client and origin in one, the daemon in another, every packet over a veth pair.
//!
//! On the loopback the kernel takes short cuts that no network has; here segments are queued, merged and acknowledged as
//! on a wire. Needs root; says so and passes without.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use lb_tests::daemon::Signal;
use lb_tests::{Rig, Setup, eventually, is_haproxy, within};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// In namespaces of our own every address and port is free.
const NEAR: &str = "10.99.0.1";
const FAR: &str = "10.99.0.2";

/// What each of the flows carries in each direction.
const BYTES: usize = 4 << 20;
const FLOWS: u8 = 4;

#[tokio::test]
async fn by_copying() {
    run("nosplice", "", "copy").await;
}

#[tokio::test]
async fn by_splicing() {
    run("", "option splice-auto", "splice").await;
}

#[tokio::test]
async fn by_sockmap() {
    run(if is_haproxy() { "" } else { "ebpf.splice sockmap" }, "", "sockmap").await;
}

#[tokio::test]
async fn with_acceleration_off() {
    let off = if is_haproxy() { "nosplice" } else { "ebpf.accel off\nebpf.splice off" };
    run(off, "option splice-auto", "copy").await;
}

/// Two namespaces joined by a veth pair, until dropped. The calling thread is in the near one from then on.
struct Namespaces {
    near: String,
    far: String,
}

impl Namespaces {
    /// Nothing, and the reason on standard error, where they cannot be made.
    fn new() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = |side: &str| format!("sockeye-{}-{number}-{side}", std::process::id());
        let this = Self { near: name("near"), far: name("far") };
        let (near, far) = (this.near.as_str(), this.far.as_str());
        for line in [
            format!("netns add {near}"),
            format!("netns add {far}"),
            format!("link add v0 netns {near} type veth peer name v0 netns {far}"),
            format!("-n {near} addr add {NEAR}/24 dev v0"),
            format!("-n {far} addr add {FAR}/24 dev v0"),
            format!("-n {near} link set v0 up"),
            format!("-n {far} link set v0 up"),
            format!("-n {far} link set lo up"),
        ] {
            if let Err(reason) = ip(&line) {
                eprintln!("skipped: network namespaces need root and iproute2: ip {line}: {reason}");
                return None;
            }
        }
        let near = File::open(format!("/run/netns/{near}")).expect("a namespace that was just made");
        // The runtime of a test has one thread, so that all its sockets are made here.
        move_into_link_name_space(near.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may do this");
        Some(this)
    }

    /// Waits until both ends carry packets: what is sent before is lost, and sent again only after a second.
    async fn ready(&self) {
        for name in [&self.near, &self.far] {
            eventually("the veth pair", || {
                ip(&format!("-n {name} link show v0")).is_ok_and(|text| text.contains(" state UP "))
            })
            .await;
        }
    }

    /// Bytes that the near end of the pair has received and sent.
    fn crossed() -> (u64, u64) {
        let table = std::fs::read_to_string("/proc/thread-self/net/dev").expect("/proc");
        let line = table.lines().find_map(|line| line.trim().strip_prefix("v0:")).expect("the veth device");
        let fields: Vec<u64> =
            line.split_whitespace().map(|field| field.parse().expect("a number")).collect();
        (fields[0], fields[8])
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [&self.near, &self.far] {
            // One that was never made cannot be removed, and nothing else needs to be known.
            drop(ip(&format!("netns del {name}")));
        }
    }
}

/// What `ip` prints, or why it fails.
fn ip(line: &str) -> Result<String, String> {
    let output = Command::new("ip").args(line.split(' ')).output().map_err(|err| err.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// What flow `number` carries in one direction.
fn material(number: u8, direction: u8) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(u64::from(number) * 2 + u64::from(direction));
    std::iter::repeat_with(|| random.u64(..).to_le_bytes()).take(BYTES / 8).flatten().collect()
}

/// `path` is the relay's word for how the bytes should have moved.
async fn run(global: &str, defaults: &str, path: &str) {
    let Some(namespaces) = Namespaces::new() else { return };
    namespaces.ready().await;
    let origin = TcpListener::bind((NEAR, 0)).await.expect("a port of the near side");
    let plan = Rig::tcp().global(global).defaults(defaults).quiet();
    let mut daemon = Setup::new(plan.cfg())
        .at("fe", format!("{FAR}:8000"))
        .at("s1", origin.local_addr().expect("bound"))
        .wrap(&["ip", "netns", "exec", &namespaces.far])
        .arg("-d")
        .start();
    daemon.connect("fe").await.close();
    // The first connection only showed that the daemon is there.
    drop(within("the first connection", origin.accept()).await);

    let fe = daemon.addr("fe");
    let mut flows = JoinSet::new();
    for number in 0..FLOWS {
        let client = TcpStream::connect(fe).await.expect("a connection");
        let (server, from) = within("a connection to the origin", origin.accept()).await.expect("accept");
        assert_eq!(from.ip().to_string(), FAR);
        flows.spawn(exchange(client, material(number, 0), material(number, 1)));
        flows.spawn(exchange(server, material(number, 1), material(number, 0)));
    }
    while let Some(flow) = within("a transfer", flows.join_next()).await {
        flow.expect("a transfer");
    }
    // Each byte crosses four times: to the daemon and back, in two directions.
    let least = 2 * u64::from(FLOWS) * BYTES as u64;
    let (received, sent) = Namespaces::crossed();
    assert!(received > least && sent > least, "{received} and {sent} bytes crossed, expected {least}");

    daemon.signal(Signal::TERM);
    let exit = daemon.exit().await;
    if is_haproxy() {
        return;
    }
    if path == "sockmap" && !exit.stderr.contains("sockmap on") {
        eprintln!("not by sockmap: {}", exit.stderr);
        return;
    }
    let moved = exit.stdout.lines().find_map(|line| line.strip_prefix("relay: ")).expect("the summary of -d");
    for (other, bytes) in
        moved.split(", ").filter_map(|part| part.split_once(" bytes in ")?.0.rsplit_once(' '))
    {
        let bytes: u64 = bytes.parse().expect("a number");
        if other == path {
            assert!(bytes > 0, "{moved}");
        } else if path == "copy" {
            assert_eq!(bytes, 0, "{moved}");
        }
    }
}

/// Sends everything, receives everything, in any order, and both see the end.
async fn exchange(stream: TcpStream, out: Vec<u8>, expected: Vec<u8>) {
    let (mut read, mut write) = stream.into_split();
    let send = async move {
        write.write_all(&out).await.expect("send");
        write.shutdown().await.expect("shutdown");
    };
    let receive = async {
        let mut all = Vec::with_capacity(BYTES);
        read.read_to_end(&mut all).await.expect("receive");
        all
    };
    let ((), received) = tokio::join!(send, receive);
    assert!(received == expected, "{} of {} bytes, or other ones", received.len(), expected.len());
}
