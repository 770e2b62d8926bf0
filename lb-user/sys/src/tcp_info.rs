//! What the kernel knows about a TCP connection.

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// The fields of `struct tcp_info` that the daemon uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpInfo {
    /// `tcpi_state`: 1 is ESTABLISHED.
    pub state: u8,
    /// Bytes of our stream that the peer has acknowledged, the SYN counted as one.
    pub bytes_acked: u64,
    /// Bytes of the peer's stream that arrived in order, its FIN counted as one.
    pub bytes_received: u64,
    /// How long ago data last arrived.
    pub last_data_recv: Duration,
    /// How long ago data was last sent.
    pub last_data_sent: Duration,
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Variance of the round-trip time.
    pub rtt_variance: Duration,
    /// Segments sent again.
    pub retransmits: u32,
    /// Segments not acknowledged, acknowledged out of order, taken for lost, being sent again, and ahead of the last
    /// acknowledged out of order.
    pub unacked: u32,
    pub sacked: u32,
    pub lost: u32,
    pub retrans: u32,
    pub fackets: u32,
    /// Reordering metric.
    pub reordering: u32,
}

/// The start of the kernel's `struct tcp_info`, which only ever grows at its end (Linux 4.2 has all of this).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Raw {
    state: u8,
    _small: [u8; 7],
    _rto_to_rcv_mss: [u32; 4],
    unacked: u32,
    sacked: u32,
    lost: u32,
    retrans: u32,
    fackets: u32,
    last_data_sent: u32,
    _last_ack_sent: u32,
    last_data_recv: u32,
    _last_ack_recv_to_rcv_ssthresh: [u32; 3],
    rtt: u32,
    rttvar: u32,
    _snd_ssthresh_to_advmss: [u32; 3],
    reordering: u32,
    _rcv_rtt_and_space: [u32; 2],
    total_retrans: u32,
    _pacing_rates: [u64; 2],
    bytes_acked: u64,
    bytes_received: u64,
}

const _: () = assert!(offset_of!(Raw, last_data_sent) == 44);
const _: () = assert!(offset_of!(Raw, last_data_recv) == 52);
const _: () = assert!(offset_of!(Raw, rtt) == 68);
const _: () = assert!(offset_of!(Raw, total_retrans) == 100);
const _: () = assert!(offset_of!(Raw, bytes_received) == 128);

/// Reads `TCP_INFO`.
///
/// # Errors
/// When the descriptor is not a TCP socket.
pub fn tcp_info(fd: impl AsFd) -> io::Result<TcpInfo> {
    let mut raw = Raw::default();
    let size = size_of::<Raw>();
    #[expect(clippy::cast_possible_truncation, reason = "136 bytes")]
    let mut length = size as libc::socklen_t;
    // SAFETY: the pointer is to `length` bytes of plain integers, for which every bit pattern is valid.
    let status = unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut raw).cast(),
            &mut length,
        )
    };
    if status == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(TcpInfo {
        state: raw.state,
        bytes_acked: raw.bytes_acked,
        bytes_received: raw.bytes_received,
        last_data_recv: Duration::from_millis(raw.last_data_recv.into()),
        last_data_sent: Duration::from_millis(raw.last_data_sent.into()),
        rtt: Duration::from_micros(raw.rtt.into()),
        rtt_variance: Duration::from_micros(raw.rttvar.into()),
        retransmits: raw.total_retrans,
        unacked: raw.unacked,
        sacked: raw.sacked,
        lost: raw.lost,
        retrans: raw.retrans,
        fackets: raw.fackets,
        reordering: raw.reordering,
    })
}

/// `SIOCOUTQ`: bytes written to the socket that its peer has not acknowledged yet.
pub fn unacknowledged(fd: impl AsFd) -> io::Result<u64> {
    ioctl_int(fd, libc::TIOCOUTQ)
}

/// `SIOCINQ`: bytes that have arrived and were not read yet.
pub fn unread(fd: impl AsFd) -> io::Result<u64> {
    ioctl_int(fd, libc::FIONREAD)
}

fn ioctl_int(fd: impl AsFd, request: libc::Ioctl) -> io::Result<u64> {
    let mut value: libc::c_int = 0;
    // SAFETY: both requests write one int through the pointer, which is to a live one.
    let status = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request, &raw mut value) };
    if status == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn counts_what_arrived_and_what_was_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let acked =
            |stream: &TcpStream| tcp_info(stream).unwrap().bytes_acked + unacknowledged(stream).unwrap();
        let base = acked(&near);
        near.write_all(&[7; 3_000]).unwrap();
        let mut space = [0; 1_000];
        far.read_exact(&mut space).unwrap();
        assert_eq!(acked(&near) - base, 3_000);
        let info = tcp_info(&far).unwrap();
        assert_eq!((info.state, info.bytes_received, unread(&far).unwrap()), (1, 3_000, 2_000));
        near.shutdown(std::net::Shutdown::Write).unwrap();
        far.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(tcp_info(&far).unwrap().bytes_received, 3_001);
        assert!(tcp_info(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
