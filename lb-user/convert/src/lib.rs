//! The converters of the expression language (manual 7.3.1), one table per family.

use sockeye_sample::Converter;

mod crypto;
mod fix;
mod json;
mod jwt;
mod mqtt;
mod packet;
mod protobuf;
mod x509;

/// Every converter that is obeyed.
pub fn all() -> Vec<&'static [Converter]> {
    vec![
        crypto::TABLE,
        fix::TABLE,
        json::TABLE,
        jwt::TABLE,
        mqtt::TABLE,
        packet::TABLE,
        protobuf::TABLE,
        x509::TABLE,
    ]
}
