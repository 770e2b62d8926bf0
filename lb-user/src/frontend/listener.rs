//! Binding: every address of the configuration becomes listening sockets before anything is served.
//!
//! A TCP address has one `SO_REUSEPORT` socket per worker, so that the kernel spreads connections and no accept
//! queue is shared. Unix and inherited sockets cannot be split and are accepted from by all their workers.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use sockeye_config::model::{self, AddressBlock, Bind, BindAddress, Identity, Shards};
use sockeye_sys::{process, sockopt};
use sockeye_tls::Acceptor;

use super::block::{self, Anchors};
use super::limit::Limit;
use crate::backend::connect;

/// Running object of one listening address.
#[derive(Debug)]
pub struct Listener {
    pub cfg: &'static Bind,
    /// Position among the listening addresses of its frontend, from 1; of the first one for a range of ports.
    pub number: u32,
    pub limit: Limit,
}

impl Listener {
    /// Its number for a connection to this address: in a range every port has its own.
    pub fn number_at(&self, local: impl FnOnce() -> Option<SocketAddr>) -> u32 {
        match self.cfg.address {
            BindAddress::Block(block) if !block.is_prefix() => {
                let port = local().map_or(block.low, |addr| addr.port());
                self.number + u32::from(port.saturating_sub(block.low))
            }
            _ => self.number,
        }
    }

    /// What TLS handshakes run on, if clients speak TLS.
    pub fn acceptor(&self) -> Option<&'static Acceptor> {
        self.cfg.tls.as_ref()?.acceptor.as_deref()
    }
}

/// The sockets of one address, each with the workers that accept from it.
#[derive(Debug)]
pub struct Bound {
    pub frontend: model::FrontendId,
    /// Index into the frontend's binds.
    pub bind: usize,
    pub sockets: Vec<(OwnedFd, Vec<usize>)>,
    /// What the sockets get beside the address that they are bound to.
    pub owns: Option<AddressBlock>,
}

/// Why an address cannot be listened on. The text is what follows the proxy's name in the alert.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot create listening socket ({})", Words(.0))]
    Create(io::Error),
    #[error("cannot bind socket ({})", Words(.0))]
    Bind(io::Error),
    #[error("cannot bind socket ({}) to port {port} of the range", Words(.error))]
    Taken { port: u16, error: io::Error },
    #[error(
        "cannot listen on {addresses} addresses and ports: that takes the kernel's help, and steering is off ({reason})"
    )]
    TooWide { addresses: u128, reason: String },
    #[error("cannot listen to socket ({})", Words(.0))]
    Listen(io::Error),
    #[error("cannot set {option} on socket ({})", Words(.error))]
    Option { option: &'static str, error: io::Error },
    #[error("cannot change UNIX socket ownership or mode ({})", Words(.0))]
    Ownership(io::Error),
    #[error("'thread' only references non-existing threads")]
    NoThread,
    #[error("unknown user or group '{0}'")]
    Identity(String),
    #[error("cannot use inherited descriptor ({})", Words(.0))]
    Inherited(io::Error),
    #[error("cannot enter network namespace ({})", Words(.0))]
    Namespace(io::Error),
}

/// The system's words for an error, without its number.
struct Words<'a>(&'a io::Error);

impl std::fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

/// What binding needs to know besides the bind line.
#[derive(Debug, Clone, Copy)]
pub struct BindContext<'a> {
    pub workers: usize,
    pub reuseport: bool,
    pub default_shards: Shards,
    /// `maxconn` of the process, the last resort for the backlog.
    pub maxconn: u32,
    pub frontend: &'a model::Frontend,
    pub tune: &'a model::Tune,
    pub anchors: &'a Anchors,
    /// Whether the kernel helps with blocks, or why not.
    pub steered: Result<(), &'a str>,
}

/// Creates, binds and listens on all sockets of one bind line.
pub fn bind(cfg: &Bind, context: &BindContext<'_>) -> Result<Vec<(OwnedFd, Vec<usize>)>, BindError> {
    let workers: Vec<usize> = if cfg.threads.is_empty() {
        (0..context.workers).collect()
    } else {
        cfg.threads.iter().map(|thread| usize::from(*thread)).filter(|n| *n < context.workers).collect()
    };
    if workers.is_empty() {
        return Err(BindError::NoThread);
    }
    let socket = match &cfg.address {
        BindAddress::Inet(addr) => return group(cfg, *addr, &workers, context),
        BindAddress::Block(block) => return block::bind(cfg, block, &workers, context),
        BindAddress::Unix(path) => unix(cfg, path, context)?,
        BindAddress::Abstract { name, padded } => abstract_name(cfg, name, *padded, context)?,
        BindAddress::Fd(fd) => inherited(*fd, context, cfg)?,
    };
    Ok(vec![(socket, workers)])
}

