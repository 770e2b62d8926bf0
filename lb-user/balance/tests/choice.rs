//! What every algorithm owes: shares by weight, backups last, full and excluded servers passed over, small moves.

#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use sockeye_balance::{
    Algorithm, Balance, Entry, Hash, HashFunction, HashMethod, HashSource, Load, Pick, Random, WEIGHT_SCALE,
};

const IDLE: Load = Load { in_flight: 0, full: false };

fn entries(weights: &[u32]) -> Vec<Entry> {
    (1..).zip(weights).map(|(id, weight)| Entry { numeric_id: id, weight: *weight, backup: false }).collect()
}

fn hashing(method: HashMethod) -> Hash {
    let source = HashSource::Uri { whole: false, len: 0, depth: 0, path_only: false };
    Hash { method, function: HashFunction::Sdbm, avalanche: true, ..Hash::new(source) }
}

fn algorithms() -> Vec<Algorithm> {
    let skipping = |method| Algorithm::Hash(Hash { skip_full: true, ..hashing(method) });
    vec![
        Algorithm::RoundRobin,
        Algorithm::StaticRoundRobin,
        Algorithm::LeastConn,
        Algorithm::First,
        Algorithm::Random(Random::default()),
        Algorithm::Random(Random { draws: 1, balance_factor: 150 }),
        skipping(HashMethod::MapBased),
        skipping(HashMethod::Consistent),
        Algorithm::Hash(Hash { skip_full: true, balance_factor: 125, ..hashing(HashMethod::Consistent) }),
    ]
}

