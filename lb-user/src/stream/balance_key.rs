//! The bytes that a hash algorithm hashes, cut out of the connection or the request.

use std::borrow::Cow;
use std::net::IpAddr;

use sockeye_balance::{Algorithm, HashSource, key};
use sockeye_conn::Peer;
use sockeye_http::RequestHead;

/// The key of a connection: only `balance source` has one without a request.
pub fn tcp(algorithm: &Algorithm, peer: &Peer) -> Option<Cow<'static, [u8]>> {
    match algorithm.hash_source()? {
        HashSource::Source => source(peer),
        HashSource::Uri { .. } | HashSource::UrlParam { .. } | HashSource::Hdr { .. } => None,
    }
}

/// The key of a request.
pub fn http<'a>(algorithm: &Algorithm, peer: &Peer, request: &'a RequestHead) -> Option<Cow<'a, [u8]>> {
    match algorithm.hash_source()? {
        HashSource::Source => source(peer),
        HashSource::Uri { whole, len, depth, path_only } => {
            Some(key::uri(request.target(), *whole, *len, *depth, *path_only).into())
        }
        HashSource::UrlParam { name, .. } => Some(key::url_param(request.target(), name)?.into()),
        HashSource::Hdr { name, domain_only } => {
            Some(key::header(request.headers().get(name.as_bytes())?, *domain_only)?.into())
        }
    }
}

fn source(peer: &Peer) -> Option<Cow<'static, [u8]>> {
    Some(match peer.ip()? {
        IpAddr::V4(ip) => ip.octets().to_vec().into(),
        IpAddr::V6(ip) => ip.octets().to_vec().into(),
    })
}
