//! Both ends of TLS: certificates made for one test, a client and an origin that say what came of a handshake.
//!
//! A handshake turns a [`Peer`] into another one whose bytes are the content; the end of its stream must be announced
//! (close_notify), a mere FIN is an error of the reader.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, Tls12Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, HandshakeKind, RootCertStore, ServerConfig,
    SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::rig::Plan;
use crate::{Daemon, Peer, Setup, within};

pub use rustls::version::{TLS12, TLS13};
pub use tokio_rustls::server::TlsStream;

/// Either side's stream.
pub type Stream = tokio_rustls::TlsStream<Wire>;

/// Who signs certificates.
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("an authority");
        Self { params, key, certificate }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for one name.
    pub fn sign(&self, name: &str) -> Leaf {
        self.leaf(&[name])
    }

    /// The same, which ended long ago.
    pub fn sign_expired(&self, name: &str) -> Leaf {
        self.expired(&[name])
    }

    /// A certificate for `names`, the first of which is its common name.
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, |_| {})
    }

    /// The same with an RSA key of 2048 bits, which rcgen cannot make: it is always the same one.
    pub fn rsa_leaf(&self, names: &[&str]) -> Leaf {
        let pem = include_str!("../../lb-user/tls/tests/data/rsa.key");
        let key = KeyPair::from_pem(pem).expect("a key");
        // rcgen would call it what it is not.
        Leaf { key_pem: pem.to_owned(), ..self.sign_with(names, key, |_| {}) }
    }

    pub fn leaf_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        self.sign_with(names, KeyPair::generate().expect("a key"), change)
    }

    /// One that ended long ago.
    pub fn expired(&self, names: &[&str]) -> Leaf {
        self.leaf_with(names, |params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    fn sign_with(&self, names: &[&str], key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = params(names.first().unwrap_or(&""), names);
        change(&mut params);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        Leaf { certificate, key_pem: key.serialize_pem(), key }
    }

    /// A list that takes back the certificates with these serial numbers.
    pub fn revocation_list(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(&issuer).expect("a list").pem().expect("PEM")
    }
}

/// A certificate with its key.
pub struct Leaf {
    pub certificate: rcgen::Certificate,
    pub key: KeyPair,
    key_pem: String,
}

impl Leaf {
    /// Certificate and key, as `crt` wants them.
    pub fn pem(&self) -> String {
        self.certificate.pem() + &self.key_pem
    }

    /// The plainest configuration of an origin that presents it.
    pub fn server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let (chain, key) = self.identity();
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).expect("a certificate");
        // Clients that leave right after the handshake, as checks do, would make the sending of tickets fail.
        config.send_tls13_tickets = 0;
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    fn identity(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        (vec![self.certificate.der().clone()], key)
    }
}

fn params(name: &str, alternative: &[&str]) -> CertificateParams {
    let names: Vec<String> = alternative.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A folder of files that goes away with the test.
pub struct Files(tempfile::TempDir);

impl Files {
    /// Each by its name and content.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("sockeye-tls-").tempdir().expect("a temporary folder");
        let made = Self(dir);
        for (name, content) in files {
            made.write(name, content);
        }
        made
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// The folder.
    pub fn show(&self) -> String {
        self.0.path().to_string_lossy().into_owned()
    }

    /// `plan` with TLS and these words on the bind line, where `<tls>` is the folder.
    pub fn setup(&self, bind: &str, plan: &Plan) -> Setup {
        let cfg = plan.cfg().replace("bind <fe>", &format!("bind <fe> ssl {bind}"));
        Setup::new(cfg).at("tls", self.show())
    }
}

/// One authority (`ca.pem`) and one certificate of it (`site.pem`) in a folder that `<tls>` stands for.
pub struct Site {
    pub authority: Authority,
    pub leaf: Leaf,
    pub files: Files,
}

impl Site {
    #[expect(clippy::new_without_default, reason = "it makes keys and files")]
    pub fn new() -> Self {
        let authority = Authority::new("ours");
        let leaf = authority.leaf(&["site.test"]);
        let files = Files::new(&[("site.pem", &leaf.pem()), ("ca.pem", &authority.pem())]);
        Self { authority, leaf, files }
    }

    /// `plan` with TLS and these words on the bind line.
    pub fn setup(&self, bind: &str, plan: &Plan) -> Setup {
        self.files.setup(&format!("crt <tls>/site.pem {bind}"), plan)
    }

    pub fn client(&self, offer: Offer<'_>) -> Client {
        Client::new(&self.authority, offer)
    }
}

/// What a client offers.
pub struct Offer<'a> {
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// Empty: those of rustls.
    pub suites: Vec<SupportedCipherSuite>,
    pub groups: Vec<&'static dyn SupportedKxGroup>,
    /// Signatures that can be checked; empty: those of rustls.
    pub schemes: Vec<SignatureScheme>,
    pub alpn: &'a [&'a str],
    pub identity: Option<&'a Leaf>,
    pub sni: bool,
    /// In TLS 1.2 only session ids are used for resumption.
    pub no_tickets: bool,
    /// Any certificate will do.
    pub anybody: bool,
    /// Bytes per packet.
    pub piece: usize,
    /// Keeps what the daemon sent, see [`Peer::records`].
    pub listen: bool,
}

