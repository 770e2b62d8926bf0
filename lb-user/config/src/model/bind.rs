//! `bind` lines (manual 5.1).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Identity, Place, Proto, Tls, Transport};

/// One listening address: a `bind` line with a port range or several addresses becomes several of these.
#[derive(Debug, Clone, PartialEq)]
pub struct Bind {
    pub place: Place,
    /// The address as written, for messages and statistics.
    pub text: Arc<str>,
    pub address: BindAddress,
    pub transport: Transport,
    /// `name`: the listener's name in logs and statistics.
    pub name: Option<Arc<str>>,
    pub id: Option<u32>,
    pub interface: Option<String>,
    pub backlog: Option<u32>,
    pub maxconn: Option<u32>,
    /// `defer-accept`: the kernel reports a connection only once it carries data.
    pub defer_accept: bool,
    /// `tfo`: TCP Fast Open.
    pub tfo: bool,
    pub v4v6: bool,
    pub v6only: bool,
    pub transparent: bool,
    pub mss: Option<i32>,
    /// `tcp-ut`: TCP_USER_TIMEOUT.
    pub tcp_user_timeout: Option<std::time::Duration>,
    /// `cc ALGORITHM`: TCP congestion control.
    pub congestion: Option<String>,
    pub unix: UnixOptions,
    /// `nice` -1024..=1024: accepted; the runtime has no priorities, so the parser warns when it is not 0.
    pub nice: i32,
    /// `thread SET`: worker threads (0-based) that serve it. Empty: all.
    pub threads: Vec<u16>,
    pub shards: Option<Shards>,
    /// `namespace NAME`.
    pub namespace: Option<String>,
    /// `accept-proxy`: connections begin with a PROXY protocol header.
    pub accept_proxy: bool,
    /// `accept-netscaler-cip`: they begin with a Client IP header that has this magic number.
    pub netscaler_cip: Option<u32>,
    /// `ssl` and what belongs to it.
    pub tls: Option<Tls>,
    /// `proto`: spoken from the first byte, or behind TLS whatever ALPN says.
    pub proto: Option<Proto>,
}

/// The port of a `bind` line of `mode packet` with all of them, `ADDRESS:1-65535`: one service, whose packets may
/// go to any port. A service with a port of its own on the same address comes first.
pub const PORT_ALL: u16 = 0;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BindAddress {
    Inet(SocketAddr),
    /// Path with `unix-bind prefix` already applied.
    Unix(PathBuf),
    /// `abns@` (name padded with zeros to the end) or `abnsz@` (name ends where it ends).
    Abstract {
        name: String,
        padded: bool,
    },
    /// `fd@N`: a listening socket inherited from the parent process.
    Fd(i32),
}

/// `shards`, `tune.listener.default-shards`: how many sockets share an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shards {
    Count(u16),
    #[default]
    ByThread,
    ByGroup,
    ByProcess,
}

/// Owner and mode of a unix socket's file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnixOptions {
    pub mode: Option<u32>,
    pub user: Option<Identity>,
    pub group: Option<Identity>,
}
