//! From a validated configuration to a serving process. The order is the content:
//! addresses resolved, limits raised, every socket bound, the background, the packet plane, privileges dropped, then
//! threads.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sockeye_accel::Accel;
use sockeye_config::model::{BindAddress, Config, Frontend, Identity, Mode, SectionKind};
use sockeye_conn::{BufferLimits, RecordLimits};
use sockeye_relay::PipeLimits;
use sockeye_syntax::diag::Severity;
use sockeye_sys::process::{self as sys, CapabilitySet, Fork};
use tokio::sync::mpsc;

use super::args::Replaced;
use super::control::Control;
use super::logs::Logs;
use super::objects::{self, Objects};
use super::resolve::{self, Resolved};
use super::threads::{self, Report, Share, Steered, Worker};
use super::{limits, offload, run, steer};
use crate::backend::{State, pool};
use crate::frontend;
use crate::frontend::block::{self, Anchors};
use crate::frontend::listener::{self, BindContext, BindError, Bound};
use crate::packet::{Plane, Started};
use crate::services::ocsp::Updates;
use crate::stream::rules::world::World;

/// What the command line decided.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `-D` or the word `daemon`, and not `-db`.
    pub background: bool,
    pub pidfile: Option<std::path::PathBuf>,
    /// `-d`: say what happens on standard output, and a summary at the end.
    pub debug: bool,
    /// `-dr`: servers whose names do not resolve start in maintenance.
    pub ignore_unresolved: bool,
    /// `-m`: megabytes of address space.
    pub memory_megabytes: Option<u64>,
    pub program: String,
    /// `-sf`, `-st`: processes that this one replaces.
    pub replaced: Option<Replaced>,
}

/// Starts everything and stays until the end; the result is the exit status.
pub fn start(config: Config, options: &Options) -> Result<u8> {
    // From the first listening socket on, somebody may want us to stop.
    sys::hold_signals();
    let config: &'static Config = Box::leak(Box::new(config));
    let workers = worker_count(config);
    let destinations = resolve_servers(config, options.ignore_unresolved)?;
    let steered = steer::possible(config);
    let binds = config.frontends.iter().flat_map(|frontend| &frontend.binds);
    let listeners = binds.map(|bind| block::addresses(bind, steered.is_ok()) * workers).sum();
    let limits = limits::apply(config, workers, listeners)?;
    limit_memory(options)?;
    let (bound, steering) = steer::bind(config, workers, limits.maxconn, steered)?;
    let background = if options.background {
        Some(go_to_background(options)?)
    } else {
        write_pidfile(options, std::process::id())?;
        None
    };
    // A name of the process that tools look for; it stays as it is where the kernel refuses.
    let _ = sys::set_name(&options.program);
    pipe_limits(config, limits.maxconn).apply();
    pool::limit(limits.descriptors, workers);
    let global = &config.global;
    RecordLimits { first: global.tls.max_record, any: global.tls.hard_max_record }.apply();
    frontend::tls::Limits { connections: global.maxsslconn, per_second: global.maxsslrate }.apply();
    let mut accel = Accel::start(offload::wanted(config));
    accel.set_steering(steering);
    accel.set_packet(offload::packet(config));
    if !config.global.quiet {
        run::say(Severity::Notice, &accel.to_string());
    }
    let mut logs = Logs::new(&config.global, &options.program);
    let objects =
        objects::build(config, limits.maxconn, &mut logs, &accel).context("cannot open a log target")?;
    let objects: &'static Objects = Box::leak(Box::new(objects));
    let global_logger = logs.logger(&global.log, None).context("cannot open a log target")?;
    let updates = Updates::new(config, global_logger);
    World::set(config, objects.frontends.clone(), objects.backends.clone(), workers);
    for (backend, destinations) in objects.backends.iter().zip(destinations) {
        for (server, destination) in backend.servers.iter().zip(destinations) {
            match destination {
                Resolved::To(destination) => server.set_destination(backend, Some(destination)),
                Resolved::Later => {
                    server.set_state(backend, State::Maintenance);
                }
            }
        }
    }
    let Started { plane, shield } = start_plane(objects, options)?;
    drop_privileges(config, plane.as_ref())?;
    if let Some(background) = background {
        background.enter().context("cannot detach from the terminal")?;
    }
    let (reports, heard) = mpsc::unbounded_channel();
    let workers = start_workers(objects, bound, workers, &accel, &reports)?;
    drop(reports);
    if let Some(replaced) = &options.replaced {
        replace(replaced);
    }
    Control { objects, options, workers, reports: heard, logs, accel, updates, plane, shield }.run()
}

