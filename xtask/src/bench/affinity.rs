//! Which core is whose.

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The first core we may use is the proxy's, the others are the load's.
pub(super) struct Cpus {
    proxy: CpuSet,
    load: CpuSet,
}

impl Cpus {
    pub(super) fn split() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("cannot read the CPU affinity")?;
        let mut usable = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        let mut cpus = Self { proxy: CpuSet::new(), load: CpuSet::new() };
        let Some(first) = usable.next() else { bail!("no CPU to run on") };
        cpus.proxy.set(first);
        usable.for_each(|cpu| cpus.load.set(cpu));
        if cpus.load.count() == 0 {
            bail!("a measurement needs two CPUs: one for the proxy, one for client and origin");
        }
        Ok(cpus)
    }

    /// Keeps this thread, and those that it starts, off the proxy's core.
    pub(super) fn enter_load(&self) -> Result<()> {
        sched_setaffinity(None, &self.load).context("cannot set the CPU affinity")
    }

    /// Runs `start` on the proxy's core: a process that it starts stays there.
    pub(super) fn on_proxy<T>(&self, start: impl FnOnce() -> T) -> Result<T> {
        sched_setaffinity(None, &self.proxy).context("cannot set the CPU affinity")?;
        let started = start();
        self.enter_load()?;
        Ok(started)
    }
}

/// Thousands of idle connections need as many descriptors, here and in the proxies that inherit the limit.
pub(super) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // When it cannot be raised, the scenario that needs it fails with its own message.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
