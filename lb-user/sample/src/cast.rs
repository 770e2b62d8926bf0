//! What a value becomes where another type is wanted (manual 7.3.1, "casts").

use std::borrow::Cow;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::format::{number, push_ip};
use crate::value::{Type, Value};

impl Type {
    /// Whether values of this type can be wanted as `to`. A cast that is allowed may still fail for a value.
    pub fn casts_to(self, to: Self) -> bool {
        use Type::{Addr, Any, Bin, Bool, Int, Ipv4, Ipv6, Method, Str};
        match (self, to) {
            (Any, _) | (_, Any) => true,
            (from, to) if from == to => true,
            (Bool, Int | Str) => true,
            (Int, Bool | Addr | Ipv4 | Ipv6 | Str | Bin) => true,
            (Addr | Ipv4, Addr | Ipv4 | Ipv6 | Int | Str | Bin) => true,
            (Ipv6, Addr | Ipv4 | Str | Bin) => true,
            (Str, Bool | Int | Addr | Ipv4 | Ipv6 | Bin | Method) => true,
            (Bin, Str | Method) => true,
            (Method, Str | Bin) => true,
            _ => false,
        }
    }
}

impl<'a> Value<'a> {
    /// The value as `to`; `None` where there is no such cast or the value has no such form.
    #[inline]
    pub fn cast(self, to: Type) -> Option<Self> {
        if to == Type::Any || self.type_of() == to {
            return Some(self);
        }
        self.cast_to_other(to)
    }

    fn cast_to_other(self, to: Type) -> Option<Self> {
        match to {
            Type::Any => Some(self),
            Type::Bool => self.to_int().map(|value| Self::Bool(value != 0)),
            Type::Int => self.to_int().map(Self::Int),
            Type::Addr => self.to_ip().map(Self::ip),
            Type::Ipv4 => match self.to_ip()? {
                IpAddr::V4(addr) => Some(Self::Ipv4(addr)),
                IpAddr::V6(addr) => embedded_ipv4(addr).map(Self::Ipv4),
            },
            Type::Ipv6 => match self.to_ip()? {
                IpAddr::V4(addr) => Some(Self::Ipv6(addr.to_ipv6_mapped())),
                IpAddr::V6(addr) => Some(Self::Ipv6(addr)),
            },
            Type::Str => match self {
                Self::Bin(bytes) => Some(Self::Str(until_zero(bytes))),
                other => other.into_text().map(Self::Str),
            },
            Type::Bin => self.into_bytes().map(Self::Bin),
            Type::Method => match self {
                Self::Str(bytes) | Self::Bin(bytes) => Some(Self::Method(bytes)),
                _ => None,
            },
        }
    }

    /// As a number: addresses by their 32 bits, text by the decimal number it begins with.
    pub fn to_int(&self) -> Option<i64> {
        match self {
            Self::Bool(value) => Some(i64::from(*value)),
            Self::Int(value) => Some(*value),
            Self::Ipv4(addr) => Some(i64::from(addr.to_bits())),
            Self::Str(text) => Some(leading_int(text)),
            Self::Ipv6(_) | Self::Bin(_) | Self::Method(_) => None,
        }
    }

    /// As an address.
    pub fn to_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ipv4(addr) => Some(IpAddr::V4(*addr)),
            Self::Ipv6(addr) => Some(IpAddr::V6(*addr)),
            #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the address")]
            Self::Int(value) => Some(IpAddr::V4(Ipv4Addr::from_bits(*value as u32))),
            Self::Str(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// As text; bytes as they are, all of them.
    pub fn into_text(self) -> Option<Cow<'a, [u8]>> {
        let mut text = Vec::new();
        // Writing to a vector does not fail.
        let _ = match self {
            Self::Str(bytes) | Self::Bin(bytes) | Self::Method(bytes) => return Some(bytes),
            Self::Bool(value) => return Some(Cow::Borrowed(if value { b"1" } else { b"0" })),
            Self::Int(value) => {
                text.reserve(20);
                number::push_signed(&mut text, value);
                Ok(())
            }
            Self::Ipv4(addr) => {
                text.reserve(15);
                push_ip(&mut text, IpAddr::V4(addr), false);
                Ok(())
            }
            Self::Ipv6(addr) => write!(text, "{addr}"),
        };
        Some(Cow::Owned(text))
    }

