//! The `global` section (manual 3), except the `tune.` words.

use std::path::PathBuf;

use sockeye_syntax::units::TimeUnit;
use sockeye_syntax::words::Words;

use super::{values, variables};
use crate::keyword::{Keyword, Sections, no_effect, not_yet, removed, supported};
use crate::model::{Identity, UnixOptions};
use crate::scope::{GlobalParser, GlobalScope};

const G: Sections = Sections::GLOBAL;

/// Bytes of the host name and of a node's name.
const NAME_BYTES_MAX: usize = 255;

/// The most `maxconn` may say: connections are counted in 31 bits.
const MAXCONN_MAX: u32 = i32::MAX as u32;

pub(crate) const TABLE: &[Keyword<GlobalParser>] = &[
    // --- the process ---
    supported("chroot", G, chroot, "folder that becomes the root once sockets are bound"),
    supported("daemon", G, daemon, "goes to the background"),
    supported("set-var", G, variables::set_var, "variable of the process, from an expression"),
    supported("set-var-fmt", G, variables::set_var_fmt, "variable of the process, from a format"),
    supported("quiet", G, quiet, "no messages while starting"),
    supported("pidfile", G, pidfile, "file that gets the process number"),
    supported("user", G, user, "user to become"),
    supported("uid", G, uid, "user to become, by number"),
    supported("group", G, group, "group to become"),
    supported("gid", G, gid, "group to become, by number"),
    supported("nbthread", G, nbthread, "worker threads"),
    supported("ulimit-n", G, ulimit_n, "file descriptor limit"),
    supported("fd-hard-limit", G, fd_hard_limit, "most descriptors that maxconn is computed from"),
    supported("strict-limits", G, strict_limits, "fails when limits cannot be set"),
    supported("zero-warning", G, zero_warning, "refuses to start after any warning"),
    supported("hard-stop-after", G, hard_stop_after, "how long a soft stop may last"),
    supported("close-spread-time", G, close_spread_time, "spreads the closing of idle connections"),
    supported("grace", G, grace, "how long a soft stop keeps accepting"),
    supported("node", G, node, "name of this node"),
    supported("description", G, description, "text shown by statistics"),
    no_effect("localpeer", G, "there are no peers, and -L names this process"),
    supported("unix-bind", G, unix_bind, "prefix, mode and owner of unix sockets"),
    supported("setenv", G, obeyed, "sets an environment variable"),
    supported("presetenv", G, obeyed, "sets an environment variable unless it exists"),
    supported("unsetenv", G, obeyed, "removes environment variables"),
    supported("resetenv", G, obeyed, "removes all environment variables but some"),
    // --- limits and performance ---
    supported("maxconn", G, maxconn, "concurrent client connections of the process"),
    supported("maxpipes", G, maxpipes, "pipes for splicing"),
    supported("noreuseport", G, noreuseport, "one listening socket per address"),
    supported("nosplice", G, nosplice, "no splice(2)"),
    supported("spread-checks", G, spread_checks, "random variation of check intervals, percent"),
    supported("max-spread-checks", G, max_spread_checks, "longest spread of checks"),
    // --- logs ---
    supported("log", G, super::log::global, "target of logs"),
    supported("log-tag", G, log_tag, "program name in logs"),
    supported("log-send-hostname", G, log_send_hostname, "host name in logs"),
    // --- known, with nothing to act on; not implemented yet; removed ---
    not_yet("51degrees-allow-unmatched", G),
    not_yet("51degrees-cache-size", G),
    not_yet("51degrees-data-file", G),
    not_yet("51degrees-difference", G),
    not_yet("51degrees-drift", G),
    not_yet("51degrees-property-name-list", G),
    not_yet("51degrees-property-separator", G),
    not_yet("51degrees-use-performance-graph", G),
    not_yet("51degrees-use-predictive-graph", G),
    not_yet("acme.scheduler", G),
    no_effect("anonkey", G, "nothing is dumped anonymized"),
    no_effect("busy-polling", G, "threads sleep in epoll when there is nothing to do"),
    not_yet("cluster-secret", G),
    no_effect("cpu-affinity", G, "threads are not bound to CPUs"),
    no_effect("cpu-map", G, "threads are not bound to CPUs"),
    no_effect("cpu-policy", G, "threads are not bound to CPUs"),
    no_effect("cpu-set", G, "threads are not bound to CPUs"),
    no_effect("debug.counters", G, "it is for developers of HAProxy"),
    not_yet("default-path", G),
    not_yet("deviceatlas-json-file", G),
    not_yet("deviceatlas-log-level", G),
    not_yet("deviceatlas-properties-cookie", G),
    not_yet("deviceatlas-separator", G),
    not_yet("dns-accept-family", G),
    no_effect("expose-deprecated-directives", G, "what is deprecated is not hidden"),
    no_effect("expose-experimental-directives", G, "nothing is hidden as experimental"),
    not_yet("external-check", G),
    no_effect("force-cfg-parser-pause", G, "reading does not pause"),
    not_yet("h1-accept-payload-with-any-method", G),
    not_yet("h1-case-adjust", G),
    not_yet("h1-case-adjust-file", G),
    not_yet("h1-do-not-close-on-insecure-transfer-encoding", G),
    not_yet("harden.reject-privileged-ports.quic", G),
    not_yet("harden.reject-privileged-ports.tcp", G),
    not_yet("http-err-codes", G),
    not_yet("http-fail-codes", G),
    not_yet("httpclient.resolvers.disabled", G),
    not_yet("httpclient.resolvers.id", G),
    not_yet("httpclient.resolvers.prefer", G),
    not_yet("httpclient.retries", G),
    not_yet("httpclient.timeout.connect", G),
    no_effect("insecure-fork-wanted", G, "no other program is ever run"),
    no_effect("insecure-setuid-wanted", G, "no other program is ever run"),
    not_yet("jwt.decrypt_alg_list", G),
    not_yet("jwt.decrypt_enc_list", G),
    no_effect("limited-quic", G, "there is no QUIC"),
    not_yet("lua-load", G),
    not_yet("lua-load-per-thread", G),
    not_yet("lua-prepend-path", G),
    removed(
        "master-worker",
        G,
        "'master-worker' is not supported in the configuration: use a service manager, which supervises and reloads the process.",
    ),
    no_effect("max-threads-per-group", G, "all threads are one group"),
    not_yet("maxcompcpuusage", G),
    not_yet("maxcomprate", G),
    not_yet("maxconnrate", G),
    not_yet("maxsessrate", G),
    not_yet("maxzlibmem", G),
    no_effect("mworker-max-reloads", G, "there is no master process"),
    removed(
        "nbproc",
        G,
        "nbproc is not supported any more since HAProxy 2.5. Threads will automatically be used on multi-processor machines if available.",
    ),
    no_effect("no-memory-trimming", G, "the allocator returns memory by itself"),
    no_effect("no-quic", G, "there is no QUIC"),
    no_effect("noepoll", G, "there is one polling system, epoll"),
    no_effect("noevports", G, "there is one polling system, epoll"),
    no_effect("nogetaddrinfo", G, "names are always resolved by the system"),
    no_effect("nokqueue", G, "there is one polling system, epoll"),
    no_effect("noktls", G, "the kernel does not encrypt for us"),
    no_effect("nopoll", G, "there is one polling system, epoll"),
    no_effect("numa-cpu-mapping", G, "threads are not bound to CPUs"),
    not_yet("pp2-never-send-local", G),
    no_effect("prealloc-fd", G, "the kernel grows the table of descriptors by itself"),
    no_effect("profiling.memory", G, "there is no profiler inside"),
    no_effect("profiling.tasks", G, "there is no profiler inside"),
    not_yet("server-state-base", G),
    not_yet("server-state-file", G),
    no_effect("set-dumpable", G, "core dumps are the service manager's"),
    not_yet("setcap", G),
    not_yet("shm-stats-file", G),
    not_yet("shm-stats-file-max-objects", G),
    not_yet("stats", G),
    not_yet("stats-file", G),
    no_effect("stress-level", G, "it is for developers of HAProxy"),
    no_effect("thread-group", G, "all threads are one group"),
    no_effect("thread-groups", G, "all threads are one group"),
    no_effect("thread-hard-limit", G, "nbthread says how many threads run"),
    no_effect("warn-blocked-traffic-after", G, "tasks yield by themselves"),
    not_yet("wurfl-cache-size", G),
    not_yet("wurfl-data-file", G),
    not_yet("wurfl-information-list", G),
    not_yet("wurfl-information-list-separator", G),
];

