//! Servers: names, numbers, and who takes its state from whom.

use std::collections::{HashMap, HashSet};

use super::Findings;
use super::names::{Names, assign};
use super::tls::Loader;
use crate::draft::{DraftServer, Proxy};
use crate::keywords::server::title;
use crate::model::{BackendId, Check, CheckStep, Config, Host, Server, ServerAddress, ServerId, ServerPort};

/// A server of the draft: index of its proxy and its own.
type At = (usize, usize);

/// The servers of a backend with their numbers, `track` still open.
pub(crate) fn build(
    proxy: &Proxy,
    check: &Check,
    loader: &Loader,
    findings: &mut Findings<'_>,
) -> Vec<Server> {
    check_names(proxy, findings);
    check_ids(proxy, findings);
    let ids = assign(1, proxy.servers.iter().map(|draft| draft.given_id.as_ref().map(|(id, _)| *id)));
    proxy
        .servers
        .iter()
        .zip(ids)
        .map(|(draft, numeric_id)| {
            if draft.server.check.enabled && !proxy.settings.disabled {
                check_port(proxy, draft, check, findings);
            }
            let mut server = Server { numeric_id, ..draft.server.clone() };
            loader.server(proxy, draft, &mut server, check, findings);
            // minconn alone is a fixed limit, and one above maxconn raises that.
            if let Some(minconn) = server.minconn {
                server.maxconn = Some(server.maxconn.unwrap_or(minconn).max(minconn));
            }
            server
        })
        .collect()
}

fn check_names(proxy: &Proxy, findings: &mut Findings<'_>) {
    let mut seen: HashMap<&str, &DraftServer> = HashMap::with_capacity(proxy.servers.len());
    for draft in &proxy.servers {
        match seen.get(&*draft.server.name) {
            Some(other) => findings.alert_parsing(
                &draft.location,
                format!(
                    "{} '{}', another server named '{}' was already defined at line {}, please use distinct names.",
                    proxy.kind.name(),
                    proxy.name,
                    draft.server.name,
                    other.location.line
                ),
            ),
            None => {
                seen.insert(&draft.server.name, draft);
            }
        }
    }
}

fn check_ids(proxy: &Proxy, findings: &mut Findings<'_>) {
    let mut seen: HashMap<u32, &DraftServer> = HashMap::new();
    for draft in &proxy.servers {
        let Some((id, location)) = &draft.given_id else { continue };
        match seen.get(id) {
            Some(other) => findings.alert_at(
                location,
                format!(
                    "{}'id' : custom id {id} already used at {} ('server {}').",
                    title(&proxy.name, &draft.server.name),
                    other.location,
                    other.server.name
                ),
            ),
            None => {
                seen.insert(*id, draft);
            }
        }
    }
}

/// A check needs a port from the server, from its own words or from every connection of its rules.
fn check_port(proxy: &Proxy, draft: &DraftServer, check: &Check, findings: &mut Findings<'_>) {
    let server = &draft.server;
    let has_port = match &server.address {
        ServerAddress::Inet { port, .. } => matches!(port, ServerPort::Fixed(_)),
        ServerAddress::Unix(_) | ServerAddress::Abstract { .. } => true,
    };
    let title = format!("{} '{}': server '{}'", proxy.kind.name(), proxy.name, server.name);
    let by_rules = match check {
        Check::Connect => None,
        Check::Tcp(rules) | Check::Http(rules) | Check::SslHello(rules) => {
            let mut ports = rules.iter().filter_map(|rule| match rule {
                CheckStep::Connect(connect) => Some(connect.port.is_some()),
                _ => None,
            });
            ports.next().map(|first| first && ports.all(|port| port))
        }
    };
    if !has_port && server.check.port.is_none() && by_rules != Some(true) {
        let rules = match check {
            Check::Connect => "",
            Check::Tcp(_) | Check::Http(_) | Check::SslHello(_) => {
                " nor tcp_check rule 'connect' with port information"
            }
        };
        findings.alert(format!("config: {title} has neither service port nor check port{rules}."));
    }
    if matches!(server.address, ServerAddress::Inet { host: Host::Original, .. })
        && server.check.addr.is_none()
    {
        findings.alert(format!(
            "config: {title} has no address to check: its connections go where each client wanted to go. Use 'addr'."
        ));
    }
}

