//! The order of the daemon's modules: a byte's path from top to bottom, so that each file can be read with
//! only what is below it in mind.

use super::Finding;
use super::source::Source;

/// The modules of `lb-user/src`, highest first; those on one line may use each other.
const ORDER: &[&[&str]] = &[
    &["main"],
    // The checks' results go to every worker thread, through the orders that `process` delivers.
    // So do warnings of the packet plane, which starts and ends with the process.
    &["process", "health", "packet"],
    &["runtime_api"],
    &["frontend"],
    &["stream"],
    &["rules", "backend", "relay", "services", "log"],
    &["acl", "stick", "balance", "mux", "accel"],
    &["sample"],
    &["http", "conn"],
    &["sys"],
    // Counters: everybody counts.
    &["stats"],
];

/// Parts that everybody may use although their folder stands high: they decide nothing.
const LEAVES: &[&str] = &[
    // The client connection's facts, which every stream on it reads.
    "frontend::session",
    // What a worker thread owns: its stop signal and its orders.
    "frontend::worker",
    // The section's values and counters.
    "frontend::Frontend",
    "frontend::RelayPolicies",
];

const FOLDER: &str = "lb-user/src/";

/// Checks every `crate::…` and `super::…` of the daemon that leaves its own module.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    sources.iter().filter(|source| source.path.starts_with(FOLDER)).flat_map(check_file).collect()
}

fn check_file(source: &Source) -> Vec<Finding> {
    let module_path = module_path(&source.path);
    let Some(own) = module_path.first() else {
        // lib.rs: the map of the crate uses everything.
        return Vec::new();
    };
    let Some(own_rank) = rank(own) else {
        let message = format!("module {own} has no place in the order: add it to xtask/src/tidy/modules.rs");
        return vec![Finding::error(&source.path, message)];
    };
    let production: String = source.production().map(|(_, line)| format!("{line}\n")).collect();
    let mut findings = Vec::new();
    for (line, used) in used_modules(&production, module_path.len()) {
        let leaf = LEAVES.iter().any(|leaf| used == *leaf || used.starts_with(&format!("{leaf}::")));
        let head = used.split("::").next().unwrap_or_default();
        if leaf || head == *own {
            continue;
        }
        // What is not a module is a macro or an item of the crate's root, which has nothing but modules.
        if rank(head).is_some_and(|rank| rank < own_rank) {
            let message = format!("{own} must not use {head}, which is above it");
            findings.push(Finding::error(format!("{}:{line}", source.path), message));
        }
    }
    findings
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|level| level.contains(&module))
}

/// The modules a file stands in, outermost first: `backend/queue.rs` is `[backend, queue]`, `backend/mod.rs` `[backend]`.
fn module_path(path: &str) -> Vec<&str> {
    let inside = path.strip_prefix(FOLDER).unwrap_or(path).strip_suffix(".rs").unwrap_or(path);
    let mut parts: Vec<&str> = inside.split('/').collect();
    if matches!(parts.last(), Some(&"mod")) || parts == ["lib"] {
        parts.pop();
    }
    parts
}

/// Paths below the crate's root that the code names, each with its line. `depth` modules enclose the file, so
/// that many `super` reach the root.
fn used_modules(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    let root = "super::".repeat(depth);
    for prefix in ["crate::", root.as_str()] {
        for (start, _) in code.match_indices(prefix) {
            let before = &code[..start];
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            let line = before.matches('\n').count() + 1;
            let rest = &code[start + prefix.len()..];
            used.extend(paths(rest).into_iter().map(|path| (line, path)));
        }
    }
    used
}

/// The first two names of each path: `a::b::C` or, in a group, of each member.
fn paths(rest: &str) -> Vec<String> {
    let Some(group) = rest.trim_start().strip_prefix('{') else {
        return vec![first_names(rest)];
    };
    let (mut depth, mut members, mut start) = (1usize, Vec::new(), 0);
    for (index, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            members.push(first_names(group[start..index].trim()));
            start = index + 1;
        }
        if depth == 0 {
            break;
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

fn first_names(path: &str) -> String {
    let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(path.len());
    path[..end].split("::").filter(|name| !name.is_empty()).take(2).collect::<Vec<_>>().join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        let found = super::check(&[Source::new(path, text)]);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn modules_use_what_is_below() {
        check(
            "lb-user/src/stream/http.rs",
            "use crate::backend::Backend;\nuse crate::{conn, mux::h1};\n",
            &[],
        );
        check("lb-user/src/backend/queue.rs", "use super::Server;\nuse crate::backend::x;\n", &[]);
        check("lb-user/src/lib.rs", "pub use crate::process::run;\n", &[]);
        check("lb-user/src/stream/tcp.rs", "use crate::frontend::session::Session;\n", &[]);
        check("lb-user/src/http/mod.rs", "//! see crate::process\n", &[]);
    }

    #[test]
    fn upward_uses_are_found_however_written() {
        let up = |place: &str| [format!("error: {place}: backend must not use frontend, which is above it")];
        for (path, text, line) in [
            ("lb-user/src/backend/queue.rs", "use crate::frontend::Listener;", 1),
            (
                "lb-user/src/backend/queue.rs",
                "\nuse crate::{\n    conn,\n    frontend::{Listener, Session},\n};",
                2,
            ),
            ("lb-user/src/backend/queue.rs", "fn f() -> crate::frontend::X {}", 1),
            ("lb-user/src/backend/queue.rs", "use super::super::frontend::X;", 1),
            ("lb-user/src/backend/mod.rs", "use super::frontend::X;", 1),
        ] {
            check(path, text, &up(&format!("{path}:{line}")).each_ref().map(String::as_str));
        }
    }

    #[test]
    fn tests_may_look_up_and_new_modules_need_a_place() {
        check("lb-user/src/mux/h1.rs", "#[cfg(test)]\nmod tests {\n use crate::process::X;\n}\n", &[]);
        let message = "module extra has no place in the order: add it to xtask/src/tidy/modules.rs";
        check("lb-user/src/extra.rs", "", &[&format!("error: lb-user/src/extra.rs: {message}")]);
    }
}
