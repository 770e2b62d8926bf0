//! Rules, and the sets that they form.

use std::sync::Arc;
use std::time::Duration;

use sockeye_sample::{Condition, Format, Scene, Verdict};

use crate::action::Action;
use crate::reply::ReplyRule;

/// An action under a condition.
#[derive(Debug)]
pub struct Rule {
    pub condition: Option<Condition>,
    pub action: Action,
    /// Where it was written.
    pub file: Arc<str>,
    pub line: u32,
}

impl Rule {
    /// Whether the action is due.
    #[inline]
    pub fn applies(&self, scene: &Scene<'_>) -> Verdict {
        match &self.condition {
            None => Verdict::Pass,
            Some(condition) => condition.eval(scene),
        }
    }
}

/// Rules in the order of the file. Those of a defaults section are shared by all that inherit them.
pub type Rules = Vec<Arc<Rule>>;

/// All rules of a proxy. A `listen` section's serve its frontend half first and its backend half not again.
#[derive(Debug, Clone, Default)]
pub struct RuleSets {
    pub tcp_connection: Rules,
    pub tcp_session: Rules,
    pub tcp_content: Rules,
    pub tcp_response: Rules,
    /// `tcp-request inspect-delay`
    pub inspect_delay: Option<Duration>,
    /// `tcp-response inspect-delay`
    pub response_inspect_delay: Option<Duration>,
    pub http_request: Rules,
    pub http_response: Rules,
    pub http_after_response: Rules,
    /// The legacy `redirect` statement: after all `http-request` rules.
    pub redirect: Rules,
    pub use_backend: Vec<Arc<UseBackend>>,
    pub use_server: Vec<Arc<UseServer>>,
    /// `force-persist` (true) and `ignore-persist`.
    pub persist: Vec<Arc<PersistRule>>,
    pub monitor_fail: Vec<Arc<Condition>>,
    /// `http-error`: replies of the proxy's own, by status; these come before its files.
    pub http_errors: Vec<Arc<ReplyRule>>,
}

impl RuleSets {
    /// Whether nothing is decided by rules, so that the path of a request may pass them by.
    pub fn is_empty(&self) -> bool {
        self.tcp_connection.is_empty()
            && self.tcp_session.is_empty()
            && self.tcp_content.is_empty()
            && self.tcp_response.is_empty()
            && self.http_request.is_empty()
            && self.http_response.is_empty()
            && self.http_after_response.is_empty()
            && self.redirect.is_empty()
            && self.use_backend.is_empty()
            && self.use_server.is_empty()
            && self.persist.is_empty()
            && self.monitor_fail.is_empty()
    }
}

impl PartialEq for RuleSets {
    /// Rules have no equality but their identity.
    fn eq(&self, other: &Self) -> bool {
        fn same<T>(a: &[Arc<T>], b: &[Arc<T>]) -> bool {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
        }
        same(&self.tcp_connection, &other.tcp_connection)
            && same(&self.tcp_session, &other.tcp_session)
            && same(&self.tcp_content, &other.tcp_content)
            && same(&self.tcp_response, &other.tcp_response)
            && same(&self.http_request, &other.http_request)
            && same(&self.http_response, &other.http_response)
            && same(&self.http_after_response, &other.http_after_response)
            && same(&self.redirect, &other.redirect)
            && same(&self.use_backend, &other.use_backend)
            && same(&self.use_server, &other.use_server)
            && same(&self.persist, &other.persist)
            && same(&self.monitor_fail, &other.monitor_fail)
            && same(&self.http_errors, &other.http_errors)
    }
}

/// `use_backend NAME|%[…] [if …]`.
#[derive(Debug)]
pub struct UseBackend {
    pub condition: Option<Condition>,
    pub target: BackendName,
    pub file: Arc<str>,
    pub line: u32,
}

/// A backend by name, or by a name that is made per request.
#[derive(Debug)]
pub enum BackendName {
    Static(Arc<sockeye_sample::NameRef>),
    /// A name that no backend has makes the rule not match.
    Dynamic(Format),
}

/// `use-server NAME|%[…] [if …]`.
#[derive(Debug)]
pub struct UseServer {
    pub condition: Option<Condition>,
    pub target: ServerName,
    pub file: Arc<str>,
    pub line: u32,
}

/// A server by name, or by a name that is made per request.
#[derive(Debug)]
pub enum ServerName {
    Static(Arc<sockeye_sample::NameRef>),
    Dynamic(Format),
}

/// `force-persist`, `ignore-persist`.
#[derive(Debug)]
pub struct PersistRule {
    pub condition: Condition,
    /// A server that is down is used all the same; otherwise what would bind the client to a server is ignored.
    pub force: bool,
}
