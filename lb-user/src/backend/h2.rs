//! Connections to servers that speak HTTP/2: each carries many exchanges, and each exchange looks like a connection of
//! its own to the code that drives it.
//!
//! A worker shares its connections among its sessions as `http-reuse` allows, without a lock. One that the server has
//! told us to leave, that broke, or that has carried `max-reuse` exchanges gets no further ones and ends with its last.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, Connection, SendRequest};
use sockeye_config::model::{HttpReuse, Proto, ServerId, Tune};
use sockeye_conn::{Buffer, Carrier, Socket, Timer, clock, pipe};
use sockeye_h2::meter::Meter;
use tokio::time::Instant;

use super::connect::ConnectError;
use super::pool::Idle;
use super::{Backend, Server};
use crate::mux::h2_carried::{Carried, Failed};
use crate::mux::h2_io::{Io, Watch, connection_window, frame_size, stream_window};

/// What our requests may take of memory per stream before the server has windows for them.
const SEND_BUFFER_BYTES: usize = 16 * 1024;
/// Streams that the server has reset before we have seen it.
const PENDING_RESETS_MAX: usize = 100;
/// How long the last frames of a connection may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Connections that one thread shares to one server; more carry one session's exchange and end.
const SHARED_PER_SERVER_MAX: usize = 1_024;

thread_local! {
    /// Indexed by [`Server::ordinal`]; the most recently opened last.
    static SHARED: RefCell<Vec<Vec<Mux>>> = const { RefCell::new(Vec::new()) };
}

/// A connection that may get further exchanges. Once nobody holds its `requests` it ends by itself, in good order.
#[derive(Debug)]
struct Mux {
    server: &'static Server,
    requests: SendRequest<Bytes>,
    state: Rc<State>,
}

/// What a connection, its streams and its driver know of each other.
#[derive(Debug)]
struct State {
    /// Until the connection has ended: the descriptor must not outlive it.
    carrier: RefCell<Option<Rc<Carrier>>>,
    watch: Rc<Watch>,
    https: bool,
    /// See [`Socket::identity`].
    identity: u64,
    streams: Cell<u32>,
    /// Exchanges so far.
    uses: Cell<u32>,
    /// Gets no further ones.
    leaving: Cell<bool>,
    /// Its driver, which a frame layer that cannot write does not wake.
    driver: RefCell<Option<Waker>>,
    /// When its last exchange ended.
    idle_since: Cell<Instant>,
}

/// Whether a connection to `server` is to be spoken to in HTTP/2: by `proto`, or by what was agreed upon with TLS.
pub fn is_spoken(server: &Server, socket: &Socket) -> bool {
    match server.cfg.proto {
        Some(proto) => proto == Proto::H2,
        None => socket.tls().is_some_and(|agreed| agreed.alpn.as_deref() == Some(b"h2")),
    }
}

/// Begins HTTP/2 on a connection that was just made, and its first exchange. With `shared` other sessions may use the
/// connection at the same time.
///
/// # Errors
/// When the connection does not last that long.
pub async fn begin(
    backend: &Backend,
    server: &'static Server,
    socket: Socket,
    shared: bool,
) -> Result<Socket, ConnectError> {
    let carrier = Carrier::new(&socket).map_err(ConnectError::Resource)?;
    let watch = Watch::new(Meter::of_server());
    let state = Rc::new(State {
        carrier: RefCell::new(Some(carrier)),
        watch: Rc::clone(&watch),
        https: socket.tls().is_some(),
        identity: socket.identity(),
        streams: Cell::new(0),
        uses: Cell::new(0),
        leaving: Cell::new(!shared),
        driver: RefCell::default(),
        idle_since: Cell::new(clock::now()),
    });
    let io = Io::new(Rc::new(RefCell::new(socket)), Buffer::none(), watch);
    let (requests, connection) = settings(backend.tune)
        .handshake(io)
        .await
        .map_err(|error| ConnectError::Failed(error.into_io().unwrap_or_else(broken)))?;
    tokio::task::spawn_local(drive(connection, Rc::clone(&state), backend.tune.h2.be.glitches_threshold));
    let mux = Mux { server, requests, state };
    let first = mux.open().ok_or_else(|| ConnectError::Failed(broken()))?;
    if shared {
        SHARED.with_borrow_mut(|shelves| {
            if shelves.len() <= server.ordinal {
                shelves.resize_with(server.ordinal + 1, Vec::new);
            }
            let shelf = &mut shelves[server.ordinal];
            if backend.cfg.http_reuse != HttpReuse::Never && shelf.len() < SHARED_PER_SERVER_MAX {
                shelf.push(mux);
            }
        });
    }
    Ok(first)
}

fn broken() -> std::io::Error {
    std::io::ErrorKind::ConnectionAborted.into()
}

fn settings(tune: &Tune) -> client::Builder {
    let h2 = &tune.h2;
    let window = stream_window(h2, &h2.be);
    // Clients that do not read must not take the connection away from those that do.
    let all = u64::from(window) * u64::from(h2.concurrent_streams(&h2.be));
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        .header_table_size(h2.header_table_size)
        .initial_window_size(window)
        .initial_connection_window_size(connection_window(h2.be.rxbuf.max(all)))
        .max_frame_size(frame_size(h2))
        .max_header_list_size(u32::try_from(tune.bufsize).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX);
    if h2.concurrent_streams(&h2.be) > 0 {
        builder.initial_max_send_streams(h2.concurrent_streams(&h2.be) as usize);
    }
    builder
}

