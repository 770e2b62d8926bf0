//! Version 1: a line of text (specification 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::read::{Endpoints, Header, HeaderError, Parsed, Transport, Version, agrees};
use crate::tlv::Tlvs;

/// The longest line, CRLF included.
pub const LINE_MAX: usize = 107;

/// The shortest header of all is `PROXY UNKNOWN` and CRLF.
pub(crate) const SHORTEST: usize = 15;

const SIGNATURE: &[u8] = b"PROXY ";

pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, HeaderError> {
    if !agrees(bytes, SIGNATURE) {
        return Err(HeaderError::NotHeader);
    }
    let window = &bytes[..bytes.len().min(LINE_MAX)];
    let line = match window.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        // A single CR or LF does not end a line, nor may it be part of one.
        Some(at) if window[at] == b'\n' => return Err(HeaderError::Invalid),
        Some(at) => match bytes.get(at + 1) {
            _ if at + 2 > LINE_MAX => return Err(HeaderError::Invalid),
            Some(b'\n') => &bytes[..at],
            Some(_) => return Err(HeaderError::Invalid),
            None => return begun(window, 1),
        },
        None if window.len() >= LINE_MAX - 1 => return Err(HeaderError::Invalid),
        None => return begun(window, 2),
    };
    let length = line.len() + 2;
    let rest = &line[SIGNATURE.len()..];
    let protocol = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
    let addresses = rest.get(protocol.len() + 1..).unwrap_or_default();
    let endpoints = match protocol {
        // "the receiver must ignore anything presented before the CRLF is found"
        b"UNKNOWN" => None,
        b"TCP4" => Some(addresses_of::<Ipv4Addr>(addresses)?),
        b"TCP6" => Some(addresses_of::<Ipv6Addr>(addresses)?),
        _ => return Err(HeaderError::Unhandled),
    };
    Ok(Parsed::Header(Header { length, version: Version::V1, endpoints, tlvs: Tlvs::default() }))
}

/// A line that has not ended. A protocol that does not exist need not be waited for.
fn begun(line: &[u8], least: usize) -> Result<Parsed<'static>, HeaderError> {
    let rest = line.get(SIGNATURE.len()..).unwrap_or_default();
    let known: [&[u8]; 3] = [b"TCP4 ", b"TCP6 ", b"UNKNOWN"];
    let followed = rest.starts_with(b"UNKNOWN")
        && rest.get(b"UNKNOWN".len()).is_some_and(|byte| !matches!(byte, b' ' | b'\r'));
    if followed || !known.iter().any(|known| agrees(rest, known)) {
        return Err(HeaderError::Unhandled);
    }
    Ok(Parsed::NeedMore(SHORTEST.saturating_sub(line.len()).max(least)))
}

/// Source and destination address, source and destination port.
fn addresses_of<A: Address>(text: &[u8]) -> Result<Endpoints<'static>, HeaderError> {
    let mut words = text.split(|byte| *byte == b' ');
    let mut word = || words.next().ok_or(HeaderError::Invalid);
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (word()?, word()?);
    if words.next().is_some() {
        return Err(HeaderError::Invalid);
    }
    let end = |address, port_text| {
        let address = A::parse(address).ok_or(HeaderError::Invalid)?;
        Ok(SocketAddr::new(address, port(port_text).ok_or(HeaderError::Invalid)?))
    };
    Ok(Endpoints::Inet {
        transport: Transport::Stream,
        source: end(source, source_port)?,
        destination: end(destination, destination_port)?,
    })
}

