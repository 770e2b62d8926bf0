//! The table of actions says what the parsers do.

mod common;

use std::io;

use sockeye_config::keyword::{Class, Standing, all};
use sockeye_config::{NoNames, Options, Surroundings, read_text};
use sockeye_rules::parse::actions::ACTIONS;
use sockeye_syntax::source::{Environment, Loader};

use common::Nothing;

impl Loader for Nothing {
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn list(&self, _: &str) -> io::Result<Option<Vec<String>>> {
        Ok(None)
    }
}

/// What is said about `rule` in a section that may have rules of all kinds.
fn messages(rule: &str) -> String {
    let text = format!(
        "defaults\n mode http\n timeout client 1s\n timeout connect 1s\n timeout server 1s\n\
         listen l\n bind :1\n server s :2\n {rule}\n"
    );
    let around = Surroundings { loader: &Nothing, resolver: &NoNames, facts: &Nothing };
    let (_, diags) =
        read_text("test.cfg", text.as_bytes(), &around, &mut Environment::new(), &Options::default());
    diags.iter().map(|diag| format!("{diag:?}\n")).collect()
}

#[test]
fn every_action_of_the_table_has_a_parser() {
    for (name, sets) in ACTIONS {
        for set in *sets {
            let said = messages(&format!("{} {name}", set.name()));
            for unknown in ["has no parser", "does not know the action", "not implemented"] {
                assert!(!said.contains(unknown), "{} {name}: {said}", set.name());
            }
        }
    }
}

#[test]
fn other_actions_of_haproxy_are_said_to_be_not_implemented() {
    let actions = all().into_iter().filter(|word| word.class == Class::Action);
    for word in actions.filter(|word| word.standing == Standing::NotYet) {
        let rule = format!("{}{}", word.prefix, word.name);
        let said = messages(&rule);
        assert!(said.contains("is known to HAProxy but not implemented in Sockeye yet"), "{rule}: {said}");
    }
}

#[test]
fn no_action_is_in_the_table_alone() {
    for (name, sets) in ACTIONS {
        for set in *sets {
            let listed = all().into_iter().any(|word| {
                word.class == Class::Action && word.name == *name && word.prefix.trim_end() == set.name()
            });
            assert!(listed, "{} {name}", set.name());
        }
    }
}
