//! The PROXY protocol: headers of a proxy in front, and headers for servers, byte for byte.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lb_tests::multiplex::{self, Client, whole};
use lb_tests::{Daemon, Origin, Peer, Rig, Setup, get, is_haproxy, ok};

/// The usual arrangement in `mode http` whose frontend says in the log whom it believes to serve.
fn accepting(bind: &str, lines: &str) -> Setup {
    let cfg = Rig::http()
        .frontend(
            r#"log-format "%ci:%cp %fi:%fp real=%[fc_src]:%[fc_src_port] rcvd=%[fc_rcvd_proxy] %{+Q}r""#,
        )
        .frontend("http-request return status 200 content-type text/plain lf-string %[src]:%[src_port]>%[dst]:%[dst_port]")
        .frontend(lines)
        .cfg();
    Setup::new(cfg.replace("bind <fe>", &format!("bind <fe> {bind}")))
}

async fn answer(client: &mut Peer) -> String {
    client.reply().await.text()
}

/// As headers write it.
fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).expect("a short value").to_be_bytes()
}

/// A version 2 header.
fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = length(payload);
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x20 | command, family], &length, payload].concat()
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], length(value).as_slice(), value].concat()
}

/// 192.0.2.7:5555 to 192.0.2.1:80
const INET: &[u8] = &[192, 0, 2, 7, 192, 0, 2, 1, 0x15, 0xb3, 0, 80];

const LINE: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 5555 80\r\n";

#[tokio::test]
async fn the_header_takes_the_place_of_the_addresses() {
    let mut daemon = accepting("accept-proxy", "").start();
    for header in [LINE.as_bytes().to_vec(), v2(1, 0x11, INET)] {
        let mut client = daemon.connect("fe").await;
        // Header and request in one segment.
        client.send([&header[..], get("/one").as_bytes()].concat()).await;
        assert_eq!(answer(&mut client).await, "192.0.2.7:5555>192.0.2.1:80");
        let real = client.local().port();
        let line = format!("192.0.2.7:5555 192.0.2.1:80 real=127.0.0.1:{real} rcvd=1 \"GET /one HTTP/1.1\"");
        daemon.stdout.wait(&line).await;
        // The next request of the connection has no header and the same client.
        client.send(get("/two")).await;
        assert_eq!(answer(&mut client).await, "192.0.2.7:5555>192.0.2.1:80");
    }
    let mut client = daemon.connect("fe").await;
    client.send("PROXY TCP6 2001:db8::7 2001:db8::1 5555 80\r\n").await;
    client.send(get("/")).await;
    assert_eq!(answer(&mut client).await, "2001:db8::7:5555>2001:db8::1:80");
}

#[tokio::test]
async fn without_addresses_the_real_ones_count() {
    let mut daemon = accepting("accept-proxy", "").start();
    let listener = daemon.addr("fe");
    let mut headers = vec![b"PROXY UNKNOWN\r\n".to_vec(), v2(0, 0, b""), v2(0, 0, &tlv(0xe0, b"x"))];
    if !is_haproxy() {
        // The specification wants these skipped, too; HAProxy ends the connection.
        headers.push(b"PROXY UNKNOWN whatever 1 2 3\r\n".to_vec());
        headers.push(v2(1, 0, b""));
        headers.push(v2(1, 0x12, INET));
        headers.push(v2(1, 0x31, &[0; 216]));
    }
    for header in headers {
        let mut client = daemon.connect("fe").await;
        client.send([&header[..], get("/").as_bytes()].concat()).await;
        let real = client.local();
        assert_eq!(answer(&mut client).await, format!("{real}>{listener}"), "{}", header.escape_ascii());
        daemon.stdout.wait(&format!("{real} {listener} real={real} rcvd=1 \"GET / HTTP/1.1\"")).await;
    }
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    if is_haproxy() {
        // It wants the whole header in the first segment.
        return;
    }
    let mut daemon = accepting("accept-proxy", "").start();
    let long = v2(1, 0x11, &[INET, &tlv(4, &[0; 700]), &tlv(0xe0, b"x")].concat());
    for (header, size) in [(LINE.as_bytes().to_vec(), 1), (v2(1, 0x11, INET), 1), (long, 100)] {
        let mut client = daemon.connect("fe").await;
        client.send_pieces(&header, size).await;
        client.send_pieces(get("/"), 1).await;
        assert_eq!(answer(&mut client).await, "192.0.2.7:5555>192.0.2.1:80");
    }
}

