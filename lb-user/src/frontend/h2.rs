//! A client's connection that speaks HTTP/2: each of its streams becomes a session with a task of its own.
//!
//! This task only moves frames and watches over the connection: how long it may be idle, whether the peer reads what it
//! is sent, and what the peer makes us do for nothing (RFC 9113 §10.5).

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use sockeye_config::model::ServerId;
use sockeye_conn::{Buffer, Carrier, Socket, Timer, clock, pipe};
use sockeye_h2::meter::Meter;
use sockeye_h2::request::encode_head;
use tokio::time::Instant;

use super::session::Session;
use super::worker::{self, Control, Registration};
use crate::backend::pool::Idle;
use crate::mux::h2_io::{Io, Watch, close, connection_window, frame_size, stream_window};
use crate::mux::h2_stream::{Bridge, Ended};
use crate::stream;

/// What our responses may take of memory per stream before the client has windows for them.
const SEND_BUFFER_BYTES: usize = 16 * 1024;
/// Streams that the client has reset before we have seen them; more in a row end the connection.
const PENDING_RESETS_MAX: usize = 100;
/// Streams that we had to reset for violations, which a client can provoke without resetting any itself.
const LOCAL_RESETS_MAX: usize = 256;
/// Sessions of streams that a client may leave behind by resetting them, for each that it may have: they take a moment
/// to end.
const SESSIONS_PER_STREAM: u32 = 2;
/// Connections to servers that belong to one client (`max-session-srv-conns`).
const PRIVATE_MAX: usize = 5;
/// How long the last frames of a connection may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How long a client may take for what is under way when a connection closes, if it shows that it goes on reading.
const LINGER_LIMIT: Duration = Duration::from_secs(30);
/// What a client may still send while a connection closes, and how much of it is read at a time.
const LINGER_BYTES_MAX: usize = 1024 * 1024;
const LINGER_READ_BYTES: usize = 4 * 1024;
/// Streams taken in one poll, before other tasks get their turn.
const ACCEPTS_PER_POLL: u32 = 32;

/// Serves the streams of `session`, whose first bytes are in `first`, until its connection ends.
pub async fn serve(mut session: Box<Session>, control: &Control, first: Buffer) {
    let Ok(carrier) = Carrier::new(&session.client) else { return };
    // Asked once, for all streams.
    session.local_addr();
    let placeholder = Socket::Pipe(pipe(Rc::clone(&carrier)).0);
    let client = std::mem::replace(&mut session.client, placeholder);
    let watch = Watch::new(Meter::of_client());
    let socket = Rc::new(RefCell::new(client));
    let io = Io::new(Rc::clone(&socket), first, Rc::clone(&watch));
    let cfg = session.frontend.cfg;
    let mut timer = Timer::new();
    let limit = cfg.timeout_http_request.or(cfg.timeout_client);
    timer.set(limit.and_then(|limit| clock::now().checked_add(limit)));
    let mut handshake = std::pin::pin!(settings(&session).handshake(io));
    let connection = std::future::poll_fn(|cx| {
        if control.is_killed() || timer.poll_expired(cx).is_ready() {
            return Poll::Ready(None);
        }
        handshake.as_mut().poll(cx).map(Result::ok)
    })
    .await;
    let Some(connection) = connection else { return };
    let tune = &session.frontend.tune.h2;
    carrier.streams_max.set(tune.concurrent_streams(&tune.fe));
    let mut front = Front {
        connection,
        session: Rc::from(session),
        carrier,
        watch,
        timer,
        private: Rc::default(),
        total: 0,
        phase: Phase::Open,
        since: clock::now(),
        sent: 0,
        was_idle: true,
    };
    std::future::poll_fn(|cx| clock::hold(|| front.poll(cx, control))).await;
    let Front { connection, carrier, watch, phase, .. } = front;
    if carrier.silenced.get() {
        watch.closes_later.set(true);
        // Neither a last record nor an end.
        socket.borrow().reset_on_close();
    } else if phase != Phase::Open && !watch.blocked.get() && !control.is_killed() {
        watch.closes_later.set(true);
        drop(connection);
        linger(&socket, control).await;
        close(&socket.borrow());
    }
}

