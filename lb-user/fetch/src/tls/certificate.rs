//! The fields of one certificate (RFC 5280 §4.1), borrowed from its DER.

use std::borrow::Cow;

use super::der::{self, BIT_STRING, BOOLEAN, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE};

/// What expressions ask of a certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Certificate<'a> {
    /// From 1.
    pub(crate) version: i64,
    serial: &'a [u8],
    /// The names, each with tag and length.
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    /// Without the century.
    pub(crate) not_before: &'a [u8],
    pub(crate) not_after: &'a [u8],
    /// Object identifiers.
    pub(crate) key_algorithm: &'a [u8],
    pub(crate) signature_algorithm: &'a [u8],
    /// The key itself, behind the number of its unused bits.
    key: &'a [u8],
    extensions: &'a [u8],
}

const SUBJECT_ALTERNATIVE_NAME: &[u8] = b"\x55\x1d\x11";

impl<'a> Certificate<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut outer = Reader(Reader(bytes).expect(SEQUENCE)?);
        let mut fields = Reader(outer.expect(SEQUENCE)?);
        let signature_algorithm = algorithm(outer.expect(SEQUENCE)?)?;
        let version = match fields.optional(0xa0) {
            Some(version) => i64::from(*Reader(version).expect(INTEGER)?.last()?) + 1,
            None => 1,
        };
        let serial = fields.expect(INTEGER)?;
        let _signature_algorithm = fields.expect(SEQUENCE)?;
        let issuer = name(&mut fields)?;
        let mut validity = Reader(fields.expect(SEQUENCE)?);
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = name(&mut fields)?;
        let mut key = Reader(fields.expect(SEQUENCE)?);
        let key_algorithm = algorithm(key.expect(SEQUENCE)?)?;
        let key = key.expect(BIT_STRING)?;
        let _issuer_id = fields.optional(0x81);
        let _subject_id = fields.optional(0x82);
        let extensions = match fields.optional(0xa3) {
            Some(extensions) => Reader(extensions).expect(SEQUENCE)?,
            None => &[],
        };
        Some(Self {
            version,
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            key_algorithm,
            signature_algorithm,
            key,
            extensions,
        })
    }

    /// What kind of key it has, and of how many bits; `None` for kinds without a choice.
    pub(crate) fn key_bits(&self) -> Option<(&'static str, usize)> {
        match self.key_algorithm {
            b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01" => {
                let modulus = Reader(Reader(self.key.get(1..)?).expect(SEQUENCE)?).expect(INTEGER)?;
                let modulus = &modulus[modulus.iter().take_while(|byte| **byte == 0).count()..];
                let unused = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
                Some(("RSA", modulus.len() * 8 - unused))
            }
            b"\x2a\x86\x48\xce\x3d\x02\x01" => {
                // An uncompressed point: 4 and two coordinates, 521 bits of which fill 66 bytes.
                let coordinate = self.key.get(2..)?.len() / 2;
                Some(("EC", (coordinate * 8).min(if coordinate == 66 { 521 } else { usize::MAX })))
            }
            _ => None,
        }
    }

    /// The serial number's magnitude, as OpenSSL keeps it, without the zero that only says that it is positive.
    pub(crate) fn serial(&self) -> Cow<'a, [u8]> {
        match self.serial {
            [0, rest @ ..] if !rest.is_empty() => Cow::Borrowed(rest),
            serial if serial.first().is_some_and(|first| first & 0x80 != 0) => {
                let mut magnitude: Vec<u8> = serial.iter().map(|byte| !byte).collect();
                for byte in magnitude.iter_mut().rev() {
                    let (next, carried) = byte.overflowing_add(1);
                    *byte = next;
                    if !carried {
                        break;
                    }
                }
                let leading = magnitude.iter().take_while(|byte| **byte == 0).count();
                Cow::Owned(magnitude.split_off(leading))
            }
            serial => Cow::Borrowed(serial),
        }
    }

    /// The names of the extension for other names of the subject: what its SEQUENCE holds.
    pub(crate) fn alternative_names(&self) -> Option<&'a [u8]> {
        let extension = Reader(self.extensions).find_map(|extension| {
            let mut fields = Reader(extension.body);
            (fields.expect(OID)? == SUBJECT_ALTERNATIVE_NAME).then_some(fields)
        });
        let mut fields = extension?;
        let _critical = fields.optional(BOOLEAN);
        Reader(fields.expect(OCTET_STRING)?).expect(SEQUENCE)
    }
}

/// The identifier of an AlgorithmIdentifier.
fn algorithm(body: &[u8]) -> Option<&[u8]> {
    Reader(body).expect(OID)
}

fn name<'a>(fields: &mut Reader<'a>) -> Option<&'a [u8]> {
    fields.any().filter(|name| name.tag == SEQUENCE).map(|name| name.whole)
}

/// A date, without the century that one of its two forms has.
fn time<'a>(fields: &mut Reader<'a>) -> Option<&'a [u8]> {
    let der::Element { tag, body, .. } = fields.any()?;
    if tag == GENERALIZED_TIME { body.get(2..) } else { Some(body) }
}
