//! TLS and HTTP/2 in a dump: what lines came to, with everything that `global` adds.

use std::path::Path;

use sockeye_tls::settings::{self, Ignored, Profile, Verify, Version};

use super::Text;
use crate::model::{Global, H2, H2Side, Proto, ServerTls, Tls, WebSocketProto};

/// `ssl` and its words as a bind line writes them.
pub(super) fn bind(tls: &Tls) -> String {
    let settings = &*tls.settings;
    let mut words = vec!["ssl".to_owned()];
    files(&mut words, "crt", &settings.certificates);
    files(&mut words, "default-crt", &settings.default_certificates);
    files(&mut words, "crt-list", &settings.lists);
    for line in &settings.list_lines {
        words.push(format!("ssl-f-use \"{line}\""));
    }
    profile(&mut words, &settings.profile);
    let client = &settings.client;
    if client.verify != Verify::None {
        words.push(format!("verify {:?}", client.verify).to_lowercase());
    }
    file(&mut words, "ca-file", client.ca_file.as_deref());
    file(&mut words, "ca-verify-file", client.ca_verify_file.as_deref());
    file(&mut words, "crl-file", client.crl_file.as_deref());
    ignored(&mut words, "crt-ignore-err", &client.crt_ignore_err);
    ignored(&mut words, "ca-ignore-err", &client.ca_ignore_err);
    file(&mut words, "tls-ticket-keys", settings.ticket_keys.as_deref());
    file(&mut words, "ca-sign-file", settings.sign_file.as_deref());
    flags(
        &mut words,
        &[
            ("strict-sni", settings.strict_sni),
            ("no-ca-names", client.no_ca_names),
            ("allow-0rtt", settings.allow_0rtt),
            ("prefer-client-ciphers", settings.prefer_client_ciphers),
            ("generate-certificates", settings.generate),
        ],
    );
    words.join(" ")
}

/// The words of a server's TLS, without `ssl` itself.
pub(super) fn server(tls: &ServerTls) -> String {
    let settings: &settings::Server = &tls.settings;
    let mut words = Vec::new();
    profile(&mut words, &settings.profile);
    if let Some(verify) = settings.verify {
        words.push(format!("verify {verify:?}").to_lowercase());
    }
    if let Some(name) = &settings.verify_host {
        words.push(format!("verifyhost {name}"));
    }
    file(&mut words, "ca-file", settings.ca_file.as_deref());
    file(&mut words, "crl-file", settings.crl_file.as_deref());
    file(&mut words, "crt", settings.certificate.as_deref());
    flags(&mut words, &[("no-ssl-reuse", settings.no_reuse)]);
    words.join(" ")
}

/// `h2,http/1.1`.
pub(super) fn alpn(names: &[Vec<u8>]) -> String {
    let names: Vec<String> = names.iter().map(|name| name.escape_ascii().to_string()).collect();
    names.join(",")
}

pub(super) fn proto(proto: Proto) -> String {
    format!("{proto:?}").to_lowercase()
}

pub(super) fn ws(ws: WebSocketProto) -> Option<String> {
    (ws != WebSocketProto::Auto).then(|| format!("{ws:?}").to_lowercase())
}

fn profile(words: &mut Vec<String>, profile: &Profile) {
    for (name, text) in [
        ("ciphers", &profile.ciphers),
        ("ciphersuites", &profile.ciphersuites),
        ("curves", &profile.curves),
        ("sigalgs", &profile.sigalgs),
        ("client-sigalgs", &profile.client_sigalgs),
    ] {
        words.extend(text.as_ref().map(|text| format!("{name} {text}")));
    }
    words.extend(profile.min.map(|min| format!("ssl-min-ver {}", version(min))));
    words.extend(profile.max.map(|max| format!("ssl-max-ver {}", version(max))));
    words.extend(profile.tickets.map(|on| if on { "tls-tickets" } else { "no-tls-tickets" }.to_owned()));
    words.extend(profile.alpn.as_ref().map(|names| match &names[..] {
        [] => "no-alpn".to_owned(),
        names => format!("alpn {}", alpn(names)),
    }));
}

fn version(version: Version) -> &'static str {
    match version {
        Version::Tls12 => "TLSv1.2",
        Version::Tls13 => "TLSv1.3",
    }
}

