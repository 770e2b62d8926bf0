//! Files that have grown a second subject.

use super::Finding;
use super::source::Source;

/// Above this many lines before the tests, ask what the second subject is.
const LINES_WARNING: usize = 600;
/// Above this many, split.
const LINES_ERROR: usize = 900;

/// Checks every file.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().filter_map(|source| judge(&source.path, source.lines_before_tests)).collect()
}

fn judge(path: &str, lines: usize) -> Option<Finding> {
    let message = format!("{lines} lines: what is the second subject?");
    match lines {
        _ if lines > LINES_ERROR => Some(Finding::error(path, message)),
        _ if lines > LINES_WARNING => Some(Finding::warning(path, message)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn long_files_are_named() {
        for (lines, expected) in [(600, None), (601, Some(Level::Warning)), (901, Some(Level::Error))] {
            let source = Source::new("a.rs", &"x\n".repeat(lines));
            assert_eq!(check(&[source]).first().map(|finding| finding.level), expected, "{lines}");
        }
    }

    #[test]
    fn tests_do_not_count() {
        let text = "x\n".repeat(500) + "#[cfg(test)]\nmod tests {\n" + &"x\n".repeat(500) + "}\n";
        assert!(check(&[Source::new("a.rs", &text)]).is_empty());
    }
}
