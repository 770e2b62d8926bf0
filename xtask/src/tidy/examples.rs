//! Example configurations: each must be read by a test, or it will rot.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::Finding;
use super::source::Source;

/// The names of the files in `configs`.
pub(super) fn read(root: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(root.join("configs"))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name.ends_with(".cfg"));
    names.sort();
    Ok(names)
}

/// A file is tested when a test names it, or when a test walks the folder.
pub(super) fn check(examples: &[String], sources: &[Source]) -> Vec<Finding> {
    let tests: Vec<String> =
        sources.iter().filter(|source| !source.path.starts_with("xtask/")).map(test_text).collect();
    let walked = tests.iter().any(|text| text.contains("configs\"") && text.contains("read_dir"));
    let named = |name: &String| tests.iter().any(|text| text.contains(name.as_str()));
    let untested = examples.iter().filter(|name| !walked && !named(name));
    untested.map(|name| Finding::error(format!("configs/{name}"), "no test parses it")).collect()
}

fn test_text(source: &Source) -> String {
    source.text.lines().skip(source.lines_before_tests).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let found = super::check(&["a.cfg".to_owned()], &[Source::new(path, text)]);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn examples_are_named_or_walked() {
        check("tests/tests/config.rs", "parse(\"configs/a.cfg\");", &[]);
        check("tests/tests/config.rs", "for file in fs::read_dir(root.join(\"configs\")) {}", &[]);
        check("tests/tests/config.rs", "", &["error: configs/a.cfg: no test parses it"]);
        check(
            "lb-user/src/main.rs",
            "const DEFAULT: &str = \"a.cfg\";",
            &["error: configs/a.cfg: no test parses it"],
        );
    }
}
