//! TLS of bind and server lines, and the protocol that they force.

use std::sync::Arc;

use sockeye_tls::{Acceptor, Connector, settings};

/// `proto`, `check-proto`: what is spoken, whatever ALPN or the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proto {
    H1,
    H2,
    /// Bytes, in `mode tcp`.
    None,
}

/// What `bind … ssl` says. All addresses of a line share it.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Complete: the defaults of `global` are applied, and `alpn` is what is offered.
    pub settings: Arc<settings::Bind>,
    /// What handshakes run on. There in every configuration that was read, but for proxies that are `disabled`.
    pub acceptor: Option<Arc<Acceptor>>,
}

impl Tls {
    /// Before anything is loaded.
    pub(crate) fn new(settings: settings::Bind) -> Self {
        Self { settings: Arc::new(settings), acceptor: None }
    }
}

impl PartialEq for Tls {
    /// What was loaded follows from what was said.
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}

/// What `server … ssl` or `check-ssl` say.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// Complete: the defaults of `global` are applied.
    pub settings: Arc<settings::Server>,
    pub connector: Arc<Connector>,
    /// The same for WebSockets, offering nothing but what they are spoken in. `None`: as all.
    pub websockets: Option<Arc<Connector>>,
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings
    }
}
