//! The `global` section.

use std::path::PathBuf;
use std::time::Duration;

use super::{Attach, LogTarget, ShieldRule, Steer};

/// `global`, defaults filled in where the manual gives one.
#[derive(Debug, Clone, PartialEq)]
pub struct Global {
    /// `maxconn`: concurrent client connections of the process. `None`: computed from the descriptor limit.
    pub maxconn: Option<u32>,
    /// `nbthread`: worker threads. `None`: one per CPU the process may use.
    pub nbthread: Option<u16>,
    pub daemon: bool,
    pub quiet: bool,
    pub pidfile: Option<PathBuf>,
    pub chroot: Option<PathBuf>,
    pub user: Option<Identity>,
    pub group: Option<Identity>,
    /// `ulimit-n`: the descriptor limit to set.
    pub ulimit_n: Option<u64>,
    /// `fd-hard-limit`: the most descriptors `maxconn` may be computed from.
    pub fd_hard_limit: Option<u64>,
    pub node: Option<String>,
    pub description: Option<String>,
    pub localpeer: Option<String>,
    /// `hard-stop-after`: how long a soft stop may last before it becomes a hard one.
    pub hard_stop_after: Option<Duration>,
    /// `close-spread-time`: over how long idle connections are closed during a soft stop.
    pub close_spread_time: Option<Duration>,
    /// `grace`: how long a soft stop keeps accepting.
    pub grace: Option<Duration>,
    pub log: Vec<LogTarget>,
    /// `log-tag`. `None`: the program's name.
    pub log_tag: Option<String>,
    /// `log-send-hostname [NAME]`: `Some(None)` sends the machine's own name.
    pub log_send_hostname: Option<Option<String>>,
    /// `unix-bind prefix|mode|user|uid|group|gid`.
    pub unix_bind: super::UnixOptions,
    pub unix_bind_prefix: Option<String>,
    /// `spread-checks` 0..=50 percent.
    pub spread_checks: u8,
    /// `max-spread-checks`.
    pub max_spread_checks: Option<Duration>,
    /// `nosplice`: no splice(2) anywhere.
    pub nosplice: bool,
    /// `noreuseport`: one listening socket per address, shared by the workers.
    pub noreuseport: bool,
    /// `insecure-fork-wanted`, `strict-limits`, `zero-warning`, `anonkey` as written.
    pub strict_limits: bool,
    pub zero_warning: bool,
    /// TLS: `ssl-default-…`, `ca-base`, `tune.ssl.…` and their kin.
    pub tls: sockeye_tls::settings::Global,
    /// `maxsslconn`: client connections with TLS at a time. `None`: no limit but `maxconn`.
    pub maxsslconn: Option<u32>,
    /// `maxsslrate`: client connections with TLS per second. `None`: no limit.
    pub maxsslrate: Option<u32>,
    pub tune: Tune,
    pub ebpf: Ebpf,
    /// Variables that `setenv`/`presetenv` left, for child processes.
    pub environment: Vec<(String, String)>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            maxconn: None,
            nbthread: None,
            daemon: false,
            quiet: false,
            pidfile: None,
            chroot: None,
            user: None,
            group: None,
            ulimit_n: None,
            fd_hard_limit: None,
            node: None,
            description: None,
            localpeer: None,
            hard_stop_after: None,
            close_spread_time: None,
            grace: None,
            log: Vec::new(),
            log_tag: None,
            log_send_hostname: None,
            unix_bind: super::UnixOptions::default(),
            unix_bind_prefix: None,
            spread_checks: 0,
            max_spread_checks: None,
            nosplice: false,
            noreuseport: false,
            strict_limits: true,
            zero_warning: false,
            tls: sockeye_tls::settings::Global::default(),
            maxsslconn: None,
            maxsslrate: None,
            tune: Tune::default(),
            ebpf: Ebpf::default(),
            environment: Vec::new(),
        }
    }
}

