//! `server`, `default-server` and `server-template` lines (manual 5.2).

mod options;
mod proxy_protocol;

use std::sync::Arc;

use sockeye_sample::{Expr, Stage, Stages};
use sockeye_syntax::address::{self, ParseOptions, Port};
use sockeye_syntax::diag::{Diagnostic, Severity};
use sockeye_syntax::words::Words;

use super::{packet, tls};
use crate::draft::{DraftServer, Kind};
use crate::expressions;
use crate::keyword::{Keyword, Status, find, hint, not_yet_message};
use crate::model::{Host, Place, Server, ServerAddress, ServerPort};
use crate::scope::ProxyScope;
use options::Context;

pub(crate) use options::TABLE;
pub(crate) use proxy_protocol::WORDS as PROXY_PROTOCOL;

/// Servers that one `server-template` may make: as many as ports, which is more than a farm has.
const TEMPLATE_MAX: u32 = 65_536;

/// `server NAME ADDRESS[:PORT] [OPTION …]`.
pub(crate) fn server(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let (Some(name), Some(address)) = (words.next(), words.next()) else {
        return alert(words, "'server' expects <name> and <addr>[:<port>] as arguments.");
    };
    if let Some(character) = invalid_character(name) {
        return alert(words, &format!("character '{character}' is not permitted in server name '{name}'."));
    }
    let title = format!("'server {}/{name}' : ", scope.proxy.name);
    let mut draft = new(words, scope, name);
    let mut packet = scope.packet;
    match server_address(address) {
        Ok(address) => draft.server.address = address,
        Err(message) => {
            // A second message about what is missing now would help nobody.
            packet = false;
            alert(words, &format!("{title}{message}"));
        }
    }
    read_options(&title, name, words, &mut draft, scope);
    compile_sni(&title, words, &mut draft, scope);
    proxy_protocol::compile(&title, words, &mut draft, scope);
    check_tracking(&title, words, &draft);
    if packet {
        check_packet(&title, words, &mut draft);
    }
    scope.proxy.servers.push(draft);
}

/// `default-server OPTION …`: each adds to what the ones before said.
pub(crate) fn default_server(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let mut draft = std::mem::take(&mut scope.proxy.settings.default_server);
    if words.is_end() {
        alert(words, "'default-server' expects at least one option.");
    }
    read_options("", "default-server", words, &mut draft, scope);
    if draft.given_id.take().is_some() {
        alert(words, "'default-server' : 'id' cannot be shared by several servers.");
    }
    scope.proxy.settings.default_server = draft;
}

/// `server-template PREFIX COUNT|FROM-TO ADDRESS[:PORT] [OPTION …]`: as many servers that differ in their name.
pub(crate) fn template(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let (Some(prefix), Some(numbers), Some(address)) = (words.next(), words.next(), words.next()) else {
        return alert(words, "'server-template' expects <prefix> <nb | range> <addr>[:<port>] as arguments.");
    };
    if let Some(character) = invalid_character(prefix) {
        return alert(
            words,
            &format!("character '{character}' is not permitted in server-template prefix '{prefix}'."),
        );
    }
    let (low, high) = numbers.split_once('-').unwrap_or(("1", numbers));
    let range = match (low.parse::<u32>(), high.parse::<u32>()) {
        (Ok(low), Ok(high)) if 0 < low && low <= high && high - low < TEMPLATE_MAX => low..=high,
        _ => return alert(words, &format!("Wrong server-template number or range arg '{numbers}'.")),
    };
    let title = format!("'server-template {}/{prefix}' : ", scope.proxy.name);
    let mut draft = new(words, scope, prefix);
    let mut packet = scope.packet;
    match server_address(address) {
        Ok(address) => draft.server.address = address,
        Err(message) => {
            // A second message about what is missing now would help nobody.
            packet = false;
            alert(words, &format!("{title}{message}"));
        }
    }
    read_options(&title, prefix, words, &mut draft, scope);
    compile_sni(&title, words, &mut draft, scope);
    proxy_protocol::compile(&title, words, &mut draft, scope);
    if let Some((_, _)) = draft.given_id.take() {
        alert(words, &format!("{title}'id' cannot be shared by several servers."));
    }
    check_tracking(&title, words, &draft);
    if packet {
        check_packet(&title, words, &mut draft);
    }
    for number in range {
        let mut one = draft.clone();
        one.server.name = format!("{prefix}{number}").into();
        scope.proxy.servers.push(one);
    }
}

fn check_tracking(title: &str, words: &mut Words<'_>, draft: &DraftServer) {
    if draft.track.is_some() && draft.server.check.enabled {
        alert(words, &format!("{title}unable to enable checks and tracking at the same time!"));
    }
}

/// What packets need of a server beside its words.
fn check_packet(title: &str, words: &mut Words<'_>, draft: &mut DraftServer) {
    if let ServerAddress::Inet { host: Host::Ip(ip), .. } = &mut draft.server.address {
        // One address has one form in the kernel's tables.
        *ip = ip.to_canonical();
    }
    for (severity, message) in packet::refused::server(draft) {
        say(words, severity, &format!("{title}{message}"));
    }
}

fn new(words: &Words<'_>, scope: &ProxyScope<'_>, name: &str) -> DraftServer {
    let location = words.location();
    let base = &scope.proxy.settings.default_server;
    DraftServer {
        location: location.clone(),
        server: Server {
            place: Place { file: location.file.clone(), line: location.line },
            name: name.into(),
            ..base.server.clone()
        },
        given_id: None,
        track: base.track.clone(),
        tlvs: base.tlvs.clone(),
        tls: base.tls.clone(),
    }
}

