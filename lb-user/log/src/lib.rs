//! Log lines: formats of [`sockeye_sample`], lines rendered into reused buffers, targets that never block (manual chapter 8).
//!
//! [`Record`] and [`write_alias`] are pure: a record in, bytes out. [`Logger`] is what a proxy holds; it stamps each line
//! for every [`Sink`] and sends it, or counts it as dropped.

mod date;
mod line;
mod record;
mod rfc;

mod logger;
mod sink;

pub use date::Dates;
pub use line::{connect_line, connection_error_line, write_alias};
pub use logger::{Logger, Process};
pub use record::{Captures, Connections, Origin, Peer, Queues, Record, Request, Retries, Timers, Tls};
pub use rfc::Header;
pub use sink::{Sink, SinkError, Sinks};

pub use sockeye_config::model::Level;
pub use sockeye_sample::Format;
