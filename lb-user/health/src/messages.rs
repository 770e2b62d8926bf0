//! The lines that the log and stderr get about servers: the wording that operators and their tools grep for.

use std::fmt::{self, Write};

use crate::rise_fall::Health;
use crate::status::{CheckResult, Outcome};

/// A line with its levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Syslog severity.
    pub level: Level,
    /// What the log gets: one line, printable ASCII.
    pub text: String,
    /// The label on stderr.
    pub label: Label,
    /// What stderr gets when it is not the same.
    pub stderr: Option<String>,
}

/// Syslog severities these lines use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Emergency,
    Alert,
    Notice,
}

/// `[ALERT]` or `[WARNING]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    Alert,
    Warning,
}

/// The server a line is about.
#[derive(Debug, Clone, Copy)]
pub struct ServerName<'a> {
    pub backend: &'a str,
    pub server: &'a str,
    pub backup: bool,
}

/// What is left of the backend after the change.
#[derive(Debug, Clone, Copy, Default)]
pub struct Farm {
    /// Servers in use, and backup servers that could be. Those of weight 0 count in neither.
    pub active: usize,
    pub backup: usize,
    /// Sessions of the server.
    pub sessions: usize,
    /// Sessions that went back to the queue of the backend, or that the server took from it.
    pub requeued: usize,
    pub queued: usize,
}

/// Why a server changed state.
#[derive(Debug, Clone, Copy)]
pub enum Cause<'a> {
    Check(&'a Outcome),
    /// A check whose outcome `option log-health-checks` has already logged.
    CheckLogged,
    /// The server it tracks changed.
    Tracked(ServerName<'a>),
    /// A runtime command.
    Command,
}

/// The change of state a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Up,
    Stopping,
    /// `was_stopping`, also true of a server in drain state, makes it a notice: no new clients went there anyway.
    Down {
        was_stopping: bool,
    },
}

impl From<crate::Transition> for Change {
    fn from(transition: crate::Transition) -> Self {
        match transition {
            crate::Transition::Up => Self::Up,
            crate::Transition::Stopping => Self::Stopping,
            crate::Transition::Down { was_stopping } => Self::Down { was_stopping },
        }
    }
}

/// `Server be/s1 is DOWN, reason: …`.
pub fn server_changed(name: ServerName<'_>, change: Change, cause: Cause<'_>, farm: Farm) -> Line {
    let (word, level) = match change {
        Change::Up => ("UP", Level::Notice),
        Change::Stopping => ("stopping", Level::Notice),
        Change::Down { was_stopping: false } => ("DOWN", Level::Alert),
        Change::Down { was_stopping: true } => ("DOWN", Level::Notice),
    };
    let why = match cause {
        Cause::Check(outcome) => Reason(outcome).to_string(),
        Cause::CheckLogged => String::new(),
        Cause::Tracked(tracked) => via(tracked),
        Cause::Command => ", changed from CLI".to_owned(),
    };
    let rest = farm.rest(matches!(change, Change::Down { .. }));
    warning(level, format!("{name} is {word}{why}. {rest}"))
}

/// `Server be/s1 is going DOWN for maintenance. …`, by a command or because the server it tracks did.
/// `up`: it was up until now.
pub fn enters_maintenance(
    name: ServerName<'_>,
    tracked: Option<ServerName<'_>>,
    up: bool,
    farm: Farm,
) -> Line {
    let why = tracked.map(via).unwrap_or_default();
    if up {
        warning(Level::Alert, format!("{name} is going DOWN for maintenance{why}. {}", farm.rest(true)))
    } else {
        warning(Level::Notice, format!("{name} was DOWN and now enters maintenance{why}."))
    }
}

/// `Server be/s1 is UP/READY (leaving forced maintenance).` `tracked`: because the server it tracks did.
pub fn leaves_maintenance(name: ServerName<'_>, tracked: bool, up: bool, draining: bool) -> Line {
    let state = if up { "UP" } else { "DOWN" };
    let admin = if draining { "DRAIN" } else { "READY" };
    let forced = if tracked { "" } else { "forced " };
    warning(Level::Notice, format!("{name} is {state}/{admin} (leaving {forced}maintenance)."))
}

/// `Server be/s1 remains in forced maintenance.`: the server it tracks left maintenance, it did not.
pub fn remains_in_maintenance(name: ServerName<'_>) -> Line {
    warning(Level::Notice, format!("{name} remains in forced maintenance."))
}

