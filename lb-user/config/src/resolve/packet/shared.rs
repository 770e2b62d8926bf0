//! Several services that send to one address and port of a server, where no table of flows tells their answers apart.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::Route;
use crate::draft::{DraftServer, Proxy};
use crate::keywords::server::title;
use crate::model::{BindAddress, Forward, Host, PORT_ALL, ServerAddress, ServerPort, Transport};
use crate::resolve::Findings;

const TRANSPORTS: [Transport; 2] = [Transport::Tcp, Transport::Udp];

/// NAT without a table of flows: the address and port an answer comes from must say which service it is of.
pub(super) fn check(routes: &[Route<'_>], findings: &mut Findings<'_>) {
    let nat: Vec<&Route<'_>> =
        routes.iter().filter(|route| route.backend.settings.packet.forward == Forward::Nat).collect();
    if !nat.iter().any(|route| route.backend.settings.packet.stateless) {
        return;
    }
    let uses = Uses::new(&nat);
    for (index, route) in nat.iter().enumerate().filter(|(_, route)| route.backend.settings.packet.stateless)
    {
        let neighbours = [uses.neighbours(index, false), uses.neighbours(index, true)];
        // One finding for each section: its servers are alike.
        let clash = route.backend.servers.iter().find_map(|draft| {
            let (ip, port) = target(draft)?;
            let other = uses.other(index, ip, port, &neighbours[usize::from(ip.is_ipv4())]);
            (other.is_some() || uses.several(index, ip, port)).then_some((draft, other))
        });
        let Some((draft, other)) = clash else { continue };
        let called = |proxy: &Proxy| format!("{} '{}'", proxy.kind.keyword(), proxy.name);
        let who = match other {
            Some(other) => format!("{} and {}", called(route.frontend), called(nat[other].frontend)),
            None => called(route.frontend),
        };
        findings.alert_at(
            &draft.location,
            format!(
                "{}several services of {who} send to the same address and port of it, and without a table of flows an answer could be of any. Leave 'ebpf.stateless' out, or give each service a port of its own on the server.",
                title(&route.backend.name, &draft.server.name)
            ),
        );
    }
}

/// The address that packets go to, and the port; `None` for that of the service.
fn target(draft: &DraftServer) -> Option<(IpAddr, Option<u16>)> {
    let ServerAddress::Inet { host: Host::Ip(ip), port } = &draft.server.address else { return None };
    Some((*ip, if let ServerPort::Fixed(port) = port { Some(*port) } else { None }))
}

/// Services of one family and protocol.
type Kind = (bool, Transport);

/// Who sends where. Frontends go by their position.
#[derive(Default)]
struct Uses {
    /// The ports of each frontend's services, IPv4 or not, and how many services have them.
    ports: Vec<HashMap<Kind, (BTreeSet<u16>, usize)>>,
    /// Frontends with a service of that port.
    serving: HashMap<(Kind, u16), BTreeSet<usize>>,
    /// Those whose packets keep their port on the way to an address.
    kept: HashMap<IpAddr, BTreeSet<usize>>,
    /// Ports that packets to an address are given, and by whom.
    fixed: HashMap<IpAddr, HashMap<(Transport, u16), BTreeSet<usize>>>,
}

impl Uses {
    fn new(routes: &[&Route<'_>]) -> Self {
        let mut uses = Self::default();
        for (index, route) in routes.iter().enumerate() {
            let mut all: HashMap<Kind, (BTreeSet<u16>, usize)> = HashMap::new();
            for bind in &route.frontend.binds {
                let BindAddress::Inet(address) = bind.address else { continue };
                let kind = (address.is_ipv4(), bind.transport);
                let (ports, services) = all.entry(kind).or_default();
                ports.insert(address.port());
                *services += 1;
                uses.serving.entry((kind, address.port())).or_default().insert(index);
            }
            for (ip, port) in route.backend.servers.iter().filter_map(target) {
                match port {
                    None => {
                        uses.kept.entry(ip).or_default().insert(index);
                    }
                    Some(port) => {
                        let fixed = uses.fixed.entry(ip).or_default();
                        for transport in
                            TRANSPORTS.into_iter().filter(|t| all.contains_key(&(ip.is_ipv4(), *t)))
                        {
                            fixed.entry((transport, port)).or_default().insert(index);
                        }
                    }
                }
            }
            uses.ports.push(all);
        }
        uses
    }

    /// Whether several services of one frontend arrive at one port.
    fn several(&self, index: usize, ip: IpAddr, port: Option<u16>) -> bool {
        TRANSPORTS.into_iter().filter_map(|transport| self.ports[index].get(&(ip.is_ipv4(), transport))).any(
            |(ports, services)| {
                let targets = if port.is_some() { 1 } else { ports.len() };
                *services > targets
            },
        )
    }

    /// Other frontends with a service of the same port.
    fn neighbours(&self, index: usize, is_v4: bool) -> BTreeSet<usize> {
        let mut out = BTreeSet::new();
        for transport in TRANSPORTS {
            let kind = (is_v4, transport);
            let Some((ports, _)) = self.ports[index].get(&kind) else { continue };
            for port in ports.iter().chain([&PORT_ALL]) {
                out.extend(self.serving.get(&(kind, *port)).into_iter().flatten());
            }
            if ports.contains(&PORT_ALL) {
                let all = self.ports.iter().enumerate().filter(|(_, ports)| ports.contains_key(&kind));
                out.extend(all.map(|(other, _)| other));
            }
        }
        out.remove(&index);
        out
    }

    /// Another frontend whose packets arrive where those of this one do.
    fn other(
        &self,
        index: usize,
        ip: IpAddr,
        port: Option<u16>,
        neighbours: &BTreeSet<usize>,
    ) -> Option<usize> {
        let none = BTreeSet::new();
        let kept = self.kept.get(&ip).unwrap_or(&none);
        let fixed = self.fixed.get(&ip);
        let Some(port) = port else {
            let given = fixed.into_iter().flatten().filter(|((transport, port), _)| {
                let own = self.ports[index].get(&(ip.is_ipv4(), *transport));
                own.is_some_and(|(ports, _)| ports.contains(port) || ports.contains(&PORT_ALL))
            });
            return common(kept, neighbours, index)
                .or_else(|| given.flat_map(|(_, users)| users).copied().find(|other| *other != index));
        };
        TRANSPORTS.into_iter().find_map(|transport| {
            let kind = (ip.is_ipv4(), transport);
            self.ports[index].get(&kind)?;
            let given = fixed.and_then(|fixed| fixed.get(&(transport, port)));
            let serving = |port| self.serving.get(&(kind, port)).and_then(|users| common(kept, users, index));
            given
                .and_then(|users| users.iter().copied().find(|other| *other != index))
                .or_else(|| serving(port))
                .or_else(|| serving(PORT_ALL))
        })
    }
}

/// Somebody else who is in both.
fn common(one: &BTreeSet<usize>, other: &BTreeSet<usize>, except: usize) -> Option<usize> {
    let (few, many) = if one.len() < other.len() { (one, other) } else { (other, one) };
    few.iter().copied().find(|index| *index != except && many.contains(index))
}
