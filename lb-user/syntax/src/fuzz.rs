//! One call through the whole crate, for the fuzz target `config` and its deterministic smoke test.

use std::io;

use crate::address::{ParseOptions, parse_addresses};
use crate::condition::Facts;
use crate::diag::{Banner, Diagnostics, did_you_mean};
use crate::lexer::{lex, quote};
use crate::read::Reader;
use crate::source::{Environment, Loader};
use crate::units::{TimeUnit, parse_size, parse_time};
use crate::words::Words;

/// Reads `text` as a configuration and every word of it as everything a word can be.
///
/// Panics when a promise is broken: a word that does not survive quoting, or a file without alerts whose lines
/// are not all accounted for.
pub fn read_anything(text: &[u8]) {
    let mut diags = Diagnostics::new();
    let mut env = Environment::from_iter([("A", "1"), ("B", "x y")]);
    let sections = ["global", "defaults", "frontend"];
    let mut reader = Reader { loader: &Nothing, facts: &Nothing, sections: &sections, env: &mut env };
    let file = reader.read_text("fuzz", text, &mut diags);
    for statement in
        file.sections.iter().flat_map(|section| section.statements.iter().chain([&section.header]))
    {
        for word in &statement.words {
            let line = quote(word.bytes());
            let again = lex(line.as_bytes(), &|_| None).map(|lexed| lexed.words);
            assert!(again.is_ok_and(|words| words.len() == 1 && words[0].bytes() == word.bytes()), "{line}");
            for options in [ParseOptions::BIND, ParseOptions::SERVER, ParseOptions::LOG] {
                let _ = parse_addresses(&word.text, options);
            }
            let _ = (parse_time(&word.text, TimeUnit::Seconds), parse_size(&word.text));
            did_you_mean(&word.text, sections);
        }
        let mut words = Words::new(statement, &mut diags);
        words.number(1..=1024u16);
        words.duration(TimeUnit::Milliseconds);
        words.size();
        words.end();
    }
    diags.end_of_reading(&file.sources);
    diags.conclude();
    diags.render(1, &Banner { program: "haproxy", version: "0", executable: "-" }, true);
}

/// No files and no facts.
struct Nothing;

impl Loader for Nothing {
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn list(&self, _: &str) -> io::Result<Option<Vec<String>>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

impl Facts for Nothing {
    fn version(&self) -> &str {
        "3.4.0"
    }
    fn feature(&self, name: &str) -> bool {
        name == "A"
    }
    fn enabled(&self, _: &str) -> bool {
        false
    }
    fn tls_library(&self) -> Option<(&str, &str)> {
        Some(("OpenSSL", "3.0.0"))
    }
    fn awslc_api(&self) -> Option<u32> {
        Some(29)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines that reach every part, cut and mixed by a fixed sequence of numbers.
    const SEEDS: &[&str] = &[
        "global\n",
        " setenv A \"${B[*]}\"\n",
        ".if defined(A) && !streq(\"$A\",'x') || version_before(3.3-dev1)\n",
        ".elif (1\n",
        ".else\n",
        ".endif\n",
        "frontend f # name\n",
        "\tbind ipv4@*:80-90,[::1]:443,unix@/a\\ b name \"a'b\" \\x41\\n\n",
        " timeout client 5s\r\n",
        " server s host:+80 check inter 99d \"${Q-d e}\" \"${.LINE}\"\n",
        ".notice \"$A ${E\n",
        "x\0\u{feff}\u{e9}",
    ];

    #[test]
    fn mixed_and_broken_files() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap_or(0)
        };
        for _ in 0..3000 {
            let mut text: Vec<u8> = (0..random(8)).flat_map(|_| SEEDS[random(SEEDS.len())].bytes()).collect();
            for _ in 0..random(4) {
                if text.is_empty() {
                    break;
                }
                let at = random(text.len());
                match random(3) {
                    0 => drop(text.remove(at)),
                    1 => text[at] = b"\"'\\$#{}[]()\n\0\xff @:-"[random(18)],
                    _ => text.truncate(at),
                }
            }
            read_anything(&text);
        }
    }
}
