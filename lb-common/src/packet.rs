//! `mode packet`: which server a packet goes to, and how it gets there.
//!
//! A packet to a service finds its server in the connection table, or by its hash in the service's Maglev table. In
//! NAT mode a flow has a second entry by which the server's answers find their way back. Every address here is 16
//! bytes in network order, an IPv4 one in its mapped form (RFC 4291 section 2.5.5.2), so that both families share keys
//! and maps. Ports are in network order too, unless they say otherwise. [`LAYOUT`] is in the values that lead to the
//! others.

/// Version of this file's layouts. A process that finds pinned maps of another one starts with empty maps.
pub const LAYOUT: u32 = 2;

/// An IPv6 address as four words in network order, or a mapped IPv4 one.
pub type Address = [u32; 4];

/// The third word of a mapped IPv4 address.
pub const MAPPED: u32 = 0xffff_u32.to_be();

/// Whether this is a mapped IPv4 address.
#[inline(always)]
pub const fn is_v4(address: &Address) -> bool {
    address[0] == 0 && address[1] == 0 && address[2] == MAPPED
}

/// TCP's number in IP headers.
pub const TCP: u8 = 6;
/// UDP's number in IP headers.
pub const UDP: u8 = 17;

/// Largest packet that every IPv6 link carries (RFC 8200 section 5).
pub const LINK_MIN_V6: u32 = 1_280;

/// Both ends of a packet. In the connection table they are as the client's packets have them, in the table of ways
/// back as the server's.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    pub source: Address,
    pub destination: Address,
    pub source_port: u16,
    pub destination_port: u16,
    /// [`TCP`] or [`UDP`].
    pub protocol: u32,
}

const _: () = assert!(size_of::<FlowKey>() == 40);

impl FlowKey {
    /// The hash that chooses an entry of a Maglev table. It has no secret, because every balancer in front of the
    /// same servers must come to the same result.
    #[inline(always)]
    pub fn hash(&self, source_only: bool) -> u32 {
        let mut hash = mix(SEED, words(self.source[0], self.source[1]));
        hash = mix(hash, words(self.source[2], self.source[3]));
        if !source_only {
            hash = mix(hash, words(self.destination[0], self.destination[1]));
            hash = mix(hash, words(self.destination[2], self.destination[3]));
            let ports = (self.source_port as u32) | ((self.destination_port as u32) << 16);
            hash = mix(hash, words(ports, self.protocol));
        }
        // The last round of MurmurHash3: neighbouring addresses end up far apart.
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        (hash >> 32) as u32
    }
}

/// Any odd number would do; changing it moves flows between servers while versions are mixed.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
fn words(low: u32, high: u32) -> u64 {
    low as u64 | ((high as u64) << 32)
}

#[inline(always)]
fn mix(hash: u64, word: u64) -> u64 {
    let hash = (hash ^ word).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 32)
}

/// The entry of a table with `size` entries that belongs to `hash`.
#[inline(always)]
pub fn entry(hash: u32, size: u32) -> u32 {
    // A multiplication instead of a division; the upper bits of the hash are as good as its remainder.
    ((hash as u64 * size as u64) >> 32) as u32
}

/// An address with its port: a service as clients call it, or a server as it answers. Port 0 stands for all ports that
/// have no entry of their own.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub address: Address,
    pub port: u16,
    /// [`TCP`] or [`UDP`].
    pub protocol: u16,
}

const _: () = assert!(size_of::<Endpoint>() == 20);

/// How packets reach the servers of a [`Service`].
pub mod forwarding {
    /// The destination becomes the server's address and port; the answers come back through us.
    pub const NAT: u8 = 0;
    /// Only the Ethernet header and the time to live change: the server is on the same segment and has the service's address itself.
    pub const DSR: u8 = 1;
    /// The packet travels inside another one to the server, which has the service's address itself.
    pub const IPIP: u8 = 2;
}

/// [`Service::flags`]: no connection table, the Maglev table alone decides.
pub const STATELESS: u8 = 1;
/// [`Service::flags`]: all flows of a client address go to one server (`balance source`).
pub const SOURCE_HASH: u8 = 2;
/// [`Service::flags`]: TCP handshakes offer no larger segments than fit the way (`ebpf.clamp-mss`; NAT alone).
pub const CLAMP_MSS: u8 = 4;

/// The clock of [`Connection::last_seen`] and its like: nanoseconds since the start of the system, shifted by this
/// (1.07 seconds each), because a program would have to divide to know seconds.
pub const TICK_SHIFT: u32 = 30;

/// Ticks between two writes of `last_seen`, for flows that may be idle for [`IDLE_LONG`] or for ever: each costs
/// look-ups of both halves of a flow, which are misses of the cache where there are many flows.
pub const TICKS_LONG: u32 = 4;
/// From this [`Service::idle`] on, which counts [`TICKS_LONG`] more then, a few ticks more or less do not matter.
pub const IDLE_LONG: u32 = 32;

