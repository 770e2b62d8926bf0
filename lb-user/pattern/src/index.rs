//! All patterns of one method, built so that finding one costs the depth and not the number.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::library::Flags;
use crate::method::Method;
use crate::pattern::{self, Names, Range};
use crate::regex::{Captures, Regex};

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

/// Patterns of one method. Where several match, the longest network or beginning counts, otherwise the first one.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) method: Method,
    pub(crate) flags: Flags,
    patterns: Patterns,
}

/// Texts by their length, longest first.
type Levels = Vec<(usize, HashMap<Box<[u8]>, Id>)>;

#[derive(Debug)]
enum Patterns {
    Bool(Vec<(bool, Id)>),
    /// Ranges, in order; single numbers apart.
    Int {
        exact: HashMap<i64, Id>,
        ranges: Vec<(Range, Id)>,
    },
    /// By length of the network, longest first.
    Ip {
        v4: Vec<(u8, HashMap<u32, Id>)>,
        v6: Vec<(u8, HashMap<u128, Id>)>,
    },
    Exact(HashMap<Box<[u8]>, Id>),
    Len(Vec<(Range, Id)>),
    /// By length, longest first: beginnings and ends.
    ByLength(Levels),
    /// Whole parts between delimiters: by length, any order.
    Parts(Levels),
    Sub(Vec<(Box<[u8]>, Id)>),
    Reg(Vec<(Regex, Id)>),
}

impl Index {
    pub(crate) fn new(method: Method, flags: Flags) -> Self {
        let patterns = match method {
            Method::Found | Method::Bool => Patterns::Bool(Vec::new()),
            Method::Int => Patterns::Int { exact: HashMap::new(), ranges: Vec::new() },
            Method::Ip => Patterns::Ip { v4: Vec::new(), v6: Vec::new() },
            Method::Bin | Method::Str => Patterns::Exact(HashMap::new()),
            Method::Len => Patterns::Len(Vec::new()),
            Method::Beg | Method::End => Patterns::ByLength(Vec::new()),
            Method::Dir | Method::Dom => Patterns::Parts(Vec::new()),
            Method::Sub => Patterns::Sub(Vec::new()),
            Method::Reg => Patterns::Reg(Vec::new()),
        };
        Self { method, flags, patterns }
    }

    fn folded(&self, text: &[u8]) -> Box<[u8]> {
        if self.flags.ignore_case { text.to_ascii_lowercase().into() } else { text.into() }
    }

    /// Adds a pattern.
    ///
    /// # Errors
    /// When the method cannot read it.
    pub(crate) fn insert(&mut self, text: &[u8], id: Id, resolve: Names<'_>) -> Result<(), String> {
        let as_text = || std::str::from_utf8(text).map_err(|_| "the pattern is not text".to_owned());
        let folded = self.folded(text);
        match &mut self.patterns {
            Patterns::Bool(list) => {
                let value = match text {
                    b"1" | b"true" | b"yes" | b"on" => true,
                    b"0" | b"false" | b"no" | b"off" => false,
                    _ => return Err(format!("'{}' is not a boolean", String::from_utf8_lossy(text))),
                };
                list.push((value, id));
            }
            Patterns::Int { exact, ranges } => {
                let range = read_range(as_text()?)?;
                if range.min == range.max {
                    first(exact, range.min, id);
                } else {
                    ranges.push((range, id));
                }
            }
            Patterns::Ip { v4, v6 } => {
                let names = if self.flags.no_names { None } else { resolve };
                match pattern::network(as_text()?, names)? {
                    (IpAddr::V4(address), length) => first(level(v4, length), address.to_bits(), id),
                    (IpAddr::V6(address), length) => first(level(v6, length), address.to_bits(), id),
                }
            }
            Patterns::Exact(map) => {
                let key =
                    if self.method == Method::Bin { pattern::bytes(as_text()?)?.into() } else { folded };
                first(map, key, id);
            }
            Patterns::Len(list) => list.push((read_range(as_text()?)?, id)),
            Patterns::ByLength(levels) => first(level(levels, folded.len()), folded, id),
            Patterns::Parts(levels) => {
                let delimiter = delimiters(self.method);
                let trimmed = trim(&folded, delimiter);
                first(level(levels, trimmed.len()), trimmed.into(), id);
            }
            Patterns::Sub(list) => list.push((folded, id)),
            Patterns::Reg(list) => {
                let text = as_text()?;
                let regex = Regex::new(text, self.flags.ignore_case)
                    .map_err(|error| format!("regex '{text}' is invalid: {error}"))?;
                list.push((regex, id));
            }
        }
        Ok(())
    }

