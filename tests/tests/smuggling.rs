//! Bad HTTP/1 in both directions: what a peer gets for it, and that nothing ambiguous travels on.

use std::sync::{Arc, Mutex};

use lb_tests::{Answer, Daemon, Origin, Peer, Rig, Setup, get, is_haproxy, ok, show};

/// What a daemon may do with a message.
#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    /// Refuse it.
    Refuse,
    /// Refuse it; HAProxy 3.2 lets it pass in a form that it holds to be harmless.
    RefuseStricter,
}
use Verdict::{Refuse, RefuseStricter};

impl Verdict {
    fn applies(self) -> bool {
        self == Refuse || !is_haproxy()
    }
}

/// An origin that only records what it is told, over all connections.
struct Recorder {
    bytes: Arc<Mutex<Vec<u8>>>,
    addr: std::net::SocketAddr,
}

impl Recorder {
    fn start() -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let origin = Origin::bind();
        let addr = origin.addr();
        let sink = bytes.clone();
        tokio::spawn(async move {
            loop {
                // One connection after the other would block on a first one that stays open.
                let accepted =
                    tokio::time::timeout(std::time::Duration::from_secs(60), origin.accept_any()).await;
                let Ok(peer) = accepted else { return };
                let sink = sink.clone();
                tokio::spawn(async move {
                    let stream = peer.into_tcp();
                    loop {
                        let mut piece = Vec::with_capacity(4096);
                        if stream.readable().await.is_err() {
                            return;
                        }
                        match stream.try_read_buf(&mut piece) {
                            Ok(0) => return,
                            Ok(_) => sink.lock().expect("recorder").extend(piece),
                            Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => {}
                            Err(_) => return,
                        }
                    }
                });
            }
        });
        Self { bytes, addr }
    }

    fn seen(&self) -> Vec<u8> {
        self.bytes.lock().expect("recorder").clone()
    }

    fn forget(&self) {
        self.bytes.lock().expect("recorder").clear();
    }
}

fn daemon(addr: std::net::SocketAddr) -> Daemon {
    // A short server timeout ends what HAProxy lets pass to an origin that never answers.
    Setup::new(Rig::http().quiet().defaults("timeout server 300ms\nretries 0").cfg()).at("s1", addr).start()
}