/// Ticks between two writes of `last_seen` in a flow with this [`Service::idle`].
#[inline(always)]
pub const fn step(idle: u32) -> u32 {
    // For ever is longest.
    if idle.wrapping_sub(1) < IDLE_LONG - 1 { 1 } else { TICKS_LONG }
}

/// What clients call. The map replaces it whole, so a program sees either the old one or the new one.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// One of [`forwarding`].
    pub forwarding: u8,
    /// [`STATELESS`], [`SOURCE_HASH`], [`CLAMP_MSS`].
    pub flags: u8,
    /// [`LAYOUT`].
    pub layout: u16,
    /// First entry of its Maglev table in the array of all tables.
    pub table_offset: u32,
    /// Entries of its Maglev table; 0 while no server is there for new flows.
    pub table_size: u32,
    /// Ticks without a packet after which a flow is forgotten; 0 for never.
    pub idle: u32,
}

const _: () = assert!(size_of::<Service>() == 16);

/// Which kinds of services there are, for look-ups that most programs can do without: the value of a map with one
/// element.
pub mod features {
    /// Some [`Service`](super::Service) has port 0.
    pub const ALL_PORTS: u32 = 1;
    /// Some [`Backward`](super::Backward) has port 0.
    pub const ALL_PORTS_BACK: u32 = 2;
}

/// An entry of a Maglev table that belongs to no server.
pub const NO_SERVER: u32 = u32::MAX;

/// What becomes of a server's packets: [`Server::state`].
pub mod state {
    /// No server has this index.
    pub const FREE: u8 = 0;
    /// Takes what the tables give it. A server in drain is one that has left the Maglev table.
    pub const UP: u8 = 1;
    /// Dead: packets of its established TCP flows are dropped, in both directions. A datagram to it begins a new flow.
    pub const DROP: u8 = 2;
}

/// [`Server::flags`]: `ifindex`, `mac` and `source_mac` are known, no route is looked up.
pub const LINKED: u8 = 1;
/// [`Server::flags`]: NAT changes the client's address to `source`, and its port to one of `extra` if need be.
pub const SOURCE_NAT: u8 = 2;

/// Lowest and highest port of [`Server::extra`], in the host's order.
#[inline(always)]
pub const fn source_ports(extra: u32) -> (u16, u16) {
    let [low, low_high, high, high_high] = extra.to_le_bytes();
    (u16::from_le_bytes([low, low_high]), u16::from_le_bytes([high, high_high]))
}

/// Where packets go.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    pub address: Address,
    /// Of the same family as `address`. IPIP: source address of the outer header. NAT with [`SOURCE_NAT`]: what the
    /// server sees in place of the client.
    pub source: Address,
    /// NAT: the port that the server listens on; 0 keeps the packet's.
    pub port: u16,
    /// One of [`state`].
    pub state: u8,
    /// [`LINKED`].
    pub flags: u8,
    /// Changes when the index gets another server, so that the old one's connections are not mistaken for its.
    pub generation: u32,
    /// The interface that leads to it.
    pub ifindex: u32,
    /// The next hop's Ethernet address.
    pub mac: [u8; 6],
    /// Our Ethernet address on that interface.
    pub source_mac: [u8; 6],
    /// IPIP over IPv4: the sum of the outer header without total length, service type and identification. NAT with
    /// [`SOURCE_NAT`]: [`source_ports`].
    pub extra: u32,
    /// Largest IP packet that fits the way to it; 0 leaves that to the route.
    pub mtu: u32,
}

const _: () = assert!(size_of::<Server>() == 64, "one cache line per server");

/// Where a flow goes: the value of the connection table.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Index of its server.
    pub server: u32,
    /// [`Server::generation`] when the flow began.
    pub generation: u32,
    /// Tick of a packet, in either direction; written once in a [`step`], and only where it is needed (NAT, or
    /// [`Service::idle`]).
    pub last_seen: u32,
    /// NAT: the client's port as the server sees it.
    pub port: u16,
    /// NAT: [`life`] as far as this side knows it, so that a change is seen without the way back.
    pub life: u16,
}

const _: () = assert!(size_of::<Connection>() == 16);

/// How far a flow has come: bits of [`Reverse::life`]. They say how soon another flow may have its port.
pub mod life {
    /// The client sent more than its first packet.
    pub const ANSWERED: u8 = 1;
    /// The client sent a FIN.
    pub const CLIENT_END: u8 = 2;
    /// The server sent a FIN.
    pub const SERVER_END: u8 = 4;
    /// Both ends sent a FIN, or one of them a RST.
    pub const OVER: u8 = CLIENT_END | SERVER_END;
}

/// NAT: whose flow a server answers. The key has the ends of the server's packets.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reverse {
    /// The client's packets, which is also the key of the [`Connection`].
    pub flow: FlowKey,
    /// As in the [`Connection`].
    pub server: u32,
    /// As in the [`Connection`].
    pub generation: u32,
    /// As in the [`Connection`]; never older than there.
    pub last_seen: u32,
    /// [`Service::idle`] when it was last looked at.
    pub idle: u32,
    /// The client's port as the server sees it, which is in the key too: what was read while another CPU put another
    /// flow into this place is noticed.
    pub port: u16,
    /// Bits of [`life`].
    pub life: u8,
    pub padding: u8,
}

