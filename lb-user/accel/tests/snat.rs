//! NAT's ways back: source ports, flows that are idle or over, services of all ports, several services to one server.
//! Answers need routes, so each test runs in a network namespace of its own; without privileges it says why not.
#![allow(clippy::unwrap_used, reason = "a test that fails shows its line")]

mod frame;

use std::collections::HashMap;
use std::net::IpAddr;

use frame::rig::{
    CLIENT, DROP, HOOKS, Hook, PASS, REDIRECT, ROUTER, Rig, SERVER, SERVICE, TUNNEL, TX, each, in_namespace,
    request,
};
use frame::{ACK, FIN, Frame, RST, SYN, Seen, TCP, UDP, check, icmp, network};
use lb_common::packet::{FlowKey, SOURCE_HASH, STATELESS, forwarding};
use sockeye_accel::{PacketBackward, PacketError, PacketService, PacketSource, TABLE_SIZE_MIN, endpoint};

in_namespace! {
    sources_are_translated_both_ways,
    ports_are_unique_and_end,
    ports_of_flows_that_are_over_are_used_again,
    a_lost_half_is_made_again,
    idle_flows_are_forgotten,
    all_ports_of_an_address,
    many_services_share_a_server,
    dead_servers_keep_or_drop_their_flows,
    one_server_for_a_client,
    errors_and_fragments_of_translated_flows,
    no_answer_ever_reaches_a_wrong_client,
}

impl Rig {
    /// Gives a server another source, with these ports.
    fn translated(&mut self, index: usize, low: u16, high: u16) {
        let family = index % 2;
        let source = PacketSource::Translated { address: TUNNEL[family].parse().unwrap(), low, high };
        self.server_from(index, SERVER[family], 8080, source, 1, false);
    }

    /// What the server gets of a client's packet.
    fn to_server(&self, frame: &Frame) -> Seen {
        let (run, why) = self.run(&frame.build());
        assert_eq!((run.action, why), (TX, "sent"), "{frame:?}");
        check(&run.packet)
    }

    /// The server's answer to what it got.
    fn answer(&self, seen: &Seen, flags: u8) -> Result<Seen, &'static str> {
        let mut frame = Frame::new(&seen.destination.to_string(), &seen.source.to_string(), seen.protocol);
        frame.ports = [seen.ports[1], seen.ports[0]];
        frame.tcp_flags = flags;
        let bytes = frame.build();
        let (run, why) = self.run(&bytes);
        if why != "redirected_back" {
            assert_eq!(run.packet, bytes);
            return Err(why);
        }
        assert_eq!(run.action, REDIRECT);
        Ok(check(&run.packet))
    }

    /// Lets time pass, as the maps of flows see it.
    fn age(&mut self, ticks: u32) {
        let mut flows = self.packet.flows().unwrap();
        let all: Vec<_> = flows.iter().map(Result::unwrap).collect();
        for (key, mut flow) in all {
            flow.last_seen = flow.last_seen.wrapping_sub(ticks);
            flows.insert(key, flow, 0).unwrap();
        }
        let mut ways = self.packet.ways_back().unwrap();
        let all: Vec<_> = ways.iter().map(Result::unwrap).collect();
        for (key, mut way) in all {
            way.last_seen = way.last_seen.wrapping_sub(ticks);
            ways.insert(key, way, 0).unwrap();
        }
    }

    fn service(&mut self, family: usize, port: u16, protocol: u8, service: PacketService, table: &[u32]) {
        let key = endpoint(SERVICE[family].parse().unwrap(), port, protocol);
        self.packet.set_service(&key, service).unwrap();
        self.packet.set_table(&key, Some(table)).unwrap();
    }
}

const NAT: PacketService = PacketService { forwarding: forwarding::NAT, flags: 0, idle: 0 };

fn from(port: u16, frame: Frame) -> Frame {
    Frame { ports: [port, frame.ports[1]], ..frame }
}

