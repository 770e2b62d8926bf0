//! Our own words of `global`, `ebpf.…`: what the kernel may do.

use sockeye_syntax::words::Words;

use crate::keyword::{Keyword, Sections, supported};
use crate::model::{Attach, EbpfSplice, Steer};
use crate::scope::{GlobalParser, GlobalScope};

const G: Sections = Sections::GLOBAL;

/// Fewer flows than a single CPU's share of the kernel's LRU lists would be forgotten at once.
const CONNECTIONS_MIN: u32 = 1_024;

/// The kernel takes about 130 bytes for each at once: 2 GiB.
const CONNECTIONS_MAX: u32 = 1 << 24;

/// Bytes of the name of an instance.
const INSTANCE_BYTES_MAX: usize = 64;

pub(crate) const TABLE: &[Keyword<GlobalParser>] = &[
    supported("ebpf.accel", G, accel, "whether kernel programs may be used"),
    supported("ebpf.attach", G, attach, "where programs meet the packets of an interface"),
    supported("ebpf.connections", G, connections, "flows that mode packet remembers"),
    supported("ebpf.instance", G, instance, "name of what stays in the kernel between processes"),
    supported("ebpf.splice", G, splice, "how established byte streams may be forwarded"),
    supported("ebpf.shield", G, super::shield::parse, "addresses whose packets are dropped, or let through"),
    supported("ebpf.steer", G, steer, "which worker gets a new connection"),
    supported("ebpf.debug", G, debug, "whether kernel programs say rare things to the log"),
];

fn accel(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    // `auto` is `on`: what the kernel or the privileges refuse is done in user space either way.
    if let Some(value) = words.choice(&[("on", true), ("auto", true), ("off", false)]).filter(|_| words.end())
    {
        scope.global.ebpf.accel = value;
    }
}

fn attach(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let choices = [
        ("auto", Attach::Auto),
        ("native", Attach::Native),
        ("generic", Attach::Generic),
        ("tc", Attach::Tc),
    ];
    if let Some(value) = words.choice(&choices).filter(|_| words.end()) {
        scope.global.ebpf.attach = value;
    }
}

fn connections(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.number(CONNECTIONS_MIN..=CONNECTIONS_MAX).filter(|_| words.end()) {
        scope.global.ebpf.connections = Some(value);
    }
}

fn instance(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let Some(name) = words.expect("a name").filter(|_| words.end()) else { return };
    // It becomes a folder of the BPF file system, where names cannot have dots.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if name.len() <= INSTANCE_BYTES_MAX && !name.is_empty() && name.bytes().all(allowed) {
        scope.global.ebpf.instance = name.to_owned();
    } else {
        words.alert(format!(
            "'ebpf.instance' needs a name of 1 to {INSTANCE_BYTES_MAX} letters, digits, '-' and '_' (got '{name}')."
        ));
    }
}

fn splice(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let choices = [("auto", EbpfSplice::Auto), ("sockmap", EbpfSplice::Sockmap), ("off", EbpfSplice::Off)];
    if let Some(value) = words.choice(&choices).filter(|_| words.end()) {
        scope.global.ebpf.splice = value;
    }
}

fn steer(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let choices = [("off", Steer::Off), ("least", Steer::Least), ("cpu", Steer::Cpu)];
    if let Some(value) = words.choice(&choices).filter(|_| words.end()) {
        scope.global.ebpf.steer = value;
    }
}

fn debug(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    if let Some(value) = words.choice(&[("on", true), ("off", false)]).filter(|_| words.end()) {
        scope.global.ebpf.debug = value;
    }
}
