//! TLS on our own connections (manual 7.3.4).
//!
//! What there is to know is in [`TlsFacts`](sockeye_sample::TlsFacts). Without TLS, what asks whether there is has its
//! answer, and what asks about a session or a certificate has none.

mod alternative;
mod capture;
mod certificate;
mod certificates;
mod connection;
mod der;
mod header;
mod name;
mod oids;

#[cfg(test)]
mod tests;

use sockeye_sample::Fetch;

pub use header::{client_common_name, own_key, own_signature};

pub(crate) fn tables() -> [&'static [Fetch]; 3] {
    [connection::FETCHES, certificates::FETCHES, capture::FETCHES]
}
