//! `bind` lines (manual 5.1): one or more addresses, then options.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sockeye_syntax::address::{self, Address, Host, ParseOptions, Port, SocketType};
use sockeye_syntax::diag::Severity;
use sockeye_syntax::units::TimeUnit;
use sockeye_syntax::words::Words;

use super::{block, global, packet, tls, values};
use crate::keyword::{
    Keyword, Sections, Status, find, hint, no_effect, not_yet, not_yet_message, removed, supported, takes,
};
use crate::model::{
    AddressBlock, BLOCK_PORTS_MIN, Bind, BindAddress, PORT_ALL, Place, Shards, Tls, Transport, UnixOptions,
};
use crate::scope::ProxyScope;

/// Listening addresses of one proxy: every port there is, once.
const BINDS_MAX: usize = 65_536;

/// Worker threads that a thread set may name; HAProxy's limit.
const THREADS_MAX: u16 = 1024;

type Parser = fn(&mut Words<'_>, &mut Bind) -> Result<(), String>;

const F: Sections = Sections::FRONTENDS;

pub(crate) const TABLE: &[Keyword<Parser>] = &[
    takes(1, supported("accept-netscaler-cip", F, netscaler_cip, "reads NetScaler's Client IP header")),
    supported("accept-proxy", F, accept_proxy, "reads a PROXY protocol header"),
    takes(1, supported("backlog", F, backlog, "length of the queue of connections not accepted yet")),
    takes(1, supported("cc", F, congestion, "TCP congestion control algorithm")),
    supported("defer-accept", F, defer_accept, "accepts once data has arrived"),
    takes(1, supported("gid", F, unix_option, "group of the unix socket, by number")),
    takes(1, supported("group", F, unix_option, "group of the unix socket")),
    takes(1, supported("id", F, id, "number in statistics")),
    takes(1, supported("interface", F, interface, "network interface")),
    takes(1, supported("maxconn", F, maxconn, "connections of this listener")),
    takes(1, supported("mode", F, unix_option, "permissions of the unix socket")),
    takes(1, supported("mss", F, mss, "TCP maximum segment size")),
    takes(1, supported("name", F, name, "name in logs and statistics")),
    takes(1, supported("namespace", F, namespace, "network namespace")),
    takes(1, supported("nice", F, nice, "priority")),
    takes(1, supported("shards", F, shards, "sockets that share the address")),
    takes(1, supported("tcp-ut", F, tcp_ut, "TCP user timeout")),
    supported("tfo", F, tfo, "TCP Fast Open"),
    takes(1, supported("thread", F, thread, "threads that serve it")),
    supported("transparent", F, transparent, "accepts for foreign addresses"),
    takes(1, supported("uid", F, unix_option, "owner of the unix socket, by number")),
    takes(1, supported("user", F, unix_option, "owner of the unix socket")),
    supported("v4v6", F, v4v6, "IPv6 socket that takes IPv4 too"),
    supported("v6only", F, v6only, "IPv6 socket that takes IPv6 alone"),
    takes(
        1,
        removed(
            "process",
            F,
            "'process' on 'bind' lines is not supported anymore, please use 'thread' instead.",
        ),
    ),
    // --- not implemented yet, or with nothing to act on ---
    takes(1, no_effect("expose-fd", F, "it is for the command socket")),
    takes(1, not_yet("guid-prefix", F)),
    takes(1, no_effect("idle-ping", F, "idle connections end by their timeouts")),
    takes(1, no_effect("label", F, "nothing shows it")),
    takes(1, no_effect("level", F, "it is for the command socket")),
    takes(1, no_effect("nbconn", F, "there is no reverse HTTP")),
    takes(1, no_effect("severity-output", F, "it is for the command socket")),
    takes(1, not_yet("tcp-md5sig", F)),
    takes(1, not_yet("tcp-ss", F)),
];

/// `bind ADDRESS[,…] [OPTION …]`.
pub(crate) fn parse(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let Some(text) = words.next() else {
        words.alert("'bind' expects {<path>|[addr1]:port1[-end1]}{,[addr]:port[-end]}... as arguments.");
        return;
    };
    let binds = match addresses(text, scope) {
        Ok(binds) => binds,
        Err(message) => {
            words.alert(format!("'bind' : {message}"));
            Vec::new()
        }
    };
    let location = words.location();
    let place = Place { file: location.file.clone(), line: location.line };
    let mut template = template(place, scope.global.unix_bind.clone());
    options(text, words, scope, &mut template);
    let binds = block::divide(binds, &template);
    if template.id.is_some() && (binds.len() > 1 || binds.iter().any(block::is_range)) {
        let section = scope.proxy.kind.keyword();
        words.alert(format!(
            "'bind {text}' in section '{section}' : 'id' : can only be used with a single socket"
        ));
    }
    if scope.proxy.binds.len() + binds.len() > BINDS_MAX {
        words.alert(format!("'bind' : a proxy listens on {BINDS_MAX} addresses at most."));
        return;
    }
    check_id(text, words, scope, template.id);
    block::check(text, words, scope, &binds, &template);
    for Expanded { text, address, transport } in binds {
        scope.proxy.binds.push(Bind { text, address, transport, ..template.clone() });
    }
}

fn options(text: &str, words: &mut Words<'_>, scope: &ProxyScope<'_>, bind: &mut Bind) {
    let section = scope.proxy.kind.keyword();
    let say = |message: &str| format!("'bind {text}' in section '{section}' : {message}");
    let mut line = tls::bind::Line::new(&scope.global.tls);
    while let Some(word) = words.next() {
        if scope.packet && refused(word, words, say) {
            continue;
        }
        let result = if let Some(row) = find(TABLE, word) {
            let Some(parser) = obeyed(row, words, say) else { continue };
            // The parsers of unix options share one function, which reads the name again.
            let result = if matches!(word, "mode" | "user" | "uid" | "group" | "gid") {
                global::unix_option(word, words, &mut bind.unix).unwrap_or(Ok(()))
            } else {
                parser(words, bind)
            };
            result.map_err(|message| format!("'{word}' : {message}"))
        } else if let Some(row) = find(tls::bind::TABLE, word) {
            let Some(parser) = obeyed(row, words, say) else { continue };
            line.read(row, parser, words)
        } else {
            let known = TABLE.iter().map(|row| row.name);
            let hint = hint(words, word, known.chain(tls::bind::TABLE.iter().map(|row| row.name)));
            let end = if hint.is_empty() { "." } else { &hint };
            words.alert(format!("'bind {text}' in section '{section}': unknown keyword '{word}'{end}"));
            return words.skip_rest();
        };
        if let Err(message) = result {
            words.alert(say(&message));
        }
    }
    for warning in line.warnings {
        words.warning(say(&warning));
    }
    if let Some(first) = line.first.filter(|_| !line.ssl) {
        words.notice(say(&format!("'{first}' has no effect without 'ssl'.")));
    }
    bind.tls = line.ssl.then(|| Tls::new(line.settings));
    bind.proto = line.proto;
    if bind.nice != 0 {
        words.notice(format!(
            "'bind {text}' in section '{section}' : 'nice' has no effect: all connections have the same priority."
        ));
    }
}

/// Says what a word cannot do for packets. Returns whether it was passed over, with what belongs to it.
fn refused(word: &str, words: &mut Words<'_>, say: impl Fn(&str) -> String) -> bool {
    let arguments = find(TABLE, word).map(|row| row.arguments);
    let Some(arguments) = arguments.or_else(|| find(tls::bind::TABLE, word).map(|row| row.arguments)) else {
        return false;
    };
    match packet::refused::bind_option(word) {
        None => return false,
        Some((Severity::Alert, message)) => {
            words.alert(say(&message));
            words.seek(words.position() + arguments);
            return true;
        }
        Some((_, message)) => words.warning(say(&message)),
    }
    false
}

/// The parser of a word, or a diagnostic that says why there is none, after which its arguments are skipped.
fn obeyed<P: Copy>(row: &Keyword<P>, words: &mut Words<'_>, say: impl Fn(&str) -> String) -> Option<P> {
    match row.status {
        Status::Supported(parser) => return Some(parser),
        Status::NoEffect => words.notice(say(&format!("'{}' has no effect: {}.", row.name, row.help))),
        Status::NotYet => words.alert(say(&not_yet_message(row.name))),
        Status::Removed(message) => words.alert(say(message)),
    }
    words.seek(words.position() + row.arguments);
    None
}

/// A number may be given once per proxy.
fn check_id(text: &str, words: &mut Words<'_>, scope: &ProxyScope<'_>, id: Option<u32>) {
    let Some(other) = id.and_then(|id| scope.proxy.binds.iter().find(|bind| bind.id == Some(id))) else {
        return;
    };
    let section = scope.proxy.kind.keyword();
    let (file, line) = (&other.place.file, other.place.line);
    words.alert(format!(
        "'bind {text}' in section '{section}' : 'id' : custom id {} already used at {file}:{line} ('bind {}')",
        id.unwrap_or_default(),
        other.text
    ));
}

fn template(place: Place, unix: UnixOptions) -> Bind {
    Bind {
        place,
        text: "".into(),
        address: BindAddress::Fd(-1),
        transport: Transport::default(),
        name: None,
        id: None,
        interface: None,
        backlog: None,
        maxconn: None,
        defer_accept: false,
        tfo: false,
        v4v6: false,
        v6only: false,
        transparent: false,
        mss: None,
        tcp_user_timeout: None,
        congestion: None,
        unix,
        nice: 0,
        threads: Vec::new(),
        shards: None,
        namespace: None,
        accept_proxy: false,
        netscaler_cip: None,
        tls: None,
        proto: None,
    }
}

/// One of the listening addresses that a text stands for, with the text that messages use.
pub(super) struct Expanded {
    pub(super) text: Arc<str>,
    pub(super) address: BindAddress,
    pub(super) transport: Transport,
}

/// Every listening address that `text` stands for.
fn addresses(text: &str, scope: &ProxyScope<'_>) -> Result<Vec<Expanded>, String> {
    let mut out = Vec::new();
    for one in text.strip_suffix(',').unwrap_or(text).split(',') {
        if let Some(found) = block::prefix(one, scope)? {
            out.push(found);
            continue;
        }
        let options = ParseOptions { datagram: scope.packet, ..ParseOptions::BIND };
        let address = address::parse_address(one, options).map_err(|error| error.to_string())?;
        let address = values::resolve_host(address, one, scope.around.resolver)?;
        expand(one, address, scope, &mut out)?;
    }
    Ok(out)
}

fn expand(
    text: &str,
    address: Address,
    scope: &ProxyScope<'_>,
    out: &mut Vec<Expanded>,
) -> Result<(), String> {
    if address.mptcp {
        return Err(not_yet_message(text));
    }
    let transport = match address.socket {
        SocketType::Stream => Transport::Tcp,
        SocketType::Datagram => Transport::Udp,
    };
    if scope.packet {
        packet::refused::bind_address(text, &address)?;
    }
    let mut push = |text: Arc<str>, address| out.push(Expanded { text, address, transport });
    let ip = match address.host {
        // One address has one form in the kernel's tables.
        Host::Ip(ip) if scope.packet => ip.to_canonical(),
        Host::Ip(ip) => ip,
        Host::AnyIpv4 => Ipv4Addr::UNSPECIFIED.into(),
        Host::Unix(path) => {
            let prefix = scope.global.unix_bind_prefix.as_deref().unwrap_or_default();
            let path = format!("{prefix}{path}");
            if path.len() > address::UNIX_PATH_MAX {
                return Err(format!("socket path '{path}' too long (max {})", address::UNIX_PATH_MAX));
            }
            push(text.into(), BindAddress::Unix(path.into()));
            return Ok(());
        }
        Host::Abstract(name) => {
            push(text.into(), BindAddress::Abstract { name, padded: true });
            return Ok(());
        }
        Host::AbstractTerminated(name) => {
            push(text.into(), BindAddress::Abstract { name, padded: false });
            return Ok(());
        }
        Host::Descriptor(number) => {
            push(text.into(), BindAddress::Fd(number));
            return Ok(());
        }
        Host::Sockpair(_) => return Err(not_yet_message(text)),
        Host::Name { name, .. } => return Err(format!("invalid address: '{name}' in '{text}'")),
    };
    match address.port {
        Port::Fixed(port) => push(text.into(), BindAddress::Inet(SocketAddr::new(ip, port))),
        Port::Range(range) if scope.packet && range == (1..=u16::MAX) => {
            push(text.into(), BindAddress::Inet(SocketAddr::new(ip, PORT_ALL)));
        }
        Port::Range(range) if !scope.packet && range.len() >= BLOCK_PORTS_MIN => {
            let bits = if ip.is_ipv4() { 32 } else { 128 };
            let block = AddressBlock { first: ip, bits, low: *range.start(), high: *range.end() };
            push(text.into(), BindAddress::Block(block));
        }
        Port::Range(range) => {
            for port in range {
                push(block::name(ip, port).into(), BindAddress::Inet(SocketAddr::new(ip, port)));
            }
        }
        Port::None | Port::Offset(_) => return Err(format!("missing port specification in '{text}'")),
    }
    Ok(())
}

fn number<T: TryFrom<i64>>(words: &mut Words<'_>, low: i64, high: i64) -> Result<T, String> {
    let text = words.next().ok_or("missing value")?;
    text.parse::<i64>()
        .ok()
        .filter(|value| (low..=high).contains(value))
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| format!("invalid value {text}, allowed range is {low}..{high}"))
}

