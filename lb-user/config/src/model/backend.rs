//! `backend`, and the server half of `listen`.

use std::sync::Arc;
use std::time::Duration;

use sockeye_balance::Algorithm;
use sockeye_rules::RuleSets;

use super::{
    AddressHeader, Check, ConnectionMode, ErrorFiles, Forwarded, LogTarget, Mode, PacketOptions, Place,
    SectionKind, Server, Source, SpliceOptions, TcpKeepalive,
};

/// A validated backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    pub place: Place,
    pub name: Arc<str>,
    pub kind: SectionKind,
    /// `id`: the number in statistics, given or assigned.
    pub numeric_id: u32,
    pub mode: Mode,
    pub disabled: bool,
    pub description: Option<String>,
    pub balance: Algorithm,
    pub servers: Vec<Server>,
    /// `fullconn`: backend load at which `minconn` servers reach `maxconn`. `None`: 10 % of the
    /// frontends' maxconn that may reach this backend.
    pub fullconn: Option<u32>,

    pub timeout_connect: Option<Duration>,
    pub timeout_server: Option<Duration>,
    pub timeout_server_fin: Option<Duration>,
    pub timeout_queue: Option<Duration>,
    pub timeout_check: Option<Duration>,
    pub timeout_tunnel: Option<Duration>,
    /// Also obeyed when only the backend has them.
    pub timeout_http_request: Option<Duration>,
    pub timeout_http_keep_alive: Option<Duration>,
    pub timeout_tarpit: Option<Duration>,

    /// `retries`: connection attempts after the first. 3 by default.
    pub retries: u32,
    pub retry_on: RetryOn,
    /// `option redispatch [INTERVAL]`: 0 off; n > 0 every n-th retry; -n the n-th from the end (-1 is the default form).
    pub redispatch: i32,
    pub http_reuse: HttpReuse,
    /// `max-keep-alive-queue`. `None`: no limit.
    pub max_keep_alive_queue: Option<u32>,
    pub source: Source,
    pub check: Check,
    pub log: Vec<LogTarget>,
    pub log_tag: Option<String>,
    pub options: BackendOptions,
    pub errorfiles: ErrorFiles,
    pub rules: RuleSets,
    pub srvtcpka: TcpKeepalive,
    pub splice: SpliceOptions,
    /// `hash-preserve-affinity always|maxconn|maxqueue`.
    pub hash_preserve_affinity: HashPreserveAffinity,
    /// Obeyed in `mode packet`.
    pub packet: PacketOptions,
}

/// The `option` words that a backend obeys; all off unless the manual says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackendOptions {
    pub abortonclose: bool,
    pub allbackups: bool,
    pub http_pretend_keepalive: bool,
    pub http_buffer_request: bool,
    pub accept_unsafe_violations_in_http_response: bool,
    pub http_no_delay: bool,
    pub http_drop_request_trailers: bool,
    pub log_health_checks: bool,
    /// `http-check disable-on-404`: a server that answers its check so gets no new clients.
    pub disable_on_404: bool,
    pub nolinger: bool,
    pub prefer_last_server: bool,
    pub tcp_smart_connect: Option<bool>,
    pub independent_streams: bool,
    /// `option persist`.
    pub persist: bool,
    pub forwardfor: Option<AddressHeader>,
    pub originalto: Option<AddressHeader>,
    pub forwarded: Option<Forwarded>,
    pub connection: ConnectionMode,
    /// `option transparent` / `dispatch`-like: connect to the address the client asked for.
    pub transparent: bool,
}

/// `http-reuse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpReuse {
    Never,
    #[default]
    Safe,
    Aggressive,
    Always,
}

/// `hash-preserve-affinity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashPreserveAffinity {
    #[default]
    Always,
    Maxconn,
    Maxqueue,
}

/// `retry-on`: what besides a failed connection may be tried again. Default: `conn-failure` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOn {
    pub conn_failure: bool,
    pub empty_response: bool,
    pub junk_response: bool,
    pub response_timeout: bool,
    pub zero_rtt_rejected: bool,
    /// Response statuses that are tried again.
    pub statuses: Vec<u16>,
}

impl RetryOn {
    /// Whether the request must be kept until its response has begun.
    pub fn keeps_request(&self) -> bool {
        self.empty_response || self.junk_response || self.response_timeout || !self.statuses.is_empty()
    }
}

impl Default for RetryOn {
    fn default() -> Self {
        Self {
            conn_failure: true,
            empty_response: false,
            junk_response: false,
            response_timeout: false,
            zero_rtt_rejected: false,
            statuses: Vec::new(),
        }
    }
}
