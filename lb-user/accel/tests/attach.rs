//! The program on interfaces: attached, pinned, taken over, removed; in network namespaces of its own. Without
//! privileges or objects it says why it is skipped.
#![allow(clippy::unwrap_used, reason = "a test that fails shows its line")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use lb_common::packet::state;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sockeye_accel::{
    AttachError, AttachWanted, Attached, Instance, InstanceError, Packet, PacketLoad, PacketServer,
    PacketSizes, PacketSource, TABLE_SIZE_MIN,
};
use sockeye_sys::process::{self, CapabilitySet};

const INTERFACE: &str = "sk0";
const OTHER: &str = "sk1.5";
const OURS: &str = "198.18.0.1";
const PEER: &str = "198.18.0.2";

/// A namespace with two interfaces, whose other ends are in a second namespace; and a name for an instance.
struct Net {
    name: String,
    peer: String,
}

impl Net {
    /// Makes it and moves this thread into it; `None`, with a word why, where that is not allowed.
    fn enter() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(2, Ordering::Relaxed);
        let name = |number: u32| format!("sk{}a{number}", std::process::id());
        let net = Self { name: name(number), peer: name(number + 1) };
        if let Err(error) = net.make() {
            writeln!(std::io::stderr(), "skipped: no network namespace: {error}").expect("standard error");
            return None;
        }
        if let Err(error) = Packet::load(&load(), None) {
            writeln!(std::io::stderr(), "skipped: {error}").expect("standard error");
            return None;
        }
        net.join(&net.name);
        Some(net)
    }

    fn make(&self) -> Result<(), String> {
        let (ours, peer) = (&self.name, &self.peer);
        for namespace in [ours, peer] {
            ip(&format!("netns add {namespace}"))?;
            // Nothing but what the tests send is to arrive.
            let quiet = "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6";
            run("ip", &["netns", "exec", namespace, "sh", "-c", quiet])?;
        }
        self.add(INTERFACE)?;
        self.add(OTHER)?;
        ip(&format!("-n {ours} address add {OURS}/24 dev {INTERFACE}"))?;
        ip(&format!("-n {peer} address add {PEER}/24 dev {INTERFACE}"))?;
        let own = mac(ours, INTERFACE)?;
        ip(&format!("-n {peer} neighbour replace {OURS} lladdr {own} dev {INTERFACE} nud permanent"))?;
        let theirs = mac(peer, INTERFACE)?;
        ip(&format!("-n {ours} neighbour replace {PEER} lladdr {theirs} dev {INTERFACE} nud permanent"))
    }

    fn add(&self, interface: &str) -> Result<(), String> {
        let (ours, peer) = (&self.name, &self.peer);
        ip(&format!("link add {interface} netns {ours} type veth peer name {interface} netns {peer}"))?;
        ip(&format!("-n {ours} link set {interface} up"))?;
        ip(&format!("-n {peer} link set {interface} up"))
    }

    /// Moves this thread.
    fn join(&self, name: &str) {
        let file = File::open(format!("/run/netns/{name}")).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// An instance for each test.
    fn instance(&self) -> String {
        format!("test-{}", self.name)
    }

    fn folder(&self) -> String {
        format!("/sys/fs/bpf/sockeye/{}", self.instance())
    }

    fn pinned(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.folder()) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with("owner-")).collect();
        names.sort();
        names
    }

    /// What is attached, as pinned.
    fn places(&self) -> Vec<String> {
        self.pinned().into_iter().filter(|name| !name.contains('@')).collect()
    }

    /// Sends datagrams from the other end, one after the other, and returns once all are there.
    fn send(&self, count: u64) {
        let receiver = UdpSocket::bind((OURS, 0)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let to = receiver.local_addr().unwrap();
        let sender = self.sender();
        for _ in 0..count {
            sender.send_to(b"x", to).unwrap();
            receiver.recv(&mut [0; 8]).unwrap();
        }
    }

    /// A socket in the other namespace.
    fn sender(&self) -> UdpSocket {
        thread::scope(|scope| {
            let made = scope.spawn(|| {
                self.join(&self.peer);
                UdpSocket::bind((PEER, 0)).unwrap()
            });
            made.join().unwrap()
        })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // Whatever a failed test left.
        drop(Instance::unload(&self.instance()));
        drop(Instance::unload(&format!("{}-b", self.instance())));
        drop(ip(&format!("netns del {}", self.name)));
        drop(ip(&format!("netns del {}", self.peer)));
    }
}

