//! One check run against real sockets on the loopback: every kind of check, every way a server can fail.
//!
//! Expected outcomes (status, code, detail) were observed with HAProxy 3.2.

#![allow(clippy::unwrap_used, reason = "a test whose setup fails has failed")]

use std::net::{Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt;
use std::sync::Arc;
use std::time::Duration;

use sockeye_config::model::{Check, CheckConnect, CheckExpect, CheckStep, ExpectWhat, HttpSend, Source};
use sockeye_health::{Outcome, PreparedCheck, Target, TargetAddress, Timeouts, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;

/// Long enough for a loaded machine; a check that ends in time never waits for it.
const PATIENT: Duration = Duration::from_secs(20);
/// What a check that must time out is given.
const SHORT: Duration = Duration::from_millis(120);

const fn within(limit: Duration) -> Timeouts {
    Timeouts { inter: limit, connect: None, check: None }
}

/// What the origin does with each connection, in order; then it closes.
#[derive(Debug, Clone)]
enum Act {
    /// Reads up to the end of a request head, or whatever comes first without one.
    Read,
    Send(Vec<u8>),
    /// One byte per packet.
    Drip(Vec<u8>),
    Reset,
    /// Waits for the checker to close.
    Hold,
}

fn send(text: &str) -> Act {
    Act::Send(text.as_bytes().to_vec())
}

/// How the origin saw a connection end.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Fin,
    Reset,
}

struct Origin {
    addr: SocketAddr,
    requests: mpsc::UnboundedReceiver<Vec<u8>>,
    ends: mpsc::UnboundedReceiver<End>,
}

impl Origin {
    async fn start(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (request_sender, requests) = mpsc::unbounded_channel();
        let (end_sender, ends) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(play(stream, script.clone(), request_sender.clone(), end_sender.clone()));
            }
        });
        Self { addr, requests, ends }
    }

    fn target(&self) -> Target {
        Target::new(TargetAddress::Inet(self.addr))
    }
}

async fn play(
    mut stream: TcpStream,
    script: Vec<Act>,
    requests: mpsc::UnboundedSender<Vec<u8>>,
    ends: mpsc::UnboundedSender<End>,
) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 4096];
    for act in script {
        match act {
            Act::Read => {
                let mut request = Vec::new();
                while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                    let Ok(bytes @ 1..) = stream.read(&mut buffer).await else { break };
                    request.extend_from_slice(&buffer[..bytes]);
                    if !request.contains(&b' ') {
                        break;
                    }
                }
                // The receiver may be gone.
                let _ = requests.send(request);
            }
            // The checker may have seen enough and closed.
            Act::Send(bytes) => drop(stream.write_all(&bytes).await),
            Act::Drip(bytes) => {
                for byte in bytes {
                    drop(stream.write_all(&[byte]).await);
                    tokio::task::yield_now().await;
                }
            }
            Act::Reset => {
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                return;
            }
            Act::Hold => {
                let end = loop {
                    match stream.read(&mut buffer).await {
                        Ok(0) => break End::Fin,
                        Ok(_) => {}
                        Err(_) => break End::Reset,
                    }
                };
                let _ = ends.send(end);
            }
        }
    }
}

fn prepared(check: &Check) -> PreparedCheck {
    PreparedCheck::new(check, 16_384).unwrap()
}

fn render(outcome: &Outcome) -> String {
    let code = outcome.code.map(|code| format!(" {code}")).unwrap_or_default();
    format!("{}{code} {}", outcome.status.word(), outcome.info).trim_end().to_owned()
}

async fn outcome_of(check: Check, script: Vec<Act>, limit: Duration) -> String {
    let origin = Origin::start(script).await;
    render(&run(&prepared(&check), &origin.target(), &within(limit)).await)
}

async fn check(check: Check, script: Vec<Act>, expected: &str) {
    let shown = format!("{check:?} against {script:?}");
    assert_eq!(outcome_of(check, script, PATIENT).await, expected, "{shown}");
}

