//! Both ends of a handshake tell the same random bytes, and the session's id where there is one.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use sockeye_record::{Handshake, Hellos, Step};

/// A server that knows these groups only, and a client that trusts it.
fn configs(
    version: &'static SupportedProtocolVersion,
    groups: &[&'static dyn SupportedKxGroup],
) -> (ServerConfig, ClientConfig) {
    let provider = CryptoProvider { kx_groups: groups.to_vec(), ..aws_lc_rs::default_provider() };
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut server = ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.enable_secret_extraction = true;
    let mut client = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    (server, client)
}

/// Shakes hands in memory; what client and server have seen of the hellos.
fn shake(server: ServerConfig, client: ClientConfig) -> [Hellos; 2] {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = Handshake::client(Arc::new(client), name).unwrap();
    let mut server = Handshake::server(Arc::new(server)).unwrap();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    loop {
        let mut out = Vec::new();
        let (used, client_step) = client.step(&mut to_client, &mut out);
        to_client.drain(..used);
        to_server.append(&mut out);
        let (used, server_step) = server.step(&mut to_server, &mut out);
        to_server.drain(..used);
        to_client.append(&mut out);
        if [client_step.unwrap(), server_step.unwrap()] == [Step::Done; 2] {
            return [client, server].map(|side| side.finish().unwrap().negotiated.hellos);
        }
    }
}

#[test]
fn both_ends_have_seen_the_same() {
    // Clients send no share of the second group at first: the server asks for another hello.
    for (version, groups) in [
        (&version::TLS12, kx_group::X25519),
        (&version::TLS13, kx_group::X25519),
        (&version::TLS13, kx_group::SECP384R1),
    ] {
        let (server, client) = configs(version, &[groups]);
        let [client, server] = shake(server, client);
        assert_eq!(client, server, "{version:?}");
        assert!(client.client_random.is_some() && client.server_random.is_some());
        assert_ne!(client.client_random, client.server_random);
    }
}
