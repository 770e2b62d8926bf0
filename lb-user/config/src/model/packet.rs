//! `mode packet`: what its backends say beside the words of every backend.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use sockeye_balance::Algorithm;

use super::{Backend, Frontend, Source, UseSource};

/// The `ebpf.` words of a backend in `mode packet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketOptions {
    /// `ebpf.forward nat|dsr|ipip`: how packets reach the servers.
    pub forward: Forward,
    /// `ebpf.stateless`: no connection table, the Maglev table alone decides.
    pub stateless: bool,
    /// `ebpf.table-size`: entries of the Maglev table, a prime number of at least 65,537.
    pub table_size: u32,
    /// `ebpf.clamp-mss`: lowers the MSS of TCP handshakes to what fits the way to the servers.
    pub clamp_mss: bool,
}

/// Entries of a Maglev table unless the file says otherwise: the smallest of the paper's recommendation (3.4, 5.3).
pub const TABLE_SIZE: u32 = 65_537;

/// The largest Maglev table: 16 MiB of entries, and a few tens of milliseconds to compute. A prime number.
pub const TABLE_SIZE_MAX: u32 = 4_194_301;

impl Default for PacketOptions {
    fn default() -> Self {
        Self { forward: Forward::Nat, stateless: false, table_size: TABLE_SIZE, clamp_mss: false }
    }
}

/// `ebpf.forward`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forward {
    /// The destination is rewritten; answers come back through us.
    #[default]
    Nat,
    /// Direct server return: only the Ethernet header is rewritten.
    Dsr,
    /// Inside another IP packet; the server answers the client itself.
    Ipip,
}

/// `source ADDRESS[:LOW-HIGH]` in `mode packet`: what takes the place of the clients' addresses and ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceNat {
    pub address: IpAddr,
    pub ports: RangeInclusive<u16>,
}

/// Source ports unless the file says which: all that need no privileges, but for some at the end that checks may have.
pub const SOURCE_PORTS: RangeInclusive<u16> = 1_024..=64_511;

impl SourceNat {
    /// What a `source` says; `None` keeps the clients' addresses.
    pub fn of(source: &Source) -> Option<Self> {
        let address = source.address.filter(|address| !address.ip().is_unspecified())?;
        if source.usesrc != UseSource::Own {
            return None;
        }
        let ports = match (source.ports, address.port()) {
            (Some((low, high)), _) => low.max(1)..=high,
            (None, 0) => SOURCE_PORTS,
            (None, port) => port..=port,
        };
        Some(Self { address: address.ip().to_canonical(), ports })
    }
}

impl Backend {
    /// `mode packet`: all flows of a client's address go to one server (`balance source`, `balance hash src`).
    pub fn by_client_address(&self) -> bool {
        matches!(self.balance, Algorithm::Hash(_))
    }

    /// `mode packet`: how long a flow from `frontend` is remembered without packets. `None`: until another needs its
    /// place.
    pub fn packet_idle(&self, frontend: &Frontend) -> Option<Duration> {
        self.timeout_tunnel.or_else(|| frontend.timeout_client.max(self.timeout_server))
    }
}

/// `ebpf.attach`: where programs meet the packets of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Attach {
    /// XDP in the driver of a network card that has it, else tc.
    #[default]
    Auto,
    /// XDP in the driver, or an error.
    Native,
    /// XDP behind the driver, on every interface.
    Generic,
    /// The tc ingress hook, on every interface.
    Tc,
}

/// Prefixes of all `ebpf.shield` statements together.
pub const SHIELD_PREFIXES_MAX: usize = lb_common::limits::SHIELD_PREFIXES as usize;

/// One `ebpf.shield` statement, its file read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShieldRule {
    pub place: super::Place,
    /// `allow`; else `deny`.
    pub allow: bool,
    /// The file as written; `None` for a prefix on the line itself.
    pub file: Option<Arc<str>>,
    pub prefixes: Vec<ShieldPrefix>,
    /// How long after the start it holds; `None` for ever.
    pub expires: Option<Duration>,
}

/// A network, its host bits 0. Never a mapped IPv4 one (RFC 4291 section 2.5.5.2), that is an IPv4 one here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShieldPrefix {
    pub address: IpAddr,
    /// 0 to 32 or 128.
    pub bits: u8,
}

impl ShieldPrefix {
    /// The network of `bits` bits that `address` is in.
    pub fn new(address: IpAddr, bits: u8) -> Self {
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
                IpAddr::V4((u32::from(v4) & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
                IpAddr::V6((u128::from(v6) & mask).into())
            }
        };
        Self { address, bits }
    }
}

impl fmt::Display for ShieldPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// `ebpf.steer`: who gets a new connection of a `bind` with a socket per worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Steer {
    /// The kernel's hash.
    #[default]
    Off,
    /// The worker with the fewest connections.
    Least,
    /// The worker of the CPU that took the packet.
    Cpu,
}

/// What is carried to a `bind` address: only `mode packet` knows another one than streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Transport {
    #[default]
    Tcp,
    /// `udp@`, `udp4@`, `udp6@`.
    Udp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_replaces_the_clients_addresses() {
        let check = |address: Option<&str>, ports, usesrc, expected: Option<(&str, RangeInclusive<u16>)>| {
            let source = Source {
                address: address.map(|text| text.parse().expect("an address")),
                ports,
                usesrc,
                interface: None,
            };
            let expected =
                expected.map(|(ip, ports)| SourceNat { address: ip.parse().expect("an address"), ports });
            assert_eq!(SourceNat::of(&source), expected, "{source:?}");
        };
        let own = UseSource::Own;
        check(None, None, own, None);
        check(Some("0.0.0.0:0"), None, own, None);
        check(Some("[::]:0"), None, own, None);
        check(Some("192.0.2.1:0"), None, own, Some(("192.0.2.1", SOURCE_PORTS)));
        check(Some("192.0.2.1:7"), None, own, Some(("192.0.2.1", 7..=7)));
        check(Some("192.0.2.1:0"), Some((10, 20)), own, Some(("192.0.2.1", 10..=20)));
        check(Some("192.0.2.1:0"), Some((0, 20)), own, Some(("192.0.2.1", 1..=20)));
        check(Some("[::ffff:192.0.2.1]:0"), None, own, Some(("192.0.2.1", SOURCE_PORTS)));
        check(Some("[2001:db8::1]:0"), None, own, Some(("2001:db8::1", SOURCE_PORTS)));
        check(Some("0.0.0.0:0"), None, UseSource::ClientIp, None);
        check(Some("192.0.2.1:0"), None, UseSource::Client, None);
    }
}
