//! A server: where it is, whether it takes traffic, how much it has.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use sockeye_config::model;
use sockeye_health::CheckHandle;
use tokio::time::Instant;

use super::Backend;
use crate::stats::{Gauge, Rate, Total};

/// Running object of one `server` line.
#[derive(Debug)]
pub struct Server {
    pub cfg: &'static model::Server,
    pub id: model::ServerId,
    /// Number of the server in the process, over all backends, from 0.
    pub ordinal: usize,
    /// Whether an idle connection to it may serve any client: not when its address, or the one we come from,
    /// depends on the client.
    pub shareable: bool,
    /// Where to connect now; `None` until a name is resolved.
    address: RwLock<Option<Destination>>,
    /// Administrative and operational state, see [`State`].
    state: AtomicU8,
    /// When the last slow start began; `None` outside of one.
    warming_since: Mutex<Option<Instant>>,
    /// When it last ended a pooled connection instead of answering on it.
    pub(super) dropped_at: Mutex<Option<Instant>>,
    /// Percent of weight and maxconn during slow start, 100 otherwise.
    throttle: AtomicU32,
    /// Streams that use the server now (`%sc`).
    pub served: Gauge,
    /// Requests waiting for this very server.
    pub queued: Gauge,
    /// Idle connections to it in all threads' pools; counted only where `pool-max-conn` limits them.
    pub idle: Gauge,
    /// Streams it has been given since the start.
    pub streams: Total,
    /// Streams of the last second.
    pub session_rate: Rate,
    /// What `mode packet` counts.
    pub packets: PacketTotals,
    /// Tells its checks what traffic shows; empty without checks.
    pub(super) checks: OnceLock<CheckHandle>,
}

/// Packets and their bytes, IP headers included, to a server and back from it. Written by the packet plane when
/// somebody is about to read them; always 0 in other modes.
#[derive(Debug, Default)]
pub struct PacketTotals {
    pub packets_in: Total,
    pub bytes_in: Total,
    pub packets_out: Total,
    pub bytes_out: Total,
}

/// A resolved destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Inet(SocketAddr),
    Unix(PathBuf),
    Abstract {
        name: String,
        padded: bool,
    },
    /// This address at a port that follows the client's.
    Mapped(std::net::IpAddr, model::ServerPort),
    /// The address the client asked for, with this port rule.
    Original(model::ServerPort),
}

/// Whether a server takes traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Up = 0,
    /// Failed its checks.
    Down = 1,
    /// `disabled`, or set so by an operator.
    Maintenance = 2,
    /// Finishes what it has, takes nothing new (`http-check disable-on-404`, drain).
    Drain = 3,
}

impl Server {
    pub fn new(
        cfg: &'static model::Server,
        id: model::ServerId,
        ordinal: usize,
        source: &model::Source,
    ) -> Self {
        let state = if cfg.disabled {
            State::Maintenance
        } else if cfg.check.enabled
            && matches!(cfg.check.init_state, model::InitState::Down | model::InitState::FullyDown)
        {
            State::Down
        } else {
            State::Up
        };
        Self {
            cfg,
            id,
            ordinal,
            shareable: is_shareable(cfg, cfg.source.as_ref().unwrap_or(source)),
            address: RwLock::new(None),
            state: AtomicU8::new(state as u8),
            warming_since: Mutex::new(None),
            throttle: AtomicU32::new(100),
            dropped_at: Mutex::new(None),
            served: Gauge::new(),
            queued: Gauge::new(),
            idle: Gauge::new(),
            streams: Total::new(),
            session_rate: Rate::new(),
            packets: PacketTotals::default(),
            checks: OnceLock::new(),
        }
    }

