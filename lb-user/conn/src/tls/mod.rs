//! TLS over a socket: what is read and written is the content, what the kernel carries are records.
//!
//! A write is done once its records are in the kernel; until then the same bytes must be offered again. Buffers for
//! records come from a pool of the thread and go back as soon as they are empty, so an idle connection has none.

mod handshaking;
mod limits;
mod records;

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use sockeye_record::{
    ContentType, Established, HEADROOM_BYTES_MAX, Negotiated, Opener, RecordError, Renewal, Sealer,
    TAILROOM_BYTES, record_length,
};

pub use handshaking::{HandshakeError, Handshaking};
pub use limits::RecordLimits;
use limits::STREAM_AFTER_BYTES;
use records::Records;

use crate::Socket;

/// A message after the handshake at most: a ticket.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A request for a new key, without its header.
const KEY_UPDATE_BYTES: usize = 1;
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

/// TLS connections of the process, to clients and to servers.
static OPEN: AtomicU32 = AtomicU32::new(0);
/// TLS connections that the process has open, to clients and to servers, those included that still shake hands.
pub fn tls_sockets() -> u32 {
    OPEN.load(Ordering::Relaxed)
}

/// Counts one TLS connection for as long as it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket after its TLS handshake.
pub struct TlsSocket {
    io: Socket,
    negotiated: Rc<Negotiated>,
    /// See [`Socket::identity`].
    pub(crate) identity: u64,
    state: RefCell<State>,
    _counted: Counted,
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

impl TlsSocket {
    fn new(io: Socket, established: Established, rest: &[u8], counted: Counted) -> io::Result<Self> {
        let mut incoming = Records::default();
        if !rest.is_empty() {
            let space = incoming.space();
            let room = space.get_mut(..rest.len()).ok_or(io::ErrorKind::InvalidData)?;
            room.copy_from_slice(rest);
            incoming.end = rest.len();
        }
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
            _counted: counted,
        })
    }

    /// What the handshake agreed on.
    pub fn negotiated(&self) -> &Rc<Negotiated> {
        &self.negotiated
    }

    pub(crate) fn io(&self) -> &Socket {
        &self.io
    }

    /// Ready once there is content, the end or an error: records that carry none of these wake nobody for nothing.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_peek(cx).map_ok(|_| ())
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
            if !self.state.borrow_mut().has_something() {
                ready!(self.io.poll_read_ready(cx))?;
            }
            if let Some(n) = self.state.borrow_mut().peek_now(&self.io)? {
                return Poll::Ready(Ok(n));
            }
        }
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        if offered == 0 {
            return Poll::Ready(Ok(0));
        }
        if state.accepted > offered {
            // Somebody gave a write up in the middle and has something else to say: half of the peer's next record is under
            // way, so nothing can be said any more.
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
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
            // Clients have nothing to say but that they renew their key: more is not even collected.
            let most = match self.renewal {
                Renewal::Client(_) => MESSAGE_BYTES_MAX,
                Renewal::Server(_) => KEY_UPDATE_BYTES,
            };
            if length > most {
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

#[cfg(test)]
mod tests;
