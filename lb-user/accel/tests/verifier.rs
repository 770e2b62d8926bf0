//! Every program through the verifier of this kernel; how much each has left of the million instructions it may cost.
#![allow(clippy::unwrap_used, reason = "a test that fails shows its line")]

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use aya::programs::loaded_programs;
use sockeye_accel::{
    Accel, Packet, PacketLoad, PacketSizes, SpliceWanted, SteerError, SteerGroup, SteerMode, SteerOwned,
    SteerPlan, Steering, TABLE_SIZE_MIN, Wanted,
};

/// The verifier gives up at a million; a program that comes near would not survive the next kernel.
const INSTRUCTIONS_MAX: u32 = 500_000;

#[test]
fn every_program_is_far_from_the_limit() {
    let before: BTreeSet<u32> = loaded_programs().map_while(Result::ok).map(|program| program.id()).collect();
    let accel = Accel::start(Wanted { accel: true, sockmap: true, splice: SpliceWanted::NotAsked });
    let sizes = PacketSizes { connections: 64, nat: 64, services: 1, tables: 1, table: TABLE_SIZE_MIN };
    let packet = Packet::load(&sizes.into(), None);
    // Everything that can be switched on, and the least that can be.
    let all = PacketLoad { sizes, services: true, shield: 1_024, debug: true };
    let variants =
        [all, PacketLoad { services: false, debug: false, ..all }].map(|load| Packet::load(&load, None));
    let steering = steer();
    let mut out = std::io::stderr();
    if let Err(error) = &steering {
        writeln!(out, "skipped: steering: {error}").unwrap();
    }
    if accel.sockmap().is_none() {
        writeln!(out, "skipped: {accel}").unwrap();
    }
    for error in variants.iter().chain([&packet]).filter_map(|packet| packet.as_ref().err()) {
        writeln!(out, "skipped: packet: {error}").unwrap();
    }
    for program in loaded_programs().map_while(Result::ok) {
        // Tests beside this one load programs too; theirs are the same.
        if before.contains(&program.id()) {
            continue;
        }
        let name = program.name_as_str().unwrap_or("?").to_owned();
        let kind = format!("{:?}", program.program_type()).to_lowercase();
        let kind = kind.trim_start_matches("bpf_prog_type_");
        match program.verified_instruction_count() {
            Some(count) => {
                writeln!(out, "verified: {name} ({kind}) {count}").unwrap();
                assert!(count < INSTRUCTIONS_MAX, "{name}: {count}");
            }
            None => writeln!(out, "verified: {name} ({kind}) unknown").unwrap(),
        }
    }
}

/// Both steering programs, for one socket and a port that nobody asks for.
fn steer() -> Result<Steering, SteerError> {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
    let listener: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseport(&listener, true).unwrap();
    bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    listen(&listener, 1).unwrap();
    let owns = SteerOwned {
        address: Ipv4Addr::new(127, 255, 255, 254).into(),
        bits: 32,
        ports: 1..=1,
        ipv4_too: false,
    };
    let group = SteerGroup { sockets: vec![(listener.as_fd(), &[0])], owns: Some(owns) };
    Steering::start(&SteerPlan {
        mode: Some(SteerMode::Least),
        workers: 1,
        groups: vec![group],
        exact: Vec::new(),
    })
}
