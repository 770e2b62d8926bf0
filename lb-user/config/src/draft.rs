//! What the sections said, before names are resolved: the value that keyword parsers write to.
//!
//! A proxy's inheritable part is its [`Settings`]; a `defaults` section is nothing else. Everything in it is a
//! copy of the defaults at first and changed by the proxy's own statements.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sockeye_auth::UserList;
use sockeye_balance::{HashFunction, HashMethod, HashSource};
use sockeye_pattern::Library;
use sockeye_rules::RuleSets;
use sockeye_sample::Expressions;
use sockeye_syntax::diag::Location;

use crate::expressions;
use crate::keyword::Sections;
use crate::keywords::tls::store::DraftLoad;
use crate::model::{
    BackendOptions, Bind, Captures, CheckStep, ErrorFiles, FrontendOptions, Global, HashPreserveAffinity,
    HttpReuse, HttpSend, LogTarget, Mode, PacketOptions, RetryOn, Server, Source, SpliceOptions,
    StartVariable, TcpKeepalive,
};

/// Everything, in file order.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) global: Global,
    pub(crate) userlists: Vec<UserList>,
    /// `http-errors` sections by name.
    pub(crate) errors: HashMap<Arc<str>, ErrorFiles>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) expressions: Expressions,
    /// Variables of the process that have a value from the start.
    pub(crate) start: Vec<Arc<StartVariable>>,
    /// `load` lines of `crt-store` sections, and their names.
    pub(crate) loads: Vec<DraftLoad>,
    pub(crate) load_names: HashSet<String>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            global: Global::default(),
            userlists: Vec::new(),
            errors: HashMap::new(),
            proxies: Vec::new(),
            expressions: Expressions::new(expressions::language(), Library::default()),
            start: Vec::new(),
            loads: Vec::new(),
            load_names: HashSet::new(),
        }
    }
}

/// Which section a proxy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Defaults,
    Frontend,
    Backend,
    Listen,
}

impl Kind {
    /// As messages call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Listen => "proxy",
        }
    }

    /// As the file calls it.
    pub(crate) fn keyword(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            other => other.name(),
        }
    }

    pub(crate) fn section(self) -> Sections {
        match self {
            Self::Defaults => Sections::DEFAULTS,
            Self::Frontend => Sections::FRONTEND,
            Self::Backend => Sections::BACKEND,
            Self::Listen => Sections::LISTEN,
        }
    }

    pub(crate) fn is_frontend(self) -> bool {
        matches!(self, Self::Frontend | Self::Listen)
    }

    pub(crate) fn is_backend(self) -> bool {
        matches!(self, Self::Backend | Self::Listen)
    }
}

/// A `frontend`, `backend`, `listen` or `defaults` section.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) kind: Kind,
    pub(crate) name: Arc<str>,
    pub(crate) location: Location,
    pub(crate) settings: Settings,
    pub(crate) numeric_id: Option<(u32, Location)>,
    pub(crate) description: Option<String>,
    pub(crate) binds: Vec<Bind>,
    /// `ssl-f-use`, for every `ssl` line.
    pub(crate) list_lines: Vec<String>,
    pub(crate) servers: Vec<DraftServer>,
    pub(crate) captures: Captures,
    /// Names of `http-errors` sections that its rules use and that do not exist.
    pub(crate) unknown_errors: Vec<String>,
}

/// What a `defaults` section hands on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    pub(crate) disabled: bool,
    pub(crate) maxconn: Option<u32>,
    pub(crate) backlog: Option<u32>,
    pub(crate) default_backend: Option<String>,
    pub(crate) timeouts: Timeouts,
    pub(crate) log: Vec<DraftLog>,
    pub(crate) log_tag: Option<String>,
    /// `log-format` or an option that stands for one: the last of them counts.
    pub(crate) log_format: Option<DraftFormat>,
    pub(crate) log_format_sd: Option<DraftFormat>,
    pub(crate) error_log_format: Option<DraftFormat>,
    pub(crate) unique_id_format: Option<DraftFormat>,
    pub(crate) unique_id_header: Option<Arc<str>>,
    /// Options that are on and need `mode http`.
    pub(crate) http_options: Vec<&'static str>,
    pub(crate) frontend: FrontendOptions,
    pub(crate) backend: BackendOptions,
    pub(crate) splice: SpliceOptions,
    pub(crate) clitcpka: TcpKeepalive,
    pub(crate) srvtcpka: TcpKeepalive,
    pub(crate) monitor_uri: Option<Arc<str>>,
    pub(crate) errorfiles: ErrorFiles,
    pub(crate) rules: RuleSets,
    pub(crate) balance: DraftBalance,
    pub(crate) fullconn: Option<u32>,
    pub(crate) retries: Option<u32>,
    pub(crate) retry_on: RetryOn,
    pub(crate) redispatch: i32,
    pub(crate) http_reuse: HttpReuse,
    pub(crate) max_keep_alive_queue: Option<u32>,
    pub(crate) hash_preserve_affinity: HashPreserveAffinity,
    pub(crate) source: DraftSource,
    pub(crate) packet: PacketOptions,
    pub(crate) check: DraftCheck,
    pub(crate) default_server: DraftServer,
}