/// Heads that may not travel at all: the client gets 400 (or what else is written) and the end of the connection.
const BAD_REQUESTS: &[(&str, &str, Verdict)] = &[
    // --- the request line ---
    ("no version", "GET /\r\n\r\n", Refuse),
    ("no target", "GET HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("two spaces before the target", "GET  / HTTP/1.1\r\nhost: test\r\n\r\n", RefuseStricter),
    ("two spaces before the version", "GET /  HTTP/1.1\r\nhost: test\r\n\r\n", RefuseStricter),
    ("tab in the request line", "GET\t/\tHTTP/1.1\r\nhost: test\r\n\r\n", RefuseStricter),
    ("space after the version", "GET / HTTP/1.1 \r\nhost: test\r\n\r\n", Refuse),
    ("space before the method", " GET / HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("four words", "GET / x HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("lower-case version", "GET / http/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("version 2.0", "GET / HTTP/2.0\r\nhost: test\r\n\r\n", RefuseStricter),
    ("version 0.9", "GET / HTTP/0.9\r\nhost: test\r\n\r\n", RefuseStricter),
    ("version 1.10", "GET / HTTP/1.10\r\nhost: test\r\n\r\n", Refuse),
    ("version 11.1", "GET / HTTP/11.1\r\nhost: test\r\n\r\n", Refuse),
    ("not HTTP", "GET / RTSP/1.0\r\nhost: test\r\n\r\n", Refuse),
    ("method with a colon", "GE:T / HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("method with a bracket", "G(T / HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("method with a control character", "G\x01T / HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("NUL in the target", "GET /\0 HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("control character in the target", "GET /\x1f HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("DEL in the target", "GET /\x7f HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("fragment in the target", "GET /a#b HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("target without slash", "GET index.html HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("star for another method", "GET * HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("CONNECT without port", "CONNECT test HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("CONNECT with a path", "CONNECT /x HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("authority for another method", "GET test:80 HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("bare CR in the request line", "GET / HTTP/1.1\rX\r\nhost: test\r\n\r\n", Refuse),
    // --- field lines ---
    ("space before the colon", "GET / HTTP/1.1\r\nhost: test\r\nx : y\r\n\r\n", Refuse),
    ("tab before the colon", "GET / HTTP/1.1\r\nhost: test\r\nx\t: y\r\n\r\n", Refuse),
    (
        "space before the colon of content-length",
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length : 3\r\n\r\nabc",
        Refuse,
    ),
    ("folded value", "GET / HTTP/1.1\r\nhost: test\r\nx: y\r\n z\r\n\r\n", RefuseStricter),
    ("folded with a tab", "GET / HTTP/1.1\r\nhost: test\r\nx: y\r\n\tz\r\n\r\n", RefuseStricter),
    (
        "folded content-length",
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length:\r\n 3\r\n\r\nabc",
        RefuseStricter,
    ),
    ("space before the first field", "GET / HTTP/1.1\r\n host: test\r\n\r\n", Refuse),
    ("no colon", "GET / HTTP/1.1\r\nhost: test\r\nnonsense\r\n\r\n", Refuse),
    ("empty name", "GET / HTTP/1.1\r\nhost: test\r\n: x\r\n\r\n", Refuse),
    ("bracket in a name", "GET / HTTP/1.1\r\nhost: test\r\nx(y): z\r\n\r\n", Refuse),
    ("non-ASCII name", "GET / HTTP/1.1\r\nhost: test\r\nxé: z\r\n\r\n", Refuse),
    ("NUL in a name", "GET / HTTP/1.1\r\nhost: test\r\nx\0y: z\r\n\r\n", Refuse),
    ("NUL in a value", "GET / HTTP/1.1\r\nhost: test\r\nx: y\0z\r\n\r\n", Refuse),
    ("bare CR in a value", "GET / HTTP/1.1\r\nhost: test\r\nx: y\rz: w\r\n\r\n", Refuse),
    ("control character in a value", "GET / HTTP/1.1\r\nhost: test\r\nx: y\x01z\r\n\r\n", RefuseStricter),
    ("DEL in a value", "GET / HTTP/1.1\r\nhost: test\r\nx: y\x7fz\r\n\r\n", RefuseStricter),
    // --- host ---
    ("two hosts", "GET / HTTP/1.1\r\nhost: test\r\nhost: other\r\n\r\n", Refuse),
    ("host against an absolute target", "GET http://other/ HTTP/1.1\r\nhost: test\r\n\r\n", Refuse),
    ("CONNECT against its host", "CONNECT a.test:1 HTTP/1.1\r\nhost: b.test:1\r\n\r\n", Refuse),
    ("host with a space", "GET / HTTP/1.1\r\nhost: te st\r\n\r\n", Refuse),
    ("host with a path", "GET / HTTP/1.1\r\nhost: test/x\r\n\r\n", Refuse),
    // --- content-length ---
    (
        "two different lengths",
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        Refuse,
    ),
    (
        "list of different lengths",
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3, 4\r\n\r\nabcd",
        Refuse,
    ),
    ("signed length", "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: +3\r\n\r\nabc", Refuse),
    ("negative length", "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: -3\r\n\r\nabc", Refuse),
    ("hexadecimal length", "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0x3\r\n\r\nabc", Refuse),
    ("length with a fraction", "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3.0\r\n\r\nabc", Refuse),
    ("length of two words", "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3 3\r\n\r\nabc", Refuse),
    ("empty length", "POST / HTTP/1.1\r\nhost: test\r\ncontent-length:\r\n\r\nabc", Refuse),
    (
        "length that overflows 64 bits",
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 18446744073709551619\r\n\r\nabc",
        Refuse,
    ),
    ("list with an empty element", "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3,\r\n\r\nabc", Refuse),
    // --- transfer-encoding ---
    ("unknown coding", "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: gzip\r\n\r\n", Refuse),
    (
        "coding after chunked",
        "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        Refuse,
    ),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        Refuse,
    ),
    (
        "chunked in two fields",
        "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        Refuse,
    ),
    (
        "nearly chunked",
        "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        Refuse,
    ),
    (
        "chunked with a parameter",
        "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked;x\r\n\r\n0\r\n\r\n",
        Refuse,
    ),
    (
        "quoted chunked",
        "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        Refuse,
    ),
    (
        "identity",
        "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: identity\r\ncontent-length: 3\r\n\r\nabc",
        Refuse,
    ),
    ("empty coding", "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding:\r\n\r\n", Refuse),
    (
        "vertical tab before chunked",
        "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        Refuse,
    ),
    (
        "chunked in HTTP/1.0",
        "POST / HTTP/1.0\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        RefuseStricter,
    ),
];

#[tokio::test]
async fn bad_request_heads() {
    let recorder = Recorder::start();
    let mut daemon = daemon(recorder.addr);
    let mut problems = Vec::new();
    for (name, bytes, _) in BAD_REQUESTS.iter().filter(|(_, _, verdict)| verdict.applies()) {
        let mut answer = String::new();
        // The end of a connection with bytes unread is a reset, which may overtake the page.
        for _ in 0..5 {
            let mut client = daemon.connect("fe").await;
            client.try_send(format!("{bytes}GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n")).await;
            // Whoever takes it for a request answers, and then sees that there is no other one.
            client.finish();
            answer = client.rest_text().await;
            if !answer.is_empty() {
                break;
            }
        }
        let seen = String::from_utf8_lossy(&recorder.seen()).into_owned();
        recorder.forget();
        let refused = (answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 505 "))
            && seen.is_empty()
            && answer.matches("HTTP/1.1").count() == 1
            && answer.to_ascii_lowercase().contains("connection: close\r\n");
        // To two lengths HAProxy answers with silence.
        let silent = is_haproxy() && answer.is_empty() && seen.is_empty();
        if !refused && !silent {
            problems.push(format!("{name}: the client got {:?}, the origin {seen:?}", answer.lines().next()));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Bodies that break in the middle: what was valid may have travelled, the rest may not.
const BAD_CHUNKS: &[(&str, &str)] = &[
    ("letter for a size", "x\r\nabc\r\n0\r\n\r\n"),
    ("empty size", "\r\nabc\r\n0\r\n\r\n"),
    ("negative size", "-1\r\nabc\r\n0\r\n\r\n"),
    ("signed size", "+3\r\nabc\r\n0\r\n\r\n"),
    ("0x size", "0x3\r\nabc\r\n0\r\n\r\n"),
    ("space before the size", " 3\r\nabc\r\n0\r\n\r\n"),
    ("size that overflows 64 bits", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("size that overflows 32 bits twice", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
    ("data longer than the size", "2\r\nabc\r\n0\r\n\r\n"),
    ("data without end of line", "3\r\nabc0\r\n\r\n"),
    ("bare CR after the size", "3\rabc\r\n0\r\n\r\n"),
    ("bare CR after the data", "3\r\nabc\r0\r\n\r\n"),
    ("bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
    ("bad size after a good chunk", "3\r\nabc\r\nzz\r\n0\r\n\r\n"),
    ("trailer without colon", "3\r\nabc\r\n0\r\nnonsense\r\n\r\n"),
    ("trailer with a space before the colon", "3\r\nabc\r\n0\r\nx : y\r\n\r\n"),
    ("trailer with NUL", "3\r\nabc\r\n0\r\nx: \0\r\n\r\n"),
    ("trailer with an empty name", "3\r\nabc\r\n0\r\n: y\r\n\r\n"),
];

#[tokio::test]
async fn bad_chunks_in_requests() {
    const HEAD: &str = "POST /bad HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    let recorder = Recorder::start();
    let mut daemon = daemon(recorder.addr);
    let mut problems = Vec::new();
    for (name, body) in BAD_CHUNKS {
        let mut client = daemon.connect("fe").await;
        client.try_send(format!("{HEAD}{body}GET /smuggled HTTP/1.1\r\nhost: test\r\n\r\n")).await;
        let answer = client.rest_text().await;
        let seen = recorder.seen();
        recorder.forget();
        let whole = [HEAD, "3\r\nabc\r\n0\r\n\r\n"].concat();
        let harmless = seen.is_empty()
            || (whole.as_bytes().starts_with(&seen) && seen.len() < whole.len())
            || [HEAD, "2\r\nab\r\n"].concat().as_bytes() == seen;
        // Once the head has travelled the client may see the connection end instead of a page.
        let told = answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5");
        if !harmless || !told || answer.matches("HTTP/1.1").count() > 1 {
            problems.push(format!("{name}: the client got {answer:?}, the origin {}", show(&seen)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn forbidden_trailers_do_not_travel() {
    if is_haproxy() {
        // RFC 9110 section 6.5.1: framing and routing fields are forbidden there; HAProxy 3.2 passes them on.
        return;
    }
    let recorder = Recorder::start();
    let mut daemon = daemon(recorder.addr);
    for trailer in ["content-length: 5", "transfer-encoding: chunked", "host: other"] {
        let mut client = daemon.connect("fe").await;
        client
            .try_send(format!(
                "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n{trailer}\r\nx-good: 1\r\n\r\n"
            ))
            .await;
        client.try_reply().await;
        let seen = String::from_utf8_lossy(&recorder.seen()).into_owned();
        recorder.forget();
        // Taken out, or the whole message refused.
        let (_, tail) = seen.split_once("\r\n\r\n").unwrap_or_default();
        assert!(!tail.contains(trailer), "{trailer} travelled: {seen}");
    }
}

/// Messages with two readings that are put right: exactly this reaches the origin.
#[tokio::test]
async fn ambiguous_requests_travel_with_one_meaning() {
    let recorder = Recorder::start();
    let mut daemon = daemon(recorder.addr);
    let mut problems = Vec::new();
    for (name, sent, seen) in [
        (
            "the same length twice",
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc",
        ),
        (
            "a list of the same length",
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3, 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc",
        ),
        (
            "chunked in capitals",
            "POST / HTTP/1.1\r\nhost: test\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
    ] {
        let mut client = daemon.connect("fe").await;
        client.send(sent).await;
        client.try_reply().await;
        let got = String::from_utf8_lossy(&recorder.seen()).into_owned();
        recorder.forget();
        // Refusing is no loss of safety either.
        if got != seen && (is_haproxy() || !got.is_empty()) {
            problems.push(format!("{name}: the origin got {got:?}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn upgrade_to_h2c_is_not_passed_on() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig
        .asked(
            "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
             http2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        )
        .await;
    // A server that switched would carry requests which nobody here has read.
    let seen = origin.head().await;
    assert!(!seen.contains("upgrade"), "{seen}");
    origin.send(ok("still HTTP/1.1")).await;
    client.expect(ok("still HTTP/1.1")).await;
}

#[tokio::test]
async fn length_beside_chunked_closes_the_connection() {
    // RFC 9112 section 6.1: chunked wins, the length goes, and the connection with it.
    let recorder = Recorder::start();
    let mut daemon = daemon(recorder.addr);
    for fields in [
        "content-length: 3\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 44",
    ] {
        let mut client = daemon.connect("fe").await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nhost: test\r\n{fields}\r\n\r\n3\r\nabc\r\n0\r\n\r\n{}",
                get("/smuggled")
            ))
            .await;
        let answer = client.rest_text().await;
        let seen = String::from_utf8_lossy(&recorder.seen()).into_owned();
        recorder.forget();
        assert!(!seen.contains("smuggled") && !seen.contains("content-length"), "{seen}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
}

#[tokio::test]
async fn bytes_after_a_closing_request_are_not_a_request() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig
        .asked(["GET /1 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n", &get("/smuggled")].concat())
        .await;
    origin.expect(get("/1")).await;
    origin.send(ok("only")).await;
    let answer = client.rest_text().await;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nonly");
    rig.origin.expect_quiet().await;
}

#[tokio::test]
async fn body_of_a_get_is_a_body() {
    let mut rig = Rig::http().start();
    let request = format!("GET / HTTP/1.1\r\nhost: test\r\ncontent-length: 38\r\n\r\n{}", get("/smuggled"));
    let (mut client, mut origin) = rig.asked(&request).await;
    let (head, _) = request.split_once("\r\n\r\n").expect("a head");
    let seen = origin.head().await;
    assert!(seen.starts_with(head) || !is_haproxy(), "{seen}");
    let body = get("/smuggled");
    origin.expect(&body[..38]).await;
    origin.send(ok("one")).await;
    client.expect(ok("one")).await;
}

/// Responses that are no responses: the client gets 502.
const BAD_RESPONSES: &[(&str, &str, Verdict)] = &[
    ("no version", "OK\r\n\r\n", Refuse),
    ("lower-case version", "http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Refuse),
    ("version 2.0", "HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n", RefuseStricter),
    ("no status", "HTTP/1.1\r\ncontent-length: 0\r\n\r\n", Refuse),
    ("two-digit status", "HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n", RefuseStricter),
    ("four-digit status", "HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n", Refuse),
    ("letters for a status", "HTTP/1.1 2xx OK\r\ncontent-length: 0\r\n\r\n", Refuse),
    ("status 099", "HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n", RefuseStricter),
    ("NUL in the reason", "HTTP/1.1 200 O\0K\r\ncontent-length: 0\r\n\r\n", RefuseStricter),
    ("space before the colon", "HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 0\r\n\r\n", Refuse),
    ("space before the colon of content-length", "HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n", Refuse),
    ("folded value", "HTTP/1.1 200 OK\r\nx: y\r\n z\r\ncontent-length: 0\r\n\r\n", RefuseStricter),
    ("no colon", "HTTP/1.1 200 OK\r\nnonsense\r\ncontent-length: 0\r\n\r\n", Refuse),
    ("empty name", "HTTP/1.1 200 OK\r\n: x\r\ncontent-length: 0\r\n\r\n", Refuse),
    ("bad name", "HTTP/1.1 200 OK\r\nx(: y\r\ncontent-length: 0\r\n\r\n", Refuse),
    ("NUL in a value", "HTTP/1.1 200 OK\r\nx: \0\r\ncontent-length: 0\r\n\r\n", Refuse),
    ("bare CR in a value", "HTTP/1.1 200 OK\r\nx: a\rb: c\r\ncontent-length: 0\r\n\r\n", Refuse),
    ("two different lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", Refuse),
    ("signed length", "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\na", Refuse),
    ("length that overflows", "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\na", Refuse),
    ("empty length", "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\na", Refuse),
    ("coding after chunked", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n", Refuse),
    ("chunked twice", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Refuse),
    ("unasked 101", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Refuse),
];

#[tokio::test]
async fn bad_response_heads() {
    let which = Arc::new(Mutex::new(String::new()));
    let response = which.clone();
    let origin =
        Origin::bind().serve(move |_| Answer::Close(response.lock().expect("response").clone().into_bytes()));
    let mut daemon = daemon(origin.addr());
    let mut problems = Vec::new();
    for (name, bytes, _) in BAD_RESPONSES.iter().filter(|(_, _, verdict)| verdict.applies()) {
        *which.lock().expect("response") = (*bytes).to_owned();
        let mut client = daemon.connect("fe").await;
        let answer = client.ask("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
        if answer.status() != 502 && answer.status() != 500 {
            problems.push(format!("{name}: the client got {:?}", answer.head));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[tokio::test]
async fn bad_chunks_in_responses() {
    let which = Arc::new(Mutex::new(String::new()));
    let response = which.clone();
    let origin =
        Origin::bind().serve(move |_| Answer::Close(response.lock().expect("response").clone().into_bytes()));
    let mut daemon = daemon(origin.addr());
    let mut problems = Vec::new();
    for (name, body) in BAD_CHUNKS {
        *which.lock().expect("response") = format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}HTTP/1.1 200 Smuggled\r\n\r\n"
        );
        let mut client = daemon.connect("fe").await;
        client.send("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
        let answer = client.rest_text().await;
        // A page, or the good beginning without the end that would make it whole.
        if answer.contains("Smuggled") || answer.ends_with("0\r\n\r\n") {
            problems.push(format!("{name}: the client got {answer:?}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A response with more bytes than it announces: the rest may not become the next client's answer.
#[tokio::test]
async fn extra_bytes_after_a_response_poison_nobody() {
    let mut rig = Rig::http().defaults("http-reuse always").start();
    let (mut client, mut origin) = rig.asked(get("/1")).await;
    origin.expect(get("/1")).await;
    origin.send([ok("one"), ok("poison")].concat()).await;
    client.expect(ok("one")).await;
    origin.expect_closed().await;
    let mut other = rig.client().await;
    other.send(get("/2")).await;
    let mut fresh = rig.origin.accept().await;
    fresh.expect(get("/2")).await;
    fresh.send(ok("two")).await;
    other.expect(ok("two")).await;
    // The first client, too, gets its own answer next.
    client.send(get("/3")).await;
    let seen = tokio::select! {
        mut third = rig.origin.accept() => third.head().await,
        seen = fresh.head() => seen,
    };
    assert_eq!(seen, get("/3"));
}

#[tokio::test]
async fn late_bytes_on_an_idle_connection_poison_nobody() {
    let mut rig = Rig::http().defaults("http-reuse always").start();
    let (mut client, mut origin) = rig.asked(get("/1")).await;
    origin.expect(get("/1")).await;
    origin.send(ok("one")).await;
    client.expect(ok("one")).await;
    // Nobody has asked for this.
    origin.try_send(ok("poison")).await;
    origin.expect_closed().await;
    client.send(get("/2")).await;
    let mut fresh = rig.origin.accept().await;
    fresh.expect(get("/2")).await;
    fresh.send(ok("two")).await;
    client.expect(ok("two")).await;
}

#[tokio::test]
async fn body_of_a_head_response_is_not_the_next_answer() {
    let mut rig = Rig::http().start();
    let (mut client, mut origin) = rig.asked("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    origin.head().await;
    // A server that answers HEAD with a body.
    origin.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison").await;
    client.expect("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n").await;
    client.send(get("/next")).await;
    let mut fresh = rig.origin.accept().await;
    fresh.expect(get("/next")).await;
    fresh.send(ok("right")).await;
    client.expect(ok("right")).await;
}

#[tokio::test]
async fn answer_before_any_request_is_not_used() {
    let mut rig = Rig::http().start();
    let mut client = rig.client().await;
    client.expect_quiet().await;
    client.send(get("/")).await;
    let mut origin: Peer = rig.origin.accept().await;
    origin.send("HTTP/1.1 408 Too Slow\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    // Early or not, it is the only answer there is, and it is used once.
    let answer = client.reply().await;
    assert!([408, 502].contains(&answer.status()), "{}", answer.head);
}
