//! The bodies of fuzz targets: every fetch on any bytes, as buffer, request and response; those of TLS on any certificates.
//! The crate's own tests drive them.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use sockeye_http::h1::{self, Limits, Strictness};
use sockeye_http::{RequestFacts, RequestHead, ResponseHead};
use sockeye_pattern::Library;
use sockeye_sample::tls::{HelloCapture, TlsFacts, TlsSide};
use sockeye_sample::{
    Address, Body, Bytes, Date, Expr, Expressions, Facts, Language, Number, ProcessNumber, ProcessText,
    ProxyNumber, Scene, ServerNumber, Stage, Target, Text, Type, Value, World, fetches,
};

/// Evaluates every fetch, with arguments where it takes any.
///
/// # Panics
/// When a value has another type than its fetch promises, or when a fetch waits for bytes that will not come.
pub fn any_bytes(data: &[u8]) {
    for stage in [Stage::FrontendRequestContent, Stage::BackendResponseContent] {
        for closed in [false, true] {
            let sniffed = OnceCell::new();
            let mut scene = Scene::new(stage, UNIX_EPOCH, &Nothing);
            scene.buffer = Some(Bytes { bytes: data, closed, waited: closed });
            scene.sniffed = Some(&sniffed);
            eval_all(&scene);
            assert!(!closed || !scene.unfinished.get(), "waits for what will not come");
        }
    }
    for strictness in [Strictness::Strict, Strictness::Relaxed] {
        let limits = Limits::default();
        let mut head = RequestHead::new();
        if let Ok(Some(length)) = h1::parse_request(data, &mut head, &limits, strictness) {
            let mut scene = Scene::new(Stage::FrontendRequestHeader, UNIX_EPOCH, &Nothing);
            scene.request = Some(&head);
            scene.request_body = Body { bytes: &data[length..], whole: true, length: None };
            eval_all(&scene);
        }
        let mut head = ResponseHead::new();
        let request = RequestFacts::default();
        if let Ok(Some(length)) = h1::parse_response(data, &mut head, request, &limits, strictness) {
            let mut scene = Scene::new(Stage::BackendResponseHeader, UNIX_EPOCH, &Nothing);
            scene.response = Some(&head);
            scene.response_body = Body { bytes: &data[length..], whole: true, length: None };
            eval_all(&scene);
        }
    }
}

/// Whether a value is what the signature of its fetch says.
pub(crate) fn has_promised_type(expr: &Expr, value: &Value<'_>) -> bool {
    let promised = fetches().get(expr.fetch_name()).map_or(Type::Any, |signature| signature.output);
    match promised {
        Type::Any => true,
        Type::Addr => matches!(value, Value::Ipv4(_) | Value::Ipv6(_)),
        // Text and bytes stand for each other.
        Type::Str | Type::Bin => matches!(value, Value::Str(_) | Value::Bin(_)),
        promised => promised == value.type_of(),
    }
}

/// Evaluates every fetch of TLS on a connection where all certificates and names, and the client's hello, are `data`.
///
/// # Panics
/// When a value has another type than its fetch promises.
pub fn certificates(data: &[u8]) {
    let facts = TlsFacts {
        established: true,
        peer_chain: vec![data.into(), data.into()],
        root_subject: Some(data.into()),
        own_certificate: Some(data.into()),
        hello: HelloCapture::from_records(data, data.len() / 2),
        ..TlsFacts::default()
    };
    let connection = Tls(facts);
    for stage in [Stage::FrontendRequestContent, Stage::BackendResponseContent] {
        let mut scene = Scene::new(stage, UNIX_EPOCH, &Nothing);
        scene.facts = Some(&connection);
        let words = EXPRESSIONS.iter().filter(|expr| expr.fetch_name().starts_with("ssl_"));
        eval_each(words, &scene);
    }
}

fn eval_all(scene: &Scene<'_>) {
    eval_each(EXPRESSIONS.iter(), scene);
}