fn ip(words: &str) -> Result<(), String> {
    run("ip", &words.split(' ').collect::<Vec<_>>()).map(|_| ())
}

fn mac(namespace: &str, interface: &str) -> Result<String, String> {
    let text = run("ip", &["-n", namespace, "-o", "link", "show", interface])?;
    let mac = text.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
    mac.map(str::to_owned).ok_or(text)
}

fn run(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{words:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A program that lets everything pass and counts it: what it takes to verify the whole one is tested elsewhere.
fn load() -> PacketLoad {
    let sizes = PacketSizes { connections: 4_096, nat: 4_096, services: 1, tables: 1, table: TABLE_SIZE_MIN };
    PacketLoad { sizes, services: false, ..PacketLoad::default() }
}

/// Packets that a program has seen.
fn passed(packet: &Packet) -> u64 {
    let counters = packet.counters().unwrap();
    counters
        .iter()
        .filter(|(name, _)| ["no_service", "shield_passed"].contains(name))
        .map(|(_, count)| count)
        .sum()
}

const KINDS: [(AttachWanted, Attached); 3] = [
    (AttachWanted::Native, Attached::Native),
    (AttachWanted::Generic, Attached::Generic),
    (AttachWanted::Tc, Attached::Tc),
];

#[test]
fn each_kind_sees_packets_until_the_end() {
    let Some(net) = Net::enter() else { return };
    for (wanted, attached) in KINDS {
        let instance = Instance::claim(&net.instance(), &[]).unwrap();
        let whole = PacketLoad { services: true, ..load() };
        let mut packet = Packet::load(&whole, Some(&instance)).unwrap();
        assert_eq!(packet.attach(INTERFACE, wanted).unwrap(), attached);
        // Once more changes nothing.
        assert_eq!(packet.attach(INTERFACE, wanted).unwrap(), attached);
        assert_eq!(packet.attach(OTHER, wanted).unwrap(), attached);
        packet.publish().unwrap();
        let both = [(INTERFACE.to_owned(), attached), (OTHER.to_owned(), attached)];
        assert_eq!(packet.attached(), both);
        net.send(10);
        assert_eq!(passed(&packet), 10);
        assert_eq!(net.places().len(), 2, "{:?}", net.pinned());
        packet.detach(OTHER).unwrap();
        assert_eq!(packet.attached(), &both[..1]);
        packet.unpin_all();
        assert_eq!(packet.attached(), []);
        assert!(!fs::exists(net.folder()).unwrap());
        net.send(10);
        assert_eq!(passed(&packet), 10, "nothing is attached");
        // Somebody else has it by now.
        let next = Instance::claim(&net.instance(), &[]).unwrap();
        drop((packet, instance));
        assert!(fs::exists(net.folder()).unwrap());
        drop(next);
        assert!(!fs::exists(net.folder()).unwrap());
    }
}

#[test]
fn auto_on_a_virtual_interface_is_tc() {
    let Some(net) = Net::enter() else { return };
    let instance = Instance::claim(&net.instance(), &[]).unwrap();
    let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
    assert_eq!(packet.attach(INTERFACE, AttachWanted::Auto).unwrap(), Attached::Tc);
    assert!(packet.take_notices().is_empty());
    // Another kind takes its place.
    assert_eq!(packet.attach(INTERFACE, AttachWanted::Native).unwrap(), Attached::Native);
    assert_eq!(packet.attach(INTERFACE, AttachWanted::Generic).unwrap(), Attached::Generic);
    assert_eq!(packet.attached(), [(INTERFACE.to_owned(), Attached::Generic)]);
    net.send(3);
    assert_eq!(passed(&packet), 3, "one program alone");
    packet.unpin_all();
}

/// Without an instance nothing is pinned, and the end of the process ends it.
#[test]
fn without_an_instance_nothing_stays() {
    let Some(net) = Net::enter() else { return };
    for filters in [false, true] {
        let mut packet = Packet::load(&load(), None).unwrap();
        if filters {
            packet.use_filters();
        }
        packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
        net.send(3);
        assert_eq!(passed(&packet), 3);
        drop(packet);
        let filters = run("tc", &["-n", &net.name, "filter", "show", "dev", INTERFACE, "ingress"]).unwrap();
        assert_eq!(filters, "");
    }
}

/// Each process takes over from the one before while packets come in: every one of them meets a program, and none is
/// lost.
fn take_over(wanted: AttachWanted, filters: bool, rounds: u32) {
    let Some(net) = Net::enter() else { return };
    let start = |replaced: &[u32]| {
        let instance = Instance::claim(&net.instance(), replaced).unwrap();
        let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
        if filters {
            packet.use_filters();
        }
        packet.attach(INTERFACE, wanted).unwrap();
        packet.publish().unwrap();
        (instance, packet)
    };
    let (mut instance, mut packet) = start(&[]);
    let receiver = UdpSocket::bind((OURS, 0)).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let to = receiver.local_addr().unwrap();
    let sender = net.sender();
    let (end, received) = (AtomicBool::new(false), AtomicU32::new(0));
    let sent = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut sent = 0_u32;
            while !end.load(Ordering::Relaxed) {
                // The receiver has room for this many.
                if sent - received.load(Ordering::Relaxed) < 32 {
                    sender.send_to(&sent.to_ne_bytes(), to).unwrap();
                    sent += 1;
                }
            }
            sender.send_to(b"end", to).unwrap();
            sent
        });
        let receiving = scope.spawn(|| {
            let mut buffer = [0; 8];
            while receiver.recv(&mut buffer).unwrap() == 4 {
                let number = u32::from_ne_bytes(buffer[..4].try_into().unwrap());
                assert_eq!(number, received.fetch_add(1, Ordering::Relaxed), "none is missing");
            }
        });
        for _ in 0..rounds {
            let (next_instance, next) = start(&[std::process::id()]);
            assert!(instance.is_superseded() && !next_instance.is_superseded());
            assert!(matches!(packet.attach(INTERFACE, wanted), Err(AttachError::Superseded)));
            packet.unpin_all();
            (instance, packet) = (next_instance, next);
        }
        end.store(true, Ordering::Relaxed);
        let sent = sending.join().unwrap();
        receiving.join().unwrap();
        sent
    });
    assert!(sent > rounds, "{sent}");
    assert_eq!(passed(&packet), u64::from(sent) + 1, "every one met a program");
    packet.unpin_all();
    drop((packet, instance));
    assert!(!fs::exists(net.folder()).unwrap());
}

