//! Kernel offload: probe, load, and the user side of each kernel program.
//!
//! Nothing here is needed for a right result: whatever cannot be loaded is done in userspace, and one line at
//! start says why. One of the two crates where `unsafe` is allowed; each block says which invariant it keeps.
#![allow(unsafe_code)]

mod probe;

mod loader;

mod sockmap;

mod steer;

mod packet;

mod shield;

mod report;

mod batch;
mod bpf;
mod btf;
mod netlink;

use std::fmt;
use std::sync::Arc;

pub use btf::BtfError;
pub use loader::LoadError;
pub use packet::{
    AttachError, AttachWanted, Attached, Instance, InstanceError, Notice, Packet, PacketBackward,
    PacketError, PacketLines, PacketLink, PacketLoad, PacketRun, PacketServer, PacketService, PacketSizes,
    PacketSource, PacketVlan, TABLE_SIZE_MIN, endpoint,
};
pub use probe::{Host, Unavailable};
pub use report::{Asked, Report, xdp_transmit};
pub use shield::{
    Shield, ShieldEntry, ShieldError, ShieldHits, ShieldList, ShieldSaid, TooManyPrefixes, boot_clock,
};
pub use sockmap::{InsertError, Link, Sockmap};
pub use steer::{SteerError, SteerExact, SteerGroup, SteerMode, SteerOwned, SteerPlan, Steering, WorkerLoad};

/// What the configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// `ebpf.accel on`.
    pub accel: bool,
    /// `ebpf.splice sockmap`.
    pub sockmap: bool,
    pub splice: SpliceWanted,
}

/// What the configuration says about splice(2), which needs no kernel program and hence no `ebpf.accel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpliceWanted {
    /// Some section has `option splice-auto`, `splice-request` or `splice-response`.
    Asked,
    NotAsked,
    /// `nosplice`, `-dS`.
    NoSplice,
    /// `ebpf.splice off`.
    Off,
}

/// The kernel programs of this process.
#[derive(Debug)]
pub struct Accel {
    splice: Result<(), Unavailable>,
    sockmap: Result<Arc<Sockmap>, Unavailable>,
    steering: Result<Steering, Unavailable>,
    packet: Result<(), Unavailable>,
}

impl Accel {
    /// Loads what is wanted and possible. Called once, while the process still has its privileges and before it
    /// changes its root; takes some tens of milliseconds when there is something to load.
    pub fn start(wanted: Wanted) -> Self {
        let splice = probe::splice(wanted.splice);
        let sockmap = probe::sockmap(wanted, &Host::read()).and_then(|()| {
            let sockmap = Sockmap::load().map_err(Unavailable::Load)?;
            Ok(Arc::new(sockmap))
        });
        let (steering, packet) = (Err(Unavailable::SteerNotAsked), Err(Unavailable::PacketNotAsked));
        Self { splice, sockmap, steering, packet }
    }

    /// Whether packets are forwarded or refused before there is a socket, or why not: `mode packet`, the shield.
    pub fn set_packet(&mut self, packet: Result<(), Unavailable>) {
        self.packet = packet;
    }

    /// The steering programs, which start once the sockets are bound, or why they did not.
    pub fn set_steering(&mut self, steering: Result<Steering, Unavailable>) {
        self.steering = steering;
    }

    /// The steering programs, if they are loaded.
    pub fn steering(&self) -> Option<&Steering> {
        self.steering.as_ref().ok()
    }

    /// The sockmap program, if it is loaded.
    pub fn sockmap(&self) -> Option<&Arc<Sockmap>> {
        self.sockmap.as_ref().ok()
    }

    /// Why the sockmap program is not loaded.
    pub fn sockmap_unavailable(&self) -> Option<&Unavailable> {
        self.sockmap.as_ref().err()
    }
}

impl fmt::Display for Accel {
    /// The line for the start of the process: what is accelerated, and why the rest is not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("accel: splice ")?;
        state(f, self.splice.as_ref().err())?;
        f.write_str(", sockmap ")?;
        state(f, self.sockmap.as_ref().err())?;
        f.write_str(", steering ")?;
        state(f, self.steering.as_ref().err())?;
        f.write_str(", packet ")?;
        state(f, self.packet.as_ref().err())
    }
}

fn state(f: &mut fmt::Formatter<'_>, reason: Option<&Unavailable>) -> fmt::Result {
    match reason {
        None => f.write_str("on"),
        Some(reason) => write!(f, "off ({reason})"),
    }
}
