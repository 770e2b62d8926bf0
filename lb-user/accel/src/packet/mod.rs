//! User side of `mode packet`: services, servers and tables in, counters out.
//!
//! The program is loaded here and attached by whoever owns the interfaces. Changes are made so that a packet on its
//! way meets the old state or the new one, never a mixture.

mod attach;
mod classifier;
mod encode;
mod filter;
mod instance;
mod lines;
mod measure;
mod pins;
mod places;
mod services;
mod tables;
mod vlan;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use aya::maps::{Map, MapData, MapError, PerCpuArray};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use lb_common::counters::{PACKET_EXITS, PACKET_NAMES};
use lb_common::limits::{PACKET_CONNECTIONS, PACKET_SERVERS, PACKET_SERVICES};
use lb_common::packet::{Server, Statistics};

use crate::Shield;
use crate::loader::{self, LoadError};

pub(crate) use attach::NATIVE_MTU_MAX;
pub use attach::{AttachError, AttachWanted, Attached};
use encode::FREE;
pub use encode::endpoint;
pub use instance::{Instance, InstanceError};
pub(crate) use instance::{holder, is_mounted, network_namespace};
pub use lines::PacketLines;
pub use pins::Notice;
use pins::{Found, Pins};
use places::Places;
use services::Services;
pub use services::{PacketBackward, PacketLink, PacketServer, PacketService, PacketSource};
use tables::{Tables, table_entries};
pub use vlan::PacketVlan;

/// Name of the program in its object.
const PROGRAM: &str = "packet";
/// The smallest allowed table: less would be uneven (the Maglev paper, section 5.3).
pub const TABLE_SIZE_MIN: u32 = 65_537;

/// How large the maps are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketSizes {
    /// Flows that are remembered.
    pub connections: u32,
    /// Flows in NAT mode, which need a second entry for their way back: as many as `connections`, or 0 if no service
    /// has that mode.
    pub nat: u32,
    /// Services, one per address, port and protocol.
    pub services: u32,
    /// Different tables at a time: services may share them.
    pub tables: u32,
    /// Entries of the largest table of a service; prime numbers, at least [`TABLE_SIZE_MIN`].
    pub table: u32,
}

impl Default for PacketSizes {
    fn default() -> Self {
        Self {
            connections: PACKET_CONNECTIONS,
            nat: PACKET_CONNECTIONS,
            services: 64,
            tables: 64,
            table: TABLE_SIZE_MIN,
        }
    }
}

/// What is loaded: the verifier leaves out what is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketLoad {
    pub sizes: PacketSizes,
    /// Whether packets to services are forwarded.
    pub services: bool,
    /// Prefixes that the shield has room for ([`Shield::capacity`]); 0: there is no shield.
    pub shield: u32,
    /// Whether the program writes lines for the log.
    pub debug: bool,
}

impl Default for PacketLoad {
    fn default() -> Self {
        Self { sizes: PacketSizes::default(), services: true, shield: 0, debug: false }
    }
}

impl From<PacketSizes> for PacketLoad {
    fn from(sizes: PacketSizes) -> Self {
        Self { sizes, ..Self::default() }
    }
}