fn flags(flags: u8, frame: Frame) -> Frame {
    Frame { tcp_flags: flags, ..frame }
}

/// What a client must see of an answer to this packet.
fn answers(frame: &Frame, seen: &Seen) {
    assert_eq!((seen.source, seen.destination), (frame.destination, frame.source));
    assert_eq!(seen.ports, [frame.ports[1], frame.ports[0]]);
}

fn sources_are_translated_both_ways(hook: Hook) {
    let Some(mut rig) = Rig::with(hook, forwarding::NAT, 0) else { return };
    for family in 0..2 {
        rig.translated(family, 2_000, 50_000);
    }
    each(|family, protocol| {
        // The client's own port if it is one of the range, else another one.
        for port in [40_000, 2_000, 50_000, 1_999, 50_001, 1, 65_535] {
            let frame = from(port, request(family, protocol));
            let seen = rig.to_server(&frame);
            assert_eq!(seen.source.to_string(), TUNNEL[family]);
            assert_eq!(seen.destination.to_string(), SERVER[family]);
            assert_eq!((seen.ports[1], seen.ttl), (8080, 63));
            if (2_000..=50_000).contains(&port) {
                assert_eq!(seen.ports[0], port);
            }
            assert!((2_000..=50_000).contains(&seen.ports[0]), "{seen:?}");
            answers(&frame, &rig.answer(&seen, ACK).unwrap());
            // Whatever follows looks the same to the server.
            assert_eq!(rig.to_server(&frame).ports, seen.ports);
            if protocol == TCP {
                assert_eq!(rig.to_server(&flags(SYN, frame.clone())).ports, seen.ports);
            }
            // Another port of ours has no flow, and may be our own connection to the server.
            let other = Seen { ports: [seen.ports[0] ^ 1, seen.ports[1]], ..seen };
            assert_eq!(rig.answer(&other, ACK), Err("no_flow"));
        }
    });
}

fn ports_are_unique_and_end(hook: Hook) {
    let Some(mut rig) = Rig::with(hook, forwarding::NAT, 0) else { return };
    for family in 0..2 {
        rig.translated(family, 3_000, 3_002);
    }
    each(|family, protocol| {
        let client = |number: usize| {
            let frame = from(3_001, request(family, protocol));
            let address = CLIENT[family].replace('7', &(10 + number).to_string());
            flags(SYN, Frame { source: address.parse().unwrap(), ..frame })
        };
        // With so few ports not every one need be tried; whoever has one keeps it.
        let mut flows = HashMap::new();
        for number in 0..40 {
            let frame = client(number);
            let (run, why) = rig.run(&frame.build());
            if why == "no_port" {
                assert_eq!((run.action, run.packet), (DROP, frame.build()));
                continue;
            }
            let seen = check(&run.packet);
            assert!(flows.insert(seen.ports[0], (frame, seen)).is_none(), "a port for two");
        }
        assert_eq!(flows.len(), 3, "{flows:?}");
        assert!(flows.contains_key(&3_001));
        for (frame, seen) in flows.values() {
            answers(frame, &rig.answer(seen, ACK).unwrap());
            assert_eq!(rig.to_server(frame).ports, seen.ports);
        }
    });
}