/// `user`/`uid`, `group`/`gid`: a name is looked up when the process starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    Name(String),
    Id(u32),
}

/// The `tune.` words that have a meaning here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tune {
    /// `tune.bufsize`: bytes of one buffer, and so the largest message head.
    pub bufsize: usize,
    /// `tune.maxrewrite`: bytes of a buffer kept free for rewriting.
    pub maxrewrite: usize,
    /// `tune.http.maxhdr`: header fields per message.
    pub http_maxhdr: usize,
    /// `tune.http.logurilen`: bytes of the request line that a log line keeps.
    pub http_logurilen: usize,
    /// `tune.http.cookielen`: bytes of a captured cookie.
    pub http_cookielen: usize,
    /// `tune.maxaccept`: connections taken per wake-up of a listener.
    pub maxaccept: u32,
    /// `tune.pipesize`: bytes of a splice pipe. `None`: chosen by the relay.
    pub pipesize: Option<usize>,
    /// `maxpipes`: pipes the process may hold. `None`: a quarter of maxconn.
    pub maxpipes: Option<u32>,
    pub rcvbuf_client: Option<u32>,
    pub rcvbuf_server: Option<u32>,
    pub sndbuf_client: Option<u32>,
    pub sndbuf_server: Option<u32>,
    /// `tune.idle-pool.shared` is accepted without effect: pools are per thread.
    /// `tune.listener.default-shards by-process|by-thread|by-group`.
    pub default_shards: super::Shards,
    /// `tune.max-checks-per-thread`: checks that may run at once. 0: no limit.
    pub max_checks_per_thread: u32,
    /// `tune.h2.…`
    pub h2: super::H2,
}

impl Default for Tune {
    fn default() -> Self {
        Self {
            bufsize: 16_384,
            maxrewrite: 1_024,
            http_maxhdr: 101,
            http_logurilen: 1_024,
            http_cookielen: 63,
            maxaccept: 100,
            pipesize: None,
            maxpipes: None,
            rcvbuf_client: None,
            rcvbuf_server: None,
            sndbuf_client: None,
            sndbuf_server: None,
            default_shards: super::Shards::ByThread,
            max_checks_per_thread: 0,
            h2: super::H2::default(),
        }
    }
}

/// Our own words, `ebpf.…` in `global`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ebpf {
    /// `ebpf.accel on|off`: whether kernel programs may be used at all.
    pub accel: bool,
    /// `ebpf.splice auto|sockmap|off`: how established byte streams may be forwarded.
    pub splice: EbpfSplice,
    /// `ebpf.instance NAME`: names the folder of pinned programs and maps.
    pub instance: String,
    /// `ebpf.attach auto|native|generic|tc`.
    pub attach: Attach,
    /// `ebpf.connections N`: flows that `mode packet` remembers. `None`: the program's own number.
    pub connections: Option<u32>,
    /// `ebpf.steer off|least|cpu`.
    pub steer: Steer,
    /// `ebpf.shield deny|allow …`, in file order. Empty: no shield.
    pub shield: Vec<ShieldRule>,
    /// `ebpf.debug on`: the programs say rare things to the log.
    pub debug: bool,
}

/// `ebpf.instance` when the file does not say.
pub const EBPF_INSTANCE: &str = "default";

impl Default for Ebpf {
    fn default() -> Self {
        Self {
            accel: true,
            splice: EbpfSplice::Auto,
            instance: EBPF_INSTANCE.to_owned(),
            attach: Attach::Auto,
            connections: None,
            steer: Steer::Off,
            shield: Vec::new(),
            debug: false,
        }
    }
}

/// `ebpf.splice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EbpfSplice {
    /// copy, growing to splice(2), as `option splice-*` allows.
    #[default]
    Auto,
    /// Redirect between sockets inside the kernel where the relay's rule allows it.
    Sockmap,
    /// Userspace copies only.
    Off,
}
