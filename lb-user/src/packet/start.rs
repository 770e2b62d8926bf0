//! The plane at the start of the process: looked at, claimed, loaded, filled, attached, in this order. Packets are
//! forwarded from the moment it is attached, so everything is in place before; after a kill -9 or beside a process that
//! is being replaced they never stop.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::sync::Arc;

use lb_common::limits::{PACKET_CONNECTIONS, PACKET_SERVERS, PACKET_SERVICES};
use sockeye_accel::{
    AttachError, Attached, Host, Instance, InstanceError, LoadError, Packet, PacketError, PacketLoad,
    PacketSizes, ShieldError, ShieldList, TooManyPrefixes, Unavailable, boot_clock,
};
use sockeye_config::model::{Config, Forward, Mode};
use sockeye_syntax::diag::Severity;
use tokio::sync::Notify;

use super::interfaces::{self, Network, Problem};
use super::services::{From as Source, Indices, Service, services};
use super::shield::{self, Guarded, Shield};
use super::statistics::Carried;
use super::{Family, Farm, Plane, Slot, ways};
use crate::process::objects::Objects;
use crate::process::{offload, run};

/// Why the plane does not start, and with it nothing else.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot be without kernel programs, and those are not available: {0}; 'mode tcp' does without")]
    Unavailable(#[from] Unavailable),
    #[error(
        "it has {0} addresses and ports, at most {PACKET_SERVICES} are possible: write 'ADDRESS:1-65535' for all ports of an address"
    )]
    Services(usize),
    #[error("it has {0} servers, at most {PACKET_SERVERS} are possible")]
    Servers(usize),
    #[error("cannot look at the machine's network: {0}")]
    Network(#[source] io::Error),
    #[error("the machine does not fit the configuration")]
    Misfits(Vec<Problem>),
    #[error("{0}")]
    Instance(#[from] InstanceError),
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("{0}")]
    Packet(#[from] PacketError),
    #[error("{0}")]
    Attach(#[from] AttachError),
    #[error("the shield's list is too long: {0}")]
    TooManyPrefixes(#[from] TooManyPrefixes),
    #[error("the kernel does not take the shield's list: {0}")]
    Shield(#[from] ShieldError),
}

/// What has started; nothing of it where the file asks for nothing.
#[derive(Debug, Default)]
pub struct Started {
    pub plane: Option<Plane>,
    pub shield: Option<Shield>,
}

impl StartError {
    /// Why the shield is not in the kernel.
    fn reason(&self) -> String {
        match self {
            Self::Unavailable(reason) => reason.to_string(),
            other => other.to_string(),
        }
    }

    /// What the operator reads, a line each.
    pub fn alerts(&self, config: &Config) -> Vec<String> {
        if let Self::Misfits(problems) = self {
            return problems.iter().map(|problem| format!("{}.", sentence(problem))).collect();
        }
        let packet = config.frontends.iter().find(|frontend| frontend.mode == Mode::Packet);
        let place = packet.map(|frontend| {
            format!(
                "[{}:{}] : 'mode packet' of proxy {} : ",
                frontend.place.file, frontend.place.line, frontend.name
            )
        });
        vec![format!("{}{self}.", place.unwrap_or_default())]
    }
}

impl Plane {
    /// Loads, fills and attaches the program, if a section is in `mode packet` or there is a shield. The servers have
    /// their addresses by now. `replaced`: processes that will go (`-sf`, `-st`), one of which may have the instance.
    ///
    /// # Errors
    /// When anything is missing; nothing is left attached then that was not before. A shield alone can do without the
    /// kernel, which is said then.
    pub fn start(objects: &'static Objects, replaced: &[u32]) -> Result<Started, StartError> {
        let services = services(objects.config);
        let list = shield::list(objects.config, boot_clock())?;
        let alone = services.is_empty();
        if alone && list.is_none() {
            return Ok(Started::default());
        }
        let (plane, kernel) = match Self::create(objects, services, list.as_ref(), replaced) {
            Ok((plane, kernel)) => (Some(plane), kernel),
            Err(error) if alone => {
                let text = "shield: denied clients are refused when their connections are accepted";
                run::say(Severity::Notice, &format!("{text}, not in the kernel: {}.", error.reason()));
                (None, None)
            }
            Err(error) => return Err(error),
        };
        if let Some(list) = list.as_ref().filter(|_| kernel.is_some()) {
            for text in shield::denied_servers(&objects.backends, list, boot_clock()) {
                run::say(Severity::Warning, &text);
            }
        }
        Ok(Started { plane, shield: list.map(|list| Shield::new(list, kernel)) })
    }

    fn create(
        objects: &'static Objects,
        services: Vec<Service>,
        list: Option<&ShieldList>,
        replaced: &[u32],
    ) -> Result<(Self, Option<sockeye_accel::Shield>), StartError> {
        let config = objects.config;
        let ebpf = &config.global.ebpf;
        Host::read().packet(ebpf.accel)?;
        if services.len() > PACKET_SERVICES as usize {
            return Err(StartError::Services(services.len()));
        }
        let farms = farms(objects, &services);
        let servers = farms.iter().map(|farm| farm.slots.len()).sum();
        if servers > PACKET_SERVERS as usize {
            return Err(StartError::Servers(servers));
        }
        let ways = ways(&farms);
        let network = Network::read(ways.iter().map(|way| way.address)).map_err(StartError::Network)?;
        let mut last = vec![BTreeSet::new(); services.len()];
        let findings = interfaces::look(&services, &ways, &network, &mut last);
        let (fatal, warnings): (Vec<_>, Vec<_>) =
            findings.problems.into_iter().partition(|problem| problem.fatal);
        if !fatal.is_empty() {
            return Err(StartError::Misfits(fatal));
        }
        let instance = Instance::claim(&ebpf.instance, replaced)?;
        let connections = ebpf.connections.unwrap_or(PACKET_CONNECTIONS);
        let sizes = PacketSizes {
            connections,
            nat: if farms.iter().any(|farm| farm.forward == Forward::Nat) { connections } else { 0 },
            services: u32::try_from(services.len()).unwrap_or(PACKET_SERVICES),
            // One for each frontend and address family.
            tables: u32::try_from(2 * farms.len()).unwrap_or(PACKET_SERVICES),
            table: farms.iter().map(|farm| farm.backend.cfg.packet.table_size).max().unwrap_or_default(),
        };
        let load = PacketLoad {
            sizes,
            services: !services.is_empty(),
            shield: list.map_or(0, |list| sockeye_accel::Shield::capacity(list.len())),
            debug: ebpf.debug,
        };
        let mut packet = Packet::load(&load, Some(&instance))?;
        let mut kernel = packet.take_shield();
        if let Some((kernel, list)) = kernel.as_mut().zip(list) {
            kernel.set(list.clone())?;
        }
        let mut plane = Self {
            indices: Indices::new(packet.before()),
            packet,
            instance,
            attach: offload::attach(ebpf.attach),
            services,
            farms,
            left: Vec::new(),
            backward: HashMap::new(),
            network,
            vlans: HashMap::new(),
            last,
            guarded: list.map(|_| Guarded { config, only: BTreeSet::new() }),
            attached: BTreeMap::new(),
            problems: warnings.iter().map(sentence).collect(),
            failures: BTreeSet::new(),
            retry: false,
            stopping: false,
            packets: 0,
            changes: Arc::new(Notify::new()),
        };
        if let Err(error) = plane.bring_up() {
            // What a process before us has goes on as if we had never been.
            plane.packet.abandon();
            return Err(error);
        }
        plane.introduce();
        Ok((plane, kernel))
    }

    /// Fills the maps, then lets packets come.
    fn bring_up(&mut self) -> Result<(), StartError> {
        let interfaces = self.wanted_interfaces().attach;
        for farm in &self.farms {
            farm.backend.follow(Arc::clone(&self.changes));
        }
        self.place_servers()?;
        self.write_servers(true)?;
        for service in &self.services {
            self.packet.set_service(&service.key(), service.encode())?;
        }
        self.write_backward()?;
        self.write_vlans()?;
        for job in self.jobs() {
            self.write_table(job.run())?;
        }
        for (name, number) in interfaces {
            match self.packet.attach(&name, self.attach) {
                Ok(_) => {
                    self.attached.insert(name, number);
                }
                // There the gate at accept is what is left of the shield.
                Err(error) if self.is_guarded_only(&name) => {
                    self.retry = true;
                    self.tell_once(format!("cannot attach: {error}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.packet.publish()?)
    }

    /// Says what there is now, and what the operator should know.
    fn introduce(&mut self) {
        for text in &self.problems {
            self.tell(Severity::Warning, text);
        }
        for notice in self.packet.take_notices() {
            self.tell(Severity::Notice, &format!("packet: {notice}"));
        }
        for name in self.attached.keys() {
            self.check_forwarding(name);
        }
        if self.instance.is_transient() {
            self.tell(
                Severity::Warning,
                "packet: the BPF filesystem belongs to this process's mount namespace only: after a crash packets will \
                 not be forwarded; mount it at /sys/fs/bpf before the start",
            );
        }
        let places: Vec<String> = self
            .packet
            .attached()
            .iter()
            .map(|(name, kind): &(String, Attached)| format!("{name} ({kind})"))
            .collect();
        let servers: usize = self.farms.iter().map(|farm| farm.slots.len()).sum();
        let adopted =
            if self.instance.is_orphaned() { ", what the last process left is taken over" } else { "" };
        let shield = if self.guarded.is_some() { ", the shield" } else { "" };
        let what = match self.services.len() {
            0 => shield.to_owned(),
            services => format!(", {services} services, {servers} servers{shield}"),
        };
        let places = if places.is_empty() { "no interface".to_owned() } else { places.join(", ") };
        run::say(
            Severity::Notice,
            &format!("packet: instance {} on {places}{what}{adopted}", self.instance.name()),
        );
    }

    /// Warns when the kernel would not let packets that come in there be sent on.
    pub(super) fn check_forwarding(&self, interface: &str) {
        let goals = || self.farms.iter().flat_map(|farm| &farm.slots).filter_map(|slot| slot.placed);
        for (family, version) in [(Family::V4, "ipv4"), (Family::V6, "ipv6")] {
            if !goals().any(|placed| Family::of(placed.goal.address) == family) {
                continue;
            }
            // Behind a chroot nobody can tell.
            let setting = fs::read_to_string(format!("/proc/sys/net/{version}/conf/{interface}/forwarding"));
            if setting.is_ok_and(|setting| setting.trim() == "0") {
                self.tell(
                    Severity::Warning,
                    &format!(
                        "packet: interface {interface} does not forward packets, so that those to the servers are dropped: \
                         sysctl -w net.{version}.conf.all.forwarding=1"
                    ),
                );
            }
        }
    }

    /// A problem as the operator reads it.
    pub(super) fn sentence(problem: &Problem) -> String {
        sentence(problem)
    }
}

fn sentence(problem: &Problem) -> String {
    format!("[{}:{}] : {}", problem.place.file, problem.place.line, problem.text)
}

/// Every frontend in `mode packet` with its backend's servers.
fn farms(objects: &Objects, services: &[Service]) -> Vec<Farm> {
    let mut frontends: Vec<_> = services.iter().map(|service| (service.frontend, service.backend)).collect();
    frontends.dedup();
    frontends
        .into_iter()
        .map(|(frontend, backend)| {
            let backend = objects.backends[backend.0];
            let numbered = services.iter().enumerate();
            Farm {
                frontend: objects.frontends[frontend.0],
                backend,
                forward: backend.cfg.packet.forward,
                services: numbered
                    .filter(|(_, service)| service.frontend == frontend)
                    .map(|(at, _)| at)
                    .collect(),
                slots: backend
                    .servers
                    .iter()
                    .map(|server| Slot {
                        server,
                        from: match backend.cfg.packet.forward {
                            Forward::Dsr => Source::Client,
                            Forward::Nat | Forward::Ipip => Source::of(backend.cfg, server.cfg),
                        },
                        placed: None,
                        counted: Carried::default(),
                    })
                    .collect(),
                shared: HashMap::new(),
            }
        })
        .collect()
}
