//! TLS with servers: which name they are asked for, the handshake, and what is known of it afterwards.

use std::cell::OnceCell;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use sockeye_conn::{HandshakeError, Handshaking, Socket};
use sockeye_record::{Handshake, Negotiated};
use sockeye_sample::tls::TlsFacts;
use sockeye_sample::{Stage, Type, Value};

use super::Server;
use super::server::Destination;
use crate::frontend::session::Session;
use crate::frontend::tls::tell;
use crate::stream::proxy_header::Told;
use crate::stream::retry::Attempts;
use crate::stream::rules::scene::View;

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

/// The name that a server is asked for, and that its certificate must have (`sni`). `None`: none.
pub fn server_name(
    server: &Server,
    session: &Session,
    attempts: &Attempts,
    told: Told<'_>,
) -> Option<String> {
    let expr = server.cfg.sni.as_ref().filter(|_| server.cfg.ssl)?;
    let view = View { session, facts: told.facts, attempts, decided: told.decided };
    let mut scene = view.scene(Stage::ServerSource);
    scene.request = told.request;
    match expr.eval_as(Type::Str, &scene)? {
        Value::Str(name) if !name.is_empty() => std::str::from_utf8(&name).ok().map(str::to_owned),
        _ => None,
    }
}

/// What tells connections of one server apart: the name that was asked for. 0 without one.
pub fn identity(server_name: Option<&str>) -> u64 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    server_name.map_or(0, |name| hasher.hash_one(name) | 1)
}

/// Shakes hands with `server` over `socket`.
///
/// # Errors
/// When the handshake fails, or the server is not who it should be.
pub async fn shake(socket: Socket, server: &Server, name: Option<&str>) -> io::Result<Socket> {
    let Some(tls) = server.cfg.tls.as_ref().filter(|_| server.cfg.ssl) else { return Ok(socket) };
    // Where a server is reached through a unix socket no address is in any certificate either.
    let addr = match server.destination() {
        Some(Destination::Inet(addr)) => addr.ip(),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let connection = tls.connector.connection(name, addr);
    let handshake = Handshake::client(connection.config, connection.name).map_err(io::Error::other)?;
    let shaken = Handshaking::new(socket, handshake, Vec::new()).run().await;
    let mut socket = shaken.map_err(|error| match error {
        HandshakeError::Io(error) => error,
        error => io::Error::other(error),
    })?;
    socket.set_identity(identity(name));
    Ok(socket)
}
