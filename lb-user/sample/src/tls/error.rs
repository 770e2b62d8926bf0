//! Errors as OpenSSL numbers and words them, which tools and people grep in logs.

use std::fmt;

/// An error of OpenSSL's library for TLS, by its reason (`SSL_R_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSslError {
    reason: u16,
}

/// The library's number in a code, and where it stands.
const LIBRARY_SSL: u32 = 20 << 23;

impl OpenSslError {
    pub const UNEXPECTED_MESSAGE: Self = Self { reason: 244 };
    pub const NO_SHARED_CIPHER: Self = Self { reason: 193 };
    pub const NO_CERTIFICATE_RETURNED: Self = Self { reason: 199 };
    pub const CERTIFICATE_VERIFY_FAILED: Self = Self { reason: 134 };
    pub const WRONG_VERSION: Self = Self { reason: 267 };
    pub const UNSUPPORTED_PROTOCOL: Self = Self { reason: 258 };
    pub const HTTP_REQUEST: Self = Self { reason: 156 };
    pub const NO_APPLICATION_PROTOCOL: Self = Self { reason: 235 };
    pub const BAD_RECORD: Self = Self { reason: 281 };
    pub const UNEXPECTED_END: Self = Self { reason: 294 };
    pub const BAD_SIGNATURE: Self = Self { reason: 123 };
    pub const LENGTH_MISMATCH: Self = Self { reason: 159 };
    pub const BAD_EXTENSION: Self = Self { reason: 110 };
    pub const NO_SUITABLE_KEY_SHARE: Self = Self { reason: 101 };
    pub const NO_SUITABLE_SIGNATURE: Self = Self { reason: 118 };

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
    (110, "bad extension"),
    (118, "no suitable signature algorithm"),
    (123, "bad signature"),
    (134, "certificate verify failed"),
    (156, "http request"),
    (159, "length mismatch"),
    (193, "no shared cipher"),
    (199, "peer did not return a certificate"),
    (235, "no application protocol"),
    (244, "unexpected message"),
    (258, "unsupported protocol"),
    (267, "wrong version number"),
    (281, "decryption failed or bad record mac"),
    (294, "unexpected eof while reading"),
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

#[cfg(test)]
mod tests {
    use super::OpenSslError;

    /// As HAProxy 3.2 logs them with OpenSSL 3.6.
    #[test]
    fn codes_and_words() {
        let rows = [
            (OpenSslError::NO_SHARED_CIPHER, "error:0A0000C1:SSL routines::no shared cipher"),
            (OpenSslError::UNSUPPORTED_PROTOCOL, "error:0A000102:SSL routines::unsupported protocol"),
            (OpenSslError::alert(48), "error:0A000418:SSL routines::tlsv1 alert unknown ca"),
            (OpenSslError::alert(46), "error:0A000416:SSL routines::ssl/tls alert certificate unknown"),
            (OpenSslError::alert(200), "error:0A0004B0:SSL routines::reason(1200)"),
        ];
        for (error, expected) in rows {
            assert_eq!(error.to_string(), expected);
        }
    }
}
