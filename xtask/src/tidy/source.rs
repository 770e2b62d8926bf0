//! Source files as the checks see them: comments and literals blanked, tests told apart.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The folders that hold our Rust.
const FOLDERS: [&str; 6] = ["lb-common", "lb-ebpf", "lb-user", "xtask", "tests", "fuzz"];
/// Folders below them that are not ours to read.
const SKIPPED: [&str; 3] = ["target", "corpus", "artifacts"];

/// One Rust file.
pub(super) struct Source {
    /// From the root, with slashes.
    pub(super) path: String,
    /// The text with comments, strings and characters replaced by blanks; the lines stay where they were.
    pub(super) code: String,
    /// The text as it is.
    pub(super) text: String,
    /// How many lines come before the tests; 0 for a file that is all tests.
    pub(super) lines_before_tests: usize,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let lines_before_tests = if is_test_file(path) { 0 } else { before_tests(&code) };
        Self { path: path.to_owned(), code, text: text.to_owned(), lines_before_tests }
    }

    /// The lines of code outside tests, numbered from 1.
    pub(super) fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().take(self.lines_before_tests)
    }

    /// All lines of code, numbered from 1.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Whether the line has the word, not as a part of a longer one.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, found)| {
        let before = line[..start].chars().next_back();
        let after = line[start + found.len()..].chars().next();
        let open = |end: Option<char>| !end.is_some_and(is_part);
        // A pattern that begins or ends with a sign, such as `tokio::`, is bounded on that side by itself.
        (open(before) || !word.starts_with(is_part)) && (open(after) || !word.ends_with(is_part))
    })
}

/// Reads every Rust file of ours, in the order of their paths.
pub(super) fn read_tree(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        read_folder(root, &root.join(folder), &mut sources)?;
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn read_folder(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
            read_folder(root, &path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            sources.push(Source::new(&path.strip_prefix(root).unwrap_or(&path).to_string_lossy(), &text));
        }
    }
    Ok(())
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/")
        || path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.contains("/benches/")
}

/// Tests are at the bottom: everything from `#[cfg(test)] mod name {` on.
fn before_tests(code: &str) -> usize {
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let opens = |line: &&str| line.starts_with("mod ") && line.ends_with('{');
    let starts = |index: &usize| {
        lines[*index] == "#[cfg(test)]"
            && lines[index + 1..].iter().find(|line| !line.starts_with('#')).is_some_and(opens)
    };
    (0..lines.len()).find(starts).unwrap_or(lines.len())
}

/// Replaces comments and literals by blanks of the same length in characters.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at).unwrap_or(at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment or literal that starts here ends.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let next = |offset: usize| chars.get(at + offset).copied();
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match (chars[at], next(1)) {
        ('/', Some('/')) => Some(find(chars, at, |i| chars[i] == '\n')),
        ('/', Some('*')) => Some(block_comment_end(chars, at)),
        ('"', _) => Some(quoted_end(chars, at, '"')),
        ('r', Some('"' | '#')) if !in_word => raw_end(chars, at),
        ('b', Some('r')) if !in_word && matches!(next(2), Some('"' | '#')) => raw_end(chars, at + 1),
        // A character, not a lifetime: escaped, or closed right after one character.
        ('\'', Some('\\')) => Some(quoted_end(chars, at, '\'')),
        ('\'', Some(_)) if next(2) == Some('\'') => Some(at + 3),
        _ => None,
    }
}

fn find(chars: &[char], from: usize, found: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|index| found(*index)).unwrap_or(chars.len())
}

fn quoted_end(chars: &[char], at: usize, quote: char) -> usize {
    let mut index = at + 1;
    while index < chars.len() {
        match chars[index] {
            '\\' => index += 2,
            c if c == quote => return index + 1,
            _ => index += 1,
        }
    }
    chars.len()
}

/// `r#"…"#` with any number of signs; nothing for a raw identifier.
fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let signs = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + signs;
    (chars.get(open) == Some(&'"')).then_some(())?;
    let closes = |index: usize| {
        chars[index] == '"'
            && chars.len() > index + signs
            && chars[index + 1..=index + signs].iter().all(|c| *c == '#')
    };
    Some((find(chars, open + 1, closes) + 1 + signs).min(chars.len()))
}

/// Block comments nest.
fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut index, mut depth) = (at, 0usize);
    while index < chars.len() {
        match (chars[index], chars.get(index + 1)) {
            ('/', Some('*')) => (index, depth) = (index + 2, depth + 1),
            ('*', Some('/')) if depth == 1 => return index + 2,
            ('*', Some('/')) => (index, depth) = (index + 2, depth - 1),
            _ => index += 1,
        }
    }
    chars.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let code = blank(text);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expected);
        assert_eq!(code.chars().count(), text.chars().count(), "nothing moves");
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check("a // unsafe\nb", "a b");
        check("a /* x /* y */ z */ b", "a b");
        check(r#"f("unsafe \" {", 'x', '\'', b"b")"#, "f( , , , b )");
        check(r##"f(r"a\", r#"b"c"#, br"d", r#type)"##, "f( , , , r#type)");
        check("fn f<'a>(x: &'a str, c: char) {}", "fn f<'a>(x: &'a str, c: char) {}");
        check("\"open", "");
    }

    #[test]
    fn tests_are_told_apart() {
        let text = "fn a() {}\n#[cfg(test)]\nuse x;\n#[cfg(test)]\n#[allow(y)]\nmod tests {\n}\n";
        assert_eq!(Source::new("lb-user/src/a.rs", text).lines_before_tests, 3);
        assert_eq!(Source::new("lb-user/src/a/tests.rs", text).lines_before_tests, 0);
        assert_eq!(Source::new("lb-user/src/a.rs", "fn a() {}\n").lines_before_tests, 1);
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("x = unsafe { y }", "unsafe"));
        assert!(!has_word("deny(unsafe_code)", "unsafe"));
        assert!(has_word("use tokio::net;", "tokio::"));
        assert!(!has_word("use my_tokio::net;", "tokio::"));
    }
}
