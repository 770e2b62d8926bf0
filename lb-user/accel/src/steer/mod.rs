//! Steering of new connections: the listening sockets in, the workers' loads while it runs.
//!
//! Everything is known when it starts: the sockets are bound, and the maps are made as large as they must be. After that
//! only workers write, each into its own [`WorkerLoad`]. Sockets leave the maps when they close.

mod lists;
mod loads;
mod members;
mod object;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::sync::Arc;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData, PerCpuArray, SockMap};
use aya::programs::{SkLookup, SkReuseport};
use lb_common::counters::{STEER_NAMES, steer as counter};
use lb_common::steer::{Group, GroupKey, Member, Prefix as Ranges, Range, Words};

use crate::{Host, LoadError, Unavailable, probe};
use lists::{Owned, Prefix};
use loads::Loads;
pub use loads::WorkerLoad;
use members::Cpus;

/// How the worker of a new connection is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SteerMode {
    /// The one with the fewest connections, among those that are not busy.
    Least,
    /// The one that stays on the CPU that took the packet.
    Cpu,
}

/// What to steer.
#[derive(Debug)]
pub struct SteerPlan<'a> {
    /// `None` leaves the choice of the worker to the kernel's hash.
    pub mode: Option<SteerMode>,
    pub workers: usize,
    pub groups: Vec<SteerGroup<'a>>,
    /// Listening addresses inside prefixes and ranges that stay what they are, with the interface they are bound to.
    pub exact: Vec<SteerExact>,
}

/// The sockets of one bind. They have the same address.
#[derive(Debug)]
pub struct SteerGroup<'a> {
    /// Each with the workers that accept from it.
    pub sockets: Vec<(BorrowedFd<'a>, &'a [usize])>,
    /// What belongs to it beside the address that the sockets have.
    pub owns: Option<SteerOwned>,
}

/// Addresses and ports whose connections one bind gets. Packets to them must reach this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SteerOwned {
    pub address: IpAddr,
    /// How many bits of the address count.
    pub bits: u8,
    pub ports: RangeInclusive<u16>,
    /// A wildcard of IPv6 whose socket takes IPv4 as well.
    pub ipv4_too: bool,
}

/// One listening address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SteerExact {
    pub address: SocketAddr,
    pub ipv4_too: bool,
}

