//! `defaults` sections and what inherits from them (manual 4).
//!
//! A proxy starts from the section it names with `from`, or else from the last one above it. A `defaults` section
//! starts from nothing unless it names another.

use std::collections::HashMap;
use std::sync::Arc;

use sockeye_syntax::ast::Statement;
use sockeye_syntax::diag::{Diagnostics, Location};

use crate::draft::{Kind, Proxy, Settings};

/// The `defaults` sections read so far.
#[derive(Debug, Default)]
pub(crate) struct DefaultsSections {
    sections: Vec<Entry>,
    /// Named sections by name, in file order.
    by_name: HashMap<Arc<str>, Vec<usize>>,
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    location: Location,
    settings: Settings,
    explicitly_used: bool,
    implicitly_used: bool,
}

impl DefaultsSections {
    /// Adds a section that was read to its end.
    pub(crate) fn add(&mut self, section: Proxy) {
        if !section.name.is_empty() {
            self.by_name.entry(section.name.clone()).or_default().push(self.sections.len());
        }
        self.sections.push(Entry {
            name: section.name,
            location: section.location,
            settings: section.settings,
            explicitly_used: false,
            implicitly_used: false,
        });
    }

    /// The settings that the section `kind name [from …]` at `header` starts with.
    pub(crate) fn find(
        &mut self,
        kind: Kind,
        name: &str,
        from: Option<&str>,
        header: &Statement,
        diags: &mut Diagnostics,
    ) -> Settings {
        let index = match from {
            Some(from) => self.named(kind, name, from, header, diags),
            None if kind == Kind::Defaults => None,
            None => self.sections.len().checked_sub(1),
        };
        let Some(entry) = index.and_then(|index| self.sections.get_mut(index)) else {
            return Settings::default();
        };
        if kind != Kind::Defaults {
            entry.explicitly_used |= from.is_some();
            entry.implicitly_used |= from.is_none();
            entry.warn_about_both(header, diags);
        }
        let mut settings = entry.settings.clone();
        settings.check.http_inherited = true;
        settings.check.tcp_inherited = true;
        settings.source.inherited = true;
        settings
    }

    fn named(
        &self,
        kind: Kind,
        name: &str,
        from: &str,
        header: &Statement,
        diags: &mut Diagnostics,
    ) -> Option<usize> {
        let kind = kind.keyword();
        let Some(found) = self.by_name.get(from) else {
            let known = self.by_name.keys().map(AsRef::as_ref);
            let hint = sockeye_syntax::diag::did_you_mean(from, known);
            let end = if hint.is_empty() { "." } else { &hint };
            let message = format!("defaults section '{from}' not found for {kind} '{name}'{end}");
            diags.alert(&header.location, message);
            return None;
        };
        if let [.., second, last] = found[..] {
            let (second, last) = (&self.sections[second].location, &self.sections[last].location);
            let message = format!(
                "ambiguous defaults section name '{from}' referenced by {kind} '{name}' exists at least at {last} and {second}."
            );
            diags.alert(&header.location, message);
        }
        found.last().copied()
    }
}

impl Entry {
    fn warn_about_both(&self, header: &Statement, diags: &mut Diagnostics) {
        if self.explicitly_used && self.implicitly_used {
            let message = format!(
                "defaults section '{}' (declared at {}) is explicitly referenced by another proxy and implicitly used here. To avoid any ambiguity don't mix both usage. Add a last defaults section not explicitly used or always use explicit references.",
                self.name, self.location
            );
            diags.warning(&header.location, message);
        }
    }
}
