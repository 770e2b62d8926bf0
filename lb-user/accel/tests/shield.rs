//! The shield, one packet at a time (`BPF_PROG_TEST_RUN`); without privileges or objects it says why it is skipped.
#![allow(clippy::unwrap_used, reason = "a test that fails shows its line")]

#[allow(dead_code, reason = "shared with the tests of the packet program, which need more of it")]
mod frame;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use frame::{Frame, SYN, TCP, UDP};
use sockeye_accel::{
    Packet, PacketLoad, PacketSizes, Shield, ShieldError, ShieldList, ShieldSaid, TABLE_SIZE_MIN, boot_clock,
};

const DROP: u32 = 1;
const PASS: u32 = 2;

/// A time that is over, by the boot clock.
const PAST: u64 = 1;
/// One that is far away.
const FUTURE: u64 = u64::MAX / 2;

struct Rig {
    packet: Packet,
    shield: Shield,
}

impl Rig {
    fn load(prefixes: usize, services: bool) -> Option<Self> {
        let sizes =
            PacketSizes { connections: 4_096, nat: 4_096, services: 8, tables: 8, table: TABLE_SIZE_MIN };
        let load = PacketLoad { sizes, services, shield: Shield::capacity(prefixes), debug: false };
        match Packet::load(&load, None) {
            Ok(mut packet) => {
                let shield = packet.take_shield().unwrap();
                Some(Self { packet, shield })
            }
            Err(error) => {
                writeln!(std::io::stderr(), "skipped: {error}").expect("standard error");
                None
            }
        }
    }

    fn with(lines: &str) -> Option<Self> {
        let mut rig = Self::load(100, false)?;
        rig.shield.set(list(lines)).unwrap();
        Some(rig)
    }

    /// Runs a packet; it goes on unchanged or nowhere, and one counter says so.
    fn run(&self, bytes: &[u8]) -> &'static str {
        let before = self.packet.counters().unwrap();
        let run = self.packet.run(bytes, 1).unwrap();
        let after = self.packet.counters().unwrap();
        let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
        assert!(moved.len() == 1 && moved[0].1.1 == moved[0].0.1 + 1, "{moved:?}");
        let why = moved[0].1.0;
        assert_eq!(run.action, if why == "shield_denied" { DROP } else { PASS }, "{why}");
        assert_eq!(run.packet, bytes);
        why
    }

    /// Whether packets of all kinds from an address pass.
    fn check(&self, from: &str, passes: bool) {
        let expected = if passes { "shield_passed" } else { "shield_denied" };
        for packet in packets(from) {
            assert_eq!(self.run(&packet), expected, "{from} {packet:02x?}");
        }
    }

    /// Packets and bytes of the prefixes that decided about something.
    fn hits(&self) -> Vec<(String, u64, u64)> {
        let hits = self.shield.hits().unwrap();
        let some = hits.iter().filter(|hits| hits.packets != 0);
        some.map(|hits| (hits.entry.to_string(), hits.packets, hits.bytes)).collect()
    }
}

/// `deny 10.0.0.0/8`, with the time until which it holds behind.
fn said(line: &str) -> ShieldSaid {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, bits) = words[1].split_once('/').unwrap();
    ShieldSaid {
        address: address.parse().unwrap(),
        bits: bits.parse().unwrap(),
        allow: words[0] == "allow",
        until: words.get(2).map(|until| until.parse().unwrap()),
    }
}

fn list(lines: &str) -> ShieldList {
    ShieldList::new(lines.split(',').map(str::trim).filter(|line| !line.is_empty()).map(said)).unwrap()
}

fn frame(from: &str, protocol: u8) -> Frame {
    let to = if from.contains(':') { "2001:db8:2::1" } else { "192.0.2.1" };
    Frame::new(from, to, protocol)
}

/// What may come from an address: the shield must see through all of it.
fn packets(from: &str) -> Vec<Vec<u8>> {
    let mut frames = vec![
        frame(from, TCP),
        Frame { tcp_flags: SYN, ..frame(from, TCP) },
        frame(from, UDP),
        Frame { vlans: 1, ..frame(from, TCP) },
        Frame { vlans: 2, ..frame(from, UDP) },
        Frame { raw: Some(vec![0; 20]), ..frame(from, 132) },
        Frame {
            raw: Some(vec![8, 0, 0, 0, 0, 0, 0, 0]),
            ..frame(from, if from.contains(':') { 58 } else { 1 })
        },
        Frame { fragment: Some((100, true)), ..frame(from, UDP) },
        // The upper layer is cut off.
        Frame { raw: Some(Vec::new()), ..frame(from, TCP) },
    ];
    if from.contains(':') {
        // More extension headers than the other steps follow, and one that asks for something on the way.
        frames.push(Frame { extensions: vec![(60, vec![0; 6]); 12], ..frame(from, TCP) });
        frames.push(Frame { extensions: vec![(43, vec![4, 1, 0, 0, 0, 0])], ..frame(from, TCP) });
    } else {
        frames.push(Frame { options: vec![1; 40], ..frame(from, TCP) });
    }
    let mut packets: Vec<Vec<u8>> = frames.iter().map(Frame::build).collect();
    let mut broadcast = packets[2].clone();
    broadcast[..6].fill(0xff);
    packets.push(broadcast);
    packets
}

