//! TLS with clients: who is shown which certificate, what is agreed on, how sessions and connections end.
//!
//! The log lines and the answers were observed with HAProxy 3.2.

use lb_tests::rig::Plan;
use lb_tests::tls::{Authority, Client, Files, Offer, Site, TLS12, TLS13};
use lb_tests::{Daemon, Rig, get, is_haproxy};
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::{CipherSuite, ProtocolVersion, SignatureScheme};

/// Says what the daemon knows of the connection.
const TELL: &str = "http-request return status 200 content-type text/plain lf-string \
    %[ssl_fc],%[ssl_fc_protocol],%[ssl_fc_cipher],%[ssl_fc_sni],%[ssl_fc_alpn],%[ssl_fc_is_resumed],%[ssl_f_sha1,hex]";

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// The usual frontend that answers with [`TELL`].
fn tell() -> Plan {
    Rig::http().frontend(TELL)
}

#[tokio::test]
async fn the_name_chooses_the_certificate() {
    let authority = Authority::new("ours");
    let leaves = [
        authority.leaf(&["a.test"]),
        authority.leaf(&["*.b.test"]),
        authority.leaf(&["x.b.test"]),
        authority.leaf(&["c.test"]),
    ];
    let [a, wild, x, c] = &leaves;
    let files = Files::new(&[
        ("a.pem", &a.pem()),
        ("wild.pem", &wild.pem()),
        ("dir/c.pem", &c.pem()),
        ("x.pem", &x.pem()),
    ]);
    let list = format!("{0}/wild.pem *.b.test !no.b.test\n{0}/x.pem x.b.test other.test\n", files.show());
    files.write("list", list);
    let client = Client::new(&authority, Offer::default());
    let mut daemon = files.setup("crt <tls>/a.pem crt <tls>/dir crt-list <tls>/list", &tell()).start();
    for (name, expected) in [
        ("a.test", a),
        ("A.TEST", a),
        ("c.test", c),
        ("y.b.test", wild),
        ("x.b.test", x),
        ("other.test", x),
        ("no.b.test", a),
        ("b.test", a),
        ("y.z.b.test", a),
        ("unknown.test", a),
    ] {
        let peer = daemon.connect("fe").await;
        let mut secured = client.connect(peer, name).await;
        assert!(secured.agreed().saw(expected), "{name}");
        let told = secured.ask(get("/")).await.text().to_lowercase();
        assert!(told.contains(&format!(",{},", name.to_lowercase())), "{told}");
    }
    // Without a name it is the default one, also for a client that offers no extension for it.
    let nameless = Client::new(&authority, Offer { sni: false, ..Offer::default() });
    let peer = daemon.connect("fe").await;
    assert!(nameless.connect(peer, "c.test").await.agreed().saw(a));
}

#[tokio::test]
async fn strict_names() {
    let site = Site::new();
    let mut daemon = site.setup("strict-sni", &Rig::http()).start();
    for version in BOTH {
        let client = site.client(Offer::only(version));
        let peer = daemon.connect("fe").await;
        let local = peer.local();
        let error = client.try_connect(peer, "else.test").await.err().expect("a refusal");
        assert!(error.to_string().contains("UnrecognisedName"), "{error}");
        daemon.stdout.wait(&format!("{local} [<date>] fe/1: SSL handshake failure<*>")).await;
        assert!(client.secure(&mut daemon).await.agreed().saw(&site.leaf));
    }
}

#[tokio::test]
async fn rsa_beside_ecdsa() {
    let authority = Authority::new("ours");
    let (ecdsa, rsa) = (authority.leaf(&["site.test"]), authority.rsa_leaf(&["site.test"]));
    let files = Files::new(&[("site.pem.rsa", &rsa.pem()), ("site.pem.ecdsa", &ecdsa.pem())]);
    let mut daemon = files.setup("crt <tls>/site.pem", &tell()).start();
    for version in BOTH {
        let both = Client::new(&authority, Offer::only(version));
        assert!(both.secure(&mut daemon).await.agreed().saw(&ecdsa), "{version:?}");
        let schemes = vec![SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];
        // The authority signed with ECDSA, which the client can check all the same.
        let only_rsa = Client::new(&authority, Offer { schemes, ..Offer::only(version) });
        assert!(only_rsa.secure(&mut daemon).await.agreed().saw(&rsa), "{version:?}");
    }
}

