//! Backends: to whom a request goes, and the connection that carries it there.
//!
//! [`assign`] chooses a server or a queue, [`pool`] lends an idle connection, [`connect`] opens one. The objects
//! live as long as the process: they are leaked once at start and shared by all workers as `&'static`.

pub mod assign;
pub mod connect;
pub mod h2;
mod observe;
pub mod pool;
pub mod proxy_header;
pub mod queue;
pub mod server;
pub mod source;
pub mod tls;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use sockeye_balance::{Balance, Entry, Load};
use sockeye_config::model;
use sockeye_log::Logger;
use tokio::sync::Notify;

pub use server::{Server, State};

use crate::services::replies::ErrorReplies;
use crate::stats::{Gauge, LastInvalid, Rate};

/// Running object of one `backend`, or of the server half of a `listen`.
#[derive(Debug)]
pub struct Backend {
    pub cfg: &'static model::Backend,
    pub id: model::BackendId,
    pub servers: Box<[Server]>,
    /// The algorithm's state, shared by the workers: a short lock, never held across an await.
    balance: Mutex<Balance>,
    /// Whether the algorithm names one server for a key, so that a request waits for that very server.
    pub balance_is_hash: bool,
    pub queue: queue::Queue,
    /// Whether it has rules of any kind.
    pub ruled: bool,
    /// Streams of the last second.
    pub session_rate: Rate,
    /// Streams that use the backend now (`%bc`).
    pub streams: Gauge,
    /// `fullconn`, as configured or derived.
    pub fullconn: u32,
    pub tune: &'static model::Tune,
    pub logger: Logger,
    pub replies: ErrorReplies,
    /// The last response that was refused.
    pub last_invalid: LastInvalid,
    /// Told when a server's weight, state or address has changed; empty unless somebody follows them.
    follower: OnceLock<Arc<Notify>>,
}

impl Backend {
    /// Builds the running object; `fullconn` is used when the file has none.
    pub fn new(
        cfg: &'static model::Backend,
        id: model::BackendId,
        fullconn: u32,
        tune: &'static model::Tune,
        first_ordinal: usize,
        logger: Logger,
    ) -> Self {
        let servers: Box<[Server]> = cfg
            .servers
            .iter()
            .enumerate()
            .map(|(index, server)| {
                Server::new(
                    server,
                    model::ServerId { backend: id, index },
                    first_ordinal + index,
                    &cfg.source,
                )
            })
            .collect();
        let entries: Vec<Entry> = cfg
            .servers
            .iter()
            .map(|server| Entry {
                numeric_id: server.numeric_id,
                weight: server.weight,
                backup: server.backup,
            })
            .collect();
        let mut balance = Balance::new(cfg.balance.clone(), &entries, cfg.options.allbackups);
        for (index, server) in servers.iter().enumerate() {
            balance.set_weight(index, server.effective_weight());
        }
        Self {
            cfg,
            id,
            queue: queue::Queue::new(servers.len()),
            ruled: !cfg.rules.is_empty(),
            session_rate: Rate::new(),
            servers,
            balance: Mutex::new(balance),
            balance_is_hash: cfg.balance.is_hash(),
            streams: Gauge::new(),
            fullconn: cfg.fullconn.filter(|n| *n > 0).unwrap_or(fullconn).max(1),
            tune,
            logger,
            replies: ErrorReplies::new(&cfg.errorfiles),
            last_invalid: LastInvalid::default(),
            follower: OnceLock::new(),
        }
    }

    /// Has `follower` told of every change of a server's weight, state or address. For one follower, once.
    pub fn follow(&self, follower: Arc<Notify>) {
        let _ = self.follower.set(follower);
    }

    fn tell_follower(&self) {
        if let Some(follower) = self.follower.get() {
            follower.notify_one();
        }
    }

    pub fn name(&self) -> &'static str {
        &self.cfg.name
    }

    /// The algorithm's state, locked. A panic inside it left it at worst unfair, so poison is ignored.
    fn balance(&self) -> MutexGuard<'_, Balance> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the balance what the server's weight has become.
    fn weigh(&self, index: usize) {
        let weight = self.servers[index].effective_weight();
        self.balance().set_weight(index, weight);
        self.tell_follower();
    }

    /// Whether the server is among those the algorithm chooses from now: a backup is not while an active one is up.
    fn is_in_turn(&self, index: usize) -> bool {
        self.balance().is_in_turn(index)
    }

    /// What the balance may know of a server's load.
    fn load(&self, index: usize) -> Load {
        let server = &self.servers[index];
        let served = server.served.now();
        let queued = server.queued.now();
        let full = server.maxconn_now(self).is_some_and(|limit| served >= limit || queued > 0);
        Load { in_flight: served + queued, full }
    }

    /// Whether it is the server half of a `listen`.
    pub fn is_listen(&self) -> bool {
        self.cfg.kind == model::SectionKind::Listen
    }

    /// Streams its servers have been given since the start.
    pub fn total_streams(&self) -> u64 {
        self.servers.iter().map(|server| server.streams.now()).sum()
    }

    /// Whether any server takes traffic.
    pub fn has_server(&self) -> bool {
        self.servers.iter().any(Server::usable)
    }

    /// Servers that take traffic: (active, backup).
    pub fn usable_servers(&self) -> (u32, u32) {
        let mut active = 0;
        let mut backup = 0;
        for server in self.servers.iter().filter(|server| server.usable()) {
            if server.cfg.backup {
                backup += 1;
            } else {
                active += 1;
            }
        }
        (active, backup)
    }
}
