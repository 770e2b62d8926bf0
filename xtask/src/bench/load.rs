//! The client: it keeps the proxy busy, and reads off what that cost.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::timeout;

use super::origin::BODY_BYTES;
use super::proxy::Proxy;
use super::rules;
use super::scenario::{Load, Measured};
use super::tls::{Resumption, Tls};
use super::usage;

/// Time for connections, pools and the relay's choice of path to settle before anything counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// A load that moves nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of one ping.
const PING_BYTES: usize = 64;
/// How much the bulk reader takes at a time. The kernel discards it; the memory is never touched.
const BULK_READ_BYTES: usize = 1 << 20;
/// Idle connections that are opened before the first look at the memory: what a first connection allocates is not
/// the price of each.
const IDLE_FIRST: usize = 256;
/// Idle connections opened at a time.
const IDLE_BATCH: usize = 64;

/// What one worker of the load counts: requests, exchanges or bytes.
type Count = Rc<Cell<u64>>;
/// The first failure of any worker; one is enough to distrust the figures.
type Failure = Rc<RefCell<Option<anyhow::Error>>>;

/// Puts the load on the proxy for the given time.
pub(super) async fn run(load: Load, proxy: &Proxy, duration: Duration) -> Result<Measured> {
    let addr = proxy.addr();
    let cpu = || usage::cpu(proxy.pid());
    match load {
        Load::KeepAlive { connections } => {
            let busy = busy(&cpu, connections, duration, |count| keep_alive(addr, count)).await?;
            Ok(busy.per_piece())
        }
        Load::Browse { connections, pages } => {
            let pages = Rc::new(Pages { next: Cell::new(0), pages });
            let busy = busy(&cpu, connections, duration, |count| browse(addr, Rc::clone(&pages), count));
            Ok(busy.await?.per_piece())
        }
        Load::ConnectionPerRequest { connections } => {
            let busy = busy(&cpu, connections, duration, |count| connection_per_request(addr, count)).await?;
            Ok(busy.per_piece())
        }
        Load::PingPong { connections } => {
            let busy = busy(&cpu, connections, duration, |count| ping_pong(addr, count)).await?;
            Ok(busy.per_piece())
        }
        Load::Bulk { connections } => {
            let busy = busy(&cpu, connections, duration, |count| bulk(addr, count)).await?;
            Ok(busy.per_gigabyte())
        }
        Load::Idle { connections } => idle(proxy, connections, || connect(addr)).await,
        Load::TlsKeepAlive { connections } => {
            let tls = Tls::new(Resumption::Off, HTTP1)?;
            let busy = busy(&cpu, connections, duration, |count| tls_keep_alive(addr, tls.clone(), count));
            Ok(busy.await?.per_piece())
        }
        Load::TlsHandshake { connections, resumed } => {
            let resumption = if resumed { Resumption::On } else { Resumption::Off };
            let work = |count| async move {
                tls_handshakes(addr, &Tls::new(resumption, HTTP1)?, resumed, count).await
            };
            Ok(busy(&cpu, connections, duration, work).await?.per_piece())
        }
        Load::TlsBulk { connections } => {
            let tls = Tls::new(Resumption::Off, "")?;
            let busy = busy(&cpu, connections, duration, |count| tls_bulk(addr, tls.clone(), count)).await?;
            Ok(busy.per_gigabyte())
        }
        Load::TlsIdle { connections } => {
            let tls = Tls::new(Resumption::Off, HTTP1)?;
            idle(proxy, connections, || tls.connect(addr)).await
        }
        Load::Http2 { connections, streams } => {
            let tls = Tls::new(Resumption::Off, "h2")?;
            let busy = busy(&cpu, connections, duration, |count| http2(addr, tls.clone(), streams, count));
            Ok(busy.await?.per_piece())
        }
    }
}

