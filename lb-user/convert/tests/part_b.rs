//! JSON, tokens, AES, Protocol Buffers, MQTT, FIX, packet headers and OpenSSL's names: each against what HAProxy answers.

use std::cell::RefCell;
use std::sync::LazyLock;
use std::time::SystemTime;

use proptest::prelude::*;
use sockeye_pattern::Library;
use sockeye_sample::{
    Body, Expr, Expressions, Fetch, Language, ProcessNumber, ProcessText, ProxyNumber, Scene, ServerNumber,
    Stage, Target, Value, Variables, VariablesInUse, World,
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

/// The input of every test: bytes of any kind.
static FETCHES: &[Fetch] = &[Fetch::new("path", |scene, _| Some(Value::str(scene.request_body.bytes)))];
static LANGUAGE: LazyLock<Language> = LazyLock::new(|| Language::new(&[FETCHES], &sockeye_convert::all()));

/// What an expression gave.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// As text.
    value: Option<Vec<u8>>,
    /// More may come.
    waits: bool,
    /// `txn.tag` afterwards.
    tag: Option<Vec<u8>>,
    warnings: Vec<String>,
}

/// Runs `expr` on `input` with variables of the transaction; the error is the refusal when the file is read.
fn run(expr: &str, input: &[u8], variables: &[(&str, &str)]) -> Result<Outcome, String> {
    let mut expressions = Expressions::new(&LANGUAGE, Library::default());
    let txn = RefCell::new(Variables::default());
    for (name, value) in variables {
        txn.borrow_mut().set(expressions.variables.intern(name)?, Value::string(*value));
    }
    let mut warnings = Vec::new();
    let compiled = Expr::parse(expr, &mut expressions.compiler("test.cfg", 1, "f", &mut warnings))
        .map_err(|error| error.to_string())?;
    let mut scene = Scene::new(Stage::FrontendRequestHeader, SystemTime::UNIX_EPOCH, &NoWorld);
    scene.request_body = Body { bytes: input, whole: true, length: None };
    scene.variables = VariablesInUse { txn: Some(&txn), ..VariablesInUse::default() };
    let text = |value: Value<'_>| value.into_text().map(std::borrow::Cow::into_owned);
    let value = compiled.eval(&scene).and_then(text);
    let waits = scene.unfinished.get();
    let tag = expressions.variables.intern("txn.tag")?;
    let tag = txn.borrow().get(tag).cloned().and_then(text);
    Ok(Outcome { value, waits, tag, warnings })
}

/// The value of `converters` applied to `input`.
fn convert(converters: &str, input: &[u8]) -> Option<Vec<u8>> {
    run(&format!("path,{converters}"), input, &[])
        .unwrap_or_else(|error| panic!("{converters}: {error}"))
        .value
}

