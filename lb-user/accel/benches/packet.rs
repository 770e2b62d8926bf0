//! Nanoseconds that the packet program spends on a packet: each way of forwarding, few and many flows, few and many
//! servers, beside a program that only sends the packet back.
//!
//! `cargo xtask bench --only packet` runs this. A program in front writes the packet of the next flow before each run
//! (lb-ebpf/src/traffic.rs), so that flows take turns as on a wire; what that costs is in the bare program too.
#![allow(clippy::unwrap_used, reason = "a measurement that fails shows its line")]

#[path = "../tests/frame/mod.rs"]
#[allow(dead_code, reason = "the tests check packets, too")]
mod frame;

use std::io::Write;
use std::path::PathBuf;

use aya::maps::{Array, ProgramArray};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use frame::{Frame, TCP};
use lb_common::limits::TRAFFIC_WORDS;
use lb_common::packet::forwarding;
use sockeye_accel::{
    Packet, PacketLink, PacketServer, PacketService, PacketSizes, PacketSource, TABLE_SIZE_MIN, endpoint,
};

const BYTES: usize = TRAFFIC_WORDS * size_of::<u64>();
const CLIENT: [&str; 2] = ["198.51.100.7", "2001:db8:1::7"];
const SERVICE: [&str; 2] = ["192.0.2.1", "2001:db8:2::1"];
/// What comes in front of the server's number.
const SERVER: [&str; 2] = ["10.0.0.0", "fd00::"];
const TUNNEL: [&str; 2] = ["10.0.0.1", "fd00::1"];
/// Test runs come from the loopback interface, and the servers are there.
const LOOPBACK: u32 = 1;
/// Runs of a measurement, in one system call. The kernel adds up their time in 32 bits of nanoseconds.
const RUNS_PER_CALL: u32 = 1_000_000;
/// Measurements, of which the median counts.
const ROUNDS: usize = 3;
/// Flows that the program may remember: LRU lists of their own for each CPU take their share each.
const CONNECTIONS: u32 = 4 << 20;

const FLOWS: [u32; 3] = [1, 100_000, 1_000_000];
/// Packets of a flow come in trains, as a sender's window lets them, or each packet is of another flow than the last:
/// the worst that memory can meet.
const TRAINS: [u32; 2] = [16, 1];
const SERVERS: [u32; 4] = [10, 100, 1_000, 10_000];

fn main() {
    // `cargo test --benches` asks for nothing to be measured.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let mut out = std::io::stdout();
    if let Err(reason) = Traffic::load(Order { family: 0, flows: 1, train: 1 }) {
        writeln!(out, "not measured: {reason}").unwrap();
        return;
    }
    writeln!(
        out,
        "{:<14} {:>9} {:>8} {:>8} {:>6} {:>10}",
        "program", "flows", "servers", "train", "ns", "over bare"
    )
    .unwrap();
    for (family, ways) in [(0, &WAYS[..]), (1, &WAYS[..1])] {
        for flows in FLOWS {
            for train in if flows == 1 { &TRAINS[..1] } else { &TRAINS[..] } {
                let order = Order { family, flows, train: *train };
                let bare = Traffic::load(order).unwrap().measure();
                line(&mut out, "bare XDP_TX", order, 0, bare, bare);
                for (name, mode) in ways {
                    line(&mut out, name, order, SERVERS[0], forwarded(order, *mode, SERVERS[0]), bare);
                }
            }
        }
    }
    let order = Order { family: 0, flows: 100_000, train: TRAINS[0] };
    let bare = Traffic::load(order).unwrap().measure();
    for servers in SERVERS {
        line(&mut out, "NAT", order, servers, forwarded(order, forwarding::NAT, servers), bare);
    }
}

const WAYS: [(&str, u8); 3] =
    [("NAT", forwarding::NAT), ("DSR", forwarding::DSR), ("IPIP", forwarding::IPIP)];

/// Which packets come, and in which order.
#[derive(Clone, Copy)]
struct Order {
    /// 0 for IPv4, 1 for IPv6.
    family: usize,
    flows: u32,
    /// Packets of a flow that come one behind the other.
    train: u32,
}

fn line(out: &mut impl Write, name: &str, order: Order, servers: u32, nanoseconds: u64, bare: u64) {
    let Order { family, flows, train } = order;
    let name = format!("{name} {}", ["v4", "v6"][family]);
    let more = nanoseconds.saturating_sub(bare);
    writeln!(out, "{name:<14} {flows:>9} {servers:>8} {train:>8} {nanoseconds:>6} {more:>10}").unwrap();
}

