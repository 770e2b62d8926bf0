//! Diagnostics: what is wrong with a configuration, where, and how it is printed.
//!
//! Everything is collected, nothing stops at the first. The rendering is HAProxy's, spacing included, because
//! scripts and people grep it: `[ALERT]    (PID) : config : parsing [FILE:LINE] : message`.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

/// Diagnostics kept per run; further ones are only counted. A file of that many mistakes is not a configuration.
pub const DIAGNOSTICS_MAX: usize = 10_000;

/// Everything that was found while reading one configuration, in the order it will be printed.
#[derive(Debug, Default)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
    alerts: usize,
    warnings: usize,
}

impl Diagnostics {
    pub fn new() -> Self {
        Self::default()
    }

    /// An error at a line: `parsing [FILE:LINE] : message`.
    pub fn alert(&mut self, location: &Location, message: impl Into<String>) {
        self.push(Diagnostic::new(Severity::Alert, Place::Parsing(location.clone()), message));
    }

    /// A warning at a line: `parsing [FILE:LINE] : message`.
    pub fn warning(&mut self, location: &Location, message: impl Into<String>) {
        self.push(Diagnostic::new(Severity::Warning, Place::Parsing(location.clone()), message));
    }

    /// A notice at a line: `parsing [FILE:LINE] : message`.
    pub fn notice(&mut self, location: &Location, message: impl Into<String>) {
        self.push(Diagnostic::new(Severity::Notice, Place::Parsing(location.clone()), message));
    }

    /// An error about the whole, e.g. `Proxy 'x': ...`.
    pub fn alert_nowhere(&mut self, message: impl Into<String>) {
        self.push(Diagnostic::new(Severity::Alert, Place::Nowhere, message));
    }

    /// A warning about the whole.
    pub fn warning_nowhere(&mut self, message: impl Into<String>) {
        self.push(Diagnostic::new(Severity::Warning, Place::Nowhere, message));
    }

    pub fn push(&mut self, diagnostic: Diagnostic) {
        match diagnostic.severity {
            Severity::Alert => self.alerts += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Notice | Severity::Diag => {}
        }
        if self.items.len() < DIAGNOSTICS_MAX {
            self.items.push(diagnostic);
        }
    }

    /// Appends everything another collector found.
    pub fn append(&mut self, other: Self) {
        for diagnostic in other.items {
            self.push(diagnostic);
        }
    }

    /// True as soon as one alert was raised: the configuration must not be used.
    pub fn has_alerts(&self) -> bool {
        self.alerts > 0
    }

    pub fn alerts(&self) -> usize {
        self.alerts
    }

    pub fn warnings(&self) -> usize {
        self.warnings
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.items.iter()
    }

    /// Closes the reading of files: lines are put into file order (the reader and the keyword parsers are two
    /// passes here, one in HAProxy), and every file with an error is named once.
    ///
    /// What is raised afterwards (checks across sections) stays behind it.
    pub fn end_of_reading(&mut self, files: &[Arc<str>]) {
        let rank = |diagnostic: &Diagnostic| match diagnostic.place.location() {
            Some(location) => {
                (files.iter().position(|file| **file == *location.file).unwrap_or(files.len()), location.line)
            }
            None => (files.len(), u32::MAX),
        };
        let mut items = std::mem::take(&mut self.items);
        items.sort_by_key(rank);
        let mut out = Vec::with_capacity(items.len() + files.len());
        let mut rest = items.into_iter().peekable();
        for (index, file) in files.iter().enumerate() {
            let mut failed = false;
            while let Some(diagnostic) = rest.next_if(|diagnostic| rank(diagnostic).0 == index) {
                failed |= diagnostic.severity == Severity::Alert;
                out.push(diagnostic);
            }
            if failed {
                out.push(Diagnostic::new(
                    Severity::Alert,
                    Place::Nowhere,
                    format!("Error(s) found in configuration file : {file}"),
                ));
            }
        }
        out.extend(rest);
        self.items = out;
    }

    /// Closes the whole: the last line of a configuration that must not be used.
    pub fn conclude(&mut self) {
        if self.has_alerts() {
            self.alert_nowhere("Fatal errors found in configuration.");
        }
    }

