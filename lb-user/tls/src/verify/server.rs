//! The verifier of servers' certificates.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use webpki::KeyUsage;

use super::walk::{self, Peer};
use super::{Authorities, Names, signature};

/// `verify none` (no authorities) or `verify required`.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    provider: Arc<CryptoProvider>,
    authorities: Option<Arc<Authorities>>,
    names: Names,
}

impl ServerVerifier {
    pub(crate) fn new(
        provider: Arc<CryptoProvider>,
        authorities: Option<Arc<Authorities>>,
        names: Names,
    ) -> Self {
        Self { provider, authorities, names }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else {
            return Ok(ServerCertVerified::assertion());
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        let peer = Peer { end_entity, intermediates, now, usage: KeyUsage::server_auth(), client: false };
        let problems = walk::problems(&peer, authorities, algorithms);
        if let Some(first) = problems.first() {
            return Err(walk::error_of(first.number));
        }
        if !self.names.allow(end_entity, server_name) {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::handshake(message, cert, dss, &self.provider.signature_verification_algorithms, false)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::handshake(message, cert, dss, &self.provider.signature_verification_algorithms, true)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
