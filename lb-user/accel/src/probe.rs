//! What this kernel and our privileges allow, and the words for what they do not.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::packet::is_mounted;
use crate::{LoadError, SpliceWanted, SteerError, Wanted, loader};

/// `CAP_NET_ADMIN`, the bit in the kernel's capability sets: attach to sockets.
const CAP_NET_ADMIN: u32 = 12;
/// `CAP_SYS_ADMIN`: stands for all the others.
const CAP_SYS_ADMIN: u32 = 21;
/// `CAP_PERFMON`: let a program read kernel structures.
const CAP_PERFMON: u32 = 38;
/// `CAP_BPF`: load programs and create maps.
const CAP_BPF: u32 = 39;

/// The oldest kernel that the sockmap program is used on: older ones lose data between sockets.
const SOCKMAP_KERNEL_MIN: Kernel = Kernel { major: 6, minor: 1 };

/// A kernel's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kernel {
    pub major: u32,
    pub minor: u32,
}

impl Kernel {
    /// The version at the start of `uname -r`.
    fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Self { major: numbers.next()?.ok()?, minor: numbers.next()?.ok()? })
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What the decision needs to know about machine and process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    kernel: Option<Kernel>,
    /// The effective capabilities, a bit each.
    capabilities: u64,
    /// Whether the kernel describes its types.
    btf: bool,
    /// Whether the sockmap object is in this binary.
    sockmap_object: bool,
    /// Whether the packet object is.
    packet_object: bool,
    /// Whether the BPF filesystem is mounted.
    bpffs: bool,
}

impl Host {
    /// Asks the machine we run on.
    pub fn read() -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            kernel: Kernel::parse(&release),
            capabilities: effective_capabilities(&status).unwrap_or(0),
            btf: Path::new(loader::KERNEL_BTF).exists(),
            sockmap_object: !loader::SOCKMAP.is_empty(),
            packet_object: !loader::PACKET.is_empty(),
            bpffs: is_mounted(),
        }
    }

    /// The kernel's version, if it has one that can be read.
    pub fn kernel(&self) -> Option<Kernel> {
        self.kernel
    }

    /// Whether the BPF filesystem is where pins go.
    pub fn has_bpffs(&self) -> bool {
        self.bpffs
    }

    /// Whether `mode packet` and the shield can be: `accel` is `ebpf.accel`. They have no twin in userspace.
    ///
    /// # Errors
    /// The first reason why not.
    pub fn packet(&self, accel: bool) -> Result<(), Unavailable> {
        if !accel {
            return Err(Unavailable::SwitchedOff);
        }
        if !self.packet_object {
            return Err(Unavailable::NoObject);
        }
        if self.kernel < Some(SOCKMAP_KERNEL_MIN) {
            return Err(Unavailable::Kernel(self.kernel));
        }
        let mut needed = vec![Capability(CAP_BPF), Capability(CAP_NET_ADMIN), Capability(CAP_PERFMON)];
        if !self.bpffs {
            // Only with it may the filesystem be mounted.
            needed.push(Capability(CAP_SYS_ADMIN));
        }
        let missing = self.missing(&needed);
        if missing.is_empty() { Ok(()) } else { Err(Unavailable::Privileges(missing)) }
    }

    fn missing(&self, needed: &[Capability]) -> Vec<Capability> {
        let has = |bit: u32| self.capabilities & (1 << bit) != 0;
        needed.iter().copied().filter(|capability| !has(capability.0) && !has(CAP_SYS_ADMIN)).collect()
    }
}

/// A Linux capability by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability(u32);

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CAP_NET_ADMIN => f.write_str("CAP_NET_ADMIN"),
            CAP_PERFMON => f.write_str("CAP_PERFMON"),
            CAP_BPF => f.write_str("CAP_BPF"),
            CAP_SYS_ADMIN => f.write_str("CAP_SYS_ADMIN to mount the BPF filesystem"),
            other => write!(f, "capability {other}"),
        }
    }
}

