//! Requests that wait for a server, in the order of their priority, then as they came.
//!
//! A request waits either for one server (the algorithm or persistence named it) or for any server of its
//! backend. Whoever leaves a server hands its slot to the oldest of both lines. A ticket that is dropped leaves
//! the line; a slot that was handed to a ticket nobody reads any more goes to the next.

use std::collections::VecDeque;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sockeye_conn::clock;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Backend;
use super::assign::{Named, Slot};
use crate::stats::Gauge;

/// What a waiting request is told.
#[derive(Debug)]
pub enum Grant {
    /// A server has room.
    Slot(Slot),
    /// The server it waited for is gone: ask for another.
    Redistribute,
}

/// The lines of one backend.
#[derive(Debug)]
pub struct Queue {
    lines: Mutex<Lines>,
    /// Requests in all lines; read without the lock by everyone who leaves a server.
    waiting: Gauge,
}

#[derive(Debug)]
struct Lines {
    next: u64,
    /// The latest arrival: threads read the clock at different moments, and nobody came before who came earlier.
    latest: Instant,
    any: VecDeque<Waiter>,
    servers: Vec<VecDeque<Waiter>>,
}

/// `set-priority-class` and `set-priority-offset` (manual 4.4): a lower class goes first; within a class, a request
/// goes as if it had come so many milliseconds later.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    pub class: i64,
    pub offset: i64,
}

/// The place of a request among all lines of the backend: class, time it counts as come, arrival.
type Order = (i64, Instant, u64);

#[derive(Debug)]
struct Waiter {
    order: Order,
    /// It would also have a server that is down.
    forced: bool,
    reply: oneshot::Sender<Grant>,
}

/// A place in a line. Dropping it leaves the line.
#[derive(Debug)]
pub struct Ticket {
    backend: &'static Backend,
    server: Option<usize>,
    order: Order,
    /// Requests that were in the same line before it (`%sq`, `%bq`).
    pub ahead: u32,
    pub grant: oneshot::Receiver<Grant>,
}

