//! Steering in the kernel of this machine; without privileges or objects it says why it is skipped.
#![allow(clippy::unwrap_used, reason = "a test that fails shows its line")]

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use sockeye_accel::{SteerExact, SteerGroup, SteerMode, SteerOwned, SteerPlan, Steering, WorkerLoad};

/// Listening sockets of one address, one per worker.
struct Bound {
    sockets: Vec<TcpListener>,
    workers: Vec<[usize; 1]>,
}

impl Bound {
    fn new(address: &str, workers: usize) -> Self {
        let first = listener(address.parse().unwrap());
        let address = first.local_addr().unwrap();
        let mut sockets = vec![first];
        sockets.extend((1..workers).map(|_| listener(address)));
        Self { sockets, workers: (0..workers).map(|worker| [worker]).collect() }
    }

    fn address(&self) -> SocketAddr {
        self.sockets[0].local_addr().unwrap()
    }

    fn group(&self, owns: Option<SteerOwned>) -> SteerGroup<'_> {
        let sockets = self.sockets.iter().zip(&self.workers);
        SteerGroup { sockets: sockets.map(|(socket, one)| (socket.as_fd(), &one[..])).collect(), owns }
    }

    /// Takes `count` connections, by worker. The last packet of a handshake may arrive after its client is done.
    fn accept(&self, count: usize) -> Vec<Vec<TcpStream>> {
        let mut all: Vec<Vec<TcpStream>> = self.sockets.iter().map(|_| Vec::new()).collect();
        let since = std::time::Instant::now();
        while all.iter().map(Vec::len).sum::<usize>() < count && since.elapsed() < Duration::from_secs(10) {
            for (socket, accepted) in self.sockets.iter().zip(&mut all) {
                accepted.extend(std::iter::from_fn(|| socket.accept().ok()).map(|one| one.0));
            }
        }
        all
    }

    fn counts(&self, count: usize) -> Vec<usize> {
        self.accept(count).iter().map(Vec::len).collect()
    }
}

fn listener(address: SocketAddr) -> TcpListener {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket: OwnedFd = socket_with(family, SocketType::STREAM, flags, None).unwrap();
    sockopt::set_socket_reuseport(&socket, true).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    if family == AddressFamily::INET6 {
        sockopt::set_ipv6_v6only(&socket, true).unwrap();
    }
    bind(&socket, &address).unwrap();
    listen(&socket, 128).unwrap();
    TcpListener::from(socket)
}

/// `None`, with a word about it, where the kernel does not let us.
fn start(plan: &SteerPlan<'_>) -> Option<Steering> {
    if let Err(reason) = Steering::possible(true) {
        let mut error = std::io::stderr();
        writeln!(error, "skipped: {reason}").unwrap();
        return None;
    }
    Some(Steering::start(plan).unwrap())
}

fn plan<'a>(mode: SteerMode, bound: &'a [&'a Bound]) -> SteerPlan<'a> {
    let groups = bound.iter().map(|bound| bound.group(None)).collect();
    SteerPlan { mode: Some(mode), workers: 2, groups, exact: Vec::new() }
}

fn connect(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(address).unwrap()).collect()
}

fn counter(steering: &Steering, name: &str) -> u64 {
    steering.counters().unwrap().into_iter().find(|one| one.0 == name).unwrap().1
}

fn loads(steering: &Steering) -> [WorkerLoad; 2] {
    [0, 1].map(|worker| steering.worker(worker).unwrap())
}

#[test]
fn the_worker_with_the_fewest_connections() {
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
        let bound = Bound::new(address, 2);
        let Some(steering) = start(&plan(SteerMode::Least, &[&bound])) else { return };
        let [first, second] = loads(&steering);
        let mut to = bound.address();
        if to.ip().is_unspecified() {
            to.set_ip([127, 0, 0, 1].into());
        }
        first.set_sessions(10);
        second.set_sessions(4);
        let _clients = connect(to, 10);
        // Six of them even the two out; the rest is shared.
        assert_eq!((first.waiting(), second.waiting()), (2, 8), "{address}");
        assert_eq!(bound.counts(10), [2, 8], "{address}");
        assert_eq!(counter(&steering, "least"), 10);
    }
}

