//! Regular expressions: the first one in the list that matches counts.

use std::sync::Arc;

use regex::bytes::RegexSet;

use super::{Id, is_behind};
use crate::regex::{Captures, Regex};

/// From this many on one automaton for all is faster than one search for each.
const SET_FROM: usize = 8;

/// The linear ones are first asked together whether any matches.
#[derive(Debug, Clone)]
pub(crate) struct Expressions {
    ignore_case: bool,
    list: Vec<Option<(Arc<Regex>, Id)>>,
    set: Option<RegexSet>,
    /// The places in the list of the set's members.
    members: Vec<usize>,
    settled: usize,
}

impl Expressions {
    pub(super) fn new(ignore_case: bool) -> Self {
        Self { ignore_case, list: Vec::new(), set: None, members: Vec::new(), settled: 0 }
    }

    pub(super) fn put(&mut self, regex: Arc<Regex>, id: Id) {
        self.list.push(Some((regex, id)));
    }

    pub(super) fn remove(&mut self, id: Id) {
        for place in &mut self.list {
            place.take_if(|(_, known)| *known == id);
        }
    }

    /// The compiled expressions with their entries.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Arc<Regex>, Id)> {
        self.list.iter().flatten()
    }

    pub(crate) fn find(&self, text: &[u8]) -> Option<Id> {
        let in_set = self.set.as_ref().filter(|set| set.is_match(text)).and_then(|set| {
            let found = set.matches(text);
            found.iter().find_map(|member| self.list[self.members[member]].as_ref()).map(|(_, id)| *id)
        });
        let mut others = self
            .list
            .iter()
            .enumerate()
            .filter(|(place, _)| *place >= self.settled || !self.is_member(*place));
        let other = others.find_map(|(_, expression)| {
            let (regex, id) = expression.as_ref()?;
            // A later one does not count.
            if in_set.is_some_and(|first| first < *id) {
                return Some(None);
            }
            regex.is_match(text).then_some(Some(*id))
        });
        other.flatten().or(in_set)
    }

    /// What [`find`](Self::find) finds, and its groups.
    pub(crate) fn captures<'a>(&self, text: &'a [u8]) -> Option<(Id, Captures<'a>)> {
        let id = self.find(text)?;
        let (regex, _) = self.iter().find(|(_, known)| *known == id)?;
        Some((id, regex.captures(text)?))
    }

    fn is_member(&self, place: usize) -> bool {
        self.members.binary_search(&place).is_ok()
    }

    pub(super) fn is_behind(&self) -> bool {
        is_behind(self.list.len(), self.settled)
    }

    /// Builds the set of all.
    pub(super) fn settle(&mut self) {
        self.list.retain(Option::is_some);
        self.members.clear();
        let linear = self.list.iter().enumerate().filter_map(|(place, expression)| {
            let (regex, _) = expression.as_ref()?;
            regex.is_linear().then_some((place, regex))
        });
        let (members, texts): (Vec<_>, Vec<_>) = linear.map(|(place, regex)| (place, regex.text())).unzip();
        let set = if texts.len() >= SET_FROM { Regex::set(&texts, self.ignore_case) } else { None };
        self.members = if set.is_some() { members } else { Vec::new() };
        self.set = set;
        self.settled = self.list.len();
    }
}
