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
        if scene.buffer.is_some_and(|buffer| !buffer.closed && !buffer.waited) {
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
