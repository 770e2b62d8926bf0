//! `docs/compat.md` says what the keyword tables say. `cargo xtask compat-doc` writes it through this test.

use std::fmt::Write;

use expect_test::expect_file;
use sockeye_config::keyword::{Class, Listed, Standing, all};

/// The chapters of the document, in its order.
const CHAPTERS: &[(Class, &str)] = &[
    (Class::Section, "Sections"),
    (Class::Global, "Section `global`"),
    (Class::Proxy, "Proxy sections"),
    (Class::Timeout, "`timeout`"),
    (Class::Option, "`option`"),
    (Class::Bind, "Options of `bind`"),
    (Class::Server, "Options of `server`"),
    (Class::HttpCheck, "`http-check`"),
    (Class::TcpCheck, "`tcp-check`"),
    (Class::Action, "Actions of rules"),
    (Class::OtherSection, "Other sections"),
    (Class::Acl, "ACL words (short forms of fetches)"),
    (Class::Fetch, "Sample fetches"),
    (Class::Converter, "Converters"),
    (Class::Filter, "Filters"),
    (Class::Service, "Services"),
    (Class::Cli, "Runtime commands"),
];

const STANDINGS: &[(Standing, &str)] = &[
    (Standing::Supported, "supported"),
    (Standing::NoEffect, "accepted without effect"),
    (Standing::NotYet, "not yet"),
    (Standing::Removed, "removed"),
];

#[test]
fn the_document_says_what_the_tables_say() {
    expect_file!["../../../docs/compat.md"].assert_eq(&document(&all()));
}

#[test]
fn every_word_is_in_a_chapter() {
    for word in all() {
        assert!(CHAPTERS.iter().any(|(class, _)| *class == word.class), "{word:?}");
        assert!(STANDINGS.iter().any(|(standing, _)| *standing == word.standing), "{word:?}");
    }
}

/// The words that HAProxy's manual cannot explain. Some are not about packets to services.
#[test]
fn the_manual_of_packets_names_every_word_of_ours() {
    let manual = include_str!("../../../docs/packet-mode.md");
    let ours = all().into_iter().map(|word| word.name).filter(|name| name.starts_with("ebpf."));
    let elsewhere = ["ebpf.splice", "ebpf.steer", "ebpf.shield"];
    let missing: Vec<&str> =
        ours.filter(|name| !elsewhere.contains(name) && !manual.contains(&format!("| `{name}"))).collect();
    assert_eq!(missing, [""; 0]);
}

fn document(words: &[Listed]) -> String {
    let mut out = String::from(
        "# Compatibility\n\n\
         Every word that HAProxy knows, from its manual and from `haproxy -dKall`, and what Sockeye makes of it.\n\
         Written by `cargo xtask compat-doc` from the keyword tables; a test fails when it is out of date.\n\n\
         - **supported**: obeyed as the manual says.\n\
         - **accepted without effect**: read without complaint, with the reason why there is nothing to do.\n\
         - **not yet**: known; a file that uses it is refused with a message that says so.\n\
         - **removed**: HAProxy removed it; the message says what to write instead.\n\n",
    );
    summary(&mut out, words);
    for (class, title) in CHAPTERS {
        chapter(&mut out, title, words.iter().filter(|word| word.class == *class).collect());
    }
    out
}

/// How many words of each chapter have which standing.
fn summary(out: &mut String, words: &[Listed]) {
    out.push_str(
        "| | supported | accepted without effect | not yet | removed |\n|---|---:|---:|---:|---:|\n",
    );
    for (class, title) in CHAPTERS {
        write!(out, "| {title}").expect("a string");
        for (standing, _) in STANDINGS {
            let count =
                words.iter().filter(|word| word.class == *class && word.standing == *standing).count();
            write!(out, " | {count}").expect("a string");
        }
        out.push_str(" |\n");
    }
}

/// Words that are obeyed or refused for good, each with its line; then the bare names of those to come.
fn chapter(out: &mut String, title: &str, words: Vec<&Listed>) {
    writeln!(out, "\n## {title}").expect("a string");
    let (later, decided): (Vec<&Listed>, Vec<&Listed>) =
        words.into_iter().partition(|word| word.standing == Standing::NotYet);
    if !decided.is_empty() {
        out.push_str("\n| word | standing | |\n|---|---|---|\n");
    }
    for word in decided {
        let standing = STANDINGS.iter().find(|(standing, _)| *standing == word.standing).expect("a name").1;
        writeln!(out, "| `{}` | {standing} | {} |", spelled(word), word.help.replace('|', "\\|"))
            .expect("a string");
    }
    if !later.is_empty() {
        let names: Vec<String> = later.into_iter().map(|word| format!("`{}`", spelled(word))).collect();
        writeln!(out, "\nNot yet: {}", names.join(", ")).expect("a string");
    }
}

/// As written in a file, without what it belongs to where the chapter's title says that.
fn spelled(word: &Listed) -> String {
    match word.class {
        Class::Action | Class::OtherSection => {
            format!("{}{}{}", word.prefix, word.name, word.suffix.trim_start_matches(" +1"))
        }
        _ => word.name.to_owned(),
    }
}