/// Starts the packet plane and the shield; if one cannot be, nothing starts and everything that is wrong is listed.
fn start_plane(objects: &'static Objects, options: &Options) -> Result<Started> {
    let replaced = options.replaced.as_ref().map_or(&[][..], |replaced| &replaced.pids);
    Plane::start(objects, replaced).map_err(|error| {
        for alert in error.alerts(objects.config) {
            run::say(Severity::Alert, &alert);
        }
        anyhow::anyhow!("[haproxy.main()] Some protocols failed to start their listeners! Exiting.")
    })
}

/// Tells the processes that this one replaces to go. One that has gone already is as good.
fn replace(replaced: &Replaced) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = if replaced.at_once { Signal::TERM } else { Signal::USR1 };
    for pid in replaced.pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        let _ = kill_process(pid, signal);
    }
}

/// `maxpipes` and `tune.pipesize`; without them a quarter of `maxconn` and the relay's own size.
fn pipe_limits(config: &Config, maxconn: u32) -> PipeLimits {
    let default = PipeLimits::default();
    let tune = &config.global.tune;
    let pipes = tune
        .maxpipes
        .map_or_else(|| default.pipes.min((maxconn as usize).div_ceil(4)), |pipes| pipes as usize);
    PipeLimits { pipes, bytes: tune.pipesize.unwrap_or(default.bytes) }
}

/// `nbthread`, or the CPUs the process may use.
fn worker_count(config: &Config) -> usize {
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    config.global.nbthread.map_or(available, usize::from).max(1)
}

/// Addresses of all servers; all that cannot be found are listed.
pub fn resolve_servers(config: &Config, ignore_unresolved: bool) -> Result<Vec<Vec<Resolved>>> {
    let mut failed = false;
    let mut all = Vec::new();
    for backend in &config.backends {
        let mut found = Vec::new();
        for server in &backend.servers {
            match resolve::server(backend, server) {
                Ok(resolved) => found.push(resolved),
                Err(_) if ignore_unresolved => found.push(Resolved::Later),
                Err(text) => {
                    failed = true;
                    run::say(
                        Severity::Alert,
                        &format!("[{}:{}] : {text}", server.place.file, server.place.line),
                    );
                }
            }
        }
        all.push(found);
    }
    if failed {
        bail!("Failed to initialize server(s) addr.");
    }
    Ok(all)
}

fn limit_memory(options: &Options) -> Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let Some(megabytes) = options.memory_megabytes else { return Ok(()) };
    let bytes = Some(megabytes.saturating_mul(1024 * 1024));
    setrlimit(Resource::As, Rlimit { current: bytes, maximum: bytes }).context("cannot limit memory (-m)")
}

/// Binds every address; if one fails, all failures are listed and nothing starts.
pub(super) fn bind_all(
    config: &'static Config,
    workers: usize,
    maxconn: u32,
    steered: Result<(), &str>,
) -> Result<Vec<Bound>> {
    let anchors = Anchors::new(config);
    let mut bound = Vec::new();
    let mut failed = false;
    // Packets need no sockets.
    let listens = |frontend: &Frontend| !frontend.disabled && frontend.mode != Mode::Packet;
    for (index, frontend) in config.frontends.iter().enumerate().filter(|(_, frontend)| listens(frontend)) {
        let context = BindContext {
            workers,
            reuseport: !config.global.noreuseport,
            default_shards: config.global.tune.default_shards,
            maxconn,
            frontend,
            tune: &config.global.tune,
            anchors: &anchors,
            steered,
        };
        for (at, bind) in frontend.binds.iter().enumerate() {
            match listener::bind(bind, &context) {
                Ok(sockets) => {
                    bound.push(Bound {
                        frontend: sockeye_config::model::FrontendId(index),
                        bind: at,
                        sockets,
                        owns: block::owned(bind, &context),
                    });
                }
                Err(error) => {
                    failed = true;
                    let kind = if frontend.kind == SectionKind::Listen { "proxy" } else { "frontend" };
                    let (protocol, what) = describe(&bind.address, &error, &bind.text);
                    run::say(
                        Severity::Alert,
                        &format!(
                            "Binding [{}:{}] for {kind} {}: protocol {protocol}: {what}.",
                            bind.place.file, bind.place.line, frontend.name
                        ),
                    );
                }
            }
        }
    }
    if failed {
        bail!("[haproxy.main()] Some protocols failed to start their listeners! Exiting.");
    }
    Ok(bound)
}

/// The protocol's name and the failure in the words that HAProxy's users search for.
fn describe(address: &BindAddress, error: &BindError, text: &str) -> (&'static str, String) {
    match address {
        BindAddress::Inet(addr) if addr.is_ipv4() => ("tcpv4", format!("{error} for [{text}]")),
        BindAddress::Inet(_) => ("tcpv6", format!("{error} for [{text}]")),
        BindAddress::Block(block) => {
            let family = if block.first.is_ipv4() { "tcpv4" } else { "tcpv6" };
            (family, format!("{error} for [{text}]"))
        }
        BindAddress::Unix(path) => {
            let error = error.to_string().replace("bind socket", "bind UNIX socket");
            ("unix_stream", format!("{error} [{}]", path.display()))
        }
        BindAddress::Abstract { .. } => ("abns_stream", format!("{error} [{text}]")),
        BindAddress::Fd(_) => ("fd", format!("{error} for [{text}]")),
    }
}

