//! One item of a format, written as its flags say: plain, quoted, escaped, as JSON or as CBOR.

use std::borrow::Cow;
use std::net::IpAddr;

use sockeye_http::is_valid_value;

use super::cbor::{self, Major};
use super::{Encoding, Flags, Purpose, json, number};
use crate::value::{Type, Value};

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Writes one item.
#[derive(Debug)]
pub struct Writer<'a> {
    flags: Flags,
    out: &'a mut Vec<u8>,
}

/// Bytes that are written as a mark and two hexadecimal digits (manual 8.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// `#XX` for what is not printable.
    Unprintable,
    /// `#XX` for what is not printable, `"` and `#`.
    Uri,
    /// `#XX` for what is not printable, `"`, `#`, `{`, `|` and `}`.
    Header,
    /// `%XX` for what must not be in a header's value: control characters but the tab.
    Http,
}

impl Marks {
    fn mark(self) -> u8 {
        if self == Self::Http { b'%' } else { b'#' }
    }

    fn marks(self, byte: u8) -> bool {
        let printable = (b' '..=b'~').contains(&byte);
        match self {
            Self::Unprintable => !printable,
            Self::Uri => !printable || matches!(byte, b'"' | b'#'),
            Self::Header => !printable || matches!(byte, b'"' | b'#' | b'{' | b'|' | b'}'),
            Self::Http => byte != b'\t' && byte.is_ascii_control(),
        }
    }
}

impl<'a> Writer<'a> {
    #[inline]
    pub fn new(flags: Flags, out: &'a mut Vec<u8>) -> Self {
        Self { flags, out }
    }

    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Where a plain text goes that needs neither quotes nor an encoding.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// What is not there: `-`, two quotes, nothing, or what the encoding has for it.
    pub fn missing(&mut self) {
        match (self.flags.encoding, self.flags.purpose) {
            (Some(Encoding::Json), _) => self.raw(b"\"\""),
            (Some(Encoding::Cbor), _) => self.raw(&[cbor::NULL]),
            (None, _) if self.flags.quote => self.raw(b"\"\""),
            (None, Purpose::Log) => self.raw(b"-"),
            (None, Purpose::UniqueId | Purpose::Header | Purpose::Text) => {}
        }
    }

    /// Text as it is; missing where it is empty.
    pub fn text(&mut self, text: &[u8]) {
        self.joined(&[text]);
    }

    /// Several texts as one.
    pub fn joined(&mut self, parts: &[&[u8]]) {
        if parts.iter().all(|part| part.is_empty()) {
            return self.missing();
        }
        match self.flags.encoding {
            None => {
                self.quote();
                for part in parts {
                    self.plain(until_zero(part));
                }
                self.quote();
            }
            Some(Encoding::Json) => {
                self.raw(b"\"");
                for part in parts {
                    json::push(self.out, until_zero(part), self.flags.utf8);
                }
                self.raw(b"\"");
            }
            Some(Encoding::Cbor) => {
                self.cbor_head(Major::Text, parts.iter().map(|part| until_zero(part).len()).sum());
                for part in parts {
                    self.raw(until_zero(part));
                }
            }
        }
    }

    /// Text that has no quotes but those of an encoding, such as a date.
    pub fn unquoted(&mut self, text: &[u8]) {
        match self.flags.encoding {
            None => self.raw(text),
            Some(_) => self.text(text),
        }
    }

    /// Several texts as one, with what could do harm in a log marked. An empty text stays empty.
    pub fn marked(&mut self, parts: &[&[u8]], marks: Marks) {
        self.open_text();
        for part in parts {
            self.mark(part, marks);
        }
        self.close_text();
    }

    /// The captured headers in one text: `{a|b}`.
    pub fn braced(&mut self, texts: &[Option<&[u8]>]) {
        if texts.is_empty() {
            return self.nothing();
        }
        self.open_text();
        for (index, text) in texts.iter().enumerate() {
            self.chunk(if index == 0 { b"{" } else { b"|" });
            self.mark(text.unwrap_or_default(), Marks::Header);
        }
        self.chunk(b"}");
        self.close_text();
    }

    /// The captured headers one by one: separated by blanks, or a list of the encoding.
    pub fn list(&mut self, texts: &[Option<&[u8]>]) {
        if texts.is_empty() {
            return self.nothing();
        }
        match self.flags.encoding {
            None => {}
            Some(Encoding::Json) => self.raw(b"["),
            Some(Encoding::Cbor) => self.raw(&[cbor::LIST]),
        }
        for (index, text) in texts.iter().enumerate() {
            match self.flags.encoding {
                None if index > 0 => self.raw(b" "),
                Some(Encoding::Json) if index > 0 => self.raw(b", "),
                _ => {}
            }
            match text {
                Some(text) if !text.is_empty() => self.marked(&[text], Marks::Header),
                _ if self.flags.encoding.is_some() => self.marked(&[b"-"], Marks::Header),
                _ if self.flags.quote => self.raw(b"\"\""),
                _ => self.raw(b"-"),
            }
        }
        match self.flags.encoding {
            None => {}
            Some(Encoding::Json) => self.raw(b"]"),
            Some(Encoding::Cbor) => self.raw(&[cbor::BREAK]),
        }
    }

