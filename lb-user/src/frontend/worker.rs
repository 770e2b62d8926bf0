//! What the sessions of one worker thread share: who they are, and how they are told to end.
//!
//! A session registers once. Waking it costs nothing per request: its task's waker is kept from its first poll,
//! and it looks at its [`Control`] whenever it is polled.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use slab::Slab;
use sockeye_accel::WorkerLoad;
use sockeye_config::model::ServerId;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::backend::pool;
use crate::stream::abort::Cause;

thread_local! {
    static SESSIONS: RefCell<Slab<Rc<Control>>> = const { RefCell::new(Slab::new()) };
    /// Number of the thread, from 0.
    static INDEX: Cell<usize> = const { Cell::new(0) };
    /// Where the thread says how much it has to do, when new connections are steered by that.
    static LOAD: OnceCell<WorkerLoad> = const { OnceCell::new() };
    /// Told during a soft stop when the last session has ended.
    static EMPTY: Rc<Notify> = Rc::new(Notify::new());
}

/// Set by a soft stop: idle connections close, the others after their response.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Since when, and over how long idle connections close.
static STOPPED: OnceLock<(Instant, Duration)> = OnceLock::new();

/// Says which worker the calling thread is.
pub fn set_index(index: usize) {
    INDEX.set(index);
}

/// Which worker the calling thread is, from 0.
pub fn index() -> usize {
    INDEX.get()
}

/// New connections are steered by what the calling thread says here.
pub fn set_load(load: WorkerLoad) {
    // Called once, when the thread starts.
    let _ = LOAD.with(|cell| cell.set(load));
}

/// Says something about the calling thread's load, if that counts.
pub fn tell_load(tell: impl FnOnce(&WorkerLoad)) {
    // While the thread ends the place may be gone already.
    let _ = LOAD.try_with(|load| load.get().map(tell));
}

/// Whether the process is in a soft stop.
pub fn is_stopping() -> bool {
    STOPPING.load(Ordering::Relaxed)
}

/// When the calling idle connection should close because of a soft stop: at once, or, with `close-spread-time`,
/// somewhere between the stop and the end of that time.
pub fn idle_until() -> Option<Instant> {
    let (since, spread) = *STOPPED.get()?;
    let share = spread.mul_f64(fastrand::f64());
    Some(since + share)
}

/// Enters the soft stop; the workers are then told with [`Command::WakeAll`].
pub fn begin_stopping(close_spread: Option<Duration>) {
    // A second stop changes nothing.
    let _ = STOPPED.set((Instant::now(), close_spread.unwrap_or_default()));
    STOPPING.store(true, Ordering::Relaxed);
}

/// What the control thread tells a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Look at [`is_stopping`] again.
    WakeAll,
    /// End every session at once.
    KillAll,
    /// End the sessions that use this server, for this cause (`on-marked-down`, `on-marked-up`).
    KillServer(ServerId, Cause),
    /// Close the idle connections to this server.
    ClearPool(ServerId),
}

/// What a session can be told from outside.
#[derive(Debug, Default)]
pub struct Control {
    waker: RefCell<Option<Waker>>,
    killed: Cell<Option<Cause>>,
    /// The server it uses now.
    pub server: Cell<Option<ServerId>>,
}

impl Control {
    /// Whether the session must end now.
    pub fn is_killed(&self) -> bool {
        self.killed.get().is_some()
    }

    /// Why it must.
    pub fn cause(&self) -> Cause {
        self.killed.get().unwrap_or(Cause::Killed)
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

/// A session's entry; dropping it removes the entry.
#[derive(Debug)]
pub struct Registration {
    key: usize,
    pub control: Rc<Control>,
}

impl Registration {
    /// Enters the session that runs in the current task.
    pub async fn new() -> Self {
        let control = Rc::new(Control::default());
        let waker = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())).await;
        *control.waker.borrow_mut() = Some(waker);
        let (key, count) =
            SESSIONS.with_borrow_mut(|sessions| (sessions.insert(Rc::clone(&control)), sessions.len()));
        tell_load(|load| load.set_sessions(count));
        Self { key, control }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // While the thread ends the list may be gone already.
        let left = SESSIONS.try_with(|sessions| {
            let mut sessions = sessions.borrow_mut();
            sessions.try_remove(self.key);
            sessions.len()
        });
        tell_load(|load| load.set_sessions(left.unwrap_or_default()));
        if is_stopping() && left == Ok(0) {
            let _ = EMPTY.try_with(|empty| empty.notify_waiters());
        }
    }
}

/// Sessions of the calling thread.
pub fn sessions() -> usize {
    SESSIONS.with_borrow(Slab::len)
}

/// Waits, during a soft stop, until the calling thread has no session left.
pub async fn none_left() {
    let notify = EMPTY.with(Rc::clone);
    let left = notify.notified();
    tokio::pin!(left);
    left.as_mut().enable();
    if sessions() > 0 {
        left.await;
    }
}

/// Carries out a command on the calling thread's sessions.
pub fn obey(command: Command) {
    SESSIONS.with_borrow(|sessions| {
        for (_, control) in sessions {
            match command {
                Command::WakeAll => {}
                Command::KillAll => control.killed.set(Some(Cause::Killed)),
                Command::KillServer(id, cause) if control.server.get() == Some(id) => {
                    control.killed.set(Some(cause));
                }
                Command::KillServer(..) | Command::ClearPool(_) => continue,
            }
            control.wake();
        }
    });
    match command {
        Command::WakeAll | Command::KillAll => pool::clear(None),
        Command::KillServer(id, _) | Command::ClearPool(id) => pool::clear(Some(id)),
    }
}
