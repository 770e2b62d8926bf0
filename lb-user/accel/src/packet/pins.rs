//! What is pinned in an instance's folder, and by which names.
//!
//! A name says all that the kernel does not keep: a link its interface, kind and network namespace, a map the layout
//! of its values. Names have no dots, which the BPF filesystem keeps for itself.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aya::Ebpf;
use aya::maps::{Array, Map, MapData, MapError, MapInfo};
use lb_common::counters::PACKET_EXITS;
use lb_common::limits::{PACKET_FRAGMENTS, PACKET_SERVERS};
use lb_common::packet::{
    Connection, FlowKey, Fragment, FragmentKey, LAYOUT, Reverse, Server, Statistics, state,
};
use rustix::fs::{self, AtFlags, Dir};
use rustix::io::Errno;

use super::PacketSizes;
use super::attach::{AttachError, Attached};
use super::instance::{Folder, open_folder};
use super::places;
use crate::bpf;

/// The map of flows in NAT mode; where there are none it has next to no entries, and is not worth taking over.
const REVERSE: &str = "REVERSE";
const REVERSE_USED: u32 = 1_024;

/// The map that a new process has its own of; it reads in the last one's which server had which index.
const SERVERS: &str = "SERVERS";

/// Maps that outlive the process, by their names in the object. All others belong to one process's configuration.
const SURVIVING: &[Surviving] = &[
    // First: without servers there are no flows either.
    Surviving { reuse: false, ..Surviving::array::<Server>(SERVERS, PACKET_SERVERS) },
    Surviving::hash::<FlowKey, Connection>("CONNECTIONS"),
    Surviving::hash::<FlowKey, Reverse>(REVERSE),
    Surviving::hash::<FragmentKey, Fragment>("FRAGMENTS").of(PACKET_FRAGMENTS),
    Surviving::array::<Statistics>("STATISTICS", PACKET_SERVERS),
    Surviving::array::<u64>("COUNTERS", PACKET_EXITS),
];

/// A map that is pinned.
#[derive(Debug, Clone, Copy)]
struct Surviving {
    name: &'static str,
    key_bytes: usize,
    value_bytes: usize,
    /// `None`: as many as the configuration asks for.
    entries: Option<u32>,
    /// Whether the next process goes on with it.
    reuse: bool,
}

impl Surviving {
    const fn hash<K, V>(name: &'static str) -> Self {
        Self { name, key_bytes: size_of::<K>(), value_bytes: size_of::<V>(), entries: None, reuse: true }
    }

    const fn array<V>(name: &'static str, entries: u32) -> Self {
        Self::hash::<u32, V>(name).of(entries)
    }

    const fn of(self, entries: u32) -> Self {
        Self { entries: Some(entries), ..self }
    }

    fn fits(&self, found: &MapInfo) -> bool {
        found.key_size() as usize == self.key_bytes
            && found.value_size() as usize == self.value_bytes
            && self.entries.is_none_or(|entries| entries == found.max_entries())
    }

    fn pin(&self) -> Pin {
        Pin::Map { name: self.name.to_owned(), layout: LAYOUT }
    }
}

/// Something that the operator should know and that stops nothing.
#[derive(Debug)]
pub enum Notice {
    /// Pins of another layout were not taken over.
    Layout { instance: String, found: u32 },
    /// A pinned map is not of the shape that we need.
    Map { instance: String, name: &'static str },
    /// The map of flows that was taken over has another size than the configuration asks for.
    Connections { kept: u32, wanted: u32 },
    /// The program is attached, but not in the best way.
    Fallback { interface: String, kind: Attached, reason: Box<AttachError> },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout { instance, found } => write!(
                f,
                "instance '{instance}': what an older process pinned has layout {found} instead of {LAYOUT}: its \
                 flows and counters are not taken over"
            ),
            Self::Map { instance, name } => write!(
                f,
                "instance '{instance}': the pinned map {name} has another shape: what it holds is not taken over"
            ),
            Self::Connections { kept, wanted } => write!(
                f,
                "the table of flows was taken over with its {kept} entries; 'ebpf.connections {wanted}' counts from \
                 the first start after a clean stop"
            ),
            Self::Fallback { interface, kind, reason } => {
                write!(f, "{interface}: attached by {kind}, since {reason}")
            }
        }
    }
}

