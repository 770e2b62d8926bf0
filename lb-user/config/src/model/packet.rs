//! `mode packet`: what its backends say beside the words of every backend.

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

/// One `ebpf.shield` statement, its file read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShieldRule {
    pub place: super::Place,
    /// `allow`; else `deny`.
    pub allow: bool,
    pub prefix: std::net::IpAddr,
    /// Bits of the prefix.
    pub bits: u8,
    /// How long after the start it holds; `None` for ever.
    pub expires: Option<std::time::Duration>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Transport {
    #[default]
    Tcp,
    /// `udp@`, `udp4@`, `udp6@`.
    Udp,
}
