//! Address formats (manual §2.9): what follows `bind`, `server`, `log`, `source`, `addr`.
//!
//! Host names stay names: resolving them at start is the daemon's. The port is behind the last colon, also in
//! `::1:80`, unless the address ends with a bracket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// An address as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub host: Host,
    pub port: Port,
    pub socket: SocketType,
    /// `mptcp@`: Multipath TCP.
    pub mptcp: bool,
}

/// The address without port and socket type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// `*` or nothing before the port: all of IPv4, or on a server the address of the connection.
    AnyIpv4,
    Ip(IpAddr),
    /// To be resolved at start, within the family if one was forced.
    Name {
        name: String,
        family: Option<Family>,
    },
    /// `unix@`, `uxst@`, `uxdg@` or a leading slash.
    Unix(String),
    /// `abns@`: abstract, the name padded with zeroes to the full length.
    Abstract(String),
    /// `abnsz@`: abstract, as long as its name.
    AbstractTerminated(String),
    /// `fd@N`: inherited.
    Descriptor(i32),
    /// `sockpair@N`: a connected socket that hands over others.
    Sockpair(i32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Ipv4,
    Ipv6,
}

/// Stream or datagram: the caller's default, or what a prefix forces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketType {
    Stream,
    Datagram,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// None was written, or the family has none.
    None,
    Fixed(u16),
    /// `80-90`, both ends included; only where ranges are allowed.
    Range(RangeInclusive<u16>),
    /// `+N` or `-N`: relative to the port of the client's connection; only where offsets are allowed.
    Offset(i32),
}

/// What a statement accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseOptions {
    pub port: PortPolicy,
    pub ranges: bool,
    pub offsets: bool,
    /// Whether a host name may stand for the address.
    pub names: bool,
    /// `fd@`.
    pub descriptors: bool,
    /// `sockpair@`.
    pub sockpairs: bool,
    /// What it is without a prefix.
    pub default_socket: SocketType,
    pub stream: bool,
    pub datagram: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortPolicy {
    Required,
    Optional,
    Forbidden,
}

impl ParseOptions {
    /// Addresses of `bind`: a port or range is needed.
    pub const BIND: Self = Self {
        port: PortPolicy::Required,
        ranges: true,
        offsets: false,
        names: true,
        descriptors: true,
        sockpairs: true,
        default_socket: SocketType::Stream,
        stream: true,
        datagram: false,
    };
    /// The address of `server`.
    pub const SERVER: Self = Self {
        port: PortPolicy::Optional,
        ranges: false,
        offsets: true,
        names: true,
        descriptors: false,
        sockpairs: true,
        default_socket: SocketType::Stream,
        stream: true,
        datagram: false,
    };
    /// The target of `log`: datagram unless a prefix says otherwise.
    pub const LOG: Self = Self {
        port: PortPolicy::Optional,
        ranges: false,
        offsets: false,
        names: true,
        descriptors: true,
        sockpairs: false,
        default_socket: SocketType::Datagram,
        stream: true,
        datagram: true,
    };
    /// `source` of a backend.
    pub const SOURCE: Self = Self {
        port: PortPolicy::Optional,
        ranges: false,
        offsets: false,
        names: true,
        descriptors: false,
        sockpairs: false,
        default_socket: SocketType::Stream,
        stream: true,
        datagram: false,
    };
    /// `source` of a server: a range of ports is a pool of them.
    pub const SERVER_SOURCE: Self = Self { ranges: true, ..Self::SOURCE };
    /// `addr` of a server or check.
    pub const CHECK: Self = Self::SOURCE;
}

/// Bytes of a unix socket's path: what the kernel takes, less the suffix of the name it is bound under first.
pub const UNIX_PATH_MAX: usize = 97;

/// Bytes of an abstract socket's name, its leading NUL not counted.
pub const ABSTRACT_NAME_MAX: usize = 107;

