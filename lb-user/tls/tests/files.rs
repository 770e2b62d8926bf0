//! What is read from files, and what is said about those that are of no use.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::*;
use sockeye_tls::settings::{ExtraFiles, Load, Source};
use sockeye_tls::{OcspFault, Stores, acceptor};

/// Errors and warnings of a bind line with `certificates`, with the directory taken out.
fn said(files: &Files, certificates: &[&str], global: &Global) -> (Vec<String>, Vec<String>) {
    let bind =
        Bind { certificates: certificates.iter().map(|name| files.path(name)).collect(), ..Bind::default() };
    let stores = Stores::new(global, SystemTime::now());
    let (errors, warnings) = match acceptor(&bind, global, &stores) {
        Ok(loaded) => (Vec::new(), loaded.warnings),
        Err(errors) => (errors, Vec::new()),
    };
    let directory = files.path("").display().to_string();
    let short = |lines: Vec<String>| lines.into_iter().map(|line| line.replace(&directory, "")).collect();
    (short(errors), short(warnings))
}

#[test]
fn files_that_are_of_no_use() {
    let files = Files::new();
    let (rsa, rsa_key) = (data("rsa.pem"), data("rsa.key"));
    let check = |name: &str, content: &str, expected: &str| {
        files.write(name, content);
        let (errors, _) = said(&files, &[name], &Global::default());
        assert_eq!(errors.len(), 1, "{name}: {errors:?}");
        assert!(errors[0].starts_with(expected), "{name}: {}", errors[0]);
    };
    let context = "unable to load SSL certificate into SSL Context";
    let load = "unable to load certificate from file";
    check(
        "weak.pem",
        &(data("rsa1024.pem") + &data("rsa1024.key")),
        &format!("{context} 'weak.pem': ee key too small. It has 1024 bits"),
    );
    check(
        "mismatch.pem",
        &(rsa.clone() + &data("ed.key")),
        "inconsistencies between private key and certificate loaded 'mismatch.pem'.",
    );
    check("nokey.pem", &rsa, "No Private Key found in 'nokey.pem.key'.");
    check("onlykey.pem", &rsa_key, &format!("{load} 'onlykey.pem': no start line."));
    check("empty.pem", "", &format!("{load} 'empty.pem': no start line. The file is empty."));
    check("noise.pem", "hello\n", &format!("{load} 'noise.pem': no start line."));
    check(
        "cut.pem",
        &rsa[..200],
        &format!("{load} 'cut.pem': bad end line: '-----END CERTIFICATE-----' is missing"),
    );
    check(
        "bad.pem",
        &format!("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n{rsa_key}"),
        &format!("{load} 'bad.pem': bad base64 decode."),
    );
    check(
        "der.pem",
        &format!("-----BEGIN CERTIFICATE-----\nMIIBAAAA\n-----END CERTIFICATE-----\n{rsa_key}"),
        &format!("{context} 'der.pem': the certificate cannot be read as X.509: its DER is damaged."),
    );
    check(
        "enc1.pem",
        &(rsa.clone() + &data("encrypted1.key")),
        "the private key in 'enc1.pem' is encrypted with a passphrase",
    );
    check(
        "enc8.pem",
        &(rsa.clone() + &data("encrypted8.key")),
        "the private key in 'enc8.pem' is encrypted with a passphrase",
    );
    check(
        "dsa.pem",
        &(data("dsa.pem") + &data("dsa.key")),
        "unable to load private key from file 'dsa.pem': a DSA key",
    );
    let (errors, _) = said(&files, &["missing.pem"], &Global::default());
    assert_eq!(
        errors,
        ["unable to stat SSL certificate from file 'missing.pem' : No such file or directory."]
    );
    files.write("raw.pem", [0x30, 0x82, 1, 2]);
    assert!(
        said(&files, &["raw.pem"], &Global::default()).0[0]
            .contains("It is DER: convert it with openssl x509")
    );
    // All that is wrong with a line is said at once.
    assert_eq!(said(&files, &["nokey.pem", "noise.pem", "missing.pem"], &Global::default()).0.len(), 3);
}

