//! To whom: one request to one server, or into a queue.
//!
//! The order is HAProxy's: a server that persistence names, else the balancing algorithm; a server without room
//! makes the request wait in its line, no server with room in the backend's.

use sockeye_balance::Pick;

use super::Backend;
use super::queue::{Priority, Ticket};
use super::server::Server;

/// The right to use a server for one stream. Dropping it gives the place to the next who waits.
#[derive(Debug)]
pub struct Slot {
    backend: &'static Backend,
    index: usize,
    /// See [`Named::forced`].
    forced: bool,
}

impl Slot {
    /// Takes a place on the server unless it is full or not up.
    pub fn take(backend: &'static Backend, index: usize) -> Option<Self> {
        Self::take_named(backend, Named { index, forced: false })
    }

    /// The same for a server that a rule names, which may be one that is down.
    pub(super) fn take_named(backend: &'static Backend, named: Named) -> Option<Self> {
        let Named { index, forced } = named;
        let server = &backend.servers[index];
        if !named.may_be_used(backend) {
            return None;
        }
        let room = match server.maxconn_now(backend) {
            Some(limit) => server.served.enter_below(limit),
            None => {
                server.served.enter();
                true
            }
        };
        // Not `then_some`: the slot it makes in vain would give a place back when dropped.
        if room { Some(Self { backend, index, forced }) } else { None }
    }

    pub fn server(&self) -> &'static Server {
        &self.backend.servers[self.index]
    }

    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether the server may be tried again after a failure.
    pub fn may_be_used(&self) -> bool {
        Named { index: self.index, forced: self.forced }.may_be_used(self.backend)
    }

    /// Leaves the server, without offering the place yet.
    #[must_use]
    pub fn vacate(self) -> Vacancy {
        let (backend, index) = (self.backend, self.index);
        self.give_back();
        Vacancy { backend, index }
    }

    /// Returns the place without looking for somebody who waits: the caller is doing that.
    pub(super) fn give_back(self) {
        self.server().served.leave();
        std::mem::forget(self);
    }
}

/// A place that was left and not yet offered to those who wait: dropping it does that.
///
/// Between the two a log line can be written that does not count the next stream.
#[derive(Debug)]
pub struct Vacancy {
    backend: &'static Backend,
    index: usize,
}

impl Drop for Vacancy {
    fn drop(&mut self) {
        // The place was given back before this look: see `Gauge::leave`, and `Queue::join` for the other side.
        if !self.backend.queue.is_empty() {
            self.backend.queue.dispatch(self.backend, self.index);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.server().served.leave();
        drop(Vacancy { backend: self.backend, index: self.index });
    }
}

/// What a request gets when it asks for a server.
#[derive(Debug)]
pub enum Placement {
    Now(Slot),
    /// Wait for the ticket's grant.
    Wait(Ticket),
}

/// Why there is no server for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unplaced {
    #[error("no server is available")]
    NoServer,
    #[error("the queue is full")]
    QueueFull,
}

/// The server that a rule names (`use-server`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    pub index: usize,
    /// `force-persist`: also while it is down.
    pub forced: bool,
}

impl Named {
    fn may_be_used(self, backend: &Backend) -> bool {
        self.forced || backend.servers[self.index].is_up()
    }
}

/// What the choice may look at.
#[derive(Debug, Default, Clone, Copy)]
pub struct Wish<'a> {
    /// The bytes that a hash algorithm hashes; `None` when the request has none.
    pub key: Option<&'a [u8]>,
    /// The server that a rule names; the request waits for it when it is full.
    pub chosen: Option<Named>,
    /// The server that the session used last and prefers (`option prefer-last-server`).
    pub last: Option<usize>,
    /// The server that just failed and should be avoided if another can be had.
    pub avoid: Option<usize>,
    /// Its place among those that wait.
    pub priority: Priority,
}

/// Finds a server for one request.
///
/// # Errors
/// [`Unplaced::NoServer`] when no server takes traffic, [`Unplaced::QueueFull`] when `maxqueue` is reached.
pub fn place(backend: &'static Backend, wish: Wish<'_>) -> Result<Placement, Unplaced> {
    if let Some(chosen) = wish.chosen.filter(|named| wish.avoid != Some(named.index)) {
        if let Some(slot) = Slot::take_named(backend, chosen) {
            return Ok(Placement::Now(slot));
        }
        if chosen.may_be_used(backend) {
            let limit = backend.servers[chosen.index].cfg.maxqueue.filter(|limit| *limit > 0);
            let ticket =
                backend.queue.join(backend, Some(chosen), limit, wish.priority).ok_or(Unplaced::QueueFull)?;
            backend.queue.dispatch(backend, chosen.index);
            return Ok(Placement::Wait(ticket));
        }
    }
    if let Some(last) = wish.last
        && backend.servers[last].usable()
        && let Some(slot) = Slot::take(backend, last)
    {
        return Ok(Placement::Now(slot));
    }
    // Another thread may take the last place between the choice and the taking; each round then sees it full.
    for _ in 0..PLACE_ROUNDS_MAX {
        let Some(index) = choose(backend, wish) else {
            if !backend.servers.iter().any(Server::usable) {
                return Err(Unplaced::NoServer);
            }
            let ticket = backend.queue.join(backend, None, None, wish.priority).ok_or(Unplaced::QueueFull)?;
            // A place may have come free before the ticket stood in the line, and then nobody else looks.
            for index in 0..backend.servers.len() {
                backend.queue.dispatch(backend, index);
            }
            return Ok(Placement::Wait(ticket));
        };
        if let Some(slot) = Slot::take(backend, index) {
            return Ok(Placement::Now(slot));
        }
        if backend.balance_is_hash {
            let server = &backend.servers[index];
            let limit = server.cfg.maxqueue.filter(|limit| *limit > 0);
            let named = Named { index, forced: false };
            let ticket = backend.queue.join(backend, Some(named), limit, wish.priority);
            let ticket = ticket.ok_or(Unplaced::QueueFull)?;
            if !server.usable() {
                // It went down in between, and its line was dissolved before this one joined.
                drop(ticket);
                continue;
            }
            backend.queue.dispatch(backend, index);
            return Ok(Placement::Wait(ticket));
        }
    }
    let ticket = backend.queue.join(backend, None, None, wish.priority).ok_or(Unplaced::QueueFull)?;
    for index in 0..backend.servers.len() {
        backend.queue.dispatch(backend, index);
    }
    Ok(Placement::Wait(ticket))
}

/// Choices tried before a request waits like the others.
const PLACE_ROUNDS_MAX: usize = 4;

fn choose(backend: &'static Backend, wish: Wish<'_>) -> Option<usize> {
    let pick = |avoid: Option<usize>| {
        backend.balance().pick(Pick {
            key: wish.key,
            random: fastrand::u64(..),
            loads: &|index: usize| backend.load(index),
            exclude: avoid,
        })
    };
    pick(wish.avoid).or_else(|| if wish.avoid.is_some() { pick(None) } else { None })
}
