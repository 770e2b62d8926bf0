//! What follows from the configuration alone: the services, and which index each server has. Pure.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lb_common::limits::PACKET_SERVERS;
use lb_common::packet::{self as abi, Address, TCP, UDP};
use sockeye_accel::endpoint;
use sockeye_config::model::{
    Backend, BackendId, BindAddress, Config, Forward, FrontendId, Mode, Place, SOURCE_PORTS, ServerPort,
    Source as ModelSource, SourceNat, Transport,
};

use crate::backend::server::Destination;

/// One address that clients call, with one protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub frontend: FrontendId,
    pub backend: BackendId,
    /// The `bind` line.
    pub place: Place,
    pub text: Arc<str>,
    /// Port 0: all that no other service has.
    pub address: SocketAddr,
    /// [`TCP`] or [`UDP`].
    pub protocol: u8,
    /// `interface NAME` of the line.
    pub interface: Option<String>,
    pub forward: Forward,
    pub stateless: bool,
    /// `balance source`: all flows of a client go to one server.
    pub by_source: bool,
    pub clamp_mss: bool,
    /// How long a flow without packets is remembered; `None`: until its place is needed.
    pub idle: Option<Duration>,
}

/// The services of all frontends in `mode packet`, in file order.
pub fn services(config: &Config) -> Vec<Service> {
    let numbered = config.frontends.iter().enumerate();
    let packet = numbered.filter(|(_, frontend)| frontend.mode == Mode::Packet && !frontend.disabled);
    packet
        .flat_map(|(index, frontend)| {
            let backend = frontend.default_backend.map(|id| (id, &config.backends[id.0]));
            let (id, backend) = backend.unzip();
            let binds = frontend.binds.iter().filter(move |_| backend.is_some());
            binds.filter_map(move |bind| {
                let BindAddress::Inet(address) = bind.address else { return None };
                let backend = backend?;
                Some(Service {
                    frontend: FrontendId(index),
                    backend: id?,
                    place: bind.place.clone(),
                    text: Arc::clone(&bind.text),
                    address,
                    protocol: match bind.transport {
                        Transport::Tcp => TCP,
                        Transport::Udp => UDP,
                    },
                    interface: bind.interface.clone(),
                    forward: backend.packet.forward,
                    stateless: backend.packet.stateless,
                    by_source: backend.by_client_address(),
                    clamp_mss: backend.packet.clamp_mss,
                    idle: backend.packet_idle(frontend),
                })
            })
        })
        .collect()
}

/// Where the packets of a server go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Goal {
    pub address: IpAddr,
    /// 0 keeps the client's port.
    pub port: u16,
}

impl Goal {
    /// Where a server is; `None` while it has no address, or one that packets cannot go to.
    pub fn of(destination: Option<&Destination>, forward: Forward) -> Option<Self> {
        let (address, port) = match destination? {
            Destination::Inet(address) => (address.ip(), address.port()),
            Destination::Mapped(address, ServerPort::Offset(0)) => (*address, 0),
            Destination::Mapped(address, ServerPort::Fixed(port)) => (*address, *port),
            _ => return None,
        };
        // Only NAT rewrites ports; the others write them for checks.
        Some(Self { address, port: if forward == Forward::Nat { port } else { 0 } })
    }
}

/// Whose address packets carry on their way to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum From {
    /// The client's.
    Client,
    /// This one, with a port of the range: `source ADDRESS:LOW-HIGH`.
    Own { address: IpAddr, low: u16, high: u16 },
}

/// Fewer ports than this are too few for checks, whose old connections keep theirs for a minute.
const CHECK_PORTS_MIN: u16 = 64;

