//! TLS with clients: the handshake before anything else is read, and what is known of it afterwards.
//!
//! It runs in the session's own task, one step for each time that bytes arrive, so another connection of the thread
//! waits for one step at most.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, ServerConfig};
use sockeye_conn::{HandshakeError, Handshaking, Timer, clock, tls_sockets};
use sockeye_record::{Handshake, Negotiated, Progress, is_obsolete};
use sockeye_sample::tls::{
    HandshakeFailure, HandshakeMessage, HelloCapture, OpenSslError, Secrets, TlsFacts, Verification,
};
use sockeye_tls::{Acceptor, Refused, Start, openssl_reason, taken};

use super::fault::Fault;
use super::limit::Limit;
use super::session::Session;
use super::worker::Control;
use crate::backend::tls::tell;
use crate::stats::Rate;

/// Bytes of a ClientHello at most; real ones have two thousand with post-quantum key shares.
const HELLO_BYTES_MAX: usize = 20 * 1024;
/// How much of a ClientHello is read at a time.
const READ_BYTES: usize = 4 * 1024;

/// How often a handshake that must wait for its turn asks again.
const TURN_INTERVAL: Duration = Duration::from_millis(20);

static LIMITS: OnceLock<Limits> = OnceLock::new();
/// Connections of clients with TLS, from their first byte on.
static CLIENTS: OnceLock<Limit> = OnceLock::new();
/// Handshakes with clients in the last second.
static HANDSHAKES: Rate = Rate::new();

/// What the process allows (`maxsslconn`, `maxsslrate`); `None`: as much as there is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    pub connections: Option<u32>,
    pub per_second: Option<u32>,
}

impl Limits {
    /// Sets them for the process. Called once, before the first connection.
    pub fn apply(self) {
        // A second call would change nothing.
        let _ = LIMITS.set(self);
        if self.connections.is_some() {
            let _ = CLIENTS.set(Limit::new(self.connections));
        }
    }
}

/// What connections with TLS wait for before they are accepted, if there is a limit on them.
pub fn limit() -> Option<&'static Limit> {
    CLIENTS.get()
}

/// TLS of a client's connection, from the moment the handshake begins.
#[derive(Debug, Default)]
pub struct ClientTls {
    agreed: Option<Rc<Negotiated>>,
    found: sockeye_tls::Handshake,
    hello: Option<HelloCapture>,
    error: Option<OpenSslError>,
    /// How far a handshake came that failed.
    progress: Option<Box<Progress>>,
    facts: OnceCell<Box<TlsFacts>>,
}

impl ClientTls {
    /// The protocol that was negotiated (ALPN).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.agreed.as_ref()?.alpn.as_deref()
    }

    /// What expressions and logs can know, put together when first asked for.
    pub fn facts(&self) -> &TlsFacts {
        self.facts.get_or_init(|| {
            let chain = self.agreed.as_ref().map_or(&[][..], |agreed| &agreed.certificates);
            let verdict = self.found.verdict(chain, UnixTime::now());
            let mut facts = TlsFacts {
                sni: self.found.server_name.as_deref().map(|name| name.as_bytes().into()),
                verification: Verification {
                    result: verdict.verify,
                    leaf_error: verdict.error,
                    authority_error: verdict.ca_error,
                    authority_depth: verdict.ca_depth.into(),
                },
                own_certificate: self
                    .found
                    .presented
                    .as_ref()
                    .and_then(|key| key.cert.first())
                    .map(|leaf| leaf.as_ref().into()),
                own_certificate_name: self
                    .found
                    .certificate
                    .as_ref()
                    .map(|certificate| certificate.name().to_string_lossy().into()),
                peer_chain: self.found.refused.iter().map(|der| der.as_ref().into()).collect(),
                hello: self.hello.clone(),
                secrets: secrets(&self.found.secrets),
                error: self.error,
                ..TlsFacts::default()
            };
            if let Some(progress) = &self.progress {
                facts.version = progress.version.map(Into::into);
                facts.cipher = progress.suite.map(|suite| suite.suite().into());
                facts.alpn = progress.alpn.as_deref().map(Into::into);
                facts.client_random = progress.hellos.client_random;
                facts.server_random = progress.hellos.server_random;
            }
            if let Some(agreed) = &self.agreed {
                tell(agreed, &mut facts);
                // Nobody looked at the chain of a session that was resumed.
                if !agreed.resumed {
                    facts.root_subject = self.found.root_subject(chain).map(Into::into);
                }
            }
            Box::new(facts)
        })
    }
}

