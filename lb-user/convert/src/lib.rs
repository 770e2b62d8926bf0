//! The converters of the expression language (manual 7.3.1), one table per family.

use sockeye_sample::Converter;

mod crypto;
mod encode;
mod fix;
mod hash;
mod json;
mod jwt;
mod maps;
mod mqtt;
mod number;
mod operand;
mod packet;
mod protobuf;
mod substitute;
mod text;
mod variables;
mod x509;

/// Every converter that is obeyed.
pub fn all() -> Vec<&'static [Converter]> {
    vec![
        crypto::TABLE,
        encode::TABLE,
        fix::TABLE,
        hash::TABLE,
        json::TABLE,
        jwt::TABLE,
        maps::TABLE,
        mqtt::TABLE,
        number::TABLE,
        packet::TABLE,
        protobuf::TABLE,
        substitute::TABLE,
        text::TABLE,
        variables::TABLE,
        x509::TABLE,
    ]
}
