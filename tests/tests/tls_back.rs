//! TLS with servers: who they must be, what they are asked for, how sessions and connections are used again.
//!
//! The log lines and the answers were observed with HAProxy 3.2.

use lb_tests::rig::Plan;
use lb_tests::tls::{Authority, Demand, Files, Server, TLS12, TLS13};
use lb_tests::{Daemon, Origin, Peer, Rig, get, is_haproxy, ok};
use rustls::SupportedProtocolVersion;

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Frontends are clear here; `<tls>` is a folder with the server's authority.
struct World {
    authority: Authority,
    files: Files,
    origin: Origin,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new("servers");
        let files = Files::new(&[("ca.pem", &authority.pem())]);
        Self { authority, files, origin: Origin::bind() }
    }

    fn tls(&self, names: &[&str], demand: Demand<'_>) -> Server {
        Server::new(&self.authority.leaf(names), demand)
    }

    fn daemon(&self, server: &str, plan: Plan) -> Daemon {
        let setup = lb_tests::Setup::new(plan.server(server).cfg());
        setup.at("tls", self.files.show()).at("s1", self.origin.addr()).start()
    }

    /// One exchange over a connection of its own; the origin's side of the handshake.
    async fn exchange(&self, daemon: &mut Daemon, tls: &Server, request: &str) -> Peer {
        let mut client = daemon.connect("fe").await;
        client.send(request).await;
        let mut server = tls.accept(self.origin.accept().await).await;
        server.head().await;
        server.send(ok("fine")).await;
        assert_eq!(client.reply().await.text(), "fine");
        server
    }

    /// A request whose server is not who it should be.
    async fn refused(&self, daemon: &mut Daemon, tls: &Server) {
        let mut client = daemon.connect("fe").await;
        client.send(get("/")).await;
        // In TLS 1.3 the server is done before it hears the alert.
        if let Ok(mut server) = tls.try_accept(self.origin.accept().await).await {
            server.expect_closed().await;
        }
        assert_eq!(client.reply().await.status(), 503);
        let line = "<*> fe be/s1 0/0/-1/-1/<n> 503 <n> - - SC-- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"";
        daemon.stdout.wait(line).await;
    }
}

#[tokio::test]
async fn servers_are_verified() {
    let world = World::new();
    let name = "ssl verify required ca-file <tls>/ca.pem";
    world.files.write("other.pem", Authority::new("others").pem());
    for version in BOTH {
        let demand = || Demand { versions: vec![version], ..Demand::default() };
        let good = world.tls(&["good.test"], demand());
        let wrong = world.tls(&["wrong.test"], demand());
        let expired = Server::new(&world.authority.expired(&["good.test"]), demand());
        for (server, tls, expected) in [
            // Without a name any one will do.
            (name.to_owned(), &good, true),
            (name.to_owned(), &wrong, true),
            (name.to_owned(), &expired, false),
            (format!("{name} verifyhost good.test"), &good, true),
            (format!("{name} verifyhost GOOD.test"), &good, true),
            (format!("{name} verifyhost good.test"), &wrong, false),
            (format!("{name} sni str(good.test)"), &good, true),
            (format!("{name} sni str(good.test)"), &wrong, false),
            (format!("{name} sni str(wrong.test) verifyhost good.test"), &good, false),
            ("ssl verify required ca-file <tls>/other.pem".to_owned(), &good, false),
            ("ssl verify none".to_owned(), &expired, true),
        ] {
            let mut daemon = world.daemon(&server, Rig::http().backend("retries 0\ntimeout connect 5s"));
            if expected {
                world.exchange(&mut daemon, tls, &get("/")).await;
            } else {
                world.refused(&mut daemon, tls).await;
            }
        }
    }
}

#[tokio::test]
async fn a_server_of_several_names() {
    let world = World::new();
    let tls = world.tls(&["a.test", "*.b.test", "10.0.0.1"], Demand::default());
    for (host, expected) in
        [("a.test", true), ("x.b.test", true), ("b.test", false), ("x.y.b.test", false), ("c.test", false)]
    {
        let server = format!("ssl verify required ca-file <tls>/ca.pem verifyhost {host}");
        let mut daemon = world.daemon(&server, Rig::http().backend("retries 0"));
        if expected {
            world.exchange(&mut daemon, &tls, &get("/")).await;
        } else {
            world.refused(&mut daemon, &tls).await;
        }
    }
}

