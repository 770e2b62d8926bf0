//! Certificates of clients and servers: who is believed, and what OpenSSL calls the reasons against it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use sockeye_tls::settings::Ignored;
use sockeye_tls::{Verdict, acceptor};

struct Case {
    files: Files,
    authority: Authority,
}

impl Case {
    fn new() -> Self {
        let files = Files::new();
        let authority = Authority::new("ca");
        files.write("ca.pem", authority.pem());
        files.write("site.pem", authority.leaf(&["site.test"]).pem());
        Self { files, authority }
    }

    fn auth(&self, verify: Verify) -> ClientAuth {
        ClientAuth { verify, ca_file: Some(self.files.path("ca.pem")), ..ClientAuth::default() }
    }

    /// A handshake with a client that presents `pem`.
    fn present(&self, client: &ClientAuth, pem: Option<&str>) -> Result<Done, String> {
        let bind = Bind {
            certificates: vec![self.files.path("site.pem")],
            client: client.clone(),
            ..Bind::default()
        };
        let certificate = pem.map(|pem| self.files.write("client.pem", pem));
        let server = Server { verify: Some(Verify::None), certificate, ..Server::default() };
        handshake(&bind, &server, Some("site.test"))
    }
}

#[test]
fn verify_none_optional_and_required() {
    let case = Case::new();
    let good = case.authority.leaf(&["client.test"]).pem();
    let bad = Authority::new("stranger").leaf(&["client.test"]).pem();
    let check = |verify, pem: Option<&str>, expected: Result<usize, ()>| {
        let done = case.present(&case.auth(verify), pem);
        let count = done.map(|done| done.server.peer_certificates().map_or(0, <[_]>::len)).map_err(|_| ());
        assert_eq!(count, expected, "{verify:?}");
    };
    check(Verify::None, None, Ok(0));
    check(Verify::None, Some(&good), Ok(0));
    check(Verify::Optional, None, Ok(0));
    check(Verify::Optional, Some(&good), Ok(1));
    check(Verify::Optional, Some(&bad), Err(()));
    check(Verify::Required, None, Err(()));
    check(Verify::Required, Some(&good), Ok(1));
    check(Verify::Required, Some(&bad), Err(()));
    let nobody = ClientAuth { ca_file: None, ..case.auth(Verify::Required) };
    let bind = Bind { certificates: vec![case.files.path("site.pem")], client: nobody, ..Bind::default() };
    let errors = acceptor(&bind, &Global::default(), &stores()).unwrap_err();
    assert_eq!(errors, ["verify is enabled but no CA file specified."]);
}

