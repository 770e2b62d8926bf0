//! Lists that change while they are used: every index finds what a look through all entries finds.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use proptest::prelude::*;
use sockeye_pattern::{Entry, Flags, Key, Library, Matcher, Method, Reference};

fn opened(text: &str, method: Method, ignore_case: bool) -> (Arc<Reference>, Matcher) {
    let text = text.as_bytes().to_vec();
    let loader = Box::new(move |_: &str| io::Result::Ok(text.clone()));
    let mut library = Library::new(loader, Box::new(|_| None));
    let flags = Flags { ignore_case, no_names: true };
    let matcher = Matcher::build(&mut library, method, flags, &[], &["list"], true, None).expect("a list");
    (library.open("list", true).expect("known"), matcher)
}

/// How one pattern compares, written as plainly as can be; with the length that counts where the longest one wins.
fn compare(method: Method, ignore_case: bool, pattern: &str, key: Key<'_>) -> Option<usize> {
    let fold = |text: &[u8]| if ignore_case { text.to_ascii_lowercase() } else { text.to_vec() };
    let range = |value: i64| {
        let (min, max) = pattern.split_once(':').unwrap_or((pattern, pattern));
        let min = if min.is_empty() { i64::MIN } else { min.parse().expect("a number") };
        let max = if max.is_empty() { i64::MAX } else { max.parse().expect("a number") };
        min <= value && value <= max
    };
    let text = match key {
        Key::Bytes(text) => fold(text),
        Key::Int(value) => return range(value).then_some(0),
        Key::Ip(IpAddr::V4(address)) => {
            let (network, length) = pattern.split_once('/').expect("a network");
            let (network, length): (Ipv4Addr, u32) =
                (network.parse().expect("an address"), length.parse().expect("a length"));
            let mask = if length == 0 { 0 } else { u32::MAX << (32 - length) };
            return (address.to_bits() & mask == network.to_bits() & mask).then_some(length as usize);
        }
        Key::Ip(IpAddr::V6(address)) => {
            let (network, length) = pattern.split_once('/').expect("a network");
            let (network, length): (Ipv6Addr, u32) =
                (network.parse().expect("an address"), length.parse().expect("a length"));
            let mask = if length == 0 { 0 } else { u128::MAX << (128 - length) };
            return (address.to_bits() & mask == network.to_bits() & mask).then_some(length as usize);
        }
        Key::Bool(_) => return None,
    };
    let part = fold(pattern.as_bytes());
    let delimiters: &[u8] = if method == Method::Dir { b"/?" } else { b"/?.:" };
    let is_edge = |at: usize| at == text.len() || delimiters.contains(&text[at]);
    let matches = match method {
        Method::Str => text == part,
        Method::Beg => text.starts_with(&part),
        Method::End => text.ends_with(&part),
        Method::Sub => part.is_empty() || text.windows(part.len()).any(|window| window == part),
        Method::Len => range(i64::try_from(text.len()).expect("short")),
        Method::Reg => regex::bytes::RegexBuilder::new(pattern)
            .unicode(false)
            .case_insensitive(ignore_case)
            .build()
            .expect("an expression")
            .is_match(&text),
        Method::Dir | Method::Dom => (0..text.len()).any(|begin| {
            (begin == 0 || is_edge(begin - 1))
                && text[begin..].starts_with(&part)
                && is_edge(begin + part.len())
        }),
        _ => false,
    };
    matches.then_some(if method == Method::Beg { part.len() } else { 0 })
}

fn naive(method: Method, ignore_case: bool, entries: &[Arc<Entry>], key: Key<'_>) -> Option<u64> {
    let mut best: Option<(usize, u64)> = None;
    for entry in entries {
        let pattern = std::str::from_utf8(&entry.pattern).expect("text");
        if let Some(length) = compare(method, ignore_case, pattern, key)
            && best.is_none_or(|(known, _)| length > known)
        {
            best = Some((length, entry.id));
        }
    }
    best.map(|(_, id)| id)
}

/// Patterns and keys of few letters, so that they often meet.
fn word(method: Method) -> BoxedStrategy<String> {
    match method {
        Method::Int | Method::Len => (0_i64..12, 0_i64..12, 0..4)
            .prop_map(|(a, b, form)| match form {
                0 => format!("{}:{}", a.min(b), a.max(b)),
                1 => format!("{a}:"),
                2 => format!(":{a}"),
                _ => a.to_string(),
            })
            .boxed(),
        Method::Ip => (any::<bool>(), 0_u32..16, 0_u32..=32)
            .prop_map(|(v4, bits, length)| {
                if v4 {
                    format!("{}/{length}", Ipv4Addr::from_bits(bits << 28 | bits))
                } else {
                    let address = Ipv6Addr::from_bits(0x2001 << 112 | u128::from(bits) << 108);
                    // Wider ones would have IPv4 addresses in them, too.
                    format!("{address}/{}", (length * 4).max(16))
                }
            })
            .boxed(),
        Method::Dir | Method::Dom => "[abA]{1,2}([/.][abA]{1,2}){0,2}".boxed(),
        Method::Reg => "\\^?[ab][abA.]{0,3}\\$?".boxed(),
        _ => "[abA]{1,5}".boxed(),
    }
}

