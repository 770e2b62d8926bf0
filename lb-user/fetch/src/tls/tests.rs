//! Values of HAProxy 3.2 for certificates and connections that it was shown.

use aws_lc_rs::digest;
use sockeye_sample::tls::{EarlyData, HelloCapture, OpenSslError, Secrets, TlsFacts, TlsSide, Verification};

use crate::testing::{Case, check, check_refused};

macro_rules! der {
    ($name:literal) => {
        include_bytes!(concat!("../../testdata/tls/", $name, ".der")).as_slice()
    };
}

const VALUES: &str = include_str!("../../testdata/tls/values.txt");

/// The subject of a test authority, by the end of its name in the certificate that it signed.
fn subject(der: &[u8]) -> Box<[u8]> {
    super::certificate::Certificate::parse(der).unwrap().subject.into()
}

/// What the daemon knows of a client with these certificates, after a handshake like the recorded one.
fn client(chain: &[&[u8]], root: Option<&[u8]>, error: u32) -> TlsFacts {
    TlsFacts {
        peer_certificate_sent: !chain.is_empty(),
        peer_chain: chain.iter().map(|der| (*der).into()).collect(),
        root_subject: root.map(subject),
        verification: Verification { result: error, leaf_error: error, ..Verification::default() },
        own_certificate: Some(der!("server").into()),
        ..agreed()
    }
}

fn agreed() -> TlsFacts {
    TlsFacts {
        established: true,
        version: Some(0x304),
        cipher: Some(0x1302),
        group: Some(29),
        sni: Some(b"localhost".as_slice().into()),
        alpn: Some(b"http/1.1".as_slice().into()),
        ..TlsFacts::default()
    }
}

/// What each section of the recorded values was told of.
fn section(name: &str) -> Case {
    let (intermediate, root) = (der!("intermediate"), der!("root"));
    let client = match name {
        "many-fields" => client(&[der!("many-fields"), intermediate], Some(root), 0),
        "ec-two-in-one-set" => client(&[der!("ec-two-in-one-set")], Some(root), 0),
        "ed25519-version1" => client(&[der!("ed25519-version1"), intermediate], Some(root), 0),
        "rsa-pss" => client(&[der!("rsa-pss"), intermediate], Some(root), 0),
        "self-signed" => client(&[der!("self-signed")], Some(der!("self-signed")), 18),
        "expired" => client(&[der!("expired")], Some(root), 10),
        "bmp-latin1" => client(&[der!("bmp-latin1")], Some(der!("bmp-latin1")), 18),
        "zero-bytes" => client(&[der!("zero-bytes")], Some(der!("zero-bytes")), 18),
        "rare-fields" => client(&[der!("rare-fields")], Some(der!("rare-fields")), 18),
        "none" => TlsFacts { sni: None, ..client(&[], None, 0) },
        "server" => {
            let chain = vec![der!("server").into(), intermediate.into()];
            let facts = TlsFacts { peer_chain: chain, group: Some(0x11ec), ..agreed() };
            return Case::response("HTTP/1.1 200 OK\r\n\r\n").tls(TlsSide::Back, facts);
        }
        "server-clear" => return Case::response("HTTP/1.1 200 OK\r\n\r\n"),
        "clear" => return Case::default(),
        other => panic!("no section {other}"),
    };
    Case::default().tls(TlsSide::Front, client)
}

/// The value as text, `,hex` and `,sha2(256),hex` behind the expression applied.
fn evaluate(case: &Case, text: &str) -> String {
    let (fetch, converters) =
        text.split_once(",sha2").or_else(|| text.split_once(",hex")).unwrap_or((text, "-"));
    let Some(value) = case.eval(fetch).value else { return String::new() };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    match converters {
        "-" => value,
        "" => hex(&unescape(&value)),
        _ => hex(digest::digest(&digest::SHA256, &unescape(&value)).as_ref()),
    }
}

/// The opposite of `escape_ascii`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, length) = match (first, after) {
            (b'\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                (u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap(), 4)
            }
            (b'\\', [escaped, ..]) => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                };
                (byte, 2)
            }
            _ => (*first, 1),
        };
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes
}

#[test]
fn recorded_values() {
    let mut case = Case::default();
    let mut title = "";
    for line in VALUES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            title = name.trim_end_matches(']');
            case = section(title);
            continue;
        }
        let (text, expected) = line.split_once(" =").unwrap();
        let expected = expected.strip_prefix(' ').unwrap_or_default();
        assert_eq!(evaluate(&case, text), expected, "{title}: {text}");
    }
}