fn ports_of_flows_that_are_over_are_used_again(hook: Hook) {
    let Some(mut rig) = Rig::with(hook, forwarding::NAT, 0) else { return };
    rig.translated(0, 3_000, 3_000);
    let first = from(3_000, request(0, TCP));
    let second = flags(SYN, Frame { source: "198.51.100.9".parse().unwrap(), ..first.clone() });
    let refused = |rig: &Rig| assert_eq!(rig.run(&second.build()).1, "no_port");
    // How the first flow ends, and how long its port is not free after that.
    let close = |rig: &Rig, seen: &Seen, how: [u8; 2]| {
        if how[0] != 0 {
            rig.to_server(&flags(how[0], first.clone()));
        }
        if how[1] != 0 {
            rig.answer(seen, how[1]).unwrap();
        }
    };
    for (how, ticks) in [
        ([FIN | ACK, FIN | ACK], 4),
        ([RST, 0], 4),
        ([0, RST | ACK], 4),
        ([FIN | ACK, 0], 7_440),
        ([ACK, FIN | ACK], 7_440),
        ([0, FIN | ACK], 8),
        ([ACK, ACK], 7_440),
        ([0, 0], 8),
    ] {
        let seen = rig.to_server(&flags(SYN, first.clone()));
        close(&rig, &seen, how);
        refused(&rig);
        rig.age(ticks - 2);
        refused(&rig);
        rig.age(3);
        let taken = rig.to_server(&second);
        assert_eq!(taken.ports[0], 3_000, "{how:?} {ticks}");
        answers(&second, &rig.answer(&taken, ACK).unwrap());
        // The first one cannot come back while the port is the other's.
        assert_eq!(rig.run(&flags(ACK, first.clone()).build()).1, "no_port");
        rig.to_server(&flags(RST, second.clone()));
        rig.age(5);
    }
    // No idle time, however long, keeps a port for a client that never answered.
    rig.service(0, 80, TCP, PacketService { idle: 36_000, ..NAT }, &vec![0; TABLE_SIZE_MIN as usize]);
    rig.to_server(&flags(SYN, first.clone()));
    rig.age(6);
    refused(&rig);
    rig.age(3);
    rig.to_server(&second);
    rig.to_server(&flags(ACK, second.clone()));
    rig.age(3_600);
    assert_eq!(rig.run(&flags(SYN, first.clone()).build()).1, "no_port");
    rig.to_server(&flags(RST, second.clone()));
    rig.age(5);
    // A server that is no longer there holds no ports.
    rig.to_server(&flags(SYN, first.clone()));
    refused(&rig);
    let source = PacketSource::Translated { address: TUNNEL[0].parse().unwrap(), low: 3_000, high: 3_000 };
    rig.server_from(0, SERVER[0], 8080, source, 2, false);
    rig.age(5);
    rig.to_server(&second);
}

fn a_lost_half_is_made_again(hook: Hook) {
    for translated in [true, false] {
        let Some(mut rig) = Rig::with(hook, forwarding::NAT, 0) else { return };
        rig.server(2, "10.0.0.6", 1, false);
        if translated {
            rig.translated(0, 1_024, 65_535);
        }
        let frame = request(0, TCP);
        let seen = rig.to_server(&flags(SYN, frame.clone()));
        rig.to_server(&frame);
        let key = *rig.packet.ways_back().unwrap().keys().next().unwrap().as_ref().unwrap();
        let flow = *rig.packet.flows().unwrap().keys().next().unwrap().as_ref().unwrap();
        // The way back: made by the client's next packet, at the latest after a tick.
        rig.packet.ways_back().unwrap().remove(&key).unwrap();
        assert_eq!(rig.answer(&seen, ACK), Err("no_flow"));
        rig.age(4);
        assert_eq!(rig.to_server(&frame).ports, seen.ports);
        answers(&frame, &rig.answer(&seen, ACK).unwrap());
        // The connection: made by the server's next packet, so that the flow stays where it is.
        rig.packet.flows().unwrap().remove(&flow).unwrap();
        rig.age(4);
        answers(&frame, &rig.answer(&seen, ACK).unwrap());
        rig.table(0, TCP, 2);
        assert_eq!(rig.to_server(&frame).destination.to_string(), SERVER[0]);
        // A way back that its flow has left leads nowhere.
        let moved = rig.to_server(&flags(SYN, frame.clone()));
        assert_eq!(moved.destination.to_string(), "10.0.0.6");
        assert_eq!(rig.answer(&seen, ACK), Err("no_flow"));
        answers(&frame, &rig.answer(&moved, ACK).unwrap());
    }
}

