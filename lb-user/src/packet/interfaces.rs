//! Which interfaces the programs belong on, and what of the machine's network does not fit the configuration. Pure:
//! the network comes in as it was read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;

use sockeye_config::model::{Forward, Place};
use sockeye_sys::netlink::{self, Interface, InterfaceAddress, Route};

use super::services::Service;

/// Bytes of an outer header.
const OUTER_V4_BYTES: u32 = 20;
const OUTER_V6_BYTES: u32 = 40;
/// Bytes of the headers of IP and TCP, which segments do not count.
const HEADERS_V4_BYTES: u32 = 40;
const HEADERS_V6_BYTES: u32 = 60;

/// The machine's network at one moment.
#[derive(Debug, Clone, Default)]
pub struct Network {
    pub interfaces: Vec<Interface>,
    pub addresses: Vec<InterfaceAddress>,
    /// The ways to the servers that have one.
    pub routes: HashMap<IpAddr, Route>,
}

impl Network {
    /// Asks the kernel, for the ways to `servers` too.
    ///
    /// # Errors
    /// When it does not say which interfaces and addresses there are.
    pub fn read(servers: impl Iterator<Item = IpAddr>) -> io::Result<Self> {
        let servers: BTreeSet<IpAddr> = servers.collect();
        let routes = servers.into_iter().filter_map(|server| Some((server, netlink::route(server).ok()?)));
        Ok(Self {
            routes: routes.collect(),
            interfaces: netlink::interfaces()?,
            addresses: netlink::addresses()?,
        })
    }

    pub fn named(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    pub fn numbered(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }

    /// The address that tunnels to `server` come from: `source`, or what the route prefers.
    pub fn tunnel_source(&self, server: IpAddr, source: Option<IpAddr>) -> Option<IpAddr> {
        source.or_else(|| {
            let route = self.routes.get(&server)?;
            let same = |address: &IpAddr| address.is_ipv4() == server.is_ipv4();
            let mut held = self
                .addresses
                .iter()
                .filter(|held| held.interface == route.interface)
                .map(|held| held.address);
            route.source.filter(same).or_else(|| held.find(same))
        })
    }

    /// The interface that frames of this one come in through: of a VLAN the one below it.
    pub fn physical<'a>(&'a self, interface: &'a Interface) -> &'a Interface {
        interface.vlan.and_then(|vlan| self.numbered(vlan.parent)).unwrap_or(interface)
    }

    /// The interfaces that have an address.
    fn holders(&self, address: IpAddr) -> impl Iterator<Item = &Interface> {
        let held = self.addresses.iter().filter(move |held| held.address == address);
        held.filter_map(|held| self.numbered(held.interface))
    }
}

/// Where a server is to be found.
#[derive(Debug, Clone)]
pub struct Way {
    /// The server line.
    pub place: Place,
    /// `backend/server`.
    pub name: String,
    pub address: IpAddr,
    pub forward: Forward,
    /// The address that our packets to it come from, where `source` names one.
    pub source: Option<IpAddr>,
    /// NAT from an address of ours whose ports the flows have all.
    pub crowded: bool,
    pub clamp_mss: bool,
    /// Services that send to it, by their position.
    pub services: Vec<usize>,
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Nothing starts with it.
    pub fatal: bool,
    pub place: Place,
    pub text: String,
}

/// Where programs belong, and what is wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Names of interfaces, with their indices now.
    pub attach: BTreeMap<String, u32>,
    pub problems: Vec<Problem>,
    /// A server of NAT has no route, so that nobody knows where its answers would come in.
    pub astray: bool,
}

impl Findings {
    fn problem(&mut self, fatal: bool, place: &Place, text: String) {
        let problem = Problem { fatal, place: place.clone(), text };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn attach(&mut self, interface: &Interface) {
        self.attach.insert(interface.name.clone(), interface.index);
    }

    /// Those of `attached` that need no program any more. One that is down, or that a server may be behind whose route is
    /// away, will soon have answers again, and those that come before the program would end their connections.
    pub fn superfluous<'a>(
        &self,
        attached: impl Iterator<Item = &'a String>,
        network: &Network,
    ) -> Vec<String> {
        attached
            .filter(|name| !self.astray && !self.attach.contains_key(*name))
            .filter(|name| network.named(name).is_none_or(|interface| interface.up))
            .cloned()
            .collect()
    }

