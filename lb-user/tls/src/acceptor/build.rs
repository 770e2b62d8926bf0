//! From the settings of a bind line to an [`Acceptor`].

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;

use super::Acceptor;
use super::choice::{Choice, Resolver};
use crate::Loaded;
use crate::crt_list::{self, Entry};
use crate::files::{Overrides, Stores};
use crate::generate::Generator;
use crate::index::{Filters, Index};
use crate::secrets::KeyNotes;
use crate::sessions::{Context, Sessions, Ticketer};
use crate::settings::{Bind, ClientAuth, Global, Profile, Source, Verify};
use crate::verify::{Authorities, ClientVerifier, authorities};
use crate::words::{Side, Terms, over, record_size, terms};

/// Early data at most, as HAProxy with its default buffers (`tune.bufsize` less `tune.maxrewrite`).
const EARLY_DATA_MAX: u32 = 15_360;

/// Loads what `bind` names.
///
/// # Errors
/// Every reason at once, in HAProxy's words where it has some, without place.
pub fn acceptor(bind: &Bind, global: &Global, stores: &Stores) -> Result<Loaded<Acceptor>, Vec<String>> {
    let mut build = Build {
        bind,
        global,
        stores,
        index: Index::default(),
        options: vec![Options::of(bind, global)],
        warnings: Vec::new(),
        errors: Vec::new(),
    };
    build.sources();
    build.finish()
}

struct Build<'a> {
    bind: &'a Bind,
    global: &'a Global,
    stores: &'a Stores,
    index: Index,
    /// Distinct ones; lines refer to them by number.
    options: Vec<Options>,
    warnings: Vec<String>,
    errors: Vec<String>,
}

/// What may differ from line to line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Options {
    profile: Profile,
    client: ClientAuth,
    allow_0rtt: bool,
}

impl Options {
    fn of(bind: &Bind, global: &Global) -> Self {
        Self {
            profile: over(&bind.profile, &global.bind),
            client: bind.client.clone(),
            allow_0rtt: bind.allow_0rtt,
        }
    }

    /// What a line of a `crt-list` makes of its bind's options.
    fn with(&self, line: &crt_list::Options) -> Self {
        let client = self.client.clone();
        Self {
            profile: over(&line.profile, &self.profile),
            client: ClientAuth {
                verify: line.verify.unwrap_or(client.verify),
                ca_file: line.ca_file.clone().or(client.ca_file),
                ca_verify_file: line.ca_verify_file.clone().or(client.ca_verify_file),
                crl_file: line.crl_file.clone().or(client.crl_file),
                no_ca_names: line.no_ca_names || client.no_ca_names,
                ..client
            },
            allow_0rtt: line.allow_0rtt || self.allow_0rtt,
        }
    }
}

