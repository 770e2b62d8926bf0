//! Addresses of `bind` that stand for many: prefixes, which are ours, and long ranges of ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sockeye_syntax::address::{self, Host, ParseOptions, Port};
use sockeye_syntax::words::Words;

use super::bind::Expanded;
use crate::model::{AddressBlock, Bind, BindAddress, Transport};
use crate::scope::ProxyScope;

/// `ADDRESS/BITS:PORT[-PORT]`. HAProxy has no address with a slash but the path of a unix socket, which begins with it or
/// has a prefix of its own.
pub(super) fn prefix(text: &str, scope: &ProxyScope<'_>) -> Result<Option<Expanded>, String> {
    let Some((host, rest)) = text.split_once('/') else { return Ok(None) };
    let Some((bits, ports)) = rest.split_once(':') else { return Ok(None) };
    let parsed = address::parse_address(
        &format!("{host}:{ports}"),
        ParseOptions { names: false, ..ParseOptions::BIND },
    );
    let Ok(parsed) = parsed else { return Ok(None) };
    let ip = match parsed.host {
        Host::Ip(ip) => ip,
        Host::AnyIpv4 => Ipv4Addr::UNSPECIFIED.into(),
        _ => return Ok(None),
    };
    if scope.packet {
        return Err(format!("'{text}' : 'mode packet' has no prefixes, only addresses"));
    }
    let (low, high) = match parsed.port {
        Port::Fixed(port) => (port, port),
        Port::Range(range) => (*range.start(), *range.end()),
        Port::None | Port::Offset(_) => return Err(format!("missing port specification in '{text}'")),
    };
    let block = bits.parse().ok().and_then(|bits| AddressBlock::new(ip, bits, low, high));
    let block =
        block.filter(|_| low > 0).ok_or_else(|| format!("invalid prefix length '{bits}' in '{text}'"))?;
    let address = BindAddress::Block(block);
    Ok(Some(Expanded { text: text.into(), address, transport: Transport::Tcp }))
}

/// A prefix is bound to addresses that are none of this host's interfaces.
pub(super) fn check(
    text: &str,
    words: &mut Words<'_>,
    scope: &ProxyScope<'_>,
    binds: &[Expanded],
    template: &Bind,
) {
    let prefix = |one: &Expanded| matches!(&one.address, BindAddress::Block(block) if block.is_prefix());
    if !template.transparent && binds.iter().any(prefix) {
        let section = scope.proxy.kind.keyword();
        words.alert(format!(
            "'bind {text}' in section '{section}' : a prefix of addresses needs 'transparent' behind it."
        ));
    }
}

/// A limit of each listener's own takes a long range apart again: every port is a listener.
pub(super) fn divide(binds: Vec<Expanded>, template: &Bind) -> Vec<Expanded> {
    let mut out = Vec::with_capacity(binds.len());
    for one in binds {
        match one.address {
            BindAddress::Block(block) if template.maxconn.is_some() && !block.is_prefix() => {
                out.extend(block.addresses().map(|address| Expanded {
                    text: name(address.ip(), address.port()).into(),
                    address: BindAddress::Inet(address),
                    transport: one.transport,
                }));
            }
            _ => out.push(one),
        }
    }
    out
}

/// Whether it is many ports of one address.
pub(super) fn is_range(one: &Expanded) -> bool {
    matches!(&one.address, BindAddress::Block(block) if !block.is_prefix() && block.low < block.high)
}

/// How messages name one port of a range.
pub(super) fn name(ip: IpAddr, port: u16) -> String {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => format!("*:{port}"),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => format!("[::]:{port}"),
        _ => SocketAddr::new(ip, port).to_string(),
    }
}