/// The packet program with so many flows over so many servers, behind the program that makes the packets.
fn forwarded(order: Order, mode: u8, servers: u32) -> u64 {
    let family = order.family;
    let sizes = PacketSizes {
        connections: CONNECTIONS,
        nat: CONNECTIONS,
        services: 8,
        tables: 8,
        table: TABLE_SIZE_MIN,
    };
    let mut packet = Packet::load(&sizes.into(), None).unwrap();
    let key = endpoint(SERVICE[family].parse().unwrap(), 80, TCP);
    packet.set_service(&key, PacketService { forwarding: mode, flags: 0, idle: 0 }).unwrap();
    for index in 0..servers {
        packet.set_server(index, Some(&server(family, index))).unwrap();
    }
    let table: Vec<u32> =
        (0..TABLE_SIZE_MIN).map(|entry| entry.wrapping_mul(2_654_435_761) % servers).collect();
    packet.set_table(&key, Some(&table)).unwrap();
    let mut traffic = Traffic::load(order).unwrap();
    traffic.go_on_in(&packet);
    let nanoseconds = traffic.measure();
    let sent = packet.counters().unwrap()[0];
    assert!(sent.0 == "sent" && sent.1 >= RUNS_PER_CALL.into(), "{sent:?} of {RUNS_PER_CALL} packets");
    nanoseconds
}

fn server(family: usize, index: u32) -> PacketServer {
    let address = match SERVER[family].parse().unwrap() {
        std::net::IpAddr::V4(base) => std::net::Ipv4Addr::from(u32::from(base) + index + 2).into(),
        std::net::IpAddr::V6(base) => {
            std::net::Ipv6Addr::from(u128::from(base) + u128::from(index) + 2).into()
        }
    };
    PacketServer {
        address,
        port: 8080,
        source: PacketSource::Tunnel(TUNNEL[family].parse().unwrap()),
        link: Some(PacketLink { ifindex: LOOPBACK, mac: [2, 0, 0, 0, 0, 2], source_mac: [2, 0, 0, 0, 0, 1] }),
        drop: false,
        generation: 1,
        mtu: 0,
    }
}

/// The program that makes packets.
struct Traffic {
    object: Ebpf,
    frame: Vec<u8>,
    order: Order,
}

impl Traffic {
    fn load(order: Order) -> Result<Self, String> {
        let folder = std::env::var_os("SOCKEYE_BPF_DIR").map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/bpf")),
            PathBuf::from,
        );
        let data =
            std::fs::read(folder.join("traffic")).map_err(|error| format!("no kernel object: {error}"))?;
        let is_v6 = u32::try_from(order.family).unwrap();
        let mut object = EbpfLoader::new()
            .btf(None)
            .override_global("FLOWS", &order.flows, true)
            .override_global("TRAIN", &order.train, true)
            .override_global("IS_V6", &is_v6, true)
            .load(&data)
            .map_err(|error| error.to_string())?;
        let program: &mut Xdp = object.program_mut("traffic").unwrap().try_into().unwrap();
        program.load().map_err(|error| error.to_string())?;
        let frame = frame(order.family);
        let mut words = [0_u64; TRAFFIC_WORDS];
        for (word, bytes) in words.iter_mut().zip(frame.chunks_exact(size_of::<u64>())) {
            *word = u64::from_ne_bytes(bytes.try_into().unwrap());
        }
        let mut template: Array<_, [u64; TRAFFIC_WORDS]> =
            object.map_mut("TEMPLATE").unwrap().try_into().unwrap();
        template.set(0, words, 0).unwrap();
        Ok(Self { object, frame, order })
    }

    fn go_on_in(&mut self, packet: &Packet) {
        let fd = packet.program_fd().unwrap();
        let mut next: ProgramArray<_> = self.object.map_mut("NEXT").unwrap().try_into().unwrap();
        next.set(0, fd, 0).unwrap();
    }

    /// The median of some measurements, every flow made before the first.
    fn measure(&self) -> u64 {
        for _ in 0..(u64::from(self.order.flows) * u64::from(self.order.train)).div_ceil(RUNS_PER_CALL.into())
        {
            self.run(RUNS_PER_CALL);
        }
        let mut rounds = [0; ROUNDS];
        for nanoseconds in &mut rounds {
            *nanoseconds = self.run(RUNS_PER_CALL);
        }
        rounds.sort_unstable();
        rounds[ROUNDS / 2]
    }

    fn run(&self, repeat: u32) -> u64 {
        let program: &Xdp = self.object.program("traffic").unwrap().try_into().unwrap();
        let mut out = vec![0; self.frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(&self.frame),
            data_out: Some(&mut out),
            repeat,
            ..TestRunOptions::new()
        };
        u64::try_from(program.test_run(options).unwrap().duration.as_nanos()).unwrap()
    }
}

/// A TCP segment of exactly as many bytes as the program in front writes.
fn frame(family: usize) -> Vec<u8> {
    let mut frame = Frame::new(CLIENT[family], SERVICE[family], TCP);
    frame.payload = Vec::new();
    frame.payload = vec![0; BYTES - frame.build().len()];
    frame.build()
}