/// A client that offers what OpenSSL does, and one of Chrome's GREASE numbers in each list.
#[test]
fn hello() {
    let capture = HelloCapture {
        version: 0x303,
        ciphers: b"\x0a\x0a\xee\xee\0\x2e\0\xff\x56\0".as_slice().into(),
        ciphers_hash: -4_269_161_734_638_793_816_i64 as u64,
        extensions: b"\x1a\x1a\0\0\0\x0a\0\x0b\0\x10\0\x0d\0\x2b\x5a\x5a".as_slice().into(),
        groups: b"\x2a\x2a\0\x1d\0\x17".as_slice().into(),
        point_formats: b"\0\x01".as_slice().into(),
        signatures: b"\x3a\x3a\x04\x03\x08\x07".as_slice().into(),
        versions: b"\x4a\x4a\x03\x04\x03\x03".as_slice().into(),
    };
    let case = Case::default().tls(TlsSide::Front, TlsFacts { hello: Some(capture), ..agreed() });
    check(
        &case,
        &[
            ("ssl_fc_protocol_hello_id", Some("771")),
            ("ssl_fc_cipherlist_hex", Some("0A0AEEEE002E00FF5600")),
            ("ssl_fc_cipherlist_hex(1)", Some("EEEE002E00FF5600")),
            ("ssl_fc_cipherlist_bin(0)", Some("\\n\\n\\xee\\xee\\x00.\\x00\\xffV\\x00")),
            (
                "ssl_fc_cipherlist_str",
                Some(
                    "UNKNOWN(0a0a),UNKNOWN(eeee),RSA-PSK-NULL-SHA,TLS_EMPTY_RENEGOTIATION_INFO_SCSV,TLS_FALLBACK_SCSV",
                ),
            ),
            (
                "ssl_fc_cipherlist_str(1)",
                Some("UNKNOWN(eeee),RSA-PSK-NULL-SHA,TLS_EMPTY_RENEGOTIATION_INFO_SCSV,TLS_FALLBACK_SCSV"),
            ),
            ("ssl_fc_cipherlist_xxh", Some("-4269161734638793816")),
            ("ssl_fc_extlist_bin(1)", Some("\\x00\\x00\\x00\\n\\x00\\x0b\\x00\\x10\\x00\\r\\x00+")),
            ("ssl_fc_eclist_bin", Some("**\\x00\\x1d\\x00\\x17")),
            ("ssl_fc_eclist_bin(1)", Some("\\x00\\x1d\\x00\\x17")),
            ("ssl_fc_ecformats_bin", Some("\\x00\\x01")),
            ("ssl_fc_sigalgs_bin(1)", Some("\\x04\\x03\\x08\\x07")),
            ("ssl_fc_supported_versions_bin(1)", Some("\\x03\\x04\\x03\\x03")),
        ],
    );
    // TLS 1.2 clients name no versions; nothing is kept without a buffer.
    let few = HelloCapture { version: 0x303, ..HelloCapture::default() };
    let case = Case::default().tls(TlsSide::Front, TlsFacts { hello: Some(few), ..agreed() });
    check(&case, &[("ssl_fc_supported_versions_bin", None), ("ssl_fc_cipherlist_str", None)]);
    let case = Case::default().tls(TlsSide::Front, agreed());
    check(&case, &[("ssl_fc_protocol_hello_id", None), ("ssl_fc_cipherlist_xxh", None)]);
}

/// As in HAProxy's log of handshakes that failed.
#[test]
fn failed_handshakes() {
    let failed = TlsFacts {
        version: Some(0x303),
        peer_chain: vec![der!("self-signed").into()],
        verification: Verification { result: 18, leaf_error: 18, ..Verification::default() },
        error: Some(OpenSslError::of_reason(134)),
        ..TlsFacts::default()
    };
    check(
        &Case::default().tls(TlsSide::Front, failed),
        &[
            ("ssl_fc", Some("1")),
            ("ssl_fc_err", Some("167772294")),
            ("ssl_fc_err_str", Some("error:0A000086:SSL routines::certificate verify failed")),
            ("ssl_fc_protocol", Some("TLSv1.2")),
            ("ssl_fc_cipher", Some("(NONE)")),
            ("ssl_fc_alg_keysize", None),
            ("ssl_fc_session_id", None),
            ("ssl_fc_has_crt", None),
            ("ssl_fc_has_sni", Some("0")),
            ("ssl_c_used", Some("1")),
            ("ssl_c_verify", None),
            ("ssl_c_err", Some("18")),
            ("ssl_c_ca_err", Some("0")),
            ("ssl_c_s_dn", Some("/CN=self")),
        ],
    );
    let authority = Verification { result: 10, authority_error: 10, authority_depth: 2, leaf_error: 0 };
    check(
        &Case::default().tls(TlsSide::Front, TlsFacts { verification: authority, ..agreed() }),
        &[("ssl_c_verify", Some("10")), ("ssl_c_ca_err", Some("10")), ("ssl_c_ca_err_depth", Some("2"))],
    );
}

