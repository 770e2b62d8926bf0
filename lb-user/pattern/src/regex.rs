//! Regular expressions over bytes.
//!
//! Linear in time where the expression allows it; expressions with look-around or backreferences go to PCRE2, with
//! a limit on the steps of one match.

use std::fmt;

use pcre2::bytes::{CaptureLocations, Regex as Slow, RegexBuilder as SlowBuilder};
use regex::bytes::{Captures as FastCaptures, Regex as Fast, RegexBuilder as FastBuilder};

/// Steps of one match in PCRE2; some ten milliseconds. A subject that needs more does not match.
const STEPS_MAX: u32 = 500_000;
/// Bytes of one compiled expression.
const COMPILED_BYTES_MAX: usize = 10 * 1024 * 1024;

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
        let fast = FastBuilder::new(text)
            .unicode(false)
            .case_insensitive(ignore_case)
            .dot_matches_new_line(false)
            .size_limit(COMPILED_BYTES_MAX)
            .build();
        let engine = match fast {
            Ok(fast) => Engine::Fast(fast),
            Err(_) => {
                let limited = format!("(*LIMIT_MATCH={STEPS_MAX})(*LIMIT_DEPTH={STEPS_MAX}){text}");
                let slow = SlowBuilder::new().caseless(ignore_case).jit_if_available(true).build(&limited);
                Engine::Slow(slow.map_err(|error| error.to_string())?)
            }
        };
        Ok(Self { text: text.into(), engine })
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
            Engine::Fast(fast) => fast.captures_at(subject, start).map(|captures| Captures(Groups::Fast(captures))),
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
            Groups::Slow(subject, locations) => locations.get(group).and_then(|(from, to)| subject.get(from..to)),
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
        assert!(Regex::new("(", false).is_err());
        // A subject that would take forever does not match.
        assert!(
            !Regex::new(r"^(a+)+\1$", false)
                .expect("valid")
                .is_match(&[b"a".repeat(40), b"b".to_vec()].concat())
        );
    }
}