/// Reads one address. The error is HAProxy's text, which callers put behind the name of their keyword.
pub fn parse_address(text: &str, options: ParseOptions) -> Result<Address, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    let (prefix, rest) = Prefix::take(text, options.default_socket);
    if prefix.quic {
        return Err(AddressError::Quic { text: text.to_owned() });
    }
    if prefix.family == PrefixFamily::Rhttp {
        return Err(AddressError::ReverseHttp { text: text.to_owned() });
    }
    let (host, port) = match prefix.family {
        PrefixFamily::Unix if rest.len() > UNIX_PATH_MAX => {
            return Err(AddressError::PathTooLong { path: text.to_owned(), max: UNIX_PATH_MAX });
        }
        PrefixFamily::Abstract | PrefixFamily::AbstractTerminated if rest.len() > ABSTRACT_NAME_MAX => {
            return Err(AddressError::PathTooLong { path: text.to_owned(), max: ABSTRACT_NAME_MAX });
        }
        PrefixFamily::Unix => (Host::Unix(rest.to_owned()), Port::None),
        PrefixFamily::Abstract => (Host::Abstract(rest.to_owned()), Port::None),
        PrefixFamily::AbstractTerminated => (Host::AbstractTerminated(rest.to_owned()), Port::None),
        PrefixFamily::Descriptor if !options.descriptors => {
            return Err(AddressError::DescriptorRefused { text: text.to_owned() });
        }
        PrefixFamily::Sockpair if !options.sockpairs => {
            return Err(AddressError::DescriptorRefused { text: text.to_owned() });
        }
        PrefixFamily::Descriptor => (Host::Descriptor(descriptor(rest, text)?), Port::None),
        PrefixFamily::Sockpair => (Host::Sockpair(descriptor(rest, text)?), Port::None),
        PrefixFamily::Inet(family) => internet(rest, family, text, options)?,
        PrefixFamily::Rhttp => return Err(AddressError::ReverseHttp { text: text.to_owned() }),
    };
    let accepted = match prefix.socket {
        SocketType::Stream => options.stream,
        SocketType::Datagram => options.datagram,
    };
    if !accepted {
        let socket = match prefix.socket {
            SocketType::Stream => "stream",
            SocketType::Datagram => "dgram",
        };
        return Err(AddressError::SocketTypeRefused { socket, text: text.to_owned() });
    }
    Ok(Address { host, port, socket: prefix.socket, mptcp: prefix.mptcp })
}

/// Reads the comma-separated addresses of `bind`; a comma at the very end is ignored.
pub fn parse_addresses(text: &str, options: ParseOptions) -> Result<Vec<Address>, AddressError> {
    text.strip_suffix(',').unwrap_or(text).split(',').map(|one| parse_address(one, options)).collect()
}

/// Why an address is none; the texts are HAProxy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("'' resolves to an empty address (environment variable missing?)")]
    Empty,
    #[error("invalid address: '{host}' in '{text}'")]
    Invalid { host: String, text: String },
    #[error("missing port specification in '{text}'")]
    PortMissing { text: String },
    #[error("port specification not permitted here in '{text}'")]
    PortRefused { text: String },
    #[error("invalid port '{port}'")]
    PortInvalid { port: String },
    #[error("invalid port range '{range}'")]
    RangeInvalid { range: String },
    #[error("port range not permitted here in '{text}'")]
    RangeRefused { text: String },
    #[error("port offset not permitted here in '{text}'")]
    OffsetRefused { text: String },
    #[error("invalid character '{character}' in port number '{port}' in '{text}'")]
    PortCharacter { character: char, port: String, text: String },
    #[error("file descriptor '{number}' is not a valid integer in '{text}'")]
    Descriptor { number: String, text: String },
    #[error("a file descriptor is not acceptable here in '{text}'")]
    DescriptorRefused { text: String },
    #[error("{socket}-type address not acceptable in '{text}'")]
    SocketTypeRefused { socket: &'static str, text: String },
    #[error("socket path '{path}' too long (max {max})")]
    PathTooLong { path: String, max: usize },
    #[error(
        "unsupported stream protocol for datagram address '{text}'; QUIC is not compiled in if this is what you were looking for"
    )]
    Quic { text: String },
    #[error("reverse HTTP address '{text}' is not implemented yet")]
    ReverseHttp { text: String },
}