/// `Server be/s1 is leaving forced maintenance but remains in maintenance via other/s1.`
pub fn still_in_maintenance(name: ServerName<'_>, tracked: ServerName<'_>) -> Line {
    let via = via(tracked);
    warning(Level::Notice, format!("{name} is leaving forced maintenance but remains in maintenance{via}."))
}

/// `Server be/s1 enters drain state. …`.
pub fn enters_drain(name: ServerName<'_>, tracked: Option<ServerName<'_>>, up: bool, farm: Farm) -> Line {
    let why = tracked.map(via).unwrap_or_default();
    warning(Level::Notice, format!("{name} enters drain state{why}. {}", farm.rest(!up)))
}

/// `Server be/s1 remains in forced drain mode.`
pub fn remains_drained(name: ServerName<'_>, tracked: Option<ServerName<'_>>) -> Line {
    let text = match tracked {
        None => format!("{name} remains in forced drain mode."),
        Some(tracked) => format!("{name} remains in drain mode{}.", via(tracked)),
    };
    warning(Level::Notice, text)
}

/// `Server be/s1 is UP (leaving forced drain).`
pub fn leaves_drain(name: ServerName<'_>, tracked: Option<ServerName<'_>>, up: bool) -> Line {
    let state = if up { "UP" } else { "DOWN" };
    let text = match tracked {
        None => format!("{name} is {state} (leaving forced drain)."),
        Some(tracked) => format!("{name} is {state} (leaving drain){}.", via(tracked)),
    };
    warning(Level::Notice, text)
}

/// `backend be has no server available!`; a `listen` section is called a proxy.
pub fn no_server_available(backend: &str, is_listen: bool) -> Line {
    let kind = if is_listen { "proxy" } else { "backend" };
    Line {
        level: Level::Emergency,
        text: format!("{kind} {backend} has no server available!"),
        label: Label::Alert,
        stderr: Some(format!("{kind} '{backend}' has no server available!")),
    }
}

/// The line of `option log-health-checks`: every outcome that changed the status or the count.
///
/// `draining`: the weight is 0, so that an up server is called `DRAIN`.
pub fn health_check(name: ServerName<'_>, outcome: &Outcome, health: &Health, draining: bool) -> Line {
    let ServerName { backend, server, backup } = name;
    let kind = if backup { "backup " } else { "" };
    let verdict = match outcome.status.result() {
        CheckResult::Failed | CheckResult::Neutral => "failed",
        CheckResult::Passed => "succeeded",
        CheckResult::Conditional => "conditionally succeeded",
    };
    let (done, of) = health.fraction();
    let state = match (health.is_up(), draining) {
        (false, _) => "DOWN",
        (true, true) => "DRAIN",
        (true, false) => "UP",
    };
    let reason = Reason(outcome);
    let text = format!(
        "Health check for {kind}server {backend}/{server} {verdict}{reason}, status: {done}/{of} {state}."
    );
    warning(Level::Notice, text)
}

impl fmt::Display for ServerName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Server {}/{}", if self.backup { "Backup " } else { "" }, self.backend, self.server)
    }
}

impl Farm {
    fn rest(&self, leaving: bool) -> String {
        let Self { active, backup, sessions, requeued, queued } = self;
        let on_backup = if *active == 0 && *backup > 0 { " Running on backup." } else { "" };
        if leaving {
            format!(
                "{active} active and {backup} backup servers left.{on_backup} {sessions} sessions active, \
                 {requeued} requeued, {queued} remaining in queue."
            )
        } else {
            format!(
                "{active} active and {backup} backup servers online.{on_backup} {requeued} sessions requeued, \
                 {queued} total in queue."
            )
        }
    }
}

/// `, reason: …` and what belongs to it.
struct Reason<'a>(&'a Outcome);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { status, code, duration, info } = self.0;
        write!(f, ", reason: {}", status.description())?;
        if status.shows_code() {
            write!(f, ", code: {}", code.unwrap_or(0))?;
        }
        if !info.is_empty() {
            write!(f, ", info: \"{info}\"")?;
        }
        if let Some(duration) = duration {
            write!(f, ", check duration: {}ms", duration.as_millis())?;
        }
        Ok(())
    }
}

fn via(tracked: ServerName<'_>) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(text, " via {}/{}", tracked.backend, tracked.server);
    text
}

fn warning(level: Level, text: String) -> Line {
    Line { level, text, label: Label::Warning, stderr: None }
}