    /// What goes to stderr. The banner (version and path) comes first as soon as anything above a notice is printed.
    /// `diag` also prints the diagnostics of `-dD`.
    pub fn render(&self, pid: u32, banner: &Banner<'_>, diag: bool) -> String {
        let mut out = String::new();
        if self.alerts + self.warnings > 0 {
            out.push_str(&banner.render(pid));
        }
        for diagnostic in &self.items {
            if diagnostic.severity != Severity::Diag || diag {
                let _ = writeln!(out, "{}", diagnostic.render(pid));
            }
        }
        out
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub place: Place,
    /// May hold further lines: the source line and a caret below it.
    pub message: String,
    /// The part of the program that speaks; `config` while a configuration is read.
    pub context: Option<&'static str>,
}

impl Diagnostic {
    pub fn new(severity: Severity, place: Place, message: impl Into<String>) -> Self {
        Self { severity, place, message: message.into(), context: Some("config") }
    }

    /// The same finding without `config : ` in front of it.
    pub fn without_context(mut self) -> Self {
        self.context = None;
        self
    }

    /// The printed form, without the final newline.
    pub fn render(&self, pid: u32) -> String {
        let context = self.context.map(|name| format!("{name} : ")).unwrap_or_default();
        format!("{}{context}{}{}", self.severity.prefix(pid), self.place, self.message)
    }
}

impl fmt::Display for Diagnostic {
    /// Place and message, without severity and process number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.message)
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Shown only in diagnostic mode (`-dD`).
    Diag,
    Notice,
    /// Fatal with `zero-warning` and `-dW`.
    Warning,
    /// Always fatal.
    Alert,
}

impl Severity {
    /// `[ALERT]    (1234) : `, aligned as HAProxy aligns it.
    pub fn prefix(self, pid: u32) -> String {
        let name = match self {
            Self::Alert => "[ALERT]",
            Self::Warning => "[WARNING]",
            Self::Notice => "[NOTICE]",
            Self::Diag => "[DIAG]",
        };
        format!("{name:<10} ({pid}) : ")
    }
}

/// Where a finding is, and which of HAProxy's ways of writing the place its message uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Nowhere,
    /// `parsing [FILE:LINE] : `, the usual one.
    Parsing(Location),
    /// `parsing [FILE:LINE]: `, of the reader itself (quotes, conditions, unknown words out of section).
    Reading(Location),
    /// `[FILE:LINE] : `, of server lines and some checks.
    At(Location),
    /// Belongs to a line, but the message does not say so.
    Unsaid(Location),
}

impl Place {
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::Nowhere => None,
            Self::Parsing(location)
            | Self::Reading(location)
            | Self::At(location)
            | Self::Unsaid(location) => Some(location),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere | Self::Unsaid(_) => Ok(()),
            Self::Parsing(location) => write!(f, "parsing [{location}] : "),
            Self::Reading(location) => write!(f, "parsing [{location}]: "),
            Self::At(location) => write!(f, "[{location}] : "),
        }
    }
}

/// A line of a file; lines count from one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    pub file: Arc<str>,
    pub line: u32,
}

impl Location {
    pub fn new(file: impl Into<Arc<str>>, line: u32) -> Self {
        Self { file: file.into(), line }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Who speaks: printed once before the first alert or warning.
#[derive(Debug, Clone, Copy)]
pub struct Banner<'a> {
    /// The name in `NAME version is`: `haproxy`, or `sockeye` when called so.
    pub program: &'a str,
    pub version: &'a str,
    /// As in `/proc/self/exe`.
    pub executable: &'a str,
}

impl Banner<'_> {
    pub fn render(&self, pid: u32) -> String {
        let prefix = Severity::Notice.prefix(pid);
        format!(
            "{prefix}{} version is {}\n{prefix}path to executable is {}\n",
            self.program, self.version, self.executable
        )
    }
}

/// The candidate nearest to a misspelt word, if one is near enough to be worth saying.
///
/// At most about a third of the word may differ; a swap of neighbours counts as one difference. Words of one or two
/// letters are near to everything and get no advice.
pub fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let allowed = length / 3;
    candidates
        .into_iter()
        .filter(|candidate| *candidate != word)
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The end of a message about an unknown word: `; did you mean 'bind' maybe ?`, or nothing.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    suggestion(word, candidates)
        .map(|nearest| format!("; did you mean '{nearest}' maybe ?"))
        .unwrap_or_default()
}
