//! Bytes both ways until both sides have ended: `mode tcp`, and HTTP after a switch of protocols.
//!
//! Each direction is a [`Pump`]; an end on one side is passed on as a half-close, a reset as a reset. Inactivity
//! is measured over both directions, since every byte that moves is activity on both connections.

use std::task::{Context, Poll};
use std::time::Duration;

use sockeye_conn::{Buffer, Socket, Timer, clock};
use sockeye_relay::{Pump, RelayError};
use tokio::time::Instant;

use super::abort::{Cause, Ending, Stage};
use crate::frontend::RelayPolicies;
use crate::frontend::worker::Control;

/// Inactivity limits of the two connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct DuplexTimeouts {
    /// `timeout client`, or `timeout tunnel`.
    pub client: Option<Duration>,
    /// `timeout server`, or `timeout tunnel`.
    pub server: Option<Duration>,
    /// `timeout client-fin`: once the client has been sent our end.
    pub client_fin: Option<Duration>,
    /// `timeout server-fin`: once the server has been sent our end.
    pub server_fin: Option<Duration>,
}

/// What moved, and how it ended.
#[derive(Debug, Clone, Copy)]
pub struct DuplexOutcome {
    pub ending: Ending,
    /// Bytes from the client to the server.
    pub uploaded: u64,
    /// Bytes from the server to the client.
    pub downloaded: u64,
}

/// Moves bytes between `client` and `server`, `first` bytes of each already read.
pub async fn run(
    client: &mut Socket,
    server: &mut Socket,
    first: (Buffer, Buffer),
    policies: RelayPolicies<'_>,
    timeouts: DuplexTimeouts,
    control: &Control,
) -> DuplexOutcome {
    let mut duplex = Duplex {
        client,
        server,
        up: Pump::new(policies.request, None, first.0),
        down: Pump::new(policies.response, None, first.1),
        up_done: false,
        down_done: false,
        timeouts,
        timer: Timer::new(),
    };
    duplex.restart_timer(clock::now());
    let ending = std::future::poll_fn(|cx| {
        if control.is_killed() {
            return Poll::Ready(Ending::new(control.cause(), Stage::Data));
        }
        duplex.poll(cx)
    })
    .await;
    DuplexOutcome { ending, uploaded: duplex.up.moved(), downloaded: duplex.down.moved() }
}

struct Duplex<'a> {
    client: &'a mut Socket,
    server: &'a mut Socket,
    up: Pump,
    down: Pump,
    up_done: bool,
    down_done: bool,
    timeouts: DuplexTimeouts,
    timer: Timer,
}

impl Duplex<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let before = (self.up.moved(), self.down.moved(), self.up_done, self.down_done);
        if !self.up_done
            && let Poll::Ready(end) = self.up.poll(cx, self.client, self.server)
        {
            match end {
                Ok(_) => {
                    self.up_done = true;
                    // Fails only if the server has reset meanwhile, which the other direction reports.
                    let _ = self.server.shutdown_write();
                }
                Err(RelayError::Read(_)) => return Poll::Ready(self.client_broke()),
                Err(RelayError::Write(_)) => return Poll::Ready(self.server_broke()),
            }
        }
        if !self.down_done
            && let Poll::Ready(end) = self.down.poll(cx, self.server, self.client)
        {
            match end {
                Ok(_) => {
                    self.down_done = true;
                    // As above, for the client.
                    let _ = self.client.shutdown_write();
                }
                Err(RelayError::Read(_)) => return Poll::Ready(self.server_broke()),
                Err(RelayError::Write(_)) => return Poll::Ready(self.client_broke()),
            }
        }
        if self.up_done && self.down_done {
            return Poll::Ready(Ending::default());
        }
        if let Some(idle) = self.idle_since(before) {
            let now = clock::now();
            self.restart_timer(now.checked_sub(idle).unwrap_or(now));
        }
        if self.timer.poll_expired(cx).is_ready() {
            return Poll::Ready(Ending::new(self.late(), Stage::Data));
        }
        Poll::Pending
    }

    /// How long ago the last progress was, if there was any since `before`. The kernel does not wake us for the
    /// bytes that it moves, so those of its direction may have come long before this poll.
    fn idle_since(&self, before: (u64, u64, bool, bool)) -> Option<Duration> {
        if (self.up_done, self.down_done) != (before.2, before.3) {
            return Some(Duration::ZERO);
        }
        let up = (self.up.moved() != before.0).then(|| self.up.idle(self.client).unwrap_or_default());
        let down = (self.down.moved() != before.1).then(|| self.down.idle(self.server).unwrap_or_default());
        match (up, down) {
            (Some(up), Some(down)) => Some(up.min(down)),
            (up, down) => up.or(down),
        }
    }

    fn client_broke(&self) -> Ending {
        self.server.reset_on_close();
        Ending::new(Cause::Client, Stage::Data)
    }

    fn server_broke(&self) -> Ending {
        self.client.reset_on_close();
        Ending::new(Cause::Server, Stage::Data)
    }

    /// The two limits in force: a side that was sent our end obeys its own `-fin` limit.
    fn limits(&self) -> (Option<Duration>, Option<Duration>) {
        let timeouts = &self.timeouts;
        let client = if self.down_done { timeouts.client_fin.or(timeouts.client) } else { timeouts.client };
        let server = if self.up_done { timeouts.server_fin.or(timeouts.server) } else { timeouts.server };
        (client, server)
    }

    fn restart_timer(&mut self, now: Instant) {
        let (client, server) = self.limits();
        let limit = match (client, server) {
            (Some(client), Some(server)) => Some(client.min(server)),
            (limit, None) | (None, limit) => limit,
        };
        self.timer.set(limit.and_then(|limit| now.checked_add(limit)));
    }

    /// Whose limit was the shorter.
    fn late(&self) -> Cause {
        match self.limits() {
            (Some(client), Some(server)) if server < client => Cause::ServerTimeout,
            (None, Some(_)) => Cause::ServerTimeout,
            _ => Cause::ClientTimeout,
        }
    }
}
