//! Fields of either version in the other's form.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sockeye_http::Headers;

/// Why a message of HTTP/2 is refused (RFC 9113 §8.1.1): its stream is reset.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// §8.2.2: fields of a connection have no place in a stream.
    #[error("connection-specific field")]
    ConnectionField,
    /// §8.2.1: a control character, or white space around the value.
    #[error("invalid field value")]
    FieldValue,
    /// §8.3.1: a path that is neither absolute nor `*` for OPTIONS.
    #[error("invalid :path")]
    Path,
    /// §8.3.1: `:authority` is not `host[:port]`.
    #[error("invalid :authority")]
    Authority,
    /// §8.3.1: `Host` names another place than `:authority`.
    #[error("host differs from :authority")]
    HostMismatch,
    /// §8.1.1: a length is announced for a message that ends with its head.
    #[error("content-length without content")]
    ContentLength,
    /// RFC 8441 §4: a protocol other than `websocket`.
    #[error("unknown :protocol")]
    Protocol,
}

/// Whether a field says something of one connection, and must not be in a message of HTTP/2 (RFC 9113 §8.2.2).
pub(crate) fn is_of_connection(name: &[u8]) -> bool {
    matches!(name, b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade")
}

/// RFC 9113 §8.2.1, beyond what the type refuses already.
pub(crate) fn check_value(value: &HeaderValue) -> Result<&[u8], Malformed> {
    let bytes = value.as_bytes();
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if is_space(bytes.first()) || is_space(bytes.last()) || !sockeye_http::is_valid_value(bytes) {
        return Err(Malformed::FieldValue);
    }
    Ok(bytes)
}

pub(crate) fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk of a body and its trailers.
///
/// # Errors
/// When a value is not valid.
pub fn encode_trailers(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) -> Result<(), Malformed> {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if is_of_connection(name.as_str().as_bytes()) {
            return Err(Malformed::ConnectionField);
        }
        push_field(out, name.as_str().as_bytes(), check_value(value)?);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The fields of a message of HTTP/1 that go on in HTTP/2. What its grammar does not know (relaxed parsing lets some
/// through) is left out.
pub fn fields_of(headers: &Headers, keep: impl Fn(&[u8], &[u8]) -> bool) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter() {
        if is_of_connection(name) || !keep(name, value) {
            continue;
        }
        if let Ok(name) = HeaderName::from_bytes(name)
            && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(value))
        {
            map.append(name, value);
        }
    }
    map
}
