//! Messages of rtnetlink, written and read; nothing here touches a socket.

use std::io;
use std::net::IpAddr;

use super::{Interface, InterfaceAddress, Route, Vlan};

/// The groups of [`super::changes`].
#[allow(clippy::cast_sign_loss)]
pub(super) const GROUPS: u32 = (libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV6_ROUTE) as u32;

/// Length, type, flags, sequence number, port: `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// Family and padding, type, index, flags, changes: `struct ifinfomsg`.
const INTERFACE_BYTES: usize = 16;
/// Family, prefix, flags, scope, index: `struct ifaddrmsg`.
const ADDRESS_BYTES: usize = 8;
/// Family, prefixes, type of service, table, protocol, scope, type, flags: `struct rtmsg`.
const ROUTE_BYTES: usize = 12;

/// `ENODATA`: a dump of something this kernel was built without.
const NO_DATA: i32 = libc::ENODATA;

/// A question.
pub(super) struct Request {
    bytes: Vec<u8>,
    dump: bool,
}

impl Request {
    pub(super) fn interfaces() -> Self {
        Self::new(libc::RTM_GETLINK, true, &[0; INTERFACE_BYTES])
    }

    pub(super) fn addresses() -> Self {
        Self::new(libc::RTM_GETADDR, true, &[0; ADDRESS_BYTES])
    }

    pub(super) fn route(to: IpAddr) -> Self {
        let (family, octets) = match to {
            IpAddr::V4(to) => (libc::AF_INET, to.octets().to_vec()),
            IpAddr::V6(to) => (libc::AF_INET6, to.octets().to_vec()),
        };
        let mut body = vec![0; ROUTE_BYTES];
        body[0] = byte(family);
        body[1] = byte(octets.len() * 8);
        let attribute = u16::try_from(4 + octets.len()).unwrap_or_default();
        body.extend(attribute.to_ne_bytes());
        body.extend(libc::RTA_DST.to_ne_bytes());
        body.extend(octets);
        Self::new(libc::RTM_GETROUTE, false, &body)
    }

    fn new(kind: u16, dump: bool, body: &[u8]) -> Self {
        let flags = libc::NLM_F_REQUEST | if dump { libc::NLM_F_DUMP } else { 0 };
        let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(u16::try_from(flags).unwrap_or_default().to_ne_bytes());
        // Sequence number and port: one question per socket, so nothing has to be told apart.
        bytes.extend([0; 8]);
        bytes.extend(body);
        Self { bytes, dump }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the answer is a list that ends with a message of its own.
    pub(super) fn is_dump(&self) -> bool {
        self.dump
    }
}

fn byte(value: impl TryInto<u8>) -> u8 {
    value.try_into().unwrap_or_default()
}

/// One message of an answer.
pub(super) struct Answer<'a> {
    kind: u16,
    body: &'a [u8],
}

/// The messages of one read: `None` is the end of a list.
pub(super) fn answers(mut bytes: &[u8]) -> impl Iterator<Item = io::Result<Option<Answer<'_>>>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let message = bytes.get(..length).filter(|message| message.len() >= HEADER_BYTES)?;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        let (kind, body) = (u16_at(message, 4)?, &message[HEADER_BYTES..]);
        Some(match i32::from(kind) {
            libc::NLMSG_DONE => Ok(None),
            libc::NLMSG_ERROR => match u32_at(body, 0)?.cast_signed() {
                0 => Ok(None),
                error if error == -NO_DATA => Ok(None),
                error => Err(io::Error::from_raw_os_error(-error)),
            },
            _ => Ok(Some(Answer { kind, body })),
        })
    })
}

pub(super) fn interface(answer: &Answer<'_>) -> Option<Interface> {
    if answer.kind != libc::RTM_NEWLINK {
        return None;
    }
    let (mut name, mut mtu, mut parent, mut vlan) = (None, 0, None, None);
    for (kind, value) in attributes(answer.body.get(INTERFACE_BYTES..)?) {
        match kind {
            libc::IFLA_IFNAME => {
                name = std::str::from_utf8(value).ok().map(|text| text.trim_end_matches('\0'))
            }
            libc::IFLA_MTU => mtu = u32_at(value, 0)?,
            libc::IFLA_LINK => parent = u32_at(value, 0),
            libc::IFLA_LINKINFO => vlan = vlan_of(value),
            _ => {}
        }
    }
    let flags = u32_at(answer.body, 8)?.cast_signed();
    Some(Interface {
        index: u32_at(answer.body, 4)?,
        name: name?.to_owned(),
        mtu,
        up: flags & libc::IFF_UP != 0,
        loopback: flags & libc::IFF_LOOPBACK != 0,
        ethernet: matches!(u16_at(answer.body, 2)?, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK),
        vlan: parent.zip(vlan).map(|(parent, (id, protocol))| Vlan { parent, id, protocol }),
    })
}