/// Why a kernel feature is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// `ebpf.accel off`.
    #[error("ebpf.accel off")]
    SwitchedOff,
    /// The feature needs a word in the configuration.
    #[error("not asked for; 'ebpf.splice sockmap' does")]
    NotAsked,
    /// No section is in `mode packet`, and there is no shield.
    #[error("not asked for; 'mode packet' and 'ebpf.shield' do")]
    PacketNotAsked,
    /// No bind has anything to steer.
    #[error("not asked for; 'ebpf.steer' does")]
    SteerNotAsked,
    /// `noreuseport`: a bind has one socket, and nothing to choose from.
    #[error("noreuseport")]
    NoReuseport,
    /// One worker, one socket.
    #[error("every address has one socket")]
    OneSocket,
    /// No section leaves bytes to splice(2).
    #[error("not asked for; 'option splice-auto' does")]
    SpliceNotAsked,
    /// `nosplice`, `-dS`.
    #[error("nosplice")]
    NoSplice,
    /// `ebpf.splice off`.
    #[error("ebpf.splice off")]
    SpliceOff,
    /// The kernel refuses splice(2).
    #[error("the kernel refuses it: {0}")]
    Splice(std::io::Error),
    /// The daemon was built without the eBPF toolchain.
    #[error("built without kernel objects")]
    NoObject,
    /// The kernel is too old, or not one we can name.
    #[error("needs kernel {SOCKMAP_KERNEL_MIN}, this is {}", .0.map_or("unknown".to_owned(), |kernel| kernel.to_string()))]
    Kernel(Option<Kernel>),
    /// The kernel has no BTF.
    #[error("the kernel does not describe its types in {}", loader::KERNEL_BTF)]
    NoBtf,
    /// The process lacks privileges.
    #[error("needs {}", names(.0))]
    Privileges(Vec<Capability>),
    /// The kernel refused.
    #[error(transparent)]
    Load(LoadError),
    /// It refused the sockets, or the programs that choose among them.
    #[error(transparent)]
    Steer(SteerError),
}

fn names(capabilities: &[Capability]) -> String {
    let names: Vec<_> = capabilities.iter().map(Capability::to_string).collect();
    names.join(", ")
}

/// Whether to try to load the sockmap program.
pub(crate) fn sockmap(wanted: Wanted, host: &Host) -> Result<(), Unavailable> {
    if !wanted.accel {
        return Err(Unavailable::SwitchedOff);
    }
    if !wanted.sockmap {
        return Err(Unavailable::NotAsked);
    }
    if !host.sockmap_object {
        return Err(Unavailable::NoObject);
    }
    if host.kernel < Some(SOCKMAP_KERNEL_MIN) {
        return Err(Unavailable::Kernel(host.kernel));
    }
    if !host.btf {
        return Err(Unavailable::NoBtf);
    }
    let missing = host.missing(&[Capability(CAP_BPF), Capability(CAP_NET_ADMIN), Capability(CAP_PERFMON)]);
    if missing.is_empty() { Ok(()) } else { Err(Unavailable::Privileges(missing)) }
}

/// Whether to try to steer new connections.
pub(crate) fn steering(accel: bool, object: bool, host: &Host) -> Result<(), Unavailable> {
    if !accel {
        return Err(Unavailable::SwitchedOff);
    }
    if !object {
        return Err(Unavailable::NoObject);
    }
    // What both programs need is there since 5.14; the oldest kernel that anything here is tested on is the same for all.
    if host.kernel < Some(SOCKMAP_KERNEL_MIN) {
        return Err(Unavailable::Kernel(host.kernel));
    }
    let missing = host.missing(&[Capability(CAP_BPF), Capability(CAP_NET_ADMIN)]);
    if missing.is_empty() { Ok(()) } else { Err(Unavailable::Privileges(missing)) }
}

