//! All patterns of one method, built so that finding one costs the depth and not the number.
//!
//! Patterns that come while running are put where they belong at once (tables, trees) or behind what is built (automata);
//! when many wait there, [`Index::rebuilt`] makes a fresh index beside the one in use.

mod exact;
mod expressions;
mod ids;
mod needles;
mod networks;
mod ranges;
mod trie;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::library::Flags;
use crate::method::Method;
use crate::pattern::{self, Names, Network, Range};
use crate::reference::Entry;
use crate::regex::Regex;

pub(crate) use self::exact::{Exact, Form};
pub(crate) use self::expressions::Expressions;
use self::needles::Needles;
use self::networks::Networks;
use self::ranges::Ranges;
use self::trie::Trie;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    Bool(bool),
    Int(i64),
    Ip(IpAddr),
    Bytes(&'a [u8]),
}

/// Number of an entry in its list; lower ones were read earlier.
pub(crate) type Id = u32;

/// The entries of a list by their numbers; those taken out leave a hole.
pub(crate) type Entries = [Option<Arc<Entry>>];

/// Patterns of one method. Where several match, the longest network or beginning counts, otherwise the first one.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) method: Method,
    pub(crate) flags: Flags,
    patterns: Patterns,
    /// Host names that were looked up when the list was read: never again, for that may block.
    names: Arc<HashMap<Box<str>, IpAddr>>,
}

#[derive(Debug)]
enum Patterns {
    /// Every pattern is ignored.
    Any(Vec<Id>),
    /// Numbers, or lengths.
    Ranges(Ranges),
    Networks(Networks),
    Exact(Exact),
    /// Beginnings, ends, and parts between delimiters.
    Trie(Trie),
    Needles(Needles),
    /// Shared, so that slow expressions are tried without the list's lock.
    Expressions(Arc<Expressions>),
}

/// A pattern as its method reads it.
#[derive(Debug)]
pub(crate) enum Parsed {
    Ignored,
    Range(Range),
    Network(Network),
    Text(Box<[u8]>),
    Regex(Arc<Regex>),
}

impl Index {
    pub(crate) fn new(method: Method, flags: Flags) -> Self {
        let folded = flags.ignore_case;
        let patterns = match method {
            Method::Found | Method::Bool => Patterns::Any(Vec::new()),
            Method::Int | Method::Len => Patterns::Ranges(Ranges::default()),
            Method::Ip => Patterns::Networks(Networks::default()),
            Method::Bin => Patterns::Exact(Exact::new(Form::Hex)),
            Method::Str => Patterns::Exact(Exact::new(if folded { Form::Folded } else { Form::AsIs })),
            Method::Beg | Method::Dir | Method::Dom => Patterns::Trie(Trie::new(false, folded)),
            Method::End => Patterns::Trie(Trie::new(true, folded)),
            Method::Sub => Patterns::Needles(Needles::new(folded)),
            Method::Reg => Patterns::Expressions(Arc::new(Expressions::new(folded))),
        };
        Self { method, flags, patterns, names: Arc::default() }
    }

    /// An index of all entries. Host names are looked up, for which `resolve` may block.
    ///
    /// # Errors
    /// The line of the first entry that is no pattern of the method, and what is wrong.
    pub(crate) fn build(
        method: Method,
        flags: Flags,
        entries: &Entries,
        resolve: Names<'_>,
    ) -> Result<Self, (u32, String)> {
        let mut index = Self::new(method, flags);
        let mut names = HashMap::new();
        for (id, entry) in numbered(entries) {
            let parsed = index.parse(&entry.pattern).or_else(|message| {
                let found = resolve.filter(|_| method == Method::Ip && !flags.no_names).and_then(|resolve| {
                    let name = host(std::str::from_utf8(&entry.pattern).ok()?);
                    Some((name, resolve(name)?))
                });
                let Some((name, address)) = found else { return Err(message) };
                names.insert(name.into(), address);
                index.names = Arc::new(std::mem::take(&mut names));
                let parsed = index.parse(&entry.pattern);
                names = Arc::unwrap_or_clone(std::mem::take(&mut index.names));
                parsed
            });
            index.put(parsed.map_err(|message| (entry.line, message))?, id);
        }
        index.names = Arc::new(names);
        index.settle();
        Ok(index)
    }

