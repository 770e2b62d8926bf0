//! Pure code: values in, values out. The time and random numbers are arguments, so that tests need no clock.

use super::Finding;
use super::crates::PURE;
use super::source::{Source, has_word};

/// What pure code must not name.
const FORBIDDEN: &[&str] = &[
    "tokio",
    "Instant::now",
    "SystemTime::now",
    "fastrand",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "ToSocketAddrs",
    "std::thread",
    "std::process",
];

/// Checks the pure crates and every file whose module doc begins a line or sentence with `Pure`.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().filter(|source| is_pure(source)).flat_map(check_file).collect()
}

fn is_pure(source: &Source) -> bool {
    let in_pure_crate = PURE.iter().any(|name| source.path.starts_with(&format!("lb-user/{name}/src/")));
    in_pure_crate || module_doc(&source.text).any(says_pure)
}

fn module_doc(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim)
}

/// `Pure: …`, `Pure.`, `…. Pure.` or `…; pure`: the forms in which a module declares itself so.
fn says_pure(line: &str) -> bool {
    line == "Pure"
        || line.starts_with("Pure:")
        || line.starts_with("Pure.")
        || line.ends_with(" Pure.")
        || line.ends_with("; pure")
        || line.ends_with("(pure)")
}

fn check_file(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.production() {
        for word in FORBIDDEN.iter().filter(|word| has_word(line, word)) {
            let message = format!("pure code must not use {word}: make it an argument");
            findings.push(Finding::error(format!("{}:{number}", source.path), message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: usize) {
        assert_eq!(super::check(&[Source::new(path, text)]).len(), expected, "{path}: {text}");
    }

    #[test]
    fn pure_crates_have_no_clock_and_no_socket() {
        check("lb-user/http/src/h1.rs", "let now = Instant::now();", 1);
        check("lb-user/http/src/h1.rs", "use tokio::net::TcpStream;", 2);
        check("lb-user/http/src/h1.rs", "fn f(now: Instant) {} // Instant::now", 0);
        check("lb-user/http/src/h1.rs", "#[cfg(test)]\nmod tests {\n fn f() { Instant::now(); }\n}\n", 0);
        check("lb-user/http/tests/split.rs", "fastrand::u8(..);", 0);
    }

    #[test]
    fn modules_declare_themselves_pure() {
        check(
            "lb-user/health/src/rise_fall.rs",
            "//! Counts results.\n//!\n//! Pure: no clock.\nfn f() { fastrand::u8(..) }",
            1,
        );
        check("lb-user/health/src/rise_fall.rs", "//! Counts results; pure\nfn f() { Instant::now() }", 1);
        check("lb-user/health/src/schedule.rs", "//! Uses the pure half.\nfn f() { Instant::now() }", 0);
    }
}
