use std::future::poll_fn;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, ServerConfig, SupportedProtocolVersion, version};

use sockeye_record::Handshake;

use super::*;

fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut server = ServerConfig::builder_with_protocol_versions(&[version])
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.enable_secret_extraction = true;
    let mut client = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    (Arc::new(server), Arc::new(client))
}

fn sockets() -> (Socket, Socket) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (Socket::from_unix(a.into()).unwrap(), Socket::from_unix(b.into()).unwrap())
}

async fn connected(version: &'static SupportedProtocolVersion) -> (Socket, Socket) {
    let (server_config, client_config) = configs(version);
    let (server, client) = sockets();
    let name = ServerName::try_from("localhost").unwrap();
    let server = Handshaking::new(server, Handshake::server(server_config).unwrap(), Vec::new());
    let client = Handshaking::new(client, Handshake::client(client_config, name).unwrap(), Vec::new());
    let (server, client) = tokio::join!(server.run(), client.run());
    (server.unwrap(), client.unwrap())
}

async fn write_all(socket: &mut Socket, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // Two slices, of which the second is offered in part, as callers do.
        let (a, b) = bytes.split_at(bytes.len() / 3);
        let n =
            poll_fn(|cx| socket.poll_write_vectored(cx, &[IoSlice::new(a), IoSlice::new(b)])).await.unwrap();
        assert!(n > 0);
        bytes = &bytes[n..];
    }
}

