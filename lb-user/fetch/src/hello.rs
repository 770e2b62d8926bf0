//! TLS handshakes that pass by (manual 7.3.5): the first hello in a buffer, put together from its records.
//!
//! Every length is checked before it is believed; a hello that ends before its own lengths say has no values.

use std::borrow::Cow;

use sockeye_sample::tls::{ClientHello, HandshakeMessage, Reader};
use sockeye_sample::{Bytes, Fetch, Scene, Value};

use crate::http::Side;
use crate::payload::{buffer, wait_for_more};

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("req.ssl_hello_type", |scene, _| hello_type(scene, Side::Request)),
    Fetch::new("req_ssl_hello_type", |scene, _| hello_type(scene, Side::Request)),
    Fetch::new("res.ssl_hello_type", |scene, _| hello_type(scene, Side::Response)),
    Fetch::new("rep_ssl_hello_type", |scene, _| hello_type(scene, Side::Response)),
    Fetch::new("req.ssl_ver", |scene, _| version(scene)),
    Fetch::new("req_ssl_ver", |scene, _| version(scene)),
    Fetch::new("req.ssl_sni", |scene, _| server_name(scene)),
    Fetch::new("req_ssl_sni", |scene, _| server_name(scene)),
    Fetch::new("req.ssl_alpn", |scene, _| {
        look(scene, |hello| {
            let (names, _) = Reader(hello.extension(EXTENSION_ALPN)??).block16()?;
            Some(Reader(names).block8()?.0)
        })
        .map(Value::Str)
    }),
    Fetch::new("req.ssl_cipherlist", |scene, _| look(scene, |hello| Some(hello.ciphers)).map(Value::Bin)),
    Fetch::new("req.ssl_ec_ext", |scene, _| {
        let hello = client_hello(scene)?;
        let fields = fields(&hello)?;
        Some(Value::Bool(fields.extension(EXTENSION_GROUPS)?.is_some()))
    }),
    Fetch::new("req.ssl_st_ext", |scene, _| {
        let hello = client_hello(scene)?;
        let ticket = fields(&hello)?.extension(EXTENSION_TICKET)?.map(<[u8]>::is_empty);
        Some(Value::Int(match ticket {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        }))
    }),
    Fetch::new("req.ssl_sigalgs", |scene, _| list(scene, EXTENSION_SIGNATURES)),
    Fetch::new("req.ssl_supported_groups", |scene, _| list(scene, EXTENSION_GROUPS)),
    Fetch::new("req.ssl_keyshare_groups", |scene, _| key_shares(scene)),
];

// Numbers of RFC 8446 §4.2, RFC 5246 §7.4 and RFC 5077.
const CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_GROUPS: u16 = 10;
const EXTENSION_SIGNATURES: u16 = 13;
const EXTENSION_ALPN: u16 = 16;
const EXTENSION_TICKET: u16 = 35;
const EXTENSION_KEY_SHARE: u16 = 51;

/// The first handshake message of a direction.
fn handshake<'a>(scene: &Scene<'a>, side: Side) -> Option<(u8, Cow<'a, [u8]>)> {
    let buffer: Bytes<'a> = buffer(scene, side)?;
    match HandshakeMessage::read(buffer.bytes) {
        HandshakeMessage::Whole(kind, body) => Some((kind, body)),
        HandshakeMessage::Incomplete => {
            wait_for_more(scene, &buffer);
            None
        }
        HandshakeMessage::None => None,
    }
}

/// The body of the client's hello.
fn client_hello<'a>(scene: &Scene<'a>) -> Option<Cow<'a, [u8]>> {
    handshake(scene, Side::Request).filter(|(kind, _)| *kind == CLIENT_HELLO).map(|(_, body)| body)
}

fn hello_type<'a>(scene: &Scene<'a>, side: Side) -> Option<Value<'a>> {
    handshake(scene, side).map(|(kind, _)| Value::Int(kind.into()))
}

/// The version that the hello names, as `65536 * major + minor`: 3.3 for TLS 1.2 and 1.3.
fn version<'a>(scene: &Scene<'a>) -> Option<Value<'a>> {
    let (major, minor) = match ssl2_version(scene) {
        Some(version) => version,
        None => {
            let (_, body) = handshake(scene, Side::Request)?;
            let (major, rest) = Reader(&body).u8()?;
            (major, Reader(rest).u8()?.0)
        }
    };
    (major >= 3).then(|| Value::Int(i64::from(major) << 16 | i64::from(minor)))
}

