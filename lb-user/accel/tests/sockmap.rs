//! The program in the kernel of this machine; without privileges or objects it says why it is skipped.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use sockeye_accel::{Accel, InsertError, Sockmap, SpliceWanted, Wanted};

fn load() -> Option<Arc<Sockmap>> {
    let accel = Accel::start(Wanted { accel: true, sockmap: true, splice: SpliceWanted::NotAsked });
    if accel.sockmap().is_none() {
        let mut error = std::io::stderr();
        writeln!(error, "skipped: {accel}").expect("standard error");
    }
    accel.sockmap().cloned()
}

/// Peer, and the end of the connection that the proxy holds.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    (near, listener.accept().expect("a connection").0)
}

#[test]
fn forwards_what_arrived_before_and_after_the_insertion() {
    let Some(sockmap) = load() else { return };
    let (mut client, source) = pair();
    let (mut server, destination) = pair();
    client.write_all(b"before ").expect("an open socket");
    let link = sockmap.insert(&source, &destination).expect("established sockets");
    client.write_all(b"after").expect("an open socket");
    let mut received = [0; 12];
    server.read_exact(&mut received).expect("both");
    assert_eq!(&received, b"before after");
    assert_eq!((link.redirected(), link.passed(), link.is_gated()), (12, 0, false));
    assert_eq!(sockmap.active(), 1);
    drop(link);
    assert_eq!(sockmap.active(), 0);
    // Out of the map the sockets are ordinary again.
    client.write_all(b"plain").expect("an open socket");
    let mut received = [0; 5];
    let mut source = source;
    source.read_exact(&mut received).expect("an open socket");
    assert_eq!(&received, b"plain");
    let redirected =
        sockmap.counters().expect("readable").into_iter().find(|(name, _)| *name == "redirected");
    assert!(redirected.is_some_and(|(_, count)| count > 0));
}

#[test]
fn gate_closes_and_opens() {
    let Some(sockmap) = load() else { return };
    let (mut client, mut source) = pair();
    let (mut server, destination) = pair();
    sockmap.limit_backlog(0);
    let link = sockmap.insert(&source, &destination).expect("established sockets");
    source.set_nonblocking(true).expect("an open socket");
    client.set_nonblocking(true).expect("an open socket");
    let bytes = [b'x'; 65_536];
    let (mut sent, mut received) = (0_u64, 0_u64);
    // Nobody reads from the server, so its buffers fill up, the backlog grows and the gate closes.
    while !link.is_gated() {
        match client.write(&bytes) {
            Ok(n) => sent += n as u64,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(link.gates(), 1);
    let redirected = link.redirected();
    // Drain the server, then what was passed; then ask for the gate to be opened.
    let mut space = vec![0; 1 << 20];
    while received < redirected {
        received += server.read(&mut space).expect("an open socket") as u64;
    }
    let mut consumed = 0;
    while consumed < sent - redirected {
        match source.read(&mut space) {
            Ok(n) => consumed += n as u64,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((received, consumed), (redirected, link.passed()));
    link.resume(consumed);
    client.write_all(b"again").expect("an open socket");
    let mut again = [0; 5];
    server.read_exact(&mut again).expect("an open socket");
    assert_eq!(&again, b"again");
    assert_eq!((link.redirected(), link.is_gated()), (redirected + 5, false));
}

#[test]
fn refuses_what_it_cannot_forward() {
    let Some(sockmap) = load() else { return };
    let (client, source) = pair();
    let (_server, destination) = pair();
    let link = sockmap.insert(&source, &destination).expect("established sockets");
    let again = sockmap.insert(&destination, &source);
    assert!(matches!(again, Err(InsertError::Busy)), "{again:?}");
    drop(link);
    client.shutdown(Shutdown::Write).expect("an open socket");
    let mut source = source;
    assert_eq!(source.read(&mut [0; 10]).expect("an open socket"), 0);
    let ended = sockmap.insert(&source, &destination);
    assert!(matches!(ended, Err(InsertError::Refused(_))), "{ended:?}");
    let (unix, _) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let unix = sockmap.insert(&source, &unix);
    assert!(unix.is_err(), "{unix:?}");
    assert_eq!(sockmap.active(), 0);
}

#[test]
fn says_what_is_on() {
    let check = |accel, sockmap, splice, expected: &str| {
        let accel = Accel::start(Wanted { accel, sockmap, splice }).to_string();
        let packet = "packet off (not asked for; 'mode packet' and 'ebpf.shield' do)";
        assert_eq!(
            accel,
            format!("accel: {expected}, steering off (not asked for; 'ebpf.steer' does), {packet}")
        );
    };
    check(false, true, SpliceWanted::Asked, "splice on, sockmap off (ebpf.accel off)");
    check(false, true, SpliceWanted::NoSplice, "splice off (nosplice), sockmap off (ebpf.accel off)");
    check(false, true, SpliceWanted::Off, "splice off (ebpf.splice off), sockmap off (ebpf.accel off)");
    let (splice, sockmap) = ("'option splice-auto' does", "'ebpf.splice sockmap' does");
    let nothing = format!("splice off (not asked for; {splice}), sockmap off (not asked for; {sockmap})");
    check(true, false, SpliceWanted::NotAsked, &nothing);
}