    /// A number of a field.
    pub fn number(&mut self, value: i64) {
        match self.flags.encoding {
            None => self.decimal(value),
            Some(_) => self.typed_number(value),
        }
    }

    /// A number that may be incomplete, which a `+` says where nothing is encoded.
    pub fn growing(&mut self, value: i64, incomplete: bool) {
        if incomplete && self.flags.encoding.is_none() {
            self.raw(b"+");
        }
        self.number(value);
    }

    /// A number that `X` turns into hexadecimal digits: at least `hex_width`, otherwise at least `width`.
    pub fn wide(&mut self, value: u64, width: usize, hex_width: usize) {
        match (self.flags.hex, self.flags.encoding) {
            (false, None) => number::push_padded(self.out, value, width),
            (false, Some(_)) => self.typed_number(i64::try_from(value).unwrap_or(i64::MAX)),
            (true, None) => number::push_hex(self.out, value, hex_width),
            (true, Some(_)) => {
                let mut digits = Vec::with_capacity(16);
                number::push_hex(&mut digits, value, hex_width);
                self.text(&digits);
            }
        }
    }

    /// An address, in hexadecimal digits if `X` says so.
    pub fn ip(&mut self, ip: IpAddr) {
        if self.flags.encoding.is_none() {
            self.quote();
            push_ip(self.out, ip, self.flags.hex);
            self.quote();
        } else {
            let mut text = Vec::with_capacity(40);
            push_ip(&mut text, ip, self.flags.hex);
            self.text(&text);
        }
    }

    /// The value of an expression.
    #[inline]
    pub fn value(&mut self, value: Option<Value<'_>>) {
        // Seen where it is: most values are texts for headers, and moving one costs more than a look.
        if let (Some(Value::Str(text)), None, Purpose::Header) =
            (&value, self.flags.encoding, self.flags.purpose)
        {
            return self.header_text(text);
        }
        match (value, self.flags.encoding, self.flags.purpose) {
            (None, None, Purpose::Header) => {}
            (None, ..) => self.missing(),
            (Some(value), None, Purpose::Header) => match value {
                Value::Int(value) => self.decimal(value),
                Value::Ipv4(ip) => push_ip(self.out, ip.into(), false),
                value => self.header_text(&text_of(value)),
            },
            (Some(value), None, _) => match value {
                Value::Int(value) => {
                    self.quote();
                    self.decimal(value);
                    self.quote();
                }
                Value::Bin(bytes) if self.flags.binary => self.plain(&bytes),
                value => self.text(&text_of(value)),
            },
            (Some(value), Some(encoding), _) => self.encoded(value, encoding),
        }
    }

    /// A text for a header's value.
    fn header_text(&mut self, text: &[u8]) {
        // What can stand in a header, without any zero, is the usual case.
        if !self.flags.escape && is_valid_value(text) {
            self.out.extend_from_slice(text);
        } else {
            self.mark(until_zero(text), Marks::Http);
        }
    }

    /// What an encoding has for nothing at all.
    fn nothing(&mut self) {
        match self.flags.encoding {
            None => {}
            Some(Encoding::Json) => self.raw(b"null"),
            Some(Encoding::Cbor) => self.raw(&[cbor::NULL]),
        }
    }

    fn encoded(&mut self, value: Value<'_>, encoding: Encoding) {
        match (self.flags.as_type.unwrap_or_else(|| value.type_of()), encoding) {
            (Type::Bool, _) => self.bool(value.to_int().is_some_and(|value| value != 0)),
            (Type::Int, _) => self.bare_number(value.to_int().unwrap_or(0)),
            (Type::Bin, Encoding::Cbor) => {
                let bytes = value.into_bytes().unwrap_or_default();
                self.raw(&[cbor::BYTES]);
                self.cbor_head(Major::Bytes, bytes.len());
                self.raw(&bytes);
                self.raw(&[cbor::BREAK]);
            }
            (Type::Bin, Encoding::Json) if self.flags.binary || self.flags.as_type.is_some() => {
                let bytes = value.into_bytes().unwrap_or_default();
                json::push(self.out, &bytes, self.flags.utf8);
            }
            _ => self.text(&text_of(value)),
        }
    }

    fn decimal(&mut self, value: i64) {
        number::push_signed(self.out, value);
    }