#[tokio::test]
async fn bad_headers_end_the_connection() {
    if is_haproxy() {
        // It takes some of them, and logs others with the addresses that they name.
        return;
    }
    let mut daemon = accepting("accept-proxy", "").start();
    let not = "Received something which does not look like a PROXY protocol header";
    let bad = "Received an invalid PROXY protocol header";
    let unhandled = "Received an unhandled protocol in the PROXY protocol header";
    let mut checksum = tlv(3, &[0; 4]);
    checksum[6] = 1;
    for (header, message) in [
        (get("/").into_bytes(), not),
        (b"\x16\x03\x01\0\x05hello".to_vec(), not),
        (
            v2(1, 0x11, INET)
                .iter()
                .enumerate()
                .map(|(at, byte)| if at == 12 { 0x31 } else { *byte })
                .collect(),
            not,
        ),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 80\r\n".to_vec(), bad),
        (b"PROXY TCP4 192.0.2.256 192.0.2.1 5555 80\r\n".to_vec(), bad),
        (b"PROXY TCP4 192.0.2.07 192.0.2.1 5555 80\r\n".to_vec(), bad),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 05555 80\r\n".to_vec(), bad),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 80\n".to_vec(), bad),
        (format!("PROXY TCP4 {}\r\n", "1".repeat(120)).into_bytes(), bad),
        (b"PROXY TCP5 192.0.2.7 192.0.2.1 5555 80\r\n".to_vec(), unhandled),
        (v2(2, 0x11, INET), bad),
        (v2(1, 0x41, INET), bad),
        (v2(1, 0x11, &INET[..8]), bad),
        (v2(1, 0x11, &[INET, b"\xe0\0\x09x"].concat()), bad),
        (v2(1, 0x11, &[INET, &checksum].concat()), bad),
        (v2(1, 0x11, &[INET, &tlv(5, &[b'u'; 129])].concat()), bad),
    ] {
        let mut client = daemon.connect("fe").await;
        let real = client.local();
        client.try_send(&header).await;
        client.expect_closed().await;
        daemon.stdout.wait(&format!("{real} [<date>] fe/1: {message}")).await;
    }
}

#[tokio::test]
async fn a_header_that_does_not_come() {
    if is_haproxy() {
        // It does not wait for the rest of a header.
        return;
    }
    let mut daemon = accepting("accept-proxy", "timeout client 300ms").start();
    // Nothing at all, then half of one: neither may hold the connection.
    for begun in [&b""[..], b"PROXY TCP4 192.0", b"\r\n\r\n\0\r\nQUIT\n\x21\x11"] {
        let mut client = daemon.connect("fe").await;
        let (real, since) = (client.local(), Instant::now());
        client.send(begun).await;
        client.expect_closed().await;
        assert!(since.elapsed() >= Duration::from_millis(290), "{:?}", since.elapsed());
        daemon
            .stdout
            .wait(&format!("{real} [<date>] fe/1: Timeout while waiting for PROXY protocol header"))
            .await;
    }
    for (begun, message) in [
        ("", "Connection closed while waiting for PROXY protocol header"),
        ("PROXY TCP", "Truncated PROXY protocol header received"),
    ] {
        let mut client = daemon.connect("fe").await;
        let real = client.local();
        client.send(begun).await;
        client.finish();
        client.expect_closed().await;
        daemon.stdout.wait(&format!("{real} [<date>] fe/1: {message}")).await;
    }
}