/// Puts one of the loads that know nothing of a proxy on an address; what `cpu` reads counts as its cost.
pub(super) async fn run_against(
    load: Load,
    addr: SocketAddr,
    cpu: impl Fn() -> Result<Duration>,
    duration: Duration,
) -> Result<Measured> {
    let busy = match load {
        Load::KeepAlive { connections } => {
            busy(&cpu, connections, duration, |count| keep_alive(addr, count)).await?
        }
        Load::ConnectionPerRequest { connections } => {
            busy(&cpu, connections, duration, |count| reset_per_request(addr, count)).await?
        }
        Load::PingPong { connections } => {
            busy(&cpu, connections, duration, |count| ping_pong(addr, count)).await?
        }
        Load::Bulk { connections } => {
            return Ok(busy(&cpu, connections, duration, |count| bulk(addr, count)).await?.per_gigabyte());
        }
        other => bail!("{other:?} needs a proxy"),
    };
    Ok(busy.per_piece())
}

/// A stretch of load that was measured.
struct Busy {
    count: u64,
    elapsed: Duration,
    cpu: Duration,
}

impl Busy {
    #[allow(clippy::cast_precision_loss)] // a count of some seconds is far below 2^53
    fn count(&self) -> f64 {
        self.count as f64
    }

    fn per_piece(&self) -> Measured {
        let rate = self.count() / self.elapsed.as_secs_f64();
        Measured { rate: Some(rate), cpu: Some(self.cpu.as_secs_f64() * 1e6 / self.count()), memory: None }
    }

    fn per_gigabyte(&self) -> Measured {
        let gigabits = self.count() * 8.0 / 1e9;
        let rate = gigabits / self.elapsed.as_secs_f64();
        Measured { rate: Some(rate), cpu: Some(self.cpu.as_secs_f64() * 1e3 * 8.0 / gigabits), memory: None }
    }
}

/// Runs so many workers, lets them warm up, and measures for `duration`.
async fn busy<F: Future<Output = Result<()>> + 'static>(
    cpu: &impl Fn() -> Result<Duration>,
    workers: usize,
    duration: Duration,
    work: impl Fn(Count) -> F,
) -> Result<Busy> {
    let count = Count::default();
    let failure = Failure::default();
    // Dropping the set at the end stops the workers.
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (work, failure) = (work(Rc::clone(&count)), Rc::clone(&failure));
        tasks.spawn_local(async move {
            if let Err(error) = work.await {
                failure.borrow_mut().get_or_insert(error);
            }
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let (before, spent, start) = (count.get(), cpu()?, Instant::now());
    tokio::time::sleep(duration).await;
    let (after, elapsed, cpu) = (count.get(), start.elapsed(), cpu()?.saturating_sub(spent));
    if let Some(error) = failure.take() {
        return Err(error.context("the load failed"));
    }
    if after == before {
        bail!("nothing moved");
    }
    Ok(Busy { count: after - before, elapsed, cpu })
}

pub(super) async fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let stream = timeout(PATIENCE, TcpStream::connect(addr)).await.context("connect timed out")??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn request(addr: SocketAddr, connection: &str) -> Vec<u8> {
    format!(
        "GET /index.html HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: bench\r\nAccept: */*\r\n{connection}\r\n"
    )
    .into_bytes()
}

async fn keep_alive(addr: SocketAddr, count: Count) -> Result<()> {
    let request = request(addr, "");
    let mut stream = connect(addr).await?;
    loop {
        exchange(&mut stream, &request).await?;
        count.set(count.get() + 1);
    }
}

/// What the browsers ask for, one after the other.
struct Pages {
    next: Cell<usize>,
    pages: usize,
}

/// From one page to the next: far enough that neighbours in a map do not help, and without a factor in common with
/// how many there are.
const PAGE_STEP: usize = 7919;

impl Pages {
    fn next(&self) -> usize {
        let page = self.next.get();
        self.next.set((page + PAGE_STEP) % self.pages);
        page
    }
}

async fn browse(addr: SocketAddr, pages: Rc<Pages>, count: Count) -> Result<()> {
    let mut stream = connect(addr).await?;
    loop {
        exchange(&mut stream, &rules::request(pages.next())).await?;
        count.set(count.get() + 1);
    }
}

async fn connection_per_request(addr: SocketAddr, count: Count) -> Result<()> {
    let request = request(addr, "Connection: close\r\n");
    loop {
        let mut stream = connect(addr).await?;
        exchange(&mut stream, &request).await?;
        if stream.read(&mut [0; 16]).await? != 0 {
            bail!("bytes after the response");
        }
        count.set(count.get() + 1);
    }
}

/// The same with an origin that keeps its connections. The client ends each by a reset, because thousands in TIME_WAIT
/// would take all its ports.
async fn reset_per_request(addr: SocketAddr, count: Count) -> Result<()> {
    let request = request(addr, "");
    loop {
        let mut stream = connect(addr).await?;
        exchange(&mut stream, &request).await?;
        stream.set_zero_linger()?;
        count.set(count.get() + 1);
    }
}

/// Sends a request and reads its whole response, which must be the origin's.
pub(super) async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
) -> Result<()> {
    stream.write_all(request).await?;
    let mut buffer = [0; 2048];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await? {
            0 => bail!("closed after {:?}", String::from_utf8_lossy(&buffer[..filled])),
            count => filled += count,
        }
        if let Some(head) = head_bytes(&buffer[..filled])
            && filled >= head + BODY_BYTES
        {
            if !buffer.starts_with(b"HTTP/1.1 200 ") || filled > head + BODY_BYTES {
                bail!("unexpected response {:?}", String::from_utf8_lossy(&buffer[..filled]));
            }
            return Ok(());
        }
    }
}

