//! Errors as OpenSSL numbers and words them, which tools and people grep in logs.

use std::fmt;

use super::TlsFacts;

/// An error of OpenSSL's library for TLS, by its reason (`SSL_R_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSslError {
    reason: u16,
}

// Reasons of noise.
const HTTPS_PROXY_REQUEST: u16 = 155;
const HTTP_REQUEST: u16 = 156;
const UNEXPECTED_MESSAGE: u16 = 244;
const UNSUPPORTED_PROTOCOL: u16 = 258;
const WRONG_VERSION_NUMBER: u16 = 267;

/// The library's number in a code, and where it stands.
const LIBRARY_SSL: u32 = 20 << 23;

impl OpenSslError {
    /// By the number of its reason.
    #[must_use]
    pub fn of_reason(reason: u16) -> Self {
        Self { reason }
    }

    /// What is wrong with a connection that does not begin with a ClientHello, by the first bytes of it. `None`: these
    /// may be the beginning of one.
    #[must_use]
    pub fn of_noise(bytes: &[u8]) -> Option<Self> {
        let http = [b"GET ".as_slice(), b"POST ", b"HEAD ", b"PUT "];
        let reason = match bytes {
            // Five bytes are a record's header: fewer tell nothing yet.
            [] | [_] | [_, _] | [_, _, _] | [_, _, _, _] | [0x16, 3, ..] => return None,
            _ if http.iter().any(|method| bytes.starts_with(method)) => HTTP_REQUEST,
            _ if bytes.starts_with(b"CONNE") => HTTPS_PROXY_REQUEST,
            // The hello of SSL 2.
            [0x80..=0xff, _, 1, ..] => UNSUPPORTED_PROTOCOL,
            [0x14..=0x17, 3, ..] => UNEXPECTED_MESSAGE,
            _ => WRONG_VERSION_NUMBER,
        };
        Some(Self { reason })
    }

    /// The fatal alert that the peer sent, by its number in RFC 8446 §6.
    #[must_use]
    pub fn alert(number: u8) -> Self {
        Self { reason: 1000 + u16::from(number) }
    }

    /// The number that `ssl_fc_err` gives.
    #[must_use]
    pub fn code(self) -> u32 {
        LIBRARY_SSL | u32::from(self.reason)
    }
}

impl fmt::Display for OpenSslError {
    /// As `openssl errstr` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error:{:08X}:SSL routines::", self.code())?;
        match REASONS.iter().find(|(reason, _)| *reason == self.reason) {
            Some((_, text)) => f.write_str(text),
            None => write!(f, "reason({})", self.reason),
        }
    }
}

/// Reasons and OpenSSL's words for them (3.2 and later: before, some said "sslv3" for "ssl/tls").
const REASONS: &[(u16, &str)] = &[
    (101, "no suitable key share"),
    (104, "inconsistent extms"),
    (108, "bad key share"),
    (110, "bad extension"),
    (118, "no suitable signature algorithm"),
    (123, "bad signature"),
    (134, "certificate verify failed"),
    (146, "data length too long"),
    (155, "https proxy request"),
    (156, "http request"),
    (159, "length mismatch"),
    (187, "no compression specified"),
    (193, "no shared cipher"),
    (199, "peer did not return a certificate"),
    (234, "callback failed"),
    (235, "no application protocol"),
    (244, "unexpected message"),
    (258, "unsupported protocol"),
    (267, "wrong version number"),
    (281, "decryption failed or bad record mac"),
    (294, "unexpected eof while reading"),
    (376, "no shared signature algorithms"),
    (396, "version too low"),
    (1010, "ssl/tls alert unexpected message"),
    (1020, "ssl/tls alert bad record mac"),
    (1021, "tlsv1 alert decryption failed"),
    (1022, "tlsv1 alert record overflow"),
    (1030, "ssl/tls alert decompression failure"),
    (1040, "ssl/tls alert handshake failure"),
    (1041, "ssl/tls alert no certificate"),
    (1042, "ssl/tls alert bad certificate"),
    (1043, "ssl/tls alert unsupported certificate"),
    (1044, "ssl/tls alert certificate revoked"),
    (1045, "ssl/tls alert certificate expired"),
    (1046, "ssl/tls alert certificate unknown"),
    (1047, "ssl/tls alert illegal parameter"),
    (1048, "tlsv1 alert unknown ca"),
    (1049, "tlsv1 alert access denied"),
    (1050, "tlsv1 alert decode error"),
    (1051, "tlsv1 alert decrypt error"),
    (1060, "tlsv1 alert export restriction"),
    (1070, "tlsv1 alert protocol version"),
    (1071, "tlsv1 alert insufficient security"),
    (1080, "tlsv1 alert internal error"),
    (1086, "tlsv1 alert inappropriate fallback"),
    (1090, "tlsv1 alert user cancelled"),
    (1100, "tlsv1 alert no renegotiation"),
    (1109, "tlsv13 alert missing extension"),
    (1110, "tlsv1 unsupported extension"),
    (1111, "tlsv1 certificate unobtainable"),
    (1112, "tlsv1 unrecognized name"),
    (1113, "tlsv1 bad certificate status response"),
    (1114, "tlsv1 bad certificate hash value"),
    (1115, "tlsv1 alert unknown psk identity"),
    (1116, "tlsv13 alert certificate required"),
    (1120, "tlsv1 alert no application protocol"),
];