async fn check_timeout(check: Check, script: Vec<Act>, expected: &str) {
    let shown = format!("{check:?} against {script:?}");
    assert_eq!(outcome_of(check, script, SHORT).await, expected, "{shown}");
}

fn expect(what: ExpectWhat) -> CheckExpect {
    CheckExpect {
        negate: false,
        what,
        min_recv: None,
        comment: None,
        ok_status: None,
        error_status: None,
        tout_status: None,
    }
}

fn string(text: &str) -> CheckStep {
    CheckStep::Expect(expect(ExpectWhat::String(text.as_bytes().into())))
}

fn tcp_send(text: &str) -> CheckStep {
    CheckStep::Send { data: text.as_bytes().into(), comment: None }
}

fn connect(port: Option<u16>) -> CheckStep {
    CheckStep::Connect(CheckConnect { port, ..CheckConnect::default() })
}

fn http(steps: Vec<CheckStep>) -> Check {
    Check::Http(steps)
}

fn tcp(steps: Vec<CheckStep>) -> Check {
    Check::Tcp(steps)
}

async fn closed_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

/// A listener whose queue is full: the kernel drops what comes next.
struct FullListener {
    addr: SocketAddr,
    _sockets: Vec<socket2::Socket>,
}

impl FullListener {
    fn new() -> Self {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        let mut sockets = vec![listener];
        for _ in 0..4 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            filler.set_nonblocking(true).unwrap();
            // In progress, or waiting for good.
            let _ = filler.connect(&addr.into());
            sockets.push(filler);
        }
        Self { addr, _sockets: sockets }
    }
}

#[tokio::test]
async fn connections() {
    check(Check::Connect, vec![Act::Hold], "L4OK").await;
    check(tcp(vec![]), vec![Act::Hold], "L4OK").await;
    check(tcp(vec![connect(None)]), vec![Act::Hold], "L4OK (tcp-check)").await;

    let refused = Target::new(TargetAddress::Inet(closed_port().await));
    let against = async |check: Check| render(&run(&prepared(&check), &refused, &within(PATIENT)).await);
    assert_eq!(against(Check::Connect).await, "L4CON Connection refused");
    assert_eq!(against(http(vec![])).await, "L4CON Connection refused");
    assert_eq!(
        against(tcp(vec![string("a")])).await,
        "L4CON Connection refused at initial connection step of tcp-check"
    );
    assert_eq!(
        against(tcp(vec![connect(None)])).await,
        "L4CON Connection refused at step 1 of tcp-check (connect)"
    );
}

/// A check that only connects resets the connection before the handshake's last packet: the application of the server
/// sees nothing of it.
#[tokio::test]
async fn servers_do_not_notice_a_connection_check() {
    let mut origin = Origin::start(vec![Act::Read, send("x"), Act::Hold]).await;
    for _ in 0..20 {
        let outcome = run(&prepared(&Check::Connect), &origin.target(), &within(PATIENT)).await;
        assert_eq!(render(&outcome), "L4OK");
    }
    let outcome =
        run(&prepared(&tcp(vec![tcp_send("y"), string("x")])), &origin.target(), &within(PATIENT)).await;
    assert_eq!(render(&outcome), "L7OK (tcp-check)");
    // The listener's queue is in order: what it accepted first is the first that it could see.
    assert_eq!(origin.requests.recv().await.as_deref(), Some(&b"y"[..]));
}

#[tokio::test]
async fn connection_timeouts() {
    let full = FullListener::new();
    let target = Target::new(TargetAddress::Inet(full.addr));
    let against = async |check: Check, timeouts: Timeouts| run(&prepared(&check), &target, &timeouts).await;
    assert_eq!(render(&against(Check::Connect, within(SHORT)).await), "L4TOUT");
    assert_eq!(render(&against(http(vec![]), within(SHORT)).await), "L4TOUT");
    assert_eq!(
        render(&against(tcp(vec![connect(None)]), within(SHORT)).await),
        "L4TOUT  at step 1 of tcp-check (connect)"
    );
    // With `timeout check`, `timeout connect` bounds the connection.
    let timeouts = Timeouts { inter: PATIENT, connect: Some(SHORT), check: Some(PATIENT) };
    let outcome = against(Check::Connect, timeouts).await;
    assert_eq!(render(&outcome), "L4TOUT");
    assert!(outcome.duration.is_some_and(|duration| duration >= SHORT && duration < PATIENT));
}

