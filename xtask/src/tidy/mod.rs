//! `cargo xtask tidy`: the rules of the architecture that the compiler does not check.
//!
//! Dependencies point one way between crates and between the daemon's modules; pure code has no socket, task,
//! clock or randomness; `unsafe` lives in two crates; files stay short; every example configuration is tested.

mod crates;
mod examples;
mod modules;
mod purity;
mod size;
mod source;
mod words;

use std::fmt;

use anyhow::{Result, bail};

use crate::workspace::{root, say};

/// Checks the checkout; warnings are shown, errors fail.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let sources = source::read_tree(&root)?;
    let mut findings = crates::check(&crates::read(&root)?);
    findings.extend(modules::check(&sources));
    findings.extend(purity::check(&sources));
    findings.extend(words::check(&sources));
    findings.extend(size::check(&sources));
    findings.extend(examples::check(&examples::read(&root)?, &sources));
    for finding in &findings {
        say(finding);
    }
    let errors = findings.iter().filter(|finding| finding.level == Level::Error).count();
    say(format_args!("tidy: {} files, {errors} errors, {} warnings", sources.len(), findings.len() - errors));
    if errors > 0 { bail!("the tree is not tidy") } else { Ok(()) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Warning,
    Error,
}

/// One broken rule, with the place and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    level: Level,
    /// Path from the root, with the line when one line is at fault.
    place: String,
    message: String,
}

impl Finding {
    fn error(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: Level::Error, place: place.into(), message: message.into() }
    }

    fn warning(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Warning => "warning",
            Level::Error => "error",
        };
        write!(f, "{level}: {}: {}", self.place, self.message)
    }
}
