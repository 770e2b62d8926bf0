//! Checks one server for as long as it exists: waits, runs a check, counts, reports, and listens to the traffic between.
//!
//! One task per checked server. A server that tracks another has none: it follows the reports about the other.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sockeye_config::model::{Backend, Global, InitState, Observe, OnError, Server};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

use crate::connect::Target;
use crate::observe::{ErrorCounter, Observed};
use crate::prepared::PreparedCheck;
use crate::rise_fall::{Change, Health, Thresholds, Transition};
use crate::run::run;
use crate::schedule::{FirstChecks, Intervals, Timeouts, spread};
use crate::status::{CheckStatus, Info, Outcome};

/// Everything the checks of one server need to know.
#[derive(Debug, Clone)]
pub struct ServerCheckSpec {
    pub check: Arc<PreparedCheck>,
    pub target: Target,
    pub timeouts: Timeouts,
    pub intervals: Intervals,
    pub thresholds: Thresholds,
    pub init_state: InitState,
    /// `observe` with `error-limit`.
    pub observe: Option<(Observe, u32)>,
    pub on_error: OnError,
    /// `http-check disable-on-404`.
    pub disable_on_404: bool,
    /// `spread-checks`.
    pub spread_percent: u8,
    /// See [`FirstChecks`].
    pub first_delay: Duration,
    /// The server starts in maintenance: nothing is checked until [`CheckHandle::set_paused`].
    pub paused: bool,
    pub limiter: CheckLimiter,
}

impl ServerCheckSpec {
    /// The specification of `server`, which has `check`. `index` counts the checked servers of the process from 0.
    pub fn new(
        server: &Server,
        backend: &Backend,
        global: &Global,
        check: Arc<PreparedCheck>,
        target: Target,
        (first_checks, index): (&FirstChecks, u32),
        limiter: CheckLimiter,
    ) -> Self {
        let words = &server.check;
        let intervals = intervals(server);
        let thresholds = Thresholds::new(words.rise, words.fall);
        Self {
            check,
            target,
            timeouts: Timeouts {
                inter: words.inter,
                connect: backend.timeout_connect,
                check: backend.timeout_check,
            },
            intervals,
            thresholds,
            init_state: words.init_state,
            observe: words.observe.map(|mode| (mode, words.error_limit)),
            on_error: words.on_error,
            disable_on_404: backend.options.disable_on_404,
            spread_percent: global.spread_checks,
            first_delay: first_checks.delay(index, first_interval(server)),
            paused: server.disabled,
            limiter,
        }
    }
}

/// The interval before the first check of `server`, for [`FirstChecks::new`].
pub fn first_interval(server: &Server) -> Duration {
    let words = &server.check;
    intervals(server).after(&Health::initial(Thresholds::new(words.rise, words.fall), words.init_state))
}

fn intervals(server: &Server) -> Intervals {
    let words = &server.check;
    Intervals { inter: words.inter, fastinter: words.fastinter, downinter: words.downinter }
}

/// Bounds the checks that run at once on one thread (`tune.max-checks-per-thread`). Clones share the bound.
#[derive(Debug, Clone)]
pub struct CheckLimiter(Option<Arc<Semaphore>>);

impl CheckLimiter {
    /// At most `max` checks at once; 0 means that only the number of servers bounds them.
    pub fn new(max: u32) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self((max > 0).then(|| Arc::new(Semaphore::new(max))))
    }

    /// Runs `check` when its turn comes.
    async fn run<T>(&self, check: impl Future<Output = T>) -> T {
        let _permit = match &self.0 {
            // The semaphore is never closed; without it a check would still be bounded by its own time.
            Some(semaphore) => semaphore.acquire().await.ok(),
            None => None,
        };
        check.await
    }
}