fn head_bytes(response: &[u8]) -> Option<usize> {
    response.windows(4).position(|window| window == b"\r\n\r\n").map(|start| start + 4)
}

async fn ping_pong(addr: SocketAddr, count: Count) -> Result<()> {
    let mut stream = connect(addr).await?;
    let (ping, mut pong) = ([b'p'; PING_BYTES], [0; PING_BYTES]);
    loop {
        stream.write_all(&ping).await?;
        stream.read_exact(&mut pong).await?;
        count.set(count.get() + 1);
    }
}

/// What the client offers by ALPN.
const HTTP1: &str = "http/1.1";

async fn tls_keep_alive(addr: SocketAddr, tls: Tls, count: Count) -> Result<()> {
    let request = request(addr, "");
    let mut stream = tls.connect(addr).await?;
    loop {
        exchange(&mut stream, &request).await?;
        count.set(count.get() + 1);
    }
}

async fn tls_handshakes(addr: SocketAddr, tls: &Tls, resumed: bool, count: Count) -> Result<()> {
    let request = request(addr, "Connection: close\r\n");
    let mut first = true;
    loop {
        let mut stream = tls.connect(addr).await?;
        if Tls::is_resumed(&stream) != (resumed && !first) {
            bail!("the handshake was not as it should be (resumed: {})", !resumed);
        }
        first = false;
        exchange(&mut stream, &request).await?;
        if stream.read(&mut [0; 16]).await? != 0 {
            bail!("bytes after the response");
        }
        count.set(count.get() + 1);
    }
}

/// Shakes hands, and then takes records without opening them: the client must not be what is measured.
async fn tls_bulk(addr: SocketAddr, tls: Tls, count: Count) -> Result<()> {
    discard(tls.connect(addr).await?.get_ref().0, count).await
}