#[tokio::test]
async fn connections_without_a_byte_are_not_logged_with_dontlognull() {
    let mut daemon = accepting("accept-proxy", "option dontlognull").start();
    daemon.connect("fe").await.close();
    let mut client = daemon.connect("fe").await;
    client.send("PROXY").await;
    client.finish();
    client.expect_closed().await;
    daemon.stdout.wait("127.0.0.1:<n> [<date>] fe/1: Truncated PROXY protocol header received").await;
    assert_eq!(daemon.stdout.count("127.0.0.1:<n> [<date>] fe/1: Connection closed<*>"), 0);
}

#[tokio::test]
async fn rules_decide_who_must_send_one() {
    let mut daemon = accepting(
        "",
        "tcp-request connection expect-proxy layer4 if { src 127.0.0.2 }\n\
         tcp-request session reject if { src 192.0.2.66 }\n\
         http-request set-header x-unused 1 if { src 192.0.2.0/24 }",
    )
    .start();
    let mut direct = daemon.connect("fe").await;
    direct.send(get("/direct")).await;
    let real = direct.local();
    let listener = daemon.addr("fe");
    assert_eq!(answer(&mut direct).await, format!("{real}>{listener}"));
    daemon.stdout.wait(&format!("{real} {listener} real={real} rcvd=0 \"GET /direct HTTP/1.1\"")).await;
    let proxy = "127.0.0.2".parse().unwrap();
    let mut client = daemon.connect_from(proxy, "fe").await;
    client.send(format!("{LINE}{}", get("/"))).await;
    assert_eq!(answer(&mut client).await, "192.0.2.7:5555>192.0.2.1:80");
    // Session rules see the client that the header names.
    let mut client = daemon.connect_from(proxy, "fe").await;
    client.send("PROXY TCP4 192.0.2.66 192.0.2.1 5555 80\r\n").await;
    client.expect_closed().await;
    daemon.stdout.wait("192.0.2.66:5555 [<date>] fe/1: Success").await;
    let mut client = daemon.connect_from(proxy, "fe").await;
    client.send(get("/")).await;
    client.expect_closed().await;
}

#[tokio::test]
async fn what_the_header_says_beside_addresses() {
    let mut daemon = accepting(
        "accept-proxy",
        "http-request set-header x-unused 1\n\
         log-format \"authority=%[fc_pp_authority] id=%[fc_pp_unique_id] tlv=%[fc_pp_tlv(0xE1)] none=%[fc_pp_tlv(0xE2)] name=%[fc_pp_tlv(AUTHORITY)]\"",
    )
    .start();
    let values = [tlv(2, b"example.com"), tlv(0xe1, b"one"), tlv(0xe1, b"two"), tlv(5, b"id-1")].concat();
    let mut client = daemon.connect("fe").await;
    client.send(v2(1, 0x11, &[INET, &values].concat())).await;
    client.send(get("/")).await;
    answer(&mut client).await;
    daemon.stdout.wait("authority=example.com id=id-1 tlv=<*> none=- name=example.com").await;
}

