//! Idle connections to servers, and which request may use one (`http-reuse`, manual 4.2).
//!
//! Each worker thread has its own pool, so lending takes no lock. A connection is checked when it is lent and on
//! every sweep: one that the server closed, or on which it said something unasked, is dropped.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sockeye_config::model::{HttpReuse, ServerId};
use sockeye_conn::Socket;
use tokio::time::Instant;

use super::h2;
use super::server::Server;

/// Idle connections one thread keeps for one server when `pool-max-conn` sets no limit.
const IDLE_PER_SERVER_MAX: usize = 4_096;
/// How often a thread looks at its idle connections.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Idle connections that one thread may keep: they must leave descriptors for those in use.
static IDLE_MAX: AtomicU32 = AtomicU32::new(u32::MAX);
/// The part of the process's descriptors that idle connections may hold, in percent (`tune.pool-low-fd-ratio`).
const IDLE_PERCENT_MAX: u64 = 20;

/// Sets the limit of each of the `threads` that follows from the process's descriptors. Called once, before the first
/// connection.
pub fn limit(descriptors: u64, threads: usize) {
    let descriptors = descriptors / threads.max(1) as u64;
    let share = descriptors.saturating_mul(IDLE_PERCENT_MAX) / 100;
    IDLE_MAX.store(u32::try_from(share).unwrap_or(u32::MAX), Ordering::Relaxed);
}

thread_local! {
    /// Idle connections of this thread.
    static IDLE: Cell<u32> = const { Cell::new(0) };
    /// Indexed by [`Server::ordinal`].
    static POOL: RefCell<Vec<Shelf>> = const { RefCell::new(Vec::new()) };
}

/// A connection to a server between two requests.
#[derive(Debug)]
pub struct Idle {
    pub socket: Socket,
    /// Requests it has carried.
    pub uses: u32,
    /// The client has authenticated the connection itself (NTLM, Negotiate): it must never serve another.
    pub private: bool,
}

/// One thread's idle connections to one server, the most recently used last.
#[derive(Debug, Default)]
struct Shelf {
    /// Known since the first connection was kept.
    owner: Option<&'static Server>,
    idle: VecDeque<(Idle, Instant)>,
}

/// Lends an idle connection that the rules allow. `first` is whether the session has sent no request before.
///
/// `identity` is [that of the connection](Socket::identity) that is wanted.
pub fn lend(server: &'static Server, reuse: HttpReuse, first: bool, identity: u64) -> Option<Idle> {
    let needs_proof = match (reuse, first) {
        (HttpReuse::Never, _) | (HttpReuse::Safe, true) => return None,
        (HttpReuse::Aggressive, true) => true,
        _ => false,
    };
    POOL.with_borrow_mut(|pool| {
        let shelf = pool.get_mut(server.ordinal)?;
        loop {
            // A connection that was used again once has shown that the server keeps its word.
            let at = shelf.idle.iter().rposition(|(idle, _)| {
                (!needs_proof || idle.uses > 1) && idle.socket.identity() == identity
            })?;
            let (mut idle, _) = shelf.idle.remove(at)?;
            left(server);
            if is_quiet(&mut idle.socket) {
                return Some(idle);
            }
        }
    })
}

/// Keeps a connection for later, unless limits say otherwise.
pub fn keep(server: &'static Server, idle: Idle, now: Instant) {
    // A stream has no second request; its connection is kept by itself.
    let is_stream = matches!(idle.socket, Socket::Pipe(_));
    if is_stream || !server.shareable || !server.usable() || IDLE.get() >= IDLE_MAX.load(Ordering::Relaxed) {
        return;
    }
    if server.cfg.max_reuse.is_some_and(|max| idle.uses > max) {
        return;
    }
    if let Some(limit) = server.cfg.pool_max_conn
        && server.idle.enter() > limit
    {
        server.idle.leave();
        return;
    }
    IDLE.set(IDLE.get() + 1);
    POOL.with_borrow_mut(|pool| {
        if pool.len() <= server.ordinal {
            pool.resize_with(server.ordinal + 1, Shelf::default);
        }
        let shelf = &mut pool[server.ordinal];
        shelf.owner = Some(server);
        if shelf.idle.len() >= IDLE_PER_SERVER_MAX {
            shelf.idle.pop_front();
            left(server);
        }
        shelf.idle.push_back((idle, now));
    });
}

/// Counts an idle connection out.
fn left(server: &Server) {
    if server.cfg.pool_max_conn.is_some() {
        server.idle.leave();
    }
    IDLE.set(IDLE.get().saturating_sub(1));
}

/// Drops connections that ended, and half of those idle for longer than their server's `pool-purge-delay`.
pub fn sweep(now: Instant) {
    h2::sweep(now);
    POOL.with_borrow_mut(|pool| {
        for shelf in pool.iter_mut() {
            let Some(owner) = shelf.owner else { continue };
            let before = shelf.idle.len();
            let delay = owner.cfg.pool_purge_delay;
            let spare = owner.cfg.pool_low_conn.unwrap_or(0) as usize;
            let old = shelf.idle.iter().filter(|(_, since)| now.duration_since(*since) >= delay).count();
            let purge = old.div_ceil(2).min(before.saturating_sub(spare));
            shelf.idle.drain(..purge);
            shelf.idle.retain_mut(|(idle, _)| is_quiet(&mut idle.socket));
            for _ in shelf.idle.len()..before {
                left(owner);
            }
        }
    });
}

/// Drops every idle connection of this thread, or those to one server.
pub fn clear(server: Option<ServerId>) {
    h2::clear(server);
    POOL.with_borrow_mut(|pool| {
        for shelf in pool.iter_mut() {
            let Some(owner) = shelf.owner.filter(|owner| server.is_none_or(|id| id == owner.id)) else {
                continue;
            };
            for _ in shelf.idle.drain(..) {
                left(owner);
            }
        }
    });
}

/// Whether nothing has happened on an idle connection: no end, no error, no unasked bytes.
pub fn is_quiet(socket: &mut Socket) -> bool {
    matches!(socket.read_now(&mut [0; 1]), Ok(None))
}
