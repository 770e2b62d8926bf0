//! From the draft to the model: names become ids, numbers are assigned, and what no single statement could know is
//! checked. Every error is collected.

mod formats;
pub(crate) mod names;
mod packet;
mod proxies;
mod references;
mod servers;
mod tls;

use sockeye_syntax::diag::{Diagnostic, Diagnostics, Location, Place, Severity};

use crate::Options;
use crate::draft::Draft;
use crate::model::Config;
use names::Names;

/// Builds the model. After errors in the files (`failed`) warnings about the whole would only be about what is
/// missing because of them: then errors alone are reported.
pub(crate) fn resolve(draft: Draft, options: &Options, failed: bool, diags: &mut Diagnostics) -> Config {
    let names = Names::new(&draft.proxies);
    let mut findings = Findings { diags, quiet: failed };
    proxies::build(draft, &names, options, &mut findings)
}

/// Where findings go. HAProxy's checks across sections do not name the part of the program that speaks.
pub(crate) struct Findings<'a> {
    diags: &'a mut Diagnostics,
    /// Warnings are dropped.
    quiet: bool,
}

impl Findings<'_> {
    /// There were errors in the files, so that much of the whole may be missing.
    pub(crate) fn failed(&self) -> bool {
        self.quiet
    }

    /// About the whole.
    pub(crate) fn alert(&mut self, message: String) {
        self.push(Severity::Alert, Place::Nowhere, message);
    }

    /// About the whole.
    pub(crate) fn warning(&mut self, message: String) {
        self.push(Severity::Warning, Place::Nowhere, message);
    }

    /// `parsing [FILE:LINE] : …`.
    pub(crate) fn warning_parsing(&mut self, location: &Location, message: String) {
        self.push(Severity::Warning, Place::Parsing(location.clone()), message);
    }

    /// `parsing [FILE:LINE] : …`.
    pub(crate) fn alert_parsing(&mut self, location: &Location, message: String) {
        self.push(Severity::Alert, Place::Parsing(location.clone()), message);
    }

    /// As if it had been found while the file was read: `config : parsing [FILE:LINE] : …`.
    pub(crate) fn reading(&mut self, severity: Severity, location: &Location, message: String) {
        if !(self.quiet && severity == Severity::Warning) {
            self.diags.push(Diagnostic::new(severity, Place::Parsing(location.clone()), message));
        }
    }

    /// `[FILE:LINE] : …`.
    pub(crate) fn alert_at(&mut self, location: &Location, message: String) {
        self.push(Severity::Alert, Place::At(location.clone()), message);
    }

    pub(crate) fn push(&mut self, severity: Severity, place: Place, message: String) {
        if !(self.quiet && severity == Severity::Warning) {
            self.diags.push(Diagnostic::new(severity, place, message).without_context());
        }
    }
}
