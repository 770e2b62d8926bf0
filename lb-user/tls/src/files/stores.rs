//! What all binds and servers share: certificates by name (`crt-store`, and every file loaded once), authorities, sessions.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{Certificate, Parts};
use super::fault::Fault;
use super::pem;
use crate::Loaded;
use crate::sessions::{Cache, Keys};
use crate::settings::{ExtraFiles, Global, Load};
use crate::verify::{Authorities, AuthoritiesKey};

/// The certificates of the process, and what else TLS shares between lines. Manual 12.7.
#[derive(Debug)]
pub struct Stores {
    extra: ExtraFiles,
    extra_del_ext: bool,
    skip_self_issued: bool,
    /// `ocsp-update.mode`.
    ocsp_update: bool,
    now: SystemTime,
    /// `issuers-chain-path`: what follows an issuer, by the issuer's subject.
    chains: HashMap<Vec<u8>, Chain>,
    /// What could not be read of it.
    chains_warnings: Mutex<Vec<String>>,
    certificates: Mutex<HashMap<PathBuf, Arc<Certificate>>>,
    /// By the files they come from.
    authorities: Mutex<HashMap<AuthoritiesKey, Arc<Authorities>>>,
    sessions: Arc<Cache>,
    /// Warnings of lines.
    told: Mutex<HashSet<String>>,
    /// By file; `None`: our own.
    tickets: Mutex<HashMap<Option<PathBuf>, Arc<Keys>>>,
}

type Chain = Arc<Vec<CertificateDer<'static>>>;

/// What a line of a `crt-list` says of the files beside its certificate. Manual 12.7.1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Overrides {
    pub(crate) key: Option<PathBuf>,
    pub(crate) ocsp: Option<PathBuf>,
    pub(crate) issuer: Option<PathBuf>,
    pub(crate) sctl: Option<PathBuf>,
    pub(crate) ocsp_update: Option<bool>,
}

impl Stores {
    /// Nothing loaded yet. `now` decides what has expired.
    #[must_use]
    pub fn new(global: &Global, now: SystemTime) -> Self {
        let mut warnings = Vec::new();
        let chains =
            global.issuers_chain.as_deref().map(|path| chains(path, &mut warnings)).unwrap_or_default();
        Self {
            extra: global.extra_files,
            extra_del_ext: global.extra_del_ext,
            skip_self_issued: global.skip_self_issued_ca,
            ocsp_update: global.ocsp.on,
            now,
            chains,
            chains_warnings: Mutex::new(warnings),
            certificates: Mutex::default(),
            authorities: Mutex::default(),
            sessions: Arc::new(Cache::new(global.cache_size, global.lifetime)),
            told: Mutex::default(),
            tickets: Mutex::default(),
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
            chains: &self.chains,
        };
        let loaded = self.load(&parts).map_err(|fault| vec![fault.to_string()])?;
        // A line may also name the file, and then gets the key that was said here.
        let mut certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        certificates.entry(load.certificate.clone()).or_insert_with(|| loaded.value.clone());
        drop(certificates);
        Ok(loaded)
    }

    /// The certificates that `path` means: one, those of a bundle, or those of a directory.
    ///
    /// # Errors
    /// A message for every file that cannot be used.
    pub(crate) fn certificates(
        &self,
        path: &Path,
        overrides: &Overrides,
    ) -> Result<Loaded<Vec<Arc<Certificate>>>, Vec<String>> {
        if self.known(path).is_some() {
            let known = self.file(path, overrides).map_err(|fault| vec![fault.to_string()])?;
            return Ok(Loaded::from(vec![known.value]));
        }
        if path.to_string_lossy().starts_with('@') {
            return Err(vec![Fault::NotInStore(path.display().to_string()).to_string()]);
        }
        let files = self.files(path).map_err(|fault| vec![fault.to_string()])?;
        let mut loaded = Loaded::from(Vec::with_capacity(files.len()));
        let mut errors = Vec::new();
        for file in &files {
            match self.file(file, overrides) {
                Ok(one) => {
                    loaded.value.push(one.value);
                    loaded.warnings.extend(one.warnings);
                }
                Err(fault) => errors.push(fault.to_string()),
            }
        }
        if errors.is_empty() { Ok(loaded) } else { Err(errors) }
    }

