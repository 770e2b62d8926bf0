//! The packet programs loaded, with services and servers, and what one run made of a packet.
#![allow(dead_code, reason = "each test needs a part of this")]

use std::io::Write;
use std::process::Command;

use lb_common::packet::STATELESS;
use sockeye_accel::{
    LoadError, Packet, PacketBackward, PacketError, PacketLink, PacketRun, PacketServer, PacketService,
    PacketSizes, PacketSource, TABLE_SIZE_MIN, endpoint,
};

use super::{Frame, TCP, UDP};

pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;
pub(crate) const TX: u32 = 3;
pub(crate) const REDIRECT: u32 = 4;
/// The actions of the tc program: `TC_ACT_UNSPEC`, `TC_ACT_SHOT`, `TC_ACT_REDIRECT`.
pub(crate) const TC_PASS: u32 = u32::MAX;
pub(crate) const TC_DROP: u32 = 2;
pub(crate) const TC_REDIRECT: u32 = 7;

pub(crate) const CLIENT: [&str; 2] = ["198.51.100.7", "2001:db8:1::7"];
pub(crate) const SERVICE: [&str; 2] = ["192.0.2.1", "2001:db8:2::1"];
pub(crate) const SERVER: [&str; 2] = ["10.0.0.5", "fd00::5"];
pub(crate) const ROUTER: [&str; 2] = ["203.0.113.9", "2001:db8:9::9"];
pub(crate) const TUNNEL: [&str; 2] = ["10.0.0.1", "fd00::1"];
/// Test runs come from the loopback interface; a server there is answered over the same interface.
pub(crate) const LOOPBACK: u32 = 1;
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x55];

/// The two programs of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Xdp,
    Tc,
}

pub(crate) const HOOKS: [Hook; 2] = [Hook::Xdp, Hook::Tc];

/// The loaded programs with some services and servers, one of them under test.
pub(crate) struct Rig {
    pub(crate) packet: Packet,
    pub(crate) hook: Hook,
    /// The interface that servers are behind.
    pub(crate) link: u32,
    /// What fits the way to them.
    pub(crate) mtu: u32,
}

impl Rig {
    pub(crate) fn load(hook: Hook) -> Option<Self> {
        let sizes =
            PacketSizes { connections: 4_096, nat: 4_096, services: 16, tables: 16, table: TABLE_SIZE_MIN };
        match Packet::load(&sizes.into(), None) {
            Ok(packet) => Some(Self { packet, hook, link: LOOPBACK, mtu: 0 }),
            // Whoever may make maps may load programs; only the verifier can have said no.
            Err(error @ LoadError::Program(_)) => panic!("{error}"),
            Err(error) => {
                writeln!(std::io::stderr(), "skipped: {error}").expect("standard error");
                None
            }
        }
    }

    /// Both families' services, TCP and UDP, with server 0 (IPv4) or 1 (IPv6) behind all entries.
    pub(crate) fn with(hook: Hook, mode: u8, flags: u8) -> Option<Self> {
        let mut rig = Self::load(hook)?;
        for family in 0..2 {
            rig.server(family, SERVER[family], 1, false);
            for protocol in [TCP, UDP] {
                let key = endpoint(SERVICE[family].parse().unwrap(), 80, protocol);
                rig.packet.set_service(&key, PacketService { forwarding: mode, flags, idle: 0 }).unwrap();
                rig.table(family, protocol, u32::try_from(family).unwrap());
                let from = endpoint(SERVER[family].parse().unwrap(), 8080, protocol);
                let stateless = flags & STATELESS != 0;
                let backward =
                    PacketBackward { service: key, server: u32::try_from(family).unwrap(), stateless };
                rig.packet.set_backward(&from, &[backward]).unwrap();
            }
        }
        Some(rig)
    }

    pub(crate) fn server(&mut self, index: usize, address: &str, generation: u32, drop: bool) {
        self.server_at(index, address, 8080, generation, drop);
    }

    pub(crate) fn server_at(&mut self, index: usize, address: &str, port: u16, generation: u32, drop: bool) {
        let source = PacketSource::Tunnel(TUNNEL[usize::from(address.contains(':'))].parse().unwrap());
        self.server_from(index, address, port, source, generation, drop);
    }

    pub(crate) fn server_from(
        &mut self,
        index: usize,
        address: &str,
        port: u16,
        source: PacketSource,
        generation: u32,
        drop: bool,
    ) {
        self.try_server(index, address, port, source, generation, drop).unwrap();
    }

    pub(crate) fn try_server(
        &mut self,
        index: usize,
        address: &str,
        port: u16,
        source: PacketSource,
        generation: u32,
        drop: bool,
    ) -> Result<(), PacketError> {
        let server = PacketServer {
            address: address.parse().unwrap(),
            port,
            source,
            link: Some(PacketLink { ifindex: self.link, mac: MAC, source_mac: [2, 0, 0, 0, 0, 1] }),
            drop,
            generation,
            mtu: self.mtu,
        };
        self.packet.set_server(u32::try_from(index).unwrap(), Some(&server))
    }

