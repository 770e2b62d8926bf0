//! Dates, addresses, the field `Forwarded`, languages: each row of `dates_addresses.tsv` against what HAProxy answers.

use std::sync::LazyLock;
use std::time::SystemTime;

use proptest::prelude::*;
use sockeye_pattern::Library;
use sockeye_sample::{
    Expr, Expressions, Fetch, Language, ProcessNumber, ProcessText, ProxyNumber, Scene, ServerNumber, Stage,
    Target, Type, Value, World,
};

struct NoWorld;

impl World for NoWorld {
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

/// What may be anything in the property tests.
static INPUT: &[Fetch] = &[Fetch::new("path", |scene, _| Some(Value::str(scene.request_body.bytes)))];
static LANGUAGE: LazyLock<Language> = LazyLock::new(|| {
    let mut fetches = sockeye_fetch::all();
    fetches.push(INPUT);
    Language::new(&fetches, &sockeye_convert::all())
});

/// `=` and the value of `expr` with `\xNN` for what does not print, `-` for none, `!` for a refusal.
fn eval(expr: &str, input: &[u8]) -> String {
    let mut expressions = Expressions::new(&LANGUAGE, Library::default());
    let mut warnings = Vec::new();
    let compiled = Expr::parse(expr, &mut expressions.compiler("test.cfg", 1, "f", &mut warnings));
    let Ok(compiled) = compiled else { return "!".to_owned() };
    let mut scene = Scene::new(Stage::FrontendRequestHeader, SystemTime::UNIX_EPOCH, &NoWorld);
    scene.request_body.bytes = input;
    let Some(value) = compiled.eval(&scene).and_then(|value| value.cast(Type::Str)) else {
        return "-".to_owned();
    };
    let char = |byte: &u8| match byte {
        b'\\' | 0..0x20 | 0x7f.. => format!("\\x{byte:02x}"),
        byte => char::from(*byte).to_string(),
    };
    format!("={}", value.bytes().unwrap_or_default().iter().map(char).collect::<String>())
}

#[test]
fn as_haproxy() {
    let mut wrong = String::new();
    for row in include_str!("dates_addresses.tsv").lines().filter(|row| !row.starts_with('#')) {
        let Some((expr, expected)) = row.split_once('\t') else { panic!("{row}") };
        let found = eval(expr, b"");
        if found != expected {
            wrong += &format!("{expr}\n  expected {expected}\n  found    {found}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// HAProxy takes what comes before 1970 for a date in a far future.
#[test]
fn before_1970() {
    for (expr, expected) in [
        ("int(-1),http_date", "=Wed, 31 Dec 1969 23:59:59 GMT"),
        ("int(-1),ms_utime('%F %T.%3N')", "=1969-12-31 23:59:59.999"),
        ("int(-62167219201),utime(%F)", "=-1-12-31"),
        ("str('Wed, 31 Dec 1969 23:59:59 GMT'),date", "=-1"),
        ("int(-9223372036854775808),utime('%a %G %V %U')", "=Sun -292277022657 04 04"),
    ] {
        assert_eq!(eval(expr, b""), expected, "{expr}");
    }
}

/// Every converter of these families, on anything at all.
const EVERY: &[&str] = &[
    "date",
    "http_date(5,us)",
    "utime('%c|%-20E%^x%#p%9999999999Y%_0-3j%')",
    "us_utime('%12N%V%G%U%W%s')",
    "ltime(%c%z%Z)",
    "ms_ltime(%s.%N,-5)",
    "host_only",
    "port_only",
    "ipmask(24,64)",
    "language(en;fr;en-us,de)",
    "rfc7239_is_valid",
    "rfc7239_field(for)",
    "rfc7239_field(host)",
    "rfc7239_n2nn",
    "rfc7239_n2np",
    "rfc7239_nn",
    "rfc7239_np",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(
        input in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..100),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            "(for|by|host|proto)=\"?[_a-f0-9.:\\[\\]]{0,12}\"?;?".prop_map(String::into_bytes),
            "(Sun|Sunday), [0-9]{2}[- ](Nov|Feb)[- ][0-9]{2,19} [0-9:]{8} GMT".prop_map(String::into_bytes),
            "(en|fr)(-us)?;q=[0-9]?\\.?[0-9]{0,5},.*".prop_map(String::into_bytes),
        ],
    ) {
        for converter in EVERY {
            prop_assert_ne!(eval(&format!("path,{converter}"), &input), "!", "{}", converter);
        }
    }

    /// What is written as a date is read as the same.
    #[test]
    fn round_trip(seconds in 0_i64..253_402_300_800) {
        prop_assert_eq!(
            eval("path,http_date,date", seconds.to_string().as_bytes()),
            format!("={seconds}")
        );
    }
}