    /// The entry that matches.
    pub(crate) fn find(&self, key: Key<'_>) -> Option<Id> {
        match (&self.patterns, key) {
            (Patterns::Bool(list), Key::Bool(value)) => {
                list.iter().find(|(known, _)| *known == value).map(|(_, id)| *id)
            }
            (Patterns::Int { exact, ranges }, Key::Int(value)) => {
                let range = ranges.iter().find(|(range, _)| range.contains(value)).map(|(_, id)| *id);
                earlier(exact.get(&value).copied(), range)
            }
            (Patterns::Ip { v4, v6 }, Key::Ip(address)) => find_ip(v4, v6, address),
            (Patterns::Len(list), Key::Bytes(text)) => {
                let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
                list.iter().find(|(range, _)| range.contains(length)).map(|(_, id)| *id)
            }
            (patterns, Key::Bytes(text)) => {
                if self.flags.ignore_case && !matches!(patterns, Patterns::Reg(_)) {
                    self.find_text(&text.to_ascii_lowercase())
                } else {
                    self.find_text(text)
                }
            }
            _ => None,
        }
    }

    /// The expression that matches, with its groups.
    pub(crate) fn captures<'a>(&self, text: &'a [u8]) -> Option<(Id, Captures<'a>)> {
        match &self.patterns {
            Patterns::Reg(list) => list.iter().find_map(|(regex, id)| Some((*id, regex.captures(text)?))),
            _ => None,
        }
    }

    fn find_text(&self, text: &[u8]) -> Option<Id> {
        match &self.patterns {
            Patterns::Exact(map) => map.get(text).copied(),
            Patterns::ByLength(levels) if self.method == Method::Beg => {
                levels.iter().find_map(|(length, map)| map.get(text.get(..*length)?).copied())
            }
            // The first one, not the longest.
            Patterns::ByLength(levels) => levels
                .iter()
                .filter_map(|(length, map)| map.get(text.get(text.len().checked_sub(*length)?..)?).copied())
                .min(),
            Patterns::Parts(levels) => find_part(levels, text, delimiters(self.method)),
            Patterns::Sub(list) => {
                list.iter().find(|(part, _)| memchr::memmem::find(text, part).is_some()).map(|(_, id)| *id)
            }
            Patterns::Reg(list) => list.iter().find(|(regex, _)| regex.is_match(text)).map(|(_, id)| *id),
            _ => None,
        }
    }
}

/// Ranges may come with an operator in front.
fn read_range(text: &str) -> Result<Range, String> {
    match text.split_once(' ') {
        Some((operator, number)) => Range::of_operator(operator, number),
        None => Range::parse(text),
    }
}

fn first<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Id>, key: K, id: Id) {
    map.entry(key).or_insert(id);
}

/// The map for one length, in a list that begins with the longest.
fn level<L: Ord + Copy, K>(levels: &mut Vec<(L, HashMap<K, Id>)>, length: L) -> &mut HashMap<K, Id> {
    let at = match levels.binary_search_by(|(known, _)| length.cmp(known)) {
        Ok(at) => at,
        Err(at) => {
            levels.insert(at, (length, HashMap::new()));
            at
        }
    };
    &mut levels[at].1
}

fn earlier(a: Option<Id>, b: Option<Id>) -> Option<Id> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn find_ip(v4: &[(u8, HashMap<u32, Id>)], v6: &[(u8, HashMap<u128, Id>)], address: IpAddr) -> Option<Id> {
    let in_v4 = |bits: u32| {
        v4.iter().find_map(|(length, map)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
            map.get(&(bits & mask)).copied()
        })
    };
    let in_v6 = |bits: u128| {
        v6.iter().find_map(|(length, map)| {
            let mask = u128::MAX.checked_shl(128 - u32::from(*length)).unwrap_or(0);
            map.get(&(bits & mask)).copied()
        })
    };
    match address {
        // An IPv4 address is also a mapped one.
        IpAddr::V4(address) => in_v4(address.to_bits()).or_else(|| in_v6(address.to_ipv6_mapped().to_bits())),
        IpAddr::V6(address) => {
            let octets = address.octets();
            let embedded = address.to_ipv4_mapped().or_else(|| {
                (octets[..2] == [0x20, 0x02])
                    .then(|| std::net::Ipv4Addr::new(octets[2], octets[3], octets[4], octets[5]))
            });
            in_v6(address.to_bits()).or_else(|| in_v4(embedded?.to_bits()))
        }
    }
}

/// What separates the parts that `dir` and `dom` compare.
fn delimiters(method: Method) -> &'static [u8] {
    if method == Method::Dir { b"/?" } else { b"/?.:" }
}

fn trim<'a>(text: &'a [u8], delimiters: &[u8]) -> &'a [u8] {
    let begin = text.iter().position(|byte| !delimiters.contains(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !delimiters.contains(byte)).map_or(begin, |at| at + 1);
    &text[begin..end]
}

/// Parts begin and end at delimiters or at the ends of the text; a pattern may span several.
fn find_part(levels: &Levels, text: &[u8], delimiters: &[u8]) -> Option<Id> {
    let is_edge = |at: usize| at == text.len() || delimiters.contains(&text[at]);
    let mut found = None;
    for begin in 0..text.len() {
        let starts =
            (begin == 0 || delimiters.contains(&text[begin - 1])) && !delimiters.contains(&text[begin]);
        if !starts {
            continue;
        }
        for (length, map) in levels {
            let end = begin + length;
            if *length > 0 && end <= text.len() && is_edge(end) {
                found = earlier(found, map.get(&text[begin..end]).copied());
            }
        }
    }
    found
}
