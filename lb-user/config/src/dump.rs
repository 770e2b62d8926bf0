//! The validated configuration as canonical text, for golden tests and `sockeye dump`.
//!
//! It looks like a configuration with every default applied and every name resolved; a fact at its built-in value is
//! left out. `listen` sections appear as the frontend and the backend that they are.

mod check;
mod packet;
mod shield;
mod tls;

use std::fmt::{Debug, Display, Write};
use std::time::Duration;

use sockeye_balance::{Algorithm, HashSource};

use crate::model::{
    AddressHeader, Backend, Bind, BindAddress, Config, ErrorFiles, Frontend, Global, Host, LogAddress,
    LogTarget, Mode, ProxyV2Options, SendProxy, Server, ServerAddress, ServerPort, Source, TcpKeepalive,
};

/// One line per fact, sections in the order of the files, frontends first.
pub fn dump(config: &Config) -> String {
    let mut out = Text::default();
    global(&mut out, &config.global);
    for frontend in &config.frontends {
        self::frontend(&mut out, config, frontend);
    }
    for backend in &config.backends {
        self::backend(&mut out, config, backend);
    }
    out.0
}

/// Lines of `KEYWORD VALUE`, indented.
#[derive(Default)]
struct Text(String);

impl Text {
    fn section(&mut self, text: impl Display) {
        let _ = writeln!(self.0, "{text}");
    }

    fn line(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "    {key} {value}");
    }

    fn flag(&mut self, key: &str, on: bool) {
        if on {
            let _ = writeln!(self.0, "    {key}");
        }
    }

    fn option(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.line(key, value);
        }
    }

    fn time(&mut self, key: &str, value: Option<Duration>) {
        self.option(key, value.map(time));
    }

    /// A value that is not the built-in one.
    fn unless<T: PartialEq + Debug>(&mut self, key: &str, value: &T, default: &T) {
        if value != default {
            let text = format!("{value:?}").to_lowercase();
            self.line(key, text.trim_start_matches("some(").trim_end_matches(')'));
        }
    }

    fn blob(&mut self, key: &str, bytes: &[u8]) {
        self.line(key, quoted(bytes));
    }
}

