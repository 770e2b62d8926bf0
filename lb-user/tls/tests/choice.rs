//! Who is shown which certificate, and on which terms.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::SystemTime;

use common::*;
use rustls::SignatureScheme as S;
use sockeye_tls::settings::{Profile, Version};
use sockeye_tls::{Refused, Start, Stores, acceptor};

/// A bind with a list of `lines`, in which `NAME.pem` is a certificate with the names of `NAME` between commas.
fn listed(files: &Files, lines: &str) -> Bind {
    let authority = Authority::new("ca");
    for line in lines.lines() {
        let name = line.split([' ', '[']).next().unwrap();
        let Some(names) = name.strip_suffix(".pem").filter(|_| !files.path(name).exists()) else { continue };
        let names: Vec<&str> = names.split(',').collect();
        match names[0].strip_prefix("rsa-") {
            Some(_) => files.write(name, data("rsa.pem") + &data("rsa.key")),
            None => files.write(name, authority.leaf(&names).pem()),
        };
    }
    let list = files.write("the.list", lines);
    Bind { lists: vec![list], ..Bind::default() }
}

fn global(files: &Files) -> Global {
    Global { crt_base: Some(files.path("")), ca_base: Some(files.path("")), ..Global::default() }
}

/// What a client that asks for `name` and checks `schemes` is shown.
fn shown(acceptor: &sockeye_tls::Acceptor, name: Option<&str>, schemes: &[S]) -> String {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let all = provider.signature_verification_algorithms;
    let mapping: Vec<_> =
        all.mapping.iter().filter(|(scheme, _)| schemes.contains(scheme)).copied().collect();
    let provider = rustls::crypto::CryptoProvider {
        signature_verification_algorithms: rustls::crypto::WebPkiSupportedAlgorithms {
            all: all.all,
            mapping: Vec::leak(mapping),
        },
        ..provider
    };
    let server = Server { verify: Some(Verify::None), ..Server::default() };
    let connection = load_server(&server).connection(name, "127.0.0.1".parse().unwrap());
    let mut config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(Anybody(schemes.to_vec())))
        .with_no_client_auth();
    config.enable_sni = name.is_some();
    let client = rustls::ClientConnection::new(config.into(), connection.name).unwrap();
    match meet_client(acceptor, client) {
        Ok(done) => done.presented_names().join(","),
        Err(error) => error,
    }
}

#[derive(Debug)]
struct Anybody(Vec<S>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<S> {
        self.0.clone()
    }
}

const ALL: &[S] = &[S::ECDSA_NISTP256_SHA256, S::RSA_PSS_SHA256];
const RSA: &[S] = &[S::RSA_PSS_SHA256];

#[test]
fn names_wildcards_and_defaults() {
    let files = Files::new();
    let bind = listed(
        &files,
        "first.test,second.test.pem\n*.wild.test.pem\nexact.wild.test.pem\nfiltered.test.pem *.domain.test !secure.domain.test \
         other.test\nsecure.test.pem secure.domain.test\n",
    );
    let loaded = acceptor(&bind, &global(&files), &stores()).unwrap().value;
    let check = |name: &str, expected: &str| {
        assert_eq!(shown(&loaded, Some(name).filter(|name| !name.is_empty()), ALL), expected, "{name}")
    };
    check("first.test", "first.test,second.test");
    check("SECOND.test", "first.test,second.test");
    check("a.wild.test", "*.wild.test");
    check("exact.wild.test", "exact.wild.test");
    check("a.b.wild.test", "first.test,second.test");
    check("wild.test", "first.test,second.test");
    // Filters stand in for the names of the certificate.
    check("filtered.test", "first.test,second.test");
    check("a.domain.test", "filtered.test");
    check("other.test", "filtered.test");
    check("secure.domain.test", "secure.test");
    check("", "first.test,second.test");
}

#[test]
fn an_excluded_name_falls_back() {
    let files = Files::new();
    let bind = listed(&files, "d.test.pem *\nw.test.pem *.x.test !no.x.test\nz.test.pem *.x.test\n");
    let loaded = acceptor(&bind, &global(&files), &stores()).unwrap().value;
    assert_eq!(shown(&loaded, Some("yes.x.test"), ALL), "w.test");
    assert_eq!(shown(&loaded, Some("no.x.test"), ALL), "z.test", "only its own line excludes it");
}

#[test]
fn ecdsa_goes_before_rsa_where_it_is_understood() {
    let files = Files::new();
    let bind =
        listed(&files, "rsa-1.pem a.test *\ne.test.pem a.test *\ne2.test.pem *.b.test\nrsa-2.pem x.b.test\n");
    let loaded = acceptor(&bind, &global(&files), &stores()).unwrap().value;
    let check = |name: Option<&str>, schemes, expected: &str| {
        assert_eq!(shown(&loaded, name, schemes), expected, "{name:?}")
    };
    check(Some("a.test"), ALL, "e.test");
    check(Some("a.test"), RSA, "rsa.test");
    check(None, ALL, "e.test");
    check(None, RSA, "rsa.test");
    // One certificate of each kind, the exact name before the wildcard.
    check(Some("x.b.test"), ALL, "e2.test");
    check(Some("x.b.test"), RSA, "rsa.test");
    // In TLS 1.2 the suites of a client decide, too.
    let profile = Profile {
        ciphers: Some("ECDHE-RSA-AES128-GCM-SHA256".to_owned()),
        max: Some(Version::Tls12),
        ..Profile::default()
    };
    let old = Server { verify: Some(Verify::None), profile, ..Server::default() };
    let done = meet(&loaded, &load_server(&old), Some("a.test")).unwrap();
    assert_eq!(done.presented_names(), ["rsa.test"]);
}

