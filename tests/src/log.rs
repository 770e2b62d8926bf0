//! Syslog receivers: a UDP port, a unix datagram socket.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;

use tokio::net::{UdpSocket, UnixDatagram};

use crate::Lines;

/// The largest datagram a log line may need: far above the default length of 1024.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// Collects datagrams as lines, each whole, priority and header included.
pub struct LogReceiver {
    lines: Lines,
    addr: Option<SocketAddr>,
}

impl LogReceiver {
    pub async fn udp() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a UDP port");
        let addr = socket.local_addr().expect("a bound socket");
        let lines = Lines::default();
        let sink = lines.clone();
        tokio::spawn(async move {
            let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
            while let Ok(length) = socket.recv(&mut datagram).await {
                sink.push(String::from_utf8_lossy(&datagram[..length]).into_owned());
            }
        });
        Self { lines, addr: Some(addr) }
    }

    pub fn unix(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a unix socket");
        let lines = Lines::default();
        let sink = lines.clone();
        tokio::spawn(async move {
            let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
            while let Ok(length) = socket.recv(&mut datagram).await {
                sink.push(String::from_utf8_lossy(&datagram[..length]).into_owned());
            }
        });
        Self { lines, addr: None }
    }

    /// Where a UDP receiver listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr.expect("a UDP receiver")
    }
}

impl Deref for LogReceiver {
    type Target = Lines;

    fn deref(&self) -> &Lines {
        &self.lines
    }
}
