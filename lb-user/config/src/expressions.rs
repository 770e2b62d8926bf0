//! The words that expressions in configurations are made of.

use std::sync::LazyLock;

use sockeye_sample::Language;

/// Everything that is obeyed, collected once per process.
pub(crate) fn language() -> &'static Language {
    static LANGUAGE: LazyLock<Language> =
        LazyLock::new(|| Language::new(&sockeye_fetch::all(), &sockeye_convert::all()));
    &LANGUAGE
}