#[test]
fn strict_sni_refuses() {
    let files = Files::new();
    let bind = Bind { strict_sni: true, ..listed(&files, "a.test.pem\n") };
    let loaded = acceptor(&bind, &global(&files), &stores()).unwrap().value;
    assert!(matches!(loaded.start(), Start::ByHello));
    assert_eq!(shown(&loaded, Some("a.test"), ALL), "a.test");
    assert_eq!(shown(&loaded, Some("b.test"), ALL), Refused.to_string());
    assert_eq!(shown(&loaded, None, ALL), Refused.to_string());
}

#[test]
fn lines_have_terms_of_their_own() {
    let files = Files::new();
    let text = "plain.test.pem\nh2.test.pem [alpn h2]\nold.test.pem [ssl-max-ver TLSv1.2 ciphers ECDHE-ECDSA-AES128-GCM-SHA256]\n\
                h3.test.pem [alpn h2]\n";
    let bind = Bind {
        profile: Profile { alpn: Some(vec![b"http/1.1".to_vec()]), ..Profile::default() },
        ..listed(&files, text)
    };
    let loaded = acceptor(&bind, &global(&files), &stores()).unwrap().value;
    let server = Server {
        verify: Some(Verify::None),
        profile: Profile { alpn: Some(vec![b"h2".to_vec(), b"http/1.1".to_vec()]), ..Profile::default() },
        ..Server::default()
    };
    let connector = load_server(&server);
    let check = |name: &str, alpn: &str, version| {
        let done = meet(&loaded, &connector, Some(name)).unwrap();
        assert_eq!(done.alpn.as_deref(), Some(alpn.as_bytes()), "{name}");
        assert_eq!(done.version, version, "{name}");
        done.suite
    };
    check("plain.test", "http/1.1", rustls::ProtocolVersion::TLSv1_3);
    check("h2.test", "h2", rustls::ProtocolVersion::TLSv1_3);
    let suite = check("old.test", "http/1.1", rustls::ProtocolVersion::TLSv1_2);
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
    let config = |name| loaded.choose(Some(name), ALL).unwrap();
    assert!(
        std::sync::Arc::ptr_eq(config("h2.test"), config("h3.test")),
        "equal terms share a configuration"
    );
}

#[test]
fn what_is_wrong_with_a_line_names_it() {
    let files = Files::new();
    let bind = listed(&files, "a.test.pem [ciphers FOO]\n");
    let errors = acceptor(&bind, &global(&files), &stores()).unwrap_err();
    assert!(errors[0].starts_with("unable to set SSL cipher list to 'FOO'"), "{errors:?}");
    files.write("the.list", "none.pem x\n\nnone2.pem [alpn h2]\n");
    let errors = acceptor(&bind, &global(&files), &stores()).unwrap_err();
    let list = files.path("the.list").display().to_string();
    assert_eq!(errors.len(), 2);
    assert!(
        errors[1].starts_with(&format!(
            "'crt-list' : parsing [{list}:3]: unable to stat SSL certificate from file"
        )),
        "{errors:?}"
    );
    files.write("the.list", "a.test.pem [ocsp-update on]\na.test.pem [ocsp-update off]\n");
    let errors = acceptor(&bind, &global(&files), &stores()).unwrap_err();
    assert!(errors[0].contains("different parameter 'ocsp-update' : previously 'on' vs 'off'"), "{errors:?}");
    let missing = Bind { lists: vec!["/none.list".into()], ..Bind::default() };
    let errors = acceptor(&missing, &global(&files), &stores()).unwrap_err();
    assert_eq!(errors[0], "'crt-list' : cannot open file '/none.list' : No such file or directory");
}

