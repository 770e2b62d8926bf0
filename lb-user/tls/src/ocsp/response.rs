//! A response taken apart (RFC 6960 §4.2.1): what it says, and by whom it is signed.

use std::time::SystemTime;

use aws_lc_rs::digest::{Algorithm, digest};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::OcspFault;
use super::time::time;
use crate::der::{
    BIT_STRING, ENUMERATED, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, context,
};

/// BasicOCSPResponse: the only kind of response that there is.
pub(super) struct Basic<'a> {
    /// With its header: what is signed, algorithm and signature, as in a certificate.
    pub(super) signed: &'a [u8],
    pub(super) singles: Vec<&'a [u8]>,
    /// Certificates that the responder sends along, with their headers.
    pub(super) certificates: Vec<&'a [u8]>,
}

const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

impl<'a> Basic<'a> {
    /// The response in an OCSPResponse.
    pub(super) fn read(response: &'a [u8]) -> Result<Self, OcspFault> {
        let mut response = Reader(Reader(response).take(SEQUENCE).ok_or(OcspFault::Damaged)?);
        match response.take(ENUMERATED).ok_or(OcspFault::Damaged)? {
            [0] => {}
            [status] => return Err(OcspFault::Status(*status)),
            _ => return Err(OcspFault::Damaged),
        }
        Self::successful(response).ok_or(OcspFault::Damaged)
    }

    fn successful(mut response: Reader<'a>) -> Option<Self> {
        let mut bytes = Reader(Reader(response.take(context(0))?).take(SEQUENCE)?);
        if bytes.take(OID)? != BASIC {
            return None;
        }
        let signed = Reader(bytes.take(OCTET_STRING)?).take_raw(SEQUENCE)?;
        let mut parts = Reader(Reader(signed).take(SEQUENCE)?);
        let mut data = Reader(parts.take(SEQUENCE)?);
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
        parts.take(SEQUENCE)?;
        parts.take(BIT_STRING)?;
        let mut certificates = Vec::new();
        if parts.peek() == Some(context(0)) {
            let mut list = Reader(Reader(parts.take(context(0))?).take(SEQUENCE)?);
            while list.peek().is_some() {
                certificates.push(list.take_raw(SEQUENCE)?);
            }
        }
        Some(Self { signed, singles, certificates })
    }
}

/// CertID: whose certificate is meant.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) issuer_name: Vec<u8>,
    pub(super) issuer_key: Vec<u8>,
    pub(super) serial: Vec<u8>,
}

impl Id {
    pub(super) fn of(leaf: &[u8], issuer: &[u8], algorithm: &'static Algorithm) -> Option<Self> {
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

/// What is said of one certificate.
pub(super) struct Single<'a> {
    pub(super) algorithm: &'a [u8],
    pub(super) id: Id,
    /// 0 good, 1 revoked, 2 unknown.
    pub(super) status: u8,
    pub(super) from: SystemTime,
    pub(super) until: Option<SystemTime>,
}

impl<'a> Single<'a> {
    pub(super) fn read(content: &'a [u8]) -> Option<Self> {
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