/// An alert with the place as server lines write it.
fn alert(words: &mut Words<'_>, message: &str) {
    say(words, Severity::Alert, message);
    words.skip_rest();
}

fn say(words: &mut Words<'_>, severity: Severity, message: &str) {
    let place = sockeye_syntax::diag::Place::At(words.location().clone());
    words.diags().push(Diagnostic::new(severity, place, message));
}

/// The first character that names of servers and proxies cannot have.
pub(crate) fn invalid_character(name: &str) -> Option<char> {
    name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '_' | ':' | '.' | '-'))
}

fn server_address(text: &str) -> Result<ServerAddress, String> {
    let address = address::parse_address(text, ParseOptions::SERVER).map_err(|error| error.to_string())?;
    if address.mptcp {
        return Err(not_yet_message(text));
    }
    let host = match address.host {
        address::Host::Unix(path) => return Ok(ServerAddress::Unix(path.into())),
        address::Host::Abstract(name) => return Ok(ServerAddress::Abstract { name, padded: true }),
        address::Host::AbstractTerminated(name) => {
            return Ok(ServerAddress::Abstract { name, padded: false });
        }
        address::Host::Sockpair(_) | address::Host::Descriptor(_) => return Err(not_yet_message(text)),
        address::Host::AnyIpv4 => Host::Original,
        address::Host::Ip(ip) if ip.is_unspecified() => Host::Original,
        address::Host::Ip(ip) => Host::Ip(ip),
        address::Host::Name { name, family } => Host::Name { name, family },
    };
    let port = match address.port {
        Port::Fixed(port) => ServerPort::Fixed(port),
        Port::Offset(offset) => ServerPort::Offset(offset),
        Port::None | Port::Range(_) => ServerPort::Offset(0),
    };
    Ok(ServerAddress::Inet { host, port })
}

fn read_options(
    title: &str,
    name: &str,
    words: &mut Words<'_>,
    draft: &mut DraftServer,
    scope: &ProxyScope<'_>,
) {
    let packet = scope.packet && scope.proxy.kind != Kind::Defaults;
    let mut context = Context {
        name,
        mode: scope.proxy.settings.mode,
        resolver: scope.around.resolver,
        warnings: Vec::new(),
    };
    while let Some(word) = words.next() {
        if let Some((severity, message)) = packet.then(|| packet::refused::server_option(word)).flatten() {
            say(words, severity, &format!("{title}{message}"));
        }
        let result = if let Some(row) = find(TABLE, word).or_else(|| proxy_protocol::find(word)) {
            let Some(parser) = obeyed(title, row, words) else { continue };
            parser(words, draft, &mut context)
        } else if let Some(row) = find(tls::server::TABLE, word) {
            let Some(parser) = obeyed(title, row, words) else { continue };
            let mut context =
                tls::server::Context { global: &scope.global.tls, warnings: &mut context.warnings };
            parser(row.name, words, draft, &mut context)
        } else {
            let known = TABLE.iter().chain(PROXY_PROTOCOL).map(|row| row.name);
            let hint = hint(words, word, known.chain(tls::server::TABLE.iter().map(|row| row.name)));
            let end = if hint.is_empty() { "." } else { &hint };
            alert(words, &format!("{title}unknown keyword '{word}'{end}"));
            break;
        };
        if let Err(message) = result {
            say(words, Severity::Alert, &format!("{title}{message}"));
        }
    }
    for warning in context.warnings {
        say(words, Severity::Warning, &format!("{title}{warning}"));
    }
}

/// The parser of a word, or a diagnostic that says why there is none, after which its arguments are skipped.
fn obeyed<P: Copy>(title: &str, row: &Keyword<P>, words: &mut Words<'_>) -> Option<P> {
    let (severity, message) = match row.status {
        Status::Supported(parser) => return Some(parser),
        Status::NoEffect => (Severity::Notice, format!("'{}' has no effect: {}.", row.name, row.help)),
        Status::NotYet => (Severity::Alert, not_yet_message(row.name)),
        Status::Removed(message) => (Severity::Alert, message.to_owned()),
    };
    say(words, severity, &format!("{title}{message}"));
    words.seek(words.position() + row.arguments);
    None
}

/// Compiles what `sni` says, once the whole line is known.
fn compile_sni(title: &str, words: &mut Words<'_>, draft: &mut DraftServer, scope: &mut ProxyScope<'_>) {
    let Some(text) = &draft.tls.sni else { return };
    let compiled = expressions::compile(words, scope, |compiler| Expr::parse(text, compiler));
    let compiled = compiled.map_err(|error| error.message).and_then(|expr| {
        if expr.stages().intersects(Stages::of(Stage::ServerSource)) {
            return Ok(Arc::new(expr));
        }
        Err(format!(
            "fetch method '{}' extracts information from '{text}', none of which is available here",
            expr.fetch_name()
        ))
    });
    match compiled {
        Ok(expr) => draft.server.sni = Some(expr),
        Err(message) => alert(
            words,
            &format!("{title}error detected while parsing sni or pool-conn-name expressions : {message}."),
        ),
    }
}

/// For messages about a server after reading.
pub(crate) fn title(proxy: &str, name: &Arc<str>) -> String {
    format!("'server {proxy}/{name}' : ")
}