/// 0 to 65535 without leading zeros.
fn port(text: &[u8]) -> Option<u16> {
    if text.is_empty() || (text.len() > 1 && text[0] == b'0') || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The two families. The standard library's parsers are as strict as the specification: no leading zeros in IPv4, one
/// `::` at most in IPv6; they also take IPv4 at the end of an IPv6 address, as inet_ntop(3) writes it and so senders do.
trait Address {
    fn parse(text: &[u8]) -> Option<IpAddr>;
}

impl Address for Ipv4Addr {
    fn parse(text: &[u8]) -> Option<IpAddr> {
        std::str::from_utf8(text).ok()?.parse::<Self>().ok().map(IpAddr::V4)
    }
}

impl Address for Ipv6Addr {
    fn parse(text: &[u8]) -> Option<IpAddr> {
        std::str::from_utf8(text).ok()?.parse::<Self>().ok().map(IpAddr::V6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &[u8]) -> String {
        match crate::parse(text) {
            Ok(Parsed::NeedMore(n)) => format!("+{n}"),
            Ok(Parsed::Header(header)) => match header.endpoints {
                None => format!("{} unknown", header.length),
                Some(Endpoints::Inet { transport: Transport::Stream, source, destination }) => {
                    format!("{} {source} {destination}", header.length)
                }
                Some(other) => format!("{other:?}"),
            },
            Err(error) => format!("{error:?}"),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(show(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn lines() {
        check("PROXY TCP4 192.0.2.7 192.0.2.1 5555 80\r\nGET", "40 192.0.2.7:5555 192.0.2.1:80");
        check("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", "44 255.255.255.255:65535 0.0.0.0:0");
        check("PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", "32 [2001:db8::1]:1 [::1]:2");
        check("PROXY TCP6 ::ffff:1.2.3.4 :: 1 2\r\n", "34 [::ffff:1.2.3.4]:1 [::]:2");
        let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        check(
            &format!("PROXY TCP6 {full} {full} 65535 65535\r\n"),
            &format!("104 [{full}]:65535 [{full}]:65535"),
        );
        check("PROXY UNKNOWN\r\n", "15 unknown");
        check("PROXY UNKNOWN anything, TCP4 \x01\u{fc} goes\r\nmore", "39 unknown");
        check(&format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n"), "107 unknown");
    }

    #[test]
    fn what_is_wrong() {
        for line in [
            "TCP4 192.0.2.7 192.0.2.1 65536 80",
            "TCP4 192.0.2.7 192.0.2.1 80 99999999999999999999",
            "TCP4 1.2.3.256 192.0.2.1 1 80",
            "TCP4 1.2.3 192.0.2.1 1 80",
            "TCP4 1.2.3.4.5 192.0.2.1 1 80",
            "TCP4 01.2.3.4 192.0.2.1 1 80",
            "TCP4 1.2.3.4 192.0.2.1 01 80",
            "TCP4 1.2.3.4 192.0.2.1 1 00",
            "TCP4 1.2.3.4 192.0.2.1 +1 80",
            "TCP4 1.2.3.4 192.0.2.1 -1 80",
            "TCP4 1.2.3.4 192.0.2.1 1 ",
            "TCP4 1.2.3.4 192.0.2.1 1",
            "TCP4 1.2.3.4 192.0.2.1 1 2 ",
            "TCP4 1.2.3.4 192.0.2.1 1 2 3",
            "TCP4  1.2.3.4 192.0.2.1 1 2",
            "TCP4 1.2.3.4\t192.0.2.1 1 2",
            "TCP4 ::1 ::1 1 2",
            "TCP6 1.2.3.4 1.2.3.4 1 2",
            "TCP6 ::1 1.2.3.4 1 2",
            "TCP6 1::2::3 ::1 1 2",
            "TCP6 12345::1 ::1 1 2",
            "TCP6 [::1] ::1 1 2",
            "TCP6 fe80::1%eth0 ::1 1 2",
            "TCP4",
            "TCP4 ",
        ] {
            check(&format!("PROXY {line}\r\n"), "Invalid");
        }
        for protocol in
            ["TCP5 1.2.3.4 1.2.3.4 1 2", "UDP4 1.2.3.4 1.2.3.4 1 2", "tcp4 1", "UNKNOWNS", "", " TCP4"]
        {
            check(&format!("PROXY {protocol}\r\n"), "Unhandled");
        }
        for text in ["POST / HTTP/1.1\r\n", "PROXX", "P ", "PROXY\r\n", "PROXY\tTCP4", "proxy TCP4"] {
            check(text, "NotHeader");
        }
        check("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "Invalid");
        check("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n", "Invalid");
        check("PROXY UNKNOWN a\nb\r\n", "Invalid");
        check("PROXY UNKNOWN a\rb\r\n", "Invalid");
    }

    #[test]
    fn length() {
        let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
        check(&line(107), "107 unknown");
        check(&line(108), "Invalid");
        check(&line(107)[..106], "+1");
        check(&line(108)[..106], "Invalid");
        check(&line(108)[..105], "+2");
        check(&line(300), "Invalid");
    }

    #[test]
    fn pieces() {
        check("", "+15");
        check("P", "+14");
        check("PROXY UNKNOWN", "+2");
        check("PROXY UNKNOWN\r", "+1");
        check("PROXY TCP4 1.2.3.4 ", "+2");
        check("PROXY TCP", "+6");
        check("PROXY TCP5", "Unhandled");
        check("PROXY UNKNOWNX", "Unhandled");
        check("PROXY TCP4X", "Unhandled");
    }
}
