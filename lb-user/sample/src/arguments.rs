//! Arguments of fetches and converters, as they are after the file was read.

use std::any::Any;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};

use crate::variables::VarId;

/// One argument.
#[derive(Debug, Clone)]
pub enum Arg {
    /// An optional one that was not given, or is empty.
    Absent,
    Int(i64),
    Str(Box<[u8]>),
    Ipv4(Ipv4Addr),
    /// The bits that count, which need not stand together.
    Mask4(Ipv4Addr),
    Ipv6(Ipv6Addr),
    Mask6(Ipv6Addr),
    Var(VarId),
    Name(Arc<NameRef>),
    /// What a word's `prepare` made: a compiled expression, a map, a key.
    Prepared(Arc<dyn Any + Send + Sync>),
}

impl Arg {
    /// The number, if it is one.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is text.
    pub fn str(&self) -> Option<&[u8]> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// What `prepare` made, if it is a `T`.
    pub fn prepared<T: 'static>(&self) -> Option<&T> {
        match self {
            Self::Prepared(value) => value.downcast_ref(),
            _ => None,
        }
    }

    /// Where a name leads to.
    pub fn target(&self) -> Option<Target> {
        match self {
            Self::Name(name) => name.target(),
            _ => None,
        }
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// What a name is a name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Frontend,
    Backend,
    /// `[BACKEND/]SERVER`
    Server,
    UserList,
    Table,
}

/// A name whose section may come later in the file.
#[derive(Debug)]
pub struct NameRef {
    pub kind: Named,
    /// Empty: the proxy in which it stands.
    pub text: Box<str>,
    target: OnceLock<Target>,
}

/// Indexes into the configuration's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Frontend(usize),
    Backend(usize),
    Server { backend: usize, server: usize },
    UserList(usize),
}

impl NameRef {
    pub fn new(kind: Named, text: &str) -> Self {
        Self { kind, text: text.into(), target: OnceLock::new() }
    }

    /// `None` only before the names of the file are resolved.
    pub fn target(&self) -> Option<Target> {
        self.target.get().copied()
    }

    /// Called once, when the whole file was read.
    pub fn resolve(&self, target: Target) {
        let _ = self.target.set(target);
    }
}