impl Build<'_> {
    /// All words that bring certificates, in the order of the line.
    fn sources(&mut self) {
        let bind = self.bind;
        let mut certificates = bind.certificates.iter();
        let mut defaults = bind.default_certificates.iter();
        let mut lists = bind.lists.iter();
        let rest = [
            vec![Source::DefaultCertificate; bind.default_certificates.len()],
            vec![Source::Certificate; bind.certificates.len()],
            vec![Source::List; bind.lists.len()],
        ];
        for source in bind.order.iter().chain(rest.iter().flatten()) {
            match source {
                Source::Certificate => {
                    certificates.next().into_iter().for_each(|path| self.certificate(path, false))
                }
                Source::DefaultCertificate => {
                    defaults.next().into_iter().for_each(|path| self.certificate(path, true))
                }
                Source::List => lists.next().into_iter().for_each(|path| self.list(path)),
            }
        }
        let lines: String = bind.list_lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        match crt_list::parse(Path::new("ssl-f-use"), &lines, self.global, &mut self.warnings) {
            Ok(entries) => entries.iter().for_each(|entry| self.entry(Path::new("ssl-f-use"), entry)),
            Err(errors) => self.errors.extend(errors),
        }
    }

    fn certificate(&mut self, path: &Path, default: bool) {
        self.load(path, &Overrides::default(), &Filters::default(), default, 0, "");
    }

    fn list(&mut self, path: &Path) {
        match crt_list::read(path, self.global, &mut self.warnings) {
            Ok(entries) => entries.iter().for_each(|entry| self.entry(path, entry)),
            Err(errors) => self.errors.extend(errors),
        }
    }

    fn entry(&mut self, list: &Path, entry: &Entry) {
        let place = format!("'crt-list' : parsing [{}:{}]: ", list.display(), entry.line);
        let options = self.options[0].with(&entry.options);
        let known = self.options.iter().position(|known| *known == options);
        let number = known.unwrap_or_else(|| {
            self.options.push(options);
            self.options.len() - 1
        });
        self.load(&entry.certificate, &entry.overrides, &entry.filters, false, number, &place);
    }

    fn load(
        &mut self,
        path: &Path,
        overrides: &Overrides,
        filters: &Filters,
        default: bool,
        options: usize,
        place: &str,
    ) {
        match self.stores.certificates(path, overrides) {
            Ok(loaded) => {
                self.warnings.extend(loaded.warnings.into_iter().map(|warning| format!("{place}{warning}")));
                let options = u32::try_from(options).expect("there are no more options than lines in memory");
                for certificate in loaded.value {
                    let mut filters = filters.clone();
                    // Beside its own names, unlike the `*` of a list.
                    if default {
                        filters.names = Some(certificate.names().to_vec());
                        filters.default = true;
                    }
                    self.index.add(certificate, &filters, options);
                }
            }
            Err(messages) => {
                self.errors.extend(messages.into_iter().map(|message| format!("{place}{message}")))
            }
        }
    }

    fn finish(mut self) -> Result<Loaded<Acceptor>, Vec<String>> {
        let strict = self.bind.strict_sni || self.global.bind_strict_sni;
        let generator = self.generator();
        let options = std::mem::take(&mut self.options);
        let prepared: Vec<_> = options.iter().map(|options| self.prepare(options)).collect();
        if self.index.is_empty() && self.errors.is_empty() && generator.is_none() {
            if strict {
                self.warnings
                    .push("no SSL certificate specified, ssl connections will fail (use 'crt').".to_owned());
            } else {
                self.errors.push("no SSL certificate specified (use 'crt').".to_owned());
            }
        }
        if !self.errors.is_empty() {
            // Sets of options share what is wrong with the bind line.
            let mut said = HashSet::new();
            self.errors.retain(|error| said.insert(error.clone()));
            return Err(self.errors);
        }
        let choice = Arc::new(Choice { index: std::mem::take(&mut self.index), strict, generator });
        let configs: Result<Vec<_>, _> = prepared
            .into_iter()
            .flatten()
            .zip(&options)
            .map(|(prepared, options)| self.config(prepared, options, choice.clone()).map(Arc::new))
            .collect();
        match configs {
            Ok(configs) => Ok(Loaded {
                value: Acceptor { choice, configs, capture_buffer: self.global.capture_buffer },
                warnings: self.stores.only_new(self.warnings),
            }),
            Err(message) => Err(vec![message]),
        }
    }

    fn generator(&mut self) -> Option<Generator> {
        if !self.bind.generate {
            return None;
        }
        let Some(file) = &self.bind.sign_file else {
            self.errors
                .push("cannot enable certificate generation, no CA certificate File configured".to_owned());
            return None;
        };
        match Generator::load(file, self.bind.sign_pass.as_deref(), self.global.generated_cache) {
            Ok(generator) => Some(generator),
            Err(message) => {
                self.errors.push(message);
                None
            }
        }
    }

    /// Everything that can fail for a reason that the configuration gives.
    fn prepare(&mut self, options: &Options) -> Option<Prepared> {
        let (warnings, errors) = (&mut self.warnings, &mut self.errors);
        let terms = terms(Side::Bind, &options.profile, &Profile::default(), warnings, errors);
        let client = &options.client;
        let authorities = match client.verify {
            Verify::None => None,
            _ if client.ca_file.is_none() && client.ca_verify_file.is_none() => {
                errors.push("verify is enabled but no CA file specified.".to_owned());
                return None;
            }
            _ => {
                let [ca, more, crl] =
                    [&client.ca_file, &client.ca_verify_file, &client.crl_file].map(Option::as_deref);
                Some(authorities(self.stores, ca, more, crl, warnings, errors)?)
            }
        };
        Some(Prepared { terms: terms?, authorities })
    }

    fn config(
        &self,
        prepared: Prepared,
        options: &Options,
        choice: Arc<Choice>,
    ) -> Result<ServerConfig, String> {
        let Prepared { terms, authorities } = prepared;
        let context = context(&options.client, authorities.as_deref());
        let verifier = authorities.map(|authorities| {
            Arc::new(ClientVerifier::new(terms.provider.clone(), authorities, &options.client))
        });
        let resolver =
            Resolver { choice, verifier: verifier.clone(), sign: terms.sign.clone().map(Into::into) };
        let builder = ServerConfig::builder_with_provider(terms.provider.clone())
            .with_protocol_versions(&terms.versions)
            .map_err(|error| error.to_string())?;
        let mut config = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(Arc::new(resolver));
        config.ignore_client_order =
            !(self.bind.prefer_client_ciphers || self.global.bind_prefer_client_ciphers);
        config.alpn_protocols = terms.alpn.unwrap_or_default();
        config.max_fragment_size = record_size(self.global);
        // After the handshake the records are ours (sockeye-record).
        config.enable_secret_extraction = true;
        if self.global.keylog {
            config.key_log = Arc::new(KeyNotes);
        }
        if self.global.cache_size > 0 {
            config.session_storage = Arc::new(Sessions { cache: self.stores.sessions(), context });
        } else {
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        // Early data is replayed unless its session can be resumed once only, which tickets cannot know (RFC 8446 §8.1).
        if options.allow_0rtt && self.global.cache_size > 0 {
            config.max_early_data_size = EARLY_DATA_MAX;
        } else if terms.tickets {
            let keys = self.stores.ticket_keys(self.bind.ticket_keys.as_deref())?;
            config.ticketer = Arc::new(Ticketer { keys, context, lifetime: self.global.lifetime });
        } else if self.global.cache_size == 0 {
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }
}

struct Prepared {
    terms: Terms,
    authorities: Option<Arc<Authorities>>,
}

/// A digest of everything that decides whether a client's certificate is believed: sessions are resumed without looking at
/// it again. Equal on all machines with the same files, so that they can share `tls-ticket-keys`.
fn context(client: &ClientAuth, authorities: Option<&Authorities>) -> Context {
    let mut digest = digest::Context::new(&digest::SHA256);
    if let Some(authorities) = authorities {
        let rules = format!("{:?} {:?} {:?}", client.verify, client.crt_ignore_err, client.ca_ignore_err);
        digest.update(rules.as_bytes());
        for part in authorities.parts() {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
    let mut context = Context::default();
    context.copy_from_slice(digest.finish().as_ref());
    context
}