/// What the last process left.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Names and paths of the maps to go on with.
    pub(super) reusable: Vec<(&'static str, PathBuf)>,
    /// Its servers, by index.
    pub(super) servers: Vec<(u32, Server)>,
    pub(super) notices: Vec<Notice>,
}

impl Found {
    /// Looks into an instance's folder; what cannot be read is not taken over.
    pub(super) fn look(folder: &Folder, sizes: &PacketSizes) -> Self {
        let mut found = Self::default();
        let instance = || folder.name().to_owned();
        let Ok(_lock) = folder.lock() else { return found };
        let pins = list(folder.directory()).unwrap_or_default();
        let other = pins.iter().find_map(|pin| match pin {
            Pin::Map { layout, .. } if *layout != LAYOUT => Some(*layout),
            _ => None,
        });
        if let Some(other) = other {
            found.notices.push(Notice::Layout { instance: instance(), found: other });
        }
        for map in SURVIVING {
            let pin = map.pin();
            if !pins.contains(&pin) {
                continue;
            }
            let path = folder.path().join(pin.to_string());
            match MapInfo::from_pin(&path) {
                Ok(info) if map.name == REVERSE && (sizes.nat == 0 || info.max_entries() < REVERSE_USED) => {}
                Ok(info) if map.fits(&info) => {
                    if map.entries.is_none() && info.max_entries() != sizes.connections {
                        if found.servers.iter().all(|(_, server)| server.state == state::FREE) {
                            continue;
                        }
                        let kept = info.max_entries();
                        if map.name != REVERSE {
                            found.notices.push(Notice::Connections { kept, wanted: sizes.connections });
                        }
                    }
                    if map.reuse {
                        found.reusable.push((map.name, path));
                    } else {
                        found.servers = servers(&path).unwrap_or_default();
                    }
                }
                _ => found.notices.push(Notice::Map { instance: instance(), name: map.name }),
            }
        }
        found
    }
}

/// The servers in a pinned map, and the generations of places that nobody has any more.
fn servers(path: &Path) -> Result<Vec<(u32, Server)>, MapError> {
    let map: Array<MapData, Server> = Map::from_map_data(MapData::from_pin(path)?)?.try_into()?;
    let mut servers = Vec::new();
    for index in 0..PACKET_SERVERS {
        let server = map.get(&index, 0)?;
        if server.state != state::FREE || server.generation != 0 {
            servers.push((index, server));
        }
    }
    Ok(servers)
}

/// The instance's folder, and what of ours belongs into it.
#[derive(Debug)]
pub(super) struct Pins {
    folder: Arc<Folder>,
    maps: Vec<(Pin, OwnedFd)>,
    /// Whether the maps are there.
    pinned: bool,
    /// What had the names of our maps before, until we have published.
    previous: Vec<(Pin, OwnedFd)>,
    published: bool,
}