#[tokio::test]
async fn check_timeout_starts_with_the_connection() {
    let origin = Origin::start(vec![Act::Hold]).await;
    let timeouts = Timeouts { inter: PATIENT, connect: None, check: Some(SHORT) };
    let outcome = run(&prepared(&http(vec![])), &origin.target(), &timeouts).await;
    assert_eq!(render(&outcome), "L7TOUT");
    let timeouts = Timeouts { inter: SHORT, connect: None, check: Some(PATIENT) };
    let origin = Origin::start(vec![Act::Read, send("HTTP/1.0 200 OK\r\n\r\n")]).await;
    assert_eq!(render(&run(&prepared(&http(vec![])), &origin.target(), &timeouts).await), "L7OK 200");
}

#[tokio::test]
async fn tcp_sequences() {
    check(tcp(vec![string("POP3")]), vec![send("+OK POP3 ready\r\n"), Act::Hold], "L7OK (tcp-check)").await;
    check(
        tcp(vec![string("ready")]),
        vec![Act::Drip(b"+OK POP3 ready".into()), Act::Hold],
        "L7OK (tcp-check)",
    )
    .await;
    check(tcp(vec![tcp_send("QUIT\r\n")]), vec![Act::Hold], "L7OK (tcp-check)").await;
    check(
        tcp(vec![tcp_send("PING\r\n"), string("+PONG")]),
        vec![Act::Read, send("+PONG\r\n"), Act::Hold],
        "L7OK (tcp-check)",
    )
    .await;
    check(
        tcp(vec![string("hello"), string("hello")]),
        vec![send("hello world"), Act::Hold],
        "L7OK (tcp-check)",
    )
    .await;
    check(
        tcp(vec![string("bye")]),
        vec![send("hello")],
        "L7RSP TCPCHK did not match content 'bye' at step 1",
    )
    .await;
    check(tcp(vec![string("a")]), vec![], "L7RSP TCPCHK got an empty response at step 1").await;
    check(
        tcp(vec![string("yes")]),
        vec![Act::Send(vec![b'x'; 100_000]), Act::Hold],
        "L7RSP TCPCHK did not match content 'yes' at step 1",
    )
    .await;
    check(
        tcp(vec![tcp_send("x"), string("a")]),
        vec![Act::Read, Act::Reset],
        "SOCKERR ECONNRESET returned by OS (Connection reset by peer) at step 2 of tcp-check (expect string 'a')",
    )
    .await;
    let negated = CheckExpect { negate: true, ..expect(ExpectWhat::String((*b"err").into())) };
    check(tcp(vec![CheckStep::Expect(negated)]), vec![send("fine")], "L7OK (tcp-check)").await;
    let conditional =
        CheckExpect { ok_status: Some("L7OKC".into()), ..expect(ExpectWhat::Regex("^he".into())) };
    check(tcp(vec![CheckStep::Expect(conditional)]), vec![send("hello"), Act::Hold], "L7OKC (tcp-check)")
        .await;
    let renamed = CheckExpect {
        error_status: Some("L6RSP".into()),
        comment: Some("no".into()),
        ..expect(ExpectWhat::RegexBinary("^62".into()))
    };
    check(
        tcp(vec![CheckStep::Expect(renamed)]),
        vec![send("hello")],
        "L6RSP TCPCHK did not match content (binary regex) at step 1 comment: no",
    )
    .await;
}

/// What was received before a request is not taken for its answer.
#[tokio::test]
async fn a_request_starts_a_new_answer() {
    check_timeout(
        tcp(vec![string("hello"), tcp_send("x"), string("world"), string("hello")]),
        vec![send("hello"), Act::Read, send("world"), Act::Hold],
        "L7TOUT  at step 4 of tcp-check (expect string 'hello')",
    )
    .await;
}