impl From {
    /// What `source` says for a server.
    pub fn of(backend: &Backend, server: &sockeye_config::model::Server) -> Self {
        match SourceNat::of(server.source.as_ref().unwrap_or(&backend.source)) {
            Some(SourceNat { address, ports }) => {
                Self::Own { address, low: *ports.start(), high: *ports.end() }
            }
            None => Self::Client,
        }
    }

    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Client => None,
            Self::Own { address, .. } => Some(address),
        }
    }

    /// NAT: the ports for the checks of servers with this source. Flows have the others: a server's answer to a check
    /// that has a flow's port would go to the flow's client. `None` if too few are left.
    pub fn check_ports(self) -> Option<(u16, u16)> {
        let Self::Own { low, high, .. } = self else { return None };
        let above = high.checked_add(1).map(|first| (first, u16::MAX));
        let first = *SOURCE_PORTS.start();
        let below = low.checked_sub(1).filter(|last| *last >= first).map(|last| (first, last));
        let enough = |ports: &(u16, u16)| ports.1 - ports.0 >= CHECK_PORTS_MIN - 1;
        [above, below].into_iter().flatten().filter(enough).max_by_key(|ports| ports.1 - ports.0)
    }
}

/// What `source` is for the checks of a server in `mode packet`.
pub fn check_source(backend: &Backend, server: &sockeye_config::model::Server) -> ModelSource {
    let source = server.source.as_ref().unwrap_or(&backend.source).clone();
    let from = From::of(backend, server);
    match (backend.packet.forward, from.address()) {
        (Forward::Nat, Some(address)) => {
            ModelSource { address: Some(SocketAddr::new(address, 0)), ports: from.check_ports(), ..source }
        }
        _ => source,
    }
}

/// A place among the program's servers. The generation tells flows of the server there now from those of one that had
/// the place before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index {
    pub number: u32,
    pub generation: u32,
}

/// Gives servers their places, those of the process before us their old ones.
#[derive(Debug)]
pub struct Indices {
    /// Places of the process before us that nobody has asked for yet.
    before: HashMap<(Address, u16, Address), Vec<Index>>,
    /// The last generation of each place that has had one.
    generations: HashMap<u32, u32>,
    used: HashSet<u32>,
    /// Where the search for a free place begins: the one that has been free for longest is not known, but is not
    /// the one that was freed last.
    next: u32,
}

impl Indices {
    /// `before`: what the process before us had.
    pub fn new(before: &[(u32, abi::Server)]) -> Self {
        let mut this =
            Self { before: HashMap::new(), generations: HashMap::new(), used: HashSet::new(), next: 0 };
        for (number, server) in before.iter().rev() {
            this.generations.insert(*number, server.generation);
            if server.state != abi::state::FREE {
                let key = (server.address, server.port, server.source);
                let index = Index { number: *number, generation: server.generation };
                this.before.entry(key).or_default().push(index);
            }
        }
        this
    }

    /// The old place of a server like this, if there is one that no other has taken.
    pub fn known(&mut self, goal: Goal, source: Option<IpAddr>) -> Option<Index> {
        let to = endpoint(goal.address, goal.port, 0);
        let source = source.map_or([0; 4], |source| endpoint(source, 0, 0).address);
        let index = self.before.get_mut(&(to.address, to.port, source))?.pop()?;
        // Somebody new may have been given it, when servers were added while others had no address yet.
        self.used.insert(index.number).then_some(index)
    }

    /// A place that nobody has, preferably one that nobody had; `None` when all are taken.
    pub fn fresh(&mut self) -> Option<Index> {
        let places = (0..PACKET_SERVERS).map(|step| (self.next + step) % PACKET_SERVERS);
        let free = |number: &u32| !self.used.contains(number);
        let waits = |number: &u32| self.before.values().flatten().any(|index| index.number == *number);
        let number = places
            .clone()
            .find(|number| free(number) && !waits(number))
            .or_else(|| places.clone().find(free))?;
        self.next = (number + 1) % PACKET_SERVERS;
        let generation = self.generations.entry(number).or_default();
        *generation = generation.wrapping_add(1);
        self.used.insert(number);
        Some(Index { number, generation: *generation })
    }

