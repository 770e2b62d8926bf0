//! What to ask a responder: RFC 6960 §4.1 and appendix A.

use aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
use base64ct::{Base64, Encoding};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::OID_SHA1;
use super::response::Id;
use crate::der::{INTEGER, OCTET_STRING, OID, SEQUENCE, write};

/// A request as HTTP carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspRequest {
    /// `http://…` as the certificate says it.
    pub uri: String,
    /// Of a POST, `application/ocsp-request`. The same for all certificates that one response is about.
    pub body: Vec<u8>,
}

/// Characters of the request in the address of a GET at most (RFC 6960 appendix A.1).
const GET_MAX: usize = 255;

impl OcspRequest {
    /// The address of the GET that asks the same; `None` when only a POST may (appendix A.1).
    #[must_use]
    pub fn get(&self) -> Option<String> {
        let mut uri = self.uri.trim_end_matches('/').to_owned();
        uri.push('/');
        let start = uri.len();
        for char in Base64::encode_string(&self.body).chars() {
            match char {
                '+' => uri.push_str("%2B"),
                '/' => uri.push_str("%2F"),
                '=' => uri.push_str("%3D"),
                _ => uri.push(char),
            }
        }
        (uri.len() - start <= GET_MAX).then_some(uri)
    }
}

/// The request that asks for `leaf`; `None` if its authority has no responder at an `http://` address.
pub(crate) fn request(leaf: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> Option<OcspRequest> {
    let uri = responder(leaf).filter(|uri| is_http(uri))?;
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

/// Where the authority of `leaf` answers: the first address in authorityInfoAccess (RFC 5280 §4.2.2.1).
pub(crate) fn responder(leaf: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => access.accessdescs.iter().find_map(|access| {
            match (&access.access_location, access.access_method.to_id_string().as_str()) {
                (GeneralName::URI(uri), "1.3.6.1.5.5.7.48.1") => Some((*uri).to_owned()),
                _ => None,
            }
        }),
        _ => None,
    })
}

/// The only scheme that is asked: with TLS, the responder's own certificate would have to be checked with another responder.
pub(crate) fn is_http(uri: &str) -> bool {
    uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_requests() {
        let check = |uri: &str, body: &[u8], expected: Option<&str>| {
            let request = OcspRequest { uri: uri.to_owned(), body: body.to_vec() };
            assert_eq!(request.get().as_deref(), expected, "{uri}");
        };
        check("http://a.example", &[0xfb, 0xff], Some("http://a.example/%2B%2F8%3D"));
        check("http://a.example/", b"abc", Some("http://a.example/YWJj"));
        check("http://a.example:81/path", b"abc", Some("http://a.example:81/path/YWJj"));
        check("http://a.example", &[0; 189], Some(&format!("http://a.example/{}", "A".repeat(252))));
        check("http://a.example", &[0; 192], None);
    }
}
