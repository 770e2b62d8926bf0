//! The HTTP message and its HTTP/1 encoding. Pure: bytes in, bytes out; no socket, no task, no clock.
//!
//! It is a normalizer: a message that is not valid, complete and unambiguous under RFC 9110 and RFC 9112 is an error
//! with a kind, a position and a status to answer; what does go on is written anew, so that no two readers of it can
//! disagree. It follows HAProxy on the wire (lower-case names, order kept) and is nowhere laxer than it.

pub mod message;

pub mod headers;

pub mod scan;

pub mod uri;

pub mod body;

pub mod h1;

pub mod fuzz;

pub use body::BodyLength;
pub use headers::{FieldName, Headers, Known};
pub use message::{Method, RequestFacts, RequestHead, ResponseHead, Version, reason_phrase};
pub use scan::{is_valid_name, is_valid_value};