/// Number and protocol of a VLAN.
fn vlan_of(link: &[u8]) -> Option<(u16, u16)> {
    let part = |kind: u16| attributes(link).find(move |(found, _)| *found == kind).map(|(_, value)| value);
    if part(libc::IFLA_INFO_KIND)? != b"vlan\0" {
        return None;
    }
    let data = part(libc::IFLA_INFO_DATA)?;
    let id = attributes(data).find(|(kind, _)| *kind == VLAN_ID)?.1;
    // Kernels before 3.10 knew only one.
    let protocol = attributes(data).find(|(kind, _)| *kind == VLAN_PROTOCOL);
    let protocol = protocol.and_then(|(_, value)| u16_at(value, 0)).map_or(VLAN_DEFAULT, u16::from_be);
    Some((u16_at(id, 0)?, protocol))
}

/// `IFLA_VLAN_ID`, `IFLA_VLAN_PROTOCOL` (include/uapi/linux/if_link.h).
const VLAN_ID: u16 = 1;
const VLAN_PROTOCOL: u16 = 5;
/// `ETH_P_8021Q`.
const VLAN_DEFAULT: u16 = 0x8100;

pub(super) fn address(answer: &Answer<'_>) -> Option<InterfaceAddress> {
    if answer.kind != libc::RTM_NEWADDR {
        return None;
    }
    let (mut own, mut peer) = (None, None);
    for (kind, value) in attributes(answer.body.get(ADDRESS_BYTES..)?) {
        match kind {
            // On a link between two points the first is ours and the second the other's; elsewhere both are ours.
            libc::IFA_LOCAL => own = ip(value),
            libc::IFA_ADDRESS => peer = ip(value),
            _ => {}
        }
    }
    let interface = u32_at(answer.body, 4)?;
    Some(InterfaceAddress { interface, address: own.or(peer)?, prefix: *answer.body.get(1)? })
}

pub(super) fn route(answer: &Answer<'_>) -> Option<Route> {
    if answer.kind != libc::RTM_NEWROUTE {
        return None;
    }
    let kind = *answer.body.get(7)?;
    let mut route =
        Route { interface: 0, source: None, gateway: None, mtu: None, local: kind == libc::RTN_LOCAL };
    for (kind, value) in attributes(answer.body.get(ROUTE_BYTES..)?) {
        match kind {
            libc::RTA_OIF => route.interface = u32_at(value, 0)?,
            libc::RTA_PREFSRC => route.source = ip(value),
            libc::RTA_GATEWAY => route.gateway = ip(value),
            // A next hop of the other family: the family in two bytes, then the address.
            libc::RTA_VIA => route.gateway = ip(value.get(2..)?),
            libc::RTA_METRICS => {
                let mtu = attributes(value).find(|(kind, _)| i32::from(*kind) == RTAX_MTU);
                route.mtu = mtu.and_then(|(_, value)| u32_at(value, 0)).filter(|mtu| *mtu > 0);
            }
            _ => {}
        }
    }
    // Unreachable, blackhole and prohibited ones come as errors or without an interface.
    (route.interface != 0).then_some(route)
}

/// `RTAX_MTU` (include/uapi/linux/rtnetlink.h).
const RTAX_MTU: i32 = 2;