    /// For programs in drivers, which VLANs have none of: those go where their frames come in.
    pub fn in_drivers(mut self, network: &Network) -> Self {
        let named = self.attach.keys().filter_map(|name| network.named(name));
        let physical = named.map(|interface| network.physical(interface));
        self.attach = physical.map(|interface| (interface.name.clone(), interface.index)).collect();
        self
    }
}

/// Where programs belong now. `last` has, for each service, the interfaces that its address was on last, by name:
/// they stay while the address is away, as an address that a cluster moves from node to node often is.
pub fn look(
    services: &[Service],
    ways: &[Way],
    network: &Network,
    last: &mut [BTreeSet<String>],
) -> Findings {
    let mut findings = Findings::default();
    let mut entries = vec![0; services.len()];
    for ((service, last), entry) in services.iter().zip(last).zip(&mut entries) {
        match of_service(service, network) {
            Ok(found) => {
                *last = found.iter().map(|interface| interface.name.clone()).collect();
                *entry = found.iter().map(|interface| interface.mtu).max().unwrap_or(0);
                found.into_iter().for_each(|interface| findings.attach(interface));
            }
            Err(text) => {
                findings.problem(true, &service.place, format!("'bind {}' : {text}", service.text));
                for name in &*last {
                    if let Some(interface) = network.named(name) {
                        findings.attach(interface);
                    }
                }
            }
        }
    }
    for way in ways {
        let entry = way.services.iter().map(|service| entries[*service]).max().unwrap_or(0);
        of_server(way, network, entry, &mut findings);
    }
    findings
}

/// The interfaces that a service's packets come in on.
fn of_service<'a>(service: &Service, network: &'a Network) -> Result<Vec<&'a Interface>, String> {
    let address = service.address.ip();
    if let Some(name) = &service.interface {
        let interface = network.named(name);
        return interface
            .map(|interface| vec![interface])
            .ok_or_else(|| format!("there is no interface '{name}'"));
    }
    let holders: Vec<&Interface> = network.holders(address).collect();
    let outside: Vec<&Interface> = holders.iter().copied().filter(|interface| !interface.loopback).collect();
    match (holders.is_empty(), outside.is_empty()) {
        (true, _) => Err(format!(
            "address {address} is on no interface: add it to one, or write 'interface NAME' on the bind line"
        )),
        (_, true) => Err(format!(
            "address {address} is on the loopback interface only: write 'interface NAME' on the bind line, with the \
             one that the clients' packets come in on"
        )),
        _ => Ok(outside),
    }
}

