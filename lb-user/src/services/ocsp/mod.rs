//! `ocsp-update on`: OCSP responses are fetched from the responders that certificates name, and stapled. Manual 12.7.1.
//!
//! One task on the control thread asks for one response at a time. Workers notice nothing of it but that a certificate has
//! another staple from one handshake to the next.

mod fetch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fetch::{Failure, HttpFailure, fetch};
use sockeye_config::model::{Config, Level, Mode};
use sockeye_log::{Logger, Record};
use sockeye_sample::format::{Alias, Flags};
use sockeye_tls::settings::OcspUpdate;
use sockeye_tls::{Certificate, OcspFault, OcspRequest};
use tokio::time::{Instant, sleep_until};

/// The responses that are kept up to date.
#[derive(Debug)]
pub struct Updates {
    settings: &'static OcspUpdate,
    entries: Vec<Entry>,
    logger: Logger,
}

/// One response.
#[derive(Debug)]
struct Entry {
    request: OcspRequest,
    /// Who is shown with it: the same certificate may be in several files.
    certificates: Vec<Arc<Certificate>>,
    due: Instant,
    successes: u64,
    failures: u64,
    /// Failures since the last success.
    failures_in_row: u32,
}

impl Updates {
    /// What the certificates of all listeners want; `None` if that is nothing. `logger` is the process's own.
    #[must_use]
    pub fn new(config: &'static Config, logger: Logger) -> Option<Self> {
        let settings = &config.global.tls.ocsp;
        if settings.disabled {
            return None;
        }
        let binds = config.frontends.iter().flat_map(|frontend| &frontend.binds);
        let acceptors = binds.filter_map(|bind| bind.tls.as_ref()?.acceptor.as_ref());
        let certificates = acceptors.flat_map(|acceptor| acceptor.certificates());
        let now = (SystemTime::now(), Instant::now());
        let mut entries: Vec<Entry> = Vec::new();
        let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
        for certificate in certificates.filter(|certificate| certificate.wants_ocsp_update()) {
            let Some(request) = certificate.ocsp_request() else { continue };
            if let Some(index) = known.get(&request.body) {
                let others = &mut entries[*index].certificates;
                if !others.iter().any(|other| Arc::ptr_eq(other, certificate)) {
                    others.push(certificate.clone());
                }
                continue;
            }
            known.insert(request.body.clone(), entries.len());
            // Without a response, one is fetched at once.
            let wait = match certificate.presented().ocsp {
                Some(_) => settings.after_response(certificate.staple_until(), now.0),
                None => Duration::ZERO,
            };
            entries.push(Entry {
                request,
                certificates: vec![certificate.clone()],
                due: now.1 + wait,
                successes: 0,
                failures: 0,
                failures_in_row: 0,
            });
        }
        (!entries.is_empty()).then_some(Self { settings, entries, logger })
    }

    /// Keeps them up to date for as long as it is polled.
    pub async fn run(mut self) {
        while let Some(entry) = self.entries.iter_mut().min_by_key(|entry| entry.due) {
            sleep_until(entry.due).await;
            entry.update(self.settings, &self.logger).await;
        }
    }
}

impl Entry {
    async fn update(&mut self, settings: &OcspUpdate, logger: &Logger) {
        let began = SystemTime::now();
        let fetched = fetch(&self.request, settings.http_proxy).await;
        let now = SystemTime::now();
        let stapled = fetched.map_err(Problem::Fetch).and_then(|response| {
            let mut until = None;
            for certificate in &self.certificates {
                until = certificate.staple_fetched(response.clone(), now).map_err(Problem::Response)?;
            }
            Ok(until)
        });
        let wait = match &stapled {
            Ok(until) => {
                self.successes += 1;
                self.failures_in_row = 0;
                settings.after_response(*until, now)
            }
            Err(_) => {
                self.failures += 1;
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                settings.after_failure(self.failures_in_row)
            }
        };
        self.due = Instant::now() + wait;
        self.log(stapled.err(), began, logger);
    }

    /// The line about every update, and a second one in the form of `option httplog` when the exchange failed.
    fn log(&self, problem: Option<Problem>, began: SystemTime, logger: &Logger) {
        let (number, text) =
            problem.as_ref().map_or_else(|| (1, "Update successful".to_owned()), Problem::describe);
        let path = self.certificates.first().map(|certificate| certificate.name().display());
        let path = path.map(|path| path.to_string()).unwrap_or_default();
        let (failures, successes) = (self.failures, self.successes);
        logger.event(
            Level::Notice,
            &format!("<OCSP-UPDATE> {path} {number} \"{text}\" {failures} {successes}"),
        );
        if let Some(Problem::Fetch(Failure::Http(failure))) = &problem
            && failure.is_error()
        {
            log_exchange(failure, began, logger);
        }
    }
}

fn log_exchange(failure: &HttpFailure, began: SystemTime, logger: &Logger) {
    let process = logger.process();
    logger.emit(Level::Info, |out, dates| {
        let record = Record::new(Mode::Http, "<OCSP-UPDATE>", began);
        out.extend_from_slice(b"-:- [");
        sockeye_log::write_alias(Alias::AcceptDate, Flags::default(), &record, process, dates, out);
        out.extend_from_slice(b"] <OCSP-UPDATE> -/- ");
        out.extend_from_slice(failure.to_string().as_bytes());
    });
}

/// Why there is no new response.
#[derive(Debug)]
enum Problem {
    Fetch(Failure),
    Response(OcspFault),
}

impl Problem {
    /// Number and text of `show ssl ocsp-updates` (management guide 9.3).
    fn describe(&self) -> (u8, String) {
        match self {
            Self::Fetch(Failure::Http(_)) => (2, "HTTP error".to_owned()),
            Self::Fetch(Failure::NotOcsp) => (3, "Missing \"ocsp-response\" header".to_owned()),
            Self::Response(fault @ (OcspFault::Damaged | OcspFault::Signature | OcspFault::Status(_))) => {
                let detail = match fault {
                    OcspFault::Damaged => "d2i_OCSP_RESPONSE() failed".to_owned(),
                    OcspFault::Signature => "OCSP_basic_verify() failed".to_owned(),
                    _ => fault.to_string(),
                };
                (4, format!("OCSP response check failure ({detail})"))
            }
            Self::Response(fault) => (5, format!("Error during insertion ({fault})")),
        }
    }
}
