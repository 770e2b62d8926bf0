//! OCSP responses that are stapled (RFC 6960), and the requests that fetch them. Manual 5.1 `crt`, 12.7.1 `ocsp-update`.
//!
//! The signature of a response is not checked: clients do, and who can write the file can write the key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::der::{
    ENUMERATED, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, context, write,
};

/// Why a response is not stapled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OcspFault {
    #[error("it is not an OCSP response")]
    Damaged,
    #[error("OCSP response status not successful ({0})")]
    Status(u8),
    #[error("OCSP response ignored because contains {0} single responses, not one")]
    Count(usize),
    #[error("OCSP response is for another certificate")]
    Other,
    #[error("OCSP single response: certificate status is not good (revoked)")]
    Revoked,
    #[error("OCSP single response: certificate status is not good (unknown)")]
    Unknown,
    #[error("OCSP single response: not yet valid")]
    TooEarly,
    #[error("OCSP single response: no longer valid")]
    TooLate,
    #[error("the issuer's certificate is not known")]
    NoIssuer,
}

/// A request by HTTP POST, `application/ocsp-request` (RFC 6960 appendix A.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspRequest {
    /// `http://…` as the certificate says it.
    pub uri: String,
    pub body: Vec<u8>,
}

/// Clocks of responders may be ahead by so much, as in HAProxy.
const SKEW: Duration = Duration::from_mins(5);

const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
const OID_SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const OID_SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// Checks that `response` says that `leaf` is good now. Until when, if it says so.
pub(crate) fn check(
    response: &[u8],
    leaf: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<Option<SystemTime>, OcspFault> {
    let mut response = Reader(Reader(response).take(SEQUENCE).ok_or(OcspFault::Damaged)?);
    match response.take(ENUMERATED).ok_or(OcspFault::Damaged)? {
        [0] => {}
        [status] => return Err(OcspFault::Status(*status)),
        _ => return Err(OcspFault::Damaged),
    }
    let singles = singles(response).ok_or(OcspFault::Damaged)?;
    let &[single] = singles.as_slice() else {
        return Err(OcspFault::Count(singles.len()));
    };
    let single = Single::read(single).ok_or(OcspFault::Damaged)?;
    let algorithm = match single.algorithm {
        OID_SHA1 => &SHA1_FOR_LEGACY_USE_ONLY,
        OID_SHA256 => &SHA256,
        _ => return Err(OcspFault::Other),
    };
    let id = Id::of(leaf, issuer, algorithm).ok_or(OcspFault::Damaged)?;
    if single.id != id {
        return Err(OcspFault::Other);
    }
    match single.status {
        0 => {}
        1 => return Err(OcspFault::Revoked),
        _ => return Err(OcspFault::Unknown),
    }
    if single.from > now + SKEW {
        return Err(OcspFault::TooEarly);
    }
    if single.until.is_some_and(|until| until < now) {
        return Err(OcspFault::TooLate);
    }
    Ok(single.until)
}

/// The single responses of a basic response.
fn singles(mut response: Reader<'_>) -> Option<Vec<&[u8]>> {
    let mut bytes = Reader(Reader(response.take(context(0))?).take(SEQUENCE)?);
    if bytes.take(OID)? != BASIC {
        return None;
    }
    let basic = Reader(bytes.take(OCTET_STRING)?).take(SEQUENCE)?;
    let mut data = Reader(Reader(basic).take(SEQUENCE)?);
    if data.peek() == Some(context(0)) {
        data.take(context(0))?;
    }
    data.take(data.peek().filter(|tag| [context(1), context(2)].contains(tag))?)?;
    data.take(GENERALIZED_TIME)?;
    let mut list = Reader(data.take(SEQUENCE)?);
    let mut singles = Vec::new();
    while list.peek().is_some() {
        singles.push(list.take(SEQUENCE)?);
    }
    Some(singles)
}

/// CertID: whose certificate is meant.
#[derive(Debug, PartialEq, Eq)]
struct Id {
    issuer_name: Vec<u8>,
    issuer_key: Vec<u8>,
    serial: Vec<u8>,
}

impl Id {
    fn of(leaf: &[u8], issuer: &[u8], algorithm: &'static Algorithm) -> Option<Self> {
        let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
        let (_, issuer) = X509Certificate::from_der(issuer).ok()?;
        let key = &issuer.public_key().subject_public_key.data;
        Some(Self {
            issuer_name: digest(algorithm, leaf.issuer().as_raw()).as_ref().to_vec(),
            issuer_key: digest(algorithm, key).as_ref().to_vec(),
            serial: leaf.raw_serial().to_vec(),
        })
    }
}

struct Single<'a> {
    algorithm: &'a [u8],
    id: Id,
    /// 0 good, 1 revoked, 2 unknown.
    status: u8,
    from: SystemTime,
    until: Option<SystemTime>,
}

