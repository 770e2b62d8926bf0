//! A list of patterns, or a map: a file, or what is written in the configuration. It may change while it is used.
//!
//! Looking something up takes the list's lock for as long as that takes; changes take it only for what is short and build
//! everything else beside it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::index::{Entries, Exact, Form, Id, Index, Key};
use crate::library::Flags;
use crate::method::Method;
use crate::pattern::Names;
use crate::regex::Captures;

/// Entries of one list; more would be a mistake or an attack by way of `set-map`.
const ENTRIES_MAX: usize = 10_000_000;
/// Bytes of one entry.
const ENTRY_BYTES_MAX: usize = 64 * 1024;
/// Versions that are prepared and not committed yet.
const VERSIONS_MAX: usize = 1024;
/// Below as many holes the list is not made smaller.
const HOLES_MIN: usize = 1024;

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Unique in its list, for commands: `#ID`.
    pub id: u64,
    pub pattern: Box<[u8]>,
    /// Of maps.
    pub value: Option<Arc<[u8]>>,
    /// Where it was read, 0 for one added while running.
    pub line: u32,
}

impl Entry {
    /// The value as a decimal number.
    pub fn value_int(&self) -> Option<i64> {
        self.value_text()?.parse().ok()
    }

    /// The value as an address.
    pub fn value_ip(&self) -> Option<IpAddr> {
        self.value_text()?.parse().ok()
    }

    fn value_text(&self) -> Option<&str> {
        std::str::from_utf8(self.value.as_deref()?).ok()
    }
}

/// A list with everything derived from it.
pub struct Reference {
    /// Number for commands.
    id: AtomicU32,
    /// The file's name; empty for a list in the configuration.
    pub name: Box<str>,
    /// Has values.
    pub is_map: bool,
    lists: RwLock<Lists>,
    /// Held by whoever changes something; taken before `lists`.
    changes: Mutex<Changes>,
}

/// What is looked through.
#[derive(Default)]
struct Lists {
    entries: Vec<Option<Arc<Entry>>>,
    indexes: Vec<Index>,
    /// How often entries got other numbers.
    epoch: u64,
}

/// What only changes need.
#[derive(Default)]
struct Changes {
    /// Built at the first change that needs it.
    by_pattern: Option<Exact>,
    next_entry: u64,
    holes: usize,
    current_version: u32,
    next_version: u32,
    prepared: BTreeMap<u32, Vec<Arc<Entry>>>,
}

impl Reference {
    pub(crate) fn new(id: u32, name: &str, is_map: bool) -> Self {
        Self {
            id: AtomicU32::new(id),
            name: name.into(),
            is_map,
            lists: RwLock::default(),
            changes: Mutex::default(),
        }
    }

    /// Number for commands: `#ID`.
    pub fn id(&self) -> u32 {
        self.id.load(Ordering::Relaxed)
    }

    pub(crate) fn renumber(&self, id: u32) {
        self.id.store(id, Ordering::Relaxed);
    }

