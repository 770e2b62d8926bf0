//! Whether packets can get from services to servers and back: families, ports, source addresses.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use sockeye_syntax::address::Family;
use sockeye_syntax::diag::Location;

use super::Route;
use crate::draft::{DraftServer, Proxy};
use crate::keywords::server::title;
use crate::model::{
    Bind, BindAddress, Forward, Host, PORT_ALL, SOURCE_PORTS, ServerAddress, ServerPort, Source, SourceNat,
    UseSource,
};
use crate::resolve::Findings;

pub(super) fn check(running: &[(usize, &Proxy)], routes: &[Route<'_>], findings: &mut Findings<'_>) {
    for (_, backend) in running.iter().filter(|(_, proxy)| proxy.kind.is_backend()) {
        check_sources(backend, findings);
    }
    for route in routes {
        for server in &route.backend.servers {
            check_server(route, server, findings);
        }
        check_families(route, findings);
    }
    check_source_ports(running, routes, findings);
}

/// The words of `source`, of the backend and of each server.
fn check_sources(backend: &Proxy, findings: &mut Findings<'_>) {
    let written = &backend.settings.source;
    let options = &backend.settings.packet;
    if let Some(at) = &written.at {
        if let Some(message) = source_fault(&written.source) {
            findings.alert_parsing(at, format!("'source' : {message}"));
        } else if let Some(message) = without_effect(options.forward, &written.source)
            && !written.inherited
        {
            findings.warning_parsing(at, format!("'source' : {message}"));
        }
    }
    let mut stateless_reported = false;
    for server in &backend.servers {
        let title = title(&backend.name, &server.server.name);
        let own = server.server.source.as_ref();
        if let Some(message) = own.and_then(source_fault) {
            findings.alert_at(&server.location, format!("{title}'source' : {message}"));
            continue;
        }
        if let Some(message) = own.and_then(|source| without_effect(options.forward, source)) {
            findings.warning_parsing(&server.location, format!("{title}'source' : {message}"));
        }
        let Some(nat) = SourceNat::of(own.unwrap_or(&written.source)) else { continue };
        if options.forward == Forward::Dsr {
            continue;
        }
        if family(&server.server.address).is_some_and(|family| family != family_of(nat.address)) {
            findings.alert_at(
                &server.location,
                format!("{title}'source {}' is of another address family than the server.", nat.address),
            );
        }
        if options.forward == Forward::Nat && options.stateless && !stateless_reported {
            stateless_reported = true;
            findings.alert_at(
                &server.location,
                format!(
                    "{title}'source' needs the table of flows, which 'ebpf.stateless' does without. Leave one of them out."
                ),
            );
        }
    }
}

/// What `mode packet` cannot do of `source`.
fn source_fault(source: &Source) -> Option<&'static str> {
    if source.interface.is_some() {
        return Some("'interface' is chosen by the route to the server in 'mode packet'. Leave it out.");
    }
    if matches!(source.usesrc, UseSource::Address(_)) {
        return Some(
            "'usesrc' with an address means nothing in 'mode packet', where any source address can be written. Use 'source' with that address.",
        );
    }
    let has_ports = source.ports.is_some() || source.address.is_some_and(|address| address.port() != 0);
    let has_address = source.address.is_some_and(|address| !address.ip().is_unspecified());
    if source.usesrc == UseSource::Own && has_ports && !has_address {
        return Some("'mode packet' keeps the clients' addresses and ports unless an address is given too.");
    }
    None
}

/// What of a `source` means nothing where the clients' addresses are kept.
fn without_effect(forward: Forward, source: &Source) -> Option<&'static str> {
    let nat = SourceNat::of(source)?;
    match forward {
        Forward::Nat => None,
        Forward::Dsr => {
            Some("used for checks alone, because 'ebpf.forward dsr' keeps the clients' addresses.")
        }
        // It is the source of outer headers.
        Forward::Ipip => (nat.ports != SOURCE_PORTS)
            .then_some("its ports have no effect, because outer packets of 'ebpf.forward ipip' have none."),
    }
}

fn forward_name(forward: Forward) -> &'static str {
    match forward {
        Forward::Nat => "nat",
        Forward::Dsr => "dsr",
        Forward::Ipip => "ipip",
    }
}

