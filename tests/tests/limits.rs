//! Connection limits at every level, and the queues in front of them.

use lb_tests::{Origin, Peer, Rig, Setup, get, ok};

#[tokio::test]
async fn server_maxconn_queues_in_order() {
    let mut rig = Rig::tcp().server("maxconn 1").start();
    let (first, mut origin) = rig.pair().await;
    let mut waiting = Vec::new();
    for index in 0..4 {
        let mut client = rig.client().await;
        client.send(format!("I am {index}")).await;
        waiting.push(client);
        // The order of arrival is the subject: the next one comes when this one is seen queued.
        rig.origin.expect_quiet_for(std::time::Duration::from_millis(20)).await;
    }
    first.close();
    origin.expect_end().await;
    origin.close();
    for (index, mut client) in waiting.into_iter().enumerate() {
        let mut origin = rig.origin.accept().await;
        origin.expect(format!("I am {index}")).await;
        rig.origin.expect_quiet_for(std::time::Duration::from_millis(5)).await;
        origin.send("served").await;
        origin.close();
        client.expect_last("served").await;
        client.close();
    }
    rig.log().wait("<*> fe be/s1 <n>/<n>/<n> 0 -- 5/5/4/<n>/0 0/0").await;
    rig.log().wait("<*> fe be/s1 <n>/<n>/<n> 6 -- 4/4/3/<n>/0 0/<n>").await;
    rig.log().wait("<*> fe be/s1 <n>/<n>/<n> 6 -- 3/3/2/<n>/0 0/<n>").await;
}

#[tokio::test]
async fn queued_http_requests_share_the_freed_slot() {
    let mut rig = Rig::http().server("maxconn 1").start();
    let (mut busy, mut origin) = rig.asked(get("/busy")).await;
    origin.expect(get("/busy")).await;
    let mut queued = rig.client().await;
    queued.send(get("/queued")).await;
    rig.origin.expect_quiet().await;
    origin.send(ok("a")).await;
    busy.expect(ok("a")).await;
    // The slot is free when the response is through, although the client stays.
    let mut origin = tokio::select! {
        origin = rig.origin.accept_any() => origin,
        () = async { origin.expect(get("/queued")).await } => {
            origin.send(ok("b")).await;
            queued.expect(ok("b")).await;
            return;
        }
    };
    origin.expect(get("/queued")).await;
    origin.send(ok("b")).await;
    queued.expect(ok("b")).await;
}

#[tokio::test]
async fn maxqueue_sends_the_others_to_the_backend_queue() {
    let mut rig = Rig::tcp().server("maxconn 1 maxqueue 1").start();
    let (mut client, mut origin) = rig.pair().await;
    let mut waiting = Vec::new();
    for index in 0..3 {
        let mut client = rig.client().await;
        client.send(format!("{index}")).await;
        rig.origin.expect_quiet_for(std::time::Duration::from_millis(20)).await;
        waiting.push(client);
    }
    for (index, next) in waiting.into_iter().enumerate() {
        client.close();
        origin.expect_end().await;
        origin.close();
        client = next;
        origin = rig.origin.accept().await;
        origin.expect(format!("{index}")).await;
    }
}

#[tokio::test]
async fn other_server_takes_what_a_full_one_cannot() {
    let origins = [Origin::bind(), Origin::bind()];
    let plan = Rig::tcp().backend("balance first").server("maxconn 1");
    let mut daemon = Setup::new(format!("{}    server s2 <s2> maxconn 1\n", plan.cfg()))
        .at("s1", origins[0].addr())
        .at("s2", origins[1].addr())
        .start();
    let _one = (daemon.connect("fe").await, origins[0].accept().await);
    let _two = (daemon.connect("fe").await, origins[1].accept().await);
    // Both are full: the backend's queue holds the third, and whoever is free first takes it.
    let mut third = daemon.connect("fe").await;
    third.send("third").await;
    origins[0].expect_quiet().await;
    let (client, mut peer) = _two;
    client.close();
    peer.expect_end().await;
    peer.close();
    origins[1].accept().await.expect("third").await;
}

/// One session at a time: the second connection is in the kernel's queue until the first is over.
async fn one_at_a_time(mut rig: Rig) {
    let (mut first, mut origin) = rig.pair().await;
    first.send("a").await;
    origin.expect("a").await;
    let mut second = rig.client().await;
    second.send("b").await;
    rig.origin.expect_quiet().await;
    origin.send("c").await;
    first.expect("c").await;
    first.close();
    origin.expect_end().await;
    origin.close();
    let mut origin = rig.origin.accept().await;
    origin.expect("b").await;
    origin.send("d").await;
    second.expect("d").await;
}