/// The headers of the client's last segment, as NetScaler inserts them: 192.0.2.7:5555 to 192.0.2.1:80.
fn ip_and_tcp(protocol: u8) -> Vec<u8> {
    let mut headers = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 7, 192, 0, 2, 1];
    headers.extend_from_slice(&[0x15, 0xb3, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    headers
}

#[tokio::test]
async fn netscaler_client_ip() {
    let mut daemon = accepting("accept-netscaler-cip 16909060", "").start();
    let legacy = [&[1, 2, 3, 4, 0, 0, 0, 40][..], &ip_and_tcp(6)].concat();
    let standard = |protocol| [&[1, 2, 3, 4, 0, 0, 0, 52, 0, 1, 0, 40][..], &ip_and_tcp(protocol)].concat();
    for (header, size) in
        [(legacy.clone(), 99), (standard(6), 99), (standard(6), if is_haproxy() { 99 } else { 1 })]
    {
        let mut client = daemon.connect("fe").await;
        client.send_pieces(&header, size).await;
        client.send(get("/")).await;
        assert_eq!(answer(&mut client).await, "192.0.2.7:5555>192.0.2.1:80");
        // It is not the PROXY protocol.
        daemon.stdout.wait("192.0.2.7:5555 192.0.2.1:80 real=127.0.0.1:<n> rcvd=0 \"GET / HTTP/1.1\"").await;
    }
    for (header, message) in [
        ([&[1, 2, 3, 5], &legacy[4..]].concat(), "Received an invalid NetScaler Client IP magic number"),
        (standard(17), "Received an unhandled protocol in the NetScaler Client IP header"),
        (legacy[..20].to_vec(), "Truncated NetScaler Client IP header received"),
        (Vec::new(), "Connection closed while waiting for NetScaler Client IP header"),
    ] {
        let mut client = daemon.connect("fe").await;
        let real = client.local();
        client.send(&header).await;
        client.finish();
        client.expect_closed().await;
        daemon.stdout.wait(&format!("{real} [<date>] fe/1: {message}")).await;
    }
}

/// The header of version 1 that a server gets for a client.
fn line(client: &Peer, daemon: &Daemon) -> String {
    let (client, fe) = (client.local(), daemon.addr("fe"));
    format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", client.port(), fe.port())
}

/// And of version 2, `extra` being its TLVs.
fn block(source: SocketAddr, destination: SocketAddr, extra: &[u8]) -> Vec<u8> {
    let mut payload = vec![127, 0, 0, 1, 127, 0, 0, 1];
    payload.extend_from_slice(&source.port().to_be_bytes());
    payload.extend_from_slice(&destination.port().to_be_bytes());
    payload.extend_from_slice(extra);
    v2(1, 0x11, &payload)
}

#[tokio::test]
async fn a_tcp_server_is_told_before_the_client_speaks() {
    let mut rig = Rig::tcp().server("send-proxy").start();
    let (mut client, mut origin) = rig.pair().await;
    origin.expect(line(&client, &rig.daemon)).await;
    origin.send("220 ready\r\n").await;
    client.expect("220 ready\r\n").await;
    client.send("EHLO\r\n").await;
    origin.expect("EHLO\r\n").await;
}

#[tokio::test]
async fn a_tcp_server_is_told_in_version_2() {
    let mut rig = Rig::tcp().server("send-proxy-v2").start();
    let (mut client, mut origin) = rig.pair().await;
    client.send("data").await;
    let header = block(client.local(), rig.daemon.addr("fe"), b"");
    origin.expect([&header[..], b"data"].concat()).await;
}

#[tokio::test]
async fn what_version_2_says_beside_addresses() {
    let mut rig = Rig::http()
        .frontend("unique-id-format fixed-%[path,hex]\nhttp-request set-var(txn.name) str(named)")
        .server("send-proxy-v2-ssl-cn proxy-v2-options unique-id,authority set-proxy-v2-tlv-fmt(0xE1) %[src]-%[var(txn.name)] set-proxy-v2-tlv-fmt(226) %[var(txn.none)]")
        .start();
    let (client, mut origin) = rig.asked(get("/a")).await;
    let extra = [
        tlv(0xe1, b"127.0.0.1-named"),
        tlv(0xe2, b""),
        tlv(5, b"fixed-2F61"),
        // No TLS: nothing to say, but said.
        tlv(0x20, &[0; 5]),
    ]
    .concat();
    let header = block(client.local(), rig.daemon.addr("fe"), &extra);
    origin.expect(header).await;
    assert_eq!(origin.head().await, get("/a"));
}

#[tokio::test]
async fn the_checksum_is_the_one_that_a_receiver_computes() {
    // Through a second proxy, which verifies it, and which is told what the first was told.
    let cfg = Rig::http()
        .server(
            "send-proxy-v2 proxy-v2-options crc32c,authority set-proxy-v2-tlv-fmt(0xE1) %[fc_pp_tlv(225)]",
        )
        .cfg()
        .replace("bind <fe>", "bind <fe> accept-proxy");
    let second = "frontend second\n    bind <second> accept-proxy\n    http-request return status 200 content-type text/plain lf-string %[src]:%[src_port],%[fc_pp_tlv(225)],%[fc_pp_authority]\n";
    let mut daemon = Setup::new(format!("{}{second}", cfg.replace("<s1>", "<second>"))).start();
    let mut client = daemon.connect("fe").await;
    let extra = [tlv(225, b"told"), tlv(2, b"example.com")].concat();
    client.send([&v2(1, 0x11, &[INET, &extra].concat()), get("/").as_bytes()].concat()).await;
    assert_eq!(answer(&mut client).await, "192.0.2.7:5555,told,example.com");
}

#[tokio::test]
async fn a_connection_with_a_header_serves_only_its_client() {
    let mut rig = Rig::http().backend("http-reuse always").server("send-proxy").start();
    let (mut first, mut origin) = rig.asked(get("/1")).await;
    let header = line(&first, &rig.daemon);
    origin.expect(header).await;
    assert_eq!(origin.head().await, get("/1"));
    origin.send(ok("one")).await;
    assert_eq!(answer(&mut first).await, "one");
    // Another client never gets that connection.
    let (mut second, mut other) = rig.asked(get("/2")).await;
    let header = line(&second, &rig.daemon);
    other.expect(header).await;
    assert_eq!(other.head().await, get("/2"));
    other.send(ok("two")).await;
    assert_eq!(answer(&mut second).await, "two");
    if is_haproxy() {
        // It may open another one for the same client.
        return;
    }
    // The same client does, without a second header.
    first.send(get("/3")).await;
    assert_eq!(origin.head().await, get("/3"));
    origin.send(ok("three")).await;
    assert_eq!(answer(&mut first).await, "three");
    first.close();
    origin.expect_closed().await;
}

#[tokio::test]
async fn another_header_needs_another_connection() {
    let mut rig = Rig::http()
        .frontend("http-request set-src hdr(x-src) if { hdr(x-src) -m found }")
        .backend("http-reuse always")
        .server("send-proxy")
        .start();
    let (mut client, mut origin) = rig.asked("GET / HTTP/1.1\r\nhost: x\r\nx-src: 192.0.2.9\r\n\r\n").await;
    let (port, fe) = (client.local().port(), rig.daemon.addr("fe"));
    origin.expect(format!("PROXY TCP4 192.0.2.9 127.0.0.1 {port} {}\r\n", fe.port())).await;
    origin.head().await;
    origin.send(ok("one")).await;
    assert_eq!(answer(&mut client).await, "one");
    let accept = rig.origin.accept();
    // Families that differ are both written as IPv6.
    client.send("GET / HTTP/1.1\r\nhost: x\r\nx-src: 2001:db8::9\r\n\r\n").await;
    let mut other = accept.await;
    other.expect(format!("PROXY TCP6 2001:db8::9 ::ffff:127.0.0.1 {port} {}\r\n", fe.port())).await;
    other.head().await;
    other.send(ok("two")).await;
    assert_eq!(answer(&mut client).await, "two");
}

#[tokio::test]
async fn a_retry_begins_with_the_header_again() {
    let mut rig =
        Rig::http().backend("retry-on all-retryable-errors\nretries 2").server("send-proxy-v2").start();
    let (mut client, origin) = rig.asked(get("/")).await;
    let header = block(client.local(), rig.daemon.addr("fe"), b"");
    let accept = rig.origin.accept();
    origin.close();
    let mut again = accept.await;
    again.expect(header).await;
    again.head().await;
    again.send(ok("late")).await;
    assert_eq!(answer(&mut client).await, "late");
}

#[tokio::test]
async fn words_take_each_other_back() {
    let mut rig = Rig::http().backend("default-server send-proxy").server("no-send-proxy").start();
    let (_client, mut origin) = rig.asked(get("/")).await;
    assert_eq!(origin.head().await, get("/"));
    let mut rig = Rig::http()
        .backend("default-server send-proxy-v2 set-proxy-v2-tlv-fmt(0xE0) x")
        .server("send-proxy")
        .start();
    let (client, mut origin) = rig.asked(get("/")).await;
    let header = block(client.local(), rig.daemon.addr("fe"), &tlv(0xe0, b"x"));
    origin.expect(header).await;
}

#[tokio::test]
async fn a_client_without_an_internet_address() {
    let folder = tempfile::tempdir().unwrap();
    for (word, header) in [("send-proxy", b"PROXY UNKNOWN\r\n".to_vec()), ("send-proxy-v2", v2(0, 0, b""))] {
        let path = folder.path().join(word);
        let mut rig =
            Rig::tcp().frontend(&format!("bind {} accept-proxy", path.display())).server(word).start();
        let accept = rig.origin.accept();
        let mut client = rig.daemon.connect_unix(&path).await;
        client.send("PROXY UNKNOWN\r\ndata").await;
        accept.await.expect([&header[..], b"data"].concat()).await;
    }
}

/// What the origin of a checked server gets. `line`: first a header of version 1 that names the check's own connection.
async fn check(backend: &str, server: &str, line: bool, expected: &[u8]) {
    let origin = Origin::bind();
    let port = origin.addr().port();
    let server = server.replace("<port>", &port.to_string());
    let cfg = Rig::http().backend(backend).server(&format!("check inter 50ms {server}")).cfg();
    let _daemon = Setup::new(cfg).at("s1", origin.addr()).start();
    let mut connection = origin.accept().await;
    if line {
        let mut header = Vec::new();
        while !header.ends_with(b"\n") {
            header.extend(connection.take(1).await);
        }
        let header = String::from_utf8(header).expect("a line of text");
        let words: Vec<&str> = header.trim_end().split(' ').collect();
        let own = words.get(4).copied().unwrap_or_default();
        assert!(own.parse::<u16>().is_ok(), "{header}");
        assert_eq!(header, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {port}\r\n"));
    }
    connection.expect(expected).await;
}

#[tokio::test]
async fn checks_are_nobodys_connections() {
    let http = "option httpchk GET /c HTTP/1.0";
    let request = b"GET /c HTTP/1.0\r\n\r\n";
    let local = [&v2(0, 0, b"")[..], request].concat();
    check(http, "send-proxy", true, request).await;
    check(http, "send-proxy-v2", false, &local).await;
    check(http, "check-send-proxy", true, request).await;
    check(http, "send-proxy no-check-send-proxy", true, request).await;
    // A check that goes elsewhere is told nothing, unless the line says so.
    check(http, "send-proxy port <port>", false, request).await;
    check(http, "send-proxy-v2 check-send-proxy port <port>", false, &local).await;
    let said = [&v2(0, 0, &[tlv(0xe1, b"x-"), tlv(0x20, &[0; 5])].concat())[..], request].concat();
    check(http, "send-proxy-v2-ssl set-proxy-v2-tlv-fmt(0xE1) x-%[src]", false, &said).await;
}

#[tokio::test]
async fn rules_of_checks_say_whether_there_is_a_header() {
    let rules = |connect: &str| {
        format!("option httpchk\nhttp-check connect {connect}\nhttp-check send meth GET uri /c")
    };
    let request = b"GET /c HTTP/1.0\r\n\r\n";
    let local = [&v2(0, 0, b"")[..], request].concat();
    check(&rules(""), "send-proxy-v2", false, request).await;
    check(&rules("default"), "send-proxy-v2", false, &local).await;
    check(&rules("send-proxy"), "send-proxy-v2", false, &local).await;
    check(&rules("send-proxy"), "", true, request).await;
    check("option tcp-check\ntcp-check connect send-proxy\ntcp-check send hello", "", true, b"hello").await;
}

/// A certificate with its key, for both ends of connections with TLS.
const CERTIFICATE: &str = include_str!("../golden/config/tls/site.pem");

/// A second proxy behind the first, which speaks TLS to it.
fn through_tls(first: &str, second: &str, server: &str) -> Setup {
    let cfg = Rig::http().server(first).cfg().replace("<s1>", "<second>");
    let second = format!(
        "frontend second\n    bind <second> {second} ssl crt <dir>/site.pem\n    default_backend origin\n\
         backend origin\n    server o <s1> {server}\n"
    );
    Setup::new(format!("{cfg}{second}")).file("site.pem", CERTIFICATE)
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let origin = Origin::bind();
    let mut daemon = through_tls("ssl verify none send-proxy-v2", "accept-proxy", "send-proxy")
        .at("s1", origin.addr())
        .start();
    let mut client = daemon.connect("fe").await;
    client.send(get("/")).await;
    let mut server = origin.accept().await;
    // The second proxy was told of the first one's client, and tells it on.
    server.expect(line(&client, &daemon)).await;
    assert_eq!(server.head().await, get("/"));
    server.send(ok("through")).await;
    assert_eq!(answer(&mut client).await, "through");
}

#[tokio::test]
async fn every_stream_of_http2_has_the_client_of_the_header() {
    let cfg = Rig::http().backend("http-reuse always").server("send-proxy").cfg();
    let origin = Origin::bind();
    let cfg = cfg.replace("bind <fe>", "bind <fe> accept-proxy");
    let mut daemon = Setup::new(cfg).at("s1", origin.addr()).start();
    let mut peer = daemon.connect("fe").await;
    peer.send(LINE).await;
    let mut client = Client::new(peer).await;
    // Both at a time: each has a connection to the server that begins with the same header.
    let (first, _) = client.send(multiplex::get("/first"), true).await;
    let mut one = origin.accept().await;
    let (second, _) = client.send(multiplex::get("/second"), true).await;
    let mut two = origin.accept().await;
    for (server, path) in [(&mut one, "GET /first "), (&mut two, "GET /second ")] {
        server.expect(LINE).await;
        assert!(server.head().await.starts_with(path));
        server.send(ok(path)).await;
    }
    assert_eq!(whole(first).await.text(), "GET /first ");
    assert_eq!(whole(second).await.text(), "GET /second ");
}

#[tokio::test]
async fn a_header_tells_of_tls() {
    let origin = Origin::bind();
    let options = "send-proxy-v2-ssl-cn proxy-v2-options authority,ssl-cipher,cert-sig,cert-key";
    let mut daemon = through_tls("ssl verify none sni str(site.test) alpn http/1.1", "", options)
        .at("s1", origin.addr())
        .start();
    let mut client = daemon.connect("fe").await;
    client.send(get("/")).await;
    let mut server = origin.accept().await;
    let mut block = server.take(16).await;
    let length = u16::from_be_bytes([block[14], block[15]]);
    block.extend(server.take(length.into()).await);
    let ssl = [
        &[1, 0, 0, 0, 0][..],
        &tlv(0x21, b"TLSv1.3"),
        &tlv(0x25, b"EC256"),
        &tlv(0x24, b"ecdsa-with-SHA256"),
        &tlv(0x23, b"TLS_AES_256_GCM_SHA384"),
    ]
    .concat();
    let told = [tlv(1, b"http/1.1"), tlv(2, b"site.test"), tlv(0x20, &ssl)].concat();
    assert_eq!(block[28..].escape_ascii().to_string(), told.escape_ascii().to_string());
    assert_eq!(server.head().await, get("/"));
}
