//! The process as expressions see it: proxies, servers, variables, lists.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock, RwLock};
use std::time::{Instant, SystemTime};

use sockeye_config::model::{Config, Facility, Level, LogAddress, LogTarget, LogWire, StartValue};
use sockeye_log::Sink;
use sockeye_sample as sample;
use sockeye_sample::{
    Console, Now, ProcessNumber, ProcessText, ProxyNumber, Scene, ServerNumber, Stage, Target, Value,
    Variables,
};

use super::password;
use crate::backend::{Backend, Server};
use crate::frontend::Frontend;
use crate::frontend::worker;

/// What expressions can ask about the process. One per process, for as long as it lives.
#[derive(Debug)]
pub struct World {
    pub config: &'static Config,
    frontends: Vec<&'static Frontend>,
    backends: Vec<&'static Backend>,
    frontend_names: HashMap<&'static [u8], usize>,
    backend_names: HashMap<&'static [u8], usize>,
    environment: HashMap<Vec<u8>, Vec<u8>>,
    hostname: String,
    node: String,
    pid: String,
    threads: usize,
    started_at: Instant,
    /// Variables of the scope `proc`.
    pub variables: RwLock<Variables>,
}

static WORLD: OnceLock<World> = OnceLock::new();

/// Standard output and error, for `debug`.
static CONSOLES: LazyLock<[Option<Sink>; 2]> = LazyLock::new(|| {
    [LogAddress::Stdout, LogAddress::Stderr].map(|address| {
        Sink::open(&LogTarget {
            address,
            length: usize::MAX,
            format: LogWire::Raw,
            sample: None,
            facility: Facility(0),
            level: Level::Debug,
            minlevel: None,
        })
        .ok()
    })
});

/// The process's world. Set before the first connection is accepted.
pub fn world() -> &'static World {
    WORLD.get_or_init(|| World::new(Box::leak(Box::default()), Vec::new(), Vec::new(), 1))
}

/// Whether the file has users, whose passwords may take long.
pub fn has_users() -> bool {
    !world().config.shared.userlists.is_empty()
}

impl World {
    fn new(
        config: &'static Config,
        frontends: Vec<&'static Frontend>,
        backends: Vec<&'static Backend>,
        threads: usize,
    ) -> Self {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let environment = config.global.environment.iter();
        Self {
            config,
            frontend_names: frontends.iter().enumerate().map(|(i, fe)| (fe.name().as_bytes(), i)).collect(),
            backend_names: backends.iter().enumerate().map(|(i, be)| (be.name().as_bytes(), i)).collect(),
            frontends,
            backends,
            environment: environment
                .map(|(name, value)| (name.clone().into(), value.clone().into()))
                .collect(),
            node: hostname.clone(),
            hostname,
            pid: std::process::id().to_string(),
            threads,
            started_at: Instant::now(),
            variables: RwLock::default(),
        }
    }

    /// Makes the objects of the process known to expressions.
    pub fn set(
        config: &'static Config,
        frontends: Vec<&'static Frontend>,
        backends: Vec<&'static Backend>,
        threads: usize,
    ) {
        let _ = WORLD.set(Self::new(config, frontends, backends, threads));
        let world = world();
        for variable in &config.shared.start {
            let mut scene = Scene::new(Stage::ConfigurationFile, Now::Read(SystemTime::now), world);
            // Later ones may look at earlier ones.
            scene.variables.proc = Some(&world.variables);
            let value = match &variable.value {
                StartValue::Expr(expr) => expr.eval(&scene),
                StartValue::Format(format) => {
                    let mut text = Vec::new();
                    format.write_exprs(&mut text, &scene);
                    Some(Value::string(text))
                }
            };
            if let Some(value) = value {
                scene.variables.set(variable.var, value);
            }
        }
    }

    /// The running object of a backend.
    pub fn backend(&self, index: usize) -> Option<&'static Backend> {
        self.backends.get(index).copied()
    }

    /// The backend of that name.
    pub fn find_backend(&self, name: &[u8]) -> Option<&'static Backend> {
        self.backends.get(*self.backend_names.get(name)?).copied()
    }
}

fn usable(backend: &Backend) -> i64 {
    let (active, backup) = backend.usable_servers();
    i64::from(if active > 0 { active } else { backup })
}

/// Places that are still free on the backend's servers; -1 when one has no limit.
fn connections_free(backend: &Backend) -> i64 {
    let mut free = 0;
    for server in backend.servers.iter().filter(|server| server.usable()) {
        match server.cfg.maxconn {
            Some(limit) if limit > 0 => free += i64::from(limit.saturating_sub(server.served.now())),
            _ => return -1,
        }
    }
    free
}

/// The same with the places in the servers' queues.
fn connection_slots(backend: &Backend) -> i64 {
    let mut free = 0;
    for server in backend.servers.iter().filter(|server| server.usable()) {
        let (Some(maxconn), Some(maxqueue)) = (server.cfg.maxconn, server.cfg.maxqueue) else { return -1 };
        if maxconn == 0 || maxqueue == 0 {
            return -1;
        }
        free += i64::from(maxconn) - i64::from(server.served.now()) + i64::from(maxqueue)
            - i64::from(server.queued.now());
    }
    free
}

