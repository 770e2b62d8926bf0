//! The words of the shield.

use super::{Text, time};
use crate::model::Ebpf;

pub(super) fn global(out: &mut Text, ebpf: &Ebpf) {
    for rule in &ebpf.shield {
        let verdict = if rule.allow { "allow" } else { "deny" };
        let expires = rule.expires.map(|value| format!(" expires {}", time(value))).unwrap_or_default();
        // A file stands for all its lines, which are not repeated.
        let one = rule.prefixes.first().map(ToString::to_string);
        let what = rule.file.as_deref().or(one.as_deref()).unwrap_or_default();
        out.line("ebpf.shield", format_args!("{verdict} {what}{expires}"));
    }
}
