//! What a keyword parser may touch beside the words of its statement.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use sockeye_sample::{AclScope, Expressions};
use sockeye_syntax::address::Family;
use sockeye_syntax::condition::Facts;
use sockeye_syntax::source::Loader;
use sockeye_syntax::words::Words;

use crate::draft::Proxy;
use crate::model::{ErrorFiles, Global, StartVariable};

/// The outside world, as values: tests answer from memory.
pub struct Surroundings<'a> {
    /// Reads configuration files and those that they name (`errorfile`).
    pub loader: &'a dyn Loader,
    /// Resolves host names in `bind`, `log`, `source` and checks. Servers keep their names until the start.
    pub resolver: &'a dyn Resolver,
    /// What conditions ask about the program.
    pub facts: &'a dyn Facts,
}

/// Host names to addresses, without borrowing.
pub type Lookup = Box<dyn Fn(&str) -> Option<IpAddr> + Send + Sync>;

/// Host names to addresses.
pub trait Resolver {
    /// The first address of `host`, within a family if one was forced (`ipv6@`).
    fn resolve(&self, host: &str, family: Option<Family>) -> Option<IpAddr>;
    /// The same without borrowing, for host names in lists of addresses. By default none are known.
    fn lookup(&self) -> Lookup {
        Box::new(|_| None)
    }
}

/// A resolver that knows no names.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNames;

impl Resolver for NoNames {
    fn resolve(&self, _: &str, _: Option<Family>) -> Option<IpAddr> {
        None
    }
}

/// The word in front of a statement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Negation {
    #[default]
    None,
    /// `no …`.
    No,
    /// `default …`: back to the built-in value, whatever the defaults section said.
    Default,
}

/// For the words of `global`.
pub(crate) struct GlobalScope<'a> {
    pub(crate) global: &'a mut Global,
    pub(crate) expressions: &'a mut Expressions,
    /// Variables of the process that have a value from the start.
    pub(crate) start: &'a mut Vec<Arc<StartVariable>>,
    pub(crate) around: &'a Surroundings<'a>,
    pub(crate) negation: Negation,
}

/// For the words of proxies and `defaults`.
pub(crate) struct ProxyScope<'a> {
    pub(crate) proxy: &'a mut Proxy,
    /// The ACLs of this section.
    pub(crate) acls: AclScope,
    /// `http-errors` sections by name.
    pub(crate) errors: &'a HashMap<Arc<str>, ErrorFiles>,
    pub(crate) order: Order,
    /// The section ends up in `mode packet`, though the word may stand below.
    pub(crate) packet: bool,
    pub(crate) expressions: &'a mut Expressions,
    pub(crate) global: &'a Global,
    pub(crate) around: &'a Surroundings<'a>,
    pub(crate) negation: Negation,
}

pub(crate) type GlobalParser = fn(&mut Words<'_>, &mut GlobalScope<'_>);
pub(crate) type ProxyParser = fn(&mut Words<'_>, &mut ProxyScope<'_>);

/// The order in which the rules of a request run, whatever their order in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    TcpConnection,
    TcpSession,
    TcpContent,
    MonitorFail,
    HttpRequest,
    Redirect,
    UseBackend,
    UseServer,
}

impl Turn {
    const ALL: [Self; 8] = [
        Self::TcpConnection,
        Self::TcpSession,
        Self::TcpContent,
        Self::MonitorFail,
        Self::HttpRequest,
        Self::Redirect,
        Self::UseBackend,
        Self::UseServer,
    ];

    /// As messages call its rules.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TcpConnection => "tcp-request connection",
            Self::TcpSession => "tcp-request session",
            Self::TcpContent => "tcp-request content",
            Self::MonitorFail => "monitor fail",
            Self::HttpRequest => "http-request",
            Self::Redirect => "redirect",
            Self::UseBackend => "use_backend",
            Self::UseServer => "use-server",
        }
    }
}

/// Which kinds of rules a section has had so far. Those that it inherits do not count.
#[derive(Debug, Default)]
pub(crate) struct Order {
    seen: [bool; Turn::ALL.len()],
}

impl Order {
    pub(crate) fn add(&mut self, turn: Turn) {
        self.seen[turn as usize] = true;
    }

    /// The next kind that runs after `turn` and stands above it.
    pub(crate) fn later_than(&self, turn: Turn) -> Option<Turn> {
        let later = Turn::ALL.into_iter().zip(self.seen).skip(turn as usize + 1);
        later.filter(|(_, seen)| *seen).map(|(turn, _)| turn).next()
    }
}