/// Where reports go; the running server implements it.
pub trait Observer {
    /// A check has ended, or traffic showed too many errors. Called by the task of the server, in order; must not block.
    fn report(&self, report: &Report<'_>);
}

/// What has just become known about a server.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    pub outcome: &'a Outcome,
    /// After counting the outcome.
    pub health: &'a Health,
    /// The status or the count is not what it was: worth a line with `option log-health-checks`.
    pub changed: bool,
    pub transition: Option<Transition>,
}

/// The other end of a [`Supervisor`], for the data path and for administration. Any thread may use it.
///
/// When the last clone is dropped, the supervisor ends.
#[derive(Debug, Clone)]
pub struct CheckHandle {
    errors: Option<Arc<ErrorCounter>>,
    control: watch::Sender<Control>,
}

/// State, not messages: there is nothing to overflow when the supervisor is slower than the traffic.
#[derive(Debug, Clone, Copy)]
struct Control {
    paused: bool,
    /// How often `error-limit` was reached.
    limits_reached: u64,
    last_error: Observed,
}

impl CheckHandle {
    /// Tells what an exchange with the server showed (`observe`). A success costs one atomic load.
    pub fn observe(&self, observed: Observed) {
        if self.errors.as_ref().is_some_and(|errors| errors.record(observed)) {
            self.control.send_modify(|control| {
                control.limits_reached += 1;
                control.last_error = observed;
            });
        }
    }

    /// Stops checking (maintenance), or starts again from `init-state`.
    pub fn set_paused(&self, paused: bool) {
        self.control.send_if_modified(|control| std::mem::replace(&mut control.paused, paused) != paused);
    }
}

/// The task of one checked server.
#[derive(Debug)]
pub struct Supervisor {
    spec: ServerCheckSpec,
    control: watch::Receiver<Control>,
    error_limit: u32,
}

impl Supervisor {
    /// A supervisor and its handle. Nothing happens until [`Self::run`].
    pub fn new(spec: ServerCheckSpec) -> (CheckHandle, Self) {
        let control = Control { paused: spec.paused, limits_reached: 0, last_error: Observed::Layer4Error };
        let (sender, receiver) = watch::channel(control);
        let errors = spec.observe.map(|(mode, limit)| Arc::new(ErrorCounter::new(mode, limit)));
        let error_limit = errors.as_ref().map_or(0, |errors| errors.limit());
        (CheckHandle { errors, control: sender }, Self { spec, control: receiver, error_limit })
    }

    /// Checks until every handle is gone, on the thread that polls it first.
    pub async fn run(self, observer: impl Observer) {
        let (check, target) = (Arc::clone(&self.spec.check), self.spec.target.clone());
        let timeouts = self.spec.timeouts;
        self.drive(observer, || run(&check, &target, &timeouts)).await;
    }

    /// [`Self::run`] with any check.
    async fn drive<C: Future<Output = Outcome>>(self, observer: impl Observer, check: impl Fn() -> C) {
        let Self { spec, mut control, error_limit } = self;
        let seen = *control.borrow_and_update();
        let mut server = Watched {
            health: Health::initial(spec.thresholds, spec.init_state),
            status: CheckStatus::Initializing,
            next: Instant::now() + spec.first_delay,
            seen,
            spec: &spec,
            observer,
            error_limit,
        };
        loop {
            let due = tokio::select! {
                () = sleep_until(server.next), if !server.seen.paused => true,
                changed = control.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
            };
            if !due {
                let now = *control.borrow_and_update();
                server.control_changed(now);
                continue;
            }
            let mut check = pin!(spec.limiter.run(check()));
            let outcome = loop {
                tokio::select! {
                    outcome = &mut check => break Some(outcome),
                    changed = control.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let now = *control.borrow_and_update();
                        server.control_changed(now);
                        if now.paused {
                            break None;
                        }
                    }
                }
            };
            if let Some(outcome) = outcome {
                server.checked(&outcome);
            }
        }
    }
}

struct Watched<'a, O> {
    health: Health,
    status: CheckStatus,
    next: Instant,
    /// The control state that was acted upon.
    seen: Control,
    spec: &'a ServerCheckSpec,
    observer: O,
    error_limit: u32,
}

