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
            // It was decided with what is offered by ALPN.
            let tls = server.tls.as_ref().filter(|_| server.ssl)?;
            tls.websockets.is_some().then_some(Proto::H1)
        }
    }
}
