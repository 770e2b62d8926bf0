//! Socket options that socket2 has no name for.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The size of the one type that all these options take.
const INT_BYTES: libc::socklen_t = 4;
const _: () = assert!(size_of::<libc::c_int>() == 4);

fn set_int(fd: impl AsFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer is to a live c_int and the length is its size.
    let status = unsafe {
        libc::setsockopt(fd.as_fd().as_raw_fd(), level, option, (&raw const value).cast(), INT_BYTES)
    };
    if status == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn int(fd: impl AsFd, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = INT_BYTES;
    // SAFETY: the pointers are to live variables and `length` is the size of `value`.
    let status = unsafe {
        libc::getsockopt(fd.as_fd().as_raw_fd(), level, option, (&raw mut value).cast(), &mut length)
    };
    if status == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// `TCP_DEFER_ACCEPT`: report a connection only once it carries data, waiting up to `seconds`.
pub fn set_defer_accept(fd: impl AsFd, seconds: i32) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)
}

/// `TCP_FASTOPEN` on a listener: how many connections may be pending with data in their SYN.
pub fn set_fastopen(fd: impl AsFd, pending: i32) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, pending)
}

/// `TCP_FASTOPEN_CONNECT`: send the first data with the SYN when a cookie is known.
pub fn set_fastopen_connect(fd: impl AsFd) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1)
}

/// `IP_TRANSPARENT` / `IPV6_TRANSPARENT`: use addresses that are not the host's own. Needs CAP_NET_ADMIN.
pub fn set_transparent(fd: impl AsFd, v6: bool) -> io::Result<()> {
    if v6 {
        // The kernel's number; libc names it only for some targets.
        const IPV6_TRANSPARENT: libc::c_int = 75;
        set_int(fd, libc::IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    } else {
        set_int(fd, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1)
    }
}

/// `IP_BIND_ADDRESS_NO_PORT`: choose the source port at connect, when the destination is known, so that ports
/// are shared between destinations.
pub fn set_bind_address_no_port(fd: impl AsFd) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// `TCP_USER_TIMEOUT` in milliseconds.
pub fn set_user_timeout(fd: impl AsFd, milliseconds: i32) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, milliseconds)
}

/// `TCP_MAXSEG`.
pub fn set_maxseg(fd: impl AsFd, bytes: i32) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, bytes)
}

/// `TCP_QUICKACK`.
pub fn set_quickack(fd: impl AsFd, on: bool) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, on.into())
}

/// `TCP_REPAIR`: the socket leaves its protocol; closing it then sends nothing. Needs `CAP_NET_ADMIN`.
pub fn set_tcp_repair(fd: impl AsFd, on: bool) -> io::Result<()> {
    set_int(fd, libc::IPPROTO_TCP, libc::TCP_REPAIR, i32::from(on))
}

/// `SO_DOMAIN`: the address family, such as `AF_INET`, of an inherited socket.
pub fn domain(fd: impl AsFd) -> io::Result<i32> {
    int(fd, libc::SOL_SOCKET, libc::SO_DOMAIN)
}

/// `SO_ACCEPTCONN`: whether an inherited socket is listening already.
pub fn is_listening(fd: impl AsFd) -> io::Result<bool> {
    Ok(int(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN)? != 0)
}

/// `SO_COOKIE`: the number that names the socket to kernel programs, unique while the machine runs.
pub fn cookie(fd: impl AsFd) -> io::Result<u64> {
    let mut value: u64 = 0;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the pointers are to live variables and `length` is the size of `value`.
    let status = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_COOKIE,
            (&raw mut value).cast(),
            &mut length,
        )
    };
    if status == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// `SO_RCVLOWAT`: bytes that must have arrived before the socket counts as readable.
pub fn set_receive_low_water(fd: impl AsFd, bytes: i32) -> io::Result<()> {
    set_int(fd, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes)
}

/// Longest abstract name: `sun_path` less the leading zero byte.
const ABSTRACT_NAME_BYTES: usize = 107;

/// The address of an abstract unix socket (`abns@` fills the whole name with zero bytes, `abnsz@` ends where the
/// name ends).
///
/// # Errors
/// When the name is longer than a unix address.
pub fn abstract_address(name: &str, padded: bool) -> io::Result<socket2::SockAddr> {
    use std::os::unix::ffi::OsStrExt as _;
    let mut path = vec![0];
    path.extend_from_slice(name.as_bytes());
    if padded && path.len() <= ABSTRACT_NAME_BYTES {
        path.resize(ABSTRACT_NAME_BYTES + 1, 0);
    }
    socket2::SockAddr::unix(std::ffi::OsStr::from_bytes(&path))
}
