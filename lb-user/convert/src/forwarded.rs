//! The field `Forwarded` (RFC 7239): whether it is valid, its parameters, and the parts of nodes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use sockeye_sample::{Converter, Value};

use crate::operand::{self, bytes, cut, made};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("rfc7239_field", |value, args, _| {
        let text = bytes(value)?;
        let index = NAMES.iter().position(|name| name.as_bytes() == operand::text(args, 0))?;
        let found = parameters(&text)?[index].clone()?;
        Some(Value::Str(cut(text, found)))
    }),
    Converter::new("rfc7239_is_valid", |value, _, _| Some(Value::Bool(parameters(&bytes(value)?).is_some()))),
    Converter::new("rfc7239_n2nn", |value, _, _| {
        let text = bytes(value)?;
        let (node, _) = Node::read(&text)?;
        Some(match node.name {
            Name::Ipv4(address) => Value::Ipv4(address),
            Name::Ipv6(address) => Value::Ipv6(address),
            Name::Text(length) => Value::Str(cut(text, 0..length)),
        })
    }),
    Converter::new("rfc7239_n2np", |value, _, _| {
        let text = bytes(value)?;
        let (node, rest) = Node::read(&text)?;
        Some(match node.port? {
            Port::Number(number) => Value::Int(i64::from(number)),
            Port::Text(length) => {
                let end = text.len() - rest.len();
                Value::Str(cut(text, end - length..end))
            }
        })
    }),
    Converter::new("rfc7239_nn", |value, _, _| match value {
        Value::Ipv4(address) => Some(Value::string(address.to_string())),
        Value::Ipv6(address) => Some(Value::string(format!("[{address}]"))),
        other => {
            let text = other.into_text()?;
            if text.is_empty() { Some(Value::str(b"unknown")) } else { obfuscated(&text) }
        }
    }),
    Converter::new("rfc7239_np", |value, _, _| match value {
        // The low 32 bits, as HAProxy writes them.
        Value::Int(number) => Some(Value::string((number & i64::from(u32::MAX)).to_string())),
        other => obfuscated(&other.into_text()?),
    }),
];

/// An identifier that tells nothing; `None` if it has other bytes than RFC 7239, 6.3 allows, or none.
fn obfuscated<'a>(text: &[u8]) -> Option<Value<'a>> {
    (!text.is_empty() && text.iter().all(is_obfuscated)).then(|| made([b"_", text].concat()))?
}

fn is_obfuscated(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

const NAMES: [&str; 4] = ["proto", "host", "for", "by"];

/// Where the values are, without their quotes, in the order of [`NAMES`].
type Parameters = [Option<Range<usize>>; NAMES.len()];

/// The parameters of a field of one element. `None` if it is not valid: names are in lower case, none is there twice.
fn parameters(text: &[u8]) -> Option<Parameters> {
    let mut found = Parameters::default();
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let index = NAMES.iter().position(|name| {
            rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='))
        })?;
        let start = at + NAMES[index].len() + 1;
        let (value, end, quoted) = match text.get(start) {
            Some(b'"') => {
                let length = memchr::memchr(b'"', &text[start + 1..])?;
                (start + 1..start + 1 + length, start + length + 2, true)
            }
            _ => {
                let length = memchr::memchr(b';', &text[start..]).unwrap_or(text.len() - start);
                (start..start + length, start + length, false)
            }
        };
        let is_valid = match index {
            0 => !quoted && matches!(&text[value.clone()], b"http" | b"https"),
            1 => is_host(&text[value.clone()], quoted),
            _ => is_node(&text[value.clone()], quoted),
        };
        if !is_valid || found[index].is_some() {
            return None;
        }
        found[index] = Some(value);
        match text.get(end) {
            None => return Some(found),
            Some(b';') => at = end + 1,
            Some(_) => return None,
        }
    }
}

/// A colon and brackets need quotes.
fn is_node(text: &[u8], quoted: bool) -> bool {
    (quoted || !text.iter().any(|byte| matches!(byte, b':' | b'[')))
        && matches!(Node::read(text), Some((_, b"")))
}

/// As HAProxy checks it: letters, digits and dots, or an IPv6 address, and a port that is none of 0.
fn is_host(text: &[u8], quoted: bool) -> bool {
    let (name, port) = match memchr::memrchr2(b':', b']', text) {
        Some(at) if text[at] == b':' => (&text[..at], Some(&text[at + 1..])),
        _ => (text, None),
    };
    let is_name = match name {
        [b'[', address @ .., b']'] => {
            str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        name => name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'.'),
    };
    let is_port = port.is_none_or(|port| matches!(number(port), Some((_, b""))));
    is_name && is_port && (quoted || port.is_none() && !name.is_empty() && name[0] != b'[')
}

/// A node: a name, and a port that may be missing.
struct Node {
    name: Name,
    port: Option<Port>,
}

enum Name {
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    /// `unknown` or an identifier: its length.
    Text(usize),
}

enum Port {
    Number(u16),
    /// An identifier: its length.
    Text(usize),
}

impl Node {
    /// The node that `text` begins with, and what follows it.
    fn read(text: &[u8]) -> Option<(Self, &[u8])> {
        let (name, rest) = if let Some(rest) = text.strip_prefix(b"unknown") {
            (Name::Text(text.len() - rest.len()), rest)
        } else if let Some(rest) = identifier(text) {
            (Name::Text(text.len() - rest.len()), rest)
        } else if let Some(rest) = text.strip_prefix(b"[") {
            let end = memchr::memchr(b']', rest)?;
            (Name::Ipv6(str::from_utf8(&rest[..end]).ok()?.parse().ok()?), &rest[end + 1..])
        } else {
            let is_end = |byte: &u8| !byte.is_ascii_digit() && *byte != b'.';
            let end = text.iter().position(is_end).unwrap_or(text.len());
            (Name::Ipv4(str::from_utf8(&text[..end]).ok()?.parse().ok()?), &text[end..])
        };
        let Some(port) = rest.strip_prefix(b":") else { return Some((Self { name, port: None }, rest)) };
        let (port, rest) = match identifier(port) {
            Some(rest) => (Port::Text(port.len() - rest.len()), rest),
            None => number(port).map(|(number, rest)| (Port::Number(number), rest))?,
        };
        Some((Self { name, port: Some(port) }, rest))
    }
}

/// What follows an underscore and the bytes of an identifier.
fn identifier(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"_")?;
    let length = rest.iter().position(|byte| !is_obfuscated(byte)).unwrap_or(rest.len());
    (length > 0).then(|| &rest[length..])
}

/// A port from 1 to 65535, and what follows.
fn number(text: &[u8]) -> Option<(u16, &[u8])> {
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let digits = text[..length]
        .iter()
        .try_fold(0_u16, |number, byte| number.checked_mul(10)?.checked_add(u16::from(byte - b'0')))?;
    (digits > 0).then(|| (digits, &text[length..]))
}
