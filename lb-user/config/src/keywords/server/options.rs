//! The options of `server` and `default-server` lines: one table, one small parser each.

use std::net::IpAddr;
use std::time::Duration;

use sockeye_syntax::address::{self, ParseOptions, Port};
use sockeye_syntax::units::TimeUnit;
use sockeye_syntax::words::Words;

use super::super::timeout::suspicious;
use super::super::{source, values};
use crate::draft::DraftServer;
use crate::keyword::{Keyword, Sections, no_effect, not_yet, not_yet_message, supported, takes};
use crate::model::{InitAddr, InitState, Mode, Observe, OnError};
use crate::scope::Resolver;

/// The largest weight (manual 5.2 "weight").
const WEIGHT_MAX: u32 = 256;

/// What the options may look at.
pub(crate) struct Context<'a> {
    /// The server's name, or `default-server`.
    pub(super) name: &'a str,
    pub(super) mode: Mode,
    pub(super) resolver: &'a dyn Resolver,
    /// Warnings about times without a unit.
    pub(super) warnings: Vec<String>,
}

pub(super) type Parser = fn(&mut Words<'_>, &mut DraftServer, &mut Context<'_>) -> Result<(), String>;

const B: Sections = Sections::SERVER_SIDE;

pub(crate) const TABLE: &[Keyword<Parser>] = &[
    takes(1, supported("addr", B, addr, "address of checks")),
    supported("backup", B, |_, s, _| flag(&mut s.server.backup, true), "used when no other server works"),
    takes(1, supported("cc", B, congestion, "TCP congestion control algorithm")),
    supported("check", B, |_, s, _| flag(&mut s.server.check.enabled, true), "health checks"),
    supported("disabled", B, |_, s, _| flag(&mut s.server.disabled, true), "starts in maintenance"),
    takes(1, supported("downinter", B, downinter, "time between checks while down")),
    supported("enabled", B, |_, s, _| flag(&mut s.server.disabled, false), "takes 'disabled' back"),
    takes(1, supported("error-limit", B, error_limit, "errors of real traffic until on-error")),
    takes(1, supported("fall", B, fall, "failed checks until down")),
    takes(1, supported("fastinter", B, fastinter, "time between checks in transition")),
    takes(1, supported("id", B, id, "number in statistics")),
    takes(1, supported("init-addr", B, init_addr, "how the name is resolved at start")),
    takes(1, supported("init-state", B, init_state, "state before the first check")),
    takes(1, supported("inter", B, inter, "time between checks")),
    takes(1, supported("max-reuse", B, max_reuse, "uses of one connection")),
    takes(1, supported("maxconn", B, maxconn, "concurrent requests")),
    takes(1, supported("maxqueue", B, maxqueue, "requests waiting for this server")),
    takes(1, supported("minconn", B, minconn, "maxconn under low load")),
    takes(1, supported("namespace", B, namespace, "network namespace")),
    supported("no-backup", B, |_, s, _| flag(&mut s.server.backup, false), "takes 'backup' back"),
    supported("no-check", B, |_, s, _| flag(&mut s.server.check.enabled, false), "takes 'check' back"),
    supported("no-tfo", B, |_, s, _| flag(&mut s.server.tfo, false), "takes 'tfo' back"),
    takes(1, supported("observe", B, observe, "watches real traffic")),
    takes(1, supported("on-error", B, on_error, "what observed errors lead to")),
    takes(1, supported("on-marked-down", B, on_marked_down, "what happens to sessions when it goes down")),
    takes(
        1,
        supported("on-marked-up", B, on_marked_up, "what happens to backups' sessions when it comes up"),
    ),
    takes(1, supported("pool-low-conn", B, pool_low_conn, "idle connections that are not shared")),
    takes(1, supported("pool-max-conn", B, pool_max_conn, "idle connections kept")),
    takes(1, supported("pool-purge-delay", B, pool_purge_delay, "time between purges of idle connections")),
    takes(1, supported("port", B, port, "port of checks")),
    takes(1, supported("rise", B, rise, "passed checks until up")),
    takes(1, supported("slowstart", B, slowstart, "time until full weight")),
    takes(1, supported("source", B, source_address, "address connections come from")),
    takes(1, supported("tcp-ut", B, tcp_ut, "TCP user timeout")),
    supported("tfo", B, |_, s, _| flag(&mut s.server.tfo, true), "TCP Fast Open"),
    takes(1, supported("track", B, track, "takes its state from another server")),
    takes(1, supported("usesrc", B, usesrc, "belongs to 'source'")),
    takes(1, supported("weight", B, weight, "share of the traffic")),
    // --- not implemented yet, or with nothing to act on ---
    takes(1, not_yet("agent-addr", B)),
    not_yet("agent-check", B),
    takes(1, not_yet("agent-inter", B)),
    takes(1, not_yet("agent-port", B)),
    takes(1, not_yet("agent-send", B)),
    takes(1, not_yet("check-pool-conn-name", B)),
    not_yet("check-reuse-pool", B),
    not_yet("check-via-socks4", B),
    takes(1, not_yet("cookie", B)),
    takes(1, not_yet("guid", B)),
    takes(1, not_yet("hash-key", B)),
    takes(1, not_yet("healthcheck", B)),
    takes(1, no_effect("idle-ping", B, "idle connections end by pool-purge-delay")),
    takes(1, not_yet("log-bufsize", B)),
    takes(1, not_yet("log-proto", B)),
    no_effect("no-agent-check", B, "it is off"),
    no_effect("no-check-reuse-pool", B, "it is off"),
    not_yet("non-stick", B),
    takes(1, not_yet("pool-conn-name", B)),
    takes(1, not_yet("redir", B)),
    takes(1, not_yet("resolve-net", B)),
    takes(1, not_yet("resolve-opts", B)),
    takes(1, not_yet("resolve-prefer", B)),
    takes(1, not_yet("resolvers", B)),
    takes(1, not_yet("shard", B)),
    takes(1, not_yet("socks4", B)),
    no_effect("stick", B, "it is so unless non-stick says otherwise"),
    not_yet("strict-maxconn", B),
    takes(1, not_yet("tcp-md5sig", B)),
];

