//! What is pinned in an instance's folder, and by which names.
//!
//! A name says all that the kernel does not keep: a link its interface, kind and network namespace, a map the layout
//! of its values. Names have no dots, which the BPF filesystem keeps for itself.

use std::fmt;
use std::os::fd::OwnedFd;

use rustix::fs::{self, AtFlags, Dir};
use rustix::io::Errno;

use super::attach::{self, Attached};
use super::instance::open_folder;

/// Maps that outlive the process, by their names in the object. All others belong to one process's configuration.
pub(super) const SURVIVING: &[Surviving] = &[
    Surviving { name: "CONNECTIONS", reuse: true },
    Surviving { name: "FRAGMENTS", reuse: true },
    Surviving { name: "STATISTICS", reuse: true },
    Surviving { name: "COUNTERS", reuse: true },
    // A new process has its own; it only reads which server had which index.
    Surviving { name: "SERVERS", reuse: false },
];

/// A map that is pinned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surviving {
    pub(super) name: &'static str,
    /// Whether the next process goes on with it.
    pub(super) reuse: bool,
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
            attach::detach_pinned_link(directory, &name);
            Some(format!("program on {interface} ({kind})"))
        }
        Pin::Filter { interface, network } => {
            attach::detach_filter(interface, *network);
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
