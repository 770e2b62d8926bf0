//! `mode packet`: the daemon's half. The kernel's program forwards packets by maps; what stands in them follows from
//! the configuration and from the servers' states, and is kept up to date here.
//!
//! [`Plane`] owns the loaded program. [`services`] says what the file asks for, [`tables`] who gets which flows,
//! [`interfaces`] where the program belongs; [`life`] runs on the control thread and reacts to changes, [`statistics`]
//! brings the program's counters into ours. A packet never comes here: the daemon may die and packets go on.

pub mod interfaces;
pub mod life;
pub mod services;
pub mod shield;
mod start;
pub mod statistics;
pub mod tables;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_common::limits::PACKET_VLANS;
use lb_common::packet::{CLAMP_MSS, Endpoint, SOURCE_HASH, STATELESS, forwarding};
use sockeye_accel::{
    AttachWanted, Instance, Packet, PacketBackward, PacketError, PacketLines, PacketServer, PacketService,
    PacketSource, PacketVlan, endpoint,
};
use sockeye_balance::{MaglevServer, WEIGHT_SCALE};
use sockeye_config::model::Forward;
use sockeye_sys::netlink::Vlan;
use tokio::sync::Notify;

use crate::backend::{Backend, Server, State};
use crate::frontend::Frontend;
use interfaces::{Findings, Network, Way};
use services::{From, Goal, Index, Indices, Service};
use statistics::Carried;
use tables::Member;

pub use start::{StartError, Started};

/// The packet plane of this process.
pub struct Plane {
    packet: Packet,
    instance: Instance,
    attach: AttachWanted,
    services: Vec<Service>,
    farms: Vec<Farm>,
    indices: Indices,
    /// Places whose servers have moved, until no table leads to them any more.
    left: Vec<Index>,
    /// Which services' answers come from which address and port, as the program has it.
    backward: HashMap<Endpoint, Vec<PacketBackward>>,
    /// The machine's network when it was last looked at.
    network: Network,
    /// VLAN interfaces that the program knows, by their numbers.
    vlans: HashMap<u32, PacketVlan>,
    /// Interfaces that each service's address was on last.
    last: Vec<BTreeSet<String>>,
    /// The shield, if there is one.
    guarded: Option<shield::Guarded>,
    /// Interfaces that the program is on, with their numbers at that time.
    attached: BTreeMap<String, u32>,
    /// What was said to be wrong with the network and has not got better since.
    problems: BTreeSet<String>,
    /// What else went wrong since it last went well.
    failures: BTreeSet<String>,
    /// Whether an interface did not take the program, so that it has to be tried again.
    retry: bool,
    /// Whether no new flows are taken.
    stopping: bool,
    /// Packets of all servers when they were last looked at.
    packets: u64,
    /// Told when a server has changed.
    changes: Arc<Notify>,
}

/// A frontend in `mode packet` with its backend. Two frontends with one backend have places of their own for each of
/// its servers, so that their flows are counted apart.
struct Farm {
    frontend: &'static Frontend,
    backend: &'static Backend,
    forward: Forward,
    /// Its services, by their position.
    services: Vec<usize>,
    slots: Vec<Slot>,
    /// What the tables that the program has were made of, of either family of services.
    shared: HashMap<Family, Vec<MaglevServer>>,
}

/// A server.
struct Slot {
    server: &'static Server,
    from: From,
    /// Where it is and its place among the program's servers; `None` while it has no address.
    placed: Option<Placed>,
    counted: Carried,
}

/// A server with an address.
#[derive(Debug, Clone, Copy)]
struct Placed {
    goal: Goal,
    index: Index,
    /// What the program has.
    written: Option<PacketServer>,
}

/// The address family of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// A table to be computed.
#[derive(Debug)]
pub struct Job {
    farm: usize,
    family: Family,
    sharers: Vec<MaglevServer>,
    size: u32,
}

/// A table that has been.
#[derive(Debug)]
pub struct Done {
    job: Job,
    table: Option<Vec<u32>>,
}

impl Job {
    /// Takes milliseconds, so it is done where nothing else waits.
    pub fn run(self) -> Done {
        Done { table: tables::table(&self.sharers, self.size), job: self }
    }
}

impl Plane {
    /// Interfaces that the program belongs on, and what does not fit.
    pub fn wanted_interfaces(&mut self) -> Findings {
        let findings = interfaces::look(&self.services, &ways(&self.farms), &self.network, &mut self.last);
        let mut findings =
            if self.attach == AttachWanted::Native { findings.in_drivers(&self.network) } else { findings };
        if let Some(guarded) = &mut self.guarded {
            let mut found = shield::interfaces(guarded.config, &self.network);
            found.retain(|name, _| !findings.attach.contains_key(name));
            guarded.only = found.keys().cloned().collect();
            findings.attach.append(&mut found);
        }
        findings
    }

    /// Whether there are services, and not the shield alone.
    pub fn forwards(&self) -> bool {
        !self.services.is_empty()
    }

