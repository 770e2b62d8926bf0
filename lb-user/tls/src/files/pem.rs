//! PEM files: certificates and a key in any order, other sections skipped. Manual: 5.1 `crt`.

use std::fs;
use std::io::Read;
use std::path::Path;

use memchr::memmem;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
};

use super::fault::{Fault, PemFault};

/// What one PEM file holds. The first certificate is the leaf where there is a key.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) key: Option<PrivateKeyDer<'static>>,
    pub(crate) revocations: Vec<CertificateRevocationListDer<'static>>,
    /// There is a key, but encrypted.
    pub(crate) encrypted: bool,
}

/// Bytes of a certificate's file at most: chains are a few kilobytes, and a mistaken path may name a disk image.
pub(crate) const CERTIFICATE_FILE_MAX: u64 = 4 << 20;
/// Bytes of a file of authorities or revocations at most; public revocation lists reach 100 MB.
pub(crate) const BUNDLE_FILE_MAX: u64 = 256 << 20;

/// Reads a certificate's file.
pub(crate) fn certificate_file(path: &Path) -> Result<Sections, Fault> {
    parse(path, &read(path, CERTIFICATE_FILE_MAX)?)
}

/// Reads `path` if it is not larger than `max` bytes.
pub(crate) fn read(path: &Path, max: u64) -> Result<Vec<u8>, Fault> {
    let unreadable = |error| Fault::Unreadable(path.to_owned(), error);
    let file = fs::File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(max)).unwrap_or(0) + 1);
    // One byte beyond the limit tells a file that is too large; pipes say no length at all.
    file.take(max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > max {
        return Err(Fault::TooLarge(path.to_owned(), max));
    }
    Ok(bytes)
}

/// Goes through the sections of `text`; `path` is for messages.
pub(crate) fn parse(path: &Path, text: &[u8]) -> Result<Sections, Fault> {
    let mut sections = Sections { encrypted: is_encrypted(text), ..Sections::default() };
    if memmem::find(text, OLD_ENCRYPTION).is_some() {
        // Its base64 is preceded by header lines, which the reader takes for damage.
        return Ok(sections);
    }
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let (kind, der) = section.map_err(|error| Fault::Pem(path.to_owned(), fault_of(&error)))?;
        match kind {
            SectionKind::Certificate => sections.certificates.push(der.into()),
            SectionKind::Crl => sections.revocations.push(der.into()),
            SectionKind::PrivateKey => keep_first(&mut sections.key, PrivatePkcs8KeyDer::from(der).into()),
            SectionKind::RsaPrivateKey => keep_first(&mut sections.key, PrivatePkcs1KeyDer::from(der).into()),
            SectionKind::EcPrivateKey => keep_first(&mut sections.key, PrivateSec1KeyDer::from(der).into()),
            _ => {}
        }
    }
    Ok(sections)
}

fn keep_first<T>(slot: &mut Option<T>, value: T) {
    if slot.is_none() {
        *slot = Some(value);
    }
}

/// The header of an encrypted key in one of the older forms.
const OLD_ENCRYPTION: &[u8] = b"Proc-Type: 4,ENCRYPTED";

/// PKCS #8 says it in the label, the older forms in a header.
fn is_encrypted(text: &[u8]) -> bool {
    memmem::find(text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some()
        || memmem::find(text, OLD_ENCRYPTION).is_some()
}

fn fault_of(error: &pem::Error) -> PemFault {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            PemFault::NoEnd(format!("-----END {}-----", String::from_utf8_lossy(end_marker)))
        }
        pem::Error::IllegalSectionStart { line } => {
            PemFault::BadStart(String::from_utf8_lossy(line).trim().to_owned())
        }
        pem::Error::SectionTooLarge => PemFault::TooLarge,
        _ => PemFault::Base64,
    }
}
