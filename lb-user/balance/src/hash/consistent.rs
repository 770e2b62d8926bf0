//! `hash-type consistent`: every server has nodes on a ring of hashes, as many as its effective weight; the node
//! closest to a hash has it. A server that leaves gives away its own share of the keys and moves no other.
//!
//! The places of the nodes are HAProxy's (`hash-key id`), so that equal configurations send a key to the same server.

use super::avalanche;
use super::map::STEPS_MAX;
use crate::farm::{Entry, Farm};
use crate::roundrobin::RoundRobin;
use crate::{Load, Pick, WEIGHT_SCALE};

/// Nodes are placed by identifier times this plus their number: the most nodes one server can have.
const NODES_PER_SERVER: u32 = crate::WEIGHT_MAX * WEIGHT_SCALE;

/// `consistent`.
#[derive(Debug)]
pub(crate) struct Consistent {
    balance_factor: u32,
    /// Every node a server has had, by place, so that a change of weight needs no sorting.
    all: Vec<Node>,
    /// The nodes in use: those whose number is below their server's weight. Made anew by the first use after a change.
    ring: Vec<Place>,
    stale: bool,
    servers: Vec<Server>,
    /// For streams without a key.
    turns: RoundRobin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    at: u32,
    index: u32,
    number: u32,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    at: u32,
    index: u32,
}

#[derive(Debug)]
struct Server {
    numeric_id: u32,
    weight: u32,
    /// How many nodes it has in `all`.
    nodes: u32,
}

impl Consistent {
    pub(crate) fn new(balance_factor: u32, entries: &[Entry]) -> Self {
        let servers = entries
            .iter()
            .map(|entry| Server { numeric_id: entry.numeric_id, weight: 0, nodes: 0 })
            .collect();
        let mut ring = Self {
            balance_factor,
            all: Vec::new(),
            ring: Vec::new(),
            stale: true,
            servers,
            turns: RoundRobin::new(entries.len()),
        };
        for (index, entry) in entries.iter().enumerate() {
            ring.extend(index, entry.weight.min(crate::WEIGHT_MAX) * WEIGHT_SCALE);
        }
        ring.all.sort_unstable();
        ring.ring.reserve_exact(ring.all.len());
        ring
    }

    pub(crate) fn set(&mut self, index: usize, weight: u32) {
        self.turns.set(index, weight);
        self.servers[index].weight = weight;
        if weight > self.servers[index].nodes {
            self.extend(index, weight);
            self.all.sort_unstable();
            self.ring.clear();
            self.ring.reserve_exact(self.all.len());
        }
        self.stale = true;
    }

    /// Adds the nodes of a server up to `nodes`, unsorted.
    fn extend(&mut self, index: usize, nodes: u32) {
        let server = &mut self.servers[index];
        let first = server.numeric_id.wrapping_mul(NODES_PER_SERVER);
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let new = server.nodes..nodes;
        self.all.extend(new.map(|number| Node { at: avalanche(first.wrapping_add(number)), index, number }));
        server.nodes = nodes;
    }

    /// The server of a hash, or the first after it on the ring that may have the stream.
    pub(crate) fn pick(&mut self, farm: &Farm, hash: u32, pick: &Pick<'_>, skip_full: bool) -> Option<usize> {
        if self.stale {
            self.stale = false;
            self.ring.clear();
            let in_use =
                self.all.iter().filter(|node| node.number < self.servers[node.index as usize].weight);
            self.ring.extend(in_use.map(|node| Place { at: node.at, index: node.index }));
        }
        let bound = Bound::new(self.balance_factor, farm, pick);
        let allowed = |index: usize| {
            if pick.exclude == Some(index) {
                return false;
            }
            if !skip_full && bound.is_none() {
                return true;
            }
            let load = (pick.loads)(index);
            !(skip_full && load.full) && bound.allows(load, farm.share(index))
        };
        let mut place = self.closest(hash)?;
        for _ in 0..self.ring.len().min(STEPS_MAX) {
            let index = self.ring[place].index as usize;
            if allowed(index) {
                return Some(index);
            }
            place = (place + 1) % self.ring.len();
        }
        // Nobody near has room. Whoever may have it at all, and the bound gives way last.
        let takes = |index: usize| pick.exclude != Some(index) && !(skip_full && (pick.loads)(index).full);
        let anyone =
            |test: &dyn Fn(usize) -> bool| farm.members().map(|(index, _)| index).find(|index| test(*index));
        anyone(&allowed).or_else(|| anyone(&takes))
    }

    /// The next in turn, for a stream without a key.
    pub(crate) fn pick_next(&mut self, farm: &Farm, accepts: impl FnMut(usize) -> bool) -> Option<usize> {
        self.turns.pick(farm, accepts)
    }

    /// The node closest to the hash, the earlier of two as close.
    fn closest(&self, hash: u32) -> Option<usize> {
        let nodes = self.ring.len();
        let after = self.ring.partition_point(|node| node.at < hash).checked_rem(nodes)?;
        let before = (after + nodes - 1) % nodes;
        let to_before = hash.wrapping_sub(self.ring[before].at);
        let to_after = self.ring[after].at.wrapping_sub(hash);
        Some(if to_before <= to_after { before } else { after })
    }
}

/// `hash-balance-factor`: the most streams a server may have, by weight, relative to the average.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Streams that all members together may have, the new one included. `None`: no bound.
    slots: Option<u64>,
    total_weight: u64,
}

impl Bound {
    pub(crate) fn new(factor: u32, farm: &Farm, pick: &Pick<'_>) -> Self {
        let slots = (factor > 0).then(|| {
            let loads = farm.members().map(|(index, _)| u64::from((pick.loads)(index).in_flight));
            ((loads.sum::<u64>() + 1) * u64::from(factor)).div_ceil(100)
        });
        Self { slots, total_weight: u64::from(farm.total()).max(1) }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.slots.is_none()
    }

    /// Whether a server with this load and weight may have one stream more.
    pub(crate) fn allows(&self, load: Load, weight: u32) -> bool {
        let Some(slots) = self.slots else { return true };
        let own = (slots * u64::from(weight)).div_ceil(self.total_weight).max(1);
        u64::from(load.in_flight) < own
    }
}
