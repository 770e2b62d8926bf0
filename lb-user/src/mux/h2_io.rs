//! The socket below the frames of HTTP/2, and what is noticed of the bytes that pass.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use sockeye_config::model::{H2, H2Side};
use sockeye_conn::{Buffer, Socket};
use sockeye_h2::meter::Meter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The largest window that there can be (RFC 9113 §6.9.1); the frame layer does not bear to be asked for more.
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// A stream's window at first: `tune.h2.….initial-window-size`. HAProxy lets the windows of streams that make use of them
/// grow, for which there is no way in this frame layer: where nothing else was asked for, they begin larger.
pub(crate) fn stream_window(tune: &H2, side: &H2Side) -> u32 {
    match tune.initial_window(side) {
        16_384 => 65_535,
        bytes => bytes.min(WINDOW_MAX),
    }
}

/// What all streams of a connection may have under way: `tune.h2.….rxbuf`, within what the protocol allows.
pub(crate) fn connection_window(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX).clamp(65_535, WINDOW_MAX)
}

/// The largest frame that a peer may send, within what the protocol allows (RFC 9113 §6.5.2).
pub(crate) fn frame_size(tune: &H2) -> u32 {
    tune.max_frame_size.unwrap_or(16_384).clamp(16_384, (1 << 24) - 1)
}

/// A socket as the frame layer wants it.
#[derive(Debug)]
pub(crate) struct Io {
    /// Shared with whoever closes it.
    socket: Rc<RefCell<Socket>>,
    /// Bytes that were read before it was known that they are frames.
    first: Buffer,
    watch: Rc<Watch>,
}

/// What is known of a connection's bytes outside of the frame layer, which owns the socket.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) meter: RefCell<Meter>,
    /// Bytes sent so far.
    pub(crate) sent: Cell<u64>,
    /// The last write had to wait for the peer.
    pub(crate) blocked: Cell<bool>,
    /// The code of the GOAWAY that ends the connection, when the frame layer does not send one.
    pub(crate) farewell: Cell<Option<u32>>,
    /// Whoever shares the socket closes it, rather than the end of the frames.
    pub(crate) closes_later: Cell<bool>,
    /// Who waits for the peer's settings.
    waiting: RefCell<Vec<Waker>>,
}

impl Watch {
    pub(crate) fn new(meter: Meter) -> Rc<Self> {
        Rc::new(Self {
            meter: RefCell::new(meter),
            sent: Cell::new(0),
            blocked: Cell::new(false),
            farewell: Cell::new(None),
            closes_later: Cell::new(false),
            waiting: RefCell::default(),
        })
    }
}

impl Watch {
    /// Ready once the peer's settings are here.
    pub(crate) fn poll_settings(&self, cx: &Context<'_>) -> Poll<()> {
        if self.meter.borrow().has_settings() {
            return Poll::Ready(());
        }
        self.waiting.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    /// To be called when frames have been taken: whoever waits for settings may look again.
    pub(crate) fn wake_waiting(&self) {
        if self.meter.borrow().has_settings() {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // Only between frames: whatever waits to be written would come first.
        if let Some(code) = self.watch.farewell.take().filter(|_| !self.watch.blocked.get()) {
            let goaway = [&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &code.to_be_bytes()].concat();
            let _ = self.socket.borrow_mut().poll_write(&mut Context::from_waker(Waker::noop()), &goaway);
        }
        // Streams that are about to end still hold a descriptor of the connection; the peer need not wait for them.
        if !self.watch.closes_later.get() {
            close(&self.socket.borrow());
        }
    }
}

/// Ends both directions, whoever else has a descriptor of the connection.
pub(crate) fn close(socket: &Socket) {
    // Fails only on a connection that is over already.
    let _ = socket.shutdown_write();
    let _ = rustix::net::shutdown(socket.as_fd(), rustix::net::Shutdown::Both);
}

impl Io {
    pub(crate) fn new(socket: Rc<RefCell<Socket>>, first: Buffer, watch: Rc<Watch>) -> Self {
        Self { socket, first, watch }
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.watch.blocked.set(written.is_pending());
        if let Poll::Ready(Ok(n)) = written {
            self.watch.sent.set(self.watch.sent.get() + n as u64);
            self.watch.meter.borrow_mut().sent(n);
        }
        written
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.watch.meter.borrow().violation().is_some() {
            // Whoever polls the frames ends the connection; nothing behind a violation is looked at.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if this.first.is_empty() {
            let n = ready!(this.socket.borrow_mut().poll_read(cx, buf.initialize_unfilled()))?;
            buf.advance(n);
        } else {
            let n = this.first.len().min(buf.remaining());
            buf.put_slice(&this.first.filled()[..n]);
            this.first.consume(n);
            if this.first.is_empty() {
                this.first = Buffer::none();
            }
        }
        let received = buf.filled().len() - before;
        let passed = this.watch.meter.borrow_mut().received(&buf.filled()[before..]);
        if passed < received {
            buf.set_filled(before + passed);
            if passed == 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.socket.borrow_mut().poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.socket.borrow_mut().poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.borrow().shutdown_write())
    }
}
