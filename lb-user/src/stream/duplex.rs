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

/// The direction to the server, where it runs before the other one may: rules look at the response first.
pub struct Upload {
    pump: Pump,
    done: bool,
}

/// What came while a response was waited for.
pub enum Came {
    Bytes,
    /// The server will send no more.
    End,
    /// The timer expired.
    Late,
    /// The stream is over.
    Over(Ending),
}

impl Upload {
    /// `first` was read of the client already.
    pub fn new(policies: RelayPolicies<'_>, first: Buffer) -> Self {
        Self { pump: Pump::new(policies.request, None, first), done: false }
    }

    pub fn moved(&self) -> u64 {
        self.pump.moved()
    }

    /// Moves what the client sends until the server has sent something, which goes to `response`.
    pub async fn until_response(
        &mut self,
        client: &mut Socket,
        server: &mut Socket,
        response: &mut Buffer,
        timer: &mut Timer,
        control: &Control,
    ) -> Came {
        std::future::poll_fn(|cx| {
            if control.is_killed() {
                return Poll::Ready(Came::Over(Ending::new(control.cause(), Stage::Data)));
            }
            if !self.done
                && let Poll::Ready(end) = self.pump.poll(cx, client, server)
            {
                match end {
                    Ok(_) => {
                        self.done = true;
                        // Fails only if the server has reset meanwhile, which reading reports.
                        let _ = server.shutdown_write();
                    }
                    Err(RelayError::Read(_)) => return Poll::Ready(Came::Over(client_broke(server))),
                    Err(RelayError::Write(_)) => return Poll::Ready(Came::Over(server_broke(client))),
                }
            }
            match server.poll_read(cx, response.space()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Came::End),
                Poll::Ready(Ok(n)) => {
                    response.advance(n);
                    return Poll::Ready(Came::Bytes);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Came::Over(server_broke(client))),
                Poll::Pending => {}
            }
            timer.poll_expired(cx).map(|()| Came::Late)
        })
        .await
    }
}

fn client_broke(server: &Socket) -> Ending {
    server.reset_on_close();
    Ending::new(Cause::Client, Stage::Data)
}

fn server_broke(client: &Socket) -> Ending {
    client.reset_on_close();
    Ending::new(Cause::Server, Stage::Data)
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
    let upload = Upload::new(policies, first.0);
    run_behind(client, server, (upload, first.1), policies, timeouts, control).await
}

/// The same behind an upload that has begun.
pub async fn run_behind(
    client: &mut Socket,
    server: &mut Socket,
    begun: (Upload, Buffer),
    policies: RelayPolicies<'_>,
    timeouts: DuplexTimeouts,
    control: &Control,
) -> DuplexOutcome {
    let mut duplex = Duplex {
        client,
        server,
        up: begun.0.pump,
        down: Pump::new(policies.response, None, begun.1),
        up_done: begun.0.done,
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

/// Sends to the client what was read of the server, and nothing after it. Returns how many bytes it took.
pub async fn send_last(
    client: &mut Socket,
    server: &mut Socket,
    last: Buffer,
    policies: RelayPolicies<'_>,
    limit: Option<Duration>,
    control: &Control,
) -> u64 {
    let mut pump = Pump::new(policies.response, Some(last.len() as u64), last);
    let mut timer = Timer::new();
    timer.set(limit.and_then(|limit| clock::now().checked_add(limit)));
    std::future::poll_fn(|cx| {
        if control.is_killed() || pump.poll(cx, server, client).is_ready() {
            return Poll::Ready(());
        }
        timer.poll_expired(cx)
    })
    .await;
    pump.moved()
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
                Err(RelayError::Read(_)) => return Poll::Ready(client_broke(self.server)),
                Err(RelayError::Write(_)) => return Poll::Ready(server_broke(self.client)),
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
                Err(RelayError::Read(_)) => return Poll::Ready(server_broke(self.client)),
                Err(RelayError::Write(_)) => return Poll::Ready(client_broke(self.server)),
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
