//! The sample fetches of the expression language (manual 7.3.2 to 7.3.6), and the words that only conditions have.
//!
//! Pure: a fetch looks at a [`Scene`](sockeye_sample::Scene) and nothing else. One static table per chapter or
//! mechanism, collected by [`all`]; which arguments a word takes and where it is valid stands in the signatures of
//! `sockeye-sample`. A fetch whose subject may still arrive says so with `Scene::wait`.

mod arguments;

mod constant;
mod process;
mod proxy;

mod connection;
mod errors;
mod stream;

mod http;

mod distcc;
mod hello;
mod payload;
mod rdp;
mod tls;

mod acl_words;

#[cfg(test)]
mod testing;

use sockeye_sample::Fetch;

pub use acl_words::{ACLS, PREDEFINED};

/// Every fetch that is obeyed.
pub fn all() -> Vec<&'static [Fetch]> {
    let mut tables = vec![
        constant::FETCHES,
        process::FETCHES,
        proxy::FETCHES,
        connection::FETCHES,
        errors::FETCHES,
        stream::FETCHES,
        payload::FETCHES,
        hello::FETCHES,
        rdp::FETCHES,
        distcc::FETCHES,
        tls::FETCHES,
    ];
    tables.extend(http::all());
    tables
}
