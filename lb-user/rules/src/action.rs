//! What a rule does when its condition holds (manual 4.4).

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use sockeye_http::FieldName;
use sockeye_pattern::{Reference, Regex};
use sockeye_sample::{Expr, Format, Value, VarId};

use crate::redirect::Redirect;
use crate::reply::ReplyRule;

/// One action, its arguments compiled.
#[derive(Debug)]
pub enum Action {
    // --- the end of a rule set ---
    /// `accept`, `allow`: no further rule of this set.
    Allow,
    /// `deny`: a reply of 403 by default.
    Deny(Box<ReplyRule>),
    /// `tarpit`: the reply comes only after a while.
    Tarpit(Box<ReplyRule>),
    /// `return`.
    Return(Box<ReplyRule>),
    Redirect(Box<Redirect>),
    /// `auth`: 401, or 407 for requests to a proxy. The realm defaults to the proxy's name.
    Auth {
        realm: Option<Box<str>>,
    },
    /// `reject`: the connection is closed without a word.
    Reject,
    /// `tcp-response content close`: the server's connection is closed, the client gets what has come.
    Close,
    /// `silent-drop`: the client is left waiting.
    SilentDrop(SilentDrop),
    /// `switch-mode http`.
    SwitchHttp,
    /// `expect-proxy`, `expect-netscaler-cip`: the connection begins with a header.
    Expect(Expected),

    // --- the message ---
    SetHeader {
        name: FieldName,
        value: Format,
    },
    AddHeader {
        name: FieldName,
        value: Format,
    },
    DelHeader(NameMatch),
    ReplaceHeader {
        name: FieldName,
        regex: Regex,
        with: Format,
    },
    ReplaceValue {
        name: FieldName,
        regex: Regex,
        with: Format,
    },
    /// A header of the 103 that precedes the response.
    EarlyHint {
        name: Box<[u8]>,
        value: Format,
    },
    SetMethod(Format),
    SetPath(Format),
    SetPathAndQuery(Format),
    SetQuery(Format),
    SetUri(Format),
    ReplacePath {
        regex: Regex,
        with: Format,
    },
    ReplacePathAndQuery {
        regex: Regex,
        with: Format,
    },
    ReplaceUri {
        regex: Regex,
        with: Format,
    },
    NormalizeUri(Normalizer),
    SetStatus {
        status: u16,
        reason: Option<Box<[u8]>>,
    },
    /// Whether a rewrite that fails is an error of 500.
    StrictMode(bool),

    // --- state ---
    SetVar {
        var: VarId,
        conditions: VarConditions,
        value: Expr,
    },
    SetVarFormat {
        var: VarId,
        conditions: VarConditions,
        value: Format,
    },
    UnsetVar(VarId),
    Capture {
        value: Expr,
        slot: usize,
        length: usize,
    },
    SetMap {
        map: Arc<Reference>,
        key: Format,
        value: Format,
    },
    DelMap {
        map: Arc<Reference>,
        key: Format,
    },
    AddAcl {
        list: Arc<Reference>,
        key: Format,
    },
    DelAcl {
        list: Arc<Reference>,
        key: Format,
    },

    // --- the stream ---
    /// A word that has nothing to act on here.
    Nothing,
    /// `do-log`: a line as the log has it now, besides the one at the end.
    DoLog,
    SetLogLevel(LogLevel),
    SetTimeout {
        which: TimeoutKind,
        value: NumberOr<Duration>,
    },
    SetSource(Expr),
    SetSourcePort(Expr),
    SetDestination(Expr),
    SetDestinationPort(Expr),
    SetPriorityClass(Expr),
    SetPriorityOffset(Expr),
    SetRetries(NumberOr<u32>),
    /// SO_MARK of the client's connection.
    SetFrontMark(NumberOr<u32>),
    /// IP_TOS of the client's connection.
    SetFrontTos(NumberOr<u32>),
    SetBackMark(NumberOr<u32>),
    SetBackTos(NumberOr<u32>),
    /// `disable-l7-retry`
    DisableRetry,
    WaitForBody {
        time: Duration,
        at_least: u64,
    },
    /// `wait-for-handshake`: without early data there is nothing to wait for.
    WaitForHandshake,
    Pause(NumberOr<Duration>),
}

/// A header in front of a connection's first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The PROXY protocol's.
    Proxy,
    /// NetScaler's Client IP insertion.
    NetscalerCip,
}

/// `del-header NAME -m METHOD`.
#[derive(Debug)]
pub enum NameMatch {
    Str(FieldName),
    Beg(Box<[u8]>),
    End(Box<[u8]>),
    Sub(Box<[u8]>),
    Reg(Regex),
}

