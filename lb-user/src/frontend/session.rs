//! A session: one client connection and the facts that outlive its streams.

use std::cell::{OnceCell, RefCell};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use sockeye_config::model::{Mode, Proto, ServerId};
use sockeye_conn::{Buffer, Peer, Socket, clock};
use sockeye_rules::SilentDrop;
use sockeye_sample::Variables;
use tokio::time::Instant;

use super::Frontend;
use super::fault::Fault;
use super::h2;
use super::limit::Admission;
use super::listener::Listener;
use super::proxy_header::{self, ProxyHeader};
use super::tls::{self, ClientTls};
use super::worker::{Control, Registration};
use crate::backend::pool::Idle;
use crate::stream;

/// How long, and for how many bytes, a closing connection is read so that its reply is not lost to a reset.
pub const LINGER_LIMIT: Duration = Duration::from_secs(2);
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;

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
    /// The end of the handshakes, or of the last request: what idle times count from.
    pub idle_since: Instant,
    /// What the handshakes took, PROXY headers included (Th); zero for the requests after the first.
    pub handshake: Duration,
    /// Requests begun on it.
    pub requests: u32,
    /// The server connection that only this session may use again: `http-reuse never`, an address that follows the
    /// client, an authenticated connection.
    pub private: Option<(ServerId, Idle)>,
    /// The server of its last request (`option prefer-last-server`).
    pub last_server: Option<ServerId>,
    /// Variables of the scope `sess`.
    pub variables: Rc<RefCell<Variables>>,
    /// Where the client wanted to go, if rules say otherwise (`set-dst`).
    pub wanted: Option<SocketAddr>,
    /// [`local_addr`](Self::local_addr), once somebody asked.
    pub local: OnceCell<Option<SocketAddr>>,
    /// A rule made the connection an HTTP one.
    pub upgraded: bool,
    /// Client and wanted address as they are for every stream that begins: `set-src` in a stream is for it alone.
    pub arrived: (Peer, Option<SocketAddr>),
    /// The header of a proxy in front, expected or received.
    pub proxy: ProxyHeader,
    /// TLS with the client; the streams of a connection share it.
    pub tls: Option<Rc<ClientTls>>,
    /// What ended the connection before it had a stream.
    pub fault: Fault,
    /// The PROXY header with which the newest connection to a server began, which then is this session's alone.
    pub private_header: Option<Box<[u8]>>,
    /// The client and the wanted address that the connection opened last was opened for.
    pub private_ends: Option<(Peer, Option<SocketAddr>)>,
}

impl Session {
    /// Runs the session to its end. `admission` counts it among the connections for as long.
    pub async fn run(mut self: Box<Self>, admission: Admission) {
        let registration = Registration::new().await;
        let control = &*registration.control;
        if self.frontend.ruled && !stream::rules::tcp::admit_connection(&mut self) {
            return;
        }
        if self.proxy.is_expected() {
            match Box::pin(proxy_header::receive(&mut self, control)).await {
                Some(Ok(())) => {}
                Some(Err(fault)) => return self.fail(fault),
                None => return,
            }
        }
        if let Some(acceptor) = self.listener.acceptor() {
            match Box::pin(tls::shake(&mut self, acceptor, control)).await {
                Some(Ok(())) => {}
                Some(Err(fault)) => {
                    self.fail(fault);
                    return Box::pin(self.linger()).await;
                }
                None => return,
            }
        }
        if self.proxy.is_seen() || self.tls.is_some() {
            self.idle_since = clock::now();
            self.handshake = self.idle_since.duration_since(self.accepted_at);
        }
        if self.frontend.ruled && !stream::rules::tcp::admit_session(&mut self) {
            if self.proxy.is_seen() || self.tls.is_some() {
                // HAProxy logs what it refuses after a handshake, in these words.
                self.fail(Fault::NONE);
            }
            return;
        }
        match self.frontend.cfg.mode {
            // No listener accepts for a packet frontend.
            Mode::Packet => {}
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
            Mode::Http if self.speaks_http2() => {
                Box::pin(h2::serve(self, control, Buffer::none())).await;
            }
            Mode::Http => {
                let preface = {
                    let mut streaming =
                        std::pin::pin!(stream::http::serve(&mut self, control, Buffer::none()));
                    std::future::poll_fn(|cx| {
                        unless_killed(control, clock::hold(|| streaming.as_mut().poll(cx)))
                    })
                    .await
                };
                if let Some(preface) = preface {
                    Box::pin(h2::serve(self, control, preface)).await;
                }
            }
        }
        drop(registration);
        drop(admission);
    }

