//! What a direction may take: not a byte beyond its length, and no more memory than its buffers.

mod rig;

use std::time::Duration;

use rig::Rig;
use sockeye_conn::Buffer;
use sockeye_relay::{End, Policy, Pump, Splice};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// More than all socket buffers of a relayed connection can hold, and what a sender may not get rid of.
const UNBOUNDED_BYTES: usize = 64 << 20;

/// Moves a body of `length` bytes out of a longer stream; the rest must still be in the socket.
fn check_length(policy: &Policy, length: usize) {
    rig::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let Rig { mut client, mut inner_client, mut inner_server, mut server } =
            Rig::new(&listener).await.expect("loopback sockets");
        let mut first = Buffer::take();
        let in_first = first.append(&vec![b'x'; length.min(100)]);
        let sent = vec![b'x'; length - in_first];
        let relay = async {
            let mut pump = Pump::new(policy, Some(length as u64), first);
            let end = std::future::poll_fn(|cx| pump.poll(cx, &mut inner_client, &mut inner_server)).await;
            assert_eq!(end.expect("no error"), End::Limit, "{length}");
            assert_eq!(pump.moved(), length as u64);
            let mut rest = [0; 100];
            let n = std::future::poll_fn(|cx| inner_client.poll_read(cx, &mut rest)).await;
            assert_eq!(&rest[..n.expect("no error")], b"next message", "{length}");
        };
        let sender = async {
            client.write_all(&sent).await.expect("an open socket");
            client.write_all(b"next message").await.expect("an open socket");
        };
        let receiver = async {
            let mut body = vec![0; length];
            server.read_exact(&mut body).await.expect("the whole body");
            assert!(body.iter().all(|byte| *byte == b'x'));
        };
        tokio::join!(relay, sender, receiver);
    });
}

/// A receiver that stops reading stops the sender soon; once it goes on, nothing is missing.
fn check_stopped_reader(policy: &Policy) {
    rig::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let Rig { mut client, inner_client, inner_server, mut server } =
            Rig::new(&listener).await.expect("loopback sockets");
        let relay = rig::relay(inner_client, inner_server, policy);
        let peers = async {
            let mut content = rig::Content::new(1, UNBOUNDED_BYTES);
            let mut unsent = Vec::new();
            // Warm up, so that the direction is on its final path when the receiver stops.
            let mut sink = vec![0; 4 << 20];
            let warm = content.next(sink.len());
            let (written, read) = tokio::join!(client.write_all(&warm), server.read_exact(&mut sink));
            written.expect("an open socket");
            read.expect("an open socket");
            assert_eq!(sink, warm);
            loop {
                if unsent.is_empty() {
                    unsent = content.next(1 << 18);
                    assert!(!unsent.is_empty(), "{policy:?}: the sender was never stopped");
                }
                let write = tokio::time::timeout(Duration::from_millis(300), client.write(&unsent));
                let Ok(n) = write.await else { break };
                unsent.drain(..n.expect("an open socket"));
            }
            let held = UNBOUNDED_BYTES - content.left() - unsent.len() - warm.len();
            let rest = async {
                client.write_all(&unsent).await.expect("an open socket");
                loop {
                    let bytes = content.next(1 << 18);
                    if bytes.is_empty() {
                        break;
                    }
                    client.write_all(&bytes).await.expect("an open socket");
                }
                client.shutdown().await.expect("an open socket");
            };
            let receive = async {
                let mut crc = crc32fast::Hasher::new();
                crc.update(&sink);
                let mut n = sink.len();
                loop {
                    let read = server.read(&mut sink).await.expect("no error");
                    if read == 0 {
                        break (n, crc.finalize());
                    }
                    crc.update(&sink[..read]);
                    n += read;
                }
            };
            let ((), (n, crc)) = tokio::join!(rest, receive);
            server.shutdown().await.expect("an open socket");
            assert_eq!((n, crc), (UNBOUNDED_BYTES, content.crc()), "held back {held} bytes");
            held
        };
        let (outcome, held) = tokio::join!(relay, peers);
        assert!(outcome.error.is_none(), "{outcome:?}");
        assert_eq!(outcome.from_client, UNBOUNDED_BYTES as u64);
        assert!(held < UNBOUNDED_BYTES / 2, "{policy:?}: {held} bytes on their way to a stopped receiver");
    });
}

#[test]
fn a_body_ends_where_it_ends() {
    for splice in [Splice::Never, Splice::Auto] {
        for length in [0, 1, 99, 100, 101, 16_384, 70_000, 1 << 20, (5 << 20) + 1] {
            check_length(&Policy { splice, sockmap: None }, length);
        }
    }
}

#[test]
fn a_stopped_reader_stops_a_copied_sender() {
    check_stopped_reader(&Policy { splice: Splice::Never, sockmap: None });
}

#[test]
fn a_stopped_reader_stops_a_spliced_sender() {
    check_stopped_reader(&Policy { splice: Splice::Auto, sockmap: None });
}

#[test]
fn a_stopped_reader_stops_a_sender_forwarded_by_the_kernel() {
    let Some(policy) = rig::sockmap_policy() else { return };
    check_stopped_reader(&policy);
}
