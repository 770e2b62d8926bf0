//! `tune.` words of the `global` section (manual 3.2).

use sockeye_syntax::words::Words;

use super::values;
use crate::keyword::{Keyword, Sections, no_effect, not_yet, supported};
use crate::model::Shards;
use crate::scope::{GlobalParser, GlobalScope};

const G: Sections = Sections::GLOBAL;

/// The largest buffer: one connection with two of them must fit a small machine.
const BUFSIZE_MAX: u64 = 16 * 1024 * 1024;

/// The smallest buffer: a request line and a few fields.
const BUFSIZE_MIN: u64 = 1024;

/// The largest socket buffer or pipe.
const SOCKET_BUFFER_MAX: u64 = i32::MAX as u64;

pub(crate) const TABLE: &[Keyword<GlobalParser>] = &[
    supported("tune.bufsize", G, bufsize, "bytes of one buffer, and of the largest message head"),
    supported("tune.maxrewrite", G, maxrewrite, "bytes of a buffer kept free for rewriting"),
    supported("tune.http.maxhdr", G, http_maxhdr, "header fields per message"),
    supported("tune.http.logurilen", G, http_logurilen, "bytes of the request line in logs"),
    supported("tune.http.cookielen", G, http_cookielen, "bytes of a captured cookie"),
    supported("tune.maxaccept", G, maxaccept, "connections taken per wake-up of a listener"),
    supported("tune.pipesize", G, pipesize, "bytes of a splice pipe"),
    supported("tune.rcvbuf.client", G, rcvbuf_client, "receive buffer towards clients"),
    supported("tune.rcvbuf.frontend", G, rcvbuf_client, "receive buffer towards clients"),
    supported("tune.rcvbuf.server", G, rcvbuf_server, "receive buffer towards servers"),
    supported("tune.rcvbuf.backend", G, rcvbuf_server, "receive buffer towards servers"),
    supported("tune.sndbuf.client", G, sndbuf_client, "send buffer towards clients"),
    supported("tune.sndbuf.frontend", G, sndbuf_client, "send buffer towards clients"),
    supported("tune.sndbuf.server", G, sndbuf_server, "send buffer towards servers"),
    supported("tune.sndbuf.backend", G, sndbuf_server, "send buffer towards servers"),
    supported("tune.listener.default-shards", G, default_shards, "sockets per listening address"),
    supported("tune.max-checks-per-thread", G, max_checks_per_thread, "checks that may run at once"),
    // --- known, with nothing to act on; not implemented yet ---
    no_effect(
        "tune.applet.zero-copy-forwarding",
        G,
        "forwarding is chosen by ebpf.splice and option splice-*",
    ),
    no_effect("tune.buffers.limit", G, "buffers are bounded by connections"),
    no_effect("tune.buffers.reserve", G, "buffers are bounded by connections"),
    no_effect("tune.bufsize.large", G, "buffers have one size"),
    no_effect("tune.bufsize.small", G, "buffers have one size"),
    no_effect("tune.chksize", G, "checks size their buffers themselves"),
    no_effect("tune.cli.max-payload-size", G, "there is no command socket"),
    not_yet("tune.comp.maxlevel", G),
    no_effect("tune.defaults.purge", G, "defaults are not kept after reading"),
    no_effect("tune.disable-fast-forward", G, "forwarding is chosen by ebpf.splice and option splice-*"),
    no_effect(
        "tune.disable-zero-copy-forwarding",
        G,
        "forwarding is chosen by ebpf.splice and option splice-*",
    ),
    no_effect("tune.epoll.mask-events", G, "the runtime polls"),
    no_effect("tune.events.max-events-at-once", G, "the runtime polls"),
    no_effect("tune.fail-alloc", G, "it is for developers of HAProxy"),
    no_effect("tune.fd.edge-triggered", G, "the runtime polls"),
    no_effect("tune.fd.tables", G, "the runtime polls"),
    no_effect("tune.glitches.kill.cpu-usage", G, "protocol violations end the connection at once"),
    no_effect("tune.h1.be.glitches-threshold", G, "protocol violations end the connection at once"),
    no_effect("tune.h1.fe.glitches-threshold", G, "protocol violations end the connection at once"),
    no_effect("tune.h1.zero-copy-fwd-recv", G, "forwarding is chosen by ebpf.splice and option splice-*"),
    no_effect("tune.h1.zero-copy-fwd-send", G, "forwarding is chosen by ebpf.splice and option splice-*"),
    no_effect("tune.idle-pool.shared", G, "idle connections belong to their thread"),
    no_effect("tune.idletimer", G, "long streams are detected by the relay"),
    no_effect("tune.listener.multi-queue", G, "the kernel spreads connections over the threads"),
    not_yet("tune.lua.bool-sample-conversion", G),
    not_yet("tune.lua.burst-timeout", G),
    not_yet("tune.lua.forced-yield", G),
    not_yet("tune.lua.log.loggers", G),
    not_yet("tune.lua.log.stderr", G),
    not_yet("tune.lua.maxmem", G),
    not_yet("tune.lua.openlibs", G),
    not_yet("tune.lua.service-timeout", G),
    not_yet("tune.lua.session-timeout", G),
    not_yet("tune.lua.task-timeout", G),
    no_effect("tune.max-rules-at-once", G, "the runtime schedules"),
    no_effect("tune.maxpollevents", G, "the runtime polls"),
    no_effect("tune.memory.hot-size", G, "the allocator keeps its own caches"),
    not_yet("tune.notsent-lowat.client", G),
    not_yet("tune.notsent-lowat.server", G),
    no_effect("tune.pattern.cache-size", G, "there is no cache of patterns"),
    not_yet("tune.peers.max-updates-at-once", G),
    no_effect("tune.pool-high-fd-ratio", G, "pools are bounded by server"),
    no_effect("tune.pool-low-fd-ratio", G, "pools are bounded by server"),
    no_effect("tune.pt.zero-copy-forwarding", G, "forwarding is chosen by ebpf.splice and option splice-*"),
    not_yet("tune.quic.cc-hystart", G),
    not_yet("tune.quic.cc.cubic.min-losses", G),
    not_yet("tune.quic.disable-tx-pacing", G),
    not_yet("tune.quic.disable-udp-gso", G),
    not_yet("tune.quic.fe.cc.hystart", G),
    not_yet("tune.quic.frontend.default-max-window-size", G),
    not_yet("tune.quic.frontend.glitches-threshold", G),
    not_yet("tune.quic.frontend.max-data-size", G),
    not_yet("tune.quic.frontend.max-idle-timeout", G),
    not_yet("tune.quic.frontend.max-streams-bidi", G),
    not_yet("tune.quic.frontend.max-tx-mem", G),
    not_yet("tune.quic.frontend.stream-data-ratio", G),
    not_yet("tune.quic.max-frame-loss", G),
    not_yet("tune.quic.mem.tx-max", G),
    not_yet("tune.quic.reorder-ratio", G),
    not_yet("tune.quic.retry-threshold", G),
    not_yet("tune.quic.socket-owner", G),
    not_yet("tune.quic.zero-copy-fwd-send", G),
    no_effect("tune.recv_enough", G, "reads grow by themselves"),
    no_effect("tune.renice.runtime", G, "priorities are the service manager's"),
    no_effect("tune.renice.startup", G, "priorities are the service manager's"),
    no_effect("tune.ring.queues", G, "there are no rings"),
    no_effect("tune.runqueue-depth", G, "the runtime schedules"),
    no_effect("tune.sched.low-latency", G, "the runtime schedules"),
    not_yet("tune.stick-counters", G),
    no_effect(
        "tune.streams-elasticity",
        G,
        "tune.h2.fe.max-concurrent-streams is what streams are limited by",
    ),
    no_effect("tune.takeover-other-tg-connections", G, "all threads are one group"),
    not_yet("tune.vars.check-max-size", G),
    not_yet("tune.vars.global-max-size", G),
    not_yet("tune.vars.proc-max-size", G),
    not_yet("tune.vars.reqres-max-size", G),
    not_yet("tune.vars.sess-max-size", G),
    not_yet("tune.vars.txn-max-size", G),
    not_yet("tune.zlib.memlevel", G),
    not_yet("tune.zlib.windowsize", G),
];

