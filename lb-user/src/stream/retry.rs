//! Getting a connection to a server: placement, waiting, connecting, and what a failure means.
//!
//! The rules are HAProxy's (manual 4.2 `retries`, `option redispatch`, `retry-on`): a failed attempt is repeated
//! on the same server after a pause, or on another one when redispatching is allowed and its turn has come.

use std::time::Duration;

use sockeye_balance::Algorithm;
use sockeye_config::model::{Mode, Proto};
use sockeye_conn::{Peer, Socket, clock};
use tokio::time::{Instant, timeout_at};

use super::abort::{Cause, Ending, Stage};
use super::proxy_header::{self, Told};
use super::rules::decided::Decided;
use super::server_name::server_name;
use super::websocket;
use crate::backend::assign::{self, Placement, Slot, Unplaced, Wish};
use crate::backend::connect::{self, ConnectError, Marking, Purpose};
use crate::backend::queue::{Grant, Ticket};
use crate::backend::{Backend, Server, h2, pool, tls};
use crate::frontend::session::Session;

/// The pause before the same server is tried again; `timeout connect` when that is shorter.
const TURN_AROUND: Duration = Duration::from_secs(1);

/// What a stream has used up of its chances, and when.
#[derive(Debug, Default)]
pub struct Attempts {
    /// Failed attempts so far (`%rc`).
    pub retries: u32,
    /// Whether a retry went to another server (the `+` before `%rc`).
    pub redispatched: bool,
    /// Requests ahead in the server's line (`%sq`) and in the backend's (`%bq`) when it joined.
    pub server_queue: u32,
    pub backend_queue: u32,
    /// When it had a place, and when it had a connection.
    pub placed_at: Option<Instant>,
    pub connected_at: Option<Instant>,
    /// What rules said instead of the backend: retries, time to wait in a line and for a connection.
    max: Option<u32>,
    queue_limit: Option<Duration>,
    connect_limit: Option<Duration>,
    /// Marks of the connection to the server.
    pub marking: Marking,
    /// The server that failed last and is better avoided.
    avoid: Option<usize>,
}

/// A place on a server and the connection to use it.
#[derive(Debug)]
pub struct Reached {
    pub slot: Slot,
    pub socket: Socket,
    /// Requests the connection has carried before: more than 0 when it came from a pool.
    pub uses: u32,
    /// The connection belongs to this session for good, see [`pool::Idle::private`].
    pub private: bool,
}

/// Why no server could be reached, and the last one that was tried.
#[derive(Debug)]
pub struct Unreached {
    pub ending: Ending,
    pub server: Option<usize>,
    /// The status that an HTTP client is answered.
    pub status: u16,
}

/// What a stream wants of its backend.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    pub wish: Wish<'a>,
    /// Whether an idle connection may be used, and then whether the session has used none before.
    pub reuse: Option<bool>,
    /// What a PROXY header may tell of it.
    pub told: Told<'a>,
}

impl Attempts {
    /// A stream that leaves a line without a place counts itself among those it waited for.
    fn left_queue(&mut self, ticket: &Ticket, cause: Cause, status: u16) -> Unreached {
        self.placed_at = Some(clock::now());
        if ticket.for_server() {
            self.server_queue += 1;
        } else {
            self.backend_queue += 1;
        }
        unreached(cause, Stage::Queue, status, None)
    }

    /// Takes over what rules decided.
    pub fn obey(&mut self, decided: &Decided) {
        self.max = decided.retries;
        self.queue_limit = decided.timeouts.queue;
        self.connect_limit = decided.timeouts.connect;
        self.marking = Marking { mark: decided.back_mark, tos: decided.back_tos };
    }

    /// Whether another attempt may be made.
    pub fn left(&self, backend: &Backend) -> bool {
        self.retries < self.max.unwrap_or(backend.cfg.retries)
    }