fn backlog(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    let value: u32 = number(words, 0, i64::from(i32::MAX))?;
    bind.backlog = (value > 0).then_some(value);
    Ok(())
}

fn maxconn(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    let value: u32 = number(words, 0, i64::from(i32::MAX))?;
    bind.maxconn = (value > 0).then_some(value);
    Ok(())
}

fn accept_proxy(_: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    bind.accept_proxy = true;
    Ok(())
}

/// The magic number in decimal.
fn netscaler_cip(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    let text = words.next().ok_or("missing value")?;
    let magic = text.parse().ok().filter(|magic| *magic > 0);
    bind.netscaler_cip = Some(magic.ok_or_else(|| format!("invalid value {text}, must be > 0"))?);
    Ok(())
}

fn congestion(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    bind.congestion = Some(words.next().ok_or("missing TCP congestion control algorithm")?.to_owned());
    Ok(())
}

fn defer_accept(_: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    bind.defer_accept = true;
    Ok(())
}

fn tfo(_: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    bind.tfo = true;
    Ok(())
}

fn transparent(_: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    bind.transparent = true;
    Ok(())
}

fn v4v6(_: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    bind.v4v6 = true;
    Ok(())
}

fn v6only(_: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    bind.v6only = true;
    Ok(())
}

fn id(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    let text = words.next().ok_or("missing value")?;
    let value = text.parse().ok().filter(|id| *id > 0 && *id <= i32::MAX.unsigned_abs());
    bind.id = Some(value.ok_or("custom id has to be > 0")?);
    Ok(())
}