fn pick(balance: &mut Balance, key: Option<u32>, loads: &dyn Fn(usize) -> Load) -> Option<usize> {
    let bytes = key.unwrap_or_default().to_string();
    // A weak but even sequence of random numbers.
    let random = u64::from(key.unwrap_or_default()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    balance.pick(Pick { key: key.map(|_| bytes.as_bytes()), random, loads, exclude: None })
}

/// How many of `picks` streams, which end at once, each server gets.
fn shares(balance: &mut Balance, servers: usize, picks: u32) -> Vec<u32> {
    let mut counts = vec![0; servers];
    for key in 0..picks {
        counts[pick(balance, Some(key), &|_| IDLE).unwrap()] += 1;
    }
    counts
}

#[test]
fn shares_follow_weights() {
    let weights = [1, 2, 3, 10];
    let cases: &[(Algorithm, u32)] = &[
        (Algorithm::RoundRobin, 1),
        (Algorithm::StaticRoundRobin, 0),
        (Algorithm::Random(Random { draws: 1, balance_factor: 0 }), 300),
        (Algorithm::Hash(hashing(HashMethod::MapBased)), 300),
        (Algorithm::Hash(hashing(HashMethod::Consistent)), 2000),
    ];
    for (algorithm, tolerance) in cases {
        let mut balance = Balance::new(algorithm.clone(), &entries(&weights), false);
        let counts = shares(&mut balance, weights.len(), 16_000);
        for (count, weight) in counts.iter().zip(weights) {
            let fair = weight * 1000;
            assert!(count.abs_diff(fair) <= *tolerance, "{algorithm:?}: {counts:?}, {fair} is fair");
        }
    }
}

#[test]
fn backups_wait_for_the_last_active_server() {
    for algorithm in algorithms() {
        for all_backups in [false, true] {
            let mut servers = entries(&[1, 1, 1, 1]);
            servers[2].backup = true;
            servers[3].backup = true;
            let mut balance = Balance::new(algorithm.clone(), &servers, all_backups);
            let used = |balance: &mut Balance| -> Vec<bool> {
                let loaded = |_| Load { in_flight: 1, full: false };
                let mut used = vec![false; 4];
                for key in 0..200 {
                    if let Some(index) = pick(balance, Some(key), &loaded) {
                        used[index] = true;
                    }
                }
                used
            };
            assert_eq!((balance.active(), balance.backups()), (2, 2));
            assert_eq!(used(&mut balance)[2..], [false, false], "{algorithm:?}");
            balance.set_weight(0, 0);
            assert_eq!(used(&mut balance), [false, true, false, false], "{algorithm:?}");
            balance.set_weight(1, 0);
            let second = all_backups && algorithm != Algorithm::First;
            assert_eq!(used(&mut balance), [false, false, true, second], "{algorithm:?} {all_backups}");
            balance.set_weight(2, 0);
            assert_eq!(used(&mut balance), [false, false, false, true], "{algorithm:?}");
            balance.set_weight(3, 0);
            assert_eq!(used(&mut balance), [false; 4], "{algorithm:?}");
            assert_eq!(balance.total_weight(), 0);
            balance.set_weight(1, WEIGHT_SCALE);
            balance.set_weight(3, WEIGHT_SCALE);
            assert_eq!(used(&mut balance), [false, true, false, false], "{algorithm:?}");
        }
    }
}

#[test]
fn first_fills_in_order_of_identifiers() {
    let mut servers = entries(&[1, 1, 1]);
    servers[0].numeric_id = 9;
    let mut balance = Balance::new(Algorithm::First, &servers, false);
    let mut running = [0_u32; 3];
    let order: Vec<Option<usize>> = (0..7)
        .map(|_| {
            let loads = |index: usize| Load { in_flight: running[index], full: running[index] >= 2 };
            let chosen = pick(&mut balance, None, &loads);
            if let Some(index) = chosen {
                running[index] += 1;
            }
            chosen
        })
        .collect();
    assert_eq!(order, [Some(1), Some(1), Some(2), Some(2), Some(0), Some(0), None]);
}

#[test]
fn leastconn_takes_turns_among_equals() {
    let mut balance = Balance::new(Algorithm::LeastConn, &entries(&[1, 1, 1]), false);
    let order: Vec<_> = (0..6).map(|_| pick(&mut balance, None, &|_| IDLE).unwrap()).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    let loads = [5, 1, 3];
    let busy = |index: usize| Load { in_flight: loads[index], full: false };
    assert_eq!(pick(&mut balance, None, &busy), Some(1));
}

#[test]
fn leastconn_weighs_loads() {
    let mut balance = Balance::new(Algorithm::LeastConn, &entries(&[1, 3]), false);
    let mut running = [0_u32; 2];
    for _ in 0..400 {
        let index =
            pick(&mut balance, None, &|index| Load { in_flight: running[index], full: false }).unwrap();
        running[index] += 1;
    }
    assert!(running[0].abs_diff(100) <= 1, "{running:?}");
}

#[test]
fn random_prefers_the_less_loaded_of_its_draws() {
    let mut balance = Balance::new(Algorithm::Random(Random::default()), &entries(&[1; 10]), false);
    let mut running = [0_u32; 10];
    for key in 0..10_000 {
        let index =
            pick(&mut balance, Some(key), &|index| Load { in_flight: running[index], full: false }).unwrap();
        running[index] += 1;
    }
    // Two choices keep the spread near log log n; one choice leaves about three deviations of thirty.
    let spread = running.iter().max().unwrap() - running.iter().min().unwrap();
    assert!(spread <= 12, "{running:?}");
}

#[test]
fn a_bound_keeps_popular_keys_from_piling_up() {
    let hash = Hash { balance_factor: 150, ..hashing(HashMethod::Consistent) };
    let mut balance = Balance::new(Algorithm::Hash(hash), &entries(&[1, 1, 2]), false);
    let mut running = [0_u32; 3];
    for total in 1..=400 {
        let index =
            pick(&mut balance, Some(7), &|index| Load { in_flight: running[index], full: false }).unwrap();
        running[index] += 1;
        let cap = |weight: u32| (total * 150_u32).div_ceil(100).saturating_mul(weight).div_ceil(4).max(1);
        assert!(running[0] <= cap(1) && running[1] <= cap(1) && running[2] <= cap(2), "{running:?}");
    }
}

#[test]
fn a_key_without_its_part_takes_turns() {
    for method in [HashMethod::MapBased, HashMethod::Consistent] {
        let mut balance = Balance::new(Algorithm::Hash(hashing(method)), &entries(&[1, 1, 1]), false);
        let order: Vec<_> = (0..6).map(|_| pick(&mut balance, None, &|_| IDLE).unwrap()).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2], "{method:?}");
    }
}

/// Where 5000 keys go.
fn map(balance: &mut Balance) -> Vec<usize> {
    (0..5000).map(|key| pick(balance, Some(key), &|_| IDLE).unwrap()).collect()
}

