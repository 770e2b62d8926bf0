//! `protobuf` and `ungrpc`: one field of a Protocol Buffers message, whole or as a number.
//!
//! The first field of a number counts where there are several. Groups are not read: nobody writes them any more.

use std::borrow::Cow;
use std::sync::Arc;

use sockeye_sample::{Arg, Converter, Scene, Value};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("protobuf", protobuf).prepare(|args, _| prepare(args)),
    Converter::new("ungrpc", ungrpc).prepare(|args, _| prepare(args)),
];

/// Field numbers in one path: messages are not nested deeper by sane people.
const PATH_MAX: usize = 64;
/// What stands before each message of gRPC: a flag and a length of four bytes.
const GRPC_HEADER_BYTES: usize = 5;

/// Both arguments.
#[derive(Debug)]
struct Field {
    path: Vec<u64>,
    kind: Option<Kind>,
}

/// How the bytes of a field become a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Varint,
    /// Small negative numbers in few bytes.
    ZigZag,
    Fixed64,
    Double,
    Fixed32,
    SignedFixed32,
    Float,
}

impl Kind {
    fn of_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"int32" | b"int64" | b"uint32" | b"uint64" | b"bool" | b"enum" => Self::Varint,
            b"sint32" | b"sint64" => Self::ZigZag,
            b"fixed64" | b"sfixed64" => Self::Fixed64,
            b"double" => Self::Double,
            b"fixed32" => Self::Fixed32,
            b"sfixed32" => Self::SignedFixed32,
            b"float" => Self::Float,
            _ => return None,
        })
    }

    /// `None`: the field is of another wire type.
    fn number(self, wire: Wire<'_>) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "HAProxy cuts fractions off")]
        Some(match (self, wire) {
            (Self::Varint, Wire::Varint { value, .. }) => value.cast_signed(),
            (Self::ZigZag, Wire::Varint { value, .. }) => {
                (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
            }
            (Self::Fixed64, Wire::Bits64(bytes)) => i64::from_le_bytes(*bytes),
            (Self::Double, Wire::Bits64(bytes)) => f64::from_le_bytes(*bytes) as i64,
            (Self::Fixed32, Wire::Bits32(bytes)) => i64::from(u32::from_le_bytes(*bytes)),
            (Self::SignedFixed32, Wire::Bits32(bytes)) => i64::from(i32::from_le_bytes(*bytes)),
            (Self::Float, Wire::Bits32(bytes)) => f32::from_le_bytes(*bytes) as i64,
            _ => return None,
        })
    }
}

/// The content of a field, by its wire type.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Varint { value: u64, bytes: &'a [u8] },
    Bits64(&'a [u8; 8]),
    Bytes(&'a [u8]),
    Bits32(&'a [u8; 4]),
}

fn prepare(args: &mut [Arg]) -> Result<(), String> {
    let text = args.first().and_then(Arg::str).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let path: Result<Vec<u64>, _> = text
        .split('.')
        .map(|number| {
            if number.starts_with('+') { Err(()) } else { number.parse::<u32>().map(u64::from).map_err(drop) }
        })
        .collect();
    let path = path.ok().filter(|path| path.len() <= PATH_MAX).ok_or_else(|| {
        format!("failed to parse '{text}' as type 'Protocol buffers field number' at position 1.")
    })?;
    let kind = match args.get(1).and_then(Arg::str) {
        None => None,
        Some(name) => Some(
            Kind::of_name(name)
                .ok_or_else(|| format!("Wrong protocol buffer type '{}'.", String::from_utf8_lossy(name)))?,
        ),
    };
    args[0] = Arg::Prepared(Arc::new(Field { path, kind }));
    Ok(())
}

fn protobuf<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let field = args.first()?.prepared::<Field>()?;
    with_bytes(value, |message| field.find(message))
}

fn ungrpc<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let field = args.first()?.prepared::<Field>()?;
    with_bytes(value, |mut stream| {
        while let Some((header, rest)) = stream.split_first_chunk::<GRPC_HEADER_BYTES>() {
            let [_, length @ ..] = *header;
            let (message, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(length)).ok()?)?;
            if let Some(found) = field.find(message) {
                return Some(found);
            }
            stream = rest;
        }
        None
    })
}

/// Runs `find` over bytes that may be borrowed, so that what it finds is borrowed where that is possible.
pub(crate) fn with_bytes<'a>(
    value: Value<'a>,
    find: impl for<'b> Fn(&'b [u8]) -> Option<Value<'b>>,
) -> Option<Value<'a>> {
    match value {
        Value::Bin(Cow::Borrowed(bytes)) | Value::Str(Cow::Borrowed(bytes)) => find(bytes),
        value => find(value.bytes()?).map(Value::into_owned),
    }
}

impl Field {
    fn find<'a>(&self, mut message: &'a [u8]) -> Option<Value<'a>> {
        let (last, outer) = self.path.split_last()?;
        for number in outer {
            let Wire::Bytes(inner) = first(message, *number)? else { return None };
            message = inner;
        }
        let wire = first(message, *last)?;
        match (self.kind, wire) {
            (Some(kind), wire) => kind.number(wire).map(Value::Int),
            (None, Wire::Varint { bytes, .. } | Wire::Bytes(bytes)) => Some(Value::bin(bytes)),
            (None, Wire::Bits64(bytes)) => Some(Value::bin(bytes)),
            (None, Wire::Bits32(bytes)) => Some(Value::bin(bytes)),
        }
    }
}

/// The first field of that number.
fn first(mut message: &[u8], number: u64) -> Option<Wire<'_>> {
    loop {
        let (key, _) = varint(&mut message)?;
        let wire = match key & 7 {
            0 => varint(&mut message).map(|(value, bytes)| Wire::Varint { value, bytes })?,
            1 => Wire::Bits64(chunk(&mut message)?),
            2 => {
                let (length, _) = varint(&mut message)?;
                let (bytes, rest) = message.split_at_checked(usize::try_from(length).ok()?)?;
                message = rest;
                Wire::Bytes(bytes)
            }
            5 => Wire::Bits32(chunk(&mut message)?),
            _ => return None,
        };
        if key >> 3 == number {
            return Some(wire);
        }
    }
}

fn chunk<'a, const N: usize>(message: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (bytes, rest) = message.split_first_chunk()?;
    *message = rest;
    Some(bytes)
}

/// A number of seven bits per byte, the lowest first, with the bytes that it takes.
fn varint<'a>(message: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let mut value = 0_u64;
    for (at, byte) in message.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let (bytes, rest) = message.split_at(at + 1);
            *message = rest;
            return Some((value, bytes));
        }
    }
    None
}
