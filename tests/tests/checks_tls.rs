//! Health checks through TLS: what an origin sees of them, and what the log says.
//!
//! The lines were observed with HAProxy 3.2.

use std::sync::Arc;

use bytes::Bytes;
use lb_tests::tls::{Authority, TlsStream, accept};
use lb_tests::{Daemon, Origin, Peer, Setup, get, within};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// What an origin does with every connection.
#[derive(Clone)]
enum Act {
    /// Speaks TLS, or clear text to those who do not; answers requests with this status.
    Serve(Arc<ServerConfig>, u16),
    /// Says something that is not TLS to whatever comes.
    Babble,
    Close,
    Reset,
    Hang,
}

/// What an origin saw of one connection.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// The line in front of everything else.
    proxy: bool,
    tls: bool,
    sni: Option<String>,
    alpn: Option<String>,
    /// The first line of the first request; empty if none came.
    request: String,
}

/// An origin on its own task.
struct Server {
    addr: std::net::SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl Server {
    fn start(act: Act) -> Self {
        let origin = Origin::bind();
        let addr = origin.addr();
        let (sender, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let peer = origin.accept_any().await;
                tokio::spawn(play(peer, act.clone(), sender.clone()));
            }
        });
        Self { addr, seen }
    }

    /// The next connection that got through its handshake, if it has one.
    async fn saw(&mut self) -> Seen {
        within("a connection", self.seen.recv()).await.expect("the origin lives")
    }
}

async fn play(mut peer: Peer, act: Act, seen: mpsc::UnboundedSender<Seen>) {
    let config = match act {
        Act::Serve(config, status) => return serve(peer, config, status, seen).await,
        Act::Close => return hang_up(peer).await,
        Act::Reset => return peer.reset(),
        Act::Babble => b"220 hello\r\n",
        Act::Hang => &[][..],
    };
    // Whoever checks may be gone already.
    let _ = peer.write_all(config).await;
    peer.rest().await;
}

/// Closes once all of a hello is read: bytes that nobody reads turn a close into a reset.
async fn hang_up(peer: Peer) {
    let mut hello = [0; 16_384];
    // Whoever checks may be gone already.
    let _ = peer.into_tcp().read(&mut hello).await;
}

async fn serve(peer: Peer, config: Arc<ServerConfig>, status: u16, seen: mpsc::UnboundedSender<Seen>) {
    let mut stream = peer.into_tcp();
    let mut first = [0; 1];
    let Ok(1..) = stream.peek(&mut first).await else { return };
    let proxy = first == *b"P";
    if proxy {
        while stream.read_u8().await.is_ok_and(|byte| byte != b'\n') {}
        let Ok(1..) = stream.peek(&mut first).await else { return };
    }
    if first != [22] {
        let mut peer = Peer::tcp(stream, "origin");
        let request = peer.try_reply().await.map(|request| first_line(&request.head)).unwrap_or_default();
        let _ = seen.send(Seen { proxy, tls: false, sni: None, alpn: None, request });
        let _ = peer.write_all(answer(status).as_bytes()).await;
        return;
    }
    let Ok(mut stream) = accept(Peer::tcp(stream, "origin"), config).await else { return };
    let agreed = stream.get_ref().1;
    let sni = agreed.server_name().map(str::to_owned);
    let alpn = agreed.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    let request = if alpn.as_deref() == Some("h2") {
        serve_h2(stream, status).await
    } else {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") && stream.read_buf(&mut text).await.is_ok_and(|n| n > 0) {}
        if !text.is_empty() {
            let _ = stream.write_all(answer(status).as_bytes()).await;
        }
        first_line(&String::from_utf8_lossy(&text))
    };
    let _ = seen.send(Seen { proxy, tls: true, sni, alpn, request });
}

/// Answers one request; its line in HTTP/1's way.
async fn serve_h2(stream: TlsStream<TcpStream>, status: u16) -> String {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return String::new() };
    let Some(Ok((request, mut respond))) = connection.accept().await else { return String::new() };
    let response = http::Response::builder().status(status).header("x-a", "b").body(()).expect("a response");
    if let Ok(mut body) = respond.send_response(response, false) {
        drop(body.send_data(Bytes::from_static(b"all is well"), true));
    }
    while connection.accept().await.is_some_and(|next| next.is_ok()) {}
    format!("{} {} {:?}", request.method(), request.uri(), request.version())
}

fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// What the tests share.
struct World {
    authority: Authority,
    other: Authority,
}

impl World {
    fn new() -> Self {
        Self { authority: Authority::new("ours"), other: Authority::new("another") }
    }

    /// An origin that serves `www.example`.
    fn origin(&self, alpn: &[&str]) -> Act {
        Act::Serve(self.authority.sign("www.example").server(alpn), 200)
    }

