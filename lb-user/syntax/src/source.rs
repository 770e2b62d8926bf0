//! Where configuration text comes from: files, folders, and the environment that `${NAME}` reads.

use std::collections::BTreeMap;
use std::io;

/// Reads files and folders; tests answer from memory.
pub trait Loader {
    /// The bytes of a file.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
    /// The names in a folder (no paths, any order), or `None` if `path` is no folder.
    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>>;
}

/// The files and folders of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Loader for Disk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>> {
        if !std::fs::metadata(path)?.is_dir() {
            return Ok(None);
        }
        std::fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()
            .map(Some)
    }
}

/// Environment variables, as values: nothing here reads or changes the process's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn lookup(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.variables.insert(name.into(), value.into());
    }

    pub fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// Keeps only the variables that `keep` names.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.variables.retain(|name, _| keep(name));
    }

    /// All of them, by name: what `show env` prints and children inherit.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self { variables: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}
