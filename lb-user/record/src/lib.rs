//! TLS over bytes: handshakes by rustls, and the records after them by us.
//!
//! Knows no socket and no certificate: configurations of rustls come in, bytes go in and out.

mod handshake;
mod hellos;
mod record;

pub use handshake::{Established, Handshake, Negotiated, Progress, Renewal, Step};
pub use hellos::{Hellos, is_obsolete};
pub use record::{
    CONTENT_BYTES_MAX, ContentType, HEADROOM_BYTES_MAX, Opener, RECORD_BYTES_MAX, RecordError, Sealer,
    TAILROOM_BYTES, record_length,
};
