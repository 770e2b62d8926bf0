//! Resumption: tickets that clients keep, and sessions that we keep. Manual 5.1 `tls-ticket-keys`, `no-tls-tickets`, 3.2
//! `tune.ssl.cachesize`, `tune.ssl.lifetime`.
//!
//! Both are shared by all binds. A session may only be resumed where its client would have been believed as well, so each is
//! tied to a [`Context`].

mod cache;
mod tickets;

pub(crate) use cache::{Cache, Sessions};
pub(crate) use tickets::{Keys, Ticketer};

/// A digest of what decides about clients' certificates.
pub(crate) type Context = [u8; 32];
