//! The hash algorithms send keys where HAProxy sends them: `haproxy.txt` was recorded from the real one.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::IpAddr;

use sockeye_balance::{Algorithm, Balance, Entry, Hash, HashFunction, HashMethod, HashSource, Load, Pick};

#[test]
fn keys_go_where_haproxy_sends_them() {
    let lines: Vec<&str> =
        include_str!("haproxy.txt").lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() > 30);
    for line in lines {
        check(line);
    }
}

fn check(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let [keys, method, function, avalanche, weights, expected] = words[..] else { panic!("{line}") };
    let ids: &[u32] =
        if keys == "ids" { &[10, 777, 123_456_789, 2_000_000_000] } else { &[1, 2, 3, 4, 5, 6, 7] };
    let entries: Vec<Entry> = weights
        .split(',')
        .zip(ids)
        .map(|(weight, id)| Entry { numeric_id: *id, weight: weight.parse().unwrap(), backup: false })
        .collect();
    let hash = Hash {
        source: match keys {
            "source" => HashSource::Source,
            _ => HashSource::Uri { whole: false, len: 0, depth: 0, path_only: false },
        },
        method: if method == "consistent" { HashMethod::Consistent } else { HashMethod::MapBased },
        function: match function {
            "sdbm" => HashFunction::Sdbm,
            "djb2" => HashFunction::Djb2,
            "wt6" => HashFunction::Wt6,
            "crc32" => HashFunction::Crc32,
            other => panic!("{other}"),
        },
        avalanche: avalanche == "avalanche",
        balance_factor: 0,
        skip_full: false,
    };
    let mut balance = Balance::new(Algorithm::Hash(hash), &entries, false);
    let chosen: String = if keys == "source" { addresses() } else { paths() }
        .iter()
        .map(|key| {
            let pick = Pick {
                key: Some(key),
                random: 0,
                loads: &|_| Load { in_flight: 9, full: true },
                exclude: None,
            };
            balance.pick(pick).unwrap().to_string()
        })
        .collect();
    assert_eq!(chosen, expected, "{line}");
}

fn paths() -> Vec<Vec<u8>> {
    let short = (0..100).map(|n| format!("/k{n}"));
    let long = (0..100).map(|n| format!("/img/{}/a.png", n * 37));
    short.chain(long).map(String::into_bytes).collect()
}

fn addresses() -> Vec<Vec<u8>> {
    let texts = (1..20)
        .map(|n| format!("10.0.0.{n}"))
        .chain((0..20).map(|n| format!("192.168.{n}.{}", n * 3)))
        .chain((1..20).map(|n| format!("2001:db8::{n:x}")))
        .chain((0..20).map(|n| format!("2001:db8:{n:x}:1::{:x}:7", n * 3)));
    texts
        .map(|text| match text.parse().unwrap() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        })
        .collect()
}