impl sample::World for World {
    fn process(&self, what: ProcessNumber) -> Option<i64> {
        Some(match what {
            ProcessNumber::ActiveConnections => {
                self.frontends.iter().map(|fe| i64::from(fe.limit.connections.now())).sum()
            }
            ProcessNumber::Threads => i64::try_from(self.threads).ok()?,
            ProcessNumber::Thread => i64::try_from(worker::index()).ok()?,
            ProcessNumber::ThreadGroup => 1,
            ProcessNumber::Stopping => i64::from(worker::is_stopping()),
            ProcessNumber::UptimeSeconds => i64::try_from(self.started_at.elapsed().as_secs()).ok()?,
            ProcessNumber::Pid => i64::from(std::process::id()),
            ProcessNumber::BufferBytes => i64::try_from(self.config.global.tune.bufsize).ok()?,
            ProcessNumber::CpuCalls
            | ProcessNumber::CpuNsAverage
            | ProcessNumber::CpuNsTotal
            | ProcessNumber::LatencyNsAverage
            | ProcessNumber::LatencyNsTotal => return None,
        })
    }

    fn proxy(&self, proxy: Target, what: ProxyNumber) -> Option<i64> {
        match proxy {
            Target::Frontend(index) => {
                let frontend = self.frontends.get(index)?;
                Some(match what {
                    ProxyNumber::Connections => i64::from(frontend.limit.connections.now()),
                    ProxyNumber::ConnectionsFree => {
                        let limit = frontend.cfg.maxconn?;
                        i64::from(limit.saturating_sub(frontend.limit.connections.now()))
                    }
                    ProxyNumber::ConnectionRate | ProxyNumber::SessionRate => frontend.connection_rate.now(),
                    ProxyNumber::RequestRate => frontend.request_rate.now(),
                    _ => return None,
                })
            }
            Target::Backend(index) => {
                let backend = self.backends.get(index)?;
                Some(match what {
                    ProxyNumber::Connections => i64::from(backend.streams.now()),
                    ProxyNumber::Queue => waiting(backend),
                    ProxyNumber::QueueAverage => {
                        let usable = usable(backend);
                        if usable == 0 {
                            2 * waiting(backend)
                        } else {
                            (waiting(backend) + usable - 1) / usable
                        }
                    }
                    ProxyNumber::UsableServers => usable(backend),
                    ProxyNumber::ConnectionSlots => connection_slots(backend),
                    ProxyNumber::ServerConnectionsFree | ProxyNumber::ConnectionsFree => {
                        connections_free(backend)
                    }
                    ProxyNumber::SessionRate => backend.session_rate.now(),
                    _ => return None,
                })
            }
            _ => None,
        }
    }

    fn server(&self, backend: usize, server: usize, what: ServerNumber) -> Option<i64> {
        let server: &Server = self.backends.get(backend)?.servers.get(server)?;
        Some(match what {
            ServerNumber::Connections => i64::from(server.served.now()),
            ServerNumber::ConnectionsFree => match server.cfg.maxconn {
                Some(limit) if limit > 0 => i64::from(limit) - i64::from(server.served.now()),
                _ => -1,
            },
            ServerNumber::IsUp => i64::from(server.usable()),
            ServerNumber::InitialWeight | ServerNumber::UserWeight => i64::from(server.cfg.weight),
            ServerNumber::Weight => i64::from(server.effective_weight()),
            ServerNumber::Queue => i64::from(server.queued.now()),
            ServerNumber::SessionRate => server.session_rate.now(),
        })
    }

    fn backend_named(&self, name: &[u8]) -> Option<usize> {
        self.backend_names.get(name).copied()
    }

    fn server_named(&self, backend: usize, name: &[u8]) -> Option<usize> {
        self.backends.get(backend)?.servers.iter().position(|server| server.name().as_bytes() == name)
    }

    fn frontend_named(&self, name: &[u8]) -> Option<usize> {
        self.frontend_names.get(name).copied()
    }

    fn text(&self, what: ProcessText) -> Option<&[u8]> {
        Some(match what {
            ProcessText::Hostname => self.hostname.as_bytes(),
            ProcessText::Node => self.node.as_bytes(),
            ProcessText::Pid => self.pid.as_bytes(),
        })
    }

    fn authenticate(&self, userlist: usize, user: &[u8], password: &[u8]) -> bool {
        let Some(user) = self.config.shared.userlists.get(userlist).and_then(|list| list.user(user)) else {
            return false;
        };
        password::fits(user, password)
    }

    fn show(&self, console: Console, line: &[u8]) {
        if let Some(sink) = &CONSOLES[usize::from(console == Console::Error)] {
            sink.send(line);
        }
    }

    fn environment(&self, name: &[u8]) -> Option<&[u8]> {
        self.environment.get(name).map(Vec::as_slice)
    }

    fn groups_of(&self, userlist: usize, user: &[u8], visit: &mut dyn FnMut(&str) -> bool) {
        let user = self.config.shared.userlists.get(userlist).and_then(|list| list.user(user));
        for group in user.into_iter().flat_map(|user| &user.groups) {
            if visit(group) {
                return;
            }
        }
    }

    fn random(&self, range: Option<u32>) -> u32 {
        match range {
            Some(0) | None => fastrand::u32(..),
            Some(range) => fastrand::u32(..range),
        }
    }
}

/// Requests that wait for a server of the backend or for any.
fn waiting(backend: &Backend) -> i64 {
    let own: i64 = backend.servers.iter().map(|server| i64::from(server.queued.now())).sum();
    own + i64::from(backend.queue.len())
}
