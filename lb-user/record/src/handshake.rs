//! Handshakes: rustls speaks, its caller carries the bytes. At the end the keys change hands to [`Sealer`] and [`Opener`].

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{
    ClientConfig, Error, HandshakeKind, NamedGroup, PeerIncompatible, ProtocolVersion, ServerConfig,
    SupportedCipherSuite,
};

use crate::hellos::{Hellos, TOO_OLD, is_obsolete};
use crate::record::{Opener, Sealer};

/// Turns of the state machine for one call; a handshake has about ten.
const TURNS_MAX: usize = 256;

/// A handshake under way.
pub struct Handshake {
    side: Side,
    /// Content that came with or before the last handshake message.
    plain: Vec<u8>,
    /// How much of it came before the handshake was over (0-RTT).
    early: usize,
    closed: bool,
    hellos: Hellos,
    asked: Option<Box<str>>,
}

enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What a handshake needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More bytes of the peer.
    Read,
    /// Nothing: call [`Handshake::finish`] once what is to be sent has been.
    Done,
}

/// A connection after its handshake.
pub struct Established {
    pub sealer: Sealer,
    pub opener: Opener,
    pub renewal: Renewal,
    pub negotiated: Negotiated,
    /// Content that came with the handshake.
    pub plain: Vec<u8>,
    /// The peer has sent its end already.
    pub closed: bool,
}

/// What the two sides agreed on.
#[derive(Debug, Clone)]
pub struct Negotiated {
    pub version: ProtocolVersion,
    pub suite: SupportedCipherSuite,
    /// Group of the key exchange, if there was one.
    pub group: Option<NamedGroup>,
    pub alpn: Option<Vec<u8>>,
    /// The peer's certificates, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
    pub resumed: bool,
    /// Bytes of content that came before the handshake was over (0-RTT).
    pub early: usize,
    pub hellos: Hellos,
    /// The name that we asked the server for, as its client.
    pub asked: Option<Box<str>>,
}

/// What is agreed on while a handshake is under way, for who tells why it failed.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    pub version: Option<ProtocolVersion>,
    pub suite: Option<SupportedCipherSuite>,
    pub alpn: Option<Vec<u8>>,
    pub hellos: Hellos,
}

/// What is left of rustls: the schedule of keys, and the tickets that a server sends later.
pub enum Renewal {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
}

