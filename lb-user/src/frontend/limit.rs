//! Limits on connections that exist at once: when one is reached, the accept loops behind it pause.

use tokio::sync::Notify;

use crate::stats::Gauge;

/// `maxconn` of the process, of a frontend or of a bind line; `maxsslconn`.
#[derive(Debug)]
pub struct Limit {
    pub connections: Gauge,
    max: u32,
    room: Notify,
}

impl Limit {
    /// At most `max` connections; `None` or 0 is no limit of its own.
    pub fn new(max: Option<u32>) -> Self {
        Self {
            connections: Gauge::new(),
            max: max.filter(|n| *n > 0).unwrap_or(u32::MAX),
            room: Notify::new(),
        }
    }

    pub fn max(&self) -> u32 {
        self.max
    }

    /// Counts a connection in, unless the limit is reached.
    fn enter(&self) -> bool {
        self.connections.enter_below(self.max)
    }

    fn leave(&self) {
        if self.connections.leave() >= self.max - 1 {
            self.room.notify_waiters();
        }
    }

    /// Waits until a connection has left since the limit was found reached.
    async fn wait_for_room(&self) {
        let left = self.room.notified();
        tokio::pin!(left);
        left.as_mut().enable();
        // One may have left between the refusal and the registration.
        if self.connections.now() >= self.max {
            left.await;
        }
    }
}

/// A connection counted in at all levels; dropping it counts it out.
#[derive(Debug)]
pub struct Admission {
    limits: [&'static Limit; 3],
    /// `maxsslconn`, for connections that begin with TLS.
    tls: Option<&'static Limit>,
}

impl Admission {
    /// Counts a connection in, waiting at the first full level.
    pub async fn wait(limits: [&'static Limit; 3], tls: Option<&'static Limit>) -> Self {
        loop {
            match Self::enter(limits, tls) {
                Ok(admission) => return admission,
                Err(full) => full.wait_for_room().await,
            }
        }
    }

    fn enter(limits: [&'static Limit; 3], tls: Option<&'static Limit>) -> Result<Self, &'static Limit> {
        for (at, limit) in limits.into_iter().chain(tls).enumerate() {
            if !limit.enter() {
                for entered in limits.iter().take(at) {
                    entered.leave();
                }
                return Err(limit);
            }
        }
        Ok(Self { limits, tls })
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        for limit in self.limits.into_iter().chain(self.tls) {
            limit.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Waker};

    use super::*;

    fn limit(max: u32) -> &'static Limit {
        Box::leak(Box::new(Limit::new(Some(max))))
    }

    #[test]
    fn a_full_level_makes_the_next_wait_and_counts_nothing() {
        let (outer, inner) = (limit(5), limit(1));
        let first = Admission::enter([outer, inner, inner], None);
        assert!(first.is_err(), "the same limit of 1 twice");
        assert_eq!(outer.connections.now(), 0);
        let full = limit(1);
        assert!(full.enter());
        assert!(Admission::enter([outer, outer, outer], Some(full)).is_err());
        assert_eq!(outer.connections.now(), 0);
        let levels = [outer, limit(9), inner];
        let first = Admission::enter(levels, None).unwrap();
        let mut second = Box::pin(Admission::wait(levels, None));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert_eq!(outer.connections.now(), 1);
        drop(first);
        assert!(second.as_mut().poll(&mut cx).is_ready());
        assert_eq!(outer.connections.now(), 0);
    }
}
