//! Which paths a direction may take.

use std::sync::Arc;

use sockeye_accel::Sockmap;

/// What the configuration allows for one direction, computed once per frontend and backend.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// `option splice-auto|splice-request|splice-response`, `nosplice`, `ebpf.splice off`.
    pub splice: Splice,
    /// `ebpf.splice sockmap`, when the program could be loaded. Goes before splice(2), for directions without a
    /// known length between TCP sockets, and for one direction of a connection at most.
    pub sockmap: Option<Arc<Sockmap>>,
}

/// Whether a direction may be left to splice(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Splice {
    /// Userspace copies only.
    #[default]
    Never,
    /// As soon as the direction turns out to be bulky.
    Auto,
}

/// How the bytes of a direction travel at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// read(2) and write(2) through a buffer of ours.
    Copy,
    /// splice(2) through a pipe.
    Splice,
    /// Redirected between the sockets by a kernel program.
    Sockmap,
}

impl Path {
    /// Every path, in the order of [`Counters`](crate::Counters).
    pub const ALL: [Self; 3] = [Self::Copy, Self::Splice, Self::Sockmap];

    /// The word that logs and summaries use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Splice => "splice",
            Self::Sockmap => "sockmap",
        }
    }
}
