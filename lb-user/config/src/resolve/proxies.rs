//! Frontends and backends: what each statement alone could not know.

use std::sync::Arc;

use sockeye_balance::{Algorithm, Hash, HashFunction, HashMethod, HashSource, Random};

use super::names::{Names, assign, located};
use super::{Findings, formats, packet, references, servers, tls};
use crate::Options;
use crate::draft::{
    Draft, DraftAlgorithm, DraftCheckKind, DraftFormat, DraftLog, FormatText, Kind, Proxy, Settings,
};
use crate::keywords::{check, option, ssl_hello};
use crate::model::{
    Backend, BackendId, Bind, Check, CheckStep, Config, Frontend, Global, HashPreserveAffinity, LogFormats,
    LogTarget, Mode, SectionKind, Shared,
};
use crate::section::place;

/// `retries` when the file does not say (manual 4.2).
const RETRIES: u32 = 3;

pub(crate) fn build(draft: Draft, names: &Names, options: &Options, findings: &mut Findings<'_>) -> Config {
    let Draft { global, proxies, mut expressions, errors: _, userlists, start, loads, load_names: _ } = draft;
    let mut config = Config { global, ..Config::default() };
    let mut default_backends = Vec::with_capacity(proxies.len());
    let tracks = servers::tracks(&proxies, names, findings);
    let mut loader = tls::Loader::new(&config.global, &loads, options.now, findings);
    for (index, proxy) in proxies.iter().enumerate() {
        let default_backend = default_backend(index, &proxies, names, findings);
        default_backends.push(default_backend);
        if !proxy.settings.disabled {
            check_proxy(proxy, default_backend, names, &proxies, findings);
        }
        let numeric_id = names.numeric_ids[index];
        references::use_backend(proxy, &proxy.settings.rules, &proxies, names, findings);
        references::use_server(proxy, names.backend_ids[index], findings);
        references::captures(proxy, findings);
        references::errors(proxy, findings);
        if proxy.kind.is_frontend() {
            let formats = match proxy.settings.mode {
                Mode::Packet => LogFormats::default(),
                Mode::Tcp | Mode::Http => formats::compile(proxy, &mut expressions, findings),
            };
            let mut built = frontend(proxy, numeric_id, default_backend, formats, &config.global, options);
            for bind in &mut built.binds {
                loader.bind(proxy, bind, findings);
            }
            config.frontends.push(built);
        }
        if proxy.kind.is_backend() {
            let backend = backend(proxy, numeric_id, &config.global, &loader, findings);
            config.backends.push(backend);
        }
    }
    packet::check(&proxies, &default_backends, names, &config.global.ebpf, findings);
    references::expressions(&expressions.references, &proxies, &userlists, names, findings);
    config.shared = Shared {
        variables: expressions.variables,
        patterns: expressions.patterns.all(),
        userlists: userlists.into_iter().map(Arc::new).collect(),
        start,
    };
    servers::link(&mut config, &proxies, &tracks, names);
    config
}

/// The backend of what no rule decides.
fn default_backend(
    index: usize,
    proxies: &[Proxy],
    names: &Names,
    findings: &mut Findings<'_>,
) -> Option<BackendId> {
    let proxy = &proxies[index];
    let own = names.backend_ids[index];
    if !proxy.kind.is_frontend() {
        return None;
    }
    let Some(name) = &proxy.settings.default_backend else { return own };
    let Some((target_index, id)) = names.backend(name) else {
        let hint = names.hint(name);
        findings.alert(format!(
            "Proxy '{}': unable to find required default_backend: '{name}'.{}",
            proxy.name,
            hint.replacen("; d", " D", 1)
        ));
        return None;
    };
    let target = &proxies[target_index];
    let modes = (proxy.settings.mode, target.settings.mode);
    let (from, to) = (mode_name(modes.0), mode_name(modes.1));
    if incompatible(modes.0, modes.1) {
        findings.alert(format!(
            "{from} {} {} tries to use incompatible {to} {} {} as its default backend (see 'mode').",
            proxy.kind.name(),
            located(proxy),
            target.kind.name(),
            located(target)
        ));
    }
    Some(id)
}

/// Whether a frontend cannot use such a backend. A connection of `mode tcp` becomes one of `mode http` where it has to.
pub(super) fn incompatible(frontend: Mode, backend: Mode) -> bool {
    (frontend, backend) == (Mode::Http, Mode::Tcp) || (frontend == Mode::Packet) != (backend == Mode::Packet)
}

pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Tcp => "tcp",
        Mode::Http => "http",
        Mode::Packet => "packet",
    }
}

/// The warnings about one proxy, in HAProxy's order.
fn check_proxy(
    proxy: &Proxy,
    default_backend: Option<BackendId>,
    names: &Names,
    proxies: &[Proxy],
    findings: &mut Findings<'_>,
) {
    let Proxy { kind, name, settings, .. } = proxy;
    let title = format!("{} '{name}'", kind.name());
    if kind.is_frontend() && proxy.binds.is_empty() {
        findings.warning(format!(
            "{title} has no 'bind' directive. Please declare it as a backend if this was intended."
        ));
    }
    if *kind == Kind::Listen && settings.default_backend.is_some() && !proxy.servers.is_empty() {
        let own = names.backend(name).map(|(_, id)| id);
        if default_backend != own {
            findings.warning(format!(
                "In proxy '{name}', the 'default_backend' rule always has precedence over the servers, which will never be used."
            ));
        }
    }
    check_rules(&title, proxy, findings);
    if settings.mode == Mode::Packet {
        return packet::check_inherited(&title, proxy, findings);
    }
    if kind.is_backend() && settings.mode == Mode::Tcp && is_layer7(settings) {
        findings.warning(format!(
            "Layer 7 hash not possible for {title} (needs 'mode http'). Falling back to round robin."
        ));
    }
    if kind.is_frontend() {
        check_log_format(&title, settings, findings);
    }
    check_timeouts(&title, proxy, findings);
    if kind.is_frontend() && settings.log_format.is_some() && targets(settings, None).is_empty() {
        findings.warning(format!("log format ignored for {title} since it has no log address."));
    }
    // A frontend without HTTP has no use for these, unless its backend has.
    let http_backend = default_backend
        .and_then(|id| proxies.iter().zip(&names.backend_ids).find(|(_, known)| **known == Some(id)))
        .is_some_and(|(target, _)| target.settings.mode == Mode::Http);
    if settings.mode == Mode::Tcp && !http_backend && !references::upgrades(&settings.rules) {
        check_http_words(&title, proxy, findings);
    }
}

fn is_layer7(settings: &Settings) -> bool {
    matches!(
        settings.balance.algorithm,
        Some(DraftAlgorithm::Hash(
            HashSource::Uri { .. } | HashSource::UrlParam { .. } | HashSource::Hdr { .. }
        ))
    )
}

fn check_log_format(title: &str, settings: &Settings, findings: &mut Findings<'_>) {
    if let (Mode::Tcp, Some(DraftFormat { text: FormatText::Option(option), at })) =
        (settings.mode, &settings.log_format)
        && let Some(instead) = formats::without_http(*option)
    {
        let (wanted, instead) = (option.name(), instead.name());
        let message =
            format!("'{wanted}' not usable with {title} (needs 'mode http'). Falling back to '{instead}'.");
        findings.warning_parsing(at, message);
    }
}

fn check_timeouts(title: &str, proxy: &Proxy, findings: &mut Findings<'_>) {
    let timeouts = &proxy.settings.timeouts;
    let client = proxy.kind.is_frontend() && timeouts.client.is_none();
    let server = proxy.kind.is_backend()
        && !proxy.servers.is_empty()
        && (timeouts.connect.is_none() || timeouts.server.is_none());
    if client || server {
        findings.warning(format!(
            "missing timeouts for {title}.\n   | While not properly invalid, you will certainly encounter various problems\n   | with such a configuration. To fix this, please ensure that all following\n   | timeouts are set to a non-zero value: 'client', 'connect', 'server'."
        ));
    }
}

/// Words of `mode http` in `mode tcp`.
fn check_http_words(title: &str, proxy: &Proxy, findings: &mut Findings<'_>) {
    let settings = &proxy.settings;
    let ignored = |word: &str| format!("'{word}' ignored for {title} as it requires HTTP mode.");
    if proxy.kind.is_frontend() && settings.monitor_uri.is_some() {
        findings.warning(format!("'monitor-uri' statement ignored for {title} as it requires HTTP mode."));
    }
    let rules = &settings.rules;
    let sets = [
        ("http-request", rules.http_request.is_empty()),
        ("http-response", rules.http_response.is_empty()),
        ("http-after-response", rules.http_after_response.is_empty()),
        ("redirect", rules.redirect.is_empty()),
    ];
    for (word, _) in sets.iter().filter(|(_, empty)| !empty) {
        findings.warning(format!("'{word}' rules ignored for {title} as they require HTTP mode."));
    }
    for name in option::needs_http(settings) {
        findings.warning(ignored(&format!("option {name}")));
    }
    if settings.backend.forwardfor.is_some() {
        findings.warning(ignored("option forwardfor"));
    }
    if settings.backend.originalto.is_some() {
        findings.warning(ignored("option originalto"));
    }
    if settings.backend.forwarded.is_some() && proxy.kind.is_backend() {
        findings.warning(ignored("option forwarded"));
    }
    if proxy.kind.is_backend() && (settings.retry_on.keeps_request() || settings.retry_on.zero_rtt_rejected) {
        findings.warning(format!(
            "{title} : 'retry-on' with any other keywords than 'conn-failure' will be ignored, requires 'mode http'."
        ));
    }
}