#[test]
fn nothing_for_a_busy_worker() {
    let bound = Bound::new("127.0.0.1:0", 2);
    let Some(steering) = start(&plan(SteerMode::Least, &[&bound])) else { return };
    let [first, second] = loads(&steering);
    second.set_sessions(1_000);
    first.works();
    let since = std::time::Instant::now();
    while since.elapsed() < Duration::from_millis(200) {}
    let _clients = connect(bound.address(), 5);
    assert_eq!(bound.counts(5), [0, 5], "busy now");
    first.rests();
    let _clients = connect(bound.address(), 5);
    assert_eq!(bound.counts(5), [0, 5], "busy a moment ago");
    let since = std::time::Instant::now();
    while since.elapsed() < Duration::from_millis(110) {}
    let _clients = connect(bound.address(), 5);
    assert_eq!(bound.counts(5), [5, 0], "as good as any other");
    for load in [&first, &second] {
        load.works();
    }
    let since = std::time::Instant::now();
    while since.elapsed() < Duration::from_millis(6) {}
    let _clients = connect(bound.address(), 5);
    assert_eq!(bound.counts(5), [5, 0], "all are busy: the fewest connections");
    assert_eq!(counter(&steering, "least_busy"), 5);
}

#[test]
fn what_never_comes_is_forgotten() {
    let bound = Bound::new("127.0.0.1:0", 2);
    let Some(steering) = start(&plan(SteerMode::Least, &[&bound])) else { return };
    let [first, second] = loads(&steering);
    let _clients = connect(bound.address(), 8);
    assert_eq!(first.waiting() + second.waiting(), 8);
    first.accepted();
    assert_eq!(first.waiting(), 3);
    for expected in [3, 0] {
        first.forget();
        assert_eq!(first.waiting(), expected);
    }
    // More taken than were given: from sockets that nobody steers.
    first.accepted();
    let _more = connect(bound.address(), 1);
    assert_eq!((first.waiting(), second.waiting()), (1, 4));
}

#[test]
fn the_worker_of_the_cpu() {
    let bound = Bound::new("127.0.0.1:0", 2);
    let Some(steering) = start(&plan(SteerMode::Cpu, &[&bound])) else { return };
    assert!(steering.worker(0).is_none());
    let cpus = [0, 1].map(|worker| steering.cpu(worker).unwrap());
    if cpus[0] == cpus[1] {
        return;
    }
    for worker in [1, 0, 1] {
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpus[worker]);
        rustix::thread::sched_setaffinity(None, &set).unwrap();
        // Loopback packets stay on the CPU that sends them.
        let _clients = connect(bound.address(), 7);
        let mut expected = [0, 0];
        expected[worker] = 7;
        assert_eq!(bound.counts(7), expected);
    }
    assert_eq!(counter(&steering, "cpu"), 21);
}

#[test]
fn a_closed_socket_leaves_its_connections_to_the_others() {
    let mut bound = Bound::new("127.0.0.1:0", 2);
    let Some(steering) = start(&plan(SteerMode::Least, &[&bound])) else { return };
    let address = bound.address();
    let mut clients = connect(address, 6);
    // They wait in both sockets; those of the first move when it closes.
    drop(bound.sockets.remove(0));
    clients.extend(connect(address, 4));
    let accepted = bound.accept(10);
    assert_eq!(accepted[0].len(), 10);
    for mut served in accepted.into_iter().flatten() {
        served.write_all(b"x").unwrap();
    }
    for mut client in clients {
        client.read_exact(&mut [0]).unwrap();
    }
    assert!(counter(&steering, "no_socket") > 0);
}

#[test]
fn two_binds_of_one_address_are_left_to_the_kernel() {
    let first = Bound::new("127.0.0.1:0", 2);
    let second = Bound::new(&first.address().to_string(), 2);
    let Some(steering) = start(&plan(SteerMode::Least, &[&first, &second])) else { return };
    let _clients = connect(first.address(), 50);
    assert_eq!(counter(&steering, "no_group"), 50);
    let (one, other) = (first.accept(1), second.accept(1));
    assert!(one.iter().chain(&other).map(Vec::len).sum::<usize>() > 1, "both have some");
}

