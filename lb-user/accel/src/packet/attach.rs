//! The program on its interfaces: native or generic XDP, or tc ingress; each replaced in one step.
//!
//! What is attached is pinned by a name that says where, so that it outlives this process and the next one finds it.
//! tc is a tcx link where the kernel has them (6.6), else a filter of `clsact`, which lives without a link.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use aya::Ebpf;
use aya::programs::tc::{self, SchedClassifierLink, TcAttachOptions, TcHandle};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp, tc::NlOptions};

use super::instance::{self, Folder};
use super::pins::{self, Notice, Pin, Pins};
use super::{PROGRAM, Packet};
use crate::bpf;
use crate::loader::LoadError;
use crate::netlink::{self, Interface};

/// Name of the tc program in its object.
const PROGRAM_TC: &str = "packet_tc";
/// Place of our filter among those of `clsact`: in front of what gets its number from the kernel (49152 and up).
const FILTER_PRIORITY: u16 = 0x50ce;
/// Our filter at that place.
const FILTER_HANDLE: TcHandle = TcHandle::new(0, 1);
/// `XDP_FLAGS_SKB_MODE`.
const XDP_GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
const XDP_NATIVE: u32 = 1 << 2;
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

/// Where a program is, and what is pinned.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) pins: Option<Pins>,
    held: Vec<Held>,
    attached: Vec<(String, Attached)>,
    notices: Vec<Notice>,
    /// As on a kernel without tcx.
    filters_only: bool,
}

/// One place that the program is at.
#[derive(Debug)]
struct Held {
    /// Says the interface and the kind.
    pin: Pin,
    /// None for a filter.
    link: Option<OwnedFd>,
    /// Number of the interface.
    index: u32,
    pinned: bool,
    /// It was there before us.
    found: bool,
    /// Our program runs there.
    ours: bool,
    /// The program that was there before ours, until we have [published](Places::publish).
    previous: Option<OwnedFd>,
}

impl Held {
    fn kind(&self) -> Attached {
        match self.pin {
            Pin::Link { kind, .. } => kind,
            _ => Attached::Tc,
        }
    }

    fn interface(&self) -> &str {
        match &self.pin {
            Pin::Link { interface, .. } | Pin::Filter { interface, .. } => interface,
            _ => "",
        }
    }

    /// Takes the program off.
    fn end(self, folder: Option<&Folder>) {
        if let Some(link) = &self.link {
            // An interface that is gone has no program to detach.
            let _ = bpf::link_detach(link);
        }
        match (folder, self.pinned) {
            (Some(folder), true) => {
                let _ = pins::remove(folder.directory(), &self.pin);
            }
            _ => detach_unpinned(&self.pin),
        }
    }
}

impl Places {
    pub(super) fn new(pins: Option<Pins>, notices: Vec<Notice>) -> Self {
        Self { pins, held: Vec::new(), attached: Vec::new(), notices, filters_only: false }
    }

