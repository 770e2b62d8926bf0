//! Server names to addresses, once, at start (`init-addr`, manual 5.2).

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use sockeye_config::model::{Backend, Host, InitAddr, Server, ServerAddress, ServerPort};

use sockeye_syntax::address::Family;

use crate::backend::server::Destination;

/// What was found for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    To(Destination),
    /// No address, and `init-addr` allows that: the server waits in maintenance.
    Later,
}

/// Finds the address of a server by the steps of its `init-addr`.
///
/// # Errors
/// HAProxy's text when no step finds one.
pub fn server(backend: &Backend, server: &Server) -> Result<Resolved, String> {
    let (host, port) = match &server.address {
        ServerAddress::Unix(path) => return Ok(Resolved::To(Destination::Unix(path.clone()))),
        ServerAddress::Abstract { name, padded } => {
            let destination = Destination::Abstract { name: name.clone(), padded: *padded };
            return Ok(Resolved::To(destination));
        }
        ServerAddress::Inet { host, port } => (host, *port),
    };
    match host {
        Host::Ip(ip) => Ok(Resolved::To(at(*ip, port))),
        Host::Original => Ok(Resolved::To(Destination::Original(port))),
        Host::Name { name, family } => by_name(backend, server, (name, *family), port),
    }
}

fn at(ip: IpAddr, port: ServerPort) -> Destination {
    match port {
        ServerPort::Fixed(port) => Destination::Inet(SocketAddr::new(ip, port)),
        ServerPort::Offset(_) => Destination::Mapped(ip, port),
    }
}

fn by_name(
    backend: &Backend,
    server: &Server,
    (name, family): (&str, Option<Family>),
    port: ServerPort,
) -> Result<Resolved, String> {
    let default = [InitAddr::Last, InitAddr::Libc];
    let steps: &[InitAddr] = if server.init_addr.is_empty() { &default } else { &server.init_addr };
    for step in steps {
        match step {
            InitAddr::Last => {}
            InitAddr::Libc => {
                if let Some(ip) = lookup(name, family) {
                    return Ok(Resolved::To(at(ip, port)));
                }
            }
            InitAddr::Ip(ip) => return Ok(Resolved::To(at(*ip, port))),
            InitAddr::None => return Ok(Resolved::Later),
        }
    }
    Err(format!("'server {}/{}' : could not resolve address '{name}'.", backend.name, server.name))
}

/// The system's first address for a name, within a family if one is given.
pub fn lookup(name: &str, family: Option<Family>) -> Option<IpAddr> {
    let wanted = |ip: &IpAddr| match family {
        None => true,
        Some(Family::Ipv4) => ip.is_ipv4(),
        Some(Family::Ipv6) => ip.is_ipv6(),
    };
    (name, 0).to_socket_addrs().ok()?.map(|addr| addr.ip()).find(wanted)
}
