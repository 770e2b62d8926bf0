//! What a version 2 header says beside the addresses (specification 2.2.1 to 2.2.8): types with values.

/// Types that the specification registers.
pub const ALPN: u8 = 0x01;
pub const AUTHORITY: u8 = 0x02;
pub const CRC32C: u8 = 0x03;
pub const NOOP: u8 = 0x04;
pub const UNIQUE_ID: u8 = 0x05;
pub const SSL: u8 = 0x20;
pub const SSL_VERSION: u8 = 0x21;
pub const SSL_CN: u8 = 0x22;
pub const SSL_CIPHER: u8 = 0x23;
pub const SSL_SIG_ALG: u8 = 0x24;
pub const SSL_KEY_ALG: u8 = 0x25;
pub const NETNS: u8 = 0x30;

/// The longest unique id (specification 2.2.5).
pub const UNIQUE_ID_MAX: usize = 128;
/// The longest name of a host; HAProxy's limit, and that of DNS.
pub const AUTHORITY_MAX: usize = 255;

/// The client used TLS.
pub const CLIENT_SSL: u8 = 0x01;
/// It showed a certificate on this connection.
pub const CLIENT_CERT_CONN: u8 = 0x02;
/// It showed a certificate at least once in this TLS session.
pub const CLIENT_CERT_SESS: u8 = 0x04;

/// Bytes of the type and the length in front of a value.
pub(crate) const PREFIX: usize = 3;

/// One type and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    pub kind: u8,
    pub value: &'a [u8],
    /// Bytes of TLVs behind this one.
    pub(crate) behind: usize,
}

/// TLVs in the order of the header, known to be well formed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tlvs<'a>(&'a [u8]);

impl<'a> Tlvs<'a> {
    /// `None`: `bytes` does not end where a TLV ends. The subordinate TLVs of `SSL` are read in this way, too, from the
    /// sixth byte of its value.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, rest) = split(rest)?;
        }
        Some(Self(bytes))
    }

    /// The bytes, from which [`new`](Self::new) makes the same TLVs.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The value of a type, `index` others of that type before it.
    pub fn find(&self, kind: u8, index: usize) -> Option<&'a [u8]> {
        self.filter(|tlv| tlv.kind == kind).nth(index).map(|tlv| tlv.value)
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        let (tlv, rest) = split(self.0)?;
        self.0 = rest;
        Some(tlv)
    }
}

fn split(bytes: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    let ([kind, high, low], rest) = bytes.split_first_chunk::<PREFIX>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    Some((Tlv { kind: *kind, value, behind: rest.len() }, rest))
}

/// What is told about the TLS of the client's connection (specification 2.2.6). Everything empty: it used none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SslFacts<'a> {
    /// [`CLIENT_SSL`], [`CLIENT_CERT_CONN`], [`CLIENT_CERT_SESS`].
    pub client: u8,
    /// 0 when the client showed a certificate that was verified; HAProxy also sends 0 when there was none.
    pub verify: u32,
    /// `TLSv1.3`
    pub version: Option<&'a [u8]>,
    /// Common name of the client's certificate.
    pub common_name: Option<&'a [u8]>,
    /// `TLS_AES_128_GCM_SHA256`
    pub cipher: Option<&'a [u8]>,
    /// How our certificate was signed: `RSA-SHA256`.
    pub signature: Option<&'a [u8]>,
    /// The key of our certificate: `RSA2048`, `EC256`.
    pub key: Option<&'a [u8]>,
}
