//! Every word that HAProxy knows has a place in the tables: `words.txt` lists those of its manual and of its `-dKall`.

use std::collections::BTreeSet;

use sockeye_config::keyword::{Class, Standing, all};

/// The classes by their names in the list.
const CLASSES: &[(&str, Class)] = &[
    ("global", Class::Global),
    ("proxy", Class::Proxy),
    ("timeout", Class::Timeout),
    ("option", Class::Option),
    ("bind", Class::Bind),
    ("server", Class::Server),
    ("http-check", Class::HttpCheck),
    ("tcp-check", Class::TcpCheck),
    ("action", Class::Action),
    ("other", Class::OtherSection),
    ("acl", Class::Acl),
    ("converter", Class::Converter),
    ("fetch", Class::Fetch),
    ("filter", Class::Filter),
    ("service", Class::Service),
    ("section", Class::Section),
    ("cli", Class::Cli),
];

#[test]
fn every_word_of_haproxy_is_known() {
    let mut class = Class::Global;
    let mut missing = Vec::new();
    let listed = all();
    let mut known = BTreeSet::new();
    for line in include_str!("words.txt").lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            class = CLASSES.iter().find(|(known, _)| *known == name).expect("a known class").1;
            known = listed.iter().filter(|word| word.class == class).map(|word| word.name).collect();
            continue;
        }
        // A runtime command is several words.
        let separator = if class == Class::Cli { '\n' } else { ' ' };
        missing.extend(line.split(separator).filter(|word| !known.contains(word)).map(|word| (class, word)));
    }
    assert_eq!(missing, [], "no status");
}

#[test]
fn no_word_is_listed_twice() {
    let mut seen = BTreeSet::new();
    for word in all() {
        assert!(seen.insert(format!("{:?} {}{}", word.class, word.prefix, word.name)), "{word:?}");
    }
}

/// The reason of a word without effect ends a sentence: `'x' has no effect: REASON.`
#[test]
fn every_word_has_help() {
    for word in all() {
        assert!(!word.help.is_empty() && !word.help.ends_with('.'), "{word:?}");
        assert!(word.standing != Standing::NoEffect || word.help.len() > 8, "{word:?}");
    }
}
