//! Whether a peer's certificate is believed. Manual 5.1 and 5.2 `verify`, `ca-file`, `crl-file`, `crt-ignore-err`.
//!
//! webpki decides. Where it refuses something that OpenSSL accepts, and where errors are to be ignored or named, [`walk`]
//! goes along the chain as OpenSSL does and lists every problem with its number and depth. Differences that remain:
//! a certificate in `ca-file` is trusted even if it is an intermediate one whose root is not there, or has expired; SHA-1
//! and RSA keys below 2048 bits are refused everywhere.

mod authorities;
mod client;
mod names;
mod numbers;
mod root;
mod server;
mod signature;
mod walk;

pub(crate) use authorities::{Authorities, AuthoritiesKey, authorities};
pub(crate) use client::ClientVerifier;
pub(crate) use names::Names;
pub use numbers::verify_error;
pub(crate) use server::ServerVerifier;
pub(crate) use signature::is_signed_by;
pub use walk::Problem;