    /// A daemon whose server is checked once, and after that in a minute.
    fn daemon(&self, at: &Server, backend: &str, server: &str) -> Daemon {
        Setup::new(format!(
            "global\n    nbthread 1\n    log stdout format raw local0\n\
             defaults\n    mode http\n    log global\n    timeout client 30s\n    timeout server 30s\n    \
             timeout connect 5s\n    timeout check 5s\n    option log-health-checks\n    option dontlognull\n\
             frontend fe\n    bind <fe>\n    default_backend be\n\
             backend be\n    {backend}\n    server s1 <s1> inter 60s {server}\n"
        ))
        .file("ca.pem", self.authority.pem())
        .file("other.pem", self.other.pem())
        .at("s1", at.addr)
        .start()
    }

    /// What the log says of the first check.
    async fn says(&self, act: Act, backend: &str, server: &str, expected: &str) -> Server {
        let origin = Server::start(act);
        let daemon = self.daemon(&origin, backend, server);
        daemon.stdout.expect(&format!("Health check for server be/s1 {expected}")).await;
        origin
    }
}

const UP: &str = "check duration: <n>ms, status: 3/3 UP.";
const DOWN: &str = "check duration: <n>ms, status: 0/2 DOWN.";

fn passed(layer: u8) -> String {
    format!("succeeded, reason: Layer{layer} check passed, {UP}")
}

fn failed(info: &str) -> String {
    format!("failed, reason: Layer6 invalid response, info: \"{info}\", {DOWN}")
}

#[tokio::test]
async fn a_handshake_is_a_check() {
    let world = World::new();
    let act = world.origin(&[]);
    for server in [
        "ssl check verify required ca-file <dir>/ca.pem",
        "ssl check verify none",
        "ssl check verify required ca-file <dir>/ca.pem verifyhost www.example",
        "ssl check verify required ca-file <dir>/ca.pem check-sni www.example",
        "check check-ssl verify none",
    ] {
        world.says(act.clone(), "", server, &passed(6)).await;
    }
}

#[tokio::test]
async fn certificates_are_verified() {
    let world = World::new();
    let act = world.origin(&[]);
    let plain = failed("SSL handshake failure");
    world.says(act.clone(), "", "ssl check verify required ca-file <dir>/other.pem", &plain).await;
    let expired = Act::Serve(world.authority.sign_expired("www.example").server(&[]), 200);
    world.says(expired, "", "ssl check verify required ca-file <dir>/ca.pem", &plain).await;
    let configured = failed("Server presented an SSL certificate different from the configured one");
    let server = "ssl check verify required ca-file <dir>/ca.pem verifyhost else.example";
    world.says(act.clone(), "", server, &configured).await;
    let expected = failed("Server presented an SSL certificate different from the expected one");
    let server = "ssl check verify required ca-file <dir>/ca.pem check-sni else.example";
    world.says(act, "", server, &expected).await;
}

#[tokio::test]
async fn servers_that_know_no_tls() {
    let world = World::new();
    for act in [Act::Babble, Act::Close] {
        world.says(act, "", "ssl check verify none", &failed("SSL handshake failure")).await;
    }
    // HAProxy has other words for a reset that comes before its hello is written.
    world.says(Act::Reset, "", "ssl check verify none", &failed("<*>")).await;
    let late = format!("failed, reason: Layer6 timeout, {DOWN}");
    world.says(Act::Hang, "timeout connect 100ms", "ssl check verify none", &late).await;
    world.says(Act::Hang, "option httpchk\n    timeout connect 100ms", "ssl check verify none", &late).await;
}

#[tokio::test]
async fn a_server_that_learns_tls_comes_back() {
    let world = World::new();
    let origin = Origin::bind();
    let daemon = Setup::new(
        "global\n    nbthread 1\n    log stdout format raw local0\n\
         defaults\n    mode http\n    log global\n    timeout client 30s\n    timeout server 30s\n    timeout connect 5s\n    \
         timeout check 5s\n\
         frontend fe\n    bind <fe>\n    default_backend be\n\
         backend be\n    server s1 <s1> ssl check inter 60s fastinter 50ms downinter 50ms verify required ca-file <dir>/ca.pem\n",
    )
    .file("ca.pem", world.authority.pem())
    .at("s1", origin.addr())
    .start();
    let closing = async {
        loop {
            hang_up(origin.accept_any().await).await;
        }
    };
    let down = daemon.stdout.wait("Server be/s1 is DOWN, reason: Layer6 invalid response, info: \"SSL handshake failure\", check duration: <n>ms. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.");
    tokio::select! {
        _ = down => {}
        () = closing => {}
    }
    let config = world.authority.sign("www.example").server(&[]);
    let serving = async {
        loop {
            let peer = origin.accept_any().await;
            if let Ok(mut stream) = accept(peer, config.clone()).await {
                let _ = stream.read_u8().await;
            }
        }
    };
    let up = daemon.stdout.wait("Server be/s1 is UP, reason: Layer6 check passed, check duration: <n>ms. 1 active and 0 backup servers online. 0 sessions requeued, 0 total in queue.");
    tokio::select! {
        _ = up => {}
        () = serving => {}
    }
}