/// Waits, within limits, for the client's end: what it sends while the last frames are on their way to it must not be
/// answered with a reset, which would overtake them.
async fn linger(socket: &RefCell<Socket>, control: &Control) {
    if socket.borrow().shutdown_write().is_err() {
        return;
    }
    let end = clock::now() + LINGER_LIMIT;
    let mut timer = Timer::new();
    timer.set(Some(end.min(clock::now() + CLOSE_LIMIT)));
    let mut drained = 0;
    std::future::poll_fn(|cx| {
        let mut socket = socket.borrow_mut();
        while !control.is_killed() && drained < LINGER_BYTES_MAX {
            match socket.poll_read_ready(cx) {
                Poll::Pending => return timer.poll_expired(cx),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => break,
            }
            match socket.read_now(&mut [0; LINGER_READ_BYTES]) {
                Ok(Some(n @ 1..)) => {
                    drained += n;
                    // It still reads, however slowly.
                    timer.set(Some(end.min(clock::now() + CLOSE_LIMIT)));
                }
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => break,
            }
        }
        Poll::Ready(())
    })
    .await;
}

fn settings(session: &Session) -> server::Builder {
    let tune = &session.frontend.tune.h2;
    let mut builder = server::Builder::new();
    builder
        .header_table_size(tune.header_table_size)
        .initial_window_size(stream_window(tune, &tune.fe))
        .initial_connection_window_size(connection_window(tune.fe.rxbuf))
        .max_frame_size(frame_size(tune))
        .max_header_list_size(u32::try_from(session.frontend.tune.bufsize).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(LOCAL_RESETS_MAX));
    let streams = tune.concurrent_streams(&tune.fe);
    if streams > 0 {
        builder.max_concurrent_streams(streams);
    }
    if !tune.no_websockets {
        builder.enable_connect_protocol();
    }
    builder
}

/// What the connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// New streams are no longer taken, those under way go on.
    Leaving,
    /// Over, but for the last frame.
    Closing,
}

/// A connection and what its streams share.
struct Front {
    connection: Connection<Io, Bytes>,
    /// What every stream's session is made from.
    session: Rc<Session>,
    carrier: Rc<Carrier>,
    watch: Rc<Watch>,
    timer: Timer,
    /// Servers' connections that only this client's streams may use.
    private: Rc<RefCell<Vec<(ServerId, Idle)>>>,
    /// Streams taken so far.
    total: u32,
    phase: Phase,
    /// Since when it is idle, or its peer has not read.
    since: Instant,
    sent: u64,
    was_idle: bool,
}