/// Milliseconds, as HAProxy counts.
fn time(value: Duration) -> String {
    format!("{}ms", value.as_millis())
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

fn global(out: &mut Text, global: &Global) {
    let default = Global::default();
    out.section("global");
    out.option("maxconn", global.maxconn);
    out.option("nbthread", global.nbthread);
    out.flag("daemon", global.daemon);
    out.flag("quiet", global.quiet);
    out.unless("pidfile", &global.pidfile, &default.pidfile);
    out.unless("chroot", &global.chroot, &default.chroot);
    out.unless("user", &global.user, &default.user);
    out.unless("group", &global.group, &default.group);
    out.option("ulimit-n", global.ulimit_n);
    out.option("fd-hard-limit", global.fd_hard_limit);
    out.option("node", global.node.as_ref());
    out.option("description", global.description.as_ref());
    out.time("hard-stop-after", global.hard_stop_after);
    out.time("close-spread-time", global.close_spread_time);
    out.time("grace", global.grace);
    logs(out, &global.log);
    out.option("log-tag", global.log_tag.as_ref());
    if let Some(name) = &global.log_send_hostname {
        out.line("log-send-hostname", name.as_deref().unwrap_or_default());
    }
    out.unless("unix-bind", &global.unix_bind, &default.unix_bind);
    out.option("unix-bind prefix", global.unix_bind_prefix.as_ref());
    out.unless("spread-checks", &global.spread_checks, &0);
    out.time("max-spread-checks", global.max_spread_checks);
    out.flag("nosplice", global.nosplice);
    out.flag("noreuseport", global.noreuseport);
    out.flag("no strict-limits", !global.strict_limits);
    out.flag("zero-warning", global.zero_warning);
    tls::global(out, global);
    tune(out, global);
    packet::global(out, &global.ebpf);
    shield::global(out, &global.ebpf);
}

fn tune(out: &mut Text, global: &Global) {
    let (tune, default) = (&global.tune, &Global::default().tune);
    out.unless("tune.bufsize", &tune.bufsize, &default.bufsize);
    out.unless("tune.maxrewrite", &tune.maxrewrite, &default.maxrewrite);
    out.unless("tune.http.maxhdr", &tune.http_maxhdr, &default.http_maxhdr);
    out.unless("tune.http.logurilen", &tune.http_logurilen, &default.http_logurilen);
    out.unless("tune.http.cookielen", &tune.http_cookielen, &default.http_cookielen);
    out.unless("tune.maxaccept", &tune.maxaccept, &default.maxaccept);
    out.option("tune.pipesize", tune.pipesize);
    out.option("maxpipes", tune.maxpipes);
    out.option("tune.rcvbuf.client", tune.rcvbuf_client);
    out.option("tune.rcvbuf.server", tune.rcvbuf_server);
    out.option("tune.sndbuf.client", tune.sndbuf_client);
    out.option("tune.sndbuf.server", tune.sndbuf_server);
    out.unless("tune.listener.default-shards", &tune.default_shards, &default.default_shards);
    out.unless("tune.max-checks-per-thread", &tune.max_checks_per_thread, &default.max_checks_per_thread);
}

fn log_formats(out: &mut Text, fe: &Frontend) {
    let formats = &fe.log_formats;
    for (name, format) in [
        ("log-format", &formats.line),
        ("log-format-sd", &formats.structured_data),
        ("error-log-format", &formats.error),
        ("unique-id-format", &formats.unique_id),
    ] {
        out.option(name, format.as_ref().map(|format| format!("{:?}", format.text())));
    }
    out.option("unique-id-header", fe.unique_id_header.as_ref());
    if let Some(cookie) = &fe.captures.cookie {
        out.line("capture cookie", format_args!("{} len {}", cookie.prefix, cookie.length));
    }
    for (direction, slots) in [("request", &fe.captures.request), ("response", &fe.captures.response)] {
        for slot in slots {
            match &slot.header {
                Some(name) => out
                    .line(&format!("capture {direction} header"), format_args!("{name} len {}", slot.length)),
                None => {
                    out.line(&format!("declare capture {direction}"), format_args!("len {}", slot.length))
                }
            }
        }
    }
}

fn frontend(out: &mut Text, config: &Config, fe: &Frontend) {
    out.section(format_args!("frontend {}", fe.name));
    out.line("id", fe.numeric_id);
    out.line("mode", mode(fe.mode));
    out.flag("disabled", fe.disabled);
    out.option("description", fe.description.as_ref());
    for bind in &fe.binds {
        self::bind(out, bind);
    }
    out.option("maxconn", fe.maxconn);
    out.option("backlog", fe.backlog);
    out.option("default_backend", fe.default_backend.map(|id| &config.backend(id).name));
    out.time("timeout client", fe.timeout_client);
    out.time("timeout client-fin", fe.timeout_client_fin);
    out.time("timeout client-hs", fe.timeout_client_hs);
    out.time("timeout http-request", fe.timeout_http_request);
    out.time("timeout http-keep-alive", fe.timeout_http_keep_alive);
    out.time("timeout tarpit", fe.timeout_tarpit);
    logs(out, &fe.log);
    out.option("log-tag", fe.log_tag.as_ref());
    log_formats(out, fe);
    let options = &fe.options;
    for (name, on) in [
        ("dontlognull", options.dontlognull),
        ("disable-h2-upgrade", options.disable_h2_upgrade),
        ("dontlog-normal", options.dontlog_normal),
        ("log-separate-errors", options.log_separate_errors),
        ("logasap", options.logasap),
        ("http-ignore-probes", options.http_ignore_probes),
        ("http-use-proxy-header", options.http_use_proxy_header),
        ("http-buffer-request", options.http_buffer_request),
        ("idle-close-on-response", options.idle_close_on_response),
        ("accept-unsafe-violations-in-http-request", options.accept_unsafe_violations_in_http_request),
        ("nolinger", options.nolinger),
        ("abortonclose", options.abortonclose),
        ("splice-auto", fe.splice.auto),
        ("splice-request", fe.splice.request),
        ("splice-response", fe.splice.response),
    ] {
        out.flag(&format!("option {name}"), on);
    }
    address_header(out, "forwardfor", options.forwardfor.as_ref());
    address_header(out, "originalto", options.originalto.as_ref());
    out.unless("option connection", &options.connection, &crate::model::ConnectionMode::KeepAlive);
    keepalive(out, "clitcpka", &fe.clitcpka);
    out.option("monitor-uri", fe.monitor_uri.as_ref());
    errorfiles(out, &fe.errorfiles);
}

fn bind(out: &mut Text, bind: &Bind) {
    let address = match &bind.address {
        BindAddress::Inet(address) => packet::address(address, bind.transport),
        BindAddress::Block(block) => block.to_string(),
        BindAddress::Unix(path) => format!("unix@{}", path.display()),
        BindAddress::Abstract { name, padded: true } => format!("abns@{name}"),
        BindAddress::Abstract { name, padded: false } => format!("abnsz@{name}"),
        BindAddress::Fd(number) => format!("fd@{number}"),
    };
    let mut text = format!("{address} id {}", bind.id.unwrap_or_default());
    let mut word = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            text.push_str(&format!(" {name} {value}"));
        }
    };
    word("name", bind.name.as_ref().map(ToString::to_string));
    word("interface", bind.interface.clone());
    word("backlog", bind.backlog.map(|value| value.to_string()));
    word("maxconn", bind.maxconn.map(|value| value.to_string()));
    word("mss", bind.mss.map(|value| value.to_string()));
    word("tcp-ut", bind.tcp_user_timeout.map(time));
    word("cc", bind.congestion.clone());
    word("mode", bind.unix.mode.map(|mode| format!("{mode:o}")));
    word("user", bind.unix.user.as_ref().map(|id| format!("{id:?}")));
    word("group", bind.unix.group.as_ref().map(|id| format!("{id:?}")));
    let threads: Vec<String> = bind.threads.iter().map(|thread| (thread + 1).to_string()).collect();
    word("thread", (!threads.is_empty()).then(|| threads.join(",")));
    word("shards", bind.shards.map(|shards| format!("{shards:?}").to_lowercase()));
    word("namespace", bind.namespace.clone());
    word("accept-netscaler-cip", bind.netscaler_cip.map(|magic| magic.to_string()));
    for (name, on) in [
        ("accept-proxy", bind.accept_proxy),
        ("defer-accept", bind.defer_accept),
        ("tfo", bind.tfo),
        ("v4v6", bind.v4v6),
        ("v6only", bind.v6only),
        ("transparent", bind.transparent),
    ] {
        if on {
            text.push(' ');
            text.push_str(name);
        }
    }
    text.push_str(&bind.proto.map(|proto| format!(" proto {}", tls::proto(proto))).unwrap_or_default());
    text.push_str(&bind.tls.as_ref().map(|tls| format!(" {}", tls::bind(tls))).unwrap_or_default());
    out.line("bind", text);
}

