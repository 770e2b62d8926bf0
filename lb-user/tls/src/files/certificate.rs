//! One certificate with its chain and key, as handshakes present it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::fault::{Fault, KeyFault};
use super::pem;
use crate::ocsp::{self, OcspFault, OcspRequest, Source};

/// Bits of an RSA key at least, as Debian's OpenSSL (security level 2) and every public authority demand; aws-lc signs with
/// no smaller ones.
pub(crate) const RSA_BITS_MIN: usize = 2048;

/// A certificate that is loaded. Lines of lists and binds share it.
#[derive(Debug)]
pub struct Certificate {
    /// The path it came from, or its name in a `crt-store`.
    name: PathBuf,
    kind: Kind,
    /// Subject's common name and DNS names of subjectAltName, in lower case.
    names: Vec<Box<str>>,
    /// The certificate that signed it, where one is known: OCSP needs it.
    issuer: Option<CertificateDer<'static>>,
    ocsp_update: bool,
    /// Replaced as a whole when a new OCSP response is stapled.
    presented: RwLock<Arc<CertifiedKey>>,
    /// Until when the response that is stapled is valid, in seconds of the epoch; `u64::MAX`: for ever, or there is none.
    staple_until: AtomicU64,
}

/// What a key signs with, which decides who can be shown the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Rsa,
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Ed25519,
}

impl Kind {
    /// HAProxy's word for it (`ssl_f_key_alg` and messages).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => "EC",
            Self::Ed25519 => "ED25519",
        }
    }

    /// Whether a client that lists `schemes` can check what such a key signs. No allocation: this runs in every handshake.
    #[must_use]
    pub fn suits(self, schemes: &[SignatureScheme]) -> bool {
        use SignatureScheme as S;
        let own: &[S] = match self {
            Self::Rsa => &[
                S::RSA_PSS_SHA256,
                S::RSA_PSS_SHA384,
                S::RSA_PSS_SHA512,
                S::RSA_PKCS1_SHA256,
                S::RSA_PKCS1_SHA384,
                S::RSA_PKCS1_SHA512,
            ],
            Self::EcdsaP256 => &[S::ECDSA_NISTP256_SHA256],
            Self::EcdsaP384 => &[S::ECDSA_NISTP384_SHA384],
            Self::EcdsaP521 => &[S::ECDSA_NISTP521_SHA512],
            Self::Ed25519 => &[S::ED25519],
        };
        schemes.iter().any(|scheme| own.contains(scheme))
    }

    /// RSA is shown only to who cannot do better.
    #[must_use]
    pub fn is_rsa(self) -> bool {
        self == Self::Rsa
    }
}

/// Where the parts of a certificate are.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) name: PathBuf,
    pub(crate) certificate: PathBuf,
    /// Prevails over a key beside the certificate in its file.
    pub(crate) key: Option<PathBuf>,
    /// Where the key is looked for when the file has none.
    pub(crate) key_beside: Option<PathBuf>,
    pub(crate) ocsp: Option<PathBuf>,
    pub(crate) issuer: Option<PathBuf>,
    pub(crate) sctl: Option<PathBuf>,
    pub(crate) ocsp_update: bool,
    /// `ssl-skip-self-issued-ca`.
    pub(crate) skip_self_issued: bool,
    /// `issuers-chain-path`.
    pub(crate) chains: &'a HashMap<Vec<u8>, Arc<Vec<CertificateDer<'static>>>>,
}