/// Finds whom every tracking server follows, and what is wrong with it.
pub(crate) fn tracks(proxies: &[Proxy], names: &Names, findings: &mut Findings<'_>) -> HashMap<At, At> {
    let mut indexes: HashMap<usize, HashMap<&str, usize>> = HashMap::new();
    let mut found = HashMap::new();
    for (index, proxy) in proxies.iter().enumerate() {
        for (number, draft) in proxy.servers.iter().enumerate() {
            let Some(track) = &draft.track else { continue };
            if draft.server.check.enabled {
                // Reported where it was read.
                continue;
            }
            let title = title(&proxy.name, &draft.server.name);
            let (target_proxy, name) = match track.split_once('/') {
                None => (Some(index), track.as_str()),
                Some((backend, name)) => (names.backend(backend).map(|(index, _)| index), name),
            };
            let Some(target_proxy) = target_proxy else {
                let backend = track.split('/').next().unwrap_or_default();
                let message = format!("{title}unable to find required proxy '{backend}' for tracking.");
                findings.alert_at(&draft.location, message);
                continue;
            };
            let by_name = indexes.entry(target_proxy).or_insert_with(|| by_name(&proxies[target_proxy]));
            match by_name.get(name) {
                Some(target) => {
                    found.insert((index, number), (target_proxy, *target));
                }
                None => {
                    let message = format!("{title}unable to find required server '{name}' for tracking.");
                    findings.alert_at(&draft.location, message);
                }
            }
        }
    }
    check_chains(proxies, &found, findings);
    found
}

fn by_name(proxy: &Proxy) -> HashMap<&str, usize> {
    let mut out = HashMap::with_capacity(proxy.servers.len());
    for (number, draft) in proxy.servers.iter().enumerate() {
        out.entry(&*draft.server.name).or_insert(number);
    }
    out
}

/// Where a chain of tracking servers leads.
#[derive(Debug, Clone, Copy)]
enum End {
    /// To a server that tracks nobody.
    Server(At),
    /// Back to this one.
    Loop(At),
}

/// Every chain must end at a server with checks.
fn check_chains(proxies: &[Proxy], found: &HashMap<At, At>, findings: &mut Findings<'_>) {
    let name = |at: At| format!("{}/{}", proxies[at.0].name, proxies[at.0].servers[at.1].server.name);
    let ends = ends(found);
    let mut starts: Vec<At> = found.keys().copied().collect();
    starts.sort_unstable();
    for start in starts {
        let draft = &proxies[start.0].servers[start.1];
        let title = title(&proxies[start.0].name, &draft.server.name);
        let message = match ends[&start] {
            End::Loop(at) => format!(
                "{title}unable to track {} as it belongs to a tracking chain looping back to {}.",
                name(found[&start]),
                name(at)
            ),
            End::Server(at) => {
                let end = &proxies[at.0].servers[at.1];
                // An end that wanted to track somebody was reported already.
                if end.track.is_some() || end.server.check.enabled {
                    continue;
                }
                format!(
                    "{title}unable to use {} for tracking as it does not have any check nor agent enabled.",
                    name(at)
                )
            }
        };
        findings.alert_at(&draft.location, message);
    }
}

/// The end of the chain from every tracking server; each link is walked once.
fn ends(found: &HashMap<At, At>) -> HashMap<At, End> {
    let mut ends: HashMap<At, End> = HashMap::with_capacity(found.len());
    let mut order: Vec<At> = found.keys().copied().collect();
    order.sort_unstable();
    for start in order {
        let mut path = Vec::new();
        let mut on_path = HashSet::new();
        let mut at = start;
        let end = loop {
            if let Some(end) = ends.get(&at) {
                break *end;
            }
            let Some(next) = found.get(&at) else { break End::Server(at) };
            if !on_path.insert(at) {
                break End::Loop(at);
            }
            path.push(at);
            at = *next;
        };
        ends.extend(path.into_iter().map(|at| (at, end)));
    }
    ends
}

/// Writes the tracked servers into the model.
pub(crate) fn link(config: &mut Config, proxies: &[Proxy], tracks: &HashMap<At, At>, names: &Names) {
    let id = |(proxy, server): At| -> Option<ServerId> {
        debug_assert!(proxy < proxies.len(), "tracks hold indexes of the draft");
        Some(ServerId { backend: names.backend_ids[proxy]?, index: server })
    };
    for (from, to) in tracks {
        let (Some(from), Some(to)) = (id(*from), id(*to)) else { continue };
        let BackendId(backend) = from.backend;
        config.backends[backend].servers[from.index].check.track = Some(to);
    }
}