/// Why something could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    #[error("more than {0} services")]
    Services(u32),
    #[error("more than {0} tables")]
    Tables(u32),
    #[error("server index {0} of at most {PACKET_SERVERS}")]
    ServerIndex(u32),
    #[error("a table of {0} entries instead of 1 to {1}")]
    TableSize(usize, u32),
    #[error("no such service")]
    NoService,
    #[error("from {0} to {1}: both ends must be of one family")]
    Families(IpAddr, IpAddr),
    #[error("source ports {0} to {1}: a range goes from a lower one to a higher one, and not from 0")]
    SourcePorts(u16, u16),
    #[error(
        "source {0}:{1}-{2}: answers from servers would be taken for packets to the service {3}; give the source \
         another address or other ports"
    )]
    SourceIsService(IpAddr, u16, u16, SocketAddr),
    #[error(
        "source {0}: a stateless service does not remember whose port is whose, so it keeps the client's address"
    )]
    StatelessSource(IpAddr),
    #[error(
        "{0} and {1} both send to {2}, and a stateless service cannot tell whose answers come from there; give the \
         server a port for each"
    )]
    StatelessShared(SocketAddr, SocketAddr, SocketAddr),
    #[error(
        "all ports of {0} are sent to {1}, and a stateless service does not remember which one the client called; \
         leave the server's port out"
    )]
    StatelessPorts(SocketAddr, SocketAddr),
    #[error("the object has no {0}")]
    NoMap(&'static str),
    #[error("map: {0}")]
    Map(#[from] MapError),
    #[error("test run: {0}")]
    Run(#[from] aya::programs::ProgramError),
}

/// What one run of the program made of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketRun {
    /// The XDP action.
    pub action: u32,
    pub packet: Vec<u8>,
    /// Mean time of one run.
    pub nanoseconds: u64,
}

/// The loaded program with its maps.
pub struct Packet {
    services: Services,
    statistics: PerCpuArray<MapData, Statistics>,
    counters: PerCpuArray<MapData, u64>,
    shield: Option<Shield>,
    lines: Option<PacketLines>,
    tables: Tables,
    sizes: PacketSizes,
    object: aya::Ebpf,
    places: Places,
    before: Vec<(u32, Server)>,
}

impl Packet {
    /// Creates the maps and loads the program, with the flows and counters that an instance's last process left. It
    /// does nothing until it is [attached](Self::attach).
    ///
    /// # Errors
    /// When this binary has no object, or the kernel refuses a map or the program.
    pub fn load(load: &PacketLoad, instance: Option<&Instance>) -> Result<Self, LoadError> {
        if loader::PACKET.is_empty() {
            return Err(LoadError::Missing("packet program"));
        }
        let sizes = PacketSizes { services: load.sizes.services.min(PACKET_SERVICES), ..load.sizes };
        let folder = instance.map(|instance| instance.folder.clone());
        // Without services their maps are as small as the kernel takes them.
        let small = PacketSizes { connections: 1_024, nat: 0, services: 1, tables: 1, table: TABLE_SIZE_MIN };
        let sizes = if load.services { sizes } else { small };
        let load = PacketLoad { sizes, ..*load };
        let found = folder.as_ref().map(|folder| Found::look(folder, &sizes)).unwrap_or_default();
        let entries = table_entries(&sizes).map_err(LoadError::Flows)?;
        let mut object = loader::packet_object(&load, entries.div_ceil(2), &found.reusable)?;
        let pins = folder.map(|folder| Pins::new(folder, &object)).transpose().map_err(LoadError::Pins)?;
        let mut services = Services {
            services: take(&mut object, "SERVICES")?.try_into()?,
            count: 0,
            servers: take(&mut object, "SERVERS")?.try_into()?,
            backward: take(&mut object, "BACKWARD")?.try_into()?,
            features: take(&mut object, "FEATURES")?.try_into()?,
            sources: BTreeMap::new(),
        };
        for (index, before) in &found.servers {
            services.servers.set(*index, Server { generation: before.generation, ..FREE }, 0)?;
        }
        let statistics = take(&mut object, "STATISTICS")?.try_into()?;
        let counters = take(&mut object, "COUNTERS")?.try_into()?;
        let Map::Array(tables) = take(&mut object, "TABLES")? else {
            return Err(LoadError::Missing("TABLES"));
        };
        let tables = Tables::new(&tables, &sizes).map_err(LoadError::Flows)?;
        let shield = match load.shield {
            0 => None,
            capacity => {
                let prefixes = take(&mut object, "SHIELD_PREFIXES")?;
                Some(Shield::new(prefixes, take(&mut object, "SHIELD_HITS")?, capacity)?)
            }
        };
        let lines = load.debug.then(|| PacketLines::new(&mut object)).transpose()?;
        let program: &mut Xdp = object.program_mut(PROGRAM).ok_or(LoadError::Missing(PROGRAM))?.try_into()?;
        program.load()?;
        classifier::load(&mut object)?;
        Ok(Self {
            services,
            statistics,
            counters,
            shield,
            lines,
            tables,
            sizes,
            places: Places::new(pins, found.notices),
            before: found.servers,
            object,
        })
    }

    /// The servers of the instance's last process, with the indices that remembered flows have for them, and the free
    /// indices that a server had before. A server that is still there must get its index and generation again; any
    /// other one on that index needs another generation.
    pub fn before(&self) -> &[(u32, Server)] {
        &self.before
    }

    /// The shield, if there is one; it goes its own way from here on.
    pub fn take_shield(&mut self) -> Option<Shield> {
        self.shield.take()
    }

    /// What the program says, if it was asked to say something; it goes its own way from here on.
    pub fn take_lines(&mut self) -> Option<PacketLines> {
        self.lines.take()
    }

    /// What went to a server and came back, summed over the CPUs.
    ///
    /// # Errors
    /// When the index is too large.
    pub fn statistics(&self, index: u32) -> Result<Statistics, PacketError> {
        let values = self.statistics.get(&index, 0)?;
        Ok(values.iter().fold(Statistics::default(), |sum, value| Statistics {
            flows: sum.flows + value.flows,
            packets_in: sum.packets_in + value.packets_in,
            bytes_in: sum.bytes_in + value.bytes_in,
            packets_out: sum.packets_out + value.packets_out,
            bytes_out: sum.bytes_out + value.bytes_out,
        }))
    }

    /// How often each way out was taken, summed over the CPUs, with their names.
    ///
    /// # Errors
    /// When the kernel does not let the map be read.
    pub fn counters(&self) -> Result<[(&'static str, u64); PACKET_EXITS as usize], PacketError> {
        let mut counters = PACKET_NAMES.map(|name| (name, 0));
        for (index, counter) in (0..).zip(&mut counters) {
            counter.1 = self.counters.get(&index, 0)?.iter().sum();
        }
        Ok(counters)
    }

    /// Instructions that the verifier went through; `None` where the kernel does not say (before 5.16).
    ///
    /// # Errors
    /// When the program's description cannot be read.
    pub fn verified_instructions(&self) -> Result<Option<u32>, PacketError> {
        Ok(self.program()?.info()?.verified_instruction_count())
    }

    /// Runs the program upon a packet that never was on a wire (`BPF_PROG_TEST_RUN`), `repeat` times.
    ///
    /// # Errors
    /// When the kernel refuses: packets of less than 14 bytes, or of more than a page.
    pub fn run(&self, packet: &[u8], repeat: u32) -> Result<PacketRun, PacketError> {
        let mut out = vec![0; packet.len() + 256];
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut out),
            repeat,
            ..TestRunOptions::new()
        };
        let result = self.program()?.test_run(options)?;
        out.truncate(result.data_size_out as usize);
        let nanoseconds = u64::try_from(result.duration.as_nanos()).unwrap_or(u64::MAX);
        Ok(PacketRun { action: result.return_value, packet: out, nanoseconds })
    }

    fn program(&self) -> Result<&Xdp, PacketError> {
        let program = self.object.program(PROGRAM).ok_or(aya::programs::ProgramError::NotLoaded)?;
        Ok(program.try_into()?)
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

fn take(object: &mut aya::Ebpf, name: &'static str) -> Result<Map, LoadError> {
    object.take_map(name).ok_or(LoadError::Missing(name))
}
