//! Descriptors and connections: how many connections the process may have, and whether the system allows it.

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sockeye_config::model::Config;

/// Descriptors besides connections and listeners: logs, epoll instances, kernel maps, libraries.
const RESERVED: u64 = 64;
/// Descriptors per worker: its epoll instance, its wake-up descriptor, some pipes.
const PER_WORKER: u64 = 16;
/// A connection has one descriptor on each side.
const PER_CONNECTION: u64 = 2;
/// What a connection has that carries streams on both sides: each of them needs to know the connection's addresses, which
/// a second descriptor tells.
const PER_CONNECTION_MOST: u64 = 2 * PER_CONNECTION;
/// The least `maxconn` that a start is worth.
const MAXCONN_MIN: u64 = 10;

/// `maxconn` of the process, and the descriptor limit that it needs and now has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub maxconn: u32,
    pub descriptors: u64,
}

/// Computes `maxconn` when the file does not say, and raises the descriptor limit to what it takes.
///
/// # Errors
/// With `strict-limits` (the default) when the limit cannot be raised that far; the error says to what.
pub fn apply(config: &Config, workers: usize, listeners: usize) -> Result<Limits> {
    let now = getrlimit(Resource::Nofile);
    let hard = now.maximum.unwrap_or(u64::MAX);
    let fixed = RESERVED + PER_WORKER * workers as u64 + listeners as u64;
    let (maxconn, wanted) = plan(config, hard, fixed);
    let current = now.current.unwrap_or(u64::MAX);
    let roomy = roomy(config, hard, fixed, maxconn);
    if roomy > current.max(wanted) {
        let raised = Rlimit { current: Some(roomy), maximum: Some(hard) };
        // What nobody has asked for may be refused.
        if setrlimit(Resource::Nofile, raised).is_ok() {
            return Ok(Limits { maxconn, descriptors: current.max(wanted) });
        }
    }
    if wanted <= current {
        return Ok(Limits { maxconn, descriptors: current });
    }
    let raised = Rlimit { current: Some(wanted), maximum: Some(hard.max(wanted)) };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(Limits { maxconn, descriptors: wanted });
    }
    if config.global.strict_limits {
        bail!("[haproxy.main()] Cannot raise FD limit to {wanted}, limit is {hard}.");
    }
    let most = Rlimit { current: Some(hard), maximum: Some(hard) };
    setrlimit(Resource::Nofile, most).context("cannot raise the descriptor limit")?;
    Ok(Limits { maxconn, descriptors: hard })
}

/// The `maxconn` in force and the descriptors it takes.
fn plan(config: &Config, hard: u64, fixed: u64) -> (u32, u64) {
    if let Some(maxconn) = config.global.maxconn.filter(|n| *n > 0) {
        let needed = fixed + PER_CONNECTION * u64::from(maxconn);
        return (maxconn, config.global.ulimit_n.unwrap_or(0).max(needed));
    }
    let most = config.global.ulimit_n.unwrap_or(hard).min(config.global.fd_hard_limit.unwrap_or(u64::MAX));
    // Without any limit there is still one that memory can carry.
    let most = most.min(DESCRIPTORS_WITHOUT_LIMIT);
    let maxconn = (most.saturating_sub(fixed) / PER_CONNECTION).max(MAXCONN_MIN);
    (u32::try_from(maxconn).unwrap_or(u32::MAX), most)
}

/// The descriptors that all connections have at most, as far as the system and the configuration allow them.
fn roomy(config: &Config, hard: u64, fixed: u64, maxconn: u32) -> u64 {
    let most = config.global.ulimit_n.unwrap_or(hard).min(config.global.fd_hard_limit.unwrap_or(u64::MAX));
    (fixed + PER_CONNECTION_MOST * u64::from(maxconn)).min(most).min(hard)
}

/// The descriptors planned for when the system sets no limit of its own.
const DESCRIPTORS_WITHOUT_LIMIT: u64 = 1_048_576;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxconn_follows_the_limit_and_the_limit_follows_maxconn() {
        let check = |maxconn: Option<u32>, ulimit: Option<u64>, hard: u64, expected: (u32, u64)| {
            let mut config = Config::default();
            config.global.maxconn = maxconn;
            config.global.ulimit_n = ulimit;
            assert_eq!(plan(&config, hard, 100), expected);
        };
        check(Some(1_000), None, 20_000, (1_000, 2_100));
        let mut config = Config::default();
        assert_eq!(roomy(&config, 20_000, 100, 1_000), 4_100);
        assert_eq!(roomy(&config, 3_000, 100, 1_000), 3_000);
        config.global.ulimit_n = Some(2_500);
        assert_eq!(roomy(&config, 20_000, 100, 1_000), 2_500);
        check(Some(1_000), Some(9_000), 20_000, (1_000, 9_000));
        check(None, None, 20_000, (9_950, 20_000));
        check(None, Some(300), 20_000, (100, 300));
        check(None, None, 50, (10, 50));
        check(None, None, u64::MAX, (524_238, DESCRIPTORS_WITHOUT_LIMIT));
    }
}