    /// Notes that an attempt on `server` failed and says whether the next must look for another server.
    pub fn failed(&mut self, backend: &Backend, server: usize) -> bool {
        self.retries += 1;
        let elsewhere = self.redispatches(backend);
        self.avoid = elsewhere.then_some(server);
        elsewhere
    }

    /// `option redispatch N` (manual 4.2): at every N-th retry, counted from the end when N is negative; or at
    /// once when the algorithm is indifferent to which server it is.
    fn redispatches(&self, backend: &Backend) -> bool {
        let every = backend.cfg.redispatch;
        if every == 0 {
            return false;
        }
        if is_indifferent(&backend.cfg.balance) && backend.usable_servers().0 > 1 {
            return true;
        }
        let retries = backend.cfg.retries;
        let at =
            if every > 0 { every.unsigned_abs() } else { (retries + 1).saturating_sub(every.unsigned_abs()) };
        at > 0 && self.retries.is_multiple_of(at)
    }
}

/// What can be had without waiting.
#[derive(Debug)]
pub enum AtOnce {
    /// A server with room and an idle connection to it: nearly every request of a busy proxy.
    Reached(Reached),
    /// What is still needed: a connection, or a place first.
    Begun(Begun),
}

/// How far a stream has come before it has to wait.
#[derive(Debug)]
pub enum Begun {
    Nothing,
    /// In a line.
    Waiting(Ticket),
    /// A server with room, to connect to.
    Placed(Slot),
}

/// The first step of [`reach`], apart from it because it is all that most requests need and no future has to be
/// made for it.
pub fn reach_at_once(
    session: &mut Session,
    backend: &'static Backend,
    want: Want<'_>,
    attempts: &mut Attempts,
) -> AtOnce {
    let wish = Wish { avoid: attempts.avoid, ..want.wish };
    let slot = match assign::place(backend, wish) {
        Ok(Placement::Now(slot)) => slot,
        Ok(Placement::Wait(ticket)) => return AtOnce::Begun(Begun::Waiting(ticket)),
        Err(_) => return AtOnce::Begun(Begun::Nothing),
    };
    if attempts.avoid.is_some_and(|avoid| avoid != slot.index()) {
        attempts.redispatched = true;
    }
    let reuse = want.reuse.filter(|_| attempts.marking.is_none());
    let Some(idle) = reuse.and_then(|first| lend(session, backend, &slot, first, attempts, want.told)) else {
        return AtOnce::Begun(Begun::Placed(slot));
    };
    let placed_at = *attempts.placed_at.get_or_insert_with(clock::now);
    attempts.connected_at = Some(placed_at);
    AtOnce::Reached(Reached { slot, socket: idle.socket, uses: idle.uses, private: idle.private })
}

