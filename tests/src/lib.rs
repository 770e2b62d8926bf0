//! End-to-end tests of the daemon: the real program between a byte-exact client and a byte-exact origin.
//!
//! A test reads as a dialogue: the client sends these bytes, the origin sees those, the log says this. Everything waits
//! for an event with one common patience; ports come from the operating system and stay reserved for the whole test,
//! so tests run beside each other. `SOCKEYE_BIN` names another daemon (a command line, for example HAProxy's): a test
//! that passes on both shows that both behave alike. See `daemon.rs` for how a configuration is written.

pub mod daemon;
pub mod echo;
pub mod frames;
pub mod http;
pub mod lines;
pub mod log;
pub mod multiplex;
pub mod netns;
pub mod origin;
pub mod packet;
pub mod pattern;
pub mod peer;
pub mod port;
pub mod rig;
pub mod scenario;
pub mod tls;

use std::fmt::Display;
use std::panic::Location;
use std::time::Duration;

pub use daemon::{Daemon, Exit, Setup, is_haproxy};
pub use echo::{Echo, Flow};
pub use http::{Reply, get, ok};
pub use lines::Lines;
pub use log::LogReceiver;
pub use netns::Net;
pub use origin::{Answer, Origin, Served};
pub use peer::{Peer, show};
pub use port::Reserved;
pub use rig::Rig;

/// How long anything may take before the test fails: far above any real delay, since the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long a test watches to see that nothing happens.
pub const QUIET: Duration = Duration::from_millis(60);

/// Waits for `future`; fails the test, naming the caller and `what`, when [`PATIENCE`] runs out.
#[track_caller]
pub fn within<F: Future>(what: impl Display, future: F) -> impl Future<Output = F::Output> {
    let at = Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(value) => value,
            Err(_) => panic!("{at}: waited {PATIENCE:?} for {what}"),
        }
    }
}

/// Waits until `holds` says so, looking every few milliseconds: for facts that send no event (a file, `/proc`).
#[track_caller]
pub fn eventually(what: impl Display, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    within(what, async move {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    })
}
