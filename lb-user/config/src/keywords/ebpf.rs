//! Our own words of `global`, `ebpf.…`: what the kernel may do.

use sockeye_syntax::words::Words;

use crate::keyword::{Keyword, Sections, supported};
use crate::model::EbpfSplice;
use crate::scope::{GlobalParser, GlobalScope};

const G: Sections = Sections::GLOBAL;

pub(crate) const TABLE: &[Keyword<GlobalParser>] = &[
    supported("ebpf.accel", G, accel, "whether kernel programs may be used"),
    supported("ebpf.splice", G, splice, "how established byte streams may be forwarded"),
];

fn accel(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    // `auto` is `on`: what the kernel or the privileges refuse is done in user space either way.
    if let Some(value) = words.choice(&[("on", true), ("auto", true), ("off", false)]).filter(|_| words.end())
    {
        scope.global.ebpf.accel = value;
    }
}

fn splice(words: &mut Words<'_>, scope: &mut GlobalScope<'_>) {
    let choices = [("auto", EbpfSplice::Auto), ("sockmap", EbpfSplice::Sockmap), ("off", EbpfSplice::Off)];
    if let Some(value) = words.choice(&choices).filter(|_| words.end()) {
        scope.global.ebpf.splice = value;
    }
}
