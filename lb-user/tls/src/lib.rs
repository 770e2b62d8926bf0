//! TLS: certificates and keys from files, who presents which, and what OpenSSL's words mean to rustls.
//!
//! The configuration fills [`settings`] with what a line says, word for word. [`acceptor`] and [`connector`] make of it what
//! handshakes run on, or all the reasons why they cannot. No socket and no task is here: the caller moves the bytes, and
//! takes what a handshake found out with [`taken`] right after it called rustls.

pub mod settings;

mod crt_list;
mod der;
mod files;
mod generate;
mod index;
mod ocsp;
mod sessions;
mod verify;
mod words;

mod acceptor;
mod connector;
mod handshake;
mod reason;
mod secrets;

pub use acceptor::{Acceptor, Refused, Start, acceptor};
pub use connector::{Connection, Connector, connector};
pub use files::{Certificate, Kind, Stores};
pub use handshake::{Handshake, Verdict, taken};
pub use ocsp::{OcspFault, OcspRequest};
pub use reason::openssl_reason;
pub use secrets::Secret;
pub use verify::{Problem, verify_error};

/// Something that loaded, and what to warn of (without place).
#[derive(Debug)]
pub struct Loaded<T> {
    pub value: T,
    pub warnings: Vec<String>,
}

impl<T> From<T> for Loaded<T> {
    fn from(value: T) -> Self {
        Self { value, warnings: Vec::new() }
    }
}
