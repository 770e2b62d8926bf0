//! TLS over a socket: what is read and written is the content, what the kernel carries are records.
//!
//! A write is done once its records are in the kernel; until then the same bytes must be offered again. Buffers for
//! records come from a pool of the thread and go back as soon as they are empty, so an idle connection has none.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use sockeye_record::{
    CONTENT_BYTES_MAX, ContentType, HEADROOM_BYTES_MAX, Opener, RECORD_BYTES_MAX, RecordError, Sealer,
    TAILROOM_BYTES, record_length,
};
use sockeye_record::{Established, Handshake, Negotiated, Progress, Renewal, Step};

use crate::Socket;

/// Two records: one being taken while the next arrives, or so much of a long write at a time.
const BUFFER_BYTES: usize = 2 * RECORD_BYTES_MAX;
/// Spare buffers a thread keeps.
const POOL_BUFFERS_MAX: usize = 256;
/// Bytes of handshake that a peer may send: four records' worth of certificates.
const HANDSHAKE_BYTES_MAX: usize = 4 * RECORD_BYTES_MAX;
/// How much of the peer's first words is kept to tell what they are.
const BEGINNING_BYTES: usize = 8;
/// How much of a handshake is read at a time.
const HANDSHAKE_READ_BYTES: usize = 4 * 1024;
/// A message after the handshake at most: a ticket.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Records without content in a row; whoever sends more wants to keep us busy.
const EMPTY_RECORDS_MAX: u32 = 32;

const ALERT_WARNING: u8 = 1;
const ALERT_FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const UNEXPECTED_MESSAGE: u8 = 10;
const USER_CANCELED: u8 = 90;
const NO_RENEGOTIATION: u8 = 100;
const HELLO_REQUEST: u8 = 0;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// The size of records while a sender begins to send: after so many bytes it is a stream, whose receiver gains more from
/// few records than it loses by waiting for their ends.
const STREAM_AFTER_BYTES: usize = 64 * 1024;

/// TLS connections of the process, to clients and to servers.
static OPEN: AtomicU32 = AtomicU32::new(0);
static LIMITS: OnceLock<RecordLimits> = OnceLock::new();

/// Content of a record at most (`tune.ssl.maxrecord` and `tune.ssl.hard-maxrecord`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLimits {
    /// Of what a sender begins with.
    pub first: usize,
    /// Of any.
    pub any: usize,
}

impl RecordLimits {
    /// Sets them for the process. Called once, before the first connection.
    pub fn apply(self) {
        // A second call would change nothing.
        let _ = LIMITS.set(Self { first: limited(self.first), any: limited(self.any) });
    }

    fn current() -> Self {
        *LIMITS.get_or_init(|| Self { first: CONTENT_BYTES_MAX, any: CONTENT_BYTES_MAX })
    }
}

/// 0 is no limit.
fn limited(bytes: usize) -> usize {
    if bytes == 0 { CONTENT_BYTES_MAX } else { bytes.min(CONTENT_BYTES_MAX) }
}

/// TLS connections that the process has open, to clients and to servers.
pub fn tls_sockets() -> u32 {
    OPEN.load(Ordering::Relaxed)
}

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A socket after its TLS handshake.
pub struct TlsSocket {
    io: Socket,
    negotiated: Rc<Negotiated>,
    /// See [`Socket::identity`].
    pub(crate) identity: u64,
    state: RefCell<State>,
}

struct State {
    opener: Opener,
    sealer: Sealer,
    renewal: Renewal,
    incoming: Records,
    /// Content in `incoming` that nobody has taken yet.
    plain: Range<usize>,
    /// Content that came with the handshake, and how much of it is taken.
    ahead: Vec<u8>,
    ahead_at: usize,
    outgoing: Records,
    /// Content whose records are in `outgoing`, not yet reported as written.
    accepted: usize,
    /// Content sent since the peer sent any.
    streamed: usize,
    /// The start of a message that arrived after the handshake.
    message: Vec<u8>,
    /// A new key was asked for, and our own must follow.
    owes_update: bool,
    empty_records: u32,
    /// The peer has ended its direction.
    ended: bool,
    /// No close_notify any more: it was sent, or the close is to be rude.
    silent: bool,
    broken: bool,
}

