//! What a `bind … ssl` line becomes: rustls configurations, and which of them a client gets. Manual 5.1.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::files::{Certificate, Stores};
use crate::handshake::note;
use crate::index::{Filters, Index, Line};
use crate::settings::{Bind, ClientAuth, Global, Verify};
use crate::verify::{Authorities, ClientVerifier, authorities};
use crate::words::{Side, Terms, terms};
use crate::Loaded;

/// Everything handshakes of one bind line run on. Shared by all threads.
pub struct Acceptor {
    choice: Arc<Choice>,
    /// One for every distinct set of options; the first is the bind line's own.
    configs: Vec<Arc<ServerConfig>>,
}

/// How to begin a handshake.
#[derive(Debug)]
pub enum Start<'a> {
    /// One configuration for every client: `rustls::ServerConnection::new`.
    Direct(&'a Arc<ServerConfig>),
    /// The ClientHello decides: `rustls::server::Acceptor`, then [`Acceptor::config_for`].
    ByHello,
}

/// The client asked for a name that nothing stands for, under `strict-sni`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no certificate for the name that the client asked for")]
pub struct Refused;

impl Refused {
    /// The record to send before closing: a fatal `unrecognized_name` (RFC 6066 §3), in clear.
    pub const ALERT: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 112];
}

/// Loads what `bind` names.
///
/// # Errors
/// Every reason at once, in HAProxy's words where it has some, without place.
pub fn acceptor(bind: &Bind, global: &Global, stores: &Stores) -> Result<Loaded<Acceptor>, Vec<String>> {
    let mut warnings = Vec::new();
    let mut errors = Vec::new();
    let mut index = Index::default();
    let sources = [(&bind.default_certificates, true), (&bind.certificates, false)];
    for (path, default) in sources.iter().flat_map(|(paths, default)| paths.iter().map(move |path| (path, default))) {
        match stores.certificates(path) {
            Ok(loaded) => {
                warnings.extend(loaded.warnings);
                for certificate in loaded.value {
                    let filters = Filters { default: *default, names: certificate.names().to_vec(), ..Filters::default() };
                    index.add(certificate, &filters, 0);
                }
            }
            Err(messages) => errors.extend(messages),
        }
    }
    let verifier = client_verifier(&bind.client, stores, &mut warnings, &mut errors);
    let strict = bind.strict_sni || global.bind_strict_sni;
    let terms = terms(Side::Bind, &bind.profile, &global.bind, &mut warnings, &mut errors);
    let (Some(terms), true) = (terms, errors.is_empty()) else {
        return Err(errors);
    };
    if index.is_empty() {
        if !strict {
            return Err(vec!["no SSL certificate specified (use 'crt').".to_owned()]);
        }
        warnings.push("no SSL certificate specified, ssl connections will fail (use 'crt').".to_owned());
    }
    let choice = Arc::new(Choice { index, strict });
    let verifier = verifier.map(|authorities| {
        Arc::new(ClientVerifier::new(terms.provider.clone(), authorities, &bind.client))
    });
    let config = config(&terms, bind, global, Resolver { choice: choice.clone(), verifier }).map_err(|error| vec![error.to_string()])?;
    Ok(Loaded { value: Acceptor { choice, configs: vec![Arc::new(config)] }, warnings })
}

fn client_verifier(
    client: &ClientAuth,
    stores: &Stores,
    warnings: &mut Vec<String>,
    errors: &mut Vec<String>,
) -> Option<Arc<Authorities>> {
    if client.verify == Verify::None {
        return None;
    }
    if client.ca_file.is_none() && client.ca_verify_file.is_none() {
        errors.push("verify is enabled but no CA file specified.".to_owned());
        return None;
    }
    let [ca, more, crl] = [&client.ca_file, &client.ca_verify_file, &client.crl_file].map(Option::as_deref);
    authorities(stores, ca, more, crl, warnings, errors)
}

fn config(terms: &Terms, bind: &Bind, global: &Global, resolver: Resolver) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(terms.provider.clone()).with_protocol_versions(&terms.versions)?;
    let builder = match &resolver.verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.ignore_client_order = !(bind.prefer_client_ciphers || global.bind_prefer_client_ciphers);
    config.alpn_protocols = terms.alpn.clone().unwrap_or_default();
    // After the handshake the records are ours (sockeye-record).
    config.enable_secret_extraction = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

impl Acceptor {
    /// How to begin.
    #[must_use]
    pub fn start(&self) -> Start<'_> {
        match &self.configs[..] {
            [config] if !self.choice.strict => Start::Direct(config),
            _ => Start::ByHello,
        }
    }

    /// The configuration of the line whose certificate this client gets.
    ///
    /// # Errors
    /// Nothing stands for the name and `strict-sni` is set: send [`Refused::ALERT`] and close.
    pub fn config_for(&self, hello: &ClientHello<'_>) -> Result<&Arc<ServerConfig>, Refused> {
        let line = self.choice.line(hello).ok_or(Refused)?;
        Ok(&self.configs[line.options as usize])
    }

    /// All certificates, in the order of the lines.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.choice.index.lines().iter().map(|line| &line.certificate)
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Acceptor").field("certificates", &self.choice.index.lines().len()).finish_non_exhaustive()
    }
}

/// Who is shown what.
#[derive(Debug)]
struct Choice {
    index: Index,
    strict: bool,
}

impl Choice {
    fn line(&self, hello: &ClientHello<'_>) -> Option<&Line> {
        let schemes = hello.signature_schemes();
        let named = hello.server_name().and_then(|name| self.index.find(name, schemes));
        if named.is_some() || self.strict { named } else { self.index.fallback(schemes) }
    }
}

/// What one configuration asks when a handshake needs a certificate.
#[derive(Debug)]
struct Resolver {
    choice: Arc<Choice>,
    verifier: Option<Arc<ClientVerifier>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let presented = self.choice.line(&hello)?.certificate.presented();
        note(|handshake| {
            handshake.presented = Some(presented.clone());
            handshake.verifier.clone_from(&self.verifier);
        });
        Some(presented)
    }
}
