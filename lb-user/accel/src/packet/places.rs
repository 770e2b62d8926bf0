//! Where the program is: each place replaced in one step, pinned by a name that says where, found again by the next
//! process.
//!
//! tc is a tcx link where the kernel has them (6.6), else a filter of `clsact`, which lives without a link.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::Ebpf;
use aya::programs::{ProgramError, SchedClassifier, Xdp};

use super::PROGRAM;
use super::attach::{AttachError, AttachWanted, Attached, refused, xdp_refused};
use super::filter;
use super::instance::{self, Folder};
use super::pins::{self, Notice, Pin, Pins};
use crate::bpf;
use crate::loader::LoadError;
use crate::netlink::{self, Interface};

/// Name of the tc program in its object.
const PROGRAM_TC: &str = "packet_tc";
/// `XDP_FLAGS_SKB_MODE`.
const XDP_GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
const XDP_NATIVE: u32 = 1 << 2;

/// Where a program is, and what is pinned.
#[derive(Debug)]
pub(super) struct Places {
    pins: Option<Pins>,
    held: Vec<Held>,
    pub(super) attached: Vec<(String, Attached)>,
    pub(super) notices: Vec<Notice>,
    /// As on a kernel without tcx.
    pub(super) filters_only: bool,
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
    /// Our program runs there, or did until somebody changed that.
    ours: bool,
    /// The kernel's number of our program; 0 while there is none of ours.
    program: u32,
    /// The program that was there before ours, until we have [published](Places::publish).
    previous: Option<Previous>,
}

/// Somebody's program in a place that is ours now.
#[derive(Debug)]
enum Previous {
    OfLink(OwnedFd),
    /// A filter, as it was pinned, and its interface.
    OfFilter(Box<SchedClassifier>, Interface),
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

    /// The program that is there now: 0 for none, `None` if nobody can tell.
    fn runs(&self) -> Option<u32> {
        match &self.link {
            Some(link) => {
                let info = bpf::link_info(link).ok()??;
                Some(if info.interface == self.index { info.program } else { 0 })
            }
            None => Some(filter::program(self.index).unwrap_or_default()),
        }
    }

    /// Whether our program was there and is no longer.
    fn is_lost(&self) -> bool {
        self.program != 0 && self.runs().is_some_and(|program| program != self.program)
    }

    /// Whether another one is in its place.
    fn is_taken(&self) -> bool {
        self.is_lost() && self.runs().is_some_and(|program| program != 0)
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
            _ => filter::detach(&self.pin),
        }
    }
}

impl Places {
    pub(super) fn new(pins: Option<Pins>, notices: Vec<Notice>) -> Self {
        Self { pins, held: Vec::new(), attached: Vec::new(), notices, filters_only: false }
    }