/// A piece of memory for records, or none.
#[derive(Default)]
struct Records {
    storage: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Records {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn filled(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    /// Room behind what is left, which moves to the front.
    fn space(&mut self) -> &mut [u8] {
        if self.storage.is_empty() {
            self.storage =
                POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice());
        }
        if self.start > 0 {
            self.storage.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.storage[self.end..]
    }

    fn consume(&mut self, n: usize) {
        self.start += n;
        if self.is_empty() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        self.start = 0;
        self.end = 0;
        let storage = std::mem::take(&mut self.storage);
        if storage.is_empty() {
            return;
        }
        // While the thread ends the pool may be gone already.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOL_BUFFERS_MAX {
                pool.push(storage);
            }
        });
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl TlsSocket {
    fn new(io: Socket, established: Established, rest: &[u8]) -> io::Result<Self> {
        let mut incoming = Records::default();
        if !rest.is_empty() {
            let space = incoming.space();
            let room = space.get_mut(..rest.len()).ok_or(io::ErrorKind::InvalidData)?;
            room.copy_from_slice(rest);
            incoming.end = rest.len();
        }
        OPEN.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            io,
            negotiated: Rc::new(established.negotiated),
            identity: 0,
            state: RefCell::new(State {
                opener: established.opener,
                sealer: established.sealer,
                renewal: established.renewal,
                incoming,
                plain: 0..0,
                ahead: established.plain,
                ahead_at: 0,
                outgoing: Records::default(),
                accepted: 0,
                streamed: 0,
                message: Vec::new(),
                owes_update: false,
                empty_records: 0,
                ended: established.closed,
                silent: false,
                broken: false,
            }),
        })
    }

    /// What the handshake agreed on.
    pub fn negotiated(&self) -> &Rc<Negotiated> {
        &self.negotiated
    }

    pub(crate) fn io(&self) -> &Socket {
        &self.io
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.borrow_mut().has_something() {
            Poll::Ready(Ok(()))
        } else {
            self.io.poll_read_ready(cx)
        }
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_write_ready(cx)
    }

    pub(crate) fn read_now(&self, space: &mut [u8]) -> io::Result<Option<usize>> {
        self.state.borrow_mut().read_now(&self.io, space)
    }

    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            if let Some(n) = self.read_now(space)? {
                return Poll::Ready(Ok(n));
            }
        }
    }

    /// As [`Socket::poll_peek`]: records that carry no content are taken.
    pub(crate) fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_read_ready(cx))?;
            if let Some(n) = self.state.borrow_mut().peek_now(&self.io)? {
                return Poll::Ready(Ok(n));
            }
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            ready!(state.poll_flush(cx, &self.io))?;
            if state.accepted > 0 {
                return Poll::Ready(Ok(std::mem::take(&mut state.accepted)));
            }
            if state.silent {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            state.renew_if_due().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            state.seal(slices).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
    }

    /// Says that nothing more will come of us.
    pub(crate) fn shutdown_write(&self) {
        self.state.borrow_mut().say_goodbye(&self.io, ALERT_WARNING, CLOSE_NOTIFY);
    }

    /// The close is to be rude: no close_notify.
    pub(crate) fn close_silently(&self) {
        self.state.borrow_mut().silent = true;
    }
}

impl Drop for TlsSocket {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        self.shutdown_write();
    }
}

impl AsFd for TlsSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl std::fmt::Debug for TlsSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys are nobody's business.
        f.debug_struct("TlsSocket").field("io", &self.io).field("negotiated", &self.negotiated).finish()
    }
}

impl State {
    /// Whether a read would find content, the end or an error without asking the kernel.
    fn has_something(&mut self) -> bool {
        self.ahead_at < self.ahead.len()
            || !self.plain.is_empty()
            || self.ended
            || self.broken
            || !matches!(self.whole_record(), Ok(None))
    }

    /// The length of the next record, if all of it is here.
    fn whole_record(&mut self) -> Result<Option<usize>, RecordError> {
        let filled = self.incoming.filled();
        Ok(record_length(filled)?.filter(|length| *length <= filled.len()))
    }

    fn read_now(&mut self, io: &Socket, space: &mut [u8]) -> io::Result<Option<usize>> {
        let mut filled = 0;
        loop {
            filled += self.take_content(&mut space[filled..]);
            if filled == space.len() {
                return Ok(Some(filled));
            }
            match self.next_content(io, filled == 0) {
                Ok(Next::Content) => {}
                Ok(Next::Nothing) => return Ok((filled > 0).then_some(filled)),
                Ok(Next::End) => return Ok(Some(filled)),
                // What came before the error is taken first.
                Err(_) if filled > 0 => return Ok(Some(filled)),
                Err(error) => return Err(error),
            }
        }
    }

