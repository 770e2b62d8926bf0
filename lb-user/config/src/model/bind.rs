//! `bind` lines (manual 5.1).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Identity, Place, Proto, Tls, Transport};

/// One listening address: a `bind` line with a port range or several addresses becomes several of these.
#[derive(Debug, Clone, PartialEq)]
pub struct Bind {
    pub place: Place,
    /// The address as written, for messages and statistics.
    pub text: Arc<str>,
    pub address: BindAddress,
    pub transport: Transport,
    /// `name`: the listener's name in logs and statistics.
    pub name: Option<Arc<str>>,
    pub id: Option<u32>,
    pub interface: Option<String>,
    pub backlog: Option<u32>,
    pub maxconn: Option<u32>,
    /// `defer-accept`: the kernel reports a connection only once it carries data.
    pub defer_accept: bool,
    /// `tfo`: TCP Fast Open.
    pub tfo: bool,
    pub v4v6: bool,
    pub v6only: bool,
    pub transparent: bool,
    pub mss: Option<i32>,
    /// `tcp-ut`: TCP_USER_TIMEOUT.
    pub tcp_user_timeout: Option<std::time::Duration>,
    /// `cc ALGORITHM`: TCP congestion control.
    pub congestion: Option<String>,
    pub unix: UnixOptions,
    /// `nice` -1024..=1024: accepted; the runtime has no priorities, so the parser warns when it is not 0.
    pub nice: i32,
    /// `thread SET`: worker threads (0-based) that serve it. Empty: all.
    pub threads: Vec<u16>,
    pub shards: Option<Shards>,
    /// `namespace NAME`.
    pub namespace: Option<String>,
    /// `accept-proxy`: connections begin with a PROXY protocol header.
    pub accept_proxy: bool,
    /// `accept-netscaler-cip`: they begin with a Client IP header that has this magic number.
    pub netscaler_cip: Option<u32>,
    /// `ssl` and what belongs to it.
    pub tls: Option<Tls>,
    /// `proto`: spoken from the first byte, or behind TLS whatever ALPN says.
    pub proto: Option<Proto>,
}

/// The port of a `bind` line of `mode packet` with all of them, `ADDRESS:1-65535`: one service, whose packets may
/// go to any port. A service with a port of its own on the same address comes first.
pub const PORT_ALL: u16 = 0;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BindAddress {
    Inet(SocketAddr),
    /// Many ports, or a prefix of addresses, that share their sockets.
    Block(AddressBlock),
    /// Path with `unix-bind prefix` already applied.
    Unix(PathBuf),
    /// `abns@` (name padded with zeros to the end) or `abnsz@` (name ends where it ends).
    Abstract {
        name: String,
        padded: bool,
    },
    /// `fd@N`: a listening socket inherited from the parent process.
    Fd(i32),
}

/// `ADDRESS/BITS:LOW-HIGH` of a `transparent` bind (ours), or the ports of one address where they are many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressBlock {
    /// The first address of the prefix, or the only one.
    pub first: IpAddr,
    /// All that the family has, unless it is a prefix.
    pub bits: u8,
    pub low: u16,
    /// Included.
    pub high: u16,
}

/// From this many ports on a range is one listener, so that one socket per worker can serve it.
pub const BLOCK_PORTS_MIN: usize = 64;

impl AddressBlock {
    /// The prefix that an address with `bits` stands for; `None` when the family has fewer.
    pub fn new(address: IpAddr, bits: u8, low: u16, high: u16) -> Option<Self> {
        let first: IpAddr = match address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits.into())?).unwrap_or(0);
                Ipv4Addr::from(u32::from(ip) & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits.into())?).unwrap_or(0);
                Ipv6Addr::from(u128::from(ip) & mask).into()
            }
        };
        Some(Self { first, bits, low, high })
    }

    /// Whether it has more addresses than one.
    pub fn is_prefix(&self) -> bool {
        self.bits < if self.first.is_ipv4() { 32 } else { 128 }
    }

    /// How many addresses with their ports there are.
    pub fn count(&self) -> u128 {
        let all: u32 = if self.first.is_ipv4() { 32 } else { 128 };
        let addresses = 1_u128.checked_shl(all - u32::from(self.bits)).unwrap_or(u128::MAX);
        addresses.saturating_mul(u128::from(self.high.saturating_sub(self.low)) + 1)
    }

    /// Each address with each port, the ports of one address side by side.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let (first, ports) = (self.first, self.low..=self.high);
        let mut left = self.count();
        let (mut offset, mut port) = (0_u128, self.low);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let ip: IpAddr = match first {
                IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip) | u32::try_from(offset).ok()?).into(),
                IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) | offset).into(),
            };
            let address = SocketAddr::new(ip, port);
            if port == *ports.end() {
                (offset, port) = (offset + 1, *ports.start());
            } else {
                port += 1;
            }
            Some(address)
        })
    }
}

impl fmt::Display for AddressBlock {
    /// As a `bind` line has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first {
            IpAddr::V4(ip) => write!(f, "{ip}")?,
            IpAddr::V6(ip) => write!(f, "[{ip}]")?,
        }
        if self.is_prefix() {
            write!(f, "/{}", self.bits)?;
        }
        write!(f, ":{}-{}", self.low, self.high)
    }
}

/// `shards`, `tune.listener.default-shards`: how many sockets share an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shards {
    Count(u16),
    #[default]
    ByThread,
    ByGroup,
    ByProcess,
}

/// Owner and mode of a unix socket's file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnixOptions {
    pub mode: Option<u32>,
    pub user: Option<Identity>,
    pub group: Option<Identity>,
}