fn idle_flows_are_forgotten(hook: Hook) {
    for mode in [forwarding::NAT, forwarding::DSR] {
        let Some(mut rig) = Rig::with(hook, mode, 0) else { return };
        rig.server(2, "10.0.0.6", 1, false);
        for protocol in [TCP, UDP] {
            let service = PacketService { forwarding: mode, flags: 0, idle: 30 };
            // 28 ticks are 30 seconds.
            rig.service(0, 80, protocol, service, &vec![0; TABLE_SIZE_MIN as usize]);
            let frame = request(0, protocol);
            let seen = rig.to_server(&frame);
            rig.table(0, protocol, 2);
            // The destination is NAT's; for the rest the flow count tells.
            let stays = |rig: &Rig| {
                let before = rig.packet.statistics(2).unwrap().flows;
                rig.to_server(&frame);
                rig.packet.statistics(2).unwrap().flows == before
            };
            rig.age(28);
            assert!(stays(&rig));
            rig.age(28);
            assert!(stays(&rig));
            if mode == forwarding::NAT {
                // The server's packets count as much as the client's.
                rig.age(20);
                answers(&frame, &rig.answer(&seen, ACK).unwrap());
                rig.age(20);
                assert!(stays(&rig));
                rig.age(29);
                assert_eq!(rig.answer(&seen, ACK), Err("no_flow"));
            } else {
                rig.age(29);
            }
            assert!(!stays(&rig));
        }
    }
}

fn all_ports_of_an_address(hook: Hook) {
    for flag in [0, STATELESS] {
        let Some(mut rig) = Rig::with(hook, forwarding::NAT, flag) else { return };
        let all = |family: usize, protocol| endpoint(SERVICE[family].parse().unwrap(), 0, protocol);
        each(|family, protocol| {
            let index = 2 + u32::try_from(family).unwrap();
            let server = ["10.0.0.6", "fd00::6"][family];
            rig.server_at(index as usize, server, 0, 1, false);
            let other = Frame { ports: [40_000, 7_777], ..request(family, protocol) };
            rig.untouched(&other.build(), PASS, "no_service");
            rig.service(family, 0, protocol, PacketService { flags: flag, ..NAT }, &[index; 1_000]);
            let from = endpoint(server.parse().unwrap(), 0, protocol);
            let service =
                PacketBackward { service: all(family, protocol), server: index, stateless: flag != 0 };
            rig.packet.set_backward(&from, &[service]).unwrap();
            for port in [1, 79, 81, 7_777, 65_535] {
                let frame = Frame { ports: [40_000, port], ..request(family, protocol) };
                let seen = rig.to_server(&frame);
                assert_eq!((seen.destination.to_string().as_str(), seen.ports), (server, frame.ports));
                answers(&frame, &rig.answer(&seen, ACK).unwrap());
            }
            // What has a service of its own goes there.
            let exact = rig.to_server(&request(family, protocol));
            assert_eq!((exact.destination.to_string().as_str(), exact.ports[1]), (SERVER[family], 8080));
            rig.packet.set_backward(&from, &[]).unwrap();
            rig.packet.remove_service(&all(family, protocol)).unwrap();
            rig.untouched(&other.build(), PASS, "no_service");
        });
    }
    // All ports to a single one: who asked for which is remembered.
    let Some(mut rig) = Rig::with(hook, forwarding::NAT, 0) else { return };
    rig.service(0, 0, UDP, NAT, &[0; 7]);
    let frames = [81, 82].map(|port| Frame { ports: [40_000, port], ..request(0, UDP) });
    let seen = frames.each_ref().map(|frame| rig.to_server(frame));
    assert_eq!(seen.each_ref().map(|seen| seen.ports[1]), [8080; 2]);
    for (frame, seen) in frames.iter().zip(&seen) {
        answers(frame, &rig.answer(seen, ACK).unwrap());
    }
}

