//! Rise and fall: how many checks in a row it takes to change one's mind about a server.
//!
//! One number says everything, as in the statistics (`check_health`):
//!
//! ```text
//!   0 … rise-1          down; 0 is fully down, the others are on the way up
//!   rise … rise+fall-1  up; rise+fall-1 is fully up, the others are on the way down
//! ```
//!
//! A success adds one, a failure takes one away, and crossing the border jumps to the far end of the other side.

use std::fmt;

use sockeye_config::model::{InitState, OnError};

use crate::status::CheckResult;

/// `rise` and `fall` of a server line, both at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    rise: u32,
    fall: u32,
}

impl Thresholds {
    /// Values of 0 count as 1; the largest keep `rise + fall` far from overflow.
    pub fn new(rise: u32, fall: u32) -> Self {
        const MAX: u32 = 1 << 30;
        Self { rise: rise.clamp(1, MAX), fall: fall.clamp(1, MAX) }
    }

    /// Successes in a row that a server which is down needs.
    pub fn rise(self) -> u32 {
        self.rise
    }

    /// Failures in a row that a server which is up survives, plus one.
    pub fn fall(self) -> u32 {
        self.fall
    }

    fn full(self) -> u32 {
        self.rise + self.fall - 1
    }
}

/// What the checks of one server add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    thresholds: Thresholds,
    value: u32,
    state: State,
}

/// Whether a server gets clients, as far as its checks are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running,
    /// Up, but takes no new clients (`NOLB`).
    Stopping,
    Stopped,
}

/// A change of [`State`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    Up,
    /// Up without new clients: the last check passed conditionally.
    Stopping,
    /// `was_stopping`: it had no new clients anyway, which makes the news less urgent.
    Down {
        was_stopping: bool,
    },
}

/// What one result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// The counter moved.
    pub counted: bool,
    pub transition: Option<Transition>,
}

impl Health {
    /// The counter of a server that was not checked yet (manual 5.2 `init-state`): by default it is up and the first
    /// failure takes it down.
    pub fn initial(thresholds: Thresholds, init_state: InitState) -> Self {
        let value = match init_state {
            InitState::FullyUp => thresholds.full(),
            InitState::Up => thresholds.rise,
            InitState::Down => thresholds.rise - 1,
            InitState::FullyDown => 0,
        };
        let state = if value >= thresholds.rise { State::Running } else { State::Stopped };
        Self { thresholds, value, state }
    }

    /// Counts one result.
    pub fn record(&mut self, result: CheckResult) -> Change {
        match result {
            CheckResult::Neutral => Change::default(),
            CheckResult::Failed => self.fail(),
            CheckResult::Passed => self.pass(State::Running),
            CheckResult::Conditional => self.pass(State::Stopping),
        }
    }

    /// What `error-limit` errors in a row do (manual 5.2 `on-error`). `None`: only the next check comes sooner.
    pub fn record_errors(&mut self, on_error: OnError) -> Option<Change> {
        match on_error {
            OnError::FastInter => return None,
            OnError::FailCheck => {}
            OnError::SuddenDeath => self.value = self.value.min(self.thresholds.rise + 1),
            OnError::MarkDown => self.value = self.value.min(self.thresholds.rise),
        }
        Some(self.fail())
    }

    /// 0 ..= rise + fall - 1, as `check_health` shows it.
    pub fn value(&self) -> u32 {
        self.value
    }

    /// `rise` and `fall`.
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// Up, going away, or down.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether the server takes traffic at all.
    pub fn is_up(&self) -> bool {
        self.state != State::Stopped
    }

    /// No failure since it came up.
    pub fn is_fully_up(&self) -> bool {
        self.value == self.thresholds.full()
    }

    /// No success since it went down.
    pub fn is_fully_down(&self) -> bool {
        self.state == State::Stopped && self.value == 0
    }

    /// The fraction of the statistics and the log: `2/3` of the way to the other state.
    pub fn fraction(&self) -> (u32, u32) {
        let Thresholds { rise, fall } = self.thresholds;
        if self.value >= rise { (self.value - rise + 1, fall) } else { (self.value, rise) }
    }

    fn pass(&mut self, wanted: State) -> Change {
        let mut change = Change::default();
        if self.value < self.thresholds.full() {
            self.value += 1;
            if self.value >= self.thresholds.rise {
                self.value = self.thresholds.full();
            }
            change.counted = true;
        }
        if self.value >= self.thresholds.rise && self.state != wanted {
            self.state = wanted;
            change.transition =
                Some(if wanted == State::Running { Transition::Up } else { Transition::Stopping });
        }
        change
    }

