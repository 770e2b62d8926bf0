//! Addresses, the Host field, and languages.

use std::net::IpAddr;

use sockeye_sample::{Arg, Converter, Scene, Type, Value};

use crate::operand::{self, bytes, cut};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("host_only", |value, _, _| {
        let mut host = bytes(value)?;
        let end = port_at(&host).unwrap_or(host.len());
        host = cut(host, 0..end);
        if host.iter().any(u8::is_ascii_uppercase) {
            host.to_mut().make_ascii_lowercase();
        }
        Some(Value::Str(host))
    }),
    Converter::new("port_only", |value, _, _| {
        let host = bytes(value)?;
        let digits = port_at(&host).and_then(|at| host.get(at + 1..)).unwrap_or_default();
        // Other bytes count as digits, too, and 32 bits are kept: HAProxy's number for what is no port.
        let port = digits.iter().fold(0_u32, |number, byte| {
            number.wrapping_mul(10).wrapping_add(u32::from(*byte)).wrapping_sub(u32::from(b'0'))
        });
        Some(Value::Int(i64::from(port)))
    }),
    Converter::new("ipmask", ip_mask),
    Converter::new("language", language),
];

/// Where the colon before the port is.
fn port_at(host: &[u8]) -> Option<usize> {
    memchr::memrchr2(b':', b']', host).filter(|at| host[*at] == b':')
}

/// An IPv6 address that stands for an IPv4 one is masked as that. `None` for others without a mask of their own.
fn ip_mask<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let address = match value.clone().cast(Type::Ipv4) {
        Some(Value::Ipv4(address)) => IpAddr::V4(address),
        _ => value.to_ip()?,
    };
    match (address, args) {
        (IpAddr::V4(address), [Arg::Mask4(mask), ..]) => Some(Value::Ipv4(address & mask)),
        (IpAddr::V6(address), [_, Arg::Mask6(mask)]) => Some(Value::Ipv6(address & mask)),
        _ => None,
    }
}

/// The preferred of the languages that the argument lists, as it stands there: the first with the highest weight.
fn language<'a>(value: Value<'a>, args: &'a [Arg], _: &Scene<'a>) -> Option<Value<'a>> {
    let accepted = bytes(value)?;
    let known = || operand::text(args, 0).split(|byte| *byte == b';').filter(|known| !known.is_empty());
    let mut best: Option<(&[u8], u32)> = None;
    for element in accepted.split(|byte| *byte == b',') {
        let mut parts = element.splitn(2, |byte| *byte == b';');
        let wanted = parts.next().unwrap_or_default().trim_ascii();
        let weight = parts.next().map_or(WEIGHT_MAX, weight);
        if weight <= best.map_or(0, |(_, weight)| weight) {
            continue;
        }
        let base = wanted.split(|byte| *byte == b'-').next().unwrap_or_default();
        let found = known().find(|known| *known == wanted).or_else(|| known().find(|known| *known == base));
        if let Some(found) = found {
            best = Some((found, weight));
        }
    }
    let default = args.get(1).and_then(Arg::str);
    best.map(|(found, _)| found).or(default).map(Value::str)
}

/// Of a language without `q`.
const WEIGHT_MAX: u32 = 1000;

/// `q=0.333` in thousandths (RFC 9110, 12.4.2); what is none counts as none given.
fn weight(parameter: &[u8]) -> u32 {
    let Some(text) = parameter.trim_ascii().strip_prefix(b"q=") else { return WEIGHT_MAX };
    let (whole, fraction) = match text {
        [digit @ b'0'..=b'9', b'.', fraction @ ..] => (*digit, fraction),
        [digit @ b'0'..=b'9'] => (*digit, &[][..]),
        _ => return WEIGHT_MAX,
    };
    let mut weight = u32::from(whole - b'0') * WEIGHT_MAX;
    for (byte, thousandths) in fraction.iter().take_while(|byte| byte.is_ascii_digit()).zip([100, 10, 1]) {
        weight += u32::from(byte - b'0') * thousandths;
    }
    weight.min(WEIGHT_MAX)
}
