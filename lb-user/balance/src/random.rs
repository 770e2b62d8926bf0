//! `random(n)`: n servers drawn by weight, the least loaded of them taken.
//!
//! A Fenwick tree of the weights turns a random number into a server in logarithmic time, exactly by weight.

use crate::Pick;
use crate::algorithm::Random;
use crate::farm::Farm;
use crate::hash::Bound;
use crate::leastconn::Burden;

/// Draws that may be lost to full or excluded servers before all are looked at.
const LOST_DRAWS_MAX: u32 = 16;

/// More draws than this differ from `leastconn` in cost alone.
const DRAWS_MAX: u32 = 1024;

#[derive(Debug)]
pub(crate) struct Draw {
    cfg: Random,
    /// The Fenwick tree, from 1.
    sums: Vec<u32>,
    weights: Vec<u32>,
}

impl Draw {
    pub(crate) fn new(cfg: Random, servers: usize) -> Self {
        Self { cfg, sums: vec![0; servers + 1], weights: vec![0; servers] }
    }

    pub(crate) fn set(&mut self, index: usize, weight: u32) {
        let before = std::mem::replace(&mut self.weights[index], weight);
        let mut node = index + 1;
        while node < self.sums.len() {
            self.sums[node] = self.sums[node] - before + weight;
            node += lowest_bit(node);
        }
    }

    pub(crate) fn pick(&self, farm: &Farm, pick: &Pick<'_>) -> Option<usize> {
        let total = u64::from(farm.total());
        if total == 0 {
            return None;
        }
        let bound = Bound::new(self.cfg.balance_factor, farm, pick);
        let mut random = pick.random;
        let mut best: Option<(Burden, usize)> = None;
        let mut lost = 0;
        let mut drawn = 0;
        while drawn < self.cfg.draws.clamp(1, DRAWS_MAX) && lost < LOST_DRAWS_MAX {
            random = next_random(random);
            let index = self.at(scaled(random, total));
            let load = (pick.loads)(index);
            if pick.exclude == Some(index) || load.full || !bound.allows(load, farm.share(index)) {
                lost += 1;
                continue;
            }
            drawn += 1;
            let burden = Burden::of(load, farm.share(index));
            if best.as_ref().is_none_or(|(least, _)| burden.is_below(least)) {
                best = Some((burden, index));
            }
        }
        match best {
            Some((_, index)) => Some(index),
            // The draws met unusable servers only: the first usable one after a random place.
            None => {
                let start = self.at(scaled(random, total));
                (start..farm.len())
                    .chain(0..start)
                    .find(|index| farm.share(*index) > 0 && pick.accepts(*index))
            }
        }
    }

    /// The server whose weight covers the point, of `0..total`.
    fn at(&self, point: u64) -> usize {
        let mut left = u32::try_from(point).unwrap_or(u32::MAX);
        let mut node = 0;
        let mut step = self.sums.len().next_power_of_two();
        while step > 0 {
            if let Some(sum) = self.sums.get(node + step)
                && *sum <= left
            {
                node += step;
                left -= sum;
            }
            step /= 2;
        }
        node.min(self.weights.len().saturating_sub(1))
    }
}

/// The random number as a point of `0..total`.
fn scaled(random: u64, total: u64) -> u64 {
    let point = (u128::from(random) * u128::from(total)) >> 64;
    u64::try_from(point).unwrap_or(0)
}

fn lowest_bit(number: usize) -> usize {
    number & number.wrapping_neg()
}

/// The next number of a splitmix64 sequence: several draws from the one number of a [`Pick`].
fn next_random(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
