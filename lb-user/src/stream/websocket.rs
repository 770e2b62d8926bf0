//! What WebSockets are spoken in with a server, where that is not what its other requests are (manual 5.2 `ws`).

use sockeye_config::model::{self, Proto, WebSocketProto};
use sockeye_http::{Known, RequestHead};

/// What a connection for `request` is spoken in, whatever the server's line says of others. `None`: as the others.
pub fn spoken(server: &model::Server, request: Option<&RequestHead>) -> Option<Proto> {
    let request = request.filter(|request| request.upgrade)?;
    let protocols = request.headers().all_known(Known::Upgrade);
    let mut protocols = protocols.flat_map(|value| value.split(|byte| *byte == b','));
    if !protocols.any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket")) {
        return None;
    }
    match server.ws {
        WebSocketProto::H1 => Some(Proto::H1),
        WebSocketProto::H2 => Some(Proto::H2),
        WebSocketProto::Auto => {
            // A server with both may know WebSockets in HTTP/1.1 alone.
            let tls = server.tls.as_ref().filter(|_| server.ssl && server.proto.is_none())?;
            let offered = tls.settings.profile.alpn.as_deref()?;
            offered.iter().any(|name| name == b"http/1.1").then_some(Proto::H1)
        }
    }
}

/// What is offered by ALPN so that nothing else is agreed upon.
pub fn alpn(proto: Proto) -> Option<&'static [u8]> {
    match proto {
        Proto::H1 => Some(b"http/1.1"),
        Proto::H2 => Some(b"h2"),
        Proto::None => None,
    }
}
