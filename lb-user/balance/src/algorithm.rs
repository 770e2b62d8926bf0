//! What the words `balance`, `hash-type` and `hash-balance-factor` say (manual 4.2).

/// How a backend chooses among its servers. The default is round robin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// `roundrobin`: turns by weight; weights may change while running.
    #[default]
    RoundRobin,
    /// `static-rr`: turns by configured weight, over a table made anew when a server comes or goes.
    StaticRoundRobin,
    /// `leastconn`: the lowest load by weight; turns among equals.
    LeastConn,
    /// `first`: the lowest numeric identifier with room.
    First,
    /// `random(draws)`: the least loaded of some servers drawn by weight.
    Random(Random),
    /// `source`, `uri`, `url_param`, `hdr()`: the same key, the same server.
    Hash(Hash),
}

impl Algorithm {
    /// Whether a key names one server, so that a stream waits for that server instead of taking another.
    pub fn is_hash(&self) -> bool {
        matches!(self, Self::Hash(_))
    }

    /// Whether weights may change while servers are up. If not, only "takes traffic or not" counts
    /// (slow start and `set weight` have no effect, manual 4.2 "balance").
    pub fn is_dynamic(&self) -> bool {
        match self {
            Self::RoundRobin | Self::LeastConn | Self::Random(_) => true,
            Self::StaticRoundRobin | Self::First => false,
            Self::Hash(hash) => hash.method == HashMethod::Consistent,
        }
    }

    /// Where the key comes from, for the algorithms that have one.
    pub fn hash_source(&self) -> Option<&HashSource> {
        match self {
            Self::Hash(hash) => Some(&hash.source),
            _ => None,
        }
    }

    /// The keyword in statistics and diagnostics.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::RoundRobin => "roundrobin",
            Self::StaticRoundRobin => "static-rr",
            Self::LeastConn => "leastconn",
            Self::First => "first",
            Self::Random(_) => "random",
            Self::Hash(hash) => match hash.source {
                HashSource::Source => "source",
                HashSource::Uri { .. } => "uri",
                HashSource::UrlParam { .. } => "url_param",
                HashSource::Hdr { .. } => "hdr",
            },
        }
    }
}

/// `balance random(draws)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Random {
    /// Servers drawn, of which the least loaded is taken: 1 or more, 2 by default.
    pub draws: u32,
    /// `hash-balance-factor`, percent of the average load a server may have; 0 is no bound.
    pub balance_factor: u32,
}

impl Default for Random {
    fn default() -> Self {
        Self { draws: 2, balance_factor: 0 }
    }
}

/// A hashing algorithm: where the key comes from, how it is hashed and how the hash finds a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hash {
    pub source: HashSource,
    pub method: HashMethod,
    pub function: HashFunction,
    /// The `avalanche` modifier.
    pub avalanche: bool,
    /// `hash-balance-factor`: percent of the average load a server may have, above 100; 0 is no bound.
    /// Obeyed by `consistent` alone.
    pub balance_factor: u32,
    /// `hash-preserve-affinity maxconn|maxqueue`: servers whose [`Load::full`](crate::Load::full) is set are
    /// passed over. Off, a key stays with its server however loaded that is.
    pub skip_full: bool,
}

impl Hash {
    /// `source` with the default `hash-type`: map-based, sdbm, no avalanche.
    pub fn new(source: HashSource) -> Self {
        Self {
            source,
            method: HashMethod::MapBased,
            function: HashFunction::Sdbm,
            avalanche: false,
            balance_factor: 0,
            skip_full: false,
        }
    }
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashSource {
    /// `source`: the client's address.
    Source,
    /// `uri [whole] [len N] [depth N] [path-only]`. 0 for `len` and `depth` is no limit.
    Uri { whole: bool, len: u32, depth: u32, path_only: bool },
    /// `url_param NAME [check_post]`.
    UrlParam { name: Box<[u8]>, check_post: bool },
    /// `hdr(NAME) [use_domain_only]`. The name is in lower case.
    Hdr { name: Box<str>, domain_only: bool },
}

/// `hash-type` method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashMethod {
    /// `map-based`: the remainder of the hash in a table of all servers.
    #[default]
    MapBased,
    /// `consistent`: the closest node on a ring.
    Consistent,
}

/// `hash-type` function. `consistent` without one means sdbm with avalanche.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashFunction {
    #[default]
    Sdbm,
    Djb2,
    Wt6,
    Crc32,
    /// `none`: the key is a decimal number and is the hash.
    None,
}