#[test]
fn a_consistent_hash_moves_the_leaver_s_share_alone() {
    let mut balance =
        Balance::new(Algorithm::Hash(hashing(HashMethod::Consistent)), &entries(&[4; 10]), false);
    let before = map(&mut balance);
    balance.set_weight(3, 0);
    let without = map(&mut balance);
    for (old, new) in before.iter().zip(&without) {
        assert!(if *old == 3 { *new != 3 } else { new == old });
    }
    balance.set_weight(3, 4 * WEIGHT_SCALE);
    assert_eq!(map(&mut balance), before);
    // Half warm, it takes part of its own keys back and nobody else's.
    balance.set_weight(3, 2 * WEIGHT_SCALE);
    let half = map(&mut balance);
    assert!(half.contains(&3));
    for ((old, gone), new) in before.iter().zip(&without).zip(&half) {
        assert!(new == old || new == gone);
    }
}

#[test]
fn a_static_algorithm_ignores_a_warming_weight() {
    for algorithm in [Algorithm::StaticRoundRobin, Algorithm::Hash(hashing(HashMethod::MapBased))] {
        let mut balance = Balance::new(algorithm, &entries(&[2, 2]), false);
        let before = shares(&mut balance, 2, 1000);
        balance.set_weight(0, 1);
        assert_eq!(shares(&mut balance, 2, 1000), before);
    }
}

#[test]
fn a_weight_beyond_the_configured_one_counts() {
    let mut balance =
        Balance::new(Algorithm::Hash(hashing(HashMethod::Consistent)), &entries(&[1, 1]), false);
    let even = shares(&mut balance, 2, 4000)[0];
    balance.set_weight(0, 50 * WEIGHT_SCALE);
    let more = shares(&mut balance, 2, 4000)[0];
    assert!(more > even && more > 3600, "{even} {more}");
}

#[test]
fn ten_thousand_servers() {
    for algorithm in algorithms() {
        let mut balance = Balance::new(algorithm.clone(), &entries(&[1; 10_000]), false);
        balance.set_weight(77, 0);
        for key in 0..50 {
            assert!(
                pick(&mut balance, Some(key), &|_| IDLE).is_some_and(|index| index != 77),
                "{algorithm:?}"
            );
        }
        // All but one full: it is found however far it is.
        let alone = |index: usize| Load { in_flight: 1, full: index != 9_999 };
        assert_eq!(pick(&mut balance, Some(1), &alone), Some(9_999), "{algorithm:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// A choice is always a member with room that is not excluded, and there is one if there is such a member.
    #[test]
    fn a_choice_is_allowed_and_found(
        servers in prop::collection::vec((0..4_u32, any::<bool>(), 0..3_u32, any::<bool>()), 0..12),
        all_backups in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..80_u32), 0..8),
        exclude in 0..14_usize,
        keys in prop::collection::vec(prop::option::of(any::<u32>()), 1..20),
    ) {
        let entries: Vec<Entry> = (1..)
            .zip(&servers)
            .map(|(id, (weight, backup, _, _))| Entry { numeric_id: id, weight: *weight, backup: *backup })
            .collect();
        for algorithm in algorithms() {
            let mut balance = Balance::new(algorithm.clone(), &entries, all_backups);
            let mut weights: Vec<u32> = entries.iter().map(|entry| entry.weight).collect();
            for (which, weight) in &changes {
                if entries.is_empty() {
                    break;
                }
                let index = which.index(entries.len());
                balance.set_weight(index, *weight);
                let configured = entries[index].weight;
                weights[index] = if algorithm.is_dynamic() || *weight == 0 { *weight } else { configured };
            }
            let usable = |backup: bool| -> Vec<usize> {
                (0..entries.len()).filter(|i| entries[*i].backup == backup && weights[*i] > 0).collect()
            };
            let (actives, backups) = (usable(false), usable(true));
            let members = match (actives.is_empty(), all_backups) {
                (false, _) => actives.clone(),
                (true, true) => backups.clone(),
                (true, false) => backups.iter().copied().take(1).collect(),
            };
            prop_assert_eq!(balance.active() as usize, actives.len());
            prop_assert_eq!(balance.backups() as usize, backups.len());
            let takes = |index: usize| index != exclude && !servers[index].3;
            let possible = members.iter().any(|index| takes(*index));
            for key in &keys {
                let text = key.map(|key| key.to_string());
                let chosen = balance.pick(Pick {
                    key: text.as_ref().map(String::as_bytes),
                    random: u64::from(key.unwrap_or(1)) << 32,
                    loads: &|index| Load { in_flight: servers[index].2, full: servers[index].3 },
                    exclude: Some(exclude),
                });
                prop_assert_eq!(chosen.is_some(), possible, "{:?}", algorithm);
                if let Some(index) = chosen {
                    prop_assert!(members.contains(&index) && takes(index), "{:?} chose {}", algorithm, index);
                }
            }
        }
    }
}
