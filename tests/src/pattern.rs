//! Patterns for lines: literal text with `<n>` (digits), `<date>` (log date), `<hex>` and `<*>` (anything, also nothing).
//!
//! Only these names are placeholders, so the `<NOSRV>` and `<BADREQ>` of log lines stand for themselves.

/// Whether the whole `line` matches `pattern`.
pub fn matches(pattern: &str, line: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix("<*>") {
        return (0..=line.len()).filter(|at| line.is_char_boundary(*at)).any(|at| matches(rest, &line[at..]));
    }
    if let Some(rest) = pattern.strip_prefix("<n>") {
        return run(line, |c| c.is_ascii_digit()).is_some_and(|tail| matches(rest, tail));
    }
    if let Some(rest) = pattern.strip_prefix("<hex>") {
        return run(line, |c| c.is_ascii_hexdigit()).is_some_and(|tail| matches(rest, tail));
    }
    if let Some(rest) = pattern.strip_prefix("<date>") {
        return date(line).is_some_and(|tail| matches(rest, tail));
    }
    let mut pattern_chars = pattern.chars();
    let mut line_chars = line.chars();
    match (pattern_chars.next(), line_chars.next()) {
        (None, None) => true,
        (Some(p), Some(l)) if p == l => matches(pattern_chars.as_str(), line_chars.as_str()),
        _ => false,
    }
}

/// What follows the longest non-empty run of characters that `accept` takes.
fn run(line: &str, accept: impl Fn(char) -> bool) -> Option<&str> {
    let tail = line.trim_start_matches(accept);
    (tail.len() < line.len()).then_some(tail)
}

/// What follows `21/Nov/2026:06:37:05.277`.
fn date(line: &str) -> Option<&str> {
    const SHAPE: &[u8] = b"00/Aaa/0000:00:00:00.000";
    let head = line.as_bytes().get(..SHAPE.len())?;
    head.iter()
        .zip(SHAPE)
        .all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            b'A' => byte.is_ascii_uppercase(),
            b'a' => byte.is_ascii_lowercase(),
            literal => byte == literal,
        })
        .then(|| &line[SHAPE.len()..])
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[track_caller]
    fn check(pattern: &str, line: &str, expected: bool) {
        assert_eq!(matches(pattern, line), expected, "{pattern:?} on {line:?}");
    }

    #[test]
    fn placeholders() {
        check("a<n>b", "a12b", true);
        check("a<n>b", "ab", false);
        check("<*>b<*>", "aabaa", true);
        check("<*>", "", true);
        check("[<date>] x", "[21/Nov/2026:06:37:05.277] x", true);
        check("[<date>] x", "[21/11/2026:06:37:05.277] x", false);
        check("<NOSRV>", "<NOSRV>", true);
        check("é<hex>", "é0f", true);
        check("abc", "abcd", false);
    }
}
