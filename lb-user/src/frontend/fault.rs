//! Why a client's connection ended before it had a stream.

use std::borrow::Cow;

use super::tls::ClientTls;

/// A number of the manual's table of `fc_err_str` (7.3.3), which logs and expressions show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fault(pub u8);

impl Fault {
    /// Nothing that a handshake found.
    pub const NONE: Self = Self(0);
    pub const PROXY_EMPTY: Self = Self(11);
    pub const PROXY_ABORT: Self = Self(12);
    pub const PROXY_TIMEOUT: Self = Self(13);
    pub const PROXY_TRUNCATED: Self = Self(14);
    pub const PROXY_NOT_HEADER: Self = Self(15);
    pub const PROXY_BAD_HEADER: Self = Self(16);
    pub const PROXY_BAD_PROTOCOL: Self = Self(17);
    pub const CIP_EMPTY: Self = Self(18);
    pub const CIP_ABORT: Self = Self(19);
    pub const CIP_TIMEOUT: Self = Self(20);
    pub const CIP_TRUNCATED: Self = Self(21);
    pub const CIP_BAD_MAGIC: Self = Self(22);
    pub const CIP_BAD_PROTOCOL: Self = Self(23);
    pub const SSL_EMPTY: Self = Self(24);
    pub const SSL_ABORT: Self = Self(25);
    pub const SSL_TOO_MANY: Self = Self(27);
    pub const SSL_HANDSHAKE: Self = Self(34);

    /// The words of the log.
    pub fn text(self) -> &'static str {
        sockeye_fetch::error_text(self.0)
    }

    /// The same with what OpenSSL would say of a handshake that failed.
    pub fn message(self, tls: Option<&ClientTls>) -> Cow<'static, str> {
        match tls.filter(|_| self == Self::SSL_HANDSHAKE).and_then(|tls| tls.facts().error) {
            Some(error) => format!("{} ({error})", self.text()).into(),
            None => self.text().into(),
        }
    }

    /// Whether the client did nothing that an error could be seen in: `option dontlognull` keeps such connections out
    /// of the log.
    pub fn is_silence(self) -> bool {
        matches!(
            self,
            Self::NONE
                | Self::PROXY_EMPTY
                | Self::PROXY_ABORT
                | Self::CIP_EMPTY
                | Self::CIP_ABORT
                | Self::SSL_EMPTY
                | Self::SSL_ABORT
        )
    }
}
