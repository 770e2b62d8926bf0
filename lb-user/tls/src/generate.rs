//! Certificates made for names that nothing else stands for. Manual 5.1 `generate-certificates`, `ca-sign-file`, 3.2
//! `tune.ssl.ssl-ctx-cache-size`.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use crate::files::{encrypted, pem};

/// Certificates are valid from a day ago (clocks differ) for a year, as HAProxy's.
const BEFORE: Duration = Duration::from_hours(24);
const AFTER: Duration = Duration::from_hours(365 * 24);
/// Letters of a common name at most (RFC 5280 appendix A.1); longer names are in subjectAltName alone.
const COMMON_NAME_MAX: usize = 64;

/// An authority of our own, and the certificates that it made last.
pub(crate) struct Generator {
    issuer: Issuer<'static, KeyPair>,
    authority: CertificateDer<'static>,
    /// One key for all: making one takes as long as signing.
    key: KeyPair,
    signing: Arc<dyn SigningKey>,
    made: Mutex<Made>,
    room: usize,
}

#[derive(Default)]
struct Made {
    certificates: HashMap<Box<str>, Kept>,
    /// Counts uses.
    clock: u64,
}

struct Kept {
    certificate: Arc<CertifiedKey>,
    used: u64,
}

impl Generator {
    /// Reads certificate and key of the authority in `file`. `room`: certificates that are kept.
    pub(crate) fn load(file: &Path, pass: Option<&str>, room: usize) -> Result<Self, String> {
        let fault = |what: &str| format!("Failed to read CA certificate file '{}': {what}", file.display());
        let text = pem::read(file, pem::CERTIFICATE_FILE_MAX).map_err(|error| fault(&error.to_string()))?;
        let key = pass.and_then(|pass| encrypted::key(&text, pass));
        let sections = pem::parse(file, &text).map_err(|error| fault(&error.to_string()))?;
        if sections.encrypted && key.is_none() {
            let why = match pass {
                Some(_) => "ca-sign-pass does not decrypt its key, which must be PKCS #8 with AES",
                None => "its key is encrypted, set ca-sign-pass",
            };
            return Err(fault(why));
        }
        let authority =
            sections.certificates.into_iter().next().ok_or_else(|| fault("no certificate in it"))?;
        let key = key.or(sections.key).ok_or_else(|| fault("no private key in it"))?;
        let key = KeyPair::try_from(&key).map_err(|error| fault(&error.to_string()))?;
        let issuer = Issuer::from_ca_cert_der(&authority, key).map_err(|error| fault(&error.to_string()))?;
        let key = KeyPair::generate().map_err(|error| fault(&error.to_string()))?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing = any_supported_type(&der).map_err(|error| fault(&error.to_string()))?;
        Ok(Self { issuer, authority, key, signing, made: Mutex::default(), room })
    }

    /// A certificate for `name`, kept or made now.
    pub(crate) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        if let Some(kept) = self.made.lock().unwrap_or_else(PoisonError::into_inner).find(&name) {
            return Some(kept);
        }
        // Without the lock: two threads may make the same, which harms nobody.
        let certificate = Arc::new(CertifiedKey::new(
            vec![self.make(&name)?, self.authority.clone()],
            self.signing.clone(),
        ));
        if self.room > 0 {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.keep(name.into_boxed_str(), certificate.clone(), self.room);
        }
        Some(certificate)
    }

    fn make(&self, name: &str) -> Option<CertificateDer<'static>> {
        let mut params = CertificateParams::new([name.to_owned()]).ok()?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        if name.len() <= COMMON_NAME_MAX {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(BEFORE);
        params.not_after = date_time_ymd(1970, 1, 1) + now.saturating_add(AFTER);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // Browsers refuse two certificates with one number.
        let mut serial = [0; 16];
        SystemRandom::new().fill(&mut serial).ok()?;
        serial[0] &= 0x7f;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        Some(params.signed_by(&self.key, &self.issuer).ok()?.der().clone())
    }
}

impl Made {
    fn find(&mut self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.clock += 1;
        let kept = self.certificates.get_mut(name)?;
        kept.used = self.clock;
        Some(kept.certificate.clone())
    }

    fn keep(&mut self, name: Box<str>, certificate: Arc<CertifiedKey>, room: usize) {
        if self.certificates.len() >= room {
            // The less used half goes at once, so that few insertions look at all.
            let mut used: Vec<u64> = self.certificates.values().map(|kept| kept.used).collect();
            let middle = used.len() / 2;
            let (_, limit, _) = used.select_nth_unstable(middle);
            let limit = *limit;
            self.certificates.retain(|_, kept| kept.used > limit);
        }
        self.clock += 1;
        self.certificates.insert(name, Kept { certificate, used: self.clock });
    }
}

impl fmt::Debug for Generator {
    /// Without the keys.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Generator").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, IsCa};

    use super::*;

    fn generator(room: usize) -> Generator {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), params.self_signed(&key).unwrap().pem() + &key.serialize_pem()).unwrap();
        Generator::load(file.path(), None, room).unwrap()
    }

    #[test]
    fn certificates_are_kept_up_to_a_number() {
        let generator = generator(10);
        let first = generator.certificate("a.test").unwrap();
        assert!(Arc::ptr_eq(&first, &generator.certificate("A.test").unwrap()));
        for number in 0..50 {
            generator.certificate(&format!("{number}.test")).unwrap();
            assert!(Arc::ptr_eq(&first, &generator.certificate("a.test").unwrap()), "used, thus kept");
            assert!(generator.made.lock().unwrap().certificates.len() <= 10);
        }
    }

    #[test]
    fn names_of_any_length_and_no_room() {
        let generator = generator(0);
        let long = format!("{}.test", "a.".repeat(100));
        assert!(generator.certificate(&long).is_some());
        assert!(generator.certificate("b.test").is_some());
        assert!(generator.made.lock().unwrap().certificates.is_empty());
    }
}
