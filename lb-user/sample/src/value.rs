//! A value of the expression language and its type (manual 7.3).

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of value an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// Known only when it is there (variables).
    Any,
    Bool,
    /// 64 bits, signed.
    Int,
    /// IPv4 or IPv6.
    Addr,
    Ipv4,
    Ipv6,
    /// Text, which need not be UTF-8.
    Str,
    /// Bytes that are no text.
    Bin,
    /// The method of a request.
    Method,
}

impl Type {
    /// The type by its name in lists of keywords.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "any" | "same" => Self::Any,
            "bool" => Self::Bool,
            "sint" => Self::Int,
            "addr" => Self::Addr,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "str" => Self::Str,
            "bin" => Self::Bin,
            "meth" => Self::Method,
            _ => return None,
        })
    }

    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Bool => "bool",
            Self::Int => "sint",
            Self::Addr => "addr",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Str => "str",
            Self::Bin => "bin",
            Self::Method => "meth",
        }
    }
}

/// A value, borrowed from what was looked at wherever that is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    Bool(bool),
    Int(i64),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    Str(Cow<'a, [u8]>),
    Bin(Cow<'a, [u8]>),
    Method(Cow<'a, [u8]>),
}

/// A value that is kept: in a variable, for example.
pub type OwnedValue = Value<'static>;

impl<'a> Value<'a> {
    /// Borrowed text.
    pub fn str(bytes: &'a [u8]) -> Self {
        Self::Str(Cow::Borrowed(bytes))
    }

    /// Text made anew.
    pub fn string(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Str(Cow::Owned(bytes.into()))
    }

    /// Borrowed bytes.
    pub fn bin(bytes: &'a [u8]) -> Self {
        Self::Bin(Cow::Borrowed(bytes))
    }

    /// Bytes made anew.
    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bin(Cow::Owned(bytes.into()))
    }

    /// An address; IPv4 stays IPv4.
    pub fn ip(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => Self::Ipv4(addr),
            IpAddr::V6(addr) => Self::Ipv6(addr),
        }
    }

    pub fn type_of(&self) -> Type {
        match self {
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Ipv4(_) => Type::Ipv4,
            Self::Ipv6(_) => Type::Ipv6,
            Self::Str(_) => Type::Str,
            Self::Bin(_) => Type::Bin,
            Self::Method(_) => Type::Method,
        }
    }

    /// The bytes of text, bytes or a method; `None` for the other types, which have to be cast first.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Str(bytes) | Self::Bin(bytes) | Self::Method(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The same value without borrowing.
    pub fn into_owned(self) -> OwnedValue {
        match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Ipv4(value) => Value::Ipv4(value),
            Self::Ipv6(value) => Value::Ipv6(value),
            Self::Str(bytes) => Value::Str(Cow::Owned(bytes.into_owned())),
            Self::Bin(bytes) => Value::Bin(Cow::Owned(bytes.into_owned())),
            Self::Method(bytes) => Value::Method(Cow::Owned(bytes.into_owned())),
        }
    }
}