/// The background process until it serves.
struct Background {
    /// The parent waits for a byte, or for the end without one.
    parent: io::PipeWriter,
}

impl Background {
    /// Lets the parent end with success, and leaves the terminal.
    fn enter(mut self) -> io::Result<()> {
        use std::io::Write as _;
        sys::detach()?;
        // A parent that was killed needs no answer.
        let _ = self.parent.write_all(&[0]);
        Ok(())
    }
}

/// The parent writes the pidfile and ends when the child serves, so that whoever started it finds the number as soon
/// as it returns, and knows by its exit status whether it serves.
fn go_to_background(options: &Options) -> Result<Background> {
    use std::io::Read as _;
    let (mut serving, parent) = io::pipe().context("cannot make a pipe")?;
    match sys::fork().context("cannot fork")? {
        Fork::Parent { child } => {
            drop(parent);
            let written = write_pidfile(options, u32::try_from(child).unwrap_or_default());
            let serves = serving.read_exact(&mut [0]).is_ok();
            std::process::exit(i32::from(written.is_err() || !serves));
        }
        Fork::Child => {
            run::enter_background();
            Ok(Background { parent })
        }
    }
}

fn write_pidfile(options: &Options, pid: u32) -> Result<()> {
    let Some(path) = &options.pidfile else { return Ok(()) };
    std::fs::write(path, format!("{pid}\n"))
        .with_context(|| format!("[haproxy.main()] Cannot create pidfile {}", path.display()))
}

/// `chroot`, `group`, `user`, in this order: names are looked up before the root changes.
fn drop_privileges(config: &Config, plane: Option<&Plane>) -> Result<()> {
    let global = &config.global;
    let (mut uid, mut gid) = (None, None);
    match &global.user {
        Some(Identity::Id(id)) => uid = Some(*id),
        Some(Identity::Name(name)) => {
            let found = found(name, "user", sys::user(name))?;
            uid = Some(found.0);
        }
        None => {}
    }
    match &global.group {
        Some(Identity::Id(id)) => gid = Some(*id),
        Some(Identity::Name(name)) => gid = Some(found(name, "group", sys::group(name))?),
        None => {}
    }
    if let Some(plane) = plane {
        plane.give_to(uid, gid).context("cannot give the packet plane's folder to the user")?;
    }
    if let Some(root) = &global.chroot {
        enter(root)?;
    }
    sys::become_user(uid, gid, kept(config)).context("[haproxy.main()] Cannot change user or group")
}

/// The privileges that the packet plane needs later, when an interface returns or its maps have to be read.
fn kept(config: &Config) -> CapabilitySet {
    let packet = config.frontends.iter().any(|frontend| frontend.mode == Mode::Packet && !frontend.disabled);
    if packet || !config.global.ebpf.shield.is_empty() {
        CapabilitySet::NET_ADMIN | CapabilitySet::BPF | CapabilitySet::PERFMON
    } else {
        CapabilitySet::empty()
    }
}

fn found<T>(name: &str, what: &str, result: io::Result<Option<T>>) -> Result<T> {
    result
        .with_context(|| format!("cannot look up {what} '{name}'"))?
        .with_context(|| format!("cannot find {what} id for '{name}'"))
}

fn enter(root: &Path) -> Result<()> {
    sys::chroot(root).with_context(|| format!("[haproxy.main()] Cannot chroot({})", root.display()))
}

fn start_workers(
    objects: &'static Objects,
    bound: Vec<Bound>,
    count: usize,
    accel: &Accel,
    reports: &mpsc::UnboundedSender<Report>,
) -> Result<Vec<Worker>> {
    let mut shares: Vec<Vec<Share>> = std::iter::repeat_with(Vec::new).take(count).collect();
    for bound in bound {
        let frontend = objects.frontends[bound.frontend.0];
        let listener = &frontend.listeners[bound.bind];
        for (socket, served_by) in bound.sockets {
            for worker in served_by {
                let socket = sys::duplicate(&socket).context("cannot share a listening socket")?;
                shares[worker].push(Share { frontend, listener, socket });
            }
        }
    }
    let buffers = BufferLimits { bytes: objects.config.global.tune.bufsize };
    shares
        .into_iter()
        .enumerate()
        .map(|(number, shares)| {
            let steering = accel.steering();
            let steered = Steered {
                load: steering.and_then(|steering| steering.worker(number)),
                cpu: steering.and_then(|steering| steering.cpu(number)),
            };
            threads::start(number, shares, buffers, steered, reports.clone())
                .with_context(|| format!("cannot start worker {}", number + 1))
        })
        .collect()
}
