//! The time as one poll of a session sees it.
//!
//! A small request passes some ten places that note when it did. Asking the clock at each would cost more than
//! parsing the request; within one poll of a task, which takes microseconds, one answer serves them all.

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// When the current poll began, inside [`hold`]; the time itself anywhere else.
pub fn now() -> Instant {
    NOW.get().unwrap_or_else(Instant::now)
}

/// Runs `poll` with a clock that stands still. A panic inside leaves the thread's clock standing only until the
/// next poll.
pub fn hold<T>(poll: impl FnOnce() -> T) -> T {
    NOW.set(Some(Instant::now()));
    let polled = poll();
    NOW.set(None);
    polled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_still_inside_and_goes_on_outside() {
        let (first, second) = hold(|| {
            let first = now();
            while Instant::now() == first {}
            (first, now())
        });
        assert_eq!(first, second);
        assert!(now() > first);
    }
}