#[tokio::test]
async fn checks_ask_for_their_own_name() {
    let world = World::new();
    let act = world.origin(&[]);
    let passed = format!("succeeded, reason: Layer7 check passed, code: 200, {UP}");
    let asked = async |server: &str| {
        let mut origin = world.says(act.clone(), "option httpchk", server, &passed).await;
        let seen = origin.saw().await;
        assert!(seen.tls && seen.alpn.is_none(), "{seen:?}");
        seen.sni
    };
    assert_eq!(
        asked("ssl check verify none check-sni check.example").await.as_deref(),
        Some("check.example")
    );
    assert_eq!(asked("ssl check verify none").await, None);
    // What the traffic asks for is none of their business.
    assert_eq!(asked("ssl check verify none sni str(traffic.example)").await, None);
}

#[tokio::test]
async fn rules_connect_in_their_own_way() {
    let world = World::new();
    let act = world.origin(&[]);
    let saw = async |rule: &str, server: &str| {
        let layer = if rule.contains(" ssl") || rule.contains(" default") { 6 } else { 4 };
        let passed = format!("succeeded, reason: Layer{layer} check passed, info: \"(tcp-check)\", {UP}");
        let backend = format!("option tcp-check\n    tcp-check connect linger{rule}");
        let mut origin = world.says(act.clone(), &backend, server, &passed).await;
        if layer == 4 { None } else { Some(origin.saw().await.sni.unwrap_or_default()) }
    };
    let line = "ssl check verify none check-sni line.example";
    assert_eq!(saw("", line).await, None);
    assert_eq!(saw(" default", line).await.as_deref(), Some("line.example"));
    assert_eq!(saw(" default sni rule.example", line).await.as_deref(), Some("rule.example"));
    assert_eq!(saw(" ssl", line).await.as_deref(), Some(""));
    assert_eq!(saw(" ssl sni rule.example", "check verify none").await.as_deref(), Some("rule.example"));

    let info = "SSL handshake failure at step 1 of tcp-check (connect) comment: 'hi'";
    let backend = "option tcp-check\n    tcp-check connect ssl comment hi";
    world.says(Act::Babble, backend, "check verify none", &failed(info)).await;
    let info = "SSL handshake failure at initial connection step of tcp-check";
    let backend = "option tcp-check\n    tcp-check send x\n    tcp-check expect string foo";
    world.says(Act::Babble, backend, "ssl check verify none", &failed(info)).await;
    let late = format!("failed, reason: Layer6 timeout, info: \" at step 1 of tcp-check (connect)\", {DOWN}");
    let backend = "option tcp-check\n    tcp-check connect ssl\n    timeout connect 100ms";
    world.says(Act::Hang, backend, "check verify none", &late).await;
}

#[tokio::test]
async fn requests_go_through_tls() {
    let world = World::new();
    let config = world.authority.sign("www.example").server(&["h2", "http/1.1"]);
    let saw = async |status: u16, backend: &str, server: &str, line: &str| {
        let act = Act::Serve(config.clone(), status);
        let mut origin = world.says(act, &format!("option httpchk\n    {backend}"), server, line).await;
        let Seen { tls, alpn, request, .. } = origin.saw().await;
        format!("{tls} {} {request}", alpn.unwrap_or_default())
    };
    let good = format!("succeeded, reason: Layer7 check passed, code: 200, {UP}");
    let bad = format!("failed, reason: Layer7 wrong status, code: 500, info: \"X\", {DOWN}");
    let line = "ssl check verify none";
    assert_eq!(saw(200, "", line, &good).await, "true  OPTIONS / HTTP/1.0");
    assert_eq!(saw(500, "", line, &bad).await, "true  OPTIONS / HTTP/1.0");
    let offered = "ssl check verify none check-alpn http/1.1";
    assert_eq!(saw(200, "", offered, &good).await, "true http/1.1 OPTIONS / HTTP/1.0");
    let rules = "http-check connect ssl alpn http/1.1\n    http-check send meth GET uri /rule ver HTTP/1.1";
    assert_eq!(saw(200, rules, "check verify none", &good).await, "true http/1.1 GET /rule HTTP/1.1");
}

