//! TLS below a check (manual 5.2 `check-ssl`, 4.2 `tcp-check connect ssl`): with the settings of the server's line.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::{CertificateError, Error};
use sockeye_config::model::{Server, ServerTls};
use sockeye_conn::{HandshakeError, Handshaking, Socket};
use sockeye_record::Handshake;
use sockeye_tls::Connector;

use crate::prepared::Connect;

/// How the connections of a server's checks go through TLS.
#[derive(Debug, Clone)]
pub struct CheckTls {
    /// As the traffic of the server.
    connector: Arc<Connector>,
    /// With `check-alpn`.
    own: Arc<Connector>,
    /// Connections that are made as the server's line says go through TLS; others only where their rule says so.
    by_default: bool,
    /// `check-sni`. The `sni` of the traffic does not count: there is no request that it could look at.
    sni: Option<Arc<str>>,
}

impl CheckTls {
    /// TLS as the line of `server` has it. `None`: neither its traffic nor its checks know any.
    pub fn of(server: &Server) -> Option<Self> {
        let ServerTls { connector, .. } = server.tls.as_ref()?;
        let own = match &server.check.alpn {
            Some(names) => Arc::new(connector.with_alpn(names)),
            None => Arc::clone(connector),
        };
        Some(Self {
            connector: Arc::clone(connector),
            own,
            by_default: server.check.ssl,
            sni: server.check.sni.clone(),
        })
    }

    /// Whether a connection goes through TLS.
    pub(crate) fn covers(&self, rule: &Connect) -> bool {
        rule.ssl || (rule.by_line && self.by_default)
    }

    /// Shakes hands over `socket`, which reaches `addr`.
    pub(crate) async fn shake(
        &self,
        socket: Socket,
        rule: &Connect,
        addr: IpAddr,
    ) -> Result<Socket, ShakeError> {
        let sni = rule.sni.as_ref().or_else(|| self.sni.as_ref().filter(|_| rule.by_line));
        let connection = match &rule.alpn {
            Some(names) => self.connector.with_alpn(names).connection(sni.map(|sni| &**sni), addr),
            None if rule.by_line => self.own.connection(sni.map(|sni| &**sni), addr),
            None => self.connector.connection(sni.map(|sni| &**sni), addr),
        };
        let handshake =
            Handshake::client(connection.config, connection.name).map_err(|_| ShakeError::Failed)?;
        Handshaking::new(socket, handshake, Vec::new()).run().await.map_err(|error| match error {
            HandshakeError::Tls(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {
                if sni.is_some() {
                    ShakeError::OtherThanAsked
                } else {
                    ShakeError::OtherThanConfigured
                }
            }
            _ => ShakeError::Failed,
        })
    }
}

/// Why a handshake failed, in the words of the log.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(crate) enum ShakeError {
    #[error("SSL handshake failure")]
    Failed,
    /// The certificate lacks the name that was asked for.
    #[error("Server presented an SSL certificate different from the expected one")]
    OtherThanAsked,
    /// It lacks the name of `verifyhost`.
    #[error("Server presented an SSL certificate different from the configured one")]
    OtherThanConfigured,
}
