//! The text of a scenario: a description, then steps, each a marked line and the lines below it.

use std::fmt::Write;

/// Begins a step.
pub(super) const MARK: &str = "-- ";

/// A scenario as written.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// What it shows.
    pub(super) description: String,
    pub(super) steps: Vec<Step>,
}

/// `-- word words…` and its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) word: String,
    pub(super) args: Vec<String>,
    pub(super) lines: Vec<String>,
}

/// Steps that describe the arrangement.
const SETTINGS: &[&str] = &[
    "mode", "global", "defaults", "frontend", "backend", "sections", "config", "file", "raw", "reply", "mask",
];
/// Steps that do something.
const ACTIONS: &[&str] = &["connect", "get", "send", "finish", "quiet"];
/// Steps that a run writes.
const RESULTS: &[&str] = &["origin", "receive", "rest", "log", "check", "diagnostics"];

impl Script {
    /// The error says what is wrong and where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut description = String::new();
        let mut steps: Vec<Step> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if let Some(head) = line.strip_prefix(MARK) {
                let mut words = head.split(' ').map(str::to_owned);
                let word = words.next().unwrap_or_default();
                if ![SETTINGS, ACTIONS, RESULTS].concat().contains(&word.as_str()) {
                    return Err(format!("line {}: no step is called '{word}'", number + 1));
                }
                steps.push(Step { word, args: words.collect(), lines: Vec::new() });
            } else if let Some(step) = steps.last_mut() {
                step.lines.push(line.to_owned());
            } else {
                description.push_str(line);
                description.push('\n');
            }
        }
        if description.trim().is_empty() {
            return Err("there is no description".to_owned());
        }
        Ok(Self { description, steps })
    }

    /// Whether it is about messages of a configuration that is only checked.
    pub(super) fn is_check(&self) -> bool {
        self.steps.iter().any(|step| step.word == "check")
    }

    /// All lines of the settings of this name.
    pub(super) fn setting(&self, word: &str) -> String {
        let mut out = String::new();
        for line in self.steps.iter().filter(|step| step.word == word).flat_map(|step| &step.lines) {
            let _ = writeln!(out, "{line}");
        }
        out
    }

    pub(super) fn of<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a Step> {
        self.steps.iter().filter(move |step| step.word == word)
    }

    /// The file: what a step holds ends where the next begins, so nothing is added between them.
    pub(super) fn render(&self) -> String {
        let mut out = self.description.clone();
        for step in &self.steps {
            out.push_str(MARK);
            out.push_str(&step.word);
            for arg in &step.args {
                out.push(' ');
                out.push_str(arg);
            }
            out.push('\n');
            for line in &step.lines {
                out.push_str(line);
                out.push('\n');
            }
        }
        out
    }
}

impl Step {
    pub(super) fn new(word: &str, args: &[&str], lines: Vec<String>) -> Self {
        Self { word: word.to_owned(), args: args.iter().map(|&arg| arg.to_owned()).collect(), lines }
    }

    pub(super) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// The value after `name` among the arguments.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let at = self.args.iter().position(|arg| arg == name)?;
        self.args.get(at + 1).map(String::as_str)
    }
}