    fn read(&self) -> RwLockReadGuard<'_, Lists> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Lists> {
        self.lists.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
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
        let changes = self.changes();
        let index = {
            let lists = self.read();
            let is_it = |index: &Index| index.method == method && index.flags == flags;
            if let Some(slot) = lists.indexes.iter().position(is_it) {
                return Ok(slot);
            }
            Index::build(method, flags, &lists.entries, resolve)?
        };
        let mut lists = self.write();
        lists.indexes.push(index);
        let slot = lists.indexes.len() - 1;
        drop(changes);
        Ok(slot)
    }

    /// The entry that matches in one of the indexes.
    pub(crate) fn find(&self, slot: usize, key: Key<'_>) -> Option<Arc<Entry>> {
        self.look(slot, key, |entries, id| entries.get(id as usize)?.clone())
    }

    pub(crate) fn matches(&self, slot: usize, key: Key<'_>) -> bool {
        self.look(slot, key, |_, _| Some(())).is_some()
    }

    fn look<T>(&self, slot: usize, key: Key<'_>, show: impl Fn(&Entries, Id) -> Option<T>) -> Option<T> {
        let lists = self.read();
        let index = lists.indexes.get(slot)?;
        if let (Some(expressions), Key::Bytes(text)) = (index.expressions(), key) {
            // They may be slow, and whoever waits for writing makes all others wait.
            let (expressions, epoch) = (Arc::clone(expressions), lists.epoch);
            drop(lists);
            let id = expressions.find(text)?;
            let lists = self.read();
            if lists.epoch == epoch
                && let Some(shown) = show(&lists.entries, id)
            {
                return Some(shown);
            }
            // The list has changed in between.
            let id = lists.indexes.get(slot)?.find(key, &lists.entries)?;
            return show(&lists.entries, id);
        }
        show(&lists.entries, index.find(key, &lists.entries)?)
    }

    /// Shows the entry whose expression matches with what its groups matched.
    pub(crate) fn captures<T>(
        &self,
        slot: usize,
        text: &[u8],
        show: impl FnOnce(&Entry, &Captures<'_>) -> T,
    ) -> Option<T> {
        let lists = self.read();
        let (mut expressions, epoch) = (Arc::clone(lists.indexes.get(slot)?.expressions()?), lists.epoch);
        drop(lists);
        let mut found = expressions.captures(text)?;
        let lists = self.read();
        if lists.epoch != epoch {
            // Rare: tried again with the lock held, so that it cannot happen twice.
            expressions = Arc::clone(lists.indexes.get(slot)?.expressions()?);
            found = expressions.captures(text)?;
        }
        let (id, captures) = found;
        let entry = Arc::clone(lists.entries.get(id as usize)?.as_ref()?);
        drop(lists);
        Some(show(&entry, &captures))
    }

    /// Adds an entry behind all others; one with the same pattern may be there already. `line` is 0 while running.
    ///
    /// # Errors
    /// When the list is full or a method in use cannot read the pattern; the list is then as before.
    pub fn add(&self, pattern: &[u8], value: Option<&[u8]>, line: u32) -> Result<(), String> {
        self.add_with(&mut self.changes(), pattern, value.map(Into::into), line)
    }

    /// Adds an entry unless it is there.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn insert_new(&self, pattern: &[u8]) -> Result<(), String> {
        let mut changes = self.changes();
        if self.same(&mut changes, pattern).is_empty() {
            self.add_with(&mut changes, pattern, None, 0)
        } else {
            Ok(())
        }
    }

    /// Changes the value of every entry with that pattern; whether there was one.
    pub fn set(&self, pattern: &[u8], value: &[u8]) -> bool {
        let mut changes = self.changes();
        let ids = self.same(&mut changes, pattern);
        self.set_values(&ids, value)
    }

    /// Changes the value of the entry with that number; whether there is one.
    pub fn set_id(&self, entry: u64, value: &[u8]) -> bool {
        let _changes = self.changes();
        let place = self.place(entry);
        place.is_some_and(|id| self.set_values(&[id], value))
    }

    /// `set-map`: changes the entry or adds it.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn upsert(&self, pattern: &[u8], value: &[u8]) -> Result<(), String> {
        let mut changes = self.changes();
        let ids = self.same(&mut changes, pattern);
        if ids.is_empty() {
            return self.add_with(&mut changes, pattern, Some(value.into()), 0);
        }
        check_size(pattern, Some(value))?;
        self.set_values(&ids, value);
        Ok(())
    }

    /// Takes out every entry with that pattern; whether there was one.
    pub fn del(&self, pattern: &[u8]) -> bool {
        let mut changes = self.changes();
        let ids = self.same(&mut changes, pattern);
        self.take_out(&mut changes, &ids)
    }

    /// Takes out the entry with that number; whether there was one.
    pub fn del_id(&self, entry: u64) -> bool {
        let mut changes = self.changes();
        let place = self.place(entry);
        place.is_some_and(|id| self.take_out(&mut changes, &[id]))
    }

    /// Takes out everything, prepared versions too.
    pub fn clear(&self) {
        let mut changes = self.changes();
        changes.prepared.clear();
        self.replace(&mut changes, Vec::new());
    }

    pub fn contains(&self, pattern: &[u8]) -> bool {
        !self.same(&mut self.changes(), pattern).is_empty()
    }

    /// The first entry with exactly that pattern.
    pub fn get(&self, pattern: &[u8]) -> Option<Arc<Entry>> {
        let mut changes = self.changes();
        let id = *self.same(&mut changes, pattern).first()?;
        self.read().entries.get(id as usize)?.clone()
    }

    /// All entries, in order.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.read().entries.iter().flatten().cloned().collect()
    }

    pub fn len(&self) -> usize {
        let changes = self.changes();
        self.read().entries.len() - changes.holes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The version that is in use, and the last one that was prepared: `curr_ver` and `next_ver`.
    pub fn versions(&self) -> (u32, u32) {
        let changes = self.changes();
        (changes.current_version, changes.next_version)
    }

    /// A new version that can be filled and then take the place of the current one.
    pub fn prepare(&self) -> u32 {
        let mut changes = self.changes();
        changes.next_version = changes.next_version.wrapping_add(1);
        changes.next_version
    }

    /// Adds an entry to a version that was prepared; in the current one, as [`add`](Self::add).
    ///
    /// # Errors
    /// As for [`add`](Self::add), or when that version was not prepared.
    pub fn add_version(&self, version: u32, pattern: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let mut changes = self.changes();
        if version == changes.current_version {
            return self.add_with(&mut changes, pattern, value.map(Into::into), 0);
        }
        changes.check_version(version)?;
        check_size(pattern, value)?;
        let lists = self.read();
        for index in &lists.indexes {
            index.parse(pattern)?;
        }
        let prepared: usize = changes.prepared.values().map(Vec::len).sum();
        if lists.entries.len() + prepared >= ENTRIES_MAX
            || (changes.prepared.len() >= VERSIONS_MAX && !changes.prepared.contains_key(&version))
        {
            return Err(full());
        }
        let entry = changes.entry(pattern, value.map(Into::into), 0);
        changes.prepared.entry(version).or_default().push(entry);
        Ok(())
    }

    /// Puts a version in the place of the current one, at once; older ones are forgotten.
    ///
    /// # Errors
    /// When that version was not prepared.
    pub fn commit(&self, version: u32) -> Result<(), String> {
        let mut changes = self.changes();
        changes.check_version(version)?;
        let entries = changes.prepared.remove(&version).unwrap_or_default();
        let age = |known: u32| changes.next_version.wrapping_sub(known);
        let newer: Vec<u32> =
            changes.prepared.keys().copied().filter(|known| age(*known) < age(version)).collect();
        changes.prepared.retain(|known, _| newer.contains(known));
        changes.current_version = version;
        self.replace(&mut changes, entries.into_iter().map(Some).collect());
        Ok(())
    }

    /// Takes everything out of one version.
    pub fn clear_version(&self, version: u32) {
        let mut changes = self.changes();
        if version == changes.current_version {
            self.replace(&mut changes, Vec::new());
        } else {
            changes.prepared.remove(&version);
        }
    }

    /// The entries of one version; none for one that there is not.
    pub fn version_entries(&self, version: u32) -> Vec<Arc<Entry>> {
        let changes = self.changes();
        if version == changes.current_version {
            return self.read().entries.iter().flatten().cloned().collect();
        }
        changes.prepared.get(&version).cloned().unwrap_or_default()
    }

    /// Entries that a file has, before there is an index.
    pub(crate) fn fill<'a>(
        &self,
        lines: impl Iterator<Item = (u32, &'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), (u32, String)> {
        let mut changes = self.changes();
        let mut lists = self.write();
        let mut last: Option<Arc<[u8]>> = None;
        for (line, pattern, value) in lines {
            check_size(pattern, value).map_err(|message| (line, message))?;
            if lists.entries.len() >= ENTRIES_MAX {
                return Err((line, full()));
            }
            // Neighbours often have the same value.
            let value = value.map(|value| match &last {
                Some(last) if **last == *value => Arc::clone(last),
                _ => Arc::from(value),
            });
            last.clone_from(&value);
            let entry = changes.entry(pattern, value, line);
            lists.entries.push(Some(entry));
        }
        Ok(())
    }

    /// The places of all entries with exactly that pattern.
    fn same(&self, changes: &mut Changes, pattern: &[u8]) -> Vec<Id> {
        let lists = self.read();
        let by_pattern = changes.by_pattern.get_or_insert_with(|| by_pattern(&lists.entries));
        by_pattern.all(pattern, &lists.entries).collect()
    }

    fn place(&self, entry: u64) -> Option<Id> {
        let lists = self.read();
        let mut places = (0..).zip(&lists.entries);
        places.find(|(_, known)| known.as_ref().is_some_and(|known| known.id == entry)).map(|(id, _)| id)
    }

    fn add_with(
        &self,
        changes: &mut Changes,
        pattern: &[u8],
        value: Option<Arc<[u8]>>,
        line: u32,
    ) -> Result<(), String> {
        check_size(pattern, value.as_deref())?;
        let parsed = {
            let lists = self.read();
            if lists.entries.len() >= ENTRIES_MAX {
                return Err(full());
            }
            lists.indexes.iter().map(|index| index.parse(pattern)).collect::<Result<Vec<_>, _>>()?
        };
        let entry = changes.entry(pattern, value, line);
        let mut lists = self.write();
        let id = Id::try_from(lists.entries.len()).map_err(|_| full())?;
        for (index, parsed) in lists.indexes.iter_mut().zip(parsed) {
            index.put(parsed, id);
        }
        lists.entries.push(Some(entry));
        let is_behind = lists.indexes.iter().any(Index::is_behind);
        drop(lists);
        if let Some(by_pattern) = &mut changes.by_pattern {
            by_pattern.put(pattern, id);
        }
        if is_behind {
            self.catch_up();
        }
        Ok(())
    }

    fn set_values(&self, ids: &[Id], value: &[u8]) -> bool {
        let is_set = |lists: &Lists, id: Id| {
            let entry = lists.entries.get(id as usize).and_then(Option::as_ref);
            entry.is_none_or(|entry| entry.value.as_deref() == Some(value))
        };
        // Most calls say again what is there already, and then nobody needs to wait.
        let lists = self.read();
        if ids.iter().all(|id| is_set(&lists, *id)) {
            return !ids.is_empty();
        }
        drop(lists);
        let value: Arc<[u8]> = value.into();
        let mut lists = self.write();
        for id in ids {
            if let Some(Some(entry)) = lists.entries.get_mut(*id as usize) {
                *entry = Arc::new(Entry { value: Some(Arc::clone(&value)), ..(**entry).clone() });
            }
        }
        true
    }

    fn take_out(&self, changes: &mut Changes, ids: &[Id]) -> bool {
        let mut gone = Vec::with_capacity(ids.len());
        let mut lists = self.write();
        for id in ids {
            let Some(entry) = lists.entries.get_mut(*id as usize).and_then(Option::take) else { continue };
            for index in &mut lists.indexes {
                index.remove(&entry.pattern, *id);
            }
            gone.push((entry, *id));
        }
        let is_behind = lists.indexes.iter().any(Index::is_behind);
        let places = lists.entries.len();
        drop(lists);
        if let Some(by_pattern) = &mut changes.by_pattern {
            for (entry, id) in &gone {
                by_pattern.remove(&entry.pattern, *id);
            }
        }
        changes.holes += gone.len();
        if changes.holes > HOLES_MIN.max(places / 2) {
            let entries = self.read().entries.iter().flatten().cloned().map(Some).collect();
            self.replace(changes, entries);
        } else if is_behind {
            self.catch_up();
        }
        !gone.is_empty()
    }

    /// Builds the indexes that are behind anew; entries keep their places. Only with `changes` held.
    fn catch_up(&self) {
        let lists = self.read();
        let entries = lists.entries.clone();
        let fresh: Vec<_> = (lists.indexes.iter().enumerate())
            .filter(|(_, index)| index.is_behind())
            .map(|(slot, index)| (slot, index.rebuilt(&lists.entries, &entries)))
            .collect();
        drop(lists);
        let mut lists = self.write();
        let old: Vec<Index> = fresh
            .into_iter()
            .map(|(slot, index)| std::mem::replace(&mut lists.indexes[slot], index))
            .collect();
        drop(lists);
        drop(old);
    }

    /// Puts other entries in the place of all. Only with `changes` held.
    fn replace(&self, changes: &mut Changes, entries: Vec<Option<Arc<Entry>>>) {
        let lists = self.read();
        let indexes = lists.indexes.iter().map(|index| index.rebuilt(&lists.entries, &entries)).collect();
        let fresh = Lists { entries, indexes, epoch: lists.epoch + 1 };
        drop(lists);
        changes.by_pattern = None;
        changes.holes = 0;
        let old = std::mem::replace(&mut *self.write(), fresh);
        // Freeing takes long; nobody waits for it here.
        drop(old);
    }
}

