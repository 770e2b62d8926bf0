//! Conditional blocks (manual §2.4): the expressions of `.if`, `.elif` and `-cc`.

use crate::source::Environment;

/// What conditions may ask about the running program.
pub trait Facts {
    /// The version compared by `version_atleast()`, e.g. `3.4.0`.
    fn version(&self) -> &str;
    /// `feature(NAME)`.
    fn feature(&self, name: &str) -> bool;
    /// `enabled(NAME)`; `None` if the option is not known.
    fn enabled(&self, name: &str) -> Option<bool>;
    /// The TLS library's name and version, e.g. `("OpenSSL 3.0.0", "3.0.0")`.
    fn tls_library(&self) -> Option<(&str, &str)>;
    /// AWS-LC's API number, when that is the library.
    fn awslc_api(&self) -> Option<u32>;
}

/// Evaluates one condition, as `-cc` does.
pub fn evaluate_condition(text: &str, facts: &dyn Facts, env: &Environment) -> Result<bool, ConditionError> {
    let _ = (text, facts, env);
    Ok(false)
}

/// Why a condition cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    #[error("unexpected")]
    Unexpected,
}
