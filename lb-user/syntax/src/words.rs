//! The cursor over one statement's words that every keyword parser takes.
//!
//! Each helper reads one thing, or says what is wrong in HAProxy's words and returns `None`: a parser is a row of
//! `let value = words.number(1..=1024)?;` that ends with `words.end()`.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::ast::{Statement, Word};
use crate::diag::{Diagnostic, Diagnostics, Location, Place, Severity};
use crate::units::{self, SizeError, TIME_UNITS, TimeError, TimeUnit};

/// A position in a statement, the name messages use for it, and where they go.
pub struct Words<'a> {
    statement: &'a Statement,
    next: usize,
    /// The keyword as messages quote it: one word, or several (`timeout client`).
    keyword: String,
    diags: &'a mut Diagnostics,
}

impl<'a> Words<'a> {
    /// Starts behind the statement's first word, which is its keyword.
    pub fn new(statement: &'a Statement, diags: &'a mut Diagnostics) -> Self {
        Self { statement, next: 1, keyword: statement.keyword().to_owned(), diags }
    }

    /// The keyword as messages quote it.
    pub fn keyword(&self) -> &str {
        &self.keyword
    }

    /// Takes the next word as a part of the keyword: after it, `timeout` is called `timeout client`.
    pub fn extend_keyword(&mut self) -> Option<&'a str> {
        let word = self.next()?;
        self.keyword.push(' ');
        self.keyword.push_str(word);
        Some(word)
    }

    /// Sets the name that messages use.
    pub fn set_keyword(&mut self, keyword: impl Into<String>) {
        self.keyword = keyword.into();
    }

    pub fn statement(&self) -> &'a Statement {
        self.statement
    }

    pub fn location(&self) -> &'a Location {
        &self.statement.location
    }

    /// The next word, which stays.
    pub fn peek(&self) -> Option<&'a str> {
        self.statement.words.get(self.next).map(|word| word.text.as_str())
    }

    /// The next word.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<&'a str> {
        self.next_word().map(|word| word.text.as_str())
    }

    /// The next word with its column and exact bytes.
    pub fn next_word(&mut self) -> Option<&'a Word> {
        let word = self.statement.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    /// Takes the next word if it is `text`.
    pub fn take(&mut self, text: &str) -> bool {
        let found = self.peek() == Some(text);
        self.next += usize::from(found);
        found
    }

    /// The words that are left, which stay.
    pub fn rest(&self) -> &'a [Word] {
        self.statement.words.get(self.next..).unwrap_or_default()
    }

    /// Takes all that is left, joined with single spaces.
    pub fn take_rest(&mut self) -> String {
        let text = self.rest().iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        self.skip_rest();
        text
    }

    /// Takes all that is left, unseen: after an error in an enumeration, so that `end` does not add a second one.
    pub fn skip_rest(&mut self) {
        self.next = self.statement.words.len();
    }

    /// How many words were taken, the keyword included; `seek` goes back to it.
    pub fn position(&self) -> usize {
        self.next
    }

    pub fn seek(&mut self, position: usize) {
        self.next = position.min(self.statement.words.len());
    }

    pub fn is_end(&self) -> bool {
        self.next >= self.statement.words.len()
    }

    /// The next word, or the alert `'KEYWORD' expects WHAT.` (`what` as in `a name`).
    pub fn expect(&mut self, what: &str) -> Option<&'a str> {
        let word = self.next();
        if word.is_none() {
            let message = format!("'{}' expects {what}.", self.keyword);
            self.alert(message);
        }
        word
    }

    /// One of some fixed words, or an alert that lists them.
    pub fn choice<T: Copy>(&mut self, choices: &[(&str, T)]) -> Option<T> {
        let names = || quoted_list(choices.iter().map(|(name, _)| *name));
        let Some(word) = self.next() else {
            let message = format!("'{}' expects {}.", self.keyword, names());
            self.alert(message);
            return None;
        };
        let found = choices.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        if found.is_none() {
            let message = format!("'{}' only supports {} (got '{word}').", self.keyword, names());
            self.alert(message);
        }
        found
    }

    /// An integer within `range`, of the range's own type.
    pub fn number<T>(&mut self, range: RangeInclusive<T>) -> Option<T>
    where
        T: Copy + PartialOrd + Display + TryFrom<i64>,
    {
        let Some(word) = self.next() else {
            let message = format!("'{}' expects an integer argument.", self.keyword);
            self.alert(message);
            return None;
        };
        let Ok(value) = word.parse::<i64>() else {
            let message = format!("cannot parse '{}' value '{word}', an integer is expected.", self.keyword);
            self.alert(message);
            return None;
        };
        let number = T::try_from(value).ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (low, high) = (range.start(), range.end());
            let message = format!("'{}' value must be between {low} and {high} (was {value})", self.keyword);
            self.alert(message);
        }
        number
    }

    /// A time; a bare number counts `default` units.
    pub fn duration(&mut self, default: TimeUnit) -> Option<Duration> {
        let Some(word) = self.next() else {
            let unit = match default {
                TimeUnit::Microseconds => "microseconds",
                TimeUnit::Milliseconds => "milliseconds",
                TimeUnit::Seconds => "seconds",
                TimeUnit::Minutes => "minutes",
                TimeUnit::Hours => "hours",
                TimeUnit::Days => "days",
            };
            let message = format!("'{}' expects an integer value (in {unit})", self.keyword);
            self.alert(message);
            return None;
        };
        match units::parse_time(word, default) {
            Ok(time) => {
                if let Some(extra) = time.trailing {
                    let place = Place::Unsaid(self.location().clone());
                    self.diags.push(Diagnostic::new(
                        Severity::Warning,
                        place,
                        format!(
                            "unexpected character '{extra}' after the timer value '{word}', only ({TIME_UNITS}) are supported. This will be reported as an error in next versions."
                        ),
                    ));
                }
                Some(time.value)
            }
            Err(TimeError::Overflow) => {
                let message = format!(
                    "timer overflow in argument '{word}' to '{}' (maximum value is 2147483647 ms or ~24.8 days)",
                    self.keyword
                );
                self.alert(message);
                None
            }
            Err(TimeError::Unexpected(character)) => {
                let message = format!("unexpected character '{character}' in '{}'", self.keyword);
                self.alert(message);
                None
            }
        }
    }

    /// A size in bytes.
    pub fn size(&mut self) -> Option<u64> {
        let Some(word) = self.next() else {
            let message = format!("'{}' expects a size argument.", self.keyword);
            self.alert(message);
            return None;
        };
        match units::parse_size(word) {
            Ok(size) => Some(size),
            Err(SizeError::Unexpected(character)) => {
                let message = format!("unexpected character '{character}' in '{}'", self.keyword);
                self.alert(message);
                None
            }
            Err(SizeError::Overflow) => {
                let message = format!("size overflow in argument '{word}' to '{}'", self.keyword);
                self.alert(message);
                None
            }
        }
    }

    /// The end of the statement, or an alert that quotes the first word too many. Returns whether it was the end.
    pub fn end(&mut self) -> bool {
        let Some(extra) = self.peek() else { return true };
        let message = format!("'{}' cannot handle unexpected argument '{extra}'.", self.keyword);
        self.alert(message);
        self.skip_rest();
        false
    }

    /// An error at this statement.
    pub fn alert(&mut self, message: impl Into<String>) {
        self.diags.alert(&self.statement.location, message);
    }

    /// A warning at this statement.
    pub fn warning(&mut self, message: impl Into<String>) {
        self.diags.warning(&self.statement.location, message);
    }

    /// A notice at this statement.
    pub fn notice(&mut self, message: impl Into<String>) {
        self.diags.notice(&self.statement.location, message);
    }

    /// The collector itself.
    pub fn diags(&mut self) -> &mut Diagnostics {
        self.diags
    }
}

