//! Connections that carry more than one exchange or hide what they carry: what one peer does must neither cost another one
//! its connection, nor lose what was said last, nor keep anything open.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::Reason;
use lb_tests::frames::*;
use lb_tests::http::ok;
use lb_tests::multiplex::{Server, answer};
use lb_tests::tls::{Offer, Site, TLS13};
use lb_tests::{Daemon, Origin, Rig, Setup, eventually, get, within};

/// Sockets that the daemon has open.
fn sockets(daemon: &Daemon) -> usize {
    let path = format!("/proc/{}/fd", daemon.pid().as_raw_nonzero());
    let fds = std::fs::read_dir(path).expect("descriptors").flatten();
    let open = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let sockets = open.filter(|to| to.to_string_lossy().starts_with("socket:"));
    sockets.collect::<HashSet<_>>().len()
}

#[tokio::test]
async fn a_stream_that_a_server_resets_is_not_the_connections_fault() {
    let mut rig = Rig::http().server("proto h2").backend("http-reuse always").start();
    let mut client = rig.client().await;
    let asked = Arc::new(AtomicUsize::new(0));
    client.send(get("/first")).await;
    let origin = Server::new(rig.origin.accept().await).await;
    let bad = asked.clone();
    origin.serve(move |request, mut respond| {
        let bad = bad.clone();
        async move {
            match request.uri().path() {
                "/bad" => {
                    bad.fetch_add(1, Ordering::Relaxed);
                    respond.send_reset(Reason::INTERNAL_ERROR);
                }
                "/malformed" => {
                    bad.fetch_add(1, Ordering::Relaxed);
                    let mut response = answer(200);
                    response.headers_mut().insert("x", " y ".parse().unwrap());
                    let _ = respond.send_response(response, true);
                }
                _ => drop(respond.send_response(answer(204), true)),
            }
        }
    });
    assert_eq!(client.reply().await.status(), 204);
    assert_eq!(client.ask(get("/second")).await.status(), 204);
    for (count, path) in [(1, "/bad"), (2, "/malformed")] {
        assert_eq!(rig.client().await.ask(get(path)).await.status(), 502, "{path}");
        assert_eq!(asked.load(Ordering::Relaxed), count, "{path} was asked for once");
        assert_eq!(client.ask(get("/third")).await.status(), 204);
    }
    assert_eq!(rig.origin.accepted(), 1, "the connection goes on serving");
}

#[tokio::test]
async fn a_close_does_not_overtake_a_response() {
    const LENGTH: usize = 1_000_000;
    let origin = Origin::bind().serve(|_| ok(&"x".repeat(LENGTH)));
    let plan = Rig::http().frontend("timeout http-keep-alive 50ms");
    let mut daemon = Setup::new(plan.cfg()).at("s1", origin.addr()).start();
    let mut client = Frames::client(daemon.connect("fe").await, &[(4, 0x7fff_ffff)]).await;
    client.send(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes()).await;
    client.get(1, "/").await;
    daemon.stdout.wait("<*> 200 <*> ---- <*>").await;
    // The connection has been idle for too long when the client looks at what it got: a later one has ended already.
    let mut later = daemon.connect("fe").await;
    later.send(get("/")).await;
    later.reply().await;
    later.expect_closed().await;
    let mut length = 0;
    let mut whole = false;
    while !whole {
        // As clients do; a closed connection would answer with a reset.
        let update = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
        assert!(client.peer.try_send(update).await);
        let next = client.next().await;
        if next.kind == DATA {
            length += next.payload.len();
            whole = next.flags & END_STREAM != 0;
        }
    }
    assert_eq!(length, LENGTH);
}

#[tokio::test]
async fn a_silent_drop_of_a_stream_sends_no_end() {
    let mut rig = Rig::http().frontend("http-request silent-drop rst-ttl 2").start();
    let mut client = Frames::client(rig.client().await, &[]).await;
    client.get(1, "/").await;
    let mut stream = client.peer.into_tcp();
    let mut rest = Vec::new();
    let ended = within("the reset", tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest)).await;
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_server_that_stops_reading_keeps_no_connection_open() {
    let mut rig = Rig::http().server("proto h2").backend("timeout server 300ms").start();
    let mut client = rig.client().await;
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000000\r\n\r\n").await;
    let mut origin = Frames::server(rig.origin.accept().await, &[(4, 0x7fff_ffff)]).await;
    origin.send(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes()).await;
    let open = sockets(&rig.daemon);
    // Until `timeout server` has passed, as nobody takes more.
    while client.try_send(vec![b'x'; 1 << 20]).await {}
    drop(client);
    eventually("both connections to go", || sockets(&rig.daemon) == open - 2).await;
    drop(origin);
}

#[tokio::test]
async fn an_idle_connection_with_tls_ends_in_good_order() {
    let site = Site::new();
    let plan =
        Rig::http().frontend("timeout http-keep-alive 50ms").frontend("http-request return status 200");
    let mut daemon = site.setup("alpn h2", &plan).start();
    let offer = Offer { alpn: &["h2"], ..Offer::only(&TLS13) };
    let mut client = Frames::client(site.client(offer).secure(&mut daemon).await, &[]).await;
    client.get(1, "/").await;
    client.wait(HEADERS).await;
    client.wait(GOAWAY).await;
    // Without close_notify this would be no end but an error.
    client.peer.expect_end().await;
}