fn files(words: &mut Vec<String>, name: &str, paths: &[std::path::PathBuf]) {
    for path in paths {
        file(words, name, Some(path));
    }
}

fn file(words: &mut Vec<String>, name: &str, path: Option<&Path>) {
    words.extend(path.map(|path| format!("{name} {}", path.display())));
}

fn ignored(words: &mut Vec<String>, name: &str, ignored: &Ignored) {
    match ignored {
        Ignored::Nothing => {}
        Ignored::All => words.push(format!("{name} all")),
        Ignored::These(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            words.push(format!("{name} {}", numbers.join(",")));
        }
    }
}

fn flags(words: &mut Vec<String>, flags: &[(&str, bool)]) {
    words.extend(flags.iter().filter(|(_, on)| *on).map(|(name, _)| (*name).to_owned()));
}

/// What `global` says of TLS and HTTP/2.
pub(super) fn global(out: &mut Text, global: &Global) {
    let (tls, default) = (&global.tls, &settings::Global::default());
    for (name, path) in [
        ("ca-base", &tls.ca_base),
        ("crt-base", &tls.crt_base),
        ("key-base", &tls.key_base),
        ("issuers-chain-path", &tls.issuers_chain),
    ] {
        out.option(name, path.as_ref().map(|path| path.display()));
    }
    for (side, profile) in [("bind", &tls.bind), ("server", &tls.server)] {
        let mut words = Vec::new();
        self::profile(&mut words, profile);
        words.extend(profile.without.iter().map(|without| format!("without {}", version(*without))));
        out.option(&format!("ssl-default-{side}"), (!words.is_empty()).then(|| words.join(" ")));
    }
    out.flag("ssl-default-bind-options prefer-client-ciphers", tls.bind_prefer_client_ciphers);
    out.flag("ssl-default-bind-options strict-sni", tls.bind_strict_sni);
    out.unless("ssl-server-verify", &tls.server_verify, &default.server_verify);
    out.unless("ssl-load-extra-files", &tls.extra_files, &default.extra_files);
    out.flag("ssl-load-extra-del-ext", tls.extra_del_ext);
    out.flag("ssl-skip-self-issued-ca", tls.skip_self_issued_ca);
    out.option("maxsslconn", global.maxsslconn);
    out.option("maxsslrate", global.maxsslrate);
    out.unless("tune.ssl.cachesize", &tls.cache_size, &default.cache_size);
    out.unless("tune.ssl.lifetime", &tls.lifetime, &default.lifetime);
    out.unless("tune.ssl.maxrecord", &tls.max_record, &default.max_record);
    out.unless("tune.ssl.hard-maxrecord", &tls.hard_max_record, &default.hard_max_record);
    out.unless("tune.ssl.capture-buffer-size", &tls.capture_buffer, &default.capture_buffer);
    out.unless("tune.ssl.ssl-ctx-cache-size", &tls.generated_cache, &default.generated_cache);
    out.flag("tune.ssl.keylog on", tls.keylog);
    out.unless("ocsp-update", &tls.ocsp, &default.ocsp);
    h2(out, &global.tune.h2);
}

fn h2(out: &mut Text, h2: &H2) {
    let default = H2::default();
    for (name, side, default) in [("fe", &h2.fe, default.fe), ("be", &h2.be, default.be)] {
        let H2Side { initial_window_size, max_concurrent_streams, glitches_threshold, rxbuf } = side;
        let name = |word: &str| format!("tune.h2.{name}.{word}");
        out.option(&name("initial-window-size"), initial_window_size.as_ref());
        out.option(&name("max-concurrent-streams"), max_concurrent_streams.as_ref());
        out.unless(&name("glitches-threshold"), glitches_threshold, &default.glitches_threshold);
        out.unless(&name("rxbuf"), rxbuf, &default.rxbuf);
    }
    out.unless("tune.h2.initial-window-size", &h2.initial_window_size, &default.initial_window_size);
    out.unless("tune.h2.max-concurrent-streams", &h2.max_concurrent_streams, &default.max_concurrent_streams);
    out.unless("tune.h2.fe.max-total-streams", &h2.max_total_streams, &default.max_total_streams);
    out.unless("tune.h2.header-table-size", &h2.header_table_size, &default.header_table_size);
    out.option("tune.h2.max-frame-size", h2.max_frame_size);
    out.flag("h2-workaround-bogus-websocket-clients", h2.no_websockets);
}
