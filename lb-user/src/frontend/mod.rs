//! Frontends: where bytes come in.
//!
//! [`listener`] binds addresses, [`accept`] takes connections from them and starts a task for each, [`session`]
//! is that task. [`worker`] is what the sessions of one thread share.

pub mod accept;
pub mod block;
pub mod fault;
pub mod gate;
pub mod h2;
pub mod limit;
pub mod listener;
pub mod proxy_header;
pub mod session;
pub mod tls;
pub mod worker;

use sockeye_config::model;
use sockeye_log::Logger;

use crate::backend::Backend;
use crate::services::replies::ErrorReplies;
use crate::stats::{LastInvalid, Rate, Total};
use crate::stream::log::Shown;
use limit::Limit;
use listener::Listener;

/// Running object of one `frontend`, or of the client half of a `listen`.
#[derive(Debug)]
pub struct Frontend {
    pub cfg: &'static model::Frontend,
    pub id: model::FrontendId,
    pub tune: &'static model::Tune,
    pub backend: Option<&'static Backend>,
    pub listeners: Box<[Listener]>,
    /// `maxconn` of the section.
    pub limit: &'static Limit,
    /// Connections accepted since the start.
    pub accepted: Total,
    /// Connections and requests of the last second.
    pub connection_rate: Rate,
    pub request_rate: Rate,
    /// Whether it has rules of any kind.
    pub ruled: bool,
    pub logger: Logger,
    /// Lines logged since the start.
    pub log_lines: Total,
    pub shown: Shown,
    /// `maxconn` of the process.
    pub process: &'static Limit,
    /// How bytes may travel without and with leave to splice them.
    pub relay: [sockeye_relay::Policy; 2],
    pub replies: ErrorReplies,
    /// The last request that was refused.
    pub last_invalid: LastInvalid,
}

/// How bodies and tunnels between a frontend and a backend may travel, per direction.
#[derive(Debug, Clone, Copy)]
pub struct RelayPolicies<'a> {
    pub request: &'a sockeye_relay::Policy,
    pub response: &'a sockeye_relay::Policy,
}

impl Frontend {
    /// Which paths bytes to and from a backend may take: a direction may be spliced when the options of either
    /// section say so.
    pub fn relay_policies(&self, backend: &Backend) -> RelayPolicies<'_> {
        let (fe, be) = (self.cfg.splice, backend.cfg.splice);
        let auto = fe.auto || be.auto;
        RelayPolicies {
            request: &self.relay[usize::from(auto || fe.request || be.request)],
            response: &self.relay[usize::from(auto || fe.response || be.response)],
        }
    }

    pub fn name(&self) -> &'static str {
        &self.cfg.name
    }

    /// Whether it is the client half of a `listen`, reported together with its backend.
    pub fn backend_is_own(&self) -> bool {
        self.cfg.kind == model::SectionKind::Listen
    }

    /// Whether `backend` is the other half of this one's `listen` section.
    pub fn is_own(&self, backend: &Backend) -> bool {
        self.backend_is_own() && backend.is_listen() && self.name() == backend.name()
    }
}