    /// An index of other entries, with what this one has learnt: `before` are the entries that it was made from.
    /// Entries must have been read with [`parse`](Self::parse) once; others are left out.
    pub(crate) fn rebuilt(&self, before: &Entries, entries: &Entries) -> Self {
        let mut index = Self { names: Arc::clone(&self.names), ..Self::new(self.method, self.flags) };
        let mut compiled: HashMap<u64, Arc<Regex>> = HashMap::new();
        if let Patterns::Expressions(expressions) = &self.patterns {
            for (regex, id) in expressions.iter() {
                if let Some(Some(entry)) = before.get(*id as usize) {
                    compiled.insert(entry.id, Arc::clone(regex));
                }
            }
        }
        for (id, entry) in numbered(entries) {
            match compiled.remove(&entry.id) {
                Some(regex) => index.put(Parsed::Regex(regex), id),
                None => {
                    if let Ok(parsed) = index.parse(&entry.pattern) {
                        index.put(parsed, id);
                    }
                }
            }
        }
        index.settle();
        index
    }

    /// Reads a pattern. No name is looked up.
    ///
    /// # Errors
    /// When it is none of this method.
    pub(crate) fn parse(&self, pattern: &[u8]) -> Result<Parsed, String> {
        let text = || {
            std::str::from_utf8(pattern)
                .map_err(|_| format!("'{}' is not text", String::from_utf8_lossy(pattern)))
        };
        Ok(match self.method {
            Method::Found | Method::Bool => Parsed::Ignored,
            Method::Int | Method::Len => Parsed::Range(read_range(text()?)?),
            Method::Ip => {
                let known = |name: &str| self.names.get(name).copied();
                Parsed::Network(pattern::network(text()?, Some(&known))?)
            }
            Method::Bin => Parsed::Text(pattern::bytes(text()?)?.into()),
            Method::Str | Method::Sub | Method::Beg | Method::End => Parsed::Text(pattern.into()),
            Method::Dir | Method::Dom => Parsed::Text(trim(pattern, delimiters(self.method)).into()),
            Method::Reg => {
                let text = text()?;
                let regex = Regex::new(text, self.flags.ignore_case)
                    .map_err(|error| format!("regex '{text}' is invalid: {error}"))?;
                Parsed::Regex(Arc::new(regex))
            }
        })
    }

    /// Takes a pattern that [`parse`](Self::parse) gave.
    pub(crate) fn put(&mut self, parsed: Parsed, id: Id) {
        match (&mut self.patterns, parsed) {
            (Patterns::Any(ids), Parsed::Ignored) => ids.push(id),
            (Patterns::Ranges(ranges), Parsed::Range(range)) => ranges.put(range, id),
            (Patterns::Networks(networks), Parsed::Network(network)) => networks.put(network, id),
            (Patterns::Exact(exact), Parsed::Text(text)) => exact.put(&text, id),
            (Patterns::Trie(trie), Parsed::Text(text)) => trie.put(&text, id),
            (Patterns::Needles(needles), Parsed::Text(text)) => needles.put(&text, id),
            (Patterns::Expressions(list), Parsed::Regex(regex)) => Arc::make_mut(list).put(regex, id),
            // Of another method: no pattern of this one.
            _ => {}
        }
    }

    /// Forgets an entry.
    pub(crate) fn remove(&mut self, pattern: &[u8], id: Id) {
        match &mut self.patterns {
            // Compiling the expression anew would be for nothing.
            Patterns::Expressions(list) => return Arc::make_mut(list).remove(id),
            Patterns::Needles(needles) => return needles.remove(id),
            Patterns::Any(ids) => return ids.retain(|known| *known != id),
            _ => {}
        }
        let Ok(parsed) = self.parse(pattern) else { return };
        match (&mut self.patterns, parsed) {
            (Patterns::Ranges(ranges), Parsed::Range(range)) => ranges.remove(range, id),
            (Patterns::Networks(networks), Parsed::Network(network)) => networks.remove(network, id),
            (Patterns::Exact(exact), Parsed::Text(text)) => exact.remove(&text, id),
            (Patterns::Trie(trie), Parsed::Text(text)) => trie.remove(&text, id),
            _ => {}
        }
    }

    /// Whether so much came later that building it anew pays.
    pub(crate) fn is_behind(&self) -> bool {
        match &self.patterns {
            Patterns::Ranges(ranges) => ranges.is_behind(),
            Patterns::Needles(needles) => needles.is_behind(),
            Patterns::Expressions(list) => list.is_behind(),
            _ => false,
        }
    }

