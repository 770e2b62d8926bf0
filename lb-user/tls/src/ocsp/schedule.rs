//! When a response is asked for again. Manual 12.7.1 `ocsp-update`, 3.1 `ocsp-update.mindelay` and `.maxdelay`.

use std::time::{Duration, SystemTime};

use crate::settings::OcspUpdate;

/// How long before its end a response is replaced, as in HAProxy.
const AHEAD: Duration = Duration::from_mins(6);
/// What the wait after a failure doubles from, as in HAProxy.
const AFTER_FAILURE: Duration = Duration::from_mins(1);
/// Both delays may be configured as 0, and responders shall not be asked without pause.
const SHORTEST: Duration = Duration::from_secs(1);

impl OcspUpdate {
    /// How long after `now` a response is asked for again that is valid until `until`, or says nothing of an end.
    #[must_use]
    pub fn after_response(&self, until: Option<SystemTime>, now: SystemTime) -> Duration {
        let left = until.and_then(|until| until.duration_since(now).ok()).unwrap_or_default();
        left.saturating_sub(AHEAD).min(self.max_delay).max(self.min_delay).max(SHORTEST)
    }

    /// How long after the last of `failures` in a row the next attempt is made.
    #[must_use]
    pub fn after_failure(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        AFTER_FAILURE.saturating_mul(factor).min(self.max_delay).max(SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn responses_are_replaced_before_they_end() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let check = |minutes: Option<u64>, (min, max): (u64, u64), expected: u64| {
            let delays = OcspUpdate {
                min_delay: Duration::from_secs(min),
                max_delay: Duration::from_secs(max),
                ..OcspUpdate::default()
            };
            let until = minutes.map(|minutes| now + Duration::from_secs(minutes * 60));
            assert_eq!(
                delays.after_response(until, now),
                Duration::from_secs(expected),
                "{minutes:?} {min} {max}"
            );
        };
        check(Some(24 * 60), (300, 3600), 3600);
        check(Some(20), (300, 3600), 14 * 60);
        check(Some(10), (300, 3600), 300);
        check(Some(0), (300, 3600), 300);
        check(None, (300, 3600), 300);
        check(Some(24 * 60), (2, 5), 5);
        check(None, (0, 0), 1);
        let past = OcspUpdate::default().after_response(Some(UNIX_EPOCH), now);
        assert_eq!(past, Duration::from_secs(300));
    }

    #[test]
    fn waits_double_with_every_failure() {
        let check = |failures: u32, max: u64, expected: u64| {
            let delays = OcspUpdate { max_delay: Duration::from_secs(max), ..OcspUpdate::default() };
            assert_eq!(delays.after_failure(failures), Duration::from_secs(expected), "{failures}");
        };
        check(1, 3600, 120);
        check(2, 3600, 240);
        check(5, 3600, 1920);
        check(6, 3600, 3600);
        check(31, 3600, 3600);
        check(32, 3600, 3600);
        check(u32::MAX, 3600, 3600);
        check(1, 60, 60);
        check(1, 0, 1);
    }
}
