//! The shield's last door: a connection from a denied address is closed as soon as it is accepted.
//!
//! Where the kernel drops packets nothing from there comes this far. Without it, or over an interface that it does not
//! watch, the result is the same, only later and at a higher price.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::SocketAddrAny;
use sockeye_accel::{ShieldList, boot_clock};

/// The gate of the process, if it has a shield.
static GATE: OnceLock<Gate> = OnceLock::new();

/// A list, and what it refused.
#[derive(Debug)]
pub struct Gate {
    list: ShieldList,
    /// Connections, for each prefix of the list.
    refused: Box<[AtomicU64]>,
}

impl Gate {
    pub fn new(list: ShieldList) -> Self {
        let refused = list.entries().iter().map(|_| AtomicU64::new(0)).collect();
        Self { list, refused }
    }

    /// Makes it the process's. Called once, before the first connection.
    pub fn apply(self) -> &'static Self {
        // A second call would change nothing.
        GATE.get_or_init(|| self)
    }

    /// Whether a connection from `client` is refused at `now` (nanoseconds of the boot clock), which counts it.
    pub fn refuses(&self, client: IpAddr, now: u64) -> bool {
        match self.list.find(client, now) {
            Some((entry, false)) => {
                self.refused[entry].fetch_add(1, Ordering::Relaxed);
                true
            }
            Some((_, true)) | None => false,
        }
    }

    pub fn list(&self) -> &ShieldList {
        &self.list
    }

    /// Connections that were refused, for each prefix of the list.
    pub fn refused(&self) -> impl Iterator<Item = u64> {
        self.refused.iter().map(|count| count.load(Ordering::Relaxed))
    }
}

/// Takes a connection if it may come in; one that may not is reset, so that nothing of it is left.
pub(super) fn enter(fd: OwnedFd, peer: Option<SocketAddrAny>) -> Option<(OwnedFd, Option<SocketAddrAny>)> {
    if let Some(gate) = GATE.get()
        && let Some(Ok(client)) = peer.clone().map(SocketAddr::try_from)
        && gate.refuses(client.ip(), boot_clock())
    {
        // Without it the connection would linger here in its last state.
        let _ = rustix::net::sockopt::set_socket_linger(&fd, Some(Duration::ZERO));
        return None;
    }
    Some((fd, peer))
}

#[cfg(test)]
mod tests {
    use sockeye_accel::ShieldSaid;

    use super::*;

    #[test]
    fn refuses_and_counts_what_is_denied_now() {
        let said = |prefix: &str, bits, allow, until| ShieldSaid {
            address: prefix.parse().expect("an address"),
            bits,
            allow,
            until,
        };
        let list = ShieldList::new([
            said("10.0.0.0", 8, false, None),
            said("10.1.0.0", 16, true, None),
            said("2001:db8::", 32, false, Some(100)),
        ]);
        let gate = Gate::new(list.expect("a short list"));
        let check = |client: &str, now, expected| {
            assert_eq!(gate.refuses(client.parse().expect("an address"), now), expected, "{client} at {now}");
        };
        check("10.0.0.1", 5, true);
        check("10.1.0.1", 5, false);
        check("11.0.0.1", 5, false);
        // As a listener of both families has an IPv4 client.
        check("::ffff:10.0.0.1", 5, true);
        check("2001:db8::1", 99, true);
        check("2001:db8::1", 100, false);
        assert_eq!(gate.refused().collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(gate.list().len(), 3);
    }
}