/// Rules of a check that is not the one in force.
fn check_rules(title: &str, proxy: &Proxy, findings: &mut Findings<'_>) {
    let check = &proxy.settings.check;
    if !proxy.kind.is_backend() {
        return;
    }
    let own_http = !check.http_inherited && !check.http_rules.is_empty();
    if own_http && check.kind != DraftCheckKind::Http {
        findings.warning(format!(
            "{title} uses http-check rules without 'option httpchk', so the rules are ignored."
        ));
    }
    let own_tcp = !check.tcp_inherited && !check.tcp_rules.is_empty();
    if own_tcp && check.kind != DraftCheckKind::Tcp {
        findings.warning(format!(
            "{title} uses tcp-check rules without 'option tcp-check', so the rules are ignored."
        ));
    }
    let rules = match check.kind {
        DraftCheckKind::Connect | DraftCheckKind::SslHello => return,
        DraftCheckKind::Tcp => &check.tcp_rules,
        DraftCheckKind::Http => &check.http_rules,
    };
    let is_connect = |rule: &&CheckStep| matches!(rule, CheckStep::Connect(_));
    let first = rules.iter().find(|rule| !matches!(rule, CheckStep::Comment(_)));
    if rules.iter().any(|rule| is_connect(&rule)) && !first.is_some_and(|rule| is_connect(&rule)) {
        findings.alert(format!(
            "{title} : first step MUST also be a 'connect', optionally preceded by a 'set-var', an 'unset-var' or a 'comment', when there is a 'connect' step in the tcp-check ruleset."
        ));
    }
}

fn section_kind(kind: Kind) -> SectionKind {
    match kind {
        Kind::Backend => SectionKind::Backend,
        Kind::Listen => SectionKind::Listen,
        Kind::Frontend | Kind::Defaults => SectionKind::Frontend,
    }
}

/// The log targets, `log global` replaced by those of `global` if given.
fn targets(settings: &Settings, global: Option<&Global>) -> Vec<LogTarget> {
    let mut out = Vec::new();
    for line in &settings.log {
        match (line, global) {
            (DraftLog::Target(target), _) => out.push(target.clone()),
            (DraftLog::Global, Some(global)) => out.extend(global.log.iter().cloned()),
            (DraftLog::Global, None) => out.extend(placeholder()),
        }
    }
    out
}

/// Stands for `log global` where only presence counts.
fn placeholder() -> Option<LogTarget> {
    Some(LogTarget {
        address: crate::model::LogAddress::Stdout,
        length: 0,
        format: crate::model::LogWire::Raw,
        sample: None,
        facility: crate::model::Facility(0),
        level: crate::model::Level::Debug,
        minlevel: None,
    })
}

fn frontend(
    proxy: &Proxy,
    numeric_id: u32,
    default_backend: Option<BackendId>,
    log_formats: LogFormats,
    global: &Global,
    options: &Options,
) -> Frontend {
    let Settings { mode, timeouts, .. } = proxy.settings;
    let settings = &proxy.settings;
    Frontend {
        place: place(&proxy.location),
        name: proxy.name.clone(),
        kind: section_kind(proxy.kind),
        numeric_id,
        mode,
        disabled: settings.disabled,
        description: proxy.description.clone(),
        binds: binds(proxy),
        maxconn: settings.maxconn.or(options.proxy_maxconn),
        backlog: settings.backlog,
        default_backend,
        timeout_client: timeouts.client,
        timeout_client_fin: timeouts.client_fin,
        timeout_http_request: timeouts.http_request,
        timeout_http_keep_alive: timeouts.http_keep_alive,
        timeout_tarpit: timeouts.tarpit,
        timeout_client_hs: timeouts.client_hs,
        log: targets(settings, Some(global)),
        log_tag: settings.log_tag.clone(),
        log_formats,
        unique_id_header: settings.unique_id_header.clone(),
        captures: proxy.captures.clone(),
        options: settings.frontend.clone(),
        monitor_uri: settings.monitor_uri.clone(),
        errorfiles: settings.errorfiles.clone(),
        rules: settings.rules.clone(),
        clitcpka: settings.clitcpka,
        splice: settings.splice,
    }
}

