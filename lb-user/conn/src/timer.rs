//! A deadline that costs nothing to move.
//!
//! Every byte that moves pushes an inactivity deadline back. Telling the runtime each time would cost more than
//! the rest of a small request, so the runtime's own timer is armed once and, when it fires early, armed again
//! for what is left.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// One timer of a session: a deadline and, behind it, at most one entry in the runtime's wheel.
#[derive(Debug, Default)]
pub struct Timer {
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom the runtime's timer wakes.
    waker: Option<Waker>,
}

impl Timer {
    pub const fn new() -> Self {
        Self { deadline: None, sleep: None, waker: None }
    }

    /// Moves the deadline; `None` means it never comes.
    pub fn set(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ready once the deadline has passed; registers the task otherwise.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if known && sleep.deadline() <= deadline && !sleep.is_elapsed() {
                    // It wakes us early enough as it is.
                    return Poll::Pending;
                }
                if sleep.deadline() > deadline || sleep.is_elapsed() {
                    sleep.as_mut().reset(deadline);
                }
                sleep
            }
            None => self.sleep.insert(Box::pin(sleep_until(deadline))),
        };
        if !known {
            self.waker = Some(cx.waker().clone());
        }
        loop {
            // Outside the task's budget: without it, "pending" would not mean that the waker is registered.
            if std::pin::pin!(unconstrained(sleep.as_mut())).poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fires_at_the_deadline_in_force_not_at_the_one_armed() {
        let start = Instant::now();
        let mut timer = Timer::new();
        timer.set(Some(start + Duration::from_secs(1)));
        assert!(std::future::poll_fn(|cx| Poll::Ready(timer.poll_expired(cx))).await.is_pending());
        timer.set(Some(start + Duration::from_secs(5)));
        std::future::poll_fn(|cx| timer.poll_expired(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 5);
        timer.set(Some(start + Duration::from_secs(20)));
        assert!(std::future::poll_fn(|cx| Poll::Ready(timer.poll_expired(cx))).await.is_pending());
        timer.set(Some(start + Duration::from_secs(6)));
        std::future::poll_fn(|cx| timer.poll_expired(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 6);
    }
}
