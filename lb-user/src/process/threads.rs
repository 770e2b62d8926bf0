//! Worker threads: each a single-threaded runtime with its own listeners, sessions and pools.

use std::io;
use std::os::fd::OwnedFd;

use rustix::thread::{CpuSet, sched_setaffinity};
use sockeye_accel::WorkerLoad;
use sockeye_conn::{BufferLimits, clock};
use sockeye_sys::{process as sys, readiness};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::backend::pool;
use crate::frontend::listener::Listener;
use crate::frontend::worker::{self, Command};
use crate::frontend::{Frontend, accept};

/// Orders that may wait for a worker. The control thread waits when a worker is this far behind.
const ORDERS_MAX: usize = 64;

/// One socket that a worker accepts from.
#[derive(Debug)]
pub struct Share {
    pub frontend: &'static Frontend,
    pub listener: &'static Listener,
    pub socket: OwnedFd,
}

/// What the control thread says to a worker.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// Stop accepting; end when the last session has.
    SoftStop,
    Do(Command),
}

/// What a worker tells the control thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// After [`Order::SoftStop`]: it has closed its listening sockets.
    Closed,
    Ended,
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    pub orders: mpsc::Sender<Order>,
    pub thread: std::thread::JoinHandle<()>,
}

/// What steering asks of a worker.
#[derive(Debug, Default)]
pub struct Steered {
    /// Where it says how much it has to do.
    pub load: Option<WorkerLoad>,
    /// The CPU that it stays on.
    pub cpu: Option<usize>,
}

impl Steered {
    /// For the calling thread from now on.
    fn apply(self) {
        if let Some(cpu) = self.cpu.filter(|cpu| *cpu < CpuSet::MAX_CPU) {
            let mut set = CpuSet::new();
            set.set(cpu);
            // A refusal makes the choice of the worker a worse one, not a wrong one.
            let _ = sched_setaffinity(None, &set);
        }
        if let Some(load) = self.load {
            worker::set_load(load);
        }
    }
}

/// A runtime for one thread, as workers and the control thread use it.
pub fn runtime() -> io::Result<LocalRuntime> {
    builder().on_thread_park(clock::expire).build_local(LocalOptions::default())
}

fn builder() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    builder
}

/// A runtime of a worker that says when it works and when it rests.
fn telling_runtime() -> io::Result<LocalRuntime> {
    let rest = || {
        clock::expire();
        worker::tell_load(WorkerLoad::rests);
    };
    builder()
        .on_thread_park(rest)
        .on_thread_unpark(|| worker::tell_load(WorkerLoad::works))
        .build_local(LocalOptions::default())
}

/// Starts worker `number` (0-based), which tells `reports` what becomes of it.
pub fn start(
    number: usize,
    shares: Vec<Share>,
    buffers: BufferLimits,
    steered: Steered,
    reports: mpsc::UnboundedSender<Report>,
) -> io::Result<Worker> {
    let (orders, inbox) = mpsc::channel(ORDERS_MAX);
    let closed = reports.clone();
    let runtime_ready = move || -> io::Result<()> {
        sys::drop_kept()?;
        let runtime = if steered.load.is_some() { telling_runtime()? } else { runtime()? };
        steered.apply();
        buffers.apply();
        worker::set_index(number);
        runtime.block_on(work(shares, inbox, closed));
        Ok(())
    };
    let thread = std::thread::Builder::new().name(format!("worker-{}", number + 1)).spawn(move || {
        // The thread's report is its end: without a runtime it ends at once and the process stops.
        let _ = runtime_ready();
        let _ = reports.send(Report::Ended);
    })?;
    Ok(Worker { orders, thread })
}

async fn work(shares: Vec<Share>, mut inbox: mpsc::Receiver<Order>, reports: mpsc::UnboundedSender<Report>) {
    let mut accepting: Vec<JoinHandle<()>> = shares
        .into_iter()
        .filter_map(|share| {
            let socket = readiness::watch(share.socket).ok()?;
            let task = accept::serve(share.frontend, share.listener, socket);
            Some(spawn_local(task))
        })
        .collect();
    let mut sweep = interval(pool::SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = false;
    loop {
        tokio::select! {
            order = inbox.recv() => match order {
                Some(Order::SoftStop) => {
                    for task in accepting.drain(..) {
                        task.abort();
                        // Once it has ended its socket is closed.
                        let _ = task.await;
                    }
                    let _ = reports.send(Report::Closed);
                    stopping = true;
                    worker::obey(Command::WakeAll);
                }
                Some(Order::Do(command)) => worker::obey(command),
                None => return,
            },
            _ = sweep.tick() => {
                pool::sweep(Instant::now());
                worker::tell_load(WorkerLoad::forget);
            }
            () = worker::none_left(), if stopping => return,
        }
    }
}