/// A client that calls eight services from one port: they share a server, which must tell the flows apart.
fn many_services_share_a_server(hook: Hook) {
    for protocol in [TCP, UDP] {
        let Some(mut rig) = Rig::load(hook) else { return };
        rig.server(0, SERVER[0], 1, false);
        let mut flows = Vec::new();
        for port in 1..=8 {
            rig.service(0, port, protocol, NAT, &[0; 100]);
            let frame = flags(SYN, Frame { ports: [40_000, port], ..request(0, protocol) });
            let seen = rig.to_server(&frame);
            assert_eq!(seen.source.to_string(), CLIENT[0]);
            flows.push((frame, seen));
        }
        // The first has the client's port, the others have one each.
        let mut ports: Vec<_> = flows.iter().map(|(_, seen)| seen.ports[0]).collect();
        assert_eq!(ports[0], 40_000);
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 8);
        for (frame, seen) in &flows {
            answers(frame, &rig.answer(seen, ACK).unwrap());
            assert_eq!(rig.to_server(&flags(ACK, frame.clone())).ports, seen.ports);
        }
    }
}

fn dead_servers_keep_or_drop_their_flows(hook: Hook) {
    for protocol in [TCP, UDP] {
        let Some(mut rig) = Rig::with(hook, forwarding::NAT, 0) else { return };
        rig.server(2, "10.0.0.6", 1, false);
        let frame = request(0, protocol);
        let seen = rig.to_server(&frame);
        // Out of the table and not to be dropped: its flows stay.
        rig.table(0, protocol, 2);
        assert_eq!(rig.to_server(&frame).ports, seen.ports);
        answers(&frame, &rig.answer(&seen, ACK).unwrap());
        // To be dropped: TCP flows end in both directions, datagrams and new flows go elsewhere.
        rig.server(0, SERVER[0], 1, true);
        if protocol == TCP {
            rig.untouched(&frame.build(), DROP, "server_down");
            assert_eq!(rig.answer(&seen, ACK), Err("server_down"));
        }
        let moved = rig.to_server(&flags(SYN, frame.clone()));
        assert_eq!(moved.destination.to_string(), "10.0.0.6");
        answers(&frame, &rig.answer(&moved, ACK).unwrap());
        // Its index is free, then another's: what it had is nobody's.
        for (address, generation, port) in [(None, 0, 50_000), (Some("10.0.0.9"), 3, 50_001)] {
            rig.table(0, protocol, 0);
            rig.server(0, SERVER[0], generation + 1, false);
            let seen = rig.to_server(&from(port, flags(SYN, frame.clone())));
            assert_eq!(seen.destination.to_string(), SERVER[0]);
            rig.table(0, protocol, 2);
            match address {
                None => rig.packet.set_server(0, None).unwrap(),
                Some(address) => rig.server(0, address, generation + 2, false),
            }
            assert_eq!(rig.answer(&seen, ACK), Err("no_flow"));
            let moved = rig.to_server(&from(port, frame.clone()));
            assert_eq!(moved.destination.to_string(), "10.0.0.6");
            assert_eq!(rig.answer(&seen, ACK), Err("no_flow"));
            answers(&from(port, frame.clone()), &rig.answer(&moved, ACK).unwrap());
        }
    }
}

