//! When to check and for how long (manual 5.2 `inter`, 4.2 `timeout check`, 3.2 `spread-checks`).

use std::time::Duration;

use crate::rise_fall::Health;

/// `inter`, `fastinter`, `downinter`: the pause between the end of a check and the start of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    pub inter: Duration,
    pub fastinter: Option<Duration>,
    pub downinter: Option<Duration>,
}

impl Intervals {
    /// The pause after a check that left `health` behind.
    pub fn after(&self, health: &Health) -> Duration {
        if health.is_fully_up() {
            self.inter
        } else if health.is_fully_down() {
            self.downinter.unwrap_or(self.inter)
        } else {
            self.fastinter.unwrap_or(self.inter)
        }
        .max(INTERVAL_MIN)
    }
}

/// An interval of 0 must not become a busy loop.
pub const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// `interval` with the noise of `spread-checks`: up to `percent` (0..=50) more or less. `random` is in 0.0..1.0.
pub fn spread(interval: Duration, percent: u8, random: f64) -> Duration {
    let share = f64::from(percent.min(50)) / 100.0 * (1.0 - 2.0 * random.clamp(0.0, 1.0));
    interval.mul_f64(1.0 + share).max(INTERVAL_MIN)
}

/// Spreads the first checks of a process, so that they do not all start at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstChecks {
    count: u32,
    smallest: Duration,
    max_spread: Option<Duration>,
}

impl FirstChecks {
    /// `intervals`: [`Intervals::after`] of each checked server of the process, before its first check.
    /// `max_spread` is `max-spread-checks`.
    ///
    /// Intervals below a second do not shorten the spread of the others.
    pub fn new(intervals: impl IntoIterator<Item = Duration>, max_spread: Option<Duration>) -> Self {
        let mut all = Self { count: 0, smallest: Duration::ZERO, max_spread };
        for interval in intervals {
            all.count = all.count.saturating_add(1);
            if interval >= Duration::from_secs(1) && (all.smallest.is_zero() || interval < all.smallest) {
                all.smallest = interval;
            }
        }
        all
    }

    /// The delay of the first check of the server that is `index`-th among the checked ones, from 0.
    pub fn delay(&self, index: u32, interval: Duration) -> Duration {
        let window = self.smallest.max(interval);
        let window = self.max_spread.map_or(window, |most| window.min(most));
        window.mul_f64(f64::from(index.min(self.count)) / f64::from(self.count.max(1)))
    }
}

/// How long one check may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub inter: Duration,
    /// `timeout connect`.
    pub connect: Option<Duration>,
    /// `timeout check`.
    pub check: Option<Duration>,
}

impl Timeouts {
    /// From the start of a connection: to its establishment, and to the verdict when there is no `timeout check`.
    pub fn connection(&self) -> Duration {
        match (self.check, self.connect) {
            (Some(_), Some(connect)) => self.inter.min(connect),
            _ => self.inter,
        }
        .max(INTERVAL_MIN)
    }

    /// From the establishment to the verdict. `None`: what is left of [`Self::connection`].
    pub fn exchange(&self) -> Option<Duration> {
        self.check
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sockeye_config::model::InitState;

    use super::*;
    use crate::rise_fall::Thresholds;
    use crate::status::CheckResult;

    const fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn pause_follows_the_state() {
        let check = |results: &[CheckResult], expected| {
            let intervals = Intervals { inter: ms(800), fastinter: Some(ms(200)), downinter: Some(ms(3000)) };
            let mut health = Health::initial(Thresholds::new(2, 3), InitState::Up);
            for &result in results {
                health.record(result);
            }
            assert_eq!(intervals.after(&health), expected, "{results:?}");
            let plain = Intervals { fastinter: None, downinter: None, ..intervals };
            assert_eq!(plain.after(&health), ms(800), "{results:?}");
        };
        use CheckResult::{Failed, Passed};
        check(&[], ms(200));
        check(&[Passed], ms(800));
        check(&[Passed, Failed], ms(200));
        check(&[Failed], ms(3000));
        check(&[Failed, Passed], ms(200));
        check(&[Failed, Passed, Passed], ms(800));
    }

    #[test]
    fn first_checks_share_the_smallest_interval() {
        let delays = |intervals: &[u64], most: Option<u64>| -> Vec<u128> {
            let all = FirstChecks::new(intervals.iter().copied().map(ms), most.map(ms));
            (0u32..).zip(intervals).map(|(index, &own)| all.delay(index, ms(own)).as_millis()).collect()
        };
        assert_eq!(delays(&[2000; 4], None), [0, 500, 1000, 1500]);
        assert_eq!(delays(&[300, 300, 300], None), [0, 100, 200]);
        assert_eq!(delays(&[400, 2000, 10_000, 400], None), [0, 500, 5000, 1500]);
        assert_eq!(delays(&[10_000; 4], Some(1000)), [0, 250, 500, 750]);
        assert_eq!(delays(&[], None), [0u128; 0]);
    }

    #[test]
    fn timeouts_of_the_manual() {
        let check = |connect: Option<u64>, check: Option<u64>, expected: (u64, Option<u64>)| {
            let limits = Timeouts { inter: ms(800), connect: connect.map(ms), check: check.map(ms) };
            assert_eq!((limits.connection(), limits.exchange()), (ms(expected.0), expected.1.map(ms)));
        };
        check(None, None, (800, None));
        check(Some(250), None, (800, None));
        check(Some(250), Some(1200), (250, Some(1200)));
        check(Some(5000), Some(1200), (800, Some(1200)));
        check(None, Some(1200), (800, Some(1200)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn noise_stays_within_its_share(interval in 1u64..100_000, percent in 0u8..=50, random in 0.0f64..1.0) {
            let noisy = spread(ms(interval), percent, random).as_secs_f64() * 1000.0;
            let (plain, share) = (interval as f64, interval as f64 * f64::from(percent) / 100.0);
            prop_assert!(noisy >= (plain - share).floor().min(1.0) && noisy <= plain + share + 1e-6);
        }
    }
}