#[test]
fn an_empty_list_stops_nothing() {
    let Some(rig) = Rig::with("") else { return };
    rig.check("198.51.100.7", true);
    rig.check("2001:db8::7", true);
    // Not IP at all.
    let mut packet = frame("198.51.100.7", TCP).build();
    packet[12..14].copy_from_slice(&[8, 6]);
    assert_eq!(rig.run(&packet), "shield_passed");
    assert_eq!(rig.run(&packet[..14]), "shield_passed");
}

#[test]
fn the_longest_prefix_decides() {
    let Some(rig) = Rig::with(
        "deny 10.0.0.0/8, allow 10.1.0.0/16, deny 10.1.2.3/32, deny 2001:db8::/32, allow 2001:db8:1::/48,
         deny 2001:db8:1::5/128, deny 203.0.113.0/24, allow 203.0.113.0/24",
    ) else {
        return;
    };
    for (from, passes) in [
        ("9.255.255.255", true),
        ("10.0.0.0", false),
        ("10.1.0.0", true),
        ("10.1.2.2", true),
        ("10.1.2.3", false),
        ("10.255.255.255", false),
        ("11.0.0.0", true),
        ("203.0.113.9", true),
        ("2001:db7:ffff::1", true),
        ("2001:db8::1", false),
        ("2001:db8:1::4", true),
        ("2001:db8:1::5", false),
        ("2001:db9::", true),
    ] {
        rig.check(from, passes);
    }
}

#[test]
fn a_family_says_nothing_about_the_other() {
    let Some(mut rig) = Rig::with("deny ::/0") else { return };
    rig.check("192.0.2.9", true);
    rig.check("2001:db8::1", false);
    rig.shield.set(list("deny 0.0.0.0/0, deny ::/0 1")).unwrap();
    rig.check("192.0.2.9", false);
    rig.check("2001:db8::1", true);
    rig.shield.set(list("deny 0.0.0.0/0 1, deny ::/0")).unwrap();
    rig.check("192.0.2.9", true);
}

#[test]
fn what_expired_is_as_if_it_were_not_there() {
    let until = |name: &str, time: u64| format!("{name} {time}");
    let lines = [
        until("deny 198.51.100.0/24", PAST),
        until("deny 10.0.0.0/8", FUTURE),
        until("allow 10.1.0.0/16", PAST),
        until("allow 10.2.0.0/16", FUTURE),
        until("deny 10.2.0.0/24", PAST),
        until("allow 10.2.0.0/28", PAST),
        until("deny 10.2.0.0/32", PAST),
        until("allow 203.0.113.0/24", PAST),
        "deny 203.0.113.0/24".to_owned(),
    ];
    let Some(mut rig) = Rig::with(&lines.join(",")) else { return };
    let all = |rig: &Rig| {
        rig.check("198.51.100.7", true);
        rig.check("10.3.0.0", false);
        rig.check("10.1.2.3", false);
        rig.check("10.2.0.0", true);
        rig.check("203.0.113.7", false);
    };
    all(&rig);
    // The daemon takes away what the program only skips.
    assert_eq!(rig.shield.expire(PAST).unwrap(), Some(FUTURE));
    all(&rig);
    assert_eq!(rig.shield.expire(FUTURE).unwrap(), None);
    rig.check("10.3.0.0", true);
    rig.check("203.0.113.7", false);

    let soon = boot_clock() + 50_000_000;
    rig.shield.set(list(&format!("deny 198.51.100.0/24 {soon}"))).unwrap();
    let packet = frame("198.51.100.7", TCP).build();
    let mut denied = 0;
    while rig.run(&packet) == "shield_denied" {
        denied += 1;
        assert!(boot_clock() < soon + 1_000_000_000, "still denied a second later");
    }
    assert!(denied > 0 && boot_clock() >= soon, "{denied}");
}

