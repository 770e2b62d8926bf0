//! Passwords: what is known of them at once, and hashes that are computed beside the worker.
//!
//! A hash takes up to a tenth of a second, in which a worker would serve nobody else. Conditions of rules that may wait
//! therefore ask for a [`Check`] and are looked at again when it is done; all other expressions compute on the spot.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use sockeye_auth::{Digest, User, Verifier};
use tokio::sync::Semaphore;

/// Hashes that are computed at the same time in the process: each takes a core, and up to 256 MB. Others wait.
const CHECKS_MAX: usize = 2;

static CHECKS: Semaphore = Semaphore::const_new(CHECKS_MAX);

thread_local! {
    /// Passwords that were right, so that a slow hash is computed once and not per request.
    static VERIFIER: RefCell<Verifier> = RefCell::new(Verifier::new(&random_key()));
    /// The expression that is looked at may be put off; then also what is known to be wrong.
    static MAY_WAIT: Cell<Option<Option<Digest>>> = const { Cell::new(None) };
    static ASKED: RefCell<Option<Check>> = const { RefCell::new(None) };
}

fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    // The state is seeded by the system; the key only keeps entries of one process from being guessed.
    fastrand::fill(&mut key);
    key
}

/// Whether it is the user's password. `false` also where a [`Check`] is needed first.
pub(super) fn fits(user: &'static User, password: &[u8]) -> bool {
    let now = Instant::now();
    let digest = match VERIFIER.with_borrow_mut(|verifier| verifier.known(user, password, now)) {
        Ok(fits) => return fits,
        Err(digest) => digest,
    };
    match MAY_WAIT.get() {
        Some(wrong) => {
            if wrong != Some(digest) {
                ASKED.set(Some(Check { user, password: password.into(), digest }));
            }
            false
        }
        None => {
            let fits = user.has_password(password);
            if fits {
                VERIFIER.with_borrow_mut(|verifier| verifier.learn(digest, now));
            }
            fits
        }
    }
}

/// While it lives, expressions of this thread put off what takes long. They are not looked at by others meanwhile:
/// nothing waits.
pub(super) struct MayWait;

impl MayWait {
    /// `wrong` is what the stream's last check was about, if that failed.
    pub(super) fn new(wrong: Option<Digest>) -> Self {
        MAY_WAIT.set(Some(wrong));
        Self
    }

    /// What the expressions since then asked for: their values do not count.
    pub(super) fn asked(&self) -> Option<Check> {
        ASKED.take()
    }
}

impl Drop for MayWait {
    fn drop(&mut self) {
        MAY_WAIT.set(None);
    }
}

/// A password and the hash that it may fit.
#[derive(Debug)]
pub struct Check {
    user: &'static User,
    password: Box<[u8]>,
    digest: Digest,
}

impl Check {
    /// Computes the hash in its turn. What was wrong is returned, what was right is remembered.
    pub async fn run(self) -> Option<Digest> {
        let Self { user, password, digest } = self;
        // The semaphore is never closed.
        let _turn = CHECKS.acquire().await.ok();
        let computed = tokio::task::spawn_blocking(move || user.has_password(&password)).await;
        if !computed.unwrap_or(false) {
            return Some(digest);
        }
        VERIFIER.with_borrow_mut(|verifier| verifier.learn(digest, Instant::now()));
        None
    }
}
