//! HTTP/2 between its frames and HTTP/1 messages, and what a peer may cost. Pure: values and bytes in, bytes and values
//! out; frames, HPACK and windows are the `h2` crate's.
//!
//! Every stream is spoken to in HTTP/1: towards the proxy's code a client's request becomes one ([`request`]) and the
//! response is read back ([`response`]); towards a server it is the other way round ([`upstream`]). What must not cross
//! (RFC 9113 §8) is refused here or by the HTTP/1 parser behind. [`meter`] counts what a peer makes us do for nothing,
//! [`law`] ends what the frame layer would let pass.

pub mod fuzz;
pub mod law;
pub mod meter;
pub mod request;
pub mod response;
pub mod upstream;

mod body;
mod fields;

pub use body::{Broken, HEAD_BYTES_MAX};
pub use fields::{Malformed, encode_trailers, fields_of};
