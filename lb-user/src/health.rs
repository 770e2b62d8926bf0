//! The health checks of the running servers: starts a supervisor for each checked one and lets what it reports
//! change the server, its followers (`track`), the sessions and the log.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_config::model::{self, Host, ServerAddress, ServerPort};
use sockeye_health::messages::{self, Farm, Label, Line, ServerName};
use sockeye_health::schedule::FirstChecks;
use sockeye_health::supervise::first_interval;
use sockeye_health::{
    CheckLimiter, CheckProxy, CheckTls, Observer, PreparedCheck, Report, ServerCheckSpec, Supervisor, Target,
    TargetAddress, Transition,
};
use sockeye_syntax::diag::Severity;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use crate::backend::server::Destination;
use crate::backend::{Backend, Server, State, proxy_header};
use crate::frontend::worker::Command;
use crate::packet::services::check_source;
use crate::process::objects::Objects;
use crate::process::run;
use crate::process::threads::Order;
use crate::stream::abort::Cause;
use crate::stream::rules::world::world;

/// What all supervisors share.
struct Farmyard {
    objects: &'static Objects,
    workers: Vec<mpsc::Sender<Order>>,
}

/// Starts the supervisors of all checked servers on the calling thread's runtime.
pub fn start(objects: &'static Objects, workers: Vec<mpsc::Sender<Order>>) {
    let global = &objects.config.global;
    let shared = Rc::new(Farmyard { objects, workers });
    let checked: Vec<(&'static Backend, &'static Server)> = objects
        .backends
        .iter()
        .flat_map(|backend| backend.servers.iter().map(move |server| (*backend, server)))
        .filter(|(_, server)| server.cfg.check.enabled && server.cfg.check.track.is_none())
        .collect();
    let first = FirstChecks::new(
        checked.iter().map(|(_, server)| first_interval(server.cfg)),
        global.max_spread_checks,
    );
    let limiter = CheckLimiter::new(global.tune.max_checks_per_thread);
    for ((backend, server), index) in checked.into_iter().zip(0..) {
        let Some(target) = target(backend, server) else { continue };
        // The parser has compiled every expression once, so that this one cannot fail; if it did, a server without
        // a check is the safe side.
        let Ok(check) = PreparedCheck::new(&backend.cfg.check, global.tune.bufsize) else { continue };
        let spec = ServerCheckSpec::new(
            server.cfg,
            backend.cfg,
            global,
            Arc::new(check),
            target,
            (&first, index),
            limiter.clone(),
        );
        let (handle, supervisor) = Supervisor::new(spec);
        server.watch(handle);
        let watch = Watch { backend, server, shared: Rc::clone(&shared) };
        spawn_local(supervisor.run(watch));
    }
}

/// Where to check: `addr` and `port` of the server line, else where the traffic goes.
fn target(backend: &Backend, server: &Server) -> Option<Target> {
    let check = &server.cfg.check;
    let fixed = match &server.cfg.address {
        ServerAddress::Inet { port: ServerPort::Fixed(port), .. } => Some(*port),
        _ => None,
    };
    let port = check.port.or(fixed);
    let address = match server.destination() {
        Some(Destination::Inet(addr)) => {
            let ip = check.addr.unwrap_or_else(|| addr.ip());
            TargetAddress::Inet(SocketAddr::new(ip, port.unwrap_or_else(|| addr.port())))
        }
        Some(Destination::Mapped(ip, _)) => {
            TargetAddress::Inet(SocketAddr::new(check.addr.unwrap_or(ip), port?))
        }
        Some(Destination::Unix(path)) => TargetAddress::Unix(path),
        Some(Destination::Abstract { name, padded }) => {
            let mut bytes = name.into_bytes();
            if padded {
                // The name without its leading zero byte fills the address.
                bytes.resize(107, 0);
            }
            TargetAddress::Abstract(bytes)
        }
        Some(Destination::Original(_)) | None => {
            let ip = check.addr.or(match &server.cfg.address {
                ServerAddress::Inet { host: Host::Ip(ip), .. } => Some(*ip),
                _ => None,
            })?;
            TargetAddress::Inet(SocketAddr::new(ip, port?))
        }
    };
    let source = match backend.cfg.mode {
        model::Mode::Packet => check_source(backend.cfg, server.cfg),
        model::Mode::Tcp | model::Mode::Http => {
            server.cfg.source.as_ref().unwrap_or(&backend.cfg.source).clone()
        }
    };
    Some(Target {
        address,
        source,
        proxy: proxy(server),
        tls: CheckTls::of(server.cfg),
        proto: check.proto.or(server.cfg.proto),
    })
}