/// Whether splice(2) will be used: what the configuration says, then what the kernel does.
pub(crate) fn splice(wanted: SpliceWanted) -> Result<(), Unavailable> {
    match wanted {
        SpliceWanted::Asked => sockeye_sys::splice::probe().map_err(Unavailable::Splice),
        SpliceWanted::NotAsked => Err(Unavailable::SpliceNotAsked),
        SpliceWanted::NoSplice => Err(Unavailable::NoSplice),
        SpliceWanted::Off => Err(Unavailable::SpliceOff),
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted { accel: true, sockmap: true, splice: SpliceWanted::Asked };
    const ABLE: Host = Host {
        kernel: Some(Kernel { major: 6, minor: 12 }),
        capabilities: u64::MAX,
        btf: true,
        sockmap_object: true,
        packet_object: true,
        bpffs: true,
    };

    fn check(wanted: Wanted, host: Host, expected: &str) {
        let text = sockmap(wanted, &host).map_or_else(|reason| reason.to_string(), |()| "on".to_owned());
        assert_eq!(text, expected);
    }

    #[test]
    fn first_reason_that_holds() {
        check(WANTED, ABLE, "on");
        check(Wanted { accel: false, ..WANTED }, ABLE, "ebpf.accel off");
        check(Wanted { sockmap: false, ..WANTED }, ABLE, "not asked for; 'ebpf.splice sockmap' does");
        check(WANTED, Host { sockmap_object: false, ..ABLE }, "built without kernel objects");
        check(
            WANTED,
            Host { kernel: Kernel::parse("5.15.0-91-generic"), ..ABLE },
            "needs kernel 6.1, this is 5.15",
        );
        check(WANTED, Host { kernel: None, ..ABLE }, "needs kernel 6.1, this is unknown");
        check(
            WANTED,
            Host { btf: false, ..ABLE },
            "the kernel does not describe its types in /sys/kernel/btf/vmlinux",
        );
        check(WANTED, Host { capabilities: 0, ..ABLE }, "needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON");
        check(WANTED, Host { capabilities: 1 << CAP_NET_ADMIN, ..ABLE }, "needs CAP_BPF, CAP_PERFMON");
        check(WANTED, Host { capabilities: 1 << CAP_SYS_ADMIN, ..ABLE }, "on");
    }

    #[test]
    fn steering_needs_less() {
        let check = |accel, object, host: Host, expected: &str| {
            let text =
                steering(accel, object, &host).map_or_else(|reason| reason.to_string(), |()| "on".to_owned());
            assert_eq!(text, expected);
        };
        check(true, true, Host { btf: false, ..ABLE }, "on");
        check(false, true, ABLE, "ebpf.accel off");
        check(true, false, ABLE, "built without kernel objects");
        check(true, true, Host { kernel: Kernel::parse("5.10.0"), ..ABLE }, "needs kernel 6.1, this is 5.10");
        check(true, true, Host { capabilities: 0, ..ABLE }, "needs CAP_BPF, CAP_NET_ADMIN");
    }

    #[test]
    fn packets_need_the_filesystem_too() {
        let check = |accel, host: Host, expected: &str| {
            let text = host.packet(accel).map_or_else(|reason| reason.to_string(), |()| "on".to_owned());
            assert_eq!(text, expected);
        };
        check(true, Host { btf: false, ..ABLE }, "on");
        check(false, ABLE, "ebpf.accel off");
        check(true, Host { packet_object: false, ..ABLE }, "built without kernel objects");
        check(true, Host { kernel: Kernel::parse("5.15.0"), ..ABLE }, "needs kernel 6.1, this is 5.15");
        let three = 1 << CAP_BPF | 1 << CAP_NET_ADMIN | 1_u64 << CAP_PERFMON;
        check(true, Host { capabilities: three, ..ABLE }, "on");
        let unmounted = Host { capabilities: three, bpffs: false, ..ABLE };
        check(true, unmounted, "needs CAP_SYS_ADMIN to mount the BPF filesystem");
        check(true, Host { capabilities: u64::MAX, ..unmounted }, "on");
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(Kernel::parse("6.18.44-x"), Some(Kernel { major: 6, minor: 18 }));
        assert_eq!(Kernel::parse("unknown"), None);
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n";
        assert_eq!(effective_capabilities(status), Some(0x1ff_ffff_ffff));
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }
}
