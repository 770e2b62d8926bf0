//! Two loopback connections with a relay between them, and peers that check every byte.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use sockeye_accel::{Accel, SpliceWanted, Wanted};
use sockeye_conn::{Buffer, Socket};
use sockeye_relay::{End, Policy, Pump, RelayError, Splice};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

/// Who does what first. The amounts are bytes that each peer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Both send at once and end when done.
    Together,
    /// The server answers only after it has seen the client's end.
    ClientEndsFirst,
    /// The client sends only after it has seen the server's end.
    ServerEndsFirst,
    /// The client sends and waits; the server ends once it has all, and the client after it.
    ServerEndsKnowing,
    /// The client resets the connection after it sent its bytes.
    ClientResets,
    /// The server resets the connection after it sent its bytes.
    ServerResets,
}

impl Order {
    pub(crate) const ALL: [Self; 6] = [
        Self::Together,
        Self::ClientEndsFirst,
        Self::ServerEndsFirst,
        Self::ServerEndsKnowing,
        Self::ClientResets,
        Self::ServerResets,
    ];

    pub(crate) fn resets(self) -> bool {
        matches!(self, Self::ClientResets | Self::ServerResets)
    }
}

/// What one transfer is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    pub(crate) order: Order,
    pub(crate) from_client: usize,
    pub(crate) from_server: usize,
    /// Peers with small receive buffers that now and then stop reading for a while.
    pub(crate) slow: bool,
    /// Seed of contents and of the sizes of reads and writes.
    pub(crate) seed: u64,
}

/// A receive buffer that a few packets fill.
const NARROW_BYTES: usize = 16 * 1024;

/// The four sockets: client peer, relay's client side, relay's server side, server peer.
pub(crate) struct Rig {
    pub(crate) client: TcpStream,
    pub(crate) inner_client: Socket,
    pub(crate) inner_server: Socket,
    pub(crate) server: TcpStream,
}

impl Rig {
    pub(crate) async fn new(listener: &TcpListener) -> io::Result<Self> {
        let (client, inner_client) = pair(listener).await?;
        let (server, inner_server) = pair(listener).await?;
        Ok(Self { client, inner_client, inner_server, server })
    }

    /// Small receive buffers at the peers, so that whoever reads slowly is felt at once.
    pub(crate) fn narrow(&self) {
        for peer in [&self.client, &self.server] {
            socket2::SockRef::from(peer).set_recv_buffer_size(NARROW_BYTES).expect("an open socket");
        }
    }
}

async fn pair(listener: &TcpListener) -> io::Result<(TcpStream, Socket)> {
    let address = listener.local_addr()?;
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, far) = (near?, far?.0);
    far.set_nodelay(true)?;
    let fd: OwnedFd = far.into_std()?.into();
    Ok((near, Socket::from_tcp(fd)?))
}

/// How a relay ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) from_client: u64,
    pub(crate) from_server: u64,
    pub(crate) error: Option<RelayError>,
}

/// Both directions and the half-close between them, as a session does it.
pub(crate) async fn relay(mut client: Socket, mut server: Socket, policy: &Policy) -> Outcome {
    let mut request = Pump::new(policy, None, Buffer::none());
    let mut response = Pump::new(policy, None, Buffer::none());
    let (mut request_open, mut response_open) = (true, true);
    let error = std::future::poll_fn(|cx| {
        if request_open && let Poll::Ready(end) = step(&mut request, cx, &mut client, &mut server) {
            request_open = false;
            if let Err(error) = end {
                return Poll::Ready(Some(error));
            }
        }
        if response_open && let Poll::Ready(end) = step(&mut response, cx, &mut server, &mut client) {
            response_open = false;
            if let Err(error) = end {
                return Poll::Ready(Some(error));
            }
        }
        if request_open || response_open { Poll::Pending } else { Poll::Ready(None) }
    })
    .await;
    if error.is_some() {
        client.reset_on_close();
        server.reset_on_close();
    }
    Outcome { from_client: request.moved(), from_server: response.moved(), error }
}