/// What stands before the last `@`-prefix that is known.
struct Prefix {
    family: PrefixFamily,
    socket: SocketType,
    mptcp: bool,
    quic: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PrefixFamily {
    /// With the family that was forced.
    Inet(Option<Family>),
    Unix,
    Abstract,
    AbstractTerminated,
    Descriptor,
    Sockpair,
    Rhttp,
}

impl Prefix {
    /// Splits `stream+ipv4@...` and its kin from the address. An unknown prefix is no prefix: it will be no valid
    /// host name either.
    fn take(text: &str, default: SocketType) -> (Self, &str) {
        use PrefixFamily::{Abstract, AbstractTerminated, Descriptor, Inet, Rhttp, Sockpair, Unix};
        use SocketType::{Datagram, Stream};
        let forced = [("stream+", Stream, false), ("dgram+", Datagram, false), ("quic+", Datagram, true)];
        let (forced, rest) = forced
            .iter()
            .find_map(|(name, socket, quic)| Some((Some((*socket, *quic)), text.strip_prefix(name)?)))
            .unwrap_or((None, text));
        let v4 = Inet(Some(Family::Ipv4));
        let v6 = Inet(Some(Family::Ipv6));
        let plain = |family| (family, None, false, false);
        let known = |name: &str| {
            Some(match name {
                "ip" => plain(Inet(None)),
                "ipv4" => plain(v4),
                "ipv6" => plain(v6),
                "unix" => plain(Unix),
                "abns" => plain(Abstract),
                "abnsz" => plain(AbstractTerminated),
                "fd" => plain(Descriptor),
                "sockpair" => plain(Sockpair),
                "rhttp" => plain(Rhttp),
                "tcp" => (Inet(None), Some(Stream), false, false),
                "tcp4" => (v4, Some(Stream), false, false),
                "tcp6" => (v6, Some(Stream), false, false),
                "mptcp" => (Inet(None), Some(Stream), true, false),
                "mptcp4" => (v4, Some(Stream), true, false),
                "mptcp6" => (v6, Some(Stream), true, false),
                "udp" => (Inet(None), Some(Datagram), false, false),
                "udp4" => (v4, Some(Datagram), false, false),
                "udp6" => (v6, Some(Datagram), false, false),
                "quic4" => (v4, Some(Datagram), false, true),
                "quic6" => (v6, Some(Datagram), false, true),
                "uxst" => (Unix, Some(Stream), false, false),
                "uxdg" => (Unix, Some(Datagram), false, false),
                _ => return None,
            })
        };
        let found = rest.split_once('@').and_then(|(name, tail)| Some((known(name)?, tail)));
        let (family, socket, mptcp, quic, tail) = match found {
            Some(((family, socket, mptcp, quic), tail)) => (family, socket, mptcp, quic, tail),
            None if rest.starts_with('/') => (Unix, None, false, false, rest),
            // `stream+` alone means nothing: the whole text is the address then.
            None => (Inet(None), None, false, false, text),
        };
        let (socket, quic) = match (forced, socket) {
            (Some((socket, quic_too)), _) => (socket, quic || quic_too),
            (None, Some(socket)) => (socket, quic),
            (None, None) => (default, quic),
        };
        (Self { family, socket, mptcp, quic }, tail)
    }
}

fn descriptor(number: &str, text: &str) -> Result<i32, AddressError> {
    number
        .parse::<i32>()
        .ok()
        .filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| AddressError::Descriptor { number: number.to_owned(), text: text.to_owned() })
}

/// Host and port of an internet address.
fn internet(
    rest: &str,
    family: Option<Family>,
    text: &str,
    options: ParseOptions,
) -> Result<(Host, Port), AddressError> {
    // A bracket at the end says that there is no port; else the port is behind the last colon.
    let (host, port) = if rest.ends_with(']') {
        (rest, None)
    } else {
        rest.rsplit_once(':').map_or((rest, None), |(host, port)| (host, Some(port)))
    };
    let port = match port {
        None | Some("") => Port::None,
        Some(port) => parse_port(port, text, options)?,
    };
    match (options.port, &port) {
        (PortPolicy::Required, Port::None) => {
            return Err(AddressError::PortMissing { text: text.to_owned() });
        }
        (PortPolicy::Forbidden, Port::Fixed(_) | Port::Range(_) | Port::Offset(_)) => {
            return Err(AddressError::PortRefused { text: text.to_owned() });
        }
        _ => {}
    }
    Ok((parse_host(host, family, text, options)?, port))
}

