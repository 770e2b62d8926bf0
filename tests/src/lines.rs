//! Lines that arrive while the test runs: the daemon's output, log datagrams.

use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::Notify;

use crate::pattern::matches;
use crate::{PATIENCE, QUIET};

/// A shared, growing list of lines with a reading position.
#[derive(Clone, Default)]
pub struct Lines {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    /// Index of the first line that no `next` has passed.
    position: usize,
    ended: bool,
}

impl Lines {
    /// Collects what `reader` gives, in a task of its own, until it ends.
    pub fn from_reader(reader: impl AsyncRead + Unpin + 'static + Send) -> Self {
        let lines = Self::default();
        let sink = lines.clone();
        tokio::spawn(async move {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while let Ok(1..) = reader.read_until(b'\n', &mut line).await {
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                sink.push(String::from_utf8_lossy(&line).into_owned());
                line.clear();
            }
            sink.end();
        });
        lines
    }

    pub fn push(&self, line: String) {
        self.shared.state.lock().expect("lines").lines.push(line);
        self.shared.changed.notify_waiters();
    }

    /// Everything so far, also what `next` has passed.
    pub fn all(&self) -> Vec<String> {
        self.shared.state.lock().expect("lines").lines.clone()
    }

    /// Everything so far as one text.
    pub fn text(&self) -> String {
        self.all().join("\n")
    }

    /// How many lines so far match.
    pub fn count(&self, pattern: &str) -> usize {
        self.all().iter().filter(|line| matches(pattern, line)).count()
    }

    /// The next line, whatever it says.
    #[track_caller]
    pub fn next(&self) -> impl Future<Output = String> {
        self.find("any line".to_owned(), |_| true)
    }

    /// The next line that matches; lines before it are passed over.
    #[track_caller]
    pub fn wait(&self, pattern: &str) -> impl Future<Output = String> {
        let owned = pattern.to_owned();
        self.find(format!("a line like\n  {pattern}"), move |line| matches(&owned, line))
    }

    /// The next line must match: nothing may come before it.
    #[track_caller]
    pub fn expect(&self, pattern: &str) -> impl Future<Output = String> {
        let at = Location::caller();
        let next = self.find(format!("a line like\n  {pattern}"), |_| true);
        let pattern = pattern.to_owned();
        async move {
            let line = next.await;
            assert!(matches(&pattern, &line), "{at}: expected a line like\n  {pattern}\nnot\n  {line}");
            line
        }
    }

    /// Passes over everything that has arrived.
    pub fn skip(&self) {
        let mut state = self.shared.state.lock().expect("lines");
        state.position = state.lines.len();
    }

    /// No further line arrives for a moment.
    #[track_caller]
    pub fn expect_quiet(&self) -> impl Future<Output = ()> {
        self.expect_quiet_for(QUIET)
    }

    /// No further line arrives for `time`.
    #[track_caller]
    pub fn expect_quiet_for(&self, time: Duration) -> impl Future<Output = ()> {
        let at = Location::caller();
        let lines = self.clone();
        async move {
            if let Ok(Ok(line)) = tokio::time::timeout(time, lines.advance(&|_: &str| true)).await {
                panic!("{at}: expected no further line, got\n  {line}");
            }
        }
    }

    /// Waits until the source has ended.
    #[track_caller]
    pub fn ended(&self) -> impl Future<Output = ()> {
        let lines = self.clone();
        crate::within("the end of the output", async move {
            loop {
                let changed = lines.shared.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if lines.shared.state.lock().expect("lines").ended {
                    return;
                }
                changed.await;
            }
        })
    }

    fn end(&self) {
        self.shared.state.lock().expect("lines").ended = true;
        self.shared.changed.notify_waiters();
    }

    #[track_caller]
    fn find(&self, what: String, accept: impl Fn(&str) -> bool) -> impl Future<Output = String> {
        let at = Location::caller();
        let lines = self.clone();
        async move {
            match tokio::time::timeout(PATIENCE, lines.advance(&accept)).await {
                Ok(Ok(line)) => line,
                Ok(Err(())) => panic!("{at}: the output ended without {what}\nin\n{}", lines.text()),
                Err(_) => panic!("{at}: waited {PATIENCE:?} for {what}\nin\n{}", lines.text()),
            }
        }
    }

    /// The next line that `accept` takes; an error when the source ends without it.
    async fn advance(&self, accept: &impl Fn(&str) -> bool) -> Result<String, ()> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.shared.state.lock().expect("lines");
                let found = state.lines[state.position..].iter().position(|line| accept(line));
                if let Some(offset) = found {
                    state.position += offset + 1;
                    return Ok(state.lines[state.position - 1].clone());
                }
                if state.ended {
                    return Err(());
                }
            }
            changed.await;
        }
    }
}
