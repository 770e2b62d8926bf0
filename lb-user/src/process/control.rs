//! The main thread once the workers serve: signals, health checks, the end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use sockeye_accel::Accel;
use sockeye_config::model::Level;
use sockeye_syntax::diag::Severity;
use sockeye_sys::process as sys;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::boot::Options;
use super::logs::Logs;
use super::objects::Objects;
use super::run;
use super::threads::{self, Order, Report, Worker};
use crate::backend::{Backend, State};
use crate::frontend::worker::{self, Command};
use crate::health;
use crate::packet::shield::Shield;
use crate::packet::{Plane, life};
use crate::services::ocsp::Updates;

/// How long a soft stop waits for the workers to close their listening sockets before it says so.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// What the main thread owns.
#[derive(Debug)]
pub struct Control<'a> {
    pub objects: &'static Objects,
    pub options: &'a Options,
    pub workers: Vec<Worker>,
    pub reports: mpsc::UnboundedReceiver<Report>,
    pub logs: Logs,
    pub accel: Accel,
    /// `ocsp-update on`.
    pub updates: Option<Updates>,
    /// `mode packet`.
    pub plane: Option<Plane>,
    /// `ebpf.shield`.
    pub shield: Option<Shield>,
}

/// The signals that mean something (manual, management guide 4).
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    soft_stop: Signal,
    dump: Signal,
    /// Accepted without effect in a process without a master, so that scripts that send them do not kill it.
    _ignored: [Signal; 4],
}

impl Signals {
    fn new() -> Result<Self> {
        let on = |kind: SignalKind| signal(kind).context("cannot handle a signal");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            soft_stop: on(SignalKind::user_defined1())?,
            dump: on(SignalKind::hangup())?,
            _ignored: [
                on(SignalKind::user_defined2())?,
                on(SignalKind::pipe())?,
                on(SignalKind::quit())?,
                on(SignalKind::alarm())?,
            ],
        })
    }
}

