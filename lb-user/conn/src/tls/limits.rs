//! What the process says of the size of records.

use std::sync::OnceLock;

use sockeye_record::CONTENT_BYTES_MAX;

/// The size of records while a sender begins to send: after so many bytes it is a stream, whose receiver gains more from
/// few records than it loses by waiting for their ends.
pub(super) const STREAM_AFTER_BYTES: usize = 64 * 1024;
static LIMITS: OnceLock<RecordLimits> = OnceLock::new();

/// Content of a record at most (`tune.ssl.maxrecord` and `tune.ssl.hard-maxrecord`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLimits {
    /// Of what a sender begins with.
    pub first: usize,
    /// Of any.
    pub any: usize,
}

impl RecordLimits {
    /// Sets them for the process. Called once, before the first connection.
    pub fn apply(self) {
        // A second call would change nothing.
        let _ = LIMITS.set(Self { first: limited(self.first), any: limited(self.any) });
    }

    pub(super) fn current() -> Self {
        *LIMITS.get_or_init(|| Self { first: CONTENT_BYTES_MAX, any: CONTENT_BYTES_MAX })
    }
}

/// 0 is no limit.
fn limited(bytes: usize) -> usize {
    if bytes == 0 { CONTENT_BYTES_MAX } else { bytes.min(CONTENT_BYTES_MAX) }
}