impl Queue {
    pub fn new(servers: usize) -> Self {
        let lines = Lines {
            next: 0,
            latest: clock::now(),
            any: VecDeque::new(),
            servers: std::iter::repeat_with(VecDeque::new).take(servers).collect(),
        };
        Self { lines: Mutex::new(lines), waiting: Gauge::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests waiting in all lines.
    pub fn len(&self) -> u32 {
        self.waiting.now()
    }

    /// Requests waiting for any server.
    pub fn any_len(&self) -> usize {
        self.lock().any.len()
    }

    /// Puts a request into the line for `server`, or for any server, behind those that go before it. `None` when that line already
    /// holds `limit`.
    pub fn join(
        &self,
        backend: &'static Backend,
        named: Option<Named>,
        limit: Option<u32>,
        priority: Priority,
    ) -> Option<Ticket> {
        let (reply, grant) = oneshot::channel();
        let server = named.map(|named| named.index);
        let forced = named.is_some_and(|named| named.forced);
        let mut lines = self.lock();
        lines.latest = lines.latest.max(clock::now());
        let order = (priority.class, due(lines.latest, priority.offset), lines.next);
        let line = lines.line(server);
        if limit.is_some_and(|limit| u32::try_from(line.len()).is_ok_and(|length| length >= limit)) {
            return None;
        }
        let at = match line.back() {
            Some(last) if last.order > order => line.partition_point(|waiter| waiter.order < order),
            _ => line.len(),
        };
        line.insert(at, Waiter { order, forced, reply });
        let ahead = u32::try_from(at).unwrap_or(u32::MAX);
        lines.next += 1;
        // Counted under the lock, so that whoever sees the count also finds the waiter.
        self.waiting.enter();
        // Against the leaver, who first gives its place back and then looks for waiters: one of the two sees the other.
        fence(Ordering::SeqCst);
        if let Some(server) = server {
            backend.servers[server].queued.enter();
        }
        drop(lines);
        Some(Ticket { backend, server, order, ahead, grant })
    }

    /// Hands free slots of `server` to those whose turn it is, waiting for it or for any.
    pub fn dispatch(&self, backend: &'static Backend, server: usize) {
        while self.waiting.now() > 0 {
            // Asked before the lines are locked: no lock is held while another is taken.
            let in_turn = backend.is_in_turn(server);
            let forced = !backend.servers[server].is_up()
                && self.lock().servers[server].front().is_some_and(|waiter| waiter.forced);
            let Some(slot) = Slot::take_named(backend, Named { index: server, forced }) else { return };
            let waiter = {
                let mut lines = self.lock();
                let own = lines.servers[server].front().map(|waiter| waiter.order);
                let any = lines.any.front().filter(|_| in_turn).map(|waiter| waiter.order);
                match (own, any) {
                    (None, None) => None,
                    (Some(own), any) if any.is_none_or(|any| own < any) => {
                        self.left(backend, Some(server));
                        lines.servers[server].pop_front()
                    }
                    _ => {
                        self.left(backend, None);
                        lines.any.pop_front()
                    }
                }
            };
            let Some(waiter) = waiter else {
                slot.give_back();
                return;
            };
            if let Err(Grant::Slot(slot)) = waiter.reply.send(Grant::Slot(slot)) {
                slot.give_back();
            }
        }
    }

    /// Tells everyone who waits for `server` alone to ask for another; returns how many that were.
    pub fn redistribute(&self, backend: &'static Backend, server: usize) -> usize {
        let line = std::mem::take(&mut self.lock().servers[server]);
        let count = line.len();
        for waiter in line {
            self.left(backend, Some(server));
            // A closed channel is a request that has given up by itself.
            let _ = waiter.reply.send(Grant::Redistribute);
        }
        count
    }

    fn left(&self, backend: &'static Backend, server: Option<usize>) {
        self.waiting.leave();
        if let Some(server) = server {
            backend.servers[server].queued.leave();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // The lines are consistent between any two statements, so a poisoned lock is still usable.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a request that came at `arrival` counts as come.
fn due(arrival: Instant, offset: i64) -> Instant {
    let time = Duration::from_millis(offset.unsigned_abs());
    let moved = if offset < 0 { arrival.checked_sub(time) } else { arrival.checked_add(time) };
    moved.unwrap_or(arrival)
}

impl Lines {
    fn line(&mut self, server: Option<usize>) -> &mut VecDeque<Waiter> {
        match server {
            Some(server) => &mut self.servers[server],
            None => &mut self.any,
        }
    }
}

impl Ticket {
    /// Whether it waits for one server rather than for any.
    pub fn for_server(&self) -> bool {
        self.server.is_some()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let queue = &self.backend.queue;
        let mut lines = queue.lock();
        let line = lines.line(self.server);
        if let Ok(at) = line.binary_search_by_key(&self.order, |waiter| waiter.order) {
            line.remove(at);
            queue.left(self.backend, self.server);
        }
        drop(lines);
        // A slot that came in the meantime is dropped with `grant`, which passes it on.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_classes_go_first_then_who_counts_as_come_earlier() {
        let start = Instant::now();
        let check = |requests: &[(i64, i64)], expected: &[usize]| {
            let arrived = requests.iter().zip(0..).map(|((class, offset), sequence)| {
                // One millisecond after the other.
                (*class, due(start + Duration::from_millis(sequence), *offset), sequence)
            });
            let mut orders: Vec<Order> = arrived.collect();
            orders.sort();
            let order: Vec<usize> =
                orders.iter().map(|order| usize::try_from(order.2).unwrap_or_default()).collect();
            assert_eq!(order, expected, "{requests:?}");
        };
        check(&[(0, 0), (0, 0), (0, 0)], &[0, 1, 2]);
        check(&[(0, 0), (-1, 0), (1, 0)], &[1, 0, 2]);
        check(&[(0, 5), (0, 0), (0, -500)], &[2, 1, 0]);
        check(&[(0, -524_287), (-2047, 524_287)], &[1, 0]);
        check(&[(0, i64::MAX), (0, i64::MIN)], &[1, 0]);
    }
}
