//! The words of connections in `mode packet`: which are refused, which only have no effect.

use sockeye_syntax::address::{self, Address, Port};
use sockeye_syntax::diag::Severity;
use sockeye_syntax::words::Words;

use crate::draft::{DraftServer, Kind};
use crate::keyword::{Status, find};
use crate::keywords::{option, tls};
use crate::model::{Host, ServerAddress, ServerPort};
use crate::scope::{Negation, ProxyScope};

/// What `mode packet` makes of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It means what it always means.
    Obeyed,
    /// It would only tune what is not there: the reason.
    NoEffect(&'static str),
    /// Somebody relies on it: what to do instead.
    Refused(&'static str),
    /// It is for more than connections and cannot be done: why, and what to do instead.
    Impossible(&'static str),
}

use Verdict::{Impossible, NoEffect, Obeyed, Refused};

const NO_CONNECTION: &str = "packets are forwarded and no connection ends here";
const NO_REQUEST: &str = "packets are forwarded and no request is read";
const NO_LOG: &str = "there is no connection to log";
const MAGLEV: &str = "a Maglev table has a hash of its own";

const REQUESTS: &str = "Use 'mode http' for what decides about requests.";
const CONNECTIONS: &str =
    "Use 'mode tcp' for what decides about connections, or 'ebpf.shield' in 'global' to refuse addresses.";
const ONE_BACKEND: &str = "Use 'default_backend', or another 'bind' in a section of its own.";
const PASSES: &str =
    "TLS passes through to the servers. Use 'mode tcp' or 'mode http' for sections that end it here.";
const HEADER_PASSES: &str =
    "The header passes through to the servers, which may read it. Use 'mode tcp' to read it here.";
const NAMESPACE: &str =
    "'mode packet' works in the network namespace of this process alone. Start a process in the other.";
const KEEPS_ADDRESS: &str = "Without 'source' the servers see the clients' addresses as they are.";

/// A statement by its words: `http-request`, or `option` and `httplog`.
fn statement_verdict(name: &str, second: &str) -> Verdict {
    match name {
        "http-request" | "http-response" | "http-after-response" | "redirect" => Refused(REQUESTS),
        "acl" | "tcp-request" | "tcp-response" | "use-server" | "monitor" | "force-persist"
        | "ignore-persist" => Refused(CONNECTIONS),
        "use_backend" => Refused(ONE_BACKEND),
        "ssl-f-use" => Refused(PASSES),
        "log-format" | "log-format-sd" | "error-log-format" => NoEffect(NO_LOG),
        "hash-type" | "hash-balance-factor" | "hash-preserve-affinity" => NoEffect(MAGLEV),
        "unique-id-format"
        | "unique-id-header"
        | "capture"
        | "declare"
        | "monitor-uri"
        | "errorfile"
        | "errorfiles"
        | "errorloc"
        | "errorloc302"
        | "errorloc303"
        | "http-error"
        | "http-reuse"
        | "max-keep-alive-queue" => NoEffect(NO_REQUEST),
        "maxconn" | "fullconn" | "backlog" | "retries" | "retry-on" | "clitcpka-cnt" | "clitcpka-idle"
        | "clitcpka-intvl" | "srvtcpka-cnt" | "srvtcpka-idle" | "srvtcpka-intvl" => NoEffect(NO_CONNECTION),
        "timeout" => match second {
            "check" | "client" | "connect" | "server" | "tunnel" => Obeyed,
            _ => NoEffect(NO_CONNECTION),
        },
        "option" => option_verdict(second),
        _ => Obeyed,
    }
}

fn option_verdict(name: &str) -> Verdict {
    let supported = find(option::TABLE, name).is_some_and(|row| matches!(row.status, Status::Supported(_)));
    match name {
        "allbackups" | "httpchk" | "log-health-checks" | "ssl-hello-chk" | "tcp-check" => Obeyed,
        "httplog"
        | "httpslog"
        | "tcplog"
        | "dontlog-normal"
        | "dontlognull"
        | "logasap"
        | "log-separate-errors" => NoEffect(NO_LOG),
        _ if supported => NoEffect(NO_CONNECTION),
        // Reading it says what is wrong.
        _ => Obeyed,
    }
}

/// Says what a statement of a section in `mode packet` cannot do. Returns whether it must not be read.
pub(crate) fn statement(words: &mut Words<'_>, scope: &ProxyScope<'_>) -> bool {
    if !scope.packet || scope.proxy.kind == Kind::Defaults || scope.negation != Negation::None {
        return false;
    }
    let name = words.keyword().to_owned();
    let second = words.peek().unwrap_or_default();
    let named = if matches!(&*name, "option" | "timeout" | "monitor") {
        format!("{name} {second}")
    } else {
        name.clone()
    };
    match statement_verdict(&name, second) {
        Obeyed => false,
        NoEffect(reason) => {
            words.warning(format!("'{named}' has no effect in 'mode packet': {reason}."));
            false
        }
        Refused(remedy) | Impossible(remedy) => {
            words.alert(refusal(&named, remedy));
            words.skip_rest();
            true
        }
    }
}

/// The message about a word that somebody relies on.
pub(crate) fn refusal(word: &str, remedy: &str) -> String {
    format!("'{word}' needs a connection, and 'mode packet' has none. {remedy}")
}

/// What to do about inherited rules by the word that starts them.
pub(crate) fn remedy_of_rules(word: &str) -> &'static str {
    match statement_verdict(word, "") {
        Refused(remedy) => remedy,
        Obeyed | NoEffect(_) | Impossible(_) => CONNECTIONS,
    }
}

/// A word of a `bind` line: the message about it, or nothing.
pub(crate) fn bind_option(word: &str) -> Option<(Severity, String)> {
    let verdict = match word {
        "id" | "interface" | "name" => Obeyed,
        "accept-proxy" | "accept-netscaler-cip" => Refused(HEADER_PASSES),
        "namespace" => Impossible(NAMESPACE),
        "proto" => Refused("Use 'mode http' for sections that speak it."),
        "mss" => NoEffect("'ebpf.clamp-mss' does that"),
        "transparent" => NoEffect("packets are taken before the kernel asks whose address it is"),
        "gid" | "group" | "mode" | "uid" | "user" => NoEffect("there is no file"),
        _ if find(tls::bind::TABLE, word).is_some() => Refused(PASSES),
        _ => NoEffect(NO_CONNECTION),
    };
    message(word, verdict)
}

/// Most ports of one range beside "all": each is a service of its own.
const PORTS_MAX: usize = lb_common::limits::PACKET_SERVICES as usize;

/// What is wrong with an address for packets: the text behind `'bind' : `.
pub(crate) fn bind_address(text: &str, address: &Address) -> Result<(), String> {
    match &address.host {
        address::Host::AnyIpv4 => return Err(wildcard(text)),
        address::Host::Ip(ip) if ip.is_unspecified() => return Err(wildcard(text)),
        address::Host::Ip(ip) if ip.is_multicast() => {
            return Err(format!(
                "'{text}' is an address of many hosts, and 'mode packet' serves those of one."
            ));
        }
        address::Host::Ip(_) => {}
        _ => return Err(format!("'mode packet' serves IP addresses alone (got '{text}'). Use 'mode tcp'.")),
    }
    match &address.port {
        Port::Range(range) if *range != (1..=u16::MAX) && range.len() > PORTS_MAX => Err(format!(
            "'{text}' is {} ports, and 'mode packet' has at most {PORTS_MAX} services. Use ports 1-65535, which are one.",
            range.len()
        )),
        _ => Ok(()),
    }
}

fn wildcard(text: &str) -> String {
    format!(
        "'mode packet' needs the address of a service, and '{text}' is every address of this machine, also those it is administered by. Name the address."
    )
}

/// A word of a `server` line. What somebody relies on is found in what the whole line comes to, see [`server`].
pub(crate) fn server_option(word: &str) -> Option<(Severity, String)> {
    let verdict = match word {
        "namespace" => Impossible(NAMESPACE),
        "maxconn" | "minconn" | "maxqueue" | "max-reuse" | "pool-low-conn" | "pool-max-conn"
        | "pool-purge-delay" | "cc" | "tcp-ut" | "tfo" | "observe" | "on-error" | "error-limit" | "sni"
        | "sni-auto" | "proto" | "ws" | "alpn" => NoEffect(NO_CONNECTION),
        _ => Obeyed,
    };
    message(word, verdict)
}

fn message(word: &str, verdict: Verdict) -> Option<(Severity, String)> {
    match verdict {
        Obeyed => None,
        NoEffect(reason) => {
            Some((Severity::Warning, format!("'{word}' has no effect in 'mode packet': {reason}.")))
        }
        Refused(remedy) => Some((Severity::Alert, refusal(word, remedy))),
        Impossible(reason) => Some((Severity::Alert, format!("'{word}' : {reason}"))),
    }
}

/// What is wrong with a server for packets, whatever line its words came from.
pub(crate) fn server(draft: &DraftServer) -> Vec<(Severity, String)> {
    let mut out = Vec::new();
    let mut refuse = |text: String| out.push((Severity::Alert, text));
    if draft.tls.ssl {
        refuse(refusal(
            "ssl",
            "Use 'mode tcp' or 'mode http' to encrypt here, or 'check-ssl' for checks alone.",
        ));
    }
    if draft.server.send_proxy.v1 || draft.server.send_proxy.v2 {
        let word = if draft.server.send_proxy.v1 { "send-proxy" } else { "send-proxy-v2" };
        refuse(refusal(word, KEEPS_ADDRESS));
    }
    match &draft.server.address {
        ServerAddress::Unix(_) | ServerAddress::Abstract { .. } => {
            refuse("packets cannot go to a unix socket. Use 'mode tcp', or the server's IP address.".to_owned());
        }
        ServerAddress::Inet { host: Host::Original, .. } => {
            refuse("'mode packet' needs the server's own IP address.".to_owned());
        }
        ServerAddress::Inet { port: ServerPort::Offset(offset), .. } if *offset != 0 => refuse(format!(
            "port offset '{offset:+}' : 'mode packet' writes one port or keeps the client's. Use a port, or none to keep it."
        )),
        ServerAddress::Inet { host: Host::Ip(ip), .. } if ip.is_multicast() => {
            refuse(format!("{ip} is the address of no server."));
        }
        ServerAddress::Inet { host: Host::Ip(ip), .. } if ip.is_loopback() => out.push((
            Severity::Warning,
            format!("{ip} is this machine: 'mode packet' forwards to others. Use 'mode tcp' for servers on this one."),
        )),
        ServerAddress::Inet { .. } => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyword::Status;
    use crate::keywords::{bind, proxy};

    fn check(words: &str, expected: Verdict) {
        let (name, second) = words.split_once(' ').unwrap_or((words, ""));
        assert_eq!(statement_verdict(name, second), expected, "{words}");
    }

    #[test]
    fn statements() {
        check("server", Obeyed);
        check("timeout tunnel", Obeyed);
        check("timeout queue", NoEffect(NO_CONNECTION));
        check("option httpchk", Obeyed);
        check("option httplog", NoEffect(NO_LOG));
        check("option http-keep-alive", NoEffect(NO_CONNECTION));
        // Reading these says what is wrong with them.
        check("option mysql-check", Obeyed);
        check("option forceclose", Obeyed);
        check("http-request", Refused(REQUESTS));
        check("use_backend", Refused(ONE_BACKEND));
    }

    /// Whoever adds a word decides what packets make of it.
    #[test]
    fn every_statement_is_decided() {
        const OBEYED: &[&str] = &[
            "balance",
            "bind",
            "default-server",
            "default_backend",
            "description",
            "disabled",
            "ebpf.clamp-mss",
            "ebpf.forward",
            "ebpf.stateless",
            "ebpf.table-size",
            "enabled",
            "http-check",
            "id",
            "log",
            "log-tag",
            "mode",
            "option",
            "server",
            "server-template",
            "source",
            "tcp-check",
            "timeout",
        ];
        let supported = proxy::TABLE.iter().filter(|row| matches!(row.status, Status::Supported(_)));
        let mut obeyed: Vec<&str> = supported
            .map(|row| row.name)
            .filter(|name| matches!(*name, "option" | "timeout") || statement_verdict(name, "") == Obeyed)
            .collect();
        obeyed.sort_unstable();
        assert_eq!(obeyed, OBEYED);
    }

    #[test]
    fn bind_lines() {
        let check = |word: &str, expected: Option<Severity>| {
            assert_eq!(bind_option(word).map(|(severity, _)| severity), expected, "{word}");
        };
        check("interface", None);
        check("shards", Some(Severity::Warning));
        check("crt", Some(Severity::Alert));
        check("accept-proxy", Some(Severity::Alert));
        let obeyed = bind::TABLE.iter().filter(|row| bind_option(row.name).is_none());
        assert_eq!(obeyed.map(|row| row.name).collect::<Vec<_>>(), ["id", "interface", "name"]);
    }
}