/// What the way to a server asks for. `entry`: the largest packet that may come in for it.
fn of_server(way: &Way, network: &Network, entry: u32, findings: &mut Findings) {
    let (name, address) = (&way.name, way.address);
    let Some(route) = network.routes.get(&address) else {
        findings.astray |= way.forward == Forward::Nat;
        let text = format!("'server {name}' : there is no route to {address}");
        return findings.problem(false, &way.place, text);
    };
    if route.local {
        let text = format!(
            "'server {name}' : {address} is an address of this machine; 'mode packet' sends to others only"
        );
        return findings.problem(true, &way.place, text);
    }
    if way.forward == Forward::Dsr
        && let Some(gateway) = route.gateway
    {
        let text = format!(
            "'server {name}' : {address} is behind {gateway}, and 'ebpf.forward dsr' reaches only servers on a network \
             of this machine; use 'ebpf.forward ipip'"
        );
        return findings.problem(true, &way.place, text);
    }
    let Some(interface) = network.numbered(route.interface) else { return };
    if way.forward == Forward::Nat {
        // Answers come back on the way that requests went.
        findings.attach(interface);
        if let Some(source) = way.source.filter(|source| network.holders(*source).next().is_none()) {
            let text = format!(
                "'server {name}' : the source address {source} is on no interface, so that answers may not find us: add \
                 it to {}",
                interface.name
            );
            findings.problem(false, &way.place, text);
        }
        if way.crowded {
            let text = format!(
                "'server {name}' : the ports of 'source' leave none to checks, which then fail when a flow has theirs: \
                 end them at 64511"
            );
            findings.problem(false, &way.place, text);
        }
    }
    if way.forward == Forward::Ipip && network.tunnel_source(address, way.source).is_none() {
        let text = format!(
            "'server {name}' : no address on interface {} to send from; add one, or write 'source ADDRESS'",
            interface.name
        );
        findings.problem(true, &way.place, text);
    }
    let outer = match (way.forward, address) {
        (Forward::Ipip, IpAddr::V4(_)) => OUTER_V4_BYTES,
        (Forward::Ipip, IpAddr::V6(_)) => OUTER_V6_BYTES,
        _ => 0,
    };
    let room = route.mtu.unwrap_or(interface.mtu).saturating_sub(outer);
    if entry > room && !(way.clamp_mss && way.forward == Forward::Nat) {
        // Only NAT sees the servers' half of a handshake.
        let remedy = match way.forward {
            Forward::Nat => "write 'ebpf.clamp-mss'".to_owned(),
            Forward::Dsr | Forward::Ipip => {
                let headers = if address.is_ipv4() { HEADERS_V4_BYTES } else { HEADERS_V6_BYTES };
                let segment = room.saturating_sub(headers);
                format!("have the servers offer smaller segments ('ip route change … advmss {segment}')")
            }
        };
        let text = format!(
            "'server {name}' : packets of up to {entry} bytes come in, and only {room} fit the way over {}: give it an \
             MTU of {}, or {remedy}",
            interface.name,
            entry + outer
        );
        findings.problem(false, &way.place, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, name: &str, mtu: u32) -> Interface {
        let loopback = name == "lo";
        Interface { index, name: name.to_owned(), mtu, up: true, loopback, ethernet: true, vlan: None }
    }

    fn network() -> Network {
        let held = |interface, address: &str, prefix| InterfaceAddress {
            interface,
            address: address.parse().unwrap(),
            prefix,
        };
        let route = |interface, gateway: Option<&str>| Route {
            interface,
            source: None,
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            mtu: None,
            local: interface == 1,
        };
        let routes = [
            ("10.0.0.1", route(3, None)),
            ("10.9.0.1", route(3, Some("10.0.0.254"))),
            ("192.0.2.1", route(1, None)),
            ("2001:db8::1", route(4, None)),
            ("10.8.0.1", Route { mtu: Some(1400), ..route(3, None) }),
        ];
        Network {
            interfaces: vec![
                interface(1, "lo", 65_536),
                interface(2, "eth0", 1500),
                interface(3, "eth1", 1500),
                interface(4, "eth2", 9000),
            ],
            addresses: vec![
                held(1, "192.0.2.9", 32),
                held(2, "192.0.2.1", 24),
                held(4, "192.0.2.2", 32),
                held(2, "192.0.2.2", 32),
                held(3, "10.0.0.250", 24),
            ],
            routes: routes.map(|(address, route)| (address.parse().unwrap(), route)).into(),
        }
    }

    fn service(address: &str, interface: Option<&str>) -> Service {
        use sockeye_config::model::{BackendId, FrontendId};
        Service {
            frontend: FrontendId(0),
            backend: BackendId(0),
            place: Place::default(),
            text: "".into(),
            address: address.parse().unwrap(),
            protocol: 6,
            interface: interface.map(str::to_owned),
            forward: Forward::Nat,
            stateless: false,
            by_source: false,
            clamp_mss: false,
            idle: None,
        }
    }

    fn way(address: &str, forward: Forward) -> Way {
        Way {
            place: Place::default(),
            name: "be/s".to_owned(),
            address: address.parse().unwrap(),
            forward,
            source: None,
            crowded: false,
            clamp_mss: false,
            services: vec![0],
        }
    }

    /// Interfaces and problems; those that nothing starts with have an exclamation mark.
    fn check(services: &[Service], ways: &[Way], attach: &[&str], problems: &[&str]) {
        let mut last = vec![BTreeSet::new(); services.len()];
        let findings = look(services, ways, &network(), &mut last);
        assert_eq!(findings.attach.keys().collect::<Vec<_>>(), attach);
        let found: Vec<String> = findings
            .problems
            .iter()
            .map(|problem| format!("{}{}", if problem.fatal { "! " } else { "" }, problem.text))
            .collect();
        assert_eq!(found, problems);
    }

    #[test]
    fn services_come_in_where_their_address_is() {
        check(&[service("192.0.2.1:80", None)], &[], &["eth0"], &[]);
        check(&[service("192.0.2.2:80", None)], &[], &["eth0", "eth2"], &[]);
        check(&[service("192.0.2.2:80", Some("eth1"))], &[], &["eth1"], &[]);
        check(&[service("192.0.2.9:80", Some("eth0"))], &[], &["eth0"], &[]);
        check(
            &[service("192.0.2.3:80", None)],
            &[],
            &[],
            &[
                "! 'bind ' : address 192.0.2.3 is on no interface: add it to one, or write 'interface NAME' on the bind line",
            ],
        );
        check(
            &[service("192.0.2.9:80", None)],
            &[],
            &[],
            &[
                "! 'bind ' : address 192.0.2.9 is on the loopback interface only: write 'interface NAME' on the bind line, with \
               the one that the clients' packets come in on",
            ],
        );
        check(
            &[service("192.0.2.1:80", Some("eth7"))],
            &[],
            &[],
            &["! 'bind ' : there is no interface 'eth7'"],
        );
    }

    #[test]
    fn answers_of_nat_come_in_where_the_servers_are() {
        let services = [service("192.0.2.1:80", None)];
        check(&services, &[way("10.0.0.1", Forward::Nat)], &["eth0", "eth1"], &[]);
        check(&services, &[way("10.9.0.1", Forward::Nat)], &["eth0", "eth1"], &[]);
        check(&services, &[way("10.0.0.1", Forward::Dsr)], &["eth0"], &[]);
    }

    #[test]
    fn a_source_that_nobody_has_gets_no_answers() {
        let services = [service("192.0.2.1:80", None)];
        let with =
            |source: &str| Way { source: Some(source.parse().unwrap()), ..way("10.0.0.1", Forward::Nat) };
        check(&services, &[with("10.0.0.250")], &["eth0", "eth1"], &[]);
        let text = "'server be/s' : the source address 10.0.0.251 is on no interface, so that answers may not find us: \
                    add it to eth1";
        check(&services, &[with("10.0.0.251")], &["eth0", "eth1"], &[text]);
        let text = "'server be/s' : the ports of 'source' leave none to checks, which then fail when a flow has theirs: \
                    end them at 64511";
        let crowded = Way { crowded: true, ..with("10.0.0.250") };
        check(&services, &[crowded], &["eth0", "eth1"], &[text]);
    }

    #[test]
    fn servers_that_cannot_be_reached() {
        let services = [service("192.0.2.1:80", None)];
        let text = "'server be/s' : there is no route to 10.1.1.1";
        check(&services, &[way("10.1.1.1", Forward::Nat)], &["eth0"], &[text]);
        let text =
            "! 'server be/s' : 192.0.2.1 is an address of this machine; 'mode packet' sends to others only";
        check(&services, &[way("192.0.2.1", Forward::Nat)], &["eth0"], &[text]);
        let text = "! 'server be/s' : 10.9.0.1 is behind 10.0.0.254, and 'ebpf.forward dsr' reaches only servers on a \
                    network of this machine; use 'ebpf.forward ipip'";
        check(&services, &[way("10.9.0.1", Forward::Dsr)], &["eth0"], &[text]);
    }

    #[test]
    fn tunnels_need_room_and_a_source() {
        let services = [service("192.0.2.1:80", None)];
        let text = "'server be/s' : packets of up to 1500 bytes come in, and only 1480 fit the way over eth1: give it \
                    an MTU of 1520, or have the servers offer smaller segments ('ip route change … advmss 1440')";
        check(&services, &[way("10.0.0.1", Forward::Ipip)], &["eth0"], &[text]);
        let text =
            "! 'server be/s' : no address on interface eth2 to send from; add one, or write 'source ADDRESS'";
        check(&services, &[way("2001:db8::1", Forward::Ipip)], &["eth0"], &[text]);
        let text = "'server be/s' : packets of up to 1500 bytes come in, and only 1400 fit the way over eth1: give it \
                    an MTU of 1500, or write 'ebpf.clamp-mss'";
        check(&services, &[way("10.8.0.1", Forward::Nat)], &["eth0", "eth1"], &[text]);
        let clamped = Way { clamp_mss: true, ..way("10.8.0.1", Forward::Nat) };
        check(&services, &[clamped], &["eth0", "eth1"], &[]);
    }

    #[test]
    fn an_address_that_is_away_leaves_its_interface_as_it_is() {
        let services = [service("192.0.2.1:80", None)];
        let mut last = [BTreeSet::new()];
        let mut network = network();
        look(&services, &[], &network, &mut last);
        network.addresses.clear();
        let findings = look(&services, &[], &network, &mut last);
        assert_eq!(findings.attach.keys().collect::<Vec<_>>(), ["eth0"]);
        assert_eq!(findings.problems.len(), 1);
        network.interfaces.retain(|interface| interface.name != "eth0");
        assert_eq!(look(&services, &[], &network, &mut last).attach, BTreeMap::new());
    }

    #[test]
    fn programs_stay_where_answers_will_come_again() {
        let services = [service("192.0.2.1:80", None)];
        let check = |ways: &[Way], down: Option<&str>, expected: &[&str]| {
            let mut network = network();
            for interface in &mut network.interfaces {
                interface.up = Some(&*interface.name) != down;
            }
            let findings = look(&services, ways, &network, &mut [BTreeSet::new()]);
            let attached = ["eth0", "eth1"].map(str::to_owned);
            assert_eq!(findings.superfluous(attached.iter(), &network), expected, "{down:?}");
        };
        check(&[way("10.0.0.1", Forward::Nat)], None, &[]);
        check(&[], None, &["eth1"]);
        check(&[], Some("eth1"), &[]);
        check(&[way("10.1.1.1", Forward::Nat)], None, &[]);
        check(&[way("10.1.1.1", Forward::Ipip)], None, &["eth1"]);
    }

    #[test]
    fn programs_in_drivers_are_below_vlans() {
        let vlan = netlink::Vlan { parent: 2, id: 100, protocol: 0x8100 };
        let mut network = network();
        network.interfaces.push(Interface { vlan: Some(vlan), ..interface(9, "eth0.100", 1500) });
        let mut last = [BTreeSet::new()];
        let findings = look(&[service("192.0.2.9:80", Some("eth0.100"))], &[], &network, &mut last);
        assert_eq!(findings.attach.keys().collect::<Vec<_>>(), ["eth0.100"]);
        assert_eq!(findings.in_drivers(&network).attach, BTreeMap::from([("eth0".to_owned(), 2)]));
    }

    #[test]
    fn tunnels_come_from_the_source_that_was_asked_for() {
        let check = |source: Option<&str>, expected: &str| {
            let source = source.map(|source| source.parse().unwrap());
            let found = network().tunnel_source([10, 0, 0, 1].into(), source);
            assert_eq!(found, Some(expected.parse().unwrap()));
        };
        check(None, "10.0.0.250");
        check(Some("192.0.2.1"), "192.0.2.1");
    }
}
