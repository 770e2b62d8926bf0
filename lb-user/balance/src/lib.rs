//! Which server: every balancing algorithm of the manual's `balance` keyword, for one backend.
//!
//! Pure: loads and random numbers are arguments. A [`Balance`] sits behind a short lock that the workers share,
//! so choosing allocates nothing; tables are made anew when servers came or went since.
//!
//! The algorithms see *members* only: the servers that are in turn now. `farm` decides who that is (actives,
//! or backups when no active server is left).

mod algorithm;
mod farm;
pub mod key;

mod first;
mod hash;
mod leastconn;
mod maglev;
mod random;
mod roundrobin;
mod static_rr;

use farm::Farm;
use first::First;
use hash::{Consistent, MapBased};
use random::Draw;
use roundrobin::RoundRobin;
use static_rr::StaticRoundRobin;

pub use algorithm::{Algorithm, Hash, HashFunction, HashMethod, HashSource, Random};
pub use farm::Entry;
pub use hash::{avalanche, hash};
pub use maglev::{MAGLEV_NONE, MAGLEV_SIZE_MAX, MAGLEV_SIZE_MIN, MaglevServer, is_maglev_size, maglev};

/// Steps of an effective weight per unit of the configured one: what slow start can tell apart.
pub const WEIGHT_SCALE: u32 = 16;

/// The largest configured weight (manual 5.2 "weight").
pub const WEIGHT_MAX: u32 = 256;

/// What one choice may look at.
#[derive(Clone, Copy)]
pub struct Pick<'a> {
    /// What a hash algorithm hashes, as [`key`] cuts it out. `None`, when the request has no such part, makes
    /// the choice round robin.
    pub key: Option<&'a [u8]>,
    /// A random number, new for each choice. Only `random` reads it.
    pub random: u64,
    /// The load of a server, by its index.
    pub loads: &'a dyn Fn(usize) -> Load,
    /// A server that must not be chosen: the one that just failed.
    pub exclude: Option<usize>,
}

impl Pick<'_> {
    fn accepts(&self, index: usize) -> bool {
        self.exclude != Some(index) && !(self.loads)(index).full
    }
}

/// How busy a server is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Streams that it serves plus those queued for it.
    pub in_flight: u32,
    /// It takes nothing more now: passed over, except where a hash names it (see [`Hash::skip_full`]).
    pub full: bool,
}

/// The state of the choice for one backend.
#[derive(Debug)]
pub struct Balance {
    farm: Farm,
    algorithm: Algorithm,
    method: Method,
}

/// The running half of an [`Algorithm`].
#[derive(Debug)]
enum Method {
    RoundRobin(RoundRobin),
    StaticRoundRobin(StaticRoundRobin),
    LeastConn(leastconn::LeastConn),
    First(First),
    Random(Draw),
    MapBased(MapBased),
    Consistent(Consistent),
}

impl Balance {
    /// The choice among `entries`, whose positions are the indexes of all other calls. Every server starts with
    /// its configured weight, as if it were up.
    pub fn new(algorithm: Algorithm, entries: &[Entry], all_backups: bool) -> Self {
        let scale = if algorithm.is_dynamic() { WEIGHT_SCALE } else { 1 };
        let mut farm = Farm::new(entries, all_backups, scale);
        let method = match &algorithm {
            Algorithm::RoundRobin => Method::RoundRobin(RoundRobin::new(entries.len())),
            Algorithm::StaticRoundRobin => Method::StaticRoundRobin(StaticRoundRobin::new(entries)),
            Algorithm::LeastConn => Method::LeastConn(leastconn::LeastConn::new(entries.len())),
            Algorithm::First => Method::First(First::new(entries)),
            Algorithm::Random(random) => Method::Random(Draw::new(*random, entries.len())),
            Algorithm::Hash(hash) => match hash.method {
                HashMethod::MapBased => Method::MapBased(MapBased::new(entries)),
                HashMethod::Consistent => Method::Consistent(Consistent::new(hash.balance_factor, entries)),
            },
        };
        farm.settle();
        let mut balance = Self { farm, algorithm, method };
        balance.tell_changes();
        balance
    }

