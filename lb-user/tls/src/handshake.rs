//! What a handshake found out beside what rustls tells: left in the thread by our callbacks, taken by the caller.
//!
//! rustls calls our resolver and verifiers inside `process_new_packets` (or `Accepted::into_connection`), on the caller's
//! thread, and has no place to keep what they learn. So the caller takes it right after the call; what is left from a call
//! before is overwritten.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::CertifiedKey;

use crate::files::Certificate;
use crate::secrets::{SECRETS_MAX, Secret};
use crate::verify::{ClientVerifier, Problem};

thread_local! {
    static CURRENT: RefCell<Handshake> = RefCell::default();
}

/// Facts of one handshake step. Empty where no callback ran.
#[derive(Debug, Default)]
pub struct Handshake {
    /// The certificate that we presented; `cert[0]` is the leaf (`ssl_f_*`).
    pub presented: Option<Arc<CertifiedKey>>,
    /// Where that was loaded from; `None` for one that was made on the spot.
    pub certificate: Option<Arc<Certificate>>,
    /// The name that the client asked for.
    pub server_name: Option<Box<str>>,
    /// What became of the client's certificate, if it was looked at in this step.
    pub client: Option<Verdict>,
    /// The client's chain, its own certificate first, if it was refused: rustls keeps it only where it was not.
    pub refused: Vec<CertificateDer<'static>>,
    /// `tune.ssl.keylog`: what was derived in this step.
    pub secrets: Vec<Secret>,
    pub(crate) verifier: Option<Arc<ClientVerifier>>,
}

/// Errors of a client's certificate, all of them ignored if the handshake went on. Zeros: none. Manual 7.3.4 `ssl_c_*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// `ssl_c_verify`: the last error.
    pub verify: u32,
    /// `ssl_c_err`: the first one at depth 0.
    pub error: u32,
    /// `ssl_c_ca_err`: the first one above.
    pub ca_error: u32,
    /// `ssl_c_ca_err_depth`: where that was.
    pub ca_depth: u8,
}

impl Verdict {
    pub(crate) fn note(&mut self, problem: Problem) {
        self.verify = problem.number;
        if problem.depth == 0 {
            if self.error == 0 {
                self.error = problem.number;
            }
        } else if self.ca_error == 0 {
            self.ca_error = problem.number;
            self.ca_depth = problem.depth;
        }
    }
}

impl Handshake {
    /// Adds what a later step of the same handshake found out.
    pub fn learn(&mut self, later: Self) {
        self.presented = later.presented.or_else(|| self.presented.take());
        self.certificate = later.certificate.or_else(|| self.certificate.take());
        self.server_name = later.server_name.or_else(|| self.server_name.take());
        self.client = later.client.or(self.client);
        if !later.refused.is_empty() {
            self.refused = later.refused;
        }
        let room = SECRETS_MAX.saturating_sub(self.secrets.len());
        self.secrets.extend(later.secrets.into_iter().take(room));
        self.verifier = later.verifier.or_else(|| self.verifier.take());
    }

    /// The verdict on `peer`, the client's chain. Sessions that are resumed bring the chain along, but nobody looks at it
    /// again; where errors may have been ignored, this does.
    #[must_use]
    pub fn verdict(&self, peer: &[CertificateDer<'_>], now: UnixTime) -> Verdict {
        match (self.client, &self.verifier, peer) {
            (Some(verdict), ..) => verdict,
            (None, Some(verifier), [leaf, rest @ ..]) if verifier.ignores() => {
                verifier.judge(leaf, rest, now).0
            }
            _ => Verdict::default(),
        }
    }
}

/// Takes what callbacks left in this thread since the last call.
#[must_use]
pub fn taken() -> Handshake {
    CURRENT.take()
}

/// Notes something for who calls [`taken`].
pub(crate) fn note(change: impl FnOnce(&mut Handshake)) {
    CURRENT.with_borrow_mut(change);
}
