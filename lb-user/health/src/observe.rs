//! Errors seen in live traffic (manual 5.2 `observe`, `error-limit`, `on-error`).
//!
//! The data path reports every exchange, so a success must cost one load and nothing else.

use std::sync::atomic::{AtomicU32, Ordering};

use sockeye_config::model::Observe;

/// What an exchange with a server showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    Layer4Ok,
    Layer4Error,
    HttpOk,
    /// A status outside 100 to 499, 501 and 505.
    HttpStatus,
    /// A head that cannot be parsed.
    HttpHeaders,
    /// A body that cannot be parsed.
    HttpResponse,
    HttpReadError,
    HttpReadTimeout,
    /// The server closed before it answered.
    HttpClosed,
}

impl Observed {
    /// What the status of a response says (manual 5.2 `observe`).
    pub fn of_status(status: u16) -> Self {
        match status {
            100..=499 | 501 | 505 => Self::HttpOk,
            _ => Self::HttpStatus,
        }
    }

    /// The words of the log.
    pub fn description(self) -> &'static str {
        match self {
            Self::Layer4Ok => "L4 successful connection",
            Self::Layer4Error => "L4 unsuccessful connection",
            Self::HttpOk => "Correct http response",
            Self::HttpStatus => "Wrong http response",
            Self::HttpHeaders => "Invalid http response (headers)",
            Self::HttpResponse => "Invalid http response",
            Self::HttpReadError => "Read error (http)",
            Self::HttpReadTimeout => "Read timeout (http)",
            Self::HttpClosed => "Close from server (http)",
        }
    }

    /// Whether it counts as success or error in `mode`; `None` when that mode does not look at it.
    fn verdict(self, mode: Observe) -> Option<bool> {
        match (self, mode) {
            (Self::Layer4Ok, Observe::Layer4) | (Self::HttpOk, Observe::Layer7) => Some(true),
            (Self::Layer4Ok, Observe::Layer7) | (Self::HttpOk, Observe::Layer4) => None,
            (Self::Layer4Error, _) => Some(false),
            (_, Observe::Layer4) => None,
            (_, Observe::Layer7) => Some(false),
        }
    }
}

/// Counts errors in a row, from any thread.
#[derive(Debug)]
pub struct ErrorCounter {
    mode: Observe,
    limit: u32,
    consecutive: AtomicU32,
}

impl ErrorCounter {
    /// `limit` is `error-limit`; 0 counts as 1.
    pub fn new(mode: Observe, limit: u32) -> Self {
        Self { mode, limit: limit.max(1), consecutive: AtomicU32::new(0) }
    }

    /// Counts one exchange. True when it was the last of `error-limit` errors in a row; the count starts again.
    pub fn record(&self, observed: Observed) -> bool {
        match observed.verdict(self.mode) {
            None => false,
            Some(true) => {
                if self.consecutive.load(Ordering::Relaxed) != 0 {
                    self.consecutive.store(0, Ordering::Relaxed);
                }
                false
            }
            Some(false) => {
                let reached =
                    self.consecutive.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= self.limit;
                if reached {
                    self.consecutive.store(0, Ordering::Relaxed);
                }
                reached
            }
        }
    }

    /// `error-limit`.
    pub fn limit(&self) -> u32 {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: Observe, limit: u32, seen: &[Observed], expected: &str) {
        let counter = ErrorCounter::new(mode, limit);
        let shown: String = seen.iter().map(|&one| if counter.record(one) { '!' } else { '.' }).collect();
        assert_eq!(shown, expected, "{mode:?} {limit} {seen:?}");
    }

    #[test]
    fn errors_in_a_row() {
        use Observed::*;
        check(Observe::Layer4, 3, &[Layer4Error; 7], "..!..!.");
        check(Observe::Layer4, 2, &[Layer4Error, Layer4Ok, Layer4Error, Layer4Error], "...!");
        check(Observe::Layer4, 1, &[HttpStatus, HttpReadTimeout, Layer4Error], "..!");
        check(Observe::Layer7, 2, &[HttpStatus, Layer4Ok, HttpReadError], "..!");
        check(Observe::Layer7, 2, &[HttpStatus, HttpOk, HttpClosed, Layer4Error], "...!");
        check(Observe::Layer7, 0, &[HttpOk, HttpHeaders], ".!");
    }

    #[test]
    fn statuses() {
        for (status, ok) in [
            (100, true),
            (404, true),
            (499, true),
            (500, false),
            (501, true),
            (502, false),
            (505, true),
            (600, false),
        ] {
            assert_eq!(Observed::of_status(status) == Observed::HttpOk, ok, "{status}");
        }
    }
}
