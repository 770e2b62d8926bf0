//! Scenarios of wrong configurations: where the first message points and how the check ends are compared, the words
//! of the messages are our own.

use std::sync::LazyLock;

use regex::Regex;

use super::normal::diagnostic;
use super::script::{Script, Step};
use crate::{Setup, is_haproxy};

static PLACE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\[(ALERT|WARNING)\].*?test\.cfg:([0-9]+)").expect("a valid expression"));

/// Checks the configuration; the scenario's text with what came out in the place of what was expected.
pub(super) async fn run(mut script: Script) -> Result<String, String> {
    let mut setup = Setup::new(script.setting("config")).arg("-c");
    for step in script.of("file") {
        let text: String = step.lines.iter().map(|line| format!("{line}\n")).collect();
        setup = setup.file(step.arg(0), text);
    }
    let dir = setup.dir().to_string_lossy().into_owned();
    let exit = setup.run().await;
    // Pointing at the right line for the wrong reason is no agreement.
    if exit.stderr.contains("not implemented in Sockeye yet") {
        return Err(exit.stderr);
    }
    let mut shown = vec![format!("exit {}", exit.code.unwrap_or(-1))];
    shown.extend(exit.stderr.lines().filter_map(|line| {
        let found = PLACE.captures(line)?;
        Some(format!("{} {}", &found[1], &found[2]))
    }));
    for step in script.steps.iter_mut().filter(|step| step.word == "check") {
        // Further messages may differ: one fault may be told once or twice.
        if is_haproxy() || step.lines.iter().take(2).ne(shown.iter().take(2)) {
            step.lines.clone_from(&shown);
        }
    }
    if !is_haproxy() {
        script.steps.retain(|step| step.word != "diagnostics");
        // The banner names the version and the executable.
        let lines = exit.stderr.lines().filter(|line| !line.starts_with("[NOTICE]"));
        let lines = lines.map(|line| diagnostic(line, &dir));
        script.steps.push(Step::new("diagnostics", &[], lines.collect()));
    }
    Ok(script.render())
}
