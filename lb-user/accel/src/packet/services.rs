//! Services, their tables and their servers: what may be said about them, and how it gets into the maps.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aya::maps::{Array, HashMap as BpfHashMap, MapData, MapError};
use lb_common::limits::PACKET_SERVERS;
use lb_common::packet::{
    Backward, Connection, Endpoint, FlowKey, Reverse, STATELESS, Server, Service, features, forwarding,
};

use super::encode::{FREE, SourceNat, encode, idle_ticks, layout, socket_address};
use super::{Packet, PacketError};

/// The Ethernet link to a server, when the daemon knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketLink {
    /// The interface that leads to the server.
    pub ifindex: u32,
    /// The next hop's address.
    pub mac: [u8; 6],
    /// Our own address on the interface.
    pub source_mac: [u8; 6],
}

/// What a server sees as the source of what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketSource {
    /// The client. With NAT its port is another one only where two flows would look the same to the server.
    Client,
    /// IPIP: the client inside, and this in the outer header.
    Tunnel(IpAddr),
    /// NAT: this address, and the client's port if that is one of these and free, else another one of these (both
    /// ends included).
    Translated { address: IpAddr, low: u16, high: u16 },
}

/// A server as the program is to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketServer {
    pub address: IpAddr,
    /// NAT: its port; 0 keeps the client's choice.
    pub port: u16,
    pub source: PacketSource,
    /// Without one, each packet asks the kernel's routes.
    pub link: Option<PacketLink>,
    /// Whether packets of its established TCP flows are dropped (`on-marked-down shutdown-sessions`, and it is down);
    /// a datagram then begins a new flow.
    pub drop: bool,
    /// Changes with the server that the index stands for.
    pub generation: u32,
    /// Largest IP packet, outer header included; 0 leaves that to the route.
    pub mtu: u32,
}

/// How the packets of a service travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketService {
    /// One of [`lb_common::packet::forwarding`].
    pub forwarding: u8,
    /// [`lb_common::packet::STATELESS`], [`lb_common::packet::SOURCE_HASH`].
    pub flags: u8,
    /// Seconds without a packet after which a flow is forgotten; 0 for as long as there is room.
    pub idle: u32,
}

/// NAT: a service that sends to a server, with the index that the server has there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketBackward {
    pub service: Endpoint,
    pub server: u32,
    pub stateless: bool,
}

/// The maps that say what is where, and what this process must remember of them.
pub(super) struct Services {
    pub(super) services: BpfHashMap<MapData, Endpoint, Service>,
    /// How many there are.
    pub(super) count: u32,
    pub(super) servers: Array<MapData, Server>,
    pub(super) backward: BpfHashMap<MapData, Endpoint, Backward>,
    pub(super) features: Array<MapData, u32>,
    /// Servers with [`PacketSource::Translated`], by index.
    pub(super) sources: BTreeMap<u32, SourceNat>,
}