impl Control<'_> {
    /// Runs until every worker has ended; the result is the exit status.
    pub fn run(self) -> Result<u8> {
        let runtime = threads::runtime().context("cannot create the control runtime")?;
        let status = runtime.block_on(self.serve());
        // Name look-ups that still run must not hold the end up.
        runtime.shutdown_background();
        status
    }

    async fn serve(mut self) -> Result<u8> {
        let mut signals = Signals::new()?;
        sys::release_signals();
        health::start(self.objects, self.orders());
        let updates = self.updates.take().map(|updates| spawn_local(updates.run()));
        if let Some(shield) = &self.shield {
            spawn_local(shield.clone().expire());
        }
        if let Some(lines) = self.plane.as_mut().and_then(Plane::take_lines) {
            let logger = self.logs.logger(&self.objects.config.global.log, None);
            spawn_local(life::debug(lines, logger.context("cannot open a log target")?));
        }
        let plane = self.plane.take().map(|plane| Rc::new(RefCell::new(plane)));
        if let Some(plane) = &plane {
            spawn_local(life::keep(Rc::clone(plane)));
        }
        // `grace`: how long a soft stop keeps accepting; a second signal ends it.
        let mut grace_until: Option<Instant> = None;
        let mut stop_at: Option<Instant> = None;
        let mut hard_stop_at: Option<Instant> = None;
        let mut give_up_at: Option<Instant> = None;
        // A soft stop: when the flows of `mode packet` are looked at next.
        let mut quiet_at: Option<Instant> = None;
        let mut running = self.workers.len();
        while running > 0 || quiet_at.is_some() {
            tokio::select! {
                _ = signals.terminate.recv() => self.die(15, plane.as_ref()),
                _ = signals.interrupt.recv() => self.die(2, plane.as_ref()),
                _ = signals.soft_stop.recv() => {
                    if let Some(grace) = self.objects.config.global.grace.filter(|_| grace_until.is_none()) {
                        grace_until = Some(Instant::now() + grace);
                        stop_at = grace_until;
                    } else {
                        stop_at = Some(Instant::now());
                    }
                }
                () = until(stop_at) => {
                    stop_at = None;
                    if !worker::is_stopping() {
                        if let Some(updates) = &updates {
                            updates.abort();
                        }
                        worker::begin_stopping(self.objects.config.global.close_spread_time);
                        if let Some(plane) = &plane {
                            let mut plane = plane.borrow_mut();
                            plane.stop_taking();
                            // What a successor has taken over is not ours to wait for.
                            let waits = plane.forwards() && !plane.is_superseded();
                            quiet_at = waits.then(|| Instant::now() + life::QUIET_TIME);
                        }
                        hard_stop_at = self.objects.config.global.hard_stop_after.map(|limit| Instant::now() + limit);
                        self.order(Order::SoftStop).await;
                        running -= self.wait_until_closed().await;
                        self.say_stopped(plane.as_ref());
                    }
                }
                () = until(quiet_at) => {
                    let quiet = plane.as_ref().is_none_or(|plane| plane.borrow_mut().is_quiet());
                    quiet_at = (!quiet).then(|| Instant::now() + life::QUIET_TIME);
                }
                _ = signals.dump.recv() => {
                    refresh(plane.as_ref());
                    self.dump_states();
                }
                () = until(hard_stop_at) => {
                    hard_stop_at = None;
                    run::say(Severity::Warning, "soft-stop running for too long, performing a hard-stop.");
                    self.order(Order::Do(Command::KillAll)).await;
                    quiet_at = None;
                    give_up_at = Some(Instant::now() + RESISTANCE_LIMIT);
                }
                () = until(give_up_at) => {
                    run::say(Severity::Warning, "some tasks resisted to hard-stop, exiting now.");
                    break;
                }
                report = self.reports.recv(), if running > 0 => match report {
                    Some(Report::Ended) => running -= 1,
                    Some(Report::Closed) => {}
                    // Flows of `mode packet` may still be waited for.
                    None => running = 0,
                },
            }
        }
        self.summarize(plane.as_ref());
        if let Some(plane) = &plane {
            plane.borrow_mut().withdraw();
        }
        Ok(0)
    }

    fn orders(&self) -> Vec<mpsc::Sender<Order>> {
        self.workers.iter().map(|worker| worker.orders.clone()).collect()
    }

    async fn order(&self, order: Order) {
        for worker in &self.workers {
            // A worker that has ended needs no order.
            let _ = worker.orders.send(order).await;
        }
    }

    /// Waits until no worker accepts any more, so that what is said next is true. Returns how many ended meanwhile.
    async fn wait_until_closed(&mut self) -> usize {
        let (mut closed, mut ended) = (0, 0);
        let all = self.workers.len();
        let waiting = async {
            while closed < all {
                match self.reports.recv().await {
                    Some(Report::Closed) => closed += 1,
                    Some(Report::Ended) => ended += 1,
                    None => break,
                }
            }
        };
        // A worker that is busy for so long closes them later.
        let _ = tokio::time::timeout(CLOSE_LIMIT, waiting).await;
        ended
    }

    /// The hard stop: everything ends here and now, and the exit status tells the signal.
    fn die(&self, signal: i32, plane: Option<&Rc<RefCell<Plane>>>) -> ! {
        self.summarize(plane);
        if let Some(plane) = plane {
            plane.borrow_mut().withdraw();
        }
        sys::die_by_signal(signal)
    }

    /// What `-d` promises at the end of the run.
    fn summarize(&self, plane: Option<&Rc<RefCell<Plane>>>) {
        if self.options.debug {
            for line in self.shield.iter().flat_map(Shield::summary) {
                run::print(&format!("{line}\n"));
            }
            if let Some(summary) = plane.and_then(|plane| plane.borrow().summary()) {
                run::print(&format!("{summary}\n"));
            }
            if let Some(Ok(exits)) = self.accel.sockmap().map(|sockmap| sockmap.counters()) {
                let exits: Vec<String> =
                    exits.iter().map(|(name, count)| format!("{name} {count}")).collect();
                run::print(&format!("sockmap: {}\n", exits.join(", ")));
            }
            run::print(&format!(
                "relay: {}\nlog: {} lines dropped\n",
                sockeye_relay::counters(),
                self.logs.dropped()
            ));
        }
    }

    fn say_stopped(&self, plane: Option<&Rc<RefCell<Plane>>>) {
        refresh(plane);
        for frontend in &self.objects.frontends {
            let text = format!(
                "Proxy {} stopped (cumulated conns: FE: {}, BE: {}).",
                frontend.name(),
                frontend.accepted.now(),
                frontend.backend.filter(|_| frontend.backend_is_own()).map_or(0, Backend::total_streams)
            );
            self.warn(&frontend.logger, Level::Warning, &text);
        }
        for backend in self.objects.backends.iter().filter(|backend| !backend.is_listen()) {
            let text = format!(
                "Proxy {} stopped (cumulated conns: FE: 0, BE: {}).",
                backend.name(),
                backend.total_streams()
            );
            self.warn(&backend.logger, Level::Warning, &text);
        }
    }

    /// SIGHUP: the state of every server and proxy, to the log and to standard error.
    fn dump_states(&self) {
        run::say(Severity::Warning, "SIGHUP received, dumping servers states.");
        if let (Some(shield), Some(frontend)) = (&self.shield, self.objects.frontends.first()) {
            for line in shield.summary() {
                self.warn(&frontend.logger, Level::Notice, &format!("SIGHUP: {line}"));
            }
        }
        for frontend in &self.objects.frontends {
            if frontend.backend_is_own() {
                continue;
            }
            let name = frontend.name();
            let intro = format!("SIGHUP received, dumping servers states for proxy {name}.");
            frontend.logger.event(Level::Notice, &intro);
            let text = format!(
                "SIGHUP: Proxy {name} has no servers. Conn: act(FE+BE): {}+0, 0 pend (0 unass), tot(FE+BE): {}+0.",
                frontend.limit.connections.now(),
                frontend.accepted.now()
            );
            self.warn(&frontend.logger, Level::Notice, &text);
        }
        for backend in &self.objects.backends {
            self.dump_backend(backend);
        }
    }

    fn dump_backend(&self, backend: &Backend) {
        let name = backend.name();
        let intro = format!("SIGHUP received, dumping servers states for proxy {name}.");
        backend.logger.event(Level::Notice, &intro);
        for server in &backend.servers {
            let state = if server.state() == State::Up { "UP" } else { "DOWN" };
            let text = format!(
                "SIGHUP: Server {name}/{} is {state}. Conn: {} act, {} pend, {} tot.",
                server.name(),
                server.served.now(),
                server.queued.now(),
                server.streams.now()
            );
            self.warn(&backend.logger, Level::Notice, &text);
        }
        let (active, backup) = backend.usable_servers();
        let has = match (backend.servers.len(), active, backup) {
            (0, ..) => "has no servers.".to_owned(),
            (_, 0, 0) => "has no server available !".to_owned(),
            _ => format!("has {active} active servers and {backup} backup servers available."),
        };
        let (connections, accepted) = self
            .objects
            .frontends
            .iter()
            .find(|frontend| frontend.backend_is_own() && frontend.name() == name)
            .map_or((0, 0), |frontend| (frontend.limit.connections.now(), frontend.accepted.now()));
        let text = format!(
            "SIGHUP: Proxy {name} {has} Conn: act(FE+BE): {connections}+{}, {} pend ({} unass), tot(FE+BE): {accepted}+{}.",
            backend.streams.now(),
            backend.queue.len(),
            backend.queue.any_len(),
            backend.total_streams()
        );
        self.warn(&backend.logger, Level::Notice, &text);
    }

    fn warn(&self, logger: &sockeye_log::Logger, level: Level, text: &str) {
        run::say(Severity::Warning, text);
        logger.event(level, text);
    }
}

/// How long sessions may take to end once they have been told to.
const RESISTANCE_LIMIT: Duration = Duration::from_secs(1);

/// Brings the counters of `mode packet` up to date.
fn refresh(plane: Option<&Rc<RefCell<Plane>>>) {
    if let Some(plane) = plane {
        plane.borrow_mut().refresh();
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
