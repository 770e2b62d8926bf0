//! Regular expressions over bytes.
//!
//! Linear in time where the expression allows it; expressions with look-around or backreferences go to PCRE2, with
//! a limit on the steps of one match.

use std::fmt;

use pcre2::bytes::{CaptureLocations, Regex as Slow, RegexBuilder as SlowBuilder};
use regex::bytes::{
    Captures as FastCaptures, Regex as Fast, RegexBuilder as FastBuilder, RegexSet, RegexSetBuilder,
};

/// Steps of one match in PCRE2; some ten milliseconds. A subject that needs more does not match.
const STEPS_MAX: u32 = 500_000;
/// Bytes of one compiled expression.
const COMPILED_BYTES_MAX: usize = 10 * 1024 * 1024;

/// Bytes of the automaton that tries several expressions at once.
const SET_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What PCRE2's machine code may use for one match beyond its first 32 KiB.
const JIT_STACK_BYTES_MAX: usize = 1024 * 1024;

/// A compiled expression.
pub struct Regex {
    text: Box<str>,
    engine: Engine,
}

enum Engine {
    Fast(Fast),
    Slow(Slow),
}

/// What the groups of an expression matched.
pub struct Captures<'a>(Groups<'a>);

enum Groups<'a> {
    Fast(FastCaptures<'a>),
    Slow(&'a [u8], CaptureLocations),
}

impl Regex {
    /// Compiles an expression in Perl's syntax.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str, ignore_case: bool) -> Result<Self, String> {
        let fast = if is_ambiguous(text) {
            None
        } else {
            FastBuilder::new(text)
                .unicode(false)
                .case_insensitive(ignore_case)
                .size_limit(COMPILED_BYTES_MAX)
                .build()
                .ok()
        };
        let engine = match fast {
            Some(fast) => Engine::Fast(fast),
            None => {
                let limited = format!("(*LIMIT_MATCH={STEPS_MAX})(*LIMIT_DEPTH={STEPS_MAX}){text}");
                let slow = SlowBuilder::new()
                    .caseless(ignore_case)
                    .jit_if_available(true)
                    .max_jit_stack_size(Some(JIT_STACK_BYTES_MAX))
                    .build(&limited);
                Engine::Slow(slow.map_err(|error| error.to_string())?)
            }
        };
        Ok(Self { text: text.into(), engine })
    }

    /// One automaton for several expressions that are linear; `None` when it would be too large.
    pub(crate) fn set(texts: &[&str], ignore_case: bool) -> Option<RegexSet> {
        let mut builder = RegexSetBuilder::new(texts);
        builder.unicode(false).case_insensitive(ignore_case).size_limit(SET_BYTES_MAX).build().ok()
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether any part of `subject` matches.
    pub fn is_match(&self, subject: &[u8]) -> bool {
        match &self.engine {
            Engine::Fast(fast) => fast.is_match(subject),
            Engine::Slow(slow) => slow.is_match(subject).unwrap_or(false),
        }
    }

    /// The groups of the first match.
    pub fn captures<'a>(&self, subject: &'a [u8]) -> Option<Captures<'a>> {
        self.captures_at(subject, 0)
    }

    /// The groups of the first match from `start` on; what is before it still counts for `^`, `\b` and look-behind.
    /// Behind the end of `subject` there is none.
    pub fn captures_at<'a>(&self, subject: &'a [u8], start: usize) -> Option<Captures<'a>> {
        if start > subject.len() {
            return None;
        }
        match &self.engine {
            Engine::Fast(fast) => {
                fast.captures_at(subject, start).map(|captures| Captures(Groups::Fast(captures)))
            }
            Engine::Slow(slow) => {
                let mut locations = slow.capture_locations();
                slow.captures_read_at(&mut locations, subject, start).ok().flatten()?;
                Some(Captures(Groups::Slow(subject, locations)))
            }
        }
    }

    /// Whether matching takes linear time, so that many can be tried at once.
    pub fn is_linear(&self) -> bool {
        matches!(self.engine, Engine::Fast(_))
    }
}

