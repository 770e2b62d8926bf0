//! `tune.h2.…` and `h2-workaround-bogus-websocket-clients` (manual 3.1, 3.2).

use sockeye_syntax::words::Words;

use super::values;
use crate::keyword::{Keyword, Sections, no_effect, supported};
use crate::model::{Global, H2Side};
use crate::scope::{GlobalParser, GlobalScope, Negation};

const G: Sections = Sections::GLOBAL;

/// The largest window (RFC 9113 §6.9.1), and HAProxy's limit of counts.
const NUMBER_MAX: u32 = i32::MAX as u32;

/// Bytes of one connection's receive buffer: more is a mistake.
const RXBUF_MAX: u64 = 1 << 30;

pub(crate) const TABLE: &[Keyword<GlobalParser>] = &[
    supported("tune.h2.fe.initial-window-size", G, window, "bytes of a client's stream before an answer"),
    supported("tune.h2.be.initial-window-size", G, window, "bytes of a server's stream before an answer"),
    supported("tune.h2.initial-window-size", G, window, "the same on both sides, where these are silent"),
    supported("tune.h2.fe.max-concurrent-streams", G, streams, "streams of a client at a time"),
    supported("tune.h2.be.max-concurrent-streams", G, streams, "streams of one server connection at a time"),
    supported("tune.h2.max-concurrent-streams", G, streams, "the same on both sides, where these are silent"),
    supported("tune.h2.fe.glitches-threshold", G, glitches, "violations that end a client's connection"),
    supported("tune.h2.be.glitches-threshold", G, glitches, "violations that end a server's connection"),
    supported("tune.h2.fe.rxbuf", G, rxbuf, "bytes that a client's connection may hold"),
    supported("tune.h2.be.rxbuf", G, rxbuf, "bytes that a server's connection may hold"),
    supported(
        "tune.h2.fe.max-total-streams",
        G,
        total,
        "streams of a client until its connection is renewed",
    ),
    supported("tune.h2.header-table-size", G, header_table, "bytes of a peer's header table"),
    supported("tune.h2.max-frame-size", G, frame, "bytes of a peer's frames"),
    supported("h2-workaround-bogus-websocket-clients", G, no_websockets, "no WebSockets over HTTP/2"),
    no_effect("tune.h2.be.max-frames-at-once", G, "connections yield to each other by themselves"),
    no_effect("tune.h2.fe.max-frames-at-once", G, "connections yield to each other by themselves"),
    no_effect("tune.h2.fe.max-rst-at-once", G, "resets in excess end the connection"),
    no_effect("tune.h2.log-errors", G, "an error is logged with the stream or the connection that it ends"),
    no_effect("tune.h2.zero-copy-fwd-send", G, "forwarding is chosen by ebpf.splice and option splice-*"),
];

/// A number without a sign.
fn number(words: &mut Words<'_>) -> Option<u32> {
    let keyword = words.keyword().to_owned();
    let Some(word) = words.next() else {
        words.alert(format!("'{keyword}' expects an integer argument."));
        return None;
    };
    match word.parse().ok().filter(|value| *value <= NUMBER_MAX) {
        Some(value) => words.end().then_some(value),
        None => {
            words.alert(format!("'{keyword}' expects a positive numeric value."));
            None
        }
    }
}

/// A number within bounds, for words that name them.
fn within(words: &mut Words<'_>, low: u32, high: u32) -> Option<u32> {
    let keyword = words.keyword().to_owned();
    match words.next().and_then(|word| word.parse().ok()).filter(|value| (low..=high).contains(value)) {
        Some(value) => words.end().then_some(value),
        None => {
            words.alert(format!("'{keyword}' expects a numeric value between {low} and {high}."));
            None
        }
    }
}

/// The side that the word in hand is about; `None`: both.
fn side<'a>(words: &Words<'_>, global: &'a mut Global) -> Option<&'a mut H2Side> {
    let word = words.keyword().strip_prefix("tune.h2.")?;
    if word.starts_with("fe.") {
        Some(&mut global.tune.h2.fe)
    } else if word.starts_with("be.") {
        Some(&mut global.tune.h2.be)
    } else {
        None
    }
}

fn window(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let Some(value) = number(words) else { return };
    match side(words, scope.global) {
        Some(side) => side.initial_window_size = Some(value),
        None => scope.global.tune.h2.initial_window_size = value,
    }
}

fn streams(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let Some(value) = number(words) else { return };
    match side(words, scope.global) {
        Some(side) => side.max_concurrent_streams = Some(value),
        None => scope.global.tune.h2.max_concurrent_streams = value,
    }
}

fn glitches(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let (Some(value), Some(side)) = (number(words), side(words, scope.global)) {
        side.glitches_threshold = value;
    }
}

fn rxbuf(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let size = values::size_within(words, RXBUF_MAX).filter(|_| words.end());
    if let (Some(size), Some(side)) = (size, side(words, scope.global)) {
        side.rxbuf = size;
    }
}

fn total(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = number(words) {
        scope.global.tune.h2.max_total_streams = value;
    }
}

fn header_table(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = within(words, 4_096, 65_536) {
        scope.global.tune.h2.header_table_size = value;
    }
}

fn frame(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = within(words, 16_384, 16_777_215) {
        scope.global.tune.h2.max_frame_size = Some(value);
    }
}

fn no_websockets(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if words.end() {
        scope.global.tune.h2.no_websockets = scope.negation == Negation::None;
    }
}