impl Pins {
    pub(super) fn new(folder: Arc<Folder>, object: &Ebpf) -> io::Result<Self> {
        let mut maps = Vec::new();
        for surviving in SURVIVING {
            if let Some(data) = object.map(surviving.name).and_then(data) {
                maps.push((surviving.pin(), data.fd().as_fd().try_clone_to_owned()?));
            }
        }
        Ok(Self { folder, maps, pinned: false, previous: Vec::new(), published: false })
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Takes the folder's lock, unless a later process has taken over, and sees to it that our maps are pinned: before
    /// the program runs, so that its flows are never there without the servers that they mean.
    pub(super) fn enter(&mut self) -> Result<OwnedFd, AttachError> {
        let lock = self.folder.lock().map_err(|error| AttachError::Pins(error.into()))?;
        if self.folder.superseded() {
            // Should the later process fail, ours must be pinned again.
            self.pinned = false;
            return Err(AttachError::Superseded);
        }
        if !self.pinned {
            for (pin, map) in &self.maps {
                if !self.published
                    && let Ok(before) = bpf::object_get(self.folder.directory(), &pin.to_string())
                {
                    self.previous.push((pin.clone(), before));
                }
                self.pin(map, pin).map_err(AttachError::Pins)?;
            }
            self.pinned = true;
        }
        Ok(lock)
    }

    /// Pins an object, in one step in the place of what has its name; with the lock held.
    pub(super) fn pin(&self, object: &OwnedFd, pin: &Pin) -> io::Result<()> {
        let name = pin.to_string();
        let staging = self.folder.staging();
        bpf::object_pin(object, staging, &name)?;
        Ok(fs::renameat(staging, &name, self.folder.directory(), &name)?)
    }

    /// Ends everything that is attached by this instance but what `keep` says, and removes maps that are not ours; with
    /// the lock held.
    pub(super) fn keep_only(&self, keep: impl Fn(&Pin) -> bool) -> io::Result<()> {
        for pin in list(self.folder.directory())? {
            let ours = match &pin {
                Pin::Owner { .. } => true,
                Pin::Map { .. } => self.maps.iter().any(|(map, _)| *map == pin),
                _ => keep(&pin),
            };
            if !ours {
                remove(self.folder.directory(), &pin)?;
            }
        }
        Ok(())
    }

    /// From now on what was before us is gone.
    pub(super) fn forget_previous(&mut self) {
        self.previous.clear();
        self.published = true;
    }

    /// Whether there is no way back to what was before us.
    pub(super) fn is_published(&self) -> bool {
        self.published
    }

    /// Gives the instance up as it was found: `places` brings the programs back. Does nothing if a later process has
    /// taken over.
    pub(super) fn give_back(&self, places: impl FnOnce()) {
        // What fails is found by the next process, or by `--unload`.
        let Ok(_lock) = self.folder.lock() else { return };
        if !self.folder.superseded() {
            places();
            if self.pinned {
                for (pin, _) in &self.maps {
                    let _ = match self.previous.iter().find(|(before, _)| before == pin) {
                        Some((_, map)) => self.pin(map, pin).is_ok(),
                        None => remove(self.folder.directory(), pin).is_ok(),
                    };
                }
            }
        }
        self.folder.leave();
    }

    /// The maps that are pinned may not be ours any more.
    pub(super) fn pin_again(&mut self) {
        self.pinned = false;
    }

    /// Gives the instance up, and leaves everything to those who find it.
    pub(super) fn leave_all(&self) {
        if let Ok(_lock) = self.folder.lock() {
            self.folder.leave();
        }
    }

    /// Gives the instance up: detaches and removes everything but the marks of other processes, unless a later process
    /// has taken over.
    pub(super) fn leave(&self) {
        // What cannot be removed is found by the next process, or by `--unload`.
        let Ok(_lock) = self.folder.lock() else { return };
        if !self.folder.superseded() {
            let pins = list(self.folder.directory()).unwrap_or_default();
            for pin in pins.iter().filter(|pin| !matches!(pin, Pin::Owner { .. })) {
                let _ = remove(self.folder.directory(), pin);
            }
        }
        self.folder.leave();
    }
}

/// What is behind a map of the kinds that survive.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::LpmTrie(data) => Some(data),
        _ => None,
    }
}

/// Something in the folder, and with [`fmt::Display`] its name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pin {
    /// A BPF link: XDP or tcx.
    Link {
        interface: String,
        kind: Attached,
        network: u64,
    },
    /// The program of a filter of `clsact`, which has no link.
    Filter {
        interface: String,
        network: u64,
    },
    Map {
        name: String,
        layout: u32,
    },
    /// The folder of an owner, see [`super::instance`].
    Owner {
        epoch: u64,
        pid: u32,
    },
    /// Nothing that this version knows.
    Other(String),
}

impl Pin {
    fn parse(name: &str) -> Self {
        Self::try_parse(name).unwrap_or_else(|| Self::Other(name.to_owned()))
    }

