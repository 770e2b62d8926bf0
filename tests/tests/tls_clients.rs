//! Client certificates: who is let in, what is said of those who are not, what expressions know of them.
//!
//! The log lines, the numbers and the values were observed with HAProxy 3.2.

use lb_tests::rig::Plan;
use lb_tests::tls::{Authority, Leaf, Offer, Site, TLS12, TLS13};
use lb_tests::{Daemon, Origin, Peer, Rig, get, is_haproxy};
use rcgen::{CertificateParams, DnType, SerialNumber, date_time_ymd};

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

const TELL: &str = "http-request return status 200 content-type text/plain lf-string \
    %[ssl_c_used],%[ssl_c_verify],%[ssl_c_err],%[ssl_c_ca_err],%[ssl_c_ca_err_depth],%[ssl_c_s_dn(CN)]";

fn tell() -> Plan {
    Rig::http().frontend(TELL)
}

/// A server's site, and the authority of its clients in `clients.pem`.
struct World {
    site: Site,
    clients: Authority,
}

impl World {
    fn new() -> Self {
        let (site, clients) = (Site::new(), Authority::new("clients"));
        site.files.write("clients.pem", clients.pem());
        Self { site, clients }
    }

    fn daemon(&self, bind: &str) -> Daemon {
        self.site.setup(&format!("ca-file <tls>/clients.pem {bind}"), &tell()).start()
    }

    /// Connects with `identity` in both versions; what the daemon tells, or the alert it sends.
    async fn check(&self, daemon: &mut Daemon, identity: Option<&Leaf>, expected: Result<&str, &str>) {
        for version in BOTH {
            let client = self.site.client(Offer { identity, ..Offer::only(version) });
            let peer = daemon.connect("fe").await;
            let local = peer.local();
            let outcome = match client.try_connect(peer, "site.test").await {
                Ok(secured) => ask(secured).await,
                Err(error) => Err(error.to_string()),
            };
            match (outcome, expected) {
                (Ok(told), Ok(expected)) => assert_eq!(told, expected, "{version:?}"),
                (Err(error), Err(alert)) => {
                    // HAProxy closes while the client still speaks, and what it said before is lost.
                    let lost = is_haproxy() && error.contains("Broken pipe");
                    assert!(error.contains(alert) || lost, "{version:?}: {error}, not {alert}");
                    let line = format!("{local} [<date>] fe/1: SSL client certificate not trusted");
                    daemon.stdout.wait(&line).await;
                }
                (outcome, expected) => panic!("{version:?}: {outcome:?}, not {expected:?}"),
            }
        }
    }
}

/// In TLS 1.3 a client learns of its refusal when it reads.
async fn ask(secured: Peer) -> Result<String, String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = secured.into_tls();
    stream.write_all(get("/").as_bytes()).await.map_err(|error| error.to_string())?;
    let mut got = Vec::new();
    loop {
        match lb_tests::within("an answer", stream.read_buf(&mut got)).await {
            Ok(1..) => {}
            Ok(_) => return Err("the end".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
        let text = String::from_utf8_lossy(&got);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = lb_tests::http::header(head, "content-length").and_then(|value| value.parse().ok());
            if length == Some(body.len()) {
                return Ok(body.to_owned());
            }
        }
    }
}

#[tokio::test]
async fn certificates_are_required_optional_or_ignored() {
    let world = World::new();
    let good = world.clients.leaf(&["alice"]);
    let stranger = Authority::new("strangers").leaf(&["mallory"]);
    let expired = world.clients.expired(&["old"]);
    let mut none = world.daemon("verify none");
    world.check(&mut none, Some(&good), Ok("0,0,0,0,0,")).await;
    world.check(&mut none, None, Ok("0,0,0,0,0,")).await;
    let mut optional = world.daemon("verify optional");
    world.check(&mut optional, Some(&good), Ok("1,0,0,0,0,alice")).await;
    world.check(&mut optional, None, Ok("0,0,0,0,0,")).await;
    world.check(&mut optional, Some(&stranger), Err("UnknownCA")).await;
    let mut required = world.daemon("verify required");
    world.check(&mut required, Some(&good), Ok("1,0,0,0,0,alice")).await;
    world.check(&mut required, Some(&stranger), Err("UnknownCA")).await;
    world.check(&mut required, Some(&expired), Err("CertificateExpired")).await;
}

#[tokio::test]
async fn who_has_no_certificate_is_told_so() {
    let world = World::new();
    let mut required = world.daemon("verify required");
    for version in BOTH {
        let client = world.site.client(Offer::only(version));
        let peer = required.connect("fe").await;
        let local = peer.local();
        // The alert may be lost when more of the client's words meet a closed socket.
        if let Ok(secured) = client.try_connect(peer, "site.test").await {
            ask(secured).await.expect_err("a refusal");
        }
        let line = format!(
            "{local} [<date>] fe/1: SSL handshake failure \
             (error:<hex>:SSL routines::peer did not return a certificate)"
        );
        required.stdout.wait(&line).await;
    }
}

