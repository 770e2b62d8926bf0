//! `mode tcp`: bytes, half-closes, resets and timeouts pass through as the peers made them.

use std::time::Instant;

use lb_tests::{Peer, Rig, within};

#[tokio::test]
async fn relays_both_ways() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    client.send("ping").await;
    origin.expect("ping").await;
    origin.send("pong").await;
    client.expect("pong").await;
    client.send("again").await;
    origin.expect("again").await;
}

#[tokio::test]
async fn server_may_speak_first() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    origin.send("220 ready\r\n").await;
    client.expect("220 ready\r\n").await;
    client.send("EHLO\r\n").await;
    origin.expect("EHLO\r\n").await;
}

#[tokio::test]
async fn client_half_close_leaves_the_answer_open() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    client.send("question").await;
    client.finish();
    origin.expect("question").await;
    origin.expect_end().await;
    origin.send("answer").await;
    client.expect("answer").await;
    origin.send(" and more").await;
    origin.close();
    client.expect_last(" and more").await;
    rig.log().wait("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n> 15 -- 1/1/0/0/0 0/0").await;
}

#[tokio::test]
async fn server_half_close_leaves_the_request_open() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    origin.send("banner").await;
    origin.finish();
    client.expect("banner").await;
    client.expect_end().await;
    client.send("late").await;
    origin.expect("late").await;
    client.send(" bytes").await;
    client.close();
    origin.expect_last(" bytes").await;
    rig.log().wait("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n> 6 -- 1/1/0/0/0 0/0").await;
}

#[tokio::test]
async fn both_half_close_with_bytes_under_way() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    client.send("last of the client").await;
    client.finish();
    origin.send("last of the server").await;
    origin.finish();
    client.expect_last("last of the server").await;
    origin.expect_last("last of the client").await;
}

#[tokio::test]
async fn half_close_before_the_server_answers_the_connection() {
    let mut rig = Rig::tcp().start();
    let mut client = rig.client().await;
    client.send("all I have").await;
    client.finish();
    let mut origin = rig.origin.accept().await;
    origin.expect_last("all I have").await;
    origin.send("thanks").await;
    origin.close();
    client.expect_last("thanks").await;
}

#[tokio::test]
async fn client_reset_reaches_the_server() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    client.send("x").await;
    origin.expect("x").await;
    client.reset();
    origin.expect_closed().await;
    rig.log().wait("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n> 0 CD 1/1/0/0/0 0/0").await;
}

#[tokio::test]
async fn server_reset_reaches_the_client() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    client.send("x").await;
    origin.expect("x").await;
    origin.reset();
    client.expect_closed().await;
    rig.log().wait("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n> 0 SD 1/1/0/0/0 0/0").await;
}

#[tokio::test]
async fn bytes_before_a_server_reset_may_not_stop_others() {
    // One session's death is nobody else's.
    let mut rig = Rig::tcp().start();
    let (mut client, origin) = rig.pair().await;
    let (mut other_client, mut other_origin) = rig.pair().await;
    origin.reset();
    client.expect_closed().await;
    other_client.send("still here").await;
    other_origin.expect("still here").await;
    other_origin.send("so am I").await;
    other_client.expect("so am I").await;
    client.close();
}

/// Moves `data` from `from` to `to`, both sides at once.
async fn pass(from: &mut Peer, to: &mut Peer, data: &[u8]) {
    tokio::join!(from.send(data), to.expect(data));
}

#[tokio::test]
async fn sizes_around_every_buffer_arrive_whole() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    let mut random = fastrand::Rng::with_seed(7);
    for size in
        [1, 2, 1023, 1024, 16_383, 16_384, 16_385, 32_768, 65_535, 65_537, 262_144, 262_145, 1_000_003]
    {
        let data: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(size).collect();
        pass(&mut client, &mut origin, &data).await;
        pass(&mut origin, &mut client, &data).await;
    }
}

#[tokio::test]
async fn single_bytes_keep_their_order() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    let data: Vec<u8> = (0..=255).collect();
    client.send_pieces(&data, 1).await;
    origin.expect(&data).await;
    origin.send_pieces(&data, 1).await;
    client.expect(&data).await;
}

