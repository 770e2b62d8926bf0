//! The expression language of this configuration: which words there are, and what its expressions share.

use std::sync::LazyLock;

use sockeye_pattern::Library;
use sockeye_sample::{Compiler, Expressions, Language};
use sockeye_syntax::words::Words;

use crate::scope::{ProxyScope, Surroundings};

/// Every fetch and converter that is obeyed.
pub fn language() -> &'static Language {
    static LANGUAGE: LazyLock<Language> =
        LazyLock::new(|| {
            let mut fetches = sockeye_fetch::all();
            fetches.push(sockeye_sample::ACL_FETCHES);
            Language::new(&fetches, &sockeye_convert::all())
                .with_acls(sockeye_fetch::ACLS, sockeye_fetch::PREDEFINED)
        });
    &LANGUAGE
}

/// Nothing compiled yet.
pub(crate) fn new(_: &Surroundings<'_>) -> Expressions {
    Expressions::new(language(), Library::default())
}

/// Runs `compile` with a compiler for the statement of `words`, and reports its warnings.
pub(crate) fn compile<T>(
    words: &mut Words<'_>,
    scope: &mut ProxyScope<'_>,
    compile: impl FnOnce(&mut Compiler<'_>) -> T,
) -> T {
    let mut warnings = Vec::new();
    let location = words.location();
    let result = compile(&mut scope.expressions.compiler(
        &location.file,
        location.line,
        &scope.proxy.name,
        &scope.acls,
        &mut warnings,
    ));
    for warning in warnings {
        words.warning(warning);
    }
    result
}