impl<O: Observer> Watched<'_, O> {
    fn checked(&mut self, outcome: &Outcome) {
        let leaving = self.leaving(outcome);
        let outcome = leaving.as_ref().unwrap_or(outcome);
        let change = self.health.record(outcome.status.result());
        self.report(outcome, change);
        let pause =
            spread(self.spec.intervals.after(&self.health), self.spec.spread_percent, fastrand::f64());
        self.next = Instant::now() + pause;
    }

    /// A 404 of a server that is not down means that it wants no new clients (`http-check disable-on-404`), whatever
    /// the rules say about it.
    fn leaving(&self, outcome: &Outcome) -> Option<Outcome> {
        let asks = self.spec.disable_on_404
            && outcome.code == Some(404)
            && self.health.state() != crate::rise_fall::State::Stopped;
        asks.then(|| Outcome {
            status: CheckStatus::Layer7OkConditional,
            info: Info::default(),
            ..outcome.clone()
        })
    }

    fn control_changed(&mut self, now: Control) {
        let before = std::mem::replace(&mut self.seen, now);
        if before.paused && !now.paused {
            self.health = Health::initial(self.spec.thresholds, self.spec.init_state);
            self.status = CheckStatus::Initializing;
            self.next = Instant::now();
        }
        // Several limits reached at once are one piece of news: the next check will tell.
        if now.limits_reached != before.limits_reached && !now.paused {
            self.errors_seen(now.last_error);
        }
    }

    fn errors_seen(&mut self, last: Observed) {
        if let Some(change) = self.health.record_errors(self.spec.on_error) {
            let (limit, last) = (self.error_limit, last.description());
            let info = format!("Detected {limit} consecutive errors, last one was: {last}");
            let outcome = Outcome {
                status: CheckStatus::HealthAnalyze,
                info: Info::from(info.as_str()),
                ..Outcome::default()
            };
            self.report(&outcome, change);
        }
        if let Some(fastinter) = self.spec.intervals.fastinter {
            self.next = self.next.min(Instant::now() + fastinter);
        }
    }

    fn report(&mut self, outcome: &Outcome, change: Change) {
        let changed = change.counted || outcome.status != self.status;
        self.status = outcome.status;
        self.observer.report(&Report {
            outcome,
            health: &self.health,
            changed,
            transition: change.transition,
        });
    }
}

#[cfg(test)]
mod tests {
    //! On the paused clock: it jumps to the next timer whenever nothing else is left to do.

    use std::cell::{Cell, RefCell};
    use std::collections::VecDeque;
    use std::rc::Rc;

    use sockeye_config::model::Check;
    use tokio::task::LocalSet;
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::connect::TargetAddress;

    const fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    fn spec() -> ServerCheckSpec {
        ServerCheckSpec {
            check: Arc::new(PreparedCheck::new(&Check::Connect, 16_384).unwrap()),
            target: Target::new(TargetAddress::Unix("/nowhere".into())),
            timeouts: Timeouts { inter: ms(1000), connect: None, check: None },
            intervals: Intervals { inter: ms(1000), fastinter: Some(ms(200)), downinter: Some(ms(3000)) },
            thresholds: Thresholds::new(2, 3),
            init_state: InitState::Up,
            observe: None,
            on_error: OnError::FailCheck,
            disable_on_404: false,
            spread_percent: 0,
            first_delay: ms(50),
            paused: false,
            limiter: CheckLimiter::new(0),
        }
    }

    /// Reports as `TIME STATUS HEALTH`, with `!` for a change of state and `=` where nothing changed.
    #[derive(Clone)]
    struct Notes {
        start: Instant,
        lines: Rc<RefCell<Vec<String>>>,
    }

    impl Notes {
        fn new() -> Self {
            Self { start: Instant::now(), lines: Rc::default() }
        }

        fn taken(&self) -> String {
            std::mem::take(&mut *self.lines.borrow_mut()).join(", ")
        }
    }