#[test]
fn versions_curves_and_signatures() {
    let files = Files::new();
    let bind = |profile: Profile| Bind { profile, ..listed(&files, "a.test.pem\nrsa-1.pem\n") };
    let server = |profile: Profile| Server { verify: Some(Verify::None), profile, ..Server::default() };
    let meet_with = |ours: Profile, theirs: Profile| {
        let loaded = acceptor(&bind(ours), &global(&files), &stores()).unwrap().value;
        meet(&loaded, &load_server(&server(theirs)), Some("a.test"))
    };
    let text = |text: &str| Some(text.to_owned());
    let only = |version| Profile { min: Some(version), max: Some(version), ..Profile::default() };
    assert!(
        meet_with(only(Version::Tls12), Profile::default()).unwrap().version
            == rustls::ProtocolVersion::TLSv1_2
    );
    assert!(meet_with(only(Version::Tls12), only(Version::Tls13)).is_err());
    let without = Profile { without: vec![Version::Tls13], ..Profile::default() };
    assert!(meet_with(without, Profile::default()).unwrap().version == rustls::ProtocolVersion::TLSv1_2);
    let curves = |names: &str| Profile { curves: text(names), ..Profile::default() };
    assert!(meet_with(curves("P-384"), Profile::default()).is_ok());
    assert!(meet_with(curves("P-384"), curves("X25519")).is_err());
    let sigalgs = |names: &str| Profile { sigalgs: text(names), ..Profile::default() };
    assert!(meet_with(sigalgs("ECDSA+SHA256"), Profile::default()).is_ok());
    assert!(meet_with(sigalgs("RSA-PSS+SHA384"), Profile::default()).is_err(), "an ECDSA key cannot sign so");
    assert!(meet_with(Profile::default(), sigalgs("ed25519")).is_err());
    // The server's order of suites counts unless said otherwise.
    let suites = |names: &str| Profile { ciphersuites: text(names), ..Profile::default() };
    let (one, other) =
        ("TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256");
    let done = meet_with(suites(one), suites(other)).unwrap();
    assert_eq!(done.suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    let bind = Bind { prefer_client_ciphers: true, ..bind(suites(one)) };
    let loaded = acceptor(&bind, &global(&files), &stores()).unwrap().value;
    let done = meet(&loaded, &load_server(&server(suites(other))), Some("a.test")).unwrap();
    assert_eq!(done.suite, rustls::CipherSuite::TLS13_AES_256_GCM_SHA384);
    let none = Bind {
        profile: Profile { min: Some(Version::Tls13), max: Some(Version::Tls12), ..Profile::default() },
        ..Bind::default()
    };
    assert!(
        acceptor(&none, &Global::default(), &stores()).unwrap_err()[0]
            .starts_with("all SSL/TLS versions are disabled")
    );
}

#[test]
fn certificates_are_made_for_unknown_names() {
    let files = Files::new();
    let authority = Authority::new("maker");
    let sign_file = files.write("maker.pem", authority.pem() + &authority.key_pem());
    let trusted = files.write("ca.pem", authority.pem());
    let bind = Bind { generate: true, sign_file: Some(sign_file), ..listed(&files, "a.test.pem\n") };
    let loaded = acceptor(&bind, &global(&files), &stores()).unwrap().value;
    let server = Server { ca_file: Some(trusted), ..Server::default() };
    let done = meet(&loaded, &load_server(&server), Some("made.test")).unwrap();
    assert_eq!(done.presented_names(), ["made.test"]);
    assert_eq!(shown(&loaded, Some("a.test"), ALL), "a.test");
    assert_eq!(shown(&loaded, None, ALL), "a.test");
    let errors = |file: Option<&str>| {
        let bind = Bind { sign_file: file.map(Into::into), ..bind.clone() };
        acceptor(&bind, &global(&files), &stores()).unwrap_err().join("|")
    };
    assert!(
        errors(None).starts_with("cannot enable certificate generation, no CA certificate File configured")
    );
    assert!(errors(Some("/none")).starts_with("Failed to read CA certificate file '/none'"));
}

/// The figures of the README: `cargo test --release -p sockeye-tls --test choice -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn ten_thousand_certificates() {
    use std::time::Instant;
    const COUNT: usize = 10_000;
    let files = Files::new();
    let authority = Authority::new("ca");
    let key = || rcgen::KeyPair::generate().unwrap();
    for number in 0..COUNT {
        let leaf = authority.leaf_of(
            &[&format!("host{number}.example.test"), &format!("*.w{number}.test")],
            key(),
            |_| {},
        );
        files.write(&format!("dir/{number}.pem"), leaf.full_pem());
    }
    let bind = Bind { certificates: vec![files.path("dir")], ..Bind::default() };
    // Of this thread, nanoseconds: the machine may be busy otherwise.
    let cpu = || -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    };
    let (start, cpu_start) = (Instant::now(), cpu());
    let stores = Stores::new(&Global::default(), SystemTime::now());
    let loaded = acceptor(&bind, &Global::default(), &stores).unwrap().value;
    let (load, load_cpu) = (start.elapsed(), std::time::Duration::from_nanos(cpu() - cpu_start));
    let names: Vec<String> = (0..COUNT).map(|number| format!("host{number}.example.test")).collect();
    let wild: Vec<String> = (0..COUNT).map(|number| format!("x.w{number}.test")).collect();
    let time = |names: &[String]| {
        let start = Instant::now();
        for name in names {
            loaded.choose(Some(name), ALL).unwrap();
        }
        start.elapsed() / u32::try_from(names.len()).unwrap()
    };
    let (exact, by_wildcard) = (time(&names), time(&wild));
    let unknown = time(&(0..COUNT).map(|number| format!("host{number}.other.test")).collect::<Vec<_>>());
    use std::io::Write;
    writeln!(
        std::io::stderr(),
        "{COUNT} certificates: loaded in {load:?} ({load_cpu:?} of CPU), name found in {exact:?}, wildcard in {by_wildcard:?}, no name in {unknown:?}"
    )
    .unwrap();
}