fn eval_each<'a>(expressions: impl Iterator<Item = &'a Expr>, scene: &Scene<'_>) {
    for expr in expressions {
        if let Some(value) = expr.eval(scene) {
            assert!(has_promised_type(expr, &value), "{} is {:?}", expr.text(), value.type_of());
        }
        expr.each(scene, &mut |value| {
            assert!(has_promised_type(expr, &value), "{} is {:?}", expr.text(), value.type_of());
            false
        });
    }
}

/// Every fetch with each of these arguments that it takes.
static EXPRESSIONS: LazyLock<Vec<Expr>> = LazyLock::new(|| {
    static LANGUAGE: LazyLock<Language> = LazyLock::new(|| Language::new(&crate::all(), &[]));
    let arguments = [
        "",
        "(a)",
        "(x,2)",
        "(x,-1)",
        "(,1)",
        "(a,;)",
        "(a,,i)",
        "(a,i)",
        "(0,0)",
        "(1,2)",
        "(0,2,+1)",
        "(ARGV,2)",
        "(CN)",
        "(OU,-1)",
        "(,0,rfc2253)",
    ];
    let mut expressions = Expressions::new(&LANGUAGE, Library::default());
    let mut warnings = Vec::new();
    let mut compiler = expressions.compiler("fuzz", 1, "", &mut warnings);
    let names = crate::all().into_iter().flatten().map(|fetch| fetch.name);
    names
        .flat_map(|name| arguments.map(|arguments| format!("{name}{arguments}")))
        .filter_map(|text| Expr::parse(&text, &mut compiler).ok())
        .collect()
});

/// A process that has nothing.
#[derive(Debug)]
pub struct Nothing;

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

/// A connection of which nothing but its TLS is known.
struct Tls(TlsFacts);

impl Facts for Tls {
    fn number(&self, _: Number) -> Option<i64> {
        None
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

    fn keep_capture(&self, _: bool, _: usize, _: &[u8]) -> bool {
        false
    }

    fn unique_id(&self, _: Option<&RequestHead>) -> Option<&[u8]> {
        None
    }

    fn tls(&self, _: TlsSide) -> Option<&TlsFacts> {
        Some(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{any_bytes, certificates};

    const CERTIFICATE: &[u8] = include_bytes!("../testdata/tls/many-fields.der");

    /// Bytes that look like what fetches look for, with anything between them.
    fn alike() -> impl Strategy<Value = Vec<u8>> {
        let words: &[&[u8]] = &[
            b"GET /a?x=1&y=;z HTTP/1.1\r\nHost: h\r\n",
            b"GET http://h:8/p HTTP/1.0\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"X: ",
            b"a: ",
            b"Cookie: ",
            b"Set-Cookie: ",
            b"Authorization: Basic ",
            b"Authorization: Bearer ",
            b"YTpi",
            b"\r\n",
            b"\r\n\r\n",
            b"a=1;",
            b"x=\"2,",
            b", ",
            b"\\\"",
            b"=",
            b"[::1]:80",
            b"1.2.3.4:5",
            b"DIST00000001",
            b"ARGVffffffff",
            b"ARGV00000001",
            b"\x03\0\0\x1f\x1a\xe0\0\0\0\0\0Cookie: a=",
            b"\x16\x03\x01\0\x40\x01\0\0\x3c\x03\x03",
            b"\x16\x03\x01\0\x02\x01\0",
            b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10",
            b"\0\0\0\x08\0\x06\0\0\x03abc",
            b"\0\x10\0\x05\0\x03\x02h2",
            &[0; 33],
        ];
        let piece = prop_oneof![
            4 => proptest::sample::select(words).prop_map(<[u8]>::to_vec),
            1 => proptest::collection::vec(any::<u8>(), 0..8),
        ];
        proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn nothing_panics(data in alike()) {
            any_bytes(&data);
        }

        #[test]
        fn damaged_certificates(at in 0..CERTIFICATE.len(), bytes: [u8; 3], length in 0_usize..3, end in 0..4000_usize) {
            let mut certificate = CERTIFICATE.to_vec();
            let until = certificate.len().min(at + length);
            certificate[at..until].copy_from_slice(&bytes[..until - at]);
            certificate.truncate(end);
            certificates(&certificate);
        }

        #[test]
        fn noise(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            any_bytes(&data);
        }
    }
}
