//! Certificates from files: PEM, neighbours, bundles, directories, and `crt-store` (manual 5.1 `crt`, 3.1
//! `ssl-load-extra-files`, 12.7).

pub(crate) mod certificate;
pub(crate) mod encrypted;
pub(crate) mod fault;
pub(crate) mod pem;
mod stores;

pub use certificate::{Certificate, Kind};
pub(crate) use stores::Overrides;
pub use stores::Stores;
