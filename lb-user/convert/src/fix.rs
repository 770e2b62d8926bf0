//! `fix_is_valid` and `fix_tag_value`: messages of the Financial Information eXchange protocol.
//!
//! A message is `TAG=VALUE` and a byte 1, again and again: BeginString, BodyLength, MsgType, others, CheckSum.

use sockeye_sample::{Arg, Converter, Scene, Value};

use crate::protobuf::with_bytes;

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("fix_is_valid", is_valid),
    Converter::new("fix_tag_value", tag_value).prepare(|args, _| prepare(args)),
];

const BEGIN_STRING: u32 = 8;
const BODY_LENGTH: u32 = 9;
const CHECK_SUM: u32 = 10;
const MSG_TYPE: u32 = 35;

/// Tags that may be named.
const NAMES: [(&str, u32); 6] = [
    ("BeginString", BEGIN_STRING),
    ("BodyLength", BODY_LENGTH),
    ("CheckSum", CHECK_SUM),
    ("MsgType", MSG_TYPE),
    ("SenderCompID", 49),
    ("TargetCompID", 56),
];

/// Values of BeginString.
const VERSIONS: [&[u8]; 6] = [b"FIX.4.0", b"FIX.4.1", b"FIX.4.2", b"FIX.4.3", b"FIX.4.4", b"FIXT.1.1"];

/// Ends a tag.
const SEPARATOR: u8 = 1;
/// The shortest message there can be; below that, more has to come.
const MESSAGE_BYTES_MIN: usize = 26;
/// `10=123` and the separator.
const CHECK_SUM_DIGITS: usize = 3;

/// Why there is no tag at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It does not end.
    Incomplete,
    /// It does not begin with a number and `=`.
    Invalid,
}

/// The tag that `message` begins with, its value, and what follows.
fn tag(message: &[u8]) -> Result<(u32, &[u8], &[u8]), Fault> {
    let end = memchr::memchr(SEPARATOR, message).ok_or(Fault::Incomplete)?;
    let (field, rest) = (&message[..end], &message[end + 1..]);
    let equals = memchr::memchr(b'=', field).ok_or(Fault::Invalid)?;
    let number = digits(&field[..equals]).and_then(|number| u32::try_from(number).ok());
    Ok((number.filter(|number| *number > 0).ok_or(Fault::Invalid)?, &field[equals + 1..], rest))
}

/// Only digits.
fn digits(text: &[u8]) -> Option<u64> {
    let valid = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    str::from_utf8(text).ok().filter(|_| valid)?.parse().ok()
}

fn is_valid<'a>(value: Value<'a>, _: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    match check(value.bytes()?) {
        Ok(()) => Some(Value::Bool(true)),
        Err(Fault::Invalid) => Some(Value::Bool(false)),
        Err(Fault::Incomplete) => {
            scene.wait();
            None
        }
    }
}

/// Whether a valid message stands at the beginning of `message`.
fn check(message: &[u8]) -> Result<(), Fault> {
    if message.len() < MESSAGE_BYTES_MIN {
        return Err(Fault::Incomplete);
    }
    let expect = |valid: bool| if valid { Ok(()) } else { Err(Fault::Invalid) };
    let (number, version, rest) = tag(message)?;
    expect(number == BEGIN_STRING && VERSIONS.contains(&version))?;
    let (number, length, body) = tag(rest)?;
    expect(number == BODY_LENGTH)?;
    let length = digits(length).ok_or(Fault::Invalid)?;
    let (number, _, mut rest) = tag(body)?;
    expect(number == MSG_TYPE)?;
    loop {
        let before = rest;
        let (number, value, after) = tag(rest)?;
        rest = after;
        if number == CHECK_SUM {
            let covered = message.len() - before.len();
            let sum = message[..covered].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            expect(u64::try_from(body.len() - before.len()) == Ok(length))?;
            return expect(value.len() == CHECK_SUM_DIGITS && digits(value) == Some(sum.into()));
        }
    }
}

fn prepare(args: &mut [Arg]) -> Result<(), String> {
    let text = args.first().and_then(Arg::str).unwrap_or_default();
    let named = NAMES.iter().find(|(name, _)| name.as_bytes() == text).map(|(_, number)| *number);
    let number = named.or_else(|| digits(text).and_then(|number| u32::try_from(number).ok()));
    let Some(number) = number.filter(|number| *number > 0) else {
        return Err(format!("Unknown FIX tag name '{}'", String::from_utf8_lossy(text)));
    };
    args[0] = Arg::Int(number.into());
    Ok(())
}

fn tag_value<'a>(value: Value<'a>, args: &'a [Arg], scene: &Scene<'a>) -> Option<Value<'a>> {
    let wanted = args.first()?.int()?;
    let incomplete = std::cell::Cell::new(false);
    let found = with_bytes(value, |mut message| {
        loop {
            match tag(message) {
                Ok((number, value, _)) if i64::from(number) == wanted => {
                    return (!value.is_empty()).then(|| Value::bin(value));
                }
                Ok((_, _, rest)) => message = rest,
                Err(fault) => {
                    incomplete.set(fault == Fault::Incomplete);
                    return None;
                }
            }
        }
    });
    if incomplete.get() {
        scene.wait();
    }
    found
}