impl Default for Offer<'_> {
    fn default() -> Self {
        Self {
            versions: vec![&TLS13, &TLS12],
            suites: Vec::new(),
            groups: Vec::new(),
            schemes: Vec::new(),
            alpn: &[],
            identity: None,
            sni: true,
            no_tickets: false,
            anybody: false,
            piece: usize::MAX,
            listen: false,
        }
    }
}

impl Offer<'_> {
    /// Only this version.
    pub fn only(version: &'static SupportedProtocolVersion) -> Self {
        Self { versions: vec![version], ..Self::default() }
    }
}

/// A client, which remembers its sessions.
#[derive(Clone)]
pub struct Client {
    connector: TlsConnector,
    verifier: Arc<Verifier>,
    piece: usize,
    listen: bool,
}

impl Client {
    /// One that trusts `authority` and takes any name.
    pub fn new(authority: &Authority, offer: Offer<'_>) -> Self {
        let mut provider = default_provider();
        if !offer.suites.is_empty() {
            provider.cipher_suites = offer.suites;
        }
        if !offer.groups.is_empty() {
            provider.kx_groups = offer.groups;
        }
        let provider = Arc::new(provider);
        let verifier = Arc::new(Verifier::new(authority, &provider, offer.schemes, offer.anybody));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&offer.versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = match offer.identity.map(Leaf::identity) {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("an identity"),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = offer.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.enable_sni = offer.sni;
        let only = if offer.no_tickets {
            Tls12Resumption::SessionIdOnly
        } else {
            Tls12Resumption::SessionIdOrTickets
        };
        config.resumption = Resumption::in_memory_sessions(256).tls12_resumption(only);
        let connector = TlsConnector::from(Arc::new(config));
        Self { connector, verifier, piece: offer.piece, listen: offer.listen }
    }

    /// Shakes hands over `peer`, asking for `name`.
    pub async fn try_connect(&self, peer: Peer, name: &str) -> io::Result<Peer> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let (stream, ahead) = peer.into_parts();
        let wire = Wire { stream, ahead, piece: self.piece, heard: self.listen.then(Vec::new) };
        let stream = within("a TLS handshake", self.connector.connect(name, wire)).await?;
        Ok(Peer::tls(Stream::Client(stream), "TLS client"))
    }

    /// The same; a handshake that fails fails the test.
    pub async fn connect(&self, peer: Peer, name: &str) -> Peer {
        self.try_connect(peer, name).await.unwrap_or_else(|err| panic!("no TLS with {name}: {err}"))
    }

    /// A connection to `<fe>` of `daemon` that asks for `site.test`.
    pub async fn secure(&self, daemon: &mut Daemon) -> Peer {
        let peer = daemon.connect("fe").await;
        self.connect(peer, "site.test").await
    }

    /// The OCSP response that came with the last full handshake, empty without one.
    pub fn staple(&self) -> Vec<u8> {
        self.verifier.staple.lock().expect("a staple").clone()
    }
}

/// Looks at chains as usual, but not at names, and remembers the OCSP response.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    schemes: Vec<SignatureScheme>,
    anybody: bool,
    staple: Mutex<Vec<u8>>,
}

impl Verifier {
    fn new(
        authority: &Authority,
        provider: &Arc<CryptoProvider>,
        schemes: Vec<SignatureScheme>,
        anybody: bool,
    ) -> Self {
        let builder = WebPkiServerVerifier::builder_with_provider(roots(authority), provider.clone());
        let inner = builder.build().expect("a verifier");
        let schemes = if schemes.is_empty() { inner.supported_verify_schemes() } else { schemes };
        Self { inner, schemes, anybody, staple: Mutex::default() }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.staple.lock().expect("a staple") = staple.to_vec();
        match self.inner.verify_server_cert(leaf, chain, name, staple, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            Err(_) if self.anybody => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).expect("an authority");
    Arc::new(roots)
}

/// What an origin wants.
pub struct Demand<'a> {
    pub versions: Vec<&'static SupportedProtocolVersion>,
    pub alpn: &'a [&'a str],
    /// Clients must have a certificate of this authority.
    pub clients: Option<&'a Authority>,
    /// Sessions in tickets instead of memory.
    pub tickets: bool,
    pub no_resumption: bool,
}

