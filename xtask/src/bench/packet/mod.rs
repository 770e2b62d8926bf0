//! `mode packet` beside what the kernel has itself: IP forwarding and nftables, and beside proxies.
//!
//! The client, the balancer and the server are network namespaces. What the kernel does with packets belongs to no
//! process, so CPU is that of the whole machine, the client's and the server's work included; what a way costs is
//! what it needs more than plain forwarding.

mod network;
mod way;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};

use super::load;
use super::origin::Origins;
use super::scenario::{Load, Measured};
use super::usage;
use crate::build_ebpf;
use crate::workspace::{cargo, checked, say};
use network::{Network, Place};
use way::{Open, Programs, WAYS, Way};

/// The part of every scenario's name that `--only` may ask for.
pub(super) const NAME: &str = "packet";

/// What the client does, and to which of the origins.
const LOADS: [(&str, Load); 3] = [
    ("packet keep-alive", Load::KeepAlive { connections: 64 }),
    ("packet new connection", Load::ConnectionPerRequest { connections: 32 }),
    ("packet ping-pong", Load::PingPong { connections: 64 }),
];

/// The kernel program by itself, then all ways from client to server in turn.
pub(super) fn run(
    sockeye: Option<&str>,
    haproxy: Option<&str>,
    rounds: usize,
    duration: Duration,
) -> Result<()> {
    build_ebpf::ensure()?;
    checked(cargo().args(["bench", "--quiet", "-p", "sockeye-accel", "--bench", "packet"]))?;
    let programs = Programs { sockeye, haproxy };
    // Namespaces belong to threads: this one becomes the client's and ends with it.
    std::thread::scope(|scope| {
        scope
            .spawn(|| compare(&programs, rounds, duration))
            .join()
            .unwrap_or_else(|_| anyhow::bail!("it panicked"))
    })
}

/// Measures all ways in turn, round by round, and prints the table.
fn compare(programs: &Programs<'_>, rounds: usize, duration: Duration) -> Result<()> {
    let network = Network::new().context("network namespaces need root, ip and ethtool")?;
    network.enter(Place::Server)?;
    let origins = Origins::start_on(network::SERVER)?;
    network.enter(Place::Client)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ports = [origins.http.port(), origins.echo.port()];
    let mut samples: BTreeMap<(usize, &'static str), Vec<Measured>> = BTreeMap::new();
    for round in 1..=rounds {
        for way in WAYS {
            let Some(mut open) = Open::new(&network, way, &ports, programs)? else { continue };
            runtime.block_on(open.wait_ready(&ports))?;
            for (number, (name, load)) in LOADS.into_iter().enumerate() {
                let port = if matches!(load, Load::PingPong { .. }) { ports[1] } else { ports[0] };
                let local = tokio::task::LocalSet::new();
                let work = load::run_against(load, way.address(port), usage::machine, duration);
                let measured = local
                    .block_on(&runtime, work)
                    .with_context(|| format!("{name}, {}: {}", way.name(), open.last_words()))?;
                say(format_args!("round {round} {name:<22} {:<18} {measured}", way.name()));
                samples.entry((number, way.name())).or_default().push(measured);
            }
        }
    }
    print(&samples)
}

fn print(samples: &BTreeMap<(usize, &'static str), Vec<Measured>>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\n{:<22} {:<12} {:>12} {:>14} {:>16}",
        "scenario", "way", "rate/s", "CPU us each", "more than plain"
    )?;
    for (number, (name, _)) in LOADS.into_iter().enumerate() {
        let of = |way: Way, figure: fn(&Measured) -> Option<f64>| {
            let values = samples.get(&(number, way.name()))?;
            super::report::median(values.iter().filter_map(figure).collect())
        };
        let plain = of(Way::Forwarding, |measured| measured.cpu);
        for way in WAYS {
            let (rate, cpu) = (of(way, |measured| measured.rate), of(way, |measured| measured.cpu));
            let Some((rate, cpu)) = rate.zip(cpu) else { continue };
            let more = plain.map_or(0.0, |plain| cpu - plain);
            writeln!(out, "{name:<22} {:<12} {rate:>12.0} {cpu:>14.2} {more:>16.2}", way.name())?;
        }
    }
    writeln!(out, "\nMedians. CPU is the whole machine's, client and server included.")?;
    Ok(())
}
