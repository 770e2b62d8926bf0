//! Headers with which connections to servers begin: how they go out, and that of our own connections.

use std::io;
use std::time::SystemTime;

use sockeye_config::model::SendProxy;
use sockeye_conn::Socket;
use sockeye_proxyproto::{Extras, SslFacts, write_v2};
use sockeye_sample::{Now, Scene, Stage, World};

/// The version 2 header of connections that we make for ourselves (`LOCAL`): health checks. Formats see no client.
/// `None`: its TLVs do not fit.
pub fn local(cfg: &SendProxy, world: &dyn World) -> Option<Vec<u8>> {
    let scene = Scene::new(Stage::ServerSource, Now::Read(SystemTime::now), world);
    let values: Vec<(u8, Vec<u8>)> = (cfg.tlvs.iter())
        .map(|(kind, format)| {
            let mut value = Vec::new();
            format.write_exprs(&mut value, &scene);
            (*kind, value)
        })
        .collect();
    let custom: Vec<(u8, &[u8])> = values.iter().map(|(kind, value)| (*kind, &value[..])).collect();
    let extras = Extras {
        custom: &custom,
        crc32c: cfg.options.crc32c,
        ssl: cfg.options.ssl.then(SslFacts::default),
        ..Extras::default()
    };
    let mut out = Vec::new();
    write_v2(None, &extras, &mut out).ok().map(|()| out)
}

/// Sends a header at once. A fresh connection has room for it; where it has not, the rest waits.
///
/// # Errors
/// As writing to the socket.
pub async fn send(socket: &mut Socket, header: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < header.len() {
        sent += std::future::poll_fn(|cx| socket.poll_write(cx, &header[sent..])).await?;
    }
    Ok(())
}
