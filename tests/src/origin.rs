//! Origins: a listener whose connections the test scripts by hand, or one that answers by itself and counts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use crate::{Peer, QUIET, Reply, Reserved, tls, within};

/// A listening socket; the test accepts and speaks.
pub struct Origin {
    reserved: Reserved,
    listener: TcpListener,
    accepted: AtomicUsize,
}

impl Origin {
    pub fn bind() -> Self {
        Self::on(Reserved::v4())
    }

    pub fn bind_v6() -> Self {
        Self::on(Reserved::v6())
    }

    /// Listens on a port that was reserved before: until now it refused connections.
    pub fn on(reserved: Reserved) -> Self {
        let listener = reserved.listen();
        Self { reserved, listener, accepted: AtomicUsize::new(0) }
    }

    pub fn addr(&self) -> SocketAddr {
        self.reserved.addr()
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> impl Future<Output = Peer> {
        within("a connection to the origin", self.accept_any())
    }

    /// The next connection, however long it takes.
    pub async fn accept_any(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.expect("accept");
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Peer::tcp(stream, "origin")
    }

    /// How many connections `accept` has given.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Nobody connects for a moment.
    pub async fn expect_quiet(&self) {
        self.expect_quiet_for(QUIET).await;
    }

    /// Nobody connects for `time`.
    pub async fn expect_quiet_for(&self, time: Duration) {
        if let Ok(Ok((_, from))) = tokio::time::timeout(time, self.listener.accept()).await {
            panic!("expected no connection to the origin, got one from {from}");
        }
    }

    /// Stops listening; the port refuses connections from here on.
    pub fn stop(self) -> Reserved {
        self.reserved
    }

    /// Answers every request of every connection with what `answer` says.
    pub fn serve<A: Into<Answer>>(self, answer: impl Fn(&Reply) -> A + Send + Sync + 'static) -> Served {
        self.serve_over(None, answer)
    }

    /// The same over TLS; who does not shake hands is left.
    pub fn serve_tls<A: Into<Answer>>(
        self,
        tls: tls::Server,
        answer: impl Fn(&Reply) -> A + Send + Sync + 'static,
    ) -> Served {
        self.serve_over(Some(tls), answer)
    }

    fn serve_over<A: Into<Answer>>(
        self,
        tls: Option<tls::Server>,
        answer: impl Fn(&Reply) -> A + Send + Sync + 'static,
    ) -> Served {
        let answer = Box::new(move |request: &Reply| answer(request).into());
        let shared = Arc::new(Shared { answer, tls, ..Shared::empty() });
        let task = spawn(self.listener, shared.clone());
        Served { reserved: self.reserved, shared, task: Some(task) }
    }
}

/// What an answering origin does with one request.
pub enum Answer {
    /// These bytes; the connection stays.
    Keep(Vec<u8>),
    /// These bytes, then FIN.
    Close(Vec<u8>),
    /// RST.
    Reset,
    /// Nothing, for ever.
    Hang,
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::Keep(text.into_bytes())
    }
}

impl From<&str> for Answer {
    fn from(text: &str) -> Self {
        Self::Keep(text.as_bytes().to_vec())
    }
}

/// An origin that answers by itself.
pub struct Served {
    reserved: Reserved,
    shared: Arc<Shared>,
    task: Option<AbortHandle>,
}

impl Served {
    /// A 200 with this body for every request.
    pub fn new(body: &'static str) -> Self {
        Origin::bind().serve(move |_| crate::ok(body))
    }

    pub fn addr(&self) -> SocketAddr {
        self.reserved.addr()
    }

    /// The requests so far, over all connections, in order of arrival.
    pub fn requests(&self) -> Vec<Reply> {
        self.shared.state.lock().expect("origin state").requests.clone()
    }

    /// How many requests came so far.
    pub fn hits(&self) -> usize {
        self.shared.state.lock().expect("origin state").requests.len()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.state.lock().expect("origin state").connections
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.shared.state.lock().expect("origin state").open
    }

    /// Waits until `count` requests have come.
    #[track_caller]
    pub fn wait_hits(&self, count: usize) -> impl Future<Output = ()> {
        within(format!("{count} requests"), async move {
            while self.hits() < count {
                self.shared.changed.notified().await;
            }
        })
    }

    /// Dies: connections are cut, the port refuses.
    pub fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Lives again on the same port.
    pub fn start(&mut self) {
        self.stop();
        self.task = Some(spawn(self.reserved.listen(), self.shared.clone()));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Shared {
    answer: Box<dyn Fn(&Reply) -> Answer + Send + Sync>,
    tls: Option<tls::Server>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    requests: Vec<Reply>,
    connections: usize,
    open: usize,
}

impl Shared {
    fn empty() -> Self {
        let answer = Box::new(|_: &Reply| Answer::Hang);
        Self { answer, tls: None, state: Mutex::default(), changed: Notify::new() }
    }
}

fn spawn(listener: TcpListener, shared: Arc<Shared>) -> AbortHandle {
    let accept = async move {
        // Dropping the set, when this task is aborted, cuts all connections.
        let mut connections = JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            connections.spawn(converse(Peer::tcp(stream, "origin"), shared.clone()));
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::spawn(accept).abort_handle()
}

async fn converse(mut peer: Peer, shared: Arc<Shared>) {
    let _open = Open::new(shared.clone());
    if let Some(tls) = &shared.tls {
        match tls.try_accept(peer).await {
            Ok(secured) => peer = secured,
            Err(_) => return,
        }
    }
    while let Some(request) = peer.try_reply().await {
        let answer = (shared.answer)(&request);
        shared.state.lock().expect("origin state").requests.push(request);
        shared.changed.notify_waiters();
        match answer {
            Answer::Keep(bytes) => {
                if peer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Answer::Close(bytes) => {
                // A client that is gone already needs no answer.
                drop(peer.write_all(&bytes).await);
                return;
            }
            Answer::Reset => return peer.reset(),
            Answer::Hang => {
                peer.rest().await;
                return;
            }
        }
    }
}

/// Counts a connection while it lives, however its task ends.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        let mut state = shared.state.lock().expect("origin state");
        state.connections += 1;
        state.open += 1;
        drop(state);
        shared.changed.notify_waiters();
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.state.lock().expect("origin state").open -= 1;
        self.0.changed.notify_waiters();
    }
}