/// An exchange on a connection that is there already. `first` and `identity` are as in
/// [`pool::lend`](super::pool::lend).
pub fn lend(backend: &Backend, server: &'static Server, first: bool, identity: u64) -> Option<Idle> {
    let needs_proof = match (backend.cfg.http_reuse, first) {
        (HttpReuse::Never, _) | (HttpReuse::Safe, true) => return None,
        (HttpReuse::Aggressive, true) => true,
        _ => false,
    };
    let most = backend.tune.h2.concurrent_streams(&backend.tune.h2.be);
    SHARED.with_borrow_mut(|shelves| {
        let shelf = shelves.get_mut(server.ordinal)?;
        shelf.retain_mut(Mux::is_usable);
        let mux = shelf.iter().rev().find(|mux| {
            mux.state.identity == identity && (!needs_proof || mux.state.uses.get() > 1) && mux.has_room(most)
        })?;
        let uses = mux.state.uses.get();
        Some(Idle { socket: mux.open()?, uses, private: false })
    })
}

/// Ends connections that have been idle for longer than their server's `pool-purge-delay`.
pub fn sweep(now: Instant) {
    SHARED.with_borrow_mut(|shelves| {
        for mux in shelves
            .iter_mut()
            .flat_map(|shelf| shelf.extract_if(.., |mux| !mux.is_usable() || mux.is_old(now)))
        {
            drop(mux);
        }
    });
}

/// Lets no further exchange on any connection, or on those to one server; idle ones end.
pub fn clear(server: Option<ServerId>) {
    SHARED.with_borrow_mut(|shelves| {
        for shelf in shelves.iter_mut() {
            shelf.retain(|mux| server.is_some_and(|id| id != mux.server.id));
        }
    });
}

impl Mux {
    /// Starts an exchange.
    fn open(&self) -> Option<Socket> {
        let state = &self.state;
        let carrier = state.carrier.borrow().clone()?;
        state.streams.set(state.streams.get() + 1);
        carrier.streams.set(state.streams.get());
        let most = self.requests.current_max_send_streams();
        carrier.streams_max.set(u32::try_from(most).unwrap_or(u32::MAX));
        carrier.glitches.set(state.watch.meter.borrow().glitches());
        state.uses.set(state.uses.get().saturating_add(1));
        let (ours, theirs) = pipe(carrier);
        let carried = Carried::new(ours, self.requests.clone(), Rc::clone(&state.watch), state.https);
        tokio::task::spawn_local(carry(carried, Rc::clone(state)));
        Some(Socket::Pipe(theirs))
    }

    fn is_usable(&mut self) -> bool {
        if self.state.leaving.get() || !self.server.usable() {
            return false;
        }
        if self.server.cfg.max_reuse.is_some_and(|most| self.state.uses.get() > most) {
            return false;
        }
        // An error here is the connection's, or the server's GOAWAY.
        let mut cx = Context::from_waker(Waker::noop());
        !matches!(self.requests.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// Whether both sides' limits on streams allow another one.
    fn has_room(&self, most: u32) -> bool {
        let streams = self.state.streams.get();
        (most == 0 || streams < most) && (streams as usize) < self.requests.current_max_send_streams()
    }

    fn is_old(&self, now: Instant) -> bool {
        let none_kept = self.server.cfg.pool_max_conn == Some(0);
        self.state.streams.get() == 0
            && (none_kept
                || now.duration_since(self.state.idle_since.get()) >= self.server.cfg.pool_purge_delay)
    }
}

/// The task of one exchange.
async fn carry(mut carried: Carried, state: Rc<State>) {
    let ended = std::future::poll_fn(|cx| carried.poll(cx)).await;
    match ended {
        Ok(()) => state.watch.meter.borrow_mut().completed(),
        Err(Failed::Malformed) => state.watch.meter.borrow_mut().glitch(),
        // Whoever was waited for in vain does not even read.
        Err(Failed::Abandoned) if state.watch.blocked.get() => state.leaving.set(true),
        Err(_) => {}
    }
    drop(carried);
    state.streams.set(state.streams.get() - 1);
    state.idle_since.set(clock::now());
    if state.streams.get() == 0
        && state.watch.blocked.get()
        && let Some(driver) = state.driver.take()
    {
        driver.wake();
    }
}

/// The task that moves a connection's frames, until it ends.
async fn drive(mut connection: Connection<Io, Bytes>, state: Rc<State>, threshold: u32) {
    let mut timer = Timer::new();
    std::future::poll_fn(|cx| {
        if std::pin::Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // Without an exchange nobody else's limit ends the wait for a server that does not read.
        if state.streams.get() > 0 || !state.watch.blocked.get() {
            timer.set(None);
            *state.driver.borrow_mut() = Some(cx.waker().clone());
        } else if timer.deadline().is_none() {
            timer.set(clock::now().checked_add(CLOSE_LIMIT));
        }
        if timer.poll_expired(cx).is_ready() {
            return Poll::Ready(());
        }
        state.watch.wake_waiting();
        let meter = state.watch.meter.borrow();
        let fault = match meter.violation() {
            Some(violation) => Some(violation.code()),
            None => meter.is_flooded(threshold).then_some(h2::Reason::ENHANCE_YOUR_CALM.into()),
        };
        state.watch.farewell.set(fault);
        if fault.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    state.leaving.set(true);
    state.carrier.take();
}