impl<'a> Single<'a> {
    fn read(content: &'a [u8]) -> Option<Self> {
        let mut single = Reader(content);
        let mut id = Reader(single.take(SEQUENCE)?);
        let algorithm = Reader(id.take(SEQUENCE)?).take(OID)?;
        let id = Id {
            issuer_name: id.take(OCTET_STRING)?.to_vec(),
            issuer_key: id.take(OCTET_STRING)?.to_vec(),
            serial: id.take(INTEGER)?.to_vec(),
        };
        // [0] and [2] are NULL and primitive, [1] has a date and is constructed.
        let tag = single.peek()?;
        single.take(tag)?;
        let from = time(single.take(GENERALIZED_TIME)?)?;
        let until = match single.peek() {
            Some(tag) if tag == context(0) => Some(time(Reader(single.take(tag)?).take(GENERALIZED_TIME)?)?),
            _ => None,
        };
        Some(Self { algorithm, id, status: tag & 0x1f, from, until })
    }
}

/// `YYYYMMDDHHMMSSZ`, the only form that RFC 5280 §4.1.2.5.2 allows.
fn time(text: &[u8]) -> Option<SystemTime> {
    let (digits, b"Z") = text.split_at_checked(14)? else {
        return None;
    };
    let number = |from: usize, to: usize| -> Option<u64> {
        digits[from..to].iter().try_fold(0, |sum, digit| match digit {
            b'0'..=b'9' => Some(sum * 10 + u64::from(digit - b'0')),
            _ => None,
        })
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if year < 1970
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    // Years begin in March, so that the leap day is the last; 719,468 days are between 0000-03-01 and 1970-01-01.
    let year = if month <= 2 { year - 1 } else { year };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    UNIX_EPOCH
        .checked_add(Duration::from_secs((days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second))
}

/// The request that asks for `leaf`.
pub(crate) fn request(leaf: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> Option<OcspRequest> {
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let uri = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => access.accessdescs.iter().find_map(|access| {
            match (&access.access_location, access.access_method.to_id_string().as_str()) {
                (GeneralName::URI(uri), "1.3.6.1.5.5.7.48.1") => Some((*uri).to_owned()),
                _ => None,
            }
        }),
        _ => None,
    })?;
    let id = Id::of(leaf, issuer, &SHA1_FOR_LEGACY_USE_ONLY)?;
    let id = write(
        SEQUENCE,
        &[
            &write(SEQUENCE, &[&write(OID, &[OID_SHA1]), &[0x05, 0x00]]),
            &write(OCTET_STRING, &[&id.issuer_name]),
            &write(OCTET_STRING, &[&id.issuer_key]),
            &write(INTEGER, &[&id.serial]),
        ],
    );
    // OCSPRequest, TBSRequest, requestList, Request.
    let body = (0..4).fold(id, |inner, _| write(SEQUENCE, &[&inner]));
    Some(OcspRequest { uri, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(
                time(text.as_bytes()),
                expected.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
                "{text}"
            );
        };
        check("19700101000000Z", Some(0));
        check("20000229235959Z", Some(951_868_799));
        check("20260101120000Z", Some(1_767_268_800));
        check("99991231235959Z", Some(253_402_300_799));
        check("20261301000000Z", None);
        check("20260100000000Z", None);
        check("202601010000Z", None);
        check("20260101000000+", None);
        check("2026010100000\u{0}Z", None);
        check("19691231235959Z", None);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
        #[test]
        fn nothing_received_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let nobody = CertificateDer::from(Vec::new());
            let _ = check(&bytes, &nobody, &nobody, UNIX_EPOCH);
            let mut wrapped = write(ENUMERATED, &[&[0]]);
            wrapped.extend_from_slice(&bytes);
            let _ = check(&write(SEQUENCE, &[&wrapped]), &nobody, &nobody, UNIX_EPOCH);
        }
    }
}
