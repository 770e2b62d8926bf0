//! A byte stream inside one thread: what a stream of a multiplexed connection looks like to code that expects a socket.
//!
//! Each way holds at most one buffer of `tune.bufsize` bytes, borrowed only while there is something in it. A full
//! way stops its writer, an end is passed on behind the bytes before it, and an abort is seen at once by both sides.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use sockeye_record::Negotiated;

use crate::{Buffer, Socket};

/// One end of a pipe. Dropping it ends its direction, and whoever writes to it learns that nobody reads.
#[derive(Debug)]
pub struct PipeEnd {
    ways: Rc<RefCell<[Way; 2]>>,
    /// Which of the ways is written to.
    side: usize,
    /// The connection that carries the stream.
    carrier: Rc<Carrier>,
    resets: Cell<bool>,
}

/// One direction.
#[derive(Debug)]
struct Way {
    buffer: Buffer,
    /// The writer has sent its end.
    ended: bool,
    /// The reader is gone.
    unread: bool,
    /// The stream was cut off.
    failed: Option<io::ErrorKind>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The connection that carries the streams whose pipes name it.
#[derive(Debug)]
pub struct Carrier {
    /// For addresses and options only: its bytes are never touched.
    fd: OwnedFd,
    /// What its TLS handshake agreed on.
    pub tls: Option<Rc<Negotiated>>,
    /// Streams that it carries now, and may carry: `fc_nb_streams`, `fc_settings_streams_limit` and their kin.
    pub streams: Cell<u32>,
    pub streams_max: Cell<u32>,
    /// `fc_glitches`, `bc_glitches`
    pub glitches: Cell<u32>,
    /// A stream has asked that the whole connection go without a word (`silent-drop`).
    pub silenced: Cell<bool>,
}

impl Carrier {
    /// For the streams of this connection.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new(socket: &Socket) -> io::Result<Rc<Self>> {
        Ok(Self::of(socket.as_fd().try_clone_to_owned()?, socket.tls().cloned()))
    }

    fn of(fd: OwnedFd, tls: Option<Rc<Negotiated>>) -> Rc<Self> {
        Rc::new(Self {
            fd,
            tls,
            streams: Cell::new(0),
            streams_max: Cell::new(0),
            glitches: Cell::new(0),
            silenced: Cell::new(false),
        })
    }
}

/// A pipe, as its two ends.
pub fn pipe(carrier: Rc<Carrier>) -> (PipeEnd, PipeEnd) {
    let ways = Rc::new(RefCell::new([Way::new(), Way::new()]));
    let end = |side| PipeEnd {
        ways: Rc::clone(&ways),
        side,
        carrier: Rc::clone(&carrier),
        resets: Cell::new(false),
    };
    (end(0), end(1))
}

impl Way {
    fn new() -> Self {
        Self { buffer: Buffer::none(), ended: false, unread: false, failed: None, reader: None, writer: None }
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    /// What a read finds: bytes, the end or an error; `None` if it would have to wait.
    fn is_readable(&self) -> Option<io::Result<()>> {
        match self.failed {
            Some(kind) => Some(Err(kind.into())),
            None if !self.buffer.is_empty() || self.ended => Some(Ok(())),
            None => None,
        }
    }

    fn is_writable(&self) -> Option<io::Result<()>> {
        match self.failed {
            Some(kind) => Some(Err(kind.into())),
            None if self.unread || self.ended => Some(Err(io::ErrorKind::BrokenPipe.into())),
            None if self.buffer.capacity() == 0 || !self.buffer.is_full() => Some(Ok(())),
            None => None,
        }
    }

    /// Gives storage back that holds nothing.
    fn release(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            self.buffer = Buffer::none();
        }
    }
}