#[tokio::test]
async fn many_connections_at_once() {
    let mut rig = Rig::tcp().start();
    let mut pairs = Vec::new();
    for index in 0..100 {
        let (mut client, mut origin) = rig.pair().await;
        client.send(format!("I am {index}")).await;
        origin.expect(format!("I am {index}")).await;
        pairs.push((client, origin));
    }
    for (index, (client, origin)) in pairs.iter_mut().enumerate().rev() {
        origin.send(format!("hello {index}")).await;
        client.expect(format!("hello {index}")).await;
    }
}

#[tokio::test]
async fn client_timeout_ends_an_idle_session() {
    let mut rig = Rig::tcp().defaults("timeout client 150ms").start();
    let (mut client, mut origin) = rig.pair().await;
    let start = Instant::now();
    // A timeout counts as the end of what that side sends: the other learns of it, and may answer still.
    origin.expect_end().await;
    assert!(start.elapsed().as_millis() >= 100, "{:?}", start.elapsed());
    origin.close();
    client.expect_end().await;
    rig.log().wait("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n> 0 cD 1/1/0/0/0 0/0").await;
}

#[tokio::test]
async fn server_timeout_ends_an_idle_session() {
    let mut rig = Rig::tcp().defaults("timeout server 150ms").start();
    let (mut client, mut origin) = rig.pair().await;
    client.expect_end().await;
    client.close();
    origin.expect_end().await;
    rig.log().wait("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n> 0 sD 1/1/0/0/0 0/0").await;
}

#[tokio::test]
async fn activity_of_one_side_keeps_its_timeout_away() {
    let mut rig = Rig::tcp().defaults("timeout client 400ms\ntimeout server 400ms").start();
    let (mut client, mut origin) = rig.pair().await;
    let start = Instant::now();
    while start.elapsed().as_millis() < 1000 {
        client.send("x").await;
        origin.expect("x").await;
        origin.send("y").await;
        client.expect("y").await;
        client.expect_quiet().await;
    }
    client.close();
    origin.expect_end().await;
}

#[tokio::test]
async fn tunnel_timeout_replaces_both() {
    let mut rig =
        Rig::tcp().defaults("timeout client 100ms\ntimeout server 100ms\ntimeout tunnel 600ms").start();
    let (mut client, mut origin) = rig.pair().await;
    // The tunnel begins once both sides have spoken, and resets both timers then.
    client.send("a").await;
    origin.expect("a").await;
    origin.send("b").await;
    client.expect("b").await;
    let start = Instant::now();
    client.expect_end().await;
    assert!(start.elapsed().as_millis() >= 400, "{:?}", start.elapsed());
    origin.expect_end().await;
}

#[tokio::test]
async fn client_fin_timeout_bounds_a_half_closed_client() {
    let mut rig = Rig::tcp().defaults("timeout client-fin 150ms").start();
    let (mut client, mut origin) = rig.pair().await;
    origin.send("bye").await;
    origin.finish();
    client.expect("bye").await;
    client.expect_end().await;
    // The client never closes: the proxy does it for both.
    origin.expect_closed().await;
    rig.log().wait("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n> 3 cD 1/1/0/0/0 0/0").await;
}

#[tokio::test]
async fn server_fin_timeout_bounds_a_half_closed_server() {
    let mut rig = Rig::tcp().defaults("timeout server-fin 150ms").start();
    let (mut client, mut origin) = rig.pair().await;
    client.send("bye").await;
    client.finish();
    origin.expect("bye").await;
    origin.expect_end().await;
    client.expect_end().await;
    rig.log().wait("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n> 0 sD 1/1/0/0/0 0/0").await;
}

#[tokio::test]
async fn refused_server_closes_the_client() {
    let mut daemon = Rig::tcp().defaults("retries 0").setup().start();
    let mut client = daemon.connect("fe").await;
    client.expect_closed().await;
    daemon.stdout.wait("127.0.0.1:<n> [<date>] fe be/s1 <n>/-1/<n> 0 SC 1/1/0/0/0 0/0").await;
}

