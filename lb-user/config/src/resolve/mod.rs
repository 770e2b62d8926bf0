//! From the draft to the model: names become ids, numbers are assigned, and what no single statement could know is
//! checked. Every error is collected.

mod names;
mod proxies;
mod servers;

use sockeye_syntax::diag::{Diagnostic, Diagnostics, Location, Place, Severity};

use crate::Options;
use crate::draft::Draft;
use crate::model::Config;
use names::Names;

/// Builds the model. After errors in the files (`failed`) warnings about the whole would only be about what is
/// missing because of them: then errors alone are reported.
pub(crate) fn resolve(draft: Draft, options: &Options, failed: bool, diags: &mut Diagnostics) -> Config {
    let mut findings = Findings { diags, quiet: failed };
    let names = Names::new(&draft.proxies, &mut findings);
    proxies::build(draft, &names, options, &mut findings)
}

/// Where findings go.
pub(crate) struct Findings<'a> {
    diags: &'a mut Diagnostics,
    /// Warnings are dropped.
    quiet: bool,
}

impl Findings<'_> {
    /// About the whole.
    pub(crate) fn alert(&mut self, message: String) {
        self.diags.alert_nowhere(message);
    }

    /// About the whole.
    pub(crate) fn warning(&mut self, message: String) {
        if !self.quiet {
            self.diags.warning_nowhere(message);
        }
    }

    /// `parsing [FILE:LINE] : …`.
    pub(crate) fn warning_parsing(&mut self, location: &Location, message: String) {
        if !self.quiet {
            self.diags.warning(location, message);
        }
    }

    /// `parsing [FILE:LINE] : …`.
    pub(crate) fn alert_parsing(&mut self, location: &Location, message: String) {
        self.diags.alert(location, message);
    }

    /// `[FILE:LINE] : …`.
    pub(crate) fn alert_at(&mut self, location: &Location, message: String) {
        self.diags.push(Diagnostic::new(Severity::Alert, Place::At(location.clone()), message));
    }

    /// `parsing [FILE:LINE]: …`.
    pub(crate) fn alert_reading(&mut self, location: &Location, message: String) {
        self.diags.push(Diagnostic::new(Severity::Alert, Place::Reading(location.clone()), message));
    }
}