    fn peek_now(&mut self, io: &Socket) -> io::Result<Option<usize>> {
        let waiting = self.plain.len() + self.ahead.len() - self.ahead_at;
        if waiting > 0 {
            return Ok(Some(waiting));
        }
        Ok(match self.next_content(io, true)? {
            Next::Content => Some(self.plain.len()),
            Next::Nothing => None,
            Next::End => Some(0),
        })
    }

    /// Moves content that is at hand into `space`.
    fn take_content(&mut self, space: &mut [u8]) -> usize {
        if self.ahead_at < self.ahead.len() {
            let n = space.len().min(self.ahead.len() - self.ahead_at);
            space[..n].copy_from_slice(&self.ahead[self.ahead_at..][..n]);
            self.ahead_at += n;
            if self.ahead_at == self.ahead.len() {
                self.ahead = Vec::new();
                self.ahead_at = 0;
            }
            return n;
        }
        let n = space.len().min(self.plain.len());
        if n > 0 {
            space[..n].copy_from_slice(&self.incoming.storage[self.plain.start..][..n]);
            self.plain.start += n;
            self.drop_taken();
        }
        n
    }

    /// Gives back the memory once its content is taken and nothing follows.
    fn drop_taken(&mut self) {
        if self.plain.is_empty() && self.incoming.is_empty() {
            self.incoming.give_back();
        }
    }

