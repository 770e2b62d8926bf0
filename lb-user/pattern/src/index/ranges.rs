//! Numbers and ranges of numbers: the first one in the list counts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::ids::Ids;
use super::{Id, is_behind};
use crate::pattern::Range;

/// Single numbers in a table, ranges as segments of the line of numbers.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    single: HashMap<i64, Ids>,
    /// All ranges, in order.
    list: Vec<(Range, Id)>,
    /// From where on (included) which of the first `settled` ranges is the first one.
    segments: Vec<(i64, Option<Id>)>,
    settled: usize,
}

impl Ranges {
    pub(super) fn put(&mut self, range: Range, id: Id) {
        if range.min == range.max {
            self.single.entry(range.min).or_default().push(id);
        } else {
            self.list.push((range, id));
        }
    }

    pub(super) fn remove(&mut self, range: Range, id: Id) {
        if range.min == range.max {
            if self.single.get_mut(&range.min).is_some_and(|ids| ids.remove(id)) {
                self.single.remove(&range.min);
            }
        } else {
            self.list.retain(|(_, known)| *known != id);
            // Until it is settled anew, all are looked through.
            self.settled = 0;
            self.segments.clear();
        }
    }

    pub(super) fn find(&self, value: i64) -> Option<Id> {
        let single = self.single.get(&value).and_then(Ids::first);
        let behind = self.segments.partition_point(|(start, _)| *start <= value);
        let settled = behind.checked_sub(1).and_then(|at| self.segments[at].1);
        let range = settled.or_else(|| {
            self.list[self.settled..].iter().find(|(range, _)| range.contains(value)).map(|(_, id)| *id)
        });
        match (single, range) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    pub(super) fn is_behind(&self) -> bool {
        is_behind(self.list.len(), self.settled)
    }

    /// Makes the segments of all ranges.
    pub(super) fn settle(&mut self) {
        let mut by_start: Vec<(Range, Id)> = self.list.clone();
        by_start.sort_unstable_by_key(|(range, id)| (range.min, *id));
        let mut edges: Vec<i64> = by_start
            .iter()
            .flat_map(|(range, _)| [Some(range.min), range.max.checked_add(1)])
            .flatten()
            .collect();
        edges.sort_unstable();
        edges.dedup();
        let mut open: BinaryHeap<Reverse<(Id, i64)>> = BinaryHeap::new();
        let mut coming = by_start.into_iter().peekable();
        self.segments.clear();
        for edge in edges {
            while let Some((range, id)) = coming.next_if(|(range, _)| range.min <= edge) {
                open.push(Reverse((id, range.max)));
            }
            while open.peek().is_some_and(|Reverse((_, max))| *max < edge) {
                open.pop();
            }
            self.segments.push((edge, open.peek().map(|Reverse((id, _))| *id)));
        }
        self.settled = self.list.len();
    }
}