fn one_server_for_a_client(hook: Hook) {
    for flag in [SOURCE_HASH, SOURCE_HASH | STATELESS] {
        let Some(mut rig) = Rig::load(hook) else { return };
        for index in 0..4 {
            rig.server(index, &format!("10.0.0.{}", 5 + index), 1, false);
        }
        let table: Vec<u32> = (0..65_537).map(|entry| entry % 4).collect();
        for (port, protocol) in [(80, TCP), (80, UDP), (443, TCP)] {
            rig.service(0, port, protocol, PacketService { flags: flag, ..NAT }, &table);
        }
        let mut used = HashMap::new();
        for number in 0..50_u8 {
            let client = IpAddr::from([198, 51, 100, number]);
            let mut servers = Vec::new();
            for (port, protocol) in [(80, TCP), (80, UDP), (443, TCP)] {
                for from in [1_000, 2_000, 3_000] {
                    let frame = Frame { source: client, ports: [from, port], ..request(0, protocol) };
                    servers.push(rig.to_server(&frame).destination);
                }
            }
            // Fragments, and errors about answers.
            let mut first = Frame { source: client, fragment: Some((0, true)), ..request(0, UDP) };
            first.raw = Some(first.network()[20..].to_vec());
            first.raw.as_mut().unwrap().resize(16, 0);
            let last = Frame { fragment: Some((2, false)), raw: Some(vec![7; 9]), ..first.clone() };
            for frame in [first, last] {
                let (run, why) = rig.run(&frame.build());
                assert_eq!((run.action, why), (TX, "sent"));
                servers.push(network(&run.packet[14..], false).destination);
            }
            let mut about = Frame::new(SERVICE[0], &client.to_string(), TCP);
            about.ports = [443, 2_000];
            let error = icmp(ROUTER[0], SERVICE[0], [3, 4], &about.network()[..28]);
            servers.push(check(&rig.run(&error.build()).0.packet).destination);
            servers.dedup();
            assert_eq!(servers.len(), 1, "{client}: {servers:?}");
            *used.entry(servers[0]).or_insert(0) += 1;
        }
        assert!(used.len() == 4 && used.values().all(|count| *count > 3), "{used:?}");
    }
}

fn errors_and_fragments_of_translated_flows(hook: Hook) {
    let Some(mut rig) = Rig::with(hook, forwarding::NAT, 0) else { return };
    for family in 0..2 {
        rig.translated(family, 2_000, 2_999);
    }
    each(|family, protocol| {
        let frame = request(family, protocol);
        let seen = rig.to_server(&frame);
        let port = seen.ports[0];
        // About an answer, from a router on the client's side: to the server it comes from the translated source.
        let inside = |source: &str, destination: &str, ports| {
            let mut about = Frame::new(source, destination, protocol);
            about.ports = ports;
            about.network()[..[28, 48][family]].to_vec()
        };
        let about = inside(SERVICE[family], CLIENT[family], [80, 40_000]);
        let (run, why) =
            rig.run(&icmp(ROUTER[family], SERVICE[family], [[3, 4], [2, 0]][family], &about).build());
        assert_eq!((run.action, why), (TX, "icmp_error"));
        let outer = check(&run.packet);
        assert_eq!(
            [outer.source, outer.destination].map(|ip| ip.to_string()),
            [TUNNEL[family], SERVER[family]]
        );
        let inner = network(&outer.rest[8..], false);
        assert_eq!(
            [inner.source, inner.destination].map(|ip| ip.to_string()),
            [SERVER[family], TUNNEL[family]]
        );
        assert_eq!(inner.ports, [8080, port]);
        // About a request, from the server or a router before it: the client sees its own packet inside.
        let about = inside(TUNNEL[family], SERVER[family], [port, 8080]);
        for (from, seen_from) in [(SERVER[family], SERVICE[family]), (ROUTER[family], ROUTER[family])] {
            let (run, why) = rig.run(&icmp(from, TUNNEL[family], [[3, 3], [1, 4]][family], &about).build());
            assert_eq!(why, "icmp_error");
            let outer = check(&run.packet);
            assert_eq!(
                [outer.source, outer.destination].map(|ip| ip.to_string()),
                [seen_from, CLIENT[family]]
            );
            let inner = network(&outer.rest[8..], false);
            assert_eq!(
                [inner.source, inner.destination].map(|ip| ip.to_string()),
                [CLIENT[family], SERVICE[family]]
            );
            assert_eq!(inner.ports, [40_000, 80]);
        }
        // A port without a flow.
        let about = inside(TUNNEL[family], SERVER[family], [port ^ 1, 8080]);
        let lost = icmp(SERVER[family], TUNNEL[family], [[3, 3], [1, 4]][family], &about);
        rig.untouched(&lost.build(), PASS, "no_flow");

        if protocol == TCP {
            return;
        }
        // Fragments, both ways: put together again the datagrams are right.
        for back in [false, true] {
            let mut whole = Frame { payload: vec![7; 64], ..frame.clone() };
            if back {
                whole = Frame { payload: vec![7; 64], ..Frame::new(SERVER[family], TUNNEL[family], UDP) };
                whole.ports = [8080, port];
            }
            let bytes = whole.network()[[20, 40][family]..].to_vec();
            let mut joined = Vec::new();
            for (at, more) in [(0, true), (32, false)] {
                let part = if more { bytes[at..at + 32].to_vec() } else { bytes[at..].to_vec() };
                let fragment = Some((u16::try_from(at / 8).unwrap(), more));
                let (run, _) = rig.run(&Frame { fragment, raw: Some(part), ..whole.clone() }.build());
                let seen = network(&run.packet[14..], false);
                let ends = [seen.source, seen.destination].map(|ip| ip.to_string());
                let expected =
                    if back { [SERVICE[family], CLIENT[family]] } else { [TUNNEL[family], SERVER[family]] };
                assert_eq!(ends, expected);
                joined.extend(seen.rest);
            }
            let (source, destination) =
                if back { (SERVICE[family], CLIENT[family]) } else { (TUNNEL[family], SERVER[family]) };
            let mut datagram = Frame::new(source, destination, UDP);
            datagram.raw = Some(joined);
            let ports = if back { [80, 40_000] } else { [port, 8080] };
            assert_eq!(check(&datagram.build()).ports, ports);
        }
    });
}

