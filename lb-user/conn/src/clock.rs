//! The time as one poll of a session sees it.
//!
//! A small request passes some ten places that note when it did. Asking the clock at each would cost more than
//! parsing the request; within one poll of a task, which takes microseconds, one answer serves them all, and the polls
//! that follow without sleep between them.

use std::cell::Cell;

use tokio::time::Instant;

/// Polls that may follow each other on one reading. A poll takes microseconds, so that it is never late by what a
/// timer or a log line could show.
const POLLS_PER_READING: u32 = 16;

thread_local! {
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    static READING: Cell<Reading> = const { Cell::new(Reading { last: None, polls_left: 0, may_last: false }) };
}

/// The last reading of the clock, and for how many more polls it is good.
#[derive(Clone, Copy)]
struct Reading {
    last: Option<Instant>,
    polls_left: u32,
    /// Whether the thread tells before it sleeps.
    may_last: bool,
}

/// The calling thread is about to sleep, and what the clock said will be long ago. A runtime that calls this every time
/// reads the clock once for several polls.
pub fn expire() {
    READING.set(Reading { last: None, polls_left: 0, may_last: true });
}

fn read() -> Instant {
    let reading = READING.get();
    match reading.last.filter(|_| reading.polls_left > 0) {
        Some(now) => {
            READING.set(Reading { polls_left: reading.polls_left - 1, ..reading });
            now
        }
        None => {
            let now = Instant::now();
            if reading.may_last {
                READING.set(Reading { last: Some(now), polls_left: POLLS_PER_READING - 1, ..reading });
            }
            now
        }
    }
}

/// When the current poll began, nearly, inside [`hold`]; the time itself anywhere else.
pub fn now() -> Instant {
    NOW.get().unwrap_or_else(Instant::now)
}

/// Runs `poll` with a clock that stands still. A panic inside leaves the thread's clock standing only until the
/// next poll.
pub fn hold<T>(poll: impl FnOnce() -> T) -> T {
    NOW.set(Some(read()));
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

    #[test]
    fn one_reading_serves_polls_between_sleeps() {
        let poll = || hold(now);
        let wait = |first| while Instant::now() == first {};
        std::thread::spawn(move || {
            let first = poll();
            wait(first);
            assert!(poll() > first, "a thread that does not tell when it sleeps");
            expire();
            let first = poll();
            wait(first);
            for _ in 1..POLLS_PER_READING {
                assert_eq!(poll(), first);
            }
            let second = poll();
            assert!(second > first, "good for some polls only");
            wait(second);
            expire();
            assert!(poll() > second, "slept");
        })
        .join()
        .unwrap();
    }
}