#[allow(clippy::unnecessary_wraps)] // the shape of all option parsers
fn flag(slot: &mut bool, value: bool) -> Result<(), String> {
    *slot = value;
    Ok(())
}

/// A time between checks and its kin.
fn delay(words: &mut Words<'_>, keyword: &str, context: &mut Context<'_>) -> Result<Duration, String> {
    let text = words.peek().unwrap_or_default();
    let name = context.name;
    let value = values::time(words, TimeUnit::Milliseconds).map_err(|fault| match fault {
        values::TimeFault::Missing => format!("'{keyword}' expects a delay as argument."),
        values::TimeFault::Unexpected(character) => {
            format!("unexpected character '{character}' in '{keyword}' argument of server {name}.")
        }
        values::TimeFault::Overflow(word) => format!(
            "timer overflow in argument <{word}> to <{keyword}> of server {name}, maximum value is 2147483647 ms (~24.8 days)."
        ),
    })?;
    if let Some(unit) = suspicious(text, value) {
        context.warnings.push(format!("'{keyword} {text}' in server '{name}' {unit}"));
    }
    Ok(value)
}

/// A delay that is not zero.
fn interval(words: &mut Words<'_>, keyword: &str, context: &mut Context<'_>) -> Result<Duration, String> {
    let value = delay(words, keyword, context)?;
    if value.is_zero() {
        return Err(format!("invalid value 0 for argument '{keyword}' of server {}.", context.name));
    }
    Ok(value)
}

fn inter(words: &mut Words<'_>, draft: &mut DraftServer, context: &mut Context<'_>) -> Result<(), String> {
    draft.server.check.inter = interval(words, "inter", context)?;
    Ok(())
}

fn fastinter(
    words: &mut Words<'_>,
    draft: &mut DraftServer,
    context: &mut Context<'_>,
) -> Result<(), String> {
    draft.server.check.fastinter = Some(interval(words, "fastinter", context)?);
    Ok(())
}

fn downinter(
    words: &mut Words<'_>,
    draft: &mut DraftServer,
    context: &mut Context<'_>,
) -> Result<(), String> {
    draft.server.check.downinter = Some(interval(words, "downinter", context)?);
    Ok(())
}

fn slowstart(
    words: &mut Words<'_>,
    draft: &mut DraftServer,
    context: &mut Context<'_>,
) -> Result<(), String> {
    let value = delay(words, "slowstart", context)?;
    draft.server.slowstart = (!value.is_zero()).then_some(value);
    Ok(())
}

