//! `log-format` and its kin, and the options that stand for a format (manual 4.2, 8.2). Formats are only kept here:
//! each frontend compiles those it has, as one in `defaults` that nobody has is not even looked at by HAProxy.

use sockeye_syntax::diag::{Diagnostic, Place, Severity};
use sockeye_syntax::words::Words;

use crate::draft::{DraftFormat, FormatText, Kind, LogOption};
use crate::scope::ProxyScope;

/// `log-format`.
pub(crate) fn log_format(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(format) = format(words, scope) {
        replace_line(words, scope, format);
    }
}

/// `log-format-sd`.
pub(crate) fn log_format_sd(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(format) = format(words, scope) {
        scope.proxy.settings.log_format_sd = Some(format);
    }
}

/// `error-log-format`.
pub(crate) fn error_log_format(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(format) = format(words, scope) {
        if scope.proxy.kind == Kind::Defaults && scope.proxy.settings.error_log_format.is_some() {
            overrides(words, "error-log-format", "error-log-format");
        }
        scope.proxy.settings.error_log_format = Some(format);
    }
}

/// `unique-id-format`.
pub(crate) fn unique_id_format(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    if let Some(text) = argument(words) {
        let at = words.location().clone();
        scope.proxy.settings.unique_id_format = Some(DraftFormat { text: FormatText::Written(text), at });
    }
}

/// `unique-id-header`.
pub(crate) fn unique_id_header(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let Some(name) = words.next() else {
        return words.alert("unique-id-header expects an argument.");
    };
    if words.end() {
        scope.proxy.settings.unique_id_header = Some(name.into());
    }
}

/// `option tcplog|httplog|httpslog [clf]`.
pub(crate) fn option(words: &mut Words<'_>, scope: &mut ProxyScope<'_>, option: LogOption) {
    if scope.proxy.kind == Kind::Backend {
        return ignored(words, scope, option.name().trim_end_matches(" clf"));
    }
    let at = words.location().clone();
    replace_line(words, scope, DraftFormat { text: FormatText::Option(option), at });
}

/// A statement with a format as its only argument, which a backend has no use for.
fn format(words: &mut Words<'_>, scope: &ProxyScope<'_>) -> Option<DraftFormat> {
    let keyword = words.keyword().to_owned();
    let text = argument(words)?;
    if scope.proxy.kind == Kind::Backend {
        ignored(words, scope, &keyword);
        return None;
    }
    Some(DraftFormat { text: FormatText::Written(text), at: words.location().clone() })
}

fn argument(words: &mut Words<'_>) -> Option<String> {
    let keyword = words.keyword().to_owned();
    let text = words.next();
    match text {
        None => words.alert(format!("{keyword} expects an argument.")),
        Some(text) if words.is_end() => return Some(text.to_owned()),
        Some(_) => {
            words.alert(format!("{keyword} expects only one argument, don't forget to escape spaces!"));
            words.skip_rest();
        }
    }
    None
}

fn replace_line(words: &mut Words<'_>, scope: &mut ProxyScope<'_>, format: DraftFormat) {
    let settings = &mut scope.proxy.settings;
    if let (Kind::Defaults, Some(previous)) = (scope.proxy.kind, &settings.log_format) {
        let name = |format: &DraftFormat| match format.text {
            FormatText::Option(option) => option.name(),
            FormatText::Written(_) => "log-format",
        };
        overrides(words, name(&format), name(previous));
    }
    settings.log_format = Some(format);
}

fn overrides(words: &mut Words<'_>, name: &str, previous: &str) {
    let place = Place::Reading(words.location().clone());
    let message = format!("'{name}' overrides previous '{previous}' in 'defaults' section.");
    words.diags().push(Diagnostic::new(Severity::Warning, place, message));
}

fn ignored(words: &mut Words<'_>, scope: &ProxyScope<'_>, name: &str) {
    words.warning(format!("backend '{}' : '{name}' directive is ignored in backends.", scope.proxy.name));
}