fn maxconn(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.number(0..=MAXCONN_MAX).filter(|_| words.end()) {
        scope.global.maxconn = (value > 0).then_some(value);
    }
}

fn nbthread(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.number(1..=1024).filter(|_| words.end()) {
        scope.global.nbthread = Some(value);
    }
}

fn maxpipes(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.number(0..=MAXCONN_MAX).filter(|_| words.end()) {
        scope.global.tune.maxpipes = (value > 0).then_some(value);
    }
}

fn daemon(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    scope.global.daemon |= words.end();
}

fn quiet(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    scope.global.quiet |= words.end();
}

fn nosplice(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    scope.global.nosplice |= words.end();
}

fn noreuseport(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    scope.global.noreuseport |= words.end();
}

fn zero_warning(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    scope.global.zero_warning |= words.end();
}

fn strict_limits(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if words.end() {
        scope.global.strict_limits = scope.negation != crate::scope::Negation::No;
    }
}

/// The reader obeyed it already, while it read the lines that follow.
fn obeyed(words: &mut Words<'_>, _: &mut GlobalScope<'_>) {
    words.skip_rest();
}

fn chroot(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(path) = words.expect("a directory as an argument") {
        scope.global.chroot = words.end().then(|| PathBuf::from(path));
    }
}

fn pidfile(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(path) = words.expect("a file name as an argument") {
        scope.global.pidfile = words.end().then(|| PathBuf::from(path));
    }
}

