//! Servers that say who they are, and clients that count: what tests of balancing look at.
//!
//! Over TCP a server begins with a line, its name and the client's address as it sees it, and then returns what it gets.
//! Over UDP each answer is that line and what came.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::Domain;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::{AbortHandle, JoinSet};

use crate::netns::Namespace;
use crate::within;

/// Longer than any datagram of the tests.
const DATAGRAM_MAX: usize = 65_535;

/// A server, until dropped.
pub struct Echo {
    name: String,
    accepted: Arc<AtomicUsize>,
    listeners: Vec<AbortHandle>,
    tasks: JoinSet<()>,
}

impl Echo {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), accepted: Arc::default(), listeners: Vec::new(), tasks: JoinSet::new() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Serves TCP connections to this address.
    pub fn tcp(&mut self, namespace: &Namespace, at: SocketAddr) -> &mut Self {
        let listener = namespace.listen(at).expect("an address of the namespace");
        let (name, accepted) = (self.name.clone(), Arc::clone(&self.accepted));
        // Connections live longer than the listener: a server that takes no new ones still serves these.
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Some((stream, from)) = receiver.recv().await {
                connections.spawn(serve(stream, greeting(&name, from)));
            }
            connections.join_all().await;
        });
        self.listeners.push(self.tasks.spawn(async move {
            while let Ok(one) = listener.accept().await {
                accepted.fetch_add(1, Ordering::Relaxed);
                if sender.send(one).is_err() {
                    return;
                }
            }
        }));
        self
    }

    /// Answers HTTP requests to this address, with its name; each connection carries one.
    pub fn pages(&mut self, namespace: &Namespace, at: SocketAddr) -> &mut Self {
        let listener = namespace.listen(at).expect("an address of the namespace");
        let name = self.name.clone();
        self.listeners.push(self.tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // However it ends, the client looks at what it got.
                drop(page(stream, &name).await);
            }
        }));
        self
    }

    /// Answers datagrams to this address.
    pub fn udp(&mut self, namespace: &Namespace, at: SocketAddr) -> &mut Self {
        let socket = namespace.udp(at).expect("an address of the namespace");
        let name = self.name.clone();
        self.listeners.push(self.tasks.spawn(async move {
            let mut buffer = vec![0; DATAGRAM_MAX];
            loop {
                // An error is an earlier answer that nobody wanted.
                let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
                let answer = [greeting(&name, from).as_bytes(), &buffer[..length]].concat();
                drop(socket.send_to(&answer, from).await);
            }
        }));
        self
    }

    /// Takes packets out of tunnels, as a tunnel interface of the kernel would.
    pub fn tunnel_end(&mut self, namespace: &Namespace) -> &mut Self {
        const IPV4_IN: u8 = 4;
        const IPV6_IN: u8 = 41;
        const RAW: u8 = 255;
        for (outer, inner) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let domain = |family: usize| [Domain::IPV4, Domain::IPV6][family];
            let arriving =
                namespace.raw(domain(outer), [IPV4_IN, IPV6_IN][inner], false).expect("a raw socket");
            let leaving = namespace.raw(domain(inner), RAW, true).expect("a raw socket");
            self.tasks.spawn(async move {
                let mut buffer = vec![0; DATAGRAM_MAX];
                while let Ok(length) = arriving.recv(&mut buffer).await {
                    // Sockets of IPv4 get the outer header too.
                    let header = if outer == 0 { usize::from(buffer[0] & 0xf) * 4 } else { 0 };
                    let packet = &buffer[header.min(length)..length];
                    let to: SocketAddr = match packet {
                        [first, ..] if first >> 4 == 4 && packet.len() >= 20 => {
                            (<[u8; 4]>::try_from(&packet[16..20]).expect("four bytes"), 0).into()
                        }
                        [first, ..] if first >> 4 == 6 && packet.len() >= 40 => {
                            (<[u8; 16]>::try_from(&packet[24..40]).expect("sixteen bytes"), 0).into()
                        }
                        _ => continue,
                    };
                    drop(leaving.send_to(packet, to).await);
                }
            });
        }
        self
    }

    /// Connections so far, those of health checks included.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Takes nothing new; what is established goes on.
    pub async fn close(&mut self) {
        for listener in self.listeners.drain(..) {
            listener.abort();
            while !listener.is_finished() {
                tokio::task::yield_now().await;
            }
        }
    }
}