    /// As bytes: a number big-endian in eight bytes, an address in network order.
    pub fn into_bytes(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Str(bytes) | Self::Bin(bytes) | Self::Method(bytes) => Some(bytes),
            Self::Int(value) => Some(Cow::Owned(value.to_be_bytes().to_vec())),
            Self::Ipv4(addr) => Some(Cow::Owned(addr.octets().to_vec())),
            Self::Ipv6(addr) => Some(Cow::Owned(addr.octets().to_vec())),
            Self::Bool(_) => None,
        }
    }

    /// Whether a condition made of this value alone is true: not zero.
    pub fn is_true(&self) -> bool {
        self.to_int().is_some_and(|value| value != 0)
    }
}

/// The decimal number at the beginning of `text`, 0 if there is none; beyond 64 bits the nearest that fits.
pub(crate) fn leading_int(text: &[u8]) -> i64 {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let mut value: i64 = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        let digit = i64::from(digit - b'0');
        let next = value.checked_mul(10);
        let next = next.and_then(|v| if negative { v.checked_sub(digit) } else { v.checked_add(digit) });
        let Some(next) = next else { return if negative { i64::MIN } else { i64::MAX } };
        value = next;
    }
    value
}

/// Text ends where a zero byte ends bytes, as in HAProxy.
fn until_zero(bytes: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let Some(end) = bytes.iter().position(|byte| *byte == 0) else { return bytes };
    match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..end]),
        Cow::Owned(mut bytes) => {
            bytes.truncate(end);
            Cow::Owned(bytes)
        }
    }
}

/// The IPv4 address inside a mapped, 6to4 or compatible one.
fn embedded_ipv4(addr: Ipv6Addr) -> Option<Ipv4Addr> {
    if let Some(mapped) = addr.to_ipv4_mapped() {
        return Some(mapped);
    }
    let octets = addr.octets();
    (octets[..2] == [0x20, 0x02]).then(|| Ipv4Addr::new(octets[2], octets[3], octets[4], octets[5]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts() {
        #[track_caller]
        fn check(value: Value<'_>, to: Type, expected: Option<Value<'_>>) {
            assert_eq!(value.clone().cast(to), expected, "{value:?} as {to:?}");
        }
        check(Value::Bool(true), Type::Int, Some(Value::Int(1)));
        check(Value::Bool(true), Type::Str, Some(Value::str(b"1")));
        check(Value::Bool(true), Type::Bin, None);
        check(Value::Int(-5), Type::Str, Some(Value::str(b"-5")));
        check(Value::Int(0), Type::Bool, Some(Value::Bool(false)));
        check(Value::Int(1), Type::Bin, Some(Value::bin(&[0, 0, 0, 0, 0, 0, 0, 1])));
        check(Value::Int(0x7f00_0001), Type::Addr, Some(Value::Ipv4(Ipv4Addr::LOCALHOST)));
        check(Value::Ipv4(Ipv4Addr::LOCALHOST), Type::Int, Some(Value::Int(0x7f00_0001)));
        check(Value::Ipv4(Ipv4Addr::LOCALHOST), Type::Str, Some(Value::str(b"127.0.0.1")));
        check(Value::Ipv6(Ipv6Addr::LOCALHOST), Type::Int, None);
        check(Value::Ipv6(Ipv6Addr::LOCALHOST), Type::Ipv4, None);
        check(Value::str(b"12x"), Type::Int, Some(Value::Int(12)));
        check(Value::str(b"x"), Type::Int, Some(Value::Int(0)));
        check(Value::str(b"99999999999999999999"), Type::Int, Some(Value::Int(i64::MAX)));
        check(Value::str(b"::1"), Type::Addr, Some(Value::Ipv6(Ipv6Addr::LOCALHOST)));
        check(Value::str(b"x"), Type::Addr, None);
        check(Value::bin(b"x"), Type::Str, Some(Value::str(b"x")));
        check(Value::bin(b"a\0b"), Type::Str, Some(Value::str(b"a")));
        check(Value::Bin(vec![b'a', 0].into()), Type::Str, Some(Value::str(b"a")));
        check(Value::bin(b"\0"), Type::Str, Some(Value::str(b"")));
        check(Value::bin(b"1"), Type::Int, None);
    }
}