/// The version in a hello of the form of SSL 2 (RFC 6101 appendix E), which clients of SSL 3 and TLS 1 could send.
fn ssl2_version(scene: &Scene<'_>) -> Option<(u8, u8)> {
    let buffer = buffer(scene, Side::Request)?;
    let (header, rest) = Reader(buffer.bytes).u16()?;
    let (kind, rest) = Reader(rest).u8()?;
    if header & 0x8000 == 0 || kind != CLIENT_HELLO {
        return None;
    }
    let (major, rest) = Reader(rest).u8()?;
    let (minor, rest) = Reader(rest).u8()?;
    let (ciphers, rest) = Reader(rest).u16()?;
    let (session, rest) = Reader(rest).u16()?;
    let (challenge, _) = Reader(rest).u16()?;
    let length = usize::from(header & 0x7fff);
    let fits = 9 + usize::from(ciphers) + usize::from(session) + usize::from(challenge) == length;
    if fits && buffer.bytes.len() < 2 + length {
        wait_for_more(scene, &buffer);
        return None;
    }
    fits.then_some((major, minor))
}

/// A hello without extensions (up to TLS 1.0) is not looked into.
fn fields(body: &[u8]) -> Option<ClientHello<'_>> {
    ClientHello::parse(body).filter(|hello| hello.extensions.is_some())
}

/// Part of the client's hello, borrowed if the hello came in one record.
fn look<'a>(
    scene: &Scene<'a>,
    part: impl for<'b> Fn(&ClientHello<'b>) -> Option<&'b [u8]>,
) -> Option<Cow<'a, [u8]>> {
    match client_hello(scene)? {
        Cow::Borrowed(body) => part(&fields(body)?).map(Cow::Borrowed),
        Cow::Owned(body) => part(&fields(&body)?).map(|part| Cow::Owned(part.to_vec())),
    }
}

/// The host name of the first server name, if that is a host name (RFC 6066 §3).
fn server_name<'a>(scene: &Scene<'a>) -> Option<Value<'a>> {
    look(scene, |hello| {
        let (names, _) = Reader(hello.extension(EXTENSION_SERVER_NAME)??).block16()?;
        let (kind, rest) = Reader(names).u8()?;
        let (name, _) = Reader(rest).block16()?;
        (kind == 0 && !name.is_empty()).then_some(name)
    })
    .map(Value::Str)
}

/// An extension that is one list.
fn list<'a>(scene: &Scene<'a>, kind: u16) -> Option<Value<'a>> {
    look(scene, move |hello| Some(Reader(hello.extension(kind)??).block16()?.0)).map(Value::Bin)
}

