//! Health checks (manual 5.2 `check` and the words around it): what one run says, when a server is up, when to look again.
//!
//! Pure: [`status`] names results, [`prepared`] compiles a sequence, [`expect`] and [`http_response`] judge answers,
//! [`rise_fall`] counts, [`schedule`] computes delays and [`messages`] words log lines. Asynchronous: [`mod@run`] talks to
//! a server once over [`connect`], through [`tls`] and in HTTP/1 or HTTP/2, and [`supervise`] does so for as long as the server exists.

pub mod status;

pub mod prepared;
mod request;

pub mod expect;
pub mod http_response;

pub mod observe;
pub mod rise_fall;
pub mod schedule;

pub mod messages;

pub mod connect;
pub mod tls;

mod channel;
mod h2;
pub mod run;

pub mod supervise;

pub use connect::{CheckProxy, Target, TargetAddress};
pub use observe::Observed;
pub use prepared::{PrepareError, PreparedCheck};
pub use rise_fall::{Health, Thresholds, Transition};
pub use run::run;
pub use schedule::{Intervals, Timeouts};
pub use status::{CheckResult, CheckStatus, Info, Outcome};
pub use supervise::{CheckHandle, CheckLimiter, Observer, Report, ServerCheckSpec, Supervisor};
pub use tls::CheckTls;
