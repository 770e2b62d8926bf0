//! The shield of the process: its list, where the kernel looks at packets, what has expired, and what it counted.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye_accel::{ShieldList, ShieldSaid, TooManyPrefixes, boot_clock};
use sockeye_config::model::{Attach, BindAddress, Config};
use sockeye_syntax::diag::Severity;
use sockeye_sys::netlink::Interface;

use super::interfaces::Network;
use crate::backend::Backend;
use crate::backend::server::Destination;
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

/// Servers that could not answer, because the kernel would drop what they send: a line each.
pub fn denied_servers(backends: &[&'static Backend], list: &ShieldList, now: u64) -> Vec<String> {
    let servers =
        backends.iter().flat_map(|backend| backend.servers.iter().map(move |server| (backend, server)));
    let denied = servers.filter_map(|(backend, server)| {
        let address = match server.destination()? {
            Destination::Inet(address) => address.ip(),
            Destination::Mapped(address, _) => address,
            Destination::Unix(_) | Destination::Abstract { .. } | Destination::Original(_) => return None,
        };
        match list.find(address, now) {
            Some((entry, false)) => Some((backend, server, address, &list.entries()[entry])),
            Some((_, true)) | None => None,
        }
    });
    denied
        .map(|(backend, server, address, entry)| {
            let place = &server.cfg.place;
            format!(
                "[{}:{}] : server {}/{} at {address} is denied by the shield ({entry}): its packets are dropped on the \
                 interfaces that the shield is on; 'ebpf.shield allow {address}' lets them pass.",
                place.file,
                place.line,
                backend.name(),
                server.name()
            )
        })
        .collect()
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
    // There is no driver behind loopback interfaces; what comes in there is refused at accept.
    let in_drivers = config.global.ebpf.attach == Attach::Native;
    // The program reads Ethernet headers, and the tags of VLANs on the interface below them.
    let below = |interface: &Interface| network.physical(interface).index;
    let physical: Vec<u32> = found.iter().map(|interface| interface.index).collect();
    found
        .into_iter()
        .filter(|interface| interface.ethernet)
        .filter(|interface| !(in_drivers && interface.loopback))
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

#[cfg(test)]
mod tests {
    use sockeye_config::{NoNames, Options, Surroundings, read_text};
    use sockeye_syntax::source::{Disk, Environment};
    use sockeye_sys::netlink::{InterfaceAddress, Vlan};

    use super::*;
    use crate::process::args::Args;
    use crate::process::version::ProgramFacts;

    fn config(global: &str, binds: &[&str]) -> Config {
        let binds: String = binds.iter().map(|bind| format!(" bind {bind}\n")).collect();
        let text = format!("global\n{global}\nfrontend f\n mode http\n timeout client 1s\n{binds}");
        let facts = ProgramFacts::new(&Args::default());
        let around = Surroundings { loader: &Disk, resolver: &NoNames, facts: &facts };
        let (config, diags) =
            read_text("f", text.as_bytes(), &around, &mut Environment::new(), &Options::default());
        config.unwrap_or_else(|| panic!("{:?}", diags.iter().map(ToString::to_string).collect::<Vec<_>>()))
    }

    fn network() -> Network {
        let interface = |index, name: &str| Interface {
            index,
            name: name.to_owned(),
            mtu: 1500,
            up: name != "down0",
            loopback: name == "lo",
            ethernet: name != "tun0",
            vlan: (name == "eth0.7").then_some(Vlan { parent: 2, id: 7, protocol: 0x8100 }),
        };
        let held = |interface, address: &str| InterfaceAddress {
            interface,
            address: address.parse().expect("an address"),
            prefix: 24,
        };
        let names = ["lo", "eth0", "eth1", "eth0.7", "tun0", "down0"];
        Network {
            interfaces: (1..).zip(names).map(|(index, name)| interface(index, name)).collect(),
            addresses: vec![
                held(1, "127.0.0.1"),
                held(1, "192.0.2.99"),
                held(2, "192.0.2.1"),
                held(3, "192.0.2.1"),
                held(3, "2001:db8::1"),
                held(4, "198.51.100.1"),
                held(5, "203.0.113.1"),
                held(6, "10.0.0.1"),
            ],
            ..Network::default()
        }
    }

    fn check(binds: &[&str], expected: &[&str]) {
        let found = interfaces(&config("", binds), &network());
        assert_eq!(found.keys().collect::<Vec<_>>(), expected, "{binds:?}");
    }

    #[test]
    fn the_interfaces_of_bind_addresses() {
        check(&["192.0.2.1:80"], &["eth0", "eth1"]);
        check(&["[2001:db8::1]:80"], &["eth1"]);
        check(&["192.0.2.1:80 interface eth0"], &["eth0"]);
        check(&["127.0.0.7:80", "[::1]:80"], &["lo"]);
        // On the VLAN itself, or below it.
        check(&["198.51.100.1:80"], &["eth0.7"]);
        check(&["198.51.100.1:80", "192.0.2.1:80"], &["eth0", "eth1"]);
        // Every one that is up, for addresses that are nowhere, or called over any network.
        for everywhere in ["*:80", "[::]:80", "192.0.2.50:80", "192.0.2.99:80"] {
            check(&[everywhere], &["eth0", "eth1", "lo"]);
        }
        // No Ethernet header to read there.
        check(&["203.0.113.1:80"], &[]);
        check(&["10.0.0.1:80"], &["down0"]);
        check(&["/run/socket"], &[]);
        let native = config(" ebpf.attach native", &["*:80"]);
        assert_eq!(interfaces(&native, &network()).into_keys().collect::<Vec<_>>(), ["eth0", "eth1"]);
    }

    #[test]
    fn times_begin_with_the_process() {
        assert_eq!(list(&config("", &[]), 7), Ok(None));
        let global = " ebpf.shield deny 10.0.0.0/8\n ebpf.shield allow 10.1.0.0/16 expires 2s";
        let list = list(&config(global, &[]), 1_000).expect("a short list").expect("a list");
        assert_eq!(list.next_expiry(1_000), Some(2_000_001_000));
        let allows = |now| list.find([10, 1, 0, 1].into(), now).map(|(_, allowed)| allowed);
        assert_eq!([allows(2_000_000_999), allows(2_000_001_000)], [Some(true), Some(false)]);
    }
}
