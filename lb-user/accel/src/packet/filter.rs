//! The filter of `clsact` that stands for a tcx link on kernels before 6.6. It has no link: it stays until somebody takes
//! it away.

use std::io;

use aya::programs::tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};

use super::attach::{AttachError, Attached, refused};
use super::instance;
use super::pins::Pin;
use crate::loader::LoadError;
use crate::netlink::{self, Interface};

/// Place of our filter among those of `clsact`: in front of what gets its number from the kernel (49152 and up).
const PRIORITY: u16 = 0x50ce;
/// Our filter at that place.
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// Our filter at the ingress of `clsact`: replaced if it is there, which the kernel does in one step.
pub(super) fn attach(program: &mut SchedClassifier, facts: &Interface) -> Result<(), AttachError> {
    let failed = |error: ProgramError| match &error {
        ProgramError::TcError(tc::TcError::NetlinkError(cause)) => {
            let code = cause.raw_os_error().unwrap_or(libc::EIO);
            refused(io::Error::from_raw_os_error(code), Attached::Tc, facts)
        }
        _ => AttachError::Program(error.into()),
    };
    let name = &facts.name;
    let there = link(name).map_err(|_| AttachError::NoInterface(name.clone()))?;
    let id = match program.attach_to_link(there) {
        Ok(id) => id,
        Err(_) => {
            // It may be there already; if not, the filter is refused.
            let _ = tc::qdisc_add_clsact(name);
            let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
            program
                .attach_with_options(name, TcAttachType::Ingress, TcAttachOptions::Netlink(options))
                .map_err(failed)?
        }
    };
    // Dropping it would detach it.
    std::mem::forget(program.take_link(id).map_err(LoadError::from)?);
    Ok(())
}

fn link(interface: &str) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, TcAttachType::Ingress, PRIORITY, HANDLE, None)
}

/// The number of the program that our filter on an interface has, if it is there.
pub(super) fn program(index: u32) -> Option<u32> {
    netlink::ingress_filter(index, PRIORITY, HANDLE.into())
}

/// Takes the filter of a pin off its interface, if that is in our namespace.
pub(super) fn detach(pin: &Pin) {
    let Pin::Filter { interface, network } = pin else { return };
    // 0: held by a process without an instance. A namespace that cannot be read is the one that we have been in: only
    // the root has changed.
    let elsewhere = *network != 0 && instance::network_namespace().is_ok_and(|ours| ours != *network);
    if !elsewhere {
        // Dropping the link detaches the filter, if the interface still has it.
        drop(link(interface));
    }
}