/// The listeners, each with its number.
fn binds(proxy: &Proxy) -> Vec<Bind> {
    let ids = assign(1, proxy.binds.iter().map(|bind| bind.id));
    proxy.binds.iter().zip(ids).map(|(bind, id)| Bind { id: Some(id), ..bind.clone() }).collect()
}

fn backend(
    proxy: &Proxy,
    numeric_id: u32,
    global: &Global,
    loader: &tls::Loader,
    findings: &mut Findings<'_>,
) -> Backend {
    let settings = &proxy.settings;
    let timeouts = settings.timeouts;
    let check = check_of(settings);
    let servers = servers::build(proxy, &check, loader, findings);
    Backend {
        place: place(&proxy.location),
        name: proxy.name.clone(),
        kind: section_kind(proxy.kind),
        numeric_id,
        mode: settings.mode,
        disabled: settings.disabled,
        description: proxy.description.clone(),
        balance: algorithm(settings),
        servers,
        fullconn: settings.fullconn,
        timeout_connect: timeouts.connect,
        timeout_server: timeouts.server,
        timeout_server_fin: timeouts.server_fin,
        timeout_queue: timeouts.queue,
        timeout_check: timeouts.check,
        timeout_tunnel: timeouts.tunnel,
        timeout_http_request: timeouts.http_request,
        timeout_http_keep_alive: timeouts.http_keep_alive,
        timeout_tarpit: timeouts.tarpit,
        retries: settings.retries.unwrap_or(RETRIES),
        retry_on: settings.retry_on.clone(),
        redispatch: settings.redispatch,
        http_reuse: settings.http_reuse,
        max_keep_alive_queue: settings.max_keep_alive_queue,
        source: settings.source.source.clone(),
        check,
        log: targets(settings, Some(global)),
        log_tag: settings.log_tag.clone(),
        options: settings.backend.clone(),
        errorfiles: settings.errorfiles.clone(),
        rules: settings.rules.clone(),
        srvtcpka: settings.srvtcpka,
        splice: settings.splice,
        hash_preserve_affinity: settings.hash_preserve_affinity,
        packet: settings.packet,
    }
}

fn check_of(settings: &Settings) -> Check {
    match settings.check.kind {
        DraftCheckKind::Connect => Check::Connect,
        DraftCheckKind::Tcp => Check::Tcp(settings.check.tcp_rules.clone()),
        DraftCheckKind::Http => Check::Http(check::http_steps(&settings.check)),
        DraftCheckKind::SslHello => Check::SslHello(ssl_hello::steps()),
    }
}

fn algorithm(settings: &Settings) -> Algorithm {
    let balance = &settings.balance;
    if settings.mode == Mode::Packet {
        return packet::algorithm(balance.algorithm.as_ref());
    }
    let source = match &balance.algorithm {
        None | Some(DraftAlgorithm::RoundRobin) => return Algorithm::RoundRobin,
        Some(DraftAlgorithm::StaticRoundRobin) => return Algorithm::StaticRoundRobin,
        Some(DraftAlgorithm::LeastConn) => return Algorithm::LeastConn,
        Some(DraftAlgorithm::First) => return Algorithm::First,
        Some(DraftAlgorithm::Random(draws)) => {
            return Algorithm::Random(Random { draws: *draws, balance_factor: balance.factor });
        }
        Some(DraftAlgorithm::Hash(_)) if settings.mode == Mode::Tcp && is_layer7(settings) => {
            return Algorithm::RoundRobin;
        }
        Some(DraftAlgorithm::Hash(source)) => source.clone(),
    };
    let implied = (HashFunction::Sdbm, balance.method == HashMethod::Consistent);
    let (function, avalanche) = balance.function.unwrap_or(implied);
    Algorithm::Hash(Hash {
        method: balance.method,
        function,
        avalanche,
        balance_factor: balance.factor,
        skip_full: settings.hash_preserve_affinity != HashPreserveAffinity::Always,
        ..Hash::new(source)
    })
}