#[test]
fn the_next_process_gets_everything_new_and_what_waited() {
    let mut before = Bound::new("127.0.0.1:0", 2);
    let Some(_old) = start(&plan(SteerMode::Least, &[&before])) else { return };
    let after = Bound::new(&before.address().to_string(), 2);
    let mut clients = connect(before.address(), 6);
    assert_eq!(after.counts(0).iter().sum::<usize>(), 0, "not before it says so");
    let new = start(&plan(SteerMode::Least, &[&after])).unwrap();
    clients.extend(connect(before.address(), 6));
    assert_eq!(after.counts(6), [3, 3]);
    // The old process closes its sockets, one after the other, with the first six still in them.
    before.sockets.pop();
    before.sockets.pop();
    let moved = after.accept(6);
    assert_eq!(moved.iter().map(Vec::len).sum::<usize>(), 6);
    for mut served in moved.into_iter().flatten() {
        served.write_all(b"x").unwrap();
    }
    for client in &mut clients[..6] {
        client.read_exact(&mut [0]).unwrap();
    }
    // A socket whose port the kernel chose has lost it when its connections move: those three go by hash.
    assert_eq!((counter(&new, "least"), counter(&new, "no_group")), (9, 3));
}

fn owns(address: &str, bits: u8, ports: RangeInclusive<u16>) -> Option<SteerOwned> {
    Some(SteerOwned { address: address.parse().unwrap(), bits, ports, ipv4_too: false })
}

#[test]
fn a_prefix_and_its_ports() {
    let (bound, exact) = (Bound::new("127.77.0.0:0", 2), Bound::new("127.77.3.4:0", 1));
    let port = exact.address().port();
    let plan = SteerPlan {
        mode: Some(SteerMode::Least),
        workers: 2,
        groups: vec![bound.group(owns("127.77.0.0", 16, 1_000..=65_535)), exact.group(None)],
        exact: vec![SteerExact { address: exact.address(), ipv4_too: false }],
    };
    let Some(steering) = start(&plan) else { return };
    let mut clients = Vec::new();
    for (ip, port) in [([127, 77, 0, 1], 1_000), ([127, 77, 255, 255], 65_535), ([127, 77, 3, 4], port ^ 1)] {
        clients.extend(connect((ip, port).into(), 4));
    }
    let accepted: Vec<_> = bound.accept(12).into_iter().flatten().collect();
    let mut locals: Vec<_> = accepted.iter().map(|one| one.local_addr().unwrap()).collect();
    let mut wanted: Vec<_> = clients.iter().map(|one| one.peer_addr().unwrap()).collect();
    locals.sort();
    wanted.sort();
    assert_eq!(locals, wanted, "each sees the address that its client asked for");
    assert_eq!((counter(&steering, "owned"), counter(&steering, "least")), (12, 12));
    clients.extend(connect(exact.address(), 3));
    assert_eq!((exact.counts(3), counter(&steering, "exact")), (vec![3], 3));
    for outside in ["127.77.0.1:999", "127.78.0.0:1000"] {
        assert!(TcpStream::connect(outside).is_err(), "{outside}");
    }
    drop((clients, steering));
    assert!(TcpStream::connect("127.77.0.1:1000").is_err(), "nothing stays behind");
}

/// `count` ports of `::1` that nobody else listens on or connects from: bound, and no more.
fn held(count: u16) -> (RangeInclusive<u16>, Vec<OwnedFd>) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let hold = |port: u16| {
        let socket = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from((Ipv6Addr::LOCALHOST, port))).map(|()| socket)
    };
    for _ in 0..1_000 {
        let first = hold(0).unwrap();
        let low = SocketAddr::try_from(getsockname(&first).unwrap()).unwrap().port();
        let Some(high) = low.checked_add(count - 1) else { continue };
        if let Ok(rest) = (low + 1..=high).map(hold).collect::<Result<Vec<_>, _>>() {
            return (low..=high, std::iter::once(first).chain(rest).collect());
        }
    }
    panic!("no {count} free ports side by side");
}

#[test]
fn a_range_of_ipv6_and_the_hash() {
    let bound = Bound::new("[::1]:0", 2);
    let (ports, _held) = held(8);
    let groups = vec![bound.group(owns("::1", 128, ports.clone()))];
    let plan = SteerPlan { mode: None, workers: 2, groups, exact: Vec::new() };
    let Some(steering) = start(&plan) else { return };
    assert!(steering.worker(0).is_none() && steering.cpu(0).is_none());
    let connect = |port| TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    let clients: Vec<_> = ports.clone().chain(ports.clone()).chain(ports.clone()).map(connect).collect();
    let counts = bound.counts(clients.len());
    assert_eq!(counts.iter().sum::<usize>(), clients.len());
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!(counter(&steering, "owned"), 24);
}
