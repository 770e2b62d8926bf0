//! `roundrobin`: turns by weight, evenly spread, with weights that may change at any time.
//!
//! Every member has a place on an endless line; the one that stands first is next and moves back by the inverse
//! of its weight. A tournament over the places finds the first in constant time and moves it in logarithmic time.

use crate::farm::Farm;

/// How far a member of effective weight 1 moves back per turn.
const STRIDE: u64 = 1 << 32;

/// When the line has moved this far it is moved back to its start: places never overflow.
const REBASE_AT: u64 = 1 << 60;

/// Members that a choice passes over one by one, each losing its turn, before it looks at all at once.
const PASS_OVER_MAX: usize = 16;

/// The place of who is not on the line.
const NOWHERE: u64 = u64::MAX;

/// The line of a backend's servers.
#[derive(Debug)]
pub(crate) struct RoundRobin {
    places: Vec<u64>,
    /// The distance each member moves back per turn; 0 for who is not on the line.
    strides: Vec<u64>,
    /// A binary tournament: leaf `width + i` is server `i`, each inner node the better of its two, 1 the winner.
    winners: Vec<usize>,
    width: usize,
    /// The place of the last turn.
    now: u64,
}

impl RoundRobin {
    pub(crate) fn new(servers: usize) -> Self {
        let width = servers.next_power_of_two();
        let mut winners = vec![0; width * 2];
        for (leaf, winner) in winners[width..].iter_mut().enumerate() {
            *winner = leaf;
        }
        let mut line =
            Self { places: vec![NOWHERE; width], strides: vec![0; servers], winners, width, now: 0 };
        line.replay_all();
        line
    }

    /// Changes the weight of a server; 0 takes it off the line. What was left of its wait shrinks or grows with
    /// its stride, so a weight that rises in steps is felt at once and nobody gets turns in a row.
    pub(crate) fn set(&mut self, index: usize, weight: u32) {
        let before = self.strides[index];
        let stride = STRIDE.checked_div(u64::from(weight)).unwrap_or(0);
        self.strides[index] = stride;
        let place = match (before, stride) {
            (_, 0) => NOWHERE,
            (0, _) => self.now + stride / 2,
            _ => {
                let left = self.places[index].saturating_sub(self.now);
                let left = u128::from(left) * u128::from(stride) / u128::from(before);
                self.now + u64::try_from(left).unwrap_or(stride)
            }
        };
        self.move_to(index, place);
    }

    /// The next member that `accepts` takes. A full one loses the turn it could not use.
    pub(crate) fn pick(&mut self, farm: &Farm, mut accepts: impl FnMut(usize) -> bool) -> Option<usize> {
        for _ in 0..PASS_OVER_MAX.min(farm.len()) {
            let index = self.winners[1];
            if self.places.get(index).is_none_or(|place| *place == NOWHERE) {
                return None;
            }
            self.now = self.now.max(self.places[index]);
            self.move_back(index);
            if accepts(index) {
                return Some(index);
            }
        }
        let index = (0..self.strides.len())
            .filter(|index| self.strides[*index] > 0 && accepts(*index))
            .min_by_key(|index| self.places[*index])?;
        self.move_back(index);
        Some(index)
    }

    fn move_back(&mut self, index: usize) {
        self.move_to(index, self.places[index] + self.strides[index]);
        if self.now > REBASE_AT {
            let start = self.now;
            for place in self.places.iter_mut().filter(|place| **place != NOWHERE) {
                *place = place.saturating_sub(start);
            }
            self.now = 0;
            self.replay_all();
        }
    }

    fn move_to(&mut self, index: usize, place: u64) {
        self.places[index] = place;
        let mut node = (self.width + index) / 2;
        while node > 0 {
            self.winners[node] = self.winner(node);
            node /= 2;
        }
    }

    fn replay_all(&mut self) {
        for node in (1..self.width).rev() {
            self.winners[node] = self.winner(node);
        }
    }

    /// The child that stands further in front; the lower index among equals.
    fn winner(&self, node: usize) -> usize {
        let (left, right) = (self.winners[node * 2], self.winners[node * 2 + 1]);
        if self.places[right] < self.places[left] { right } else { left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::farm::Entry;

    /// The order of the first `picks` turns among servers of these weights.
    fn order(weights: &[u32], picks: usize) -> Vec<usize> {
        let (mut line, farm) = line(weights);
        (0..picks).map(|_| line.pick(&farm, |_| true).unwrap()).collect()
    }

    fn line(weights: &[u32]) -> (RoundRobin, Farm) {
        let entries: Vec<Entry> =
            weights.iter().map(|weight| Entry { numeric_id: 1, weight: *weight, backup: false }).collect();
        let mut line = RoundRobin::new(weights.len());
        for (index, weight) in weights.iter().enumerate() {
            line.set(index, *weight);
        }
        (line, Farm::new(&entries, false, 1))
    }

    #[test]
    fn turns_are_spread() {
        assert_eq!(order(&[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(order(&[2, 1], 6), [0, 1, 0, 0, 1, 0]);
        assert_eq!(order(&[3, 2, 1], 6), [0, 1, 0, 2, 1, 0]);
    }

    #[test]
    fn no_turn_is_lost_when_the_line_is_moved_back() {
        let (mut line, farm) = line(&[3, 1]);
        let ordinary: Vec<_> = (0..40).map(|_| line.pick(&farm, |_| true).unwrap()).collect();
        let (mut line, farm) = self::line(&[3, 1]);
        line.now = REBASE_AT - 5 * STRIDE;
        for index in 0..2 {
            line.move_to(index, line.places[index] + line.now);
        }
        let moved: Vec<_> = (0..40).map(|_| line.pick(&farm, |_| true).unwrap()).collect();
        assert!(line.now < REBASE_AT / 2);
        assert_eq!(moved, ordinary);
    }

    #[test]
    fn a_rising_weight_gets_its_share_step_by_step() {
        let (mut line, farm) = line(&[160, 0]);
        for weight in [1, 16, 80, 160] {
            line.set(1, weight);
            let mut longest_run = 0;
            let mut run = 0;
            let mut got = 0;
            let picks = 1600;
            for _ in 0..picks {
                let warming = line.pick(&farm, |_| true).unwrap() == 1;
                run = if warming { run + 1 } else { 0 };
                longest_run = longest_run.max(run);
                got += u32::from(warming);
            }
            let fair = picks * weight / (160 + weight);
            assert!(got.abs_diff(fair) <= 1, "weight {weight}: {got} of {picks}, fair is {fair}");
            assert!(longest_run <= 1, "weight {weight}: {longest_run} in a row");
        }
    }
}