fn ask(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

#[tokio::test]
async fn names_come_from_requests_and_keep_connections_apart() {
    let world = World::new();
    let plan = || Rig::http().backend("http-reuse always");
    for version in BOTH {
        let demand = Demand { versions: vec![version], no_resumption: true, ..Demand::default() };
        let tls = world.tls(&["a.test", "b.test"], demand);
        let mut daemon = world.daemon("ssl verify none sni req.hdr(host)", plan());
        let mut a = world.exchange(&mut daemon, &tls, &ask("a.test")).await;
        assert_eq!(a.agreed().asked.as_deref(), Some("a.test"));
        let mut b = world.exchange(&mut daemon, &tls, &ask("b.test")).await;
        assert_eq!(b.agreed().asked.as_deref(), Some("b.test"));
        if is_haproxy() {
            // It keeps fewer connections than that.
            continue;
        }
        // Each request finds the connection of its name.
        for host in ["b.test", "a.test", "b.test"] {
            let server = if host == "a.test" { &mut a } else { &mut b };
            let mut client = daemon.connect("fe").await;
            client.send(ask(host)).await;
            let head = server.head().await;
            assert!(head.contains(&format!("host: {host}\r\n")), "{head}");
            server.send(ok("again")).await;
            assert_eq!(client.reply().await.text(), "again");
        }
        assert_eq!(world.origin.accepted() % 2, 0);
    }
    assert_eq!(world.origin.accepted(), 4);
}

#[tokio::test]
async fn mutual_tls() {
    let world = World::new();
    let clients = Authority::new("clients");
    let identity = clients.leaf(&["proxy"]);
    world.files.write("client.pem", identity.pem());
    world.files.write("other.pem", Authority::new("others").leaf(&["proxy"]).pem());
    for version in BOTH {
        let demand = Demand { versions: vec![version], clients: Some(&clients), ..Demand::default() };
        let tls = world.tls(&["a.test"], demand);
        let plan = || Rig::http().backend("retries 0");
        let mut daemon = world.daemon("ssl verify none crt <tls>/client.pem", plan());
        let server = world.exchange(&mut daemon, &tls, &get("/")).await;
        assert!(server.agreed().saw(&identity));
        for server in ["ssl verify none", "ssl verify none crt <tls>/other.pem"] {
            let mut daemon = world.daemon(server, plan());
            let mut client = daemon.connect("fe").await;
            client.send(get("/")).await;
            let reply = client.reply();
            tokio::pin!(reply);
            let status = loop {
                tokio::select! {
                    reply = &mut reply => break reply.status(),
                    peer = world.origin.accept_any() => assert!(tls.try_accept(peer).await.is_err()),
                }
            };
            // In TLS 1.3 the request is on its way when the refusal arrives.
            assert!([502, 503].contains(&status), "{version:?} {server}: {status}");
        }
    }
}

#[tokio::test]
async fn sessions_are_resumed() {
    let world = World::new();
    let told =
        "http-response set-header x-told %[ssl_bc],%[ssl_bc_protocol],%[ssl_bc_is_resumed],%[ssl_bc_cipher]";
    for version in BOTH {
        for (words, tickets, no_resumption, expected) in [
            ("", true, false, true),
            ("", false, false, true),
            ("", false, true, false),
            ("no-ssl-reuse", true, false, false),
            ("sni req.hdr(host)", true, false, true),
        ] {
            let demand = Demand { versions: vec![version], tickets, no_resumption, ..Demand::default() };
            let tls = world.tls(&["test"], demand);
            let plan = Rig::http().backend("http-reuse never").backend(told);
            let mut daemon = world.daemon(&format!("ssl verify required ca-file <tls>/ca.pem {words}"), plan);
            for round in 0..3 {
                let mut client = daemon.connect("fe").await;
                client.send(get("/")).await;
                let mut server = tls.accept(world.origin.accept().await).await;
                let resumed = server.agreed().resumed;
                assert_eq!(resumed, expected && round > 0, "{version:?} {words} {tickets} {round}");
                server.head().await;
                server.send(ok("fine")).await;
                let reply = client.reply().await;
                let told = reply.header("x-told").expect("a header").to_owned();
                let name =
                    if version.version == rustls::ProtocolVersion::TLSv1_2 { "TLSv1.2" } else { "TLSv1.3" };
                assert!(told.starts_with(&format!("1,{name},{},", u8::from(resumed))), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn protocols_and_versions_are_as_the_line_says() {
    let world = World::new();
    for (words, protocol, version) in [
        ("", None, &TLS13),
        ("alpn http/1.1", Some("http/1.1"), &TLS13),
        ("alpn http/1.1 force-tlsv12", Some("http/1.1"), &TLS12),
        ("ssl-max-ver TLSv1.2", None, &TLS12),
        ("ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256", None, &TLS13),
    ] {
        let tls = world.tls(&["a.test"], Demand { alpn: &["http/1.1"], ..Demand::default() });
        let mut daemon = world.daemon(&format!("ssl verify none {words}"), Rig::http());
        let server = world.exchange(&mut daemon, &tls, &get("/")).await;
        let agreed = server.agreed();
        assert_eq!((agreed.alpn.as_deref(), agreed.version), (protocol, version.version), "{words}");
        if words.contains("ciphersuites") {
            assert_eq!(agreed.suite, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        }
    }
    // No version in common.
    let tls = world.tls(&["a.test"], Demand { versions: vec![&TLS12], ..Demand::default() });
    let mut daemon = world.daemon("ssl verify none force-tlsv13", Rig::http().backend("retries 0"));
    world.refused(&mut daemon, &tls).await;
}

#[tokio::test]
async fn large_bodies_both_ways() {
    let world = World::new();
    let mut random = fastrand::Rng::with_seed(7);
    let mut body = || {
        let mut bytes = vec![0; 5 << 20];
        random.fill(&mut bytes);
        bytes
    };
    let (up, down) = (body(), body());
    for version in BOTH {
        let tls = world.tls(&["a.test"], Demand { versions: vec![version], ..Demand::default() });
        let mut daemon = world.daemon("ssl verify none", Rig::http());
        let mut client = daemon.connect("fe").await;
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", up.len())).await;
        let mut server = tls.accept(world.origin.accept().await).await;
        server.head().await;
        let (_, got) = tokio::join!(client.send(&up), server.take(up.len()));
        assert!(got == up, "{version:?}: the body that arrived is another one");
        server.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", down.len())).await;
        client.head().await;
        let (_, got) = tokio::join!(server.send(&down), client.take(down.len()));
        assert!(got == down, "{version:?}: the body that came back is another one");
    }
}

#[tokio::test]
async fn cuts_and_ends() {
    let world = World::new();
    for version in BOTH {
        let tls = world.tls(&["a.test"], Demand { versions: vec![version], ..Demand::default() });
        let mut daemon = world.daemon("ssl verify none", Rig::http().backend("retries 0"));
        let mut asked = async || {
            let mut client = daemon.connect("fe").await;
            client.send(get("/")).await;
            let mut server = tls.accept(world.origin.accept().await).await;
            server.head().await;
            (client, server)
        };
        // A body without length ends with the connection.
        let (mut client, mut server) = asked().await;
        server.send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nwhole").await;
        server.end().await;
        assert_eq!(client.reply().await.text(), "whole");
        // One with a length that is cut is no whole one.
        for polite in [true, false] {
            let (mut client, mut server) = asked().await;
            server.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
            if polite {
                server.end().await;
            } else {
                server.finish();
            }
            client.head().await;
            client.expect_last("half").await;
        }
        // No answer at all.
        let (mut client, mut server) = asked().await;
        server.end().await;
        assert_eq!(client.reply().await.status(), 502);
        daemon.stdout.wait("<*> be/s1 <n>/<n>/<n>/<n>/<n> 200 <n> - - ---- <*>").await;
        daemon.stdout.wait("<*> be/s1 <n>/<n>/<n>/<n>/<n> 200 <n> - - SD-- <*>").await;
        daemon.stdout.wait("<*> be/s1 <n>/<n>/<n>/<n>/<n> 200 <n> - - SD-- <*>").await;
        daemon.stdout.wait("<*> be/s1 <n>/<n>/<n>/-1/<n> 502 <n> - - SH-- <*>").await;
    }
}

#[tokio::test]
async fn servers_without_tls() {
    let world = World::new();
    // It answers a hello in clear text, or says nothing and goes.
    for words in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let mut daemon = world.daemon("ssl verify none", Rig::http().backend("retries 1"));
        let mut client = daemon.connect("fe").await;
        client.send(get("/")).await;
        for _ in 0..2 {
            let mut server = world.origin.accept().await;
            server.take(5).await;
            server.try_send(words).await;
        }
        assert_eq!(client.reply().await.status(), 503);
        daemon.stdout.wait("<*> fe be/s1 0/0/-1/-1/<n> 503 <n> - - SC-- 1/1/0/0/1 0/0 <*>").await;
    }
}

#[tokio::test]
async fn a_server_that_stalls_in_the_handshake() {
    let world = World::new();
    let mut daemon = world.daemon("ssl verify none", Rig::http().backend("retries 0\ntimeout connect 300ms"));
    let mut client = daemon.connect("fe").await;
    client.send(get("/")).await;
    let _server = world.origin.accept().await;
    assert_eq!(client.reply().await.status(), 503);
    daemon.stdout.wait("<*> fe be/s1 0/0/-1/-1/<n> 503 <n> - - sC-- 1/1/0/0/0 0/0 <*>").await;
}
