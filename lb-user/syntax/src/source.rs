//! Where configuration text comes from: files, folders, and the environment that `${NAME}` reads.

use std::collections::BTreeMap;
use std::io;
use std::io::Read;

/// Reads files and folders; tests answer from memory.
pub trait Loader {
    /// The bytes of a file.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
    /// The names in a folder (no paths, any order), or `None` if `path` is no folder.
    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>>;
    /// [`read`](Self::read) without borrowing, for what goes on reading while statements are compiled. By default
    /// there are no such files.
    fn reader(&self) -> FileReader {
        Box::new(|_| Err(io::ErrorKind::NotFound.into()))
    }
}

/// Reads the bytes of a file.
pub type FileReader = Box<dyn Fn(&str) -> io::Result<Vec<u8>> + Send + Sync>;

/// The files and folders of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

/// Bytes of one configuration file; a device or a pipe without end must not fill the memory.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Loader for Disk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "File too large"));
        }
        Ok(text)
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

    fn reader(&self) -> FileReader {
        Box::new(|path| Self.read(path))
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

    /// Adds what HAProxy defines for the files it reads: the branch, the files' names, the local peer's name and the
    /// built-in log formats (manual §2.3 and §8.2).
    pub fn add_implicit(&mut self, implicit: &Implicit<'_>) {
        self.set("HAPROXY_STARTUP_VERSION", implicit.version);
        let mut parts = implicit.version.splitn(3, '.');
        let branch = [parts.next(), parts.next()].map(|part| part.unwrap_or("0"));
        self.set("HAPROXY_BRANCH", branch.join("."));
        self.set("HAPROXY_CFGFILES", implicit.files.join(";"));
        self.set("HAPROXY_LOCALPEER", implicit.local_peer);
        for (name, format) in LOG_FORMATS {
            self.set(*name, *format);
        }
    }

    /// The value of a variable.
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

/// What the implicit variables are made of.
#[derive(Debug, Clone, Copy)]
pub struct Implicit<'a> {
    /// `3.4.0-...`: its first two numbers are the branch.
    pub version: &'a str,
    /// The paths given with `-f`.
    pub files: &'a [String],
    /// `-L`, else the host's name.
    pub local_peer: &'a str,
}

/// The built-in log formats as variables, for files that only add something to one.
pub const LOG_FORMATS: &[(&str, &str)] = &[
    (
        "HAPROXY_HTTP_LOG_FMT",
        "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r",
    ),
    (
        "HAPROXY_HTTP_CLF_LOG_FMT",
        "%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl",
    ),
    (
        "HAPROXY_HTTPS_LOG_FMT",
        "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r %[fc_err]/%[ssl_fc_err,hex]/%[ssl_c_err]/%[ssl_c_ca_err]/%[ssl_fc_is_resumed] %[ssl_fc_sni]/%sslv/%sslc",
    ),
    ("HAPROXY_TCP_LOG_FMT", "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq"),
    (
        "HAPROXY_TCP_CLF_LOG_FMT",
        "%{+Q}o %{-Q}ci - - [%T] \"TCP \" 000 %B \"\" \"\" %cp %ms %ft %b %s %Th %Tw %Tc %Tt %U %ts-- %ac %fc %bc %sc %rc %sq %bq \"\" \"\" ",
    ),
];