/// The sockets of one address.
pub(super) fn group(
    cfg: &Bind,
    addr: SocketAddr,
    workers: &[usize],
    context: &BindContext<'_>,
) -> Result<Vec<(OwnedFd, Vec<usize>)>, BindError> {
    let sockets = match (context.reuseport, cfg.shards.unwrap_or(context.default_shards)) {
        (false, _) | (_, Shards::ByProcess | Shards::ByGroup) => 1,
        (true, Shards::ByThread) => workers.len(),
        (true, Shards::Count(count)) => usize::from(count).clamp(1, workers.len()),
    };
    (0..sockets)
        .map(|shard| {
            let served_by = workers.iter().copied().skip(shard).step_by(sockets).collect();
            Ok((inet(cfg, addr, context)?, served_by))
        })
        .collect()
}

fn inet(cfg: &Bind, addr: SocketAddr, context: &BindContext<'_>) -> Result<OwnedFd, BindError> {
    let home = match &cfg.namespace {
        Some(name) => Some(process::enter_network_namespace(name).map_err(BindError::Namespace)?),
        None => None,
    };
    let result = inet_here(cfg, addr, context);
    if let Some(home) = home {
        process::return_to_network_namespace(home).map_err(BindError::Namespace)?;
    }
    result
}

/// Whether `addr` could be bound, too.
pub(super) fn probe(cfg: &Bind, addr: SocketAddr, context: &BindContext<'_>) -> Result<(), BindError> {
    let kind = Type::STREAM.cloexec();
    let socket =
        Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP)).map_err(BindError::Create)?;
    inet_options(&socket, cfg, addr, context)?;
    socket.bind(&addr.into()).map_err(|error| BindError::Taken { port: addr.port(), error })
}

fn inet_here(cfg: &Bind, addr: SocketAddr, context: &BindContext<'_>) -> Result<OwnedFd, BindError> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket =
        Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP)).map_err(BindError::Create)?;
    inet_options(&socket, cfg, addr, context)?;
    socket.bind(&addr.into()).map_err(BindError::Bind)?;
    socket.listen(backlog(cfg, context)).map_err(BindError::Listen)?;
    Ok(socket.into())
}

/// Options that accepted sockets inherit, and those that bind and listen need.
fn inet_options(
    socket: &Socket,
    cfg: &Bind,
    addr: SocketAddr,
    context: &BindContext<'_>,
) -> Result<(), BindError> {
    let named = |option: &'static str| move |error: io::Error| BindError::Option { option, error };
    socket.set_reuse_address(true).map_err(named("SO_REUSEADDR"))?;
    if context.reuseport {
        socket.set_reuse_port(true).map_err(named("SO_REUSEPORT"))?;
    }
    if addr.is_ipv6() {
        // `v4v6` and `v6only` say so; without either the system's default holds, as in HAProxy.
        if cfg.v6only {
            socket.set_only_v6(true).map_err(named("IPV6_V6ONLY"))?;
        } else if cfg.v4v6 {
            socket.set_only_v6(false).map_err(named("IPV6_V6ONLY"))?;
        }
    }
    socket.set_tcp_nodelay(true).map_err(named("TCP_NODELAY"))?;
    connect::keepalive(socket, &context.frontend.clitcpka).map_err(named("SO_KEEPALIVE"))?;
    if cfg.transparent {
        sockopt::set_transparent(socket, addr.is_ipv6()).map_err(named("IP_TRANSPARENT"))?;
    }
    if let Some(interface) = &cfg.interface {
        socket.bind_device(Some(interface.as_bytes())).map_err(named("SO_BINDTODEVICE"))?;
    }
    if let Some(bytes) = cfg.mss {
        sockopt::set_maxseg(socket, bytes).map_err(named("TCP_MAXSEG"))?;
    }
    if let Some(time) = cfg.tcp_user_timeout {
        let milliseconds = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        sockopt::set_user_timeout(socket, milliseconds).map_err(named("TCP_USER_TIMEOUT"))?;
    }
    if cfg.defer_accept {
        sockopt::set_defer_accept(socket, DEFER_ACCEPT_SECONDS).map_err(named("TCP_DEFER_ACCEPT"))?;
    }
    if cfg.tfo {
        sockopt::set_fastopen(socket, backlog(cfg, context)).map_err(named("TCP_FASTOPEN"))?;
    }
    if let Some(algorithm) = &cfg.congestion {
        socket.set_tcp_congestion(algorithm.as_bytes()).map_err(named("TCP_CONGESTION"))?;
    }
    if let Some(bytes) = context.tune.rcvbuf_client {
        socket.set_recv_buffer_size(bytes as usize).map_err(named("SO_RCVBUF"))?;
    }
    if let Some(bytes) = context.tune.sndbuf_client {
        socket.set_send_buffer_size(bytes as usize).map_err(named("SO_SNDBUF"))?;
    }
    Ok(())
}

