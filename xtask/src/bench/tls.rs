//! The client's TLS: one certificate for all proxies, and what the client offers.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption as Sessions;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore, version};

use super::load::connect;

/// The name in the certificate.
const NAME: &str = "bench.test";

/// A certificate of P-256 with its key, made for this run.
pub(super) struct Identity {
    /// Both, as the proxies read them.
    pub(super) pem: String,
    der: CertificateDer<'static>,
}

/// The one that all proxies of this run present.
pub(super) fn identity() -> Result<&'static Identity> {
    static MADE: OnceLock<Identity> = OnceLock::new();
    if let Some(identity) = MADE.get() {
        return Ok(identity);
    }
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).context("cannot make a certificate")?;
    let pem = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
    Ok(MADE.get_or_init(|| Identity { pem, der: made.cert.der().clone() }))
}

/// Whether sessions are resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resumption {
    On,
    Off,
}

/// What connections are made with.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// TLS 1.3 with one protocol offered, or none if it is empty.
    pub(super) fn new(resumption: Resumption, alpn: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(identity()?.der.clone())?;
        // What every one of the three speaks in any version of its library.
        let provider = CryptoProvider { kx_groups: vec![kx_group::X25519], ..default_provider() };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        if !alpn.is_empty() {
            config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        }
        if resumption == Resumption::Off {
            config.resumption = Sessions::disabled();
        }
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(super) fn connect(
        &self,
        addr: SocketAddr,
    ) -> impl Future<Output = Result<TlsStream<TcpStream>>> + 'static {
        let connector = self.0.clone();
        async move {
            let stream = connect(addr).await?;
            Ok(connector.connect(ServerName::try_from(NAME)?, stream).await?)
        }
    }

    pub(super) fn is_resumed(stream: &TlsStream<TcpStream>) -> bool {
        stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
    }
}
