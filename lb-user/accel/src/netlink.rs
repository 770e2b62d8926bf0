//! What the kernel says about an interface and XDP: rtnetlink(7), and the generic family `netdev` (since 6.3).
//!
//! Asked by netlink and not in `/sys/class/net`, which shows the network namespace that it was mounted in.

use std::io;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, send,
    socket_with, sockopt,
};

/// The kernel answers at once; this is for one that is in trouble.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);
/// Room for one datagram; the kernel makes them 32 KiB at most.
const READ_BYTES: usize = 32 * 1024;
/// Interfaces that are looked at: more than any report has use for.
const INTERFACES_MAX: usize = 4_096;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const GENERIC_CONTROL: u16 = 16;

/// An interface as XDP sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Bytes of an IP packet.
    pub(crate) mtu: u32,
    pub(crate) loopback: bool,
    /// `veth`, `bridge`, `vlan`…; hardware has none.
    pub(crate) kind: Option<String>,
    /// A device on a bus is behind it (`/sys/class/net/X/device`).
    pub(crate) hardware: bool,
    pub(crate) xdp: Option<RunningXdp>,
}

/// The XDP program that is on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunningXdp {
    pub(crate) native: bool,
    /// The kernel's number of it.
    pub(crate) program: u32,
}

/// What a driver can do: `NETDEV_XDP_ACT_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct XdpFeatures {
    /// Native XDP, all verdicts.
    pub(crate) native: bool,
    /// Packets that XDP on another interface sends there go out.
    pub(crate) transmit: bool,
}

