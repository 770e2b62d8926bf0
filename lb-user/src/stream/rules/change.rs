//! What rules change about a stream besides its messages.

use std::net::{IpAddr, SocketAddr};

use sockeye_conn::Peer;
use sockeye_rules::{Action, LogLevel, NumberOr, TimeoutKind};
use sockeye_sample::{Expr, Scene, Type, Value};

use super::decided::Decided;
use super::messages::Messages;
use super::run::Run;
use crate::frontend::session::Session;

/// What a rule changes that is not in a message: applied by the caller, who owns it.
#[derive(Debug)]
pub enum Change {
    LogLevel(LogLevel),
    Timeout(TimeoutKind, std::time::Duration),
    Source(IpAddr),
    SourcePort(u16),
    Destination(IpAddr),
    DestinationPort(u16),
    PriorityClass(i64),
    PriorityOffset(i64),
    Retries(u32),
    FrontMark(u32),
    FrontTos(u32),
    BackMark(u32),
    BackTos(u32),
    DisableRetry,
}

impl Run<'_> {
    /// What an action changes about the stream itself.
    pub(super) fn change(&self, action: &'static Action, messages: &Messages<'_>) -> Option<Change> {
        let scene = messages.scene(&self.view, self.stage);
        let int = |expr: &'static Expr| match expr.eval_as(Type::Int, &scene) {
            Some(Value::Int(value)) => Some(value),
            _ => None,
        };
        let ip = |expr: &'static Expr| expr.eval_as(Type::Addr, &scene)?.to_ip();
        let port = |expr: &'static Expr| u16::try_from(int(expr)?).ok();
        let number = |value: &'static NumberOr<u32>| match value {
            NumberOr::Fixed(value) => Some(*value),
            NumberOr::Expr(expr) => u32::try_from(int(expr)?).ok(),
        };
        Some(match action {
            Action::SetLogLevel(level) => Change::LogLevel(*level),
            Action::SetTimeout { which, value } => Change::Timeout(*which, duration(value, &scene)?),
            Action::SetSource(expr) => Change::Source(ip(expr)?),
            Action::SetSourcePort(expr) => Change::SourcePort(port(expr)?),
            Action::SetDestination(expr) => Change::Destination(ip(expr)?),
            Action::SetDestinationPort(expr) => Change::DestinationPort(port(expr)?),
            Action::SetPriorityClass(expr) => Change::PriorityClass(int(expr)?),
            Action::SetPriorityOffset(expr) => Change::PriorityOffset(int(expr)?),
            Action::SetRetries(value) => Change::Retries(number(value)?),
            Action::SetFrontMark(value) => Change::FrontMark(number(value)?),
            Action::SetFrontTos(value) => Change::FrontTos(number(value)?),
            Action::SetBackMark(value) => Change::BackMark(number(value)?),
            Action::SetBackTos(value) => Change::BackTos(number(value)?),
            Action::DisableRetry => Change::DisableRetry,
            _ => return None,
        })
    }
}

/// Applies what a rule changes about the stream itself.
pub fn apply(change: Change, session: &mut Session, decided: &mut Decided) {
    match change {
        Change::LogLevel(level) => decided.log_level = Some(level),
        Change::Timeout(kind, time) => {
            let timeouts = &mut decided.timeouts;
            let slot = match kind {
                TimeoutKind::Client => &mut timeouts.client,
                TimeoutKind::Connect => &mut timeouts.connect,
                TimeoutKind::Queue => &mut timeouts.queue,
                TimeoutKind::Server => &mut timeouts.server,
                TimeoutKind::Tarpit => &mut timeouts.tarpit,
                TimeoutKind::Tunnel => &mut timeouts.tunnel,
            };
            // An expression that gives 0 leaves what is configured, as in HAProxy.
            *slot = Some(time).filter(|time| !time.is_zero());
        }
        Change::Source(ip) => session.peer = Peer::from(SocketAddr::new(ip, session.peer.port())),
        Change::SourcePort(port) => {
            session.peer = Peer::from(SocketAddr::new(session.peer.ip().unwrap_or(UNKNOWN), port));
        }
        Change::Destination(ip) => {
            let port = session.destination().map_or(0, |addr| addr.port());
            session.wanted = Some(SocketAddr::new(ip, port));
        }
        Change::DestinationPort(port) => {
            let ip = session.destination().map_or(UNKNOWN, |addr| addr.ip());
            session.wanted = Some(SocketAddr::new(ip, port));
        }
        Change::PriorityClass(class) => decided.priority_class = class.clamp(-CLASS_MAX, CLASS_MAX),
        Change::PriorityOffset(offset) => {
            decided.priority_offset = offset.clamp(-OFFSET_MAX_MS, OFFSET_MAX_MS);
        }
        Change::Retries(retries) => decided.retries = Some(retries),
        Change::FrontMark(mark) => session.client.set_mark(mark),
        Change::FrontTos(tos) => session.client.set_tos(tos),
        Change::BackMark(mark) => decided.back_mark = Some(mark),
        Change::BackTos(tos) => decided.back_tos = Some(tos),
        Change::DisableRetry => decided.no_retry = true,
    }
}

/// Whether rules behind the action can see what it changed about the stream.
pub(super) fn is_seen_later(action: &Action) -> bool {
    matches!(
        action,
        Action::SetSource(_)
            | Action::SetSourcePort(_)
            | Action::SetDestination(_)
            | Action::SetDestinationPort(_)
            | Action::SetTimeout { .. }
            | Action::SetPriorityClass(_)
            | Action::SetPriorityOffset(_)
            | Action::SetRetries(_)
    )
}

pub(super) fn duration(
    value: &'static NumberOr<std::time::Duration>,
    scene: &Scene<'_>,
) -> Option<std::time::Duration> {
    match value {
        NumberOr::Fixed(time) => Some(*time),
        NumberOr::Expr(expr) => match expr.eval(scene)?.cast(Type::Int)? {
            Value::Int(milliseconds) => {
                u64::try_from(milliseconds).ok().map(std::time::Duration::from_millis)
            }
            _ => None,
        },
    }
}

/// The range of `set-priority-class` and, in milliseconds, of `set-priority-offset` (manual 4.4); beyond it the nearest
/// value counts.
const CLASS_MAX: i64 = 2047;
const OFFSET_MAX_MS: i64 = 524_287;

/// Stands for an address that nothing is known of.
const UNKNOWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
