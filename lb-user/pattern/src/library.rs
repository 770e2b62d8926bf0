//! Every list of patterns that a configuration has, and what uses them.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use crate::index::Key;
use crate::method::Method;
use crate::reference::{Entry, Reference};
use crate::regex::Captures;

/// Reads a file of patterns.
pub type Loader = Box<dyn Fn(&str) -> io::Result<Vec<u8>> + Send + Sync>;
/// Looks a host name up.
pub type Resolver = Box<dyn Fn(&str) -> Option<IpAddr> + Send + Sync>;

/// How patterns are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// `-i`
    pub ignore_case: bool,
    /// `-n`: host names are no addresses.
    pub no_names: bool,
}

/// Lists of patterns by name: a file that several rules name is read once.
pub struct Library {
    loader: Loader,
    resolver: Resolver,
    files: HashMap<Box<str>, Arc<Reference>>,
    all: Vec<Arc<Reference>>,
    next_id: u32,
    /// The numbers given by `-u`.
    chosen: HashSet<u32>,
}

impl Default for Library {
    /// Without files and names.
    fn default() -> Self {
        Self::new(Box::new(|_| Err(io::ErrorKind::Unsupported.into())), Box::new(|_| None))
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.all).finish()
    }
}

impl Library {
    pub fn new(loader: Loader, resolver: Resolver) -> Self {
        Self { loader, resolver, files: HashMap::new(), all: Vec::new(), next_id: 0, chosen: HashSet::new() }
    }

    /// Every list, in the order of first use.
    pub fn all(&self) -> Vec<Arc<Reference>> {
        self.all.clone()
    }

    /// Reads a file with the library's loader, for words that need the contents of another kind of file.
    ///
    /// # Errors
    /// When the loader cannot.
    pub fn load(&self, name: &str) -> io::Result<Vec<u8>> {
        (self.loader)(name)
    }

    /// The list in a file, read at the first call. `virt@NAME` is a list without a file, `opt@FILE` may be missing and
    /// `file@FILE` is the same list as `FILE` (manual 2.7).
    ///
    /// # Errors
    /// A file that cannot be read, or one that is known as a map and wanted as a list, or the reverse.
    pub fn open(&mut self, name: &str, is_map: bool) -> Result<Arc<Reference>, String> {
        let (name, kind) = match name.split_once('@') {
            Some(("virt", _)) => (name, Kind::Virtual),
            Some(("opt", path)) => (path, Kind::Optional),
            Some(("file", path)) => (path, Kind::Regular),
            _ => (name, Kind::Regular),
        };
        if let Some(known) = self.files.get(name) {
            if known.is_map != is_map {
                let column = |is_map: bool| if is_map { "two column" } else { "one column" };
                return Err(format!(
                    "The file \"{name}\" is already used as {} file and cannot be used by as {} file.",
                    column(known.is_map),
                    column(is_map),
                ));
            }
            return Ok(Arc::clone(known));
        }
        let text = match kind {
            Kind::Virtual => None,
            _ => match (self.loader)(name) {
                Ok(text) => Some(text),
                Err(error) if kind == Kind::Optional && error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(format!("failed to open pattern file <{name}>: {error}")),
            },
        };
        let reference = Arc::new(Reference::new(self.free_id(), name, is_map));
        reference
            .fill(lines(&text.unwrap_or_default(), is_map))
            .map_err(|(line, message)| at_line(&message, line, name))?;
        self.all.push(Arc::clone(&reference));
        self.files.insert(name.into(), Arc::clone(&reference));
        Ok(reference)
    }

    /// A list that is written in the configuration; `id` is what `-u` gives it.
    fn inline(&mut self, id: Option<u32>) -> Result<Arc<Reference>, String> {
        let free = self.free_id();
        if let Some(id) = id {
            if !self.chosen.insert(id) {
                return Err(format!("pattern id '{id}' is already used"));
            }
            // A number that nobody chose goes to another list.
            if let Some(holder) = self.all.iter().find(|known| known.id() == id) {
                holder.renumber(free);
            }
        }
        let reference = Arc::new(Reference::new(id.unwrap_or(free), "", false));
        self.all.push(Arc::clone(&reference));
        Ok(reference)
    }