    /// Ends before there was a stream: `fault` is logged.
    fn fail(&mut self, fault: Fault) {
        self.fault = fault;
        stream::log::connection_error(self);
    }

    /// A session for one stream of this connection, which is `client` to the code that serves it.
    pub fn stream(&self, client: Socket) -> Box<Self> {
        let now = clock::now();
        Box::new(Self {
            frontend: self.frontend,
            listener: self.listener,
            client,
            peer: self.arrived.0,
            accept_date: SystemTime::now(),
            accepted_at: now,
            idle_since: now,
            handshake: Duration::ZERO,
            // No stream is the first request of a connection: a server's connection that serves one has proved itself
            // as much as it can.
            requests: 1,
            private: None,
            last_server: None,
            variables: Rc::clone(&self.variables),
            wanted: self.arrived.1,
            local: self.local.clone(),
            upgraded: self.upgraded,
            arrived: self.arrived,
            proxy: self.proxy.clone(),
            tls: self.tls.clone(),
            fault: Fault::NONE,
            private_header: None,
            private_ends: None,
        })
    }

    /// Whether the client speaks HTTP/2 from its first byte, rather than possibly.
    fn speaks_http2(&self) -> bool {
        match self.listener.cfg.proto {
            Some(proto) => proto == Proto::H2,
            None => self.tls.as_ref().and_then(|tls| tls.alpn()) == Some(b"h2"),
        }
    }

    /// Whether it is a stream of a connection that has several, rather than a connection.
    pub fn is_stream(&self) -> bool {
        matches!(self.client, Socket::Pipe(_))
    }

    /// What it speaks: its frontend's mode, or HTTP if a rule said so.
    pub fn mode(&self) -> Mode {
        if self.upgraded { Mode::Http } else { self.frontend.cfg.mode }
    }

    /// `silent-drop`: the connection goes without the client being told, or with a reset that does not reach it.
    pub fn silent_drop(&self, how: SilentDrop) {
        self.client.drop_silently(how.rst_ttl);
    }

    /// Sends our end and waits, within limits, for the client's: closing with unread bytes would reset the connection and
    /// could destroy the reply or the alert on its way (RFC 9112 §9.6).
    pub async fn linger(&mut self) {
        if self.frontend.cfg.options.nolinger || self.client.shutdown_write().is_err() {
            return;
        }
        let draining = async {
            let mut buffer = Buffer::take();
            let mut drained = 0;
            while drained < LINGER_BYTES_MAX {
                buffer.clear();
                match std::future::poll_fn(|cx| self.client.poll_read(cx, buffer.space())).await {
                    Ok(n) if n > 0 => drained += n,
                    _ => break,
                }
            }
        };
        // Past the limit the connection is closed as it is.
        let _ = tokio::time::timeout(LINGER_LIMIT, draining).await;
    }

    /// The address the client connected to. With `transparent` binds and redirected connections it is not the
    /// listener's.
    pub fn destination(&self) -> Option<SocketAddr> {
        if self.wanted.is_some() {
            return self.wanted;
        }
        self.local_addr()
    }

    /// Which listening address of its frontend the client connected to, from 1.
    pub fn listener_number(&self) -> u32 {
        self.listener.number_at(|| self.local_addr())
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