    fn settle(&mut self) {
        match &mut self.patterns {
            Patterns::Ranges(ranges) => ranges.settle(),
            Patterns::Needles(needles) => needles.settle(),
            Patterns::Expressions(list) => Arc::make_mut(list).settle(),
            _ => {}
        }
    }

    /// The expressions of [`Method::Reg`], to be tried without a lock.
    pub(crate) fn expressions(&self) -> Option<&Arc<Expressions>> {
        match &self.patterns {
            Patterns::Expressions(list) => Some(list),
            _ => None,
        }
    }

    /// The entry that matches.
    pub(crate) fn find(&self, key: Key<'_>, entries: &Entries) -> Option<Id> {
        match (&self.patterns, key) {
            (Patterns::Any(ids), Key::Bool(false)) if self.method == Method::Bool => {
                let _ = ids;
                None
            }
            (Patterns::Any(ids), _) => ids.first().copied(),
            (Patterns::Ranges(ranges), Key::Bytes(text)) if self.method == Method::Len => {
                ranges.find(i64::try_from(text.len()).unwrap_or(i64::MAX))
            }
            (Patterns::Ranges(ranges), Key::Int(value)) => ranges.find(value),
            (Patterns::Ranges(ranges), Key::Bool(value)) => ranges.find(i64::from(value)),
            (Patterns::Networks(networks), Key::Ip(address)) => networks.find(address),
            (Patterns::Exact(exact), Key::Bytes(text)) => exact.find(text, entries),
            (Patterns::Trie(trie), Key::Bytes(text)) => self.find_in(trie, text),
            (Patterns::Needles(needles), Key::Bytes(text)) => needles.find(text),
            (Patterns::Expressions(list), Key::Bytes(text)) => list.find(text),
            _ => None,
        }
    }

    fn find_in(&self, trie: &Trie, text: &[u8]) -> Option<Id> {
        let mut found: Option<Id> = None;
        match self.method {
            // The longest one, which is shown last.
            Method::Beg => trie.each(text, |_, id| found = Some(id)),
            Method::End => trie.each(text, |_, id| found = Some(found.map_or(id, |known| known.min(id)))),
            _ => {
                let delimiters = delimiters(self.method);
                let is_edge = |at: usize| at == text.len() || delimiters.contains(&text[at]);
                let mut begin = 0;
                loop {
                    let rest = &text[begin..];
                    let length = next_delimiter(self.method, rest);
                    // A part that is empty is only found at the very end.
                    if length > 0 || rest.is_empty() {
                        trie.each(rest, |length, id| {
                            if is_edge(begin + length) && (length > 0 || rest.is_empty()) {
                                found = Some(found.map_or(id, |known| known.min(id)));
                            }
                        });
                    }
                    begin += length + 1;
                    if begin > text.len() {
                        break;
                    }
                }
            }
        }
        found
    }
}

/// Whether the part that is not built in has become too long to be looked through.
fn is_behind(all: usize, settled: usize) -> bool {
    const WAITING_MIN: usize = 64;
    all - settled > WAITING_MIN.max(settled / 4)
}

fn numbered(entries: &Entries) -> impl Iterator<Item = (Id, &Arc<Entry>)> {
    (0..).zip(entries).filter_map(|(id, entry)| Some((id, entry.as_ref()?)))
}

/// The host of `HOST[/MASK]`.
fn host(pattern: &str) -> &str {
    pattern.split_once('/').map_or(pattern, |(host, _)| host)
}

/// Ranges may come with an operator in front.
fn read_range(text: &str) -> Result<Range, String> {
    match text.split_once(' ') {
        Some((operator, number)) => Range::of_operator(operator, number),
        None => Range::parse(text),
    }
}

/// What separates the parts that `dir` and `dom` compare.
fn delimiters(method: Method) -> &'static [u8] {
    if method == Method::Dir { b"/?" } else { b"/?.:" }
}

/// Where the part that `text` begins with ends.
fn next_delimiter(method: Method, text: &[u8]) -> usize {
    let at = if method == Method::Dir {
        memchr::memchr2(b'/', b'?', text)
    } else {
        text.iter().position(|byte| matches!(byte, b'/' | b'?' | b'.' | b':'))
    };
    at.unwrap_or(text.len())
}

fn trim<'a>(text: &'a [u8], delimiters: &[u8]) -> &'a [u8] {
    let begin = text.iter().position(|byte| !delimiters.contains(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !delimiters.contains(byte)).map_or(begin, |at| at + 1);
    &text[begin..end]
}
