//! What a `server … ssl` line becomes. Manual 5.2.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::Loaded;
use crate::acceptor::Restricted;
use crate::files::{Overrides, Stores};
use crate::settings::{Global, Server, Verify};
use crate::verify::{self, Names, ServerVerifier};
use crate::words::{Side, record_size, terms};

/// Everything handshakes with one server run on. Cheap to clone; clones share sessions.
#[derive(Clone)]
pub struct Connector {
    /// For connections that name the server: the certificate must have that name.
    named: Arc<ClientConfig>,
    /// For those that do not: `verifyhost` decides, or any name will do.
    unnamed: Arc<ClientConfig>,
}

/// What `rustls::ClientConnection::new` wants.
#[derive(Debug)]
pub struct Connection {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

/// Loads what `server` names.
///
/// # Errors
/// Every reason at once, in HAProxy's words where it has some, without place.
pub fn connector(
    server: &Server,
    global: &Global,
    stores: &Stores,
) -> Result<Loaded<Connector>, Vec<String>> {
    let mut warnings = Vec::new();
    let mut errors = Vec::new();
    let terms = terms(Side::Server, &server.profile, &global.server, &mut warnings, &mut errors);
    let certificate =
        server.certificate.as_ref().and_then(|path| match stores.certificates(path, &Overrides::default()) {
            Ok(loaded) => {
                warnings.extend(loaded.warnings);
                loaded.value.into_iter().next()
            }
            Err(messages) => {
                errors.extend(messages);
                None
            }
        });
    let verify = server.verify.unwrap_or(global.server_verify) != Verify::None;
    if verify && server.ca_file.is_none() {
        errors.push(NO_CA.to_owned());
    }
    let authorities = verify::authorities(
        stores,
        server.ca_file.as_deref().filter(|_| verify),
        None,
        server.crl_file.as_deref().filter(|_| verify),
        &mut warnings,
        &mut errors,
    );
    let (Some(terms), Some(authorities), true) = (terms, authorities, errors.is_empty()) else {
        return Err(errors);
    };
    let resumption = match (server.no_reuse, terms.tickets) {
        (true, _) => Resumption::disabled(),
        (false, true) => Resumption::in_memory_sessions(SESSIONS),
        // In TLS 1.3 there is nothing else than tickets.
        (false, false) => {
            Resumption::in_memory_sessions(SESSIONS).tls12_resumption(Tls12Resumption::SessionIdOnly)
        }
    };
    let make = |names: Names, sni: bool| {
        let verifier =
            ServerVerifier::new(terms.provider.clone(), verify.then(|| authorities.clone()), names);
        let builder = ClientConfig::builder_with_provider(terms.provider.clone())
            .with_protocol_versions(&terms.versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &certificate {
            Some(certificate) => {
                let mut presented = CertifiedKey::clone(&certificate.presented());
                if let Some(schemes) = &terms.sign {
                    presented.key =
                        Arc::new(Restricted { key: presented.key, schemes: schemes.clone().into() });
                }
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(presented)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = terms.alpn.clone().unwrap_or_default();
        // After the handshake the records are ours (sockeye-record).
        config.enable_secret_extraction = true;
        config.enable_sni = sni;
        config.resumption = resumption.clone();
        config.max_fragment_size = record_size(global);
        Ok(Arc::new(config))
    };
    let host = server.verify_host.as_deref().map_or(Names::Any, |host| Names::Fixed(host.into()));
    let both = make(Names::Asked, true).and_then(|named| Ok((named, make(host, false)?)));
    let (named, unnamed) = both.map_err(|error: rustls::Error| vec![error.to_string()])?;
    Ok(Loaded { value: Connector { named, unnamed }, warnings: stores.only_new(warnings) })
}

/// Sessions kept per server line. HAProxy keeps one per thread and server; a few names share a line where `sni` varies.
const SESSIONS: usize = 64;

const NO_CA: &str = "verify is enabled by default but no CA file specified. If you're running on a LAN where you're certain to \
                     trust the server's certificate, please set an explicit 'verify none' statement on the 'server' line, or \
                     use 'ssl-server-verify none' in the global section to disable server-side verifications by default.";

impl Connector {
    /// How to connect to `address` with what `sni` evaluated to.
    ///
    /// Never fails: a text that is no name of a host is not sent, as the extension has no way to say it, and nothing is in
    /// the certificate that it could match, so that a server that is verified is refused.
    #[must_use]
    pub fn connection(&self, sni: Option<&str>, address: IpAddr) -> Connection {
        let name = || ServerName::IpAddress(address.into());
        match sni.filter(|sni| !sni.is_empty()) {
            None => Connection { config: self.unnamed.clone(), name: name() },
            Some(sni) => {
                let name = ServerName::try_from(sni.to_owned()).unwrap_or_else(|_| name());
                Connection { config: self.named.clone(), name }
            }
        }
    }

    /// The same with other protocols (`check-alpn`, or none at all: an empty list).
    #[must_use]
    pub fn with_alpn(&self, alpn: &[Vec<u8>]) -> Self {
        let with = |config: &Arc<ClientConfig>| {
            let mut config = ClientConfig::clone(config);
            config.alpn_protocols = alpn.to_vec();
            Arc::new(config)
        };
        Self { named: with(&self.named), unnamed: with(&self.unnamed) }
    }

    /// The protocols that are offered.
    #[must_use]
    pub fn alpn(&self) -> &[Vec<u8>] {
        &self.named.alpn_protocols
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connector").finish_non_exhaustive()
    }
}