impl Services {
    fn service(&self, key: &Endpoint) -> Result<Option<Service>, PacketError> {
        match self.services.get(key, 0) {
            Ok(service) => Ok(Some(service)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells the program which look-ups are worth their time. What is in the maps by now says so, and `also`.
    fn write_features(&mut self, also: u32) -> Result<(), PacketError> {
        let has_all_ports = |key: Result<Endpoint, MapError>| key.is_ok_and(|key| key.port == 0);
        let mut value = also;
        if self.services.keys().any(has_all_ports) {
            value |= features::ALL_PORTS;
        }
        if self.backward.keys().any(has_all_ports) {
            value |= features::ALL_PORTS_BACK;
        }
        Ok(self.features.set(0, value, 0)?)
    }

    /// Refuses a service whose packets could be taken for answers to translated flows.
    fn check_sources(&self, service: &Endpoint, source: &SourceNat) -> Result<(), PacketError> {
        if source.is_answered_at(service) {
            let (low, high) = (source.low, source.high);
            return Err(PacketError::SourceIsService(source.ip, low, high, socket_address(service)));
        }
        Ok(())
    }

    fn check_stateless(&self, index: u32) -> Result<(), PacketError> {
        match self.sources.get(&index) {
            Some(source) => Err(PacketError::StatelessSource(source.ip)),
            None => Ok(()),
        }
    }
}

impl Packet {
    /// Adds a service, or changes how it forwards; its table stays, and a new one has none. A key with port 0 is the
    /// service of all ports of its address that no other service has.
    ///
    /// # Errors
    /// When there are too many, when it is [`STATELESS`] and one of its servers has a translated source, when its
    /// address and port are a translated source, or when the kernel refuses.
    pub fn set_service(&mut self, key: &Endpoint, service: PacketService) -> Result<(), PacketError> {
        let maps = &mut self.services;
        let known = maps.service(key)?;
        if known.is_none() && maps.count >= self.sizes.services {
            return Err(PacketError::Services(self.sizes.services));
        }
        for source in maps.sources.values() {
            maps.check_sources(key, source)?;
        }
        let (table_offset, table_size) = known.map_or((0, 0), |known| (known.table_offset, known.table_size));
        let PacketService { forwarding, flags, idle } = service;
        if is_stateless_nat(forwarding, flags) {
            self.tables.each(table_offset, table_size, |index| maps.check_stateless(index))?;
        }
        let value =
            Service { forwarding, flags, layout: layout(), table_offset, table_size, idle: idle_ticks(idle) };
        if key.port == 0 {
            maps.write_features(features::ALL_PORTS)?;
        }
        maps.services.insert(key, value, 0)?;
        maps.count += u32::from(known.is_none());
        Ok(())
    }

    /// Gives a service another table, of indices of servers; `None` leaves it without servers for new flows. Every
    /// service may have a table of its own size.
    ///
    /// # Errors
    /// As [`set_tables`](Self::set_tables).
    pub fn set_table(&mut self, key: &Endpoint, table: Option<&[u32]>) -> Result<(), PacketError> {
        self.set_tables(std::slice::from_ref(key), table)
    }

    /// Gives services another table, one for all of them.
    ///
    /// # Errors
    /// When a service is not known, when the table is empty or larger than [`load`](Self::load) was told, when there are
    /// more different ones than that, or when a service is [`STATELESS`] and a server of the table has a translated
    /// source. If the kernel refuses, some services may have the table and others not.
    pub fn set_tables(&mut self, keys: &[Endpoint], table: Option<&[u32]>) -> Result<(), PacketError> {
        let maps = &mut self.services;
        let mut services = Vec::with_capacity(keys.len());
        for key in keys {
            services.push(maps.service(key)?.ok_or(PacketError::NoService)?);
        }
        let size = table.map_or(0, |table| u32::try_from(table.len()).unwrap_or(u32::MAX));
        let offset = match table {
            Some(table) => {
                if size == 0 || size > self.sizes.table {
                    return Err(PacketError::TableSize(table.len(), self.sizes.table));
                }
                if services.iter().any(|service| is_stateless_nat(service.forwarding, service.flags)) {
                    table.iter().try_for_each(|&index| maps.check_stateless(index))?;
                }
                self.tables.fill(table).ok_or(PacketError::Tables(self.sizes.tables))?
            }
            None => 0,
        };
        let mut result = Ok(());
        for (key, old) in keys.iter().zip(services) {
            let new = Service {
                table_offset: if size == 0 { old.table_offset } else { offset },
                table_size: size,
                ..old
            };
            result = maps.services.insert(key, new, 0);
            if result.is_err() {
                break;
            }
            if size != 0 {
                self.tables.hold(offset);
            }
            if old.table_size != 0 {
                self.tables.release(old.table_offset);
            }
        }
        if size != 0 && !self.tables.is_held(offset) {
            self.tables.release(offset);
        }
        Ok(result?)
    }

    /// Takes a service away; its packets go to the kernel from now on.
    ///
    /// # Errors
    /// When it is not known.
    pub fn remove_service(&mut self, key: &Endpoint) -> Result<(), PacketError> {
        let service = self.services.service(key)?.ok_or(PacketError::NoService)?;
        self.services.services.remove(key)?;
        self.services.count -= 1;
        if service.table_size != 0 {
            self.tables.release(service.table_offset);
        }
        if key.port == 0 { self.services.write_features(0) } else { Ok(()) }
    }

    /// Says what stands behind an index; `None` frees it. An index that gets another server must have left all
    /// tables, and the new server another generation.
    ///
    /// # Errors
    /// When the index is too large, when source and address are not of one family, when a translated source has no
    /// ports, or when a service has one of them.
    pub fn set_server(&mut self, index: u32, server: Option<&PacketServer>) -> Result<(), PacketError> {
        if index >= PACKET_SERVERS {
            return Err(PacketError::ServerIndex(index));
        }
        let maps = &mut self.services;
        let value = match server {
            Some(server) => encode(server)?,
            // Flows of the server that leaves are still remembered, perhaps until a later process uses the index.
            None => Server { generation: maps.servers.get(&index, 0)?.generation, ..FREE },
        };
        let source = server.and_then(SourceNat::of);
        if let Some(source) = &source {
            for key in maps.services.keys() {
                maps.check_sources(&key?, source)?;
            }
        }
        maps.servers.set(index, value, 0)?;
        match source {
            Some(source) => drop(maps.sources.insert(index, source)),
            None => drop(maps.sources.remove(&index)),
        }
        Ok(())
    }

    /// NAT: says which services send to this address and port of a server (port 0: the server gets the port that the
    /// client chose). An empty list ends that. Services that remember flows may share it; a stateless one may not.
    ///
    /// # Errors
    /// When a stateless service shares it, when a stateless one of all ports sends to a single port, when the server's
    /// source is translated for a stateless one, or when the kernel refuses.
    pub fn set_backward(&mut self, from: &Endpoint, services: &[PacketBackward]) -> Result<(), PacketError> {
        let maps = &mut self.services;
        let Some(&first) = services.first() else {
            match maps.backward.remove(from) {
                Err(MapError::KeyNotFound) => {}
                other => other?,
            }
            return if from.port == 0 { maps.write_features(0) } else { Ok(()) };
        };
        for one in services.iter().filter(|one| one.stateless) {
            if let Some(other) = services.iter().find(|other| other.service != one.service) {
                let ends = [&one.service, &other.service, from].map(socket_address);
                return Err(PacketError::StatelessShared(ends[0], ends[1], ends[2]));
            }
            if one.service.port == 0 && from.port != 0 {
                return Err(PacketError::StatelessPorts(socket_address(&one.service), socket_address(from)));
            }
            maps.check_stateless(one.server)?;
        }
        let flags = if first.stateless { STATELESS.into() } else { 0 };
        let value = Backward { service: first.service, server: first.server, flags, layout: layout() };
        if from.port == 0 {
            maps.write_features(features::ALL_PORTS_BACK)?;
        }
        Ok(maps.backward.insert(from, value, 0)?)
    }

    /// The flows that are remembered, by what their clients send.
    ///
    /// # Errors
    /// When the object has no such map, which would be a mistake in it.
    pub fn flows(&mut self) -> Result<BpfHashMap<&mut MapData, FlowKey, Connection>, PacketError> {
        let map = self.object.map_mut("CONNECTIONS").ok_or(PacketError::NoMap("CONNECTIONS"))?;
        Ok(map.try_into()?)
    }

    /// The flows in NAT mode, by what their servers send.
    ///
    /// # Errors
    /// As [`flows`](Self::flows).
    pub fn ways_back(&mut self) -> Result<BpfHashMap<&mut MapData, FlowKey, Reverse>, PacketError> {
        let map = self.object.map_mut("REVERSE").ok_or(PacketError::NoMap("REVERSE"))?;
        Ok(map.try_into()?)
    }
}

fn is_stateless_nat(mode: u8, flags: u8) -> bool {
    mode == forwarding::NAT && flags & STATELESS != 0
}