async fn http2(addr: SocketAddr, tls: Tls, streams: usize, count: Count) -> Result<()> {
    let (client, connection) = h2::client::handshake(tls.connect(addr).await?).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn_local(async move { Ok(connection.await?) });
    for _ in 0..streams {
        let (client, count) = (client.clone(), Rc::clone(&count));
        tasks.spawn_local(async move {
            let mut client = client;
            let uri = format!("https://{addr}/index.html");
            loop {
                let request = http::Request::get(&*uri).header("user-agent", "bench").header("accept", "*/*");
                client = client.ready().await?;
                let response = client.send_request(request.body(())?, true)?.0.await?;
                let status = response.status();
                let mut body = response.into_body();
                let mut length = 0;
                while let Some(piece) = body.data().await {
                    let piece = piece?;
                    length += piece.len();
                    body.flow_control().release_capacity(piece.len())?;
                }
                if status != 200 || length != BODY_BYTES {
                    bail!("unexpected response {status} with {length} bytes");
                }
                count.set(count.get() + 1);
            }
        });
    }
    // Each runs until it fails.
    match tasks.join_next().await {
        Some(ended) => ended?,
        None => bail!("no streams"),
    }
}

async fn bulk(addr: SocketAddr, count: Count) -> Result<()> {
    discard(&connect(addr).await?, count).await
}

async fn discard(stream: &TcpStream, count: Count) -> Result<()> {
    let mut buffer = vec![0; BULK_READ_BYTES];
    loop {
        timeout(PATIENCE, stream.readable()).await.context("the flow stands still")??;
        // With TRUNC the kernel throws the bytes away instead of copying them.
        let read = stream.try_io(Interest::READABLE, || {
            Ok(recv(stream, &mut buffer[..], RecvFlags::TRUNC | RecvFlags::DONTWAIT)?.1)
        });
        match read {
            Ok(0) => bail!("the flow ended"),
            Ok(bytes) => count.set(count.get() + bytes as u64),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        tokio::task::yield_now().await;
    }
}

/// Memory per connection that has had one request and stays.
async fn idle<S, F>(proxy: &Proxy, connections: usize, dial: impl Fn() -> F) -> Result<Measured>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Future<Output = Result<S>> + 'static,
{
    let mut open = Vec::with_capacity(IDLE_FIRST + connections);
    open_idle(proxy.addr(), IDLE_FIRST, &dial, &mut open).await?;
    let before = usage::memory(proxy.pid())?;
    open_idle(proxy.addr(), connections, &dial, &mut open).await?;
    let after = usage::memory(proxy.pid())?;
    #[allow(clippy::cast_precision_loss)] // memory of one process is far below 2^53 bytes
    let per_connection = (after.saturating_sub(before)) as f64 / connections as f64;
    Ok(Measured { rate: None, cpu: None, memory: Some(per_connection) })
}

async fn open_idle<S, F>(
    addr: SocketAddr,
    wanted: usize,
    dial: &impl Fn() -> F,
    open: &mut Vec<S>,
) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    F: Future<Output = Result<S>> + 'static,
{
    let mut left = wanted;
    while left > 0 {
        let batch = left.min(IDLE_BATCH);
        let open_one = |_| {
            let dialled = dial();
            spawn_local(async move {
                let mut stream = dialled.await?;
                exchange(&mut stream, &request(addr, "")).await?;
                anyhow::Ok(stream)
            })
        };
        let tasks: Vec<_> = (0..batch).map(open_one).collect();
        for task in tasks {
            open.push(task.await??);
        }
        left -= batch;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_per_piece_and_per_gigabyte() {
        let busy = Busy { count: 1000, elapsed: Duration::from_secs(2), cpu: Duration::from_millis(20) };
        assert_eq!(busy.per_piece(), Measured { rate: Some(500.0), cpu: Some(20.0), memory: None });
        let busy =
            Busy { count: 1_000_000_000, elapsed: Duration::from_secs(2), cpu: Duration::from_secs(1) };
        assert_eq!(busy.per_gigabyte(), Measured { rate: Some(4.0), cpu: Some(1000.0), memory: None });
    }

    #[test]
    fn the_end_of_a_head_is_found() {
        assert_eq!(head_bytes(b"HTTP/1.1 200 OK\r\n\r\nx"), Some(19));
        assert_eq!(head_bytes(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
