//! Whole files from memory: what is read, and what is printed about the rest, as HAProxy 3.2 prints it.

use std::collections::BTreeMap;
use std::io;

use expect_test::{Expect, expect};
use sockeye_syntax::condition::Facts;
use sockeye_syntax::diag::{Banner, Diagnostic, Diagnostics, Location, Place, Severity};
use sockeye_syntax::read::{Reader, check_condition};
use sockeye_syntax::source::{Environment, Implicit, Loader};
use sockeye_syntax::{ast, diag};

const SECTIONS: &[&str] = &["global", "defaults", "frontend", "backend", "listen"];

struct Test;

impl Facts for Test {
    fn version(&self) -> &str {
        "3.2.26-1"
    }
    fn feature(&self, name: &str) -> bool {
        name == "OPENSSL"
    }
    fn enabled(&self, _: &str) -> bool {
        false
    }
    fn tls_library(&self) -> Option<(&str, &str)> {
        None
    }
    fn awslc_api(&self) -> Option<u32> {
        None
    }
}

/// Files by path; a path that is the folder of others is a folder.
struct Memory(BTreeMap<&'static str, &'static str>);

impl Loader for Memory {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.0.get(path).map(|text| text.as_bytes().to_vec()).ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>> {
        if self.0.contains_key(path) {
            return Ok(None);
        }
        let path = path.trim_end_matches('/');
        let names: Vec<String> = self
            .0
            .keys()
            .filter_map(|file| file.strip_prefix(path)?.strip_prefix('/'))
            .map(|rest| rest.split('/').next().unwrap_or_default().to_owned())
            .collect();
        if names.is_empty() { Err(io::Error::from_raw_os_error(2)) } else { Ok(Some(names)) }
    }
}

fn environment() -> Environment {
    Environment::from_iter([("A", "1"), ("B", "x y"), ("E", "")])
}

fn read(text: &[u8]) -> (ast::File, Diagnostics) {
    let mut diags = Diagnostics::new();
    let loader = Memory(BTreeMap::new());
    let mut env = environment();
    let mut reader = Reader { loader: &loader, facts: &Test, sections: SECTIONS, env: &mut env };
    let file = reader.read_text("f", text, &mut diags);
    (file, diags)
}

/// Sections and words, one statement per line, and what was said.
fn show(file: &ast::File, mut diags: Diagnostics) -> String {
    let mut out = String::new();
    for section in &file.sections {
        for (indent, statement) in
            std::iter::once(("", &section.header)).chain(section.statements.iter().map(|one| ("    ", one)))
        {
            let words: Vec<&str> = statement.words.iter().map(|word| word.text.as_str()).collect();
            out.push_str(&format!("{indent}{}  [{}]\n", words.join("|"), statement.location));
        }
    }
    diags.end_of_reading(&file.sources);
    diags.conclude();
    let banner = Banner { program: "haproxy", version: "3.2.26-1", executable: "/usr/sbin/haproxy" };
    out + &diags.render(7, &banner, false)
}

fn check(text: &str, expected: Expect) {
    let (file, diags) = read(text.as_bytes());
    expected.assert_eq(&show(&file, diags));
}

/// Only the messages, one per line.
fn check_messages(text: &str, expected: &[&str]) {
    let (_, diags) = read(text.as_bytes());
    let said: Vec<String> = diags
        .iter()
        .map(|diagnostic| {
            let line = diagnostic.place.location().map_or(0, |location| location.line);
            format!("{line} {}", diagnostic.message)
        })
        .collect();
    assert_eq!(said, expected, "{text}");
}