impl NameMatch {
    /// Whether a field called `name`, in lower case, is meant.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Str(wanted) => name.eq_ignore_ascii_case(wanted.as_bytes()),
            Self::Beg(wanted) => {
                name.len() >= wanted.len() && name[..wanted.len()].eq_ignore_ascii_case(wanted)
            }
            Self::End(wanted) => {
                name.len() >= wanted.len() && name[name.len() - wanted.len()..].eq_ignore_ascii_case(wanted)
            }
            Self::Sub(wanted) => {
                let wanted = wanted.to_ascii_lowercase();
                memchr::memmem::find(&name.to_ascii_lowercase(), &wanted).is_some()
            }
            Self::Reg(regex) => regex.is_match(name),
        }
    }
}

/// A number that is written, or an expression that gives one.
#[derive(Debug)]
pub enum NumberOr<T> {
    Fixed(T),
    Expr(Expr),
}

/// `silent-drop [rst-ttl N]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SilentDrop {
    /// A reset that dies on the way after that many hops.
    pub rst_ttl: Option<u8>,
}

/// What has to be true for a variable to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VarConditions {
    pub if_exists: bool,
    pub if_not_exists: bool,
    pub if_empty: bool,
    pub if_not_empty: bool,
    pub if_set: bool,
    pub if_not_set: bool,
    pub if_greater: bool,
    pub if_less: bool,
}

impl VarConditions {
    /// Whether a variable that is `known` so far may become `new` (manual 7.3.1 "set-var"). A variable exists while it
    /// is set; conditions about emptiness are about the new value.
    pub fn hold(&self, known: Option<&Value<'_>>, new: &Value<'_>) -> bool {
        let empty = new.bytes().is_some_and(<[u8]>::is_empty);
        // Only numbers are compared; anything else passes.
        let order = match (known, new) {
            (Some(Value::Int(known)), Value::Int(new)) => Some(known.cmp(new)),
            _ => None,
        };
        let is = |wanted: Ordering| order.is_none_or(|order| order == wanted);
        !((self.if_exists || self.if_set) && known.is_none()
            || (self.if_not_exists || self.if_not_set) && known.is_some()
            || self.if_empty && !empty
            || self.if_not_empty && empty
            || self.if_greater && !is(Ordering::Greater)
            || self.if_less && !is(Ordering::Less))
    }
}

/// `set-log-level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// No line for this stream.
    Silent,
    /// The syslog severity, 0 to 7.
    Severity(u8),
}

/// `set-timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeoutKind {
    Client,
    Connect,
    Queue,
    Server,
    Tarpit,
    Tunnel,
}

/// `normalize-uri`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalizer {
    FragmentEncode,
    FragmentStrip,
    PathMergeSlashes,
    PathStripDot,
    PathStripDotDot { full: bool },
    PercentDecodeUnreserved { strict: bool },
    PercentToUppercase { strict: bool },
    QuerySortByName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_variables() {
        let none = VarConditions::default();
        let (text, empty, five) = (Value::str(b"old"), Value::str(b""), Value::Int(5));
        let check = |conditions: VarConditions, known: Option<&Value<'_>>, new: Value<'_>, expected: bool| {
            assert_eq!(conditions.hold(known, &new), expected, "{conditions:?} {known:?} {new:?}");
        };
        let if_empty = VarConditions { if_empty: true, ..none };
        check(if_empty, Some(&text), Value::str(b""), true);
        check(if_empty, None, Value::str(b""), true);
        check(if_empty, Some(&empty), Value::str(b"new"), false);
        check(if_empty, Some(&empty), Value::Int(0), false);
        let if_not_empty = VarConditions { if_not_empty: true, ..none };
        check(if_not_empty, None, Value::str(b""), false);
        check(if_not_empty, None, Value::Int(0), true);
        let greater = VarConditions { if_greater: true, ..none };
        check(greater, Some(&five), Value::Int(3), true);
        check(greater, Some(&five), Value::Int(5), false);
        check(greater, Some(&text), Value::Int(5), true);
        check(greater, Some(&five), Value::str(b"7"), true);
        check(greater, None, Value::Int(3), true);
        let less = VarConditions { if_less: true, ..none };
        check(less, Some(&five), Value::Int(7), true);
        check(less, Some(&five), Value::Int(3), false);
        check(less, Some(&text), Value::str(b""), true);
        check(VarConditions { if_exists: true, ..none }, None, Value::Int(3), false);
        check(VarConditions { if_not_set: true, ..none }, Some(&five), Value::Int(3), false);
    }
}
