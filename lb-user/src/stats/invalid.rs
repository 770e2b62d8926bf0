//! The last invalid message of each proxy and direction, kept for whoever asks what was wrong (`show errors`).

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use sockeye_conn::Peer;

/// Where the last invalid message is kept; a newer one takes its place.
#[derive(Debug, Default)]
pub struct LastInvalid(Mutex<Option<Box<Invalid>>>);

/// A message that was refused.
#[derive(Debug, Clone)]
pub struct Invalid {
    pub when: SystemTime,
    pub client: Peer,
    /// The other proxy of the stream, if it had one yet.
    pub other: Option<&'static str>,
    pub server: Option<&'static str>,
    /// What was received, from the start of the message; at most a buffer.
    pub bytes: Vec<u8>,
    /// Offset of the first offending byte.
    pub position: usize,
    pub reason: String,
}

impl LastInvalid {
    pub fn keep(&self, invalid: Invalid) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(invalid));
    }

    /// A copy of what is kept.
    pub fn last(&self) -> Option<Invalid> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_deref().cloned()
    }
}
