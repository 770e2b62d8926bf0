//! Which certificate a handshake presents.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};

use crate::generate::Generator;
use crate::handshake::note;
use crate::index::{Index, Line};
use crate::verify::ClientVerifier;

/// The certificates of a bind line and what happens to names that none stands for.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) index: Index,
    pub(super) strict: bool,
    /// `generate-certificates`.
    pub(super) generator: Option<Generator>,
}

/// What a client gets.
enum Chosen<'a> {
    Line(&'a Line),
    /// Made for the name.
    Made(Arc<CertifiedKey>),
}

impl Choice {
    /// Which configuration goes with what a client gets; `None`: it gets nothing.
    pub(super) fn options(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<u32> {
        match self.choose(name, schemes)? {
            Chosen::Line(line) => Some(line.options),
            Chosen::Made(_) => Some(0),
        }
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Chosen<'_>> {
        if let Some(name) = name {
            if let Some(line) = self.index.find(name, schemes) {
                return Some(Chosen::Line(line));
            }
            if let Some(made) = self.generator.as_ref().and_then(|generator| generator.certificate(name)) {
                return Some(Chosen::Made(made));
            }
        }
        if self.strict { None } else { self.index.fallback(schemes).map(Chosen::Line) }
    }
}

/// What one configuration asks when a handshake needs a certificate.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) choice: Arc<Choice>,
    pub(super) verifier: Option<Arc<ClientVerifier>>,
    /// `sigalgs`.
    pub(super) sign: Option<Arc<[SignatureScheme]>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(Into::into);
        let chosen = self.choice.choose(hello.server_name(), hello.signature_schemes())?;
        let (mut presented, certificate) = match chosen {
            Chosen::Line(line) => {
                (line.certificate.presented_at(SystemTime::now), Some(line.certificate.clone()))
            }
            Chosen::Made(made) => (made, None),
        };
        if let Some(schemes) = &self.sign {
            let mut restricted = CertifiedKey::clone(&presented);
            restricted.key = Arc::new(Restricted { key: restricted.key, schemes: schemes.clone() });
            presented = Arc::new(restricted);
        }
        note(|handshake| {
            handshake.presented = Some(presented.clone());
            handshake.certificate = certificate;
            handshake.server_name = name;
            handshake.verifier.clone_from(&self.verifier);
        });
        Some(presented)
    }
}

/// A key that signs with `schemes` only, the first of them that the client can check.
#[derive(Debug)]
pub(crate) struct Restricted {
    pub(crate) key: Arc<dyn SigningKey>,
    pub(crate) schemes: Arc<[SignatureScheme]>,
}

impl SigningKey for Restricted {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut both = self.schemes.iter().filter(|scheme| offered.contains(scheme));
        both.find_map(|scheme| self.key.choose_scheme(std::slice::from_ref(scheme)))
    }

    fn public_key(&self) -> Option<rustls::pki_types::SubjectPublicKeyInfoDer<'_>> {
        self.key.public_key()
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        self.key.algorithm()
    }
}