fn backend(out: &mut Text, config: &Config, be: &Backend) {
    out.section(format_args!("backend {}", be.name));
    out.line("id", be.numeric_id);
    out.line("mode", mode(be.mode));
    out.flag("disabled", be.disabled);
    out.option("description", be.description.as_ref());
    match be.mode {
        Mode::Packet => out.line("balance", be.balance.keyword()),
        Mode::Tcp | Mode::Http => out.line("balance", balance(&be.balance)),
    }
    out.option("fullconn", be.fullconn);
    out.time("timeout connect", be.timeout_connect);
    out.time("timeout server", be.timeout_server);
    out.time("timeout server-fin", be.timeout_server_fin);
    out.time("timeout queue", be.timeout_queue);
    out.time("timeout check", be.timeout_check);
    out.time("timeout tunnel", be.timeout_tunnel);
    out.time("timeout http-request", be.timeout_http_request);
    out.time("timeout http-keep-alive", be.timeout_http_keep_alive);
    out.time("timeout tarpit", be.timeout_tarpit);
    out.unless("retries", &be.retries, &3);
    out.unless("retry-on", &be.retry_on, &crate::model::RetryOn::default());
    out.unless("option redispatch", &be.redispatch, &0);
    out.unless("http-reuse", &be.http_reuse, &crate::model::HttpReuse::Safe);
    out.option("max-keep-alive-queue", be.max_keep_alive_queue);
    if be.source != Source::default() {
        out.line("source", source(&be.source));
    }
    logs(out, &be.log);
    out.option("log-tag", be.log_tag.as_ref());
    let options = &be.options;
    for (name, on) in [
        ("abortonclose", options.abortonclose),
        ("allbackups", options.allbackups),
        ("http-pretend-keepalive", options.http_pretend_keepalive),
        ("http-buffer-request", options.http_buffer_request),
        ("accept-unsafe-violations-in-http-response", options.accept_unsafe_violations_in_http_response),
        ("log-health-checks", options.log_health_checks),
        ("disable-on-404", options.disable_on_404),
        ("nolinger", options.nolinger),
        ("prefer-last-server", options.prefer_last_server),
        ("splice-auto", be.splice.auto),
        ("splice-request", be.splice.request),
        ("splice-response", be.splice.response),
    ] {
        out.flag(&format!("option {name}"), on);
    }
    address_header(out, "forwardfor", options.forwardfor.as_ref());
    address_header(out, "originalto", options.originalto.as_ref());
    out.unless("option forwarded", &options.forwarded, &None);
    out.unless("option connection", &options.connection, &crate::model::ConnectionMode::KeepAlive);
    keepalive(out, "srvtcpka", &be.srvtcpka);
    out.unless(
        "hash-preserve-affinity",
        &be.hash_preserve_affinity,
        &crate::model::HashPreserveAffinity::Always,
    );
    errorfiles(out, &be.errorfiles);
    packet::backend(out, &be.packet);
    check::steps(out, &be.check);
    for server in &be.servers {
        self::server(out, config, server);
    }
}