#[tokio::test]
async fn tcp_timeouts() {
    check_timeout(
        tcp(vec![string("a")]),
        vec![Act::Hold],
        "L7TOUT  at step 1 of tcp-check (expect string 'a')",
    )
    .await;
    check_timeout(
        tcp(vec![
            CheckStep::Comment("foo".into()),
            connect(None),
            CheckStep::Comment("mid".into()),
            string("bye"),
        ]),
        vec![send("hello"), Act::Hold],
        "L7TOUT  at step 4 of tcp-check (expect string 'bye') comment: 'mid'",
    )
    .await;
    let renamed = CheckExpect { tout_status: Some("L4TOUT".into()), ..expect(ExpectWhat::Regex("a".into())) };
    check_timeout(
        tcp(vec![CheckStep::Expect(renamed)]),
        vec![Act::Hold],
        "L4TOUT  at step 1 of tcp-check (expect regex)",
    )
    .await;
}

#[tokio::test]
async fn sequences_move_to_other_ports() {
    let first = Origin::start(vec![send("hello"), Act::Hold]).await;
    let mut second = Origin::start(vec![Act::Read, send("world"), Act::Hold]).await;
    let sequence =
        |port| tcp(vec![connect(None), string("hello"), connect(Some(port)), tcp_send("x"), string("world")]);
    let outcome = run(&prepared(&sequence(second.addr.port())), &first.target(), &within(PATIENT)).await;
    assert_eq!(render(&outcome), "L7OK (tcp-check)");
    assert_eq!(second.requests.recv().await.as_deref(), Some(&b"x"[..]));

    let closed = closed_port().await.port();
    let outcome = run(&prepared(&sequence(closed)), &first.target(), &within(PATIENT)).await;
    assert_eq!(
        render(&outcome),
        format!("L4CON Connection refused at step 3 of tcp-check (connect port {closed})")
    );
}

#[tokio::test]
async fn connections_end_with_a_reset_unless_told_to_linger() {
    for (linger, expected) in [(false, End::Reset), (true, End::Fin)] {
        let mut origin = Origin::start(vec![send("hello"), Act::Hold]).await;
        let connect = CheckStep::Connect(CheckConnect { linger, ..CheckConnect::default() });
        let outcome =
            run(&prepared(&tcp(vec![connect, string("hello")])), &origin.target(), &within(PATIENT)).await;
        assert_eq!(render(&outcome), "L7OK (tcp-check)");
        assert_eq!(origin.ends.recv().await, Some(expected));
    }
}

fn status(code: u16, body: &str) -> Vec<Act> {
    vec![
        Act::Read,
        send(&format!("HTTP/1.1 {code} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())),
        Act::Hold,
    ]
}

#[tokio::test]
async fn http_checks() {
    check(http(vec![]), status(200, ""), "L7OK 200").await;
    check(http(vec![]), status(304, ""), "L7OK 304").await;
    check(http(vec![]), status(404, ""), "L7STS 404 X").await;
    check(http(vec![]), status(503, "sorry"), "L7STS 503 X").await;
    check(http(vec![]), vec![Act::Read, Act::Drip(b"HTTP/1.0 200 OK\r\n\r\n".into()), Act::Hold], "L7OK 200")
        .await;
    check(
        http(vec![]),
        vec![Act::Read, Act::Send(b"HTTP/1.1 500 a\"b<c>\xff\r\n\r\n".into())],
        "L7STS 500 a<22>b<3C>c<3E><FF>",
    )
    .await;
    check(http(vec![string("all good")]), status(500, "all good"), "L7OK 500").await;
    check(http(vec![string("all good")]), status(200, "bad"), "L7RSP 200 HTTP content check did not match")
        .await;
    check(
        http(vec![string("cde")]),
        vec![
            Act::Read,
            Act::Drip(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
                    .into(),
            ),
        ],
        "L7OK 200",
    )
    .await;
    check(
        http(vec![string("yes")]),
        vec![Act::Read, send(&format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100_000))), Act::Hold],
        "L7RSP 200 HTTP content check did not match",
    )
    .await;
}