#[tokio::test]
async fn requests_in_http2() {
    let world = World::new();
    let config = world.authority.sign("www.example").server(&["h2", "http/1.1"]);
    let saw = async |status: u16, backend: &str, server: &str, line: &str| {
        let act = Act::Serve(config.clone(), status);
        let mut origin = world.says(act, &format!("option httpchk\n    {backend}"), server, line).await;
        let Seen { alpn, request, .. } = origin.saw().await;
        format!("{} {request}", alpn.unwrap_or_default())
    };
    let good = format!("succeeded, reason: Layer7 check passed, code: 200, {UP}");
    let send = "http-check send meth POST uri /p ver HTTP/1.1 hdr X-Foo bar body abc";
    // Both ways to ask for it: the check's, and the traffic's where the check has none.
    for server in ["ssl check verify none check-alpn h2", "ssl check verify none alpn h2,http/1.1"] {
        assert_eq!(saw(200, send, server, &good).await, "h2 POST /p HTTP/2.0", "{server}");
    }
    let expect = format!("{send}\n    http-check expect string well");
    assert_eq!(saw(200, &expect, "ssl check verify none alpn h2", &good).await, "h2 POST /p HTTP/2.0");
    let rules =
        format!("http-check connect ssl alpn h2\n    {send}\n    http-check expect hdr name x-a value b");
    assert_eq!(saw(200, &rules, "check verify none", &good).await, "h2 POST /p HTTP/2.0");
    let bad = format!(
        "failed, reason: Layer7 wrong status, code: 500, info: \"TCPCHK did not match content(status codes) at step 2\", {DOWN}"
    );
    assert_eq!(saw(500, send, "ssl check verify none alpn h2", &bad).await, "h2 POST /p HTTP/2.0");
}

#[tokio::test]
async fn http2_without_anybody_who_speaks_it() {
    let world = World::new();
    let broken = format!("failed, reason: Socket error<*>, {DOWN}");
    for act in [Act::Babble, Act::Close, Act::Reset] {
        world.says(act, "option httpchk", "check check-proto h2", &broken).await;
    }
    let late = format!("failed, reason: Layer7 timeout, {DOWN}");
    let backend = "option httpchk\n    timeout check 100ms";
    world.says(Act::Hang, backend, "check check-proto h2", &late).await;
}

#[tokio::test]
async fn checks_and_traffic_may_differ() {
    let world = World::new();
    let act = world.origin(&[]);
    let check = async |server: &str, checked_with_tls: bool, traffic_with_tls: bool| {
        let mut origin = Server::start(act.clone());
        let mut daemon = world.daemon(&origin, "option httpchk GET /check", server);
        let first = origin.saw().await;
        assert_eq!((first.tls, &*first.request), (checked_with_tls, "GET /check HTTP/1.0"), "{server}");
        let mut client = daemon.connect("fe").await;
        assert_eq!(client.ask(get("/traffic")).await.text(), "ok", "{server}");
        let second = origin.saw().await;
        assert_eq!((second.tls, &*second.request), (traffic_with_tls, "GET /traffic HTTP/1.1"), "{server}");
    };
    check("check check-ssl verify none", true, false).await;
    check("check ssl no-check-ssl verify none", false, true).await;
    check("check ssl verify none", true, true).await;
    // Checks that go elsewhere take nothing over.
    check("check ssl verify none port <s1.port>", false, true).await;
    check("check ssl verify none port <s1.port> check-ssl", true, true).await;
    check("check ssl verify none addr 127.0.0.1", false, true).await;
}

#[tokio::test]
async fn the_proxy_header_comes_before_the_handshake() {
    let world = World::new();
    for server in ["ssl check verify none check-send-proxy", "ssl check verify none send-proxy"] {
        let passed = format!("succeeded, reason: Layer7 check passed, code: 200, {UP}");
        let mut origin = world.says(world.origin(&[]), "option httpchk", server, &passed).await;
        let seen = origin.saw().await;
        assert!(seen.proxy && seen.tls, "{server}: {seen:?}");
    }
}

#[tokio::test]
async fn a_hello_of_sslv3() {
    let world = World::new();
    let hello = "option ssl-hello-chk";
    world.says(world.origin(&[]), hello, "check", &passed(6)).await;
    let other = format!("failed, reason: Layer6 invalid response, {DOWN}");
    world.says(Act::Babble, hello, "check", &other).await;
    let none = failed("TCPCHK got an empty response at step 2");
    world.says(Act::Close, hello, "check", &none).await;
    let late = format!("failed, reason: Layer6 timeout, {DOWN}");
    world.says(Act::Hang, "option ssl-hello-chk\n    timeout check 100ms", "check", &late).await;
}
