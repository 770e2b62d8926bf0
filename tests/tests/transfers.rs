//! 20,000 transfers of random sizes in every close order, over every way the proxy has of moving bytes: nothing may be
//! lost, reordered or hung. The same suite runs with acceleration off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_tests::{Rig, Setup, is_haproxy};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;

/// Transfers per path: four paths make the 20,000.
const TRANSFERS: u64 = 5_000;

/// Transfers under way at once on one path.
const CONCURRENT: usize = 24;

/// The largest body, and the tail of the size distribution.
const SIZE_MAX: usize = 2 << 20;

/// How long one transfer may take on a machine that is busy with all paths.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn by_copying() {
    run("", "").await;
}

#[tokio::test]
async fn by_splicing() {
    run("", "option splice-auto").await;
}

#[tokio::test]
async fn by_sockmap() {
    run(if is_haproxy() { "" } else { "ebpf.splice sockmap" }, "option splice-auto").await;
}

#[tokio::test]
async fn with_acceleration_off() {
    run(if is_haproxy() { "nosplice" } else { "ebpf.accel off\n  nosplice" }, "option splice-auto").await;
}

/// Who ends its direction when.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// Both send at once and end when they are through.
    Free,
    /// The server speaks after the end of the request.
    ClientFirst,
    /// The client speaks after the end of the response.
    ServerFirst,
    /// The client closes both directions as soon as it has read everything.
    ClientCloses,
    /// The client resets the connection in the middle.
    ClientResets,
    /// The server resets the connection in the middle.
    ServerResets,
}

/// One transfer: both sides derive it from its number.
#[derive(Clone, Copy)]
struct Transfer {
    number: u64,
    order: Order,
    request: (usize, usize),
    response: (usize, usize),
    piece: usize,
}

impl Transfer {
    fn new(number: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(number);
        let mut body = || {
            let limit = match random.u32(..100) {
                0..5 => 1,
                5..60 => 2_000,
                60..87 => 65_536,
                87..97 => 300_000,
                _ => SIZE_MAX,
            };
            (random.usize(..SIZE_MAX), random.usize(..limit))
        };
        let (request, response) = (body(), body());
        let order = match random.u32(..12) {
            0..3 => Order::Free,
            3..6 => Order::ClientFirst,
            6..8 => Order::ServerFirst,
            8..10 => Order::ClientCloses,
            10 => Order::ClientResets,
            _ => Order::ServerResets,
        };
        let piece = [1 << 10, 1 << 14, 1 << 16, SIZE_MAX][random.usize(..4)];
        Self { number, order, request, response, piece }
    }
}

/// The bytes that all bodies are cut from.
fn material() -> Arc<[u8]> {
    let mut random = fastrand::Rng::with_seed(1);
    std::iter::repeat_with(|| random.u64(..).to_le_bytes()).take(2 * SIZE_MAX / 8).flatten().collect()
}

async fn run(global: &str, defaults: &str) {
    let material = material();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let plan = Rig::tcp().global(global).defaults(defaults).quiet();
    let mut daemon = Setup::new(plan.cfg().replace("nbthread 1", ""))
        .at("s1", listener.local_addr().expect("bound"))
        .start();
    let fe = daemon.addr("fe");
    daemon.connect("fe").await.close();

    let (finished, finish) = oneshot::channel();
    let origin = tokio::spawn(serve(listener, material.clone(), finish));
    let gate = Arc::new(Semaphore::new(CONCURRENT));
    let mut clients = JoinSet::new();
    for number in 0..TRANSFERS {
        let permit = gate.clone().acquire_owned().await.expect("open");
        let material = material.clone();
        clients.spawn(async move {
            let transfer = Transfer::new(number);
            let outcome = tokio::time::timeout(TRANSFER_PATIENCE, client(fe, transfer, &material)).await;
            drop(permit);
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(problem)) => panic!("transfer {number} {:?}: {problem}", transfer.order),
                Err(_) => panic!(
                    "transfer {number} {:?} hangs: request {}, response {}",
                    transfer.order, transfer.request.1, transfer.response.1
                ),
            }
        });
        while let Some(done) = clients.try_join_next() {
            done.expect("a transfer");
        }
    }
    while let Some(done) = clients.join_next().await {
        done.expect("a transfer");
    }
    assert!(daemon.is_running());
    finished.send(()).expect("the origin lives");
    origin.await.expect("the origin");
}

