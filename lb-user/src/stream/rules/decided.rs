//! What rules decided about one stream.

use std::cell::{OnceCell, RefCell};
use std::net::SocketAddr;
use std::time::Duration;

use sockeye_rules::LogLevel;
use sockeye_sample::Variables;

/// Slots for captured headers; a configuration that has more is refused.
pub const CAPTURES_MAX: usize = 1024;

/// A slot and what was captured into it.
pub type Captured = Option<Box<[u8]>>;

/// The state of a stream that only rules have. Made when a proxy has rules, dropped with the stream.
#[derive(Debug, Default)]
pub struct Decided {
    pub txn: RefCell<Variables>,
    /// `req` until the response begins, then `res`.
    pub message: RefCell<Variables>,
    pub request_captures: RefCell<Vec<Captured>>,
    pub response_captures: RefCell<Vec<Captured>>,
    pub unique_id: OnceCell<Box<[u8]>>,
    pub log_level: Option<LogLevel>,
    pub timeouts: Timeouts,
    pub retries: Option<u32>,
    /// `disable-l7-retry`
    pub no_retry: bool,
    /// The status as the server sent it.
    pub server_status: Option<u16>,
    /// `set-src` and its kin, for this stream only.
    pub source: Option<SocketAddr>,
    pub destination: Option<SocketAddr>,
    pub priority_class: i64,
    pub priority_offset: i64,
    pub back_mark: Option<u32>,
    pub back_tos: Option<u32>,
    /// The response has begun: `req` variables are gone.
    pub responding: bool,
    /// `ignore-persist` holds.
    pub ignore_persist: bool,
    /// `force-persist` holds.
    pub force_persist: bool,
}

/// `set-timeout`.
#[derive(Debug, Default, Clone, Copy)]
pub struct Timeouts {
    pub client: Option<Duration>,
    pub server: Option<Duration>,
    pub tunnel: Option<Duration>,
    pub connect: Option<Duration>,
    pub queue: Option<Duration>,
    pub tarpit: Option<Duration>,
}

impl Decided {
    /// The response begins: what was known of the request alone goes.
    pub fn begin_response(&mut self) {
        if !self.responding {
            self.responding = true;
            self.message.get_mut().clear();
        }
    }
}
