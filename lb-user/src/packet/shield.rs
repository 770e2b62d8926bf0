//! The shield of the process: its list, where the kernel looks at packets, what has expired, and what it counted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_accel::{ShieldList, ShieldSaid, TooManyPrefixes, boot_clock};
use sockeye_config::model::{BindAddress, Config};
use sockeye_syntax::diag::Severity;
use sockeye_sys::netlink::Interface;

use super::interfaces::Network;
use crate::frontend::gate::Gate;
use crate::process::run;

/// Prefixes in a summary: those that decided most.
const SHOWN_MAX: usize = 50;

/// How long a change that the kernel refused waits until it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The list of the configuration, its times counted from `now` (nanoseconds of the boot clock); `None` without a shield.
///
/// # Errors
/// When it is too long.
pub fn list(config: &Config, now: u64) -> Result<Option<ShieldList>, TooManyPrefixes> {
    let rules = &config.global.ebpf.shield;
    if rules.is_empty() {
        return Ok(None);
    }
    let said = rules.iter().flat_map(|rule| {
        let lasts =
            |expires: Duration| now.saturating_add(u64::try_from(expires.as_nanos()).unwrap_or(u64::MAX));
        let until = rule.expires.map(lasts);
        rule.prefixes.iter().map(move |prefix| ShieldSaid {
            address: prefix.address,
            bits: prefix.bits,
            allow: rule.allow,
            until,
        })
    });
    ShieldList::new(said).map(Some)
}

/// The interfaces that packets to our addresses come in on, with their indices: those that have a bind address, and all
/// that are up if one is on none (`*`, `transparent`, a prefix) or only on the loopback interface, as those of several
/// balancers for one service are. What comes in on others meets the gate.
pub fn interfaces(config: &Config, network: &Network) -> BTreeMap<String, u32> {
    let up = || network.interfaces.iter().filter(|interface| interface.up);
    let mut found = Vec::new();
    let frontends = config.frontends.iter().filter(|frontend| !frontend.disabled);
    for bind in frontends.flat_map(|frontend| &frontend.binds).filter(|bind| bind.namespace.is_none()) {
        let address = match &bind.address {
            BindAddress::Inet(address) => Some(address.ip()),
            BindAddress::Block(_) => None,
            BindAddress::Unix(_) | BindAddress::Abstract { .. } | BindAddress::Fd(_) => continue,
        };
        let named = bind.interface.as_deref().and_then(|name| network.named(name));
        let mut held: Vec<&Interface> = match (named, address) {
            (Some(interface), _) => vec![interface],
            (None, Some(address)) => held_by(network, address),
            (None, None) => Vec::new(),
        };
        if held.is_empty() {
            held.extend(up());
        }
        found.extend(held);
    }
    // The program reads Ethernet headers, and the tags of VLANs on the interface below them.
    let below = |interface: &Interface| network.physical(interface).index;
    let physical: Vec<u32> = found.iter().map(|interface| interface.index).collect();
    found
        .into_iter()
        .filter(|interface| interface.ethernet)
        .filter(|interface| below(interface) == interface.index || !physical.contains(&below(interface)))
        .map(|interface| (interface.name.clone(), interface.index))
        .collect()
}

fn held_by(network: &Network, address: IpAddr) -> Vec<&Interface> {
    let held = network.addresses.iter().filter(|held| held.address == address);
    let holders = held.filter_map(|held| network.numbered(held.interface));
    if address.is_loopback() {
        // The whole of 127.0.0.0/8 is there, whatever is written on it.
        return network.interfaces.iter().filter(|interface| interface.loopback).collect();
    }
    holders.filter(|interface| !interface.loopback).collect()
}

/// What the plane knows of the shield.
pub(super) struct Guarded {
    pub(super) config: &'static Config,
    /// Interfaces that the program is on for the shield alone.
    pub(super) only: BTreeSet<String>,
}

/// The shield while the process runs; it lives on the control thread.
#[derive(Debug, Clone)]
pub struct Shield {
    gate: &'static Gate,
    /// The kernel's part, if it is there.
    kernel: Option<Rc<RefCell<sockeye_accel::Shield>>>,
}

impl Shield {
    /// Shuts the gate for connections. The kernel's part has the list already.
    pub fn new(list: ShieldList, kernel: Option<sockeye_accel::Shield>) -> Self {
        Self { gate: Gate::new(list).apply(), kernel: kernel.map(|kernel| Rc::new(RefCell::new(kernel))) }
    }

    /// Takes away what has expired, for as long as something will expire.
    pub async fn expire(self) {
        let Some(kernel) = self.kernel else { return };
        let mut failed = false;
        loop {
            let now = boot_clock();
            let next = kernel.borrow_mut().expire(now);
            match next {
                Ok(Some(at)) => tokio::time::sleep(Duration::from_nanos(at.saturating_sub(now))).await,
                Ok(None) => return,
                Err(error) => {
                    // Packets do not wait for this: the program looks at the time itself.
                    if !failed {
                        run::say(Severity::Warning, &format!("shield: expired prefixes stay: {error}"));
                    }
                    failed = true;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// A line for each prefix that decided about something, those that decided most first.
    pub fn summary(&self) -> Vec<String> {
        let now = boot_clock();
        let kernel = self.kernel.as_ref().map(|kernel| kernel.borrow().hits());
        let hits = match kernel {
            None => Vec::new(),
            Some(Ok(hits)) => hits,
            Some(Err(error)) => return vec![format!("Shield: counters cannot be read: {error}.")],
        };
        let mut rows: Vec<_> = self
            .gate
            .list()
            .entries()
            .iter()
            .zip(self.gate.refused())
            .enumerate()
            .map(|(at, (entry, refused))| {
                let (packets, bytes) = hits.get(at).map_or((0, 0), |hits| (hits.packets, hits.bytes));
                (entry, packets, bytes, refused)
            })
            .filter(|(_, packets, _, refused)| packets + refused != 0)
            .collect();
        rows.sort_by_key(|(_, packets, _, refused)| std::cmp::Reverse(packets + refused));
        let shown = rows.iter().take(SHOWN_MAX).map(|(entry, packets, bytes, refused)| {
            let verdict = match entry.allows(now) {
                Some(true) => "allow",
                Some(false) => "deny",
                None => "expired",
            };
            format!(
                "Shield {verdict} {entry}: {packets} packets, {bytes} bytes, {refused} connections refused."
            )
        });
        let mut lines: Vec<String> = shown.collect();
        if rows.len() > SHOWN_MAX {
            lines.push(format!("Shield: {} more prefixes with hits.", rows.len() - SHOWN_MAX));
        }
        lines
    }
}