#[tokio::test]
async fn frontend_maxconn_pauses_the_listener() {
    one_at_a_time(Rig::tcp().frontend("maxconn 1").start()).await;
}

#[tokio::test]
async fn global_maxconn_pauses_every_listener() {
    one_at_a_time(Rig::tcp().global("maxconn 1").start()).await;
}

#[tokio::test]
async fn bind_maxconn_pauses_that_listener_alone() {
    let origin = Origin::bind();
    let plan = Rig::tcp().frontend("bind <other>");
    let mut daemon =
        Setup::new(plan.cfg().replace("bind <fe>", "bind <fe> maxconn 1")).at("s1", origin.addr()).start();
    let mut first = daemon.connect("fe").await;
    let mut server = origin.accept().await;
    let mut second = daemon.connect("fe").await;
    second.send("b").await;
    origin.expect_quiet().await;
    let mut elsewhere = daemon.connect("other").await;
    elsewhere.send("free").await;
    origin.accept().await.expect("free").await;
    first.send("x").await;
    server.expect("x").await;
    first.close();
    server.expect_end().await;
    server.close();
    origin.accept().await.expect("b").await;
}

#[tokio::test]
async fn many_connections_through_a_narrow_frontend() {
    let origin = Origin::bind();
    let mut daemon = Rig::tcp()
        .quiet()
        // The kernel's queue is as long as maxconn unless told otherwise, and drops what does not fit.
        .frontend("maxconn 5\nbacklog 200")
        .setup()
        .at("s1", origin.addr())
        .start();
    let fe = daemon.addr("fe");
    daemon.connect("fe").await.close();
    let mut probe = origin.accept().await;
    probe.expect_end().await;
    probe.close();
    let mut clients = tokio::task::JoinSet::new();
    for index in 0..60 {
        clients.spawn(async move {
            let mut client = Peer::connect(fe).await.expect("a connection");
            client.send(format!("{index:02}")).await;
            client.expect(format!("{index:02}")).await;
        });
    }
    let echo = async {
        let mut open = tokio::task::JoinSet::new();
        loop {
            let mut peer = origin.accept_any().await;
            open.spawn(async move {
                let word = peer.take(2).await;
                peer.send(word).await;
                peer.rest().await;
            });
        }
    };
    tokio::select! {
        () = echo => {}
        () = async { while let Some(done) = clients.join_next().await { done.expect("a client") } } => {}
    }
}

#[tokio::test]
async fn minconn_grows_with_the_load() {
    let mut rig = Rig::tcp().backend("fullconn 8").server("minconn 1 maxconn 4").start();
    // One session of eight is a load that one connection can carry.
    let (_first, _origin) = rig.pair().await;
    let _second = rig.client().await;
    rig.origin.expect_quiet().await;

    // Here the first one is half of the full load already, and the second all of it.
    let mut rig = Rig::tcp().backend("fullconn 2").server("minconn 1 maxconn 4").start();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(rig.pair().await);
    }
    let _fifth = rig.client().await;
    rig.origin.expect_quiet().await;
}

#[tokio::test]
async fn without_minconn_the_limit_is_maxconn() {
    let mut rig = Rig::tcp().backend("fullconn 8").server("maxconn 4").start();
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(rig.pair().await);
    }
    let _fifth = rig.client().await;
    rig.origin.expect_quiet().await;
}

#[tokio::test]
async fn timeout_queue_ends_a_tcp_session() {
    let mut rig = Rig::tcp().defaults("timeout queue 150ms").server("maxconn 1").start();
    let (_first, _origin) = rig.pair().await;
    let mut queued = rig.client().await;
    queued.expect_closed().await;
    rig.log().expect("127.0.0.1:<n> [<date>] fe be/<NOSRV> <n>/-1/<n> 0 sQ 2/2/1/0/0 0/1").await;
}

#[tokio::test]
async fn timeout_connect_bounds_the_queue_when_timeout_queue_is_missing() {
    let mut rig = Rig::tcp().defaults("timeout connect 200ms").server("maxconn 1").start();
    let (_first, _origin) = rig.pair().await;
    let mut queued = rig.client().await;
    queued.expect_closed().await;
    rig.log().expect("127.0.0.1:<n> [<date>] fe be/<NOSRV> <n>/-1/<n> 0 sQ 2/2/1/0/0 0/1").await;
}

#[tokio::test]
async fn backlog_word_is_obeyed() {
    // A queue of the kernel as long as asked for: visible in /proc/net only, so the socket must simply work.
    let origin = Origin::bind();
    let mut daemon = Setup::new(Rig::tcp().frontend("backlog 2").cfg()).at("s1", origin.addr()).start();
    let mut client = daemon.connect("fe").await;
    client.send("x").await;
    origin.accept().await.expect("x").await;
}
