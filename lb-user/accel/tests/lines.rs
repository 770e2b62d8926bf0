//! What the packet program says (`ebpf.debug on`); without privileges or objects it says why it is skipped.
#![allow(clippy::unwrap_used, reason = "a test that fails shows its line")]

#[allow(dead_code, reason = "shared with the tests of the packet program, which need more of it")]
mod frame;

use std::io::Write;

use frame::{Frame, TCP, UDP};
use lb_common::limits::DEBUG_LINES;
use sockeye_accel::{Packet, PacketLoad, PacketService, PacketSizes, TABLE_SIZE_MIN, endpoint};

fn load(debug: bool) -> Option<Packet> {
    let sizes = PacketSizes { connections: 4_096, nat: 4_096, services: 8, tables: 8, table: TABLE_SIZE_MIN };
    match Packet::load(&PacketLoad { sizes, debug, ..PacketLoad::default() }, None) {
        Ok(packet) => Some(packet),
        Err(error) => {
            writeln!(std::io::stderr(), "skipped: {error}").expect("standard error");
            None
        }
    }
}

/// A packet whose IP header says more than there is.
fn cut(source: &str, destination: &str, protocol: u8) -> Vec<u8> {
    let mut packet = Frame::new(source, destination, protocol).build();
    packet.truncate(packet.len() - 7);
    packet
}

#[test]
fn what_is_wrong_with_a_packet_is_said() {
    let Some(mut packet) = load(true) else { return };
    let mut lines = packet.take_lines().unwrap();
    let mut said = |bytes: &[u8]| {
        packet.run(bytes, 1).unwrap();
        lines.read()
    };
    // Test runs come from the loopback interface.
    assert_eq!(
        said(&cut("192.0.2.7", "198.51.100.1", TCP)),
        ["malformed on interface 1: TCP from 192.0.2.7:40000 to 198.51.100.1:80"]
    );
    assert_eq!(
        said(&cut("2001:db8::7", "2001:db8::1", UDP)),
        ["malformed on interface 1: UDP from [2001:db8::7]:40000 to [2001:db8::1]:80"]
    );
    let mut tagged = Frame { vlans: 1, ..Frame::new("192.0.2.7", "198.51.100.1", 132) }.build();
    // No IPv4.
    tagged[18] = 0x65;
    assert_eq!(said(&tagged), ["malformed on interface 1: protocol 132 from 192.0.2.7 to 198.51.100.1"]);
    let mut short = cut("192.0.2.7", "198.51.100.1", TCP);
    short.truncate(20);
    assert_eq!(said(&short), ["malformed on interface 1"]);
    // What is not ours is nothing to speak of.
    assert_eq!(said(&Frame::new("192.0.2.7", "198.51.100.1", TCP).build()), [""; 0]);

    let key = endpoint("198.51.100.1".parse().unwrap(), 80, TCP);
    let service = PacketService { forwarding: 0, flags: 0, idle: 0 };
    packet.set_service(&key, service).unwrap();
    packet.run(&Frame::new("192.0.2.7", "198.51.100.1", TCP).build(), 1).unwrap();
    assert_eq!(lines.read(), ["no_server on interface 1: TCP from 192.0.2.7:40000 to 198.51.100.1:80"]);
}

#[test]
fn a_flood_of_packets_is_no_flood_of_lines() {
    let Some(mut packet) = load(true) else { return };
    let mut lines = packet.take_lines().unwrap();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // At most two of the program's seconds go by.
    packet.run(&cut("192.0.2.7", "198.51.100.1", TCP), 2_000).unwrap();
    let said = lines.read().len();
    let most = usize::try_from(DEBUG_LINES).unwrap() * cpus * 2;
    assert!(said >= usize::try_from(DEBUG_LINES).unwrap() && said <= most, "{said}");
}

#[test]
fn nothing_is_said_unless_asked_for() {
    let Some(mut packet) = load(false) else { return };
    assert!(packet.take_lines().is_none());
}

/// Prints what the lines cost: `cargo test -p sockeye-accel --test lines -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost() {
    for debug in [false, true] {
        let Some(packet) = load(debug) else { return };
        let passed = Frame::new("192.0.2.7", "198.51.100.1", TCP).build();
        let malformed = cut("192.0.2.7", "198.51.100.1", TCP);
        let [passed, malformed] =
            [passed, malformed].map(|bytes| packet.run(&bytes, 1_000_000).unwrap().nanoseconds);
        let verified = packet.verified_instructions().unwrap();
        writeln!(
            std::io::stderr(),
            "debug {debug}: verified {verified:?}; passed {passed} ns, malformed {malformed} ns"
        )
        .expect("standard error");
    }
}