impl Handshake {
    /// As the server. The configuration must allow the extraction of secrets.
    ///
    /// # Errors
    /// When the configuration does not hold together.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self::new(Side::Server(Box::new(UnbufferedServerConnection::new(config)?))))
    }

    /// As the client. The configuration must allow the extraction of secrets.
    ///
    /// # Errors
    /// When the configuration does not hold together.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        let asked = match &name {
            ServerName::DnsName(name) if config.enable_sni => Some(name.as_ref().into()),
            _ => None,
        };
        let conn = UnbufferedClientConnection::new(config, name)?;
        Ok(Self { asked, ..Self::new(Side::Client(Box::new(conn))) })
    }

    fn new(side: Side) -> Self {
        Self { side, plain: Vec::new(), early: 0, closed: false, hellos: Hellos::default(), asked: None }
    }

    /// Goes on with what the peer has sent: how much of `incoming` is done with, and what is needed next. What is to be
    /// sent is appended to `outgoing`, the alert of a failure included.
    ///
    /// # Errors
    /// The handshake failed; what `outgoing` holds should still be sent.
    pub fn step(&mut self, incoming: &mut [u8], outgoing: &mut Vec<u8>) -> (usize, Result<Step, Error>) {
        let first = matches!(self.side, Side::Server(_)) && self.hellos.client_random.is_none();
        if first && is_obsolete(incoming) {
            outgoing.extend_from_slice(&TOO_OLD);
            return (incoming.len(), Err(PeerIncompatible::Tls12NotOffered.into()));
        }
        self.hellos.see(incoming);
        let at = outgoing.len();
        let stepped = self.turns(incoming, outgoing);
        self.hellos.see(&outgoing[at..]);
        stepped
    }

    fn turns(&mut self, incoming: &mut [u8], outgoing: &mut Vec<u8>) -> (usize, Result<Step, Error>) {
        let mut used = 0;
        for _ in 0..TURNS_MAX {
            let incoming = &mut incoming[used..];
            let (discard, turn) = match &mut self.side {
                Side::Server(conn) => {
                    let UnbufferedStatus { discard, state } = conn.process_tls_records(incoming);
                    let turn = match state {
                        Ok(ConnectionState::ReadEarlyData(mut data)) => {
                            let mut turn = Ok(None);
                            while let Some(record) = data.next_record() {
                                match record {
                                    Ok(record) => {
                                        self.plain.extend_from_slice(record.payload);
                                        self.early += record.payload.len();
                                    }
                                    Err(error) => turn = Err(error),
                                }
                            }
                            turn
                        }
                        state => turn(state, &mut self.plain, &mut self.closed, outgoing),
                    };
                    (discard, turn)
                }
                Side::Client(conn) => {
                    let UnbufferedStatus { discard, state } = conn.process_tls_records(incoming);
                    (discard, turn(state, &mut self.plain, &mut self.closed, outgoing))
                }
            };
            used += discard;
            match turn {
                Ok(None) => {}
                // A server may write before the client has finished; we wait.
                Ok(Some(Step::Done)) if self.is_handshaking() => return (used, Ok(Step::Read)),
                Ok(Some(step)) => return (used, Ok(step)),
                Err(error) => {
                    self.take_alert(incoming.get_mut(discard..).unwrap_or_default(), outgoing);
                    return (used, Err(error));
                }
            }
        }
        (used, Err(Error::General("the handshake makes no progress".into())))
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let conn: &rustls::CommonState = match &self.side {
            Side::Server(conn) => conn,
            Side::Client(conn) => conn,
        };
        Progress {
            version: conn.protocol_version(),
            suite: conn.negotiated_cipher_suite(),
            alpn: conn.alpn_protocol().map(<[u8]>::to_vec),
            hellos: self.hellos.clone(),
        }
    }

    fn is_handshaking(&self) -> bool {
        match &self.side {
            Side::Server(conn) => conn.is_handshaking(),
            Side::Client(conn) => conn.is_handshaking(),
        }
    }

    /// After a failure rustls has an alert for the peer. `incoming` is what the failure has left: rustls looks for more in
    /// there where it has nothing to send, so that it must neither be empty nor be asked once more than needed.
    fn take_alert(&mut self, incoming: &mut [u8], outgoing: &mut Vec<u8>) {
        let mut used = 0;
        for _ in 0..TURNS_MAX {
            let Some(incoming) = incoming.get_mut(used..) else { return };
            let at = outgoing.len();
            let (discard, sent) = match &mut self.side {
                Side::Server(conn) => {
                    let UnbufferedStatus { discard, state } = conn.process_tls_records(incoming);
                    (discard, last_words(state, outgoing))
                }
                Side::Client(conn) => {
                    let UnbufferedStatus { discard, state } = conn.process_tls_records(incoming);
                    (discard, last_words(state, outgoing))
                }
            };
            if !sent || is_alert(&outgoing[at..]) {
                return;
            }
            used += discard;
        }
    }

    /// The keys, and what was agreed on.
    ///
    /// # Errors
    /// Before [`Step::Done`], and with a configuration that does not give away its secrets.
    pub fn finish(self) -> Result<Established, Error> {
        let mut negotiated = match &self.side {
            Side::Server(conn) => negotiated(conn)?,
            Side::Client(conn) => negotiated(conn)?,
        };
        negotiated.early = self.early;
        negotiated.hellos = self.hellos;
        negotiated.asked = self.asked;
        let (secrets, renewal) = match self.side {
            Side::Server(conn) => {
                let (secrets, kernel) = conn.dangerous_into_kernel_connection()?;
                (secrets, Renewal::Server(kernel))
            }
            Side::Client(conn) => {
                let (secrets, kernel) = conn.dangerous_into_kernel_connection()?;
                (secrets, Renewal::Client(kernel))
            }
        };
        let unknown = || Error::General("a cipher without record protection".into());
        Ok(Established {
            sealer: Sealer::new(negotiated.version, secrets.tx.0, &secrets.tx.1).ok_or_else(unknown)?,
            opener: Opener::new(negotiated.version, secrets.rx.0, &secrets.rx.1).ok_or_else(unknown)?,
            renewal,
            negotiated,
            plain: self.plain,
            closed: self.closed,
        })
    }
}

