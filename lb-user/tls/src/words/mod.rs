//! OpenSSL's words for what TLS may use, and what of it rustls has.

mod ciphers;
mod groups;
mod schemes;
mod versions;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{SignatureScheme, SupportedProtocolVersion};

use crate::settings::{Global, Profile, Version};

/// A [`Profile`] after its defaults were applied, in rustls' terms.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    /// What our own keys may sign with; `None`: anything.
    pub(crate) sign: Option<Vec<SignatureScheme>>,
    pub(crate) alpn: Option<Vec<Vec<u8>>>,
    pub(crate) tickets: bool,
}

/// Whose words: they end up in different places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Bind,
    Server,
}

/// Reads `profile` over `defaults`.
pub(crate) fn terms(
    side: Side,
    profile: &Profile,
    defaults: &Profile,
    warnings: &mut Vec<String>,
    errors: &mut Vec<String>,
) -> Option<Terms> {
    let said = errors.len();
    let profile = over(profile, defaults);
    let versions = versions::enabled(&profile);
    if versions.is_empty() {
        errors
            .push("all SSL/TLS versions are disabled: TLSv1.2 and TLSv1.3 are the ones there are".to_owned());
    }
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = ciphers::suites(&profile, versions.contains(&Version::Tls12), warnings, errors);
    // rustls would offer suites of versions that are left out, and choose certificates by them.
    let spoken: Vec<_> = versions.iter().map(|version| versions::of(*version)).collect();
    provider.cipher_suites.retain(|suite| spoken.contains(&suite.version()));
    if let Some(curves) = &profile.curves {
        provider.kx_groups = groups::groups(curves, warnings, errors);
    }
    // A server restricts what clients sign with `client-sigalgs` and its own keys with `sigalgs`; for a client it is the
    // other way around: `sigalgs` is what it accepts of the server.
    let (own, peer) = match side {
        Side::Bind => (&profile.sigalgs, profile.client_sigalgs.as_ref().or(profile.sigalgs.as_ref())),
        Side::Server => (&profile.client_sigalgs, profile.sigalgs.as_ref()),
    };
    let sign = own.as_ref().map(|words| schemes::schemes(words, warnings, errors));
    if let Some(words) = peer {
        let mut said = Vec::new();
        let accepted = schemes::schemes(words, &mut said, errors);
        if own.as_ref() != Some(words) {
            warnings.append(&mut said);
        }
        provider.signature_verification_algorithms = schemes::verifying(&accepted);
    }
    (errors.len() == said).then(|| Terms {
        provider: Arc::new(provider),
        versions: spoken,
        sign,
        alpn: profile.alpn.clone(),
        tickets: profile.tickets.unwrap_or(true),
    })
}

/// What `profile` does not say is as `defaults` say.
pub(crate) fn over(profile: &Profile, defaults: &Profile) -> Profile {
    let said = profile.clone();
    Profile {
        ciphers: said.ciphers.or_else(|| defaults.ciphers.clone()),
        ciphersuites: said.ciphersuites.or_else(|| defaults.ciphersuites.clone()),
        curves: said.curves.or_else(|| defaults.curves.clone()),
        sigalgs: said.sigalgs.or_else(|| defaults.sigalgs.clone()),
        client_sigalgs: said.client_sigalgs.or_else(|| defaults.client_sigalgs.clone()),
        min: said.min.or(defaults.min),
        max: said.max.or(defaults.max),
        without: if said.without.is_empty() { defaults.without.clone() } else { said.without },
        tickets: said.tickets.or(defaults.tickets),
        alpn: said.alpn.or_else(|| defaults.alpn.clone()),
    }
}

/// `tune.ssl.maxrecord` and `tune.ssl.hard-maxrecord` as rustls counts: with the header, within what TLS allows.
pub(crate) fn record_size(global: &Global) -> Option<usize> {
    /// Bytes of a record's header.
    const HEADER: usize = 5;
    let limits = [global.max_record, global.hard_max_record];
    let most = limits.into_iter().filter(|limit| *limit > 0).min()?;
    Some((most.min(16_384) + HEADER).max(32))
}