impl Changes {
    fn entry(&mut self, pattern: &[u8], value: Option<Arc<[u8]>>, line: u32) -> Arc<Entry> {
        self.next_entry += 1;
        Arc::new(Entry { id: self.next_entry, pattern: pattern.into(), value, line })
    }

    /// Whether a version is newer than the current one and was prepared; the numbers wrap.
    fn check_version(&self, version: u32) -> Result<(), String> {
        let ahead = version.wrapping_sub(self.current_version);
        if ahead > 0 && ahead <= self.next_version.wrapping_sub(self.current_version) {
            Ok(())
        } else {
            Err(format!("version {version} was not prepared"))
        }
    }
}

fn by_pattern(entries: &Entries) -> Exact {
    let mut exact = Exact::new(Form::AsIs);
    for (id, entry) in (0..).zip(entries) {
        if let Some(entry) = entry {
            exact.put(&entry.pattern, id);
        }
    }
    exact
}

fn check_size(pattern: &[u8], value: Option<&[u8]>) -> Result<(), String> {
    if pattern.len() + value.map_or(0, <[u8]>::len) > ENTRY_BYTES_MAX {
        return Err(format!("an entry has at most {ENTRY_BYTES_MAX} bytes"));
    }
    Ok(())
}

fn full() -> String {
    format!("the list is full ({ENTRIES_MAX} entries)")
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({}, {} entries)", self.name, self.len())
    }
}