#[test]
fn keys_of_all_kinds_in_any_order() {
    let files = Files::new();
    let ca = data("ca.pem");
    for name in ["rsa", "ed", "p384", "p521"] {
        let (certificate, key) = (data(&format!("{name}.pem")), data(&format!("{name}.key")));
        for text in [
            format!("{certificate}{key}"),
            format!("{key}{certificate}{ca}"),
            format!("text\n{certificate}{ca}\n{key}"),
        ] {
            let bind = Bind { certificates: vec![files.write("x.pem", text)], ..Bind::default() };
            let server = Server { verify: Some(Verify::None), ..Server::default() };
            let done = handshake(&bind, &server, None).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(done.presented_names(), [format!("{name}.test")]);
        }
    }
}

#[test]
fn expired_and_future_certificates_are_warned_of() {
    let files = Files::new();
    let authority = Authority::new("ca");
    let check = |from: i32, to: i32, expected: &str| {
        let leaf = authority.leaf_with(&["a.test"], |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        });
        files.write("a.pem", leaf.pem());
        let (errors, warnings) = said(&files, &["a.pem"], &Global::default());
        assert!(errors.is_empty());
        assert!(
            warnings.join("|").contains(expected) && warnings.is_empty() == expected.is_empty(),
            "{warnings:?}"
        );
    };
    check(2000, 2001, "certificate 'a.pem' has expired, clients will refuse it: renew it.");
    check(2200, 2201, "certificate 'a.pem' is not valid yet");
    check(2000, 2200, "");
}

#[test]
fn neighbours_and_bundles() {
    let files = Files::new();
    let authority = Authority::new("ca");
    let leaf = authority.leaf(&["a.test"]);
    files.write("a.crt", leaf.certificate.pem());
    let key = leaf.key.serialize_pem();
    let fine = |name: &str, global: &Global| said(&files, &[name], global).0.is_empty();
    let global = Global::default();
    assert!(!fine("a.crt", &global));
    files.write("a.crt.key", &key);
    assert!(fine("a.crt", &global));
    let none = ExtraFiles { bundle: false, sctl: false, ocsp: false, issuer: false, key: false };
    assert!(!fine("a.crt", &Global { extra_files: none, ..Global::default() }));
    let del_ext = Global { extra_del_ext: true, ..Global::default() };
    assert!(!fine("a.crt", &del_ext));
    files.write("a.key", &key);
    assert!(fine("a.crt", &del_ext));

    files.write("site.pem.ecdsa", authority.leaf(&["site.test"]).pem());
    files.write("site.pem.rsa", data("rsa.pem") + &data("rsa.key"));
    assert!(fine("site.pem", &global));
    assert!(!fine("site.pem", &Global { extra_files: none, ..Global::default() }));
    let bind = Bind { certificates: vec![files.path("site.pem")], ..Bind::default() };
    let kinds: Vec<_> = load(&bind).certificates().map(|certificate| certificate.kind().name()).collect();
    assert_eq!(kinds, ["RSA", "EC"]);
    files.write("a.crt.sctl", "x");
    assert!(said(&files, &["a.crt"], &global).1[0].starts_with("'a.crt.sctl' is not sent"));
}

#[test]
fn directories() {
    let files = Files::new();
    let authority = Authority::new("ca");
    for name in ["b", "a", "c"] {
        files.write(&format!("dir/{name}.pem"), authority.leaf(&[&format!("{name}.test")]).pem());
    }
    files.write("dir/.hidden.pem", "noise");
    files.write("dir/a.pem.issuer", authority.pem());
    files.write("dir/x.key", "noise");
    let bind = Bind { certificates: vec![files.path("dir")], ..Bind::default() };
    let names: Vec<_> =
        load(&bind).certificates().map(|certificate| certificate.names()[0].to_string()).collect();
    assert_eq!(names, ["a.test", "b.test", "c.test"]);
    files.write("dir/noise.pem", "noise");
    files.write("dir/nokey.pem", data("rsa.pem"));
    let (errors, _) = said(&files, &["dir"], &Global::default());
    assert_eq!(errors.len(), 2, "{errors:?}");
    files.write("empty/.hidden", "");
    let (errors, _) = said(&files, &["empty"], &Global::default());
    assert_eq!(errors, ["no SSL certificate specified (use 'crt')."]);
    let strict = Bind { certificates: vec![files.path("empty")], strict_sni: true, ..Bind::default() };
    let loaded = acceptor(&strict, &Global::default(), &stores()).unwrap();
    assert_eq!(loaded.warnings, ["no SSL certificate specified, ssl connections will fail (use 'crt')."]);
}

