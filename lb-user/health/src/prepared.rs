//! A check as it will run: expressions compiled, requests written out, implied steps added, steps numbered.
//!
//! Done once, when the process starts; a run only reads it.

use std::net::IpAddr;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use sockeye_config::model::{
    Check, CheckConnect, CheckExpect, CheckStep, ExpectWhat, HttpSend, MatchHow, Proto, TextMatch,
};

use crate::request::http_request;
use crate::status::CheckStatus;

/// The check of a backend, ready to run against any of its servers.
#[derive(Debug, Clone)]
pub struct PreparedCheck {
    pub(crate) kind: Kind,
    /// Starts with a connection.
    pub(crate) steps: Vec<Step>,
    /// The most bytes of one answer that are kept: `tune.bufsize`.
    pub(crate) response_bytes_max: usize,
}

/// Which family of rules a check has; it decides how failures are worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No rules.
    Connect,
    Tcp,
    Http,
    /// `option ssl-hello-chk`: rules that nobody wrote.
    SslHello,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// As messages count it, from 1. `None`: the connection that every check starts with.
    pub(crate) number: Option<usize>,
    pub(crate) comment: Option<Arc<str>>,
    pub(crate) action: Action,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Connect(Connect),
    Send(Send),
    Expect(Expect),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Connect {
    pub(crate) addr: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    /// Close this connection properly. Otherwise a reset spares the server a socket in TIME_WAIT.
    pub(crate) linger: bool,
    /// `send-proxy`
    pub(crate) send_proxy: bool,
    /// As the server's line says: the connection that every check starts with, and `default`.
    pub(crate) by_line: bool,
    /// `ssl`
    pub(crate) ssl: bool,
    pub(crate) sni: Option<Arc<str>>,
    pub(crate) alpn: Option<Arc<[Vec<u8>]>>,
    pub(crate) proto: Option<Proto>,
}

#[derive(Debug, Clone)]
pub(crate) struct Send {
    pub(crate) bytes: Arc<[u8]>,
    /// The request that the bytes are, for HTTP/2.
    pub(crate) http: Option<Arc<HttpSend>>,
    /// The answer to HEAD has no body, whatever its fields say.
    pub(crate) is_head: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Expect {
    pub(crate) negate: bool,
    pub(crate) pattern: Pattern,
    /// `min-recv`; `None` is its -1.
    pub(crate) min_recv: Option<usize>,
    /// Nobody wrote the rule, so its text would tell nobody anything.
    pub(crate) terse: bool,
    pub(crate) ok_status: CheckStatus,
    pub(crate) error_status: CheckStatus,
    pub(crate) tout_status: CheckStatus,
}

/// What to look for.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    String(Arc<[u8]>),
    Binary(Arc<[u8]>),
    Regex(Regex),
    /// Over the upper-case hexadecimal form.
    RegexBinary(Regex),
    /// Inclusive ranges.
    Status(Vec<(u16, u16)>),
    RegexStatus(Regex),
    Header {
        name: Text,
        value: Option<Text>,
        full: bool,
    },
}

/// A literal or an expression with its way of comparing.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Exact(Arc<str>),
    Begins(Arc<str>),
    Ends(Arc<str>),
    Contains(Arc<str>),
    Regex(Regex),
}

/// A check that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("invalid regular expression '{pattern}': {source}")]
    Regex { pattern: Arc<str>, source: Box<regex::Error> },
    #[error("unknown check status '{word}'")]
    Status { word: Arc<str> },
}

/// The most memory one compiled expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;

impl PreparedCheck {
    /// Compiles `check`. `response_bytes_max` is `tune.bufsize`.
    pub fn new(check: &Check, response_bytes_max: usize) -> Result<Self, PrepareError> {
        let (kind, steps) = match check {
            Check::Connect => (Kind::Connect, Vec::new()),
            Check::Tcp(rules) if rules.is_empty() => (Kind::Connect, Vec::new()),
            Check::Tcp(rules) => (Kind::Tcp, steps(rules, Kind::Tcp)?),
            Check::SslHello(rules) => (Kind::SslHello, steps(rules, Kind::SslHello)?),
            Check::Http(rules) => (Kind::Http, with_implied_exchange(steps(rules, Kind::Http)?)),
        };
        let mut all = Self { kind, steps, response_bytes_max: response_bytes_max.max(RESPONSE_BYTES_MIN) };
        if !matches!(all.steps.first(), Some(Step { action: Action::Connect(_), .. })) {
            let connect = Action::Connect(Connect { by_line: true, ..Connect::default() });
            all.steps.insert(0, Step { number: None, comment: None, action: connect });
        }
        Ok(all)
    }
}

/// What a status line needs at the very least.
const RESPONSE_BYTES_MIN: usize = 64;