/// Clients, services and servers that share too few ports, while entries are lost and time passes: what a server says
/// reaches the client that it last heard on that port, or nobody.
fn no_answer_ever_reaches_a_wrong_client(hook: Hook) {
    let Some(mut rig) = Rig::with(hook, forwarding::NAT, 0) else { return };
    rig.translated(0, 3_000, 3_007);
    rig.server(2, "10.0.0.6", 1, false);
    for protocol in [TCP, UDP] {
        for port in 1..=4 {
            rig.service(0, port, protocol, PacketService { idle: 20, ..NAT }, &[0, 2, 0]);
        }
    }
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from((state >> 16) % below).unwrap()
    };
    // Who was heard last at a server's end, and what the server got.
    let mut heard: HashMap<(IpAddr, IpAddr, u16, u8), (Frame, Seen)> = HashMap::new();
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..3_000 {
        match random(20) {
            0 => rig.age(u32::try_from(random(30)).unwrap()),
            1 => drop_one(&mut rig, random(1_000)),
            2..=11 => {
                let protocol = [TCP, UDP][random(2)];
                let mut frame = request(0, protocol);
                frame.source = IpAddr::from([198, 51, 100, u8::try_from(random(6)).unwrap()]);
                frame.ports =
                    [u16::try_from(3_000 + random(3)).unwrap(), u16::try_from(1 + random(4)).unwrap()];
                frame.tcp_flags = [SYN, ACK, ACK, FIN | ACK, RST][random(5)];
                let (run, why) = rig.run(&frame.build());
                assert!(matches!(why, "sent" | "no_port"), "{why}");
                if why == "sent" {
                    let seen = check(&run.packet);
                    let end = (seen.destination, seen.source, seen.ports[0], protocol);
                    heard.insert(end, (frame, seen));
                }
            }
            _ => {
                let Some((frame, seen)) = heard.values().nth(random(heard.len().max(1) as u64)) else {
                    continue;
                };
                match rig.answer(seen, [ACK, FIN | ACK, RST][random(3)]) {
                    Ok(back) => {
                        answers(frame, &back);
                        answered += 1;
                    }
                    Err(why) => {
                        assert!(matches!(why, "no_flow" | "no_service"), "{why}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(answered > 250 && refused > 50, "{answered} {refused}");
}

/// Removes one half of some flow.
fn drop_one(rig: &mut Rig, number: usize) {
    let pick = |keys: Vec<FlowKey>| (!keys.is_empty()).then(|| keys[number % keys.len()]);
    if number.is_multiple_of(2) {
        let mut flows = rig.packet.flows().unwrap();
        if let Some(key) = pick(flows.keys().map(Result::unwrap).collect()) {
            flows.remove(&key).unwrap();
        }
    } else {
        let mut ways = rig.packet.ways_back().unwrap();
        if let Some(key) = pick(ways.keys().map(Result::unwrap).collect()) {
            ways.remove(&key).unwrap();
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let Some(mut rig) = Rig::load(Hook::Xdp) else { return };
    let service = |port| endpoint(SERVICE[0].parse().unwrap(), port, TCP);
    let server = |port| endpoint(SERVER[0].parse().unwrap(), port, TCP);
    let backward = |port, stateless| PacketBackward { service: service(port), server: 0, stateless };
    let text = |result: Result<(), PacketError>| result.unwrap_err().to_string();
    let stateless = PacketService { flags: STATELESS, ..NAT };

    // Stateless services cannot tell whose answers come from a shared place.
    rig.packet.set_backward(&server(80), &[backward(1, false), backward(2, false)]).unwrap();
    rig.packet.set_backward(&server(80), &[backward(1, true), backward(1, true)]).unwrap();
    for others in [[backward(1, true), backward(2, true)], [backward(1, false), backward(2, true)]] {
        let said = text(rig.packet.set_backward(&server(80), &others));
        assert!(said.contains("192.0.2.1:1") && said.contains("both send to 10.0.0.5:80"), "{said}");
    }
    let said = text(rig.packet.set_backward(&server(80), &[backward(0, true)]));
    assert!(said.contains("192.0.2.1:0 are sent to 10.0.0.5:80"), "{said}");
    rig.packet.set_backward(&server(0), &[backward(0, true)]).unwrap();

    // A stateless service and a translated source, in whichever order they come.
    rig.packet.set_service(&service(1), stateless).unwrap();
    rig.translated(0, 2_000, 3_000);
    let said = text(rig.packet.set_table(&service(1), Some(&[0; 5])));
    assert!(said.starts_with("source 10.0.0.1: a stateless service"), "{said}");
    assert_eq!(text(rig.packet.set_backward(&server(80), &[backward(1, true)])), said);
    rig.packet.set_service(&service(1), NAT).unwrap();
    rig.packet.set_table(&service(1), Some(&[0; 5])).unwrap();
    assert_eq!(text(rig.packet.set_service(&service(1), stateless)), said);

    // A source that answers would not come back to.
    let mut source = |address: &str, low, high| {
        let source = PacketSource::Translated { address: address.parse().unwrap(), low, high };
        rig.try_server(0, SERVER[0], 80, source, 1, false)
    };
    assert!(text(source(SERVICE[0], 1, 9)).contains("source 192.0.2.1:1-9"));
    source(SERVICE[0], 2, 9).unwrap();
    assert!(text(source("2001:db8::1", 2, 9)).contains("one family"));
    for (low, high) in [(0, 9), (9, 8)] {
        assert!(text(source(TUNNEL[0], low, high)).starts_with("source ports"));
    }
    let said = text(rig.packet.set_service(&service(5), NAT));
    assert!(said.contains("packets to the service 192.0.2.1:5"), "{said}");
    rig.packet.set_service(&service(10), NAT).unwrap();

    // Tables of any size up to the largest.
    for (size, fits) in [(0, false), (1, true), (TABLE_SIZE_MIN, true), (TABLE_SIZE_MIN + 1, false)] {
        let table = vec![0; size as usize];
        assert_eq!(rig.packet.set_table(&service(10), Some(&table)).is_ok(), fits, "{size}");
    }
}
