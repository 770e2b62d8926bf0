//! Idle connections to servers, and which request may use one (`http-reuse`, manual 4.2).
//!
//! Each worker thread has its own pool, so lending takes no lock. A connection is checked when it is lent and on
//! every sweep: one that the server closed, or on which it said something unasked, is dropped.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sockeye_config::model::{HttpReuse, ServerId};
use sockeye_conn::Socket;
use tokio::time::Instant;

use super::server::Server;

/// Idle connections one thread keeps for one server when `pool-max-conn` sets no limit.
const IDLE_PER_SERVER_MAX: usize = 4_096;
/// How often a thread looks at its idle connections.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

thread_local! {
    /// Indexed by [`Server::ordinal`].
    static POOL: RefCell<Vec<Shelf>> = const { RefCell::new(Vec::new()) };
}

/// A connection to a server between two requests.
#[derive(Debug)]
pub struct Idle {
    pub socket: Socket,
    /// Requests it has carried.
    pub uses: u32,
}

/// One thread's idle connections to one server, the most recently used last.
#[derive(Debug, Default)]
struct Shelf {
    /// Known since the first connection was kept.
    owner: Option<&'static Server>,
    idle: VecDeque<(Idle, Instant)>,
}

/// Lends an idle connection that the rules allow. `first` is whether the session has sent no request before.
pub fn lend(server: &'static Server, reuse: HttpReuse, first: bool) -> Option<Idle> {
    let needs_proof = match (reuse, first) {
        (HttpReuse::Never, _) | (HttpReuse::Safe, true) => return None,
        (HttpReuse::Aggressive, true) => true,
        _ => false,
    };
    POOL.with_borrow_mut(|pool| {
        let shelf = pool.get_mut(server.ordinal)?;
        loop {
            // A connection that was used again once has shown that the server keeps its word.
            let at = if needs_proof {
                shelf.idle.iter().rposition(|(idle, _)| idle.uses > 1)?
            } else {
                shelf.idle.len().checked_sub(1)?
            };
            let (mut idle, _) = shelf.idle.remove(at)?;
            server.idle.leave();
            if is_quiet(&mut idle.socket) {
                return Some(idle);
            }
        }
    })
}

/// Keeps a connection for later, unless limits say otherwise.
pub fn keep(server: &'static Server, idle: Idle, now: Instant) {
    let limit = server.cfg.pool_max_conn;
    if server.cfg.max_reuse.is_some_and(|max| idle.uses > max) {
        return;
    }
    if server.idle.enter() > limit.unwrap_or(u32::MAX) {
        server.idle.leave();
        return;
    }
    POOL.with_borrow_mut(|pool| {
        if pool.len() <= server.ordinal {
            pool.resize_with(server.ordinal + 1, Shelf::default);
        }
        let shelf = &mut pool[server.ordinal];
        shelf.owner = Some(server);
        if shelf.idle.len() >= IDLE_PER_SERVER_MAX {
            shelf.idle.pop_front();
            server.idle.leave();
        }
        shelf.idle.push_back((idle, now));
    });
}

/// Drops connections that ended, and half of those idle for longer than their server's `pool-purge-delay`.
pub fn sweep(now: Instant) {
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
                owner.idle.leave();
            }
        }
    });
}

/// Drops every idle connection of this thread, or those to one server.
pub fn clear(server: Option<ServerId>) {
    POOL.with_borrow_mut(|pool| {
        for shelf in pool.iter_mut() {
            let Some(owner) = shelf.owner.filter(|owner| server.is_none_or(|id| id == owner.id)) else {
                continue;
            };
            for _ in shelf.idle.drain(..) {
                owner.idle.leave();
            }
        }
    });
}

/// Whether nothing has happened on an idle connection: no end, no error, no unasked bytes.
pub fn is_quiet(socket: &mut Socket) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    match socket.poll_read(&mut cx, &mut [0; 1]) {
        Poll::Pending => true,
        Poll::Ready(_) => false,
    }
}