#[test]
fn each_prefix_counts() {
    let Some(mut rig) =
        Rig::with("deny 10.0.0.0/8, allow 10.1.0.0/16, deny 2001:db8::/32, deny 172.16.0.0/12")
    else {
        return;
    };
    let bytes = u64::try_from(frame("10.2.0.1", UDP).network().len()).unwrap();
    let padded = {
        let mut packet = frame("10.2.0.1", UDP).build();
        packet.resize(200, 0);
        packet
    };
    rig.run(&padded);
    rig.run(&frame("10.3.0.1", UDP).build());
    rig.run(&frame("10.1.0.1", UDP).build());
    rig.run(&frame("11.1.0.1", UDP).build());
    rig.run(&frame("2001:db8::1", UDP).build());
    let row = |name: &str, packets: u64, bytes: u64| (name.to_owned(), packets, bytes);
    let six = row("2001:db8::/32", 1, bytes + 20);
    assert_eq!(rig.hits(), [row("10.0.0.0/8", 2, 2 * bytes), row("10.1.0.0/16", 1, bytes), six]);

    // What stays in the list keeps its counters, whatever is said of it; what is new begins at 0.
    rig.shield.set(list("allow 10.0.0.0/8, deny 11.0.0.0/8, deny 12.0.0.0/8")).unwrap();
    rig.run(&frame("10.1.0.1", UDP).build());
    rig.run(&frame("11.1.0.1", UDP).build());
    assert_eq!(rig.hits(), [row("10.0.0.0/8", 3, 3 * bytes), row("11.0.0.0/8", 1, bytes)]);
    assert_eq!(rig.shield.list().len(), 3);
}

#[test]
fn more_than_there_is_room_for_is_refused() {
    let Some(mut rig) = Rig::load(0, false) else { return };
    let many = |first: u32, count: u32| {
        let said = (first..first + count).map(|number| ShieldSaid {
            address: IpAddr::V4(number.into()),
            bits: 32,
            allow: false,
            until: None,
        });
        ShieldList::new(said).unwrap()
    };
    assert_eq!(Shield::capacity(0), 1_024);
    assert!(matches!(rig.shield.set(many(0x0a00_0000, 1_025)), Err(ShieldError::Full(1_025, 1_024))));
    rig.shield.set(many(0x0a00_0000, 600)).unwrap();
    // Both lists are in the map while one becomes the other.
    assert!(matches!(rig.shield.set(many(0x0b00_0000, 600)), Err(ShieldError::Full(1_200, 1_024))));
    rig.shield.set(many(0x0a00_0100, 600)).unwrap();
    rig.check("10.0.0.5", true);
    rig.check("10.0.1.5", false);
    rig.check("10.0.3.200", true);
}

#[test]
fn services_get_what_the_shield_lets_through() {
    let Some(mut rig) = Rig::load(10, true) else { return };
    rig.shield.set(list("deny 10.0.0.0/8, deny 2001:db8::/32")).unwrap();
    for packet in packets("10.0.0.1").iter().chain(&packets("2001:db8::1")) {
        assert_eq!(rig.run(packet), "shield_denied");
    }
    assert_eq!(rig.run(&frame("11.0.0.1", TCP).build()), "no_service");
    assert_eq!(rig.run(&frame("2001:db9::1", TCP).build()), "no_service");
    let broadcast = packets("11.0.0.1").pop().unwrap();
    assert_eq!(rig.run(&broadcast), "not_unicast");
}

/// SplitMix64: the same numbers in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// An address of a few thousand networks, so that many prefixes are in each other.
    fn address(&mut self) -> IpAddr {
        if self.below(2) == 0 {
            let network = u32::try_from(self.below(16) << 28 | self.below(1 << 12) << 12).unwrap();
            IpAddr::V4(Ipv4Addr::from_bits(network | u32::try_from(self.below(4)).unwrap()))
        } else {
            let high = 0x2001_0db8_u128 << 96 | u128::from(self.below(1 << 12)) << 80;
            IpAddr::V6(Ipv6Addr::from_bits(
                high | u128::from(self.below(4)) << 60 | u128::from(self.below(4)),
            ))
        }
    }

    fn list(&mut self, length: usize) -> ShieldList {
        let said = (0..length).map(|_| {
            let address = self.address();
            let longest = if address.is_ipv4() { 32 } else { 128 };
            let bits = u8::try_from(longest / 4 + self.below(longest * 3 / 4 + 1)).unwrap();
            let until = [None, Some(PAST), Some(FUTURE)][usize::try_from(self.below(3)).unwrap()];
            ShieldSaid { address, bits, allow: self.below(2) == 0, until }
        });
        ShieldList::new(said.collect::<Vec<_>>()).unwrap()
    }
}

