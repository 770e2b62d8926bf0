//! TLS of the whole: what lines and `global` come to together, and the loading of everything that they name.
//!
//! Every file is read once, whoever names it; every bind line becomes one acceptor that its addresses share. After errors
//! in the files nothing is loaded: what is missing then is not what should be mended.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sockeye_syntax::diag::{Location, Place, Severity};
use sockeye_tls::settings::{self, Profile};
use sockeye_tls::{Acceptor, Loaded, Stores};

use super::Findings;
use crate::draft::{DraftServer, Proxy};
use crate::keywords::server::title;
use crate::keywords::tls::store::DraftLoad;
use crate::keywords::tls::versions::{Range, range};
use crate::model::{Bind, Check, CheckStep, Global, Mode, Proto, Server, ServerTls, Tls, WebSocketProto};

/// What an `ssl` line offers in `mode http` unless it says otherwise (manual 5.1 `alpn`).
const ALPN_HTTP: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Loads what the sections name.
pub(super) struct Loader {
    /// As lines are read against it: what it says of bind lines is in these already.
    global: settings::Global,
    bind: Profile,
    stores: Stores,
    /// Lines that were loaded, by the settings that they share.
    acceptors: HashMap<*const settings::Bind, Tls>,
    /// Warnings that were said: one about a default of `global` is not said again for every line.
    said: RefCell<HashSet<String>>,
}

impl Loader {
    /// Carries out the `load` lines. `now` decides what has expired.
    pub(super) fn new(
        global: &Global,
        loads: &[DraftLoad],
        now: Option<SystemTime>,
        findings: &mut Findings<'_>,
    ) -> Self {
        let stores = Stores::new(&global.tls, now.unwrap_or(UNIX_EPOCH));
        let loads = if findings.failed() { &[] } else { loads };
        for DraftLoad { load, location } in loads {
            match stores.add(load) {
                Ok(Loaded { warnings, .. }) => {
                    for warning in warnings {
                        findings.reading(Severity::Warning, location, warning);
                    }
                }
                Err(messages) => {
                    for message in messages {
                        findings.reading(Severity::Alert, location, message);
                    }
                }
            }
        }
        let mut tls = global.tls.clone();
        // Lines took these up where they were read, and may have taken them back.
        tls.bind_strict_sni = false;
        tls.bind_prefer_client_ciphers = false;
        Self {
            bind: tls.bind.clone(),
            global: tls,
            stores,
            acceptors: HashMap::new(),
            said: RefCell::default(),
        }
    }

    /// Completes the TLS of an address and loads what it names, if no other address of its line did.
    pub(super) fn bind(&mut self, proxy: &Proxy, bind: &mut Bind, findings: &mut Findings<'_>) {
        check_bind_proto(proxy, bind, findings);
        let Some(tls) = bind.tls.as_ref().filter(|_| !findings.failed()) else { return };
        let key = Arc::as_ptr(&tls.settings);
        if let Some(known) = self.acceptors.get(&key) {
            bind.tls = Some(known.clone());
            return;
        }
        let settings = self.complete(proxy, bind, &tls.settings, findings);
        let acceptor = settings.as_ref().and_then(|settings| self.acceptor(proxy, bind, settings, findings));
        // The draft keeps the settings alive, so that the address stays theirs.
        let settings = settings.map_or_else(|| tls.settings.clone(), Arc::new);
        let tls = Tls { settings, acceptor: acceptor.map(Arc::new) };
        self.acceptors.insert(key, tls.clone());
        bind.tls = Some(tls);
    }

    /// What the line comes to with `global` and the section; `None` after a message.
    fn complete(
        &self,
        proxy: &Proxy,
        bind: &Bind,
        line: &settings::Bind,
        findings: &mut Findings<'_>,
    ) -> Option<settings::Bind> {
        let at = format!("bind '{}' at [{}:{}]", bind.text, bind.place.file, bind.place.line);
        let name = &proxy.name;
        let mut settings = line.clone();
        settings.list_lines.clone_from(&proxy.list_lines);
        match range(&line.profile, &self.bind) {
            Range::Disabled => {
                findings.alert(format!("Proxy '{name}': all SSL/TLS versions are disabled for {at}."));
                return None;
            }
            Range::Spoken { min, max, ignored } => {
                if ignored {
                    findings.warning(format!(
                        "Proxy '{name}': no-sslv3/no-tlsv1x are ignored for {at}. Use only 'ssl-min-ver' and 'ssl-max-ver' to fix."
                    ));
                }
                settings.profile.min = Some(min);
                settings.profile.max = Some(max);
                settings.profile.without = Vec::new();
            }
        }
        if settings.profile.alpn.is_none() {
            settings.profile.alpn = Some(alpn(proxy.settings.mode, bind.proto));
        }
        let nothing = settings.certificates.is_empty()
            && settings.default_certificates.is_empty()
            && settings.lists.is_empty()
            && settings.list_lines.is_empty();
        // Under `strict-sni` no certificate is a warning, the acceptor's.
        if nothing && !settings.strict_sni {
            findings.alert(format!("Proxy '{name}': no SSL certificate specified for {at} (use 'crt')."));
            return None;
        }
        let client = &settings.client;
        if client.verify != settings::Verify::None
            && client.ca_file.is_none()
            && client.ca_verify_file.is_none()
        {
            findings.alert(format!("Proxy '{name}': verify is enabled but no CA file specified for {at}."));
            return None;
        }
        if settings.generate && settings.sign_file.is_none() {
            let at = format!("[{}:{}]", bind.place.file, bind.place.line);
            findings.alert(format!(
                "Proxy '{name}': cannot enable certificate generation, no CA certificate File configured at {at}."
            ));
            return None;
        }
        Some(settings)
    }

