//! What would be accelerated here, and why the rest would not: for `-vv` and `-c -V`. Loads and attaches nothing.

use std::fmt;

use crate::netlink::{self, Interface, XdpFeatures};
use crate::packet::{NATIVE_MTU_MAX, holder, network_namespace};
use crate::probe::{self, Host, Unavailable};
use crate::{AttachWanted, Attached, Steering, Wanted, bpf};

/// Interfaces that are listed; a host with more has them for its containers.
const INTERFACES_MAX: usize = 64;

/// What a configuration asks for, as far as a report needs it.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub wanted: Wanted,
    /// Whether some section is in `mode packet`, or there is a shield.
    pub packet: bool,
    /// Whether new connections are steered.
    pub steering: bool,
    /// `ebpf.attach`.
    pub attach: AttachWanted,
}

/// A look at this machine.
#[derive(Debug)]
pub struct Report {
    host: Host,
    features: Vec<(&'static str, Result<(), Unavailable>)>,
    interfaces: Vec<Place>,
    attach: AttachWanted,
}

impl Report {
    /// Looks; with the configuration's wishes, or with all of them.
    pub fn new(asked: &Asked) -> Self {
        let host = Host::read();
        let accel = asked.wanted.accel;
        let packet = if asked.packet { host.packet(accel) } else { Err(Unavailable::PacketNotAsked) };
        let steering =
            if asked.steering { Steering::possible(accel) } else { Err(Unavailable::SteerNotAsked) };
        let interfaces = if packet.is_ok() { places() } else { Vec::new() };
        let features = vec![
            ("splice", probe::splice(asked.wanted.splice)),
            ("sockmap", probe::sockmap(asked.wanted, &host)),
            ("steering", steering),
            ("packet", packet),
        ];
        Self { host, features, interfaces, attach: asked.attach }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = self.host.kernel().map_or_else(|| "unknown".to_owned(), |kernel| kernel.to_string());
        let bpffs = if self.host.has_bpffs() { "" } else { "not " };
        writeln!(f, "Kernel offload on this machine (kernel {kernel}, BPF filesystem {bpffs}mounted) :")?;
        for (name, state) in &self.features {
            match state {
                Ok(()) => writeln!(f, "  {name:>8} : on")?,
                Err(reason) => writeln!(f, "  {name:>8} : off ({reason})")?,
            }
        }
        if self.interfaces.is_empty() {
            return Ok(());
        }
        writeln!(f, "Interfaces for packet :")?;
        let width = self.interfaces.iter().map(|place| place.name.len()).max().unwrap_or_default();
        for place in self.interfaces.iter().take(INTERFACES_MAX) {
            writeln!(f, "  {:>width$} : {}", place.name, place.words(self.attach))?;
        }
        if let Some(more @ 1..) = self.interfaces.len().checked_sub(INTERFACES_MAX) {
            writeln!(f, "  and {more} more")?;
        }
        Ok(())
    }
}

/// Whether packets that native XDP takes in elsewhere leave through this interface, as its driver is now: those that it
/// cannot send are lost. `None` if the kernel does not tell (before 6.3).
pub fn xdp_transmit(interface: u32) -> Option<bool> {
    netlink::xdp_features(interface).map(|features| features.transmit)
}

/// An interface that the program could be on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: String,
    hardware: bool,
    native: Native,
    /// A program of somebody else: its name and number.
    busy: Option<(String, u32)>,
    /// The instance whose program is there.
    instance: Option<String>,
    /// What native XDP on another interface redirects there goes out. Some drivers change their mind when a program is
    /// attached to the interface itself.
    transmit: bool,
}

/// Whether the driver takes XDP programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Native {
    Yes,
    No,
    Mtu(u32),
    /// Kernels before 6.3 do not say.
    Unknown,
}

fn places() -> Vec<Place> {
    let network = network_namespace().unwrap_or_default();
    // Without an answer there is nothing to list.
    netlink::interfaces().unwrap_or_default().iter().map(|interface| place(interface, network)).collect()
}

