//! Every list of patterns that a configuration has, and what uses them.

use std::collections::HashMap;
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
        Self { loader, resolver, files: HashMap::new(), all: Vec::new() }
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

    /// The list in a file, read at the first call. `virt@NAME` is a list without a file, `opt@FILE` may be missing.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(&mut self, name: &str, is_map: bool) -> Result<Arc<Reference>, String> {
        if let Some(known) = self.files.get(name) {
            return Ok(Arc::clone(known));
        }
        let (path, optional) = match name.split_once('@') {
            Some(("virt", _)) => ("", true),
            Some(("opt", path)) => (path, true),
            Some(("file", path)) => (path, false),
            _ => (name, false),
        };
        let reference = self.reference(name, is_map);
        if !path.is_empty() {
            match (self.loader)(path) {
                Ok(text) => fill(&reference, &text, is_map)?,
                Err(error) if optional && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.all.pop();
                    return Err(format!("failed to open pattern file <{path}>: {error}"));
                }
            }
        }
        self.files.insert(name.into(), Arc::clone(&reference));
        Ok(reference)
    }

    fn reference(&mut self, name: &str, is_map: bool) -> Arc<Reference> {
        let id = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let reference = Arc::new(Reference::new(id, name, is_map));
        self.all.push(Arc::clone(&reference));
        reference
    }
}

/// `PATTERN [VALUE]` per line; `#` begins a comment line.
fn fill(reference: &Reference, text: &[u8], is_map: bool) -> Result<(), String> {
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let added = if is_map {
            let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
            let value = line[end..].trim_ascii_start();
            reference.add(&line[..end], Some(value), number)
        } else {
            reference.add(line, None, number)
        };
        added.map_err(|message| format!("{message} at line {number} of file '{}'", reference.name))?;
    }
    Ok(())
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
        let _ = id;
        let mut lists = Vec::new();
        for file in files {
            let reference = library.open(file, as_map)?;
            let slot = reference
                .index(method, flags, Some(&*library.resolver))
                .map_err(|(line, message)| format!("{message} at line {line} of file '{file}'"))?;
            lists.push((reference, slot));
        }
        if !patterns.is_empty() {
            let reference = library.reference("", false);
            let slot = reference.index(method, flags, None).map_err(|(_, message)| message)?;
            for pattern in with_operators(method, patterns)? {
                let pattern = match method {
                    // Names are looked up once.
                    Method::Ip if !flags.no_names => resolved(&pattern, &library.resolver),
                    _ => pattern,
                };
                reference.add(pattern.as_bytes(), None, 1)?;
            }
            lists.push((reference, slot));
        }
        Ok(Self { lists: lists.into() })
    }

    /// From one file, for `map_*`.
    ///
    /// # Errors
    /// As for [`build`](Self::build).
    pub fn of_map(library: &mut Library, method: Method, file: &str) -> Result<Self, String> {
        let reference = library.open(file, true)?;
        let slot = reference
            .index(method, Flags::default(), Some(&*library.resolver))
            .map_err(|(line, message)| format!("{message} at line {line} of file '{file}'"))?;
        Ok(Self { lists: [(reference, slot)].into() })
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

/// `gt 5 lt 10` is two patterns with their operators in front; an operator counts until the next one.
fn with_operators(method: Method, patterns: &[&str]) -> Result<Vec<String>, String> {
    let numeric = matches!(method, Method::Int | Method::Len);
    let mut operator = None;
    let mut out = Vec::new();
    for pattern in patterns {
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

fn resolved(pattern: &str, resolver: &Resolver) -> String {
    if crate::pattern::network(pattern, None).is_ok() {
        return pattern.to_owned();
    }
    let (host, mask) = pattern.split_once('/').map_or((pattern, None), |(host, mask)| (host, Some(mask)));
    match (resolver(host), mask) {
        (Some(address), Some(mask)) => format!("{address}/{mask}"),
        (Some(address), None) => address.to_string(),
        (None, _) => pattern.to_owned(),
    }
}