/// Numbers as OpenSSL 3 gives them to `openssl verify` with the same certificates.
#[test]
fn errors_have_numbers_and_can_be_ignored() {
    let case = Case::new();
    let everything = ClientAuth {
        crt_ignore_err: Ignored::All,
        ca_ignore_err: Ignored::All,
        ..case.auth(Verify::Required)
    };
    let check = |pem: &str, expected: Verdict, what: &str| {
        let refused = case.present(&case.auth(Verify::Required), Some(pem));
        assert_eq!(refused.is_ok(), expected == Verdict::default(), "{what}");
        let done = case.present(&everything, Some(pem)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(done.verdict, expected, "{what}");
    };
    let leaf = |error, verify| Verdict { verify, error, ..Verdict::default() };
    let above = |verify, error, ca_error, ca_depth| Verdict { verify, error, ca_error, ca_depth };
    let authority = &case.authority;
    check(&authority.leaf(&["c.test"]).pem(), Verdict::default(), "good");
    let dated = |from, to| {
        authority.leaf_with(&["c.test"], |params| {
            params.not_before = date_time_ymd(from, 1, 1);
            params.not_after = date_time_ymd(to, 1, 1);
        })
    };
    check(&dated(2000, 2001).pem(), leaf(10, 10), "expired");
    check(&dated(2200, 2201).pem(), leaf(9, 9), "not yet valid");
    let stranger = Authority::new("stranger");
    check(&stranger.leaf(&["c.test"]).pem(), leaf(20, 21), "issuer unknown");
    check(&stranger.leaf(&["c.test"]).full_pem(), above(19, 0, 19, 1), "root unknown");
    check(&(stranger.pem() + &stranger.key_pem()), leaf(18, 18), "self-signed");
    let purpose = authority.leaf_with(&["c.test"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    });
    check(&purpose.pem(), leaf(26, 26), "for servers");
    // An authority of the same name whose key is another.
    check(&Authority::new("ca").leaf(&["c.test"]).pem(), leaf(7, 7), "forged");
    // Signed by somebody who is no authority.
    let end = authority.leaf(&["end.test"]);
    let params = named("end.test");
    let issuer = rcgen::Issuer::from_params(&params, &end.key);
    let key = KeyPair::generate().unwrap();
    let below = named("below.test").signed_by(&key, &issuer).unwrap();
    check(
        &(below.pem() + &end.certificate.pem() + &key.serialize_pem()),
        above(26, 0, 79, 1),
        "not an authority",
    );
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

#[test]
fn only_what_is_listed_is_ignored() {
    let case = Case::new();
    let expired = case.authority.leaf_with(&["c.test"], |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let check = |crt, ca, expected| {
        let client = ClientAuth { crt_ignore_err: crt, ca_ignore_err: ca, ..case.auth(Verify::Required) };
        assert_eq!(case.present(&client, Some(&expired.pem())).is_ok(), expected, "{client:?}");
    };
    check(Ignored::These(vec![10]), Ignored::Nothing, true);
    check(Ignored::These(vec![9, 20]), Ignored::Nothing, false);
    check(Ignored::Nothing, Ignored::All, false);
    check(Ignored::All, Ignored::Nothing, true);
}

#[test]
fn what_webpki_cannot_read_and_openssl_can() {
    let case = Case::new();
    // Version 1, without any extension: what `openssl x509 -req` made for decades.
    let trusted = ClientAuth {
        ca_file: Some(case.files.write("data.pem", data("ca.pem"))),
        ..case.auth(Verify::Required)
    };
    let v1 = data("v1.pem") + &data("v1.key");
    assert_eq!(case.present(&trusted, Some(&v1)).unwrap().verdict, Verdict::default());
    assert!(case.present(&case.auth(Verify::Required), Some(&v1)).is_err(), "another authority");
    // A self-signed certificate that is itself the ca-file.
    let own = Authority::new("own");
    let pinned =
        ClientAuth { ca_file: Some(case.files.write("own.pem", own.pem())), ..case.auth(Verify::Required) };
    assert!(case.present(&pinned, Some(&(own.pem() + &own.key_pem()))).is_ok());
    // The same towards servers.
    let site = case.files.write("own-site.pem", own.pem() + &own.key_pem());
    let bind = Bind { certificates: vec![site], ..Bind::default() };
    let server = Server { ca_file: Some(case.files.path("own.pem")), ..Server::default() };
    assert!(handshake(&bind, &server, None).is_ok());
    let stranger = Server { ca_file: Some(case.files.path("ca.pem")), ..Server::default() };
    assert!(handshake(&bind, &stranger, None).is_err());
    // A server of version 1 has no subjectAltName; its common name counts.
    let bind = Bind { certificates: vec![case.files.write("v1-site.pem", v1)], ..Bind::default() };
    let server = |name: &str| Server {
        ca_file: Some(case.files.path("data.pem")),
        verify_host: Some(name.to_owned()),
        ..Server::default()
    };
    assert!(handshake(&bind, &server("v1"), None).is_ok());
    assert!(handshake(&bind, &server("v2"), None).is_err());
}

#[test]
fn intermediate_authorities() {
    let case = Case::new();
    let intermediate = |change: fn(&mut CertificateParams)| {
        let mut params = named("middle");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &case.authority.issuer()).unwrap();
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = named("c.test").signed_by(&leaf_key, &rcgen::Issuer::from_params(&params, &key)).unwrap();
        (leaf.pem() + &leaf_key.serialize_pem(), certificate.pem())
    };
    let (leaf, middle) = intermediate(|_| {});
    let client = case.auth(Verify::Required);
    assert!(case.present(&client, Some(&format!("{leaf}{middle}"))).is_ok());
    assert!(case.present(&client, Some(&leaf)).is_err());
    // What ca-verify-file holds is trusted, but clients are not told of it.
    let root = case.authority.pem();
    let both = ClientAuth {
        ca_file: Some(case.files.write("middle.pem", &middle)),
        ca_verify_file: Some(case.files.write("root.pem", root)),
        ..client.clone()
    };
    assert!(case.present(&both, Some(&leaf)).is_ok());
    let (leaf, middle) = intermediate(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let ignoring = ClientAuth { ca_ignore_err: Ignored::All, ..client };
    let done = case.present(&ignoring, Some(&format!("{leaf}{middle}")));
    assert_eq!(done.map(|done| (done.verdict.ca_error, done.verdict.ca_depth)), Ok((79, 1)));
}

#[test]
fn revoked_certificates() {
    let case = Case::new();
    let numbered = |number: u8| {
        case.authority
            .leaf_with(&["c.test"], |params| params.serial_number = Some(SerialNumber::from_slice(&[number])))
    };
    let list = |until: i32| {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from_slice(&[7]),
                revocation_time: date_time_ymd(2021, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&case.authority.issuer()).unwrap().pem().unwrap()
    };
    let client = |list: String| ClientAuth {
        crl_file: Some(case.files.write("list.pem", list)),
        crt_ignore_err: Ignored::These(vec![]),
        ..case.auth(Verify::Required)
    };
    let current = client(list(2200));
    assert!(case.present(&current, Some(&numbered(8).pem())).is_ok());
    assert!(case.present(&current, Some(&numbered(7).pem())).is_err());
    let ignoring = ClientAuth { crt_ignore_err: Ignored::All, ca_ignore_err: Ignored::All, ..current };
    assert_eq!(case.present(&ignoring, Some(&numbered(7).pem())).unwrap().verdict.error, 23);
    assert!(case.present(&client(list(2022)), Some(&numbered(8).pem())).is_err(), "the list is too old");
    let bad = client("noise".to_owned());
    let bind = Bind { certificates: vec![case.files.path("site.pem")], client: bad, ..Bind::default() };
    let errors = acceptor(&bind, &Global::default(), &stores()).unwrap_err();
    assert!(errors[0].ends_with("(no certificate or crl found)."), "{errors:?}");
    assert!(errors[1].starts_with("'crl-file' : unable to load "), "{errors:?}");
}

#[test]
fn directories_of_authorities() {
    let case = Case::new();
    case.files.write("cas/a.pem", case.authority.pem());
    case.files.write("cas/.b.pem", "noise");
    case.files.write("cas/c.txt", "noise");
    let good = case.authority.leaf(&["client.test"]).pem();
    let client = ClientAuth { ca_file: Some(case.files.path("cas")), ..case.auth(Verify::Required) };
    assert!(case.present(&client, Some(&good)).is_ok());
    let errors = |file: &str| {
        let server = Server { ca_file: Some(file.into()), ..Server::default() };
        sockeye_tls::connector(&server, &Global::default(), &stores()).unwrap_err().join("|")
    };
    assert_eq!(
        errors("/none.pem"),
        "Couldn't open the ca-file '/none.pem' (No such file or directory).|'ca-file' : unable to load /none.pem"
    );
    let without = sockeye_tls::connector(&Server::default(), &Global::default(), &stores()).unwrap_err();
    assert!(without[0].starts_with("verify is enabled by default but no CA file specified."));
}
