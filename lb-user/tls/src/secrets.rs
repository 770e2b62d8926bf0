//! Secrets of handshakes for expressions, where `tune.ssl.keylog` allows them: left in the thread as what
//! [`taken`](crate::taken) gives is.

use std::cell::RefCell;

use rustls::KeyLog;

thread_local! {
    static NOTED: RefCell<Option<NotedSecrets>> = const { RefCell::new(None) };
}

/// Secrets that a handshake step brought, as lines of a key log (labels of NSS).
#[derive(Clone, PartialEq, Eq)]
pub struct NotedSecrets {
    /// Tells the connections apart; empty would be none, 32 bytes otherwise.
    pub client_random: Vec<u8>,
    pub lines: Vec<(Box<str>, Vec<u8>)>,
}

/// Labels of one handshake are eight at most; a caller that never takes them shall not gather more.
const LINES_MAX: usize = 16;

impl std::fmt::Debug for NotedSecrets {
    /// Nothing of what they are: this may end in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotedSecrets").field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

/// Takes what was noted in this thread since the last call.
#[must_use]
pub fn taken_secrets() -> Option<NotedSecrets> {
    NOTED.take()
}

/// The key log of configurations under `tune.ssl.keylog on`.
#[derive(Debug)]
pub(crate) struct KeyNotes;

impl KeyLog for KeyNotes {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        NOTED.with_borrow_mut(|noted| {
            // Those of a connection before, which nobody took.
            if noted.as_ref().is_some_and(|noted| noted.client_random != client_random) {
                *noted = None;
            }
            let noted = noted
                .get_or_insert_with(|| NotedSecrets { client_random: client_random.to_vec(), lines: Vec::new() });
            if noted.lines.len() < LINES_MAX {
                noted.lines.push((label.into(), secret.to_vec()));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use rustls::KeyLog;

    use super::{KeyNotes, taken_secrets};

    #[test]
    fn secrets_of_one_connection_at_a_time() {
        KeyNotes.log("CLIENT_RANDOM", &[1; 32], b"one");
        KeyNotes.log("CLIENT_HANDSHAKE_TRAFFIC_SECRET", &[2; 32], b"two");
        KeyNotes.log("SERVER_HANDSHAKE_TRAFFIC_SECRET", &[2; 32], b"three");
        let noted = taken_secrets().unwrap();
        assert_eq!(noted.client_random, [2; 32]);
        let lines: Vec<_> = noted.lines.iter().map(|(label, secret)| (&**label, &secret[..])).collect();
        assert_eq!(
            lines,
            [
                ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", &b"two"[..]),
                ("SERVER_HANDSHAKE_TRAFFIC_SECRET", &b"three"[..])
            ]
        );
        assert_eq!(taken_secrets(), None);
        for _ in 0..100 {
            KeyNotes.log("CLIENT_RANDOM", &[1; 32], b"again");
        }
        assert_eq!(taken_secrets().unwrap().lines.len(), super::LINES_MAX);
    }
}
