//! What a `bind … ssl` line becomes: rustls configurations, and which of them a client gets. Manual 5.1.
//!
//! What nearly every client gets is one configuration for all. Lines of a `crt-list` with options of their own have others,
//! and then the ClientHello must be looked at first.
//!
//! Differences to OpenSSL: a client whose ALPN names nothing of ours is refused, as RFC 7301 §3.2 demands; a client that
//! puts ChaCha20 first gets AES all the same, unless `prefer-client-ciphers` is set.

mod build;
mod choice;

use std::fmt;
use std::sync::Arc;

use rustls::server::ClientHello;
use rustls::{ServerConfig, SignatureScheme};

pub use build::acceptor;
use choice::Choice;
pub(crate) use choice::Restricted;

use crate::files::Certificate;

/// Everything handshakes of one bind line run on. Shared by all threads.
pub struct Acceptor {
    choice: Arc<Choice>,
    /// One for every distinct set of options; the first is the bind line's own.
    configs: Vec<Arc<ServerConfig>>,
    capture_buffer: usize,
}

/// How to begin a handshake.
#[derive(Debug)]
pub enum Start<'a> {
    /// One configuration for every client: `rustls::ServerConnection::new`.
    Direct(&'a Arc<ServerConfig>),
    /// The ClientHello decides: `rustls::server::Acceptor`, then [`Acceptor::config_for`]; or [`Acceptor::choose`] with what
    /// was found in it otherwise.
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
        self.choose(hello.server_name(), hello.signature_schemes())
    }

    /// As [`Acceptor::config_for`], with the name and the signature schemes of a ClientHello.
    ///
    /// # Errors
    /// Nothing stands for the name and `strict-sni` is set.
    pub fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Result<&Arc<ServerConfig>, Refused> {
        let options = self.choice.options(name, schemes).ok_or(Refused)?;
        Ok(&self.configs[options as usize])
    }

    /// The configuration of the bind line itself, which [`Start::Direct`] is.
    #[must_use]
    pub fn own(&self) -> &Arc<ServerConfig> {
        &self.configs[0]
    }

    /// Whether clients without a name that something stands for are refused.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.choice.strict
    }

    /// `tune.ssl.capture-buffer-size`: bytes of the ClientHello to keep for expressions, 0: none.
    #[must_use]
    pub fn capture_buffer(&self) -> usize {
        self.capture_buffer
    }

    /// All certificates, in the order of the lines; some may be there several times.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.choice.index.lines().iter().map(|line| &line.certificate)
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Acceptor")
            .field("certificates", &self.choice.index.lines().len())
            .field("configs", &self.configs.len())
            .finish_non_exhaustive()
    }
}