    /// Takes a place back.
    pub fn free(&mut self, index: Index) {
        self.used.remove(&index.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(text: &str) -> Goal {
        let address: SocketAddr = text.parse().unwrap();
        Goal { address: address.ip(), port: address.port() }
    }

    fn server(text: &str, generation: u32) -> abi::Server {
        let goal = goal(text);
        let to = endpoint(goal.address, goal.port, 0);
        abi::Server {
            address: to.address,
            source: [0; 4],
            port: to.port,
            state: abi::state::UP,
            flags: 0,
            generation,
            ifindex: 0,
            mac: [0; 6],
            source_mac: [0; 6],
            extra: 0,
            mtu: 0,
        }
    }

    #[test]
    fn old_servers_keep_their_places() {
        let before =
            [(3, server("10.0.0.1:80", 7)), (4, server("10.0.0.1:80", 1)), (9, server("[::1]:53", 2))];
        let mut indices = Indices::new(&before);
        let mut check = |text: &str, expected: Option<(u32, u32)>| {
            let expected = expected.map(|(number, generation)| Index { number, generation });
            assert_eq!(indices.known(goal(text), None), expected, "{text}");
        };
        check("10.0.0.1:81", None);
        check("10.0.0.1:80", Some((3, 7)));
        check("10.0.0.1:80", Some((4, 1)));
        check("10.0.0.1:80", None);
        check("[::1]:53", Some((9, 2)));
    }

    #[test]
    fn another_source_is_another_server() {
        let mut indices = Indices::new(&[(3, server("10.0.0.1:80", 7))]);
        assert_eq!(indices.known(goal("10.0.0.1:80"), Some([10, 0, 0, 2].into())), None);
    }

    #[test]
    fn new_servers_get_places_that_nobody_waits_for() {
        let before = [
            (0, server("10.0.0.1:80", 7)),
            (1, abi::Server { state: abi::state::FREE, ..server("10.0.0.1:80", 5) }),
        ];
        let mut indices = Indices::new(&before);
        let first = indices.fresh().unwrap();
        assert_eq!(first, Index { number: 1, generation: 6 });
        assert_eq!(indices.fresh(), Some(Index { number: 2, generation: 1 }));
        indices.free(first);
        // Not at once again, so that packets on their way do not meet another server.
        assert_eq!(indices.fresh(), Some(Index { number: 3, generation: 1 }));
        assert_eq!(indices.known(goal("10.0.0.1:80"), None), Some(Index { number: 0, generation: 7 }));
    }

    #[test]
    fn places_come_to_an_end() {
        let mut indices = Indices::new(&[]);
        let all = std::iter::from_fn(|| indices.fresh()).count();
        assert_eq!(all, PACKET_SERVERS as usize);
        indices.free(Index { number: 17, generation: 1 });
        assert_eq!(indices.fresh(), Some(Index { number: 17, generation: 2 }));
    }

    #[test]
    fn checks_have_the_ports_that_flows_have_not() {
        let check = |low, high, expected| {
            let from = From::Own { address: [10, 0, 0, 1].into(), low, high };
            assert_eq!(from.check_ports(), expected, "{low}-{high}");
        };
        check(1024, 64_511, Some((64_512, 65_535)));
        check(1024, 32_767, Some((32_768, 65_535)));
        check(60_000, 65_535, Some((1024, 59_999)));
        check(20_000, 30_000, Some((30_001, 65_535)));
        check(1, 65_535, None);
        check(1030, 65_530, None);
        assert_eq!(From::Client.check_ports(), None);
    }

    #[test]
    fn ports_are_for_nat_only() {
        let inet = Destination::Inet("10.0.0.1:80".parse().unwrap());
        let kept = Destination::Mapped([10, 0, 0, 1].into(), ServerPort::Offset(0));
        let check = |destination: &Destination, forward, port: Option<u16>| {
            let goal = Goal::of(Some(destination), forward);
            assert_eq!(goal.map(|goal| goal.port), port);
        };
        check(&inet, Forward::Nat, Some(80));
        check(&inet, Forward::Dsr, Some(0));
        check(&kept, Forward::Nat, Some(0));
        check(&Destination::Original(ServerPort::Offset(0)), Forward::Nat, None);
        check(&Destination::Mapped([10, 0, 0, 1].into(), ServerPort::Offset(1)), Forward::Nat, None);
    }
}