fn balance(algorithm: &Algorithm) -> String {
    let mut text = algorithm.keyword().to_owned();
    match algorithm {
        Algorithm::Random(random) => {
            text.push_str(&format!("({}) factor {}", random.draws, random.balance_factor));
        }
        Algorithm::Hash(hash) => {
            match &hash.source {
                HashSource::Source => {}
                HashSource::Uri { whole, len, depth, path_only } => {
                    text.push_str(&format!(" len {len} depth {depth}"));
                    text.push_str(if *whole { " whole" } else { "" });
                    text.push_str(if *path_only { " path-only" } else { "" });
                }
                HashSource::UrlParam { name, check_post } => {
                    text.push_str(&format!(" {}", name.escape_ascii()));
                    text.push_str(if *check_post { " check_post" } else { "" });
                }
                HashSource::Hdr { name, domain_only } => {
                    text.push_str(&format!("({name})"));
                    text.push_str(if *domain_only { " use_domain_only" } else { "" });
                }
            }
            let words = format!("; hash-type {:?} {:?}", hash.method, hash.function).to_lowercase();
            text.push_str(&words);
            text.push_str(if hash.avalanche { " avalanche" } else { "" });
            text.push_str(&format!(" factor {}", hash.balance_factor));
            text.push_str(if hash.skip_full { " skip-full" } else { "" });
        }
        _ => {}
    }
    text
}

fn server(out: &mut Text, config: &Config, srv: &Server) {
    let default = Server::default();
    let address = match &srv.address {
        ServerAddress::Unix(path) => format!("unix@{}", path.display()),
        ServerAddress::Abstract { name, padded: true } => format!("abns@{name}"),
        ServerAddress::Abstract { name, padded: false } => format!("abnsz@{name}"),
        ServerAddress::Inet { host, port } => {
            let host = match host {
                Host::Ip(ip) => ip.to_string(),
                Host::Name { name, family: None } => name.clone(),
                Host::Name { name, family: Some(family) } => format!("{family:?}@{name}").to_lowercase(),
                Host::Original => "*".to_owned(),
            };
            match port {
                ServerPort::Fixed(port) => format!("{host}:{port}"),
                ServerPort::Offset(offset) => format!("{host}:{offset:+}"),
            }
        }
    };
    out.section(format_args!("    server {} {address}", srv.name));
    let mut words = Text::default();
    words.line("id", srv.numeric_id);
    words.unless("init-addr", &srv.init_addr, &default.init_addr);
    words.unless("weight", &srv.weight, &default.weight);
    words.flag("backup", srv.backup);
    words.flag("disabled", srv.disabled);
    words.option("maxconn", srv.maxconn);
    words.option("minconn", srv.minconn);
    words.option("maxqueue", srv.maxqueue);
    words.time("slowstart", srv.slowstart);
    words.option("pool-max-conn", srv.pool_max_conn);
    words.option("pool-low-conn", srv.pool_low_conn);
    words.unless("pool-purge-delay", &srv.pool_purge_delay, &default.pool_purge_delay);
    words.option("max-reuse", srv.max_reuse);
    words.option("source", srv.source.as_ref().map(source));
    words.flag("tfo", srv.tfo);
    words.time("tcp-ut", srv.tcp_user_timeout);
    words.option("cc", srv.congestion.as_ref());
    words.option("namespace", srv.namespace.as_ref());
    send_proxy(&mut words, &srv.send_proxy);
    words.flag("ssl", srv.ssl);
    words.option("proto", srv.proto.map(tls::proto));
    words.option("ws", tls::ws(srv.ws));
    words.option("sni", srv.sni.as_ref().map(|sni| sni.text()));
    server_check(&mut words, config, srv);
    words.option("tls", srv.tls.as_ref().map(tls::server));
    let text: Vec<&str> = words.0.lines().map(str::trim).collect();
    let _ = writeln!(out.0, "        {}", text.join(" "));
}