/// Finds a server, waits for a place on it and connects, as often as the rules allow. `begun` is what it has of
/// that already.
pub async fn reach(
    session: &mut Session,
    backend: &'static Backend,
    want: Want<'_>,
    attempts: &mut Attempts,
    begun: Begun,
) -> Result<Reached, Unreached> {
    let (mut slot, mut ticket) = match begun {
        Begun::Nothing => (None, None),
        Begun::Waiting(ticket) => (None, Some(ticket)),
        Begun::Placed(slot) => (Some(slot), None),
    };
    let mut cleared = false;
    loop {
        let place = match slot.take() {
            Some(slot) => slot,
            None => {
                let wish = Wish { avoid: attempts.avoid, ..want.wish };
                let before = attempts.avoid;
                let slot = place(session, backend, wish, attempts, ticket.take()).await?;
                if before.is_some_and(|before| before != slot.index()) {
                    attempts.redispatched = true;
                }
                slot
            }
        };
        attempts.placed_at.get_or_insert_with(clock::now);
        let server = place.server();
        if let Some(first) = want.reuse.filter(|_| attempts.marking.is_none())
            && let Some(idle) = lend(session, backend, &place, first, attempts, want.told)
        {
            attempts.connected_at = attempts.placed_at;
            return Ok(Reached { slot: place, socket: idle.socket, uses: idle.uses, private: idle.private });
        }
        let Ok(header) = proxy_header::header(server, session, attempts, want.told) else {
            return Err(unreached(Cause::Resource, Stage::Connect, 503, Some(place.index())));
        };
        let name = server_name(server, session, attempts, want.told);
        let forced = websocket::spoken(server.cfg, want.told.request);
        let purpose = Purpose {
            client: session.peer,
            wanted: wanted(session, &place),
            marking: attempts.marking,
            header: header.as_deref(),
            server_name: name.as_deref(),
            websocket: forced.is_some(),
        };
        let begun = clock::now();
        let limit = attempts.connect_limit.or(backend.cfg.timeout_connect);
        let deadline = limit.and_then(|limit| begun.checked_add(limit));
        let connected =
            unless_client_leaves(session, backend, connect::connect(backend, server, purpose, deadline))
                .await;
        let Some(connected) = connected else {
            return Err(unreached(Cause::Client, Stage::Connect, 400, Some(place.index())));
        };
        let connected = match connected {
            Ok(socket)
                if session.mode() == Mode::Http
                    && forced.map_or_else(|| h2::is_spoken(server, &socket), |proto| proto == Proto::H2) =>
            {
                let shared = server.shareable && header.is_none() && attempts.marking.is_none();
                h2::begin(backend, server, socket, shared).await
            }
            connected => connected,
        };
        let error = match connected {
            Ok(socket) => {
                attempts.connected_at = Some(clock::now());
                session.private_header = header;
                session.private_ends = Some((session.peer, wanted(session, &place)));
                server.observe_connection(backend);
                return Ok(Reached { slot: place, socket, uses: 0, private: false });
            }
            Err(error) => error,
        };
        match &error {
            // Ours to mend: idle connections may hold what this one needs.
            ConnectError::Resource(_) if !cleared => {
                cleared = true;
                pool::clear(None);
                slot = Some(place);
                continue;
            }
            ConnectError::Resource(_) | ConnectError::NoAddress => {}
            ConnectError::Failed(_) | ConnectError::TimedOut => server.observe_connection_failure(),
        }
        if !backend.cfg.retry_on.conn_failure || !attempts.left(backend) {
            return Err(gave_up(&error, place.index()));
        }
        if attempts.failed(backend, place.index()) || !place.may_be_used() {
            drop(place);
            continue;
        }
        if !matches!(error, ConnectError::TimedOut) {
            let pause = backend.cfg.timeout_connect.map_or(TURN_AROUND, |limit| limit.min(TURN_AROUND));
            let resume = begun + pause;
            if unless_client_leaves(session, backend, tokio::time::sleep_until(resume)).await.is_none() {
                return Err(unreached(Cause::Client, Stage::Connect, 400, Some(place.index())));
            }
        }
        if place.may_be_used() {
            slot = Some(place);
        }
    }
}

/// Waits for a place on a server.
async fn place(
    session: &Session,
    backend: &'static Backend,
    mut wish: Wish<'_>,
    attempts: &mut Attempts,
    mut ticket: Option<Ticket>,
) -> Result<Slot, Unreached> {
    let limit = attempts.queue_limit.or(backend.cfg.timeout_queue).or(backend.cfg.timeout_connect);
    let deadline = limit.and_then(|limit| clock::now().checked_add(limit));
    loop {
        let placed = match ticket.take() {
            Some(ticket) => Ok(Placement::Wait(ticket)),
            None => assign::place(backend, wish),
        };
        let mut ticket = match placed {
            Ok(Placement::Now(slot)) => return Ok(slot),
            Ok(Placement::Wait(ticket)) => ticket,
            Err(Unplaced::NoServer) => return Err(unreached(Cause::Server, Stage::Connect, 503, None)),
            Err(Unplaced::QueueFull) => return Err(unreached(Cause::Server, Stage::Queue, 503, None)),
        };
        if ticket.for_server() {
            attempts.server_queue = ticket.ahead;
        } else {
            attempts.backend_queue = ticket.ahead;
        }
        let granted = async {
            match deadline {
                Some(deadline) => timeout_at(deadline, &mut ticket.grant).await.ok(),
                None => Some((&mut ticket.grant).await),
            }
        };
        match unless_client_leaves(session, backend, granted).await {
            None => return Err(attempts.left_queue(&ticket, Cause::Client, 400)),
            Some(None) => return Err(attempts.left_queue(&ticket, Cause::ServerTimeout, 503)),
            Some(Some(Ok(Grant::Slot(slot)))) => return Ok(slot),
            // The line was dissolved: ask again.
            Some(Some(Ok(Grant::Redistribute) | Err(_))) => wish.last = None,
        }
    }
}

