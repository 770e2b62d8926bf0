//! TLS: certificates and keys from files, who presents which, and what OpenSSL's words mean to rustls.
//!
//! The configuration fills [`settings`] with what a line says, word for word.

pub mod settings;

pub mod handshake;
pub mod record;
