//! What is measured: the list of scenarios, their load, their figures and their targets.

use std::fmt;

use super::proxy::{Contender, Kind};

/// How the proxy is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    Http,
    /// HTTP with a log line per request, sent by UDP.
    HttpLogged,
    /// HTTP with ACLs, header edits and a map of so many entries.
    HttpRules {
        entries: usize,
    },
    /// HTTP behind TLS, HTTP/2 for who asks for it.
    Https,
    /// `mode tcp` behind TLS to the endless sender.
    TlsBulk,
    /// `mode tcp` to the endless sender.
    Bulk,
    /// `mode tcp` to the echo.
    Echo,
}

/// What the client does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Load {
    /// Requests one after the other on each of so many connections.
    KeepAlive {
        connections: usize,
    },
    /// The same, with a browser's requests for one page of so many after the other.
    Browse {
        connections: usize,
        pages: usize,
    },
    /// A connection for each request, so many at a time.
    ConnectionPerRequest {
        connections: usize,
    },
    /// Reads as fast as it can.
    Bulk {
        connections: usize,
    },
    /// Sends 64 bytes and waits for them.
    PingPong {
        connections: usize,
    },
    /// So many connections that have had one request each and stay.
    Idle {
        connections: usize,
    },
    /// The same as `KeepAlive`, `ConnectionPerRequest`, `Bulk` and `Idle`, behind TLS 1.3.
    TlsKeepAlive {
        connections: usize,
    },
    /// Every connection shakes hands in full, or resumes the session of the one before.
    TlsHandshake {
        connections: usize,
        resumed: bool,
    },
    TlsBulk {
        connections: usize,
    },
    TlsIdle {
        connections: usize,
    },
    /// HTTP/2 behind TLS: so many requests at a time on each of so many connections.
    Http2 {
        connections: usize,
        streams: usize,
    },
}

/// One measurement's figures; a scenario has those that mean something for its load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    /// Requests, exchanges or gigabits per second.
    pub(super) rate: Option<f64>,
    /// Microseconds of the proxy's CPU per request or exchange, milliseconds per gigabyte.
    pub(super) cpu: Option<f64>,
    /// Bytes of memory per connection.
    pub(super) memory: Option<f64>,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = [("rate", self.rate), ("cpu", self.cpu), ("memory", self.memory)];
        for (name, value) in values.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            write!(f, "{name} {value:<12.2} ")?;
        }
        Ok(())
    }
}

/// One of the figures, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Rate,
    Cpu,
    Memory,
}

impl Figure {
    pub(super) fn of(self, measured: &Measured) -> Option<f64> {
        match self {
            Self::Rate => measured.rate,
            Self::Cpu => measured.cpu,
            Self::Memory => measured.memory,
        }
    }
}

/// What the ratio of Sockeye's figure to HAProxy's shall be, or to nginx's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    AtMost(f64),
    AtLeast(f64),
    OfNginxAtMost(f64),
}

impl Target {
    /// Whether it is met by the ratios to HAProxy and to nginx; `None` where the other one was not measured.
    pub(super) fn is_met(self, to_haproxy: Option<f64>, to_nginx: Option<f64>) -> Option<bool> {
        let ratio = if matches!(self, Self::OfNginxAtMost(_)) { to_nginx? } else { to_haproxy? };
        Some(match self {
            Self::AtMost(limit) | Self::OfNginxAtMost(limit) => ratio <= limit,
            Self::AtLeast(limit) => ratio >= limit,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {limit:.2}"),
            Self::AtLeast(limit) => write!(f, ">= {limit:.2}"),
            Self::OfNginxAtMost(limit) => write!(f, "<= {limit:.2} of nginx"),
        }
    }
}

/// A column of the table.
pub(super) struct Row {
    pub(super) figure: Figure,
    pub(super) unit: &'static str,
    pub(super) target: Option<Target>,
    /// The figure is what is more than in this scenario, of the same proxy in the same round.
    pub(super) over: Option<&'static str>,
}

/// One scenario.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) setup: Setup,
    pub(super) load: Load,
    pub(super) rows: &'static [Row],
}

impl Scenario {
    /// Whether this scenario tells something about this contender: sockmap is for bytes only, and nginx has no rules
    /// that would be the same.
    pub(super) fn suits(&self, contender: &Contender) -> bool {
        match contender.kind {
            Kind::SockeyeSockmap => matches!(self.setup, Setup::Bulk | Setup::Echo),
            Kind::Nginx => !matches!(self.setup, Setup::HttpRules { .. }),
            Kind::Haproxy | Kind::Sockeye => true,
        }
    }
}

const fn row(figure: Figure, unit: &'static str, target: Option<Target>) -> Row {
    Row { figure, unit, target, over: None }
}

/// What the CPU costs more than in another scenario.
const fn more(over: &'static str, unit: &'static str, target: Option<Target>) -> Row {
    Row { figure: Figure::Cpu, unit, target, over: Some(over) }
}

/// A browser's requests without any rule: what rules are measured against.
const BROWSE: &str = "http browse";
/// Rules with the smallest map: what larger ones are measured against.
const RULES_SMALL: &str = "http rules, map 10";
/// Entries of the map that a rule looks at, from small to large.
const MAP_SMALL: usize = 10;
const MAP_USUAL: usize = 10_000;
const MAP_LARGE: usize = 100_000;