    pub(super) fn attach(
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
                        program: 0,
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
                        program: 0,
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
                    held.previous = held.previous.or_else(|| previous.map(Previous::OfLink));
                    held.ours = true;
                    held.program = bpf::program_id(&program).unwrap_or_default();
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
        self.hold_link(link, &program, kind, facts)
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
                Ok(link) => return self.hold_link(link, program, Attached::Tc, facts),
                // A kernel before 6.6 does not know tcx.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                Err(error) => return Err(refused(error, Attached::Tc, facts)),
            }
        }
        let network = self.pins.as_ref().map_or(0, |pins| pins.folder().network());
        let pin = Pin::Filter { interface: facts.name.clone(), network };
        let mut previous = self.previous_filter(&pin, facts);
        filter::attach(tc_program(object)?, facts)?;
        for held in existing.extract_if(.., |held| held.pin == pin) {
            // What was there before us is what is remembered, however often we attach.
            if held.ours {
                previous = held.previous;
            }
        }
        let pinned = match &self.pins {
            Some(pins) => {
                // A filter that nobody knows of would stay for ever; a link ends by itself.
                pins.pin(program, &pin)
                    .inspect_err(|_| filter::detach(&pin))
                    .map(|()| true)
                    .map_err(AttachError::Pins)?
            }
            None => false,
        };
        Ok(Held {
            pin,
            link: None,
            index: facts.index,
            pinned,
            found: false,
            ours: true,
            program: bpf::program_id(program).unwrap_or_default(),
            previous,
        })
    }

    /// The predecessor's program of a filter, as long as it may have to go back.
    fn previous_filter(&self, pin: &Pin, facts: &Interface) -> Option<Previous> {
        let pins = self.pins.as_ref().filter(|pins| !pins.is_published())?;
        let program = SchedClassifier::from_pin(pins.folder().path().join(pin.to_string())).ok()?;
        Some(Previous::OfFilter(Box::new(program), facts.clone()))
    }

    fn hold_link(
        &self,
        link: OwnedFd,
        program: &OwnedFd,
        kind: Attached,
        facts: &Interface,
    ) -> Result<Held, AttachError> {
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
            program: bpf::program_id(program).unwrap_or_default(),
            previous: None,
        })
    }

    fn list(&mut self) {
        self.attached = self.held.iter().map(|held| (held.interface().to_owned(), held.kind())).collect();
        self.attached.sort_by(|a, b| a.0.cmp(&b.0));
    }

    pub(super) fn detach(&mut self, interface: &str) -> Result<(), AttachError> {
        let _lock = self.pins.as_mut().map(Pins::enter).transpose()?;
        let folder = self.pins.as_ref().map(Pins::folder);
        for held in self.held.extract_if(.., |held| held.interface() == interface) {
            held.end(folder);
        }
        self.list();
        Ok(())
    }

    pub(super) fn publish(&mut self) -> Result<(), AttachError> {
        let Some(pins) = &mut self.pins else { return Ok(()) };
        let _lock = pins.enter()?;
        let held = &self.held;
        pins.keep_only(|pin| held.iter().any(|held| held.pin == *pin)).map_err(AttachError::Pins)?;
        pins.forget_previous();
        self.held.iter_mut().for_each(|held| held.previous = None);
        Ok(())
    }

    pub(super) fn abandon(&mut self) {
        let Some(pins) = self.pins.take() else { return self.unpin_all() };
        // A place without an interface has nothing to go back to.
        let restore = |mut held: Held| match (&held.link, held.previous.take()) {
            (Some(link), Some(Previous::OfLink(previous))) => drop(bpf::link_update(link, previous)),
            (None, Some(Previous::OfFilter(mut previous, facts))) => {
                let _ = filter::attach(&mut previous, &facts);
                if let Ok(fd) = previous.fd().map(|fd| fd.as_fd().try_clone_to_owned()) {
                    let _ = fd.and_then(|fd| pins.pin(&fd, &held.pin));
                }
            }
            _ if held.found => {}
            _ => held.end(Some(pins.folder())),
        };
        pins.give_back(|| self.held.drain(..).for_each(restore));
        self.held.clear();
        self.attached.clear();
    }

    pub(super) fn lost(&mut self) -> Vec<String> {
        let superseded = |pins: &Pins| pins.folder().lock().is_err() || pins.folder().superseded();
        if self.pins.as_ref().is_some_and(superseded) {
            return Vec::new();
        }
        let lost = self.held.iter().filter(|held| held.is_lost());
        let lost: Vec<String> = lost.map(|held| held.interface().to_owned()).collect();
        if let Some(pins) = self.pins.as_mut().filter(|_| !lost.is_empty()) {
            // Whose program came between us may have pinned maps of its own.
            pins.pin_again();
        }
        lost
    }

    pub(super) fn unpin_all(&mut self) {
        // A successor that was killed has no mark any more, and its programs go on.
        let taken = self.held.iter().any(Held::is_taken);
        match self.pins.take() {
            Some(pins) if taken => pins.leave_all(),
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

/// Takes the program of a pin off its interface.
pub(super) fn detach_pinned(directory: &OwnedFd, pin: &Pin) {
    match pin {
        Pin::Link { .. } => {
            if let Ok(link) = bpf::object_get(directory, &pin.to_string()) {
                // An interface that is gone has no program to detach.
                let _ = bpf::link_detach(link);
            }
        }
        _ => filter::detach(pin),
    }
}
