//! Steering at start: what there is to steer, the sockets that it takes, and what becomes of both without it.

use std::os::fd::AsFd as _;

use sockeye_accel::{SteerExact, SteerGroup, SteerMode, SteerOwned, SteerPlan, Steering, Unavailable};
use sockeye_config::model::{AddressBlock, Bind, BindAddress, Config, Steer};

use super::boot;
use crate::frontend::block::running;
use crate::frontend::listener::Bound;

/// Whether the kernel may help, asked before anything is bound.
///
/// # Errors
/// Why not.
pub fn possible(config: &Config) -> Result<(), Unavailable> {
    if !is_asked_for(config) {
        return Err(Unavailable::SteerNotAsked);
    }
    if config.global.noreuseport && !has_blocks(config) {
        return Err(Unavailable::NoReuseport);
    }
    Steering::possible(config.global.ebpf.accel)
}

/// Whether the file has something to steer.
pub fn is_asked_for(config: &Config) -> bool {
    config.global.ebpf.steer != Steer::Off || has_blocks(config)
}

fn has_blocks(config: &Config) -> bool {
    let block = |bind: &Bind| matches!(bind.address, BindAddress::Block(_));
    running(config).flat_map(|frontend| &frontend.binds).any(block)
}

/// Binds every address, and lets the kernel help as far as it does: what it refuses is bound by ordinary means.
///
/// # Errors
/// When an address cannot be bound.
pub fn bind(
    config: &'static Config,
    workers: usize,
    maxconn: u32,
    possible: Result<(), Unavailable>,
) -> anyhow::Result<(Vec<Bound>, Result<Steering, Unavailable>)> {
    let reason = match possible {
        Ok(()) => {
            let bound = boot::bind_all(config, workers, maxconn, Ok(()))?;
            let steering = start(config, &bound, workers);
            match steering {
                Err(reason) if bound.iter().any(|bound| bound.owns.is_some()) => reason,
                steering => return Ok((bound, steering)),
            }
        }
        Err(reason) => reason,
    };
    let bound = boot::bind_all(config, workers, maxconn, Err(&reason.to_string()))?;
    let again = matches!(reason, Unavailable::Steer(_)) && config.global.ebpf.steer != Steer::Off;
    let steering = if again { start(config, &bound, workers) } else { Err(reason) };
    Ok((bound, steering))
}

/// Puts the sockets that were bound to work.
///
/// # Errors
/// Why not. Sockets of blocks are useless then: their other addresses have none.
pub fn start(config: &Config, bound: &[Bound], workers: usize) -> Result<Steering, Unavailable> {
    let mode = match config.global.ebpf.steer {
        Steer::Off => None,
        Steer::Least => Some(SteerMode::Least),
        Steer::Cpu => Some(SteerMode::Cpu),
    };
    let (mut groups, mut exact) = (Vec::new(), Vec::new());
    for bound in bound {
        let bind = &config.frontends[bound.frontend.0].binds[bound.bind];
        // The program finds a group by its address, which another network namespace may have as well.
        if bind.namespace.is_some() {
            continue;
        }
        let ipv4_too = takes_ipv4(bind, bound);
        if let BindAddress::Inet(address) = bind.address {
            exact.push(SteerExact { address, ipv4_too });
        }
        let inet = matches!(bind.address, BindAddress::Inet(_));
        if bound.owns.is_some() || (mode.is_some() && inet && bound.sockets.len() > 1) {
            let sockets =
                bound.sockets.iter().map(|(socket, workers)| (socket.as_fd(), &workers[..])).collect();
            groups.push(SteerGroup { sockets, owns: bound.owns.map(|block| owns(&block, ipv4_too)) });
        }
    }
    if groups.is_empty() {
        return Err(Unavailable::OneSocket);
    }
    let mode = mode.filter(|_| !config.global.noreuseport);
    Steering::start(&SteerPlan { mode, workers, groups, exact }).map_err(Unavailable::Steer)
}

/// Whether it is the wildcard of IPv6, and its sockets take IPv4 as well.
fn takes_ipv4(bind: &Bind, bound: &Bound) -> bool {
    let wildcard = match bind.address {
        BindAddress::Inet(address) => address.is_ipv6() && address.ip().is_unspecified(),
        BindAddress::Block(block) => block.first.is_ipv6() && block.first.is_unspecified(),
        _ => false,
    };
    let only_ipv6 = |socket| socket2::SockRef::from(socket).only_v6().unwrap_or(true);
    wildcard && bound.sockets.first().is_some_and(|(socket, _)| !only_ipv6(socket))
}

fn owns(block: &AddressBlock, ipv4_too: bool) -> SteerOwned {
    // The wildcard with a range of ports is every address.
    let bits = if block.first.is_unspecified() && !block.is_prefix() { 0 } else { block.bits };
    SteerOwned { address: block.first, bits, ports: block.low..=block.high, ipv4_too }
}
