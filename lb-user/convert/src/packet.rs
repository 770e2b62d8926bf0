//! `eth.*`, `ip.*` and `tcp.*`: fields of packet headers, for the SYN that a listener may keep of each connection.
//!
//! The input of each family begins with its own header: `eth.data` gives what `ip.*` reads, `ip.data` what `tcp.*`
//! reads. Without the whole of the header that it needs a converter gives nothing.

use std::net::{Ipv4Addr, Ipv6Addr};

use sockeye_sample::{Arg, Converter, Scene, Value};

use crate::protobuf::with_bytes;

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("eth.data", |value, _, _| part(value, |frame| frame.get(Ethernet::read(frame)?.bytes..))),
    Converter::new("eth.dst", |value, _, _| part(value, |frame| frame.get(..6))),
    Converter::new("eth.hdr", |value, _, _| part(value, |frame| frame.get(..Ethernet::read(frame)?.bytes))),
    Converter::new("eth.proto", |value, _, _| {
        number(value, |frame| Some(Ethernet::read(frame)?.proto.into()))
    }),
    Converter::new("eth.src", |value, _, _| part(value, |frame| frame.get(6..12))),
    Converter::new("eth.vlan", |value, _, _| {
        number(value, |frame| Ethernet::read(frame)?.vlan.map(i64::from))
    }),
    Converter::new("ip.data", |value, _, _| part(value, |packet| packet.get(ip_transport(packet)?.1..))),
    Converter::new("ip.df", |value, _, _| {
        number(value, |packet| Some(Ip::read(packet)?.dont_fragment.into()))
    }),
    Converter::new("ip.dst", |value, _, _| Some(Ip::read(value.bytes()?)?.destination)),
    Converter::new("ip.fp", fingerprint),
    Converter::new("ip.hdr", |value, _, _| part(value, |packet| packet.get(..ip_transport(packet)?.1))),
    Converter::new("ip.proto", |value, _, _| number(value, |packet| Some(ip_transport(packet)?.0.into()))),
    Converter::new("ip.src", |value, _, _| Some(Ip::read(value.bytes()?)?.source)),
    Converter::new("ip.tos", |value, _, _| number(value, |packet| Some(Ip::read(packet)?.tos.into()))),
    Converter::new("ip.ttl", |value, _, _| number(value, |packet| Some(Ip::read(packet)?.ttl.into()))),
    Converter::new("ip.ver", |value, _, _| number(value, |packet| Some((packet.first()? >> 4).into()))),
    Converter::new("tcp.dst", |value, _, _| tcp_number16(value, 2)),
    Converter::new("tcp.flags", |value, _, _| number(value, |segment| Some(tcp_fixed(segment)?[13].into()))),
    Converter::new("tcp.options.mss", |value, _, _| {
        option(value, 2, |found| {
            found.and_then(|data| data.first_chunk()).map_or(0, |mss| u16::from_be_bytes(*mss).into())
        })
    }),
    Converter::new("tcp.options.sack", |value, _, _| option(value, 4, |found| found.is_some().into())),
    Converter::new("tcp.options.tsopt", |value, _, _| option(value, 8, |found| found.is_some().into())),
    Converter::new("tcp.options.tsval", |value, _, _| {
        option(value, 8, |found| {
            found.and_then(|data| data.first_chunk()).map_or(0, |tsval| u32::from_be_bytes(*tsval).into())
        })
    }),
    Converter::new("tcp.options.wscale", |value, _, _| {
        option(value, 3, |found| found.and_then(|data| data.first()).map_or(0, |shift| (*shift).into()))
    }),
    Converter::new("tcp.options.wsopt", |value, _, _| option(value, 3, |found| found.is_some().into())),
    Converter::new("tcp.options_list", |value, _, _| {
        let kinds: Vec<u8> = TcpOptions::of(value.bytes()?)?.map(|(kind, _)| kind).collect();
        Some(Value::binary(kinds))
    }),
    Converter::new("tcp.seq", |value, _, _| {
        number(value, |segment| Some(u32::from_be_bytes(*tcp_fixed(segment)?[4..].first_chunk()?).into()))
    }),
    Converter::new("tcp.src", |value, _, _| tcp_number16(value, 0)),
    Converter::new("tcp.win", |value, _, _| tcp_number16(value, 14)),
];