async fn client(fe: SocketAddr, transfer: Transfer, material: &[u8]) -> Result<(), String> {
    let mut stream = TcpStream::connect(fe).await.map_err(|err| format!("connect: {err}"))?;
    let request = cut(material, transfer.request);
    let response = cut(material, transfer.response);
    stream.write_all(&transfer.number.to_le_bytes()).await.map_err(|err| format!("send: {err}"))?;
    match transfer.order {
        Order::Free | Order::ClientFirst => both(stream, request, response, transfer.piece).await,
        Order::ServerFirst => {
            receive(&mut stream, response).await?;
            send(&mut stream, request, transfer.piece).await
        }
        Order::ClientCloses => {
            // The server waits for the close, not for a half-close.
            let (mut read, mut write) = stream.into_split();
            let (sent, received) = tokio::join!(
                async { write.write_all(request).await.map_err(|err| format!("send: {err}")) },
                receive_exactly(&mut read, response)
            );
            sent.and(received)
        }
        Order::ClientResets => {
            stream.write_all(&request[..request.len() / 2]).await.map_err(|err| format!("send: {err}"))?;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(|err| err.to_string())
        }
        Order::ServerResets => {
            let (mut read, mut write) = stream.into_split();
            // The request may not be wanted any more; the response may be cut, but not wrong.
            let (_, received) = tokio::join!(write.write_all(request), receive_prefix(&mut read, response));
            received
        }
    }
}

/// Answers transfers until `finish`, then waits for those under way.
async fn serve(listener: TcpListener, material: Arc<[u8]>, mut finish: oneshot::Receiver<()>) {
    let mut transfers = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("accept");
                let material = material.clone();
                let answer = async move { answer(stream, &material).await };
                transfers.spawn(tokio::time::timeout(TRANSFER_PATIENCE, answer));
            }
            _ = &mut finish => break,
        }
        while let Some(done) = transfers.try_join_next() {
            check(done.expect("an answer"));
        }
    }
    while let Some(done) = transfers.join_next().await {
        check(done.expect("an answer"));
    }
}

fn check(outcome: Result<Result<(), String>, Elapsed>) {
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => panic!("{problem}"),
        Err(_) => panic!("the origin's side of a transfer hangs"),
    }
}

async fn answer(mut stream: TcpStream, material: &[u8]) -> Result<(), String> {
    let mut number = [0; 8];
    if stream.read_exact(&mut number).await.is_err() {
        // The probe that waited for the daemon, or a transfer that was reset at once.
        return Ok(());
    }
    let number = u64::from_le_bytes(number);
    if number >= TRANSFERS {
        // A health check of another test's daemon, whose server had this port before. Were it one of our clients,
        // it would miss its response.
        return Ok(());
    }
    let transfer = Transfer::new(number);
    let request = cut(material, transfer.request);
    let response = cut(material, transfer.response);
    let outcome = match transfer.order {
        Order::Free => both(stream, response, request, transfer.piece).await,
        Order::ClientFirst => {
            receive(&mut stream, request).await?;
            send(&mut stream, response, transfer.piece).await
        }
        Order::ServerFirst => {
            send(&mut stream, response, transfer.piece).await?;
            receive(&mut stream, request).await
        }
        Order::ClientCloses => {
            let (mut read, mut write) = stream.into_split();
            let (sent, received) = tokio::join!(
                async { write.write_all(response).await.map_err(|err| format!("send: {err}")) },
                receive_exactly(&mut read, request)
            );
            sent.and(received)?;
            let mut byte = [0];
            match read.read(&mut byte).await {
                Ok(0) | Err(_) => Ok(()),
                Ok(_) => Err("more bytes than were sent".to_owned()),
            }
        }
        Order::ClientResets => receive_prefix(&mut stream, request).await,
        Order::ServerResets => {
            // A proxy that is gone already cannot be told; the client sees its end either way.
            drop(stream.write_all(&response[..response.len() / 2]).await);
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(|err| err.to_string())
        }
    };
    outcome.map_err(|problem| {
        format!("origin's side of transfer {} {:?}: {problem}", transfer.number, transfer.order)
    })
}

