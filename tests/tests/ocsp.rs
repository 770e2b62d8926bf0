//! `ocsp-update on`: responses are fetched from the responder and stapled, and every attempt is logged.
//!
//! The log lines and the requests were observed with HAProxy 3.2.

use lb_tests::tls::{Authority, Client, Files, Offer, TLS12, TLS13};
use lb_tests::{Answer, Daemon, Origin, Reply, Reserved, Rig, Setup, is_haproxy};
use rcgen::CustomExtension;
use rustix::process::Signal;

/// A file of the fixtures of `sockeye-tls`: `ocsp.pem` is by `ca.pem` and names `http://responder.test/x`.
fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/../lb-user/tls/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("a file")
}

/// The fixtures as `site.pem`, and a configuration that asks through `proxy`.
fn by_proxy(files: &Files, proxy: &str) -> Setup {
    files.write("site.pem", [data("ocsp.pem"), data("ca.pem"), data("v1.key")].concat());
    let global = format!(
        "ocsp-update.mode on\nocsp-update.httpproxy {proxy}\nocsp-update.mindelay 1\nocsp-update.maxdelay 1"
    );
    files.setup("crt <tls>/site.pem", &Rig::http().global(&global))
}

/// A certificate whose responder is at `uri`, for `site.pem`.
fn with_responder(uri: &str) -> Files {
    let authority = Authority::new("ours");
    let name = uri.as_bytes();
    let length = u8::try_from(name.len()).expect("a short address");
    // SEQUENCE of one AccessDescription: id-ad-ocsp and [6] uniformResourceIdentifier, all below 128 bytes.
    let mut access = vec![0x30, length + 14, 0x30, length + 12];
    access.extend_from_slice(&[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 0x86, length]);
    access.extend_from_slice(name);
    let leaf = authority.leaf_with(&["site.test"], |params| {
        let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
        params.custom_extensions.push(CustomExtension::from_oid_content(&oid, access));
    });
    Files::new(&[("site.pem", &(leaf.pem() + &authority.pem()))])
}

/// A configuration that fetches for it.
fn direct(files: &Files) -> Setup {
    let global = "ocsp-update.mode on\nocsp-update.mindelay 1\nocsp-update.maxdelay 1";
    files.setup("crt <tls>/site.pem", &Rig::http().global(global))
}