impl Renewal {
    /// The key after this one, to the peer (TLS 1.3 only).
    ///
    /// # Errors
    /// In TLS 1.2, which has none.
    pub fn sealer(&mut self) -> Result<Sealer, Error> {
        let (sequence, secrets) = match self {
            Self::Server(kernel) => kernel.update_tx_secret()?,
            Self::Client(kernel) => kernel.update_tx_secret()?,
        };
        Sealer::new(ProtocolVersion::TLSv1_3, sequence, &secrets).ok_or(Error::HandshakeNotComplete)
    }

    /// The same from the peer.
    ///
    /// # Errors
    /// In TLS 1.2, which has none.
    pub fn opener(&mut self) -> Result<Opener, Error> {
        let (sequence, secrets) = match self {
            Self::Server(kernel) => kernel.update_rx_secret()?,
            Self::Client(kernel) => kernel.update_rx_secret()?,
        };
        Opener::new(ProtocolVersion::TLSv1_3, sequence, &secrets).ok_or(Error::HandshakeNotComplete)
    }

    /// Keeps a ticket that the server sent after the handshake; `payload` is the message without its header.
    ///
    /// # Errors
    /// A malformed ticket, or one sent by a client.
    pub fn ticket(&mut self, payload: &[u8]) -> Result<(), Error> {
        match self {
            Self::Client(kernel) => kernel.handle_new_session_ticket(payload),
            Self::Server(_) => Err(Error::General("a ticket from a client".into())),
        }
    }
}

/// One state that both sides know; `None` goes on.
fn turn<Data>(
    state: Result<ConnectionState<'_, '_, Data>, Error>,
    plain: &mut Vec<u8>,
    closed: &mut bool,
    outgoing: &mut Vec<u8>,
) -> Result<Option<Step>, Error> {
    match state? {
        ConnectionState::EncodeTlsData(data) => encode(data, outgoing)?,
        ConnectionState::TransmitTlsData(data) => data.done(),
        ConnectionState::ReadTraffic(mut data) => {
            while let Some(record) = data.next_record() {
                plain.extend_from_slice(record?.payload);
            }
        }
        ConnectionState::PeerClosed => *closed = true,
        ConnectionState::BlockedHandshake => return Ok(Some(Step::Read)),
        ConnectionState::WriteTraffic(_) | ConnectionState::Closed => return Ok(Some(Step::Done)),
        _ => return Err(Error::General("a state of the handshake that nobody expects".into())),
    }
    Ok(None)
}

/// Whether there was something to send, which `outgoing` now ends with.
fn last_words<Data>(state: Result<ConnectionState<'_, '_, Data>, Error>, outgoing: &mut Vec<u8>) -> bool {
    let Ok(ConnectionState::EncodeTlsData(data)) = state else { return false };
    encode(data, outgoing).is_ok()
}

/// Whether a record is an alert. Where TLS 1.3 hides its type, its length tells: no handshake message is as short.
fn is_alert(record: &[u8]) -> bool {
    const ALERT: u8 = 21;
    const DATA: u8 = 23;
    /// Level and description, the type, the tag.
    const SEALED_BYTES: u8 = 2 + 1 + 16;
    matches!(record, [ALERT, ..] | [DATA, _, _, 0, SEALED_BYTES, ..])
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) -> Result<(), Error> {
    let at = outgoing.len();
    let required = match data.encode(&mut []) {
        Ok(_) => return Ok(()),
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Err(error @ EncodeError::AlreadyEncoded) => return Err(Error::General(error.to_string())),
    };
    outgoing.resize(at + required, 0);
    data.encode(&mut outgoing[at..]).map_err(|error| Error::General(error.to_string()))?;
    Ok(())
}

fn negotiated(conn: &rustls::CommonState) -> Result<Negotiated, Error> {
    Ok(Negotiated {
        version: conn.protocol_version().ok_or(Error::HandshakeNotComplete)?,
        suite: conn.negotiated_cipher_suite().ok_or(Error::HandshakeNotComplete)?,
        alpn: conn.alpn_protocol().map(<[u8]>::to_vec),
        group: conn.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name),
        certificates: conn
            .peer_certificates()
            .map(|chain| chain.iter().map(|cert| cert.clone().into_owned()).collect())
            .unwrap_or_default(),
        resumed: conn.handshake_kind() == Some(HandshakeKind::Resumed),
        early: 0,
        hellos: Hellos::default(),
        asked: None,
    })
}