/// All of them, in the order of the table.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "http keep-alive",
        setup: Setup::Http,
        load: Load::KeepAlive { connections: 64 },
        rows: &[
            row(Figure::Cpu, "CPU us/request", Some(Target::AtMost(0.80))),
            row(Figure::Rate, "requests/s", None),
        ],
    },
    Scenario {
        name: "http keep-alive, log",
        setup: Setup::HttpLogged,
        load: Load::KeepAlive { connections: 64 },
        rows: &[row(Figure::Cpu, "CPU us/request", None)],
    },
    Scenario {
        name: BROWSE,
        setup: Setup::Http,
        load: Load::Browse { connections: 64, pages: MAP_USUAL },
        rows: &[row(Figure::Cpu, "CPU us/request", None)],
    },
    Scenario {
        name: RULES_SMALL,
        setup: Setup::HttpRules { entries: MAP_SMALL },
        load: Load::Browse { connections: 64, pages: MAP_SMALL },
        rows: &[more(BROWSE, "CPU us of rules", None)],
    },
    Scenario {
        name: "http rules, map 10k",
        setup: Setup::HttpRules { entries: MAP_USUAL },
        load: Load::Browse { connections: 64, pages: MAP_USUAL },
        rows: &[
            row(Figure::Cpu, "CPU us/request", None),
            more(BROWSE, "CPU us of rules", Some(Target::AtMost(0.90))),
        ],
    },
    Scenario {
        name: "http rules, map 100k",
        setup: Setup::HttpRules { entries: MAP_LARGE },
        load: Load::Browse { connections: 64, pages: MAP_LARGE },
        rows: &[
            more(BROWSE, "CPU us of rules", None),
            // What the size of the map costs: no more than the depth of HAProxy's tree.
            more(RULES_SMALL, "CPU us of size", Some(Target::AtMost(1.00))),
        ],
    },
    Scenario {
        name: "http new connection",
        setup: Setup::Http,
        load: Load::ConnectionPerRequest { connections: 32 },
        rows: &[
            row(Figure::Cpu, "CPU us/request", Some(Target::AtMost(1.00))),
            row(Figure::Rate, "requests/s", None),
        ],
    },
    Scenario {
        name: "http idle",
        setup: Setup::Http,
        load: Load::Idle { connections: 4000 },
        rows: &[row(Figure::Memory, "bytes/connection", None)],
    },
    Scenario {
        name: "tcp bulk",
        setup: Setup::Bulk,
        load: Load::Bulk { connections: 4 },
        rows: &[
            row(Figure::Rate, "Gbit/s", Some(Target::AtLeast(1.05))),
            row(Figure::Cpu, "CPU ms/GB", None),
        ],
    },
    Scenario {
        // On two cores one flow is bounded by the client's core, not by the proxy: no target.
        name: "tcp bulk, 1 flow",
        setup: Setup::Bulk,
        load: Load::Bulk { connections: 1 },
        rows: &[row(Figure::Rate, "Gbit/s", None), row(Figure::Cpu, "CPU ms/GB", None)],
    },
    Scenario {
        name: "tcp ping-pong",
        setup: Setup::Echo,
        load: Load::PingPong { connections: 64 },
        rows: &[
            row(Figure::Rate, "exchanges/s", Some(Target::AtLeast(1.00))),
            row(Figure::Cpu, "CPU us/exchange", None),
        ],
    },
    Scenario {
        name: "tcp ping-pong, 1 flow",
        setup: Setup::Echo,
        load: Load::PingPong { connections: 1 },
        rows: &[row(Figure::Rate, "exchanges/s", Some(Target::AtLeast(1.00)))],
    },
    Scenario {
        name: "tls keep-alive",
        setup: Setup::Https,
        load: Load::TlsKeepAlive { connections: 64 },
        rows: &[
            row(Figure::Cpu, "CPU us/request", Some(Target::OfNginxAtMost(0.85))),
            row(Figure::Rate, "requests/s", None),
        ],
    },
    Scenario {
        name: "tls full handshake",
        setup: Setup::Https,
        load: Load::TlsHandshake { connections: 16, resumed: false },
        rows: &[row(Figure::Cpu, "CPU us/request", Some(Target::OfNginxAtMost(0.85)))],
    },
    Scenario {
        name: "tls resumed handshake",
        setup: Setup::Https,
        load: Load::TlsHandshake { connections: 16, resumed: true },
        rows: &[row(Figure::Cpu, "CPU us/request", None)],
    },
    Scenario {
        name: "http/2",
        setup: Setup::Https,
        load: Load::Http2 { connections: 8, streams: 16 },
        rows: &[
            row(Figure::Cpu, "CPU us/request", Some(Target::AtMost(1.00))),
            row(Figure::Rate, "requests/s", None),
        ],
    },
    Scenario {
        name: "tls idle",
        setup: Setup::Https,
        load: Load::TlsIdle { connections: 2000 },
        rows: &[row(Figure::Memory, "bytes/connection", None)],
    },
    Scenario {
        name: "tls bulk",
        setup: Setup::TlsBulk,
        load: Load::TlsBulk { connections: 4 },
        rows: &[
            row(Figure::Rate, "Gbit/s", Some(Target::AtLeast(1.00))),
            row(Figure::Cpu, "CPU ms/GB", None),
        ],
    },
];