#[test]
fn twenty_processes_one_after_the_other_lose_no_packet() {
    take_over(AttachWanted::Tc, false, 20);
}

#[test]
fn taking_over_xdp_loses_no_packet() {
    take_over(AttachWanted::Native, false, 10);
    take_over(AttachWanted::Generic, false, 10);
}

#[test]
fn taking_over_filters_loses_no_packet() {
    take_over(AttachWanted::Tc, true, 10);
}

/// A process of its own: this test binary, running `child`.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(net: &Net, wanted: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env("SOCKEYE_TEST_CHILD", format!("{} {wanted}", net.name))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut this = Self { child, lines };
        this.hear("attached");
        this
    }

    fn ask(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
        self.hear("done");
    }

    fn hear(&mut self, word: &str) {
        assert!(self.lines.by_ref().map_while(Result::ok).any(|line| line.ends_with(word)), "{word}");
    }
}

impl Drop for Process {
    /// As `kill -9` does it.
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What [`Process`] runs; by itself it does nothing.
#[test]
fn child() {
    let Ok(words) = std::env::var("SOCKEYE_TEST_CHILD") else { return };
    let (name, wanted) = words.split_once(' ').unwrap();
    let file = File::open(format!("/run/netns/{name}")).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    let instance = Instance::claim(&format!("test-{name}"), &[]).unwrap();
    let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
    let wanted = match wanted {
        "native" => AttachWanted::Native,
        "generic" => AttachWanted::Generic,
        _ => {
            if wanted == "filter" {
                packet.use_filters();
            }
            AttachWanted::Tc
        }
    };
    packet.set_server(7, Some(&server(3))).unwrap();
    packet.attach(INTERFACE, wanted).unwrap();
    packet.publish().unwrap();
    let say = |word: &str| writeln!(std::io::stdout(), "{word}").unwrap();
    say("attached");
    // Until we are killed, or the test that started us is gone.
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match line.as_str() {
            "drop" => {
                instance.give_to(Some(NOBODY), Some(NOBODY)).unwrap();
                process::chroot(&std::env::temp_dir()).unwrap();
                let keep = CapabilitySet::NET_ADMIN | CapabilitySet::BPF | CapabilitySet::PERFMON;
                process::become_user(Some(NOBODY), Some(NOBODY), keep).unwrap();
            }
            "attach" if pins_without_paths() => {
                packet.attach(OTHER, AttachWanted::Tc).unwrap();
                packet.attach(INTERFACE, AttachWanted::Native).unwrap();
            }
            "attach" => {
                let refused = packet.attach(OTHER, AttachWanted::Tc);
                assert!(matches!(refused, Err(AttachError::Pins(_))), "{refused:?}");
            }
            _ => packet.unpin_all(),
        }
        say("done");
    }
    std::process::exit(1);
}

