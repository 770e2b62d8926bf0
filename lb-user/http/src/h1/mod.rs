//! HTTP/1.0 and HTTP/1.1 on the wire (RFC 9112), both directions.
//!
//! `parse` reads a head, `facts` decides what its fields mean, `chunk` reads and writes chunked bodies, `encode` writes
//! a head. Every violation is one [`ParseError`].

mod error;
mod lines;
mod parse;

mod facts;

mod chunk;
mod encode;

pub use chunk::{CHUNK_HEADER_BYTES_MAX, ChunkDecoder, ChunkHeader, Decoded, LAST_CHUNK, encode_trailers};
pub use encode::{ConnectionHeader, EncodeOptions, encode_request, encode_response, sent_target};
pub use error::{ParseError, Violation};
pub use parse::{Limits, Strictness, parse_request, parse_response};