fn user(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(name) = words.expect("a user name") {
        scope.global.user = words.end().then(|| Identity::Name(name.to_owned()));
    }
}

fn group(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(name) = words.expect("a group name") {
        scope.global.group = words.end().then(|| Identity::Name(name.to_owned()));
    }
}

fn uid(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(id) = words.number(0..=u32::MAX).filter(|_| words.end()) {
        scope.global.user = Some(Identity::Id(id));
    }
}

fn gid(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(id) = words.number(0..=u32::MAX).filter(|_| words.end()) {
        scope.global.group = Some(Identity::Id(id));
    }
}

fn ulimit_n(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.number(1..=i64::from(i32::MAX)).filter(|_| words.end()) {
        scope.global.ulimit_n = Some(value.unsigned_abs());
    }
}

fn fd_hard_limit(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.number(0..=i64::from(i32::MAX)).filter(|_| words.end()) {
        scope.global.fd_hard_limit = Some(value.unsigned_abs()).filter(|value| *value > 0);
    }
}

fn hard_stop_after(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = values::timer(words, TimeUnit::Milliseconds).filter(|_| words.end()) {
        scope.global.hard_stop_after = Some(value);
    }
}

fn close_spread_time(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if words.take("infinite") {
        if words.end() {
            scope.global.close_spread_time = None;
        }
    } else if let Some(value) = values::timer(words, TimeUnit::Milliseconds).filter(|_| words.end()) {
        scope.global.close_spread_time = Some(value);
    }
}

fn grace(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = values::timer(words, TimeUnit::Milliseconds).filter(|_| words.end()) {
        scope.global.grace = Some(value);
    }
}

fn spread_checks(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    match words.next().and_then(|word| word.parse().ok()).filter(|percent| *percent <= 50) {
        Some(percent) => {
            if words.end() {
                scope.global.spread_checks = percent;
            }
        }
        None => words.alert("'spread-checks' needs a positive value in range 0..50."),
    }
}