    /// What the program says (`ebpf.debug on`).
    pub fn take_lines(&mut self) -> Option<PacketLines> {
        self.packet.take_lines()
    }

    /// Whether the program is on this interface for the shield alone.
    fn is_guarded_only(&self, name: &str) -> bool {
        self.guarded.as_ref().is_some_and(|guarded| guarded.only.contains(name))
    }

    /// Gives servers their places, when addresses may have changed.
    fn place_servers(&mut self) -> Result<(), PacketError> {
        for farm in &mut self.farms {
            for slot in &mut farm.slots {
                let goal = Goal::of(slot.server.destination().as_ref(), farm.forward);
                if slot.placed.map(|placed| placed.goal) == goal {
                    continue;
                }
                if let Some(placed) = slot.placed.take() {
                    slot.counted.leave(&self.packet, placed.index)?;
                    self.left.push(placed.index);
                }
                let Some(goal) = goal else { continue };
                let source = slot.source(farm.forward, goal.address, &self.network);
                let known = self.indices.known(goal, ip_of(source));
                // More servers than places are refused at start, and none are added later.
                let Some(index) = known.or_else(|| self.indices.fresh()) else { continue };
                slot.counted.enter(&self.packet, index)?;
                slot.placed = Some(Placed { goal, index, written: None });
            }
        }
        Ok(())
    }

    /// Frees places that servers have left, once the tables have been written. Their flows go to other servers.
    fn free_places(&mut self) -> Result<(), PacketError> {
        while let Some(index) = self.left.pop() {
            self.packet.set_server(index.number, None)?;
            self.indices.free(index);
        }
        Ok(())
    }

    /// Writes servers whose state or place has changed. Only with `ends` flows of servers that are down end: while a
    /// table still leads to such a server, new flows would end too.
    fn write_servers(&mut self, ends: bool) -> Result<(), PacketError> {
        for farm in &mut self.farms {
            for slot in &mut farm.slots {
                let Some(placed) = slot.placed else { continue };
                let ended = placed.written.is_some_and(|written| written.drop);
                let down = slot.server.cfg.check.on_marked_down && slot.server.state() == State::Down;
                let wanted = PacketServer {
                    address: placed.goal.address,
                    port: placed.goal.port,
                    source: slot.source(farm.forward, placed.goal.address, &self.network),
                    link: None,
                    drop: down && (ends || ended),
                    generation: placed.index.generation,
                    mtu: 0,
                };
                if placed.written != Some(wanted) {
                    self.packet.set_server(placed.index.number, Some(&wanted))?;
                    slot.placed = Some(Placed { written: Some(wanted), ..placed });
                }
            }
        }
        Ok(())
    }

    /// NAT: says which services send to which servers, when these have moved.
    fn write_backward(&mut self) -> Result<(), PacketError> {
        let mut wanted: HashMap<Endpoint, Vec<PacketBackward>> = HashMap::new();
        for farm in self.farms.iter().filter(|farm| farm.forward == Forward::Nat) {
            for service in farm.services.iter().map(|service| &self.services[*service]) {
                let placed = farm.slots.iter().filter_map(|slot| slot.placed);
                for placed in placed.filter(|placed| Family::of(placed.goal.address) == service.family()) {
                    let port = if placed.goal.port == 0 { service.address.port() } else { placed.goal.port };
                    let from = endpoint(placed.goal.address, port, service.protocol);
                    let (service, stateless) = (service.key(), service.stateless);
                    let backward = PacketBackward { service, server: placed.index.number, stateless };
                    wanted.entry(from).or_default().push(backward);
                }
            }
        }
        for from in self.backward.keys().filter(|from| !wanted.contains_key(*from)) {
            self.packet.set_backward(from, &[])?;
        }
        for (from, services) in &wanted {
            if self.backward.get(from) != Some(services) {
                self.packet.set_backward(from, services)?;
            }
        }
        self.backward = wanted;
        Ok(())
    }

    /// Tells the program which interfaces are VLANs of which others.
    fn write_vlans(&mut self) -> Result<(), PacketError> {
        let known = self.network.interfaces.iter().filter_map(|interface| {
            let Vlan { parent, id, protocol } = interface.vlan?;
            Some((interface.index, PacketVlan { parent, id, protocol }))
        });
        let wanted: HashMap<u32, PacketVlan> = known.take(PACKET_VLANS as usize).collect();
        for number in self.vlans.keys().filter(|number| !wanted.contains_key(*number)) {
            self.packet.set_vlan(*number, None)?;
        }
        for (number, vlan) in wanted.iter().filter(|(number, vlan)| self.vlans.get(*number) != Some(*vlan)) {
            self.packet.set_vlan(*number, Some(*vlan))?;
        }
        self.vlans = wanted;
        Ok(())
    }

