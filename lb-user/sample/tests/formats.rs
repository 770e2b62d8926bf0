//! Formats as HAProxy 3.2 reads and writes them, with a language of a few words. The lines of all aliases and
//! encodings over a real request are compared end to end.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::SystemTime;

use proptest::prelude::*;
use sockeye_pattern::Library;
use sockeye_sample::format::{Format, Purpose, Writer};
use sockeye_sample::{
    Arg, Expressions, Fetch, Language, ProcessNumber, ProcessText, ProxyNumber, Scene, ServerNumber, Stage,
    Stages, Target, Value, World,
};

/// A process of which nothing is known.
struct Nothing;

impl World for Nothing {
    fn process(&self, _: ProcessNumber) -> Option<i64> {
        None
    }
    fn proxy(&self, _: Target, _: ProxyNumber) -> Option<i64> {
        None
    }
    fn server(&self, _: usize, _: usize, _: ServerNumber) -> Option<i64> {
        None
    }
    fn backend_named(&self, _: &[u8]) -> Option<usize> {
        None
    }
    fn server_named(&self, _: usize, _: &[u8]) -> Option<usize> {
        None
    }
    fn frontend_named(&self, _: &[u8]) -> Option<usize> {
        None
    }
    fn text(&self, _: ProcessText) -> Option<&[u8]> {
        None
    }
    fn authenticate(&self, _: usize, _: &[u8], _: &[u8]) -> bool {
        false
    }
    fn groups_of(&self, _: usize, _: &[u8], _: &mut dyn FnMut(&str) -> bool) {}
    fn random(&self, _: Option<u32>) -> u32 {
        0
    }
}

fn text<'a>(_: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    Some(Value::str(args.first().and_then(Arg::str).unwrap_or_default()))
}

fn number<'a>(_: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    args.first()?.int().map(Value::Int)
}

/// What a header may hold.
fn wild<'a>(_: &Scene<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    Some(Value::bin(b"a\n\x7f%\x80\tb\"]\0c"))
}

fn none<'a>(_: &Scene<'a>, _: &'a [Arg]) -> Option<Value<'a>> {
    None
}

static FETCHES: &[Fetch] = &[
    Fetch::new("str", text),
    Fetch::new("int", number),
    Fetch::new("bin", wild),
    Fetch::new("env", none),
    Fetch::new("path", none),
    Fetch::new("src", none),
];

fn parse(text: &str, purpose: Purpose, stage: Stage) -> (Result<Format, String>, Vec<String>) {
    let language: &'static Language = Box::leak(Box::new(Language::new(&[FETCHES], &[])));
    let mut expressions = Expressions::new(language, Library::default());
    let mut warnings = Vec::new();
    let mut compiler = expressions.compiler("test.cfg", 1, "px", &mut warnings);
    let format = Format::parse(text, purpose, Stages::of(stage), &mut compiler);
    (format.map_err(|error| error.to_string()), warnings)
}

/// Aliases write their names.
fn write(format: &Format) -> Vec<u8> {
    let mut out = Vec::new();
    let scene = Scene::new(Stage::Log, SystemTime::UNIX_EPOCH, &Nothing);
    format.write(&mut out, &scene, &mut |alias, flags, out| {
        Writer::new(flags, out).text(alias.name().as_bytes());
    });
    out
}

#[track_caller]
fn check(purpose: Purpose, text: &str, expected: impl AsRef<[u8]>) {
    let (format, warnings) = parse(text, purpose, Stage::Log);
    let written = write(&format.unwrap());
    let expected = expected.as_ref();
    assert_eq!(written, expected, "{text:?} gave {:?}", String::from_utf8_lossy(&written));
    assert_eq!(warnings, [""; 0], "{text:?}");
}