#[test]
fn stores_by_name() {
    let files = Files::new();
    let leaf = Authority::new("ca").leaf(&["a.test"]);
    let certificate = files.write("a.crt", leaf.certificate.pem());
    let key = files.write("secret", leaf.key.serialize_pem());
    let stores = stores();
    let load = Load { name: "@web/a".to_owned(), certificate, key: Some(key), ..Load::default() };
    stores.add(&load).unwrap();
    let bind = |name: &str| Bind { certificates: vec![name.into()], ..Bind::default() };
    assert!(acceptor(&bind("@web/a"), &Global::default(), &stores).is_ok());
    let errors = acceptor(&bind("@web/b"), &Global::default(), &stores).unwrap_err();
    assert!(
        errors[0]
            .starts_with("unable to stat SSL certificate from file '@web/b' : No such file or directory.")
    );
    let by_file = Bind { certificates: vec![files.path("a.crt")], ..Bind::default() };
    assert!(acceptor(&by_file, &Global::default(), &stores).is_ok(), "with the key of the crt-store");
    let without = Load { key: Some("/none".into()), ..load };
    assert_eq!(
        stores.add(&without).unwrap_err()[0].split('.').next(),
        Some("No Private Key found in '/none'")
    );
}

#[test]
fn chains_are_completed() {
    let files = Files::new();
    let authority = Authority::new("ca");
    let leaf = authority.leaf(&["a.test"]);
    let path = files.write("a.pem", leaf.pem());
    files.write("chains/ca.pem", authority.pem());
    let bind = Bind { certificates: vec![path], ..Bind::default() };
    let length = |global: &Global| {
        let loaded = acceptor(&bind, global, &Stores::new(global, SystemTime::now())).unwrap().value;
        loaded.certificates().map(|certificate| certificate.presented().cert.len()).next()
    };
    assert_eq!(length(&Global::default()), Some(1));
    assert_eq!(length(&Global { issuers_chain: Some(files.path("chains")), ..Global::default() }), Some(2));
    files.write("a.pem", leaf.full_pem());
    assert_eq!(length(&Global::default()), Some(2));
    assert_eq!(length(&Global { skip_self_issued_ca: true, ..Global::default() }), Some(1));
}

/// Two days after the responses were made.
fn of_the_data() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_440_000)
}

