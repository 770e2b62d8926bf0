//! Bytes that have arrived and not been forwarded (manual 7.3.5). In HTTP there are none: messages are taken apart.

use sockeye_http::RequestHead;
use sockeye_http::h1::{self, Limits, Strictness};
use sockeye_sample::{Arg, Bytes, Compiler, Fetch, ProcessNumber, Scene, Value};

use crate::arguments;
use crate::http::{Side, request};

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("req.len", |scene, _| length(scene, Side::Request)),
    Fetch::new("req_len", |scene, _| length(scene, Side::Request)),
    Fetch::new("res.len", |scene, _| length(scene, Side::Response)),
    Fetch::new("payload", |scene, args| block(scene, args, Side::of_stage(scene.stage))),
    Fetch::new("req.payload", |scene, args| block(scene, args, Side::Request)),
    Fetch::new("res.payload", |scene, args| block(scene, args, Side::Response)),
    Fetch::new("payload_lv", |scene, args| sized_block(scene, args, Side::of_stage(scene.stage)))
        .prepare(prepare_sized),
    Fetch::new("req.payload_lv", |scene, args| sized_block(scene, args, Side::Request))
        .prepare(prepare_sized),
    Fetch::new("res.payload_lv", |scene, args| sized_block(scene, args, Side::Response))
        .prepare(prepare_sized),
    Fetch::new("req.proto_http", |scene, _| is_http(scene).map(Value::Bool)),
    Fetch::new("req_proto_http", |scene, _| is_http(scene).map(Value::Bool)),
    Fetch::new("wait_end", |scene, _| {
        if scene.waiting || scene.buffer.is_some_and(|buffer| !buffer.closed && !buffer.waited) {
            scene.wait();
            return None;
        }
        Some(Value::Bool(true))
    }),
];

/// A buffer holds this many bytes where the process does not say.
const BUFFER_BYTES: usize = 16_384;

/// The bytes of a direction, if the scene is in that direction.
pub(crate) fn buffer<'a>(scene: &Scene<'a>, side: Side) -> Option<Bytes<'a>> {
    scene.buffer.filter(|_| Side::of_stage(scene.stage) == side)
}

/// Says that more bytes are needed, unless no more will come.
pub(crate) fn wait_for_more(scene: &Scene<'_>, buffer: &Bytes<'_>) {
    if !buffer.closed {
        scene.wait();
    }
}

/// `req.len`: may grow as long as the direction is open.
fn length<'a>(scene: &Scene<'a>, side: Side) -> Option<Value<'a>> {
    if scene.buffer.is_none()
        && side == Side::Request
        && let Some(request) = scene.request
    {
        // HAProxy says here what its form of the message takes in memory; ours is what was sent.
        let fields = request.headers().iter().map(|(name, value)| name.len() + value.len() + 4);
        let head = request.request_line().len() + 4 + fields.sum::<usize>();
        return i64::try_from(head + scene.request_body.bytes.len()).ok().map(Value::Int);
    }
    let buffer = buffer(scene, side)?;
    wait_for_more(scene, &buffer);
    i64::try_from(buffer.bytes.len()).ok().map(Value::Int)
}

/// `req.payload(offset,length)`; a length of 0 stands for all there is.
fn block<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    let offset = usize::try_from(arguments::int(args, 0)?).ok()?;
    let length = usize::try_from(arguments::int(args, 1)?).ok()?;
    let buffer = buffer(scene, side)?;
    if length > 0 {
        return slice(scene, &buffer, offset, length);
    }
    wait_for_more(scene, &buffer);
    buffer.bytes.get(offset..).filter(|_| !buffer.bytes.is_empty()).map(Value::bin)
}

/// Part of a buffer. What would not fit in it cannot come.
fn slice<'a>(scene: &Scene<'a>, buffer: &Bytes<'a>, offset: usize, length: usize) -> Option<Value<'a>> {
    let end = offset.checked_add(length)?;
    let capacity = scene.world.process(ProcessNumber::BufferBytes);
    if end > capacity.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(BUFFER_BYTES) {
        return None;
    }
    let found = buffer.bytes.get(offset..end);
    if found.is_none() {
        wait_for_more(scene, buffer);
    }
    found.map(Value::bin)
}

