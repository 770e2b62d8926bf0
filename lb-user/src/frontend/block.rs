//! Binds of a whole prefix or of many ports.
//!
//! With the kernel's help one group of sockets, bound to one address of the block, gets the connections to all of them;
//! without it every address has sockets of its own, as long as that is possible.

use std::cell::RefCell;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use sockeye_config::model::{AddressBlock, Bind, BindAddress, Config, Frontend, Mode};

use super::listener::{self, BindContext, BindError};

/// Addresses that may have sockets of their own because the kernel does not help.
pub const BLOCK_SOCKETS_MAX: u128 = 65_536;

/// Which address of each block its sockets are bound to. Two binds must not meet there, or their sockets would share
/// connections.
#[derive(Debug)]
pub struct Anchors {
    /// Listening addresses of the file that are no blocks.
    exact: HashSet<SocketAddr>,
    chosen: RefCell<HashSet<SocketAddr>>,
}

impl Anchors {
    pub fn new(config: &Config) -> Self {
        let exact =
            running(config).flat_map(|frontend| &frontend.binds).filter_map(|bind| match bind.address {
                BindAddress::Inet(address) => Some(address),
                _ => None,
            });
        Self { exact: exact.collect(), chosen: RefCell::default() }
    }

    fn choose(&self, block: &AddressBlock) -> SocketAddr {
        let mut chosen = self.chosen.borrow_mut();
        let first = SocketAddr::new(block.first, block.low);
        // Every listening address of the file could be in the way, and not more.
        let tries = self.exact.len() + chosen.len() + 1;
        let free = |address: &SocketAddr| !self.exact.contains(address) && !chosen.contains(address);
        let anchor = block.addresses().take(tries).find(free).unwrap_or(first);
        chosen.insert(anchor);
        anchor
    }
}

/// Sections whose binds have listening sockets.
pub fn running(config: &Config) -> impl Iterator<Item = &Frontend> {
    config.frontends.iter().filter(|frontend| !frontend.disabled && frontend.mode != Mode::Packet)
}

/// The block that one group of sockets serves, if the bind has one and the kernel helps.
pub fn owned(cfg: &Bind, context: &BindContext<'_>) -> Option<AddressBlock> {
    match cfg.address {
        // Packets of other network namespaces meet no program of ours.
        BindAddress::Block(block) if context.steered.is_ok() && cfg.namespace.is_none() => Some(block),
        _ => None,
    }
}

/// How many addresses of a bind have sockets of their own.
pub fn addresses(cfg: &Bind, steered: bool) -> usize {
    match cfg.address {
        BindAddress::Block(block) if !steered || cfg.namespace.is_some() => {
            usize::try_from(block.count().min(BLOCK_SOCKETS_MAX)).unwrap_or(usize::MAX)
        }
        _ => 1,
    }
}

/// Creates, binds and listens on the sockets of a block.
pub fn bind(
    cfg: &Bind,
    block: &AddressBlock,
    workers: &[usize],
    context: &BindContext<'_>,
) -> Result<Vec<(OwnedFd, Vec<usize>)>, BindError> {
    // A bind of one address comes first, and its sockets must not meet ours.
    let ours = || block.addresses().filter(|address| !context.anchors.exact.contains(address));
    if owned(cfg, context).is_some() {
        if !block.is_prefix() {
            // A port that somebody else listens on is not ours to take, as it would not be with a socket for each.
            for address in ours() {
                listener::probe(cfg, address, context)?;
            }
        }
        return listener::group(cfg, context.anchors.choose(block), workers, context);
    }
    if block.count() > BLOCK_SOCKETS_MAX {
        let reason = context.steered.err().unwrap_or("another network namespace");
        return Err(BindError::TooWide { addresses: block.count(), reason: reason.to_owned() });
    }
    let mut sockets = Vec::new();
    for address in ours() {
        sockets.extend(listener::group(cfg, address, workers, context)?);
    }
    Ok(sockets)
}
