//! `ca-file`, `ca-verify-file` and `crl-file`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use webpki::{CertRevocationList, OwnedCertRevocationList, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::files::fault::Fault;
use crate::files::{Stores, pem};

/// Who may vouch for a peer.
#[derive(Debug, Default)]
pub(crate) struct Authorities {
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// Subjects of `ca-file` alone: what a server tells its clients.
    pub(super) subjects: Vec<DistinguishedName>,
    pub(super) revocations: Vec<CertRevocationList<'static>>,
    /// The lists as they were read, for [`super::walk`].
    pub(super) revocation_ders: Vec<Vec<u8>>,
    /// `crl-file` was given: every certificate of a chain needs a list.
    pub(super) check_revocation: bool,
}

/// `ca-file`, `ca-verify-file`, `crl-file`: many lines name the same ones, and those of a system take 300 kB.
pub(crate) type AuthoritiesKey = [Option<PathBuf>; 3];

/// Loads what is named. `None`, with errors told, if something of it is of no use.
pub(crate) fn authorities(
    stores: &Stores,
    ca_file: Option<&Path>,
    ca_verify_file: Option<&Path>,
    crl_file: Option<&Path>,
    warnings: &mut Vec<String>,
    errors: &mut Vec<String>,
) -> Option<Arc<Authorities>> {
    let key: AuthoritiesKey = [ca_file, ca_verify_file, crl_file].map(|path| path.map(Path::to_owned));
    if let Some(known) = stores.known_authorities(&key) {
        return Some(known);
    }
    let mut all = Authorities::default();
    let mut failed = false;
    let mut fail = |word: &str, path: &Path, messages: Vec<String>| {
        failed = true;
        errors.extend(messages);
        errors.push(format!("'{word}' : unable to load {}", path.display()));
    };
    for (word, path) in [("ca-file", ca_file), ("ca-verify-file", ca_verify_file)] {
        let Some(path) = path else { continue };
        match read(path, warnings) {
            Ok(certificates) => all.add(&certificates, word == "ca-file"),
            Err(messages) => fail(word, path, messages),
        }
    }
    if let Some(path) = crl_file {
        all.check_revocation = true;
        match revocations(path) {
            Ok((lists, ders)) => (all.revocations, all.revocation_ders) = (lists, ders),
            Err(message) => fail("crl-file", path, vec![message]),
        }
    }
    if failed {
        return None;
    }
    let all = Arc::new(all);
    stores.keep_authorities(key, all.clone());
    Some(all)
}

impl Authorities {
    fn add(&mut self, certificates: &[CertificateDer<'static>], named: bool) {
        for certificate in certificates {
            // What webpki cannot read is still trusted by `walk`.
            if let Ok(anchor) = anchor_from_trusted_cert(certificate) {
                self.anchors.push(anchor.to_owned());
            }
            if named && let Ok((_, parsed)) = X509Certificate::from_der(certificate) {
                let subject = DistinguishedName::from(parsed.subject().as_raw().to_vec());
                if !self.subjects.iter().any(|known| known.as_ref() == subject.as_ref()) {
                    self.subjects.push(subject);
                }
            }
        }
        self.certificates.extend_from_slice(certificates);
    }

    /// Something that differs whenever a peer that one accepts might be refused by the other.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(AsRef::as_ref).chain(self.revocation_ders.iter().map(Vec::as_slice))
    }
}

/// Endings of files in a directory of authorities. Manual 5.1 `ca-file`.
const ENDINGS: [&str; 4] = ["pem", "crt", "cer", "crl"];

/// Where distributions keep the authorities that a system trusts, as Go and OpenSSL look for them.
const SYSTEM_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// The certificates in a file, in a directory, or those of the system (`@system-ca`).
pub(crate) fn read(
    path: &Path,
    warnings: &mut Vec<String>,
) -> Result<Vec<CertificateDer<'static>>, Vec<String>> {
    if path.ends_with("@system-ca") {
        let file = SYSTEM_FILES.iter().map(Path::new).find(|file| file.exists());
        return match file {
            Some(file) => one(file).map_err(|message| vec![message]),
            None => {
                Err(vec!["the system has no file of trusted authorities: install ca-certificates".to_owned()])
            }
        };
    }
    if path.is_dir() {
        return Ok(directory(path, warnings));
    }
    one(path).map_err(|message| vec![message])
}

fn one(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let sections = sections(path)?;
    if sections.certificates.is_empty() {
        return Err(unusable(path, "no certificate or crl found"));
    }
    Ok(sections.certificates)
}

/// What is no certificate in a directory is told and left out.
fn directory(path: &Path, warnings: &mut Vec<String>) -> Vec<CertificateDer<'static>> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .filter(|file| file.extension().is_some_and(|own| ENDINGS.iter().any(|ending| own == *ending)))
        .collect();
    files.sort();
    let mut certificates = Vec::new();
    for file in files {
        match sections(&file) {
            Ok(sections) => certificates.extend(sections.certificates),
            Err(message) => warnings.push(message),
        }
    }
    if certificates.is_empty() {
        warnings.push(format!("ca-file: 0 CA were loaded from '{}'", path.display()));
    }
    certificates
}

type Lists = (Vec<CertRevocationList<'static>>, Vec<Vec<u8>>);

fn revocations(path: &Path) -> Result<Lists, String> {
    let sections = sections(path)?;
    if sections.revocations.is_empty() {
        return Err(unusable(path, "no certificate or crl found"));
    }
    let ders: Vec<Vec<u8>> = sections.revocations.iter().map(|list| list.as_ref().to_vec()).collect();
    let lists: Result<Vec<_>, _> =
        ders.iter().map(|der| OwnedCertRevocationList::from_der(der).map(Into::into)).collect();
    match lists {
        Ok(lists) => Ok((lists, ders)),
        Err(error) => Err(unusable(path, &format!("revocation list: {error}"))),
    }
}

fn sections(path: &Path) -> Result<pem::Sections, String> {
    let text = pem::read(path, pem::BUNDLE_FILE_MAX).map_err(|fault| match fault {
        Fault::Unreadable(_, error) => {
            let text = error.to_string();
            unusable(path, text.split(" (os error").next().unwrap_or_default())
        }
        other => other.to_string(),
    })?;
    pem::parse(path, &text).map_err(|fault| fault.to_string())
}

fn unusable(path: &Path, why: &str) -> String {
    format!("Couldn't open the ca-file '{}' ({why}).", path.display())
}
