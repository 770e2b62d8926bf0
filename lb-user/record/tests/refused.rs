//! A handshake that fails in the middle of a record ends with an alert, whatever else the record holds.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use sockeye_record::{Handshake, Step};

const ALERT: u8 = 21;
const RECORD_HEADER_BYTES: usize = 5;

fn server_config(version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder_with_protocol_versions(&[version])
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.enable_secret_extraction = true;
    Arc::new(config)
}

fn server(version: &'static SupportedProtocolVersion) -> Handshake {
    Handshake::server(server_config(version)).unwrap()
}

/// A client that trusts nobody.
fn client(version: &'static SupportedProtocolVersion) -> Handshake {
    let mut config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    Handshake::client(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// Steps until it fails; the answer to the failure.
fn refusal(side: &mut Handshake, mut incoming: Vec<u8>) -> (Error, Vec<u8>) {
    let mut out = Vec::new();
    loop {
        let (used, step) = side.step(&mut incoming, &mut out);
        incoming.drain(..used);
        match step {
            Ok(Step::Read) if used > 0 => {}
            Ok(step) => panic!("no failure but {step:?}"),
            Err(error) => return (error, out),
        }
    }
}

fn hello(client: &mut Handshake) -> Vec<u8> {
    let mut hello = Vec::new();
    client.step(&mut [], &mut hello).1.unwrap();
    hello
}

#[test]
fn a_client_refuses_a_certificate_that_more_messages_follow() {
    // In TLS 1.3 all that a server says comes in one record, in TLS 1.2 in several.
    for version in [&version::TLS13, &version::TLS12] {
        let mut client = client(version);
        let mut answer = Vec::new();
        server(version).step(&mut hello(&mut client), &mut answer).1.unwrap();
        let (error, out) = refusal(&mut client, answer);
        assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
        assert!(!out.is_empty(), "{version:?}");
    }
}

#[test]
fn a_server_refuses_a_hello_that_more_messages_follow() {
    let mut record = hello(&mut client(&version::TLS12));
    // An empty message of another kind, then the start of a third one.
    record.extend([0, 0, 0, 0, 1, 0]);
    let length = u16::try_from(record.len() - RECORD_HEADER_BYTES).unwrap();
    record[3..RECORD_HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    let (error, out) = refusal(&mut server(&version::TLS13), record);
    assert!(matches!(error, Error::PeerMisbehaved(_)), "{error}");
    assert_eq!(out[0], ALERT);
}

#[test]
fn noise_is_answered_with_one_alert() {
    for version in [&version::TLS13, &version::TLS12] {
        let noise = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
        let mut client = client(version);
        hello(&mut client);
        for mut side in [server(version), client] {
            let (error, out) = refusal(&mut side, noise.clone());
            assert!(matches!(error, Error::InvalidMessage(_)), "{error}");
            assert_eq!((out[0], out.len()), (ALERT, RECORD_HEADER_BYTES + 2));
        }
    }
}

/// Whatever follows the record that a handshake fails at.
#[test]
fn noise_behind_a_failure_changes_nothing() {
    for version in [&version::TLS13, &version::TLS12] {
        let mut client = client(version);
        let mut answer = Vec::new();
        server(version).step(&mut hello(&mut client), &mut answer).1.unwrap();
        answer.extend_from_slice(&[0x55; 100]);
        let (error, out) = refusal(&mut client, answer);
        assert!(matches!(error, Error::InvalidCertificate(_)), "{error}");
        assert!(!out.is_empty(), "{version:?}");
    }
}

static CONFIGS: LazyLock<[Arc<ServerConfig>; 2]> =
    LazyLock::new(|| [server_config(&version::TLS13), server_config(&version::TLS12)]);

/// Feeds a side until it fails or wants more than there is.
fn feed(side: &mut Handshake, bytes: &[u8], pieces: usize) {
    let (mut incoming, mut out) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(pieces) {
        incoming.extend_from_slice(piece);
        let (used, step) = side.step(&mut incoming, &mut out);
        incoming.drain(..used);
        if step.is_err() {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the peer changes, cuts or adds: an error at worst.
    #[test]
    fn nothing_that_a_peer_sends_panics(
        new in any::<bool>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        extra in proptest::collection::vec(any::<u8>(), 0..40),
        pieces in prop_oneof![Just(usize::MAX), 1usize..600],
    ) {
        let (version, config) = if new { (&version::TLS13, &CONFIGS[0]) } else { (&version::TLS12, &CONFIGS[1]) };
        let spoil = |mut bytes: Vec<u8>| {
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            bytes.extend_from_slice(&extra);
            bytes
        };
        let mut client = client(version);
        let mut hello = hello(&mut client);
        feed(&mut Handshake::server(Arc::clone(config)).unwrap(), &spoil(hello.clone()), pieces);
        let mut answer = Vec::new();
        Handshake::server(Arc::clone(config)).unwrap().step(&mut hello, &mut answer).1.unwrap();
        feed(&mut client, &spoil(answer), pieces);
    }
}
