//! How the program gets onto an interface, and why it does not: native or generic XDP, or tc ingress.

use std::fmt;
use std::io;

use super::Packet;
use super::pins::Notice;
use crate::bpf;
use crate::loader::LoadError;
use crate::netlink::Interface;

/// Drivers want a packet, room in front of it and their own data behind it in one page of 4096 bytes; none of them
/// takes more than this without XDP programs that understand several buffers.
pub(crate) const NATIVE_MTU_MAX: u32 = 3_506;

/// How the program is to be attached: `ebpf.attach`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttachWanted {
    /// Native XDP on hardware whose driver has it, else tc.
    #[default]
    Auto,
    Native,
    Generic,
    Tc,
}

impl AttachWanted {
    /// What to try on an interface, in this order.
    pub(crate) fn order(self, hardware: bool) -> &'static [Attached] {
        match self {
            // Virtual interfaces carry packets of 64 KiB without checksums, which XDP would have to take apart.
            Self::Auto if hardware => &[Attached::Native, Attached::Tc, Attached::Generic],
            Self::Auto => &[Attached::Tc, Attached::Generic],
            Self::Native => &[Attached::Native],
            Self::Generic => &[Attached::Generic],
            Self::Tc => &[Attached::Tc],
        }
    }
}

/// How the program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// XDP in the driver.
    Native,
    /// XDP in the kernel's stack.
    Generic,
    /// At the ingress of traffic control: tcx, or a filter of `clsact` on kernels before 6.6.
    Tc,
}

impl Attached {
    pub(super) fn from_word(word: &str) -> Option<Self> {
        [Self::Native, Self::Generic, Self::Tc].into_iter().find(|kind| kind.word() == word)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tc => "tc",
        }
    }
}

impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why the program is not on an interface.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("{0}: no such interface")]
    NoInterface(String),
    #[error("{interface} belongs to instance '{instance}': end that one, or 'sockeye --unload {instance}'")]
    Taken { interface: String, instance: String },
    #[error(
        "{interface}: another XDP program is on it, '{program}' (number {id}): detach it, or 'ebpf.attach tc'"
    )]
    Busy { interface: String, program: String, id: u32 },
    #[error("{0}: its driver has no native XDP: 'ebpf.attach' auto, tc or generic")]
    NoNative(String),
    #[error("{interface}: an MTU of {mtu} is too large for native XDP, which ends at about {NATIVE_MTU_MAX}")]
    Mtu { interface: String, mtu: u32 },
    #[error("needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")]
    Privileges,
    #[error("a later process has taken over")]
    Superseded,
    #[error("{interface}: the kernel does not take the program ({kind}): {error}")]
    Kernel { interface: String, kind: Attached, error: io::Error },
    #[error("{0}")]
    Program(#[from] LoadError),
    #[error("the object has no {0}")]
    Missing(&'static str),
    #[error("cannot ask for the interface: {0}")]
    Netlink(#[source] io::Error),
    #[error("cannot change what is pinned: {0}")]
    Pins(#[source] io::Error),
}

impl Packet {
    /// Puts the program on an interface, in one step in the place of what this instance had there, and pins it. To be
    /// called when everything is filled, and again when an interface has come back; attaching twice changes nothing.
    ///
    /// # Errors
    /// When the interface is not there or does not take the program, or when a later process has taken over.
    pub fn attach(&mut self, interface: &str, wanted: AttachWanted) -> Result<Attached, AttachError> {
        self.places.attach(&mut self.object, interface, wanted)
    }

    /// Takes the program off an interface.
    ///
    /// # Errors
    /// When a later process has taken over, or the pins cannot be changed.
    pub fn detach(&mut self, interface: &str) -> Result<(), AttachError> {
        self.places.detach(interface)
    }

    /// Ends what this instance still has on interfaces that this process did not [`attach`](Self::attach) to, and
    /// removes pins of other layouts. Called once all interfaces are attached.
    ///
    /// # Errors
    /// When a later process has taken over, or the pins cannot be changed.
    pub fn publish(&mut self) -> Result<(), AttachError> {
        self.places.publish()
    }

    /// Interfaces where our program should be and is not: a successor failed after it had taken them, the interface was
    /// made anew under its number, or somebody changed it by hand. They have to be attached again. Empty when a later
    /// process has taken over.
    pub fn lost(&mut self) -> Vec<String> {
        self.places.lost()
    }

    /// Where the program is, by the interfaces' names.
    pub fn attached(&self) -> &[(String, Attached)] {
        &self.places.attached
    }

    /// What was noticed since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.places.notices)
    }

    /// A clean stop: takes the program off everywhere and removes all pins, unless a later process has taken over,
    /// whether it still runs or not.
    /// Afterwards this process has nothing attached, and does not own the instance.
    pub fn unpin_all(&mut self) {
        self.places.unpin_all();
    }

    /// Instead of [`publish`](Self::publish), when the start fails: gives back to the program before us the interfaces
    /// that it had, with its servers, and takes ours off all others. Filters of `clsact` (kernels before 6.6) keep ours.
    pub fn abandon(&mut self) {
        self.places.abandon();
    }

    /// From now on tc uses filters of `clsact`, as on kernels without tcx (before 6.6).
    #[doc(hidden)]
    pub fn use_filters(&mut self) {
        self.places.filters_only = true;
    }
}

/// Why the kernel did not make an XDP link, in words.
pub(super) fn xdp_refused(error: io::Error, kind: Attached, facts: &Interface) -> AttachError {
    let interface = facts.name.clone();
    let native = kind == Attached::Native;
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) if facts.xdp.is_some() => {
            let id = facts.xdp.map_or(0, |xdp| xdp.program);
            AttachError::Busy { interface, program: bpf::program_name(id).unwrap_or_default(), id }
        }
        Some(libc::EOPNOTSUPP) if native => AttachError::NoNative(interface),
        Some(libc::EINVAL | libc::ERANGE | libc::EOPNOTSUPP) if native && facts.mtu > 1500 => {
            AttachError::Mtu { interface, mtu: facts.mtu }
        }
        _ => refused(error, kind, facts),
    }
}