    /// The tables that servers' weights ask for and the program does not have.
    fn jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        if self.stopping {
            return jobs;
        }
        for (number, farm) in self.farms.iter().enumerate() {
            let mut families: Vec<Family> =
                farm.services.iter().map(|service| self.services[*service].family()).collect();
            families.sort_unstable();
            families.dedup();
            for family in families {
                let sharers = tables::sharers(&farm.members(family), farm.backend.cfg.options.allbackups);
                if farm.shared.get(&family) != Some(&sharers) {
                    jobs.push(Job {
                        farm: number,
                        family,
                        sharers,
                        size: farm.backend.cfg.packet.table_size,
                    });
                }
            }
        }
        jobs
    }

    /// Gives the program a table that was computed.
    fn write_table(&mut self, done: Done) -> Result<(), PacketError> {
        if self.stopping {
            return Ok(());
        }
        let farm = &mut self.farms[done.job.farm];
        let services = farm.services.iter().map(|service| &self.services[*service]);
        let same = services.filter(|service| service.family() == done.job.family);
        let keys: Vec<Endpoint> = same.map(Service::key).collect();
        self.packet.set_tables(&keys, done.table.as_deref())?;
        farm.shared.insert(done.job.family, done.job.sharers);
        Ok(())
    }
}

impl Farm {
    /// Servers that flows of services of this family may go to.
    fn members(&self, family: Family) -> Vec<Member> {
        let dynamic = self.backend.cfg.balance.is_dynamic();
        let placed = self.slots.iter().filter_map(|slot| Some((slot, slot.placed?)));
        let fits = |goal: &Goal| self.forward == Forward::Ipip || Family::of(goal.address) == family;
        placed
            .filter(|(_, placed)| fits(&placed.goal))
            .map(|(slot, placed)| {
                let server = slot.server;
                let full_weight = server.cfg.weight * WEIGHT_SCALE;
                let weight = server.effective_weight();
                Member {
                    index: placed.index.number,
                    identity: tables::identity(server.name()),
                    full_weight,
                    weight: if dynamic || weight == 0 { weight } else { full_weight },
                    backup: server.cfg.backup,
                }
            })
            .collect()
    }
}

impl Slot {
    /// What the server at `address` sees as the source of its packets.
    fn source(&self, forward: Forward, address: IpAddr, network: &Network) -> PacketSource {
        match (forward, self.from) {
            (Forward::Nat, From::Own { address, low, high }) => {
                PacketSource::Translated { address, low, high }
            }
            (Forward::Ipip, from) => {
                let source = network.tunnel_source(address, from.address());
                source.map_or(PacketSource::Client, PacketSource::Tunnel)
            }
            (Forward::Nat | Forward::Dsr, _) => PacketSource::Client,
        }
    }

    /// Whether its address is not the one that the program has.
    fn has_moved(&self, forward: Forward) -> bool {
        self.placed.map(|placed| placed.goal) != Goal::of(self.server.destination().as_ref(), forward)
    }
}

impl Service {
    fn family(&self) -> Family {
        Family::of(self.address.ip())
    }

    fn key(&self) -> Endpoint {
        endpoint(self.address.ip(), self.address.port(), self.protocol)
    }

    fn encode(&self) -> PacketService {
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        PacketService {
            forwarding: match self.forward {
                Forward::Nat => forwarding::NAT,
                Forward::Dsr => forwarding::DSR,
                Forward::Ipip => forwarding::IPIP,
            },
            flags: flag(self.stateless, STATELESS)
                | flag(self.by_source, SOURCE_HASH)
                | flag(self.clamp_mss, CLAMP_MSS),
            idle: self.idle.map_or(0, whole_seconds),
        }
    }
}

/// Rounded up: nothing is forgotten too early, and 0 would be never.
fn whole_seconds(time: Duration) -> u32 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() != 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

fn ip_of(source: PacketSource) -> Option<IpAddr> {
    match source {
        PacketSource::Client => None,
        PacketSource::Tunnel(address) | PacketSource::Translated { address, .. } => Some(address),
    }
}

/// Where the servers are.
fn ways(farms: &[Farm]) -> Vec<Way> {
    let slots = farms.iter().flat_map(|farm| farm.slots.iter().map(move |slot| (farm, slot)));
    slots
        .filter_map(|(farm, slot)| {
            let goal = Goal::of(slot.server.destination().as_ref(), farm.forward)?;
            Some(Way {
                place: slot.server.cfg.place.clone(),
                name: format!("{}/{}", farm.backend.name(), slot.server.name()),
                address: goal.address,
                forward: farm.forward,
                source: slot.from.address(),
                crowded: farm.forward == Forward::Nat
                    && slot.from.address().is_some()
                    && slot.from.check_ports().is_none()
                    && slot.server.cfg.check.enabled,
                clamp_mss: farm.backend.cfg.packet.clamp_mss,
                services: farm.services.clone(),
            })
        })
        .collect()
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plane").field("attached", &self.attached).finish_non_exhaustive()
    }
}
