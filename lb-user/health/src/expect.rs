//! Judges an answer by one `expect` rule (manual 4.2 `tcp-check expect`, `http-check expect`).

use memchr::memmem;
use regex::bytes::Regex;
use sockeye_http::scan::list_elements;

use crate::http_response::HttpResponse;
use crate::prepared::{Expect, Pattern, Step, Text};

/// What a rule says about the bytes so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// More bytes may change it.
    Wait,
    Pass,
    /// With the detail for the log.
    Fail(Vec<u8>),
}

/// Judges raw bytes. `is_final`: no more will come, or there is no room for more.
pub(crate) fn judge_bytes(expect: &Expect, step: &Step, bytes: &[u8], is_final: bool) -> Verdict {
    let wanted = match body_matches(expect, bytes, is_final) {
        None => return Verdict::Wait,
        Some(matches) => matches != expect.negate,
    };
    if wanted {
        return Verdict::Pass;
    }
    let number = step.number.unwrap_or(0);
    if bytes.is_empty() && !expect.negate {
        return fail(step, format!("TCPCHK got an empty response at step {number}").into_bytes());
    }
    fail(step, if expect.terse { Vec::new() } else { unlike(expect, step, expect.negate) })
}

/// Judges an HTTP response whose head may still be incomplete.
pub(crate) fn judge_response(expect: &Expect, step: &Step, response: &HttpResponse) -> Verdict {
    let Some(head) = response.head() else { return Verdict::Wait };
    let about_head = match &expect.pattern {
        Pattern::Status(ranges) => {
            Some(ranges.iter().any(|&(first, last)| (first..=last).contains(&head.status())))
        }
        Pattern::RegexStatus(regex) => Some(regex.is_match(head.status().to_string().as_bytes())),
        Pattern::Header { name, value, full } => Some(head.headers().iter().any(|(field, text)| {
            name.matches(&field.to_ascii_lowercase())
                && value.as_ref().is_none_or(|value| value.matches_field(text, *full))
        })),
        Pattern::String(_) | Pattern::Binary(_) | Pattern::Regex(_) | Pattern::RegexBinary(_) => None,
    };
    if let Some(matches) = about_head {
        if matches != expect.negate {
            return Verdict::Pass;
        }
        let detail =
            if head.reason().is_empty() { unlike(expect, step, false) } else { head.reason().to_vec() };
        return fail(step, detail);
    }

    let (body, is_final) = (response.body(), response.is_final());
    if is_final && response.is_broken() {
        return fail(step, unlike(expect, step, false));
    }
    if is_final && body.is_empty() {
        return fail(step, b"HTTP content check could not find a response body".to_vec());
    }
    match body_matches(expect, body, is_final) {
        None => Verdict::Wait,
        Some(matches) if matches != expect.negate => Verdict::Pass,
        Some(true) => fail(step, b"HTTP check matched unwanted content".to_vec()),
        Some(false) => fail(step, b"HTTP content check did not match".to_vec()),
    }
}

/// Whether the pattern is in `bytes`; `None` while more bytes are needed to say.
///
/// Without `min-recv` an absence is only sure at the end; with it, it is as soon as that many bytes are there.
fn body_matches(expect: &Expect, bytes: &[u8], is_final: bool) -> Option<bool> {
    let literal = match &expect.pattern {
        Pattern::String(text) | Pattern::Binary(text) => Some(&text[..]),
        _ => None,
    };
    if !is_final {
        let enough = literal.map_or(0, <[u8]>::len).max(expect.min_recv.unwrap_or(0));
        if bytes.len() < enough {
            return None;
        }
    }
    let matches = match &expect.pattern {
        Pattern::String(text) | Pattern::Binary(text) => memmem::find(bytes, text).is_some(),
        Pattern::Regex(regex) => regex_matches(regex, bytes),
        Pattern::RegexBinary(regex) => regex_matches(regex, hexadecimal(bytes).as_bytes()),
        Pattern::Status(_) | Pattern::RegexStatus(_) | Pattern::Header { .. } => false,
    };
    (matches || is_final || expect.min_recv.is_some()).then_some(matches)
}

