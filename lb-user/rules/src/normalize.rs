//! `normalize-uri` (manual 4.4): one kind of normalization each.

use crate::action::Normalizer;
use crate::edit::{path_start, split_query};

/// The target was not valid and the normalizer is strict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The normalized target; `None` when nothing changes.
///
/// # Errors
/// With `strict`, for percent signs that encode nothing.
pub fn normalize(normalizer: Normalizer, target: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let start = path_start(target);
    let (before, rest) = target.split_at(start);
    let (path, query) = split_query(rest);
    let with_path = |path: Vec<u8>| {
        let mut out = before.to_vec();
        out.extend_from_slice(&path);
        if let Some(query) = query {
            out.push(b'?');
            out.extend_from_slice(query);
        }
        out
    };
    let out = match normalizer {
        Normalizer::FragmentEncode => {
            let mut out = Vec::with_capacity(target.len() + 8);
            for byte in target {
                match byte {
                    b'#' => out.extend_from_slice(b"%23"),
                    byte => out.push(*byte),
                }
            }
            out
        }
        Normalizer::FragmentStrip => target[..memchr::memchr(b'#', target).unwrap_or(target.len())].to_vec(),
        Normalizer::PathMergeSlashes => {
            let mut merged = path.to_vec();
            merged.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
            with_path(merged)
        }
        Normalizer::PathStripDot => with_path(strip_dot(path)),
        Normalizer::PathStripDotDot { full } => with_path(strip_dot_dot(path, full)),
        Normalizer::PercentDecodeUnreserved { strict } => percent(target, strict, |decoded, pair, out| {
            if decoded.is_ascii_alphanumeric() || matches!(decoded, b'-' | b'.' | b'_' | b'~') {
                out.push(decoded);
            } else {
                out.push(b'%');
                out.extend_from_slice(pair);
            }
        })?,
        Normalizer::PercentToUppercase { strict } => percent(target, strict, |_, pair, out| {
            out.push(b'%');
            out.extend(pair.iter().map(u8::to_ascii_uppercase));
        })?,
        Normalizer::QuerySortByName => {
            let Some(query) = query else { return Ok(None) };
            let mut parameters: Vec<&[u8]> = query.split(|byte| *byte == b'&').collect();
            parameters.sort_by(|a, b| name_of(a).cmp(name_of(b)));
            let mut out = before.to_vec();
            out.extend_from_slice(path);
            out.push(b'?');
            out.extend_from_slice(&parameters.join(&b'&'));
            out
        }
    };
    Ok((out != target).then_some(out))
}

fn name_of(parameter: &[u8]) -> &[u8] {
    &parameter[..memchr::memchr(b'=', parameter).unwrap_or(parameter.len())]
}

/// Segments that are a single dot go.
fn strip_dot(path: &[u8]) -> Vec<u8> {
    let mut segments = path.split(|byte| *byte == b'/').peekable();
    let mut kept: Vec<&[u8]> = Vec::new();
    while let Some(segment) = segments.next() {
        if segment != b"." {
            kept.push(segment);
        } else if segments.peek().is_none() {
            // A dot at the end leaves the slash before it.
            kept.push(b"");
        }
    }
    kept.join(&b'/')
}

/// A segment and the `..` after it go; a `..` with nothing before it stays unless `full`.
fn strip_dot_dot(path: &[u8], full: bool) -> Vec<u8> {
    let Some(rest) = path.strip_prefix(b"/") else { return path.to_vec() };
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = rest.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if segment != b".." {
            kept.push(segment);
            continue;
        }
        match kept.last() {
            Some(previous) if *previous != b".." => {
                kept.pop();
                if last {
                    kept.push(b"");
                }
            }
            _ if full => {
                if last {
                    kept.push(b"");
                }
            }
            _ => kept.push(segment),
        }
    }
    let mut out = vec![b'/'];
    out.extend_from_slice(&kept.join(&b'/'));
    out
}

fn percent(
    target: &[u8],
    strict: bool,
    mut valid: impl FnMut(u8, &[u8], &mut Vec<u8>),
) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(target.len());
    let mut at = 0;
    while at < target.len() {
        if target[at] == b'%' {
            let pair = target.get(at + 1..at + 3);
            if let Some(pair) = pair
                && let Some(decoded) = decode(pair)
            {
                valid(decoded, pair, &mut out);
                at += 3;
                continue;
            }
            if strict {
                return Err(Malformed);
            }
        }
        out.push(target[at]);
        at += 1;
    }
    Ok(out)
}

fn decode(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_manual() {
        #[track_caller]
        fn check(normalizer: Normalizer, target: &str, expected: Option<&str>) {
            let got = normalize(normalizer, target.as_bytes()).map(|out| {
                String::from_utf8(out.unwrap_or_else(|| target.as_bytes().to_vec())).expect("text")
            });
            assert_eq!(got.as_deref().ok(), expected, "{normalizer:?} {target}");
        }
        use Normalizer::*;
        check(FragmentEncode, "/#foo", Some("/%23foo"));
        check(FragmentStrip, "/#foo", Some("/"));
        for (from, to) in
            [("/.", "/"), ("/./bar/", "/bar/"), ("/a/./a", "/a/a"), ("/.well-known/", "/.well-known/")]
        {
            check(PathStripDot, from, Some(to));
        }
        for (from, to) in [
            ("/foo/../", "/"),
            ("/foo/../bar/", "/bar/"),
            ("/foo/bar/../", "/foo/"),
            ("/../bar/", "/../bar/"),
            ("/bar/../../", "/../"),
            ("/foo//../", "/foo/"),
            ("/foo/%2E%2E/", "/foo/%2E%2E/"),
            ("/foo/..", "/"),
        ] {
            check(PathStripDotDot { full: false }, from, Some(to));
        }
        check(PathStripDotDot { full: true }, "/../bar/", Some("/bar/"));
        check(PathStripDotDot { full: true }, "/bar/../../", Some("/"));
        check(PathMergeSlashes, "//", Some("/"));
        check(PathMergeSlashes, "/foo//bar?a//b", Some("/foo/bar?a//b"));
        let decode = |strict| PercentDecodeUnreserved { strict };
        check(decode(false), "/%61dmin", Some("/admin"));
        check(decode(false), "/foo%3Fbar=baz", Some("/foo%3Fbar=baz"));
        check(decode(false), "/%%36%36", Some("/%66"));
        check(decode(false), "/%ZZ", Some("/%ZZ"));
        check(decode(true), "/%%36%36", None);
        check(decode(true), "/%ZZ", None);
        check(PercentToUppercase { strict: false }, "/%6f", Some("/%6F"));
        check(PercentToUppercase { strict: false }, "/%zz", Some("/%zz"));
        check(PercentToUppercase { strict: true }, "/%zz", None);
        check(QuerySortByName, "/?c=3&a=1&b=2", Some("/?a=1&b=2&c=3"));
        check(QuerySortByName, "/?aaa=3&a=1&aa=2", Some("/?a=1&aa=2&aaa=3"));
        check(QuerySortByName, "/?a=3&b=4&a=1&b=5&a=2", Some("/?a=3&a=1&a=2&b=4&b=5"));
    }
}