/// `'a', 'b' and 'c'`.
pub fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("'{name}'")).collect();
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::lex;

    /// Runs a parser over one line and returns its value and what it said.
    fn check<T: PartialEq + std::fmt::Debug>(
        line: &str,
        parse: impl Fn(&mut Words<'_>) -> Option<T>,
        expected: Result<T, &str>,
    ) {
        let words = lex(line.as_bytes(), &|_| None).expect("a line that can be read").words;
        let statement = Statement { words, location: Location::new("f", 3) };
        let mut diags = Diagnostics::new();
        let value = parse(&mut Words::new(&statement, &mut diags));
        let said: Vec<&str> = diags.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
        match expected {
            Ok(expected) => assert_eq!((value, said.as_slice()), (Some(expected), &[][..]), "{line}"),
            Err(message) => assert_eq!((value, said.as_slice()), (None, &[message][..]), "{line}"),
        }
    }

    #[test]
    fn numbers() {
        let parse = |words: &mut Words<'_>| words.number(1..=1024u16).filter(|_| words.end());
        check("nbthread 4", parse, Ok(4));
        check("nbthread", parse, Err("'nbthread' expects an integer argument."));
        check("nbthread abc", parse, Err("cannot parse 'nbthread' value 'abc', an integer is expected."));
        check("nbthread 0", parse, Err("'nbthread' value must be between 1 and 1024 (was 0)"));
        check("nbthread -70000", parse, Err("'nbthread' value must be between 1 and 1024 (was -70000)"));
        check("nbthread 1 2", parse, Err("'nbthread' cannot handle unexpected argument '2'."));
    }

    #[test]
    fn durations() {
        let parse = |words: &mut Words<'_>| {
            words.extend_keyword();
            words.duration(TimeUnit::Milliseconds)
        };
        check("timeout client 5s", parse, Ok(Duration::from_secs(5)));
        check("timeout client", parse, Err("'timeout client' expects an integer value (in milliseconds)"));
        check("timeout client 5x", parse, Err("unexpected character 'x' in 'timeout client'"));
        check(
            "timeout client 99d",
            parse,
            Err(
                "timer overflow in argument '99d' to 'timeout client' (maximum value is 2147483647 ms or ~24.8 days)",
            ),
        );
    }

    #[test]
    fn sizes() {
        let parse = |words: &mut Words<'_>| words.size().filter(|_| words.end());
        check("tune.bufsize 16k", parse, Ok(16384));
        check("tune.bufsize 16q", parse, Err("unexpected character 'q' in 'tune.bufsize'"));
        check("tune.bufsize", parse, Err("'tune.bufsize' expects a size argument."));
    }

    #[test]
    fn choices() {
        let parse = |words: &mut Words<'_>| words.choice(&[("tcp", 1), ("http", 2), ("packet", 3)]);
        check("mode http", parse, Ok(2));
        check("mode", parse, Err("'mode' expects 'tcp', 'http' and 'packet'."));
        check("mode x", parse, Err("'mode' only supports 'tcp', 'http' and 'packet' (got 'x')."));
    }

    #[test]
    fn a_time_with_something_behind_its_unit_is_read_with_a_warning() {
        let statement = Statement { words: vec!["t".into(), "5mss".into()], location: Location::new("f", 1) };
        let mut diags = Diagnostics::new();
        let value = Words::new(&statement, &mut diags).duration(TimeUnit::Milliseconds);
        assert_eq!(value, Some(Duration::from_millis(5)));
        assert_eq!((diags.alerts(), diags.warnings()), (0, 1));
    }

    #[test]
    fn the_cursor_goes_forth_and_back() {
        let words = ["server", "a", "1.2.3.4", "check"].map(Word::from).to_vec();
        let statement = Statement { words, location: Location::new("f", 1) };
        let mut diags = Diagnostics::new();
        let mut words = Words::new(&statement, &mut diags);
        assert_eq!((words.peek(), words.next(), words.position()), (Some("a"), Some("a"), 2));
        assert!(!words.take("check") && words.take("1.2.3.4"));
        assert_eq!(words.take_rest(), "check");
        assert!(words.is_end() && words.end());
        words.seek(2);
        assert_eq!(words.expect("an address"), Some("1.2.3.4"));
        words.skip_rest();
        assert_eq!(words.expect("more"), None);
        assert_eq!(
            diags.iter().next().map(ToString::to_string).as_deref(),
            Some("parsing [f:1] : 'server' expects more.")
        );
    }
}
