//! Thousands of transfers at once over two threads, on every path. Slow, so only when asked for:
//! `cargo test -p sockeye-relay --release --test stress -- --ignored --nocapture`, with `STRESS_TRANSFERS` and
//! `STRESS_SEED` to change how many and which.

mod rig;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rig::{Order, Transfer};
use sockeye_relay::{Policy, Splice};
use tokio::net::TcpListener;

const THREADS: usize = 2;
/// Transfers in progress per thread: enough to stall each other, few enough for the descriptors.
const TASKS: usize = 24;
const BYTES_MAX: usize = 8 << 20;
/// More than any transfer takes that is not lost.
const HANG: Duration = Duration::from_secs(120);

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn worker(policy: &Policy, next: &Arc<AtomicU64>, end: u64) {
    rig::run(async {
        let mut tasks = Vec::new();
        for _ in 0..TASKS {
            let (policy, next) = (policy.clone(), Arc::clone(next));
            tasks.push(tokio::task::spawn_local(async move {
                // One each, so that nobody accepts another's connection.
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let mut random = fastrand::Rng::with_seed(seed);
                    let transfer = Transfer {
                        order: Order::ALL[random.usize(..Order::ALL.len())],
                        from_client: rig::size(&mut random, BYTES_MAX),
                        from_server: rig::size(&mut random, BYTES_MAX),
                        slow: random.u8(..8) == 0,
                        seed,
                    };
                    let done = tokio::time::timeout(HANG, rig::check(&listener, &policy, transfer)).await;
                    assert!(done.is_ok(), "{transfer:?} hangs");
                }
            }));
        }
        for task in tasks {
            task.await.expect("every transfer is whole");
        }
    });
}

fn stress(name: &str, policy: &Policy) {
    let first = variable("STRESS_SEED", 0);
    let end = first + variable("STRESS_TRANSFERS", 2_000);
    let next = Arc::new(AtomicU64::new(first));
    let before = sockeye_relay::counters();
    let start = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| worker(policy, &next, end));
        }
    });
    let after = sockeye_relay::counters();
    let mut error = std::io::stderr();
    writeln!(error, "{name}: {} transfers in {:?}", end - first, start.elapsed()).expect("standard error");
    writeln!(error, "  before: {before}\n  after:  {after}").expect("standard error");
    if let Some(sockmap) = &policy.sockmap {
        let counters = sockmap.counters().expect("readable");
        writeln!(error, "  {counters:?}, {} active", sockmap.active()).expect("standard error");
        assert_eq!(sockmap.active(), 0, "flows left in the maps");
    }
}

#[test]
#[ignore = "takes minutes"]
fn every_path() {
    stress("copy", &Policy { splice: Splice::Never, sockmap: None });
    stress("splice", &Policy { splice: Splice::Auto, sockmap: None });
    if let Some(policy) = rig::sockmap_policy() {
        stress("sockmap", &policy);
        if let Some(sockmap) = &policy.sockmap {
            sockmap.limit_backlog(1_000);
        }
        stress("sockmap, gated", &policy);
        // The direction that the kernel does not forward may be spliced meanwhile.
        stress("sockmap and splice", &Policy { splice: Splice::Auto, ..policy });
    }
}