const _: () = assert!(size_of::<Reverse>() == 60);

/// NAT: what is known of an address and port that servers answer from, when a packet of it belongs to no [`Reverse`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backward {
    /// The service whose answers these are, if it is [`STATELESS`]; port 0 keeps the packet's.
    pub service: Endpoint,
    /// Index of the server.
    pub server: u32,
    /// [`STATELESS`] or 0.
    pub flags: u16,
    /// [`LAYOUT`].
    pub layout: u16,
}

const _: () = assert!(size_of::<Backward>() == 28);

/// The fragments of one datagram, of which only the first has ports.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentKey {
    pub source: Address,
    pub destination: Address,
    pub identification: u32,
    pub protocol: u32,
}

const _: () = assert!(size_of::<FragmentKey>() == 40);

/// Where the first fragment went.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// What takes the place of the packet's source.
    pub source: Address,
    /// What takes the place of its destination.
    pub destination: Address,
    pub server: u32,
    pub generation: u32,
    /// One of [`forwarding`].
    pub forwarding: u8,
    /// Not 0: from the server to the client.
    pub backward: u8,
    pub padding: [u8; 6],
}

const _: () = assert!(size_of::<Fragment>() == 48);

/// A VLAN interface, by whose index routes name it: what an XDP program has to do in its place.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VlanDevice {
    /// Index of the interface below, which frames leave through.
    pub parent: u32,
    /// Ethernet type of the tag, 802.1Q or 802.1ad, in network order.
    pub protocol: u16,
    /// Number of the VLAN in network order; the priority in its upper bits is 0.
    pub control: u16,
}

const _: () = assert!(size_of::<VlanDevice>() == 8);

/// What went to a server and came back from it, per CPU.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Flows that were given to it.
    pub flows: u64,
    pub packets_in: u64,
    /// IP bytes, headers included.
    pub bytes_in: u64,
    pub packets_out: u64,
    pub bytes_out: u64,
}

const _: () = assert!(size_of::<Statistics>() == 40);

// SAFETY: plain integers without padding between them; every bit pattern is valid.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for FlowKey {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Endpoint {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Service {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Server {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Connection {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Reverse {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Backward {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for FragmentKey {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Fragment {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for VlanDevice {}
// SAFETY: as above.
#[cfg(feature = "user")]
#[allow(unsafe_code)]
unsafe impl aya::Pod for Statistics {}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(client: u32, port: u16) -> FlowKey {
        FlowKey {
            source: [0, 0, MAPPED, client.to_be()],
            destination: [0, 0, MAPPED, 0xc000_0201_u32.to_be()],
            source_port: port.to_be(),
            destination_port: 80_u16.to_be(),
            protocol: TCP.into(),
        }
    }

    #[test]
    fn no_hidden_padding() {
        let address = size_of::<Address>();
        assert_eq!(size_of::<FlowKey>(), 2 * address + 2 + 2 + 4);
        assert_eq!(size_of::<Endpoint>(), address + 2 + 2);
        assert_eq!(size_of::<Service>(), 1 + 1 + 2 + 4 + 4 + 4);
        assert_eq!(size_of::<Server>(), 2 * address + 2 + 1 + 1 + 4 + 4 + 6 + 6 + 4 + 4);
        assert_eq!(size_of::<Connection>(), 4 + 4 + 4 + 2 + 2);
        assert_eq!(size_of::<Reverse>(), size_of::<FlowKey>() + 4 * 4 + 2 + 1 + 1);
        assert_eq!(size_of::<Backward>(), size_of::<Endpoint>() + 4 + 2 + 2);
        assert_eq!(size_of::<Fragment>(), 2 * address + 4 + 4 + 1 + 1 + 6);
    }

    /// 40,000 flows over 100 entries: 400 each, give or take five standard deviations.
    fn check(source_only: bool, key: impl Fn(u32) -> FlowKey) {
        let mut entries = [0_u32; 100];
        for number in 0..40_000 {
            entries[entry(key(number).hash(source_only), 100) as usize] += 1;
        }
        assert!(entries.iter().all(|count| (300..500).contains(count)), "{entries:?}");
    }

    #[test]
    fn neighbouring_flows_spread_evenly() {
        check(false, |number| key(0x0a00_0001, u16::try_from(number).unwrap()));
        check(false, |number| key(0x0a00_0000 + number, 1024));
        check(true, |number| key(0x0a00_0000 + number, 1024));
    }

    #[test]
    fn the_source_alone_decides_if_asked_to() {
        assert_eq!(key(1, 2).hash(true), key(1, 3).hash(true));
        assert_ne!(key(1, 2).hash(false), key(1, 3).hash(false));
        assert_eq!([entry(0, 65_537), entry(u32::MAX, 65_537)], [0, 65_536]);
    }

    /// Two versions side by side must agree, so this number never changes without need.
    #[test]
    fn the_hash_is_part_of_the_interface() {
        assert_eq!(key(0x0a00_0001, 1024).hash(false), 3_189_941_798);
    }
}