    fn attach(
        &mut self,
        object: &mut Ebpf,
        interface: &str,
        wanted: AttachWanted,
    ) -> Result<Attached, AttachError> {
        let facts = netlink::interface(interface).map_err(AttachError::Netlink)?;
        let facts = facts.ok_or_else(|| AttachError::NoInterface(interface.to_owned()))?;
        let _lock = self.pins.as_mut().map(Pins::enter).transpose()?;
        // Two programs one behind the other would both change packets.
        let folder = self.pins.as_ref().map(Pins::folder);
        if let Some(folder) = folder
            && let Some(instance) = instance::holder(&facts, folder.network(), Some(folder.name()))
        {
            return Err(AttachError::Taken { interface: facts.name, instance });
        }
        let mut existing = self.existing(&facts)?;
        let mut refused = None;
        for &kind in wanted.order(facts.hardware) {
            match self.attach_as(object, kind, &facts, &mut existing) {
                Ok(held) => {
                    for other in existing {
                        other.end(self.pins.as_ref().map(Pins::folder));
                    }
                    if let Some(reason) = refused {
                        self.notices.push(Notice::Fallback {
                            interface: interface.to_owned(),
                            kind,
                            reason: Box::new(reason),
                        });
                    }
                    self.held.push(held);
                    self.list();
                    return Ok(kind);
                }
                // Of several reasons, the one against what is best.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        // What is there goes on; whose it is stays as it was.
        self.held.extend(existing.into_iter().filter(|held| held.ours));
        self.list();
        Err(refused.unwrap_or(AttachError::Missing(PROGRAM)))
    }

    /// What this instance has on the interface; links of an interface that was gone meanwhile are removed.
    fn existing(&mut self, facts: &Interface) -> Result<Vec<Held>, AttachError> {
        let mut existing = Vec::new();
        for held in std::mem::take(&mut self.held) {
            let same = held.interface() == facts.name || held.index == facts.index;
            if !same {
                self.held.push(held);
            } else if held.index == facts.index && !is_dead(&held) {
                existing.push(held);
            } else {
                held.end(self.pins.as_ref().map(Pins::folder));
            }
        }
        let Some(pins) = &self.pins else { return Ok(existing) };
        let folder = pins.folder();
        for pin in pins::list(folder.directory()).map_err(|error| AttachError::Pins(error.into()))? {
            if existing.iter().chain(&self.held).any(|held| held.pin == pin) {
                continue;
            }
            match &pin {
                Pin::Link { interface, network, .. } if *network == folder.network() => {
                    let Ok(link) = bpf::object_get(folder.directory(), &pin.to_string()) else { continue };
                    let index = bpf::link_info(&link).ok().flatten().map_or(0, |info| info.interface);
                    let held = Held {
                        pin: pin.clone(),
                        link: Some(link),
                        index,
                        pinned: true,
                        found: true,
                        ours: false,
                        previous: None,
                    };
                    if index == facts.index {
                        existing.push(held);
                    } else if index == 0 && *interface == facts.name {
                        held.end(Some(folder));
                    }
                }
                Pin::Filter { interface, network }
                    if *network == folder.network() && *interface == facts.name =>
                {
                    existing.push(Held {
                        pin,
                        link: None,
                        index: facts.index,
                        pinned: true,
                        found: true,
                        ours: false,
                        previous: None,
                    });
                }
                _ => {}
            }
        }
        Ok(existing)
    }

    /// Attaches as one kind: in the place of what is there of the same kind, else anew.
    fn attach_as(
        &self,
        object: &mut Ebpf,
        kind: Attached,
        facts: &Interface,
        existing: &mut Vec<Held>,
    ) -> Result<Held, AttachError> {
        let program = program(object, kind)?;
        let at = existing.iter().position(|held| held.kind() == kind && held.link.is_some());
        if let Some(at) = at.filter(|_| kind != Attached::Tc || !self.filters_only) {
            let mut held = existing.swap_remove(at);
            if let Some(link) = &held.link {
                let returns = held.found && self.pins.as_ref().is_some_and(|pins| !pins.is_published());
                let previous = returns.then(|| bpf::link_program(link).ok()).flatten();
                if bpf::link_update(link, &program).is_ok() {
                    held.previous = held.previous.or(previous);
                    held.ours = true;
                    return Ok(held);
                }
            }
            held.end(self.pins.as_ref().map(Pins::folder));
        }
        if kind == Attached::Tc {
            return self.attach_tc(object, &program, facts, existing);
        }
        // The kernel has one kind of XDP on an interface at a time.
        let others =
            existing.extract_if(.., |held| matches!(held.kind(), Attached::Native | Attached::Generic));
        others.for_each(|held| held.end(self.pins.as_ref().map(Pins::folder)));
        let flags = if kind == Attached::Native { XDP_NATIVE } else { XDP_GENERIC };
        let link = bpf::link_create(&program, facts.index, bpf::XDP, flags)
            .map_err(|error| xdp_refused(error, kind, facts))?;
        self.hold_link(link, kind, facts)
    }

    fn attach_tc(
        &self,
        object: &mut Ebpf,
        program: &OwnedFd,
        facts: &Interface,
        existing: &mut Vec<Held>,
    ) -> Result<Held, AttachError> {
        if !self.filters_only {
            match bpf::link_create(program, facts.index, bpf::TCX_INGRESS, 0) {
                Ok(link) => return self.hold_link(link, Attached::Tc, facts),
                // A kernel before 6.6 does not know tcx.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                Err(error) => return Err(refused(error, Attached::Tc, facts)),
            }
        }
        let network = self.pins.as_ref().map_or(0, |pins| pins.folder().network());
        let pin = Pin::Filter { interface: facts.name.clone(), network };
        attach_filter(tc_program(object)?, facts)?;
        existing.retain(|held| held.pin != pin);
        let pinned = match &self.pins {
            Some(pins) => pins.pin(program, &pin).map(|()| true).map_err(AttachError::Pins)?,
            None => false,
        };
        Ok(Held { pin, link: None, index: facts.index, pinned, found: false, ours: true, previous: None })
    }

    fn hold_link(&self, link: OwnedFd, kind: Attached, facts: &Interface) -> Result<Held, AttachError> {
        let network = self.pins.as_ref().map_or(0, |pins| pins.folder().network());
        let pin = Pin::Link { interface: facts.name.clone(), kind, network };
        let pinned = match &self.pins {
            Some(pins) => pins.pin(&link, &pin).map(|()| true).map_err(AttachError::Pins)?,
            None => false,
        };
        Ok(Held {
            pin,
            link: Some(link),
            index: facts.index,
            pinned,
            found: false,
            ours: true,
            previous: None,
        })
    }

    fn list(&mut self) {
        self.attached = self.held.iter().map(|held| (held.interface().to_owned(), held.kind())).collect();
        self.attached.sort_by(|a, b| a.0.cmp(&b.0));
    }

    fn detach(&mut self, interface: &str) -> Result<(), AttachError> {
        let _lock = self.pins.as_mut().map(Pins::enter).transpose()?;
        let folder = self.pins.as_ref().map(Pins::folder);
        for held in self.held.extract_if(.., |held| held.interface() == interface) {
            held.end(folder);
        }
        self.list();
        Ok(())
    }

    fn publish(&mut self) -> Result<(), AttachError> {
        let Some(pins) = &mut self.pins else { return Ok(()) };
        let _lock = pins.enter()?;
        let held = &self.held;
        pins.keep_only(|pin| held.iter().any(|held| held.pin == *pin)).map_err(AttachError::Pins)?;
        pins.forget_previous();
        self.held.iter_mut().for_each(|held| held.previous = None);
        Ok(())
    }

    fn abandon(&mut self) {
        let Some(pins) = self.pins.take() else { return self.unpin_all() };
        let restore = |held: Held| match (&held.link, &held.previous) {
            (Some(link), Some(previous)) => {
                // A link without an interface has nothing to go back to.
                let _ = bpf::link_update(link, previous);
            }
            _ if held.found => {}
            _ => held.end(Some(pins.folder())),
        };
        pins.give_back(|| self.held.drain(..).for_each(restore));
        self.held.clear();
        self.attached.clear();
    }

    fn unpin_all(&mut self) {
        match self.pins.take() {
            // A successor's links are not ours to end; closing our descriptors of them changes nothing.
            Some(pins) => pins.leave(),
            None => self.end_unpinned(),
        }
        self.held.clear();
        self.attached.clear();
    }

    fn end_unpinned(&mut self) {
        for held in self.held.extract_if(.., |held| !held.pinned) {
            held.end(None);
        }
    }
}

impl Drop for Places {
    /// What is not pinned is not meant to outlive us; links end by themselves.
    fn drop(&mut self) {
        self.end_unpinned();
    }
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

    /// Where the program is, by the interfaces' names.
    pub fn attached(&self) -> &[(String, Attached)] {
        &self.places.attached
    }

    /// What was noticed since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.places.notices)
    }

    /// A clean stop: takes the program off everywhere and removes all pins, unless a later process has taken over.
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

/// A link whose interface is gone.
fn is_dead(held: &Held) -> bool {
    held.link.as_ref().is_some_and(|link| {
        bpf::link_info(link).ok().flatten().is_none_or(|info| info.interface != held.index)
    })
}

/// The loaded program for a kind; the one for tc is loaded when first needed.
fn program(object: &mut Ebpf, kind: Attached) -> Result<OwnedFd, AttachError> {
    let fd = if kind == Attached::Tc {
        let program = tc_program(object)?;
        if program.fd().is_err() {
            program.load().map_err(load_refused)?;
        }
        program.fd().map_err(LoadError::from)?.as_fd().try_clone_to_owned()
    } else {
        let program = object.program_mut(PROGRAM).ok_or(AttachError::Missing(PROGRAM))?;
        let program: &mut Xdp = program.try_into().map_err(LoadError::from)?;
        program.fd().map_err(LoadError::from)?.as_fd().try_clone_to_owned()
    };
    fd.map_err(AttachError::Pins)
}

fn tc_program(object: &mut Ebpf) -> Result<&mut SchedClassifier, AttachError> {
    let program = object.program_mut(PROGRAM_TC).ok_or(AttachError::Missing(PROGRAM_TC))?;
    Ok(program.try_into().map_err(LoadError::from)?)
}

fn load_refused(error: ProgramError) -> AttachError {
    match &error {
        ProgramError::LoadError { io_error, .. } if io_error.raw_os_error() == Some(libc::EPERM) => {
            AttachError::Privileges
        }
        _ => AttachError::Program(error.into()),
    }
}

/// Why the kernel did not make an XDP link, in words.
fn xdp_refused(error: io::Error, kind: Attached, facts: &Interface) -> AttachError {
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

fn refused(error: io::Error, kind: Attached, facts: &Interface) -> AttachError {
    let interface = facts.name.clone();
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => AttachError::Privileges,
        Some(libc::ENODEV) => AttachError::NoInterface(interface),
        _ => AttachError::Kernel { interface, kind, error },
    }
}

/// Our filter at the ingress of `clsact`: replaced if it is there, which the kernel does in one step.
fn attach_filter(program: &mut SchedClassifier, facts: &Interface) -> Result<(), AttachError> {
    let failed = |error: ProgramError| match &error {
        ProgramError::TcError(tc::TcError::NetlinkError(cause)) => {
            let code = cause.raw_os_error().unwrap_or(libc::EIO);
            refused(io::Error::from_raw_os_error(code), Attached::Tc, facts)
        }
        _ => AttachError::Program(error.into()),
    };
    let name = &facts.name;
    let there = filter(name).map_err(|_| AttachError::NoInterface(name.clone()))?;
    let id = match program.attach_to_link(there) {
        Ok(id) => id,
        Err(_) => {
            // It may be there already; if not, the filter is refused.
            let _ = tc::qdisc_add_clsact(name);
            let options = NlOptions { priority: FILTER_PRIORITY, handle: FILTER_HANDLE, classid: None };
            program
                .attach_with_options(name, TcAttachType::Ingress, TcAttachOptions::Netlink(options))
                .map_err(failed)?
        }
    };
    // Dropping it would detach it.
    std::mem::forget(program.take_link(id).map_err(LoadError::from)?);
    Ok(())
}

fn filter(interface: &str) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, TcAttachType::Ingress, FILTER_PRIORITY, FILTER_HANDLE, None)
}

/// The number of the program that our filter on an interface has, if it is there.
pub(super) fn filter_program(index: u32) -> Option<u32> {
    netlink::ingress_filter(index, FILTER_PRIORITY, FILTER_HANDLE.into())
}

/// Takes the program of a pin off its interface.
pub(super) fn detach_pinned(directory: &OwnedFd, pin: &Pin) {
    match pin {
        Pin::Link { .. } => {
            if let Ok(link) = bpf::object_get(directory, &pin.to_string()) {
                // An interface that is gone has no program to detach.
                let _ = bpf::link_detach(link);
            }
        }
        _ => detach_unpinned(pin),
    }
}

fn detach_unpinned(pin: &Pin) {
    let Pin::Filter { interface, network } = pin else { return };
    // 0: held by a process without an instance. A namespace that cannot be read is the one that we have been in: only
    // the root has changed.
    let elsewhere = *network != 0 && instance::network_namespace().is_ok_and(|ours| ours != *network);
    if !elsewhere {
        // Dropping the link detaches the filter, if the interface still has it.
        drop(filter(interface));
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