fn parse_host(
    host: &str,
    family: Option<Family>,
    text: &str,
    options: ParseOptions,
) -> Result<Host, AddressError> {
    let invalid = || AddressError::Invalid { host: host.to_owned(), text: text.to_owned() };
    if host.is_empty() || host == "*" {
        return Ok(match family {
            Some(Family::Ipv6) => Host::Ip(Ipv6Addr::UNSPECIFIED.into()),
            _ => Host::AnyIpv4,
        });
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        let fits = match family {
            None => true,
            Some(Family::Ipv4) => ip.is_ipv4(),
            Some(Family::Ipv6) => ip.is_ipv6(),
        };
        return match ip {
            _ if !fits => Err(invalid()),
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ok(Host::AnyIpv4),
            ip => Ok(Host::Ip(ip)),
        };
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    // Link-local addresses name their interface: `fe80::1%eth0`. The resolver reads them.
    let scoped = bare.split_once('%').is_some_and(|(ip, scope)| {
        ip.parse::<Ipv6Addr>().is_ok() && !scope.is_empty() && scope.bytes().all(allowed)
    });
    let name_like =
        scoped || (bare == host && host.bytes().all(allowed) && host != "-" && !host.contains(".."));
    if !options.names || !name_like {
        return Err(invalid());
    }
    Ok(Host::Name { name: bare.to_owned(), family })
}

fn parse_port(port: &str, text: &str, options: ParseOptions) -> Result<Port, AddressError> {
    let unexpected = |digits: &str| {
        digits.chars().find(|character| !character.is_ascii_digit()).map(|character| {
            AddressError::PortCharacter { character, port: digits.to_owned(), text: text.to_owned() }
        })
    };
    let number = |digits: &str, low: u16| {
        if let Some(error) = unexpected(digits.trim_start_matches('-')) {
            return Err(error);
        }
        digits
            .parse::<u16>()
            .ok()
            .filter(|port| *port >= low)
            .ok_or_else(|| AddressError::PortInvalid { port: digits.to_owned() })
    };
    if let Some(digits) = port.strip_prefix(['+', '-']) {
        if !options.offsets {
            return Err(AddressError::OffsetRefused { text: text.to_owned() });
        }
        if let Some(error) = unexpected(digits) {
            return Err(error);
        }
        let value = if digits.is_empty() { Ok(0) } else { digits.parse::<i32>() };
        let value = value.map_err(|_| AddressError::PortInvalid { port: port.to_owned() })?;
        return Ok(Port::Offset(if port.starts_with('-') { -value } else { value }));
    }
    let low = u16::from(options.port == PortPolicy::Required);
    if let Some((first, last)) = port.split_once('-') {
        if let Some(error) = unexpected(first) {
            return Err(error);
        }
        if !options.ranges {
            return Err(AddressError::RangeRefused { text: text.to_owned() });
        }
        let (first, last) = (number(first, low)?, number(last, low)?);
        if first > last {
            return Err(AddressError::RangeInvalid { range: port.to_owned() });
        }
        return Ok(Port::Range(first..=last));
    }
    Ok(match number(port, low)? {
        0 => Port::None,
        port => Port::Fixed(port),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address in a short notation of its own: `HOST|PORT`, with the socket type where it is not a stream.
    fn check(options: ParseOptions, cases: &[(&str, Result<&str, &str>)]) {
        for (text, expected) in cases {
            let found =
                parse_address(text, options).map(|address| show(&address)).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), *expected, "{text}");
        }
    }

    fn show(address: &Address) -> String {
        let host = match &address.host {
            Host::AnyIpv4 => "*".to_owned(),
            Host::Ip(ip) => ip.to_string(),
            Host::Name { name, family: None } => format!("name {name}"),
            Host::Name { name, family: Some(family) } => format!("name {name} {family:?}"),
            Host::Unix(path) => format!("unix {path}"),
            Host::Abstract(name) => format!("abns {name}"),
            Host::AbstractTerminated(name) => format!("abnsz {name}"),
            Host::Descriptor(number) => format!("fd {number}"),
            Host::Sockpair(number) => format!("sockpair {number}"),
        };
        let port = match &address.port {
            Port::None => String::new(),
            Port::Fixed(port) => format!("|{port}"),
            Port::Range(range) => format!("|{}..{}", range.start(), range.end()),
            Port::Offset(offset) => format!("|{offset:+}"),
        };
        let socket = match (address.socket, address.mptcp) {
            (SocketType::Stream, false) => "",
            (SocketType::Stream, true) => " mptcp",
            (SocketType::Datagram, _) => " datagram",
        };
        format!("{host}{port}{socket}")
    }

    #[test]
    fn bind() {
        check(
            ParseOptions::BIND,
            &[
                (":80", Ok("*|80")),
                ("*:80", Ok("*|80")),
                ("0.0.0.0:80", Ok("*|80")),
                ("1.2.3.4:80", Ok("1.2.3.4|80")),
                ("1.2.3.4:080", Ok("1.2.3.4|80")),
                ("ipv4@:80", Ok("*|80")),
                ("ipv6@:80", Ok("::|80")),
                ("ipv6@*:80", Ok("::|80")),
                (":::80", Ok("::|80")),
                ("[::]:80", Ok("::|80")),
                ("::1:80", Ok("::1|80")),
                ("[::1]:80", Ok("::1|80")),
                ("*:80-90", Ok("*|80..90")),
                ("1.1.1.1:80-80", Ok("1.1.1.1|80..80")),
                ("tcp@1.2.3.4:80", Ok("1.2.3.4|80")),
                ("tcp6@[::]:80", Ok("::|80")),
                ("mptcp@:80", Ok("*|80 mptcp")),
                ("stream+ipv4@:80", Ok("*|80")),
                ("localhost:80", Ok("name localhost|80")),
                ("ipv6@localhost:80", Ok("name localhost Ipv6|80")),
                ("fe80::1%eth0:80", Ok("name fe80::1%eth0|80")),
                ("/run/a.sock", Ok("unix /run/a.sock")),
                ("/run/a:80", Ok("unix /run/a:80")),
                ("unix@run/a.sock", Ok("unix run/a.sock")),
                ("uxst@/x", Ok("unix /x")),
                ("abns@name", Ok("abns name")),
                ("abnsz@name", Ok("abnsz name")),
                ("fd@5", Ok("fd 5")),
                ("sockpair@5", Ok("sockpair 5")),
                ("", Err("'' resolves to an empty address (environment variable missing?)")),
                ("1.2.3.4", Err("missing port specification in '1.2.3.4'")),
                ("1.2.3.4:", Err("missing port specification in '1.2.3.4:'")),
                ("[::1]", Err("missing port specification in '[::1]'")),
                ("80", Err("missing port specification in '80'")),
                ("::1", Err("invalid address: ':' in '::1'")),
                (":0", Err("invalid port '0'")),
                (":70000", Err("invalid port '70000'")),
                (":80-70000", Err("invalid port '70000'")),
                (":0-10", Err("invalid port '0'")),
                (":1-", Err("invalid port ''")),
                (":80--90", Err("invalid port '-90'")),
                ("*:90-80", Err("invalid port range '90-80'")),
                (":abc", Err("invalid character 'a' in port number 'abc' in ':abc'")),
                (":80-x", Err("invalid character 'x' in port number 'x' in ':80-x'")),
                (":80+1", Err("invalid character '+' in port number '80+1' in ':80+1'")),
                ("*:-80", Err("port offset not permitted here in '*:-80'")),
                (":+80", Err("port offset not permitted here in ':+80'")),
                ("ipv4@::1:80", Err("invalid address: '::1' in 'ipv4@::1:80'")),
                ("tcp6@1.2.3.4:80", Err("invalid address: '1.2.3.4' in 'tcp6@1.2.3.4:80'")),
                ("foo@1.2.3.4:80", Err("invalid address: 'foo@1.2.3.4' in 'foo@1.2.3.4:80'")),
                ("udp@:80", Err("dgram-type address not acceptable in 'udp@:80'")),
                ("uxdg@/tmp/x", Err("dgram-type address not acceptable in 'uxdg@/tmp/x'")),
                ("dgram+ipv4@:80", Err("dgram-type address not acceptable in 'dgram+ipv4@:80'")),
                ("fd@x", Err("file descriptor 'x' is not a valid integer in 'fd@x'")),
                ("fd@", Err("file descriptor '' is not a valid integer in 'fd@'")),
                ("fd@-1", Err("file descriptor '-1' is not a valid integer in 'fd@-1'")),
                (
                    "quic4@:80",
                    Err(
                        "unsupported stream protocol for datagram address 'quic4@:80'; QUIC is not compiled in if this is what you were looking for",
                    ),
                ),
                ("rhttp@b/s", Err("reverse HTTP address 'rhttp@b/s' is not implemented yet")),
            ],
        );
        let long = format!("/{}", "a".repeat(UNIX_PATH_MAX));
        let message = format!("socket path '{long}' too long (max 97)");
        check(
            ParseOptions::BIND,
            &[
                (&long, Err(&message)),
                (&long[1..], Err(&format!("missing port specification in '{}'", &long[1..]))),
            ],
        );
    }

    #[test]
    fn server() {
        check(
            ParseOptions::SERVER,
            &[
                ("1.2.3.4", Ok("1.2.3.4")),
                ("1.2.3.4:80", Ok("1.2.3.4|80")),
                ("1.2.3.4:0", Ok("1.2.3.4")),
                ("1.2.3.4:", Ok("1.2.3.4")),
                ("1.2.3.4:+80", Ok("1.2.3.4|+80")),
                ("1.2.3.4:-10", Ok("1.2.3.4|-10")),
                ("1.2.3.4:+", Ok("1.2.3.4|+0")),
                ("*", Ok("*")),
                ("web_1.example:80", Ok("name web_1.example|80")),
                ("[1.2.3.4]:80", Ok("1.2.3.4|80")),
                ("[fe80::1]", Ok("fe80::1")),
                ("sockpair@3", Ok("sockpair 3")),
                ("1.2.3.4:80-90", Err("port range not permitted here in '1.2.3.4:80-90'")),
                ("1.2.3.4:x", Err("invalid character 'x' in port number 'x' in '1.2.3.4:x'")),
                ("1.2.3.4:80x", Err("invalid character 'x' in port number '80x' in '1.2.3.4:80x'")),
                ("1.2.3.4:+x", Err("invalid character 'x' in port number 'x' in '1.2.3.4:+x'")),
                ("1.2.3.4:99999", Err("invalid port '99999'")),
                ("fd@5", Err("a file descriptor is not acceptable here in 'fd@5'")),
                ("1.2.3.4:80:81", Err("invalid address: '1.2.3.4:80' in '1.2.3.4:80:81'")),
                ("@foo", Err("invalid address: '@foo' in '@foo'")),
                ("[::1:80", Err("invalid address: '[::1' in '[::1:80'")),
                ("[]:80", Err("invalid address: '[]' in '[]:80'")),
                ("tcp@/x", Err("invalid address: '/x' in 'tcp@/x'")),
                ("a..b:80", Err("invalid address: 'a..b' in 'a..b:80'")),
            ],
        );
    }

    #[test]
    fn log_and_source() {
        check(
            ParseOptions::LOG,
            &[
                ("1.2.3.4:514", Ok("1.2.3.4|514 datagram")),
                ("127.0.0.1", Ok("127.0.0.1 datagram")),
                ("/dev/log", Ok("unix /dev/log datagram")),
                ("tcp@1.2.3.4:514", Ok("1.2.3.4|514")),
                ("fd@1", Ok("fd 1 datagram")),
                ("1.2.3.4:500-600", Err("port range not permitted here in '1.2.3.4:500-600'")),
                ("1.2.3.4:+5", Err("port offset not permitted here in '1.2.3.4:+5'")),
            ],
        );
        check(ParseOptions::SERVER_SOURCE, &[("0.0.0.0:1024-2048", Ok("*|1024..2048"))]);
        let forbidden = ParseOptions { port: PortPolicy::Forbidden, ..ParseOptions::SOURCE };
        check(forbidden, &[("1.2.3.4:80", Err("port specification not permitted here in '1.2.3.4:80'"))]);
    }

    #[test]
    fn several() {
        let shown = |text| {
            parse_addresses(text, ParseOptions::BIND)
                .map(|all| all.iter().map(show).collect::<Vec<_>>().join(" "))
                .map_err(|error| error.to_string())
        };
        assert_eq!(shown("1.2.3.4:80,:81,"), Ok("1.2.3.4|80 *|81".to_owned()));
        assert_eq!(shown("/a,/b"), Ok("unix /a unix /b".to_owned()));
        assert_eq!(shown(":80,,:81"), Err(AddressError::Empty.to_string()));
    }

    #[test]
    fn any_text_is_an_address_or_an_error() {
        proptest::proptest!(|(text in "([a-z0-9@+]{0,6}@)?[-+:.*\\[\\]0-9a-f%/é]{0,24}")| {
            for options in [ParseOptions::BIND, ParseOptions::SERVER, ParseOptions::LOG] {
                let _ = parse_addresses(&text, options);
            }
        });
    }
}