    fn fail(&mut self) -> Change {
        let mut change = Change::default();
        if self.value > 0 {
            self.value -= 1;
            if self.value < self.thresholds.rise {
                self.value = 0;
            }
            change.counted = true;
        }
        if self.value < self.thresholds.rise && self.state != State::Stopped {
            change.transition = Some(Transition::Down { was_stopping: self.state == State::Stopping });
            self.state = State::Stopped;
        }
        change
    }
}

impl fmt::Display for Health {
    /// `UP 2/3`, `UP` when nothing is under way; `NOLB 2/3`, `DOWN 1/2` likewise.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.state {
            State::Running => "UP",
            State::Stopping => "NOLB",
            State::Stopped => "DOWN",
        };
        let (done, of) = self.fraction();
        if self.is_fully_up() || self.is_fully_down() {
            f.write_str(word)
        } else {
            write!(f, "{word} {done}/{of}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs `results` (`+` passed, `-` failed, `~` conditional) and renders the state after each, with a
    /// `!` where the server changed state.
    fn check(rise: u32, fall: u32, init_state: InitState, results: &str, expected: &str) {
        let mut health = Health::initial(Thresholds::new(rise, fall), init_state);
        let mut shown = health.to_string();
        for result in results.chars() {
            let change = health.record(match result {
                '+' => CheckResult::Passed,
                '-' => CheckResult::Failed,
                _ => CheckResult::Conditional,
            });
            shown += &format!(", {health}{}", if change.transition.is_some() { "!" } else { "" });
        }
        assert_eq!(shown, expected, "rise {rise} fall {fall} {init_state:?} {results}");
    }

    #[test]
    fn counts_like_the_reference() {
        check(2, 3, InitState::Up, "-++", "UP 1/3, DOWN!, DOWN 1/2, UP!");
        check(2, 3, InitState::Up, "+---", "UP 1/3, UP, UP 2/3, UP 1/3, DOWN!");
        check(2, 3, InitState::Up, "+--+-", "UP 1/3, UP, UP 2/3, UP 1/3, UP, UP 2/3");
        check(2, 3, InitState::FullyUp, "--", "UP, UP 2/3, UP 1/3");
        check(3, 2, InitState::Down, "+", "DOWN 2/3, UP!");
        check(3, 2, InitState::Down, "-", "DOWN 2/3, DOWN");
        check(
            3,
            2,
            InitState::FullyDown,
            "++-+++",
            "DOWN, DOWN 1/3, DOWN 2/3, DOWN, DOWN 1/3, DOWN 2/3, UP!",
        );
        check(1, 1, InitState::Up, "-+", "UP, DOWN!, UP!");
        check(0, 0, InitState::Up, "-", "UP, DOWN!");
    }

    #[test]
    fn conditional_success_takes_new_clients_away() {
        check(2, 2, InitState::Up, "~~+", "UP 1/2, NOLB!, NOLB, UP!");
        check(2, 2, InitState::Up, "~--~~", "UP 1/2, NOLB!, NOLB 1/2, DOWN!, DOWN 1/2, NOLB!");
    }

    #[test]
    fn errors_in_traffic() {
        let after = |on_error| {
            let mut health = Health::initial(Thresholds::new(2, 3), InitState::FullyUp);
            let change = health.record_errors(on_error);
            (health.to_string(), change.and_then(|change| change.transition).is_some())
        };
        assert_eq!(after(OnError::FastInter), ("UP".into(), false));
        assert_eq!(after(OnError::FailCheck), ("UP 2/3".into(), false));
        assert_eq!(after(OnError::SuddenDeath), ("UP 1/3".into(), false));
        assert_eq!(after(OnError::MarkDown), ("DOWN".into(), true));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        /// The counter stays in range, agrees with the state, and `rise` or `fall` results in a row always decide.
        #[test]
        fn invariants(rise in 0u32..6, fall in 0u32..6, results in proptest::collection::vec(0u8..3, 0..60)) {
            let mut health = Health::initial(Thresholds::new(rise, fall), InitState::Up);
            let (mut passed, mut failed) = (0, 0);
            for result in results {
                let (result, counter, other) = match result {
                    0 => (CheckResult::Failed, &mut failed, &mut passed),
                    1 => (CheckResult::Passed, &mut passed, &mut failed),
                    _ => (CheckResult::Conditional, &mut passed, &mut failed),
                };
                *counter += 1;
                *other = 0;
                health.record(result);
                let limits = health.thresholds();
                prop_assert!(health.value() < limits.rise() + limits.fall());
                prop_assert_eq!(health.value() >= limits.rise(), health.is_up());
                prop_assert!(passed < limits.rise() || health.is_up());
                prop_assert!(failed < limits.fall() || !health.is_up());
            }
        }
    }
}