#[tokio::test]
async fn errors_that_are_ignored_are_told_of() {
    let world = World::new();
    let expired = world.clients.expired(&["old"]);
    let stranger = Authority::new("strangers").leaf(&["mallory"]);
    let mut some = world.daemon("verify required crt-ignore-err 10,18");
    world.check(&mut some, Some(&expired), Ok("1,10,10,0,0,old")).await;
    world.check(&mut some, Some(&stranger), Err("UnknownCA")).await;
    let mut all = world.daemon("verify optional crt-ignore-err all ca-ignore-err all");
    world.check(&mut all, Some(&expired), Ok("1,10,10,0,0,old")).await;
    world.check(&mut all, Some(&stranger), Ok("1,21,20,0,0,mallory")).await;
}

#[tokio::test]
async fn revoked_certificates() {
    let world = World::new();
    let with = |name: &str, serial: u64| {
        world.clients.leaf_with(&[name], |params| params.serial_number = Some(SerialNumber::from(serial)))
    };
    let (good, revoked) = (with("alice", 7), with("bob", 8));
    world.site.files.write("list.pem", world.clients.revocation_list(&[8, 9]));
    let mut strict = world.daemon("verify required crl-file <tls>/list.pem");
    world.check(&mut strict, Some(&good), Ok("1,0,0,0,0,alice")).await;
    world.check(&mut strict, Some(&revoked), Err("CertificateRevoked")).await;
    let mut lax = world.daemon("verify required crl-file <tls>/list.pem crt-ignore-err 23");
    world.check(&mut lax, Some(&revoked), Ok("1,23,23,0,0,bob")).await;
}

#[tokio::test]
async fn only_some_names_need_one() {
    let world = World::new();
    let files = &world.site.files;
    files.write("inner.pem", world.site.authority.leaf(&["inner.test"]).pem());
    let list = "<dir>/site.pem\n<dir>/inner.pem [verify required ca-file <dir>/clients.pem] inner.test\n";
    files.write("list", list.replace("<dir>", &files.show()));
    let mut daemon = files.setup("crt-list <tls>/list", &tell()).start();
    let good = world.clients.leaf(&["alice"]);
    for version in BOTH {
        for (name, identity, expected) in [
            ("site.test", None, Some("0,0,0,0,0,")),
            ("inner.test", Some(&good), Some("1,0,0,0,0,alice")),
            ("inner.test", None, None),
        ] {
            let client = world.site.client(Offer { identity, ..Offer::only(version) });
            let peer = daemon.connect("fe").await;
            let told = match client.try_connect(peer, name).await {
                Ok(secured) => ask(secured).await.ok(),
                Err(_) => None,
            };
            assert_eq!(told.as_deref(), expected, "{version:?} {name}");
        }
    }
}

/// The certificate whose every value is known.
fn detailed(params: &mut CertificateParams) {
    params.serial_number = Some(SerialNumber::from(0x1234_u64));
    params.not_before = date_time_ymd(2020, 1, 2);
    params.not_after = date_time_ymd(2090, 3, 4);
    params.distinguished_name.push(DnType::OrganizationName, "Fish & Chips");
    params.distinguished_name.push(DnType::CountryName, "NO");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

#[tokio::test]
async fn what_is_known_of_a_certificate() {
    let world = World::new();
    let origin = Origin::bind();
    let rows = [
        ("ssl_c_s_dn", "/CN=alice/O=Fish & Chips/C=NO"),
        ("ssl_c_s_dn(O)", "Fish & Chips"),
        ("ssl_c_s_dn(,0,rfc2253)", "C=NO,O=Fish & Chips,CN=alice"),
        ("ssl_c_i_dn", "/CN=clients"),
        ("ssl_c_serial,hex", "1234"),
        ("ssl_c_notbefore", "200102000000Z"),
        ("ssl_c_notafter", "900304000000Z"),
        ("ssl_c_version", "3"),
        ("ssl_c_key_alg", "id-ecPublicKey"),
        ("ssl_c_sig_alg", "ecdsa-with-SHA256"),
        ("ssl_c_der,hex", ""),
        ("ssl_c_sha1,hex,length", "40"),
        ("ssl_c_used", "1"),
        ("ssl_c_verify", "0"),
        ("ssl_fc_has_crt", "1"),
    ];
    let mut plan = Rig::http();
    for (at, (expr, _)) in rows.iter().enumerate() {
        plan = plan.frontend(&format!("http-request set-header x-{at} \"%[{expr}]\""));
    }
    let bind = "ca-file <tls>/clients.pem verify required";
    let mut daemon = world.site.setup(bind, &plan).at("s1", origin.addr()).start();
    let alice = world.clients.leaf_with(&["alice"], detailed);
    for version in BOTH {
        let client = world.site.client(Offer { identity: Some(&alice), ..Offer::only(version) });
        for resumed in [false, true] {
            let mut secured = client.secure(&mut daemon).await;
            assert_eq!(secured.agreed().resumed, resumed);
            secured.send(get("/")).await;
            let mut server = origin.accept().await;
            let head = server.head().await;
            server.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
            secured.reply().await;
            for (at, (expr, value)) in rows.iter().enumerate() {
                // A session that was resumed showed no certificate; what it had shown is known.
                let value = match *expr {
                    "ssl_fc_has_crt" if resumed => "0",
                    "ssl_c_der,hex" => &hex(alice.certificate.der()),
                    _ => value,
                };
                let got = lb_tests::http::header(&head, &format!("x-{at}"));
                assert_eq!(got, Some(value), "{expr} {version:?} resumed={resumed}");
            }
        }
    }
}
