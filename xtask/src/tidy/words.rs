//! Words that must not appear: `unsafe` outside its two crates, unfinished or debugging code anywhere.

use super::Finding;
use super::source::{Source, has_word};

/// Where `unsafe` is allowed: system calls, kernel objects, and the programs that run in the kernel.
const UNSAFE: [&str; 3] = ["lb-user/sys/", "lb-user/accel/", "lb-ebpf/"];

/// Never, tests included.
const NEVER: [(&str, &str); 4] = [
    ("todo!", "finish it or leave it out"),
    ("unimplemented!", "finish it or leave it out"),
    ("dbg!", "remove it"),
    ("thread::sleep", "wait for an event instead"),
];

/// Checks every file.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().flat_map(check_file).collect()
}

fn check_file(source: &Source) -> Vec<Finding> {
    let may_be_unsafe = |line: &str| {
        // The ABI's types promise the daemon that any bytes are valid; nothing there runs unsafely.
        let promise = source.path.starts_with("lb-common/") && line.trim_start().starts_with("unsafe impl");
        promise || UNSAFE.iter().any(|folder| source.path.starts_with(folder))
    };
    let mut findings = Vec::new();
    for (number, line) in source.lines() {
        let place = || format!("{}:{number}", source.path);
        if !may_be_unsafe(line) && has_word(line, "unsafe") {
            findings.push(Finding::error(place(), "unsafe belongs to sys and accel: wrap it there"));
        }
        for (word, advice) in NEVER.iter().filter(|(word, _)| has_word(line, word)) {
            findings.push(Finding::error(place(), format!("{word}: {advice}")));
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
    fn unsafe_has_its_places() {
        check("lb-user/sys/src/splice.rs", "unsafe { call() }", 0);
        check("lb-common/src/sockmap.rs", "unsafe impl aya::Pod for Flow {}", 0);
        check("lb-common/src/sockmap.rs", "unsafe { call() }", 1);
        check("lb-user/http/src/h1.rs", "unsafe { call() }", 1);
        check("lb-user/http/src/h1.rs", "#![deny(unsafe_code)] // unsafe", 0);
    }

    #[test]
    fn unfinished_code_is_found_in_tests_too() {
        check("tests/tests/tcp.rs", "std::thread::sleep(second);", 1);
        check("lb-user/http/src/h1.rs", "#[cfg(test)]\nmod tests {\n fn f() { todo!() }\n}\n", 1);
        check("lb-user/http/src/h1.rs", "let message = \"todo!\";", 0);
    }
}
