//! `first`: the lowest numeric identifier with room, so that the highest can be powered off.

use crate::farm::{Entry, Farm};

/// The servers in the order of their identifiers.
#[derive(Debug)]
pub(crate) struct First {
    order: Vec<usize>,
}

impl First {
    pub(crate) fn new(entries: &[Entry]) -> Self {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|index| entries[*index].numeric_id);
        Self { order }
    }

    pub(crate) fn pick(&self, farm: &Farm, mut accepts: impl FnMut(usize) -> bool) -> Option<usize> {
        self.order.iter().copied().find(|index| farm.share(*index) > 0 && accepts(*index))
    }
}
