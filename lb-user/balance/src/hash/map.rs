//! `hash-type map-based`: a table with as many entries of a server as its weight, the hash's remainder points in it.
//!
//! The order of the entries is HAProxy's, so that equal configurations send a key to the same server.

use crate::farm::{Entry, Farm};

/// Steps along a table or ring past servers that cannot be used; after that the first usable one is taken.
pub(super) const STEPS_MAX: usize = 1024;

/// `map-based`.
#[derive(Debug)]
pub(crate) struct MapBased {
    table: Table,
    /// Where the next turn of a stream without a key is.
    next: usize,
}

impl MapBased {
    pub(crate) fn new(entries: &[Entry]) -> Self {
        Self { table: Table::new(entries), next: 0 }
    }

    pub(crate) fn forget(&mut self) {
        self.table.forget();
    }

    /// The server of a hash, or the first after it in the table that `accepts` takes.
    pub(crate) fn pick(
        &mut self,
        farm: &Farm,
        hash: u32,
        accepts: impl FnMut(usize) -> bool,
    ) -> Option<usize> {
        self.table.find(farm, hash as usize, accepts).map(|(_, index)| index)
    }

    /// The next in turn, for a stream without a key.
    pub(crate) fn pick_next(&mut self, farm: &Farm, accepts: impl FnMut(usize) -> bool) -> Option<usize> {
        let (place, index) = self.table.find(farm, self.next, accepts)?;
        self.next = place + 1;
        Some(index)
    }
}

/// All members by weight, evenly spread. Made anew by the first use after a change.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Vec<u32>,
    stale: bool,
    /// Weights are divided by this: what all configured ones have in common.
    divisor: u32,
    scratch: Scratch,
}

/// Room to make a table in, kept so that a choice need not allocate.
#[derive(Debug, Default)]
struct Scratch {
    /// (round, server) of each time a server becomes due, by round.
    due: Vec<(u32, u32)>,
    /// Per server, how many of its entries are due and not yet placed, biased so that 0 is "no member".
    tree: Vec<u32>,
}

impl Table {
    pub(crate) fn new(entries: &[Entry]) -> Self {
        let divisor = entries.iter().map(|entry| entry.weight).fold(0, common_divisor).max(1);
        let sum = |backup: bool| -> usize {
            entries.iter().filter(|e| e.backup == backup).map(|e| (e.weight / divisor) as usize).sum()
        };
        let longest = sum(false).max(sum(true));
        let scratch = Scratch {
            due: Vec::with_capacity(longest),
            tree: vec![0; entries.len().next_power_of_two() * 2],
        };
        Self { entries: Vec::with_capacity(longest), stale: true, divisor, scratch }
    }

    pub(crate) fn forget(&mut self) {
        self.stale = true;
    }

    /// The entry at `place`, wrapped, or the first after it whose server `accepts` takes: its place and the server.
    pub(crate) fn find(
        &mut self,
        farm: &Farm,
        place: usize,
        mut accepts: impl FnMut(usize) -> bool,
    ) -> Option<(usize, usize)> {
        if self.stale {
            self.fill(farm);
        }
        let mut place = place.checked_rem(self.entries.len())?;
        for _ in 0..self.entries.len().min(STEPS_MAX) {
            let index = self.entries[place] as usize;
            if accepts(index) {
                return Some((place, index));
            }
            place = (place + 1) % self.entries.len();
        }
        farm.members().find(|(index, _)| accepts(*index)).map(|(index, _)| (place, index))
    }

    /// Places the entries. In round k of as many rounds as there are entries, a server of weight w is due for
    /// ⌊k·w / total⌋ of them; the one with the most due and unplaced is placed, the first among equals.
    fn fill(&mut self, farm: &Farm) {
        self.stale = false;
        self.entries.clear();
        let total = farm.total() / self.divisor;
        let Scratch { due, tree } = &mut self.scratch;
        due.clear();
        tree.fill(0);
        let width = tree.len() / 2;
        for (index, weight) in farm.members() {
            let weight = u64::from(weight / self.divisor);
            for nth in 1..=weight {
                let round = (nth * u64::from(total)).div_ceil(weight);
                due.push((
                    u32::try_from(round).unwrap_or(u32::MAX),
                    u32::try_from(index).unwrap_or(u32::MAX),
                ));
            }
            // A server may be placed one entry before it is due: 1 must stay a member.
            tree[width + index] = 2;
        }
        due.sort_unstable();
        for node in (1..width).rev() {
            tree[node] = tree[node * 2].max(tree[node * 2 + 1]);
        }
        let mut due = due.iter().peekable();
        for round in 1..=total {
            while let Some((_, index)) = due.next_if(|(when, _)| *when <= round) {
                adjust(tree, width + *index as usize, |entries| entries + 1);
            }
            // Down from the root to the first leaf that has the root's value.
            let mut node = 1;
            while node < width {
                node = if tree[node * 2] == tree[node] { node * 2 } else { node * 2 + 1 };
            }
            adjust(tree, node, |entries| entries - 1);
            self.entries.push(u32::try_from(node - width).unwrap_or(u32::MAX));
        }
    }
}

/// Changes a leaf of a tree of maxima.
fn adjust(tree: &mut [u32], leaf: usize, change: impl FnOnce(u32) -> u32) {
    tree[leaf] = change(tree[leaf]);
    let mut node = leaf / 2;
    while node > 0 {
        tree[node] = tree[node * 2].max(tree[node * 2 + 1]);
        node /= 2;
    }
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables as HAProxy makes them: what `static-rr` did with these weights.
    fn check(weights: &[u32], expected: &[u32]) {
        let entries: Vec<Entry> =
            weights.iter().map(|weight| Entry { numeric_id: 1, weight: *weight, backup: false }).collect();
        let mut farm = Farm::new(&entries, false, 1);
        farm.settle();
        let mut table = Table::new(&entries);
        table.fill(&farm);
        assert_eq!(table.entries, expected, "{weights:?}");
    }

    #[test]
    fn entries_are_spread_as_haproxy_does() {
        check(&[1, 1, 1], &[0, 1, 2]);
        check(&[5, 1, 1], &[0, 0, 0, 1, 0, 0, 2]);
        check(&[3, 2, 1], &[0, 0, 1, 0, 1, 2]);
        check(&[10, 20, 40, 60], &[0, 1, 3, 2, 3, 2, 3, 1, 3, 2, 3, 2, 3]);
        check(&[0, 0], &[]);
        check(&[], &[]);
    }
}