fn greeting(name: &str, from: SocketAddr) -> String {
    format!("{name} {from}\n")
}

async fn serve(mut stream: TcpStream, greeting: String) {
    if stream.write_all(greeting.as_bytes()).await.is_err() {
        return;
    }
    let (mut read, mut write) = stream.split();
    // However it ends, the client looks at what it got.
    drop(tokio::io::copy(&mut read, &mut write).await);
    drop(write.shutdown().await);
}

async fn page(stream: TcpStream, name: &str) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 && line != "\r\n" {
        line.clear();
    }
    let answer =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{name}", name.len());
    stream.get_mut().write_all(answer.as_bytes()).await?;
    stream.get_mut().shutdown().await
}

/// A client's connection, and the server at its other end.
pub struct Flow {
    pub server: String,
    /// The client's address as the server sees it.
    pub seen: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Flow {
    /// Connects and hears who is there.
    pub async fn open(client: &Namespace, to: SocketAddr) -> io::Result<Self> {
        let mut stream = BufReader::new(client.connect(to).await?);
        stream.get_ref().set_nodelay(true)?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let (server, seen) = greeted(&line)?;
        Ok(Self { server, seen, stream })
    }

    /// The client's own address.
    pub fn local(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().expect("a connected socket")
    }

    /// Like [`Flow::open`], as soon as somebody listens there.
    #[track_caller]
    pub fn when_ready(client: &Namespace, to: SocketAddr) -> impl Future<Output = Self> {
        within(format!("a service at {to}"), async move {
            loop {
                match Self::open(client, to).await {
                    Ok(flow) => return flow,
                    // Before there is a service the balancer's kernel refuses; a server that is not in turn yet
                    // leaves the connection without an answer of the name.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                }
            }
        })
    }

    /// One exchange of these bytes.
    pub async fn ask(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await?;
        let mut answer = vec![0; bytes.len()];
        self.stream.read_exact(&mut answer).await?;
        if answer == bytes { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Sends these bytes while reading what comes back, up to the end.
    pub async fn exchange(mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = self.stream.buffer().to_vec();
        let (mut read, mut write) = self.stream.get_mut().split();
        let send = async {
            write.write_all(bytes).await?;
            write.shutdown().await
        };
        tokio::try_join!(send, read.read_to_end(&mut all))?;
        Ok(all)
    }

    /// Ends it in order: what the server does is waited for.
    pub async fn close(mut self) -> io::Result<()> {
        self.stream.get_mut().shutdown().await?;
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await?;
        if rest.is_empty() { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}

/// The server's name and the address it sees, from its line.
fn greeted(line: &str) -> io::Result<(String, SocketAddr)> {
    let parse = || {
        let (name, seen) = line.strip_suffix('\n')?.split_once(' ')?;
        Some((name.to_owned(), seen.parse().ok()?))
    };
    // A connection that ends before its line was not served.
    parse().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// One datagram and its answer: the server's name and the address it sees.
pub async fn ask_udp(socket: &UdpSocket, bytes: &[u8]) -> io::Result<(String, SocketAddr)> {
    socket.send(bytes).await?;
    let mut buffer = vec![0; DATAGRAM_MAX];
    let length = socket.recv(&mut buffer).await?;
    let answer = &buffer[..length];
    let end = answer.iter().position(|&byte| byte == b'\n').ok_or(io::ErrorKind::InvalidData)? + 1;
    if &answer[end..] != bytes {
        return Err(io::ErrorKind::InvalidData.into());
    }
    greeted(&String::from_utf8_lossy(&answer[..end]))
}