/// `timeout …`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timeouts {
    pub(crate) client: Option<Duration>,
    pub(crate) client_fin: Option<Duration>,
    pub(crate) client_hs: Option<Duration>,
    pub(crate) http_request: Option<Duration>,
    pub(crate) http_keep_alive: Option<Duration>,
    pub(crate) connect: Option<Duration>,
    pub(crate) server: Option<Duration>,
    pub(crate) server_fin: Option<Duration>,
    pub(crate) queue: Option<Duration>,
    pub(crate) check: Option<Duration>,
    pub(crate) tunnel: Option<Duration>,
    pub(crate) tarpit: Option<Duration>,
}

/// A format that is compiled for each frontend that has it.
#[derive(Debug, Clone)]
pub(crate) struct DraftFormat {
    pub(crate) text: FormatText,
    /// Where it was written, for messages about it.
    pub(crate) at: Location,
}

/// What the file says about a format.
#[derive(Debug, Clone)]
pub(crate) enum FormatText {
    Option(LogOption),
    Written(String),
}

/// The options that stand for a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogOption {
    Tcp,
    TcpClf,
    Http,
    HttpClf,
    Https,
}

impl LogOption {
    /// As the file calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "option tcplog",
            Self::TcpClf => "option tcplog clf",
            Self::Http => "option httplog",
            Self::HttpClf => "option httplog clf",
            Self::Https => "option httpslog",
        }
    }
}

/// One `log` statement.
#[derive(Debug, Clone)]
pub(crate) enum DraftLog {
    /// `log global`.
    Global,
    Target(LogTarget),
}

/// `balance`, `hash-type` and `hash-balance-factor`, which may stand in any order.
#[derive(Debug, Clone, Default)]
pub(crate) struct DraftBalance {
    pub(crate) algorithm: Option<DraftAlgorithm>,
    pub(crate) method: HashMethod,
    /// `None`: sdbm, with avalanche if consistent.
    pub(crate) function: Option<(HashFunction, bool)>,
    pub(crate) factor: u32,
}

/// The word after `balance`.
#[derive(Debug, Clone)]
pub(crate) enum DraftAlgorithm {
    RoundRobin,
    StaticRoundRobin,
    LeastConn,
    First,
    Random(u32),
    Hash(HashSource),
}

/// `source` of a backend.
#[derive(Debug, Clone, Default)]
pub(crate) struct DraftSource {
    pub(crate) source: Source,
    /// Where it was written, if it was.
    pub(crate) at: Option<Location>,
    /// By the defaults.
    pub(crate) inherited: bool,
}

/// The health check of a backend.
#[derive(Debug, Clone, Default)]
pub(crate) struct DraftCheck {
    pub(crate) kind: DraftCheckKind,
    /// What `option httpchk METHOD URI VERSION` or its absence of words means.
    pub(crate) httpchk: Option<HttpSend>,
    /// `http-check` rules, comments included.
    pub(crate) http_rules: Vec<CheckStep>,
    pub(crate) tcp_rules: Vec<CheckStep>,
    /// The rules are those of the defaults: the section's first own rule replaces them.
    pub(crate) http_inherited: bool,
    pub(crate) tcp_inherited: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DraftCheckKind {
    #[default]
    Connect,
    Tcp,
    Http,
    /// `option ssl-hello-chk`.
    SslHello,
}

/// A server whose names are not resolved, or what `default-server` accumulated.
#[derive(Debug, Clone)]
pub(crate) struct DraftServer {
    pub(crate) location: Location,
    pub(crate) server: Server,
    pub(crate) given_id: Option<(u32, Location)>,
    /// `track [PROXY/]SERVER`.
    pub(crate) track: Option<String>,
    pub(crate) tls: DraftServerTls,
    /// `set-proxy-v2-tlv-fmt`: type and format, compiled for each server.
    pub(crate) tlvs: Vec<(u8, String)>,
}

/// The TLS words of a server line.
#[derive(Debug, Clone, Default)]
pub(crate) struct DraftServerTls {
    /// `ssl`, `no-ssl`.
    pub(crate) ssl: bool,
    /// `check-ssl`, `no-check-ssl`. `None`: as the traffic.
    pub(crate) check_ssl: Option<bool>,
    /// `check-sni-auto`.
    pub(crate) check_sni_auto: bool,
    /// `sni`, compiled for each server.
    pub(crate) sni: Option<String>,
    pub(crate) settings: sockeye_tls::settings::Server,
}

impl Default for DraftServer {
    fn default() -> Self {
        Self {
            location: Location::new("", 0),
            server: Server::default(),
            given_id: None,
            track: None,
            tls: DraftServerTls::default(),
            tlvs: Vec::new(),
        }
    }
}