fn interface(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    bind.interface = Some(words.next().ok_or("missing interface name")?.to_owned());
    Ok(())
}

fn name(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    bind.name = Some(words.next().ok_or("missing name")?.into());
    Ok(())
}

fn namespace(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    bind.namespace = Some(words.next().ok_or("missing namespace id")?.to_owned());
    Ok(())
}

fn nice(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    bind.nice = number(words, -1024, 1024)?;
    Ok(())
}

fn mss(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    let message = "expects an MSS with and absolute value between 1 and 65535";
    let value: i32 = number(words, -65_535, 65_535).map_err(|_| message)?;
    if value == 0 {
        return Err(message.to_owned());
    }
    bind.mss = Some(value);
    Ok(())
}

fn tcp_ut(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    let value = values::time(words, TimeUnit::Milliseconds);
    let value = value.map_err(|_| "expects a positive delay in milliseconds")?;
    bind.tcp_user_timeout = (!value.is_zero()).then_some(value);
    Ok(())
}

fn shards(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    let text = words.next().ok_or("missing value")?;
    bind.shards = Some(match text {
        "by-thread" => Shards::ByThread,
        "by-group" => Shards::ByGroup,
        "by-process" => Shards::ByProcess,
        _ => {
            let count = text.parse().ok().filter(|count| (1..=THREADS_MAX).contains(count));
            Shards::Count(count.ok_or_else(|| {
                format!("invalid value {text}, allowed range is 1..{THREADS_MAX} or 'by-thread'")
            })?)
        }
    });
    Ok(())
}

