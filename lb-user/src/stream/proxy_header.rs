//! The header with which connections to a server begin (`send-proxy`, `send-proxy-v2`): whose connection it is.
//!
//! A header says what one stream's client and rules say, so a connection that began with one belongs to that session,
//! and is used again only for streams whose header would be the same.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use sockeye_config::model::{ProxyV2Options, SendProxy};
use sockeye_http::RequestHead;
use sockeye_proxyproto::{Extras, SslFacts, tlv, write_v1, write_v2};
use sockeye_sample::tls::TlsFacts;
use sockeye_sample::{Format, Stage};

use super::log::{self, Facts};
use super::retry::Attempts;
use super::rules::decided::Decided;
use super::rules::scene::View;
use crate::backend::Server;
use crate::frontend::session::Session;

/// What a header may tell about a stream beside its addresses.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    pub facts: &'a Facts,
    pub decided: &'a Decided,
    pub request: Option<&'a RequestHead>,
}

impl std::fmt::Debug for Told<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

/// The header of connections to `server` for this stream; `None`: they begin with the stream's own bytes.
///
/// # Errors
/// When its TLVs do not fit into a header.
pub fn header(
    server: &Server,
    session: &Session,
    attempts: &Attempts,
    told: Told<'_>,
) -> io::Result<Option<Box<[u8]>>> {
    let cfg = &server.cfg.send_proxy;
    if !cfg.is_on() {
        return Ok(None);
    }
    let ends = ends(session);
    let mut out = Vec::new();
    if !cfg.v2 {
        write_v1(ends, &mut out);
        return Ok(Some(out.into()));
    }
    let options = cfg.options;
    let values = tlvs(cfg, session, attempts, told);
    let custom: Vec<(u8, &[u8])> = values.iter().map(|(kind, value)| (*kind, &value[..])).collect();
    let unique_id = || log::unique_id(session, told.facts, attempts, told.request, told.decided);
    let tls = session.tls.as_ref().map(|tls| tls.facts()).filter(|tls| tls.established);
    let key = tls.filter(|_| options.ssl && options.cert_key).and_then(sockeye_fetch::own_key);
    let extras = Extras {
        custom: &custom,
        crc32c: options.crc32c,
        alpn: tls.and_then(|tls| tls.alpn.as_deref()),
        authority: (options.authority)
            .then(|| session.proxy.tlv(tlv::AUTHORITY, 0).or_else(|| tls?.sni.as_deref()))
            .flatten(),
        unique_id: (options.unique_id).then(unique_id).flatten().filter(|id| id.len() <= tlv::UNIQUE_ID_MAX),
        ssl: options.ssl.then(|| {
            tls.map_or_else(SslFacts::default, |tls| SslFacts {
                key: key.as_deref().map(str::as_bytes),
                ..ssl(tls, options)
            })
        }),
        ..Extras::default()
    };
    match write_v2(ends, &extras, &mut out) {
        Ok(()) => Ok(Some(out.into())),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
    }
}

/// The client and the address that it wanted, as rules and headers of a proxy in front left them. `None`: one of them
/// is no internet address.
fn ends(session: &Session) -> Option<(SocketAddr, SocketAddr)> {
    session.peer.addr().zip(session.destination())
}

/// `set-proxy-v2-tlv-fmt`
fn tlvs(
    cfg: &SendProxy,
    session: &Session,
    attempts: &Attempts,
    Told { facts, decided, request }: Told<'_>,
) -> Vec<(u8, Vec<u8>)> {
    if cfg.tlvs.is_empty() {
        return Vec::new();
    }
    let view = View { session, facts, attempts, decided };
    let mut scene = view.scene(Stage::ServerSource);
    scene.request = request;
    let value = |(kind, format): &(u8, Arc<Format>)| {
        let mut value = Vec::new();
        view.write(format, &scene, request, &mut value);
        (*kind, value)
    };
    cfg.tlvs.iter().map(value).collect()
}

/// What is told of a client's TLS connection, its key aside.
fn ssl(tls: &TlsFacts, options: ProxyV2Options) -> SslFacts<'_> {
    let mut client = tlv::CLIENT_SSL;
    if tls.peer_certificate().is_some() {
        client |= tlv::CLIENT_CERT_SESS;
        if tls.peer_certificate_sent {
            client |= tlv::CLIENT_CERT_CONN;
        }
    }
    SslFacts {
        client,
        verify: tls.verification.result,
        version: tls.version_name().map(str::as_bytes),
        common_name: options.cert_cn.then(|| sockeye_fetch::client_common_name(tls)).flatten(),
        cipher: options.ssl_cipher.then(|| tls.cipher_name().map(str::as_bytes)).flatten(),
        signature: (options.cert_sig).then(|| sockeye_fetch::own_signature(tls).map(str::as_bytes)).flatten(),
        key: None,
    }
}
