//! Scenarios: one text file per behaviour that Sockeye and HAProxy share.
//!
//! A file says what the configuration is and what the client and the servers send; what then arrives where is written
//! by HAProxy itself (`SCENARIO_BLESS=1` with `SOCKEYE_BIN` naming it) and compared with what Sockeye does. The text
//! format is explained in `tests/scenarios/README.md`.

mod bytes;
mod check;
mod diff;
mod message;
mod normal;
mod origin;
mod run;
mod script;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::is_haproxy;
use script::Script;

/// A scenario that is not expected to pass gets less time to do so than [`crate::PATIENCE`].
const PENDING_PATIENCE: Duration = Duration::from_secs(4);

/// Runs the scenario `name` (`folder/file` without its ending) and compares, or writes what it shows.
pub async fn scenario(name: &str) {
    let path = folder().join(format!("{name}.scn"));
    let text = fs::read_to_string(&path).expect("the scenario");
    let script = Script::parse(&text).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    if std::env::var_os("SCENARIO_BLESS").is_some() {
        assert!(
            is_haproxy() || script.is_check(),
            "only HAProxy may write what is expected: set SOCKEYE_BIN"
        );
        let shown = run(script).await.unwrap_or_else(|err| panic!("{name}: {err}"));
        let differences = diff::lines(&expected(&text, false), &expected(&shown, false));
        assert!(is_haproxy() || differences.is_empty(), "{name}: HAProxy does otherwise\n{differences}");
        fs::write(&path, shown).expect("the scenario is written");
        return;
    }
    let pending = !is_haproxy() && pending().contains(name);
    let outcome = if pending {
        // A panic of a helper in there is a failure like any other.
        let task = tokio::spawn(tokio::time::timeout(PENDING_PATIENCE, run(script)));
        match task.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err("took too long".to_owned()),
            Err(err) => Err(err.to_string()),
        }
    } else {
        run(script).await
    };
    let outcome = outcome.and_then(|shown| {
        // Nobody has written our own messages of a pending scenario yet.
        let messages = !is_haproxy() && (!pending || text.contains("\n-- diagnostics\n"));
        let differences = diff::lines(&expected(&text, messages), &expected(&shown, messages));
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    });
    match (outcome, pending) {
        (Ok(()), false) => {}
        (Err(err), true) => eprintln!("{name} is pending:\n{err}"),
        (Ok(()), true) => panic!("{name} passes: take it out of tests/scenarios/pending.txt"),
        (Err(err), false) => panic!("{name}: expected (-) and shown (+)\n{err}"),
    }
}

/// The names of all scenarios, in order.
pub fn names() -> Vec<String> {
    let mut names = Vec::new();
    for part in fs::read_dir(folder()).expect("the scenarios").map(|entry| entry.expect("an entry").path()) {
        if part.is_dir() {
            for file in fs::read_dir(&part).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                let stem = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
                names.push(format!("{}/{}", stem(&part), stem(&file)));
            }
        }
    }
    names.sort();
    names
}

/// Scenarios that Sockeye is known to fail: `#` begins a comment.
pub fn pending() -> BTreeSet<String> {
    let text = fs::read_to_string(folder().join("pending.txt")).unwrap_or_default();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// The script with what this run has shown in the place of what was expected.
async fn run(script: Script) -> Result<String, String> {
    if script.is_check() { check::run(script).await } else { run::run(script).await }
}

/// What is compared; without our own messages where they do not matter.
fn expected(text: &str, messages: bool) -> String {
    let mut out = String::new();
    let mut skipping = false;
    for line in text.lines() {
        if let Some(step) = line.strip_prefix(script::MARK) {
            skipping = step == "diagnostics" && !messages;
        }
        if !skipping {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}