#[derive(Debug, Clone)]
enum Change {
    Add(String),
    Del(prop::sample::Index),
    Clear,
}

fn changes(method: Method) -> BoxedStrategy<Vec<Change>> {
    let one = prop_oneof![
        20 => word(method).prop_map(Change::Add),
        8 => any::<prop::sample::Index>().prop_map(Change::Del),
        1 => Just(Change::Clear),
    ];
    proptest::collection::vec(one, 0..140).boxed()
}

const METHODS: [Method; 10] = [
    Method::Str,
    Method::Beg,
    Method::End,
    Method::Sub,
    Method::Dir,
    Method::Dom,
    Method::Reg,
    Method::Int,
    Method::Len,
    Method::Ip,
];

type Case = (Method, bool, Vec<String>, Vec<Change>, Vec<String>, Vec<u32>);

fn case() -> impl Strategy<Value = Case> {
    (0..METHODS.len(), any::<bool>()).prop_flat_map(|(method, ignore_case)| {
        let method = METHODS[method];
        (
            Just(method),
            Just(ignore_case),
            proptest::collection::vec(word(method), 0..20),
            changes(method),
            proptest::collection::vec("[abA/.?]{0,9}", 12),
            proptest::collection::vec(any::<u32>(), 12),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_index_finds_what_a_look_through_all_finds((method, ignore_case, first, changes, texts, numbers) in case()) {
        let text: String = first.iter().map(|pattern| format!("{pattern} value\n")).collect();
        let (list, matcher) = opened(&text, method, ignore_case);
        let check = || -> Result<(), TestCaseError> {
            let entries = list.entries();
            prop_assert_eq!(list.len(), entries.len());
            for (text, number) in texts.iter().zip(&numbers) {
                let key = match method {
                    Method::Int => Key::Int(i64::from(number % 14) - 1),
                    Method::Ip if number % 2 == 0 => Key::Ip(Ipv4Addr::from_bits(*number).into()),
                    Method::Ip => Key::Ip(Ipv6Addr::from_bits(0x2001 << 112 | u128::from(*number) << 80).into()),
                    _ => Key::Bytes(text.as_bytes()),
                };
                let of_family: Vec<_> = entries
                    .iter()
                    .filter(|entry| match key {
                        Key::Ip(address) => address.is_ipv6() == entry.pattern.contains(&b':'),
                        _ => true,
                    })
                    .cloned()
                    .collect();
                let expected = naive(method, ignore_case, &of_family, key);
                prop_assert_eq!(matcher.find(key).map(|entry| entry.id), expected, "{:?}", key);
                prop_assert_eq!(matcher.matches(key), expected.is_some());
            }
            Ok(())
        };
        check()?;
        for (step, change) in changes.iter().enumerate() {
            match change {
                Change::Add(pattern) => list.add(pattern.as_bytes(), Some(b"new"), 0).expect("a pattern"),
                Change::Del(which) if !list.is_empty() => {
                    let entries = list.entries();
                    let pattern = &which.get(&entries).pattern;
                    prop_assert!(list.del(pattern));
                    prop_assert!(!list.contains(pattern));
                }
                Change::Del(_) => {}
                Change::Clear => list.clear(),
            }
            if step % 16 == 0 {
                check()?;
            }
        }
        check()?;
    }

    #[test]
    fn nothing_panics(
        file in proptest::collection::vec(any::<u8>(), 0..200),
        pattern in proptest::collection::vec(any::<u8>(), 0..20),
        key in proptest::collection::vec(any::<u8>(), 0..60),
        method in 0..METHODS.len(),
        ignore_case in any::<bool>(),
    ) {
        let mut library = Library::new(Box::new(move |_| Ok(file.clone())), Box::new(|_| None));
        let flags = Flags { ignore_case, no_names: false };
        let method = METHODS[method];
        if let Ok(matcher) = Matcher::build(&mut library, method, flags, &[], &["list"], true, None) {
            let list = library.open("list", true).expect("known");
            let _ = list.upsert(&pattern, &key);
            let _ = list.insert_new(&key);
            for key in [Key::Bytes(&key), Key::Int(i64::MIN), Key::Ip(Ipv4Addr::LOCALHOST.into()), Key::Bool(true)] {
                prop_assert_eq!(matcher.matches(key), matcher.find(key).is_some());
            }
            list.del(&pattern);
        }
    }
}

#[test]
fn many_additions_settle() {
    for method in METHODS {
        let (list, matcher) = opened("", method, false);
        let word = |number: u32| match method {
            Method::Int | Method::Len => format!("{}:{}", number * 10, number * 10 + 5),
            Method::Ip => format!("{}/32", Ipv4Addr::from_bits(number)),
            Method::Reg => format!("^x{number}y$"),
            _ => format!("x{number}y"),
        };
        for number in 0..300 {
            list.add(word(number).as_bytes(), Some(number.to_string().as_bytes()), 0).expect("a pattern");
        }
        let value = |number: u32| {
            let text = if method == Method::Len { "x".repeat(number as usize * 10) } else { word(number) };
            let text = if method == Method::Reg { format!("x{number}y") } else { text };
            let key = match method {
                Method::Int => Key::Int(i64::from(number) * 10),
                Method::Ip => Key::Ip(Ipv4Addr::from_bits(number).into()),
                _ => Key::Bytes(text.as_bytes()),
            };
            matcher.find(key).and_then(|entry| entry.value_int())
        };
        for number in (0..300).step_by(7) {
            assert_eq!(value(number), Some(i64::from(number)), "{}", method.name());
            assert!(list.set(word(number).as_bytes(), b"-1"));
            assert_eq!(value(number), Some(-1), "{}", method.name());
            assert!(list.del(word(number).as_bytes()));
            assert_eq!(value(number), None, "{}", method.name());
        }
    }
}

#[test]
fn entries_by_number() {
    let (list, matcher) = opened("a 1\na 2\nb 10.0.0.1\n", Method::Str, false);
    let ids: Vec<u64> = list.entries().iter().map(|entry| entry.id).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 3);
    assert!(
        list.set_id(ids[1], b"3") && list.del_id(ids[0]) && !list.del_id(ids[0]) && !list.set_id(99, b"")
    );
    assert_eq!(matcher.find(Key::Bytes(b"a")).and_then(|entry| entry.value_int()), Some(3));
    assert_eq!(list.get(b"b").and_then(|entry| entry.value_ip()), Some(IpAddr::from([10, 0, 0, 1])));
    assert_eq!(list.get(b"c"), None);
}

/// management.txt: prepare, add, clear, commit.
#[test]
fn versions() {
    let (list, matcher) = opened("a 1\n", Method::Str, false);
    let found = |text: &str| matcher.matches(Key::Bytes(text.as_bytes()));
    assert_eq!(list.versions(), (0, 0));
    assert!(list.add_version(1, b"x", None).is_err() && list.commit(1).is_err() && list.commit(0).is_err());
    let (one, two, three) = (list.prepare(), list.prepare(), list.prepare());
    assert_eq!((one, two, three, list.versions()), (1, 2, 3, (0, 3)));
    for (version, text) in [(one, "one"), (two, "two"), (three, "three"), (0, "now")] {
        list.add_version(version, text.as_bytes(), Some(b"v")).expect("prepared");
    }
    assert_eq!(list.version_entries(two).len(), 1);
    assert!(found("a") && found("now") && !found("one") && !found("two"));
    list.commit(two).expect("prepared");
    assert!(found("two") && !found("a") && !found("now"));
    assert_eq!((list.versions(), list.len()), ((2, 3), 1));
    assert!(list.version_entries(one).is_empty() && list.commit(one).is_err());
    list.clear_version(three);
    list.commit(three).expect("prepared, and empty");
    assert!(list.is_empty() && !found("two") && !found("three"));
}

#[test]
fn what_a_method_cannot_read_changes_nothing() {
    let (list, matcher) = opened("1 a\n", Method::Int, false);
    assert_eq!(list.add(b"x", None, 0), Err("'x' is not a number".to_owned()));
    let version = list.prepare();
    assert!(list.add_version(version, b"x", None).is_err());
    assert_eq!(list.len(), 1);
    assert!(list.upsert(b"2", &[b'x'; 70_000]).is_err() && list.upsert(b"1", &[b'x'; 70_000]).is_err());
    assert!(matcher.matches(Key::Int(1)) && !matcher.matches(Key::Int(2)));
}

/// While others add, change, take out and commit, what is never touched is found by everybody at any time.
#[test]
fn lookups_beside_changes() {
    const WRITERS: usize = 3;
    for method in [Method::Str, Method::Beg, Method::Sub, Method::Reg] {
        let (list, matcher) = opened("steady 1\n", method, false);
        let (is_over, start) = (AtomicBool::new(false), Barrier::new(WRITERS + 2));
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (list, start) = (&list, &start);
                    scope.spawn(move || {
                        start.wait();
                        for number in 0..400 {
                            let text = format!("w{writer}-{}", number % 90);
                            match number % 3 {
                                0 => _ = list.del(text.as_bytes()),
                                1 => list.upsert(text.as_bytes(), b"1").expect("added"),
                                _ => list.add(text.as_bytes(), None, 0).expect("added"),
                            }
                        }
                    })
                })
                .collect();
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        while !is_over.load(Ordering::Relaxed) {
                            let found = matcher.find(Key::Bytes(b"steady")).expect("never touched");
                            assert_eq!(found.value_int(), Some(1));
                            assert!(!matcher.matches(Key::Bytes(b"nothing")));
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.join().expect("a writer");
            }
            is_over.store(true, Ordering::Relaxed);
            for reader in readers {
                reader.join().expect("a reader");
            }
        });
    }
}
