//! A list of patterns, or a map: a file, or what is written in the configuration. It may change while it is used.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::index::{Id, Index, Key};
use crate::library::Flags;
use crate::method::Method;
use crate::pattern::Names;
use crate::regex::Captures;

/// Entries of one list; more would be a mistake or an attack by way of `set-map`.
const ENTRIES_MAX: usize = 10_000_000;
/// Bytes of one entry that is added while running.
const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub pattern: Box<[u8]>,
    /// Of maps.
    pub value: Option<Box<[u8]>>,
    /// Where it was read, 0 for one added while running.
    pub line: u32,
}

/// A list with everything derived from it.
pub struct Reference {
    /// Number for commands.
    pub id: u32,
    /// The file's name; empty for a list in the configuration.
    pub name: Box<str>,
    /// Has values.
    pub is_map: bool,
    lists: RwLock<Lists>,
}

#[derive(Default)]
struct Lists {
    entries: Vec<Option<Arc<Entry>>>,
    by_pattern: HashMap<Box<[u8]>, Vec<Id>>,
    indexes: Vec<Index>,
    /// Entries that were taken out since the indexes were built.
    holes: usize,
}

impl Reference {
    pub(crate) fn new(id: u32, name: &str, is_map: bool) -> Self {
        Self { id, name: name.into(), is_map, lists: RwLock::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Lists> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Lists> {
        self.lists.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot of the index for a method, which is built if nobody needed it before.
    ///
    /// # Errors
    /// When an entry is no pattern of that method: its line and what is wrong.
    pub(crate) fn index(
        &self,
        method: Method,
        flags: Flags,
        resolve: Names<'_>,
    ) -> Result<usize, (u32, String)> {
        let mut lists = self.write();
        if let Some(slot) =
            lists.indexes.iter().position(|index| index.method == method && index.flags == flags)
        {
            return Ok(slot);
        }
        let mut index = Index::new(method, flags);
        for (id, entry) in (0..).zip(&lists.entries) {
            if let Some(entry) = entry {
                index.insert(&entry.pattern, id, resolve).map_err(|message| (entry.line, message))?;
            }
        }
        lists.indexes.push(index);
        Ok(lists.indexes.len() - 1)
    }

    /// The entry that matches in one of the indexes.
    pub(crate) fn find(&self, slot: usize, key: Key<'_>) -> Option<Arc<Entry>> {
        let lists = self.read();
        let id = lists.indexes.get(slot)?.find(key)?;
        lists.entries.get(id as usize)?.clone()
    }

    /// Shows the entry whose expression matches with what its groups matched.
    pub(crate) fn captures<T>(
        &self,
        slot: usize,
        text: &[u8],
        show: impl FnOnce(&Entry, &Captures<'_>) -> T,
    ) -> Option<T> {
        let lists = self.read();
        let (id, captures) = lists.indexes.get(slot)?.captures(text)?;
        Some(show(lists.entries.get(id as usize)?.as_ref()?, &captures))
    }

    pub(crate) fn matches(&self, slot: usize, key: Key<'_>) -> bool {
        self.read().indexes.get(slot).is_some_and(|index| index.find(key).is_some())
    }

    /// Adds an entry behind all others.
    ///
    /// # Errors
    /// When the list is full or a method in use cannot read the pattern; the list is then as before.
    pub fn add(&self, pattern: &[u8], value: Option<&[u8]>, line: u32) -> Result<(), String> {
        let mut lists = self.write();
        lists.add(pattern, value, line)
    }

    /// Adds an entry unless it is there.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn insert_new(&self, pattern: &[u8]) -> Result<(), String> {
        if self.contains(pattern) {
            return Ok(());
        }
        self.add(pattern, None, 0)
    }

    /// Changes the value of every entry with that pattern; whether there was one.
    pub fn set(&self, pattern: &[u8], value: &[u8]) -> bool {
        let mut lists = self.write();
        let Some(ids) = lists.by_pattern.get(pattern).cloned() else { return false };
        for id in ids {
            if let Some(Some(entry)) = lists.entries.get_mut(id as usize) {
                *entry = Arc::new(Entry { value: Some(value.into()), ..(**entry).clone() });
            }
        }
        true
    }

    /// `set-map`: changes the entry or adds it.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn upsert(&self, pattern: &[u8], value: &[u8]) -> Result<(), String> {
        {
            // Most calls say again what is there already.
            let lists = self.read();
            let known = lists.by_pattern.get(pattern).and_then(|ids| ids.first());
            let entry = known.and_then(|id| lists.entries.get(*id as usize)?.as_ref());
            if entry.is_some_and(|entry| entry.value.as_deref() == Some(value)) {
                return Ok(());
            }
        }
        if self.set(pattern, value) { Ok(()) } else { self.add(pattern, Some(value), 0) }
    }

    /// Takes out every entry with that pattern; whether there was one.
    pub fn del(&self, pattern: &[u8]) -> bool {
        let mut lists = self.write();
        let Some(ids) = lists.by_pattern.remove(pattern) else { return false };
        for id in &ids {
            if let Some(slot) = lists.entries.get_mut(*id as usize) {
                *slot = None;
            }
        }
        lists.holes += ids.len();
        lists.rebuild();
        true
    }

    /// Takes out everything.
    pub fn clear(&self) {
        let mut lists = self.write();
        lists.entries.clear();
        lists.by_pattern.clear();
        lists.rebuild();
    }

    pub fn contains(&self, pattern: &[u8]) -> bool {
        self.read().by_pattern.contains_key(pattern)
    }

    /// The first entry with exactly that pattern.
    pub fn get(&self, pattern: &[u8]) -> Option<Arc<Entry>> {
        let lists = self.read();
        let id = *lists.by_pattern.get(pattern)?.first()?;
        lists.entries.get(id as usize)?.clone()
    }

    /// All entries, in order.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.read().entries.iter().flatten().cloned().collect()
    }

    pub fn len(&self) -> usize {
        let lists = self.read();
        lists.entries.len() - lists.holes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Lists {
    fn add(&mut self, pattern: &[u8], value: Option<&[u8]>, line: u32) -> Result<(), String> {
        let id = Id::try_from(self.entries.len()).unwrap_or(Id::MAX);
        if self.entries.len() >= ENTRIES_MAX {
            return Err(format!("the list is full ({ENTRIES_MAX} entries)"));
        }
        if line == 0 && pattern.len() + value.map_or(0, <[u8]>::len) > ENTRY_BYTES_MAX {
            return Err(format!("an entry has at most {ENTRY_BYTES_MAX} bytes"));
        }
        for done in 0..self.indexes.len() {
            if let Err(message) = self.indexes[done].insert(pattern, id, None) {
                // Those before it have taken the pattern; they find an entry that is not there.
                if done > 0 {
                    self.rebuild();
                }
                return Err(message);
            }
        }
        self.entries.push(Some(Arc::new(Entry {
            pattern: pattern.into(),
            value: value.map(Into::into),
            line,
        })));
        self.by_pattern.entry(pattern.into()).or_default().push(id);
        Ok(())
    }

    /// Builds all indexes anew, without the entries that were taken out.
    fn rebuild(&mut self) {
        if self.holes > 0 {
            self.entries.retain(Option::is_some);
            self.holes = 0;
            self.by_pattern.clear();
            for (id, entry) in (0..).zip(&self.entries) {
                if let Some(entry) = entry {
                    self.by_pattern.entry(entry.pattern.clone()).or_default().push(id);
                }
            }
        }
        for index in &mut self.indexes {
            let mut fresh = Index::new(index.method, index.flags);
            for (id, entry) in (0..).zip(&self.entries) {
                if let Some(entry) = entry {
                    // It was read before.
                    let _ = fresh.insert(&entry.pattern, id, None);
                }
            }
            *index = fresh;
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({}, {} entries)", self.name, self.len())
    }
}