fn answer(kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

const KIND: &str = "application/ocsp-response";

/// What a new client is shown.
async fn staple(daemon: &mut Daemon, offer: Offer<'_>) -> Vec<u8> {
    let client = Client::new(&Authority::new("any"), Offer { anybody: true, ..offer });
    client.secure(daemon).await;
    client.staple()
}

#[tokio::test]
async fn a_response_is_fetched_through_the_proxy_and_shown_to_clients() {
    if is_haproxy() {
        // It refuses responses without an end, and one with an end would end the test.
        return;
    }
    let proxy = Origin::bind().serve(|_: &Reply| Answer::Keep(answer(KIND, &data("forever.ocsp"))));
    let files = Files::new(&[]);
    let mut daemon = by_proxy(&files, &proxy.addr().to_string()).start();
    let path = format!("{}/site.pem", files.show());
    daemon.stdout.wait(&format!("<OCSP-UPDATE> {path} 1 \"Update successful\" 0 1")).await;
    let request = proxy.requests()[0].clone();
    assert!(request.target().starts_with("http://responder.test/x/MEI"), "{}", request.target());
    assert!(
        !request.target()["http://responder.test/x/".len()..].contains(['/', '+', '=']),
        "{}",
        request.target()
    );
    assert_eq!(request.header("host"), Some("responder.test"));
    assert_eq!(request.header("accept"), Some("*/*"));
    for version in [&TLS12, &TLS13] {
        assert!(staple(&mut daemon, Offer::only(version)).await == data("forever.ocsp"), "{version:?}");
    }
    // And again, for ever.
    daemon.stdout.wait(&format!("<OCSP-UPDATE> {path} 1 \"Update successful\" 0 2")).await;
    daemon.signal(Signal::USR1);
    assert_eq!(daemon.exit().await.code, Some(0));
}

#[tokio::test]
async fn a_response_with_a_wrong_signature_is_not_shown() {
    let proxy = Origin::bind().serve(|_: &Reply| Answer::Keep(answer(KIND, &data("stranger.ocsp"))));
    let files = Files::new(&[]);
    let mut daemon = by_proxy(&files, &proxy.addr().to_string()).start();
    daemon
        .stdout
        .wait("<OCSP-UPDATE> <*> 4 \"OCSP response check failure (OCSP_basic_verify() failed)\" 1 0")
        .await;
    assert!(staple(&mut daemon, Offer::default()).await.is_empty());
    // The next attempt comes by itself.
    daemon.stdout.wait("<OCSP-UPDATE> <*> 4 <*> 2 0").await;
}

#[tokio::test]
async fn what_is_there_stays_when_the_responder_fails() {
    if is_haproxy() {
        return;
    }
    let proxy = Origin::bind().serve(|_: &Reply| "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let files = Files::new(&[]);
    files.write("site.pem.ocsp", data("forever.ocsp"));
    let mut daemon = by_proxy(&files, &proxy.addr().to_string()).start();
    daemon.stdout.wait("<OCSP-UPDATE> <*> 2 \"HTTP error\" 2 0").await;
    assert!(staple(&mut daemon, Offer::default()).await == data("forever.ocsp"));
}

#[tokio::test]
async fn answers_that_are_no_responses() {
    let reset = |_: &Reply| Answer::Close(Vec::new());
    let check = async |answer: fn(&Reply) -> Answer, expected: &str, exchange: Option<&str>| {
        let origin = Origin::bind();
        let uri = format!("http://{}/path", origin.addr());
        let files = with_responder(&uri);
        let origin = origin.serve(answer);
        let daemon = direct(&files).start();
        let path = format!("{}/site.pem", files.show());
        daemon.stdout.wait(&format!("<OCSP-UPDATE> {path} {expected} 1 0")).await;
        if let Some(exchange) = exchange {
            daemon.stdout.wait(&format!("{exchange} \"GET {uri}/M<*> HTTP/1.1\"")).await;
        }
        let request = origin.requests()[0].clone();
        assert!(request.target().starts_with("/path/M"), "{}", request.target());
        assert_eq!(request.header("host"), Some(&*origin.addr().to_string()));
    };
    check(
        |_| "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".into(),
        "2 \"HTTP error\"",
        Some("-:- [<date>] <OCSP-UPDATE> -/- <n>/0/<n>/<n>/<n> 500 <n> - - ---- 0/0/0/0/0 0/0 {}"),
    )
    .await;
    check(
        reset,
        "2 \"HTTP error\"",
        Some("-:- [<date>] <OCSP-UPDATE> -/- <n>/0/<n>/-1/<n> 502 <n> - - SH-- 0/0/0/0/3 0/0 {}"),
    )
    .await;
    check(
        |_| "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n".into(),
        "2 \"HTTP error\"",
        None,
    )
    .await;
    check(|_| Answer::Keep(answer("text/plain", b"no")), "3 \"Missing \"ocsp-response\" header\"", None)
        .await;
    check(
        |_| Answer::Keep(answer(KIND, b"abc")),
        "4 \"OCSP response check failure (d2i_OCSP_RESPONSE() failed)\"",
        None,
    )
    .await;
    if !is_haproxy() {
        // It waits for the rest of the one, and asks without pause after the other.
        check(
            |_| Answer::Keep(answer(KIND, &[0; 100_000])),
            "2 \"HTTP error\"",
            Some("<*> 200 <n> - - PD-- <*>"),
        )
        .await;
        check(
            |_| Answer::Keep(answer(KIND, b"")),
            "4 \"OCSP response check failure (d2i_OCSP_RESPONSE() failed)\"",
            None,
        )
        .await;
    }
}

#[tokio::test]
async fn a_responder_that_is_not_there_is_tried_again() {
    let mut daemon = {
        let reserved = Reserved::v4();
        let files = with_responder(&format!("http://{}", reserved.addr()));
        let daemon = direct(&files).reserved("responder", reserved).start();
        daemon.stdout.wait("<OCSP-UPDATE> <*> 2 \"HTTP error\" 1 0").await;
        daemon
    };
    daemon
        .stdout
        .wait("-:- [<date>] <OCSP-UPDATE> -/- <n>/0/-1/-1/<n> 503 <n> - - SC-- 0/0/0/0/3 0/0 {} \"GET http://<*>/M<*> HTTP/1.1\"")
        .await;
    assert!(staple(&mut daemon, Offer::default()).await.is_empty());
}

/// While a responder is silent, clients are served; the soft stop does not wait for it.
#[tokio::test]
async fn a_responder_that_says_nothing_holds_nobody_up() {
    let origin = Origin::bind();
    let host = format!("localhost:{}", origin.addr().port());
    let files = with_responder(&format!("http://{host}"));
    let origin = origin.serve(|_: &Reply| Answer::Hang);
    let mut daemon = direct(&files).start();
    origin.wait_hits(1).await;
    assert_eq!(origin.requests()[0].header("host"), Some(&*host));
    assert!(staple(&mut daemon, Offer::default()).await.is_empty());
    daemon.signal(Signal::USR1);
    assert_eq!(daemon.exit().await.code, Some(0));
}

#[tokio::test]
async fn nothing_is_fetched_without_being_asked_for() {
    let origin = Origin::bind();
    let files = with_responder(&format!("http://{}", origin.addr()));
    for global in ["", "ocsp-update.mode on\nocsp-update.disable on"] {
        let mut daemon = files.setup("crt <tls>/site.pem", &Rig::http().global(global)).start();
        assert!(staple(&mut daemon, Offer::default()).await.is_empty());
        origin.expect_quiet().await;
    }
}