fn step(
    pump: &mut Pump,
    cx: &mut Context<'_>,
    src: &mut Socket,
    dst: &mut Socket,
) -> Poll<Result<(), RelayError>> {
    match std::task::ready!(pump.poll(cx, src, dst)) {
        Ok(End::Eof | End::Limit) => {
            // Fails when the receiver has reset already, which the other direction reports.
            let _ = dst.shutdown_write();
            Poll::Ready(Ok(()))
        }
        Err(error) => Poll::Ready(Err(error)),
    }
}

/// The bytes one peer sends, and what the other one must see.
#[derive(Clone)]
pub(crate) struct Content {
    random: fastrand::Rng,
    left: usize,
    crc: crc32fast::Hasher,
}

impl Content {
    pub(crate) fn new(seed: u64, bytes: usize) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), left: bytes, crc: crc32fast::Hasher::new() }
    }

    /// The next bytes, at most `most`; none once all were given out.
    pub(crate) fn next(&mut self, most: usize) -> Vec<u8> {
        let n = self.left.min(most);
        let mut bytes = vec![0; n];
        self.random.fill(&mut bytes);
        self.left -= n;
        self.crc.update(&bytes);
        bytes
    }

    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// The checksum of everything given out.
    pub(crate) fn crc(self) -> u32 {
        self.crc.finalize()
    }
}

/// What a peer sent before it was done or stopped by an error.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    bytes: usize,
    crc: u32,
    failed: bool,
}

/// What a peer saw: how much, its checksum, and how the stream ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) bytes: usize,
    pub(crate) crc: u32,
    pub(crate) end: Result<(), io::ErrorKind>,
}

/// Runs one transfer and checks all that both peers saw.
///
/// # Panics
/// When anything was lost, reordered, invented or ended wrongly.
pub(crate) async fn check(listener: &TcpListener, policy: &Policy, transfer: Transfer) -> Outcome {
    let rig = Rig::new(listener).await.expect("loopback sockets");
    if transfer.slow {
        rig.narrow();
    }
    let Rig { client, inner_client, inner_server, server } = rig;
    let client = peer(client, transfer, true);
    let server = peer(server, transfer, false);
    // A task each: in one task, one's wake-ups would hide that another's are missing.
    let policy = policy.clone();
    let relay = spawn_local(async move { relay(inner_client, inner_server, &policy).await });
    let (client, server) = (spawn_local(client), spawn_local(server));
    let (client_sent, client_seen) = client.await.expect("no panic");
    let (server_sent, server_seen) = server.await.expect("no panic");
    let outcome = relay.await.expect("no panic");
    if transfer.order.resets() {
        assert!(outcome.error.is_some(), "{transfer:?}: the reset was not noticed: {outcome:?}");
        let (sent, survivor) = if transfer.order == Order::ClientResets {
            (&server_sent, &server_seen)
        } else {
            (&client_sent, &client_seen)
        };
        assert!(
            sent.failed || survivor.end.is_err(),
            "{transfer:?}: the reset was not passed on: {survivor:?}, {outcome:?}"
        );
    } else {
        assert!(outcome.error.is_none(), "{transfer:?}: {outcome:?}");
        for (sent, seen, who) in [(client_sent, server_seen, "server"), (server_sent, client_seen, "client")]
        {
            assert_eq!(seen.end, Ok(()), "{transfer:?}: {who}");
            assert_eq!(
                (seen.bytes, seen.crc, false),
                (sent.bytes, sent.crc, sent.failed),
                "{transfer:?}: {who}"
            );
        }
        assert_eq!(outcome.from_client, transfer.from_client as u64, "{transfer:?}");
        assert_eq!(outcome.from_server, transfer.from_server as u64, "{transfer:?}");
    }
    outcome
}

