//! What rules decided about one stream.

use std::cell::RefCell;
use std::time::Duration;

use sockeye_auth::Digest;
use sockeye_rules::LogLevel;
use sockeye_sample::Variables;

use crate::backend::queue::Priority;

/// The state of a stream that only rules have. Made when a proxy has rules, dropped with the stream.
#[derive(Debug, Default)]
pub struct Decided {
    pub txn: RefCell<Variables>,
    /// `req` until the response begins, then `res`.
    pub message: RefCell<Variables>,
    /// Captured by converters while an expression was evaluated: of a request or not, slot and text. Whoever
    /// evaluated moves it to the log's facts.
    pub captured: RefCell<Vec<(bool, usize, Vec<u8>)>>,
    pub log_level: Option<LogLevel>,
    pub timeouts: Timeouts,
    pub retries: Option<u32>,
    /// `disable-l7-retry`
    pub no_retry: bool,
    /// The status as the server sent it.
    pub server_status: Option<u16>,
    pub priority_class: i64,
    pub priority_offset: i64,
    pub back_mark: Option<u32>,
    pub back_tos: Option<u32>,
    /// The response has begun: `req` variables are gone.
    pub responding: bool,
    /// The password that was last found to be wrong.
    pub wrong_password: Option<Digest>,
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
    /// Where the request stands among those that wait for a server.
    pub fn priority(&self) -> Priority {
        Priority { class: self.priority_class, offset: self.priority_offset }
    }

    /// Whether an expression left something here; what rules alone change does not count.
    pub fn is_touched(&mut self) -> bool {
        !(self.txn.get_mut().is_empty()
            && self.message.get_mut().is_empty()
            && self.captured.get_mut().is_empty())
    }

    /// The response begins: what was known of the request alone goes.
    pub fn begin_response(&mut self) {
        if !self.responding {
            self.responding = true;
            self.message.get_mut().clear();
        }
    }
}