#[test]
fn sections_and_statements() {
    check(
        "global#this\n  daemon # x\n\n\tfrontend   foo\r\n bind \":80\"  name 'a b'\nbackend b from d\n",
        expect![[r#"
            global  [f:1]
                daemon  [f:2]
            frontend|foo  [f:4]
                bind|:80|name|a b  [f:5]
            backend|b|from|d  [f:6]
        "#]],
    );
}

#[test]
fn every_mistake_of_a_file_is_reported() {
    check(
        "foo\nglobal\n  node \"abc\n  maxconn 10\n  node \"${E}\"\n  a\\xZZ\nfrontend x\n  bind :80",
        expect![[r#"
            global  [f:2]
                maxconn|10  [f:4]
                node  [f:5]
            frontend|x  [f:7]
            [NOTICE]   (7) : haproxy version is 3.2.26-1
            [NOTICE]   (7) : path to executable is /usr/sbin/haproxy
            [ALERT]    (7) : config : parsing [f:1]: unknown keyword 'foo' out of section.
            [ALERT]    (7) : config : parsing [f:3]: unmatched quote at position 8:
              node "abc
                   ^
            [WARNING]  (7) : config : parsing [f:5]: argument number 1 at position 8 is empty and marks the end of the argument list; all subsequent arguments will be ignored:
              node "${E}"
                   ^
            [ALERT]    (7) : config : parsing [f:6]: truncated or invalid hexadecimal sequence at position 4:
              a\xZZ
               ^
            [ALERT]    (7) : config : parsing [f:8]: Missing LF on last line, file might have been truncated at position 11.
            [ALERT]    (7) : config : Error(s) found in configuration file : f
            [ALERT]    (7) : config : Fatal errors found in configuration.
        "#]],
    );
}

#[test]
fn bytes_that_do_not_belong() {
    check_messages(
        "global\n  max\0conn 10",
        &["2 Missing LF on last line, file might have been truncated at position 6."],
    );
    check_messages("global\n b\0c\n", &["2 Stray NUL character at position 3."]);
    check_messages(
        "\u{feff}global\n",
        &[
            "1 unknown keyword '\u{feff}global' out of section.",
            "1 the file starts with a byte order mark (EF BB BF): save it as UTF-8 without one.",
        ],
    );
    let (file, diags) = read(b"global\n node \xff\\xfe\n");
    assert!(diags.is_empty());
    assert_eq!(file.sections[0].statements[0].words[1].bytes(), b"\xff\xfe");
}

#[test]
fn conditions() {
    check_messages(
        ".if 0\n.notice a\n.elif \"$A\"\n.notice b\n.elif 1\n.notice c\n.else\n.notice d\n.endif\n.notice e\n",
        &["4 'b'.", "10 'e'."],
    );
    check_messages(
        ".if 0\n.if bogus\n.notice a\n.else\n.notice b\n.endif\n.else\n.notice c\n.endif\n",
        &["8 'c'."],
    );
    check_messages(
        ".if \"${E}\"\n.notice a\n.else\n.notice b\n.endif\n",
        &[
            "1 argument number 1 at position 5 is empty and marks the end of the argument list; all subsequent arguments will be ignored:\n  .if \"${E}\"\n      ^",
            "4 'b'.",
        ],
    );
    // Lines that are left out must still be lines.
    check_messages(".if 0\n x \"\n.endif\n", &["2 unmatched quote at position 4:\n  x \"\n    ^"]);
}

#[test]
fn conditions_that_are_wrong() {
    check_messages(
        ".if bogus\n.notice a\n.else\n.notice b\n.endif\n.notice c\n",
        &[
            "1 unparsable conditional expression 'bogus' in '.if' at position 1:\n  .if bogus\n      ^",
            "6 'c'.",
        ],
    );
    check_messages(
        ".if \"\n.notice a\n.endif\n.notice b\n",
        &["1 unmatched quote at position 5:\n  .if \"\n      ^", "4 'b'."],
    );
    check_messages(".if 1\n.notice a\n", &["2 'a'.", "2 non-terminated '.if' block."]);
    check_messages(".endif\n.notice a\n", &["1 lone '.endif' with no matching '.if'.", "2 'a'."]);
    check_messages(".else\n", &["1 lone '.else' with no matching '.if'."]);
    check_messages(".elif 1\n", &["1 lone '.elif' with no matching '.if'."]);
    check_messages(
        ".if 0\n.else\n.else\n.notice x\n.endif\n",
        &["3 '.else' after '.else' is not permitted."],
    );
    check_messages(".if 0\n.else\n.elif 1\n.endif\n", &["3 '.elif' after '.else' is not permitted."]);
    check_messages(
        ".if 0\n.else x\n.endif y\n",
        &["2 Unexpected argument 'x' for '.else'.", "3 Unexpected argument 'y' for '.endif'."],
    );
    let nested =
        |levels: usize| format!("{}.notice in\n{}", ".if 1\n".repeat(levels), ".endif\n".repeat(levels));
    check_messages(&nested(99), &["100 'in'."]);
    check_messages(&nested(100), &["100 too many nested '.if', max is 100.", "101 'in'."]);
}

#[test]
fn messages_of_the_author() {
    check_messages(
        ".diag d\n.notice n\n.warning w\n.alert \"a l\"\n.notice\n.notice a b\n.foo x\n",
        &[
            "1 'd'.",
            "2 'n'.",
            "3 'w'.",
            "4 'a l'.",
            "5 ''.",
            "6 Unexpected argument 'b' for '.notice'. Use quotes if the message should contain spaces.",
            "7 unknown directive '.foo'.",
        ],
    );
    check(
        ".diag d\n.notice n\n",
        expect![[r#"
            [NOTICE]   (7) : config : parsing [f:2]: 'n'.
        "#]],
    );
    let (_, diags) = read(b".diag d\n");
    let banner = Banner { program: "haproxy", version: "v", executable: "e" };
    assert_eq!(diags.render(7, &banner, true), "[DIAG]     (7) : config : parsing [f:1]: 'd'.\n");
}

#[test]
fn the_environment_changes_for_the_lines_that_follow() {
    check_messages(
        "global\n setenv A 2\n.notice \"$A\"\n presetenv A 3\n.notice \"$A\"\n presetenv N 4\n.notice \"$N\"\n unsetenv A B\n.notice \"|$A$B\"\n setenv Q 1\n resetenv N\n.notice \"$N${Q-none}\"\n resetenv\n.notice \"${N-none}\"\n",
        &["3 '2'.", "5 '2'.", "7 '4'.", "9 '|'.", "12 '4none'.", "14 'none'."],
    );
    check_messages(
        "global\n setenv\n setenv A\n setenv A 2 3\n unsetenv\n setenv a=b c\n.notice \"$A\"\n",
        &[
            "2 'setenv' expects environment variable name.",
            "3 'setenv' expects environment variable value for 'A'.",
            "4 'setenv' cannot handle unexpected argument '3'.",
            "5 'unsetenv' expects at least one variable name.",
            "6 'setenv' failed on variable 'a=b' : Invalid argument.",
            "7 '1'.",
        ],
    );
    // Elsewhere it is a word like any other, for the section's parser to refuse.
    check(
        "frontend x\n setenv A 2\n.notice \"$A ${.FILE}:${.LINE} ${.SECTION}\"\n",
        expect![[r#"
            frontend|x  [f:1]
                setenv|A|2  [f:2]
            [NOTICE]   (7) : config : parsing [f:3]: '1 f:3 x'.
        "#]],
    );
}

#[test]
fn implicit_variables() {
    let mut env = Environment::new();
    let files = ["a".to_owned(), "b".to_owned()];
    env.add_implicit(&Implicit { version: "3.4.0-sockeye-0.1.0", files: &files, local_peer: "here" });
    let values = ["HAPROXY_BRANCH", "HAPROXY_CFGFILES", "HAPROXY_LOCALPEER", "HAPROXY_MWORKER"];
    assert_eq!(values.map(|name| env.lookup(name)), [Some("3.4"), Some("a;b"), Some("here"), None]);
    assert!(env.lookup("HAPROXY_TCP_LOG_FMT").is_some_and(|format| format.starts_with("%ci:%cp [%t]")));
}

#[test]
fn files_and_folders() {
    let files = Memory(BTreeMap::from([
        ("d/b.cfg", "backend b\n x\n"),
        ("d/a.cfg", "backend a\n.if 1\n"),
        ("d/.hidden.cfg", "bogus\n"),
        ("d/c.txt", "bogus\n"),
        ("d/e.cfg/inner.cfg", "bogus\n"),
        ("last", "x\n"),
    ]));
    let read = |paths: &[&str]| {
        let mut diags = Diagnostics::new();
        let mut env = environment();
        let mut reader = Reader { loader: &files, facts: &Test, sections: SECTIONS, env: &mut env };
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let file = reader.read(&paths, &mut diags);
        show(&file, diags)
    };
    // A file ends its last section and its conditions.
    expect![[r#"
        backend|a  [d/a.cfg:1]
        backend|b  [d/b.cfg:1]
            x  [d/b.cfg:2]
        [NOTICE]   (7) : haproxy version is 3.2.26-1
        [NOTICE]   (7) : path to executable is /usr/sbin/haproxy
        [ALERT]    (7) : config : parsing [d/a.cfg:2]: non-terminated '.if' block.
        [ALERT]    (7) : config : Error(s) found in configuration file : d/a.cfg
        [ALERT]    (7) : config : parsing [last:1]: unknown keyword 'x' out of section.
        [ALERT]    (7) : config : Error(s) found in configuration file : last
        [ALERT]    (7) : config : Fatal errors found in configuration.
    "#]]
    .assert_eq(&read(&["d/", "last"]));
    expect![[r#"
        [NOTICE]   (7) : haproxy version is 3.2.26-1
        [NOTICE]   (7) : path to executable is /usr/sbin/haproxy
        [ALERT]    (7) : config : Cannot open configuration file/directory nowhere : No such file or directory
        [ALERT]    (7) : config : Fatal errors found in configuration.
    "#]]
    .assert_eq(&read(&["nowhere", "last"]));
    assert_eq!(read(&[]), "");
}

#[test]
fn the_condition_of_the_command_line() {
    let check = |text: &str| check_condition(text, &Test, &environment());
    assert_eq!(check("streq(\"$A\",1) && 1"), Ok(true));
    assert_eq!(check(""), Ok(false));
    assert_eq!(
        check("foo"),
        Err("Failed to evaluate condition: unparsable conditional expression 'foo'".into())
    );
    assert_eq!(check("\"x"), Err("Syntax Error in condition: unmatched quote at position 1:".into()));
}

#[test]
fn places_are_written_as_haproxy_writes_them() {
    let at = || Location::new("x.cfg", 12);
    for (place, expected) in [
        (Place::Nowhere, "[ALERT]    (9) : config : m"),
        (Place::Unsaid(at()), "[ALERT]    (9) : config : m"),
        (Place::Parsing(at()), "[ALERT]    (9) : config : parsing [x.cfg:12] : m"),
        (Place::Reading(at()), "[ALERT]    (9) : config : parsing [x.cfg:12]: m"),
        (Place::At(at()), "[ALERT]    (9) : config : [x.cfg:12] : m"),
    ] {
        assert_eq!(Diagnostic::new(Severity::Alert, place, "m").render(9), expected);
    }
    let bare = Diagnostic::new(Severity::Warning, Place::Nowhere, "m").without_context();
    assert_eq!(bare.render(9), "[WARNING]  (9) : m");
}

#[test]
fn later_findings_stay_behind_those_of_the_files() {
    let mut diags = Diagnostics::new();
    diags.warning_nowhere("first in no place");
    diags.alert(&Location::new("b", 2), "b2");
    diags.alert(&Location::new("a", 9), "a9");
    diags.notice(&Location::new("a", 3), "a3");
    diags.end_of_reading(&["a".into(), "b".into()]);
    diags.alert(&Location::new("a", 1), "check");
    diags.conclude();
    let said: Vec<&str> = diags.iter().map(|one| one.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "a3",
            "a9",
            "Error(s) found in configuration file : a",
            "b2",
            "Error(s) found in configuration file : b",
            "first in no place",
            "check",
            "Fatal errors found in configuration.",
        ]
    );
}

#[test]
fn suggestions_only_where_they_help() {
    let candidates =
        ["bind", "balance", "backlog", "timeout", "tcp-request", "http-request", "use_backend", "no"];
    for (word, expected) in [
        ("bnd", Some("bind")),
        ("bidn", Some("bind")),
        ("timeuot", Some("timeout")),
        ("tcp_request", Some("tcp-request")),
        ("use-backend", Some("use_backend")),
        ("xyzzyqwerty", None),
        ("on", None),
        ("", None),
    ] {
        assert_eq!(diag::suggestion(word, candidates), expected, "{word}");
    }
    assert_eq!(diag::did_you_mean("bnd", candidates), "; did you mean 'bind' maybe ?");
    assert_eq!(diag::did_you_mean("xyzzyqwerty", candidates), "");
}
