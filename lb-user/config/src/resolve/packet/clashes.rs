//! One address and port, two who want it: services among each other, and services before listening sockets.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use sockeye_syntax::diag::Location;

use crate::draft::Proxy;
use crate::model::{Bind, BindAddress, Mode, PORT_ALL, Transport};
use crate::resolve::Findings;

/// The services by what the kernel finds them by.
#[derive(Default)]
struct Services<'a> {
    exact: HashMap<(IpAddr, u16, Transport), (&'a Proxy, &'a Bind)>,
    /// Those of TCP by port, for sockets that listen on every address.
    by_port: HashMap<u16, Vec<(IpAddr, &'a Proxy, &'a Bind)>>,
}

pub(super) fn check(proxies: &[Proxy], running: &[(usize, &Proxy)], findings: &mut Findings<'_>) {
    let mut services = Services::default();
    for (_, proxy) in running {
        for bind in &proxy.binds {
            services.add(proxy, bind, findings);
        }
    }
    let others =
        proxies.iter().filter(|proxy| proxy.settings.mode != Mode::Packet && !proxy.settings.disabled);
    for proxy in others {
        // One finding for each line: a range of ports is one mistake.
        let mut reported = None;
        // Another network namespace has other packets.
        for bind in proxy.binds.iter().filter(|bind| bind.namespace.is_none()) {
            for address in addresses(bind) {
                if reported == Some(&bind.place) {
                    break;
                }
                let found = if address.ip().is_unspecified() {
                    services.before_all(proxy, bind, address, findings)
                } else {
                    services.before_one(proxy, bind, address, findings)
                };
                if found {
                    reported = Some(&bind.place);
                }
            }
        }
    }
}

/// What it listens on, but for a prefix: the services inside of one are its exceptions.
fn addresses(bind: &Bind) -> Vec<SocketAddr> {
    match &bind.address {
        BindAddress::Inet(address) => vec![*address],
        BindAddress::Block(block) if !block.is_prefix() => block.addresses().collect(),
        _ => Vec::new(),
    }
}

impl<'a> Services<'a> {
    fn add(&mut self, proxy: &'a Proxy, bind: &'a Bind, findings: &mut Findings<'_>) {
        let BindAddress::Inet(address) = bind.address else { return };
        let (ip, port) = (address.ip(), address.port());
        if let Some((other, first)) = self.exact.get(&(ip, port, bind.transport)) {
            findings.alert_parsing(
                &location(bind),
                format!(
                    "'bind {}' in section '{}' : {} '{}' has this address and port already, at {}. Two services of 'mode packet' cannot share them.",
                    bind.text,
                    proxy.kind.keyword(),
                    other.kind.keyword(),
                    other.name,
                    location(first)
                ),
            );
            return;
        }
        self.exact.insert((ip, port, bind.transport), (proxy, bind));
        if bind.transport == Transport::Tcp {
            self.by_port.entry(port).or_default().push((ip, proxy, bind));
        }
    }

    /// A socket on the address of a service never gets a connection. Returns whether that was reported.
    fn before_one(
        &self,
        proxy: &Proxy,
        bind: &Bind,
        address: SocketAddr,
        findings: &mut Findings<'_>,
    ) -> bool {
        let ip = address.ip().to_canonical();
        let found = [address.port(), PORT_ALL]
            .into_iter()
            .filter_map(|port| self.exact.get(&(ip, port, Transport::Tcp)))
            .find(|(_, service)| meet(service, bind));
        let Some((packet, service)) = found else { return false };
        findings.alert_parsing(
            &location(bind),
            format!(
                "'bind {}' in section '{}' : its packets go to {} '{}' ('bind {}', {}) before any socket sees them. Use another address or port.",
                bind.text,
                proxy.kind.keyword(),
                packet.kind.keyword(),
                packet.name,
                service.text,
                location(service)
            ),
        );
        true
    }

    /// A socket on every address gets the connections to those that are no service: that may be meant. Returns
    /// whether it was reported.
    fn before_all(
        &self,
        proxy: &Proxy,
        bind: &Bind,
        address: SocketAddr,
        findings: &mut Findings<'_>,
    ) -> bool {
        let covers = |ip: &IpAddr| match address.ip() {
            IpAddr::V4(_) => ip.is_ipv4(),
            IpAddr::V6(_) => ip.is_ipv6() || !bind.v6only,
        };
        let on_port = |port| self.by_port.get(&port).into_iter().flatten();
        let found = on_port(address.port())
            .chain(on_port(PORT_ALL))
            .find(|(ip, _, service)| covers(ip) && meet(service, bind));
        let Some((_, packet, service)) = found else { return false };
        findings.warning_parsing(
            &location(bind),
            format!(
                "'bind {}' in section '{}' listens on every address but gets no connection to that of {} '{}' ('bind {}', {}), whose packets are forwarded before any socket sees them. Name the addresses to say that this is meant.",
                bind.text,
                proxy.kind.keyword(),
                packet.kind.keyword(),
                packet.name,
                service.text,
                location(service)
            ),
        );
        true
    }
}

/// Whether both may see the same packet: not if each names an interface and they differ.
fn meet(service: &Bind, listener: &Bind) -> bool {
    match (&service.interface, &listener.interface) {
        (Some(service), Some(listener)) => service == listener,
        _ => true,
    }
}

fn location(bind: &Bind) -> Location {
    Location::new(&*bind.place.file, bind.place.line)
}
