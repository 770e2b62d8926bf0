//! Text in, `Config` out: keyword tables, defaults, cross-section resolution and the validated model.
//!
//! No sockets, no tasks, no clock. Reading never stops at the first error: it returns a `Config` only when
//! no alert was raised, and all diagnostics either way. In reading order: words as written (`sockeye_syntax`), a
//! draft in which names are names, the model in which they are ids.

pub mod model;

pub mod keyword;
mod keywords;

mod scope;

pub mod expressions;

mod draft;

mod defaults;

mod section;

mod resolve;

pub mod dump;

#[doc(hidden)]
pub mod fuzz;

use std::time::SystemTime;

use sockeye_syntax::ast::File;
use sockeye_syntax::diag::{Diagnostic, Diagnostics, Place, Severity};
use sockeye_syntax::read::Reader;
use sockeye_syntax::source::Environment;

use crate::model::Config;
pub use crate::scope::{Lookup, NoNames, Resolver, Surroundings};

/// What the command line adds to the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `-n`: `maxconn` of the process, whatever `global` says.
    pub maxconn: Option<u32>,
    /// `-N`: `maxconn` of frontends that have none.
    pub proxy_maxconn: Option<u32>,
    /// `-dW`: any warning is an error, as with `zero-warning`.
    pub zero_warning: bool,
    /// The time by which certificates are valid or not yet or no more. `None`: 1970.
    pub now: Option<SystemTime>,
}

/// Reads the files and folders of `-f`, in order. `environment` is what `${NAME}` means; `setenv` and its kin change
/// it, and its final state is also in the result.
///
/// The configuration is there if and only if no alert was raised. No file at all (empty folders) is no
/// configuration and no diagnostic: the caller shows its usage then.
pub fn read(
    sources: &[String],
    surroundings: &Surroundings<'_>,
    environment: &mut Environment,
    options: &Options,
) -> (Option<Config>, Diagnostics) {
    let mut diags = Diagnostics::new();
    let sections = section::section_words();
    let mut reader = Reader {
        loader: surroundings.loader,
        facts: surroundings.facts,
        sections: &sections,
        env: &mut *environment,
    };
    let file = reader.read(sources, &mut diags);
    if file.sources.is_empty() && !diags.has_alerts() {
        return (None, diags);
    }
    finish(&file, surroundings, environment, options, diags)
}

/// Reads one text that is already in memory, under the name `name`.
pub fn read_text(
    name: &str,
    text: &[u8],
    surroundings: &Surroundings<'_>,
    environment: &mut Environment,
    options: &Options,
) -> (Option<Config>, Diagnostics) {
    let mut diags = Diagnostics::new();
    let sections = section::section_words();
    let mut reader = Reader {
        loader: surroundings.loader,
        facts: surroundings.facts,
        sections: &sections,
        env: &mut *environment,
    };
    let file = reader.read_text(name, text, &mut diags);
    finish(&file, surroundings, environment, options, diags)
}

fn finish(
    file: &File,
    surroundings: &Surroundings<'_>,
    environment: &Environment,
    options: &Options,
    mut diags: Diagnostics,
) -> (Option<Config>, Diagnostics) {
    let mut draft = section::read(file, surroundings, &mut diags);
    let failed = diags.has_alerts();
    diags.end_of_reading(&file.sources);
    draft.global.environment =
        environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    draft.global.zero_warning |= options.zero_warning;
    if options.maxconn.is_some() {
        draft.global.maxconn = options.maxconn;
    }
    let config = resolve::resolve(draft, options, failed, &mut diags);
    if diags.warnings() > 0 && config.global.zero_warning && !diags.has_alerts() {
        let message = "Some warnings were found and 'zero-warning' is set. Aborting.";
        diags.push(Diagnostic::new(Severity::Alert, Place::Nowhere, message).without_context());
    } else if failed {
        diags.conclude();
    } else if diags.has_alerts() {
        let message = "Fatal errors found in configuration.";
        diags.push(Diagnostic::new(Severity::Alert, Place::Nowhere, message).without_context());
    }
    ((!diags.has_alerts()).then_some(config), diags)
}
