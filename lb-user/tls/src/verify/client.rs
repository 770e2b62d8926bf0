//! The verifier of clients' certificates. Manual 5.1 `verify`, `ca-file`, `crt-ignore-err`, `ca-ignore-err`.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::KeyUsage;

use super::walk::{self, Peer, Problem};
use super::{Authorities, signature};
use crate::handshake::{Verdict, note};
use crate::settings::{ClientAuth, Ignored, Verify};

/// `verify optional` or `verify required`.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    provider: Arc<CryptoProvider>,
    authorities: Arc<Authorities>,
    hints: Vec<DistinguishedName>,
    mandatory: bool,
    leaf_ignored: Ignored,
    authority_ignored: Ignored,
}

impl ClientVerifier {
    pub(crate) fn new(
        provider: Arc<CryptoProvider>,
        authorities: Arc<Authorities>,
        client: &ClientAuth,
    ) -> Self {
        let hints = if client.no_ca_names { Vec::new() } else { authorities.subjects.clone() };
        Self {
            provider,
            authorities,
            hints,
            mandatory: client.verify == Verify::Required,
            leaf_ignored: client.crt_ignore_err.clone(),
            authority_ignored: client.ca_ignore_err.clone(),
        }
    }

    /// Who may vouch for clients.
    pub(super) fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Whether a handshake may succeed although something is wrong.
    pub(crate) fn ignores(&self) -> bool {
        self.leaf_ignored != Ignored::Nothing || self.authority_ignored != Ignored::Nothing
    }

    /// What is wrong with `chain`, and the first of it that is not ignored.
    pub(crate) fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> (Verdict, Option<Problem>) {
        let peer = Peer { end_entity, intermediates, now, usage: KeyUsage::client_auth(), client: true };
        let problems =
            walk::problems(&peer, &self.authorities, self.provider.signature_verification_algorithms.all);
        let fatal = problems.iter().find(|problem| !self.is_ignored(problem)).copied();
        let mut verdict = Verdict::default();
        // OpenSSL stops at the first error that is not ignored, so nothing behind it is known.
        for problem in &problems {
            verdict.note(*problem);
            if Some(*problem) == fatal {
                break;
            }
        }
        (verdict, fatal)
    }

    fn is_ignored(&self, problem: &Problem) -> bool {
        let ignored = if problem.depth == 0 { &self.leaf_ignored } else { &self.authority_ignored };
        match ignored {
            Ignored::Nothing => false,
            Ignored::All => true,
            Ignored::These(numbers) => numbers.contains(&problem.number),
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (verdict, fatal) = self.judge(end_entity, intermediates, now);
        note(|handshake| {
            handshake.client = Some(verdict);
            if fatal.is_some() {
                let chain = std::iter::once(end_entity).chain(intermediates);
                handshake.refused = chain.map(|der| der.clone().into_owned()).collect();
            }
        });
        match fatal {
            None => Ok(ClientCertVerified::assertion()),
            Some(problem) => Err(walk::error_of(problem.number)),
        }
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