impl Default for Demand<'_> {
    fn default() -> Self {
        Self {
            versions: vec![&TLS13, &TLS12],
            alpn: &[],
            clients: None,
            tickets: false,
            no_resumption: false,
        }
    }
}

/// The TLS of an origin.
#[derive(Clone)]
pub struct Server(TlsAcceptor);

impl Server {
    pub fn new(leaf: &Leaf, demand: Demand<'_>) -> Self {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&demand.versions)
            .expect("versions");
        let builder = match demand.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(
                    roots(authority),
                    Arc::new(default_provider()),
                );
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let (chain, key) = leaf.identity();
        let mut config = builder.with_single_cert(chain, key).expect("a certificate");
        config.alpn_protocols = demand.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        if demand.tickets {
            config.ticketer = Ticketer::new().expect("ticket keys");
        }
        if demand.no_resumption {
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Self(TlsAcceptor::from(Arc::new(config)))
    }

    /// Shakes hands with whoever connected.
    pub async fn try_accept(&self, peer: Peer) -> io::Result<Peer> {
        let (stream, ahead) = peer.into_parts();
        let wire = Wire { stream, ahead, piece: usize::MAX, heard: None };
        let stream = within("a TLS handshake", self.0.accept(wire)).await?;
        Ok(Peer::tls(Stream::Server(stream), "TLS origin"))
    }

    /// The same; a handshake that fails fails the test.
    pub async fn accept(&self, peer: Peer) -> Peer {
        self.try_accept(peer).await.unwrap_or_else(|err| panic!("no TLS at the origin: {err}"))
    }
}

/// Shakes hands as an origin does, for tests that want the stream itself.
pub async fn accept(peer: Peer, config: Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    within("a TLS handshake", TlsAcceptor::from(config).accept(peer.into_tcp())).await
}

/// What was agreed on, from the side of a [`Peer`].
#[derive(Debug, PartialEq, Eq)]
pub struct Agreed {
    pub version: rustls::ProtocolVersion,
    pub suite: rustls::CipherSuite,
    pub alpn: Option<String>,
    pub resumed: bool,
    /// The other side's certificate.
    pub peer: Option<CertificateDer<'static>>,
    /// The name that the client asked this origin for.
    pub asked: Option<String>,
}

impl Agreed {
    pub(crate) fn of(stream: &Stream) -> Self {
        let (_, state) = stream.get_ref();
        let asked = match stream {
            Stream::Server(stream) => stream.get_ref().1.server_name().map(str::to_owned),
            Stream::Client(_) => None,
        };
        Self {
            version: state.protocol_version().expect("after the handshake"),
            suite: state.negotiated_cipher_suite().expect("after the handshake").suite(),
            alpn: state.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            peer: state.peer_certificates().and_then(|chain| chain.first().cloned()),
            asked,
        }
    }

    /// Whether the other side showed this certificate.
    pub fn saw(&self, leaf: &Leaf) -> bool {
        self.peer.as_ref() == Some(leaf.certificate.der())
    }
}

/// A TCP connection whose bytes can be cut and overheard.
pub struct Wire {
    stream: TcpStream,
    /// Read before TLS began.
    ahead: Vec<u8>,
    /// Bytes per write at most.
    piece: usize,
    heard: Option<Vec<u8>>,
}

impl Wire {
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The type and the length of each whole record heard so far.
    pub(crate) fn records(&self) -> Vec<(u8, usize)> {
        let mut rest = self.heard.as_deref().expect("an offer that listens");
        let mut records = Vec::new();
        while let [kind, _, _, high, low, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(after) = tail.get(length..) else { break };
            records.push((*kind, length));
            rest = after;
        }
        records
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let n = this.ahead.len().min(buf.remaining());
            buf.put_slice(&this.ahead[..n]);
            this.ahead.drain(..n);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(heard) = &mut this.heard {
            heard.extend_from_slice(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let piece = &bytes[..bytes.len().min(this.piece)];
        Pin::new(&mut this.stream).poll_write(cx, piece)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
