//! What traffic shows of a server's health (`observe`, manual 5.2), and the handle of its checks.

use std::sync::PoisonError;
use std::time::Duration;

use sockeye_config::model::Mode;
use sockeye_conn::clock;
use sockeye_health::{CheckHandle, Observed};

use super::{Backend, Server};

/// How long a server that ended a pooled connection is taken to be perhaps going down: the teardown of a busy process
/// takes tens of milliseconds, and its next check comes within seconds.
const GOING_DOWN: Duration = Duration::from_secs(1);

impl Server {
    /// Keeps the handle of the server's checks. Called once, before the first request.
    pub fn watch(&self, handle: CheckHandle) {
        // A second handle would belong to a second supervisor, which nobody starts.
        let _ = self.checks.set(handle);
    }

    /// It ended a pooled connection under a request: an old one has timed out there, or all of it goes down.
    pub fn observe_dropped(&self) {
        *self.dropped_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::now());
    }

    /// Whether it ended a pooled connection under a request a moment ago.
    pub fn dropped_lately(&self) -> bool {
        let at = *self.dropped_at.lock().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| clock::now().duration_since(at) < GOING_DOWN)
    }

    /// A connection to it could not be made.
    pub fn observe_connection_failure(&self) {
        self.observe(Observed::Layer4Error);
    }

    /// A connection to it was made.
    pub fn observe_connection(&self, backend: &Backend) {
        // In HTTP the response decides what the exchange was worth.
        if backend.cfg.mode == Mode::Tcp {
            self.observe(Observed::Layer4Ok);
        }
    }

    /// Its response was missing, late or invalid.
    pub fn observe_bad_response(&self, observed: Observed) {
        self.observe(observed);
    }

    /// It answered with this status.
    pub fn observe_response(&self, status: u16) {
        self.observe(Observed::of_status(status));
    }

    fn observe(&self, observed: Observed) {
        if let Some(checks) = self.checks.get() {
            checks.observe(observed);
        }
    }
}