    pub fn name(&self) -> &'static str {
        &self.cfg.name
    }

    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Up,
            1 => State::Down,
            2 => State::Maintenance,
            _ => State::Drain,
        }
    }

    /// Changes the state and what follows from it in the balance; returns the state before.
    pub fn set_state(&self, backend: &'static Backend, state: State) -> State {
        let before = self.state();
        self.state.store(state as u8, Ordering::Release);
        backend.weigh(self.id.index);
        // Another server may have come into turn: a backup when the last active one went.
        for index in 0..backend.servers.len() {
            backend.queue.dispatch(backend, index);
        }
        before
    }

    /// Whether it may be named by a rule: weight 0 only takes it out of the balance.
    pub fn is_up(&self) -> bool {
        self.state() == State::Up
    }

    /// Whether the balance may send new streams to it.
    pub fn usable(&self) -> bool {
        self.is_up() && self.cfg.weight > 0
    }

    /// Where to connect.
    pub fn destination(&self) -> Option<Destination> {
        self.address.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_destination(&self, backend: &Backend, destination: Option<Destination>) {
        *self.address.write().unwrap_or_else(PoisonError::into_inner) = destination;
        backend.tell_follower();
    }

    /// Whether its address depends on where the client wanted to go.
    pub fn follows_client(&self) -> bool {
        matches!(self.destination(), Some(Destination::Original(_) | Destination::Mapped(..)))
    }

    /// The weight the balance sees, in sixteenths of the configured one: 0 takes no traffic.
    pub fn effective_weight(&self) -> u32 {
        if !self.usable() {
            return 0;
        }
        let scaled = self.cfg.weight * sockeye_balance::WEIGHT_SCALE;
        (scaled * self.throttle.load(Ordering::Relaxed)).div_ceil(100)
    }

    /// How many streams it may have now: `maxconn`, scaled between `minconn` and it by the backend's load, and
    /// by slow start. `None`: no limit.
    pub fn maxconn_now(&self, backend: &Backend) -> Option<u32> {
        let maxconn = match (self.cfg.maxconn.filter(|n| *n > 0), self.cfg.minconn.filter(|n| *n > 0)) {
            (None, None) => return None,
            (Some(max), None) => max,
            (None, Some(min)) => min,
            (Some(max), Some(min)) if min < max => {
                let load = backend.streams.now();
                if load >= backend.fullconn {
                    max
                } else {
                    let scaled = u64::from(max) * u64::from(load) / u64::from(backend.fullconn.max(1));
                    u32::try_from(scaled).unwrap_or(max).clamp(min, max)
                }
            }
            (Some(max), Some(_)) => max,
        };
        let throttle = self.throttle.load(Ordering::Relaxed);
        Some(if throttle < 100 { (maxconn * throttle / 100).max(1) } else { maxconn })
    }

    /// Begins slow start, if the server has one; returns how often [`warm`](Self::warm) wants to be called.
    /// Called before the server is put up, so that it never has its full weight in between.
    pub fn begin_warming(&self, now: Instant) -> Option<Duration> {
        let slowstart = self.cfg.slowstart.filter(|time| !time.is_zero())?;
        *self.warming_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        self.throttle.store(1, Ordering::Relaxed);
        // The manual's steps: a twentieth of the time, at least a second.
        Some((slowstart / 20).max(Duration::from_secs(1)))
    }

    /// Raises weight and maxconn to what slow start allows at `now`; returns whether it goes on.
    pub fn warm(&self, backend: &'static Backend, now: Instant) -> bool {
        let mut since = self.warming_since.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(start), Some(slowstart)) = (*since, self.cfg.slowstart) else { return false };
        let elapsed = now.saturating_duration_since(start);
        let done = elapsed >= slowstart || self.state() != State::Up;
        let percent = if done { 100 } else { elapsed.as_millis() * 100 / slowstart.as_millis().max(1) };
        self.throttle.store(u32::try_from(percent).unwrap_or(100).clamp(1, 100), Ordering::Relaxed);
        if done {
            *since = None;
        }
        drop(since);
        backend.weigh(self.id.index);
        backend.queue.dispatch(backend, self.id.index);
        !done
    }
}

fn is_shareable(cfg: &model::Server, source: &model::Source) -> bool {
    use model::{Host, ServerAddress, ServerPort, UseSource};
    let fixed = match &cfg.address {
        ServerAddress::Inet { host, port } => {
            !matches!(host, Host::Original) && matches!(port, ServerPort::Fixed(_))
        }
        ServerAddress::Unix(_) | ServerAddress::Abstract { .. } => true,
    };
    fixed && !cfg.send_proxy.is_on() && matches!(source.usesrc, UseSource::Own | UseSource::Address(_))
}