/// `req.payload_lv(offset1,length[,offset2])`: a block with its length before it. `offset2` has become where the block
/// begins.
fn sized_block<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    let offset = usize::try_from(arguments::int(args, 0)?).ok()?;
    let width = usize::try_from(arguments::int(args, 1)?).ok()?;
    let start = usize::try_from(arguments::int(args, 2)?).ok()?;
    let buffer = buffer(scene, side)?;
    let Some(Value::Bin(length)) = slice(scene, &buffer, offset, width) else { return None };
    let length = length.iter().try_fold(0_usize, |length, byte| {
        length.checked_mul(256).map(|length| length + usize::from(*byte))
    })?;
    if length == 0 { None } else { slice(scene, &buffer, start, length) }
}

fn prepare_sized(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    let offset = arguments::int(args, 0).unwrap_or(0);
    let width = arguments::int(args, 1).unwrap_or(0);
    if offset < 0 {
        return Err("payload offset1 must be positive".to_owned());
    }
    if width < 1 {
        return Err("payload length must be > 0".to_owned());
    }
    let behind = offset.saturating_add(width);
    let start = match arguments::word(args, 2)? {
        None => behind,
        Some(word) => {
            let number: i64 = word.parse().map_err(|_| "payload offset2 is not a number".to_owned())?;
            if word.starts_with(['+', '-']) { behind.saturating_add(number) } else { number }
        }
    };
    if start < 0 {
        return Err("payload offset2 too negative".to_owned());
    }
    if let Some(arg) = args.get_mut(2) {
        *arg = Arg::Int(start);
    }
    Ok(())
}

/// What an HTTP/2 client says first (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether the bytes begin with the whole preface of HTTP/2.
pub(crate) fn is_http2(scene: &Scene<'_>) -> bool {
    buffer(scene, Side::Request).is_some_and(|buffer| buffer.bytes.starts_with(HTTP2_PREFACE))
}

