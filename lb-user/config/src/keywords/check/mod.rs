//! `option httpchk`, `http-check …` and `tcp-check …` (manual 4.2): what a check says and what it wants to hear.

mod expect;

use std::sync::Arc;

use sockeye_syntax::address::{Host, ParseOptions, Port};
use sockeye_syntax::words::Words;

use super::{tls, values};
use crate::draft::{DraftCheck, DraftCheckKind};
use crate::keyword::{Keyword, Sections, find, not_yet, not_yet_message, supported};
use crate::model::{CheckConnect, CheckStep, HttpSend, Proto};
use crate::scope::{ProxyScope, Resolver};

/// Rules of one check: each is a round trip at most, so more are a mistake.
const RULES_MAX: usize = 1_000;

/// A field of `http-check send` that was not given: filled from `option httpchk` at the end.
pub(crate) const UNSET: &str = "";

type Parser = fn(&mut Words<'_>, &Context<'_>) -> Result<CheckStep, String>;

/// What the rules may look at.
pub(crate) struct Context<'a> {
    http: bool,
    resolver: &'a dyn Resolver,
}

const BACK: Sections = Sections::SERVER_SIDE;

pub(crate) const HTTP_CHECK: &[Keyword<Parser>] = &[
    supported("comment", BACK, comment_rule, "names the next rule in messages"),
    supported("connect", BACK, connect, "opens a connection"),
    supported("disable-on-404", BACK, disable_on_404, "a 404 takes new clients away"),
    supported("expect", BACK, expect::expect, "judges the response"),
    supported("send", BACK, http_send, "sends a request"),
    not_yet("send-state", BACK),
    not_yet("set-var", BACK),
    not_yet("set-var-fmt", BACK),
    not_yet("unset-var", BACK),
];

pub(crate) const TCP_CHECK: &[Keyword<Parser>] = &[
    supported("comment", BACK, comment_rule, "names the next rule in messages"),
    supported("connect", BACK, connect, "opens a connection"),
    supported("expect", BACK, expect::expect, "judges what the server says"),
    supported("send", BACK, send, "sends a text"),
    supported("send-binary", BACK, send_binary, "sends bytes"),
    not_yet("send-binary-lf", BACK),
    not_yet("send-lf", BACK),
    not_yet("set-var", BACK),
    not_yet("set-var-fmt", BACK),
    not_yet("unset-var", BACK),
];

pub(crate) fn http_check(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if words.take("disable-on-404") {
        // A setting of the backend, not a rule of the sequence.
        scope.proxy.settings.backend.disable_on_404 |= words.end();
        return;
    }
    let Some(rule) = rule(words, scope, HTTP_CHECK, true) else { return };
    let check = &mut scope.proxy.settings.check;
    if std::mem::take(&mut check.http_inherited) {
        check.http_rules.clear();
    }
    push(words, &mut check.http_rules, rule);
}

pub(crate) fn tcp_check(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let Some(rule) = rule(words, scope, TCP_CHECK, false) else { return };
    let check = &mut scope.proxy.settings.check;
    if std::mem::take(&mut check.tcp_inherited) {
        check.tcp_rules.clear();
    }
    push(words, &mut check.tcp_rules, rule);
}

fn push(words: &mut Words<'_>, rules: &mut Vec<CheckStep>, rule: CheckStep) {
    if rules.len() < RULES_MAX {
        rules.push(rule);
    } else {
        let message = format!("'{}' : a check has at most {RULES_MAX} rules.", words.keyword());
        words.alert(message);
    }
}

fn rule(
    words: &mut Words<'_>,
    scope: &ProxyScope<'_>,
    table: &[Keyword<Parser>],
    http: bool,
) -> Option<CheckStep> {
    let family = words.keyword().to_owned();
    let name = words.peek().unwrap_or_default();
    // `set-var(txn.x)` is known by what stands before the parenthesis.
    let Some(row) = find(table, name.split('(').next().unwrap_or(name)) else {
        let supported = if http {
            "'disable-on-404', 'send-state', 'comment', 'connect', 'send', 'expect', 'set-var-fmt(*)', 'set-var(*)', 'unset-var(*)'"
        } else {
            "'comment', 'connect', 'send', 'send-binary', 'expect', 'set-var-fmt(*)', 'set-var(*)', 'unset-var(*)'"
        };
        words.alert(format!("'{family}' only supports {supported}. but got '{name}'"));
        words.skip_rest();
        return None;
    };
    words.extend_keyword();
    let parser = row.parser(words)?;
    let result = parser(words, &Context { http, resolver: scope.around.resolver });
    let result = result.and_then(|rule| match words.peek() {
        None => Ok(rule),
        Some(extra) => Err(format!("cannot handle unexpected argument '{extra}'.")),
    });
    result
        .map_err(|message| {
            words.alert(format!("'{family} {name}' : {message}"));
            words.skip_rest();
        })
        .ok()
}