/// Secrets that `tune.ssl.keylog` lets expressions see.
fn secrets(lines: &[sockeye_tls::Secret]) -> Option<Box<Secrets>> {
    let mut secrets = Secrets::default();
    for line in lines {
        secrets.keep(&line.label, &line.secret);
    }
    (!lines.is_empty()).then(|| Box::new(secrets))
}

/// Shakes hands with the client of a session whose listener speaks TLS. `None`: the session was told to end.
///
/// # Errors
/// Why the connection must end; the client has been told.
pub async fn shake(
    session: &mut Session,
    acceptor: &Acceptor,
    control: &Control,
) -> Option<Result<(), Fault>> {
    let cfg = session.frontend.cfg;
    let limit = cfg.timeout_client_hs.or(cfg.timeout_client);
    let mut timer = Timer::new();
    timer.set(limit.and_then(|limit| session.accepted_at.checked_add(limit)));
    let limits = LIMITS.get().copied().unwrap_or_default();
    // Connections to servers count, too; those of clients alone have waited before they were accepted.
    if limits.connections.is_some_and(|most| tls_sockets() >= most) {
        return Some(Err(Fault::SSL_TOO_MANY));
    }
    if let Some(most) = limits.per_second
        && !wait_for_turn(most, control, &mut timer).await?
    {
        return Some(Err(HandshakeFailure::TimedOut.into()));
    }
    HANDSHAKES.count(clock::now().into_std());
    let mut tls = ClientTls::default();
    let shaken = run(session, acceptor, control, &mut timer, &mut tls).await?;
    let failure = shaken.err().map(|failure| match failure {
        Failure::Other => HandshakeFailure::of(tls.facts()).into(),
        Failure::Aborted => Fault::SSL_ABORT,
        Failure::Closed => HandshakeFailure::Closed.into(),
        Failure::TimedOut => HandshakeFailure::TimedOut.into(),
    });
    session.tls = Some(tls.into());
    Some(failure.map_or(Ok(()), Err))
}

impl From<HandshakeFailure> for Fault {
    fn from(failure: HandshakeFailure) -> Self {
        Self(u8::try_from(failure.number()).unwrap_or_default())
    }
}

/// Waits while the last second had as many handshakes as are allowed; whether the turn came in time.
async fn wait_for_turn(most: u32, control: &Control, timer: &mut Timer) -> Option<bool> {
    let mut pause = Timer::new();
    while HANDSHAKES.now() >= i64::from(most) {
        pause.set(clock::now().checked_add(TURN_INTERVAL));
        let goes_on = std::future::poll_fn(|cx| {
            if control.is_killed() {
                return Poll::Ready(None);
            }
            if timer.poll_expired(cx).is_ready() {
                return Poll::Ready(Some(false));
            }
            pause.poll_expired(cx).map(|()| Some(true))
        })
        .await?;
        if !goes_on {
            return Some(false);
        }
    }
    Some(true)
}

/// Why there was no handshake.
enum Failure {
    Closed,
    Aborted,
    TimedOut,
    /// What the two sides did not agree on.
    Other,
}