const VLAN: u16 = 0x8100;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6_HEADER_BYTES: usize = 40;
const TCP_HEADER_BYTES: usize = 20;

fn part<'a>(value: Value<'a>, find: impl for<'b> Fn(&'b [u8]) -> Option<&'b [u8]>) -> Option<Value<'a>> {
    with_bytes(value, |bytes| find(bytes).map(Value::bin))
}

fn number<'a>(value: Value<'a>, find: impl Fn(&[u8]) -> Option<i64>) -> Option<Value<'a>> {
    find(value.bytes()?).map(Value::Int)
}

fn number16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// What follows the addresses of an Ethernet frame.
struct Ethernet {
    /// Of the header with its VLAN tags.
    bytes: usize,
    proto: u16,
    /// The innermost that is not 0.
    vlan: Option<u16>,
}

impl Ethernet {
    /// At least one byte has to follow the header.
    fn read(frame: &[u8]) -> Option<Self> {
        let mut vlan = None;
        let mut at = 12;
        loop {
            let proto = number16(frame, at).filter(|_| frame.len() > at + 2)?;
            if proto != VLAN {
                return Some(Self { bytes: at + 2, proto, vlan });
            }
            vlan = number16(frame, at + 2).map(|tag| tag & 0xfff).filter(|id| *id != 0);
            at += 4;
        }
    }
}

/// The fixed header of an IP packet.
struct Ip<'a> {
    version: u8,
    tos: u8,
    ttl: u8,
    /// Always so in IPv6.
    dont_fragment: bool,
    source: Value<'static>,
    destination: Value<'static>,
    source_bytes: &'a [u8],
    /// As the header announces it, header included.
    total_bytes: usize,
    /// There are options or extensions.
    extended: bool,
}

impl<'a> Ip<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let header = packet.first_chunk::<20>()?;
                let addr = |at: usize| {
                    header[at..].first_chunk::<4>().map(|bytes| Value::Ipv4(Ipv4Addr::from(*bytes)))
                };
                Some(Self {
                    version: 4,
                    tos: header[1],
                    ttl: header[8],
                    dont_fragment: header[6] & 0x40 != 0,
                    source: addr(12)?,
                    destination: addr(16)?,
                    source_bytes: &header[12..16],
                    total_bytes: number16(header, 2)?.into(),
                    extended: header[0] & 0xf != 5,
                })
            }
            6 => {
                let header = packet.first_chunk::<IPV6_HEADER_BYTES>()?;
                let addr = |at: usize| {
                    header[at..].first_chunk::<16>().map(|bytes| Value::Ipv6(Ipv6Addr::from(*bytes)))
                };
                Some(Self {
                    version: 6,
                    tos: header[0] << 4 | header[1] >> 4,
                    ttl: header[7],
                    dont_fragment: true,
                    source: addr(8)?,
                    destination: addr(24)?,
                    source_bytes: &header[8..24],
                    total_bytes: IPV6_HEADER_BYTES + usize::from(number16(header, 4)?),
                    extended: !matches!(header[6], TCP | UDP),
                })
            }
            _ => None,
        }
    }
}

/// The protocol above IP, and where its header begins: behind all options and extensions.
fn ip_transport(packet: &[u8]) -> Option<(u8, usize)> {
    match packet.first()? >> 4 {
        4 => {
            let length = usize::from(packet[0] & 0xf) * 4;
            let protocol = *packet.get(9)?;
            (length >= 20 && packet.len() >= length).then_some((protocol, length))
        }
        6 => {
            let mut next = *packet.get(6)?;
            let mut at = IPV6_HEADER_BYTES;
            // Each turn goes on by eight bytes at least.
            while !matches!(next, TCP | UDP) {
                let &[following, units] = packet.get(at..)?.first_chunk()?;
                next = following;
                at += usize::from(units) * 8 + 8;
            }
            (packet.len() >= at).then_some((next, at))
        }
        _ => None,
    }
}