/// Taken by [`http_check`] before any rule is read.
fn disable_on_404(_: &mut Words<'_>, _: &Context<'_>) -> Result<CheckStep, String> {
    Err("is not a rule.".to_owned())
}

fn comment_rule(words: &mut Words<'_>, _: &Context<'_>) -> Result<CheckStep, String> {
    Ok(CheckStep::Comment(words.next().ok_or("expects a string as argument.")?.into()))
}

fn comment(words: &mut Words<'_>) -> Result<Option<Arc<str>>, String> {
    Ok(Some(words.next().ok_or("'comment' expects a string as argument.")?.into()))
}

fn connect(words: &mut Words<'_>, context: &Context<'_>) -> Result<CheckStep, String> {
    let mut connect = CheckConnect::default();
    while let Some(word) = words.next() {
        match word {
            "default" => connect.default = true,
            "linger" => connect.linger = true,
            "comment" => connect.comment = comment(words)?,
            "port" => {
                let text = words.next().ok_or("expects a port number or a sample expression as argument.")?;
                connect.port = Some(match text.parse::<i64>() {
                    Ok(number) => {
                        u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(|| {
                            format!(
                                "expects a valid TCP port (from range 1 to 65535) or a sample expression, got {text}."
                            )
                        })?
                    }
                    Err(_) => return Err(not_yet_message("port with an expression")),
                });
            }
            "addr" => {
                let text = words.next().ok_or("address expected.")?;
                let address = values::resolved(text, ParseOptions::CHECK, context.resolver)
                    .map_err(|error| format!("'addr' : {error}."))?;
                match address.host {
                    Host::Ip(ip) => connect.addr = Some(ip),
                    _ => return Err(format!("invalid address: '{text}'.")),
                }
                if let Port::Fixed(port) = address.port {
                    connect.port = connect.port.or(Some(port));
                }
            }
            "send-proxy" => connect.send_proxy = true,
            "ssl" => connect.ssl = true,
            "sni" => {
                let name = words.next().ok_or("'sni' expects a string as argument.")?;
                connect.sni = Some(name.into());
            }
            "alpn" => {
                let names = tls::alpn(words).map_err(|message| format!("'alpn' : {message}."))?;
                connect.alpn = Some(names.into());
            }
            "proto" => connect.proto = Some(connect_proto(words, context)?),
            "via-socks4" => return Err(not_yet_message(word)),
            _ => {
                return Err(format!(
                    "expects 'comment', 'port', 'addr', 'send-proxy', 'ssl', 'sni', 'alpn' or 'via-socks4', 'linger', 'default' but got '{word}' as argument."
                ));
            }
        }
    }
    Ok(CheckStep::Connect(connect))
}

/// `proto`: what the rules of this kind of check can speak.
fn connect_proto(words: &mut Words<'_>, context: &Context<'_>) -> Result<Proto, String> {
    let name = words.peek().ok_or("'proto' expects a MUX protocol as argument.")?;
    let proto = tls::proto(words).map_err(|message| format!("'proto' : {message}."))?;
    if context.http == (proto == Proto::None) {
        let kind = if context.http { "http-check" } else { "tcp-check" };
        return Err(format!("'proto' : invalid MUX protocol '{name}' for {kind}"));
    }
    Ok(proto)
}

fn send(words: &mut Words<'_>, _: &Context<'_>) -> Result<CheckStep, String> {
    let data = words.next_word().ok_or("'string' expects a send as argument.")?.bytes().into();
    Ok(CheckStep::Send { data, comment: trailing_comment(words)? })
}

fn send_binary(words: &mut Words<'_>, _: &Context<'_>) -> Result<CheckStep, String> {
    let text = words.next().ok_or("'binary string' expects a send as argument.")?;
    let data = binary(text).map_err(|message| format!("'{text}' {message}"))?;
    Ok(CheckStep::Send { data, comment: trailing_comment(words)? })
}

