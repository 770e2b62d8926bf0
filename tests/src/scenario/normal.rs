//! What differs from run to run, by names: ports, dates, durations, the test's folder.

use std::net::SocketAddr;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::Daemon;

/// `[21/Nov/2026:06:37:05.277]`, with or without brackets, milliseconds and zone.
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?( [+-][0-9]{4})?")
});
/// Any port of an address of ours that is not known by name.
static PORT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"(?-u:\b)(127\.[0-9]+\.[0-9]+\.[0-9]+):[0-9]{4,5}(?-u:\b)"));
/// Durations and numbers of connections in a log line: `0/0/-1/-1/12`.
static NUMBERS: LazyLock<Regex> = LazyLock::new(|| regex(r"(^| )(?:[+-]?[0-9]+)(?:/[+-]?[0-9]+){2,4}( |$)"));
/// The bytes of a response in a line of `option httplog`: HAProxy counts its inner form of what it makes itself.
static BYTES: LazyLock<Regex> = LazyLock::new(|| regex(r"((?:n|-1)(?:/(?:n|-1)){4} -?[0-9]+) [0-9]+ "));
static NUMBER: LazyLock<Regex> = LazyLock::new(|| regex(r"(^|[/ ])\+?[0-9]+"));
static PROCESS: LazyLock<Regex> = LazyLock::new(|| regex(r"\([0-9]+\)"));

/// The names by which this run's addresses are known.
pub(super) struct Names {
    addrs: Vec<(String, SocketAddr)>,
    dir: String,
    clients: Vec<u16>,
    masks: Vec<Regex>,
}

impl Names {
    /// `masks`: expressions, one a line, for what else differs in log lines.
    pub(super) fn of(daemon: &Daemon, masks: &str) -> Result<Self, String> {
        let masks = masks.lines().map(|mask| Regex::new(mask).map_err(|err| err.to_string()));
        let addrs = daemon.names().filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        Ok(Self {
            addrs: addrs.collect(),
            dir: daemon.dir().to_string_lossy().into_owned(),
            clients: Vec::new(),
            masks: masks.collect::<Result<_, _>>()?,
        })
    }

    /// A client's port, from now on `<port>`.
    pub(super) fn client(&mut self, port: u16) {
        self.clients.push(port);
    }

    /// Bytes of a peer: addresses, ports and the folder by name.
    pub(super) fn bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        match String::from_utf8(bytes) {
            Ok(text) => self.text(&text).into_bytes(),
            Err(err) => err.into_bytes(),
        }
    }

    pub(super) fn text(&self, text: &str) -> String {
        let mut text = text.replace(&self.dir, "<dir>");
        for (name, addr) in &self.addrs {
            text = text.replace(&addr.to_string(), &format!("<{name}>"));
            text = replace_port(&text, addr.port(), &format!("<{name}.port>"));
        }
        for port in &self.clients {
            text = replace_port(&text, *port, "<port>");
        }
        PORT.replace_all(&text, "$1:<port>").into_owned()
    }

    /// A log line: dates, durations and connection counts too.
    pub(super) fn log(&self, line: &str) -> String {
        let line = DATE.replace_all(line, "<date>").into_owned();
        let mut line = self.text(&line);
        // Two such groups share the space between them: each pass finds every other one.
        for _ in 0..2 {
            line = NUMBERS
                .replace_all(&line, |found: &Captures<'_>| {
                    NUMBER.replace_all(&found[0], "${1}n").into_owned()
                })
                .into_owned();
        }
        for mask in &self.masks {
            line = mask.replace_all(&line, "<masked>").into_owned();
        }
        BYTES.replace(&line, "$1 n ").into_owned()
    }
}

/// A diagnostic: the process number and the folder by name.
pub(super) fn diagnostic(line: &str, dir: &str) -> String {
    PROCESS.replace(&line.replace(dir, "<dir>"), "(<pid>)").into_owned()
}

/// The port as a number of its own.
fn replace_port(text: &str, port: u16, name: &str) -> String {
    regex(&format!(r"(?-u:\b){port}(?-u:\b)")).replace_all(text, name).into_owned()
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid expression")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let names = Names {
            addrs: vec![("s1".to_owned(), "127.0.0.1:4001".parse().expect("an address"))],
            dir: "/tmp/x".to_owned(),
            clients: vec![50_123],
            masks: vec![regex("secret[0-9]+")],
        };
        assert_eq!(names.log(line), expected);
    }

    #[test]
    fn a_log_line() {
        check(
            "127.0.0.1:50123 [21/Nov/2026:06:37:05.277] fe be/s1 0/0/-1/-1/+12 503 75 - - SC-- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"",
            "127.0.0.1:<port> [<date>] fe be/s1 n/n/-1/-1/n 503 n - - SC-- n/n/n/n/n 0/0 \"GET / HTTP/1.1\"",
        );
        check("x 127.0.0.1:4001 4001 40011 /tmp/x/map", "x <s1> <s1.port> 40011 <dir>/map");
        check("1/2/3/4/5 6/7/8 secret12", "n/n/n/n/n n/n/n <masked>");
    }
}