    impl Observer for Notes {
        fn report(&self, report: &Report<'_>) {
            let at = self.start.elapsed().as_millis();
            let mark = match (report.transition, report.changed) {
                (Some(_), _) => "!",
                (None, true) => "",
                (None, false) => "=",
            };
            let word = report.outcome.status.word();
            self.lines.borrow_mut().push(format!("{at} {word} {}{mark}", report.health));
        }
    }

    /// A check that takes 10 ms and passes where `results` says `+`, or is answered with a 404 (`4`); the last result
    /// repeats.
    fn checks(results: &str) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = Outcome>>> + use<> {
        let results: RefCell<VecDeque<char>> = RefCell::new(results.chars().collect());
        move || {
            let mut results = results.borrow_mut();
            let result = if results.len() > 1 { results.pop_front() } else { results.front().copied() };
            Box::pin(async move {
                sleep(ms(10)).await;
                let (status, code) = match result {
                    Some('+') => (CheckStatus::Layer4Ok, None),
                    Some('4') => (CheckStatus::Layer7Status, Some(404)),
                    _ => (CheckStatus::Layer4Connection, None),
                };
                Outcome { status, code, ..Outcome::default() }
            })
        }
    }

    /// Runs a supervisor for `script`, which gets its handle, then ends it.
    async fn supervised<S: Future<Output = ()>>(
        spec: ServerCheckSpec,
        results: &str,
        script: impl FnOnce(CheckHandle, Notes) -> S,
    ) -> String {
        let notes = Notes::new();
        let (handle, supervisor) = Supervisor::new(spec);
        tokio::join!(supervisor.drive(notes.clone(), checks(results)), script(handle, notes.clone()));
        notes.taken()
    }