    /// Opens records until one has content; with `ask` the kernel is asked for more. Only to be called when all content
    /// is taken.
    fn next_content(&mut self, io: &Socket, ask: bool) -> io::Result<Next> {
        loop {
            if self.broken {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if self.ended {
                return Ok(Next::End);
            }
            match self.whole_record() {
                Err(error) => return Err(self.fail(io, error)),
                Ok(Some(length)) => {
                    if self.open(io, length)? {
                        return Ok(Next::Content);
                    }
                    continue;
                }
                Ok(None) if !ask => return Ok(Next::Nothing),
                Ok(None) => {}
            }
            match io.take_now(self.incoming.space()) {
                Ok(Some(0)) if self.incoming.is_empty() => self.ended = true,
                Ok(Some(0)) => {
                    self.broken = true;
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(Some(n)) => self.incoming.end += n,
                Ok(None) => {
                    self.drop_taken();
                    return Ok(Next::Nothing);
                }
                Err(error) => {
                    self.broken = true;
                    return Err(error);
                }
            }
        }
    }

    /// Opens the record of `length` bytes that `incoming` begins with; whether it has content.
    fn open(&mut self, io: &Socket, length: usize) -> io::Result<bool> {
        let at = self.incoming.start;
        let opened = self.opener.open(&mut self.incoming.storage[at..at + length]);
        let (kind, range) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(self.fail(io, error)),
        };
        self.incoming.start += length;
        let content = at + range.start..at + range.end;
        if kind == ContentType::Data && !content.is_empty() {
            self.empty_records = 0;
            self.streamed = 0;
            self.plain = content;
            return Ok(true);
        }
        self.empty_records += 1;
        if self.empty_records > EMPTY_RECORDS_MAX {
            return Err(self.fail_with(io, UNEXPECTED_MESSAGE));
        }
        match kind {
            ContentType::Data => {}
            ContentType::Alert => match self.incoming.storage[content] {
                [_, CLOSE_NOTIFY] => self.ended = true,
                [_, USER_CANCELED] | [ALERT_WARNING, NO_RENEGOTIATION] => {}
                _ => {
                    self.broken = true;
                    self.silent = true;
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            },
            ContentType::Handshake => {
                if self.message.len() + content.len() > MESSAGE_BYTES_MAX {
                    return Err(self.fail_with(io, UNEXPECTED_MESSAGE));
                }
                self.message.extend_from_slice(&self.incoming.storage[content]);
                self.obey_messages(io)?;
            }
            ContentType::ChangeCipherSpec => return Err(self.fail_with(io, UNEXPECTED_MESSAGE)),
        }
        self.drop_taken();
        Ok(false)
    }

    /// Carries out the messages that arrived after the handshake (RFC 8446 §4.6).
    fn obey_messages(&mut self, io: &Socket) -> io::Result<()> {
        let mut messages = std::mem::take(&mut self.message);
        let mut at = 0;
        while let Some((header, rest)) = messages[at..].split_first_chunk::<4>() {
            let length = usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
            if length > MESSAGE_BYTES_MAX {
                return Err(self.fail_with(io, UNEXPECTED_MESSAGE));
            }
            let Some(body) = rest.get(..length) else { break };
            let obeyed = match (header[0], body) {
                (KEY_UPDATE, [wanted @ (0 | 1)]) if at + 4 + length == messages.len() => {
                    self.owes_update |= *wanted == 1;
                    self.renewal.opener().map(|opener| self.opener = opener).is_ok()
                }
                // A ticket that cannot be kept is only one that is not used.
                (NEW_SESSION_TICKET, body) => {
                    let _ = self.renewal.ticket(body);
                    matches!(self.renewal, Renewal::Client(_))
                }
                // We never renegotiate; a client may be asked to and may ignore it (RFC 5246 §7.4.1.1).
                (HELLO_REQUEST, []) => matches!(self.renewal, Renewal::Client(_)),
                _ => false,
            };
            if !obeyed {
                return Err(self.fail_with(io, UNEXPECTED_MESSAGE));
            }
            at += 4 + length;
        }
        messages.drain(..at);
        self.message = messages;
        Ok(())
    }

    fn fail(&mut self, io: &Socket, error: RecordError) -> io::Error {
        self.fail_with(io, error.alert());
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    fn fail_with(&mut self, io: &Socket, alert: u8) -> io::Error {
        self.broken = true;
        self.say_goodbye(io, ALERT_FATAL, alert);
        io::ErrorKind::InvalidData.into()
    }

    /// The last record that we send, if there is room for it now and no half of another one is under way.
    fn say_goodbye(&mut self, io: &Socket, level: u8, alert: u8) {
        if std::mem::replace(&mut self.silent, true) || !self.outgoing.is_empty() {
            return;
        }
        let mut space = [0; HEADROOM_BYTES_MAX + 2 + TAILROOM_BYTES];
        space[self.sealer.headroom()..][..2].copy_from_slice(&[level, alert]);
        if let Ok(length) = self.sealer.seal(ContentType::Alert, &mut space, 2) {
            // Whether it still arrives is no longer ours to mend.
            let _ = rustix::net::send(io, &space[..length], SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>, io: &Socket) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let records = self.outgoing.filled();
            let n = ready!(io.poll_io_write(cx, |fd| Ok(rustix::net::send(
                fd,
                &*records,
                SendFlags::NOSIGNAL
            )?)))?;
            self.outgoing.consume(n);
        }
        Poll::Ready(Ok(()))
    }

    /// A new key for what we send, when the peer asked for it or the old one is worn out.
    fn renew_if_due(&mut self) -> Result<(), RecordError> {
        if !(self.owes_update || self.sealer.is_worn()) {
            return Ok(());
        }
        self.owes_update = false;
        let space = self.outgoing.space();
        let update = [KEY_UPDATE, 0, 0, 1, 0];
        space[self.sealer.headroom()..][..update.len()].copy_from_slice(&update);
        self.outgoing.end += self.sealer.seal(ContentType::Handshake, space, update.len())?;
        self.sealer = self.renewal.sealer().map_err(|_| RecordError::WornOut)?;
        Ok(())
    }

    /// Seals the start of `slices` into as many records as fit.
    fn seal(&mut self, slices: &[IoSlice<'_>]) -> Result<(), RecordError> {
        let mut slices = slices.iter().map(|slice| &**slice);
        let mut rest = slices.next().unwrap_or_default();
        let headroom = self.sealer.headroom();
        let limits = RecordLimits::current();
        loop {
            let most =
                if self.streamed < STREAM_AFTER_BYTES { limits.first.min(limits.any) } else { limits.any };
            let space = self.outgoing.space();
            let room = space.len().saturating_sub(headroom + TAILROOM_BYTES).min(most);
            let mut length = 0;
            while length < room {
                if rest.is_empty() {
                    let Some(next) = slices.next() else { break };
                    rest = next;
                    continue;
                }
                let n = rest.len().min(room - length);
                space[headroom + length..][..n].copy_from_slice(&rest[..n]);
                rest = &rest[n..];
                length += n;
            }
            if length == 0 {
                return Ok(());
            }
            self.outgoing.end += self.sealer.seal(ContentType::Data, space, length)?;
            self.accepted += length;
            self.streamed += length;
        }
    }
}

/// What looking for content found.
enum Next {
    Content,
    Nothing,
    End,
}

/// Why a handshake did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer closed its end; whether it had sent anything.
    #[error("the connection was closed during the handshake")]
    Closed { after_bytes: bool },
    #[error("the connection broke during the handshake: {0}")]
    Io(io::Error),
    #[error("{0}")]
    Tls(rustls::Error),
    #[error("the peer's handshake is too long")]
    TooLong,
}

/// A handshake under way on a socket.
pub struct Handshaking {
    /// Taken at the end.
    io: Option<Socket>,
    handshake: Option<Handshake>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    sent: usize,
    read: usize,
    /// The first bytes of the peer, `read` of them at most.
    beginning: [u8; BEGINNING_BYTES],
    done: bool,
    /// A client speaks first, so nothing is read before the first step.
    begun: bool,
    /// Told to the peer first.
    failed: Option<rustls::Error>,
}

impl Handshaking {
    /// `read` is what has been read of the peer already.
    pub fn new(io: Socket, handshake: Handshake, read: Vec<u8>) -> Self {
        let count = read.len();
        let mut beginning = [0; BEGINNING_BYTES];
        beginning.iter_mut().zip(&read).for_each(|(to, byte)| *to = *byte);
        Self {
            io: Some(io),
            handshake: Some(handshake),
            incoming: read,
            outgoing: Vec::new(),
            sent: 0,
            read: count,
            beginning,
            done: false,
            begun: false,
            failed: None,
        }
    }

    /// Shakes hands. Afterwards content can be read and written.
    ///
    /// # Errors
    /// When the handshake fails; the peer has been told why as far as it can be told.
    pub async fn run(mut self) -> Result<Socket, HandshakeError> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// One poll of [`run`](Self::run), for whoever has to look at what rustls found out in it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Socket, HandshakeError>> {
        loop {
            let io = self.io.as_mut().ok_or_else(gone)?;
            while self.sent < self.outgoing.len() {
                let bytes = &self.outgoing[self.sent..];
                let sent = ready!(io.poll_write(cx, bytes));
                match (sent, self.failed.take()) {
                    (Ok(n), failed) => {
                        self.sent += n;
                        self.failed = failed;
                    }
                    (Err(_), Some(failed)) => return Poll::Ready(Err(HandshakeError::Tls(failed))),
                    (Err(error), None) => return Poll::Ready(Err(HandshakeError::Io(error))),
                }
            }
            self.outgoing.clear();
            self.sent = 0;
            if let Some(error) = self.failed.take() {
                return Poll::Ready(Err(HandshakeError::Tls(error)));
            }
            if self.done {
                return Poll::Ready(self.finish());
            }
            if std::mem::replace(&mut self.begun, true) {
                ready!(self.poll_fill(cx))?;
            }
            let handshake = self.handshake.as_mut().ok_or_else(gone)?;
            let (used, step) = handshake.step(&mut self.incoming, &mut self.outgoing);
            self.incoming.drain(..used);
            match step {
                Ok(Step::Read) => {}
                Ok(Step::Done) => self.done = true,
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// How what the peer said began: who speaks no TLS is known by it.
    pub fn beginning(&self) -> &[u8] {
        &self.beginning[..self.read.min(BEGINNING_BYTES)]
    }

    /// How far the handshake has come, if it is not over.
    pub fn progress(&self) -> Option<Progress> {
        self.handshake.as_ref().map(Handshake::progress)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Ok(())) };
        let at = self.incoming.len();
        if at >= HANDSHAKE_BYTES_MAX {
            return Poll::Ready(Err(HandshakeError::TooLong));
        }
        self.incoming.resize(at + HANDSHAKE_READ_BYTES, 0);
        let read = io.poll_read(cx, &mut self.incoming[at..]);
        self.incoming.truncate(at + if let Poll::Ready(Ok(n)) = read { n } else { 0 });
        match ready!(read) {
            Ok(0) => Poll::Ready(Err(HandshakeError::Closed { after_bytes: self.read > 0 })),
            Ok(n) => {
                let free = self.beginning.iter_mut().skip(self.read);
                free.zip(&self.incoming[at..]).for_each(|(to, byte)| *to = *byte);
                self.read += n;
                Poll::Ready(Ok(()))
            }
            Err(error) => Poll::Ready(Err(HandshakeError::Io(error))),
        }
    }

    fn finish(&mut self) -> Result<Socket, HandshakeError> {
        let (Some(io), Some(handshake)) = (self.io.take(), self.handshake.take()) else { return Err(gone()) };
        let established = handshake.finish().map_err(HandshakeError::Tls)?;
        let socket = TlsSocket::new(io, established, &self.incoming).map_err(HandshakeError::Io)?;
        Ok(Socket::Tls(Box::new(socket)))
    }
}

/// Asked again after its end.
fn gone() -> HandshakeError {
    HandshakeError::Io(io::ErrorKind::NotConnected.into())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{
        ClientConfig, ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion, version,
    };

    use super::*;

    fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let mut server = ServerConfig::builder_with_protocol_versions(&[version])
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        server.enable_secret_extraction = true;
        let mut client = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        (Arc::new(server), Arc::new(client))
    }

    fn sockets() -> (Socket, Socket) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        (Socket::from_unix(a.into()).unwrap(), Socket::from_unix(b.into()).unwrap())
    }

    async fn connected(version: &'static SupportedProtocolVersion) -> (Socket, Socket) {
        let (server_config, client_config) = configs(version);
        let (server, client) = sockets();
        let name = ServerName::try_from("localhost").unwrap();
        let server = Handshaking::new(server, Handshake::server(server_config).unwrap(), Vec::new());
        let client = Handshaking::new(client, Handshake::client(client_config, name).unwrap(), Vec::new());
        let (server, client) = tokio::join!(server.run(), client.run());
        (server.unwrap(), client.unwrap())
    }

    async fn write_all(socket: &mut Socket, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // Two slices, of which the second is offered in part, as callers do.
            let (a, b) = bytes.split_at(bytes.len() / 3);
            let n = poll_fn(|cx| socket.poll_write_vectored(cx, &[IoSlice::new(a), IoSlice::new(b)]))
                .await
                .unwrap();
            assert!(n > 0);
            bytes = &bytes[n..];
        }
    }