#[tokio::test]
async fn versions() {
    let site = Site::new();
    for (bind, allowed) in [
        ("", [true, true]),
        ("ssl-min-ver TLSv1.3", [false, true]),
        ("ssl-max-ver TLSv1.2", [true, false]),
        ("no-tlsv13", [true, false]),
        ("force-tlsv13", [false, true]),
    ] {
        let mut daemon = site.setup(bind, &tell()).start();
        for (version, allowed) in BOTH.into_iter().zip(allowed) {
            let client = site.client(Offer::only(version));
            let peer = daemon.connect("fe").await;
            let local = peer.local();
            match client.try_connect(peer, "site.test").await {
                Ok(mut secured) => {
                    assert!(allowed, "{bind}: {version:?}");
                    assert_eq!(secured.agreed().version, version.version);
                    let told = secured.ask(get("/")).await.text();
                    let name =
                        if version.version == ProtocolVersion::TLSv1_2 { "TLSv1.2" } else { "TLSv1.3" };
                    assert!(told.starts_with(&format!("1,{name},")), "{told}");
                }
                Err(error) => {
                    assert!(!allowed, "{bind}: {version:?}: {error}");
                    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
                    let line =
                        format!("{local} [<date>] fe/1: SSL handshake failure (<*>unsupported protocol)");
                    daemon.stdout.wait(&line).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn ciphers_and_curves() {
    let site = Site::new();
    let bind = "ciphers ECDHE-ECDSA-AES256-GCM-SHA384 ciphersuites TLS_AES_128_GCM_SHA256 curves P-384";
    let mut daemon = site.setup(bind, &tell()).start();
    for (version, suite, name) in [
        (&TLS12, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (&TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
    ] {
        let mut secured = site.client(Offer::only(version)).secure(&mut daemon).await;
        assert_eq!(secured.agreed().suite, suite);
        let told = secured.ask(get("/")).await.text();
        assert!(told.contains(&format!(",{name},")), "{told}");
    }
    for offer in [
        Offer { suites: vec![cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256], ..Offer::only(&TLS12) },
        Offer { suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384], ..Offer::only(&TLS13) },
        Offer { groups: vec![kx_group::X25519], ..Offer::only(&TLS13) },
        Offer { groups: vec![kx_group::X25519], ..Offer::only(&TLS12) },
    ] {
        let peer = daemon.connect("fe").await;
        let local = peer.local();
        let error = site.client(offer).try_connect(peer, "site.test").await.err().expect("a refusal");
        assert!(error.to_string().contains("HandshakeFailure"), "{error}");
        daemon.stdout.wait(&format!("{local} [<date>] fe/1: SSL handshake failure (<*>)")).await;
    }
}

#[tokio::test]
async fn application_protocols() {
    let site = Site::new();
    let mut daemon = site.setup("alpn http/1.1,http/1.0", &tell()).start();
    for (offered, expected) in [
        (&["http/1.1"][..], Some("http/1.1")),
        // Our order counts.
        (&["http/1.0", "http/1.1"], Some("http/1.1")),
        (&["x", "http/1.0"], Some("http/1.0")),
        (&[], None),
    ] {
        for version in BOTH {
            let client = site.client(Offer { alpn: offered, ..Offer::only(version) });
            let mut secured = client.secure(&mut daemon).await;
            assert_eq!(secured.agreed().alpn.as_deref(), expected);
            let told = secured.ask(get("/")).await.text();
            assert!(told.contains(&format!(",site.test,{},0,", expected.unwrap_or_default())), "{told}");
        }
    }
    if !is_haproxy() {
        // It goes on without any protocol, where RFC 7301 §3.2 wants an alert.
        let client = site.client(Offer { alpn: &["x"], ..Offer::default() });
        let peer = daemon.connect("fe").await;
        let error = client.try_connect(peer, "site.test").await.err().expect("a refusal");
        assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    }
}

#[tokio::test]
async fn http2_is_offered_and_spoken() {
    let site = Site::new();
    let mut daemon = site.setup("", &tell()).start();
    let client = site.client(Offer { alpn: &["h2", "http/1.1"], ..Offer::default() });
    let secured = client.secure(&mut daemon).await;
    assert_eq!(secured.agreed().alpn.as_deref(), Some("h2"));
    let (mut requests, connection) = h2::client::handshake(secured.into_tls()).await.expect("HTTP/2");
    let driver = tokio::spawn(connection);
    for _ in 0..3 {
        let request = http::Request::get("https://site.test/").body(()).expect("a request");
        let (response, _) = requests.send_request(request, true).expect("a stream");
        let mut body = response.await.expect("a response").into_body();
        let told = body.data().await.expect("a body").expect("a body");
        assert!(told.starts_with(b"1,TLSv1.3,") && told.windows(4).any(|part| part == b",h2,"), "{told:?}");
    }
    driver.abort();
}

/// Whether a second and a third connection are resumed.
async fn resumes(daemon: &mut Daemon, client: &Client) -> [bool; 2] {
    let mut seen = Vec::new();
    for round in 0..3 {
        let mut secured = client.secure(daemon).await;
        let resumed = secured.agreed().resumed;
        // In TLS 1.3 the ticket comes with the first answer.
        let told = secured.ask(get("/")).await.text();
        assert!(told.contains(&format!(",{},", u8::from(resumed))), "round {round}: {told}");
        secured.end().await;
        secured.expect_end().await;
        seen.push(resumed);
    }
    assert!(!seen[0]);
    [seen[1], seen[2]]
}

#[tokio::test]
async fn sessions_are_resumed() {
    let site = Site::new();
    for (bind, ids) in [("", true), ("no-tls-tickets", true)] {
        let mut daemon = site.setup(bind, &tell()).start();
        for version in BOTH {
            let tickets = site.client(Offer::only(version));
            assert_eq!(resumes(&mut daemon, &tickets).await, [true; 2], "{bind} {version:?}");
        }
        let only_ids = site.client(Offer { no_tickets: true, ..Offer::only(&TLS12) });
        assert_eq!(resumes(&mut daemon, &only_ids).await, [ids; 2], "{bind}");
    }
    // Neither tickets nor a place to keep sessions.
    let mut daemon = site.setup("no-tls-tickets", &tell().global("tune.ssl.cachesize 0")).start();
    let client = site.client(Offer::only(&TLS12));
    assert_eq!(resumes(&mut daemon, &client).await, [false; 2]);
}

#[tokio::test]
async fn ticket_keys_are_shared_between_daemons() {
    let site = Site::new();
    // Base64 of 48 and of 80 bytes.
    let key = |letter: &str, length: usize| letter.repeat(length / 3 * 4);
    let short = |letter: &str| key(letter, 48);
    let long = |letter: &str| letter.repeat(106) + letter + "=";
    site.files.write("short", [short("A"), short("B"), short("C")].join("\n") + "\n");
    site.files.write("other", [short("D"), short("E"), short("F")].join("\n") + "\n");
    // As after a rotation: what was the second to last is the first.
    site.files.write("rotated", [short("B"), short("C"), short("G")].join("\n") + "\n");
    site.files.write("long", [long("Q"), long("g"), long("w")].join("\n") + "\n");
    for version in BOTH {
        for (first, second, expected) in [
            ("short", "short", true),
            ("short", "rotated", true),
            ("short", "other", false),
            ("long", "long", true),
        ] {
            let client = site.client(Offer::only(version));
            let mut one = site.setup(&format!("tls-ticket-keys <tls>/{first}"), &tell()).start();
            let mut two = site.setup(&format!("tls-ticket-keys <tls>/{second}"), &tell()).start();
            let mut secured = client.secure(&mut one).await;
            secured.ask(get("/")).await;
            let mut secured = client.secure(&mut two).await;
            assert_eq!(secured.agreed().resumed, expected, "{version:?} {first} {second}");
            secured.ask(get("/")).await;
        }
    }
}

#[tokio::test]
async fn staples_are_presented() {
    if is_haproxy() {
        // It ignores a response without an end, and one with an end would end the test.
        return;
    }
    let data = |name: &str| {
        let path = format!("{}/../lb-user/tls/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).expect("a file")
    };
    let files = Files::new(&[]);
    files.write("site.pem", [data("ocsp.pem"), data("ca.pem"), data("v1.key")].concat());
    let mut plain = files.setup("crt <tls>/site.pem", &tell()).start();
    let response = data("forever.ocsp");
    files.write("stapled/site.pem", [data("ocsp.pem"), data("ca.pem"), data("v1.key")].concat());
    files.write("stapled/site.pem.ocsp", &response);
    let mut stapled = files.setup("crt <tls>/stapled/site.pem", &tell()).start();
    for version in BOTH {
        let client = Client::new(&Authority::new("any"), Offer { anybody: true, ..Offer::only(version) });
        client.secure(&mut stapled).await;
        assert!(client.staple() == response, "{version:?}");
        let client = Client::new(&Authority::new("any"), Offer { anybody: true, ..Offer::only(version) });
        client.secure(&mut plain).await;
        assert!(client.staple().is_empty(), "{version:?}");
    }
}

/// A handshake in single bytes, and one whose hello is cut at every place by records.
#[tokio::test]
async fn a_hello_may_come_byte_by_byte() {
    let site = Site::new();
    for bind in ["", "strict-sni", "alpn h2,http/1.1"] {
        let mut daemon = site.setup(bind, &tell()).start();
        for version in BOTH {
            let client = site.client(Offer { piece: 1, ..Offer::only(version) });
            let mut secured = client.secure(&mut daemon).await;
            assert_eq!(secured.ask(get("/")).await.status(), 200);
        }
    }
}