/// How long the kernel holds a silent connection back with `defer-accept`.
const DEFER_ACCEPT_SECONDS: i32 = 60;

/// `backlog` of the bind line, of the section, or what the section may hold anyway. The kernel caps it at
/// net.core.somaxconn.
fn backlog(cfg: &Bind, context: &BindContext<'_>) -> i32 {
    let backlog = cfg
        .backlog
        .or(context.frontend.backlog)
        .or(cfg.maxconn)
        .or(context.frontend.maxconn)
        .filter(|n| *n > 0)
        .unwrap_or(context.maxconn);
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

/// A socket file is made under a temporary name and moved into place, so that at every moment one of the old and
/// the new process answers.
fn unix(cfg: &Bind, path: &Path, context: &BindContext<'_>) -> Result<OwnedFd, BindError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    // Left behind by a process of the same number that died in between.
    let _ = fs::remove_file(&temporary);
    let socket = new_unix()?;
    let address = SockAddr::unix(&temporary).map_err(BindError::Bind)?;
    socket.bind(&address).map_err(BindError::Bind)?;
    let placed = own(&temporary, &cfg.unix)
        .and_then(|()| socket.listen(backlog(cfg, context)).map_err(BindError::Listen))
        .and_then(|()| fs::rename(&temporary, path).map_err(BindError::Bind));
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    placed.map(|()| socket.into())
}

fn abstract_name(
    cfg: &Bind,
    name: &str,
    padded: bool,
    context: &BindContext<'_>,
) -> Result<OwnedFd, BindError> {
    let socket = new_unix()?;
    socket
        .bind(&sockopt::abstract_address(name, padded).map_err(BindError::Bind)?)
        .map_err(BindError::Bind)?;
    socket.listen(backlog(cfg, context)).map_err(BindError::Listen)?;
    Ok(socket.into())
}

fn new_unix() -> Result<Socket, BindError> {
    Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None).map_err(BindError::Create)
}

fn own(path: &Path, options: &model::UnixOptions) -> Result<(), BindError> {
    let uid = match &options.user {
        Some(Identity::Id(id)) => Some(*id),
        Some(Identity::Name(name)) => {
            Some(lookup(name, process::user(name).map(|found| found.map(|ids| ids.0)))?)
        }
        None => None,
    };
    let gid = match &options.group {
        Some(Identity::Id(id)) => Some(*id),
        Some(Identity::Name(name)) => Some(lookup(name, process::group(name))?),
        None => None,
    };
    if uid.is_some() || gid.is_some() {
        std::os::unix::fs::chown(path, uid, gid).map_err(BindError::Ownership)?;
    }
    if let Some(mode) = options.mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(BindError::Ownership)?;
    }
    Ok(())
}

fn lookup(name: &str, found: io::Result<Option<u32>>) -> Result<u32, BindError> {
    found.map_err(BindError::Ownership)?.ok_or_else(|| BindError::Identity(name.to_owned()))
}

fn inherited(fd: i32, context: &BindContext<'_>, cfg: &Bind) -> Result<OwnedFd, BindError> {
    let fd = process::inherited(fd).map_err(BindError::Inherited)?;
    rustix::io::ioctl_fionbio(&fd, true).map_err(|errno| BindError::Inherited(errno.into()))?;
    if !sockopt::is_listening(&fd).map_err(BindError::Inherited)? {
        rustix::net::listen(&fd, backlog(cfg, context)).map_err(|errno| BindError::Listen(errno.into()))?;
    }
    Ok(fd)
}
