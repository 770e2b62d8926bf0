//! TLS with servers: the handshake, and what is known of one afterwards on either side.

use std::cell::OnceCell;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::LazyLock;

use rustls::ProtocolVersion;
use sockeye_conn::{HandshakeError, Handshaking, Socket};
use sockeye_record::{Handshake, Negotiated};
use sockeye_sample::tls::{EarlyData, TlsFacts};

use super::Server;
use super::server::Destination;

/// TLS of a connection to a server.
#[derive(Debug)]
pub struct ServerTls {
    agreed: Rc<Negotiated>,
    facts: OnceCell<Box<TlsFacts>>,
}

impl ServerTls {
    pub fn new(agreed: Rc<Negotiated>) -> Self {
        Self { agreed, facts: OnceCell::new() }
    }

    /// What expressions can know, put together when first asked for.
    pub fn facts(&self) -> &TlsFacts {
        self.facts.get_or_init(|| {
            let sni = self.agreed.asked.as_deref().map(|name| name.as_bytes().into());
            let mut facts = TlsFacts { sni, ..TlsFacts::default() };
            tell(&self.agreed, &mut facts);
            Box::new(facts)
        })
    }
}

/// What both sides agreed on, in either role.
pub fn tell(agreed: &Negotiated, facts: &mut TlsFacts) {
    facts.established = true;
    facts.version = Some(agreed.version.into());
    facts.cipher = Some(agreed.suite.suite().into());
    facts.group = agreed.group.map(Into::into);
    facts.alpn = agreed.alpn.as_deref().map(Into::into);
    facts.resumed = agreed.resumed;
    facts.early_data = if agreed.early > 0 { EarlyData::Confirmed } else { EarlyData::None };
    facts.peer_certificate_sent = !agreed.resumed && !agreed.certificates.is_empty();
    facts.client_random = agreed.hellos.client_random;
    facts.server_random = agreed.hellos.server_random;
    if agreed.version == ProtocolVersion::TLSv1_2 {
        facts.session_id = agreed.hellos.session_id.as_slice().into();
    }
    facts.peer_chain = agreed.certificates.iter().map(|der| der.as_ref().into()).collect();
}

/// What tells connections of one server apart: the name that was asked for. 0 without one.
///
/// Clients may choose names (`sni req.hdr(host)`), so the keys of the hash are this process's secret.
pub fn identity(server_name: Option<&str>) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    server_name.map_or(0, |name| KEYS.hash_one(name) | 1)
}

/// Shakes hands with `server` over `socket`, for a WebSocket or for anything.
///
/// # Errors
/// When the handshake fails, or the server is not who it should be.
pub async fn shake(
    socket: Socket,
    server: &Server,
    name: Option<&str>,
    websocket: bool,
) -> io::Result<Socket> {
    let Some(tls) = server.cfg.tls.as_ref().filter(|_| server.cfg.ssl) else { return Ok(socket) };
    // Where a server is reached through a unix socket no address is in any certificate either.
    let addr = match server.destination() {
        Some(Destination::Inet(addr)) => addr.ip(),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let connector = tls.websockets.as_ref().filter(|_| websocket).unwrap_or(&tls.connector);
    let connection = connector.connection(name, addr);
    let handshake = Handshake::client(connection.config, connection.name).map_err(io::Error::other)?;
    let shaken = Handshaking::new(socket, handshake, Vec::new()).run().await;
    let mut socket = shaken.map_err(|error| match error {
        HandshakeError::Io(error) => error,
        error => io::Error::other(error),
    })?;
    socket.set_identity(identity(name));
    Ok(socket)
}
