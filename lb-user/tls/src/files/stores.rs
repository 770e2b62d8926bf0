//! What all binds and servers share: certificates by name (`crt-store`, and every file loaded once), authorities, sessions.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

use super::certificate::{Certificate, Parts};
use super::fault::Fault;
use crate::Loaded;
use crate::settings::{ExtraFiles, Global, Load};
use crate::verify::authorities;

/// The certificates of the process, and what else TLS shares between lines. Manual 12.7.
#[derive(Debug)]
pub struct Stores {
    extra: ExtraFiles,
    extra_del_ext: bool,
    skip_self_issued: bool,
    now: SystemTime,
    certificates: Mutex<HashMap<PathBuf, Arc<Certificate>>>,
    /// Files of authorities: many servers name the same one.
    authorities: Mutex<HashMap<PathBuf, AuthorityFile>>,
}

type AuthorityFile = Arc<Vec<CertificateDer<'static>>>;

impl Stores {
    /// Nothing loaded yet. `now` decides what has expired.
    #[must_use]
    pub fn new(global: &Global, now: SystemTime) -> Self {
        Self {
            extra: global.extra_files,
            extra_del_ext: global.extra_del_ext,
            skip_self_issued: global.skip_self_issued_ca,
            now,
            certificates: Mutex::default(),
            authorities: Mutex::default(),
        }
    }

    /// Carries out one `load` line of a `crt-store`. What follows finds it by its name.
    ///
    /// # Errors
    /// Messages without place.
    pub fn add(&self, load: &Load) -> Result<Loaded<Arc<Certificate>>, Vec<String>> {
        let parts = Parts {
            name: PathBuf::from(&load.name),
            certificate: load.certificate.clone(),
            key: load.key.clone(),
            key_beside: Some(self.neighbour(&load.certificate, "key")),
            ocsp: load.ocsp.clone(),
            issuer: load.issuer.clone(),
            sctl: load.sctl.clone(),
            ocsp_update: load.ocsp_update,
            skip_self_issued: self.skip_self_issued,
        };
        self.load(&parts).map_err(|fault| vec![fault.to_string()])
    }

    /// The certificates that `path` means: one, those of a bundle, or those of a directory.
    ///
    /// # Errors
    /// A message for every file that cannot be used.
    pub(crate) fn certificates(&self, path: &Path) -> Result<Loaded<Vec<Arc<Certificate>>>, Vec<String>> {
        if let Some(certificate) = self.known(path) {
            return Ok(Loaded::from(vec![certificate]));
        }
        if path.starts_with("@") || path.to_string_lossy().starts_with('@') {
            return Err(vec![Fault::NotInStore(path.display().to_string()).to_string()]);
        }
        let files = self.files(path).map_err(|fault| vec![fault.to_string()])?;
        let mut loaded = Loaded::from(Vec::with_capacity(files.len()));
        let mut errors = Vec::new();
        for file in &files {
            match self.file(file) {
                Ok(one) => {
                    loaded.value.push(one.value);
                    loaded.warnings.extend(one.warnings);
                }
                Err(fault) => errors.push(fault.to_string()),
            }
        }
        if errors.is_empty() { Ok(loaded) } else { Err(errors) }
    }

    /// The authorities in `path`, read once.
    pub(crate) fn authority_file(&self, path: &Path, warnings: &mut Vec<String>) -> Result<AuthorityFile, Vec<String>> {
        if let Some(known) = self.authorities.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(known.clone());
        }
        let read = Arc::new(authorities::read(path, warnings)?);
        self.authorities.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), read.clone());
        Ok(read)
    }

    fn known(&self, name: &Path) -> Option<Arc<Certificate>> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// A file by its own name, with the neighbours that `ssl-load-extra-files` allows.
    fn file(&self, path: &Path) -> Result<Loaded<Arc<Certificate>>, Fault> {
        if let Some(certificate) = self.known(path) {
            return Ok(Loaded::from(certificate));
        }
        let existing = |wanted: bool, extension: &str| {
            Some(self.neighbour(path, extension)).filter(|neighbour| wanted && neighbour.exists())
        };
        self.load(&Parts {
            name: path.to_owned(),
            certificate: path.to_owned(),
            key: None,
            key_beside: self.extra.key.then(|| self.neighbour(path, "key")),
            ocsp: existing(self.extra.ocsp, "ocsp"),
            issuer: existing(self.extra.issuer, "issuer"),
            sctl: existing(self.extra.sctl, "sctl"),
            ocsp_update: false,
            skip_self_issued: self.skip_self_issued,
        })
    }

    fn load(&self, parts: &Parts) -> Result<Loaded<Arc<Certificate>>, Fault> {
        let (certificate, warnings) = Certificate::load(parts, self.now)?;
        let value = Arc::new(certificate);
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).insert(parts.name.clone(), value.clone());
        Ok(Loaded { value, warnings })
    }

    /// `site.crt.key`, or `site.key` under `ssl-load-extra-del-ext`.
    fn neighbour(&self, path: &Path, extension: &str) -> PathBuf {
        if self.extra_del_ext && path.extension().is_some_and(|own| own == "crt") {
            return path.with_extension(extension);
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".");
        name.push(extension);
        PathBuf::from(name)
    }

    /// The files that `path` stands for.
    fn files(&self, path: &Path) -> Result<Vec<PathBuf>, Fault> {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => directory(path),
            Ok(_) => Ok(vec![path.to_owned()]),
            Err(error) => {
                let bundle = if self.extra.bundle { bundle(path) } else { Vec::new() };
                if bundle.is_empty() { Err(Fault::Missing(path.to_owned(), error)) } else { Ok(bundle) }
            }
        }
    }
}

/// Kinds of keys that a bundle's files end with. DSA is in the manual, too; it is found so that its refusal is said.
const BUNDLE: [&str; 3] = ["rsa", "dsa", "ecdsa"];

fn bundle(path: &Path) -> Vec<PathBuf> {
    BUNDLE
        .iter()
        .map(|kind| {
            let mut name = path.as_os_str().to_owned();
            name.push(".");
            name.push(kind);
            PathBuf::from(name)
        })
        .filter(|file| file.is_file())
        .collect()
}

/// Endings of files in a directory that belong to a certificate beside them.
const RESERVED: [&str; 4] = ["key", "issuer", "ocsp", "sctl"];

fn directory(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    let unreadable = |error| Fault::Unreadable(path.to_owned(), error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let file = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let reserved = file.extension().is_some_and(|own| RESERVED.iter().any(|ending| own == *ending));
        if !hidden && !reserved && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