/// Bytes written with `\xNN` for what does not print.
fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut out = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(&part[..2], 16).expect("two digits follow"));
        out.extend(part[2..].bytes());
    }
    out
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit =
        |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    digits.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn as_haproxy() {
    let mut wrong = String::new();
    for row in include_str!("haproxy.tsv").lines().filter(|row| !row.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [converters, input, output] = columns[..] else { panic!("{row}") };
        let expected = output.strip_prefix('=').map(unescape);
        let found = convert(converters, &unescape(input));
        if found != expected {
            wrong += &format!(
                "{converters} of {input}: expected {output}, found {:?}\n",
                found.map(|value| value.escape_ascii().to_string())
            );
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

const ES256_WITH_P384: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4iLCJpYXQiOjE1MTYyMzkwMjIsInJvbGVzIjpbImEiLCJiIl19.qoUbMFQ0HmFXsgqzMBfdoelMRdzImIauo0mhjn4oUK-qPoqLlne66YYJOBUdGfJxLqWVP8Xx1uClxmA5adTJ8Fsh-sP1qJz7i1xL-4GGQVfECYjW-Dp_G0FdunPs6Bfb";
const RS256: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4iLCJpYXQiOjE1MTYyMzkwMjIsInJvbGVzIjpbImEiLCJiIl19.f4dKtlq6_bl-EM4IgtytgxCbjJf8dPmVm52veuE6r6mb3b9VHR2HalSnsE7PvaIlPPri6HDrnIyT5reLegkyiHYOCCU1a6IaOnmzzU0kaNOV4KnAmEfI57OQxPkC6YeWIcxHi1z7HxuP7-vINAU0RkZrbfbVDMIbsgaH-ruL55OdKYSl5_wYy-8cluCuVnxDDZ3LCnCVQLvrHOICxzp1iCDTIY4wygn9FUncBPKZQc_3GVB9fp99TGmDUw7-ZillnQJXRbCuz4wsFIUvVpnuPuqSQkAH4LiXFPKB50x9OE1EkinnHslfDGIg3VBkUsD2MJjK_8ia0_n5j9ezI5_S4g";
const HS256: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4iLCJpYXQiOjE1MTYyMzkwMjIsInJvbGVzIjpbImEiLCJiIl19.tjHWyudzbvcOg_U-tHiJDqiVY5D7VHLNymI2KxSEeN0";

#[test]
fn tokens() {
    let verify = |converters: &str, token: &str, variables: &[(&str, &str)]| {
        let outcome = run(&format!("path,{converters}"), token.as_bytes(), variables).unwrap();
        outcome.value.map(|value| String::from_utf8(value).unwrap())
    };
    // RFC 7518 section 3.4 binds ES256 to P-256; HAProxy takes any curve.
    assert_eq!(
        verify("jwt_verify(ES256,tests/keys/ec384.pub.pem)", ES256_WITH_P384, &[]).as_deref(),
        Some("0")
    );
    // HAProxy says -5 here.
    assert_eq!(verify("jwt_verify(RS256,tests/keys/rsa.crt.pem)", RS256, &[]).as_deref(), Some("1"));
    assert_eq!(verify("jwt_verify_cert(RS256,tests/keys/rsa.crt.pem)", RS256, &[]).as_deref(), Some("1"));
    assert_eq!(verify("jwt_verify_cert(RS256,tests/keys/ec256.crt.pem)", RS256, &[]).as_deref(), Some("0"));
    assert_eq!(verify("jwt_verify_cert(RS256,tests/keys/rsa.pub.pem)", RS256, &[]).as_deref(), Some("-5"));
    let variables = [
        ("txn.rs", "RS256"),
        ("txn.hs", "HS256"),
        ("txn.bad", "XX"),
        ("txn.empty", ""),
        ("txn.secret", "secret"),
        ("txn.path", "tests/keys/rsa.pub.pem"),
        ("txn.nowhere", "tests/keys/nowhere.pem"),
    ];
    for (converters, token, expected) in [
        ("jwt_verify(txn.rs,tests/keys/rsa.pub.pem)", RS256, Some("1")),
        ("jwt_verify(RS256,txn.path)", RS256, Some("1")),
        ("jwt_verify(RS256,txn.nowhere)", RS256, Some("-5")),
        ("jwt_verify(txn.hs,secret)", HS256, Some("1")),
        ("jwt_verify(HS256,txn.secret)", HS256, Some("1")),
        ("jwt_verify(txn.hs,tests/keys/rsa.pub.pem)", HS256, Some("0")),
        ("jwt_verify(txn.bad,secret)", HS256, Some("-1")),
        ("jwt_verify(txn.unset,secret)", HS256, None),
        ("jwt_verify(HS256,txn.unset)", HS256, None),
        ("jwt_verify(HS256,txn.empty)", HS256, None),
    ] {
        assert_eq!(verify(converters, token, &variables).as_deref(), expected, "{converters}");
    }
    let outcome = run("path,jwt_verify(RS256,tests/keys/nowhere.pem)", RS256.as_bytes(), &[]).unwrap();
    assert_eq!(outcome.value.as_deref(), Some(b"-5".as_slice()));
    assert!(
        outcome.warnings[0].contains("no public key in 'tests/keys/nowhere.pem'"),
        "{:?}",
        outcome.warnings
    );
}

const NONCE: &str = "bm5ubm5ubm5ubm5u";
const KEYS: [(u16, &str); 3] = [
    (128, "a2tra2tra2tra2tra2traw=="),
    (192, "a2tra2tra2tra2tra2tra2tra2tra2tr"),
    (256, "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="),
];

#[test]
fn aes_gcm() {
    for ((bits, key), expected) in
        KEYS.iter().zip(["539926CA6C458ED0C38373", "48005D7C862DE3FBD07C3C", "F05E8BDC7E94F2B63E486F"])
    {
        let outcome =
            run(&format!("path,aes_gcm_enc({bits},{NONCE},{key},txn.tag)"), b"hello world", &[]).unwrap();
        assert_eq!(outcome.value.as_deref(), Some(unhex(expected).as_slice()), "{bits}");
        let tag = String::from_utf8(outcome.tag.unwrap()).unwrap();
        if *bits == 128 {
            assert_eq!(tag, "yF8fBsCtQJ/OJgtyQ9/r8g==");
        }
        let decrypt = |tag: &str| {
            let variables = [("txn.tag", tag), ("txn.nonce", NONCE), ("txn.key", key)];
            run(&format!("path,aes_gcm_dec({bits},txn.nonce,txn.key,txn.tag)"), &unhex(expected), &variables)
                .unwrap()
                .value
        };
        assert_eq!(decrypt(&tag).as_deref(), Some(b"hello world".as_slice()), "{bits}");
        for wrong in ["yF8fBsCtQJ/OJgty", "dHR0dHR0dHR0dHR0dHR0dA==", "no base64", ""] {
            assert_eq!(decrypt(wrong), None, "{bits} {wrong}");
        }
    }
    // A longer key counts by its beginning, as in HAProxy.
    let key = KEYS[2].1;
    let outcome = run(&format!("path,aes_gcm_enc(128,{NONCE},{key},txn.tag)"), b"hello world", &[]).unwrap();
    assert_eq!(outcome.value.as_deref(), Some(unhex("539926CA6C458ED0C38373").as_slice()));
    // Additional data are part of what the tag vouches for.
    let outcome =
        run(&format!("path,aes_gcm_enc(128,{NONCE},{key},txn.tag,YWFk)"), b"hello world", &[]).unwrap();
    assert_ne!(outcome.tag.as_deref(), Some(b"yF8fBsCtQJ/OJgtyQ9/r8g==".as_slice()));
}

#[test]
fn aes_cbc() {
    let iv = "bm5ubm5ubm5ubm5ubm5ubg==";
    // As `openssl enc -aes-BITS-cbc` encrypts it.
    for ((bits, key), expected) in KEYS.iter().zip([
        "f4858322172230b0bc2141a8b8fe355f",
        "7660abdb96e946c7d1f1ee57c8710d1e",
        "8824c2176313e322561585f216510fc1",
    ]) {
        let encrypted = convert(&format!("aes_cbc_enc({bits},{iv},{key})"), b"hello world");
        assert_eq!(encrypted, Some(unhex(expected)), "{bits}");
        let decrypted = convert(&format!("aes_cbc_dec({bits},{iv},{key})"), &unhex(expected));
        assert_eq!(decrypted.as_deref(), Some(b"hello world".as_slice()), "{bits}");
        assert_eq!(convert(&format!("aes_cbc_dec({bits},{iv},{key})"), b"not a block"), None);
    }
}

/// What has not come whole is waited for.
#[test]
fn incomplete_input_waits() {
    for (converters, input, waits) in [
        ("mqtt_is_valid", b"\x10".as_slice(), true),
        ("mqtt_is_valid", b"\x10\x05", true),
        ("mqtt_is_valid", b"\x10\x80\x80\x80\x80", false),
        ("mqtt_field_value(connect,flags)", b"\x10\x05", true),
        ("fix_is_valid", b"8=FIX.4.4\x019=", true),
        ("fix_tag_value(35)", b"8=FIX.4.4\x0135=A", true),
        ("fix_tag_value(35)", b"8=FIX.4.4\x0135=A\x01", false),
    ] {
        let outcome = run(&format!("path,{converters}"), input, &[]).unwrap();
        assert_eq!(outcome.waits, waits, "{converters} {}", input.escape_ascii());
    }
}

#[test]
fn refusals() {
    for (converter, expected) in [
        (
            "json(foo)",
            "Unexpected input code type. Allowed value are 'ascii', 'utf8', 'utf8s', 'utf8p' and 'utf8ps'.",
        ),
        ("json_query(,int)", "json_path must not be empty."),
        ("json_query('$.a',foo)", "output_type only supports \"int\" as argument."),
        ("jwt_payload_query('$.a',str)", "output_type only supports \"int\" as argument."),
        ("jwt_verify(foo,bar)", "unknown JWT algorithm: foo."),
        ("aes_gcm_dec(127,a,b,c)", "key size must be 128, 192 or 256 (bits)."),
        (
            "aes_gcm_dec(128,a,b,c)",
            "failed to parse nonce : argument needs to be base64 encoded, and can either be a string or a variable.",
        ),
        ("aes_gcm_enc(128,bm5ubm5ubm5ubm5u,a2tr,txn.tag)", "key must have 128 bits at least."),
        ("aes_gcm_enc(128,bm5u,a2tr,txn.tag)", "nonce must have 12 bytes, as NIST SP 800-38D recommends."),
        (
            "aes_cbc_enc(128,bm5ubm5ubm5ubm5ubm5ubg==,a2tra2tra2tra2tra2traw==,YWFk)",
            "failed to parse aad : CBC authenticates nothing, so it takes no additional data.",
        ),
        ("protobuf(a)", "failed to parse 'a' as type 'Protocol buffers field number' at position 1."),
        ("protobuf(1.)", "failed to parse '1.' as type 'Protocol buffers field number' at position 1."),
        ("protobuf(1,foo)", "Wrong protocol buffer type 'foo'."),
        ("fix_tag_value(foo)", "Unknown FIX tag name 'foo'"),
        ("fix_tag_value(0)", "Unknown FIX tag name '0'"),
        ("mqtt_field_value(foo,bar)", "Unknown MQTT type 'foo'"),
        ("mqtt_field_value(16,17)", "Unknown MQTT type '16'"),
        ("mqtt_field_value(connect,36)", "Unknown MQTT field name '36' for packet type 'connect'"),
        ("mqtt_field_value(3,flags)", "Unknown MQTT field name 'flags' for packet type '3'"),
    ] {
        let error = run(&format!("path,{converter}"), b"", &[]).unwrap_err();
        assert!(error.ends_with(&format!(" : {expected}")), "{converter}: {error}");
    }
}

/// An IPv4 SYN with MSS, SACK, timestamps and window scale behind a VLAN tag.
const FRAME: &str = "aabbccddeeff 112233445566 8100a064 0800 \
    4510003c 1c464000 3f060000 c0a80001 0a000002 \
    d43101bb 01020304 00000000 a0c2faf0 00000000 020405b4 0402080a 11223344 00000000 01030307";
/// An IPv6 segment with a hop-by-hop header and two bytes of data.
const PACKET6: &str = "6abc0000 001e 0080 20010db8000000000000000000000001 20010db8000000000000000000000002 \
    0600000000000000 01020050 00000009 00000000 50021000 00000000 6869";

#[test]
fn packet_headers() {
    let frame = unhex(FRAME);
    let hex = |bytes: Option<Vec<u8>>| {
        bytes.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    for (converters, expected) in [
        ("eth.dst", "aabbccddeeff"),
        ("eth.src", "112233445566"),
        ("eth.hdr", "aabbccddeeff1122334455668100a0640800"),
        ("eth.data,ip.hdr", "4510003c1c4640003f060000c0a800010a000002"),
        ("eth.data,ip.data,tcp.options_list", "020408010 3"),
        ("eth.data,ip.fp", "1053a8faf005b4"),
        ("eth.data,ip.fp(7)", "1053a8faf005b43f0204080103c0a80001"),
    ] {
        assert_eq!(hex(convert(converters, &frame)), Some(expected.replace(' ', "")), "{converters}");
    }
    for (converters, expected) in [
        ("eth.proto", "2048"),
        ("eth.vlan", "100"),
        ("eth.data,ip.ver", "4"),
        ("eth.data,ip.df", "1"),
        ("eth.data,ip.src", "192.168.0.1"),
        ("eth.data,ip.dst", "10.0.0.2"),
        ("eth.data,ip.proto", "6"),
        ("eth.data,ip.tos", "16"),
        ("eth.data,ip.ttl", "63"),
        ("eth.data,ip.data,tcp.src", "54321"),
        ("eth.data,ip.data,tcp.dst", "443"),
        ("eth.data,ip.data,tcp.seq", "16909060"),
        ("eth.data,ip.data,tcp.flags", "194"),
        ("eth.data,ip.data,tcp.win", "64240"),
        ("eth.data,ip.data,tcp.options.mss", "1460"),
        ("eth.data,ip.data,tcp.options.sack", "1"),
        ("eth.data,ip.data,tcp.options.tsopt", "1"),
        ("eth.data,ip.data,tcp.options.tsval", "287454020"),
        ("eth.data,ip.data,tcp.options.wscale", "7"),
        ("eth.data,ip.data,tcp.options.wsopt", "1"),
    ] {
        assert_eq!(text(convert(converters, &frame)).as_deref(), Some(expected), "{converters}");
    }
    let packet = unhex(PACKET6);
    for (converters, expected) in [
        ("ip.ver", "6"),
        ("ip.df", "1"),
        ("ip.src", "2001:db8::1"),
        ("ip.dst", "2001:db8::2"),
        ("ip.proto", "6"),
        ("ip.tos", "171"),
        ("ip.ttl", "128"),
        ("ip.data,tcp.src", "258"),
        ("ip.data,tcp.options.mss", "0"),
        ("ip.data,tcp.options.sack", "0"),
        ("ip.data,tcp.options.wscale", "0"),
    ] {
        assert_eq!(text(convert(converters, &packet)).as_deref(), Some(expected), "{converters}");
    }
    assert_eq!(hex(convert("ip.fp", &packet)).as_deref(), Some("abec5010000000"));
    // Every prefix that lacks a byte of the header gives nothing, or what the whole gives.
    for converters in [
        "eth.hdr",
        "eth.data,ip.src",
        "eth.data,ip.data,tcp.win",
        "eth.data,ip.data,tcp.options.wscale",
        "eth.data,ip.fp",
    ] {
        let whole = convert(converters, &frame);
        for length in 0..frame.len() {
            let found = convert(converters, &frame[..length]);
            assert!(found.is_none() || found == whole, "{converters} {length}");
        }
    }
    // An untagged frame has no VLAN, and options of no length end the list.
    assert_eq!(convert("eth.vlan", &unhex("aabbccddeeff 112233445566 0800 45")), None);
    assert_eq!(
        convert("tcp.options_list", &unhex("d43101bb 01020304 00000000 60c2faf0 00000000 02000000")),
        Some(vec![])
    );
}

const EVERY: &[&str] = &[
    "json(utf8ps)",
    "json(ascii)",
    "json_query('$.a[0].b')",
    "json_query('$',int)",
    "jwt_header_query",
    "jwt_payload_query('$.a')",
    "jwt_verify(HS256,secret)",
    "jwt_verify(none,x)",
    "jwt_verify(ES256,tests/keys/ec256.pub.pem)",
    "aes_gcm_dec(128,bm5ubm5ubm5ubm5u,a2tra2tra2tra2tra2traw==,yF8fBsCtQJ/OJgtyQ9/r8g==)",
    "aes_cbc_dec(128,bm5ubm5ubm5ubm5ubm5ubg==,a2tra2tra2tra2tra2traw==)",
    "protobuf(1.2,int32)",
    "protobuf(1)",
    "ungrpc(1)",
    "mqtt_is_valid",
    "mqtt_field_value(connect,17)",
    "fix_is_valid",
    "fix_tag_value(35)",
    "eth.data,ip.data,tcp.options_list",
    "eth.vlan",
    "ip.fp(7)",
    "ip.hdr",
    "ip.proto",
    "tcp.options.tsval",
    "tcp.options.mss",
    "x509_v_err_str",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nothing that comes from the network panics: not noise, and not what is nearly right.
    #[test]
    fn any_bytes(noise in proptest::collection::vec(any::<u8>(), 0..80), row in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let rows: Vec<&str> = include_str!("haproxy.tsv").lines().filter_map(|row| row.split('\t').nth(1)).collect();
        let mut nearly = unescape(rows[row.index(rows.len())]);
        if !nearly.is_empty() {
            let at = at.index(nearly.len());
            nearly[at] ^= 1_u8 << bit;
        }
        let mut packet = unhex(FRAME);
        let at = at.index(packet.len());
        packet[at] ^= 1_u8 << bit;
        for converters in EVERY {
            convert(converters, &noise);
            convert(converters, &nearly);
            convert(converters, &packet);
        }
    }
}
