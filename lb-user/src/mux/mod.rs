//! Connections and the exchanges on them: the only place where a codec meets a socket.
//!
//! [`outgoing`] sends one message, head and body; [`exchange`] drives the request and the response of one
//! HTTP/1 exchange at the same time, from one task. Of a connection that speaks HTTP/2, [`h2_front`] makes as many
//! sessions as it has streams, and of a server's, [`h2_back`] as many connections as there are exchanges.

pub mod exchange;
pub mod h2_back;
mod h2_carried;
pub mod h2_front;
mod h2_halves;
mod h2_io;
mod h2_stream;
pub mod outgoing;

use sockeye_http::h1::{Limits, Strictness};

/// How strictly, and up to what size, one side's messages are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    pub limits: Limits,
    pub strictness: Strictness,
}