impl Captures<'_> {
    /// What a group matched; 0 is the whole match.
    pub fn get(&self, group: usize) -> Option<&[u8]> {
        match &self.0 {
            Groups::Fast(captures) => captures.get(group).map(|found| found.as_bytes()),
            Groups::Slow(subject, locations) => {
                locations.get(group).and_then(|(from, to)| subject.get(from..to))
            }
        }
    }

    /// Where the whole match begins and ends.
    pub fn range(&self) -> (usize, usize) {
        match &self.0 {
            Groups::Fast(captures) => captures.get(0).map_or((0, 0), |found| (found.start(), found.end())),
            Groups::Slow(_, locations) => locations.get(0).unwrap_or_default(),
        }
    }
}

/// Whether the `regex` crate may read an expression in another way than Perl: it knows nested sets and operators between
/// sets in brackets, `\<`, `\>` and `\b{start}` for the edges of words, and the flags `R` and `u`.
fn is_ambiguous(text: &str) -> bool {
    const ELSEWHERE: [&str; 8] = ["&&", "--", "~~", r"\<", r"\>", r"\b{", "(?R", "(?u"];
    const CLASSES: [&str; 14] = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
        "upper", "word", "xdigit",
    ];
    if ELSEWHERE.iter().any(|part| text.contains(part)) {
        return true;
    }
    let mut in_set = false;
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '[', ']']) {
        let behind = &rest[at + 1..];
        rest = match rest.as_bytes()[at] {
            b'\\' => {
                let mut chars = behind.chars();
                chars.next();
                chars.as_str()
            }
            b']' => {
                in_set = false;
                behind
            }
            _ if !in_set => {
                in_set = true;
                // A bracket that comes first is an ordinary one.
                let first = behind.strip_prefix('^').unwrap_or(behind);
                first.strip_prefix(']').unwrap_or(first)
            }
            _ => {
                let named = behind.strip_prefix(':').and_then(|class| class.split_once(":]"));
                match named {
                    Some((class, behind)) if CLASSES.contains(&class.trim_start_matches('^')) => behind,
                    _ => return true,
                }
            }
        };
    }
    // Flags may stand together: (?iR).
    text.match_indices("(?").any(|(at, _)| {
        let flags = text[at + 2..].split(|char: char| !char.is_ascii_alphabetic()).next().unwrap_or_default();
        flags.contains(['R', 'u'])
    })
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        #[track_caller]
        fn check(text: &str, ignore_case: bool, subject: &[u8], expected: Option<&[u8]>) {
            let regex = Regex::new(text, ignore_case).expect("a valid expression");
            assert_eq!(regex.is_match(subject), expected.is_some(), "{text}");
            let captures = regex.captures(subject);
            assert_eq!(captures.as_ref().and_then(|captures| captures.get(1)), expected, "{text}");
        }
        check("^/([a-z]+)", false, b"/abc", Some(b"abc"));
        check("^/([a-z]+)", false, b"/ABC", None);
        check("^/([a-z]+)", true, b"/ABC", Some(b"ABC"));
        check("a(?=b)(.)", false, b"ab", Some(b"b"));
        check(r"(.)\1", false, b"abb", Some(b"b"));
        check("(\\xff)", false, b"\xff", Some(b"\xff"));
        for text in ["(b)", "(b)(?=.?)"] {
            let regex = Regex::new(text, false).expect("valid");
            let range = |start| regex.captures_at(b"abcb", start).map(|captures| captures.range());
            assert_eq!([range(0), range(2), range(4), range(5)], [Some((1, 2)), Some((3, 4)), None, None]);
        }
        // Perl's meaning where the fast engine has another one.
        check("([a&&b])", false, b"&", Some(b"&"));
        check("([[a]b])", false, b"[b]", Some(b"[b]"));
        check("([[a])", false, b"[", Some(b"["));
        check(r"(\<a)", false, b"<a", Some(b"<a"));
        check("([]a]+)", false, b"]a", Some(b"]a"));
        check("([[:alpha:]]+)", false, b"1ab", Some(b"ab"));
        check("(a{,2}x{)", false, b"aax{", Some(b"aax{"));
        assert!(Regex::new("(", false).is_err());
        // A subject that would take forever does not match.
        assert!(
            !Regex::new(r"^(a+)+\1$", false)
                .expect("valid")
                .is_match(&[b"a".repeat(40), b"b".to_vec()].concat())
        );
    }
}