    pub fn algorithm(&self) -> &Algorithm {
        &self.algorithm
    }

    /// Sets what a server can take: its weight times [`WEIGHT_SCALE`], less while it warms up, 0 when it takes no
    /// traffic (down, drain, maintenance, weight 0). Algorithms that are not
    /// [dynamic](Algorithm::is_dynamic) look at 0 or not 0 alone.
    pub fn set_weight(&mut self, index: usize, effective: u32) {
        self.farm.set_weight(index, effective);
        self.tell_changes();
    }

    /// The server for one stream. `None`: no member takes it, because there is none, or all are full or excluded.
    pub fn pick(&mut self, pick: Pick<'_>) -> Option<usize> {
        let farm = &self.farm;
        match &mut self.method {
            Method::RoundRobin(turns) => turns.pick(farm, |index| pick.accepts(index)),
            Method::StaticRoundRobin(turns) => turns.pick(farm, |index| pick.accepts(index)),
            Method::LeastConn(leastconn) => leastconn.pick(farm, &pick),
            Method::First(first) => first.pick(farm, |index| pick.accepts(index)),
            Method::Random(draw) => draw.pick(farm, &pick),
            Method::MapBased(map) => match hash_of(&self.algorithm, pick.key) {
                Some((hash, skip_full)) => map.pick(farm, hash, |index| suits(&pick, index, skip_full)),
                None => map.pick_next(farm, |index| pick.accepts(index)),
            },
            Method::Consistent(ring) => match hash_of(&self.algorithm, pick.key) {
                Some((hash, skip_full)) => ring.pick(farm, hash, &pick, skip_full),
                None => ring.pick_next(farm, |index| pick.accepts(index)),
            },
        }
    }

    /// Whether a server is a member now: it takes traffic, and so does its group (actives, or backups).
    pub fn is_in_turn(&self, index: usize) -> bool {
        self.farm.share(index) > 0
    }

    /// The sum of the members' effective weights: 0 when no server takes traffic.
    pub fn total_weight(&self) -> u32 {
        self.farm.total()
    }

    /// Active servers that take traffic.
    pub fn active(&self) -> u32 {
        self.farm.active()
    }

    /// Backup servers that would take traffic, in turn or not.
    pub fn backups(&self) -> u32 {
        self.farm.backups()
    }

    /// Hands the servers that joined, left or changed weight to the algorithms that keep a structure of them.
    fn tell_changes(&mut self) {
        let farm = &mut self.farm;
        match &mut self.method {
            Method::RoundRobin(turns) => farm.drain_changes(|index, weight| turns.set(index, weight)),
            Method::Random(draw) => farm.drain_changes(|index, weight| draw.set(index, weight)),
            Method::Consistent(ring) => farm.drain_changes(|index, weight| ring.set(index, weight)),
            Method::StaticRoundRobin(turns) => farm.drain_changes(|_, _| turns.forget()),
            Method::MapBased(map) => farm.drain_changes(|_, _| map.forget()),
            Method::LeastConn(_) | Method::First(_) => farm.drain_changes(|_, _| ()),
        }
    }
}

/// The hash of the key and whether full servers are passed over, if `algorithm` hashes and there is a key.
fn hash_of(algorithm: &Algorithm, key: Option<&[u8]>) -> Option<(u32, bool)> {
    match algorithm {
        Algorithm::Hash(cfg) => Some((hash(cfg, key?), cfg.skip_full)),
        _ => None,
    }
}

/// Whether the server that a key names may have the stream.
fn suits(pick: &Pick<'_>, index: usize, skip_full: bool) -> bool {
    pick.exclude != Some(index) && !(skip_full && (pick.loads)(index).full)
}
