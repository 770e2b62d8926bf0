//! What server lines say of the PROXY protocol (manual 5.2 `send-proxy`, `proxy-v2-options`).

use std::sync::Arc;

use sockeye_sample::Format;

/// The header that connections to a server begin with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SendProxy {
    /// `send-proxy`: a line of text.
    pub v1: bool,
    /// `send-proxy-v2`; it wins over `v1`.
    pub v2: bool,
    /// `check-send-proxy`: checks begin with the header even where `port` or `addr` send them elsewhere.
    pub checks: bool,
    pub options: ProxyV2Options,
    /// `set-proxy-v2-tlv-fmt`: type and value, in the order of the line.
    pub tlvs: Vec<(u8, Arc<Format>)>,
}

impl SendProxy {
    /// Whether connections that carry traffic begin with a header.
    pub fn is_on(&self) -> bool {
        self.v1 || self.v2
    }
}

/// `proxy-v2-options`: what version 2 says beside the addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyV2Options {
    /// `ssl`: whether and how the client used TLS.
    pub ssl: bool,
    /// `cert-cn`: the common name of its certificate.
    pub cert_cn: bool,
    /// `cert-key`: the key of our certificate.
    pub cert_key: bool,
    /// `cert-sig`: how our certificate is signed.
    pub cert_sig: bool,
    /// `ssl-cipher`
    pub ssl_cipher: bool,
    /// `authority`: the host that the client named.
    pub authority: bool,
    /// `crc32c`: the header's checksum.
    pub crc32c: bool,
    /// `unique-id`: made by the frontend's `unique-id-format`.
    pub unique_id: bool,
}
