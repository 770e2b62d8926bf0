//! Compares the paths: `throughput PATH bulk|pingpong SECONDS [CLIENT_NETNS SERVER_NETNS RELAY_ADDRESS SERVER_ADDRESS]`,
//! PATH being `copy`, `splice` or `sockmap`.
//!
//! One relay thread, one flow. With namespaces, the peers work in them and reach the relay over whatever links
//! there are. `PIPE_BYTES` in the environment sets the size of pipes. Prints Gbit/s or exchanges per second, and the CPU of this process and of the whole system.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use sockeye_accel::{Accel, SpliceWanted, Wanted};
use sockeye_conn::{Buffer, Socket};
use sockeye_relay::{PipeLimits, Policy, Pump, Splice};

type Failure = Box<dyn Error + Send + Sync>;

const MESSAGE_BYTES: usize = 64;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let usage =
        "throughput PATH bulk|pingpong SECONDS [CLIENT_NETNS SERVER_NETNS RELAY_ADDRESS SERVER_ADDRESS]";
    let [path, mode, seconds, rest @ ..] = args.as_slice() else { return Err(usage.into()) };
    let bulk = mode == "bulk";
    let duration = Duration::from_secs_f64(seconds.parse()?);
    let (client_ns, server_ns, relay_ip, server_ip) = match rest {
        [client, server, relay_ip, server_ip] => {
            (Some(client.clone()), Some(server.clone()), relay_ip.as_str(), server_ip.as_str())
        }
        _ => (None, None, "127.0.0.1", "127.0.0.1"),
    };
    if let Ok(bytes) = std::env::var("PIPE_BYTES") {
        PipeLimits { bytes: bytes.parse()?, ..PipeLimits::default() }.apply();
    }
    let accel =
        Accel::start(Wanted { accel: true, sockmap: path == "sockmap", splice: SpliceWanted::NotAsked });
    let policy = Policy {
        splice: if path == "splice" { Splice::Auto } else { Splice::Never },
        sockmap: accel.sockmap().cloned(),
    };
    if path == "sockmap" && policy.sockmap.is_none() {
        return Err(accel.to_string().into());
    }
    let (address_sender, address) = std::sync::mpsc::channel();
    let server_bind: SocketAddr = format!("{server_ip}:0").parse()?;
    let server = std::thread::spawn(move || -> Result<(), Failure> {
        enter(server_ns)?;
        let listener = TcpListener::bind(server_bind)?;
        address_sender.send(listener.local_addr()?)?;
        serve(listener.accept()?.0, bulk)
    });
    let server_address = address.recv()?;
    let listener = TcpListener::bind(format!("{relay_ip}:0"))?;
    let relay_address = listener.local_addr()?;
    let done = Arc::new(AtomicU64::new(0));
    let relay = std::thread::spawn(move || relay(&listener, server_address, &policy));
    let counted = Arc::clone(&done);
    let client = std::thread::spawn(move || -> Result<(), Failure> {
        enter(client_ns)?;
        drive(TcpStream::connect(relay_address)?, bulk, duration, &counted)
    });
    let before = (Instant::now(), busy_ticks()?);
    client.join().map_err(|_| "client")??;
    let after = (before.0.elapsed().as_secs_f64(), busy_ticks()?);
    let wakeups = relay.join().map_err(|_| "relay")??;
    server.join().map_err(|_| "server")??;
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (amount, [system, process]) =
        (done.load(Ordering::Relaxed) as f64, [0, 1].map(|i| (after.1[i] - before.1[i]) as f64 / 100.0));
    let mut out = std::io::stdout();
    if bulk {
        let gigabytes = amount / 1e9;
        writeln!(
            out,
            "{path}: {:.2} Gbit/s, CPU s/GB: {:.3} process, {:.3} system; {wakeups} polls",
            gigabytes * 8.0 / after.0,
            process / gigabytes,
            system / gigabytes
        )?;
    } else {
        writeln!(
            out,
            "{path}: {:.0} exchanges/s, CPU us each: {:.1} process, {:.1} system; {wakeups} polls",
            amount / after.0,
            process * 1e6 / amount,
            system * 1e6 / amount
        )?;
    }
    writeln!(out, "  {}", sockeye_relay::counters())?;
    if let Some(sockmap) = accel.sockmap() {
        writeln!(out, "  {:?}", sockmap.counters()?)?;
    }
    Ok(())
}

fn enter(namespace: Option<String>) -> Result<(), Failure> {
    if let Some(namespace) = namespace {
        sockeye_sys::process::enter_network_namespace(&namespace)?;
    }
    Ok(())
}

/// Bulk: reads to the end. Ping-pong: returns every message.
fn serve(mut stream: TcpStream, bulk: bool) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut space = vec![0; if bulk { 1 << 18 } else { MESSAGE_BYTES }];
    loop {
        if bulk {
            if stream.read(&mut space)? == 0 {
                return Ok(());
            }
        } else {
            if stream.read_exact(&mut space).is_err() {
                return Ok(());
            }
            stream.write_all(&space)?;
        }
    }
}

fn drive(mut stream: TcpStream, bulk: bool, duration: Duration, done: &AtomicU64) -> Result<(), Failure> {
    stream.set_nodelay(true)?;
    let mut space = vec![b'x'; if bulk { 1 << 18 } else { MESSAGE_BYTES }];
    let end = Instant::now() + duration;
    while Instant::now() < end {
        stream.write_all(&space)?;
        if bulk {
            done.fetch_add(space.len() as u64, Ordering::Relaxed);
        } else {
            stream.read_exact(&mut space)?;
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Relays one connection; returns how often its task was polled.
fn relay(listener: &TcpListener, server: SocketAddr, policy: &Policy) -> Result<u64, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, _) = listener.accept()?;
        let server = TcpStream::connect(server)?;
        for stream in [&client, &server] {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
        }
        let (mut client, mut server) = (Socket::from_tcp(client.into())?, Socket::from_tcp(server.into())?);
        let mut request = Pump::new(policy, None, Buffer::none());
        let mut response = Pump::new(policy, None, Buffer::none());
        let mut polls = 0;
        std::future::poll_fn(|cx| {
            polls += 1;
            let end = request.poll(cx, &mut client, &mut server);
            if response.poll(cx, &mut server, &mut client).is_ready() || end.is_ready() {
                return Poll::Ready(end.map_ok(|_| ()));
            }
            Poll::Pending
        })
        .await
        .is_ready();
        Ok(polls)
    })
}

/// Hundredths of a second of CPU: all CPUs of the machine, this process.
fn busy_ticks() -> Result<[u64; 2], Failure> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let system = ticks.iter().take(8).sum::<u64>() - ticks.get(3).unwrap_or(&0) - ticks.get(4).unwrap_or(&0);
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let process = fields.filter_map(|word| word.parse::<u64>().ok()).sum();
    Ok([system, process])
}