/// The PROXY header of a server's checks. Checks that go elsewhere than the traffic have one only if the line says so.
fn proxy(server: &Server) -> CheckProxy {
    let (cfg, check) = (&server.cfg.send_proxy, &server.cfg.check);
    let with_traffic = cfg.is_on() && check.port.is_none() && check.addr.is_none();
    CheckProxy {
        by_default: cfg.checks || with_traffic,
        block: if cfg.v2 { proxy_header::local(cfg, world()).map(Arc::from) } else { None },
    }
}

/// The observer of one server.
struct Watch {
    backend: &'static Backend,
    server: &'static Server,
    shared: Rc<Farmyard>,
}

impl Observer for Watch {
    fn report(&self, report: &Report<'_>) {
        let (backend, server) = (self.backend, self.server);
        let logs = backend.cfg.options.log_health_checks;
        if logs && report.changed {
            let draining = server.cfg.weight == 0;
            let line = messages::health_check(name(backend, server), report.outcome, report.health, draining);
            tell(backend, &line);
        }
        let Some(transition) = report.transition else { return };
        let cause = if logs { messages::Cause::CheckLogged } else { messages::Cause::Check(report.outcome) };
        self.shared.change(backend, server, transition, cause);
        self.shared.spread(backend, server, transition);
    }
}

impl Farmyard {
    /// Lets those that track a server follow it, and those that track them. The parser refuses circles.
    fn spread(&self, backend: &'static Backend, server: &'static Server, transition: Transition) {
        for follower_backend in &self.objects.backends {
            for follower in &follower_backend.servers {
                if follower.cfg.check.track == Some(server.id) {
                    let cause = messages::Cause::Tracked(name(backend, server));
                    self.change(follower_backend, follower, transition, cause);
                    self.spread(follower_backend, follower, transition);
                }
            }
        }
    }

    /// Puts a server into the state its checks, or those it tracks, say.
    fn change(
        &self,
        backend: &'static Backend,
        server: &'static Server,
        transition: Transition,
        cause: messages::Cause<'_>,
    ) {
        if server.state() == State::Maintenance {
            return;
        }
        let was_available = backend.has_server();
        let sessions = server.served.now() as usize;
        let requeued;
        let mut orders = Vec::new();
        match transition {
            Transition::Up => {
                if server.cfg.check.on_marked_up && !server.cfg.backup {
                    for backup in backend.servers.iter().filter(|server| server.cfg.backup) {
                        orders.push(Command::KillServer(backup.id, Cause::Up));
                    }
                }
                let queued = backend.queue.len();
                let steps = server.begin_warming(Instant::now());
                server.set_state(backend, State::Up);
                requeued = queued.saturating_sub(backend.queue.len()) as usize;
                if let Some(step) = steps {
                    spawn_local(async move {
                        while server.warm(backend, Instant::now()) {
                            sleep(step).await;
                        }
                    });
                }
            }
            Transition::Stopping => {
                server.set_state(backend, State::Drain);
                requeued = backend.queue.redistribute(backend, server.id.index);
            }
            Transition::Down { .. } => {
                server.set_state(backend, State::Down);
                requeued = backend.queue.redistribute(backend, server.id.index);
                // Idle connections to a server that is down are of no use to anybody.
                orders.push(Command::ClearPool(server.id));
                if server.cfg.check.on_marked_down {
                    orders.push(Command::KillServer(server.id, Cause::Down));
                }
            }
        }
        let (active, backup) = backend.usable_servers();
        let farm = Farm {
            active: active as usize,
            backup: backup as usize,
            sessions,
            requeued,
            queued: backend.queue.len() as usize,
        };
        tell(backend, &messages::server_changed(name(backend, server), transition.into(), cause, farm));
        if was_available && !backend.has_server() {
            tell(backend, &messages::no_server_available(backend.name(), backend.is_listen()));
        }
        for command in orders {
            self.order(command);
        }
    }

    fn order(&self, command: Command) {
        for worker in &self.workers {
            if let Err(mpsc::error::TrySendError::Full(order)) = worker.try_send(Order::Do(command)) {
                let worker = worker.clone();
                // A worker that has ended needs no order.
                spawn_local(async move {
                    let _ = worker.send(order).await;
                });
            }
        }
    }
}

fn name<'a>(backend: &'a Backend, server: &'a Server) -> ServerName<'a> {
    ServerName { backend: backend.name(), server: server.name(), backup: server.cfg.backup }
}

/// Writes a line to the backend's log and to standard error.
fn tell(backend: &Backend, line: &Line) {
    let level = match line.level {
        messages::Level::Emergency => model::Level::Emerg,
        messages::Level::Alert => model::Level::Alert,
        messages::Level::Notice => model::Level::Notice,
    };
    let label = match line.label {
        Label::Alert => Severity::Alert,
        Label::Warning => Severity::Warning,
    };
    run::say(label, line.stderr.as_ref().unwrap_or(&line.text));
    backend.logger.event(level, &line.text);
}