/// How the handshake with a client ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The client left before it had said anything whole.
    Closed,
    TimedOut,
    /// The check of an authority failed, or that of the client's certificate.
    Authority,
    Certificate,
    /// Anything else.
    Other,
}

impl HandshakeFailure {
    /// Of a handshake that one of both sides ended.
    #[must_use]
    pub fn of(facts: &TlsFacts) -> Self {
        if facts.verification.authority_error != 0 {
            Self::Authority
        } else if facts.verification.leaf_error != 0 {
            Self::Certificate
        } else {
            Self::Other
        }
    }

    /// Number of `fc_err`.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Closed => 24,
            Self::TimedOut => 26,
            Self::Authority => 30,
            Self::Certificate => 31,
            Self::Other => 34,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TlsFacts, Verification};
    use super::{HandshakeFailure, OpenSslError};

    /// As HAProxy 3.2 logs them with OpenSSL 3.6.
    #[test]
    fn codes_and_words() {
        let rows = [
            (OpenSslError::of_reason(193), "error:0A0000C1:SSL routines::no shared cipher"),
            (OpenSslError::of_reason(258), "error:0A000102:SSL routines::unsupported protocol"),
            (OpenSslError::alert(48), "error:0A000418:SSL routines::tlsv1 alert unknown ca"),
            (OpenSslError::alert(46), "error:0A000416:SSL routines::ssl/tls alert certificate unknown"),
            (OpenSslError::alert(200), "error:0A0004B0:SSL routines::reason(1200)"),
        ];
        for (error, expected) in rows {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn noise() {
        let rows: &[(&[u8], Option<u16>)] = &[
            (b"", None),
            (b"GET ", None),
            (b"\x16\x03\x01\x02\x00\x01", None),
            (b"GET / HTTP/1.0", Some(156)),
            (b"POST /", Some(156)),
            (b"CONNECT a:1", Some(155)),
            (b"EHLO example.com\r\n", Some(267)),
            (&[0; 50], Some(267)),
            (b"\x80\x2e\x01\x03\x01", Some(258)),
            (b"\x17\x03\x03\0\x05hello", Some(244)),
            (b"\x15\x03\x03\0\x02\x02\x28", Some(244)),
        ];
        for (bytes, expected) in rows {
            assert_eq!(OpenSslError::of_noise(bytes), expected.map(OpenSslError::of_reason), "{bytes:x?}");
        }
    }

    #[test]
    fn failures() {
        let plain = TlsFacts { error: Some(OpenSslError::of_reason(193)), ..TlsFacts::default() };
        let leaf = Verification { result: 18, leaf_error: 18, ..Verification::default() };
        let authority = Verification { result: 10, authority_error: 10, authority_depth: 1, leaf_error: 0 };
        let rows = [
            (&plain, 34),
            (&TlsFacts::default(), 34),
            (&TlsFacts { verification: leaf, ..plain.clone() }, 31),
            (&TlsFacts { verification: authority, ..plain.clone() }, 30),
        ];
        for (facts, number) in rows {
            assert_eq!(HandshakeFailure::of(facts).number(), number);
        }
        assert_eq!(HandshakeFailure::Closed.number(), 24);
    }
}