/// The groups of the key shares, without the keys.
fn key_shares<'a>(scene: &Scene<'a>) -> Option<Value<'a>> {
    let hello = client_hello(scene)?;
    let (mut shares, _) = Reader(fields(&hello)?.extension(EXTENSION_KEY_SHARE)??).block16()?;
    let mut groups = Vec::new();
    while !shares.is_empty() {
        let (group, rest) = Reader(shares).u16()?;
        let (_, rest) = Reader(rest).block16()?;
        groups.extend_from_slice(&group.to_be_bytes());
        shares = rest;
    }
    Some(Value::binary(groups))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check};

    fn block8(bytes: &[u8]) -> Vec<u8> {
        [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    fn block16(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &block16(body)].concat()
    }

    fn server_name(kind: u8, name: &[u8]) -> Vec<u8> {
        extension(0, &block16(&[&[kind], &block16(name)[..]].concat()))
    }

    /// A handshake message: a hello of that version with those extensions.
    fn message(version: [u8; 2], extensions: Option<&[Vec<u8>]>) -> Vec<u8> {
        let mut body = version.to_vec();
        body.extend(0..32);
        body.extend(block8(b"session"));
        body.extend(block16(b"\x13\x01\x13\x02"));
        body.extend(block8(b"\0"));
        body.extend(extensions.map(|extensions| block16(&extensions.concat())).unwrap_or_default());
        [&[1, 0], &block16(&body)[..]].concat()
    }

    /// The message in records of that many bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|part| [&[22, 3, 1], &block16(part)[..]].concat()).collect()
    }

    fn hello(extensions: &[Vec<u8>]) -> Case {
        Case::buffer(records(&message([3, 3], Some(extensions)), 9999), true)
    }

    fn everything() -> Vec<Vec<u8>> {
        vec![
            server_name(0, b"a.example"),
            extension(16, &block16(&[block8(b"h2"), block8(b"http/1.1")].concat())),
            extension(10, &block16(b"\0\x1d\0\x17")),
            extension(13, &block16(b"\x04\x03\x08\x05")),
            extension(35, b""),
            extension(
                51,
                &block16(&[b"\0\x1d", &block16(b"key")[..], b"\0\x17", &block16(b"another")].concat()),
            ),
        ]
    }

    const VALUES: &[(&str, Option<&str>)] = &[
        ("req.ssl_hello_type", Some("1")),
        ("req_ssl_hello_type", Some("1")),
        ("req.ssl_ver", Some("196611")),
        ("req_ssl_ver", Some("196611")),
        ("req.ssl_sni", Some("a.example")),
        ("req_ssl_sni", Some("a.example")),
        ("req.ssl_alpn", Some("h2")),
        ("req.ssl_cipherlist", Some("\\x13\\x01\\x13\\x02")),
        ("req.ssl_ec_ext", Some("1")),
        ("req.ssl_keyshare_groups", Some("\\x00\\x1d\\x00\\x17")),
        ("req.ssl_sigalgs", Some("\\x04\\x03\\x08\\x05")),
        ("req.ssl_supported_groups", Some("\\x00\\x1d\\x00\\x17")),
        ("req.ssl_st_ext", Some("1")),
        ("res.ssl_hello_type", None),
        ("req.proto_http", Some("0")),
    ];

    /// Values from HAProxy 3.2, which sees no extensions of a hello in several records.
    #[test]
    fn fields() {
        check(&hello(&everything()), VALUES);
        let whole = message([3, 3], Some(&everything()));
        for size in [1, 3, 4, 5, 50] {
            if whole.len().div_ceil(size) <= 64 {
                check(&Case::buffer(records(&whole, size), true), VALUES);
            }
        }
        let followed = [records(&whole, 9999), vec![23, 3, 3, 0, 1, 0]].concat();
        check(&Case::buffer(followed, true), VALUES);
    }

    #[test]
    fn missing_fields() {
        let none: &[_] = &[
            ("req.ssl_hello_type", Some("1")),
            ("req.ssl_sni", None),
            ("req.ssl_alpn", None),
            ("req.ssl_keyshare_groups", None),
            ("req.ssl_sigalgs", None),
            ("req.ssl_supported_groups", None),
        ];
        check(&hello(&[]), none);
        check(&hello(&[]), &[("req.ssl_ec_ext", Some("0")), ("req.ssl_st_ext", Some("0"))]);
        check(&hello(&[extension(35, b"ticket")]), &[("req.ssl_st_ext", Some("2"))]);
        let old = Case::buffer(records(&message([3, 0], None), 9999), true);
        check(&old, none);
        let rest: &[_] = &[
            ("req.ssl_ver", Some("196608")),
            ("req.ssl_cipherlist", None),
            ("req.ssl_ec_ext", None),
            ("req.ssl_st_ext", None),
        ];
        check(&old, rest);
        check(&hello(&[server_name(1, b"one")]), &[("req.ssl_sni", None)]);
        check(&hello(&[server_name(0, b"")]), &[("req.ssl_sni", None)]);
        check(&hello(&[server_name(0, b"1"), server_name(0, b"2")]), &[("req.ssl_sni", Some("1"))]);
        // The only extension ends behind the last.
        let long = [&35_u16.to_be_bytes()[..], &[0, 9]].concat();
        check(&hello(&[long]), &[("req.ssl_st_ext", None), ("req.ssl_ec_ext", None), ("req.ssl_sni", None)]);
        // The list says that it is longer than its extension.
        check(&hello(&[extension(0, b"\0\x50\0\0\x40abc")]), &[("req.ssl_sni", None)]);
    }

    #[test]
    fn other_messages() {
        let server = [&[22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3][..], &[0; 36]].concat();
        check(
            &Case::buffer(&server, true),
            &[("req.ssl_hello_type", Some("2")), ("req.ssl_ver", Some("196611")), ("req.ssl_sni", None)],
        );
        check(
            &Case::buffer(&server, true).of_server(),
            &[
                ("res.ssl_hello_type", Some("2")),
                ("rep_ssl_hello_type", Some("2")),
                ("req.ssl_hello_type", None),
            ],
        );
        let none: &[_] = &[("req.ssl_hello_type", None), ("req.ssl_ver", None), ("req.ssl_sni", None)];
        for bytes in
            [&b""[..], b"\x16hello", b"GET / HTTP/1.0\r\n\r\n", &[0; 50], &[22, 3, 1, 0, 0, 22, 3, 1, 0, 0]]
        {
            check(&Case::buffer(bytes, true), none);
        }
        let ssl2 = [&b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10"[..], &[0; 37]].concat();
        check(&Case::buffer(&ssl2, true), &[("req.ssl_ver", Some("196609")), ("req.ssl_hello_type", None)]);
        check(&Case::buffer(&ssl2[..40], true), none);
    }

    /// Any beginning of a hello waits for the rest; none has a value.
    #[test]
    fn incomplete() {
        for size in [9999, 10] {
            let bytes = records(&message([3, 3], Some(&everything())), size);
            for length in 0..bytes.len() {
                let outcome = Case::buffer(&bytes[..length], false).eval("req.ssl_sni");
                assert_eq!((outcome.value, outcome.unfinished), (None, true), "{length} of {}", bytes.len());
            }
        }
    }

    /// A length that lies never gives bytes of something else, and never a panic.
    #[test]
    fn wrong_lengths() {
        let bytes = records(&message([3, 3], Some(&everything())), 9999);
        for index in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[index] = value;
                let case = Case::buffer(&bytes, true);
                for (text, _) in VALUES {
                    case.eval(text);
                }
            }
        }
    }
}
