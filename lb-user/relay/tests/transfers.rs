//! Nothing is lost, reordered or invented, whatever the path and whoever ends first.

mod rig;

use rig::{Order, Transfer};
use sockeye_relay::{Policy, Splice};
use tokio::net::TcpListener;

/// Transfers of random sizes in every order; the seed is printed by every failure.
fn check_all(policy: &Policy, transfers: u64, bytes_max: usize) {
    rig::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        for seed in 0..transfers {
            let mut random = fastrand::Rng::with_seed(seed);
            let transfer = Transfer {
                order: Order::ALL[random.usize(..Order::ALL.len())],
                from_client: rig::size(&mut random, bytes_max),
                from_server: rig::size(&mut random, bytes_max),
                slow: false,
                seed,
            };
            let done = rig::check(&listener, policy, transfer);
            assert!(
                tokio::time::timeout(std::time::Duration::from_secs(20), done).await.is_ok(),
                "{transfer:?} hangs"
            );
        }
    });
}

#[test]
fn copied() {
    check_all(&Policy { splice: Splice::Never, sockmap: None }, 200, 2 << 20);
}

#[test]
fn spliced() {
    let before = sockeye_relay::counters();
    check_all(&Policy { splice: Splice::Auto, sockmap: None }, 200, 8 << 20);
    assert!(sockeye_relay::counters().splice.flows > before.splice.flows, "nothing was spliced");
}

#[test]
fn forwarded_by_the_kernel() {
    let Some(policy) = rig::sockmap_policy() else { return };
    let before = sockeye_relay::counters();
    check_all(&policy, 200, 8 << 20);
    let after = sockeye_relay::counters();
    assert!(after.sockmap.bytes > before.sockmap.bytes, "nothing was forwarded: {after}");
}

#[test]
fn forwarded_by_the_kernel_with_a_gate_that_closes() {
    let Some(policy) = rig::sockmap_policy() else { return };
    let sockmap = policy.sockmap.as_ref().expect("loaded");
    sockmap.limit_backlog(1_000);
    check_all(&policy, 200, 8 << 20);
    let gated = sockmap.counters().expect("readable").into_iter().find(|(name, _)| *name == "gated");
    assert!(gated.is_some_and(|(_, count)| count > 0), "the gate never closed");
}
