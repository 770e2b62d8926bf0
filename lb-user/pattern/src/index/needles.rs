//! Texts that may be anywhere in what is looked at: the first one in the list counts.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memmem::Finder;

use super::trie::Trie;
use super::{Id, is_behind};

/// From this many on one automaton for all is faster than one search for each.
const AUTOMATON_FROM: usize = 4;

/// From this many on they stand in a tree, in which every place of the text is looked up: it is built in a fifth of the
/// time that an automaton of half a million takes, during which nothing starts.
const TREE_FROM: usize = 20_000;

/// The longest needle that may stand in a tree: how far a lookup of one place goes, whoever wrote the text.
const TREE_BYTES_MAX: usize = 256;

/// All in one automaton or tree, but for those that came later.
#[derive(Debug)]
pub(super) struct Needles {
    folded: bool,
    list: Vec<Option<Needle>>,
    all: All,
    /// How many of the list are in there.
    settled: usize,
    /// How long the list was when that was built, or could not be.
    built: usize,
}

/// Many needles at once.
#[derive(Debug)]
enum All {
    None,
    /// Its patterns are places in the list.
    Automaton(AhoCorasick),
    Tree(Trie),
}

#[derive(Debug)]
struct Needle {
    text: Box<[u8]>,
    id: Id,
    /// Made when the needle is searched for by itself.
    finder: OnceLock<Box<Finder<'static>>>,
}

impl Needles {
    pub(super) fn new(folded: bool) -> Self {
        Self { folded, list: Vec::new(), all: All::None, settled: 0, built: 0 }
    }

    pub(super) fn put(&mut self, text: &[u8], id: Id) {
        self.list.push(Some(Needle { text: text.into(), id, finder: OnceLock::new() }));
    }

    pub(super) fn remove(&mut self, id: Id) {
        for place in &mut self.list {
            if let Some(needle) = place.take_if(|needle| needle.id == id)
                && let All::Tree(tree) = &mut self.all
            {
                tree.remove(&needle.text, id);
            }
        }
    }

    pub(super) fn find(&self, text: &[u8]) -> Option<Id> {
        let settled = match &self.all {
            All::None => None,
            All::Automaton(automaton) => {
                let found = automaton.find_overlapping_iter(text).map(|found| found.pattern().as_usize());
                found.filter_map(|place| self.list[place].as_ref().map(|needle| needle.id)).min()
            }
            All::Tree(tree) => {
                let mut first: Option<Id> = None;
                for start in 0..=text.len() {
                    tree.each(&text[start..], |_, id| {
                        first = Some(first.map_or(id, |known| known.min(id)));
                    });
                }
                first
            }
        };
        settled.or_else(|| {
            let mut later = self.list[self.settled..].iter().flatten();
            later.find(|needle| self.is_in(needle, text)).map(|needle| needle.id)
        })
    }

    fn is_in(&self, needle: &Needle, text: &[u8]) -> bool {
        if !self.folded {
            let finder = needle.finder.get_or_init(|| Box::new(Finder::new(&needle.text).into_owned()));
            return finder.find(text).is_some();
        }
        let part = &*needle.text;
        let Some(first) = part.first() else { return true };
        let Some(last_start) = text.len().checked_sub(part.len()) else { return false };
        let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
        memchr::memchr2_iter(lower, upper, &text[..=last_start])
            .any(|at| text[at..at + part.len()].eq_ignore_ascii_case(part))
    }

    pub(super) fn is_behind(&self) -> bool {
        is_behind(self.list.len(), self.built)
    }

    /// Builds what finds all at once.
    pub(super) fn settle(&mut self) {
        self.list.retain(Option::is_some);
        (self.all, self.settled, self.built) = (All::None, 0, self.list.len());
        if self.list.len() < AUTOMATON_FROM {
            return;
        }
        self.all = match self.list.len() {
            TREE_FROM.. if self.texts().all(|text| text.len() <= TREE_BYTES_MAX) => All::Tree(self.tree()),
            _ => self.automaton().map_or(All::None, All::Automaton),
        };
        if !matches!(self.all, All::None) {
            self.settled = self.list.len();
        }
    }

    fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.list.iter().flatten().map(|needle| &*needle.text)
    }

    fn tree(&self) -> Trie {
        let mut tree = Trie::new(false, self.folded);
        for needle in self.list.iter().flatten() {
            tree.put(&needle.text, needle.id);
        }
        tree
    }

    fn automaton(&self) -> Option<AhoCorasick> {
        AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(self.folded)
            .build(self.texts())
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `find` says must not depend on how many there are.
    #[test]
    fn many_are_found_as_few_are() {
        for folded in [false, true] {
            let mut few = Needles::new(folded);
            let mut many = Needles::new(folded);
            let rows = ["needle", "nee", "Other", "dle", "unseen", "le x"];
            for (text, number) in rows.into_iter().zip(0_u32..) {
                few.put(text.as_bytes(), number);
                many.put(text.as_bytes(), number);
            }
            for number in 0..TREE_FROM {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                many.put(format!("~{number}~").as_bytes(), 100 + number);
            }
            few.settle();
            many.settle();
            assert!(matches!((&few.all, &many.all), (All::Automaton(_), All::Tree(_))));
            let check = |few: &Needles, many: &Needles| {
                for text in ["a needle x", "NEEDLE", "other", "nee", "ne", "", "e x", "xxxxle xx"] {
                    assert_eq!(few.find(text.as_bytes()), many.find(text.as_bytes()), "{text} {folded}");
                }
            };
            check(&few, &many);
            assert_eq!(many.find(b"..~777~.."), Some(877));
            for gone in [0, 1] {
                few.remove(gone);
                many.remove(gone);
                check(&few, &many);
            }
            for needles in [&mut few, &mut many] {
                needles.put(b"ne", 99);
            }
            check(&few, &many);
        }
    }
}
