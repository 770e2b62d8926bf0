//! Texts that may be anywhere in what is looked at: the first one in the list counts.

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memmem::Finder;

use super::{Id, is_behind};

/// From this many on one automaton for all is faster than one search for each.
const AUTOMATON_FROM: usize = 4;

/// All in one automaton, but for those that came later.
#[derive(Debug)]
pub(super) struct Needles {
    folded: bool,
    list: Vec<Option<Needle>>,
    automaton: Option<AhoCorasick>,
    /// How many of the list are in the automaton.
    settled: usize,
    /// How long the list was when the automaton was built, or could not be.
    built: usize,
}

#[derive(Debug)]
struct Needle {
    finder: Finder<'static>,
    id: Id,
}

impl Needles {
    pub(super) fn new(folded: bool) -> Self {
        Self { folded, list: Vec::new(), automaton: None, settled: 0, built: 0 }
    }

    pub(super) fn put(&mut self, text: &[u8], id: Id) {
        self.list.push(Some(Needle { finder: Finder::new(text).into_owned(), id }));
    }

    pub(super) fn remove(&mut self, id: Id) {
        for place in &mut self.list {
            place.take_if(|needle| needle.id == id);
        }
    }

    pub(super) fn find(&self, text: &[u8]) -> Option<Id> {
        let settled = self.automaton.as_ref().and_then(|automaton| {
            let found = automaton.find_overlapping_iter(text).map(|found| found.pattern().as_usize());
            found.filter_map(|place| self.list[place].as_ref().map(|needle| needle.id)).min()
        });
        settled.or_else(|| {
            let mut later = self.list[self.settled..].iter().flatten();
            later.find(|needle| self.is_in(needle, text)).map(|needle| needle.id)
        })
    }

    fn is_in(&self, needle: &Needle, text: &[u8]) -> bool {
        if !self.folded {
            return needle.finder.find(text).is_some();
        }
        let part = needle.finder.needle();
        let Some(first) = part.first() else { return true };
        let Some(last_start) = text.len().checked_sub(part.len()) else { return false };
        let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
        memchr::memchr2_iter(lower, upper, &text[..=last_start])
            .any(|at| text[at..at + part.len()].eq_ignore_ascii_case(part))
    }

    pub(super) fn is_behind(&self) -> bool {
        is_behind(self.list.len(), self.built)
    }

    /// Builds the automaton of all.
    pub(super) fn settle(&mut self) {
        self.list.retain(Option::is_some);
        (self.automaton, self.settled, self.built) = (None, 0, self.list.len());
        if self.list.len() < AUTOMATON_FROM {
            return;
        }
        self.automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(self.folded)
            .build(self.list.iter().flatten().map(|needle| needle.finder.needle()))
            .ok();
        if self.automaton.is_some() {
            self.settled = self.list.len();
        }
    }
}
