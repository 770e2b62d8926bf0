//! What an expression, a log line or a PROXY header can know of TLS on a connection.
//!
//! Plain data: the daemon fills it from the library that speaks TLS, when first asked for. Numbers are those of the
//! protocol (IANA's registries) and of OpenSSL, because HAProxy prints OpenSSL's names of them.

mod error;
mod hello;
mod names;

pub use error::{HandshakeFailure, OpenSslError};
pub use hello::{ClientHello, HandshakeMessage, HelloCapture, Reader};
pub use names::{cipher_bits, cipher_name, group_name, version_name};

/// Which connection of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsSide {
    /// From the client: `ssl_fc…`, `ssl_c_…`, `ssl_f_…`.
    Front,
    /// To the server: `ssl_bc…`, `ssl_s_…`.
    Back,
}

/// TLS on one connection. It exists as soon as the connection is to speak TLS; what the handshake has not told is
/// `None`, `false`, zero or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The handshake is over. What depends on its success (the session, the outcome of the check) is not told before.
    pub established: bool,
    /// Version on the wire: 0x0303 is TLS 1.2, 0x0304 is TLS 1.3. `None` until it is agreed.
    pub version: Option<u16>,
    /// Cipher suite, as IANA numbers them.
    pub cipher: Option<u16>,
    /// Group of the key exchange, as IANA numbers them.
    pub group: Option<u16>,
    /// Name that the client asked for (front) or that we asked for (back).
    pub sni: Option<Box<[u8]>>,
    /// The protocol agreed upon.
    pub alpn: Option<Box<[u8]>>,
    /// The session was resumed, by ticket or by id.
    pub resumed: bool,
    /// The session's id as the server chose it (TLS 1.2), at most 32 bytes; empty without one.
    pub session_id: Box<[u8]>,
    /// 0-RTT.
    pub early_data: EarlyData,
    /// The peer sent a certificate in this very handshake, rather than in the one that a session was resumed from.
    pub peer_certificate_sent: bool,
    /// What the check of the peer's certificate found.
    pub verification: Verification,
    /// DER of the peer's certificates, its own first; those of the first handshake if the session is resumed.
    pub peer_chain: Vec<Box<[u8]>>,
    /// DER of the subject of the authority that the peer's chain ends in: a whole `Name`, tag and length included.
    pub root_subject: Option<Box<[u8]>>,
    /// DER of the certificate that we presented.
    pub own_certificate: Option<Box<[u8]>>,
    /// Where our certificate was loaded from (`ssl_fc_crtname`).
    pub own_certificate_name: Option<Box<str>>,
    /// What the client offered, if `tune.ssl.capture-buffer-size` says that it is kept.
    pub hello: Option<HelloCapture>,
    /// Random bytes of both hellos.
    pub client_random: Option<[u8; 32]>,
    pub server_random: Option<[u8; 32]>,
    /// With `tune.ssl.keylog` only.
    pub secrets: Option<Box<Secrets>>,
    /// The first thing that went wrong, the checks of certificates aside.
    pub error: Option<OpenSslError>,
}

/// 0-RTT data of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EarlyData {
    #[default]
    None,
    /// Some came, and the handshake is not over: what they say may be a replay.
    Unconfirmed,
    /// Some came, and the handshake is over.
    Confirmed,
}

/// What the check of a chain found, as OpenSSL numbers it (X509_V_ERR_…); zero: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verification {
    /// The outcome of all (`ssl_c_verify`). An error that is ignored by `crt-ignore-err` or `ca-ignore-err` shows.
    pub result: u32,
    /// First error of the peer's own certificate (`ssl_c_err`).
    pub leaf_error: u32,
    /// First error of an authority (`ssl_c_ca_err`), and how far above the peer's certificate it is, at least 1.
    pub authority_error: u32,
    pub authority_depth: u32,
}

/// Secrets as NSS key logs name them. Empty: the connection has none of that kind.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// `CLIENT_RANDOM`: the master secret of TLS 1.2.
    pub master: Box<[u8]>,
    pub client_early_traffic: Box<[u8]>,
    pub client_handshake_traffic: Box<[u8]>,
    pub server_handshake_traffic: Box<[u8]>,
    pub client_traffic_0: Box<[u8]>,
    pub server_traffic_0: Box<[u8]>,
    pub exporter: Box<[u8]>,
    pub early_exporter: Box<[u8]>,
}

impl TlsFacts {
    /// `%sslv`, `ssl_fc_protocol`.
    #[must_use]
    pub fn version_name(&self) -> Option<&'static str> {
        version_name(self.version?)
    }

    /// `%sslc`, `ssl_fc_cipher`. Until there is one, OpenSSL says so in its own way.
    #[must_use]
    pub fn cipher_name(&self) -> Option<&'static str> {
        self.cipher.map_or(Some("(NONE)"), cipher_name)
    }

    /// The peer's own certificate.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.peer_chain.first().map(|der| &**der)
    }
}

impl Secrets {
    /// Keeps a line of a key log. Labels that no word asks for are left out.
    pub fn keep(&mut self, label: &str, secret: &[u8]) {
        let place = match label {
            "CLIENT_RANDOM" => &mut self.master,
            "CLIENT_EARLY_TRAFFIC_SECRET" => &mut self.client_early_traffic,
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET" => &mut self.client_handshake_traffic,
            "SERVER_HANDSHAKE_TRAFFIC_SECRET" => &mut self.server_handshake_traffic,
            "CLIENT_TRAFFIC_SECRET_0" => &mut self.client_traffic_0,
            "SERVER_TRAFFIC_SECRET_0" => &mut self.server_traffic_0,
            "EXPORTER_SECRET" => &mut self.exporter,
            "EARLY_EXPORTER_SECRET" => &mut self.early_exporter,
            _ => return,
        };
        *place = secret.into();
    }
}

impl std::fmt::Debug for Secrets {
    /// Nothing of what they are: this may end in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}
