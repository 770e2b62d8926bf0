//! How long a body is: RFC 9112 §6.3, one function per direction, each rule beside its sentence.

use crate::message::{Method, RequestFacts};

/// What follows a head.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BodyLength {
    /// Nothing: the next byte belongs to the next message.
    #[default]
    None,
    /// Exactly this many bytes; may be 0 (the field `content-length: 0` was there and goes on).
    Length(u64),
    /// Chunks, a last chunk, trailers.
    Chunked,
    /// Everything until the sender closes. Responses only.
    UntilClose,
    /// No message any more: bytes both ways (101, 2xx to CONNECT).
    Tunnel,
}

impl BodyLength {
    /// True when no body byte follows.
    pub fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// What the framing fields of a valid head said, conflicts already refused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Framing {
    pub(crate) content_length: Option<u64>,
    /// `Transfer-Encoding` was there and ends in `chunked`.
    pub(crate) chunked: bool,
    /// `Transfer-Encoding` was there but does not end in `chunked`: an empty one, in responses, in relaxed mode.
    pub(crate) coded_until_close: bool,
}

/// RFC 9112 §6.3 for a request.
pub(crate) fn request_body(framing: Framing) -> BodyLength {
    // "If a message is received with both a Transfer-Encoding and a Content-Length header field, the Transfer-Encoding
    // overrides the Content-Length."
    if framing.chunked {
        return BodyLength::Chunked;
    }
    // "If a valid Content-Length header field is present without Transfer-Encoding, its decimal value defines the
    // expected message body length in octets." "If this is a request message and none of the above are true, then the
    // message body length is zero (no message body is present)."
    framing.content_length.map_or(BodyLength::None, BodyLength::Length)
}

/// RFC 9112 §6.3 for a response to `request`.
pub(crate) fn response_body(request: RequestFacts, status: u16, framing: Framing) -> BodyLength {
    // RFC 9110 §15.2.2: the server switches "immediately after the empty line that terminates the 101 response".
    if status == 101 {
        return BodyLength::Tunnel;
    }
    // "Any response to a HEAD request and any response with a 1xx (Informational), 204 (No Content), or 304 (Not
    // Modified) status code is always terminated by the first empty line after the header fields".
    if request.method == Method::Head || status < 200 || status == 204 || status == 304 {
        return BodyLength::None;
    }
    // "Any 2xx (Successful) response to a CONNECT request implies that the connection will become a tunnel immediately
    // after the empty line that concludes the header fields. A client MUST ignore any Content-Length or
    // Transfer-Encoding header fields received in such a message."
    if request.method == Method::Connect && status < 300 {
        return BodyLength::Tunnel;
    }
    if framing.chunked {
        return BodyLength::Chunked;
    }
    // "If a Transfer-Encoding header field is present in a response and the chunked transfer coding is not the final
    // encoding, the message body length is determined by reading the connection until it is closed by the server."
    if framing.coded_until_close {
        return BodyLength::UntilClose;
    }
    // "Otherwise, this is a response message without a declared message body length, so the message body length is
    // determined by the number of octets received prior to the server closing the connection."
    framing.content_length.map_or(BodyLength::UntilClose, BodyLength::Length)
}
