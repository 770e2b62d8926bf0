//! Secrets of handshakes for expressions, where `tune.ssl.keylog` allows them (manual 3.2).

use std::fmt;

use rustls::KeyLog;

use crate::handshake::note;

/// A line of an SSLKEYLOGFILE.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// `CLIENT_RANDOM`, `SERVER_TRAFFIC_SECRET_0`, … (labels of NSS).
    pub label: Box<str>,
    pub client_random: Box<[u8]>,
    pub secret: Box<[u8]>,
}

/// Secrets kept of one handshake: it has eight at most, and who never takes them shall not gather more.
pub(crate) const SECRETS_MAX: usize = 16;

impl fmt::Debug for Secret {
    /// Without the secret: this may end in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secret").field("label", &self.label).finish_non_exhaustive()
    }
}

/// The key log of configurations under `tune.ssl.keylog on`.
#[derive(Debug)]
pub(crate) struct KeyNotes;

impl KeyLog for KeyNotes {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let secret =
            Secret { label: label.into(), client_random: client_random.into(), secret: secret.into() };
        note(|handshake| {
            // Those of a connection before, which nobody took.
            handshake.secrets.retain(|noted| noted.client_random == secret.client_random);
            if handshake.secrets.len() < SECRETS_MAX {
                handshake.secrets.push(secret);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use rustls::KeyLog;

    use super::{KeyNotes, SECRETS_MAX};
    use crate::taken;

    #[test]
    fn secrets_of_one_connection_at_a_time() {
        KeyNotes.log("CLIENT_RANDOM", &[1; 32], b"one");
        KeyNotes.log("CLIENT_HANDSHAKE_TRAFFIC_SECRET", &[2; 32], b"two");
        KeyNotes.log("SERVER_HANDSHAKE_TRAFFIC_SECRET", &[2; 32], b"three");
        let noted = taken().secrets;
        let lines: Vec<_> = noted.iter().map(|secret| (&*secret.label, &*secret.secret)).collect();
        let expected = [
            ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", &b"two"[..]),
            ("SERVER_HANDSHAKE_TRAFFIC_SECRET", &b"three"[..]),
        ];
        assert_eq!(lines, expected);
        assert!(taken().secrets.is_empty());
        for _ in 0..100 {
            KeyNotes.log("CLIENT_RANDOM", &[1; 32], b"again");
        }
        assert_eq!(taken().secrets.len(), SECRETS_MAX);
        assert!(!format!("{noted:?}").contains("116"), "the bytes of a secret");
    }
}
