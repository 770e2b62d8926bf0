//! What both hellos of a handshake say in clear that rustls keeps to itself: the random bytes and the session's id.

/// Random bytes of both sides, and the id that the server gave the session (TLS 1.2; what it echoes in TLS 1.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hellos {
    pub client_random: Option<[u8; 32]>,
    pub server_random: Option<[u8; 32]>,
    /// At most 32 bytes.
    pub session_id: Vec<u8>,
}

// Numbers of RFC 8446 §4 and §5.1.
const RECORD_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// In place of a server's random bytes: the hello asks for another one of the client (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// The answer to who speaks nothing newer than TLS 1.1 (RFC 5246 appendix E.1): a fatal `protocol_version`, in clear.
pub(crate) const TOO_OLD: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// Whether `records` begins with the hello of a client that speaks nothing newer than TLS 1.1. rustls would find other
/// faults with it first and send another alert.
#[must_use]
pub fn is_obsolete(records: &[u8]) -> bool {
    matches!(records, [RECORD_HANDSHAKE, 3, _, _, _, CLIENT_HELLO, _, _, _, 3, 0..=2, ..])
}

impl Hellos {
    /// Looks at the beginning of what one side sent at a time. A hello in pieces is not put together.
    pub(crate) fn see(&mut self, records: &[u8]) {
        // The record's header, the message's, the version.
        let Some((&[RECORD_HANDSHAKE, 3, _, _, _, kind, _, _, _, 3, _], rest)) = records.split_first_chunk()
        else {
            return;
        };
        let Some((random, rest)) = rest.split_first_chunk::<32>() else { return };
        match kind {
            CLIENT_HELLO if self.client_random.is_none() => self.client_random = Some(*random),
            SERVER_HELLO if self.server_random.is_none() && *random != RETRY => {
                self.server_random = Some(*random);
                let id = rest.split_first().and_then(|(length, rest)| rest.get(..usize::from(*length)));
                self.session_id = id.filter(|id| id.len() <= 32).unwrap_or_default().to_vec();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hellos, RETRY, is_obsolete};

    #[test]
    fn old_versions() {
        for (version, expected) in [(0, true), (1, true), (2, true), (3, false), (4, false)] {
            let mut hello = hello(1, [1; 32], b"");
            hello[10] = version;
            assert_eq!(is_obsolete(&hello), expected, "{version}");
            assert!(!is_obsolete(&hello[..10]), "not whole yet");
        }
        assert!(!is_obsolete(&hello(2, [1; 32], b"")));
    }

    fn hello(kind: u8, random: [u8; 32], session: &[u8]) -> Vec<u8> {
        let length = u8::try_from(session.len()).unwrap();
        [&[22, 3, 3, 0, 90, kind, 0, 0, 86, 3, 3][..], &random, &[length], session, &[0; 20]].concat()
    }

    #[test]
    fn of_both_sides() {
        let mut hellos = Hellos::default();
        hellos.see(&hello(1, [1; 32], b"offered"));
        hellos.see(&hello(2, RETRY, b""));
        hellos.see(&hello(1, [9; 32], b"again"));
        hellos.see(&hello(2, [2; 32], b"given"));
        hellos.see(&hello(2, [3; 32], b"later"));
        let expected = Hellos {
            client_random: Some([1; 32]),
            server_random: Some([2; 32]),
            session_id: b"given".to_vec(),
        };
        assert_eq!(hellos, expected);
    }

    #[test]
    fn noise() {
        let mut hellos = Hellos::default();
        let whole = hello(2, [2; 32], &[7; 33]);
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &whole[..40], &[22; 60], b""] {
            hellos.see(bytes);
        }
        assert_eq!(hellos, Hellos::default());
        // An id that is too long is none.
        hellos.see(&whole);
        assert_eq!((hellos.server_random.is_some(), hellos.session_id.len()), (true, 0));
    }
}
