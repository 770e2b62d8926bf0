//! Connections and the exchanges on them: the only place where a codec meets a socket.
//!
//! [`outgoing`] sends one message, head and body; [`exchange`] drives the request and the response of one
//! HTTP/1 exchange at the same time, from one task. With HTTP/2 an exchange is a stream: `h2_stream` lies between a
//! client's stream and the session that serves it, `h2_carried` between an exchange and a stream to a server.

pub mod exchange;
pub(crate) mod h2_carried;
mod h2_halves;
pub(crate) mod h2_io;
pub(crate) mod h2_stream;
pub mod outgoing;

use sockeye_http::h1::{Limits, Strictness};

/// How strictly, and up to what size, one side's messages are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    pub limits: Limits,
    pub strictness: Strictness,
}
