//! `crt-store` sections (manual 3.12): certificates with their files, by names that bind lines and lists use.

use std::path::{Path, PathBuf};

use sockeye_syntax::ast::Section;
use sockeye_syntax::diag::{Diagnostics, Location};
use sockeye_syntax::words::Words;
use sockeye_tls::settings::{self, Load};

use super::based;
use crate::draft::Draft;
use crate::keyword::{hint, not_yet_message};
use crate::keywords::server::invalid_character;

/// Statements of the section.
const WORDS: [&str; 3] = ["crt-base", "key-base", "load"];

/// A `load` line and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct DraftLoad {
    pub(crate) load: Load,
    pub(crate) location: Location,
}

/// Reads one section. Sections of one name are one store.
pub(crate) fn section(section: &Section, draft: &mut Draft, diags: &mut Diagnostics) {
    let mut words = Words::new(&section.header, diags);
    let name = section.header.words.get(1).map_or("", |word| word.text.as_str());
    words.next();
    if !words.is_end() {
        words.alert("'crt-store' section only supports a <name> argument.");
    }
    if let Some(character) = invalid_character(name) {
        words.alert(format!("character '{character}' is not permitted in 'crt-store' name '{name}'."));
    }
    let mut store = Store { name, crt_base: None, key_base: None, loaded: false };
    for statement in &section.statements {
        let mut words = Words::new(statement, diags);
        match words.keyword() {
            "crt-base" | "key-base" => store.base(&mut words),
            "load" => {
                if let Some(load) = store.load(&mut words, &draft.global.tls) {
                    add(load, &mut words, draft);
                }
            }
            word => {
                let word = word.to_owned();
                let hint = hint(&mut words, &word, WORDS);
                words.alert(format!("unknown keyword '{word}' in 'crt-store' section{hint}"));
            }
        }
    }
}

fn add(load: DraftLoad, words: &mut Words<'_>, draft: &mut Draft) {
    let known = draft.load_names.contains(&load.load.name);
    if known {
        let name = &load.load.name;
        words.alert(format!("'load' in section 'crt-store': store '{name}' was already defined."));
    } else {
        draft.load_names.insert(load.load.name.clone());
        draft.loads.push(load);
    }
}

struct Store<'a> {
    name: &'a str,
    crt_base: Option<PathBuf>,
    key_base: Option<PathBuf>,
    /// A `load` line was read, after which the folders stay as they are.
    loaded: bool,
}

impl Store<'_> {
    fn base(&mut self, words: &mut Words<'_>) {
        let keyword = words.keyword().to_owned();
        if self.loaded {
            words.alert(format!(
                "'{keyword}' can't be used after a load line, use it at the beginning of the section."
            ));
            return;
        }
        let Some(path) = words.next() else {
            words.alert(format!("'{keyword}' requires a <path> argument."));
            return;
        };
        if words.end() {
            let slot = if keyword == "crt-base" { &mut self.crt_base } else { &mut self.key_base };
            *slot = Some(PathBuf::from(path));
        }
    }

    fn load(&mut self, words: &mut Words<'_>, global: &settings::Global) -> Option<DraftLoad> {
        self.loaded = true;
        let location = words.location().clone();
        let crt_base = self.crt_base.as_ref().or(global.crt_base.as_ref());
        let key_base = self.key_base.as_ref().or(global.key_base.as_ref());
        let mut load = Load { ocsp_update: global.ocsp.on, ..Load::default() };
        let (mut certificate, mut alias) = (None, None);
        while let Some(word) = words.next() {
            if !matches!(
                word,
                "crt" | "alias" | "key" | "ocsp" | "issuer" | "sctl" | "ocsp-update" | "acme" | "domains"
            ) {
                words.alert(format!("'load {word}' in section 'crt-store': unknown keyword '{word}'."));
                words.skip_rest();
                return None;
            }
            let Some(value) = words.next().filter(|value| !value.is_empty()) else {
                words.alert(format!("'load' in section 'crt-store': '{word}' expects an argument."));
                return None;
            };
            match word {
                "crt" => certificate = Some(value),
                "alias" => alias = Some(value),
                "key" => load.key = Some(based(value, key_base)),
                "ocsp" => load.ocsp = Some(based(value, crt_base)),
                "issuer" => load.issuer = Some(based(value, crt_base)),
                "sctl" => load.sctl = Some(based(value, crt_base)),
                "ocsp-update" => {
                    load.ocsp_update = match value {
                        "on" => true,
                        "off" => false,
                        _ => {
                            words.alert(format!(
                                "cannot parse 'ocsp-update' value '{value}', 'on' or 'off' is expected."
                            ));
                            words.skip_rest();
                            return None;
                        }
                    };
                }
                _ => {
                    words.alert(not_yet_message(word));
                    words.skip_rest();
                    return None;
                }
            }
        }
        let Some(certificate) = certificate else {
            words.alert("'load' in section 'crt-store': mandatory 'crt' parameter not found.");
            return None;
        };
        load.certificate = based(certificate, crt_base);
        load.name = self.name_of(alias, certificate, &load.certificate);
        Some(DraftLoad { load, location })
    }

    /// `@STORE/ALIAS`, or `@STORE/FILE` as bind lines write it. Without the name of a store and without an alias a
    /// certificate is found by its own path.
    fn name_of(&self, alias: Option<&str>, certificate: &str, path: &Path) -> String {
        match alias {
            None if self.name.is_empty() => path.to_string_lossy().into_owned(),
            _ => format!("@{}/{}", self.name, alias.unwrap_or(certificate).trim_start_matches('/')),
        }
    }
}
