//! The header of a proxy in front: read before anything else of a connection whose listener or rules expect one.
//!
//! Nothing behind the header is taken from the socket: bytes are looked at, and then only those of the header are
//! read, so that TLS or HTTP finds its first byte next. The header may come in pieces, which HAProxy does not allow.

use std::rc::Rc;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use sockeye_config::model::Bind;
use sockeye_conn::{Peer, Socket, Timer};
use sockeye_proxyproto::cip::{self, CipError};
use sockeye_proxyproto::{Endpoints, Header, HeaderError, Parsed, Tlvs, Transport, Version};
use sockeye_rules::Expected;

use super::fault::Fault;
use super::session::Session;
use super::worker::Control;

/// What a session has to do with headers of a proxy in front.
#[derive(Debug, Clone)]
pub struct ProxyHeader {
    /// Headers that are still to come, in this order.
    proxy: bool,
    cip: bool,
    /// The listener's number for NetScaler's header.
    magic: u32,
    /// A header has come, so that the connection did not start with the client's own bytes.
    seen: bool,
    /// It was one of the PROXY protocol.
    received: bool,
    /// The TLVs of a version 2 header.
    tlvs: Option<Rc<[u8]>>,
}

impl ProxyHeader {
    /// What the listener says.
    pub fn expected_on(bind: &Bind) -> Self {
        Self {
            proxy: bind.accept_proxy,
            cip: bind.netscaler_cip.is_some(),
            magic: bind.netscaler_cip.unwrap_or_default(),
            seen: false,
            received: false,
            tlvs: None,
        }
    }

    /// `expect-proxy`, `expect-netscaler-cip`.
    pub fn expect(&mut self, what: Expected) {
        match what {
            Expected::Proxy => self.proxy = true,
            Expected::NetscalerCip => self.cip = true,
        }
    }

    /// Whether a header is still to come.
    pub fn is_expected(&self) -> bool {
        self.proxy || self.cip
    }

    /// Whether a header of any kind has come.
    pub fn is_seen(&self) -> bool {
        self.seen
    }

    /// `fc_rcvd_proxy`
    pub fn is_received(&self) -> bool {
        self.received
    }

    /// The value of a TLV, `index` others of its type before it.
    pub fn tlv(&self, kind: u8, index: usize) -> Option<&[u8]> {
        Tlvs::new(self.tlvs.as_ref()?)?.find(kind, index)
    }
}

/// Reads the headers that are expected and puts the addresses that they name in the place of the connection's.
/// `None`: the session was told to end.
///
/// # Errors
/// Why the connection must end: no header, another protocol, nothing in time (`timeout client-hs`, `timeout client`).
pub async fn receive(session: &mut Session, control: &Control) -> Option<Result<(), Fault>> {
    let cfg = session.frontend.cfg;
    let limit = cfg.timeout_client_hs.or(cfg.timeout_client);
    let mut timer = Timer::new();
    timer.set(limit.and_then(|limit| session.accepted_at.checked_add(limit)));
    if session.proxy.proxy {
        session.proxy.proxy = false;
        match read(session, control, &mut timer, Kind::Proxy).await? {
            Ok(()) => session.proxy.received = true,
            Err(fault) => return Some(Err(fault)),
        }
    }
    if session.proxy.cip {
        session.proxy.cip = false;
        let kind = Kind::Cip { magic: session.proxy.magic };
        if let Err(fault) = read(session, control, &mut timer, kind).await? {
            return Some(Err(fault));
        }
    }
    session.proxy.seen = true;
    session.arrived = (session.peer, session.wanted);
    Some(Ok(()))
}

/// Which header is read.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Proxy,
    Cip { magic: u32 },
}

impl Kind {
    fn parse(self, bytes: &[u8]) -> Result<Parsed<'_>, Fault> {
        match self {
            Self::Proxy => sockeye_proxyproto::parse(bytes).map_err(|error| match error {
                HeaderError::NotHeader => Fault::PROXY_NOT_HEADER,
                HeaderError::Invalid => Fault::PROXY_BAD_HEADER,
                HeaderError::Unhandled => Fault::PROXY_BAD_PROTOCOL,
            }),
            Self::Cip { magic } => cip::parse(bytes, magic).map_err(|error| match error {
                CipError::BadMagic => Fault::CIP_BAD_MAGIC,
                CipError::BadProtocol => Fault::CIP_BAD_PROTOCOL,
            }),
        }
    }

    /// The fault that is this one of the PROXY protocol, for either protocol.
    fn fault(self, of_proxy: Fault) -> Fault {
        match (self, of_proxy) {
            (Self::Proxy, fault) => fault,
            (Self::Cip { .. }, Fault::PROXY_EMPTY) => Fault::CIP_EMPTY,
            (Self::Cip { .. }, Fault::PROXY_ABORT) => Fault::CIP_ABORT,
            (Self::Cip { .. }, Fault::PROXY_TIMEOUT) => Fault::CIP_TIMEOUT,
            (Self::Cip { .. }, _) => Fault::CIP_TRUNCATED,
        }
    }
}