/// Why connections are not steered.
#[derive(Debug, thiserror::Error)]
pub enum SteerError {
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A socket is not what it has to be.
    #[error("cannot use a listening socket: {0}")]
    Socket(#[source] io::Error),
    #[error("{0}")]
    Ranges(&'static str),
    #[error("cannot open the network namespace: {0}")]
    Namespace(#[source] io::Error),
}

/// The loaded programs with their maps.
pub struct Steering {
    mode: Option<SteerMode>,
    loads: Arc<Loads>,
    workers: usize,
    cpus: Cpus,
    counters: PerCpuArray<MapData, u64>,
    /// The programs, their attachments, and the maps that nobody writes to any more.
    _object: aya::Ebpf,
    _maps: Maps,
}

impl Steering {
    /// Whether there is hope: asked before sockets are bound, because those of a prefix or a range are others without us.
    ///
    /// # Errors
    /// Why not; `accel` is `ebpf.accel on`.
    pub fn possible(accel: bool) -> Result<(), Unavailable> {
        probe::steering(accel, object::is_built(), &Host::read())
    }

    /// Loads what the plan needs and puts its sockets to work. The order of steps does not matter to clients: until the
    /// last one the kernel chooses, as it does without steering.
    ///
    /// # Errors
    /// Any error leaves the sockets as they were.
    pub fn start(plan: &SteerPlan<'_>) -> Result<Self, SteerError> {
        let cpus = cpus();
        let sockets = plan.groups.iter().map(|group| group.sockets.len()).sum();
        let groups = plan.groups.iter().map(|group| members(group, 0)).map(|members| match plan.mode {
            Some(SteerMode::Cpu) => cpus.layers(&members).len(),
            _ => members.len(),
        });
        let owned = owned(plan)?;
        let lists = lists::lists(&owned)
            .map_err(|_| SteerError::Ranges("too many port ranges apply to one address"))?;
        let mut object = object::create(&object::Sizes {
            by_cpu: if plan.mode == Some(SteerMode::Cpu) { cpus.count } else { 0 },
            sockets,
            groups: plan.groups.len(),
            members: groups.sum(),
            workers: plan.workers,
            prefixes: lists.len(),
            ranges: lists.iter().map(|(_, ranges)| ranges.len()).sum(),
        })?;
        let mut maps = Maps::take(&mut object)?;
        let Map::Array(loads) = take(&mut object, "LOADS")? else {
            return Err(LoadError::Missing("LOADS").into());
        };
        let loads = Arc::new(Loads::new(&loads, plan.workers).map_err(LoadError::Flows)?);
        let counters = take(&mut object, "COUNTERS")?.try_into().map_err(LoadError::Map)?;
        maps.fill(plan, &cpus)?;
        maps.fill_ranges(&lists)?;
        if plan.mode.is_some() {
            let program = object.program_mut("reuseport").ok_or(LoadError::Missing("reuseport"))?;
            let program: &mut SkReuseport = program.try_into().map_err(LoadError::Program)?;
            program.load().map_err(LoadError::Program)?;
            for group in &plan.groups {
                if let Some((socket, _)) = group.sockets.first() {
                    program.attach(socket).map_err(LoadError::Program)?;
                }
            }
        }
        if !owned.is_empty() {
            let program = object.program_mut("lookup").ok_or(LoadError::Missing("lookup"))?;
            let program: &mut SkLookup = program.try_into().map_err(LoadError::Program)?;
            program.load().map_err(LoadError::Program)?;
            let namespace = File::open("/proc/self/ns/net").map_err(SteerError::Namespace)?;
            program.attach(namespace).map_err(LoadError::Program)?;
        }
        Ok(Self {
            mode: plan.mode,
            loads,
            workers: plan.workers,
            cpus,
            counters,
            _object: object,
            _maps: maps,
        })
    }

    /// Where a worker says how much it has to do, if that counts.
    pub fn worker(&self, index: usize) -> Option<WorkerLoad> {
        let counts = self.mode == Some(SteerMode::Least) && index < self.workers;
        counts.then(|| WorkerLoad::new(Arc::clone(&self.loads), index))
    }

    /// The CPU that a worker has to stay on, if that counts.
    pub fn cpu(&self, worker: usize) -> Option<usize> {
        if self.mode == Some(SteerMode::Cpu) { self.cpus.of(worker) } else { None }
    }

    /// The programs' counters, summed over the CPUs, with their names.
    ///
    /// # Errors
    /// When the kernel does not let the map be read.
    pub fn counters(&self) -> io::Result<[(&'static str, u64); counter::COUNT as usize]> {
        let mut counters = STEER_NAMES.map(|name| (name, 0));
        for (index, counter) in (0..).zip(&mut counters) {
            let values = self.counters.get(&index, 0).map_err(io::Error::other)?;
            counter.1 = values.iter().sum();
        }
        Ok(counters)
    }
}

impl fmt::Debug for Steering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Steering").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// What is written once.
struct Maps {
    sockets: SockMap<MapData>,
    groups: BpfHashMap<MapData, GroupKey, Group>,
    members: Array<MapData, Member>,
    prefixes: LpmTrie<MapData, Words, Ranges>,
    ranges: Array<MapData, Range>,
}

impl Maps {
    fn take(object: &mut aya::Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            sockets: take(object, "SOCKETS")?.try_into()?,
            groups: take(object, "GROUPS")?.try_into()?,
            members: take(object, "MEMBERS")?.try_into()?,
            prefixes: take(object, "PREFIXES")?.try_into()?,
            ranges: take(object, "RANGES")?.try_into()?,
        })
    }

    fn fill(&mut self, plan: &SteerPlan<'_>, cpus: &Cpus) -> Result<(), SteerError> {
        let (mut next_socket, mut next_member) = (0, 0);
        // `None` for an address that two binds have: the kernel's hash spreads over both.
        let mut groups: HashMap<GroupKey, Option<Group>> = HashMap::new();
        for group in &plan.groups {
            let Some((first, _)) = group.sockets.first() else { continue };
            let key = key(*first).map_err(SteerError::Socket)?;
            let members = members(group, next_socket);
            for (socket, _) in &group.sockets {
                self.sockets.set(next_socket, &socket.as_raw_fd(), 0).map_err(LoadError::Map)?;
                next_socket += 1;
            }
            let members = match plan.mode {
                Some(SteerMode::Cpu) => cpus.layers(&members),
                _ => members,
            };
            let first = next_member;
            for member in members {
                self.members.set(next_member, member, 0).map_err(LoadError::Map)?;
                next_member += 1;
            }
            let group = Group { first, count: next_member - first };
            groups.entry(key).and_modify(|known| *known = None).or_insert(Some(group));
        }
        for (key, group) in groups {
            if let Some(group) = group {
                self.groups.insert(key, group, 0).map_err(LoadError::Map)?;
            }
        }
        Ok(())
    }

    fn fill_ranges(&mut self, lists: &[(Prefix, Vec<Range>)]) -> Result<(), LoadError> {
        let mut next = 0;
        for (prefix, ranges) in lists {
            let first = next;
            for range in ranges {
                self.ranges.set(next, *range, 0)?;
                next += 1;
            }
            let key = Key::new(u32::from(prefix.bits), prefix.words());
            self.prefixes.insert(&key, Ranges { first, count: next - first }, 0)?;
        }
        Ok(())
    }
}

/// A member for each worker, in the workers' order.
fn members(group: &SteerGroup<'_>, first_socket: u32) -> Vec<Member> {
    let mut members: Vec<Member> = (first_socket..)
        .zip(&group.sockets)
        .flat_map(|(socket, (_, workers))| {
            workers
                .iter()
                .map(move |worker| Member { socket, worker: u32::try_from(*worker).unwrap_or(u32::MAX) })
        })
        .collect();
    members.sort_by_key(|member| member.worker);
    members
}

/// All prefixes and ranges, and what must be left alone inside of them. Empty when there are none.
fn owned(plan: &SteerPlan<'_>) -> Result<Vec<Owned>, SteerError> {
    let mut all = Vec::new();
    let mut socket = 0;
    for group in &plan.groups {
        let sockets = u32::try_from(group.sockets.len()).unwrap_or(u32::MAX);
        if let (Some(owns), Some((first, _))) = (&group.owns, group.sockets.first()) {
            let interface = interface(*first).map_err(SteerError::Socket)?;
            let prefix = Prefix::new(owns.address, owns.bits);
            let owned = Owned { prefix, ports: owns.ports.clone(), interface, socket, sockets };
            if owns.ipv4_too {
                all.push(Owned { prefix: Prefix::ipv4(), ..owned.clone() });
            }
            all.push(owned);
        }
        socket += sockets;
    }
    if all.is_empty() {
        return Ok(all);
    }
    for exact in &plan.exact {
        let (ip, port) = (exact.address.ip(), exact.address.port());
        let bits = if ip.is_unspecified() { 0 } else { u8::MAX };
        let prefix = Prefix::new(ip, bits);
        let owned = Owned { prefix, ports: port..=port, interface: 0, socket: 0, sockets: 0 };
        if exact.ipv4_too {
            all.push(Owned { prefix: Prefix::ipv4(), ..owned.clone() });
        }
        all.push(owned);
    }
    Ok(all)
}

/// What the program sees of a listening socket.
fn key(socket: BorrowedFd<'_>) -> io::Result<GroupKey> {
    let address = rustix::net::getsockname(socket)?;
    let address = SocketAddr::try_from(address).map_err(|_| io::ErrorKind::InvalidInput)?;
    let word = |octets: [u8; 4]| u32::from_ne_bytes(octets);
    let (family, words) = match address.ip() {
        IpAddr::V4(ip) => (libc::AF_INET, [word(ip.octets()), 0, 0, 0]),
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            let (words, _) = octets.as_chunks();
            (libc::AF_INET6, [0, 1, 2, 3].map(|at: usize| word(words[at])))
        }
    };
    Ok(GroupKey {
        address: words,
        family: family.unsigned_abs(),
        port: u32::from(address.port()),
        interface: interface(socket)?,
        padding: 0,
    })
}

/// The interface that a socket is bound to, 0 for none.
fn interface(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut index: libc::c_int = 0;
    let mut bytes = libc::socklen_t::try_from(size_of_val(&index)).unwrap_or_default();
    // SAFETY: the descriptor is open; the option is an int, and that much room is named.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_BINDTOIFINDEX,
            (&raw mut index).cast(),
            &raw mut bytes,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(index.unsigned_abs()) }
}

/// The index of the interface that a socket is bound to; kernel 5.0.
const SO_BINDTOIFINDEX: libc::c_int = 62;

/// The machine's CPUs and ours among them.
fn cpus() -> Cpus {
    let count = aya::util::nr_cpus().unwrap_or(1);
    let set = rustix::thread::sched_getaffinity(None).unwrap_or_else(|_| rustix::thread::CpuSet::new());
    let allowed = (0..count.min(rustix::thread::CpuSet::MAX_CPU)).filter(|cpu| set.is_set(*cpu)).collect();
    Cpus { count, allowed }
}

fn take(object: &mut aya::Ebpf, name: &'static str) -> Result<Map, LoadError> {
    object.take_map(name).ok_or(LoadError::Missing(name))
}
