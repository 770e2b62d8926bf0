//! Certificates made on the spot, files of one test, and both ends of a connection in memory.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "every test program uses another part of it")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{ClientConnection, ServerConnection};
pub use sockeye_tls::settings::{Bind, ClientAuth, Global, Server, Verify};
use sockeye_tls::{Acceptor, Connector, Handshake, Start, Stores, Verdict, acceptor, connector, taken};

/// A directory that goes away with the test.
pub struct Files(tempfile::TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: rcgen::Certificate,
}

pub struct Leaf {
    pub certificate: rcgen::Certificate,
    pub key: KeyPair,
    issuer: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { params, key, certificate }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// A leaf with the first of `names` as its common name.
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, |_| {})
    }

    pub fn leaf_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        self.leaf_of(names, KeyPair::generate().unwrap(), change)
    }

    pub fn leaf_of(&self, names: &[&str], key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = params(names.first().unwrap_or(&""), names);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        Leaf { certificate, key, issuer: self.pem() }
    }
}

impl Leaf {
    /// Certificate and key.
    pub fn pem(&self) -> String {
        self.certificate.pem() + &self.key.serialize_pem()
    }

    /// Certificate, issuer and key.
    pub fn full_pem(&self) -> String {
        self.certificate.pem() + &self.issuer + &self.key.serialize_pem()
    }
}

fn params(name: &str, alternative: &[&str]) -> CertificateParams {
    let mut params =
        CertificateParams::new(alternative.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
            .unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// What a handshake that succeeded came to.
pub struct Done {
    pub facts: Handshake,
    pub version: rustls::ProtocolVersion,
    pub alpn: Option<Vec<u8>>,
    pub suite: rustls::CipherSuite,
    pub kind: rustls::HandshakeKind,
    pub verdict: Verdict,
    pub client: ClientConnection,
    pub server: ServerConnection,
}

impl Done {
    /// DNS names of the certificate that was presented.
    pub fn presented_names(&self) -> Vec<String> {
        names(&self.facts.presented.as_ref().unwrap().cert[0])
    }
}

/// DNS names in a certificate.
pub fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    use x509_parser::prelude::*;
    let (_, certificate) = X509Certificate::from_der(certificate).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    names
        .value
        .general_names
        .iter()
        .map(|name| name.to_string())
        .map(|name| name.replace("DNSName(", "").replace(')', ""))
        .collect()
}

pub fn stores() -> Stores {
    Stores::new(&Global::default(), SystemTime::now())
}

pub fn load(bind: &Bind) -> Acceptor {
    acceptor(bind, &Global::default(), &stores()).unwrap().value
}

pub fn load_server(server: &Server) -> Connector {
    connector(server, &Global::default(), &stores()).unwrap().value
}

/// Both sides loaded anew, and one handshake between them.
pub fn handshake(bind: &Bind, server: &Server, sni: Option<&str>) -> Result<Done, String> {
    meet(&load(bind), &load_server(server), sni)
}

pub fn meet(acceptor: &Acceptor, connector: &Connector, sni: Option<&str>) -> Result<Done, String> {
    let connection = connector.connection(sni, IpAddr::V4(Ipv4Addr::LOCALHOST));
    let client = ClientConnection::new(connection.config, connection.name).unwrap();
    meet_client(acceptor, client)
}

/// A handshake and one byte each way, so that tickets arrive.
pub fn meet_client(acceptor: &Acceptor, mut client: ClientConnection) -> Result<Done, String> {
    let _ = taken();
    let mut facts = Handshake::default();
    let mut wire = Vec::new();
    let mut server = match acceptor.start() {
        Start::Direct(config) => ServerConnection::new(Arc::clone(config)).unwrap(),
        Start::ByHello => {
            client.write_tls(&mut wire).unwrap();
            let mut pending = rustls::server::Acceptor::default();
            pending.read_tls(&mut wire.as_slice()).unwrap();
            let accepted = pending.accept().map_err(|(error, _)| error.to_string())?.unwrap();
            let config =
                acceptor.config_for(&accepted.client_hello()).map_err(|refused| refused.to_string())?.clone();
            let server = accepted.into_connection(config).map_err(|(error, _)| error.to_string())?;
            keep(&mut facts);
            server
        }
    };
    server.writer().write_all(b"s").unwrap();
    client.writer().write_all(b"c").unwrap();
    // A handshake has four flights; twice as many rounds end.
    for _ in 0..8 {
        pass(&mut client, &mut server).map_err(|error| format!("server: {error}"))?;
        keep(&mut facts);
        pass_back(&mut server, &mut client).map_err(|error| format!("client: {error}"))?;
    }
    if client.is_handshaking() || server.is_handshaking() {
        return Err("the handshake did not end".to_owned());
    }
    let mut byte = [0];
    server.reader().read_exact(&mut byte).unwrap();
    client.reader().read_exact(&mut byte).unwrap();
    let peer: &[CertificateDer<'_>] = server.peer_certificates().unwrap_or_default();
    Ok(Done {
        verdict: facts.verdict(peer, UnixTime::now()),
        facts,
        version: server.protocol_version().unwrap(),
        alpn: server.alpn_protocol().map(<[u8]>::to_vec),
        suite: server.negotiated_cipher_suite().unwrap().suite(),
        kind: server.handshake_kind().unwrap(),
        client,
        server,
    })
}

fn keep(facts: &mut Handshake) {
    facts.learn(taken());
}

fn pass(from: &mut ClientConnection, to: &mut ServerConnection) -> Result<(), rustls::Error> {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

fn pass_back(from: &mut ServerConnection, to: &mut ClientConnection) -> Result<(), rustls::Error> {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut rest = wire.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// A text that OpenSSL made.
pub fn data(name: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name))
        .unwrap()
}