    /// A file's list with the slot of its index for a method.
    fn indexed(
        &mut self,
        name: &str,
        is_map: bool,
        method: Method,
        flags: Flags,
    ) -> Result<(Arc<Reference>, usize), String> {
        let reference = self.open(name, is_map)?;
        let slot = reference
            .index(method, flags, Some(&*self.resolver))
            .map_err(|(line, message)| at_line(&message, line, &reference.name))?;
        Ok((reference, slot))
    }

    fn free_id(&mut self) -> u32 {
        while self.chosen.contains(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Regular,
    Optional,
    Virtual,
}

/// `PATTERN [VALUE]` per line, with its number; `#` at the very beginning of a line makes it a comment.
fn lines(text: &[u8], is_map: bool) -> impl Iterator<Item = (u32, &[u8], Option<&[u8]>)> {
    (1..).zip(text.split(|byte| *byte == b'\n')).filter_map(move |(number, line)| {
        if line.first() == Some(&b'#') {
            return None;
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            return None;
        }
        if !is_map {
            return Some((number, line, None));
        }
        let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
        Some((number, &line[..end], Some(line[end..].trim_ascii_start())))
    })
}

fn at_line(message: &str, line: u32, name: &str) -> String {
    format!("{message} at line {line} of file '{name}'")
}

/// A method with the lists that it looks through.
#[derive(Debug, Clone)]
pub struct Matcher {
    lists: Box<[(Arc<Reference>, usize)]>,
}

impl Matcher {
    /// From patterns written in the configuration and files. `-M` (`as_map`): the files are maps of which only the
    /// patterns count.
    ///
    /// # Errors
    /// The first pattern that the method cannot read, or a file that cannot be read.
    pub fn build(
        library: &mut Library,
        method: Method,
        flags: Flags,
        patterns: &[&str],
        files: &[&str],
        as_map: bool,
        id: Option<u32>,
    ) -> Result<Self, String> {
        let mut lists = Vec::new();
        for file in files {
            lists.push(library.indexed(file, as_map, method, flags)?);
        }
        if !patterns.is_empty() {
            let reference = library.inline(id)?;
            let patterns = with_operators(method, patterns)?;
            let lines = patterns.iter().map(|pattern| (0, pattern.as_bytes(), None));
            let added =
                reference.fill(lines).and_then(|()| reference.index(method, flags, Some(&*library.resolver)));
            let slot = added.map_err(|(_, message)| message)?;
            lists.push((reference, slot));
        }
        Ok(Self { lists: lists.into() })
    }

    /// From one file, for `map_*`.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn of_map(library: &mut Library, method: Method, file: &str) -> Result<Self, String> {
        Ok(Self { lists: [library.indexed(file, true, method, Flags::default())?].into() })
    }

    /// Whether any pattern matches.
    pub fn matches(&self, key: Key<'_>) -> bool {
        self.lists.iter().any(|(list, slot)| list.matches(*slot, key))
    }

    /// The entry that matches.
    pub fn find(&self, key: Key<'_>) -> Option<Arc<Entry>> {
        self.lists.iter().find_map(|(list, slot)| list.find(*slot, key))
    }

    /// Shows the first list's entry whose expression matches, with what its groups matched; for `map_regm`.
    pub fn captures<T>(&self, text: &[u8], show: impl FnOnce(&Entry, &Captures<'_>) -> T) -> Option<T> {
        let (list, slot) = self.lists.first()?;
        list.captures(*slot, text, show)
    }

    /// The lists that are looked through.
    pub fn references(&self) -> impl Iterator<Item = &Arc<Reference>> {
        self.lists.iter().map(|(list, _)| list)
    }
}

/// `gt 5 lt 10` is two patterns with their operators in front; an operator counts until the next one. An empty word ends
/// the list, as in HAProxy.
fn with_operators(method: Method, patterns: &[&str]) -> Result<Vec<String>, String> {
    let numeric = matches!(method, Method::Int | Method::Len);
    let mut operator = None;
    let mut out = Vec::new();
    for pattern in patterns.iter().take_while(|pattern| !pattern.is_empty()) {
        if numeric && matches!(*pattern, "eq" | "ge" | "gt" | "le" | "lt") {
            operator = Some(*pattern);
            continue;
        }
        match operator {
            Some(operator) if operator != "eq" => out.push(format!("{operator} {pattern}")),
            _ => out.push((*pattern).to_owned()),
        }
    }
    if operator.is_some() && out.is_empty() {
        return Err("an operator needs a number behind it".to_owned());
    }
    Ok(out)
}
