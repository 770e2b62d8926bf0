//! The process's log targets and the loggers made of them.

use std::sync::Arc;

use sockeye_config::model::{Global, LogTarget};
use sockeye_log::{Logger, Process, SinkError, Sinks};

/// Every open target, and who writes to them.
#[derive(Debug)]
pub struct Logs {
    sinks: Sinks,
    process: Arc<Process>,
    tag: String,
}

impl Logs {
    /// Made before the root changes, which hides the time zone, and after the last fork, which changes the pid.
    pub fn new(global: &Global, program: &str) -> Self {
        let hostname = global.log_send_hostname.as_ref().map(|name| name.as_deref());
        Self {
            sinks: Sinks::default(),
            process: Arc::new(Process::current(hostname)),
            tag: global.log_tag.clone().unwrap_or_else(|| program.to_owned()),
        }
    }

    /// The logger of a section: its targets, opened once each, and its `log-tag` or the process's.
    ///
    /// # Errors
    /// When a target cannot be opened at all; a receiver that is not there is no error.
    pub fn logger(&mut self, targets: &[LogTarget], tag: Option<&str>) -> Result<Logger, SinkError> {
        let sinks = targets.iter().map(|target| self.sinks.open(target)).collect::<Result<Vec<_>, _>>()?;
        Ok(Logger::new(sinks, tag.unwrap_or(&self.tag), Arc::clone(&self.process)))
    }

    /// Lines that no target took.
    pub fn dropped(&self) -> u64 {
        self.sinks.dropped()
    }
}
