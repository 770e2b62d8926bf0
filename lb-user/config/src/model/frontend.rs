//! `frontend`, and the client half of `listen`.

use std::sync::Arc;
use std::time::Duration;

use sockeye_rules::RuleSets;

use super::{
    AddressHeader, BackendId, Bind, Captures, ErrorFiles, Forwarded, LogFormats, LogTarget, Mode, Place,
    SectionKind, SpliceOptions, TcpKeepalive,
};

/// A validated frontend.
#[derive(Debug, Clone, PartialEq)]
pub struct Frontend {
    pub place: Place,
    pub name: Arc<str>,
    pub kind: SectionKind,
    /// `id`: the number in statistics, given or assigned.
    pub numeric_id: u32,
    pub mode: Mode,
    pub disabled: bool,
    pub description: Option<String>,
    pub binds: Vec<Bind>,
    /// `maxconn`: `None` takes the process's.
    pub maxconn: Option<u32>,
    pub backlog: Option<u32>,
    /// `default_backend`, or the same section's backend for `listen`.
    pub default_backend: Option<BackendId>,

    pub timeout_client: Option<Duration>,
    pub timeout_client_fin: Option<Duration>,
    pub timeout_http_request: Option<Duration>,
    pub timeout_http_keep_alive: Option<Duration>,
    pub timeout_tarpit: Option<Duration>,
    pub timeout_client_hs: Option<Duration>,

    pub log: Vec<LogTarget>,
    pub log_tag: Option<String>,
    pub log_formats: LogFormats,
    /// `unique-id-header`: the header in which the server gets the unique id.
    pub unique_id_header: Option<Arc<str>>,
    pub captures: Captures,
    pub options: FrontendOptions,
    pub monitor_uri: Option<Arc<str>>,
    pub errorfiles: ErrorFiles,
    pub rules: RuleSets,
    pub clitcpka: TcpKeepalive,
    pub splice: SpliceOptions,
}

/// The `option` words that a frontend obeys; all off unless the manual says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FrontendOptions {
    pub dontlognull: bool,
    /// `disable-h2-upgrade`: a clear connection that begins with HTTP/2's preface is not taken for one.
    pub disable_h2_upgrade: bool,
    pub dontlog_normal: bool,
    pub log_separate_errors: bool,
    pub logasap: bool,
    pub http_ignore_probes: bool,
    pub http_buffer_request: bool,
    pub accept_unsafe_violations_in_http_request: bool,
    pub http_use_proxy_header: bool,
    pub http_no_delay: bool,
    pub http_drop_response_trailers: bool,
    pub nolinger: bool,
    pub tcp_smart_accept: Option<bool>,
    pub idle_close_on_response: bool,
    pub independent_streams: bool,
    pub abortonclose: bool,
    pub forwardfor: Option<AddressHeader>,
    pub originalto: Option<AddressHeader>,
    pub forwarded: Option<Forwarded>,
    pub connection: ConnectionMode,
    pub socket_stats: bool,
    pub contstats: bool,
}

/// `option httpclose|http-server-close|http-keep-alive`. A stream obeys the stricter of its two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum ConnectionMode {
    #[default]
    KeepAlive,
    ServerClose,
    Close,
}