/// One end of a transfer: sends its bytes and reads the other's, in the order asked for.
async fn peer(mut stream: TcpStream, transfer: Transfer, is_client: bool) -> (Sent, Seen) {
    let (mine, theirs) = if is_client {
        (transfer.from_client, transfer.from_server)
    } else {
        (transfer.from_server, transfer.from_client)
    };
    let seed = transfer.seed.wrapping_mul(2).wrapping_add(u64::from(is_client));
    let content = Content::new(seed, mine);
    let _ = theirs;
    let (mut reader, mut writer) = stream.split();
    let waits = match transfer.order {
        Order::ClientEndsFirst => !is_client,
        Order::ServerEndsFirst => is_client,
        _ => false,
    };
    if waits {
        let seen = read_all(&mut reader, usize::MAX, transfer).await;
        let sent = write_all(&mut writer, content).await;
        let _ = writer.shutdown().await;
        (sent, seen)
    } else {
        let resets = transfer.order == if is_client { Order::ClientResets } else { Order::ServerResets };
        if resets {
            let sent = write_all(&mut writer, content).await;
            let seen = Seen { bytes: 0, crc: 0, end: Ok(()) };
            stream.set_zero_linger().expect("an open socket");
            return (sent, seen);
        }
        let knowing = transfer.order == Order::ServerEndsKnowing;
        let (sent, seen) = tokio::join!(
            async {
                let sent = write_all(&mut writer, content).await;
                if !knowing {
                    let _ = writer.shutdown().await;
                }
                sent
            },
            read_all(&mut reader, if knowing && !is_client { theirs } else { usize::MAX }, transfer)
        );
        if knowing {
            let _ = writer.shutdown().await;
            if !is_client {
                let rest = read_all(&mut reader, usize::MAX, transfer).await;
                assert_eq!(rest.bytes, 0, "{transfer:?}: more than the client sent");
            }
        }
        (sent, seen)
    }
}

async fn write_all(writer: &mut (impl AsyncWriteExt + Unpin), mut content: Content) -> Sent {
    let (mut bytes_sent, mut failed) = (0, false);
    loop {
        let most = 1 << content.random.usize(4..19);
        let bytes = content.next(most);
        if bytes.is_empty() {
            break;
        }
        if writer.write_all(&bytes).await.is_err() {
            failed = true;
            break;
        }
        bytes_sent += bytes.len();
        // Now and then everybody else catches up first.
        for _ in 0..content.random.u32(0..4) {
            tokio::task::yield_now().await;
        }
    }
    Sent { bytes: bytes_sent, crc: content.crc.finalize(), failed }
}

async fn read_all(reader: &mut (impl AsyncReadExt + Unpin), until: usize, transfer: Transfer) -> Seen {
    let mut random = fastrand::Rng::with_seed(!transfer.seed);
    let mut seen = Seen { bytes: 0, crc: 0, end: Ok(()) };
    let mut crc = crc32fast::Hasher::new();
    let mut space = vec![0; 1 << 18];
    while seen.bytes < until {
        let most = 1 << random.usize(6..19);
        match reader.read(&mut space[..most]).await {
            Ok(0) => break,
            Ok(n) => {
                crc.update(&space[..n]);
                seen.bytes += n;
                // Now and then the reader is slow, which everybody before it must bear.
                if transfer.slow && random.u8(..64) == 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(random.u64(1..20))).await;
                }
            }
            Err(error) => {
                seen.end = Err(error.kind());
                break;
            }
        }
    }
    seen.crc = crc.finalize();
    seen
}

/// A runtime as each worker has one.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

/// A transfer size: empty, tiny, or anything up to `most`, evenly over the orders of magnitude.
pub(crate) fn size(random: &mut fastrand::Rng, most: usize) -> usize {
    let magnitude = random.u32(0..=most.ilog2());
    random.usize(0..=(1 << magnitude))
}

/// A policy that leaves directions to the kernel program, or nothing and the reason on standard error.
pub(crate) fn sockmap_policy() -> Option<Policy> {
    let accel = Accel::start(Wanted { accel: true, sockmap: true, splice: SpliceWanted::NotAsked });
    let Some(sockmap) = accel.sockmap() else {
        let mut error = io::stderr();
        io::Write::write_fmt(&mut error, format_args!("skipped: {accel}\n")).expect("standard error");
        return None;
    };
    Some(Policy { splice: Splice::Never, sockmap: Some(Arc::clone(sockmap)) })
}