#[cfg(test)]
mod tests {
    //! Every expected line was written by HAProxy 3.2.

    use std::time::Duration;

    use sockeye_config::model::InitState;

    use super::*;
    use crate::rise_fall::Thresholds;
    use crate::status::{CheckStatus, Info};

    const S1: ServerName<'_> = ServerName { backend: "be", server: "s1", backup: false };
    const BACKUP: ServerName<'_> = ServerName { backend: "be", server: "s2", backup: true };
    const TRACKED: ServerName<'_> = ServerName { backend: "other", server: "s1", backup: false };

    fn farm(active: usize, backup: usize) -> Farm {
        Farm { active, backup, ..Farm::default() }
    }

    fn outcome(status: CheckStatus, code: Option<u16>, info: &str) -> Outcome {
        Outcome { status, code, duration: Some(Duration::from_micros(900)), info: Info::from(info) }
    }

    fn check(line: Line, level: Level, expected: &str) {
        assert_eq!((line.text.as_str(), line.level), (expected, level));
    }

    #[test]
    fn down() {
        let down = Change::Down { was_stopping: false };
        let refused = outcome(CheckStatus::Layer4Connection, None, "Connection refused");
        check(
            server_changed(S1, down, Cause::Check(&refused), farm(1, 0)),
            Level::Alert,
            "Server be/s1 is DOWN, reason: Layer4 connection problem, info: \"Connection refused\", check duration: 0ms. 1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.",
        );
        check(
            server_changed(S1, down, Cause::CheckLogged, Farm { sessions: 1, ..farm(0, 0) }),
            Level::Alert,
            "Server be/s1 is DOWN. 0 active and 0 backup servers left. 1 sessions active, 0 requeued, 0 remaining in queue.",
        );
        check(
            server_changed(S1, down, Cause::Tracked(TRACKED), farm(0, 1)),
            Level::Alert,
            "Server be/s1 is DOWN via other/s1. 0 active and 1 backup servers left. Running on backup. 0 sessions active, 0 requeued, 0 remaining in queue.",
        );
        let wrong = outcome(CheckStatus::Layer7Status, Some(500), "X");
        check(
            server_changed(BACKUP, Change::Down { was_stopping: true }, Cause::Check(&wrong), farm(0, 0)),
            Level::Notice,
            "Backup Server be/s2 is DOWN, reason: Layer7 wrong status, code: 500, info: \"X\", check duration: 0ms. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.",
        );
        check(
            server_changed(S1, down, Cause::Command, farm(1, 0)),
            Level::Alert,
            "Server be/s1 is DOWN, changed from CLI. 1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.",
        );
    }

    #[test]
    fn up_and_stopping() {
        let ok = outcome(CheckStatus::Layer7Ok, Some(200), "");
        check(
            server_changed(S1, Change::Up, Cause::Check(&ok), farm(2, 0)),
            Level::Notice,
            "Server be/s1 is UP, reason: Layer7 check passed, code: 200, check duration: 0ms. 2 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.",
        );
        check(
            server_changed(BACKUP, Change::Up, Cause::Check(&ok), farm(0, 1)),
            Level::Notice,
            "Backup Server be/s2 is UP, reason: Layer7 check passed, code: 200, check duration: 0ms. 0 active and 1 backup servers online. Running on backup. 0 sessions requeued, 0 total in queue.",
        );
        check(
            server_changed(S1, Change::Stopping, Cause::Tracked(TRACKED), farm(0, 0)),
            Level::Notice,
            "Server be/s1 is stopping via other/s1. 0 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.",
        );
    }