fn trailing_comment(words: &mut Words<'_>) -> Result<Option<Arc<str>>, String> {
    if words.take("comment") { comment(words) } else { Ok(None) }
}

/// Hexadecimal digits to bytes.
fn binary(text: &str) -> Result<Arc<[u8]>, String> {
    if let Some(character) = text.chars().find(|character| !character.is_ascii_hexdigit()) {
        return Err(format!("invalid binary string (an hex digit is expected (found '{character}'))."));
    }
    if text.len() % 2 == 1 {
        return Err("invalid binary string (an even number of hex digit is expected).".to_owned());
    }
    (0..text.len())
        .step_by(2)
        .map(|at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<Vec<u8>>>()
        .map(Arc::from)
        .ok_or_else(|| "invalid binary string.".to_owned())
}

fn http_send(words: &mut Words<'_>, _: &Context<'_>) -> Result<CheckStep, String> {
    let mut send = empty_request();
    while let Some(word) = words.next() {
        match word {
            "meth" => send.method = request_part(words, word)?,
            "uri" => send.uri = request_part(words, word)?,
            "ver" => send.version = request_part(words, word)?,
            "hdr" => {
                let (Some(name), Some(value)) = (words.next(), words.next()) else {
                    return Err("'hdr' expects <name> and <value> as arguments.".to_owned());
                };
                if !super::option::is_token(name) {
                    return Err(format!("'{name}' is not a valid header name."));
                }
                if ["connection", "content-length", "transfer-encoding"]
                    .iter()
                    .any(|reserved| name.eq_ignore_ascii_case(reserved))
                {
                    // HAProxy writes these fields itself.
                    continue;
                }
                send.headers.push((name.into(), literal(value, word)?.into()));
            }
            "body" => {
                let body = words.next_word().ok_or("'body' expects a string as argument.")?;
                send.body = Some(body.bytes().into());
            }
            "comment" => send.comment = comment(words)?,
            "uri-lf" | "body-lf" => return Err(not_yet_message(word)),
            _ => {
                return Err(format!(
                    "expects 'comment', 'meth', 'uri', 'uri-lf', 'ver', 'hdr', 'body' or 'body-lf' but got '{word}' as argument."
                ));
            }
        }
    }
    Ok(CheckStep::HttpSend(send))
}

fn empty_request() -> HttpSend {
    HttpSend {
        method: UNSET.into(),
        uri: UNSET.into(),
        version: UNSET.into(),
        headers: Vec::new(),
        body: None,
        comment: None,
    }
}

/// A word of a request line: nothing in it may start another line or another word.
fn request_part(words: &mut Words<'_>, name: &str) -> Result<Arc<str>, String> {
    let text = words.next().ok_or_else(|| format!("'{name}' expects a string as argument."))?;
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(format!("'{name}' must not contain spaces or control characters."));
    }
    Ok(text.into())
}

/// A log-format string without any expression, `%%` being a percent sign.
fn literal(text: &str, word: &str) -> Result<String, String> {
    if text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(format!("'{word}' must not contain line ends."));
    }
    if text.replace("%%", "").contains('%') {
        return Err(not_yet_message(&format!("{word} with an expression")));
    }
    Ok(text.replace("%%", "%"))
}

/// `option httpchk [[METHOD] URI [VERSION [HOST]]]`.
pub(crate) fn httpchk(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let check = &mut scope.proxy.settings.check;
    check.kind = DraftCheckKind::Http;
    // The rules of the defaults belong to the request of the defaults.
    if std::mem::take(&mut check.http_inherited) {
        check.http_rules.clear();
    }
    match httpchk_request(words) {
        Ok(request) => check.httpchk = request,
        Err(message) => {
            words.alert(format!("'option httpchk' {message}"));
            words.skip_rest();
        }
    }
}

