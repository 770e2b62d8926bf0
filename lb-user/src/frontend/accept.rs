//! The accept loop: one per listening socket and worker.
//!
//! A connection is taken only once there is room for it at every level; until then it waits in the kernel's
//! backlog. Each one taken becomes a session with a task of its own.

use std::cell::OnceCell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use sockeye_accel::WorkerLoad;
use sockeye_config::model::{BindAddress, Level, Mode};
use sockeye_conn::{Peer, Socket};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::Frontend;
use super::fault::Fault;
use super::gate;
use super::limit::Admission;
use super::listener::Listener;
use super::proxy_header::ProxyHeader;
use super::session::Session;
use super::{tls, worker};
use crate::backend::pool;
use crate::stats::PROCESS;

/// How long a loop rests when the process is out of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Accepts on `socket` until its task is aborted.
pub async fn serve(frontend: &'static Frontend, listener: &'static Listener, socket: AsyncFd<OwnedFd>) {
    let mut taken = 0;
    let tls_limit = listener.acceptor().and_then(|_| tls::limit());
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        let limits = [frontend.process, frontend.limit, &listener.limit];
        let admission = Admission::wait(limits, tls_limit).await;
        match accept(socket.get_ref()) {
            Ok((fd, peer)) => {
                worker::tell_load(WorkerLoad::accepted);
                if let Some((fd, peer)) = gate::enter(fd, peer) {
                    PROCESS.accepted.count();
                    frontend.accepted.count();
                    frontend.connection_rate.count(std::time::Instant::now());
                    match adopt(frontend, listener, fd, peer) {
                        Ok(session) => {
                            tokio::task::spawn_local(session.run(admission));
                        }
                        Err(error) => {
                            frontend
                                .logger
                                .event(Level::Alert, &format!("Proxy {}: {error}", frontend.name()));
                        }
                    }
                }
                taken += 1;
                if taken >= frontend.tune.maxaccept {
                    taken = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) => match Trouble::of(&error) {
                Trouble::Empty => {
                    taken = 0;
                    ready.clear_ready();
                }
                Trouble::Transient => {}
                Trouble::Exhausted => {
                    let text = format!(
                        "Proxy {} reached system resource limits ({error}). Please check the open files limit.",
                        frontend.name()
                    );
                    frontend.logger.event(Level::Emerg, &text);
                    drop(admission);
                    pool::clear(None);
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            },
        }
    }
}

/// What a failed accept means.
enum Trouble {
    /// Nothing left to accept.
    Empty,
    /// One connection went away before it was taken; the next may be fine.
    Transient,
    /// No descriptors or memory.
    Exhausted,
}

impl Trouble {
    fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Self::Empty,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Self::Exhausted,
            _ => Self::Transient,
        }
    }
}

fn accept(listening: &OwnedFd) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    Ok(acceptfrom_with(listening, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?)
}

fn adopt(
    frontend: &'static Frontend,
    listener: &'static Listener,
    fd: OwnedFd,
    peer: Option<SocketAddrAny>,
) -> io::Result<Box<Session>> {
    let inet = peer.and_then(|addr| std::net::SocketAddr::try_from(addr).ok());
    let (socket, peer) = match inet {
        Some(addr) => (Socket::from_tcp(fd)?, Peer::from(addr)),
        None => (Socket::from_unix(fd)?, Peer::Unix),
    };
    if frontend.cfg.options.nolinger {
        socket.reset_on_close();
    }
    if matches!(listener.cfg.address, BindAddress::Fd(_)) && frontend.cfg.mode == Mode::Http {
        // Listeners of ours have the option already and pass it on; an inherited one may not.
        socket.set_nodelay(true);
    }
    let now = Instant::now();
    Ok(Box::new(Session {
        frontend,
        listener,
        client: socket,
        peer,
        accept_date: SystemTime::now(),
        accepted_at: now,
        idle_since: now,
        handshake: Duration::ZERO,
        requests: 0,
        private: None,
        last_server: None,
        variables: Rc::default(),
        wanted: None,
        local: OnceCell::new(),
        upgraded: false,
        arrived: (peer, None),
        proxy: ProxyHeader::expected_on(listener.cfg),
        tls: None,
        fault: Fault::NONE,
        private_header: None,
        private_ends: None,
    }))
}
