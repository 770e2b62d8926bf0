//! Where connections may come in: addresses of every kind, ranges, inherited sockets.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use lb_tests::{Daemon, Origin, Peer, Reserved, Served, Setup, get};
use socket2::{Domain, SockAddr, Socket, Type};

/// A frontend with these `bind` lines in front of an origin that answers.
fn listening(binds: &str) -> (Setup, Served) {
    let origin = Served::new("hello");
    let setup = Setup::new(format!(
        "global\n nbthread 2\ndefaults\n mode http\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         frontend fe\n    {binds}\n    default_backend be\nbackend be\n    server s1 <s1>\n"
    ))
    .at("s1", origin.addr());
    (setup, origin)
}

async fn greeted(daemon: &mut Daemon, name: &str) {
    let mut client = daemon.connect(name).await;
    assert_eq!(client.ask(get("/")).await.text(), "hello", "{name}");
}

#[tokio::test]
async fn ipv6() {
    for form in ["<six>", "ipv6@<six>"] {
        let (setup, _origin) = listening(&format!("bind {form}"));
        let mut daemon = setup.reserved("six", Reserved::v6()).start();
        greeted(&mut daemon, "six").await;
    }
}

#[tokio::test]
async fn ipv6_server() {
    let origin = Origin::bind_v6().serve(|_| lb_tests::ok("six"));
    let (setup, _other) = listening("bind <fe>");
    let mut daemon = setup.at("s1", origin.addr()).start();
    let mut client = daemon.connect("fe").await;
    assert_eq!(client.ask(get("/")).await.text(), "six");
}

#[tokio::test]
async fn several_binds_and_several_addresses_in_one() {
    let (setup, _origin) = listening("bind <a>\n    bind <b>,<c>\n    bind ipv4@<d> name last");
    let mut daemon = setup.start();
    for name in ["a", "b", "c", "d"] {
        greeted(&mut daemon, name).await;
    }
}

#[tokio::test]
async fn any_address() {
    for form in ["*:<port>", ":<port>", "0.0.0.0:<port>"] {
        let reserved = Reserved::of("0.0.0.0".parse().expect("an address"));
        let (setup, _origin) = listening(&format!("bind {form}"));
        let mut daemon = setup.at("port", reserved.port()).start();
        let mut client = daemon.connect_to(([127, 0, 0, 3], reserved.port()).into()).await;
        assert_eq!(client.ask(get("/")).await.text(), "hello", "{form}");
    }
}

#[tokio::test]
async fn any_address_of_ipv6() {
    let reserved = Reserved::of("::".parse().expect("an address"));
    let (setup, _origin) = listening("bind [::]:<port> v6only");
    let mut daemon = setup.at("port", reserved.port()).start();
    let mut client = daemon.connect_to((std::net::Ipv6Addr::LOCALHOST, reserved.port()).into()).await;
    assert_eq!(client.ask(get("/")).await.text(), "hello");
    assert!(Peer::connect(([127, 0, 0, 1], reserved.port()).into()).await.is_err());
}

#[tokio::test]
async fn v4v6_takes_both() {
    // The reservation is for IPv6 alone; the port's IPv4 half is checked to be free by the bind itself.
    let reserved = Reserved::of("::".parse().expect("an address"));
    let (setup, _origin) = listening("bind [::]:<port> v4v6");
    let mut daemon = setup.at("port", reserved.port()).start();
    let mut client = daemon.connect_to((std::net::Ipv6Addr::LOCALHOST, reserved.port()).into()).await;
    assert_eq!(client.ask(get("/")).await.text(), "hello");
    let mut client = daemon.connect_to(([127, 0, 0, 1], reserved.port()).into()).await;
    assert_eq!(client.ask(get("/")).await.text(), "hello");
}

#[tokio::test]
async fn port_range() {
    let ports = Reserved::range(3);
    let (setup, _origin) = listening("bind 127.0.0.1:<range>");
    let mut daemon = setup.at("range", format!("{}-{}", ports[0].port(), ports[2].port())).start();
    for port in &ports {
        let mut client = daemon.connect_to(port.addr()).await;
        assert_eq!(client.ask(get("/")).await.text(), "hello");
    }
}

#[tokio::test]
async fn unix_socket_and_its_mode() {
    let (setup, _origin) = listening("bind unix@<dir>/a.sock mode 600\n    bind <dir>/b.sock mode 666");
    let mut daemon = setup.start();
    for (name, mode) in [("a.sock", 0o600), ("b.sock", 0o666)] {
        let path = daemon.dir().join(name);
        let mut client = daemon.connect_unix(&path).await;
        assert_eq!(client.ask(get("/")).await.text(), "hello");
        let permissions = std::fs::metadata(&path).expect("the socket").permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{name}");
    }
}

