//! From the configuration to running objects.
//!
//! They live as long as the process, so they are leaked once and shared as `&'static`: no reference is counted on
//! the path of a request.

use sockeye_accel::Accel;
use sockeye_config::model::{self, BackendId, BindAddress, Config, EbpfSplice, FrontendId};
use sockeye_log::{Logger, SinkError};
use sockeye_relay::{Policy, Splice};
use sockeye_rules::BackendName;
use sockeye_sample::Target;

use super::logs::Logs;
use crate::backend::Backend;
use crate::frontend::Frontend;
use crate::frontend::limit::Limit;
use crate::frontend::listener::Listener;
use crate::services::replies::ErrorReplies;
use crate::stats::{LastInvalid, Rate, Total};
use crate::stream::log::Shown;

/// Everything that runs.
#[derive(Debug)]
pub struct Objects {
    pub config: &'static Config,
    pub frontends: Vec<&'static Frontend>,
    pub backends: Vec<&'static Backend>,
    /// `maxconn` of the process.
    pub limit: &'static Limit,
}

/// Share of the frontends' `maxconn` that `fullconn` is when the file does not say (manual 4.2).
const FULLCONN_PART: u32 = 10;

/// Builds the running objects.
pub fn build(
    config: &'static Config,
    maxconn: u32,
    logs: &mut Logs,
    accel: &Accel,
) -> Result<Objects, SinkError> {
    let process = leak(Limit::new(Some(maxconn)));
    let mut ordinal = 0;
    let backends: Vec<&'static Backend> = config
        .backends
        .iter()
        .enumerate()
        .map(|(index, cfg)| {
            let id = BackendId(index);
            let logger = logs.logger(&cfg.log, cfg.log_tag.as_deref())?;
            let fullconn = fullconn(config, id, maxconn);
            let backend = Backend::new(cfg, id, fullconn, &config.global.tune, ordinal, logger);
            ordinal += cfg.servers.len();
            Ok(leak(backend))
        })
        .collect::<Result<_, SinkError>>()?;
    let frontends = config
        .frontends
        .iter()
        .enumerate()
        .map(|(index, cfg)| {
            let logger = logs.logger(&cfg.log, cfg.log_tag.as_deref())?;
            let backend = cfg.default_backend.map(|id| backends[id.0]);
            let id = FrontendId(index);
            Ok(leak(frontend(config, id, cfg, backend, process, logger, accel)))
        })
        .collect::<Result<_, SinkError>>()?;
    Ok(Objects { config, frontends, backends, limit: process })
}

fn leak<T>(object: T) -> &'static T {
    Box::leak(Box::new(object))
}

fn frontend(
    config: &'static Config,
    id: FrontendId,
    cfg: &'static model::Frontend,
    backend: Option<&'static Backend>,
    process: &'static Limit,
    logger: Logger,
    accel: &Accel,
) -> Frontend {
    let mut next = 1;
    let listeners = cfg
        .binds
        .iter()
        .map(|bind| {
            let number = next;
            next += match bind.address {
                BindAddress::Block(block) if !block.is_prefix() => u32::from(block.high - block.low) + 1,
                _ => 1,
            };
            Listener { cfg: bind, number, limit: Limit::new(bind.maxconn) }
        })
        .collect();
    Frontend {
        cfg,
        id,
        tune: &config.global.tune,
        backend,
        listeners,
        limit: leak(Limit::new(cfg.maxconn)),
        accepted: Total::new(),
        connection_rate: Rate::new(),
        request_rate: Rate::new(),
        ruled: !cfg.rules.is_empty(),
        logger,
        log_lines: Total::new(),
        shown: Shown::of(&cfg.log_formats),
        process,
        relay: relay_policies(config, accel),
        replies: ErrorReplies::new(&cfg.errorfiles),
        last_invalid: LastInvalid::default(),
    }
}

/// How bytes may travel without and with leave to splice them.
fn relay_policies(config: &Config, accel: &Accel) -> [Policy; 2] {
    let allowed = !config.global.nosplice && config.global.ebpf.splice != EbpfSplice::Off;
    [false, true].map(|asked| {
        let mut policy = Policy::default();
        if asked && allowed {
            policy.splice = Splice::Auto;
        }
        if allowed && config.global.ebpf.splice == EbpfSplice::Sockmap {
            policy.sockmap = accel.sockmap().cloned();
        }
        policy
    })
}

/// Whether a `use_backend` rule of the frontend may choose the backend.
fn chooses(frontend: &model::Frontend, id: BackendId) -> bool {
    frontend.rules.use_backend.iter().any(|rule| match &rule.target {
        BackendName::Static(name) => name.target() == Some(Target::Backend(id.0)),
        BackendName::Dynamic(_) => true,
    })
}

/// A tenth of the connections that all frontends which may reach the backend can have.
fn fullconn(config: &Config, id: BackendId, maxconn: u32) -> u32 {
    config
        .frontends
        .iter()
        .filter(|frontend| frontend.default_backend == Some(id) || chooses(frontend, id))
        .map(|frontend| frontend.maxconn.unwrap_or(maxconn))
        .fold(0_u32, u32::saturating_add)
        .div_ceil(FULLCONN_PART)
}