fn lend(
    session: &mut Session,
    backend: &Backend,
    slot: &Slot,
    first: bool,
    attempts: &Attempts,
    told: Told<'_>,
) -> Option<pool::Idle> {
    let server = slot.server();
    let identity = tls::identity(server_name(server, session, attempts, told).as_deref());
    if let Some((id, mut idle)) = session.private.take()
        && id == server.id
        && idle.socket.identity() == identity
        && says_the_same(session, server, attempts, told)
        && (server.shareable || session.private_ends == Some((session.peer, wanted(session, slot))))
        && pool::is_quiet(&mut idle.socket)
    {
        return Some(idle);
    }
    if !server.shareable {
        return None;
    }
    let idle = h2::lend(backend, server, first, identity)
        .or_else(|| pool::lend(server, backend.cfg.http_reuse, first, identity))?;
    // It may become private, by an authentication.
    session.private_header = None;
    Some(idle)
}

/// Whether the connection that the session kept began with the header that a new one would begin with.
fn says_the_same(session: &Session, server: &Server, attempts: &Attempts, told: Told<'_>) -> bool {
    match proxy_header::header(server, session, attempts, told) {
        Ok(header) => header == session.private_header,
        Err(_) => false,
    }
}

/// Only servers that are wherever the client wanted to go need to know where that was.
fn wanted(session: &Session, slot: &Slot) -> Option<std::net::SocketAddr> {
    match session.peer {
        Peer::Inet(_) if slot.server().follows_client() => session.destination(),
        _ => None,
    }
}

/// Runs `work`; with `option abortonclose`, `None` as soon as the client has closed its connection.
async fn unless_client_leaves<T>(
    session: &Session,
    backend: &Backend,
    work: impl Future<Output = T>,
) -> Option<T> {
    if !(backend.cfg.options.abortonclose || session.frontend.cfg.options.abortonclose) {
        return Some(work.await);
    }
    tokio::select! {
        biased;
        done = work => Some(done),
        () = client_left(&session.client) => None,
    }
}

/// Ready once the client has sent its end or a reset, with nothing unread before it.
async fn client_left(client: &Socket) {
    let peeked = std::future::poll_fn(|cx| client.poll_peek(cx)).await;
    if matches!(peeked, Ok(n) if n > 0) {
        // A pipelined request hides the end behind it.
        std::future::pending::<()>().await;
    }
}

/// Whether the algorithm gives turns, so that any other server is as good.
fn is_indifferent(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::RoundRobin | Algorithm::StaticRoundRobin | Algorithm::Random(_))
}

fn gave_up(error: &ConnectError, server: usize) -> Unreached {
    let cause = match error {
        ConnectError::Resource(_) => Cause::Resource,
        ConnectError::Failed(_) | ConnectError::NoAddress => Cause::Server,
        ConnectError::TimedOut => Cause::ServerTimeout,
    };
    unreached(cause, Stage::Connect, 503, Some(server))
}

fn unreached(cause: Cause, stage: Stage, status: u16, server: Option<usize>) -> Unreached {
    Unreached { ending: Ending::new(cause, stage), server, status }
}
