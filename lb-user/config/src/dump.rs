//! The validated configuration as canonical text, for golden tests and `sockeye dump`.

use crate::model::Config;

/// One line per fact, in the order of the files; what has its default value is left out.
pub fn dump(config: &Config) -> String {
    format!("{config:#?}\n")
}
