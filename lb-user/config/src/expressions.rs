//! The words that expressions in configurations are made of, and how statements compile them.

use std::sync::LazyLock;

use sockeye_sample::{Compiler, Language};
use sockeye_syntax::words::Words;

use crate::scope::ProxyScope;

/// Everything that is obeyed, collected once per process.
pub fn language() -> &'static Language {
    static LANGUAGE: LazyLock<Language> = LazyLock::new(|| {
        let mut fetches = sockeye_fetch::all();
        fetches.push(sockeye_sample::ACL_FETCHES);
        Language::new(&fetches, &sockeye_convert::all())
            .with_acls(sockeye_fetch::ACLS, sockeye_fetch::PREDEFINED)
    });
    &LANGUAGE
}

/// Runs `compile` with a compiler for the statement of `words`, and reports its warnings.
pub(crate) fn compile<T>(
    words: &mut Words<'_>,
    scope: &mut ProxyScope<'_>,
    compile: impl FnOnce(&mut Compiler<'_>) -> T,
) -> T {
    let mut warnings = Vec::new();
    let location = words.location();
    let mut compiler =
        scope.expressions.compiler(&location.file, location.line, &scope.proxy.name, &mut warnings);
    compiler.acls = scope.acls.clone();
    let result = compile(&mut compiler);
    for warning in warnings {
        words.warning(warning);
    }
    result
}
