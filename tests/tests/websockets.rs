//! What WebSockets are spoken in with servers that speak HTTP/2 otherwise (`ws`).

use lb_tests::tls::{Authority, Demand, Server};
use lb_tests::{Peer, Rig, get};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                       sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The handshake of a WebSocket in HTTP/1.1, and a byte each way.
async fn talk(client: &mut Peer, origin: &mut Peer) {
    let head = origin.head().await;
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
    origin.send(SWITCHED).await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.send("from the client").await;
    origin.expect("from the client").await;
    origin.send("from the server").await;
    client.expect("from the server").await;
}

#[tokio::test]
async fn ws_h1_beside_http2() {
    let mut rig = Rig::http().server("proto h2 ws h1").start();
    let mut client = rig.client().await;
    client.send(UPGRADE).await;
    let mut origin = rig.origin.accept().await;
    talk(&mut client, &mut origin).await;
    let mut other = rig.client().await;
    other.send(get("/")).await;
    rig.origin.accept().await.expect("PRI * HTTP/2.0\r\n").await;
}

/// Where the server's ALPN has both, WebSockets ask for HTTP/1.1 alone.
#[tokio::test]
async fn ws_auto_asks_for_http1() {
    let leaf = Authority::new("ca").sign("a");
    for (words, expected) in [("alpn h2,http/1.1", "http/1.1"), ("alpn h2,http/1.1 ws h2", "h2")] {
        let mut rig = Rig::http().server(&format!("ssl verify none {words}")).start();
        let tls = Server::new(&leaf, Demand { alpn: &["h2", "http/1.1"], ..Demand::default() });
        let mut client = rig.client().await;
        client.send(UPGRADE).await;
        let mut origin = tls.accept(rig.origin.accept().await).await;
        if expected == "http/1.1" {
            talk(&mut client, &mut origin).await;
        } else {
            origin.expect("PRI * HTTP/2.0\r\n").await;
        }
        let mut other = rig.client().await;
        other.send(get("/")).await;
        tls.accept(rig.origin.accept().await).await.expect("PRI * HTTP/2.0\r\n").await;
    }
}
