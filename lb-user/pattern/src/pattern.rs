//! One pattern as a method reads it: ranges, networks, bytes.

use std::net::{IpAddr, Ipv4Addr};

/// Numbers from `min` to `max`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl Range {
    pub(crate) fn contains(self, value: i64) -> bool {
        self.min <= value && value <= self.max
    }

    /// `5`, `1:10`, `1:`, `:10`; with dots for versions (`1.1`), each number is taken as major and minor.
    ///
    /// # Errors
    /// When it is none of these.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not a number");
        let one = |text: &str| number(text).ok_or_else(wrong);
        match text.split_once(':') {
            None => one(text).map(|value| Self { min: value, max: value }),
            Some(("", "")) => Err(wrong()),
            Some((min, "")) => Ok(Self { min: one(min)?, max: i64::MAX }),
            Some(("", max)) => Ok(Self { min: i64::MIN, max: one(max)? }),
            Some((min, max)) => {
                let (min, max) = (one(min)?, one(max)?);
                if min > max { Err(wrong()) } else { Ok(Self { min, max }) }
            }
        }
    }

    /// The range that an operator and a number mean: `gt 5`.
    ///
    /// # Errors
    /// When the number is none.
    pub(crate) fn of_operator(operator: &str, text: &str) -> Result<Self, String> {
        let value = number(text).ok_or_else(|| format!("'{text}' is not a number"))?;
        Ok(match operator {
            "gt" => Self { min: value.saturating_add(1), max: i64::MAX },
            "ge" => Self { min: value, max: i64::MAX },
            "lt" => Self { min: i64::MIN, max: value.saturating_sub(1) },
            "le" => Self { min: i64::MIN, max: value },
            _ => Self { min: value, max: value },
        })
    }
}

/// An integer, or a version: 16 bits of major and 16 of minor, as TLS and PROXY versions are compared.
fn number(text: &str) -> Option<i64> {
    if let Some((major, minor)) = text.split_once('.') {
        let (major, minor) = (major.parse::<u16>().ok()?, minor.parse::<u16>().ok()?);
        return Some((i64::from(major) << 16) + i64::from(minor));
    }
    text.parse().ok()
}

/// How host names become addresses, if they do.
pub(crate) type Names<'a> = Option<&'a dyn Fn(&str) -> Option<IpAddr>>;

/// Addresses with some bits in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// An address, and how many of its first bits count.
    Prefix(IpAddr, u8),
    /// An IPv4 address and the bits that count, which have a hole.
    Masked(u32, u32),
}

/// Reads an address or a network (manual 7.1.6).
///
/// # Errors
/// When it is no address, network or (with `names`) host name.
pub(crate) fn network(text: &str, names: Names<'_>) -> Result<Network, String> {
    let wrong = || format!("'{text}' is not a valid IPv4 or IPv6 address");
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let address: IpAddr = match address.parse().ok().or_else(|| short_ipv4(address)) {
        Some(address) => address,
        None => names.and_then(|resolve| resolve(address)).ok_or_else(wrong)?,
    };
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let Some(mask) = mask else { return Ok(Network::Prefix(address, bits)) };
    if let Ok(length) = mask.parse::<u8>() {
        return if length <= bits { Ok(Network::Prefix(address, length)) } else { Err(wrong()) };
    }
    let (IpAddr::V4(v4), Ok(mask)) = (address, mask.parse::<Ipv4Addr>()) else { return Err(wrong()) };
    let mask = mask.to_bits();
    Ok(match u8::try_from(mask.leading_ones()) {
        Ok(length) if mask.leading_ones() == mask.count_ones() => Network::Prefix(address, length),
        _ => Network::Masked(v4.to_bits(), mask),
    })
}

/// `192.168.1` is 192.168.0.1: the last number stands for all bytes that are not written.
fn short_ipv4(text: &str) -> Option<IpAddr> {
    let (begin, last) = text.rsplit_once('.')?;
    let mut octets = [0; 4];
    let mut written = 0;
    for part in begin.split('.') {
        *octets.get_mut(written)? = part.parse().ok()?;
        written += 1;
    }
    let last: u32 = last.parse().ok()?;
    let rest = 32_u32.checked_sub(u32::try_from(written * 8).ok()?).filter(|rest| *rest > 0)?;
    if u64::from(last) >> rest != 0 {
        return None;
    }
    Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_be_bytes(octets) | last)))
}

/// Bytes from hexadecimal digits.
///
/// # Errors
/// For an odd number of digits, or what is none.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        _ => Err(format!("'{text}' is not a sequence of bytes in hexadecimal")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        #[track_caller]
        fn check(text: &str, expected: Option<(i64, i64)>) {
            assert_eq!(Range::parse(text).ok().map(|range| (range.min, range.max)), expected, "{text}");
        }
        check("80", Some((80, 80)));
        check("1024:65535", Some((1024, 65535)));
        check("1024:", Some((1024, i64::MAX)));
        check(":5", Some((i64::MIN, 5)));
        check("-5:-1", Some((-5, -1)));
        check("5:1", None);
        check("x", None);
        check(":", None);
        check("3.1", Some((0x3_0001, 0x3_0001)));
    }

    #[test]
    fn networks() {
        #[track_caller]
        fn check(text: &str, expected: Option<(&str, u8)>) {
            let expected = expected
                .map(|(ip, length)| Network::Prefix(ip.parse::<IpAddr>().expect("an address"), length));
            assert_eq!(network(text, None).ok(), expected, "{text}");
        }
        check("10.1.2.3", Some(("10.1.2.3", 32)));
        check("10.1.2.3/8", Some(("10.1.2.3", 8)));
        check("10.0.0.0/255.0.0.0", Some(("10.0.0.0", 8)));
        // The manual's table of abbreviations.
        check("192.168.1", Some(("192.168.0.1", 32)));
        check("10.12", Some(("10.0.0.12", 32)));
        check("127.1", Some(("127.0.0.1", 32)));
        check("192.168.1/22", Some(("192.168.0.1", 22)));
        check("10.12/8", Some(("10.0.0.12", 8)));
        check("10.300", Some(("10.0.1.44", 32)));
        check("10.1.65536", None);
        check("10.0.0.0/33", None);
        check("2001:db8::1/32", Some(("2001:db8::1", 32)));
        check("2001:db8::1/ffff::", None);
        check("::1", Some(("::1", 128)));
        check("::1/129", None);
        check("host.example", None);
        check("10.0.0.0/", None);
        check("1.2.3.4.5", None);
        check("", None);
        assert_eq!(network("10.0.0.1/255.0.255.0", None), Ok(Network::Masked(0x0a00_0001, 0xff00_ff00)));
        let resolve = |name: &str| (name == "host").then_some(IpAddr::from([10, 0, 0, 1]));
        assert_eq!(network("host/8", Some(&resolve)), Ok(Network::Prefix(IpAddr::from([10, 0, 0, 1]), 8)));
    }
}
