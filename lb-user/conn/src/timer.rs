//! A deadline that costs nothing to move.
//!
//! Every byte that moves pushes an inactivity deadline back. Telling the runtime each time would cost more than
//! the rest of a small request, so the runtime's own timer is armed once and, when it fires early, armed again
//! for what is left.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer of a session: a deadline and, behind it, at most one entry in the runtime's wheel.
#[derive(Debug, Default)]
pub struct Timer {
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    pub const fn new() -> Self {
        Self { deadline: None, sleep: None }
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
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if sleep.deadline() > deadline || sleep.is_elapsed() {
                    sleep.as_mut().reset(deadline);
                }
                sleep
            }
            None => self.sleep.insert(Box::pin(sleep_until(deadline))),
        };
        loop {
            if sleep.as_mut().poll(cx).is_pending() {
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