    #[test]
    fn administration() {
        check(
            enters_maintenance(S1, None, true, farm(1, 0)),
            Level::Alert,
            "Server be/s1 is going DOWN for maintenance. 1 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.",
        );
        check(
            enters_maintenance(S1, Some(TRACKED), true, farm(0, 1)),
            Level::Alert,
            "Server be/s1 is going DOWN for maintenance via other/s1. 0 active and 1 backup servers left. Running on backup. 0 sessions active, 0 requeued, 0 remaining in queue.",
        );
        check(
            leaves_maintenance(S1, false, true, false),
            Level::Notice,
            "Server be/s1 is UP/READY (leaving forced maintenance).",
        );
        check(
            leaves_maintenance(S1, true, true, true),
            Level::Notice,
            "Server be/s1 is UP/DRAIN (leaving maintenance).",
        );
        check(
            enters_drain(S1, Some(TRACKED), true, farm(0, 1)),
            Level::Notice,
            "Server be/s1 enters drain state via other/s1. 0 active and 1 backup servers online. Running on backup. 0 sessions requeued, 0 total in queue.",
        );
        check(
            enters_maintenance(S1, None, false, farm(0, 0)),
            Level::Notice,
            "Server be/s1 was DOWN and now enters maintenance.",
        );
        check(
            enters_maintenance(BACKUP, Some(TRACKED), false, farm(0, 0)),
            Level::Notice,
            "Backup Server be/s2 was DOWN and now enters maintenance via other/s1.",
        );
        check(
            leaves_maintenance(BACKUP, true, false, false),
            Level::Notice,
            "Backup Server be/s2 is DOWN/READY (leaving maintenance).",
        );
        check(remains_in_maintenance(S1), Level::Notice, "Server be/s1 remains in forced maintenance.");
        check(
            still_in_maintenance(S1, TRACKED),
            Level::Notice,
            "Server be/s1 is leaving forced maintenance but remains in maintenance via other/s1.",
        );
        check(
            enters_drain(S1, None, false, farm(0, 0)),
            Level::Notice,
            "Server be/s1 enters drain state. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.",
        );
        check(
            leaves_drain(BACKUP, Some(TRACKED), false),
            Level::Notice,
            "Backup Server be/s2 is DOWN (leaving drain) via other/s1.",
        );
        check(remains_drained(S1, None), Level::Notice, "Server be/s1 remains in forced drain mode.");
        check(
            remains_drained(S1, Some(TRACKED)),
            Level::Notice,
            "Server be/s1 remains in drain mode via other/s1.",
        );
        check(leaves_drain(S1, None, true), Level::Notice, "Server be/s1 is UP (leaving forced drain).");
        check(
            leaves_drain(S1, Some(TRACKED), true),
            Level::Notice,
            "Server be/s1 is UP (leaving drain) via other/s1.",
        );
    }

    #[test]
    fn nothing_left() {
        let line = no_server_available("be", false);
        assert_eq!(line.stderr.as_deref(), Some("backend 'be' has no server available!"));
        assert_eq!(line.label, Label::Alert);
        check(line, Level::Emergency, "backend be has no server available!");
        check(no_server_available("l", true), Level::Emergency, "proxy l has no server available!");
    }

    #[test]
    fn log_health_checks() {
        let health = |results: &[CheckResult]| {
            let mut health = Health::initial(Thresholds::new(2, 3), InitState::FullyUp);
            for &result in results {
                health.record(result);
            }
            health
        };
        use CheckResult::{Failed, Passed};
        let timeout = outcome(
            CheckStatus::Layer7Timeout,
            None,
            " at step 4 of tcp-check (expect string 'bye') comment: 'mid'",
        );
        check(
            health_check(S1, &timeout, &health(&[Failed]), false),
            Level::Notice,
            "Health check for server be/s1 failed, reason: Layer7 timeout, info: \" at step 4 of tcp-check (expect string 'bye') comment: 'mid'\", check duration: 0ms, status: 2/3 UP.",
        );
        let tcp = outcome(CheckStatus::Layer7Ok, None, "(tcp-check)");
        check(
            health_check(BACKUP, &tcp, &health(&[Failed, Failed, Failed, Passed]), false),
            Level::Notice,
            "Health check for backup server be/s2 succeeded, reason: Layer7 check passed, code: 0, info: \"(tcp-check)\", check duration: 0ms, status: 1/2 DOWN.",
        );
        let conditional = outcome(CheckStatus::Layer7OkConditional, Some(404), "");
        check(
            health_check(S1, &conditional, &health(&[]), true),
            Level::Notice,
            "Health check for server be/s1 conditionally succeeded, reason: Layer7 check conditionally passed, code: 404, check duration: 0ms, status: 3/3 DRAIN.",
        );
        let analyzed = Outcome {
            status: CheckStatus::HealthAnalyze,
            info: Info::from("Detected 3 consecutive errors, last one was: Wrong http response"),
            ..Outcome::default()
        };
        check(
            health_check(S1, &analyzed, &health(&[Failed, Failed]), false),
            Level::Notice,
            "Health check for server be/s1 failed, reason: Health analyze, info: \"Detected 3 consecutive errors, last one was: Wrong http response\", status: 1/3 UP.",
        );
    }
}