#[tokio::test]
async fn retries_wait_for_a_server_that_comes() {
    let reserved = lb_tests::Reserved::v4();
    let mut daemon = Rig::tcp().defaults("retries 10").setup().at("s1", reserved.addr()).start();
    let mut client = daemon.connect("fe").await;
    client.send("patience").await;
    // Retries on the same server are a second apart: two refusals pass before it listens.
    client.expect_quiet().await;
    let origin = lb_tests::Origin::on(reserved);
    let mut server = origin.accept().await;
    server.expect("patience").await;
    client.close();
    server.expect_end().await;
    server.close();
    daemon.stdout.wait("127.0.0.1:<n> [<date>] fe be/s1 <n>/<n>/<n> 0 -- 1/1/0/0/<n> 0/0").await;
}

#[tokio::test]
async fn frontend_without_backend_closes() {
    let mut daemon = lb_tests::Daemon::start(
        "defaults\n mode tcp\n timeout client 5s\nfrontend fe\n bind <fe>\n log stdout format raw local0\n option tcplog\n",
    );
    let mut client = daemon.connect("fe").await;
    client.expect_closed().await;
    daemon.stdout.wait("127.0.0.1:<n> [<date>] fe fe/<NOSRV> -1/-1/<n> 0 SC 1/1/0/0/0 0/0").await;
}

/// A reader that stops must stop the writer: the proxy may hold no more than its buffers and the kernel's.
async fn stopped_reader_is_bounded(global: &str, defaults: &str) {
    // The kernel's own buffers are not the subject: keep them small.
    const SENT_BYTES_MAX: usize = 64 << 20;
    const GROWTH_KIB_MAX: u64 = 24 << 10;
    let mut rig = Rig::tcp().global(global).defaults(defaults).start();
    let (mut client, mut origin) = rig.pair().await;
    // Warm: what a first transfer allocates for good does not count.
    let warm = vec![1; 1 << 20];
    tokio::join!(client.send(&warm), origin.take(warm.len()));
    let before = rig.daemon.rss_kib();
    let piece = vec![2; 1 << 16];
    let mut sent = 0;
    // The writer is stuck when a piece is not taken for a while; until then it pushes.
    while tokio::time::timeout(std::time::Duration::from_millis(300), client.write_all(&piece)).await.is_ok()
    {
        sent += piece.len();
        assert!(sent < SENT_BYTES_MAX, "the proxy took {sent} bytes that nobody reads");
    }
    let after = rig.daemon.rss_kib();
    assert!(after < before + GROWTH_KIB_MAX, "resident memory grew from {before} to {after} KiB");
    // The reader wakes up and everything is still there, in order.
    let received = within("the rest", async {
        let mut count = 0;
        while count < sent {
            let bytes = origin.take((sent - count).min(1 << 16)).await;
            assert!(bytes.iter().all(|byte| *byte == 2));
            count += bytes.len();
        }
        count
    })
    .await;
    assert_eq!(received, sent);
}

#[tokio::test]
async fn stopped_reader_is_bounded_when_copying() {
    stopped_reader_is_bounded("", "").await;
}

#[tokio::test]
async fn stopped_reader_is_bounded_when_splicing() {
    stopped_reader_is_bounded("", "option splice-auto").await;
}

#[tokio::test]
async fn stopped_reader_is_bounded_in_sockmap() {
    if lb_tests::is_haproxy() {
        return;
    }
    stopped_reader_is_bounded("ebpf.splice sockmap", "").await;
}

#[tokio::test]
async fn stopped_client_bounds_the_server_too() {
    let mut rig = Rig::tcp().start();
    let (mut client, mut origin) = rig.pair().await;
    let piece = vec![3; 1 << 16];
    let mut sent = 0;
    while tokio::time::timeout(std::time::Duration::from_millis(300), origin.write_all(&piece)).await.is_ok()
    {
        sent += piece.len();
        assert!(sent < 64 << 20, "the proxy took {sent} bytes that nobody reads");
    }
    let bytes = client.take(sent).await;
    assert!(bytes.iter().all(|byte| *byte == 3));
}