#[test]
fn the_kernel_decides_as_the_list_does() {
    let Some(mut rig) = Rig::load(3_000, false) else { return };
    let mut numbers = Numbers(5);
    for _ in 0..4 {
        // Each list takes the place of the one before.
        rig.shield.set(numbers.list(2_000)).unwrap();
        let now = boot_clock();
        for _ in 0..300 {
            let from = numbers.address();
            let allowed = rig.shield.list().find(from, now).is_none_or(|(_, allowed)| allowed);
            let why = rig.run(&frame(&from.to_string(), TCP).build());
            assert_eq!(why == "shield_passed", allowed, "{from}");
        }
    }
}

#[test]
fn random_bytes_get_one_verdict() {
    let Some(rig) = Rig::with("deny 0.0.0.0/1, deny 8000::/1") else { return };
    let mut numbers = Numbers(11);
    for _ in 0..2_000 {
        let length = usize::try_from(14 + numbers.below(120)).unwrap();
        let mut packet: Vec<u8> = (0..length).map(|_| numbers.next().to_le_bytes()[0]).collect();
        let kind =
            [[8, 0], [0x86, 0xdd], [0x81, 0], [0x88, 0xa8]][usize::try_from(numbers.below(4)).unwrap()];
        packet[12..14].copy_from_slice(&kind);
        rig.run(&packet);
    }
}

/// Prints nanoseconds per packet, and how long filling takes:
/// `cargo test -p sockeye-accel --test shield -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn nanoseconds_per_packet() {
    let print = |text: &str| writeln!(std::io::stderr(), "{text}").expect("standard error");
    let time =
        |packet: &Packet, from: &str| packet.run(&frame(from, TCP).build(), 1_000_000).unwrap().nanoseconds;
    // What a packet costs that meets services only, and is for none of them.
    let sizes = PacketSizes { connections: 4_096, nat: 4_096, services: 8, tables: 8, table: TABLE_SIZE_MIN };
    let Ok(packet) = Packet::load(&sizes.into(), None) else { return };
    print(&format!("services, no shield: IPv4 {} ns", time(&packet, "198.51.100.7")));
    for (count, services) in [
        (0, true),
        (100_000, true),
        (0, false),
        (1, false),
        (1_000, false),
        (100_000, false),
        (990_000, false),
    ] {
        let Some(mut rig) = Rig::load(count, services) else { return };
        let mut numbers = Numbers(3);
        let said = (0..count).map(|number| {
            // As in published lists: networks of 17 to 32 bits, some IPv6 ones.
            let address = if number % 8 == 0 {
                IpAddr::V6(Ipv6Addr::from_bits(0x2a00_u128 << 112 | u128::from(numbers.next()) << 40))
            } else {
                IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(numbers.next() >> 32).unwrap()))
            };
            let bits = if number % 8 == 0 { 48 } else { 17 + u8::try_from(numbers.below(16)).unwrap() };
            ShieldSaid { address, bits, allow: false, until: None }
        });
        let list = ShieldList::new(said.collect::<Vec<_>>()).unwrap();
        let (length, now) = (list.len(), boot_clock());
        let begin = Instant::now();
        rig.shield.set(list).unwrap();
        let filled = begin.elapsed();
        let begin = Instant::now();
        rig.shield.hits().unwrap();
        let read = begin.elapsed();
        // Many sources, none of them denied, so that the time is that of the whole way; and the first that is.
        let passes = |from: &IpAddr| rig.shield.list().find(*from, now).is_none();
        let mut sources =
            (0..).map(|_| IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(numbers.next() >> 32).unwrap())));
        let passed: Vec<IpAddr> = sources.by_ref().filter(passes).take(200).collect();
        let mean = passed
            .iter()
            .map(|from| rig.packet.run(&frame(&from.to_string(), TCP).build(), 10_000).unwrap().nanoseconds);
        let mean = mean.sum::<u64>() / 200;
        let denied = if length < 1_000 {
            0
        } else {
            let from = sources.find(|from| !passes(from)).unwrap();
            time(&rig.packet, &from.to_string())
        };
        print(&format!(
            "{}{length} prefixes: passed {mean} ns, denied {denied} ns, IPv6 passed {} ns; filled in {filled:?}, read in {read:?}",
            if services { "services, " } else { "" },
            time(&rig.packet, "2001:db8::7"),
        ));
    }
}
