//! `cargo xtask bench`: Sockeye beside HAProxy and nginx, on the same machine in the same minutes.
//!
//! One core is the proxy's, the others are the client's and the origin's, both of which live in this program. Rounds
//! are interleaved, every proxy starts afresh for every measurement, and medians are compared. The three get equal
//! configurations: one worker, no log, idle server connections shared.

mod affinity;
mod load;
mod origin;
mod packet;
mod proxy;
mod report;
mod rules;
mod scenario;
mod tls;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::build::{Profile, daemon};
use crate::build_ebpf;
use crate::workspace::{say, target};
use affinity::Cpus;
use origin::Origins;
use proxy::{Contender, Kind, Proxy};
use report::{Report, Sample};
use scenario::{Measured, SCENARIOS, Scenario};

/// Above this load average something else runs.
const BUSY_LOAD: f64 = 0.5;

/// Options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// HAProxy: a path, or a command with arguments
    #[arg(long, value_name = "COMMAND")]
    haproxy: Option<String>,
    /// nginx: a path, or a command with arguments
    #[arg(long, value_name = "COMMAND")]
    nginx: Option<String>,
    /// Sockeye; without it the release profile is built and measured
    #[arg(long, value_name = "COMMAND")]
    sockeye: Option<String>,
    /// Leave Sockeye out
    #[arg(long)]
    no_sockeye: bool,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds per measurement
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Only scenarios whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Where the figures go as JSON [default: target/bench.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures, prints the table and writes the JSON file.
pub(crate) fn run(args: &Args) -> Result<()> {
    let duration = Duration::try_from_secs_f64(args.seconds).context("--seconds")?;
    let contenders = contenders(args)?;
    if args.only.as_deref().is_none_or(|part| part.contains(packet::NAME)) {
        let command = |kind| contenders.iter().find(|contender| contender.kind == kind).map(Contender::line);
        let (sockeye, haproxy) = (command(Kind::Sockeye), command(Kind::Haproxy));
        warn_when_busy();
        packet::run(sockeye.as_deref(), haproxy.as_deref(), args.rounds, duration)?;
        if args.only.is_some() {
            return Ok(());
        }
    }
    let scenarios: Vec<&Scenario> = match &args.only {
        Some(part) => SCENARIOS.iter().filter(|scenario| is_wanted(scenario, part)).collect(),
        None => SCENARIOS.iter().collect(),
    };
    if scenarios.is_empty() || contenders.is_empty() {
        bail!("nothing to measure");
    }
    warn_when_busy();
    let cpus = Cpus::split()?;
    affinity::raise_descriptor_limit();
    // Threads inherit the set: the origin's own thread stays off the proxy's core too.
    cpus.enter_load()?;
    let origins = Origins::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = Report::default();
    for round in 1..=args.rounds {
        for scenario in &scenarios {
            for contender in contenders.iter().filter(|contender| scenario.suits(contender)) {
                let measured = measure(&runtime, &cpus, scenario, contender, &origins, duration);
                let measured = measured.with_context(|| format!("{}: {}", scenario.name, contender.name))?;
                say(format_args!("round {round} {:<22} {:<18} {measured}", scenario.name, contender.name));
                report.add(Sample { scenario: scenario.name, contender: contender.name, measured });
            }
        }
    }
    report.print(&scenarios)?;
    let file = args.json.clone().unwrap_or_else(|| target().join("bench.json"));
    report.write_json(&scenarios, &file)
}

/// Whether a scenario was asked for, or its figures are what another's are compared with.
fn is_wanted(scenario: &Scenario, part: &str) -> bool {
    let is_asked_for = |scenario: &Scenario| scenario.name.contains(part);
    let is_baseline_of = |other: &Scenario| other.rows.iter().any(|row| row.over == Some(scenario.name));
    is_asked_for(scenario) || SCENARIOS.iter().any(|other| is_asked_for(other) && is_baseline_of(other))
}

/// Others on the machine disturb one contender more than the next.
fn warn_when_busy() {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text.split(' ').next().and_then(|load| load.parse::<f64>().ok()).unwrap_or_default();
    if load > BUSY_LOAD {
        say(format_args!("the machine is busy (load {load}): expect scattered figures, raise --rounds"));
    }
}

fn contenders(args: &Args) -> Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    contenders.extend(args.haproxy.as_deref().map(Contender::haproxy));
    contenders.extend(args.nginx.as_deref().map(Contender::nginx));
    if !args.no_sockeye {
        let command = match &args.sockeye {
            Some(command) => command.clone(),
            None => {
                build_ebpf::ensure()?;
                daemon(Profile::Release)?.to_string_lossy().into_owned()
            }
        };
        contenders.extend([Contender::sockeye(&command), Contender::sockeye_sockmap(&command)]);
    }
    Ok(contenders)
}

fn measure(
    runtime: &tokio::runtime::Runtime,
    cpus: &Cpus,
    scenario: &Scenario,
    contender: &Contender,
    origins: &Origins,
    duration: Duration,
) -> Result<Measured> {
    let mut proxy = Proxy::start(contender, scenario.setup, origins, cpus)?;
    let local = tokio::task::LocalSet::new();
    let result = local.block_on(runtime, async {
        proxy.wait_ready().await?;
        load::run(scenario.load, &proxy, duration).await
    });
    // What the proxy said last explains a failure better than our own error.
    result.map_err(|error| error.context(proxy.last_words()))
}
