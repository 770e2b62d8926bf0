//! What `mode packet` needs across sections: where packets come from, where they may go, and what else wants them.

mod clashes;
mod servers;
mod shared;

use lb_common::limits::{PACKET_SERVERS, PACKET_SERVICES};
use sockeye_balance::{Algorithm, Hash, HashSource};

use super::Findings;
use super::names::{Names, located};
use crate::draft::{DraftAlgorithm, Proxy};
use crate::keywords::packet::is_packet_algorithm;
use crate::keywords::packet::refused::{refusal, remedy_of_rules};
use crate::model::{BackendId, Ebpf, Mode};

/// Entries of all Maglev tables together, every service having its own: 512 MiB of kernel memory.
const TABLE_ENTRIES_MAX: u64 = 1 << 27;

/// Where the packets of a frontend go.
#[derive(Clone, Copy)]
struct Route<'a> {
    frontend: &'a Proxy,
    backend: &'a Proxy,
}

/// Everything that no single section could know.
pub(super) fn check(
    proxies: &[Proxy],
    default_backends: &[Option<BackendId>],
    names: &Names,
    ebpf: &Ebpf,
    findings: &mut Findings<'_>,
) {
    let running: Vec<(usize, &Proxy)> = proxies
        .iter()
        .enumerate()
        .filter(|(_, proxy)| proxy.settings.mode == Mode::Packet && !proxy.settings.disabled)
        .collect();
    let Some((_, first)) = running.first() else { return };
    if !ebpf.accel {
        findings.alert_parsing(
            &first.location,
            "'mode packet' is the work of kernel programs, which 'ebpf.accel off' forbids. Use 'mode tcp', or leave 'ebpf.accel' out."
                .to_owned(),
        );
    }
    let mut routes = Vec::new();
    for (index, frontend) in running.iter().filter(|(_, proxy)| proxy.kind.is_frontend()) {
        let backend = default_backends[*index]
            .and_then(|id| names.backend_ids.iter().position(|known| *known == Some(id)))
            .map(|index| &proxies[index]);
        match backend {
            // Another mode was reported where the name was looked up.
            Some(backend) if backend.settings.mode == Mode::Packet => routes.push(Route { frontend, backend }),
            Some(_) => {}
            // A name that does not exist was reported too.
            None if frontend.settings.default_backend.is_some() => {}
            None => findings.alert(format!(
                "packet frontend {} has no backend: 'mode packet' needs a 'default_backend', or servers in a 'listen' section.",
                located(frontend)
            )),
        }
    }
    servers::check(&running, &routes, findings);
    shared::check(&routes, findings);
    clashes::check(proxies, &running, findings);
    check_limits(&running, &routes, findings);
}

fn check_limits(running: &[(usize, &Proxy)], routes: &[Route<'_>], findings: &mut Findings<'_>) {
    let frontends = running.iter().filter(|(_, proxy)| proxy.kind.is_frontend());
    let services: usize = frontends.map(|(_, proxy)| proxy.binds.len()).sum();
    if services > PACKET_SERVICES as usize {
        findings.alert(format!(
            "'mode packet' has at most {PACKET_SERVICES} services, counting each address, port and protocol, and this configuration has {services}. An address with ports 1-65535 is one."
        ));
    }
    // Each frontend has places of its own for its servers.
    let servers: usize = routes.iter().map(|route| route.backend.servers.len()).sum();
    if servers > PACKET_SERVERS as usize {
        findings.alert(format!(
            "'mode packet' has at most {PACKET_SERVERS} servers, those of each frontend counted, and this configuration has {servers}."
        ));
    }
    let sizes = routes.iter().map(|route| route.backend.settings.packet.table_size);
    let largest = sizes.max().unwrap_or_default();
    if services as u64 * u64::from(largest) > TABLE_ENTRIES_MAX {
        findings.alert(format!(
            "{services} services with an 'ebpf.table-size' of {largest} have more than {TABLE_ENTRIES_MAX} entries together. Use a smaller 'ebpf.table-size'."
        ));
    }
}

/// What a section in `mode packet` inherits and cannot have. What it says itself was checked as it was read.
pub(super) fn check_inherited(title: &str, proxy: &Proxy, findings: &mut Findings<'_>) {
    let settings = &proxy.settings;
    let rules = &settings.rules;
    let front = proxy.kind.is_frontend();
    let sets = [
        ("tcp-request", front && !(rules.tcp_connection.is_empty() && rules.tcp_session.is_empty())),
        ("tcp-request", !rules.tcp_content.is_empty()),
        ("tcp-response", !rules.tcp_response.is_empty()),
        ("http-request", !rules.http_request.is_empty()),
        ("http-response", !rules.http_response.is_empty()),
        ("http-after-response", !rules.http_after_response.is_empty()),
    ];
    let mut found: Vec<&str> = sets.iter().filter(|(_, any)| *any).map(|(word, _)| *word).collect();
    found.dedup();
    for word in found {
        findings.alert_parsing(
            &proxy.location,
            format!(
                "{title} inherits rules: {} Give it a 'defaults' section without them.",
                refusal(word, remedy_of_rules(word))
            ),
        );
    }
    if let Some(algorithm) = settings.balance.algorithm.as_ref().filter(|_| proxy.kind.is_backend())
        && !is_packet_algorithm(algorithm)
    {
        findings.warning(format!(
            "The 'balance' that {title} inherits needs a connection, and 'mode packet' has none. Falling back to round robin."
        ));
    }
}

/// `balance`: one that packets cannot have was inherited, and is round robin.
pub(super) fn algorithm(written: Option<&DraftAlgorithm>) -> Algorithm {
    match written {
        Some(DraftAlgorithm::StaticRoundRobin) => Algorithm::StaticRoundRobin,
        Some(DraftAlgorithm::Hash(HashSource::Source)) => Algorithm::Hash(Hash::new(HashSource::Source)),
        _ => Algorithm::RoundRobin,
    }
}
