//! What several test programs of this crate stand on.

use sockeye_syntax::condition::Facts;

/// A program that can nothing.
pub(crate) struct Nothing;

impl Facts for Nothing {
    fn version(&self) -> &str {
        "3.4.0"
    }
    fn feature(&self, _: &str) -> bool {
        false
    }
    fn enabled(&self, _: &str) -> bool {
        false
    }
    fn tls_library(&self) -> Option<(&str, &str)> {
        None
    }
    fn awslc_api(&self) -> Option<u32> {
        None
    }
}