impl Front {
    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>, control: &Control) -> Poll<()> {
        if control.is_killed() {
            self.connection.abrupt_shutdown(Reason::NO_ERROR);
            // One chance to be sent.
            let _ = self.connection.poll_closed(cx);
            return Poll::Ready(());
        }
        if self.carrier.silenced.get() {
            return Poll::Ready(());
        }
        if self.phase == Phase::Open && worker::is_stopping() && self.may_leave() {
            self.leave();
        }
        if self.poll_frames(cx).is_ready() {
            return Poll::Ready(());
        }
        if self.phase != Phase::Closing
            && let Some(reason) = self.fault()
        {
            self.close(reason);
            if self.poll_frames(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        self.set_timer();
        if self.timer.poll_expired(cx).is_pending() {
            return Poll::Pending;
        }
        let stopping = worker::is_stopping() && self.phase == Phase::Open;
        if self.phase == Phase::Closing || self.watch.blocked.get() {
            return Poll::Ready(());
        }
        if stopping && !self.is_late() {
            self.leave();
        } else {
            self.close(Reason::NO_ERROR);
        }
        if self.poll_frames(cx).is_ready() {
            return Poll::Ready(());
        }
        self.set_timer();
        // Registers the new deadline.
        self.timer.poll_expired(cx)
    }

    /// Moves frames and takes new streams; ready at the end of the connection.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ACCEPTS_PER_POLL {
            if self.carrier.streams.get() >= self.sessions_max() {
                // Streams that end wake us; until then only those under way are served.
                return self.connection.poll_closed(cx).map(|_| ());
            }
            match self.connection.poll_accept(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
                Poll::Ready(Some(Ok((request, respond)))) => self.begin(cx, request, respond),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Starts the session of a stream.
    fn begin(&mut self, cx: &Context<'_>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        self.total = self.total.saturating_add(1);
        let most = self.session.frontend.tune.h2.max_total_streams;
        if most > 0 && self.total >= most && self.phase == Phase::Open {
            self.leave();
        }
        let (head, body) = request.into_parts();
        let protocol = head.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str);
        let key = protocol.map_or([0; 16], |_| std::array::from_fn(|_| fastrand::u8(..)));
        let mut text = Vec::with_capacity(HEAD_BYTES);
        let Ok(translated) = encode_head(&head, protocol, body.is_end_stream(), key, &mut text) else {
            self.watch.meter.borrow_mut().glitch();
            respond.send_reset(Reason::PROTOCOL_ERROR);
            return;
        };
        let (ours, theirs) = pipe(Rc::clone(&self.carrier));
        let mut session = self.session.stream(Socket::Pipe(theirs));
        session.private = self.private.borrow_mut().pop();
        let bridge = Box::new(Bridge::new(ours, text, &translated, body, respond));
        let counted = Counted::new(&self.carrier, cx);
        tokio::task::spawn_local(run(
            session,
            bridge,
            Rc::clone(&self.watch),
            Rc::clone(&self.private),
            counted,
        ));
    }

    fn sessions_max(&self) -> u32 {
        let tune = &self.session.frontend.tune.h2;
        match tune.concurrent_streams(&tune.fe) {
            0 => u32::MAX,
            most => most.saturating_mul(SESSIONS_PER_STREAM),
        }
    }

    fn is_flooded(&self) -> bool {
        self.carrier.glitches.set(self.watch.meter.borrow().glitches());
        self.watch.meter.borrow().is_flooded(self.session.frontend.tune.h2.fe.glitches_threshold)
    }

    /// Why the connection must end at once.
    fn fault(&self) -> Option<Reason> {
        let flooded = self.is_flooded();
        let violation = self.watch.meter.borrow().violation();
        violation.map_or_else(
            || flooded.then_some(Reason::ENHANCE_YOUR_CALM),
            |violation| Some(violation.code().into()),
        )
    }

    /// Whether a soft stop may end it now, rather than at its part of `close-spread-time`.
    fn may_leave(&self) -> bool {
        worker::idle_until().is_none_or(|until| until <= clock::now())
    }

    /// Takes no new streams, as the client is told.
    fn leave(&mut self) {
        self.phase = Phase::Leaving;
        self.since = clock::now();
        self.connection.graceful_shutdown();
    }

    fn close(&mut self, reason: Reason) {
        self.phase = Phase::Closing;
        self.since = clock::now();
        self.connection.abrupt_shutdown(reason);
    }

    fn is_idle(&self) -> bool {
        self.carrier.streams.get() == 0 && !self.connection.has_streams()
    }

    /// Whether the limit in force has passed, rather than the moment to leave in a soft stop.
    fn is_late(&self) -> bool {
        self.limit().and_then(|limit| self.since.checked_add(limit)).is_some_and(|end| end <= clock::now())
    }

    /// The limit on what the connection waits for.
    fn limit(&self) -> Option<Duration> {
        let cfg = self.session.frontend.cfg;
        match self.phase {
            Phase::Closing => Some(CLOSE_LIMIT),
            _ if self.watch.blocked.get() => cfg.timeout_client,
            _ if !self.was_idle => None,
            // The client closes once it has heard of our leaving.
            Phase::Leaving => Some(CLOSE_LIMIT),
            Phase::Open if self.total == 0 => cfg.timeout_http_request.or(cfg.timeout_client),
            Phase::Open => cfg.timeout_http_keep_alive.or(cfg.timeout_http_request).or(cfg.timeout_client),
        }
    }

    fn set_timer(&mut self) {
        let idle = self.is_idle();
        let sent = self.watch.sent.get();
        if self.phase != Phase::Closing && (idle != self.was_idle || (!idle && sent != self.sent)) {
            self.since = clock::now();
        }
        (self.was_idle, self.sent) = (idle, sent);
        let mut deadline = self.limit().and_then(|limit| self.since.checked_add(limit));
        if self.phase == Phase::Open
            && let Some(until) = worker::idle_until()
            && deadline.is_none_or(|deadline| until < deadline)
        {
            deadline = Some(until);
        }
        self.timer.set(deadline);
    }
}

/// A typical head.
const HEAD_BYTES: usize = 512;

/// Counts a stream's session; its end wakes the connection, which may have waited for it.
struct Counted {
    carrier: Rc<Carrier>,
    connection: std::task::Waker,
}

impl Counted {
    fn new(carrier: &Rc<Carrier>, cx: &Context<'_>) -> Self {
        carrier.streams.set(carrier.streams.get() + 1);
        Self { carrier: Rc::clone(carrier), connection: cx.waker().clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.carrier.streams.set(self.carrier.streams.get().saturating_sub(1));
        self.connection.wake_by_ref();
    }
}

/// The task of one stream.
async fn run(
    session: Box<Session>,
    bridge: Box<Bridge>,
    watch: Rc<Watch>,
    private: Rc<RefCell<Vec<(ServerId, Idle)>>>,
    counted: Counted,
) {
    let registration = Registration::new().await;
    let limit = session.frontend.cfg.timeout_client;
    let control = Rc::clone(&registration.control);
    let serving = {
        let control = Rc::clone(&control);
        let mut session = session;
        // Its end of the pipe is dropped with the session, which tells the bridge.
        async move {
            let _ = stream::http::serve(&mut session, &control, Buffer::none()).await;
            let kept = session.private.take().filter(|(_, idle)| idle.socket.carrier().is_none());
            let mut private = private.borrow_mut();
            if private.len() < PRIVATE_MAX {
                private.extend(kept);
            }
        }
    };
    let mut stream = Stream {
        serving: Some(Box::pin(serving)),
        bridge: Some(bridge),
        timer: Timer::new(),
        limit,
        moved: 0,
    };
    let ended = std::future::poll_fn(|cx| clock::hold(|| stream.poll(cx, control.is_killed()))).await;
    if ended == Ended::Whole {
        watch.meter.borrow_mut().completed();
    }
    drop(stream);
    drop(registration);
    drop(counted);
}

/// A stream: its session and what lies between it and the frames.
struct Stream<F> {
    serving: Option<Pin<Box<F>>>,
    bridge: Option<Box<Bridge>>,
    /// For what the session has left to be sent.
    timer: Timer,
    limit: Option<Duration>,
    moved: u64,
}

impl<F: Future<Output = ()>> Stream<F> {
    fn poll(&mut self, cx: &mut Context<'_>, killed: bool) -> Poll<Ended> {
        if let Some(bridge) = &mut self.bridge {
            bridge.poll_up(cx);
        }
        if let Some(serving) = &mut self.serving
            && (serving.as_mut().poll(cx).is_ready() || killed)
        {
            self.serving = None;
        }
        let mut ended = Ended::Whole;
        if let Some(bridge) = &mut self.bridge {
            match bridge.poll_down(cx) {
                Poll::Ready(how) => {
                    ended = how;
                    self.bridge = None;
                }
                Poll::Pending if self.serving.is_none() => return self.poll_late(cx),
                Poll::Pending => return Poll::Pending,
            }
        }
        // The session may still have a line to write.
        if self.serving.is_some() { Poll::Pending } else { Poll::Ready(ended) }
    }

    /// The session is over: how long the client may take for the rest is up to us.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let Some(bridge) = &mut self.bridge else { return Poll::Pending };
        if self.timer.deadline().is_none() || bridge.moved() != self.moved {
            self.moved = bridge.moved();
            self.timer.set(self.limit.and_then(|limit| clock::now().checked_add(limit)));
        }
        if self.timer.poll_expired(cx).is_pending() {
            return Poll::Pending;
        }
        bridge.reset(Reason::CANCEL);
        Poll::Ready(Ended::Gone)
    }
}