#[tokio::test]
async fn unix_socket_left_behind_is_replaced() {
    let (setup, _origin) = listening("bind unix@<dir>/a.sock");
    let path = setup.dir().join("a.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let mut daemon = setup.start();
    // Before the daemon has replaced it, the old file refuses.
    let mut client = daemon.connect_unix(&path).await;
    assert_eq!(client.ask(get("/")).await.text(), "hello");
}

#[tokio::test]
async fn unix_server() {
    let (setup, _origin) = listening("bind <fe>");
    let path = setup.dir().join("origin.sock");
    let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
    let mut daemon = setup.at("s1", format!("unix@{}", path.display())).start();
    let mut client = daemon.connect("fe").await;
    client.send(get("/")).await;
    let (stream, _) = lb_tests::within("the daemon", listener.accept()).await.expect("accept");
    let mut server = Peer::unix(stream, "origin");
    server.expect(get("/")).await;
    server.send(lb_tests::ok("unix")).await;
    client.expect(lb_tests::ok("unix")).await;
}

#[tokio::test]
async fn abstract_socket() {
    let name = format!("sockeye-test-{}", std::process::id());
    let (setup, _origin) = listening(&format!("bind <fe>\n    bind abns@{name}"));
    let mut daemon = setup.start();
    greeted(&mut daemon, "fe").await;
    // abns@ pads the name with zeros to the whole length of the address.
    let mut padded = vec![0_u8];
    padded.extend(name.bytes());
    padded.resize(108, 0);
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(&padded[..]);
    socket.connect(&SockAddr::unix(path).expect("an address")).expect("the abstract listener");
    socket.set_nonblocking(true).expect("O_NONBLOCK");
    let stream = tokio::net::UnixStream::from_std(socket.into()).expect("a stream");
    let mut client = Peer::unix(stream, "client");
    assert_eq!(client.ask(get("/")).await.text(), "hello");
}

#[tokio::test]
async fn inherited_socket() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = Socket::from(listener);
    socket.set_cloexec(false).expect("FD_CLOEXEC");
    let addr = socket.local_addr().expect("bound").as_socket().expect("IP");
    let (setup, _origin) = listening(&format!("bind fd@{}", socket.as_raw_fd()));
    let mut daemon = setup.start();
    for _ in 0..4 {
        let mut client = daemon.connect_to(addr).await;
        assert_eq!(client.ask(get("/")).await.text(), "hello");
    }
}

#[tokio::test]
async fn inherited_socket_named_by_the_environment() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = Socket::from(listener);
    socket.set_cloexec(false).expect("FD_CLOEXEC");
    let addr = socket.local_addr().expect("bound").as_socket().expect("IP");
    let (setup, _origin) = listening("bind \"fd@${LISTEN}\"");
    let mut daemon = setup.env("LISTEN", &socket.as_raw_fd().to_string()).start();
    let mut client = daemon.connect_to(addr).await;
    assert_eq!(client.ask(get("/")).await.text(), "hello");
}

#[tokio::test]
async fn bind_words_are_accepted_together() {
    let (setup, _origin) =
        listening("bind <fe> name web backlog 100 maxconn 50 defer-accept tfo nice 10 thread 1 shards 1");
    let mut daemon = setup.start();
    greeted(&mut daemon, "fe").await;
}

#[tokio::test]
async fn every_thread_serves() {
    let (setup, _origin) = listening("bind <fe> shards by-thread\n    bind <other> thread 1-2");
    let mut daemon = setup.start();
    for _ in 0..20 {
        greeted(&mut daemon, "fe").await;
        greeted(&mut daemon, "other").await;
    }
}

#[tokio::test]
async fn environment_in_an_address() {
    let (setup, _origin) = listening("bind \"${HOST}:${PORT}\"");
    let reserved = Reserved::v4();
    let mut daemon = setup.env("HOST", "127.0.0.1").env("PORT", &reserved.port().to_string()).start();
    let mut client = daemon.connect_to(reserved.addr()).await;
    assert_eq!(client.ask(get("/")).await.text(), "hello");
}

#[tokio::test]
async fn server_without_port_takes_the_one_of_the_listener() {
    let reserved = Reserved::v4();
    let origin = Origin::on(Reserved::on_port("127.0.0.2".parse().expect("an address"), reserved.port()));
    let mut daemon = Setup::new(
        "global\n nbthread 1\ndefaults\n mode tcp\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         listen fe\n bind <fe>\n server s1 127.0.0.2\n",
    )
    .reserved("fe", reserved)
    .start();
    let mut client = daemon.connect("fe").await;
    client.send("same port").await;
    origin.accept().await.expect("same port").await;
}

#[tokio::test]
async fn server_port_with_an_offset() {
    let reserved = Reserved::v4();
    let origin = Origin::bind();
    let offset = i32::from(origin.addr().port()) - i32::from(reserved.port());
    let mut daemon = Setup::new(format!(
        "global\n nbthread 1\ndefaults\n mode tcp\n timeout client 5s\n timeout server 5s\n timeout connect 5s\n\
         listen fe\n bind <fe>\n server s1 127.0.0.1:{offset:+}\n"
    ))
    .reserved("fe", reserved)
    .start();
    let mut client = daemon.connect("fe").await;
    client.send("offset").await;
    origin.accept().await.expect("offset").await;
}