    fn acceptor(
        &self,
        proxy: &Proxy,
        bind: &Bind,
        settings: &settings::Bind,
        findings: &mut Findings<'_>,
    ) -> Option<Acceptor> {
        if proxy.settings.disabled {
            return None;
        }
        let location = Location::new(&*bind.place.file, bind.place.line);
        let title = format!("'bind {}' in section '{}' : ", bind.text, proxy.kind.keyword());
        match sockeye_tls::acceptor(settings, &self.global, &self.stores) {
            Ok(Loaded { value, warnings }) => {
                for warning in self.new_warnings(warnings) {
                    findings.reading(Severity::Warning, &location, format!("{title}{warning}"));
                }
                Some(value)
            }
            Err(messages) => {
                for message in messages {
                    findings.reading(Severity::Alert, &location, format!("{title}{message}"));
                }
                None
            }
        }
    }

    fn new_warnings(&self, warnings: Vec<String>) -> Vec<String> {
        let mut said = self.said.borrow_mut();
        warnings.into_iter().filter(|warning| said.insert(warning.clone())).collect()
    }

    /// Completes the TLS of a server and loads what it names.
    pub(super) fn server(
        &self,
        proxy: &Proxy,
        draft: &DraftServer,
        server: &mut Server,
        check: &Check,
        findings: &mut Findings<'_>,
    ) {
        check_server_proto(proxy, server, check, findings);
        let words = &draft.tls;
        server.ssl = words.ssl;
        // Checks that go elsewhere than the traffic do not inherit its TLS.
        let elsewhere = server.check.port.is_some() || server.check.addr.is_some();
        server.check.ssl = server.check.enabled && words.check_ssl.unwrap_or(words.ssl && !elsewhere);
        if words.check_sni_auto && server.check.sni.is_none() {
            server.check.sni = host_of(check);
        }
        let by_rule = server.check.enabled && connects_with_tls(check);
        if !(server.ssl || server.check.ssl || by_rule) || findings.failed() {
            return;
        }
        let title = title(&proxy.name, &server.name);
        let mut settings = words.settings.clone();
        match range(&settings.profile, &self.global.server) {
            Range::Disabled => {
                return findings.alert_at(
                    &draft.location,
                    format!(
                        "{title}backend '{}': all SSL/TLS versions are disabled for server '{}'.",
                        proxy.name, server.name
                    ),
                );
            }
            Range::Spoken { min, max, ignored } => {
                if ignored {
                    findings.warning(format!(
                        "{title}no-sslv3/no-tlsv1x are ignored for server '{}'. Use only 'ssl-min-ver' and 'ssl-max-ver' to fix.",
                        server.name
                    ));
                }
                settings.profile.min = Some(min);
                settings.profile.max = Some(max);
                settings.profile.without = Vec::new();
            }
        }
        if settings.profile.alpn.is_none() {
            settings.profile.alpn = Some(server_alpn(server.proto));
        }
        settings.verify = Some(settings.verify.unwrap_or(self.global.server_verify));
        if proxy.settings.disabled {
            return;
        }
        match sockeye_tls::connector(&settings, &self.global, &self.stores) {
            Ok(Loaded { value, warnings }) => {
                for warning in self.new_warnings(warnings) {
                    let place = Place::At(draft.location.clone());
                    findings.push(Severity::Warning, place, format!("{title}{warning}"));
                }
                let offered = settings.profile.alpn.as_deref().unwrap_or_default();
                let websockets =
                    websocket_alpn(server, offered).map(|name| Arc::new(value.with_alpn(&[name.to_vec()])));
                let connector = Arc::new(value);
                server.tls = Some(ServerTls { settings: Arc::new(settings), connector, websockets });
            }
            Err(messages) => {
                for message in messages {
                    findings.alert_at(&draft.location, format!("{title}{message}"));
                }
            }
        }
    }
}

/// What an `ssl` line offers that says nothing of ALPN.
fn alpn(mode: Mode, proto: Option<Proto>) -> Vec<Vec<u8>> {
    let names: &[&[u8]] = match (mode, proto) {
        (Mode::Tcp | Mode::Packet, _) | (_, Some(Proto::None)) => &[],
        (_, Some(Proto::H1)) => &[b"http/1.1"],
        (_, Some(Proto::H2)) => &[b"h2"],
        (Mode::Http, None) => &ALPN_HTTP,
    };
    names.iter().map(|name| name.to_vec()).collect()
}

