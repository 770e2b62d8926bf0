//! Decisions: one exchange, from its first byte to its log line.
//!
//! A TCP session is one stream ([`tcp`]); an HTTP session is one per request ([`http`]). Both run the same stages:
//! a backend, a server ([`retry`]), bytes both ways, an [`abort::Ending`], one [`log`] line.

pub mod abort;
pub mod balance_key;
pub mod capture;
pub mod duplex;
pub mod forwarding;
pub mod heads;
pub mod http;
pub mod log;
pub mod proxy_header;
pub mod retry;
pub mod rules;
pub mod server_name;
pub mod tcp;
pub mod websocket;