fn pool_purge_delay(
    words: &mut Words<'_>,
    draft: &mut DraftServer,
    context: &mut Context<'_>,
) -> Result<(), String> {
    draft.server.pool_purge_delay = interval(words, "pool-purge-delay", context)?;
    Ok(())
}

fn tcp_ut(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    let value = values::time(words, TimeUnit::Milliseconds);
    let value = value.map_err(|_| "'tcp-ut' : expects a positive delay in milliseconds.")?;
    draft.server.tcp_user_timeout = (!value.is_zero()).then_some(value);
    Ok(())
}

fn number(words: &mut Words<'_>, keyword: &str) -> Result<i64, String> {
    let text = words.next().ok_or_else(|| format!("'{keyword}' expects an integer argument."))?;
    text.parse().map_err(|_| format!("cannot parse '{keyword}' value '{text}', an integer is expected."))
}

/// A number that fits, or what is wrong with it.
fn count(words: &mut Words<'_>, keyword: &str, low: i64) -> Result<u32, String> {
    let value = number(words, keyword)?;
    u32::try_from(value)
        .ok()
        .filter(|_| (low..=i64::from(i32::MAX)).contains(&value))
        .ok_or_else(|| format!("'{keyword}' value must be between {low} and {} (was {value})", i32::MAX))
}

fn weight(words: &mut Words<'_>, draft: &mut DraftServer, context: &mut Context<'_>) -> Result<(), String> {
    let value = number(words, "weight")?;
    draft.server.weight =
        u32::try_from(value).ok().filter(|weight| *weight <= WEIGHT_MAX).ok_or_else(|| {
            format!("weight of server {} is not within 0 and {WEIGHT_MAX} ({value}).", context.name)
        })?;
    Ok(())
}

fn maxconn(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    let value = count(words, "maxconn", 0)?;
    draft.server.maxconn = (value > 0).then_some(value);
    Ok(())
}

fn minconn(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    let value = count(words, "minconn", 0)?;
    draft.server.minconn = (value > 0).then_some(value);
    Ok(())
}

fn maxqueue(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    let value = count(words, "maxqueue", 0)?;
    draft.server.maxqueue = (value > 0).then_some(value);
    Ok(())
}

fn rise(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    draft.server.check.rise = positive(words, "rise", "'rise' has to be > 0.")?;
    Ok(())
}

fn fall(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    draft.server.check.fall = positive(words, "fall", "'fall' has to be > 0.")?;
    Ok(())
}

fn error_limit(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    draft.server.check.error_limit = positive(words, "error-limit", "error-limit has to be > 0.")?;
    Ok(())
}

fn positive(words: &mut Words<'_>, keyword: &str, message: &str) -> Result<u32, String> {
    let value = number(words, keyword)?;
    u32::try_from(value).ok().filter(|value| *value > 0).ok_or_else(|| message.to_owned())
}

fn id(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    let value = words.next().and_then(|text| text.parse().ok());
    let id = value.filter(|id| *id > 0 && *id <= i32::MAX.unsigned_abs());
    draft.given_id = Some((id.ok_or("'id' : custom id has to be > 0.")?, words.location().clone()));
    Ok(())
}

/// A limit whose -1 is "none".
fn limit(words: &mut Words<'_>, keyword: &str) -> Result<Option<u32>, String> {
    let value = number(words, keyword)?;
    if value == -1 {
        return Ok(None);
    }
    u32::try_from(value).map(Some).map_err(|_| format!("'{keyword}' must be >= -1."))
}

fn pool_max_conn(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    draft.server.pool_max_conn = limit(words, "pool-max-conn")?;
    Ok(())
}

fn pool_low_conn(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    draft.server.pool_low_conn = Some(count(words, "pool-low-conn", 0)?);
    Ok(())
}

fn max_reuse(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    draft.server.max_reuse = limit(words, "max-reuse")?;
    Ok(())
}

fn port(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    let value = number(words, "port")?;
    let port = u16::try_from(value).map_err(|_| format!("'port' : invalid port {value}."))?;
    draft.server.check.port = (port > 0).then_some(port);
    Ok(())
}

fn addr(words: &mut Words<'_>, draft: &mut DraftServer, context: &mut Context<'_>) -> Result<(), String> {
    let text = words.next().ok_or("'addr' expects an address as argument.")?;
    let address = values::resolved(text, ParseOptions::CHECK, context.resolver)
        .map_err(|message| format!("'addr' : {message}."))?;
    match address.host {
        address::Host::Ip(ip) => draft.server.check.addr = Some(ip),
        _ => return Err(format!("'addr' : invalid address: '{text}'.")),
    }
    if let Port::Fixed(port) = address.port {
        draft.server.check.port = draft.server.check.port.or(Some(port));
    }
    Ok(())
}

