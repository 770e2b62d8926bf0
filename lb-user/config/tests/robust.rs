//! Nothing in a file may panic, and reading takes time in proportion to its length.

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sockeye_config::keyword::{Class, Standing, all};
use sockeye_config::model::Config;
use sockeye_config::{NoNames, Options, Surroundings, fuzz, read_text};
use sockeye_syntax::diag::Diagnostics;
use sockeye_syntax::source::{Environment, Loader};

use common::Nothing;

impl Loader for Nothing {
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Ok(b"HTTP/1.0 503 x\r\n\r\n".to_vec())
    }
    fn list(&self, _: &str) -> io::Result<Option<Vec<String>>> {
        Ok(None)
    }
}

fn read(text: &[u8]) -> (Option<Config>, Diagnostics) {
    let around = Surroundings { loader: &Nothing, resolver: &NoNames, facts: &Nothing };
    read_text("test.cfg", text, &around, &mut Environment::new(), &Options::default())
}

/// Statements made of known words in wild order, in known sections.
fn statements() -> impl Strategy<Value = String> {
    let words: Vec<String> = all()
        .into_iter()
        .filter(|word| !matches!(word.class, Class::Cli | Class::Fetch | Class::Converter | Class::Acl))
        .map(|word| word.name.to_owned())
        .chain(
            [
                "127.0.0.1:80",
                ":1-3",
                "*",
                "a",
                "b",
                "5s",
                "0",
                "-1",
                "99999999999",
                "no",
                "default",
                "from",
                "\"",
                "!",
                "é",
                "/",
            ]
            .map(str::to_owned),
        )
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let line = prop::collection::vec(prop::sample::select(words), 1..7).prop_map(|words| words.join(" "));
    prop::collection::vec(line, 1..30).prop_map(|lines| lines.join("\n") + "\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz::read_anything(&text);
    }

    #[test]
    fn arbitrary_words_never_panic(section in prop::sample::select(vec!["global", "defaults", "frontend f", "backend b", "listen l", "listen l\nmode packet", "crt-store s"]), text in statements()) {
        fuzz::read_anything(format!("{section}\n{text}").as_bytes());
    }
}

/// Text that looks like rules: words of the rule language with what stands between them.
fn rule_text() -> impl Strategy<Value = String> {
    let mut words: Vec<String> = all()
        .into_iter()
        .filter(|word| {
            matches!(word.class, Class::Action | Class::Fetch | Class::Converter | Class::Acl)
                && word.standing == Standing::Supported
        })
        .map(|word| word.name.to_owned())
        .collect();
    words.sort();
    words.dedup();
    let glue = prop::sample::select(vec![
        " ",
        " ",
        " ",
        ",",
        ",",
        "(",
        ")",
        "()",
        "(1)",
        "(a)",
        "(1,-1)",
        "(txn.a)",
        "%[",
        "]",
        " if ",
        " unless ",
        " { ",
        " } ",
        " !",
        " || ",
        " -m ",
        " -m reg ",
        " -i ",
        " -f x ",
        " -- ",
        "\"",
        "'",
        "\\",
        "%",
        "lf-string ",
        "1:2",
        "(((((",
        "[a-z]+(",
        "0",
        "99999999999999999999",
        "é",
    ]);
    let piece = (prop::sample::select(words), glue).prop_map(|(word, glue)| word + glue);
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

/// A request for what the rules look at.
const REQUEST: &str = "\0GET /a/b?x=1&y=2 HTTP/1.1\r\nHost: h:80\r\nCookie: a=b; c\r\nX: 1, 2\r\n\r\nbody";

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn rules_never_panic_and_end_soon(text in rule_text()) {
        let start = Instant::now();
        fuzz::rules((text.clone() + REQUEST).as_bytes());
        prop_assert!(start.elapsed() < Duration::from_secs(5), "{text}");
    }
}

/// A farm of that many servers, each with the words that servers have.
fn farm(servers: usize) -> String {
    let mut text = "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n\
        listen l\n bind 127.0.0.1:80\n"
        .to_owned();
    for number in 0..servers {
        let (high, low) = (number / 250, number % 250);
        let _ = writeln!(
            text,
            " server s{number} 10.1.{high}.{low}:80 check inter 5s fall 2 rise 3 weight 10 maxconn 100"
        );
    }
    text
}

#[test]
fn ten_thousand_servers() {
    let begin = Instant::now();
    let (config, diags) = read(farm(10_000).as_bytes());
    // Far below a second when optimized; this bound is for machines that are busy, and still none for n².
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(diags.is_empty());
    assert_eq!(config.map(|config| config.backends[0].servers.len()), Some(10_000));
}

/// As many services as there may be, each with as many servers as there may be, and the same in sections of their own.
#[test]
fn services_and_servers_up_to_their_limits() {
    let check = |text: &str, stateless: &str, accepted: bool| {
        let text = text.replace("STATELESS", stateless);
        let begin = Instant::now();
        let (config, diags) = read(text.as_bytes());
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert_eq!(config.is_some(), accepted, "{:?}", diags.iter().next());
    };
    let header = "defaults\n mode packet\n STATELESS\n timeout tunnel 1m\n";
    let mut one = format!("{header}listen l\n bind 192.0.2.1:1-1024\n");
    for number in 0..16_384 {
        let _ = writeln!(one, " server s{number} 10.0.{}.{}", number / 256, number % 256);
    }
    check(&one, "", true);
    check(&one, "ebpf.stateless", true);
    let mut many = header.to_owned();
    for number in 1..=1_024 {
        let _ = writeln!(many, "listen l{number}\n bind 192.0.2.1:{number}");
        for server in 0..16 {
            let _ = writeln!(many, " server s{server} 10.0.0.{server}:{}", 1_024 + number);
        }
    }
    check(&many, "", true);
    check(&many, "ebpf.stateless", true);
}

#[test]
fn many_sections_names_and_mistakes() {
    let mut text =
        "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n".to_owned();
    for number in 0..10_000 {
        let _ = writeln!(
            text,
            "backend b{number}\n blance roundrobin\n server s 127.0.0.1:1 track b{}/s",
            number / 2
        );
    }
    let begin = Instant::now();
    let (config, diags) = read(text.as_bytes());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(config.is_none() && diags.alerts() >= 10_000);
}

/// A chain of servers that follow each other is walked once per server at most.
#[test]
fn long_tracking_chains() {
    let mut text = "backend b\n server s0 127.0.0.1:1 check\n".to_owned();
    for number in 1..3_000 {
        let _ = writeln!(text, " server s{number} 127.0.0.1:1 track s{}", number - 1);
    }
    let (config, _) = read(text.as_bytes());
    assert!(config.is_some());
}