    async fn read_all(socket: &mut Socket, piece: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let mut space = vec![0; piece];
        loop {
            match poll_fn(|cx| socket.poll_read(cx, &mut space)).await.unwrap() {
                0 => return all,
                n => all.extend_from_slice(&space[..n]),
            }
        }
    }

    const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

    #[tokio::test]
    async fn content_arrives_whole_and_so_does_the_end() {
        for version in VERSIONS {
            for (length, piece) in [(0, 10), (1, 1), (5_000, 7), (1_000_000, 3_000), (3_000_000, 200_000)] {
                let content: Vec<u8> =
                    (0..length).map(|at: u32| at.to_le_bytes()[(at % 3) as usize]).collect();
                let (mut server, mut client) = connected(version).await;
                let sent = async {
                    write_all(&mut client, &content).await;
                    client.shutdown_write().unwrap();
                    read_all(&mut client, piece).await
                };
                let echoed = async {
                    let got = read_all(&mut server, piece).await;
                    write_all(&mut server, &got).await;
                    drop(server);
                    got
                };
                let (back, there) = tokio::join!(sent, echoed);
                assert!(there == content && back == content, "{version:?} {length}");
            }
        }
    }

    #[tokio::test]
    async fn a_peek_takes_nothing_and_sees_the_end() {
        for version in VERSIONS {
            let (mut server, mut client) = connected(version).await;
            write_all(&mut client, b"hello").await;
            assert_eq!(poll_fn(|cx| server.poll_peek(cx)).await.unwrap(), 5);
            let mut space = [0; 2];
            assert_eq!(poll_fn(|cx| server.poll_read(cx, &mut space)).await.unwrap(), 2);
            assert_eq!(poll_fn(|cx| server.poll_peek(cx)).await.unwrap(), 3);
            assert_eq!(server.read_now(&mut [0; 10]).unwrap(), Some(3));
            assert_eq!(server.read_now(&mut [0; 10]).unwrap(), None);
            drop(client);
            assert_eq!(poll_fn(|cx| server.poll_peek(cx)).await.unwrap(), 0);
            assert_eq!(server.read_now(&mut [0; 10]).unwrap(), Some(0));
        }
    }

