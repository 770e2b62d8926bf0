//! The origins: a web server with one small answer, an endless sender, an echo. They cost as little as possible, so
//! that the proxy is what is measured.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use anyhow::{Context, Result};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create, sendfile};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};

/// The body of the web server's one answer.
pub(super) const BODY_BYTES: usize = 128;
/// The endless sender sends this file again and again, without copying it.
const BULK_FILE_BYTES: usize = 8 << 20;
/// Longest request head that we take.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// The addresses of the running origins.
pub(super) struct Origins {
    pub(super) http: SocketAddr,
    pub(super) bulk: SocketAddr,
    pub(super) echo: SocketAddr,
    /// A place for log lines. Nobody reads it: the kernel drops what does not fit.
    pub(super) log: UdpSocket,
}

impl Origins {
    /// Starts them on a thread of their own; it ends with the program.
    pub(super) fn start() -> Result<Self> {
        Self::start_on(Ipv4Addr::LOCALHOST)
    }

    /// The same at another address of the network namespace that the calling thread is in.
    pub(super) fn start_on(address: Ipv4Addr) -> Result<Self> {
        let (http, bulk, echo) = (listen(address)?, listen(address)?, listen(address)?);
        let origins = Self {
            http: http.local_addr()?,
            bulk: bulk.local_addr()?,
            echo: echo.local_addr()?,
            log: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?,
        };
        let file = memfd_create("bench-bulk", MemfdFlags::CLOEXEC).context("cannot make a file in memory")?;
        ftruncate(&file, BULK_FILE_BYTES as u64)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("origins".to_owned()).spawn(move || {
            let local = tokio::task::LocalSet::new();
            let result = local.block_on(&runtime, async {
                let file = Rc::new(file);
                let http = accept(http, answer);
                let bulk = accept(bulk, move |stream| send_endlessly(stream, Rc::clone(&file)));
                let echo = accept(echo, echo_back);
                tokio::try_join!(http, bulk, echo)
            });
            if let Err(error) = result {
                crate::workspace::say(format_args!("the origins ended: {error}"));
            }
        })?;
        Ok(origins)
    }
}

fn listen(address: Ipv4Addr) -> io::Result<StdListener> {
    let listener = StdListener::bind((address, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn accept<F: Future<Output = io::Result<()>> + 'static>(
    listener: StdListener,
    serve: impl Fn(TcpStream) -> F,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A proxy that is stopped breaks its connections; that is the end of each, not of the origin.
        tokio::task::spawn_local(serve(stream));
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let body = "x".repeat(BODY_BYTES);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let response = (head + &body).into_bytes();
    let mut buffer = vec![0; REQUEST_BYTES_MAX];
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Ok(()),
            count => filled += count,
        }
        // One request at a time is what proxies send; none has a body.
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            stream.write_all(&response).await?;
            filled = 0;
        }
    }
}

async fn send_endlessly(stream: TcpStream, file: Rc<OwnedFd>) -> io::Result<()> {
    let mut offset = 0;
    loop {
        stream.writable().await?;
        let sent = stream.try_io(Interest::WRITABLE, || {
            Ok(sendfile(&stream, &*file, Some(&mut offset), BULK_FILE_BYTES)?)
        });
        match sent {
            Ok(_) if offset >= BULK_FILE_BYTES as u64 => offset = 0,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        // A sender that never waits would starve the other tasks.
        tokio::task::yield_now().await;
    }
}

async fn echo_back(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}