    pub(crate) fn known_authorities(&self, key: &AuthoritiesKey) -> Option<Arc<Authorities>> {
        self.authorities.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(crate) fn keep_authorities(&self, key: AuthoritiesKey, authorities: Arc<Authorities>) {
        self.authorities.lock().unwrap_or_else(PoisonError::into_inner).insert(key, authorities);
    }

    /// Leaves of `warnings` what nobody was told yet: the defaults of `global` come back with every line.
    pub(crate) fn only_new(&self, mut warnings: Vec<String>) -> Vec<String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.retain(|warning| told.insert(warning.clone()));
        warnings
    }

    /// The cache of sessions.
    pub(crate) fn sessions(&self) -> Arc<Cache> {
        self.sessions.clone()
    }

    /// The keys of tickets in a file, read once, or our own.
    pub(crate) fn ticket_keys(&self, file: Option<&Path>) -> Result<Arc<Keys>, String> {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let name = file.map(Path::to_owned);
        if let Some(keys) = tickets.get(&name) {
            return Ok(keys.clone());
        }
        let keys = Arc::new(match file {
            Some(path) => Keys::file(path)?,
            None => Keys::random(Instant::now())?,
        });
        tickets.insert(name, keys.clone());
        Ok(keys)
    }

    fn known(&self, name: &Path) -> Option<Arc<Certificate>> {
        self.certificates.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// A file by its own name, with the neighbours that `ssl-load-extra-files` allows.
    fn file(&self, path: &Path, overrides: &Overrides) -> Result<Loaded<Arc<Certificate>>, Fault> {
        if let Some(certificate) = self.known(path) {
            return match overrides.ocsp_update {
                Some(wanted) if wanted != certificate.wants_ocsp_update() => Err(Fault::Contradiction(
                    path.to_owned(),
                    if wanted { "off" } else { "on" },
                    if wanted { "on" } else { "off" },
                )),
                _ => Ok(Loaded::from(certificate)),
            };
        }
        let existing = |wanted: bool, extension: &str, said: &Option<PathBuf>| {
            let neighbour =
                || Some(self.neighbour(path, extension)).filter(|neighbour| wanted && neighbour.exists());
            said.clone().or_else(neighbour)
        };
        self.load(&Parts {
            name: path.to_owned(),
            certificate: path.to_owned(),
            key: overrides.key.clone(),
            key_beside: self.extra.key.then(|| self.neighbour(path, "key")),
            ocsp: existing(self.extra.ocsp, "ocsp", &overrides.ocsp),
            issuer: existing(self.extra.issuer, "issuer", &overrides.issuer),
            sctl: existing(self.extra.sctl, "sctl", &overrides.sctl),
            ocsp_update: overrides.ocsp_update.unwrap_or(self.ocsp_update),
            skip_self_issued: self.skip_self_issued,
            chains: &self.chains,
        })
    }

    fn load(&self, parts: &Parts<'_>) -> Result<Loaded<Arc<Certificate>>, Fault> {
        let (certificate, mut warnings) = Certificate::load(parts, self.now)?;
        warnings.append(&mut self.chains_warnings.lock().unwrap_or_else(PoisonError::into_inner));
        let value = Arc::new(certificate);
        self.certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(parts.name.clone(), value.clone());
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

/// The chains in `issuers-chain-path`, each by the subject of its first certificate.
fn chains(path: &Path, warnings: &mut Vec<String>) -> HashMap<Vec<u8>, Chain> {
    let mut chains = HashMap::new();
    let files = directory(path).unwrap_or_else(|fault| {
        warnings.push(format!("issuers-chain-path: {fault}"));
        Vec::new()
    });
    for file in files {
        match pem::certificate_file(&file) {
            Ok(sections) => {
                let subject = sections.certificates.first().and_then(|first| {
                    Some(X509Certificate::from_der(first).ok()?.1.subject().as_raw().to_vec())
                });
                if let Some(subject) = subject {
                    chains.entry(subject).or_insert_with(|| Arc::new(sections.certificates));
                }
            }
            Err(fault) => warnings.push(format!("issuers-chain-path: {fault}")),
        }
    }
    chains
}

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
