//! Texts, numbers, hashes, encodings, dates, addresses, variables, maps: each row of `expressions.tsv` against what
//! HAProxy answers, and what only Sockeye decides.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::{LazyLock, RwLock};
use std::time::SystemTime;

use proptest::prelude::*;
use sockeye_pattern::Library;
use sockeye_sample::{
    Address, Console, Date, Expr, Expressions, Facts, Fetch, Language, Number, ProcessNumber, ProcessText,
    ProxyNumber, Scene, ServerNumber, Stage, Target, Text, Type, Value, Variables, VariablesInUse, World,
};

/// A frontend `f`, a backend `be1` with the servers `s1` and `s2`, and a backend `empty`.
struct SmallWorld;

impl World for SmallWorld {
    fn process(&self, _: ProcessNumber) -> Option<i64> {
        None
    }
    fn proxy(&self, proxy: Target, what: ProxyNumber) -> Option<i64> {
        match (proxy, what) {
            (Target::Backend(0), ProxyNumber::UsableServers) => Some(2),
            (Target::Backend(1), ProxyNumber::UsableServers) => Some(0),
            _ => None,
        }
    }
    fn server(&self, _: usize, server: usize, what: ServerNumber) -> Option<i64> {
        match what {
            ServerNumber::IsUp => Some(i64::from(server == 0)),
            ServerNumber::Queue => Some(if server == 0 { 0 } else { 7 }),
            _ => None,
        }
    }
    fn backend_named(&self, name: &[u8]) -> Option<usize> {
        [b"be1".as_slice(), b"empty"].iter().position(|known| *known == name)
    }
    fn server_named(&self, backend: usize, name: &[u8]) -> Option<usize> {
        [b"s1", b"s2"].iter().position(|known| backend == 0 && *known == name)
    }
    fn frontend_named(&self, name: &[u8]) -> Option<usize> {
        (name == b"f").then_some(0)
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
    fn show(&self, console: Console, line: &[u8]) {
        assert_eq!(console, Console::Output);
        SHOWN.with_borrow_mut(|shown| shown.push_str(&String::from_utf8_lossy(line)));
    }
}

thread_local! {
    /// What `debug` wrote.
    static SHOWN: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A stream with one slot for captures of the request.
#[derive(Default)]
struct Stream {
    backend: Option<i64>,
    captured: RefCell<Vec<u8>>,
}

impl Facts for Stream {
    fn number(&self, what: Number) -> Option<i64> {
        match what {
            Number::BackendIndex => self.backend,
            Number::Forwarded => Some(i64::from(self.backend.is_some())),
            _ => None,
        }
    }
    fn text(&self, _: Text) -> Option<&[u8]> {
        None
    }
    fn address(&self, _: Address) -> Option<SocketAddr> {
        None
    }
    fn date(&self, _: Date) -> Option<SystemTime> {
        None
    }
    fn capture(&self, _: bool, _: usize) -> Option<Vec<u8>> {
        None
    }
    fn keep_capture(&self, request: bool, slot: usize, value: &[u8]) -> bool {
        if !request || slot != 0 {
            return false;
        }
        *self.captured.borrow_mut() = value.to_vec();
        true
    }
    fn unique_id(&self, _: Option<&sockeye_http::RequestHead>) -> Option<&[u8]> {
        None
    }
}

/// What may be anything in the property tests.
static INPUT: &[Fetch] = &[Fetch::new("path", |scene, _| Some(Value::str(scene.request_body.bytes)))];
static LANGUAGE: LazyLock<Language> = LazyLock::new(|| {
    let mut fetches = sockeye_fetch::all();
    fetches.push(INPUT);
    Language::new(&fetches, &sockeye_convert::all())
});

/// Variables that every row finds: those of the transaction in the order of `set-var`.
const VARIABLES: [(&str, &str); 9] = [
    ("txn.one", "int(1)"),
    ("txn.three", "int(3)"),
    ("txn.minus", "int(-1)"),
    ("txn.text", "str(abc)"),
    ("txn.digits", "str(12)"),
    ("txn.empty", "str()"),
    ("txn.yes", "bool(true)"),
    ("txn.ip", "ipv4(10.0.0.1)"),
    ("txn.key", "str(a2V5)"),
];

fn expressions() -> Expressions {
    let loader = |path: &str| std::fs::read(std::path::Path::new("tests/maps").join(path));
    Expressions::new(&LANGUAGE, Library::new(Box::new(loader), Box::new(|_| None)))
}

fn compile(expr: &str, expressions: &mut Expressions) -> Result<Expr, String> {
    let mut warnings = Vec::new();
    Expr::parse(expr, &mut expressions.compiler("test.cfg", 1, "f", &mut warnings))
        .map_err(|error| error.to_string())
}

/// The value of `expr` as text, given `input`; the error is the refusal when the file is read.
fn eval(expr: &str, input: &[u8], stream: &Stream) -> Result<Option<Vec<u8>>, String> {
    let mut expressions = expressions();
    let (proc, txn) = (RwLock::new(Variables::default()), RefCell::new(Variables::default()));
    let mut scene = Scene::new(Stage::FrontendRequestHeader, SystemTime::UNIX_EPOCH, &SmallWorld);
    scene.facts = Some(stream);
    scene.request_body.bytes = input;
    scene.variables = VariablesInUse { proc: Some(&proc), txn: Some(&txn), ..VariablesInUse::default() };
    for (name, constant) in VARIABLES {
        let id = expressions.variables.intern(name)?;
        let constant = compile(constant, &mut expressions)?;
        let value = constant.eval(&scene).map(Value::into_owned);
        txn.borrow_mut().set(id, value.ok_or("a constant has a value")?);
    }
    let compiled = compile(expr, &mut expressions)?;
    let value = compiled.eval(&scene).and_then(|value| value.cast(Type::Str));
    Ok(value.and_then(|value| value.bytes().map(<[u8]>::to_vec)))
}

/// As the rows have it: `=` and the value, `-` for none, `!` and the end of the refusal.
fn shown(outcome: Result<Option<Vec<u8>>, String>) -> String {
    match outcome {
        Ok(None) => "-".to_owned(),
        Ok(Some(value)) => {
            let char = |byte: &u8| match byte {
                b'\\' | 0..0x20 | 0x7f.. => format!("\\x{byte:02x}"),
                byte => char::from(*byte).to_string(),
            };
            format!("={}", value.iter().map(char).collect::<String>())
        }
        Err(message) => format!("!{message}"),
    }
}

#[test]
fn as_haproxy() {
    let mut wrong = String::new();
    for row in include_str!("expressions.tsv").lines().filter(|row| !row.starts_with('#')) {
        let Some((expr, expected)) = row.split_once('\t') else { panic!("{row}") };
        let found = shown(eval(expr, b"", &Stream::default()));
        let same = match expected.strip_prefix('!') {
            Some(message) => found.starts_with('!') && found.contains(message),
            None => found == expected,
        };
        if !same {
            wrong += &format!("{expr}\n  expected {expected}\n  found    {found}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn proxies_and_servers() {
    let in_backend = Stream { backend: Some(0), ..Stream::default() };
    for (expr, stream, expected) in [
        ("str(f),fe_exists", &in_backend, "=1"),
        ("str(be1),fe_exists", &in_backend, "=0"),
        ("str(s1),srv_is_up", &in_backend, "=1"),
        ("str(s2),srv_is_up", &in_backend, "=0"),
        ("str(s2),srv_queue", &in_backend, "=7"),
        ("str(be1/s2),srv_queue", &Stream::default(), "=7"),
    ] {
        assert_eq!(shown(eval(expr, b"", stream)), expected, "{expr}");
    }
}

#[test]
fn when() {
    let (new, forwarded) = (Stream::default(), Stream { backend: Some(0), ..Stream::default() });
    for (expr, stream, expected) in [
        ("int(5),when(normal),add(1)", &new, "=6"),
        ("int(5),when(!normal),add(1)", &new, "-"),
        ("int(5),when(error)", &new, "-"),
        ("int(5),when(!error)", &new, "=5"),
        ("int(5),when(forwarded)", &new, "-"),
        ("int(5),when(forwarded)", &forwarded, "=5"),
        ("int(5),when(!processed)", &forwarded, "-"),
        ("int(5),when(toapplet)", &forwarded, "-"),
        ("int(5),when(stopping)", &forwarded, "-"),
    ] {
        assert_eq!(shown(eval(expr, b"", stream)), expected, "{expr}");
    }
    for expr in ["int(5),when(foo)", "int(5),when(!)", "int(5),when(acl)", "int(5),when(acl,nobody)"] {
        assert!(eval(expr, b"", &new).is_err(), "{expr}");
    }
}

#[test]
fn debug_shows_what_passes() {
    for (expr, value, line) in [
        ("str(abc),debug(pre,stdout),upper", "=ABC", "[debug] pre: type=str <abc>\n"),
        ("int(5),debug(,stdout)", "=5", "[debug] : type=sint <5>\n"),
        ("bin(610162),debug(x,stdout)", "=a\\x01b", "[debug] x: type=bin <a.b>\n"),
        ("ipv4(10.0.0.1),debug(x,stdout)", "=10.0.0.1", "[debug] x: type=ipv4 <10.0.0.1>\n"),
        ("bool(true),debug(x,stdout)", "=1", "[debug] x: type=bool <1>\n"),
        ("str(abc),debug", "=abc", ""),
    ] {
        assert_eq!(shown(eval(expr, b"", &Stream::default())), value, "{expr}");
        assert_eq!(SHOWN.take(), line, "{expr}");
    }
}

#[test]
fn captures_are_kept() {
    let stream = Stream::default();
    assert_eq!(shown(eval("str(abc),capture-req(0),upper", b"", &stream)), "=ABC");
    assert_eq!(*stream.captured.borrow(), b"abc");
    assert_eq!(shown(eval("str(x),capture-res(0)", b"", &stream)), "-");
}

/// A value that was set while running and is no number gives none; the map itself is used on.
#[test]
fn maps_that_change() {
    let mut expressions = expressions();
    let expr = compile("path,map_str_int(num.map,7)", &mut expressions).expect("a valid expression");
    let map = expressions.patterns.open("num.map", true).expect("it is open");
    let eval = |input: &'static [u8]| {
        let mut scene = Scene::new(Stage::FrontendRequestHeader, SystemTime::UNIX_EPOCH, &SmallWorld);
        scene.request_body.bytes = input;
        expr.eval(&scene).map(Value::into_owned)
    };
    assert_eq!(eval(b"one"), Some(Value::Int(1)));
    assert!(map.set(b"one", b"2"));
    assert_eq!(eval(b"one"), Some(Value::Int(2)));
    assert!(map.set(b"one", b"x"));
    assert_eq!(eval(b"one"), None);
    assert_eq!(eval(b"two"), Some(Value::Int(7)));
}

/// What would grow beyond a buffer has no value.
#[test]
fn outputs_are_bounded() {
    let input = b"a".repeat(10_000);
    for converter in [
        "hex",
        "base2",
        "url_enc,concat(x),hex",
        "be2hex(--------,1)",
        "regsub(a,bbb,g)",
        "regsub(a*,'\\0\\0')",
    ] {
        let value = eval(&format!("path,{converter}"), &input, &Stream::default());
        assert_eq!(value, Ok(None), "{converter}");
    }
}

/// Every converter that takes what a client sends, on anything at all.
const EVERY: &[&str] = &[
    "add(3)",
    "mul(txn.minus)",
    "div(txn.text)",
    "htonl",
    "field(2,a)",
    "field(-2,a,0)",
    "word(2,a,3)",
    "word(-2,a)",
    "bytes(1,3)",
    "param(a,b)",
    "add_item(a,txn.text,b)",
    "concat(a,txn.ip)",
    "ltrim(abc)",
    "rtrim(abc)",
    "cut_crlf",
    "reverse",
    "reverse_dom",
    "has_ctl",
    "strcmp(txn.text)",
    "secure_memcmp(txn.text)",
    "crc32(1)",
    "crc32c",
    "djb2",
    "sdbm",
    "wt6",
    "xxh32",
    "xxh64",
    "xxh3",
    "sha1",
    "digest(md5)",
    "hmac(sha256,txn.key)",
    "hmac(md5,a2V5)",
    "base2",
    "base64",
    "b64dec",
    "ub64enc",
    "ub64dec",
    "be2dec(:,3)",
    "le2dec(:,8,1)",
    "be2hex(:,3,1)",
    "hex",
    "hex2i",
    "url_dec(1)",
    "url_enc",
    "regsub('a*(b)?','[\\1]',g)",
    "regsub('\\b(?=a)',x,g)",
    "map_regm(regm.map)",
    "map_dom(dom.map)",
    "map_dir(dir.map)",
    "map_ip(ip.map)",
    "map_int_key(int.map)",
    "date",
    "utime('%c %^10a %E %-d')",
    "us_utime('%5Y %3N %s %+')",
    "http_date(-5,us)",
    "ipmask(24,64)",
    "host_only",
    "port_only",
    "language(en;a,b)",
    "rfc7239_is_valid",
    "rfc7239_field(for)",
    "rfc7239_n2nn",
    "rfc7239_n2np",
    "rfc7239_nn",
    "rfc7239_np",
    "nbsrv",
    "srv_is_up",
    "set-var(txn.text,ifgt)",
    "capture-req(0)",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(
        input in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            "(for|proto|host|by)=[a-z0-9\":._\\[\\];=,]{0,30}".prop_map(String::into_bytes),
            "[A-Za-z]{3,9},? [0-9]{1,2}[ -][A-Z][a-z]{2}[ -][0-9]{2,9} [0-9:]{5,8} GMT".prop_map(String::into_bytes),
            "-?[0-9]{1,22}".prop_map(String::into_bytes),
            "[ab:=&%0-9A-F.,;/\\[\\]\"_-]{0,60}".prop_map(String::into_bytes),
        ],
    ) {
        let stream = Stream { backend: Some(0), ..Stream::default() };
        for converter in EVERY {
            let value = eval(&format!("path,{converter}"), &input, &stream);
            prop_assert!(value.is_ok(), "{converter}: {value:?}");
        }
    }
}