/// The steps of the rules as written. A comment belongs to the rule right below it.
fn steps(rules: &[CheckStep], kind: Kind) -> Result<Vec<Step>, PrepareError> {
    let mut steps = Vec::with_capacity(rules.len() + 3);
    let mut above: Option<Arc<str>> = None;
    let mut number = 0;
    let mut sent = false;
    for rule in rules {
        number += 1;
        let (comment, action) = match rule {
            CheckStep::Comment(text) => {
                above = Some(Arc::clone(text));
                continue;
            }
            CheckStep::Connect(rule) => {
                let CheckConnect { addr, port, linger, send_proxy, default: by_line, ssl, proto, .. } = *rule;
                let (sni, alpn) = (rule.sni.clone(), rule.alpn.clone());
                let connect = Connect { addr, port, linger, send_proxy, by_line, ssl, sni, alpn, proto };
                (&rule.comment, Action::Connect(connect))
            }
            CheckStep::Send { data, comment } => {
                (comment, Action::Send(Send { bytes: Arc::clone(data), http: None, is_head: false }))
            }
            CheckStep::HttpSend(send) => {
                // The first request takes the place of the one that `option httpchk` describes: number 1.
                if !sent {
                    number = 1;
                }
                sent = true;
                (&send.comment, http_send(send))
            }
            CheckStep::Expect(expect) => {
                (&expect.comment, Action::Expect(Expect::new(expect, kind == Kind::SslHello)?))
            }
        };
        let comment = comment.clone().or_else(|| above.take());
        above = None;
        let number = Some(number);
        steps.push(Step { number, comment, action });
    }
    debug_assert!(kind == Kind::Http || !sent);
    Ok(steps)
}

/// An HTTP check without a request sends `OPTIONS / HTTP/1.0`; one that does not judge its last answer wants a status
/// of 200 to 399 (manual 4.2 `http-check expect`).
fn with_implied_exchange(mut steps: Vec<Step>) -> Vec<Step> {
    let is_send = |step: &Step| matches!(step.action, Action::Send(_));
    let is_connect = |step: &Step| matches!(step.action, Action::Connect(_));
    if !steps.iter().any(is_send) {
        let at = usize::from(steps.first().is_some_and(is_connect));
        let number = Some(steps[..at].last().and_then(|step| step.number).unwrap_or(0) + 1);
        let request = HttpSend {
            method: "OPTIONS".into(),
            uri: "/".into(),
            version: "HTTP/1.0".into(),
            headers: Vec::new(),
            body: None,
            comment: None,
        };
        steps.insert(at, Step { number, comment: None, action: http_send(&request) });
    }
    let judged = steps.iter().rev().find(|step| !is_connect(step));
    if !judged.is_some_and(|step| matches!(step.action, Action::Expect(_))) {
        let number = steps.last().and_then(|step| step.number).map(|number| number + 1);
        let expect = Expect {
            negate: false,
            pattern: Pattern::Status(vec![(200, 399)]),
            min_recv: None,
            terse: false,
            ok_status: CheckStatus::Layer7Ok,
            error_status: CheckStatus::Layer7Status,
            tout_status: CheckStatus::Layer7Timeout,
        };
        steps.push(Step { number, comment: None, action: Action::Expect(expect) });
    }
    steps
}

fn http_send(send: &HttpSend) -> Action {
    let is_head = &*send.method == "HEAD";
    Action::Send(Send { bytes: http_request(send).into(), http: Some(Arc::new(send.clone())), is_head })
}

impl Expect {
    fn new(expect: &CheckExpect, terse: bool) -> Result<Self, PrepareError> {
        let pattern = match &expect.what {
            ExpectWhat::String(text) => Pattern::String(Arc::clone(text)),
            ExpectWhat::Binary(bytes) => Pattern::Binary(Arc::clone(bytes)),
            ExpectWhat::Regex(text) => Pattern::Regex(compile(text, false)?),
            ExpectWhat::RegexBinary(text) => Pattern::RegexBinary(compile(text, false)?),
            ExpectWhat::Status(ranges) => Pattern::Status(ranges.clone()),
            ExpectWhat::RegexStatus(text) => Pattern::RegexStatus(compile(text, false)?),
            ExpectWhat::Header { name, value, full } => Pattern::Header {
                name: Text::new(name, true)?,
                value: value.as_ref().map(|value| Text::new(value, false)).transpose()?,
                full: *full,
            },
        };
        let about_head =
            matches!(pattern, Pattern::Status(_) | Pattern::RegexStatus(_) | Pattern::Header { .. });
        let error = if about_head { CheckStatus::Layer7Status } else { CheckStatus::Layer7Response };
        Ok(Self {
            negate: expect.negate,
            pattern,
            min_recv: expect.min_recv.and_then(|bytes| usize::try_from(bytes).ok()),
            terse,
            ok_status: status(expect.ok_status.as_ref(), CheckStatus::Layer7Ok)?,
            error_status: status(expect.error_status.as_ref(), error)?,
            tout_status: status(expect.tout_status.as_ref(), CheckStatus::Layer7Timeout)?,
        })
    }
}