const NOBODY: u32 = 65_534;

/// Whether this kernel pins by the descriptor of a folder (6.5). An older one needs a path, and `/proc` for it, so that
/// behind a chroot nothing new can be attached.
fn pins_without_paths() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next()) >= Some((6, 5))
}

/// Without root, the rights to files, and the root folder.
#[test]
fn a_process_that_became_another_user_attaches_and_cleans_up() {
    let Some(net) = Net::enter() else { return };
    for word in ["native", "generic", "tc", "filter"] {
        let mut process = Process::start(&net, word);
        process.ask("drop");
        process.ask("attach");
        net.send(3);
        let places = net.places();
        let shown = || run("ip", &["-n", &net.name, "link", "show", INTERFACE]).unwrap().contains("xdp");
        if pins_without_paths() {
            assert_eq!(places.len(), 2, "{places:?}");
            assert!(places[0].contains("-sk1%2E5-") || places[1].contains("-sk1%2E5-"), "{places:?}");
            assert!(places.iter().any(|name| name.starts_with("link-sk0-native-")), "{places:?}");
            assert!(shown());
        } else {
            assert_eq!(places.len(), 1, "{places:?}");
            assert_eq!(shown(), matches!(word, "native" | "generic"));
        }
        process.ask("stop");
        assert!(!shown());
        assert_eq!(net.pinned(), Vec::<String>::new());
        drop(process);
    }
}

fn server(generation: u32) -> PacketServer {
    PacketServer {
        address: "198.18.0.9".parse().unwrap(),
        port: 8080,
        source: PacketSource::Client,
        link: None,
        drop: false,
        generation,
        mtu: 0,
    }
}

