//! One pattern as a method reads it: ranges, networks, bytes.

use std::net::IpAddr;

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
        let wrong = || format!("'{text}' is not a number or a range of numbers");
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

/// A network: its first address, and how many bits of it count.
///
/// # Errors
/// When it is no address, network or (with `names`) host name.
pub(crate) fn network(text: &str, names: Names<'_>) -> Result<(IpAddr, u8), String> {
    let wrong = || format!("'{text}' is not a valid IPv4 or IPv6 address");
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => (address, Some(mask)),
        None => (text, None),
    };
    let address: IpAddr = match short_ipv4(address).or_else(|| address.parse().ok()) {
        Some(address) => address,
        None => names.and_then(|resolve| resolve(address)).ok_or_else(wrong)?,
    };
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = match mask {
        None => bits,
        Some(mask) => match mask.parse::<u8>() {
            Ok(length) if length <= bits => length,
            Ok(_) => return Err(wrong()),
            Err(_) => match (address, mask.parse().map_err(|_| wrong())?) {
                (IpAddr::V4(_), IpAddr::V4(mask))
                    if mask.to_bits().leading_ones() == mask.to_bits().count_ones() =>
                {
                    u8::try_from(mask.to_bits().leading_ones()).map_err(|_| wrong())?
                }
                _ => return Err(wrong()),
            },
        },
    };
    Ok((masked(address, length), length))
}

/// `10.0/8` and `192.168`: missing bytes are zero.
fn short_ipv4(text: &str) -> Option<IpAddr> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 4 || !text.contains('.') {
        return None;
    }
    let mut octets = [0; 4];
    for (octet, part) in octets.iter_mut().zip(&parts) {
        *octet = part.parse().ok()?;
    }
    Some(IpAddr::from(octets))
}

/// The address with all but its first bits zero.
pub(crate) fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
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
            let expected = expected.map(|(ip, length)| (ip.parse::<IpAddr>().expect("an address"), length));
            assert_eq!(network(text, None).ok(), expected, "{text}");
        }
        check("10.1.2.3", Some(("10.1.2.3", 32)));
        check("10.1.2.3/8", Some(("10.0.0.0", 8)));
        check("10.0.0.0/255.0.0.0", Some(("10.0.0.0", 8)));
        check("10.0/16", Some(("10.0.0.0", 16)));
        check("10.0.0.0/255.0.255.0", None);
        check("10.0.0.0/33", None);
        check("2001:db8::1/32", Some(("2001:db8::", 32)));
        check("::1", Some(("::1", 128)));
        check("host.example", None);
    }
}