fn bufsize(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let Some(size) = values::size_within(words, BUFSIZE_MAX).filter(|_| words.end()) else { return };
    if size < BUFSIZE_MIN {
        words.alert(format!("'tune.bufsize' value must be at least {BUFSIZE_MIN} (was {size})"));
    } else if let Ok(size) = usize::try_from(size) {
        scope.global.tune.bufsize = size;
    }
}

fn maxrewrite(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.number(0..=1 << 24).filter(|_| words.end()) {
        scope.global.tune.maxrewrite = value;
    }
}

fn http_maxhdr(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    match words.next().and_then(|word| word.parse().ok()).filter(|value| (1..=32_767).contains(value)) {
        Some(value) => {
            if words.end() {
                scope.global.tune.http_maxhdr = value;
            }
        }
        None => words.alert("'tune.http.maxhdr' expects a numeric value between 1 and 32767"),
    }
}

fn http_logurilen(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.number(1..=65_535).filter(|_| words.end()) {
        scope.global.tune.http_logurilen = value;
    }
}

fn http_cookielen(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.number(1..=65_535).filter(|_| words.end()) {
        scope.global.tune.http_cookielen = value;
    }
}

fn maxaccept(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.number(-1..=i64::from(i32::MAX)).filter(|_| words.end()) {
        // -1 is "no limit", and so is what no listener reaches in one go.
        scope.global.tune.maxaccept = u32::try_from(value).unwrap_or(i32::MAX.unsigned_abs()).max(1);
    }
}