fn observe(words: &mut Words<'_>, draft: &mut DraftServer, context: &mut Context<'_>) -> Result<(), String> {
    draft.server.check.observe = match words.next().unwrap_or_default() {
        "none" => None,
        "layer4" => Some(Observe::Layer4),
        "layer7" if context.mode == Mode::Http => Some(Observe::Layer7),
        "layer7" => return Err("'layer7' can only be used in http proxies.".to_owned()),
        other => {
            return Err(format!("'observe' expects one of 'none', 'layer4', 'layer7' but got '{other}'."));
        }
    };
    Ok(())
}

fn on_error(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    draft.server.check.on_error = match words.next().unwrap_or_default() {
        "fastinter" => OnError::FastInter,
        "fail-check" => OnError::FailCheck,
        "sudden-death" => OnError::SuddenDeath,
        "mark-down" => OnError::MarkDown,
        other => {
            return Err(format!(
                "'on-error' expects one of 'fastinter', 'fail-check', 'sudden-death' or 'mark-down' but got '{other}'."
            ));
        }
    };
    Ok(())
}

fn on_marked_down(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    match words.next().unwrap_or_default() {
        "shutdown-sessions" => draft.server.check.on_marked_down = true,
        other => return Err(format!("'on-marked-down' expects 'shutdown-sessions' but got '{other}'.")),
    }
    Ok(())
}

fn on_marked_up(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    match words.next().unwrap_or_default() {
        "shutdown-backup-sessions" => draft.server.check.on_marked_up = true,
        other => return Err(format!("'on-marked-up' expects 'shutdown-backup-sessions' but got '{other}'.")),
    }
    Ok(())
}

fn track(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    draft.track = Some(words.next().ok_or("'track' expects [<proxy>/]<server> as argument.")?.to_owned());
    Ok(())
}

fn init_state(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    draft.server.check.init_state = match words.next().unwrap_or_default() {
        "up" | "none" => InitState::Up,
        "down" => InitState::Down,
        "fully-up" => InitState::FullyUp,
        "fully-down" => InitState::FullyDown,
        other => {
            return Err(format!(
                "'init-state' expects one of 'none', 'fully-up', 'up', 'down', or 'fully-down' but got '{other}'."
            ));
        }
    };
    Ok(())
}

fn init_addr(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    let text = words.next().ok_or("'init-addr' : expects a list of methods.")?;
    draft.server.init_addr = text
        .split(',')
        .map(|method| match method {
            "last" => Ok(InitAddr::Last),
            "libc" => Ok(InitAddr::Libc),
            "none" => Ok(InitAddr::None),
            _ => method.parse::<IpAddr>().map(InitAddr::Ip).map_err(|_| {
                format!(
                    "'init-addr' : unknown init-addr method '{method}', supported methods are 'libc', 'last', 'none'."
                )
            }),
        })
        .collect::<Result<_, _>>()?;
    Ok(())
}

fn source_address(
    words: &mut Words<'_>,
    draft: &mut DraftServer,
    context: &mut Context<'_>,
) -> Result<(), String> {
    let usage = "'source' expects <addr>[:<port>[-<port>]], and optionally 'usesrc' <addr>, and 'interface' <name> as argument.";
    let source = source::read(words, ParseOptions::SERVER_SOURCE, context.resolver, usage)?;
    draft.server.source = Some(source);
    Ok(())
}

fn usesrc(words: &mut Words<'_>, _: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    words.next();
    Err("'usesrc' only allowed after a 'source' statement.".to_owned())
}

fn congestion(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    let name = words.next().ok_or("'cc' : missing TCP congestion control algorithm.")?;
    draft.server.congestion = Some(name.to_owned());
    Ok(())
}

fn namespace(words: &mut Words<'_>, draft: &mut DraftServer, _: &mut Context<'_>) -> Result<(), String> {
    match words.next() {
        Some("*") => Err(not_yet_message("namespace *")),
        Some(name) => {
            draft.server.namespace = Some(name.to_owned());
            Ok(())
        }
        None => Err("'namespace' expects <name> as argument.".to_owned()),
    }
}
