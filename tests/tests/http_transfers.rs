//! HTTP messages of random sizes, framings and cuts through every path of the relay: each body arrives as it was sent,
//! and the next message of the connection begins where it should.

use std::sync::Arc;

use lb_tests::http::chunked;
use lb_tests::{Origin, Peer, Rig, is_haproxy};
use tokio::task::JoinSet;

/// Clients at once, each with its own connection.
const CLIENTS: u64 = 8;

/// Exchanges of one client.
const EXCHANGES: u64 = 60;

const SIZE_MAX: usize = 1 << 20;

#[tokio::test]
async fn by_copying() {
    run("", "").await;
}

#[tokio::test]
async fn by_splicing() {
    run("", "option splice-auto").await;
}

#[tokio::test]
async fn by_sockmap() {
    run(if is_haproxy() { "" } else { "ebpf.splice sockmap" }, "option splice-auto").await;
}

#[tokio::test]
async fn with_acceleration_off() {
    run(if is_haproxy() { "nosplice" } else { "ebpf.accel off" }, "option splice-auto").await;
}

#[tokio::test]
async fn with_shared_server_connections() {
    run("", "http-reuse always\noption splice-auto").await;
}

/// One exchange: both sides derive it from its number.
struct Exchange {
    request: (usize, usize, Framing),
    response: (usize, usize, Framing),
    piece: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Framing {
    Length,
    Chunked(usize),
}

impl Exchange {
    fn new(number: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(number);
        let mut body = || {
            let limit = match random.u32(..100) {
                0..50 => 2_000,
                50..80 => 40_000,
                80..95 => 300_000,
                _ => SIZE_MAX,
            };
            let framing = if random.bool() {
                Framing::Length
            } else {
                Framing::Chunked([100, 4_096, 16_384, 100_000][random.usize(..4)])
            };
            (random.usize(..SIZE_MAX), random.usize(..limit), framing)
        };
        let (request, response) = (body(), body());
        Self { request, response, piece: [700, 16_000, SIZE_MAX][random.usize(..3)] }
    }
}

fn message(start: &str, material: &[u8], (offset, length, framing): (usize, usize, Framing)) -> Vec<u8> {
    let body = &material[offset..offset + length];
    match framing {
        Framing::Length => [format!("{start}content-length: {length}\r\n\r\n").as_bytes(), body].concat(),
        Framing::Chunked(size) => {
            [format!("{start}transfer-encoding: chunked\r\n\r\n").as_bytes(), &chunked(body, size)].concat()
        }
    }
}

async fn run(global: &str, defaults: &str) {
    let mut random = fastrand::Rng::with_seed(3);
    let material: Arc<[u8]> =
        std::iter::repeat_with(|| random.u64(..).to_le_bytes()).take(2 * SIZE_MAX / 8).flatten().collect();
    let origin = Origin::bind();
    let plan = Rig::http().global(global).defaults(defaults).quiet();
    let mut daemon =
        lb_tests::Setup::new(plan.cfg().replace("nbthread 1", "")).at("s1", origin.addr()).start();
    daemon.connect("fe").await.close();
    let fe = daemon.addr("fe");

    let serve = {
        let material = material.clone();
        async move {
            let mut open = JoinSet::new();
            loop {
                let mut peer = origin.accept_any().await;
                let material = material.clone();
                open.spawn(async move {
                    while let Some(request) = peer.try_reply().await {
                        let number: u64 = request.target()[1..].parse().expect("a number");
                        let exchange = Exchange::new(number);
                        let (offset, length, _) = exchange.request;
                        assert!(
                            request.body == material[offset..offset + length],
                            "request {number} arrived changed"
                        );
                        let response = message("HTTP/1.1 200 OK\r\n", &material, exchange.response);
                        peer.send_pieces(response, exchange.piece).await;
                    }
                });
                while let Some(done) = open.try_join_next() {
                    done.expect("the origin");
                }
            }
        }
    };
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let material = material.clone();
        clients.spawn(async move {
            let mut peer = Peer::connect(fe).await.expect("a connection");
            for index in 0..EXCHANGES {
                let number = client * EXCHANGES + index;
                let exchange = Exchange::new(number);
                let start = format!("POST /{number} HTTP/1.1\r\nhost: test\r\n");
                peer.send_pieces(message(&start, &material, exchange.request), exchange.piece).await;
                let response = peer.reply().await;
                assert_eq!(response.status(), 200, "{number}: {}", response.head);
                let (offset, length, _) = exchange.response;
                assert!(
                    response.body == material[offset..offset + length],
                    "response {number} arrived changed"
                );
            }
        });
    }
    tokio::select! {
        () = serve => {}
        () = async { while let Some(done) = clients.join_next().await { done.expect("a client") } } => {}
    }
    assert!(daemon.is_running());
}

/// A large download that is read late, in the middle of a keep-alive connection.
#[tokio::test]
async fn slow_reader_of_a_large_response() {
    for defaults in ["", "option splice-auto"] {
        let mut rig = Rig::http().defaults(defaults).start();
        let (mut client, mut origin) = rig.asked(lb_tests::get("/")).await;
        origin.head().await;
        let body: Vec<u8> =
            (0..32_u32 << 20).map(|index| index.to_le_bytes()[(index % 4) as usize]).collect();
        origin.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len())).await;
        client.head().await;
        let before = rig.daemon.rss_kib();
        let send = async {
            origin.send(&body).await;
            origin
        };
        let receive = async {
            for part in body.chunks(1 << 20) {
                // Others get their turn between the parts: the proxy fills up while nobody reads.
                tokio::task::yield_now().await;
                client.expect(part).await;
            }
        };
        let (mut origin, ()) = tokio::join!(send, receive);
        let after = rig.daemon.rss_kib();
        assert!(after < before + (24 << 10), "resident memory grew from {before} to {after} KiB");
        client.send(lb_tests::get("/next")).await;
        origin.expect(lb_tests::get("/next")).await;
    }
}

/// After an upgrade both directions are bytes, whatever moves them, and each ends when its sender says so.
#[tokio::test]
async fn tunnels_on_every_path() {
    let sockmap = if is_haproxy() { "" } else { "ebpf.splice sockmap" };
    let off = if is_haproxy() { "nosplice" } else { "ebpf.accel off" };
    let mut random = fastrand::Rng::with_seed(11);
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(3 << 20).collect();
    for (global, defaults) in
        [("", ""), ("", "option splice-auto"), (sockmap, "option splice-auto"), (off, "")]
    {
        let mut rig = Rig::http().global(global).defaults(defaults).start();
        for client_ends_first in [true, false] {
            let (mut client, mut origin) = rig
                .asked("GET / HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
                .await;
            origin.head().await;
            origin
                .send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
                .await;
            client.head().await;
            tokio::join!(client.send(&bytes), origin.expect(&bytes));
            tokio::join!(origin.send(&bytes), client.expect(&bytes));
            let (first, second) =
                if client_ends_first { (&mut client, &mut origin) } else { (&mut origin, &mut client) };
            first.send("end").await;
            first.finish();
            second.expect_last("end").await;
            second.send(&bytes[..100_000]).await;
            second.finish();
            first.expect_last(&bytes[..100_000]).await;
        }
    }
}