/// Registers the calling task as the one to wake.
fn register(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

impl PipeEnd {
    /// Ready when a read would not block.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let way = &mut self.ways.borrow_mut()[1 - self.side];
        match way.is_readable() {
            Some(result) => Poll::Ready(result),
            None => {
                register(&mut way.reader, cx);
                Poll::Pending
            }
        }
    }

    /// Ready when a write would not block.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let way = &mut self.ways.borrow_mut()[self.side];
        match way.is_writable() {
            Some(result) => Poll::Ready(result),
            None => {
                register(&mut way.writer, cx);
                Poll::Pending
            }
        }
    }

    /// Reads what is there, `None` if nothing is; 0 is the end.
    pub fn read_now(&mut self, space: &mut [u8]) -> io::Result<Option<usize>> {
        self.take_with(|bytes| {
            let n = bytes.len().min(space.len());
            space[..n].copy_from_slice(&bytes[..n]);
            n
        })
    }

    /// Lends the bytes that are there to `take`, which says how many of them it has used; `None` if there are none yet,
    /// 0 at the end.
    ///
    /// # Errors
    /// When the stream was cut off.
    pub fn take_with(&mut self, take: impl FnOnce(&[u8]) -> usize) -> io::Result<Option<usize>> {
        let way = &mut self.ways.borrow_mut()[1 - self.side];
        match way.is_readable() {
            None => Ok(None),
            Some(Err(error)) => Err(error),
            Some(Ok(())) if way.buffer.is_empty() => Ok(Some(0)),
            Some(Ok(())) => {
                let n = take(way.buffer.filled());
                way.buffer.consume(n);
                way.release();
                if n > 0 {
                    way.wake_writer();
                }
                Ok(Some(n))
            }
        }
    }

    /// Reads into `space`; 0 is the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.read_now(space) {
            Ok(Some(n)) => Poll::Ready(Ok(n)),
            Err(error) => Poll::Ready(Err(error)),
            Ok(None) => self.poll_read_ready(cx).map_ok(|()| 0),
        }
    }

    /// Writes the start of `bytes`.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// Writes the start of `slices`.
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let way = &mut self.ways.borrow_mut()[self.side];
        match way.is_writable() {
            None => {
                register(&mut way.writer, cx);
                return Poll::Pending;
            }
            Some(Err(error)) => return Poll::Ready(Err(error)),
            Some(Ok(())) => {}
        }
        let mut written = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            if way.buffer.capacity() == 0 {
                way.buffer = Buffer::take();
            }
            let n = way.buffer.append(slice);
            written += n;
            if n < slice.len() {
                break;
            }
        }
        if written > 0 {
            way.wake_reader();
        }
        Poll::Ready(Ok(written))
    }

    /// How many bytes a read would find, 0 at the end, without taking them.
    pub fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_read_ready(cx).map_ok(|()| self.ways.borrow()[1 - self.side].buffer.len())
    }

    /// Sends the end of our direction; what was written before it still arrives.
    pub fn shutdown_write(&self) {
        let way = &mut self.ways.borrow_mut()[self.side];
        way.ended = true;
        way.wake_reader();
    }

    /// Makes the drop that follows an abort.
    pub fn reset_on_close(&self) {
        self.resets.set(true);
    }

    /// Cuts the stream off: both ends fail with `kind` from now on, and what is under way is lost.
    pub fn abort(&self, kind: io::ErrorKind) {
        for way in self.ways.borrow_mut().iter_mut() {
            way.failed.get_or_insert(kind);
            way.buffer = Buffer::none();
            way.wake_reader();
            way.wake_writer();
        }
    }

    /// Ready when nobody reads what is written any more: the other end was dropped, or the stream was cut off.
    pub fn poll_unread(&self, cx: &mut Context<'_>) -> Poll<()> {
        let way = &mut self.ways.borrow_mut()[self.side];
        if way.unread || way.failed.is_some() {
            return Poll::Ready(());
        }
        register(&mut way.writer, cx);
        Poll::Pending
    }

    /// The connection that carries the stream.
    pub fn carrier(&self) -> &Rc<Carrier> {
        &self.carrier
    }
}

impl AsFd for PipeEnd {
    /// The connection that carries the stream, for its addresses and options only.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.carrier.fd.as_fd()
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        if self.resets.get() {
            self.abort(io::ErrorKind::ConnectionReset);
        }
        let mut ways = self.ways.borrow_mut();
        let ours = &mut ways[self.side];
        ours.ended = true;
        ours.wake_reader();
        let theirs = &mut ways[1 - self.side];
        theirs.unread = true;
        theirs.buffer = Buffer::none();
        theirs.wake_writer();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ends() -> (PipeEnd, PipeEnd) {
        pipe(Carrier::of(std::fs::File::open("/dev/null").unwrap().into(), None))
    }