/// The interface of this name, if there is one.
pub(crate) fn interface(name: &str) -> io::Result<Option<Interface>> {
    const IFLA_IFNAME: u16 = 3;
    // The kernel takes 15 bytes and the zero behind them.
    if name.is_empty() || name.len() > 15 {
        return Ok(None);
    }
    let mut attribute = name.as_bytes().to_vec();
    attribute.push(0);
    let mut body = vec![0; LINK_HEADER];
    put(&mut body, IFLA_IFNAME, &attribute);
    match ask(None, GET_LINK, 0, &body) {
        Ok(answers) => Ok(answers.iter().find_map(|(kind, body)| link(*kind, body))),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All interfaces.
pub(crate) fn interfaces() -> io::Result<Vec<Interface>> {
    let answers = ask(None, GET_LINK, DUMP, &[0; LINK_HEADER])?;
    Ok(answers.iter().filter_map(|(kind, body)| link(*kind, body)).take(INTERFACES_MAX).collect())
}

/// What the driver of an interface can do; `None` if the kernel does not tell (before 6.3).
pub(crate) fn xdp_features(index: u32) -> Option<XdpFeatures> {
    const GET_FAMILY: u8 = 3;
    const FAMILY_ID: u16 = 1;
    const FAMILY_NAME: u16 = 2;
    const DEVICE_GET: u8 = 1;
    const DEVICE_IFINDEX: u16 = 1;
    const DEVICE_XDP_FEATURES: u16 = 3;
    const ALL_VERDICTS: u64 = 1 | 2;
    const TRANSMIT: u64 = 4;
    let mut body = vec![GET_FAMILY, 1, 0, 0];
    put(&mut body, FAMILY_NAME, b"netdev\0");
    let answers = ask(Some(netlink::GENERIC), GENERIC_CONTROL, 0, &body).ok()?;
    let family = answers.iter().find_map(|(_, body)| u16_of(find(body.get(4..)?, FAMILY_ID)?))?;
    let mut body = vec![DEVICE_GET, 1, 0, 0];
    put(&mut body, DEVICE_IFINDEX, &index.to_ne_bytes());
    let answers = ask(Some(netlink::GENERIC), family, 0, &body).ok()?;
    let features = answers.iter().find_map(|(_, body)| find(body.get(4..)?, DEVICE_XDP_FEATURES))?;
    let features = u64::from_ne_bytes(features.get(..8)?.try_into().ok()?);
    Some(XdpFeatures { native: features & ALL_VERDICTS == ALL_VERDICTS, transmit: features & TRANSMIT != 0 })
}

/// The program of a filter at the ingress of `clsact`: its number; `None` if there is no such filter.
pub(crate) fn ingress_filter(index: u32, priority: u16, handle: u32) -> Option<u32> {
    const GET_FILTER: u16 = 46;
    const INGRESS: u32 = 0xffff_fff2;
    const ALL_PROTOCOLS: u16 = 3;
    const KIND: u16 = 1;
    const OPTIONS: u16 = 2;
    const PROGRAM_ID: u16 = 11;
    // `struct tcmsg`.
    let mut body = vec![0; 4];
    let info = u32::from(priority) << 16 | u32::from(ALL_PROTOCOLS.to_be());
    for word in [index, handle, INGRESS, info] {
        body.extend(word.to_ne_bytes());
    }
    let header = body.len();
    put(&mut body, KIND, b"bpf\0");
    let answers = ask(None, GET_FILTER, 0, &body).ok()?;
    answers.iter().find_map(|(_, body)| u32_of(find(find(body.get(header..)?, OPTIONS)?, PROGRAM_ID)?))
}

/// `struct ifinfomsg`.
const LINK_HEADER: usize = 16;

fn link(message: u16, body: &[u8]) -> Option<Interface> {
    const IFLA_IFNAME: u16 = 3;
    const IFLA_MTU: u16 = 4;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    const IFLA_XDP: u16 = 43;
    const IFLA_PARENT_DEV_NAME: u16 = 56;
    const IFF_LOOPBACK: u32 = 8;
    if message != NEW_LINK {
        return None;
    }
    let index = u32_of(body.get(4..)?)?;
    let flags = u32_of(body.get(8..)?)?;
    let attributes = body.get(LINK_HEADER..)?;
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    Some(Interface {
        index,
        name: text(find(attributes, IFLA_IFNAME)?),
        mtu: find(attributes, IFLA_MTU).and_then(u32_of).unwrap_or(0),
        loopback: flags & IFF_LOOPBACK != 0,
        kind: find(attributes, IFLA_LINKINFO).and_then(|info| find(info, IFLA_INFO_KIND)).map(text),
        hardware: find(attributes, IFLA_PARENT_DEV_NAME).is_some(),
        xdp: find(attributes, IFLA_XDP).and_then(running),
    })
}

fn running(xdp: &[u8]) -> Option<RunningXdp> {
    const ATTACHED: u16 = 2;
    const PROGRAM: u16 = 4;
    const GENERIC: u8 = 2;
    let attached = *find(xdp, ATTACHED)?.first()?;
    let program = find(xdp, PROGRAM).and_then(u32_of)?;
    (attached != 0).then_some(RunningXdp { native: attached != GENERIC, program })
}

/// Sends one request, by the protocol of routes or the one named; the answers are kinds and bodies of messages.
fn ask(protocol: Option<Protocol>, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<(u16, Vec<u8>)>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER_TIME_MAX))?;
    let length = u32::try_from(MESSAGE_HEADER + body.len()).map_err(io::Error::other)?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | flags).to_ne_bytes());
    // Sequence number and port.
    message.extend([0; 8]);
    message.extend(body);
    send(&socket, &message, SendFlags::empty())?;
    let mut buffer = vec![0; READ_BYTES];
    let mut found = Vec::new();
    loop {
        let (_, length) = recv(&socket, &mut buffer[..], RecvFlags::TRUNC)?;
        for (kind, body) in messages(buffer.get(..length).ok_or(io::ErrorKind::InvalidData)?) {
            match kind {
                ERROR => {
                    let code = body.get(..4).and_then(u32_of).unwrap_or_default().cast_signed();
                    return if code == 0 { Ok(found) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                DONE => return Ok(found),
                _ => found.push((kind, body.to_vec())),
            }
        }
        if flags & DUMP == 0 || found.len() > INTERFACES_MAX {
            return Ok(found);
        }
    }
}

/// `struct nlmsghdr`.
const MESSAGE_HEADER: usize = 16;

/// The messages of a datagram; ends at the first that is not whole.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32_of(rest)? as usize;
        let kind = u16_of(rest.get(4..)?)?;
        let body = rest.get(MESSAGE_HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The value of an attribute, of which only the lower 14 bits of the kind count.
fn find(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_of(rest)?);
        let kind = u16_of(rest.get(2..)?)? & 0x3fff;
        let value = rest.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn put(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn u16_of(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?))
}

fn u32_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_by_name_and_in_the_list() {
        let lo = interface("lo").unwrap().unwrap();
        assert_eq!((lo.name.as_str(), lo.loopback, lo.hardware), ("lo", true, false));
        assert!(interfaces().unwrap().iter().any(|other| other.index == lo.index));
        for name in ["", "sixteen-byte-name", "no such if"] {
            assert_eq!(interface(name).unwrap(), None, "{name}");
        }
    }

    #[test]
    fn broken_answers_end_the_reading() {
        let check = |bytes: &[u8]| assert_eq!(find(bytes, 7), None, "{bytes:?}");
        check(&[]);
        check(&[4, 0, 1]);
        // Attributes that are shorter than their own header, or longer than what is there.
        check(&[0, 0, 1, 0, 0, 0, 0, 0]);
        check(&[9, 0, 7, 0, 0, 0, 0, 0]);
        assert_eq!(find(&[4, 0, 1, 0, 6, 0, 7, 0, 1, 2], 7), Some(&[1, 2][..]));
        assert_eq!(messages(&[8, 0, 0, 0, 1, 0, 0, 0]).count(), 0);
    }
}