impl Text {
    /// Names of header fields are compared without regard to case.
    fn new(text: &TextMatch, is_name: bool) -> Result<Self, PrepareError> {
        let literal = || if is_name { text.text.to_ascii_lowercase().into() } else { Arc::clone(&text.text) };
        Ok(match text.how {
            MatchHow::Exact => Self::Exact(literal()),
            MatchHow::Begins => Self::Begins(literal()),
            MatchHow::Ends => Self::Ends(literal()),
            MatchHow::Contains => Self::Contains(literal()),
            MatchHow::Regex => Self::Regex(compile(&text.text, is_name)?),
        })
    }
}

fn status(word: Option<&Arc<str>>, default: CheckStatus) -> Result<CheckStatus, PrepareError> {
    word.map_or(Ok(default), |word| {
        CheckStatus::from_word(word).ok_or_else(|| PrepareError::Status { word: Arc::clone(word) })
    })
}

/// Expressions see bytes, not characters: an answer need not be UTF-8.
fn compile(pattern: &Arc<str>, ignore_case: bool) -> Result<Regex, PrepareError> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(ignore_case)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|source| PrepareError::Regex { pattern: Arc::clone(pattern), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Renders the prepared steps: number, what, comment.
    fn check(check: &Check, expected: &str) {
        let prepared = PreparedCheck::new(check, 16_384).unwrap();
        let shown: Vec<String> = prepared
            .steps
            .iter()
            .map(|step| {
                let number = step.number.map_or_else(|| "-".to_owned(), |number| number.to_string());
                let what = match &step.action {
                    Action::Connect(_) => "connect",
                    Action::Send(_) => "send",
                    Action::Expect(_) => "expect",
                };
                let comment = step.comment.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
                format!("{number} {what}{comment}")
            })
            .collect();
        assert_eq!(shown.join(", "), expected);
    }

    fn comment(text: &str) -> CheckStep {
        CheckStep::Comment(text.into())
    }

    fn connect() -> CheckStep {
        CheckStep::Connect(CheckConnect::default())
    }

    fn send() -> CheckStep {
        CheckStep::Send { data: (*b"x").into(), comment: None }
    }

    fn http_send() -> CheckStep {
        CheckStep::HttpSend(HttpSend {
            method: "GET".into(),
            uri: "/".into(),
            version: "HTTP/1.1".into(),
            headers: Vec::new(),
            body: None,
            comment: None,
        })
    }

    fn expect(what: ExpectWhat) -> CheckStep {
        CheckStep::Expect(CheckExpect {
            negate: false,
            what,
            min_recv: None,
            comment: None,
            ok_status: None,
            error_status: None,
            tout_status: None,
        })
    }

    fn status_200() -> CheckStep {
        expect(ExpectWhat::Status(vec![(200, 200)]))
    }

    #[test]
    fn sequences_are_completed_and_numbered_like_the_reference() {
        let string = || expect(ExpectWhat::String((*b"x").into()));
        check(&Check::Connect, "- connect");
        check(&Check::Tcp(vec![]), "- connect");
        check(&Check::Tcp(vec![string()]), "- connect, 1 expect");
        check(
            &Check::Tcp(vec![comment("a"), connect(), comment("b"), string()]),
            "2 connect (a), 4 expect (b)",
        );
        check(
            &Check::Tcp(vec![connect(), comment("a"), send(), string()]),
            "1 connect, 3 send (a), 4 expect",
        );
        check(&Check::Http(vec![]), "- connect, 1 send, 2 expect");
        check(&Check::Http(vec![http_send()]), "- connect, 1 send, 2 expect");
        check(&Check::Http(vec![http_send(), status_200()]), "- connect, 1 send, 2 expect");
        check(&Check::Http(vec![connect(), http_send(), status_200()]), "1 connect, 1 send, 2 expect");
        check(&Check::Http(vec![connect()]), "1 connect, 2 send, 3 expect");
        check(&Check::Http(vec![comment("a"), http_send()]), "- connect, 1 send (a), 2 expect");
        check(
            &Check::Http(vec![comment("a"), http_send(), comment("b"), status_200()]),
            "- connect, 1 send (a), 3 expect (b)",
        );
        check(
            &Check::Http(vec![connect(), http_send(), status_200(), connect(), http_send()]),
            "1 connect, 1 send, 2 expect, 3 connect, 4 send, 5 expect",
        );
    }

    #[test]
    fn what_cannot_run_is_refused() {
        let check = |what: ExpectWhat, expected: &str| {
            let error = PreparedCheck::new(&Check::Tcp(vec![expect(what)]), 16_384).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        };
        check(ExpectWhat::Regex("a(b".into()), "invalid regular expression 'a(b': ");
        check(ExpectWhat::RegexStatus("[".into()), "invalid regular expression '[': ");
        check(
            ExpectWhat::Regex("(?:a{1000}){1000}".into()),
            "invalid regular expression '(?:a{1000}){1000}': ",
        );
    }
}