async fn run(
    session: &mut Session,
    acceptor: &Acceptor,
    control: &Control,
    timer: &mut Timer,
    tls: &mut ClientTls,
) -> Option<Result<(), Failure>> {
    let mut read = Vec::new();
    let start = acceptor.start();
    let capture = acceptor.capture_buffer();
    if capture > 0 || matches!(start, Start::ByHello) {
        if let Err(failure) = read_hello(session, control, timer, &mut read).await? {
            return Some(Err(failure));
        }
        if capture > 0 {
            tls.hello = HelloCapture::from_records(&read, capture);
        }
    }
    let config = match start {
        Start::Direct(config) => Arc::clone(config),
        Start::ByHello => match choose(acceptor, &read) {
            Ok(config) => config,
            Err((alert, error)) => {
                let noise = OpenSslError::of_noise(&read);
                tls.error = Some(noise.unwrap_or_else(|| OpenSslError::of_reason(error)));
                // Whether it arrives or not, the connection ends.
                let _ = rustix::net::send(&session.client, &alert, rustix::net::SendFlags::NOSIGNAL);
                return Some(Err(Failure::Other));
            }
        },
    };
    let begun = Handshake::server(config).ok().zip(session.client.take().ok());
    let Some((handshake, socket)) = begun else { return Some(Err(Failure::Aborted)) };
    let mut shaking = Handshaking::new(socket, handshake, read);
    let shaken = std::future::poll_fn(|cx| {
        if control.is_killed() {
            return Poll::Ready(None);
        }
        // The callbacks of rustls leave what they learn in the thread.
        drop(taken());
        let polled = shaking.poll(cx);
        tls.found.learn(taken());
        match polled {
            Poll::Ready(shaken) => Poll::Ready(Some(Ok(shaken))),
            Poll::Pending => timer.poll_expired(cx).map(|()| Some(Err(Failure::TimedOut))),
        }
    })
    .await?;
    if !matches!(shaken, Ok(Ok(_))) {
        tls.progress = shaking.progress().map(Box::new);
    }
    Some(match shaken {
        Err(failure) => Err(failure),
        Ok(Ok(socket)) => {
            tls.agreed = socket.tls().cloned();
            session.client = socket;
            Ok(())
        }
        // A client that left after our hello did not like it.
        Ok(Err(HandshakeError::Closed { .. })) if tls.found.presented.is_some() => Err(Failure::Other),
        Ok(Err(HandshakeError::Closed { .. })) => Err(Failure::Closed),
        Ok(Err(HandshakeError::Io(_))) if !shaking.beginning().is_empty() => Err(Failure::Other),
        Ok(Err(HandshakeError::Io(_))) => Err(Failure::Aborted),
        Ok(Err(HandshakeError::TooLong)) => Err(Failure::Other),
        Ok(Err(HandshakeError::Tls(rustls::Error::AlertReceived(AlertDescription::CloseNotify)))) => {
            Err(Failure::Closed)
        }
        Ok(Err(HandshakeError::Tls(error))) => {
            // HTTP on this port is called by its name.
            let noise = OpenSslError::of_noise(shaking.beginning());
            let version = tls.progress.as_ref().and_then(|progress| progress.version);
            let reason = openssl_reason(&error, version);
            tls.error = Some(noise.unwrap_or_else(|| OpenSslError::of_reason(reason)));
            if let Some(io) = shaking.into_io() {
                session.client = io;
            }
            Err(Failure::Other)
        }
    })
}

/// Reads until the ClientHello is whole, or is found not to be one.
async fn read_hello(
    session: &mut Session,
    control: &Control,
    timer: &mut Timer,
    read: &mut Vec<u8>,
) -> Option<Result<(), Failure>> {
    let client = &mut session.client;
    std::future::poll_fn(|cx| {
        if control.is_killed() {
            return Poll::Ready(None);
        }
        while client.poll_read_ready(cx).is_ready() {
            let at = read.len();
            read.resize(at + READ_BYTES, 0);
            let got = client.read_now(&mut read[at..]);
            read.truncate(at + got.as_ref().map_or(0, |n| n.unwrap_or(0)));
            match got {
                Ok(None) => continue,
                Ok(Some(0)) => return Poll::Ready(Some(Err(Failure::Closed))),
                Ok(Some(_)) => {}
                Err(_) => return Poll::Ready(Some(Err(Failure::Aborted))),
            }
            // What is none, or none that ends, is for rustls to name.
            let whole = !matches!(HandshakeMessage::read(read), HandshakeMessage::Incomplete);
            if whole || read.len() > HELLO_BYTES_MAX {
                return Poll::Ready(Some(Ok(())));
            }
        }
        timer.poll_expired(cx).map(|()| Some(Err(Failure::TimedOut)))
    })
    .await
}

/// The configuration for the name that the hello asks for, or the alert to send and OpenSSL's reason.
fn choose(acceptor: &Acceptor, hello: &[u8]) -> Result<Arc<ServerConfig>, (Vec<u8>, u16)> {
    if is_obsolete(hello) {
        // The handshake refuses it.
        return Ok(Arc::clone(acceptor.own()));
    }
    let mut parser = rustls::server::Acceptor::default();
    let mut rest = hello;
    let refused = |error: &rustls::Error, alert: Vec<u8>| Err((alert, openssl_reason(error, None)));
    loop {
        if !matches!(parser.read_tls(&mut rest), Ok(1..)) {
            let error = rustls::Error::General("the hello does not end".to_owned());
            return refused(&error, Vec::new());
        }
        match parser.accept() {
            Ok(Some(accepted)) => {
                return match acceptor.config_for(&accepted.client_hello()) {
                    Ok(config) => Ok(Arc::clone(config)),
                    Err(refusal) => {
                        refused(&rustls::Error::General(refusal.to_string()), Refused::ALERT.to_vec())
                    }
                };
            }
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut out = Vec::new();
                // Into memory, which does not fail.
                let _ = alert.write_all(&mut out);
                return refused(&error, out);
            }
        }
    }
}