    #[tokio::test]
    async fn keys_are_renewed_when_the_peer_asks() {
        let (mut server, mut client) = connected(&version::TLS13).await;
        let Socket::Tls(tls) = &client else { panic!("not TLS") };
        for _ in 0..3 {
            // As a worn key would, and asking for the peer's as well.
            let mut state = tls.state.borrow_mut();
            let headroom = state.sealer.headroom();
            let mut space = [0; 64];
            space[headroom..][..5].copy_from_slice(&[KEY_UPDATE, 0, 0, 1, 1]);
            let length = state.sealer.seal(ContentType::Handshake, &mut space, 5).unwrap();
            rustix::net::send(&tls.io, &space[..length], SendFlags::NOSIGNAL).unwrap();
            state.sealer = state.renewal.sealer().unwrap();
        }
        write_all(&mut client, b"under the new key").await;
        let mut space = [0; 100];
        assert_eq!(poll_fn(|cx| server.poll_read(cx, &mut space)).await.unwrap(), 17);
        write_all(&mut server, b"me too").await;
        assert_eq!(poll_fn(|cx| client.poll_read(cx, &mut space)).await.unwrap(), 6);
    }

    #[tokio::test]
    async fn what_is_no_record_ends_the_connection() {
        for version in VERSIONS {
            let (mut server, client) = connected(version).await;
            let Socket::Tls(tls) = &client else { panic!("not TLS") };
            rustix::net::send(&tls.io, b"GET / HTTP/1.1\r\n\r\n", SendFlags::NOSIGNAL).unwrap();
            let mut space = [0; 100];
            let error = poll_fn(|cx| server.poll_read(cx, &mut space)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(poll_fn(|cx| server.poll_read(cx, &mut space)).await.is_err(), "and stays so");
        }
    }

    #[tokio::test]
    async fn a_record_cut_short_is_no_end() {
        for version in VERSIONS {
            let (mut server, client) = connected(version).await;
            let Socket::Tls(tls) = &client else { panic!("not TLS") };
            rustix::net::send(&tls.io, &[23, 3, 3, 0, 100, 1], SendFlags::NOSIGNAL).unwrap();
            tls.close_silently();
            drop(client);
            let mut space = [0; 100];
            assert!(poll_fn(|cx| server.poll_read(cx, &mut space)).await.is_err());
        }
    }

    #[tokio::test]
    async fn an_idle_connection_has_no_buffer() {
        for version in VERSIONS {
            let (mut server, mut client) = connected(version).await;
            write_all(&mut client, b"hello").await;
            let mut space = [0; 100];
            assert_eq!(poll_fn(|cx| server.poll_read(cx, &mut space)).await.unwrap(), 5);
            assert_eq!(server.read_now(&mut space).unwrap(), None);
            for socket in [&server, &client] {
                let Socket::Tls(tls) = socket else { panic!("not TLS") };
                let state = tls.state.borrow();
                assert!(state.incoming.storage.is_empty() && state.outgoing.storage.is_empty());
            }
        }
    }

    #[tokio::test]
    async fn a_plain_client_fails_the_handshake_and_is_told() {
        let (server_config, _) = configs(&version::TLS13);
        let (server, mut client) = sockets();
        poll_fn(|cx| client.poll_write(cx, b"GET / HTTP/1.1\r\n\r\n")).await.unwrap();
        let mut shaking = Handshaking::new(server, Handshake::server(server_config).unwrap(), Vec::new());
        let shaken = poll_fn(|cx| shaking.poll(cx)).await;
        assert!(matches!(shaken, Err(HandshakeError::Tls(_))));
        assert_eq!(shaking.beginning(), b"GET / HT");
        let mut space = [0; 100];
        let n = poll_fn(|cx| client.poll_read(cx, &mut space)).await.unwrap();
        assert_eq!(space[0], ContentType::Alert as u8, "{:?}", &space[..n]);
    }

    #[tokio::test]
    async fn versions_are_told() {
        for (version, expected) in VERSIONS.iter().zip([ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3]) {
            let (server, client) = connected(version).await;
            assert_eq!(server.tls().map(|agreed| agreed.version), Some(expected));
            assert_eq!(client.tls().map(|agreed| agreed.certificates.len()), Some(1));
        }
    }
}