fn httpchk_request(words: &mut Words<'_>) -> Result<Option<HttpSend>, String> {
    let mut request = empty_request();
    let given = words.rest();
    let [first, rest @ ..] = given else { return Ok(None) };
    if rest.is_empty() {
        request.uri = first.text.as_str().into();
    } else {
        request.method = first.text.as_str().into();
    }
    if let Some(uri) = rest.first() {
        request.uri = uri.text.as_str().into();
    }
    if let Some(version) = rest.get(1) {
        // Before `http-check send` existed, headers were written behind the version.
        let mut lines = version.text.split("\r\n");
        request.version = lines.next().unwrap_or_default().into();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) =
                line.split_once(':').ok_or_else(|| format!(": '{line}' is not a valid header."))?;
            if !super::option::is_token(name) {
                return Err(format!(": '{name}' is not a valid header name."));
            }
            request.headers.push((name.into(), literal(value.trim(), "header")?.into()));
        }
    }
    if let Some(host) = rest.get(2) {
        request.headers.push(("Host".into(), literal(&host.text, "host")?.into()));
    }
    for part in [&request.method, &request.uri, &request.version] {
        if part.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(format!(": '{part}' must not contain spaces or control characters."));
        }
    }
    words.seek(words.position() + given.len().min(4));
    match words.peek() {
        Some(extra) => Err(format!("cannot handle unexpected argument '{extra}'.")),
        None => Ok(Some(request)),
    }
}

/// The steps of an HTTP check: the first request takes what it does not say from `option httpchk`.
pub(crate) fn http_steps(check: &DraftCheck) -> Vec<CheckStep> {
    let mut steps = check.http_rules.clone();
    let mut base = check.httpchk.clone();
    let mut sent = false;
    for step in &mut steps {
        let CheckStep::HttpSend(send) = step else { continue };
        let base = base.take().unwrap_or_else(empty_request);
        for (part, value) in
            [(&mut send.method, base.method), (&mut send.uri, base.uri), (&mut send.version, base.version)]
        {
            if **part == *UNSET {
                *part = value;
            }
        }
        if send.headers.is_empty() {
            send.headers = base.headers;
        }
        sent = true;
        fill(send);
    }
    if let (false, Some(mut request)) = (sent, base) {
        fill(&mut request);
        let connect = steps.iter().position(|step| !matches!(step, CheckStep::Comment(_)));
        let at = match connect {
            Some(at) if matches!(steps[at], CheckStep::Connect(_)) => at + 1,
            _ => 0,
        };
        steps.insert(at, CheckStep::HttpSend(request));
    }
    steps
}

/// What a request is without words.
fn fill(send: &mut HttpSend) {
    for (part, value) in
        [(&mut send.method, "OPTIONS"), (&mut send.uri, "/"), (&mut send.version, "HTTP/1.0")]
    {
        if **part == *UNSET {
            *part = value.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal() {
        let check = |text: &str, expected: Option<&[u8]>| {
            assert_eq!(binary(text).ok().as_deref(), expected, "{text}");
        };
        check("", Some(b""));
        check("2b4F", Some(b"+O"));
        check("2b4", None);
        check("zz", None);
        check("é0", None);
    }

    /// The requests of a check as text.
    fn requests(httpchk: Option<(&str, &str)>, rules: Vec<CheckStep>) -> Vec<String> {
        let request = |(method, uri): (&str, &str)| HttpSend {
            method: method.into(),
            uri: uri.into(),
            ..empty_request()
        };
        let check = DraftCheck { httpchk: httpchk.map(request), http_rules: rules, ..DraftCheck::default() };
        let show = |step| match step {
            CheckStep::HttpSend(send) => format!("{} {} {}", send.method, send.uri, send.version),
            CheckStep::Connect(_) => "connect".to_owned(),
            _ => "other".to_owned(),
        };
        http_steps(&check).into_iter().map(show).collect()
    }

    #[test]
    fn the_first_request_is_completed_by_option_httpchk() {
        let connect = || CheckStep::Connect(CheckConnect::default());
        let send = |uri: &str| CheckStep::HttpSend(HttpSend { uri: uri.into(), ..empty_request() });
        assert_eq!(requests(None, vec![]), Vec::<String>::new());
        assert_eq!(requests(Some(("GET", UNSET)), vec![]), ["GET / HTTP/1.0"]);
        assert_eq!(requests(Some(("GET", "/a")), vec![connect()]), ["connect", "GET /a HTTP/1.0"]);
        assert_eq!(
            requests(Some(("GET", "/a")), vec![connect(), send("/b"), connect(), send("/c")]),
            ["connect", "GET /b HTTP/1.0", "connect", "OPTIONS /c HTTP/1.0"]
        );
        assert_eq!(requests(None, vec![send(UNSET)]), ["OPTIONS / HTTP/1.0"]);
    }
}