#[test]
fn sessions_and_secrets() {
    let mut secrets = Secrets::default();
    secrets.keep("CLIENT_RANDOM", b"master");
    secrets.keep("SERVER_TRAFFIC_SECRET_0", b"\x01\xab");
    secrets.keep("EARLY_EXPORTER_SECRET", b"\xff");
    secrets.keep("ECH_SECRET", b"\xff");
    let facts = TlsFacts {
        resumed: true,
        session_id: b"id".as_slice().into(),
        client_random: Some([b'c'; 32]),
        server_random: Some([b's'; 32]),
        secrets: Some(Box::new(secrets)),
        own_certificate_name: Some("site.pem".into()),
        ..agreed()
    };
    let rows = [
        ("_is_resumed", Some("1")),
        ("_session_id", Some("id")),
        ("_session_key", Some("master")),
        ("_client_random", Some("cccccccccccccccccccccccccccccccc")),
        ("_server_random", Some("ssssssssssssssssssssssssssssssss")),
        ("_server_traffic_secret_0", Some("01ab")),
        ("_early_exporter_secret", Some("ff")),
        ("_client_traffic_secret_0", None),
        ("_client_early_traffic_secret", None),
        ("_client_handshake_traffic_secret", None),
        ("_server_handshake_traffic_secret", None),
        ("_exporter_secret", None),
    ];
    let front = Case::default().tls(TlsSide::Front, facts.clone());
    let back = Case::response("HTTP/1.1 200 OK\r\n\r\n").tls(TlsSide::Back, facts);
    for (word, expected) in rows {
        check(&front, &[(&format!("ssl_fc{word}"), expected)]);
        if !word.contains("secret") && !word.contains("key") {
            check(&back, &[(&format!("ssl_bc{word}"), expected)]);
        }
    }
    check(&front, &[("ssl_fc_crtname", Some("site.pem")), ("ssl_fc_early_rcvd", Some("0"))]);
    // The certificate of the first handshake is used, but was not sent again.
    let resumed = TlsFacts { peer_certificate_sent: false, ..client(&[der!("self-signed")], None, 0) };
    check(
        &Case::default().tls(TlsSide::Front, resumed),
        &[("ssl_c_used", Some("1")), ("ssl_fc_has_crt", Some("0")), ("ssl_c_chain_der", None)],
    );
    for (early_data, has_early, received) in
        [(EarlyData::None, "0", "0"), (EarlyData::Unconfirmed, "1", "1"), (EarlyData::Confirmed, "0", "1")]
    {
        check(
            &Case::default().tls(TlsSide::Front, TlsFacts { early_data, ..agreed() }),
            &[("ssl_fc_has_early", Some(has_early)), ("ssl_fc_early_rcvd", Some(received))],
        );
    }
}

#[test]
fn refused_words() {
    check_refused(&[
        ("ssl_c_s_dn(cn,1,x)", "only rfc2253 or a blank value are currently supported"),
        ("ssl_fc_unique_id", "known to HAProxy but not implemented"),
    ]);
}

#[test]
fn what_a_proxy_header_tells() {
    let check = |facts: &TlsFacts, name: Option<&str>, own: Option<(&str, &str)>| {
        assert_eq!(super::client_common_name(facts), name.map(str::as_bytes));
        let told = super::own_key(facts).zip(super::own_signature(facts));
        assert_eq!(told.as_ref().map(|(key, signature)| (key.as_str(), *signature)), own);
    };
    check(&TlsFacts::default(), None, None);
    let mut facts = client(&[der!("ec-two-in-one-set")], None, 0);
    check(&facts, Some("ec client"), Some(("EC256", "RSA-SHA256")));
    facts.own_certificate = Some(der!("ec-two-in-one-set").into());
    check(&facts, Some("ec client"), Some(("EC384", "ecdsa-with-SHA512")));
    facts.own_certificate = Some(der!("many-fields").into());
    check(&facts, Some("ec client"), Some(("RSA2048", "RSA-SHA256")));
    facts.own_certificate = Some(der!("ed25519-version1").into());
    check(&facts, Some("ec client"), None);
}
