//! A session: one client connection and the facts that outlive its streams.

use std::cell::{OnceCell, RefCell};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::task::Poll;
use std::time::SystemTime;

use sockeye_config::model::{Mode, ServerId};
use sockeye_conn::{Buffer, Peer, Socket, clock};
use sockeye_rules::SilentDrop;
use sockeye_sample::Variables;
use tokio::time::Instant;

use super::Frontend;
use super::limit::Admission;
use super::listener::Listener;
use super::worker::{Control, Registration};
use crate::backend::pool::Idle;
use crate::stream;

/// One client connection.
#[derive(Debug)]
pub struct Session {
    pub frontend: &'static Frontend,
    pub listener: &'static Listener,
    pub client: Socket,
    pub peer: Peer,
    /// Wall clock at accept, for the log's date.
    pub accept_date: SystemTime,
    pub accepted_at: Instant,
    /// Accept, or the end of the last request: what idle and total times count from.
    pub idle_since: Instant,
    /// Requests begun on it.
    pub requests: u32,
    /// The server connection that only this session may use again: `http-reuse never`, an address that follows the
    /// client, an authenticated connection.
    pub private: Option<(ServerId, Idle)>,
    /// The server of its last request (`option prefer-last-server`).
    pub last_server: Option<ServerId>,
    /// Variables of the scope `sess`.
    pub variables: RefCell<Variables>,
    /// Where the client wanted to go, if rules say otherwise (`set-dst`).
    pub wanted: Option<SocketAddr>,
    /// [`local_addr`](Self::local_addr), once somebody asked.
    pub local: OnceCell<Option<SocketAddr>>,
    /// A rule made the connection an HTTP one.
    pub upgraded: bool,
    /// Client and wanted address as they are for every stream that begins: `set-src` in a stream is for it alone.
    pub arrived: (Peer, Option<SocketAddr>),
}

impl Session {
    /// Runs the session to its end. `admission` counts it among the connections for as long.
    pub async fn run(mut self: Box<Self>, admission: Admission) {
        let registration = Registration::new().await;
        let control = &*registration.control;
        if self.frontend.ruled && !stream::rules::tcp::admit(&mut self) {
            return;
        }
        match self.frontend.cfg.mode {
            Mode::Tcp => {
                let mut streaming = Box::pin(stream::tcp::serve(self, control));
                let switched = std::future::poll_fn(|cx| {
                    unless_killed(control, clock::hold(|| streaming.as_mut().poll(cx)))
                })
                .await;
                if let Some((mut session, input)) = switched {
                    session.upgraded = true;
                    let mut streaming = Box::pin(stream::http::serve(&mut session, control, input));
                    std::future::poll_fn(|cx| {
                        unless_killed(control, clock::hold(|| streaming.as_mut().poll(cx)))
                    })
                    .await;
                }
            }
            Mode::Http => {
                let mut streaming = std::pin::pin!(stream::http::serve(&mut self, control, Buffer::none()));
                std::future::poll_fn(|cx| {
                    unless_killed(control, clock::hold(|| streaming.as_mut().poll(cx)))
                })
                .await;
            }
        }
        drop(registration);
        drop(admission);
    }

    /// What it speaks: its frontend's mode, or HTTP if a rule said so.
    pub fn mode(&self) -> Mode {
        if self.upgraded { Mode::Http } else { self.frontend.cfg.mode }
    }

    /// `silent-drop`: the connection goes without the client being told, or with a reset that does not reach it.
    pub fn silent_drop(&self, how: SilentDrop) {
        self.client.drop_silently(how.rst_ttl);
    }

    /// The address the client connected to. With `transparent` binds and redirected connections it is not the
    /// listener's.
    pub fn destination(&self) -> Option<SocketAddr> {
        if self.wanted.is_some() {
            return self.wanted;
        }
        self.local_addr()
    }

    /// Our end of the client's connection. The kernel is asked once: it does not change.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        *self.local.get_or_init(|| {
            let addr = rustix::net::getsockname(self.client.as_fd()).ok()?;
            SocketAddr::try_from(addr).ok()
        })
    }
}

/// A session that was told to end had its chance in the poll that just returned, to log and to answer; if it still
/// waits for something, it waits no longer.
fn unless_killed<T: Default>(control: &Control, polled: Poll<T>) -> Poll<T> {
    if polled.is_pending() && control.is_killed() { Poll::Ready(T::default()) } else { polled }
}