/// Bytes looked at in one go: more than a line of version 1, and than version 2 has without long TLVs.
const WINDOW: usize = 256;

async fn read(
    session: &mut Session,
    control: &Control,
    timer: &mut Timer,
    kind: Kind,
) -> Option<Result<(), Fault>> {
    // What has been taken of the header. No memory is owned until a byte is there.
    let mut head = Vec::new();
    let client = &session.client;
    let came = std::future::poll_fn(|cx| {
        if control.is_killed() {
            return Poll::Ready(None);
        }
        while client.poll_read_ready(cx).is_ready() {
            match poll_more(client, cx, &mut head, kind) {
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Ok(true)) => return Poll::Ready(Some(Ok(()))),
                Poll::Ready(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                Poll::Pending => break,
            }
        }
        timer.poll_expired(cx).map(|()| Some(Err(kind.fault(Fault::PROXY_TIMEOUT))))
    })
    .await?;
    Some(came.and_then(|()| match kind.parse(&head)? {
        Parsed::Header(header) => {
            adopt(session, &header);
            Ok(())
        }
        // It was a whole one a moment ago.
        Parsed::NeedMore(_) => Err(kind.fault(Fault::PROXY_TRUNCATED)),
    }))
}

/// Takes what belongs to the header of that which has arrived; true once it is whole.
fn poll_more(
    client: &Socket,
    cx: &mut Context<'_>,
    head: &mut Vec<u8>,
    kind: Kind,
) -> Poll<Result<bool, Fault>> {
    let held = head.len();
    let missing = match kind.parse(head) {
        Ok(Parsed::NeedMore(missing)) => missing,
        Ok(Parsed::Header(_)) => return Poll::Ready(Ok(true)),
        Err(fault) => return Poll::Ready(Err(fault)),
    };
    // The readers know the most that a header may have, so this is bounded, too.
    head.resize(held + missing.max(WINDOW), 0);
    let peeked = client.poll_io_read(cx, |fd| Ok(recv(fd, &mut head[held..], RecvFlags::PEEK)?.1));
    let Poll::Ready(peeked) = peeked else {
        head.truncate(held);
        return Poll::Pending;
    };
    Poll::Ready(match peeked {
        Ok(0) if held == 0 => Err(kind.fault(Fault::PROXY_EMPTY)),
        Ok(0) => Err(kind.fault(Fault::PROXY_TRUNCATED)),
        Err(_) => Err(kind.fault(Fault::PROXY_ABORT)),
        Ok(arrived) => {
            head.truncate(held + arrived);
            take(client, head, held, kind)
        }
    })
}

/// Takes from the socket what was looked at, as far as it belongs to the header.
fn take(client: &Socket, head: &mut Vec<u8>, held: usize, kind: Kind) -> Result<bool, Fault> {
    let (length, whole) = match kind.parse(head)? {
        Parsed::Header(header) => (header.length, true),
        Parsed::NeedMore(_) => (head.len(), false),
    };
    // These bytes were there a moment ago, and nobody else reads them.
    let taken = match recv(client, &mut head[held..length], RecvFlags::empty()) {
        Ok((_, taken)) => taken,
        Err(Errno::INTR | Errno::AGAIN) => 0,
        Err(_) => return Err(kind.fault(Fault::PROXY_ABORT)),
    };
    head.truncate(held + taken);
    Ok(whole && head.len() == length)
}

fn adopt(session: &mut Session, header: &Header<'_>) {
    // Of datagrams and unix sockets nothing is known that could stand in the place of this connection's addresses.
    if let Some(Endpoints::Inet { transport: Transport::Stream, source, destination }) = header.endpoints {
        session.peer = Peer::Inet(source);
        session.wanted = Some(destination);
    }
    if header.version == Version::V2 && !header.tlvs.as_bytes().is_empty() {
        session.proxy.tlvs = Some(header.tlvs.as_bytes().into());
    }
}
