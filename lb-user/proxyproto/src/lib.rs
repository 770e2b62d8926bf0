//! The PROXY protocol: who a connection is from and for, told by the proxy in front.
//!
//! Readers of version 1 (a line of text), version 2 (binary, with TLVs) and of NetScaler's Client IP insertion, and
//! writers of both versions, after the specification "The PROXY protocol, Versions 1 & 2". No socket and no clock:
//! bytes in, a header or what is still missing out. Where HAProxy reads more than the specification allows (port
//! 65536, address 1.2.3.256, leading zeros), these readers refuse.

pub mod cip;
mod crc32c;
pub mod fuzz;
mod read;
pub mod tlv;
mod v1;
mod v2;
mod write;

pub use read::{Endpoints, Header, HeaderError, Parsed, Transport, UnixPath, Version, parse};
pub use tlv::{SslFacts, Tlv, Tlvs};
pub use v1::LINE_MAX;
pub use v2::BLOCK_MAX;
pub use write::{Extras, TooLong, write_v1, write_v2};
