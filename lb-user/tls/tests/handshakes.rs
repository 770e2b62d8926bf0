//! Handshakes in memory: what settings mean to clients and servers that speak rustls.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;

#[test]
fn a_certificate_and_who_trusts_it() {
    let files = Files::new();
    let authority = Authority::new("ca");
    files.write("ca.pem", authority.pem());
    files.write("site.pem", authority.leaf(&["site.test"]).pem());
    let bind = Bind { certificates: vec![files.path("site.pem")], ..Bind::default() };
    let server = Server { ca_file: Some(files.path("ca.pem")), ..Server::default() };
    let done = handshake(&bind, &server, Some("site.test")).unwrap();
    assert_eq!(done.presented_names(), ["site.test"]);
    assert_eq!(done.version, rustls::ProtocolVersion::TLSv1_3);
    // The name must be in the certificate, a certificate must be signed by somebody known.
    assert!(handshake(&bind, &server, Some("other.test")).is_err());
    files.write("other.pem", Authority::new("other").pem());
    let stranger = Server { ca_file: Some(files.path("other.pem")), ..Server::default() };
    assert!(handshake(&bind, &stranger, Some("site.test")).is_err());
    let careless = Server { verify: Some(Verify::None), ..Server::default() };
    assert!(handshake(&bind, &careless, Some("other.test")).is_ok());
    // Without a name to ask for any will do, unless verifyhost says one.
    assert!(handshake(&bind, &server, None).is_ok());
    let fixed = |name: &str| Server { verify_host: Some(name.to_owned()), ..server.clone() };
    assert!(handshake(&bind, &fixed("site.test"), None).is_ok());
    assert!(handshake(&bind, &fixed("other.test"), None).is_err());
    // No name of a host: not sent, and not matched.
    assert!(handshake(&bind, &server, Some("no name!")).is_err());
    assert!(handshake(&bind, &careless, Some("no name!")).is_ok());
}
