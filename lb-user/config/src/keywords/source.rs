//! `source` of a backend or a server: the address that connections to servers come from (manual 4.2, 5.2).

use std::net::{Ipv4Addr, SocketAddr};

use sockeye_syntax::address::{Address, Host, ParseOptions, Port};
use sockeye_syntax::words::Words;

use super::values;
use crate::draft::DraftSource;
use crate::keyword::not_yet_message;
use crate::model::{Source, UseSource};
use crate::scope::{ProxyScope, Resolver};

/// The statement of a proxy.
pub(crate) fn proxy(words: &mut Words<'_>, scope: &mut ProxyScope<'_>) {
    let usage = "'source' expects <addr>[:<port>], and optionally 'usesrc' <addr>, and 'interface' <name>.";
    // Packets share the ports of one address; a connection takes any.
    let options = if scope.packet { ParseOptions::SERVER_SOURCE } else { ParseOptions::SOURCE };
    match read(words, options, scope.around.resolver, usage) {
        Ok(source) if words.is_end() => {
            let at = Some(words.location().clone());
            scope.proxy.settings.source = DraftSource { source, at, inherited: false };
        }
        Ok(_) => {
            words.alert("'source' only supports optional keywords 'interface' and 'usesrc'.");
            words.skip_rest();
        }
        Err(message) => {
            words.alert(message);
            words.skip_rest();
        }
    }
}

/// `ADDRESS[:PORT[-PORT]] [usesrc …] [interface …]`; stops at the first other word.
pub(crate) fn read(
    words: &mut Words<'_>,
    options: ParseOptions,
    resolver: &dyn Resolver,
    usage: &str,
) -> Result<Source, String> {
    let text = words.next().ok_or(usage)?;
    let address =
        values::resolved(text, options, resolver).map_err(|error| format!("'source {text}' : {error}"))?;
    let mut source = Source::default();
    if let Port::Range(range) = &address.port {
        source.ports = Some((*range.start(), *range.end()));
    }
    source.address = Some(socket_address(&address, text)?);
    loop {
        if words.take("usesrc") {
            source.usesrc = usesrc(words, resolver)?;
        } else if words.take("interface") {
            source.interface = Some(words.next().ok_or("'interface' : missing interface name.")?.to_owned());
        } else {
            return Ok(source);
        }
    }
}

fn usesrc(words: &mut Words<'_>, resolver: &dyn Resolver) -> Result<UseSource, String> {
    let text =
        words.next().ok_or("'usesrc' expects <addr>[:<port>], 'client', or 'clientip' as argument.")?;
    Ok(match text {
        "client" => UseSource::Client,
        "clientip" => UseSource::ClientIp,
        _ if text.starts_with("hdr_ip(") => return Err(not_yet_message(text)),
        _ => {
            let address = values::resolved(text, ParseOptions::SOURCE, resolver)
                .map_err(|error| format!("'usesrc {text}' : {error}"))?;
            UseSource::Address(socket_address(&address, text)?)
        }
    })
}

fn socket_address(address: &Address, text: &str) -> Result<SocketAddr, String> {
    let port = match &address.port {
        Port::Fixed(port) => *port,
        _ => 0,
    };
    match address.host {
        Host::Ip(ip) => Ok(SocketAddr::new(ip, port)),
        Host::AnyIpv4 => Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        _ => Err(format!("'source {text}' : unsupported address family.")),
    }
}