    fn noop() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn write(end: &mut PipeEnd, bytes: &[u8]) -> Option<Result<usize, io::ErrorKind>> {
        match end.poll_write(&mut noop(), bytes) {
            Poll::Pending => None,
            Poll::Ready(result) => Some(result.map_err(|error| error.kind())),
        }
    }

    fn read(end: &mut PipeEnd) -> Option<Result<Vec<u8>, io::ErrorKind>> {
        let mut space = vec![0; 100_000];
        match end.read_now(&mut space) {
            Ok(None) => None,
            Ok(Some(n)) => Some(Ok(space[..n].to_vec())),
            Err(error) => Some(Err(error.kind())),
        }
    }

    #[test]
    fn a_full_way_stops_its_writer_and_a_read_wakes_it() {
        let (mut left, mut right) = ends();
        let Some(Ok(room)) = write(&mut left, &[7; 1_000_000]) else { panic!("refused") };
        assert!(room < 100_000);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        assert!(left.poll_write(&mut cx, b"more").is_pending());
        assert!(left.poll_write_ready(&mut cx).is_pending());
        assert_eq!(read(&mut right), Some(Ok(vec![7; room])));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(write(&mut left, b"more"), Some(Ok(4)));
        assert!(right.poll_read_ready(&mut cx).is_ready());
        assert_eq!(read(&mut right), Some(Ok(b"more".to_vec())));
        assert!(right.poll_read_ready(&mut cx).is_pending());
        assert_eq!(write(&mut left, b"!"), Some(Ok(1)));
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn an_end_arrives_behind_the_bytes_and_leaves_the_other_way_open() {
        let (mut left, mut right) = ends();
        write(&mut left, b"last");
        left.shutdown_write();
        assert_eq!(write(&mut left, b"x"), Some(Err(io::ErrorKind::BrokenPipe)));
        assert!(matches!(right.poll_peek(&mut noop()), Poll::Ready(Ok(4))));
        assert_eq!(read(&mut right), Some(Ok(b"last".to_vec())));
        assert_eq!(read(&mut right), Some(Ok(Vec::new())));
        assert_eq!(write(&mut right, b"answer"), Some(Ok(6)));
        assert_eq!(read(&mut left), Some(Ok(b"answer".to_vec())));
    }

    #[test]
    fn a_drop_is_an_end_for_the_reader_and_a_broken_pipe_for_the_writer() {
        let (mut left, mut right) = ends();
        write(&mut left, b"last");
        drop(left);
        assert_eq!(write(&mut right, b"x"), Some(Err(io::ErrorKind::BrokenPipe)));
        assert!(right.poll_unread(&mut noop()).is_ready());
        assert_eq!(read(&mut right), Some(Ok(b"last".to_vec())));
        assert_eq!(read(&mut right), Some(Ok(Vec::new())));
    }

    #[test]
    fn an_abort_overtakes_what_is_under_way() {
        let (mut left, right) = ends();
        write(&mut left, b"lost");
        write(&mut left, b"lost");
        right.reset_on_close();
        drop(right);
        assert_eq!(read(&mut left), Some(Err(io::ErrorKind::ConnectionReset)));
        assert_eq!(write(&mut left, b"x"), Some(Err(io::ErrorKind::ConnectionReset)));
        let (left, mut right) = ends();
        left.abort(io::ErrorKind::ConnectionRefused);
        assert_eq!(read(&mut right), Some(Err(io::ErrorKind::ConnectionRefused)));
    }

    #[test]
    fn slices_are_joined() {
        let (mut left, mut right) = ends();
        let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")];
        assert!(matches!(left.poll_write_vectored(&mut noop(), &slices), Poll::Ready(Ok(4))));
        assert_eq!(read(&mut right), Some(Ok(b"abcd".to_vec())));
        assert_eq!(right.take_with(|_| 1).unwrap(), None);
    }
}
