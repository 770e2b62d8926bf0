//! What may still wake the task of a direction that the kernel forwards: the end of the source, and for one
//! task at a time the ring buffer of gated flows.
//!
//! A packet that is redirected signals its socket like any other. Waiting for readability as usual, every one of
//! them would wake this thread for nothing; so the socket is quiet meanwhile and an epoll of our own asks for
//! the peer's end alone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const SOURCE: u64 = 0;
const GATES: u64 = 1;

/// An epoll that this thread's runtime watches.
#[derive(Debug)]
pub(crate) struct Watch {
    epoll: AsyncFd<OwnedFd>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    /// The source has ended or failed.
    pub(crate) end: bool,
    /// Flows were gated, of which this one need not be one.
    pub(crate) gates: bool,
}

impl Watch {
    /// Waits for the end of `source`.
    #[expect(deprecated, reason = "an OwnedFd keeps the promise for which the new constructor is unsafe")]
    pub(crate) fn new(source: impl AsFd) -> io::Result<Self> {
        let fd = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&fd, source, EventData::new_u64(SOURCE), EventFlags::RDHUP | EventFlags::ET)?;
        Ok(Self { epoll: AsyncFd::with_interest(fd, Interest::READABLE)? })
    }

    /// Waits for the ring buffer too.
    pub(crate) fn add_gates(&self, events: impl AsFd) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(self.epoll.get_ref(), events, EventData::new_u64(GATES), flags)?)
    }

    /// Ready when something happened since the last time; registers the task otherwise.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<Seen>> {
        loop {
            let mut guard = ready!(self.epoll.poll_read_ready(cx))?;
            let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 2];
            let now = Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 });
            let n = epoll::wait(self.epoll.get_ref(), &mut events[..], now)?;
            guard.clear_ready();
            let mut seen = Seen::default();
            for event in &events[..n] {
                match event.data.u64() {
                    SOURCE => seen.end = true,
                    _ => seen.gates = true,
                }
            }
            if n > 0 {
                return Poll::Ready(Ok(seen));
            }
        }
    }
}
