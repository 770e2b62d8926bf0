//! OCSP responses that are stapled (RFC 6960), and the requests that fetch them. Manual 5.1 `crt`, 12.7.1 `ocsp-update`.
//!
//! The signature of a response in a file is not checked: clients do, and who can write the file can write the key. That of a
//! response from the network is.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use rustls::pki_types::CertificateDer;

mod request;
mod response;
mod schedule;
mod signer;
mod time;

pub use request::OcspRequest;
pub(crate) use request::{is_http, request, responder};
use response::{Basic, Id, Single};

/// Why a response is not stapled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OcspFault {
    #[error("it is not an OCSP response")]
    Damaged,
    #[error("OCSP response status not successful ({0})")]
    Status(u8),
    #[error(
        "it is signed neither by the issuer of the certificate nor by a responder that the issuer has named"
    )]
    Signature,
    #[error("OCSP response ignored because contains {0} single responses, not one")]
    Count(usize),
    #[error("OCSP response is for another certificate")]
    Other,
    #[error("OCSP single response: certificate status is unknown")]
    Unknown,
    #[error("OCSP single response: not yet valid")]
    TooEarly,
    #[error("OCSP single response: no longer valid")]
    TooLate,
    #[error("the issuer's certificate is not known")]
    NoIssuer,
}

/// Where a response comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    File,
    Network,
}

/// Clocks of responders may be ahead by so much, as in HAProxy.
const SKEW: Duration = Duration::from_mins(5);

const OID_SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const OID_SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// Checks that `response` says what `leaf` is now: good, or revoked, which clients shall learn as well. Until when, if it says
/// so.
pub(crate) fn check(
    response: &[u8],
    leaf: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
    source: Source,
    now: SystemTime,
) -> Result<Option<SystemTime>, OcspFault> {
    let basic = Basic::read(response)?;
    if source == Source::Network && !signer::has_signed(&basic, issuer, now) {
        return Err(OcspFault::Signature);
    }
    let &[single] = basic.singles.as_slice() else {
        return Err(OcspFault::Count(basic.singles.len()));
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
    if single.status > 1 {
        return Err(OcspFault::Unknown);
    }
    if single.from > now + SKEW {
        return Err(OcspFault::TooEarly);
    }
    if single.until.is_some_and(|until| until < now) {
        return Err(OcspFault::TooLate);
    }
    Ok(single.until)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::der::{ENUMERATED, SEQUENCE, write};

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
        #[test]
        fn nothing_received_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let nobody = CertificateDer::from(Vec::new());
            let mut wrapped = write(ENUMERATED, &[&[0]]);
            wrapped.extend_from_slice(&bytes);
            let wrapped = write(SEQUENCE, &[&wrapped]);
            for source in [Source::File, Source::Network] {
                let _ = check(&bytes, &nobody, &nobody, source, UNIX_EPOCH);
                let _ = check(&wrapped, &nobody, &nobody, source, UNIX_EPOCH);
            }
        }
    }
}
