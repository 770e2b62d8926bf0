//! Interfaces, addresses and routes, as the kernel tells them over netlink (rtnetlink(7)).
//!
//! Netlink and not /sys or /proc: it works behind a `chroot` and needs no privileges. Answers are read whole;
//! [`changes`] only says that something has changed, whoever wants to know what reads again.

mod parse;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with, sockopt,
};

use parse::{Answer, Request};

/// Bytes of one read: the kernel never sends more than 32 KiB at once.
const READ_BYTES: usize = 32 * 1024;
/// Bytes of one answer: some ten thousand interfaces or addresses.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long the kernel may take for an answer, which it composes while we ask.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// Reads after which [`drain`] leaves the rest for later.
const DRAIN_READS_MAX: usize = 256;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub index: u32,
    pub name: String,
    /// Largest IP packet.
    pub mtu: u32,
    /// Switched on (`IFF_UP`), with a carrier or without.
    pub up: bool,
    pub loopback: bool,
    /// Its packets have an Ethernet header, as those of the loopback interface do.
    pub ethernet: bool,
    /// What it is, if it is a VLAN of another interface.
    pub vlan: Option<Vlan>,
}

/// A VLAN (IEEE 802.1Q).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// Index of the interface that its frames leave through.
    pub parent: u32,
    pub id: u16,
    /// Ethernet type of its tag: 0x8100, or 0x88a8 for those of providers.
    pub protocol: u16,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Index of the interface.
    pub interface: u32,
    pub address: IpAddr,
    /// Bits of the network.
    pub prefix: u8,
}

/// The way to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Index of the interface that leads there.
    pub interface: u32,
    /// The address we would speak from.
    pub source: Option<IpAddr>,
    /// The next hop; `None` when the network is connected.
    pub gateway: Option<IpAddr>,
    /// Largest IP packet, where the route knows another one than its interface.
    pub mtu: Option<u32>,
    /// The address is our own.
    pub local: bool,
}

/// All interfaces of the network namespace.
///
/// # Errors
/// When the kernel refuses, or answers nothing in time.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    ask(&Request::interfaces(), parse::interface)
}

/// All addresses of all interfaces.
///
/// # Errors
/// As for [`interfaces`].
pub fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    ask(&Request::addresses(), parse::address)
}

/// The way to `address`.
///
/// # Errors
/// When there is none, or as for [`interfaces`].
pub fn route(address: IpAddr) -> io::Result<Route> {
    let routes = ask(&Request::route(address), parse::route)?;
    routes.into_iter().next().ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
}

/// Asks, and reads all answers that `parse` makes something of.
fn ask<T>(request: &Request, parse: impl Fn(&Answer<'_>) -> Option<T>) -> io::Result<Vec<T>> {
    let socket = open(SocketFlags::CLOEXEC, 0)?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER_TIME_MAX))?;
    send(&socket, request.bytes(), SendFlags::empty())?;
    let mut buffer = vec![0; READ_BYTES];
    let (mut found, mut total) = (Vec::new(), 0);
    loop {
        let (_, length) = recv(&socket, &mut buffer[..], RecvFlags::TRUNC)?;
        total += length;
        if length > buffer.len() || total > ANSWER_BYTES_MAX {
            return Err(io::Error::other("netlink: an answer that is too long"));
        }
        for answer in parse::answers(&buffer[..length]) {
            match answer? {
                Some(answer) => found.extend(parse(&answer)),
                None => return Ok(found),
            }
            if !request.is_dump() {
                return Ok(found);
            }
        }
    }
}

fn open(flags: SocketFlags, groups: u32) -> io::Result<OwnedFd> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// A socket that becomes readable when interfaces, addresses or routes change; [`drain`] empties it.
///
/// # Errors
/// When the kernel refuses the socket.
pub fn changes() -> io::Result<OwnedFd> {
    open(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, parse::GROUPS)
}

/// Takes what has been reported; what it was is not looked at, so that a lost report loses nothing.
pub fn drain(changes: impl AsFd) {
    let mut buffer = [0; 4096];
    for _ in 0..DRAIN_READS_MAX {
        match recv(&changes, &mut buffer[..], RecvFlags::TRUNC) {
            // The queue was too short: there is more to read, and that is all we want to know.
            Ok(_) | Err(rustix::io::Errno::NOBUFS) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_there() {
        let all = interfaces().unwrap();
        let lo = all.iter().find(|interface| interface.loopback).unwrap();
        assert_eq!((lo.name.as_str(), lo.mtu > 1500), ("lo", true));
        if lo.up {
            let ours: IpAddr = "127.0.0.1".parse().unwrap();
            let wanted = InterfaceAddress { interface: lo.index, address: ours, prefix: 8 };
            assert!(addresses().unwrap().contains(&wanted));
            let way = route(ours).unwrap();
            assert_eq!((way.interface, way.gateway, way.local), (lo.index, None, true));
        }
    }

    #[test]
    fn an_unwatched_change_does_not_block() {
        drain(changes().unwrap());
    }
}
