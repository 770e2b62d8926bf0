//! Bytes as text and text as bytes: base64, digits of base 2, 10 and 16, and URLs.

use std::borrow::Cow;

use sockeye_sample::{Arg, Converter, Scene, Value};

use crate::crypto::{Alphabet, decode_base64, encode_base64};
use crate::operand::{self, bytes, made};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("base2", |value, _, _| {
        let digits = bytes(value)?
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| b'0' + (byte >> bit & 1)))
            .collect();
        made(digits)
    }),
    Converter::new("base64", |value, _, _| made(encode_base64(&bytes(value)?))),
    Converter::new("b64dec", |value, _, _| {
        decode_base64(&bytes(value)?, Alphabet::Standard).map(Value::binary)
    }),
    Converter::new("ub64enc", |value, _, _| {
        let mut text = encode_base64(&bytes(value)?);
        text.retain(|byte| *byte != b'=');
        for byte in &mut text {
            *byte = match *byte {
                b'+' => b'-',
                b'/' => b'_',
                byte => byte,
            };
        }
        made(text)
    }),
    Converter::new("ub64dec", |value, _, _| decode_base64(&bytes(value)?, Alphabet::Url).map(Value::binary)),
    Converter::new("be2dec", |value, args, _| to_decimal(value, args, Order::Big))
        .prepare(|args, _| prepare_decimal(args)),
    Converter::new("le2dec", |value, args, _| to_decimal(value, args, Order::Little))
        .prepare(|args, _| prepare_decimal(args)),
    Converter::new("be2hex", |value, args, _| {
        let size = operand::int(args, 1).and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        in_chunks(value, args, size, |chunk, out| chunk.iter().for_each(|byte| out.extend(hex_digits(*byte))))
    })
    .prepare(|args, _| match operand::int(args, 1) {
        None if operand::text(args, 0).is_empty() => Ok(()),
        Some(1..) => Ok(()),
        size => Err(format!("chunk_size needs to be positive ({})", size.unwrap_or_default())),
    }),
    Converter::new("hex", |value, _, _| {
        made(bytes(value)?.iter().flat_map(|byte| hex_digits(*byte)).collect())
    }),
    Converter::new("hex2i", |value, _, _| {
        // Of a number that is longer than 16 digits the last ones count.
        let mut number = 0_u64;
        for byte in bytes(value)?.iter() {
            number = number << 4 | u64::from(char::from(*byte).to_digit(16)?);
        }
        Some(Value::Int(number.cast_signed()))
    }),
    Converter::new("url_dec", url_decode),
    Converter::new("url_enc", |value, _, _| {
        let text = bytes(value)?;
        let mut out = Vec::with_capacity(text.len());
        for byte in text.iter() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                out.push(*byte);
            } else {
                out.push(b'%');
                out.extend(hex_digits(*byte));
            }
        }
        made(out)
    })
    .prepare(|args, _| match operand::text(args, 0) {
        b"" | b"query" => Ok(()),
        _ => Err("Unexpected encode type. Allowed value is 'query'".to_owned()),
    }),
];

fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]
}

#[derive(Clone, Copy)]
enum Order {
    Big,
    Little,
}

/// A number of 64 bits takes no more bytes.
const DECIMAL_CHUNK_MAX: i64 = 8;

fn prepare_decimal(args: &[Arg]) -> Result<(), String> {
    match operand::int(args, 1).unwrap_or_default() {
        1..=DECIMAL_CHUNK_MAX => Ok(()),
        size => Err(format!("chunk_size out of [1..{DECIMAL_CHUNK_MAX}] range ({size})")),
    }
}

fn to_decimal<'a>(value: Value<'a>, args: &'a [Arg], order: Order) -> Option<Value<'a>> {
    let size = usize::try_from(operand::int(args, 1)?).ok()?;
    in_chunks(value, args, size, |chunk, out| {
        let append = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let number = match order {
            Order::Big => chunk.iter().fold(0, append),
            Order::Little => chunk.iter().rev().fold(0, append),
        };
        out.extend_from_slice(number.to_string().as_bytes());
    })
}

/// Writes each chunk of `size` bytes with the separator (argument 0) between them; a shorter one at the end is left out
/// if the flag (argument 2) says so.
fn in_chunks<'a>(
    value: Value<'a>,
    args: &'a [Arg],
    size: usize,
    write: impl Fn(&[u8], &mut Vec<u8>),
) -> Option<Value<'a>> {
    let bytes = bytes(value)?;
    let truncate = operand::int(args, 2).unwrap_or_default() != 0 && size != usize::MAX;
    let mut out = Vec::with_capacity(bytes.len());
    for (index, chunk) in bytes.chunks(size.max(1)).enumerate() {
        if truncate && chunk.len() < size {
            break;
        }
        if index > 0 {
            out.extend_from_slice(operand::text(args, 0));
        }
        write(chunk, &mut out);
    }
    made(out)
}

/// RFC 3986, 2.1; `+` is a space in forms (argument) and behind the first question mark. `None` if a `%` is not followed
/// by two digits, or by those of zero.
fn url_decode<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let text = bytes(value)?;
    let mut in_form = operand::int(args, 0).unwrap_or_default() != 0;
    if memchr::memchr2(b'%', b'+', &text).is_none() {
        return Some(Value::Str(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest: &[u8] = &text;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'+' if in_form => out.push(b' '),
            b'%' => {
                let ([high, low], behind) = rest.split_first_chunk()?;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                out.push(u8::try_from(digit(*high)? << 4 | digit(*low)?).ok().filter(|byte| *byte != 0)?);
                rest = behind;
            }
            byte => {
                in_form |= *byte == b'?';
                out.push(*byte);
            }
        }
    }
    Some(Value::Str(Cow::Owned(out)))
}
