//! Builds packets for the packet program, and checks those that it made.
#![allow(unused_imports, unused_macros, reason = "each test needs a part of this")]

pub(crate) mod rig;

use std::net::IpAddr;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// A packet as a test describes it.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) ports: [u16; 2],
    pub(crate) protocol: u8,
    pub(crate) tcp_flags: u8,
    /// A multiple of four bytes.
    pub(crate) tcp_options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) vlans: usize,
    /// IPv4 options, or IPv6 extension headers as (kind, bytes).
    pub(crate) options: Vec<u8>,
    pub(crate) extensions: Vec<(u8, Vec<u8>)>,
    pub(crate) ttl: u8,
    /// Offset in units of eight bytes, and whether more follow.
    pub(crate) fragment: Option<(u16, bool)>,
    /// Takes the place of TCP or UDP header and payload.
    pub(crate) raw: Option<Vec<u8>>,
    pub(crate) no_checksum: bool,
}

impl Frame {
    pub(crate) fn new(source: &str, destination: &str, protocol: u8) -> Self {
        Self {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            ports: [40_000, 80],
            protocol,
            tcp_flags: ACK,
            tcp_options: Vec::new(),
            payload: b"payload".to_vec(),
            vlans: 0,
            options: Vec::new(),
            extensions: Vec::new(),
            ttl: 64,
            fragment: None,
            raw: None,
            no_checksum: false,
        }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        // The first address is that of the loopback interface, from which test runs come.
        let mut frame = vec![0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2];
        for _ in 0..self.vlans {
            frame.extend([0x81, 0, 0, 7]);
        }
        frame.extend(if self.source.is_ipv4() { [8, 0] } else { [0x86, 0xdd] });
        frame.extend(self.network());
        frame
    }

    /// From the IP header on.
    pub(crate) fn network(&self) -> Vec<u8> {
        let transport = self.raw.clone().unwrap_or_else(|| self.transport());
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let bytes = 20 + self.options.len();
                let mut header = vec![0x40 | u8::try_from(bytes / 4).unwrap(), 0x28];
                header.extend(u16::try_from(bytes + transport.len()).unwrap().to_be_bytes());
                header.extend([0x12, 0x34]);
                let (offset, more) = self.fragment.unwrap_or((0, false));
                header.extend((offset | u16::from(more) << 13).to_be_bytes());
                header.extend([self.ttl, self.protocol, 0, 0]);
                header.extend(source.octets());
                header.extend(destination.octets());
                header.extend(&self.options);
                let checksum = (!sum(&[&header])).to_be_bytes();
                header[10..12].copy_from_slice(&checksum);
                header.extend(transport);
                header
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut extensions = self.extensions.clone();
                if let Some((offset, more)) = self.fragment {
                    let mut bytes = vec![0, 0];
                    bytes.extend((offset << 3 | u16::from(more)).to_be_bytes());
                    bytes.extend([1, 2, 3, 4]);
                    extensions.push((44, bytes));
                }
                let mut kinds: Vec<u8> = extensions.iter().map(|(kind, _)| *kind).collect();
                kinds.push(self.protocol);
                let mut rest = Vec::new();
                for (number, (_, bytes)) in extensions.iter().enumerate() {
                    rest.push(kinds[number + 1]);
                    rest.extend(&bytes[1..]);
                }
                rest.extend(transport);
                let mut header = vec![0x62, 0x80, 0, 0];
                header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
                header.extend([kinds[0], self.ttl]);
                header.extend(source.octets());
                header.extend(destination.octets());
                header.extend(rest);
                header
            }
            _ => panic!("one family"),
        }
    }

    fn transport(&self) -> Vec<u8> {
        let mut header = Vec::new();
        header.extend(self.ports[0].to_be_bytes());
        header.extend(self.ports[1].to_be_bytes());
        let place = if self.protocol == TCP {
            let words = 0x50 + (u8::try_from(self.tcp_options.len()).unwrap() << 2);
            header.extend([0, 0, 0, 1, 0, 0, 0, 2, words, self.tcp_flags, 1, 0, 0, 0, 0, 0]);
            header.extend(&self.tcp_options);
            16
        } else {
            header.extend(u16::try_from(8 + self.payload.len()).unwrap().to_be_bytes());
            header.extend([0, 0]);
            6
        };
        header.extend(&self.payload);
        if !self.no_checksum {
            let checksum =
                !sum(&[&pseudo(self.source, self.destination, self.protocol, header.len()), &header]);
            header[place..place + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        header
    }
}

/// An ICMP message of this type and code around a packet.
pub(crate) fn icmp(from: &str, to: &str, kind: [u8; 2], inside: &[u8]) -> Frame {
    let mut frame = Frame::new(from, to, 1);
    let mut message = vec![kind[0], kind[1], 0, 0, 0, 0, 5, 0];
    message.extend(inside);
    let checksum = if frame.source.is_ipv4() {
        !sum(&[&message])
    } else {
        frame.protocol = 58;
        !sum(&[&pseudo(frame.source, frame.destination, 58, message.len()), &message])
    };
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    frame.raw = Some(message);
    frame
}

/// What the headers of a frame say, after all its checksums were found right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) ports: [u16; 2],
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    /// What follows the IP header.
    pub(crate) rest: Vec<u8>,
}

pub(crate) fn check(frame: &[u8]) -> Seen {
    let mut at = 12;
    while frame[at..at + 2] == [0x81, 0] {
        at += 4;
    }
    network(&frame[at + 2..], true)
}

/// Reads a packet from its IP header on; `whole` if the transport's checksum can be right.
pub(crate) fn network(packet: &[u8], whole: bool) -> Seen {
    let octets = |at: usize, n: usize| -> IpAddr {
        match n {
            4 => IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap()),
            _ => IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap()),
        }
    };
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let mut seen;
    if packet[0] >> 4 == 4 {
        let bytes = usize::from(packet[0] & 15) * 4;
        assert_eq!(sum(&[&packet[..bytes]]), 0xffff, "the IPv4 header's checksum");
        let end = usize::from(word(2)).min(packet.len());
        seen = Seen {
            source: octets(12, 4),
            destination: octets(16, 4),
            ports: [0; 2],
            ttl: packet[8],
            protocol: packet[9],
            rest: packet[bytes..end].to_vec(),
        };
    } else {
        let (mut next, mut at) = (packet[6], 40);
        while matches!(next, 0 | 43 | 44 | 60) {
            let bytes = if next == 44 { 8 } else { 8 + usize::from(packet[at + 1]) * 8 };
            next = packet[at];
            at += bytes;
        }
        seen = Seen {
            source: octets(8, 16),
            destination: octets(24, 16),
            ports: [0; 2],
            ttl: packet[7],
            protocol: next,
            rest: packet[at..].to_vec(),
        };
    }
    let rest = &seen.rest;
    if matches!(seen.protocol, TCP | UDP) && rest.len() >= 8 {
        seen.ports = [u16::from_be_bytes([rest[0], rest[1]]), u16::from_be_bytes([rest[2], rest[3]])];
    }
    let unsummed = seen.protocol == UDP && rest.get(6..8) == Some(&[0, 0]);
    if whole && !unsummed && matches!(seen.protocol, TCP | UDP | 58) {
        let pseudo = pseudo(seen.source, seen.destination, seen.protocol, rest.len());
        assert_eq!(sum(&[&pseudo, rest]), 0xffff, "the transport's checksum in {seen:?}");
    }
    if whole && seen.protocol == 1 {
        assert_eq!(sum(&[rest]), 0xffff, "the ICMP checksum");
    }
    seen
}

fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes
}

fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}