/// The part of a TCP header that is always there.
fn tcp_fixed(segment: &[u8]) -> Option<&[u8; TCP_HEADER_BYTES]> {
    segment.first_chunk()
}

fn tcp_number16<'a>(value: Value<'a>, at: usize) -> Option<Value<'a>> {
    number(value, |segment| number16(tcp_fixed(segment)?, at).map(i64::from))
}

/// The whole TCP header, options included.
fn tcp_header(segment: &[u8]) -> Option<&[u8]> {
    let length = usize::from(tcp_fixed(segment)?[12] >> 4) * 4;
    segment.get(..length).filter(|header| header.len() >= TCP_HEADER_BYTES)
}

/// Kind and data of each TCP option that is whole.
struct TcpOptions<'a> {
    rest: &'a [u8],
}

impl<'a> TcpOptions<'a> {
    fn of(segment: &'a [u8]) -> Option<Self> {
        Some(Self { rest: tcp_header(segment)?.get(TCP_HEADER_BYTES..)? })
    }
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, length) = match self.rest {
            [] | [0, ..] => return None,
            [1, ..] => (1, 1),
            [kind, length, ..] => (*kind, usize::from(*length)),
            [_] => return None,
        };
        let (option, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        // A length below two would never end.
        let data = if kind == 1 { &[] } else { option.get(2..)? };
        Some((kind, data))
    }
}

fn option<'a>(value: Value<'a>, kind: u8, read: impl Fn(Option<&[u8]>) -> i64) -> Option<Value<'a>> {
    number(value, |segment| {
        let found = TcpOptions::of(segment)?.find(|(found, _)| *found == kind);
        Some(read(found.map(|(_, data)| data)))
    })
}

/// `ip.fp([mode])`: what tells one network stack from another, in seven bytes and more: TOS; flags; lengths of header and
/// window scale in half a byte each; window; MSS. The mode adds with 1 the TTL, with 2 the kinds of the TCP options, with 4
/// the source address.
fn fingerprint<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let mode = args.first().and_then(Arg::int).unwrap_or(0);
    let packet = value.bytes()?;
    let ip = Ip::read(packet)?;
    let (_, ip_bytes) = ip_transport(packet)?;
    let segment = packet.get(ip_bytes..)?;
    let header = tcp_header(segment)?;
    let data_bytes = ip.total_bytes.checked_sub(ip_bytes + header.len())?;
    let (mut mss, mut scale, mut kinds) = ([0, 0], 0, Vec::new());
    for (kind, data) in TcpOptions::of(segment)? {
        kinds.push(kind);
        match (kind, data) {
            (2, [high, low, ..]) => mss = [*high, *low],
            // 0 says that there is no such option.
            (3, [shift, ..]) => scale = shift.saturating_add(1).min(15),
            _ => {}
        }
    }
    let ttl_class = match ip.ttl {
        0..=32 => 0,
        33..=64 => 1,
        65..=128 => 2,
        129..=255 => 3,
    };
    let flags = u8::from(ip.version == 6) << 7
        | u8::from(ip.dont_fragment) << 6
        | ttl_class << 4
        | u8::from(ip.extended) << 3
        | u8::from(data_bytes > 0) << 2
        | header[13] >> 6;
    let words = header[12] >> 4;
    let mut out = vec![ip.tos, flags, words << 4 | scale, header[14], header[15], mss[0], mss[1]];
    if mode & 1 != 0 {
        out.push(ip.ttl);
    }
    if mode & 2 != 0 {
        out.extend(kinds);
    }
    if mode & 4 != 0 {
        out.extend(ip.source_bytes);
    }
    Some(Value::binary(out))
}