#[test]
fn blanks_missing_values_and_harmful_bytes_depend_on_the_purpose() {
    use Purpose::{Header, Log, Text, UniqueId};
    for (purpose, expected) in
        [(Log, "a b b c "), (UniqueId, "a b b c "), (Header, "  a   b  b   c  "), (Text, "  a   b  b   c  ")]
    {
        check(purpose, "  a   b  %b   c  ", expected);
    }
    for (purpose, expected) in
        [(Log, "<-> <\"\"> <->"), (UniqueId, "<> <\"\"> <>"), (Text, "<> <\"\"> <>"), (Header, "<> <> <>")]
    {
        check(purpose, "<%[env(x)]> <%{+Q}[env(x)]> <%{+E}[env(x)]>", expected);
    }
    for (purpose, expected) in [
        (Log, b"a\n\x7f%\x80\tb\"]".as_slice()),
        (Text, b"a\n\x7f%\x80\tb\"]".as_slice()),
        (Header, b"a%0A%7F%\x80\tb\"]".as_slice()),
    ] {
        check(purpose, "%[bin(0)]", expected);
    }
    // Headers know neither quotes nor encodings of expressions.
    check(
        Header,
        "%{+Q}o%b|%[str(x)]|%[int(5)]|%{+E}[bin(0)]",
        b"\"b\"|x|5|a%0A%7F%\x80\tb\\\"\\]".as_slice(),
    );
    check(Header, "%{+json}b %{+json}[str(x)] %{+cbor}b", "b x b");
    check(Header, "%{+json}o %(a)[str(x)] %(c)[env(x)] %(d)[int(5)]", " x  5");
    check(Text, "%{+json}o %(a)[str(x)] %(c)[env(x)] %(d)[int(5)]", r#"{"a": "x", "c": "", "d": 5}"#);
    check(Text, "%{+bin}o%[bin(0)]", b"a\n\x7f%\x80\tb\"]\0c".as_slice());
}

#[test]
fn items() {
    check(Purpose::Log, "", "");
    check(Purpose::Log, "100%% of   it\t!", "100% of it\t!");
    check(Purpose::Log, "%ts--", "ts--");
    check(Purpose::Log, "%{+Q}o%b%{-Q}s%r", r#""b"s"r""#);
    check(Purpose::Log, "%(name:str){+Q}r%(:sint)[str(5x)]", "\"r\"5x");
    check(Purpose::Log, "%[str(a]b)]]", "a]b]");
}

#[test]
fn static_formats_are_constants() {
    for (text, expected) in [("a  b", Some("a  b")), ("100%%", Some("100%")), ("", Some("")), ("%b", None)] {
        let (format, _) = parse(text, Purpose::Text, Stage::Log);
        assert_eq!(format.unwrap().constant(), expected.map(str::as_bytes), "{text}");
    }
    assert_eq!(Format::literal("100%[x]").constant(), Some(b"100%[x]".as_slice()));
}

#[test]
fn places_are_checked() {
    let check = |text: &str, stage: Stage, expected: Result<(), &str>| {
        let (format, _) = parse(text, Purpose::Text, stage);
        assert_eq!(format.map(|_| ()), expected.map_err(str::to_owned), "{text}");
    };
    check("%[path]", Stage::FrontendRequestHeader, Ok(()));
    check(
        "%[path]",
        Stage::Log,
        Err(
            "sample fetch <path> may not be reliably used here because it needs 'HTTP request headers' which is \
             not available here.",
        ),
    );
    check("%[src]", Stage::FrontendConnection, Ok(()));
}

#[test]
fn words_that_are_no_flags_are_told() {
    let (format, warnings) = parse("%{Q,+Z}b", Purpose::Log, Stage::Log);
    assert_eq!(write(&format.unwrap()), b"b");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// No text makes the parser panic, and no format that it takes panics when written.
    #[test]
    fn any_text(
        wild in "\\PC{0,20}%\\PC{0,6}",
        format in "[ -$&-~]{0,8}(%(\\([a-z]{0,2}(:(str|sint|bool|raw))?\\))?(\\{[+-](Q|X|E|json|cbor|bin|utf8)\\})?\
                   (r|hr|B|o|\\[str\\(a\\)\\]|\\[int\\(-7\\)\\]|\\[bin\\(0\\)\\])[ /]?){0,6}",
    ) {
        for purpose in [Purpose::Log, Purpose::Header, Purpose::Text] {
            let _ = parse(&wild, purpose, Stage::Log);
            if let (Ok(format), _) = parse(&format, purpose, Stage::Log) {
                let written = write(&format);
                prop_assert!(format.constant().is_none_or(|constant| constant == written));
                if purpose == Purpose::Header {
                    prop_assert!(!written.contains(&b'\n'), "{:?}", written);
                }
            }
        }
    }
}
