//! `server` lines (manual 5.2), `default-server` already applied.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sockeye_sample::Expr;
use sockeye_syntax::address::Family;

use super::{Place, Proto, SendProxy, ServerId, ServerTls};

/// One server of a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub place: Place,
    pub name: Arc<str>,
    /// `id`: the number in statistics, given or assigned.
    pub numeric_id: u32,
    pub address: ServerAddress,
    /// `init-addr`: how a name is resolved at start, in order.
    pub init_addr: Vec<InitAddr>,
    /// 0..=256, 1 by default.
    pub weight: u32,
    pub backup: bool,
    /// `disabled`: starts in maintenance.
    pub disabled: bool,
    pub maxconn: Option<u32>,
    pub minconn: Option<u32>,
    pub maxqueue: Option<u32>,
    pub slowstart: Option<Duration>,
    /// `pool-max-conn`: idle connections kept in all. `None`: no limit; 0: none kept.
    pub pool_max_conn: Option<u32>,
    pub pool_low_conn: Option<u32>,
    /// `pool-purge-delay`: 5 s by default.
    pub pool_purge_delay: Duration,
    /// `max-reuse`: how often a connection is used again. `None`: no limit.
    pub max_reuse: Option<u32>,
    pub source: Option<Source>,
    pub tfo: bool,
    pub tcp_user_timeout: Option<Duration>,
    pub congestion: Option<String>,
    pub namespace: Option<String>,
    /// `send-proxy` and its kin.
    pub send_proxy: SendProxy,
    /// `ssl`: the traffic is encrypted, as `tls` says.
    pub ssl: bool,
    /// There for every server that traffic or checks reach through TLS.
    pub tls: Option<ServerTls>,
    /// `sni`: the name that the server is asked for, and that its certificate must have unless `verifyhost` says
    /// another.
    pub sni: Option<Arc<Expr>>,
    /// `proto`: spoken with the server, whatever ALPN says.
    pub proto: Option<Proto>,
    /// `ws`: what WebSockets are spoken in.
    pub ws: WebSocketProto,
    pub check: ServerCheck,
}

impl Default for Server {
    /// A server line without words, and without a place yet.
    fn default() -> Self {
        Self {
            place: Place::default(),
            name: "".into(),
            numeric_id: 0,
            address: ServerAddress::Inet { host: Host::Original, port: ServerPort::Offset(0) },
            init_addr: Vec::new(),
            weight: 1,
            backup: false,
            disabled: false,
            maxconn: None,
            minconn: None,
            maxqueue: None,
            slowstart: None,
            pool_max_conn: None,
            pool_low_conn: None,
            pool_purge_delay: POOL_PURGE_DELAY,
            max_reuse: None,
            source: None,
            tfo: false,
            tcp_user_timeout: None,
            congestion: None,
            namespace: None,
            send_proxy: SendProxy::default(),
            ssl: false,
            tls: None,
            sni: None,
            proto: None,
            ws: WebSocketProto::default(),
            check: ServerCheck::default(),
        }
    }
}

/// `pool-purge-delay` when the file does not say (manual 5.2).
pub const POOL_PURGE_DELAY: Duration = Duration::from_secs(5);

/// `inter` when the file does not say (manual 5.2).
pub const CHECK_INTER: Duration = Duration::from_secs(2);

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    Inet { host: Host, port: ServerPort },
    Unix(PathBuf),
    Abstract { name: String, padded: bool },
}

/// An address, or a name that the start resolves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Ip(IpAddr),
    /// Within a family if one was forced (`ipv6@`).
    Name {
        name: String,
        family: Option<Family>,
    },
    /// `0.0.0.0`, `*`: connect to the address the client asked for.
    Original,
}

/// The port of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerPort {
    Fixed(u16),
    /// `+N`, `-N`, or none written (0): relative to the port the client asked for.
    Offset(i32),
}

/// `ws`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WebSocketProto {
    /// What the connection's other requests are spoken in.
    #[default]
    Auto,
    H1,
    H2,
}

/// One step of `init-addr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitAddr {
    /// The server-state file: not available yet, so this step finds nothing.
    Last,
    Libc,
    /// Start without an address, in maintenance.
    None,
    Ip(IpAddr),
}

/// `source ADDR[:PORT[-PORT]] [usesrc …] [interface …]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    pub address: Option<SocketAddr>,
    /// Inclusive range of source ports, when more than one was given.
    pub ports: Option<(u16, u16)>,
    pub interface: Option<String>,
    pub usesrc: UseSource,
}

/// `usesrc`: whose address the connection to the server carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UseSource {
    #[default]
    Own,
    /// `client`: address and port of the client.
    Client,
    /// `clientip`: address of the client, any port.
    ClientIp,
    /// A foreign address.
    Address(SocketAddr),
}

/// The check words of a server line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCheck {
    /// `check`.
    pub enabled: bool,
    /// 2 s by default.
    pub inter: Duration,
    /// While between up and down. `None`: `inter`.
    pub fastinter: Option<Duration>,
    /// While down. `None`: `inter`.
    pub downinter: Option<Duration>,
    /// 2 by default.
    pub rise: u32,
    /// 3 by default.
    pub fall: u32,
    pub port: Option<u16>,
    pub addr: Option<IpAddr>,
    pub observe: Option<Observe>,
    /// 10 by default.
    pub error_limit: u32,
    pub on_error: OnError,
    /// `on-marked-down shutdown-sessions`.
    pub on_marked_down: bool,
    /// `on-marked-up shutdown-backup-sessions`.
    pub on_marked_up: bool,
    /// `track BACKEND/SERVER`.
    pub track: Option<ServerId>,
    pub init_state: InitState,
    /// Checks go through TLS: `check-ssl`, or `ssl` when neither `port` nor `addr` send them elsewhere.
    pub ssl: bool,
    /// `check-sni`; with `check-sni-auto` the name in the check's own Host field.
    pub sni: Option<Arc<str>>,
    /// `check-alpn`. The traffic's `alpn` does not count for checks.
    pub alpn: Option<Arc<[Vec<u8>]>>,
    /// `check-proto`. `None`: what ALPN says, HTTP/1 without it.
    pub proto: Option<Proto>,
}

impl Default for ServerCheck {
    fn default() -> Self {
        Self {
            enabled: false,
            inter: CHECK_INTER,
            fastinter: None,
            downinter: None,
            rise: 2,
            fall: 3,
            port: None,
            addr: None,
            observe: None,
            error_limit: 10,
            on_error: OnError::default(),
            on_marked_down: false,
            on_marked_up: false,
            track: None,
            init_state: InitState::default(),
            ssl: false,
            sni: None,
            alpn: None,
            proto: None,
        }
    }
}

/// `observe layer4|layer7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observe {
    Layer4,
    Layer7,
}

/// `on-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    FastInter,
    #[default]
    FailCheck,
    SuddenDeath,
    MarkDown,
}

/// `init-state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitState {
    #[default]
    Up,
    Down,
    FullyUp,
    FullyDown,
}