fn place(interface: &Interface, network: u64) -> Place {
    let features = netlink::xdp_features(interface.index);
    let instance = holder(interface, network, None);
    let busy = interface.xdp.filter(|_| instance.is_none()).map(|xdp| {
        let name = bpf::program_name(xdp.program).unwrap_or_default();
        (name, xdp.program)
    });
    Place {
        name: interface.name.clone(),
        hardware: interface.hardware,
        native: native(interface, features),
        busy,
        instance,
        transmit: features.is_none_or(|features| features.transmit),
    }
}

fn native(interface: &Interface, features: Option<XdpFeatures>) -> Native {
    match features {
        Some(XdpFeatures { native: false, .. }) => Native::No,
        Some(_) if interface.mtu > NATIVE_MTU_MAX => Native::Mtu(interface.mtu),
        Some(_) => Native::Yes,
        None => Native::Unknown,
    }
}

impl Place {
    /// How the program would be attached, then what speaks against the rest.
    fn words(&self, wanted: AttachWanted) -> String {
        let mut words = self.chosen(wanted);
        match self.native {
            Native::Yes => {}
            Native::No => words.push_str("; no native XDP: the driver has none"),
            Native::Mtu(mtu) => {
                words.push_str(&format!(
                    "; no native XDP: an MTU of {mtu}, it ends at about {NATIVE_MTU_MAX}"
                ));
            }
            Native::Unknown => words.push_str("; native XDP is known once attached (kernel before 6.3)"),
        }
        if let Some((program, id)) = &self.busy {
            words.push_str(&format!("; no XDP: program '{program}' (number {id}) is there"));
        }
        if let Some(instance) = &self.instance {
            words.push_str(&format!("; has the program of instance '{instance}'"));
        }
        if self.native == Native::Yes && !self.transmit {
            words.push_str("; native XDP elsewhere cannot send from here while no program is here");
        }
        words
    }

    fn chosen(&self, wanted: AttachWanted) -> String {
        let possible = |kind: Attached| match kind {
            Attached::Tc => true,
            _ if self.busy.is_some() => false,
            Attached::Generic => true,
            Attached::Native => matches!(self.native, Native::Yes | Native::Unknown),
        };
        let order = wanted.order(self.hardware);
        match order.iter().find(|kind| possible(**kind)) {
            Some(Attached::Native) => "native XDP".to_owned(),
            Some(Attached::Generic) => "generic XDP".to_owned(),
            Some(Attached::Tc) => "tc".to_owned(),
            None => "cannot be used".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        name: String::new(),
        hardware: true,
        native: Native::Yes,
        busy: None,
        instance: None,
        transmit: true,
    };

    fn check(place: &Place, wanted: AttachWanted, expected: &str) {
        assert_eq!(place.words(wanted), expected);
    }

    #[test]
    fn reasons_in_words() {
        use AttachWanted::{Auto, Generic, Native as Driver, Tc};
        check(&PLACE, Auto, "native XDP");
        check(&PLACE, Tc, "tc");
        check(&PLACE, Generic, "generic XDP");
        check(&Place { hardware: false, ..PLACE }, Auto, "tc");
        let without = Place { native: Native::No, ..PLACE };
        check(&without, Auto, "tc; no native XDP: the driver has none");
        check(&without, Driver, "cannot be used; no native XDP: the driver has none");
        let jumbo = Place { native: Native::Mtu(9000), ..PLACE };
        check(&jumbo, Auto, "tc; no native XDP: an MTU of 9000, it ends at about 3506");
        let busy = Place { busy: Some(("lb".to_owned(), 7)), ..PLACE };
        check(&busy, Auto, "tc; no XDP: program 'lb' (number 7) is there");
        check(&busy, Generic, "cannot be used; no XDP: program 'lb' (number 7) is there");
        let ours = Place { instance: Some("edge".to_owned()), transmit: false, ..PLACE };
        check(
            &ours,
            Auto,
            "native XDP; has the program of instance 'edge'; native XDP elsewhere cannot send from here while no program is \
             here",
        );
        let old = Place { native: Native::Unknown, ..PLACE };
        check(&old, Auto, "native XDP; native XDP is known once attached (kernel before 6.3)");
    }
}
