//! The entries that share one place of an index.

use super::Id;

/// Numbers of entries, in ascending order. One is the usual case and takes no memory of its own.
#[derive(Debug, Default)]
pub(super) enum Ids {
    #[default]
    None,
    One(Id),
    Many(Vec<Id>),
}

impl Ids {
    pub(super) fn first(&self) -> Option<Id> {
        self.as_slice().first().copied()
    }

    pub(super) fn as_slice(&self) -> &[Id] {
        match self {
            Self::None => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    pub(super) fn push(&mut self, id: Id) {
        match self {
            Self::None => *self = Self::One(id),
            Self::One(known) => *self = Self::Many(vec![*known, id]),
            Self::Many(ids) => ids.push(id),
        }
    }

    /// Takes one out; whether none is left.
    pub(super) fn remove(&mut self, id: Id) -> bool {
        match self {
            Self::None => {}
            Self::One(known) if *known == id => *self = Self::None,
            Self::One(_) => {}
            Self::Many(ids) => ids.retain(|known| *known != id),
        }
        self.as_slice().is_empty()
    }
}