/// `[GROUP/]SET[,…]`; there is one group, so its number must be 1.
fn thread(words: &mut Words<'_>, bind: &mut Bind) -> Result<(), String> {
    let text = words.next().ok_or("missing thread set")?;
    let mut threads = Vec::new();
    for part in text.split(',') {
        let set = match part.split_once('/') {
            Some(("1" | "all", set)) => set,
            Some((group, _)) => {
                return Err(format!("thread group {group} does not exist: all threads are group 1."));
            }
            None => part,
        };
        let wrong = || {
            format!(
                "invalid first thread number '{set}', permitted range is 1..{THREADS_MAX}, or 'all', 'odd', 'even'."
            )
        };
        let (low, high, step) = match set {
            "all" => {
                bind.threads.clear();
                return Ok(());
            }
            "odd" => (1, THREADS_MAX, 2),
            "even" => (2, THREADS_MAX, 2),
            _ => {
                let (low, high) = set.split_once('-').unwrap_or((set, set));
                let low: u16 = low.parse().map_err(|_| wrong())?;
                let high: u16 =
                    if high.is_empty() { THREADS_MAX } else { high.parse().map_err(|_| wrong())? };
                (low.min(high), low.max(high), 1)
            }
        };
        if low == 0 || high > THREADS_MAX {
            return Err(wrong());
        }
        threads.extend((low..=high).step_by(step).map(|thread| thread - 1));
    }
    threads.sort_unstable();
    threads.dedup();
    bind.threads = threads;
    Ok(())
}

/// Handled by name in [`options`].
fn unix_option(_: &mut Words<'_>, _: &mut Bind) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use sockeye_syntax::ast::{Statement, Word};
    use sockeye_syntax::diag::{Diagnostics, Location};

    use super::*;

    #[test]
    fn thread_sets() {
        let check = |text: &str, expected: Option<&[u16]>| {
            let words = vec![Word::from("thread"), Word::from(text)];
            let statement = Statement { words, location: Location::new("f", 1) };
            let mut bind = template(Place::default(), UnixOptions::default());
            let result = thread(&mut Words::new(&statement, &mut Diagnostics::new()), &mut bind);
            assert_eq!(result.ok().map(|()| bind.threads).as_deref(), expected, "{text}");
        };
        check("all", Some(&[]));
        check("1", Some(&[0]));
        check("3,1-2,2", Some(&[0, 1, 2]));
        check("4-2", Some(&[1, 2, 3]));
        check("1/1-3", Some(&[0, 1, 2]));
        check("1023-", Some(&[1022, 1023]));
        for wrong in ["", "0", "0-3", "1025", "x", "2/1", "1,,2", "-"] {
            check(wrong, None);
        }
    }
}