    async fn run_for(spec: ServerCheckSpec, results: &str, time: Duration) -> String {
        supervised(spec, results, async |handle, _| {
            sleep(time).await;
            drop(handle);
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_404_takes_new_clients_away_and_never_brings_a_server_up() {
        let asked = || ServerCheckSpec { disable_on_404: true, ..spec() };
        assert_eq!(run_for(asked(), "+4+", ms(2500)).await, "60 L4OK UP, 1070 L7OKC NOLB!, 2080 L4OK UP!");
        assert_eq!(
            run_for(asked(), "-4", ms(6500)).await,
            "60 L4CON DOWN!, 3070 L7STS DOWN, 6080 L7STS DOWN="
        );
        assert_eq!(run_for(spec(), "+4", ms(1100)).await, "60 L4OK UP, 1070 L7STS UP 2/3");
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_between_checks_follows_the_state() {
        assert_eq!(run_for(spec(), "++--", ms(1700)).await, "60 L4OK UP, 1070 L4OK UP=");
        assert_eq!(
            run_for(spec(), "+---++", ms(6000)).await,
            "60 L4OK UP, 1070 L4CON UP 2/3, 1280 L4CON UP 1/3, 1490 L4CON DOWN!, 4500 L4OK DOWN 1/2, 4710 L4OK UP!, \
             5720 L4OK UP="
        );
    }

    #[tokio::test(start_paused = true)]
    async fn errors_in_traffic_count_and_hasten_the_next_check() {
        let with = |on_error| ServerCheckSpec { observe: Some((Observe::Layer4, 3)), on_error, ..spec() };
        let three_errors = async |handle: CheckHandle, _| {
            sleep(ms(500)).await;
            handle.observe(Observed::Layer4Error);
            handle.observe(Observed::Layer4Ok);
            (0..3).for_each(|_| handle.observe(Observed::Layer4Error));
            sleep(ms(300)).await;
        };
        assert_eq!(
            supervised(with(OnError::FailCheck), "+", three_errors).await,
            "60 L4OK UP, 500 HANA UP 2/3, 710 L4OK UP"
        );
        assert_eq!(supervised(with(OnError::FastInter), "+", three_errors).await, "60 L4OK UP, 710 L4OK UP=");
        assert_eq!(
            supervised(with(OnError::SuddenDeath), "+", three_errors).await,
            "60 L4OK UP, 500 HANA UP 1/3, 710 L4OK UP"
        );
        assert_eq!(
            supervised(with(OnError::MarkDown), "+", three_errors).await,
            "60 L4OK UP, 500 HANA DOWN!, 710 L4OK DOWN 1/2"
        );
        assert_eq!(supervised(spec(), "+", three_errors).await, "60 L4OK UP");
    }

    #[tokio::test(start_paused = true)]
    async fn the_words_of_an_error_limit() {
        struct Words(Rc<RefCell<String>>);
        impl Observer for Words {
            fn report(&self, report: &Report<'_>) {
                *self.0.borrow_mut() = report.outcome.info.to_string();
            }
        }
        let words = Rc::default();
        let (handle, supervisor) =
            Supervisor::new(ServerCheckSpec { observe: Some((Observe::Layer7, 1)), ..spec() });
        tokio::join!(supervisor.drive(Words(Rc::clone(&words)), checks("+")), async move {
            handle.observe(Observed::HttpReadTimeout);
            tokio::task::yield_now().await;
        });
        assert_eq!(*words.borrow(), "Detected 1 consecutive errors, last one was: Read timeout (http)");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_checked_in_maintenance() {
        let seen = supervised(ServerCheckSpec { paused: true, ..spec() }, "-", async |handle, notes| {
            sleep(ms(5000)).await;
            assert_eq!(notes.taken(), "");
            handle.set_paused(false);
            sleep(ms(20)).await;
            assert_eq!(notes.taken(), "5010 L4CON DOWN!");
            // In the middle of the next check.
            sleep(ms(2995)).await;
            handle.set_paused(true);
            sleep(ms(9000)).await;
            assert_eq!(notes.taken(), "");
            handle.set_paused(false);
            sleep(ms(20)).await;
        })
        .await;
        assert_eq!(seen, "17025 L4CON DOWN!");
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_ends_with_its_handle() {
        let (handle, supervisor) = Supervisor::new(spec());
        let again = handle.clone();
        let mut running = pin!(supervisor.drive(Notes::new(), checks("+")));
        drop(handle);
        tokio::select! {
            () = &mut running => panic!("a handle is left"),
            () = sleep(ms(10_000)) => {}
        }
        drop(again);
        running.await;
    }

    #[tokio::test(start_paused = true)]
    async fn checks_of_a_thread_are_bounded() {
        let limiter = CheckLimiter::new(2);
        let (now, most, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let local = LocalSet::new();
        let mut handles = Vec::new();
        for _ in 0..8 {
            let (handle, supervisor) =
                Supervisor::new(ServerCheckSpec { limiter: limiter.clone(), first_delay: ms(0), ..spec() });
            handles.push(handle);
            let (now, most, done) = (Rc::clone(&now), Rc::clone(&most), Rc::clone(&done));
            local.spawn_local(supervisor.drive(Notes::new(), move || {
                let (now, most, done) = (Rc::clone(&now), Rc::clone(&most), Rc::clone(&done));
                async move {
                    now.set(now.get() + 1);
                    most.set(most.get().max(now.get()));
                    sleep(ms(10)).await;
                    now.set(now.get() - 1);
                    done.set(done.get() + 1);
                    Outcome { status: CheckStatus::Layer4Ok, ..Outcome::default() }
                }
            }));
        }
        local
            .run_until(async {
                advance(ms(1)).await;
                sleep(ms(100)).await;
            })
            .await;
        assert_eq!((most.get(), done.get()), (2, 8));
    }

    /// The data path of every worker holds one; the supervisor itself stays on the thread that runs it.
    #[test]
    fn a_handle_can_change_threads() {
        fn is_shared<T: Send + Sync>(_: &T) {}
        is_shared(&Supervisor::new(spec()).0);
    }
}