async fn read_all(socket: &mut Socket, piece: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut space = vec![0; piece];
    loop {
        match poll_fn(|cx| socket.poll_read(cx, &mut space)).await.unwrap() {
            0 => return all,
            n => all.extend_from_slice(&space[..n]),
        }
    }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

#[tokio::test]
async fn content_arrives_whole_and_so_does_the_end() {
    for version in VERSIONS {
        for (length, piece) in [(0, 10), (1, 1), (5_000, 7), (1_000_000, 3_000), (3_000_000, 200_000)] {
            let content: Vec<u8> = (0..length).map(|at: u32| at.to_le_bytes()[(at % 3) as usize]).collect();
            let (mut server, mut client) = connected(version).await;
            let sent = async {
                write_all(&mut client, &content).await;
                client.shutdown_write().unwrap();
                read_all(&mut client, piece).await
            };
            let echoed = async {
                let got = read_all(&mut server, piece).await;
                write_all(&mut server, &got).await;
                drop(server);
                got
            };
            let (back, there) = tokio::join!(sent, echoed);
            assert!(there == content && back == content, "{version:?} {length}");
        }
    }
}

#[tokio::test]
async fn a_peek_takes_nothing_and_sees_the_end() {
    for version in VERSIONS {
        let (mut server, mut client) = connected(version).await;
        write_all(&mut client, b"hello").await;
        assert_eq!(poll_fn(|cx| server.poll_peek(cx)).await.unwrap(), 5);
        let mut space = [0; 2];
        assert_eq!(poll_fn(|cx| server.poll_read(cx, &mut space)).await.unwrap(), 2);
        assert_eq!(poll_fn(|cx| server.poll_peek(cx)).await.unwrap(), 3);
        assert_eq!(server.read_now(&mut [0; 10]).unwrap(), Some(3));
        assert_eq!(server.read_now(&mut [0; 10]).unwrap(), None);
        drop(client);
        assert_eq!(poll_fn(|cx| server.poll_peek(cx)).await.unwrap(), 0);
        assert_eq!(server.read_now(&mut [0; 10]).unwrap(), Some(0));
    }
}

#[tokio::test]
async fn keys_are_renewed_when_the_peer_asks() {
    let (mut server, mut client) = connected(&version::TLS13).await;
    let Socket::Tls(tls) = &client else { panic!("not TLS") };
    for _ in 0..3 {
        // As a worn key would, and asking for the peer's as well.
        let mut state = tls.state.borrow_mut();
        let headroom = state.sealer.headroom();
        let mut space = [0; 64];
        space[headroom..][..5].copy_from_slice(&[KEY_UPDATE, 0, 0, 1, 1]);
        let length = state.sealer.seal(ContentType::Handshake, &mut space, 5).unwrap();
        rustix::net::send(&tls.io, &space[..length], SendFlags::NOSIGNAL).unwrap();
        state.sealer = state.renewal.sealer().unwrap();
    }
    write_all(&mut client, b"under the new key").await;
    let mut space = [0; 100];
    assert_eq!(poll_fn(|cx| server.poll_read(cx, &mut space)).await.unwrap(), 17);
    write_all(&mut server, b"me too").await;
    assert_eq!(poll_fn(|cx| client.poll_read(cx, &mut space)).await.unwrap(), 6);
}

/// Sends a message of the handshake's kind as one that follows it.
fn send_message(socket: &Socket, message: &[u8]) {
    let Socket::Tls(tls) = socket else { panic!("not TLS") };
    let mut state = tls.state.borrow_mut();
    let headroom = state.sealer.headroom();
    let mut space = [0; 64];
    space[headroom..][..message.len()].copy_from_slice(message);
    let length = state.sealer.seal(ContentType::Handshake, &mut space, message.len()).unwrap();
    rustix::net::send(&tls.io, &space[..length], SendFlags::NOSIGNAL).unwrap();
}

#[tokio::test]
async fn records_without_content_are_no_readiness() {
    let (mut server, mut client) = connected(&version::TLS13).await;
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut space = [0; 10];
    // What came along with the handshake.
    assert_eq!(client.read_now(&mut space).unwrap(), None);
    send_message(&client, &[KEY_UPDATE, 0, 0, 1, 0]);
    let Socket::Tls(tls) = &server else { panic!("not TLS") };
    poll_fn(|cx| tls.io.poll_read_ready(cx)).await.unwrap();
    assert!(server.poll_read_ready(&mut cx).is_pending());
    let Socket::Tls(tls) = &client else { panic!("not TLS") };
    {
        let mut state = tls.state.borrow_mut();
        state.sealer = state.renewal.sealer().unwrap();
    }
    write_all(&mut client, b"hello").await;
    poll_fn(|cx| server.poll_read_ready(cx)).await.unwrap();
    assert_eq!(server.read_now(&mut space).unwrap(), Some(5));
}

#[tokio::test]
async fn long_messages_of_clients_are_not_collected() {
    let (mut server, client) = connected(&version::TLS13).await;
    // The beginning of one that would fill a lot of memory.
    send_message(&client, &[KEY_UPDATE, 0, 100, 0, 0]);
    let mut space = [0; 10];
    let error = poll_fn(|cx| server.poll_read(cx, &mut space)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_write_that_was_given_up_is_not_mistaken_for_another() {
    for version in VERSIONS {
        let (_server, mut client) = connected(version).await;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while client.poll_write(&mut cx, &[7; 100_000]).is_ready() {}
        // It cannot be told that more was written than is offered.
        let Poll::Ready(Err(error)) = client.poll_write(&mut cx, b"sorry") else { panic!("written") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn handshakes_count_as_connections() {
    // Other tests of the process have connections, too: only a number that they cannot have tells.
    let (server_config, _) = configs(&version::TLS13);
    let mut all = Vec::new();
    for _ in 0..100 {
        let (server, client) = sockets();
        let handshake = Handshake::server(Arc::clone(&server_config)).unwrap();
        all.push((Handshaking::new(server, handshake, Vec::new()), client));
    }
    assert!(tls_sockets() >= 100);
    drop(all);
    assert!(tls_sockets() < 100);
}

#[tokio::test]
async fn what_is_no_record_ends_the_connection() {
    for version in VERSIONS {
        let (mut server, client) = connected(version).await;
        let Socket::Tls(tls) = &client else { panic!("not TLS") };
        rustix::net::send(&tls.io, b"GET / HTTP/1.1\r\n\r\n", SendFlags::NOSIGNAL).unwrap();
        let mut space = [0; 100];
        let error = poll_fn(|cx| server.poll_read(cx, &mut space)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(poll_fn(|cx| server.poll_read(cx, &mut space)).await.is_err(), "and stays so");
    }
}

#[tokio::test]
async fn a_record_cut_short_is_no_end() {
    for version in VERSIONS {
        let (mut server, client) = connected(version).await;
        let Socket::Tls(tls) = &client else { panic!("not TLS") };
        rustix::net::send(&tls.io, &[23, 3, 3, 0, 100, 1], SendFlags::NOSIGNAL).unwrap();
        tls.close_silently();
        drop(client);
        let mut space = [0; 100];
        assert!(poll_fn(|cx| server.poll_read(cx, &mut space)).await.is_err());
    }
}

#[tokio::test]
async fn an_idle_connection_has_no_buffer() {
    for version in VERSIONS {
        let (mut server, mut client) = connected(version).await;
        write_all(&mut client, b"hello").await;
        let mut space = [0; 100];
        assert_eq!(poll_fn(|cx| server.poll_read(cx, &mut space)).await.unwrap(), 5);
        assert_eq!(server.read_now(&mut space).unwrap(), None);
        for socket in [&server, &client] {
            let Socket::Tls(tls) = socket else { panic!("not TLS") };
            let state = tls.state.borrow();
            assert!(state.incoming.storage.is_empty() && state.outgoing.storage.is_empty());
        }
    }
}

#[tokio::test]
async fn a_plain_client_fails_the_handshake_and_is_told() {
    let (server_config, _) = configs(&version::TLS13);
    let (server, mut client) = sockets();
    poll_fn(|cx| client.poll_write(cx, b"GET / HTTP/1.1\r\n\r\n")).await.unwrap();
    let mut shaking = Handshaking::new(server, Handshake::server(server_config).unwrap(), Vec::new());
    let shaken = poll_fn(|cx| shaking.poll(cx)).await;
    assert!(matches!(shaken, Err(HandshakeError::Tls(_))));
    assert_eq!(shaking.beginning(), b"GET / HT");
    let mut space = [0; 100];
    let n = poll_fn(|cx| client.poll_read(cx, &mut space)).await.unwrap();
    assert_eq!(space[0], ContentType::Alert as u8, "{:?}", &space[..n]);
}

#[tokio::test]
async fn versions_are_told() {
    for (version, expected) in VERSIONS.iter().zip([ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3]) {
        let (server, client) = connected(version).await;
        assert_eq!(server.tls().map(|agreed| agreed.version), Some(expected));
        assert_eq!(client.tls().map(|agreed| agreed.certificates.len()), Some(1));
    }
}