    /// A number in an encoding, as the type that was asked for.
    fn typed_number(&mut self, value: i64) {
        match self.flags.as_type {
            Some(Type::Bool) => self.bool(value != 0),
            Some(Type::Str) => self.text(value.to_string().as_bytes()),
            _ => self.bare_number(value),
        }
    }

    fn bare_number(&mut self, value: i64) {
        if self.flags.encoding == Some(Encoding::Cbor) {
            let (head, length) = cbor::number(value);
            self.raw(&head[..length]);
        } else {
            self.decimal(value);
        }
    }

    fn bool(&mut self, value: bool) {
        match (self.flags.encoding, value) {
            (Some(Encoding::Cbor), true) => self.raw(&[cbor::TRUE]),
            (Some(Encoding::Cbor), false) => self.raw(&[cbor::FALSE]),
            (_, true) => self.raw(b"true"),
            (_, false) => self.raw(b"false"),
        }
    }

    fn open_text(&mut self) {
        match self.flags.encoding {
            None => self.quote(),
            Some(Encoding::Json) => self.raw(b"\""),
            Some(Encoding::Cbor) => self.raw(&[cbor::TEXT]),
        }
    }

    fn close_text(&mut self) {
        match self.flags.encoding {
            None => self.quote(),
            Some(Encoding::Json) => self.raw(b"\""),
            Some(Encoding::Cbor) => self.raw(&[cbor::BREAK]),
        }
    }

    /// A part of an open text.
    fn chunk(&mut self, text: &[u8]) {
        match self.flags.encoding {
            _ if text.is_empty() => {}
            None => self.plain(text),
            Some(Encoding::Json) => json::push(self.out, text, self.flags.utf8),
            Some(Encoding::Cbor) => {
                self.cbor_head(Major::Text, text.len());
                self.raw(text);
            }
        }
    }

    /// A part of an open text in which bytes are marked.
    fn mark(&mut self, text: &[u8], marks: Marks) {
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| marks.marks(*byte)) {
            self.chunk(&rest[..at]);
            let byte = rest[at];
            self.chunk(&[marks.mark(), HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            rest = &rest[at + 1..];
        }
        self.chunk(rest);
    }

    /// Text with a backslash before what `E` names (RFC 5424, 6.3.3).
    fn plain(&mut self, text: &[u8]) {
        let mut rest = text;
        if self.flags.escape {
            while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | b']')) {
                self.out.extend_from_slice(&rest[..at]);
                self.out.extend_from_slice(&[b'\\', rest[at]]);
                rest = &rest[at + 1..];
            }
        }
        self.out.extend_from_slice(rest);
    }

    fn quote(&mut self) {
        if self.flags.quote {
            self.out.push(b'"');
        }
    }

    fn cbor_head(&mut self, major: Major, length: usize) {
        let (head, length) = cbor::head(major, length as u64);
        self.raw(&head[..length]);
    }

    /// Bytes as they are; of CBOR without `bin`, their hexadecimal digits.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        if self.flags.encoding == Some(Encoding::Cbor) && !self.flags.binary {
            for byte in bytes {
                number::push_hex(self.out, u64::from(*byte), 2);
            }
        } else {
            self.out.extend_from_slice(bytes);
        }
    }
}

/// What a text is in a format: it ends at a zero byte.
fn until_zero(text: &[u8]) -> &[u8] {
    &text[..text.iter().position(|byte| *byte == 0).unwrap_or(text.len())]
}

fn text_of(value: Value<'_>) -> Cow<'_, [u8]> {
    // Every type has a form as text.
    value.into_text().unwrap_or_default()
}

/// Appends an address: as people write it, or its hexadecimal digits.
pub fn push_ip(out: &mut Vec<u8>, ip: IpAddr, hex: bool) {
    match (ip, hex) {
        (IpAddr::V4(ip), false) => {
            let (mut text, mut length) = ([b'.'; 16], 0);
            for octet in ip.octets() {
                for (digit, from) in [(octet / 100, 100), (octet / 10 % 10, 10), (octet % 10, 0)] {
                    if octet >= from {
                        text[length] = b'0' + digit;
                        length += 1;
                    }
                }
                // A dot is there already.
                length += 1;
            }
            out.extend_from_slice(&text[..length - 1]);
        }
        (IpAddr::V6(ip), false) => {
            use std::io::Write;
            // Writing to a vector cannot fail.
            let _ = write!(out, "{ip}");
        }
        (IpAddr::V4(ip), true) => number::push_hex(out, u64::from(ip.to_bits()), 8),
        (IpAddr::V6(ip), true) => {
            for segment in ip.segments() {
                number::push_hex(out, u64::from(segment), 4);
            }
        }
    }
}