fn send_proxy(words: &mut Text, proxy: &SendProxy) {
    words.flag("send-proxy", proxy.v1);
    words.flag("send-proxy-v2", proxy.v2);
    words.flag("check-send-proxy", proxy.checks);
    let ProxyV2Options { ssl, cert_cn, cert_key, cert_sig, ssl_cipher, authority, crc32c, unique_id } =
        proxy.options;
    let options: Vec<&str> = [
        ("ssl", ssl),
        ("cert-cn", cert_cn),
        ("cert-key", cert_key),
        ("cert-sig", cert_sig),
        ("ssl-cipher", ssl_cipher),
        ("authority", authority),
        ("crc32c", crc32c),
        ("unique-id", unique_id),
    ]
    .into_iter()
    .filter_map(|(name, on)| on.then_some(name))
    .collect();
    words.option("proxy-v2-options", (!options.is_empty()).then(|| options.join(",")));
    for (kind, format) in &proxy.tlvs {
        words.line(&format!("set-proxy-v2-tlv-fmt({kind:#04x})"), format_args!("{:?}", format.text()));
    }
}

fn server_check(words: &mut Text, config: &Config, srv: &Server) {
    let (check, default) = (&srv.check, &Server::default().check);
    words.flag("check", check.enabled);
    words.unless("inter", &check.inter, &default.inter);
    words.time("fastinter", check.fastinter);
    words.time("downinter", check.downinter);
    words.unless("rise", &check.rise, &default.rise);
    words.unless("fall", &check.fall, &default.fall);
    words.option("port", check.port);
    words.option("addr", check.addr);
    words.unless("observe", &check.observe, &default.observe);
    words.unless("error-limit", &check.error_limit, &default.error_limit);
    words.unless("on-error", &check.on_error, &default.on_error);
    words.flag("on-marked-down shutdown-sessions", check.on_marked_down);
    words.flag("on-marked-up shutdown-backup-sessions", check.on_marked_up);
    words.unless("init-state", &check.init_state, &default.init_state);
    words.flag("check-ssl", check.ssl);
    words.option("check-sni", check.sni.as_ref());
    words.option("check-alpn", check.alpn.as_ref().map(|names| tls::alpn(names)));
    words.option("check-proto", check.proto.map(tls::proto));
    if let Some(id) = check.track {
        words.line("track", format_args!("{}/{}", config.backend(id.backend).name, config.server(id).name));
    }
}

fn source(source: &Source) -> String {
    let mut text = source.address.map_or_else(|| "*".to_owned(), |address| address.to_string());
    if let Some((low, high)) = source.ports {
        text.push_str(&format!(" ports {low}-{high}"));
    }
    if let Some(interface) = &source.interface {
        text.push_str(&format!(" interface {interface}"));
    }
    if source.usesrc != crate::model::UseSource::Own {
        text.push_str(&format!(" usesrc {:?}", source.usesrc).to_lowercase());
    }
    text
}

fn logs(out: &mut Text, targets: &[LogTarget]) {
    for target in targets {
        let address = match &target.address {
            LogAddress::Udp(address) => address.to_string(),
            LogAddress::Unix(path) => path.display().to_string(),
            LogAddress::Stdout => "stdout".to_owned(),
            LogAddress::Stderr => "stderr".to_owned(),
            LogAddress::Fd(number) => format!("fd@{number}"),
        };
        let mut text = format!("{address} len {} format {:?}", target.length, target.format).to_lowercase();
        if let Some(sample) = &target.sample {
            let ranges: Vec<String> =
                sample.ranges.iter().map(|(low, high)| format!("{low}-{high}")).collect();
            text.push_str(&format!(" sample {}:{}", ranges.join(","), sample.size));
        }
        text.push_str(&format!(" facility {} level {:?}", target.facility.0, target.level).to_lowercase());
        if let Some(level) = target.minlevel {
            text.push_str(&format!(" minlevel {level:?}").to_lowercase());
        }
        out.line("log", text);
    }
}

fn address_header(out: &mut Text, name: &str, header: Option<&AddressHeader>) {
    let Some(header) = header else { return };
    let mut text = format!("{name} header {}", header.header);
    if let Some((address, bits)) = header.except {
        text.push_str(&format!(" except {address}/{bits}"));
    }
    text.push_str(if header.if_none { " if-none" } else { "" });
    out.line("option", text);
}

fn keepalive(out: &mut Text, name: &str, side: &TcpKeepalive) {
    out.flag(&format!("option {name}"), side.enabled);
    out.option(&format!("{name}-cnt"), side.count);
    out.time(&format!("{name}-idle"), side.idle);
    out.time(&format!("{name}-intvl"), side.interval);
}

fn errorfiles(out: &mut Text, files: &ErrorFiles) {
    for (status, text) in &files.0 {
        out.line("errorfile", format_args!("{status} ({} bytes)", text.len()));
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Tcp => "tcp",
        Mode::Http => "http",
        Mode::Packet => "packet",
    }
}