#[test]
fn a_killed_process_is_gone_and_its_program_goes_on() {
    let Some(net) = Net::enter() else { return };
    for (word, wanted) in [
        ("native", AttachWanted::Native),
        ("generic", AttachWanted::Generic),
        ("tc", AttachWanted::Tc),
        ("filter", AttachWanted::Tc),
    ] {
        let process = Process::start(&net, word);
        let pid = process.child.id();
        // Nor does it help to replace some other process.
        for replaced in [&[][..], &[1]] {
            match Instance::claim(&net.instance(), replaced) {
                Err(error @ InstanceError::Owned { .. }) => {
                    let text = error.to_string();
                    assert!(
                        text.contains(&format!("process {pid},")) && text.contains("ebpf.instance"),
                        "{text}"
                    );
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(Instance::unload(&net.instance()), Err(InstanceError::Owned { .. })));
        drop(process);
        net.send(5);
        // The next process finds the counters, the servers, and the place to put its own program.
        let instance = Instance::claim(&net.instance(), &[]).unwrap();
        assert!(instance.is_orphaned());
        let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
        assert!(packet.take_notices().is_empty());
        assert_eq!(passed(&packet), 5, "{word}");
        let [(index, before)] = packet.before() else { panic!("{:?}", packet.before()) };
        assert_eq!((*index, before.generation), (7, 3));
        if word == "filter" {
            packet.use_filters();
        }
        packet.attach(INTERFACE, wanted).unwrap();
        packet.publish().unwrap();
        net.send(5);
        assert_eq!(passed(&packet), 10, "{word}");
        // This one does not end cleanly either; then somebody clears up.
        drop((packet, instance));
        let removed = Instance::unload(&net.instance()).unwrap();
        assert!(removed.contains(&"map CONNECTIONS".to_owned()), "{removed:?}");
        assert!(removed.iter().any(|line| line.starts_with("program on sk0 (")), "{removed:?}");
        net.send(5);
        match Instance::unload(&net.instance()) {
            Err(error @ InstanceError::Nothing(_)) => {
                assert_eq!(error.to_string(), format!("instance '{}' holds nothing", net.instance()));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// An interface that is no longer wanted is freed by the next process.
#[test]
fn what_is_no_longer_wanted_ends() {
    let Some(net) = Net::enter() else { return };
    let instance = Instance::claim(&net.instance(), &[]).unwrap();
    let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
    packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
    packet.attach(OTHER, AttachWanted::Generic).unwrap();
    packet.publish().unwrap();
    drop((packet, instance));
    let instance = Instance::claim(&net.instance(), &[]).unwrap();
    let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
    packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
    assert!(net.pinned().iter().any(|name| name.starts_with("link-sk1%2E5-generic-")), "{:?}", net.pinned());
    packet.publish().unwrap();
    assert!(!net.pinned().iter().any(|name| name.contains("sk1")), "{:?}", net.pinned());
    let text = run("ip", &["-n", &net.name, "link", "show", OTHER]).unwrap();
    assert!(!text.contains("xdp"), "{text}");
    packet.unpin_all();
}

#[test]
fn a_map_of_another_layout_or_shape_is_left_behind() {
    let Some(net) = Net::enter() else { return };
    let instance = Instance::claim(&net.instance(), &[]).unwrap();
    let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
    packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
    packet.publish().unwrap();
    drop((packet, instance));
    // As another version would have left it.
    let folder = net.folder();
    for name in net.pinned().iter().filter(|name| name.contains('@')) {
        let (map, _) = name.split_once('@').unwrap();
        fs::rename(format!("{folder}/{name}"), format!("{folder}/{map}@4000000")).unwrap();
    }
    let instance = Instance::claim(&net.instance(), &[]).unwrap();
    let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
    let [notice] = &packet.take_notices()[..] else { panic!("one notice") };
    assert!(notice.to_string().contains("has layout 4000000 instead of"), "{notice}");
    net.send(4);
    assert_eq!(passed(&packet), 0, "the old program still goes on with its own");
    packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
    packet.publish().unwrap();
    assert!(!net.pinned().iter().any(|name| name.ends_with("@4000000")), "{:?}", net.pinned());
    drop((packet, instance));
    // A map of another shape under the right name.
    let counters = net.pinned().into_iter().find(|name| name.starts_with("COUNTERS@")).unwrap();
    let statistics = net.pinned().into_iter().find(|name| name.starts_with("STATISTICS@")).unwrap();
    fs::rename(format!("{folder}/{counters}"), format!("{folder}/{statistics}")).unwrap();
    let instance = Instance::claim(&net.instance(), &[]).unwrap();
    let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
    let [notice] = &packet.take_notices()[..] else { panic!("one notice") };
    assert!(notice.to_string().contains("the pinned map STATISTICS has another shape"), "{notice}");
    packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
    packet.unpin_all();
    drop((packet, instance));
    assert!(!fs::exists(folder).unwrap());
}

#[test]
fn the_table_of_flows_keeps_its_size_until_a_clean_stop() {
    let Some(net) = Net::enter() else { return };
    let instance = Instance::claim(&net.instance(), &[]).unwrap();
    let with = |connections| {
        let sizes = PacketSizes { connections, ..load().sizes };
        PacketLoad { sizes, services: true, ..load() }
    };
    let mut packet = Packet::load(&with(4_096), Some(&instance)).unwrap();
    packet.attach(INTERFACE, AttachWanted::Generic).unwrap();
    let next = Instance::claim(&net.instance(), &[std::process::id()]).unwrap();
    let mut without_flows = Packet::load(&with(8_192), Some(&next)).unwrap();
    assert!(without_flows.take_notices().is_empty(), "no server, no flow");
    drop((without_flows, next));
    packet.set_server(1, Some(&server(1))).unwrap();
    let next = Instance::claim(&net.instance(), &[std::process::id()]).unwrap();
    let mut successor = Packet::load(&with(8_192), Some(&next)).unwrap();
    let [notice] = &successor.take_notices()[..] else { panic!("one notice") };
    assert!(notice.to_string().contains("4096 entries; 'ebpf.connections 8192'"), "{notice}");
    successor.unpin_all();
    packet.unpin_all();
}

/// Flows of a server that is gone must not be mistaken for those of whoever gets its index some processes later.
#[test]
fn generations_outlive_their_servers() {
    let Some(net) = Net::enter() else { return };
    let generations = |packet: &Packet| {
        let before = packet.before().iter();
        before.map(|(index, before)| (*index, before.state, before.generation)).collect::<Vec<_>>()
    };
    let start = || {
        let instance = Instance::claim(&net.instance(), &[]).unwrap();
        let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
        packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
        packet.publish().unwrap();
        (packet, instance)
    };
    let (mut first, instance) = start();
    for (index, generation) in [(1, 7), (2, 8)] {
        first.set_server(index, Some(&PacketServer { generation, ..server(1) })).unwrap();
    }
    first.set_server(2, None).unwrap();
    drop((first, instance));
    // The second one has neither server.
    let (second, instance) = start();
    assert_eq!(generations(&second), [(1, state::UP, 7), (2, state::FREE, 8)]);
    drop((second, instance));
    let (mut third, _instance) = start();
    assert_eq!(generations(&third), [(1, state::FREE, 7), (2, state::FREE, 8)]);
    third.unpin_all();
}

/// A successor that is killed after it has attached: the process before it goes on, if it still wants to.
#[test]
fn a_successor_that_is_killed() {
    let Some(net) = Net::enter() else { return };
    for filters in [false, true] {
        let start = |replaced: &[u32]| {
            let instance = Instance::claim(&net.instance(), replaced).unwrap();
            let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
            if filters {
                packet.use_filters();
            }
            packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
            packet.publish().unwrap();
            (packet, instance)
        };
        let (mut packet, instance) = start(&[]);
        packet.set_server(1, Some(&server(1))).unwrap();
        assert_eq!(packet.lost(), Vec::<String>::new());
        let (successor, next) = start(&[std::process::id()]);
        assert_eq!(packet.lost(), Vec::<String>::new(), "it is the successor's");
        // As far as others see, this is its end.
        drop((successor, next));
        assert_eq!(packet.lost(), [INTERFACE]);
        packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
        packet.publish().unwrap();
        assert_eq!(packet.lost(), Vec::<String>::new());
        let (successor, next) = start(&[std::process::id()]);
        assert_eq!(successor.before().len(), 1, "our servers are pinned again");
        drop((successor, next));
        // It was about to end and does so: packets go on with what is there.
        let pinned = net.pinned();
        packet.unpin_all();
        drop((packet, instance));
        assert_eq!(net.pinned(), pinned);
        let (mut packet, _instance) = start(&[]);
        packet.unpin_all();
    }
}

#[test]
fn what_cannot_be_pinned_does_not_stay() {
    let Some(net) = Net::enter() else { return };
    let instance = Instance::claim(&net.instance(), &[]).unwrap();
    let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
    packet.use_filters();
    packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
    // The folder that pins are made in.
    let is_mark = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("owner-");
    let mark = fs::read_dir(net.folder()).unwrap().map(Result::unwrap).find(is_mark).unwrap();
    fs::remove_dir(mark.path()).unwrap();
    assert!(matches!(packet.attach(OTHER, AttachWanted::Tc), Err(AttachError::Pins(_))));
    let filters = |interface: &str| {
        run("tc", &["-n", &net.name, "filter", "show", "dev", interface, "ingress"]).unwrap()
    };
    assert_eq!(filters(OTHER), "");
    packet.unpin_all();
    assert_eq!(filters(INTERFACE), "");
}

/// A successor that fails leaves everything to the process before it.
#[test]
fn a_successor_that_fails_changes_nothing() {
    let Some(net) = Net::enter() else { return };
    let instance = Instance::claim(&net.instance(), &[]).unwrap();
    let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
    packet.set_server(1, Some(&server(1))).unwrap();
    packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
    packet.publish().unwrap();
    let next = Instance::claim(&net.instance(), &[std::process::id()]).unwrap();
    let mut successor = Packet::load(&load(), Some(&next)).unwrap();
    successor.attach(INTERFACE, AttachWanted::Tc).unwrap();
    assert!(instance.is_superseded());
    assert!(matches!(packet.publish(), Err(AttachError::Superseded)));
    drop((successor, next));
    assert!(!instance.is_superseded());
    packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
    let third = Instance::claim(&net.instance(), &[std::process::id()]).unwrap();
    let reader = Packet::load(&load(), Some(&third)).unwrap();
    assert_eq!(reader.before().len(), 1, "our servers are pinned again");
    drop((reader, third));
    packet.unpin_all();
    assert_eq!(net.pinned(), Vec::<String>::new());
}

/// A start that fails gives back what it took, and takes nothing with it.
#[test]
fn an_abandoned_start_leaves_things_as_they_were() {
    let Some(net) = Net::enter() else { return };
    let start = |services, wanted| {
        let instance = Instance::claim(&net.instance(), &[std::process::id()]).unwrap();
        let mut packet = Packet::load(&PacketLoad { services, ..load() }, Some(&instance)).unwrap();
        packet.set_server(1, Some(&server(if services { 3 } else { 2 }))).unwrap();
        packet.attach(INTERFACE, wanted).unwrap();
        (instance, packet)
    };
    // Nothing was there.
    let (instance, mut packet) = start(false, AttachWanted::Tc);
    packet.attach(INTERFACE, AttachWanted::Tc).unwrap();
    packet.abandon();
    assert!(!fs::exists(net.folder()).unwrap());
    drop((packet, instance));
    // What counts packets tells which program is there.
    let counts = |packet: &Packet| {
        let counters = packet.counters().unwrap();
        ["shield_passed", "no_service"]
            .map(|name| counters.iter().find(|(counted, _)| *counted == name).unwrap().1)
    };
    for wanted in [AttachWanted::Tc, AttachWanted::Generic] {
        let (instance, mut packet) = start(false, wanted);
        packet.publish().unwrap();
        net.send(1);
        let pinned = net.pinned();
        let (next_instance, mut next) = start(true, wanted);
        next.attach(OTHER, wanted).unwrap();
        next.attach(INTERFACE, wanted).unwrap();
        net.send(1);
        assert_eq!(counts(&packet), [1, 1]);
        next.abandon();
        net.send(1);
        assert_eq!(counts(&packet), [2, 1]);
        assert_eq!(net.pinned(), pinned);
        drop((next, next_instance));
        assert!(!instance.is_superseded());
        let reader = Instance::claim(&net.instance(), &[std::process::id()]).unwrap();
        let found = Packet::load(&load(), Some(&reader)).unwrap();
        assert_eq!(found.before()[0].1.generation, 2);
        drop((found, reader));
        packet.unpin_all();
        drop(instance);
    }
}

#[test]
fn an_interface_that_vanished_and_came_back() {
    let Some(net) = Net::enter() else { return };
    for filters in [false, true] {
        let instance = Instance::claim(&net.instance(), &[]).unwrap();
        let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
        if filters {
            packet.use_filters();
        }
        let kinds = if filters { &KINDS[2..] } else { &KINDS[..] };
        for &(wanted, attached) in kinds {
            packet.attach(OTHER, wanted).unwrap();
            ip(&format!("-n {} link del {OTHER}", net.name)).unwrap();
            match packet.attach(OTHER, wanted) {
                Err(error @ AttachError::NoInterface(_)) => {
                    assert_eq!(error.to_string(), "sk1.5: no such interface");
                }
                other => panic!("{other:?}"),
            }
            net.add(OTHER).unwrap();
            assert_eq!(packet.attach(OTHER, wanted).unwrap(), attached);
            assert_eq!(packet.attached(), [(OTHER.to_owned(), attached)]);
        }
        // The same while nobody was there.
        drop((packet, instance));
        ip(&format!("-n {} link del {OTHER}", net.name)).unwrap();
        net.add(OTHER).unwrap();
        let instance = Instance::claim(&net.instance(), &[]).unwrap();
        let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
        packet.attach(OTHER, AttachWanted::Tc).unwrap();
        packet.publish().unwrap();
        assert_eq!(net.pinned().iter().filter(|name| name.contains("sk1")).count(), 1, "{:?}", net.pinned());
        packet.unpin_all();
        drop((packet, instance));
        assert!(!fs::exists(net.folder()).unwrap());
    }
}

#[test]
fn two_instances_on_two_interfaces_but_not_on_one() {
    let Some(net) = Net::enter() else { return };
    let (a, b) = (net.instance(), format!("{}-b", net.instance()));
    for filters in [false, true] {
        let first = Instance::claim(&a, &[]).unwrap();
        let second = Instance::claim(&b, &[]).unwrap();
        let mut one = Packet::load(&load(), Some(&first)).unwrap();
        let mut two = Packet::load(&load(), Some(&second)).unwrap();
        if filters {
            one.use_filters();
        }
        one.attach(INTERFACE, AttachWanted::Tc).unwrap();
        two.attach(OTHER, AttachWanted::Tc).unwrap();
        match two.attach(INTERFACE, AttachWanted::Tc) {
            Err(error @ AttachError::Taken { .. }) => assert_eq!(
                error.to_string(),
                format!("sk0 belongs to instance '{a}': end that one, or 'sockeye --unload {a}'")
            ),
            other => panic!("{other:?}"),
        }
        net.send(3);
        assert_eq!((passed(&one), passed(&two)), (3, 0));
        one.unpin_all();
        two.attach(INTERFACE, AttachWanted::Tc).unwrap();
        net.send(3);
        assert_eq!((passed(&one), passed(&two)), (3, 3));
        two.unpin_all();
    }
}

/// An XDP program of somebody else is named, and left alone.
#[test]
fn somebody_elses_program_is_named() {
    let Some(net) = Net::enter() else { return };
    let mut stranger = Packet::load(&load(), None).unwrap();
    stranger.attach(INTERFACE, AttachWanted::Generic).unwrap();
    let instance = Instance::claim(&net.instance(), &[]).unwrap();
    let mut packet = Packet::load(&load(), Some(&instance)).unwrap();
    for wanted in [AttachWanted::Generic, AttachWanted::Native] {
        match packet.attach(INTERFACE, wanted) {
            Err(error @ AttachError::Busy { .. }) => {
                assert!(
                    error.to_string().starts_with("sk0: another XDP program is on it, 'packet' ("),
                    "{error}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    packet.unpin_all();
}

#[test]
fn refusals_of_this_kernel_in_words() {
    let Some(net) = Net::enter() else { return };
    let mut packet = Packet::load(&load(), None).unwrap();
    let check = |packet: &mut Packet, interface: &str, expected: &str| match packet
        .attach(interface, AttachWanted::Native)
    {
        Err(error) => assert_eq!(error.to_string(), expected),
        Ok(kind) => panic!("{kind}"),
    };
    check(&mut packet, "lo", "lo: its driver has no native XDP: 'ebpf.attach' auto, tc or generic");
    for namespace in [&net.name, &net.peer] {
        ip(&format!("-n {namespace} link set {OTHER} mtu 9000")).unwrap();
    }
    let large = "sk1.5: an MTU of 9000 is too large for native XDP, which ends at about 3506";
    check(&mut packet, OTHER, large);
    assert_eq!(packet.attach(OTHER, AttachWanted::Generic).unwrap(), Attached::Generic);
    assert_eq!(packet.attach("lo", AttachWanted::Auto).unwrap(), Attached::Tc);
}