fn cut(material: &[u8], (offset, length): (usize, usize)) -> &[u8] {
    &material[offset..offset + length]
}

/// Sends and receives at once, and ends its direction when it is through.
async fn both(stream: TcpStream, out: &[u8], expected: &[u8], piece: usize) -> Result<(), String> {
    let (mut read, mut write) = stream.into_split();
    let send = async {
        for part in out.chunks(piece) {
            write.write_all(part).await.map_err(|err| format!("send: {err}"))?;
        }
        write.shutdown().await.map_err(|err| format!("shutdown: {err}"))
    };
    let (sent, received) = tokio::join!(send, receive(&mut read, expected));
    sent.and(received)
}

async fn send(stream: &mut TcpStream, out: &[u8], piece: usize) -> Result<(), String> {
    for part in out.chunks(piece) {
        stream.write_all(part).await.map_err(|err| format!("send: {err}"))?;
    }
    stream.shutdown().await.map_err(|err| format!("shutdown: {err}"))
}

/// Exactly `expected`, then the end.
async fn receive(stream: &mut (impl AsyncReadExt + Unpin), expected: &[u8]) -> Result<(), String> {
    receive_exactly(stream, expected).await?;
    match stream.read(&mut [0]).await {
        Ok(0) => Ok(()),
        Ok(_) => Err("more bytes than were sent".to_owned()),
        Err(err) => Err(format!("no clean end after {} bytes: {err}", expected.len())),
    }
}

async fn receive_exactly(stream: &mut (impl AsyncReadExt + Unpin), expected: &[u8]) -> Result<(), String> {
    let (count, end) = compare(stream, expected).await?;
    match end {
        None => Ok(()),
        Some(end) => Err(format!("{count} of {} bytes, then {end}", expected.len())),
    }
}

/// What comes must be the beginning of `expected`; the end may come early and in any form.
async fn receive_prefix(stream: &mut (impl AsyncReadExt + Unpin), expected: &[u8]) -> Result<(), String> {
    let (_, end) = compare(stream, expected).await?;
    if end.is_none() {
        // All of it came; the end must come too.
        return match stream.read(&mut [0]).await {
            Ok(0) | Err(_) => Ok(()),
            Ok(_) => Err("more bytes than were sent".to_owned()),
        };
    }
    Ok(())
}

/// Reads at most `expected.len()` bytes: how many came, and how the stream ended if it ended before.
async fn compare(
    stream: &mut (impl AsyncReadExt + Unpin),
    expected: &[u8],
) -> Result<(usize, Option<String>), String> {
    let mut buffer = vec![0; expected.len().clamp(1, 1 << 16)];
    let mut count = 0;
    while count < expected.len() {
        let room = buffer.len().min(expected.len() - count);
        match stream.read(&mut buffer[..room]).await {
            Ok(0) => return Ok((count, Some("the end".to_owned()))),
            Ok(length) if buffer[..length] == expected[count..count + length] => count += length,
            Ok(length) => return Err(format!("wrong bytes between {count} and {}", count + length)),
            Err(err) => return Ok((count, Some(err.to_string()))),
        }
    }
    Ok((count, None))
}
