//! `leastconn`: the lowest load relative to the weight, turns among equals.
//!
//! Loads are read at the time of the choice, so no stream has to report its end here: a choice looks at every
//! server once, about five nanoseconds each.

use crate::farm::Farm;
use crate::{Load, Pick};

/// When each server was chosen last: who waited longest wins among equals.
#[derive(Debug)]
pub(crate) struct LeastConn {
    last_turns: Vec<u64>,
    turn: u64,
}

impl LeastConn {
    pub(crate) fn new(servers: usize) -> Self {
        Self { last_turns: vec![0; servers], turn: 0 }
    }

    pub(crate) fn pick(&mut self, farm: &Farm, pick: &Pick<'_>) -> Option<usize> {
        let mut best: Option<(Burden, u64, usize)> = None;
        for (index, weight) in farm.members() {
            if pick.exclude == Some(index) {
                continue;
            }
            let load = (pick.loads)(index);
            if load.full {
                continue;
            }
            let burden = Burden::of(load, weight);
            let turn = self.last_turns[index];
            let better = best.as_ref().is_none_or(|(least, earliest, _)| {
                if burden.is_below(least) { true } else { !least.is_below(&burden) && turn < *earliest }
            });
            if better {
                best = Some((burden, turn, index));
            }
        }
        let (_, _, index) = best?;
        self.turn += 1;
        self.last_turns[index] = self.turn;
        Some(index)
    }
}

/// What a server would carry with one stream more, over its weight. An idle server carries nothing whatever its
/// weight is, as in HAProxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Burden {
    streams: u64,
    weight: u64,
}

impl Burden {
    pub(crate) fn of(load: Load, weight: u32) -> Self {
        let streams = if load.in_flight == 0 { 0 } else { u64::from(load.in_flight) + 1 };
        Self { streams, weight: u64::from(weight) }
    }

    pub(crate) fn is_below(&self, other: &Self) -> bool {
        self.streams * other.weight < other.streams * self.weight
    }
}