fn response(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

#[test]
fn staples() {
    let files = Files::new();
    let chain = data("ocsp.pem") + &data("ca.pem") + &data("v1.key");
    let bind = Bind { certificates: vec![files.write("o.pem", &chain)], ..Bind::default() };
    let stores = Stores::new(&Global::default(), of_the_data());
    let loaded = acceptor(&bind, &Global::default(), &stores).unwrap().value;
    let certificate = loaded.certificates().next().unwrap();
    let check = |name: &str, days: u64, expected: Result<bool, OcspFault>| {
        let now = of_the_data() + Duration::from_secs(days * 86_400);
        assert_eq!(
            certificate.staple(response(name), now).map(|until| until.is_some()),
            expected,
            "{name} {days}"
        );
    };
    check("good.ocsp", 0, Ok(true));
    check("good.ocsp", 30, Err(OcspFault::TooLate));
    check("forever.ocsp", 10_000, Ok(false));
    check("revoked.ocsp", 0, Err(OcspFault::Other));
    check("two.ocsp", 0, Err(OcspFault::Count(2)));
    check("unknown.ocsp", 0, Err(OcspFault::Other));
    check("ca.pem", 0, Err(OcspFault::Damaged));
    let long_ago = certificate.staple(response("good.ocsp"), UNIX_EPOCH);
    assert_eq!(long_ago, Err(OcspFault::TooEarly));
    assert_eq!(certificate.presented().ocsp, Some(response("forever.ocsp")), "the last good one");
    // What clients get.
    let server = Server { verify: Some(Verify::None), ..Server::default() };
    let done = meet(&loaded, &load_server(&server), None).unwrap();
    assert_eq!(done.facts.presented.unwrap().ocsp, Some(response("forever.ocsp")));
    certificate.unstaple();
    assert_eq!(certificate.presented().ocsp, None);
    let request = certificate.ocsp_request().unwrap();
    assert_eq!(request.uri, "http://responder.test/x");
    // As OpenSSL makes it (`openssl ocsp -no_nonce`).
    let address = "http://responder.test/x/MEIwQDA%2BMDwwOjAJBgUrDgMCGgUABBRTBOBAE1dQtDMEVw8XIXCS0kmyKgQUGbJo1eEQ0eAH2En6VVjpPUYv4rYCARI%3D";
    assert_eq!(request.get().as_deref(), Some(address));

    // The revoked one, whose issuer is in a file of its own.
    let v1 = data("v1.pem") + &data("v1.key");
    let path = files.write("v1.pem", v1);
    files.write("v1.pem.ocsp", response("revoked.ocsp"));
    let bind = Bind { certificates: vec![path], ..Bind::default() };
    let errors = acceptor(&bind, &Global::default(), &stores).unwrap_err();
    assert!(
        errors[0].contains(
            "is present and activates OCSP but it is impossible to compute the OCSP certificate ID"
        ),
        "{errors:?}"
    );
    files.write("v1.pem.issuer", data("ca.pem"));
    let loaded = acceptor(&bind, &Global::default(), &stores).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let revoked = loaded.value.certificates().next().unwrap().presented().ocsp.clone();
    assert_eq!(revoked, Some(response("revoked.ocsp")), "clients learn it");
}

#[test]
fn responses_from_the_network_must_be_signed() {
    let files = Files::new();
    let chain = data("ocsp.pem") + &data("ca.pem") + &data("v1.key");
    let bind = Bind { certificates: vec![files.write("o.pem", &chain)], ..Bind::default() };
    let stores = Stores::new(&Global::default(), of_the_data());
    let loaded = acceptor(&bind, &Global::default(), &stores).unwrap().value;
    let certificate = loaded.certificates().next().unwrap();
    let check = |name: &str, expected: Result<(), OcspFault>| {
        certificate.unstaple();
        let found = certificate.staple_fetched(response(name), of_the_data());
        assert_eq!(found.map(|_| ()), expected, "{name}");
        assert_eq!(certificate.presented().ocsp.is_some(), expected.is_ok(), "{name}");
    };
    check("good.ocsp", Ok(()));
    check("delegated.ocsp", Ok(()));
    check("undelegated.ocsp", Err(OcspFault::Signature));
    check("stranger.ocsp", Err(OcspFault::Signature));
    // Every byte of what is signed counts, and of the signature.
    for place in 30..279 {
        let mut broken = response("good.ocsp");
        broken[place] ^= 1;
        assert!(certificate.staple_fetched(broken, of_the_data()).is_err(), "{place}");
    }
    // A responder whose own certificate has run out, by which time the response has, too.
    let later = of_the_data() + Duration::from_secs(30 * 86_400);
    assert_eq!(certificate.staple_fetched(response("delegated.ocsp"), later), Err(OcspFault::Signature));
}

#[test]
fn updates_need_the_issuer() {
    let files = Files::new();
    let stores = Stores::new(&Global::default(), of_the_data());
    let load = Load {
        name: "@s/o".to_owned(),
        certificate: files.write("o.pem", data("ocsp.pem") + &data("v1.key")),
        ocsp_update: true,
        ..Load::default()
    };
    let errors = stores.add(&load).unwrap_err();
    assert!(errors[0].contains("has an OCSP auto-update set to 'on' but an error occurred"), "{errors:?}");
    files.write("ca.pem", data("ca.pem"));
    let load = Load { issuer: Some(files.path("ca.pem")), ..load };
    assert!(stores.add(&load).unwrap().value.wants_ocsp_update());
}

#[test]
fn default_certificates_follow_the_line() {
    let files = Files::new();
    let authority = Authority::new("ca");
    for name in ["a", "b", "c"] {
        files.write(&format!("{name}.pem"), authority.leaf(&[&format!("{name}.test")]).pem());
    }
    files.write("l.list", format!("{} l.test\n", files.path("c.pem").display()));
    let presented = |order: &[Source]| {
        let bind = Bind {
            certificates: vec![files.path("a.pem")],
            default_certificates: vec![files.path("b.pem")],
            lists: vec![files.path("l.list")],
            order: order.to_vec(),
            ..Bind::default()
        };
        let server = Server { verify: Some(Verify::None), ..Server::default() };
        handshake(&bind, &server, Some("unknown.test")).unwrap().presented_names().join(",")
    };
    use Source::{Certificate, DefaultCertificate, List};
    assert_eq!(presented(&[]), "b.test");
    assert_eq!(presented(&[Certificate, DefaultCertificate, List]), "a.test");
    assert_eq!(presented(&[DefaultCertificate, Certificate]), "b.test");
    assert_eq!(presented(&[List]), "c.test");
}