    fn try_parse(name: &str) -> Option<Self> {
        if let Some((map, layout)) = name.split_once('@') {
            return Some(Self::Map { name: map.to_owned(), layout: layout.parse().ok()? });
        }
        let (kind, rest) = name.split_once('-')?;
        match kind {
            "owner" => {
                let (epoch, pid) = rest.split_once('-')?;
                Some(Self::Owner { epoch: epoch.parse().ok()?, pid: pid.parse().ok()? })
            }
            "link" => {
                let (rest, network) = rest.rsplit_once('-')?;
                let (interface, kind) = rest.rsplit_once('-')?;
                let kind = Attached::from_word(kind)?;
                Some(Self::Link { interface: unescape(interface), kind, network: network.parse().ok()? })
            }
            "filter" => {
                let (interface, network) = rest.rsplit_once('-')?;
                Some(Self::Filter { interface: unescape(interface), network: network.parse().ok()? })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { interface, kind, network } => {
                write!(f, "link-{}-{kind}-{network}", escape(interface))
            }
            Self::Filter { interface, network } => write!(f, "filter-{}-{network}", escape(interface)),
            Self::Map { name, layout } => write!(f, "{name}@{layout}"),
            Self::Owner { epoch, pid } => write!(f, "owner-{epoch}-{pid}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// An interface's name without dots.
fn escape(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2E")
}

fn unescape(name: &str) -> String {
    name.replace("%2E", ".").replace("%25", "%")
}

/// Everything in the folder.
pub(super) fn list(directory: &OwnedFd) -> rustix::io::Result<Vec<Pin>> {
    let mut pins = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        match entry.file_name().to_str() {
            Ok("." | "..") | Err(_) => {}
            Ok(name) => pins.push(Pin::parse(name)),
        }
    }
    Ok(pins)
}

/// Removes a folder and the pins in it.
pub(super) fn remove_folder(at: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    let folder = open_folder(at, name)?;
    for pin in list(&folder)? {
        fs::unlinkat(&folder, pin.to_string(), AtFlags::empty())?;
    }
    fs::unlinkat(at, name, AtFlags::REMOVEDIR)
}

/// Detaches and removes everything; says what, a line each.
pub(super) fn remove_all(directory: &OwnedFd) -> rustix::io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for pin in list(directory)? {
        if let Some(line) = remove(directory, &pin)? {
            removed.push(line);
        }
    }
    removed.sort();
    Ok(removed)
}

/// Detaches and removes one pin.
pub(super) fn remove(directory: &OwnedFd, pin: &Pin) -> rustix::io::Result<Option<String>> {
    let name = pin.to_string();
    let line = match pin {
        Pin::Link { interface, kind, .. } => {
            places::detach_pinned(directory, pin);
            Some(format!("program on {interface} ({kind})"))
        }
        Pin::Filter { interface, .. } => {
            places::detach_pinned(directory, pin);
            Some(format!("program on {interface} (tc)"))
        }
        Pin::Map { name, .. } => Some(format!("map {name}")),
        Pin::Other(name) => Some(name.clone()),
        Pin::Owner { .. } => {
            remove_folder(directory, &name)?;
            return Ok(None);
        }
    };
    match fs::unlinkat(directory, &name, AtFlags::empty()) {
        Ok(()) => Ok(line),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::ISDIR | Errno::PERM) if matches!(pin, Pin::Other(_)) => {
            remove_folder(directory, &name)?;
            Ok(line)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Pin) {
        assert_eq!(Pin::parse(name), expected);
        assert_eq!(expected.to_string(), name);
    }

    #[test]
    fn names_go_there_and_back() {
        let link = |interface: &str, kind| Pin::Link { interface: interface.to_owned(), kind, network: 4 };
        check("link-eth0-native-4", link("eth0", Attached::Native));
        check("link-eth0%2E100-tc-4", link("eth0.100", Attached::Tc));
        check("link-a-b%25c-generic-4", link("a-b%c", Attached::Generic));
        check("filter-br-lan-7", Pin::Filter { interface: "br-lan".to_owned(), network: 7 });
        check("CONNECTIONS@1", Pin::Map { name: "CONNECTIONS".to_owned(), layout: 1 });
        check("owner-3-1234", Pin::Owner { epoch: 3, pid: 1234 });
        for other in ["", "x", "owner-3", "link-eth0-odd-4", "link-eth0-tc-x", "A@b", "owner-a-1"] {
            check(other, Pin::Other(other.to_owned()));
        }
    }
}