#[tokio::test]
async fn http_answers_that_are_none() {
    check(http(vec![]), vec![Act::Read], "SOCKERR").await;
    check(http(vec![]), vec![Act::Read, send("garbage\r\n\r\n"), Act::Hold], "SOCKERR").await;
    check(http(vec![]), vec![Act::Read, send("HTTP/1.1 200 O")], "SOCKERR").await;
    check(
        http(vec![]),
        vec![Act::Read, send(&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(100_000))), Act::Hold],
        "SOCKERR",
    )
    .await;
    check(
        http(vec![]),
        vec![Act::Read, Act::Reset],
        "SOCKERR ECONNRESET returned by OS (Connection reset by peer)",
    )
    .await;
    check_timeout(http(vec![]), vec![Act::Read, Act::Hold], "L7TOUT").await;
    check_timeout(http(vec![]), vec![Act::Read, send("HTTP/1.1 200 O"), Act::Hold], "L7TOUT").await;
    check_timeout(
        http(vec![string("abcd")]),
        vec![Act::Read, send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), Act::Hold],
        "L7TOUT 200",
    )
    .await;
}

#[tokio::test]
async fn http_requests_of_a_sequence() {
    let mut origin = Origin::start(status(200, "hello")).await;
    let request = |uri: &str| {
        CheckStep::HttpSend(HttpSend {
            method: "GET".into(),
            uri: uri.into(),
            version: "HTTP/1.1".into(),
            headers: vec![("Host".into(), "a.b".into())],
            body: None,
            comment: None,
        })
    };
    let check = http(vec![connect(None), request("/1"), string("hello"), connect(None), request("/2")]);
    let outcome = run(&prepared(&check), &origin.target(), &within(PATIENT)).await;
    assert_eq!(render(&outcome), "L7OK 200");
    for uri in ["/1", "/2"] {
        let expected = format!("GET {uri} HTTP/1.1\r\nhost: a.b\r\nconnection: close\r\n\r\n");
        assert_eq!(origin.requests.recv().await, Some(expected.into_bytes()));
    }
}

#[tokio::test]
async fn unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("origin");
    let against = async |address| {
        render(&run(&prepared(&tcp(vec![string("hi")])), &Target::new(address), &within(PATIENT)).await)
    };
    assert_eq!(
        against(TargetAddress::Unix(path.clone())).await,
        "SOCKERR General socket error (No such file or directory) at initial connection step of tcp-check"
    );
    let listener = Arc::new(UnixListener::bind(&path).unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"hi").await.unwrap();
        }
    });
    assert_eq!(against(TargetAddress::Unix(path)).await, "L7OK (tcp-check)");

    let name = format!("sockeye-health-test-{}", std::process::id()).into_bytes();
    assert_eq!(
        against(TargetAddress::Abstract(name.clone())).await,
        "L4CON Connection refused at initial connection step of tcp-check"
    );
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"hi").await.unwrap();
        }
    });
    assert_eq!(against(TargetAddress::Abstract(name)).await, "L7OK (tcp-check)");
}

#[tokio::test]
async fn source_addresses() {
    let origin = Origin::start(vec![send("hi"), Act::Hold]).await;
    let from = async |source: &str, ports| {
        let source = Source { address: Some(source.parse().unwrap()), ports, ..Source::default() };
        let target = Target { source, ..origin.target() };
        render(&run(&prepared(&tcp(vec![string("hi")])), &target, &within(PATIENT)).await)
    };
    assert_eq!(from("127.0.0.2:0", None).await, "L7OK (tcp-check)");
    assert_eq!(from("127.0.0.2:0", Some((20_000, 60_000))).await, "L7OK (tcp-check)");
    // TEST-NET-1 of RFC 5737 is no address of this machine.
    assert_eq!(
        from("192.0.2.1:0", None).await,
        "L4CON Can't bind to source address (Cannot assign requested address) at initial connection step of tcp-check"
    );
}
