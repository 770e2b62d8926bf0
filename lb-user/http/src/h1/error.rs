//! What can be wrong with an HTTP/1 message, where, and what the peer is told.

/// A message that must not go on: what is wrong, at which byte of the message, and hence what to answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{violation} at byte {position}")]
pub struct ParseError {
    /// What is wrong.
    pub violation: Violation,
    /// Offset of the first offending byte in the buffer given to the parser; for chunks, in the slice given.
    pub position: usize,
}

impl ParseError {
    pub(crate) fn new(violation: Violation, position: usize) -> Self {
        Self { violation, position }
    }

    /// The status to answer to a client that sent this. A server that sent it always makes a 502.
    pub fn status(&self) -> u16 {
        match self.violation {
            Violation::UnsupportedVersion => 505,
            Violation::UnexpectedPayload => 413,
            Violation::RequestLineTooLong => 414,
            Violation::HeadTooLarge => 431,
            // RFC 9112 §6.1 suggests 501; HAProxy answers 422 and so do we.
            Violation::UnsupportedTransferCoding => 422,
            _ => 400,
        }
    }
}

/// Every way in which a message can be refused. The text is what `show errors` and debug logs print.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    // --- lines ---
    /// A carriage return that does not end a line.
    #[error("bare carriage return")]
    BareCr,
    /// A line that ends in LF without CR.
    #[error("line feed without carriage return")]
    BareLf,
    /// More empty lines before a request than any client sends.
    #[error("too many empty lines before the request")]
    TooManyEmptyLines,
    /// The head does not end within the limit.
    #[error("head larger than the buffer")]
    HeadTooLarge,
    /// Not even the request line ends within the limit.
    #[error("request line longer than the buffer")]
    RequestLineTooLong,

    // --- request line ---
    /// The method is empty, not a token, or not followed by one space.
    #[error("invalid method")]
    BadMethod,
    /// The target is empty or holds a character that no target may hold.
    #[error("invalid character in the request target")]
    BadTarget,
    /// The target holds a fragment, which is never sent (RFC 9112 §3.2).
    #[error("fragment in the request target")]
    Fragment,
    /// The target's form does not fit the method, or its authority is not valid.
    #[error("invalid form of the request target")]
    BadTargetForm,
    /// No version, or something that is not one.
    #[error("invalid HTTP version")]
    BadVersion,
    /// A well-formed version of another protocol generation.
    #[error("unsupported HTTP version")]
    UnsupportedVersion,

    // --- status line ---
    /// Not three digits from 100 up.
    #[error("invalid status code")]
    BadStatus,
    /// A control character in the reason phrase.
    #[error("invalid character in the reason phrase")]
    BadReason,

    // --- fields ---
    /// More fields than `tune.http.maxhdr`.
    #[error("too many header fields")]
    TooManyFields,
    /// A line that starts with white space: obsolete line folding, or white space before the first field.
    #[error("folded header line")]
    ObsFold,
    /// A field line without colon.
    #[error("header line without colon")]
    MissingColon,
    /// Nothing before the colon.
    #[error("empty header name")]
    EmptyFieldName,
    /// White space between name and colon.
    #[error("white space before the colon")]
    SpaceBeforeColon,
    /// A name that is not a token.
    #[error("invalid character in a header name")]
    BadFieldName,
    /// A control character in a value.
    #[error("control character in a header value")]
    BadFieldValue,

    // --- framing ---
    /// Content-Length that is not a decimal number (or a list of the same one).
    #[error("invalid content-length")]
    BadContentLength,
    /// Content-Length beyond 64 bits.
    #[error("content-length too large")]
    ContentLengthOverflow,
    /// Several Content-Length values that differ.
    #[error("conflicting content-length values")]
    ContentLengthConflict,
    /// Transfer-Encoding that is empty, obfuscated, or not ended by chunked.
    #[error("invalid transfer-encoding")]
    BadTransferEncoding,
    /// chunked more than once, or before another coding.
    #[error("chunked is repeated or not the last transfer coding")]
    ChunkedNotLast,
    /// A coding besides chunked.
    #[error("unsupported transfer coding")]
    UnsupportedTransferCoding,
    /// Transfer-Encoding in an HTTP/1.0 request, where nobody agrees what it means.
    #[error("transfer-encoding in HTTP/1.0")]
    TransferEncodingInHttp10,
    /// An HTTP/1.0 GET, HEAD or DELETE with a body: many servers would take the body for the next request.
    #[error("unexpected payload for this method in HTTP/1.0")]
    UnexpectedPayload,

    // --- routing and switching ---
    /// Host that is no `host[:port]`.
    #[error("invalid host")]
    BadHost,
    /// Several Host fields that differ.
    #[error("conflicting host fields")]
    HostConflict,
    /// Host that differs from the authority of the target.
    #[error("host differs from the authority of the target")]
    HostMismatch,
    /// A WebSocket handshake without a valid Sec-WebSocket-Key.
    #[error("invalid sec-websocket-key")]
    BadWebsocketKey,
    /// A WebSocket handshake answered without Sec-WebSocket-Accept.
    #[error("invalid sec-websocket-accept")]
    BadWebsocketAccept,
    /// 101 to a request that did not ask to switch protocols, or to another protocol than asked for.
    #[error("unasked switch of protocols")]
    UnaskedUpgrade,

    // --- chunked bodies ---
    /// A chunk size that is not hexadecimal digits.
    #[error("invalid chunk size")]
    BadChunkSize,
    /// A chunk size with too many digits.
    #[error("chunk size too large")]
    ChunkSizeOverflow,
    /// A chunk extension outside the grammar of RFC 9112 §7.1.1.
    #[error("invalid chunk extension")]
    BadChunkExtension,
    /// A chunk extension longer than allowed.
    #[error("chunk extension too long")]
    ChunkExtensionTooLong,
    /// Chunk data not followed by CRLF.
    #[error("chunk data not followed by CRLF")]
    BadChunkEnd,
    /// Trailers larger than the limit.
    #[error("trailers too large")]
    TrailersTooLarge,
}