/// What a server is offered without `alpn`: what is spoken with it anyway, if that must be said.
fn server_alpn(proto: Option<Proto>) -> Vec<Vec<u8>> {
    match proto {
        Some(Proto::H2) => vec![b"h2".to_vec()],
        _ => Vec::new(),
    }
}

fn proto_name(proto: Proto) -> &'static str {
    match proto {
        Proto::H1 => "h1",
        Proto::H2 => "h2",
        Proto::None => "none",
    }
}

/// Whether a proxy of that mode can speak it.
fn usable(proto: Proto, mode: Mode) -> bool {
    (proto == Proto::None) == (mode == Mode::Tcp)
}

fn check_bind_proto(proxy: &Proxy, bind: &Bind, findings: &mut Findings<'_>) {
    let Some(proto) = bind.proto.filter(|proto| !usable(*proto, proxy.settings.mode)) else { return };
    findings.alert(format!(
        "frontend '{}' : MUX protocol '{}' is not usable for 'bind {}' at [{}:{}].",
        proxy.name,
        proto_name(proto),
        bind.text,
        bind.place.file,
        bind.place.line
    ));
}

fn check_server_proto(proxy: &Proxy, server: &Server, check: &Check, findings: &mut Findings<'_>) {
    if let Some(proto) = server.proto.filter(|proto| !usable(*proto, proxy.settings.mode)) {
        findings.alert(format!(
            "backend '{}' : MUX protocol '{}' is not usable for server '{}' at [{}:{}].",
            proxy.name,
            proto_name(proto),
            server.name,
            server.place.file,
            server.place.line
        ));
    }
    let mode = if matches!(check, Check::Http(_)) { Mode::Http } else { Mode::Tcp };
    if server.check.enabled && server.check.proto.is_some_and(|proto| !usable(proto, mode)) {
        findings.alert(format!(
            "config: {} '{}': server '{}' uses an incompatible MUX protocol for the selected check type",
            proxy.kind.name(),
            proxy.name,
            server.name
        ));
    }
}

fn steps(check: &Check) -> &[CheckStep] {
    match check {
        Check::Connect => &[],
        Check::Tcp(steps) | Check::Http(steps) | Check::SslHello(steps) => steps,
    }
}

/// Whether a rule of the check connects through TLS whatever the server's line says.
fn connects_with_tls(check: &Check) -> bool {
    steps(check).iter().any(|step| matches!(step, CheckStep::Connect(connect) if connect.ssl))
}

/// The name in the Host field of the check's first request, without its port.
fn host_of(check: &Check) -> Option<Arc<str>> {
    let send = steps(check).iter().find_map(|step| match step {
        CheckStep::HttpSend(send) => Some(send),
        _ => None,
    })?;
    let (_, host) = send.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"))?;
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    (!name.is_empty()).then(|| name.into())
}

/// What WebSockets offer by ALPN so that nothing else is agreed upon (`ws`); `None`: what all offer. A server that is
/// offered nothing is offered nothing here either.
fn websocket_alpn(server: &Server, offered: &[Vec<u8>]) -> Option<&'static [u8]> {
    const HTTP1: &[u8] = b"http/1.1";
    match server.ws {
        _ if offered.is_empty() => None,
        WebSocketProto::H1 => Some(HTTP1),
        WebSocketProto::H2 => Some(b"h2"),
        // A server with both may know WebSockets in HTTP/1.1 alone.
        WebSocketProto::Auto => {
            (server.proto.is_none() && offered.iter().any(|name| name == HTTP1)).then_some(HTTP1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HttpSend;

    #[test]
    fn what_is_offered_by_default() {
        let check = |mode, proto, expected: &str| {
            let names: Vec<String> =
                alpn(mode, proto).into_iter().map(|name| String::from_utf8(name).expect("a name")).collect();
            assert_eq!(names.join(","), expected, "{mode:?} {proto:?}");
        };
        check(Mode::Http, None, "h2,http/1.1");
        check(Mode::Http, Some(Proto::H1), "http/1.1");
        check(Mode::Http, Some(Proto::H2), "h2");
        check(Mode::Tcp, None, "");
        check(Mode::Tcp, Some(Proto::None), "");
    }

    #[test]
    fn the_name_that_a_check_asks_for() {
        let check = |host: Option<&str>, expected: Option<&str>| {
            let headers = host.map(|host| ("Host".into(), host.into())).into_iter().collect();
            let send = HttpSend {
                method: "GET".into(),
                uri: "/".into(),
                version: "HTTP/1.1".into(),
                headers,
                body: None,
                comment: None,
            };
            let found = host_of(&Check::Http(vec![CheckStep::HttpSend(send)]));
            assert_eq!(found.as_deref(), expected, "{host:?}");
        };
        check(None, None);
        check(Some("a.example"), Some("a.example"));
        check(Some("a.example:8443"), Some("a.example"));
        check(Some("[2001:db8::1]:443"), Some("2001:db8::1"));
        check(Some(""), None);
    }
}
