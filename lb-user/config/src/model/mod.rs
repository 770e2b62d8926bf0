//! The validated configuration: every reference resolved, every default filled in, never edited afterwards.
//!
//! A field is its keyword with `_`. Durations are `Duration`; `None` means "not configured" and is documented
//! where the absence has a meaning of its own. Running objects are built from this and never write to it.

mod backend;
mod bind;
mod check;
mod frontend;
mod global;
mod h2;
mod log;
mod packet;
mod proxy_protocol;
mod rules;
mod server;
mod tls;

use std::sync::Arc;

pub use backend::*;
pub use bind::*;
pub use check::*;
pub use frontend::*;
pub use global::*;
pub use h2::*;
pub use log::*;
pub use packet::*;
pub use proxy_protocol::*;
pub use rules::*;
pub use server::*;
pub use tls::*;

/// Everything one process runs, from all files of the command line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    pub global: Global,
    /// `frontend` and `listen` sections in file order. Indexed by [`FrontendId`].
    pub frontends: Vec<Frontend>,
    /// `backend` and `listen` sections in file order. Indexed by [`BackendId`].
    pub backends: Vec<Backend>,
    pub shared: Shared,
}

impl Config {
    /// The backend that `id` names.
    pub fn backend(&self, id: BackendId) -> &Backend {
        &self.backends[id.0]
    }

    /// The server that `id` names.
    pub fn server(&self, id: ServerId) -> &Server {
        &self.backends[id.backend.0].servers[id.index]
    }
}

/// Index into [`Config::frontends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontendId(pub usize);

/// Index into [`Config::backends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId(pub usize);

/// A server of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId {
    pub backend: BackendId,
    /// Index into [`Backend::servers`].
    pub index: usize,
}

/// Where a statement was written, for messages at run time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u32,
}

/// `mode tcp|http|packet` (manual 4.2 "mode"; packet is ours). The default is tcp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Tcp,
    Http,
    /// Packets go to the servers inside the kernel; no connection ends here.
    Packet,
}

/// Which keyword opened the section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionKind {
    Frontend,
    Backend,
    Listen,
}

/// How `option splice-auto|splice-request|splice-response` (and `no option …`, `nosplice`) ended up.
/// In Sockeye they mean: the kernel may forward this direction by the best method available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpliceOptions {
    pub auto: bool,
    pub request: bool,
    pub response: bool,
}

/// `errorfile CODE FILE`: the whole raw reply, read when the configuration is, by status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorFiles(pub Vec<(u16, Arc<[u8]>)>);

impl ErrorFiles {
    /// The reply configured for `status`, if any.
    pub fn reply(&self, status: u16) -> Option<&Arc<[u8]>> {
        self.0.iter().find(|(code, _)| *code == status).map(|(_, text)| text)
    }
}

/// TCP keep-alive of one side: `option clitcpka` / `srvtcpka` with their counts and intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpKeepalive {
    pub enabled: bool,
    pub count: Option<u32>,
    pub idle: Option<std::time::Duration>,
    pub interval: Option<std::time::Duration>,
}

/// `option forwardfor`, `option originalto` (manual 4.2): which header carries the address, and for whom not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressHeader {
    /// Lower case.
    pub header: Arc<str>,
    /// `except NETWORK`: (address, prefix length).
    pub except: Option<(std::net::IpAddr, u8)>,
    /// `if-none`: leave an existing header alone.
    pub if_none: bool,
}

/// `option forwarded` (RFC 7239). Expressions as parameters belong to the rule engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forwarded {
    pub proto: bool,
    pub host: bool,
    pub by: bool,
    pub by_port: bool,
    pub r#for: bool,
    pub for_port: bool,
}
