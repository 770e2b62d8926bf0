//! What a kernel's console said: programs and their instructions, tests that failed or were skipped.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::guest::MARK;

/// A test prints this and goes on when it cannot test.
const SKIPPED: &str = "skipped: ";
/// The test of the verifier prints a line that begins so for each program: name, type, instructions.
const VERIFIED: &str = "verified: ";
/// Lines of a failing test that are shown.
const SHOWN: usize = 40;

/// What happened under one kernel.
#[derive(Debug)]
pub(super) struct Report {
    release: String,
    /// Instructions that the verifier went through, by program.
    programs: BTreeMap<String, u32>,
    passed: usize,
    failures: Vec<String>,
    /// The lines of the test program that runs.
    lines: Vec<String>,
    done: bool,
    took: Duration,
}

impl Report {
    pub(super) fn new(release: &str) -> Self {
        Self {
            release: release.to_owned(),
            programs: BTreeMap::new(),
            passed: 0,
            failures: Vec::new(),
            lines: Vec::new(),
            done: false,
            took: Duration::ZERO,
        }
    }

    /// The next line of the console.
    pub(super) fn line(&mut self, line: &str) {
        // A message of the kernel may stand before ours on the same line.
        let Some((_, line)) = line.split_once(MARK) else {
            self.lines.push(line.to_owned());
            return;
        };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "release" if rest != self.release => self.fail(format!("the kernel says it is {rest}")),
            "error" => self.fail(rest.to_owned()),
            "warning" => self.fail(format!("module {rest}")),
            "begin" => self.lines.clear(),
            "|" => self.output(rest),
            "end" if !rest.ends_with(" ok") => {
                let from = self.lines.len().saturating_sub(SHOWN);
                self.fail(format!("{rest}\n{}", self.lines[from..].join("\n")));
            }
            "done" => self.done = true,
            _ => {}
        }
    }

    /// A line of a test program.
    fn output(&mut self, line: &str) {
        if let Some((name, count)) = line.split_once(VERIFIED).and_then(|(_, rest)| rest.rsplit_once(' ')) {
            // A program that is loaded with several switches counts by the most that it costs.
            if let Ok(count) = count.parse::<u32>() {
                let most = self.programs.entry(name.to_owned()).or_default();
                *most = count.max(*most);
            }
        }
        if let Some((_, reason)) = line.split_once(SKIPPED) {
            self.fail(format!("{SKIPPED}{reason}"));
        }
        if line.starts_with("test result: ")
            && let Some(passed) = line.split(' ').skip_while(|word| !word.ends_with('.')).nth(1)
        {
            self.passed += passed.parse::<usize>().unwrap_or(0);
        }
        self.lines.push(line.to_owned());
    }

    pub(super) fn fail(&mut self, reason: String) {
        if !self.failures.contains(&reason) {
            self.failures.push(reason);
        }
    }

    /// The machine is off.
    pub(super) fn end(&mut self, took: Duration) {
        self.took = took;
        if !self.done && self.failures.is_empty() {
            let from = self.lines.len().saturating_sub(SHOWN);
            self.fail(format!("ended before the tests did\n{}", self.lines[from..].join("\n")));
        }
    }

    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }
}

/// All kernels side by side, then what failed.
pub(super) fn table(reports: &[Report]) -> String {
    let mut names: Vec<&str> =
        reports.iter().flat_map(|report| report.programs.keys().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    let mut rows = vec![row("verified instructions", reports, |report| report.release.clone())];
    for name in names {
        rows.push(row(name, reports, |report| {
            report.programs.get(name).map_or_else(|| "-".to_owned(), u32::to_string)
        }));
    }
    rows.push(row("tests passed", reports, |report| report.passed.to_string()));
    rows.push(row("failures", reports, |report| report.failures.len().to_string()));
    rows.push(row("seconds", reports, |report| report.took.as_secs().to_string()));
    let mut text = String::new();
    let widths: Vec<usize> = (0..=reports.len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    for row in rows {
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let written =
                if index == 0 { write!(text, "{cell:width$}") } else { write!(text, "  {cell:>width$}") };
            written.unwrap_or_default();
        }
        text.push('\n');
    }
    for report in reports {
        for failure in &report.failures {
            writeln!(text, "{}: {failure}", report.release).unwrap_or_default();
        }
    }
    text
}

fn row(name: &str, reports: &[Report], cell: impl Fn(&Report) -> String) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(reports.iter().map(cell)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(console: &str) -> Report {
        let mut report = Report::new("6.1.0-1");
        console.lines().for_each(|line| report.line(line));
        report.end(Duration::from_secs(7));
        report
    }

    #[track_caller]
    fn check(console: &str, expected: &[&str]) {
        let failures: Vec<String> = report(console)
            .failures
            .iter()
            .map(|text| text.lines().next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(failures, expected);
    }

    #[test]
    fn failures_and_skips_are_found() {
        check("@@ release 6.1.0-1\n@@ begin x\n@@ | ok\n@@ end x ok\n@@ done\n", &[]);
        check("@@ release 6.2\n@@ done\n", &["the kernel says it is 6.2"]);
        check("@@ begin x\n@@ | test a ... skipped: no right\n@@ end x ok\n@@ done", &["skipped: no right"]);
        check("@@ begin x\n@@ | panicked\n@@ end x exit status: 101\n@@ done", &["x exit status: 101"]);
        check("[1.0] Kernel panic", &["ended before the tests did"]);
    }

    #[test]
    fn programs_and_tests_are_counted() {
        let report = report(
            "@@ begin x\n@@ | verified: packet xdp 20000\n@@ | test result: ok. 9 passed; 0 failed\n@@ end x ok\n@@ done",
        );
        let table = table(&[report]);
        let squeezed: Vec<String> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            squeezed,
            [
                "verified instructions 6.1.0-1",
                "packet xdp 20000",
                "tests passed 9",
                "failures 0",
                "seconds 7"
            ]
        );
    }
}