fn max_spread_checks(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    match values::time(words, TimeUnit::Milliseconds) {
        Ok(value) if value.is_zero() => {
            words.alert("'max-spread-checks' needs a positive delay in milliseconds.");
        }
        Ok(value) => {
            if words.end() {
                scope.global.max_spread_checks = Some(value);
            }
        }
        Err(values::TimeFault::Missing) => {
            words.alert("'max-spread-checks' expects an integer argument (0..50).");
        }
        Err(values::TimeFault::Unexpected(character)) => words.alert(format!(
            "unsupported character '{character}' in 'max-spread-checks' (wants an integer delay)."
        )),
        Err(values::TimeFault::Overflow(word)) => words.alert(format!(
            "timer overflow in argument <{word}> to <max-spread-checks>, maximum value is 2147483647 ms (~24.8 days)."
        )),
    }
}

fn node(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let valid = |name: &&str| {
        name.len() <= NAME_BYTES_MAX
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    match words.next().filter(valid) {
        Some(name) => {
            if words.end() {
                scope.global.node = Some(name.to_owned());
            }
        }
        None => words.alert(
            "'node' requires valid node name - non-empty string with digits(0-9), letters(A-Z, a-z), dot(.), hyphen(-) or underscode(_).",
        ),
    }
}

fn description(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if words.is_end() {
        words.alert("'description' expects a string argument.");
    } else {
        scope.global.description = Some(words.take_rest());
    }
}

fn log_tag(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(tag) = words.expect("a tag for use in syslog") {
        scope.global.log_tag = words.end().then(|| tag.to_owned());
    }
}

fn log_send_hostname(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let name = words.next().map(str::to_owned);
    if words.end() {
        scope.global.log_send_hostname = Some(name);
    }
}

fn unix_bind(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    while let Some(word) = words.next() {
        if word == "prefix" {
            let Some(prefix) = words.expect("a prefix") else { return };
            scope.global.unix_bind_prefix = Some(prefix.to_owned());
            continue;
        }
        match unix_option(word, words, &mut scope.global.unix_bind) {
            None => {
                words.alert(
                    "'unix-bind' only supports the 'prefix', 'mode', 'uid', 'gid', 'user' and 'group' options.",
                );
                words.skip_rest();
                return;
            }
            Some(Err(message)) => words.alert(format!("'unix-bind' : '{word}' : {message}")),
            Some(Ok(())) => {}
        }
    }
}

/// `mode`, `user`, `uid`, `group` or `gid` of a unix socket, here and on bind lines; `None` is another word.
pub(crate) fn unix_option(
    word: &str,
    words: &mut Words<'_>,
    options: &mut UnixOptions,
) -> Option<Result<(), String>> {
    if !matches!(word, "mode" | "user" | "uid" | "group" | "gid") {
        return None;
    }
    let value = words.next();
    Some(match (word, value) {
        ("mode", value) => {
            let mode =
                value.and_then(|text| u32::from_str_radix(text, 8).ok()).filter(|mode| *mode <= 0o7777);
            options.mode = mode.or(options.mode);
            mode.map(drop).ok_or_else(|| {
                let text = value.unwrap_or_default();
                format!("missing or invalid mode '{text}' (octal integer expected)")
            })
        }
        ("user", Some(name)) => {
            options.user = Some(Identity::Name(name.to_owned()));
            Ok(())
        }
        ("group", Some(name)) => {
            options.group = Some(Identity::Name(name.to_owned()));
            Ok(())
        }
        ("user" | "group", None) => Err(format!("missing {word} name")),
        (_, None) => Err("missing value".to_owned()),
        (_, Some(number)) => match number.parse() {
            Ok(id) => {
                let slot = if word == "uid" { &mut options.user } else { &mut options.group };
                *slot = Some(Identity::Id(id));
                Ok(())
            }
            Err(_) => Err(format!("'{number}' is no number")),
        },
    })
}