pub(super) fn refused(error: io::Error, kind: Attached, facts: &Interface) -> AttachError {
    let interface = facts.name.clone();
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => AttachError::Privileges,
        Some(libc::ENODEV) => AttachError::NoInterface(interface),
        _ => AttachError::Kernel { interface, kind, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_in_words() {
        let facts = |mtu| Interface {
            index: 2,
            name: "eth0".to_owned(),
            mtu,
            loopback: false,
            kind: None,
            hardware: true,
            xdp: None,
        };
        let check = |code: i32, kind, mtu, expected: &str| {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(xdp_refused(error, kind, &facts(mtu)).to_string(), expected);
        };
        let (native, generic) = (Attached::Native, Attached::Generic);
        check(
            libc::EOPNOTSUPP,
            native,
            1500,
            "eth0: its driver has no native XDP: 'ebpf.attach' auto, tc or generic",
        );
        let mtu = "eth0: an MTU of 9000 is too large for native XDP, which ends at about 3506";
        check(libc::EINVAL, native, 9000, mtu);
        check(libc::ERANGE, native, 9000, mtu);
        check(libc::EPERM, generic, 1500, "needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON");
        check(libc::ENODEV, generic, 1500, "eth0: no such interface");
        check(
            libc::ENOMEM,
            generic,
            1500,
            "eth0: the kernel does not take the program (generic): Cannot allocate memory (os error 12)",
        );
    }

    #[test]
    fn order_of_attempts() {
        use Attached::{Generic, Native, Tc};
        let check = |wanted: AttachWanted, hardware, expected: &[Attached]| {
            assert_eq!(wanted.order(hardware), expected);
        };
        check(AttachWanted::Auto, true, &[Native, Tc, Generic]);
        check(AttachWanted::Auto, false, &[Tc, Generic]);
        check(AttachWanted::Native, false, &[Native]);
        check(AttachWanted::Generic, true, &[Generic]);
        check(AttachWanted::Tc, true, &[Tc]);
    }
}
