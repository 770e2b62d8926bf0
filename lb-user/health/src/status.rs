//! What a check says: its status, the numeric code and the short text beside it.
//!
//! Codes and descriptions are those of the statistics page and of the log (management guide 9.1 `check_status`).

use std::fmt;
use std::time::Duration;

/// The status of the last check of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CheckStatus {
    /// No check has ended yet.
    #[default]
    Initializing,
    /// Not a check: traffic showed too many errors in a row (`observe`).
    HealthAnalyze,
    SocketError,
    Layer4Ok,
    Layer4Timeout,
    Layer4Connection,
    Layer6Ok,
    Layer6Timeout,
    Layer6Response,
    Layer7Timeout,
    Layer7Response,
    Layer7Ok,
    /// Passed, but the server asks for no new clients.
    Layer7OkConditional,
    Layer7Status,
}

/// What a status means for the counter of successes and failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckResult {
    /// Neither: nothing was checked yet.
    Neutral,
    Failed,
    Passed,
    /// Passed; a server that is up takes no new clients.
    Conditional,
}

impl CheckStatus {
    /// The word of the statistics (`L4CON`), also what `ok-status` and its like take.
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// The words of the log (`Layer4 connection problem`).
    pub fn description(self) -> &'static str {
        self.row().1
    }

    /// How the status counts.
    pub fn result(self) -> CheckResult {
        self.row().2
    }

    /// Whether log lines carry the numeric code, 0 when the check has none.
    pub fn shows_code(self) -> bool {
        matches!(self, Self::Layer7Ok | Self::Layer7OkConditional | Self::Layer7Status)
    }

    /// The status that `word` names in `ok-status`, `error-status` or `tout-status`.
    pub fn from_word(word: &str) -> Option<Self> {
        const NAMED: [CheckStatus; 12] = [
            CheckStatus::Layer4Ok,
            CheckStatus::Layer4Timeout,
            CheckStatus::Layer4Connection,
            CheckStatus::Layer6Ok,
            CheckStatus::Layer6Timeout,
            CheckStatus::Layer6Response,
            CheckStatus::Layer7Ok,
            CheckStatus::Layer7OkConditional,
            CheckStatus::Layer7Timeout,
            CheckStatus::Layer7Response,
            CheckStatus::Layer7Status,
            CheckStatus::SocketError,
        ];
        NAMED.into_iter().find(|status| status.word() == word)
    }

    fn row(self) -> (&'static str, &'static str, CheckResult) {
        use CheckResult::{Conditional, Failed, Neutral, Passed};
        match self {
            Self::Initializing => ("INI", "Initializing", Neutral),
            Self::HealthAnalyze => ("HANA", "Health analyze", Failed),
            Self::SocketError => ("SOCKERR", "Socket error", Failed),
            Self::Layer4Ok => ("L4OK", "Layer4 check passed", Passed),
            Self::Layer4Timeout => ("L4TOUT", "Layer4 timeout", Failed),
            Self::Layer4Connection => ("L4CON", "Layer4 connection problem", Failed),
            Self::Layer6Ok => ("L6OK", "Layer6 check passed", Passed),
            Self::Layer6Timeout => ("L6TOUT", "Layer6 timeout", Failed),
            Self::Layer6Response => ("L6RSP", "Layer6 invalid response", Failed),
            Self::Layer7Timeout => ("L7TOUT", "Layer7 timeout", Failed),
            Self::Layer7Response => ("L7RSP", "Layer7 invalid response", Failed),
            Self::Layer7Ok => ("L7OK", "Layer7 check passed", Passed),
            Self::Layer7OkConditional => ("L7OKC", "Layer7 check conditionally passed", Conditional),
            Self::Layer7Status => ("L7STS", "Layer7 wrong status", Failed),
        }
    }
}

/// The end of one check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    pub status: CheckStatus,
    /// The HTTP status of the answer that was judged.
    pub code: Option<u16>,
    /// From the first connection to the verdict. `None` when no check ran (`observe`).
    pub duration: Option<Duration>,
    pub info: Info,
}

impl Outcome {
    /// Whether the check counts as a success, conditional or not.
    pub fn passed(&self) -> bool {
        matches!(self.status.result(), CheckResult::Passed | CheckResult::Conditional)
    }
}

/// Detail beside a status: at most [`INFO_BYTES_MAX`] bytes, which may come from the server.
///
/// Its `Display` is safe for a log line and a terminal: see [`fmt::Display`] below.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info(Vec<u8>);

/// As many bytes as HAProxy keeps, so that lines have the same length.
pub const INFO_BYTES_MAX: usize = 127;

impl Info {
    /// Keeps the start of `text`.
    pub fn new(text: &[u8]) -> Self {
        Self(text[..text.len().min(INFO_BYTES_MAX)].to_vec())
    }

    /// True when there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes as received.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Info {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl fmt::Display for Info {
    /// Quotes, angle brackets and what is not printable ASCII become `<XX>`, their hexadecimal value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &self.0 {
            match byte {
                b'"' | b'<' | b'>' => write!(f, "<{byte:02X}>")?,
                b' '..=b'~' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "<{byte:02X}>")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_escaped_like_the_reference() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(Info::new(bytes).to_string(), expected);
        check(b"a\"b<c>\xff\x01", "a<22>b<3C>c<3E><FF><01>");
        check(b"returned code <503>\r\n", "returned code <3C>503<3E><0D><0A>");
        check(b"it's [fine] ~", "it's [fine] ~");
        check(&b"abcdefghij".repeat(40), &format!("{}abcdefg", "abcdefghij".repeat(12)));
    }

    #[test]
    fn words_of_the_configuration_find_their_status() {
        for word in [
            "L4OK", "L6OK", "L7OK", "L7OKC", "L7RSP", "L7STS", "L6RSP", "L4CON", "L7TOUT", "L6TOUT", "L4TOUT",
        ] {
            assert_eq!(CheckStatus::from_word(word).map(CheckStatus::word), Some(word));
        }
        assert_eq!(CheckStatus::from_word("l7ok"), None);
    }
}