/// One server against the services that lead to it: those of its own family, except in tunnels. One finding is enough.
fn check_server(route: &Route<'_>, draft: &DraftServer, findings: &mut Findings<'_>) {
    let server = &draft.server;
    let ServerAddress::Inet { port, .. } = &server.address else { return };
    let title = title(&route.backend.name, &server.name);
    let forward = route.backend.settings.packet.forward;
    let name = forward_name(forward);
    let own = family(&server.address).filter(|_| forward != Forward::Ipip);
    let fits = |bind: &&Bind| own.is_none_or(|own| bind_family(bind) == Some(own));
    if let Some(bind) = route.frontend.binds.first()
        && !route.frontend.binds.iter().any(|bind| fits(&bind))
    {
        findings.alert_at(
            &draft.location,
            format!(
                "{title}its address is of another family than 'bind {}' ({}), and 'ebpf.forward {name}' does not translate. Use an address of the same family, or 'ebpf.forward ipip'.",
                bind.text,
                location(bind)
            ),
        );
        return;
    }
    let ServerPort::Fixed(port) = *port else { return };
    for bind in route.frontend.binds.iter().filter(fits) {
        let BindAddress::Inet(service) = bind.address else { continue };
        let fault = match forward {
            Forward::Nat if service.port() == PORT_ALL => format!(
                "all ports of 'bind {}' ({}) cannot become port {port}: answers would not find back.",
                bind.text,
                location(bind)
            ),
            Forward::Dsr | Forward::Ipip if port != service.port() => format!(
                "port {port} is not that of 'bind {}' ({}), and 'ebpf.forward {name}' never changes ports.",
                bind.text,
                location(bind)
            ),
            _ => continue,
        };
        findings.alert_at(
            &draft.location,
            format!("{title}{fault} Leave it out, and use 'port {port}' if it is for checks."),
        );
        return;
    }
}

/// A service needs servers of its own family, except in tunnels.
fn check_families(route: &Route<'_>, findings: &mut Findings<'_>) {
    let forward = route.backend.settings.packet.forward;
    let mut told: Vec<Option<Family>> = Vec::new();
    for draft in &route.backend.servers {
        let family = family(&draft.server.address);
        if !told.contains(&family) {
            told.push(family);
        }
    }
    // The address of a name is not known yet.
    if forward == Forward::Ipip || told.is_empty() || told.contains(&None) {
        return;
    }
    for bind in &route.frontend.binds {
        let family = bind_family(bind);
        if !told.contains(&family) {
            findings.alert_parsing(
                &location(bind),
                format!(
                    "'bind {}' in section '{}' : {} '{}' has no server of this address family, and 'ebpf.forward {}' does not translate. Use 'ebpf.forward ipip'.",
                    bind.text,
                    route.frontend.kind.keyword(),
                    route.backend.kind.keyword(),
                    route.backend.name,
                    forward_name(forward)
                ),
            );
            told.push(family);
        }
    }
}

fn bind_family(bind: &Bind) -> Option<Family> {
    match bind.address {
        BindAddress::Inet(address) => Some(family_of(address.ip())),
        _ => None,
    }
}

/// Answers to a source address must not look like packets to a service.
fn check_source_ports(running: &[(usize, &Proxy)], routes: &[Route<'_>], findings: &mut Findings<'_>) {
    let mut services: HashMap<IpAddr, BTreeSet<u16>> = HashMap::new();
    for (_, proxy) in running {
        for bind in &proxy.binds {
            if let BindAddress::Inet(address) = bind.address {
                services.entry(address.ip()).or_default().insert(address.port());
            }
        }
    }
    let mut seen = HashSet::new();
    for backend in routes.iter().map(|route| route.backend) {
        let nat = backend.settings.packet.forward == Forward::Nat;
        if !nat || !seen.insert(&*backend.name) {
            continue;
        }
        for draft in &backend.servers {
            let source = draft.server.source.as_ref().unwrap_or(&backend.settings.source.source);
            let Some(SourceNat { address, ports }) = SourceNat::of(source) else { continue };
            let Some(taken) = services.get(&address) else { continue };
            let found = taken.contains(&PORT_ALL).then_some(PORT_ALL);
            let Some(port) = found.or_else(|| taken.range(ports.clone()).next().copied()) else { continue };
            let what = match port {
                PORT_ALL => "all its ports are those of a service".to_owned(),
                port => format!("port {port} is that of a service"),
            };
            findings.alert_at(
                &draft.location,
                format!(
                    "{}'source {address}:{}-{}' : {what}, to which answers of the server would go. Use other ports, or an address without services.",
                    title(&backend.name, &draft.server.name),
                    ports.start(),
                    ports.end()
                ),
            );
            // The others have the same words, most likely.
            break;
        }
    }
}

/// The family of a server's address, if it is known before names are resolved.
fn family(address: &ServerAddress) -> Option<Family> {
    match address {
        ServerAddress::Inet { host: Host::Ip(ip), .. } => Some(family_of(*ip)),
        ServerAddress::Inet { host: Host::Name { family, .. }, .. } => *family,
        _ => None,
    }
}

fn family_of(ip: IpAddr) -> Family {
    match ip {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

fn location(bind: &Bind) -> Location {
    Location::new(&*bind.place.file, bind.place.line)
}