/// `$` also matches before a final newline, as it does in PCRE, for which files are written.
fn regex_matches(regex: &Regex, bytes: &[u8]) -> bool {
    regex.is_match(bytes) || bytes.strip_suffix(b"\n").is_some_and(|line| regex.is_match(line))
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// `TCPCHK did not match content 'x' at step 2`.
fn unlike(expect: &Expect, step: &Step, unwanted: bool) -> Vec<u8> {
    let mut text =
        Vec::from(if unwanted { "TCPCHK matched unwanted content" } else { "TCPCHK did not match content" });
    match &expect.pattern {
        Pattern::String(wanted) => {
            text.extend_from_slice(b" '");
            text.extend_from_slice(wanted);
            text.push(b'\'');
        }
        Pattern::Binary(_) => text.extend_from_slice(b" (binary)"),
        Pattern::Regex(_) | Pattern::RegexStatus(_) => text.extend_from_slice(b" (regex)"),
        Pattern::RegexBinary(_) => text.extend_from_slice(b" (binary regex)"),
        // Without the space: tools compare with what they have always seen.
        Pattern::Status(_) => text.extend_from_slice(b"(status codes)"),
        Pattern::Header { .. } => text.extend_from_slice(b" (header pattern)"),
    }
    text.extend_from_slice(format!(" at step {}", step.number.unwrap_or(0)).as_bytes());
    text
}

fn fail(step: &Step, mut detail: Vec<u8>) -> Verdict {
    if let Some(comment) = &step.comment {
        detail.extend_from_slice(b" comment: ");
        detail.extend_from_slice(comment.as_bytes());
    }
    Verdict::Fail(detail)
}

/// What a rule was about, for a message that it could not be judged: ` (expect string 'x')`.
pub(crate) fn describe(expect: &Expect) -> Vec<u8> {
    let mut text = Vec::from(" (expect ");
    match &expect.pattern {
        Pattern::String(wanted) => {
            text.extend_from_slice(b"string '");
            text.extend_from_slice(wanted);
            text.push(b'\'');
        }
        Pattern::Binary(wanted) => {
            text.extend_from_slice(format!("binary '{}'", hexadecimal(wanted)).as_bytes());
        }
        Pattern::Regex(_) => text.extend_from_slice(b"regex"),
        Pattern::RegexBinary(_) => text.extend_from_slice(b"binary regex"),
        Pattern::Status(_) => text.extend_from_slice(b"HTTP status codes"),
        Pattern::RegexStatus(_) => text.extend_from_slice(b"HTTP status regex"),
        Pattern::Header { .. } => text.extend_from_slice(b"HTTP header pattern"),
    }
    text.push(b')');
    text
}

impl Text {
    fn matches(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Exact(text) => bytes == text.as_bytes(),
            Self::Begins(text) => bytes.starts_with(text.as_bytes()),
            Self::Ends(text) => bytes.ends_with(text.as_bytes()),
            Self::Contains(text) => memmem::find(bytes, text.as_bytes()).is_some(),
            Self::Regex(regex) => regex.is_match(bytes),
        }
    }

    /// `full`: the value as a whole (`fhdr`); otherwise any element of the list that it is.
    fn matches_field(&self, value: &[u8], full: bool) -> bool {
        if full { self.matches(value) } else { list_elements(value).any(|element| self.matches(element)) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sockeye_config::model::{Check, CheckExpect, CheckStep, ExpectWhat, MatchHow, TextMatch};

    use super::*;
    use crate::prepared::{Action, PreparedCheck};

    struct Rule {
        negate: bool,
        min_recv: Option<i32>,
        what: ExpectWhat,
    }

    fn rule(what: ExpectWhat) -> Rule {
        Rule { negate: false, min_recv: None, what }
    }

    fn string(text: &str) -> ExpectWhat {
        ExpectWhat::String(text.as_bytes().into())
    }

    fn regex(text: &str) -> ExpectWhat {
        ExpectWhat::Regex(text.into())
    }

    fn rule_binary(text: &str) -> ExpectWhat {
        ExpectWhat::RegexBinary(text.into())
    }

    impl Rule {
        fn not(self) -> Self {
            Self { negate: true, ..self }
        }

        fn min(self, bytes: i32) -> Self {
            Self { min_recv: Some(bytes), ..self }
        }

        fn step(&self, http: bool) -> Step {
            let expect = CheckStep::Expect(CheckExpect {
                negate: self.negate,
                what: self.what.clone(),
                min_recv: self.min_recv,
                comment: None,
                ok_status: None,
                error_status: None,
                tout_status: None,
            });
            let check = if http { Check::Http(vec![expect]) } else { Check::Tcp(vec![expect]) };
            PreparedCheck::new(&check, 16_384).unwrap().steps.pop().unwrap()
        }
    }

    fn render(verdict: Verdict) -> String {
        match verdict {
            Verdict::Wait => "wait".to_owned(),
            Verdict::Pass => "pass".to_owned(),
            Verdict::Fail(detail) => String::from_utf8(detail).unwrap(),
        }
    }

    /// Judges `bytes` while the server may send more, and after it has closed.
    fn check(rule: Rule, bytes: &[u8], open: &str, closed: &str) {
        let step = rule.step(false);
        let Action::Expect(expect) = &step.action else { panic!("not an expect step") };
        assert_eq!(render(judge_bytes(expect, &step, bytes, false)), open, "open, {bytes:?}");
        assert_eq!(render(judge_bytes(expect, &step, bytes, true)), closed, "closed, {bytes:?}");
    }

    #[test]
    fn strings() {
        let miss = "TCPCHK did not match content 'bye' at step 1";
        check(rule(string("hello")), b"say hello", "pass", "pass");
        check(rule(string("bye")), b"hello", "wait", miss);
        check(rule(string("bye")), b"", "wait", "TCPCHK got an empty response at step 1");
        check(rule(string("bye")).min(0), b"hello", miss, miss);
        check(rule(string("bye")).min(-1), b"hello", "wait", miss);
        check(rule(string("hello")).min(10), b"hello", "wait", "pass");
        check(rule(string("bye")).not(), b"hello", "wait", "pass");
        check(rule(string("bye")).not(), b"", "wait", "pass");
        check(rule(string("hello")), b"a\0hello", "pass", "pass");
        let unwanted = "TCPCHK matched unwanted content 'ell' at step 1";
        check(rule(string("ell")).not(), b"hello", unwanted, unwanted);
        check(
            rule(ExpectWhat::Binary([0x62, 0xff].into())),
            b"hello",
            "wait",
            "TCPCHK did not match content (binary) at step 1",
        );
    }

    #[test]
    fn expressions() {
        let miss = "TCPCHK did not match content (regex) at step 1";
        check(rule(regex("^b")), b"hello", "wait", miss);
        check(rule(regex("hel")).min(10), b"hello", "wait", "pass");
        check(rule(regex("l+o$")), b"hello", "pass", "pass");
        check(rule(regex("l+o$")), b"hello\n", "pass", "pass");
        check(rule(regex(r"\xff.")), b"\xff\xfe", "pass", "pass");
        check(rule(rule_binary("0ABC")), b"\x0a\xbc", "pass", "pass");
        let binary = "TCPCHK did not match content (binary regex) at step 1";
        check(rule(rule_binary("0abc")), b"\x0a\xbc", "wait", binary);
    }

    fn check_http(rule: Rule, response: &str, expected: &str) {
        let step = rule.step(true);
        let Action::Expect(expect) = &step.action else { panic!("not an expect step") };
        let mut read = HttpResponse::new(false, 16_384);
        read.push(response.as_bytes()).unwrap();
        assert_eq!(render(judge_response(expect, &step, &read)), expected, "{response:?}");
    }

    #[test]
    fn heads() {
        let ok = "HTTP/1.1 200 OK\r\nX-A: 1, 2\r\nSet-Cookie: sid=3\r\nContent-Length: 0\r\n\r\n";
        check_http(rule(ExpectWhat::Status(vec![(200, 200), (404, 404)])), ok, "pass");
        check_http(rule(ExpectWhat::Status(vec![(300, 399)])), ok, "OK");
        check_http(rule(ExpectWhat::Status(vec![(200, 299)])).not(), ok, "OK");
        check_http(rule(ExpectWhat::RegexStatus("^2".into())), ok, "pass");
        check_http(rule(ExpectWhat::RegexStatus("^5".into())).not(), ok, "pass");
        check_http(
            rule(ExpectWhat::Status(vec![(200, 299)])),
            "HTTP/1.1 500 \r\n\r\n",
            "TCPCHK did not match content(status codes) at step 1",
        );
        check_http(rule(ExpectWhat::Status(vec![(200, 200)])), "HTTP/1.1 20", "wait");
        let text = |how, text: &str| TextMatch { how, text: text.into() };
        let header = |how, name: &str, value: Option<(MatchHow, &str)>, full| {
            rule(ExpectWhat::Header {
                name: text(how, name),
                value: value.map(|(how, value)| text(how, value)),
                full,
            })
        };
        use MatchHow::{Begins, Contains, Ends, Exact, Regex};
        check_http(header(Exact, "X-a", None, false), ok, "pass");
        check_http(header(Exact, "x-b", None, false), ok, "OK");
        check_http(header(Exact, "x-a", None, false).not(), ok, "OK");
        check_http(header(Begins, "X-", Some((Exact, "2")), false), ok, "pass");
        check_http(header(Exact, "x-a", Some((Exact, "2")), true), ok, "OK");
        check_http(header(Ends, "-Cookie", Some((Begins, "sid=")), true), ok, "pass");
        check_http(header(Contains, "cook", Some((Regex, r"^sid=\d$")), false), ok, "pass");
        check_http(header(Regex, "^SET-", Some((Exact, "SID=3")), false), ok, "OK");
        check_http(
            header(Exact, "x-b", None, false),
            "HTTP/1.1 200 \r\n\r\n",
            "TCPCHK did not match content (header pattern) at step 1",
        );
    }

    #[test]
    fn bodies() {
        let abc = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        let partial = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
        let empty = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let missing = "HTTP content check could not find a response body";
        check_http(rule(string("bc")), abc, "pass");
        check_http(rule(string("bd")), abc, "HTTP content check did not match");
        check_http(rule(string("bd")).not(), abc, "pass");
        check_http(rule(regex("b.")).not(), abc, "HTTP check matched unwanted content");
        check_http(rule(string("bc")), partial, "pass");
        check_http(rule(string("bd")), partial, "wait");
        check_http(rule(string("bd")).min(0), partial, "HTTP content check did not match");
        check_http(rule(string("bc")).min(5), partial, "wait");
        check_http(rule(string("bc")).min(5), abc, "pass");
        check_http(rule(string("b")), empty, missing);
        check_http(rule(string("b")).not(), empty, missing);
        check_http(
            rule(string("cde")),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "TCPCHK did not match content 'cde' at step 1",
        );
    }

    #[test]
    fn descriptions() {
        let check = |what: ExpectWhat, expected: &str| {
            let step = rule(what).step(false);
            let Action::Expect(expect) = &step.action else { panic!("not an expect step") };
            assert_eq!(String::from_utf8(describe(expect)).unwrap(), expected);
        };
        check(string("a'b"), " (expect string 'a'b')");
        check(ExpectWhat::Binary(Arc::from(&b"ab\xff"[..])), " (expect binary '6162FF')");
        check(regex("a"), " (expect regex)");
        check(rule_binary("a"), " (expect binary regex)");
    }
}