/// Type and value of each attribute.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        // The upper two bits say that it nests, or its byte order.
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(align(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Messages and attributes begin at multiples of four bytes.
fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    fn message(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
        let body = parts.concat();
        let mut bytes = u32::try_from(HEADER_BYTES + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    /// What becomes of the messages, an error of the kernel included.
    fn check<T>(bytes: &[u8], parse: impl Fn(&Answer<'_>) -> Option<T>) -> Vec<Result<Option<T>, i32>> {
        answers(bytes)
            .map(|answer| match answer {
                Ok(answer) => Ok(answer.and_then(|answer| parse(&answer))),
                Err(error) => Err(error.raw_os_error().unwrap()),
            })
            .collect()
    }

    #[test]
    fn interfaces_with_names_and_sizes() {
        let mut head = vec![0; INTERFACE_BYTES];
        head[2] = 1;
        head[4] = 7;
        head[8] = u8::try_from(libc::IFF_UP).unwrap();
        let parts = [
            head,
            attribute(libc::IFLA_IFNAME, b"eth0\0"),
            attribute(libc::IFLA_MTU, &1500_u32.to_ne_bytes()),
        ];
        let expected = Interface {
            index: 7,
            name: "eth0".to_owned(),
            mtu: 1500,
            up: true,
            loopback: false,
            ethernet: true,
            vlan: None,
        };
        let mut bytes = message(libc::RTM_NEWLINK, &parts);
        assert_eq!(check(&bytes, interface), [Ok(Some(expected.clone()))]);
        bytes.extend(message(3, &[vec![0; 4]]));
        assert_eq!(check(&bytes, interface), [Ok(Some(expected)), Ok(None)]);
    }

    #[test]
    fn vlans_with_their_parents() {
        let data =
            [attribute(VLAN_ID, &100_u16.to_ne_bytes()), attribute(VLAN_PROTOCOL, &[0x88, 0xa8])].concat();
        let check_kind = |kind: &[u8], expected: Option<Vlan>| {
            let info =
                [attribute(libc::IFLA_INFO_KIND, kind), attribute(libc::IFLA_INFO_DATA, &data)].concat();
            let parts = [
                vec![0; INTERFACE_BYTES],
                attribute(libc::IFLA_IFNAME, b"eth0.100\0"),
                attribute(libc::IFLA_LINK, &2_u32.to_ne_bytes()),
                attribute(libc::IFLA_LINKINFO, &info),
            ];
            let found = check(&message(libc::RTM_NEWLINK, &parts), interface).remove(0).unwrap().unwrap();
            assert_eq!(found.vlan, expected);
        };
        check_kind(b"vlan\0", Some(Vlan { parent: 2, id: 100, protocol: 0x88a8 }));
        check_kind(b"veth\0", None);
    }

    #[test]
    fn addresses_of_both_families() {
        let head = vec![2, 24, 0, 0, 3, 0, 0, 0];
        let parts =
            [head, attribute(libc::IFA_ADDRESS, &[10, 0, 0, 9]), attribute(libc::IFA_LOCAL, &[10, 0, 0, 1])];
        let expected = InterfaceAddress { interface: 3, address: [10, 0, 0, 1].into(), prefix: 24 };
        assert_eq!(check(&message(libc::RTM_NEWADDR, &parts), address), [Ok(Some(expected))]);
        let parts = [vec![10, 64, 0, 0, 3, 0, 0, 0], attribute(libc::IFA_ADDRESS, &[1; 16])];
        let expected = InterfaceAddress { interface: 3, address: [1_u8; 16].into(), prefix: 64 };
        assert_eq!(check(&message(libc::RTM_NEWADDR, &parts), address), [Ok(Some(expected))]);
    }

    #[test]
    fn routes_with_gateways_and_metrics() {
        let parts = [
            vec![0; ROUTE_BYTES],
            attribute(libc::RTA_OIF, &5_u32.to_ne_bytes()),
            attribute(libc::RTA_GATEWAY, &[10, 0, 0, 1]),
            attribute(libc::RTA_PREFSRC, &[10, 0, 0, 2]),
            attribute(libc::RTA_METRICS, &attribute(2, &1400_u32.to_ne_bytes())),
        ];
        let expected = Route {
            interface: 5,
            source: Some([10, 0, 0, 2].into()),
            gateway: Some([10, 0, 0, 1].into()),
            mtu: Some(1400),
            local: false,
        };
        assert_eq!(check(&message(libc::RTM_NEWROUTE, &parts), route), [Ok(Some(expected))]);
        assert_eq!(check(&message(libc::RTM_NEWROUTE, &parts[..1]), route), [Ok(None)]);
    }

    #[test]
    fn errors_and_nonsense() {
        let error = |number: i32| message(2, &[number.to_ne_bytes().to_vec()]);
        assert_eq!(check(&error(-libc::ENETUNREACH), route), [Err(libc::ENETUNREACH)]);
        assert_eq!(check(&error(0), route), [Ok(None)]);
        assert_eq!(check(&[0; 16], route), []);
        assert_eq!(check(&[255; 16], route), []);
        assert_eq!(check(&message(libc::RTM_NEWROUTE, &[vec![255; 40]]), route), [Ok(None)]);
    }

    #[test]
    fn a_question_has_its_own_length() {
        for address in ["192.0.2.1", "2001:db8::1"] {
            let request = Request::route(address.parse().unwrap());
            assert_eq!(u32_at(request.bytes(), 0).unwrap() as usize, request.bytes().len());
            assert!(!request.is_dump());
        }
    }
}