    /// A server of which the daemon does not know how to reach it.
    pub(crate) fn unlinked(&mut self, index: usize, address: &str) {
        let server = PacketServer {
            address: address.parse().unwrap(),
            port: 8080,
            source: PacketSource::Tunnel(TUNNEL[usize::from(address.contains(':'))].parse().unwrap()),
            link: None,
            drop: false,
            generation: 1,
            mtu: 0,
        };
        self.packet.set_server(u32::try_from(index).unwrap(), Some(&server)).unwrap();
    }

    pub(crate) fn table(&mut self, family: usize, protocol: u8, server: u32) {
        let key = endpoint(SERVICE[family].parse().unwrap(), 80, protocol);
        self.packet.set_table(&key, Some(&vec![server; TABLE_SIZE_MIN as usize])).unwrap();
    }

    /// Runs a packet once; names the one counter that moved.
    pub(crate) fn run(&self, bytes: &[u8]) -> (PacketRun, &'static str) {
        let before = self.packet.counters().unwrap();
        let mut run = self.once(bytes);
        let after = self.packet.counters().unwrap();
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!(moved.len() == 1 && moved[0].1.1 == moved[0].0.1 + 1, "{moved:?}");
        let why = moved[0].1.0;
        // tc redirects in either case.
        if self.hook == Hook::Tc && run.action == TX && why.starts_with("redirected") {
            run.action = REDIRECT;
        }
        (run, why)
    }

    /// One run, with the action as XDP calls it.
    pub(crate) fn once(&self, bytes: &[u8]) -> PacketRun {
        match self.hook {
            Hook::Xdp => self.packet.run(bytes, 1).unwrap(),
            Hook::Tc => {
                let run = self.packet.run_tc(bytes, 0, 1).unwrap();
                let action = match run.action {
                    TC_PASS => PASS,
                    TC_DROP => DROP,
                    TC_REDIRECT => TX,
                    other => panic!("action {other}"),
                };
                PacketRun { action, ..run }
            }
        }
    }

    /// A packet that must go on unchanged, for this reason.
    pub(crate) fn untouched(&self, bytes: &[u8], action: u32, why: &str) {
        let (run, counter) = self.run(bytes);
        assert_eq!((run.action, counter), (action, why));
        assert_eq!(run.packet, bytes);
    }
}

pub(crate) fn each(mut body: impl FnMut(usize, u8)) {
    for family in 0..2 {
        for protocol in [TCP, UDP] {
            body(family, protocol);
        }
    }
}

/// Makes a test of each of these for either program.
macro_rules! with_both {
    ($($name:ident,)+) => {
        mod xdp {
            $(#[test]
            fn $name() {
                super::$name(super::Hook::Xdp);
            })+
        }
        mod tc {
            $(#[test]
            fn $name() {
                super::$name(super::Hook::Tc);
            })+
        }
    };
}
pub(crate) use with_both;

/// Makes a test of each of these, which runs it for both programs in a network namespace with routes.
macro_rules! in_namespace {
    ($($name:ident,)+) => {
        mod inside {
            $(#[test]
            #[ignore = "changes the network namespace that it runs in; the test of its name gives it one"]
            fn $name() {
                crate::frame::rig::lay_routes();
                for hook in super::HOOKS {
                    super::$name(hook);
                }
            })+
        }
        mod outside {
            $(#[test]
            fn $name() {
                crate::frame::rig::run_in_namespace(concat!("inside::", stringify!($name)));
            })+
        }
    };
}
pub(crate) use in_namespace;

/// Runs the ignored test of this name in a network namespace of its own.
pub(crate) fn run_in_namespace(name: &str) {
    if Rig::load(Hook::Xdp).is_none() {
        return;
    }
    let me = std::env::current_exe().unwrap();
    let arguments = ["--ignored", "--exact", name, "--nocapture"];
    match Command::new("unshare").arg("-n").arg(me).args(arguments).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{name}: {said}");
        }
        Err(error) => writeln!(std::io::stderr(), "skipped: unshare: {error}").expect("standard error"),
    }
}

pub(crate) fn ip(line: &str) {
    let output = Command::new("ip").args(line.split_whitespace()).output().expect("the ip tool");
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Interface v0 leads to the servers and, through a router, to the clients.
pub(crate) fn lay_routes() {
    ip("link set lo up");
    ip("link add v0 type veth peer name v1");
    ip("addr add 10.0.0.1/24 dev v0");
    ip("addr add fd00::1/64 dev v0 nodad");
    ip("link set v0 address 02:00:00:00:00:01 up");
    ip("link set v1 up");
    ip("route add 198.51.100.0/24 via 10.0.0.254");
    ip("-6 route add 2001:db8:1::/48 via fd00::fe");
    for next in ["10.0.0.254", "fd00::fe"] {
        ip(&format!("neigh replace {next} lladdr 02:00:00:00:00:fe dev v0 nud permanent"));
    }
    set_forwarding("1");
}

/// Whether this namespace forwards packets.
pub(crate) fn set_forwarding(value: &str) {
    for family in ["ipv4", "ipv6"] {
        std::fs::write(format!("/proc/sys/net/{family}/conf/all/forwarding"), value).unwrap();
    }
}

pub(crate) fn request(family: usize, protocol: u8) -> Frame {
    Frame::new(CLIENT[family], SERVICE[family], protocol)
}

pub(crate) fn answer(family: usize, protocol: u8) -> Frame {
    let mut frame = Frame::new(SERVER[family], CLIENT[family], protocol);
    frame.ports = [8080, 40_000];
    frame
}