/// `req.proto_http`: a whole request that parses; no answer before it is whole.
fn is_http(scene: &Scene<'_>) -> Option<bool> {
    if scene.request.is_some() || is_http2(scene) {
        return Some(true);
    }
    let buffer = buffer(scene, Side::Request)?;
    if HTTP2_PREFACE.starts_with(buffer.bytes) && !buffer.closed {
        scene.wait();
        return None;
    }
    if scene.sniffed.is_some() && request(scene).is_some() {
        return Some(true);
    }
    match h1::parse_request(buffer.bytes, &mut RequestHead::new(), &Limits::default(), Strictness::Strict) {
        Ok(Some(_)) => Some(true),
        Ok(None) => {
            wait_for_more(scene, &buffer);
            None
        }
        Err(_) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_refused};

    /// Values from HAProxy 3.2, except that it halves an absolute `offset2`; the manual does not.
    #[test]
    fn blocks() {
        let rows: &[_] = &[
            ("req.payload(0,0)", Some("\\x03\\x00abcdefgh")),
            ("req.payload(0,5)", Some("\\x03\\x00abc")),
            ("req.payload(3,2)", Some("bc")),
            ("req.payload(9,0)", Some("h")),
            ("req.payload(10,0)", Some("")),
            ("req.payload(11,0)", None),
            ("req.payload(5,5)", Some("defgh")),
            ("req.payload(5,6)", None),
            ("req.payload(-1,1)", None),
            ("req.payload(1,-1)", None),
            ("req.payload(100000,1)", None),
            ("req.payload(9223372036854775807,1)", None),
            ("req.payload(9223372036854775807,9223372036854775807)", None),
            ("payload(1,1)", Some("\\x00")),
            ("req.payload_lv(0,1)", Some("\\x00ab")),
            ("req.payload_lv(0,2)", None),
            ("req.payload_lv(0,9)", None),
            ("req.payload_lv(0,1,5)", Some("def")),
            ("req.payload_lv(0,1,+0)", Some("\\x00ab")),
            ("req.payload_lv(0,1,+5)", Some("efg")),
            ("req.payload_lv(0,1,-1)", Some("\\x03\\x00a")),
            ("req.payload_lv(1,1)", None),
            ("payload_lv(0,1)", Some("\\x00ab")),
            ("req.len", Some("10")),
            ("res.len", None),
            ("res.payload(0,0)", None),
        ];
        check(&Case::buffer(b"\x03\x00abcdefgh", true), rows);
        check(
            &Case::buffer(b"\x00\x03abc", true).of_server(),
            &[
                ("res.payload_lv(0,2)", Some("abc")),
                ("payload_lv(0,2)", Some("abc")),
                ("res.payload(2,0)", Some("abc")),
                ("payload(2,2)", Some("ab")),
                ("res.len", Some("5")),
                ("req.len", None),
            ],
        );
        check(&Case::buffer(b"", true), &[("req.payload(0,0)", None), ("req.len", Some("0"))]);
        // HTTP is not looked at as bytes; only how many there are is known.
        let lengths = [("req.payload(0,4)", None), ("req.len", Some("18"))];
        check(&Case::request("GET / HTTP/1.0\r\n\r\n"), &lengths);
    }

    #[test]
    fn refused() {
        check_refused(&[
            ("req.payload_lv(0,0)", "payload length must be > 0"),
            ("req.payload_lv(0,1,x)", "payload offset2 is not a number"),
            ("req.payload_lv(0,1,-9)", "payload offset2 too negative"),
            ("req.payload_lv(-1,1)", "payload offset1 must be positive"),
        ]);
    }

    #[test]
    fn more_may_come() {
        let check = |bytes: &[u8], text: &str, value: Option<&str>, unfinished: bool| {
            let open = Case::buffer(bytes, false).eval(text);
            assert_eq!((open.value.as_deref(), open.unfinished), (value, unfinished), "{text}");
            let closed = Case::buffer(bytes, true).eval(text);
            assert!(!closed.unfinished, "{text} waits for what will not come");
        };
        check(b"abc", "req.len", Some("3"), true);
        check(b"abc", "req.payload(0,0)", Some("abc"), true);
        check(b"abc", "req.payload(0,3)", Some("abc"), false);
        check(b"abc", "req.payload(0,4)", None, true);
        // Longer than any buffer.
        check(b"abc", "req.payload(0,100000)", None, false);
        check(b"\x04abc", "req.payload_lv(0,1)", None, true);
        check(b"\xff\xffabc", "req.payload_lv(0,2)", None, false);
        check(b"GET / HTTP/1.1\r\n", "req.proto_http", None, true);
        check(b"GET / HTTP/1.1\r\n", "path", None, true);
        check(b"GET /x HTTP/1.0\r\n\r\n", "path", Some("/x"), false);
        check(b"EHLO\r\n", "req.proto_http", Some("0"), false);
        check(b"PRI * HT", "req.proto_http", None, true);
        check(b"abc", "wait_end", None, true);
        assert_eq!(Case::buffer(b"", true).eval("wait_end").value.as_deref(), Some("1"));
        assert_eq!(Case::default().eval("wait_end").value.as_deref(), Some("1"));
    }

    #[test]
    fn http_in_a_tcp_proxy() {
        check(
            &Case::buffer(b"GET /p?q=1 HTTP/1.1\r\nHost: a\r\nCookie: c=2\r\n\r\n", false),
            &[
                ("req.proto_http", Some("1")),
                ("req_proto_http", Some("1")),
                ("path", Some("/p")),
                ("base", Some("a/p")),
                ("method", Some("GET")),
                ("req.ver", Some("1.1")),
                ("req.hdr(host)", Some("a")),
                ("req.cook(c)", Some("2")),
                ("url_param(q)", Some("1")),
            ],
        );
        check(
            &Case::buffer(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false),
            &[
                ("req.proto_http", Some("1")),
                ("method", Some("PRI")),
                ("req.ver", Some("2.0")),
                ("path", None),
            ],
        );
        check(&Case::buffer(b"\x16\x03\x01\0\0", false), &[("req.proto_http", Some("0")), ("path", None)]);
        check(&Case::request("GET / HTTP/1.0\r\n\r\n"), &[("req.proto_http", Some("1"))]);
    }
}