fn max_checks_per_thread(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.number(0..=u32::MAX).filter(|_| words.end()) {
        scope.global.tune.max_checks_per_thread = value;
    }
}

fn pipesize(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(size) = socket_buffer(words) {
        scope.global.tune.pipesize = size.map(|size| size as usize);
    }
}

fn rcvbuf_client(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(size) = socket_buffer(words) {
        scope.global.tune.rcvbuf_client = size;
    }
}

fn rcvbuf_server(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(size) = socket_buffer(words) {
        scope.global.tune.rcvbuf_server = size;
    }
}

fn sndbuf_client(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(size) = socket_buffer(words) {
        scope.global.tune.sndbuf_client = size;
    }
}

fn sndbuf_server(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(size) = socket_buffer(words) {
        scope.global.tune.sndbuf_server = size;
    }
}

/// Bytes of a kernel buffer; 0 leaves it to the kernel.
fn socket_buffer(words: &mut Words<'_>) -> Option<Option<u32>> {
    let size = values::size(words).filter(|_| words.end())?;
    if size > SOCKET_BUFFER_MAX {
        let message = format!("'{}' value must be at most {SOCKET_BUFFER_MAX} (was {size})", words.keyword());
        words.alert(message);
        return None;
    }
    Some(u32::try_from(size).ok().filter(|size| *size > 0))
}

fn default_shards(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let value = match words.next() {
        Some("by-process") => Shards::ByProcess,
        Some("by-group") => Shards::ByGroup,
        Some("by-thread") => Shards::ByThread,
        other => {
            let got = other.unwrap_or_default();
            words.alert(format!(
                "'tune.listener.default-shards' expects either 'by-process', 'by-group', or 'by-thread' but got '{got}'."
            ));
            return;
        }
    };
    if words.end() {
        scope.global.tune.default_shards = value;
    }
}
