//! The converters of the expression language (manual 7.3.1), one table per family.

use sockeye_sample::Converter;

mod address;
mod calendar;
mod condition;
mod crypto;
mod date;
mod encode;
mod fix;
mod forwarded;
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
mod world;
mod x509;

/// Every converter that is obeyed.
pub fn all() -> Vec<&'static [Converter]> {
    vec![
        address::TABLE,
        condition::TABLE,
        crypto::TABLE,
        date::TABLE,
        encode::TABLE,
        fix::TABLE,
        forwarded::TABLE,
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
        world::TABLE,
        x509::TABLE,
    ]
}
