//! Which crate may use which: dependencies point from the daemon down to the system calls, never up.

use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;
use crate::workspace::cargo;

/// Every crate of ours and those of ours that it may use. Outside crates are a matter of the root `Cargo.toml`.
const ALLOWED: &[(&str, &[&str])] = &[
    ("lb-common", &[]),
    ("sockeye-sys", &[]),
    ("sockeye-syntax", &[]),
    ("sockeye-http", &[]),
    ("sockeye-proxyproto", &[]),
    ("sockeye-record", &[]),
    ("sockeye-tls", &[]),
    ("sockeye-h2", &["sockeye-http"]),
    ("sockeye-balance", &[]),
    ("sockeye-pattern", &[]),
    ("sockeye-auth", &[]),
    ("sockeye-sample", &["sockeye-pattern", "sockeye-syntax", "sockeye-http"]),
    ("sockeye-convert", &["sockeye-pattern", "sockeye-sample", "sockeye-balance"]),
    ("sockeye-fetch", &["sockeye-pattern", "sockeye-sample", "sockeye-http", "sockeye-balance"]),
    ("sockeye-rules", &["sockeye-pattern", "sockeye-sample", "sockeye-syntax", "sockeye-http"]),
    (
        "sockeye-config",
        &[
            // The limits of the kernel's maps.
            "lb-common",
            "sockeye-syntax",
            "sockeye-balance",
            "sockeye-http",
            "sockeye-pattern",
            "sockeye-sample",
            "sockeye-auth",
            "sockeye-convert",
            "sockeye-fetch",
            "sockeye-rules",
            "sockeye-tls",
        ],
    ),
    ("sockeye-conn", &["sockeye-sys", "sockeye-record"]),
    ("sockeye-accel", &["lb-common", "sockeye-sys"]),
    ("sockeye-log", &["sockeye-config", "sockeye-sample", "sockeye-sys"]),
    ("sockeye-relay", &["sockeye-sys", "sockeye-conn", "sockeye-accel"]),
    (
        "sockeye-health",
        &[
            "sockeye-config",
            "sockeye-conn",
            "sockeye-http",
            "sockeye-proxyproto",
            "sockeye-record",
            "sockeye-tls",
        ],
    ),
    (
        "sockeye",
        &[
            "lb-common",
            "sockeye-sys",
            "sockeye-syntax",
            "sockeye-http",
            "sockeye-balance",
            "sockeye-pattern",
            "sockeye-sample",
            "sockeye-auth",
            "sockeye-fetch",
            "sockeye-proxyproto",
            "sockeye-record",
            "sockeye-tls",
            "sockeye-h2",
            "sockeye-rules",
            "sockeye-config",
            "sockeye-conn",
            "sockeye-accel",
            "sockeye-log",
            "sockeye-relay",
            "sockeye-health",
        ],
    ),
    ("lb-tests", &["sockeye", "sockeye-syntax", "sockeye-config", "sockeye-http"]),
    // xtask must build while the rest does not.
    ("xtask", &[]),
];

/// Crates of pure code, and what none of them may use: sockets, tasks, clocks, randomness.
pub(super) const PURE: [&str; 12] = [
    "syntax",
    "http",
    "record",
    "proxyproto",
    "balance",
    "pattern",
    "auth",
    "sample",
    "convert",
    "fetch",
    "rules",
    "config",
];
const IMPURE: [&str; 10] =
    ["tokio", "hyper", "hyper-util", "libc", "rustix", "socket2", "fastrand", "jiff", "aya", "mimalloc"];
/// Read once and the same from then on: the time zone, for converters that write local dates.
const EXCEPTIONS: [(&str, &str); 1] = [("sockeye-convert", "jiff")];

/// One crate of the workspace.
pub(super) struct Crate {
    name: String,
    /// Without those for tests, which may draw randomness and look upwards.
    dependencies: Vec<String>,
}

/// The crates of the workspace, as cargo sees them.
pub(super) fn read(root: &Path) -> Result<Vec<Crate>> {
    let output =
        cargo().current_dir(root).args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    parse(&output.stdout).context("cargo metadata said nothing useful")
}

fn parse(metadata: &[u8]) -> Option<Vec<Crate>> {
    let metadata: serde_json::Value = serde_json::from_slice(metadata).ok()?;
    let text = |value: &serde_json::Value| Some(value.as_str()?.to_owned());
    let parse_crate = |package: &serde_json::Value| {
        let dependencies = package["dependencies"].as_array()?.iter();
        let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
        Some(Crate {
            name: text(&package["name"])?,
            dependencies: normal.filter_map(|dependency| text(&dependency["name"])).collect(),
        })
    };
    metadata["packages"].as_array()?.iter().map(parse_crate).collect()
}

/// Checks every edge between our crates, and what pure ones use from outside.
pub(super) fn check(crates: &[Crate]) -> Vec<Finding> {
    crates.iter().flat_map(check_crate).collect()
}

fn check_crate(one: &Crate) -> Vec<Finding> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == one.name) else {
        return vec![Finding::error(&one.name, "a new crate: give it its place in xtask/src/tidy/crates.rs")];
    };
    let pure = PURE.iter().any(|name| one.name == format!("sockeye-{name}"));
    let mut findings = Vec::new();
    for dependency in &one.dependencies {
        let ours = ALLOWED.iter().any(|(name, _)| name == dependency);
        if ours && !allowed.contains(&dependency.as_str()) {
            findings.push(Finding::error(
                &one.name,
                format!("must not depend on {dependency}, which is not below it"),
            ));
        }
        let excepted = EXCEPTIONS.contains(&(one.name.as_str(), dependency.as_str()));
        if pure && !excepted && IMPURE.contains(&dependency.as_str()) {
            findings.push(Finding::error(&one.name, format!("is pure and must not depend on {dependency}")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, dependencies: &[&str], expected: &[&str]) {
        let dependencies = dependencies.iter().map(|name| (*name).to_owned()).collect();
        let found = super::check(&[Crate { name: name.to_owned(), dependencies }]);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn edges_point_down() {
        check("sockeye-relay", &["sockeye-conn", "tokio", "thiserror"], &[]);
        check(
            "sockeye-conn",
            &["sockeye-relay"],
            &["error: sockeye-conn: must not depend on sockeye-relay, which is not below it"],
        );
        check(
            "sockeye-http",
            &["memchr", "tokio"],
            &["error: sockeye-http: is pure and must not depend on tokio"],
        );
        check("other", &[], &["error: other: a new crate: give it its place in xtask/src/tidy/crates.rs"]);
    }

    #[test]
    fn the_table_has_no_cycle() {
        for (index, (name, allowed)) in ALLOWED.iter().enumerate() {
            for dependency in *allowed {
                let below = ALLOWED[..index].iter().any(|(earlier, _)| earlier == dependency);
                assert!(below, "{name} may use {dependency}, which comes later in the table");
            }
        }
    }

    #[test]
    fn dependencies_for_tests_do_not_count() {
        let metadata = r#"{"packages":[{"name":"sockeye-http","dependencies":[
            {"name":"memchr","kind":null},{"name":"fastrand","kind":"dev"}]}]}"#;
        let crates = parse(metadata.as_bytes()).unwrap();
        assert_eq!(
            (crates[0].name.as_str(), &*crates[0].dependencies),
            ("sockeye-http", &["memchr".to_owned()][..])
        );
    }
}
