//! The program on its interfaces: native or generic XDP, or tc ingress; each replaced in one step.

use std::fmt;
use std::os::fd::OwnedFd;

use super::Packet;

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
    #[error("no such interface")]
    NoInterface,
}

/// Something that the operator should know and that stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Pins of another layout were not taken over.
    Layout { found: u32 },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout { found } => write!(f, "layout {found}"),
        }
    }
}

impl Packet {
    /// Puts the program on an interface, in one step in the place of what this instance had there; pins it. To be
    /// called again when an interface has come back.
    ///
    /// # Errors
    /// When the interface is not there or does not take the program.
    pub fn attach(&mut self, interface: &str, wanted: AttachWanted) -> Result<Attached, AttachError> {
        let _ = (interface, wanted, &mut self.attached);
        Err(AttachError::NoInterface)
    }

    /// Takes the program off an interface.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn detach(&mut self, interface: &str) -> Result<(), AttachError> {
        let _ = (interface, &mut self.attached);
        Err(AttachError::NoInterface)
    }

    /// Pins the maps; ends links of this instance on interfaces that this process did not [`attach`](Self::attach) to.
    /// Called once everything is filled and attached.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn publish(&mut self) -> Result<(), AttachError> {
        let _ = &mut self.attached;
        Ok(())
    }

    /// Where the program is.
    pub fn attached(&self) -> &[(String, Attached)] {
        &self.attached
    }

    /// What was noticed since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// A clean stop: detaches and removes everything, unless a successor has taken over.
    pub fn unpin_all(&mut self) {
        let _ = &mut self.attached;
    }
}

pub(super) fn detach_pinned_link(directory: &OwnedFd, name: &str) {
    let _ = (directory, name);
}

pub(super) fn detach_filter(interface: &str, network: u64) {
    let _ = (interface, network);
}