impl Certificate {
    /// Reads all parts. The second value is what to warn of.
    pub(crate) fn load(parts: &Parts<'_>, now: SystemTime) -> Result<(Self, Vec<String>), Fault> {
        let path = &parts.certificate;
        let mut warnings = Vec::new();
        let sections = pem::certificate_file(path)?;
        if sections.encrypted && parts.key.is_none() {
            return Err(Fault::Encrypted(path.clone()));
        }
        let mut chain = sections.certificates;
        let key = match (&parts.key, sections.key) {
            (Some(file), _) => key_file(file)?,
            (None, Some(key)) => key,
            (None, None) if chain.is_empty() => return Err(Fault::NoCertificate(path.clone(), hint(path))),
            (None, None) => key_file(parts.key_beside.as_deref().unwrap_or(path))?,
        };
        let Some(leaf) = chain.first() else {
            return Err(Fault::NoCertificate(path.clone(), hint(path)));
        };
        let facts = Facts::of(path, leaf)?;
        let signing = signing_key(parts.key.as_deref().unwrap_or(path), &key)?;
        if !facts.belongs_to(signing.as_ref()) {
            return Err(Fault::Mismatch(parts.name.clone()));
        }
        facts.warn_of_dates(path, now, &mut warnings);

        if chain.len() == 1
            && let Some(rest) = parts.chains.get(&facts.issuer)
        {
            chain.extend_from_slice(rest);
        }
        let mut issuer = issuer_among(&facts.issuer, &chain[1..]);
        if parts.skip_self_issued && chain.len() == 2 && issuer.as_deref().is_some_and(is_self_issued) {
            chain.truncate(1);
        }
        if issuer.is_none()
            && let Some(file) = &parts.issuer
        {
            issuer = issuer_among(&facts.issuer, &pem::certificate_file(file)?.certificates);
        }
        if let Some(file) = &parts.sctl {
            warnings.push(format!(
                "'{}' is not sent: rustls has no extension for lists of signed certificate timestamps. Let the authority \
                 embed them in the certificate, and remove the file.",
                file.display()
            ));
        }
        let Facts { names, kind, .. } = facts;
        let certificate = Self {
            name: parts.name.clone(),
            kind,
            names,
            issuer,
            ocsp_update: parts.ocsp_update,
            presented: RwLock::new(Arc::new(CertifiedKey::new(chain, signing))),
            staple_until: AtomicU64::new(u64::MAX),
        };
        if parts.ocsp_update {
            certificate.check_ocsp_update(&mut warnings)?;
        }
        if let Some(file) = &parts.ocsp {
            certificate.staple_file(file, now, &mut warnings)?;
        }
        Ok((certificate, warnings))
    }

    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Names it stands for, in lower case; some may be wildcards.
    #[must_use]
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// The issuer's certificate, where one was found.
    #[must_use]
    pub fn issuer(&self) -> Option<&CertificateDer<'static>> {
        self.issuer.as_ref()
    }

    /// Whether its OCSP response is fetched from the responder that it names (`ocsp-update on`).
    #[must_use]
    pub fn wants_ocsp_update(&self) -> bool {
        self.ocsp_update
    }

    /// Chain, key and staple as a handshake presents them at `now`: a response that has run out is not stapled any more.
    pub(crate) fn presented_at(&self, now: impl FnOnce() -> SystemTime) -> Arc<CertifiedKey> {
        let until = self.staple_until.load(Ordering::Relaxed);
        if until != u64::MAX && until < now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()) {
            self.unstaple();
        }
        self.presented()
    }

    /// Chain, key and staple as they are.
    #[must_use]
    pub fn presented(&self) -> Arc<CertifiedKey> {
        self.presented.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Until when the staple is valid; `None`: there is none, or it says nothing of an end.
    #[must_use]
    pub fn staple_until(&self) -> Option<SystemTime> {
        match self.staple_until.load(Ordering::Relaxed) {
            u64::MAX => None,
            seconds => UNIX_EPOCH.checked_add(Duration::from_secs(seconds)),
        }
    }

    /// Staples `response` (DER, from a file) from now on if it is one for this certificate (see [`OcspFault`]). Returns until
    /// when it is valid, if it says so.
    ///
    /// # Errors
    /// Why it is not; what was stapled before stays.
    pub fn staple(&self, response: Vec<u8>, now: SystemTime) -> Result<Option<SystemTime>, OcspFault> {
        self.staple_from(Source::File, response, now)
    }

    /// The same for a response from the network, whose signature must be right, too. All threads present it from the next
    /// handshake on.
    ///
    /// # Errors
    /// Why it is not; what was stapled before stays.
    pub fn staple_fetched(
        &self,
        response: Vec<u8>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, OcspFault> {
        self.staple_from(Source::Network, response, now)
    }

    /// Staples nothing from now on.
    pub fn unstaple(&self) {
        self.replace_staple(None, None);
    }

    /// What to ask whom for a new response; `None` if its authority has no responder or the issuer is not known.
    #[must_use]
    pub fn ocsp_request(&self) -> Option<OcspRequest> {
        let presented = self.presented();
        ocsp::request(presented.cert.first()?, self.issuer.as_ref()?)
    }

    fn staple_from(
        &self,
        source: Source,
        response: Vec<u8>,
        now: SystemTime,
    ) -> Result<Option<SystemTime>, OcspFault> {
        let presented = self.presented();
        let (Some(leaf), Some(issuer)) = (presented.cert.first(), &self.issuer) else {
            return Err(OcspFault::NoIssuer);
        };
        let until = ocsp::check(&response, leaf, issuer, source, now)?;
        self.replace_staple(Some(response), until);
        Ok(until)
    }

    fn replace_staple(&self, response: Option<Vec<u8>>, until: Option<SystemTime>) {
        let until = until
            .and_then(|until| until.duration_since(UNIX_EPOCH).ok())
            .map_or(u64::MAX, |age| age.as_secs());
        let mut presented = self.presented.write().unwrap_or_else(PoisonError::into_inner);
        self.staple_until.store(until, Ordering::Relaxed);
        let mut next = CertifiedKey::clone(&presented);
        next.ocsp = response;
        *presented = Arc::new(next);
    }

    /// Whether what `ocsp-update on` asks for can be done. A certificate without a responder is no mistake: `ocsp-update.mode`
    /// is said for all of them.
    fn check_ocsp_update(&self, warnings: &mut Vec<String>) -> Result<(), Fault> {
        let presented = self.presented();
        match presented.cert.first().and_then(ocsp::responder) {
            Some(_) if self.issuer.is_none() => Err(Fault::NoUpdate(self.name.clone())),
            Some(uri) if !ocsp::is_http(&uri) => {
                warnings.push(format!(
                    "'{}' has 'ocsp-update on', but its OCSP responder '{uri}' is not at an http:// address: it is not asked.",
                    self.name.display()
                ));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn staple_file(&self, file: &Path, now: SystemTime, warnings: &mut Vec<String>) -> Result<(), Fault> {
        let response = pem::read(file, OCSP_FILE_MAX)?;
        if self.issuer.is_none() {
            let issuer = format!("{}.issuer", self.name.display());
            return Err(Fault::NoIssuer(file.to_owned(), issuer));
        }
        // An empty file says that stapling is wanted, and that a response will come later.
        if !response.is_empty()
            && let Err(error) = self.staple(response, now)
        {
            warnings.push(format!("OCSP response from '{}' is ignored: {error}.", file.display()));
        }
        Ok(())
    }
}

/// Bytes of an OCSP response in a file at most: real ones have 300 to 3,000.
const OCSP_FILE_MAX: u64 = 64 << 10;

/// What the leaf says that loading depends on.
struct Facts {
    names: Vec<Box<str>>,
    kind: Kind,
    issuer: Vec<u8>,
    public: Vec<u8>,
    not_before: i64,
    not_after: i64,
}

impl Facts {
    fn of(path: &Path, leaf: &CertificateDer<'_>) -> Result<Self, Fault> {
        let unreadable = |why| Fault::X509(path.to_owned(), why);
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| unreadable("its DER is damaged"))?;
        let spki = parsed.public_key();
        let kind = match spki.parsed() {
            Ok(PublicKey::RSA(key)) if key.key_size() < RSA_BITS_MIN => {
                return Err(Fault::Weak(path.to_owned(), key.key_size()));
            }
            Ok(PublicKey::RSA(_)) => Kind::Rsa,
            Ok(PublicKey::EC(point)) => match point.key_size() {
                0..=256 => Kind::EcdsaP256,
                257..=384 => Kind::EcdsaP384,
                _ => Kind::EcdsaP521,
            },
            Ok(PublicKey::DSA(_)) => return Err(Fault::Key(path.to_owned(), KeyFault::Dsa)),
            Ok(_) => Kind::Ed25519,
            Err(_) => return Err(unreadable("its public key is damaged")),
        };
        Ok(Self {
            names: names_of(&parsed),
            kind,
            issuer: parsed.issuer().as_raw().to_vec(),
            public: spki.subject_public_key.data.to_vec(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }

    /// Whether `key` is the private half. The bits of the key are the tail of the structure that holds them; what precedes
    /// them may be written in more than one way.
    fn belongs_to(&self, key: &dyn SigningKey) -> bool {
        key.public_key().is_none_or(|public| public.as_ref().ends_with(&self.public))
    }

    fn warn_of_dates(&self, path: &Path, now: SystemTime, warnings: &mut Vec<String>) {
        let now =
            now.duration_since(UNIX_EPOCH).map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        if now > self.not_after {
            warnings.push(format!(
                "certificate '{}' has expired, clients will refuse it: renew it.",
                path.display()
            ));
        } else if now < self.not_before {
            warnings
                .push(format!("certificate '{}' is not valid yet, clients will refuse it.", path.display()));
        }
    }
}

/// Common name and DNS names, as `crt` compares them with what clients ask for.
fn names_of(certificate: &X509Certificate<'_>) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    let mut add = |name: &str| {
        let name = name.to_ascii_lowercase().into_boxed_str();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    };
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        for name in &alternative.value.general_names {
            if let GeneralName::DNSName(name) = name {
                add(name);
            }
        }
    }
    for name in certificate.subject().iter_common_name() {
        if let Ok(name) = name.as_str() {
            add(name);
        }
    }
    names
}

fn signing_key(path: &Path, key: &PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Fault> {
    any_supported_type(key).map_err(|_| Fault::Key(path.to_owned(), KeyFault::Unknown))
}

/// The first key in `path`.
fn key_file(path: &Path) -> Result<PrivateKeyDer<'static>, Fault> {
    if !path.exists() {
        return Err(Fault::NoKey(path.to_owned()));
    }
    let sections = pem::certificate_file(path)?;
    if sections.encrypted {
        return Err(Fault::Encrypted(path.to_owned()));
    }
    sections.key.ok_or_else(|| Fault::NoKey(path.to_owned()))
}

/// The certificate in `candidates` whose subject is `name` (DER).
fn issuer_among(name: &[u8], candidates: &[CertificateDer<'static>]) -> Option<CertificateDer<'static>> {
    candidates
        .iter()
        .find(|candidate| {
            X509Certificate::from_der(candidate).is_ok_and(|(_, parsed)| parsed.subject().as_raw() == name)
        })
        .cloned()
}

fn is_self_issued(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, parsed)| parsed.subject() == parsed.issuer())
}

/// What a file without any section may be instead.
fn hint(path: &Path) -> &'static str {
    // DER is one SEQUENCE.
    match pem::read(path, pem::CERTIFICATE_FILE_MAX) {
        Ok(bytes) if bytes.first() == Some(&0x30) => {
            "It is DER: convert it with openssl x509 -inform der -outform pem."
        }
        Ok(bytes) if bytes.is_empty() => "The file is empty.",
        _ => "Its first certificate starts with -----BEGIN CERTIFICATE-----.",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Overrides;
    use super::*;

    #[test]
    fn a_staple_is_shown_until_it_runs_out() {
        let directory = tempfile::tempdir().unwrap();
        let data = |name: &str| {
            std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
        };
        let file = directory.path().join("o.pem");
        std::fs::write(&file, [data("ocsp.pem"), data("ca.pem"), data("v1.key")].concat()).unwrap();
        let stores = crate::Stores::new(&crate::settings::Global::default(), SystemTime::UNIX_EPOCH);
        let certificate = stores.certificates(&file, &Overrides::default()).unwrap().value.remove(0);
        // A day after the data was made.
        let now = UNIX_EPOCH + Duration::from_secs(1_795_354_000);
        let until = certificate.staple(data("good.ocsp"), now).unwrap().unwrap();
        assert!(certificate.presented_at(|| until).ocsp.is_some());
        assert!(certificate.presented_at(|| until + Duration::from_secs(1)).ocsp.is_none());
        assert!(certificate.presented_at(|| now).ocsp.is_none(), "gone for good");
        assert_eq!(certificate.staple(data("forever.ocsp"), now), Ok(None));
        assert!(certificate.presented_at(|| now + Duration::from_secs(1_000_000_000)).ocsp.is_some());
    }
}
