//! `static-rr`: turns over a table of all members by configured weight, made anew when a server comes or goes.

use crate::farm::{Entry, Farm};
use crate::hash::Table;

/// The table and where the next turn is in it.
#[derive(Debug)]
pub(crate) struct StaticRoundRobin {
    table: Table,
    next: usize,
}

impl StaticRoundRobin {
    pub(crate) fn new(entries: &[Entry]) -> Self {
        Self { table: Table::new(entries), next: 0 }
    }

    /// The members changed: the next choice makes the table anew.
    pub(crate) fn forget(&mut self) {
        self.table.forget();
    }

    /// The next member that `accepts` takes.
    pub(crate) fn pick(&mut self, farm: &Farm, accepts: impl FnMut(usize) -> bool) -> Option<usize> {
        let (place, index) = self.table.find(farm, self.next, accepts)?;
        self.next = place + 1;
        Some(index)
    }
}
