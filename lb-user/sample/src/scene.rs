//! What an expression can look at.

use std::cell::{Cell, OnceCell};
use std::net::SocketAddr;
use std::time::SystemTime;

use sockeye_http::{RequestHead, ResponseHead};

use crate::arguments::Target;
use crate::stage::Stage;
use crate::tls::{TlsFacts, TlsSide};
use crate::variables::VariablesInUse;

/// Everything around an expression at the moment of its evaluation. Cheap to make: references and flags.
pub struct Scene<'a> {
    pub stage: Stage,
    now: Now,
    pub world: &'a dyn World,
    /// The client connection and its stream; absent in health checks and while the file is read.
    pub facts: Option<&'a dyn Facts>,
    pub request: Option<&'a RequestHead>,
    pub request_body: Body<'a>,
    pub response: Option<&'a ResponseHead>,
    pub response_body: Body<'a>,
    /// The bytes of this direction that have arrived and not been forwarded, in `tcp-request content` and its kin.
    pub buffer: Option<Bytes<'a>>,
    /// Where `buffer` is of a client that may speak HTTP/1: room for the head that its bytes parse as, made by the
    /// first fetch that wants one. A new cell for each evaluation.
    pub sniffed: Option<&'a OnceCell<RequestHead>>,
    /// The time that rules may wait is not over, although there is nothing to wait for but the clock.
    pub waiting: bool,
    pub variables: VariablesInUse<'a>,
    /// A fetch saw that what it looked at is not complete: the value may change, or come later. The evaluator of
    /// conditions that may wait clears it before and reads it after.
    pub unfinished: Cell<bool>,
}

impl<'a> Scene<'a> {
    /// A scene with nothing but the process.
    #[inline]
    pub fn new(stage: Stage, now: impl Into<Now>, world: &'a dyn World) -> Self {
        Self {
            stage,
            now: now.into(),
            world,
            facts: None,
            request: None,
            request_body: Body::default(),
            response: None,
            response_body: Body::default(),
            buffer: None,
            sniffed: None,
            waiting: false,
            variables: VariablesInUse::default(),
            unfinished: Cell::new(false),
        }
    }

    /// The wall clock.
    pub fn now(&self) -> SystemTime {
        match self.now {
            Now::At(time) => time,
            Now::Read(clock) => clock(),
        }
    }

    /// Says that more may come.
    pub fn wait(&self) {
        self.unfinished.set(true);
    }

    pub fn number(&self, what: Number) -> Option<i64> {
        self.facts?.number(what)
    }

    pub fn text(&self, what: Text) -> Option<&'a [u8]> {
        self.facts?.text(what)
    }

    pub fn address(&self, what: Address) -> Option<SocketAddr> {
        self.facts?.address(what)
    }

    pub fn tls(&self, side: TlsSide) -> Option<&'a TlsFacts> {
        self.facts?.tls(side)
    }
}

/// What the wall clock says. Few expressions ask, so it need not be read for each scene.
#[derive(Debug, Clone, Copy)]
pub enum Now {
    At(SystemTime),
    Read(fn() -> SystemTime),
}

impl From<SystemTime> for Now {
    fn from(time: SystemTime) -> Self {
        Self::At(time)
    }
}

/// Body bytes that are at hand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Body<'a> {
    pub bytes: &'a [u8],
    /// The whole body is in `bytes`.
    pub whole: bool,
    /// The length that the head announces, if it does.
    pub length: Option<u64>,
}

/// Raw bytes of one direction.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a> {
    pub bytes: &'a [u8],
    /// Nothing more will come: the sender ended its direction, the buffer is full, or waiting is over.
    pub closed: bool,
    /// The time that rules may wait is over.
    pub waited: bool,
}

/// The process, its proxies and their servers, as numbers that change.
pub trait World {
    /// `act_conn`, `nbthread`, `uptime` and other numbers of the process.
    fn process(&self, what: ProcessNumber) -> Option<i64>;
    /// A number of a frontend or backend.
    fn proxy(&self, proxy: Target, what: ProxyNumber) -> Option<i64>;
    /// A number of a server.
    fn server(&self, backend: usize, server: usize, what: ServerNumber) -> Option<i64>;
    /// Index of a backend by its name, for names known only at run time.
    fn backend_named(&self, name: &[u8]) -> Option<usize>;
    /// Index of a server by its name.
    fn server_named(&self, backend: usize, name: &[u8]) -> Option<usize>;
    /// Index of a frontend by its name.
    fn frontend_named(&self, name: &[u8]) -> Option<usize>;
    /// `hostname`, `node` and other names of the process.
    fn text(&self, what: ProcessText) -> Option<&[u8]>;
    /// Whether a user of a list has this password, and whether in one of the groups if any are named.
    fn authenticate(&self, userlist: usize, user: &[u8], password: &[u8]) -> bool;
    /// An environment variable as it was when the process started, `setenv` and its kin applied.
    fn environment(&self, _name: &[u8]) -> Option<&[u8]> {
        None
    }
    /// The groups of a user, one after the other, until `visit` says `true`.
    fn groups_of(&self, userlist: usize, user: &[u8], visit: &mut dyn FnMut(&str) -> bool);
    /// A random number below `range`, or of 32 bits without one.
    fn random(&self, range: Option<u32>) -> u32;
    /// Writes a line of the converter `debug`, without waiting.
    fn show(&self, _console: Console, _line: &[u8]) {}
}

/// Where an operator looks on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    Output,
    Error,
}

/// Numbers of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessNumber {
    ActiveConnections,
    Threads,
    /// The thread that evaluates, from 0.
    Thread,
    /// The group of that thread, from 0.
    ThreadGroup,
    Stopping,
    UptimeSeconds,
    Pid,
    BufferBytes,
    /// `cpu_calls`, `cpu_ns_avg`, `cpu_ns_tot`: `None` while profiling is off.
    CpuCalls,
    CpuNsAverage,
    CpuNsTotal,
    LatencyNsAverage,
    LatencyNsTotal,
}

/// Names of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessText {
    Hostname,
    Node,
    Pid,
}

/// Numbers of a frontend or backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyNumber {
    Connections,
    ConnectionsFree,
    /// New connections, sessions or requests in the last second.
    SessionRate,
    RequestRate,
    ConnectionRate,
    Queue,
    /// `avg_queue`: waiting requests divided by usable servers.
    QueueAverage,
    UsableServers,
    /// `connslots`: connections and queue places that are still free; -1 for no limit.
    ConnectionSlots,
    /// `be_conn_free`.
    ServerConnectionsFree,
}

/// Numbers of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerNumber {
    Connections,
    ConnectionsFree,
    IsUp,
    InitialWeight,
    Queue,
    SessionRate,
    /// `srv_uweight`: the weight set by the user.
    UserWeight,
    /// `srv_weight`: the weight in use, after slow start.
    Weight,
}

/// One client connection with its current stream. Everything is `None` where it does not exist yet.
pub trait Facts {
    fn number(&self, what: Number) -> Option<i64>;
    /// Names and texts that live as long as the stream; `'a` is tied to the scene by the implementor.
    fn text(&self, what: Text) -> Option<&[u8]>;
    fn address(&self, what: Address) -> Option<SocketAddr>;
    /// `accept_date`, `request_date`.
    fn date(&self, what: Date) -> Option<SystemTime>;
    /// A captured header (`capture`), by its slot.
    fn capture(&self, request: bool, slot: usize) -> Option<Vec<u8>>;
    /// `capture-req` and its kin: keeps `value` in the slot.
    fn keep_capture(&self, request: bool, slot: usize, value: &[u8]) -> bool;
    /// `unique-id`: made when first asked for, of what `request` is then.
    fn unique_id(&self, request: Option<&RequestHead>) -> Option<&[u8]>;
    /// The value of a TLV of the PROXY header, by its type and how many of that type come before it.
    fn tlv(&self, _kind: u8, _index: usize) -> Option<&[u8]> {
        None
    }
    /// TLS of the client's or the server's connection; `None` where that is in clear text or does not exist.
    fn tls(&self, _side: TlsSide) -> Option<&TlsFacts> {
        None
    }
}

/// Addresses of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// `src`: of the client, as rules or a PROXY header changed it.
    Source,
    Destination,
    /// `fc_src`: of the connection itself.
    FrontSource,
    FrontDestination,
    /// `bc_src`: our end towards the server.
    BackSource,
    BackDestination,
}

/// Dates of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Date {
    Accept,
    Request,
}

/// Names around a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    FrontendName,
    /// The frontend's default backend.
    DefaultBackend,
    BackendName,
    ServerName,
    ListenerName,
    /// `txn.sess_term_state`: two or four characters.
    TerminationState,
    /// `capture.req.method`, `.uri`, `.ver` of the first line as it was received.
    RequestMethod,
    RequestUri,
    RequestVersion,
    ResponseVersion,
    /// `fc_err_name`, `fc_err_str` and `bc_…`
    FrontErrorName,
    FrontErrorText,
    BackErrorName,
    BackErrorText,
    /// `waiting_entity`, `last_entity`, `last_rule_file`.
    WaitingEntity,
    LastEntity,
    LastRuleFile,
    /// `res.cache_name`, `res.comp_algo`: of the response, if it comes from a cache or was compressed.
    CacheName,
    CompressionAlgorithm,
}

/// Numbers around a stream. Times are in milliseconds unless the name says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    FrontendId,
    BackendId,
    /// Index of the backend in the configuration, not its `id`.
    BackendIndex,
    FrontendIndex,
    ServerId,
    ServerIndex,
    ListenerId,
    /// `dst_conn`: connections of the listener.
    ListenerConnections,
    FrontHttpMajor,
    BackHttpMajor,
    FrontError,
    BackError,
    FrontStreams,
    BackStreams,
    FrontGlitches,
    BackGlitches,
    BackReused,
    /// TCP_INFO of the client's or the server's connection, in microseconds where it is a time.
    FrontRtt,
    FrontRttVariance,
    FrontUnacked,
    FrontSacked,
    FrontRetransmissions,
    FrontFackets,
    FrontLost,
    FrontReordering,
    BackRtt,
    BackRttVariance,
    /// `fc_rcvd_proxy`.
    ReceivedProxy,
    /// `bc_be_queue`, `bc_srv_queue`: positions when it was queued.
    BackendQueue,
    ServerQueue,
    BytesIn,
    BytesOut,
    Retries,
    Redispatched,
    /// 1 if the stream has failed so far, by the rules of `option dontlog-normal`.
    Failed,
    /// 1 if a server has got the request.
    Forwarded,
    /// `txn.id32`.
    TransactionId,
    StreamId,
    ResponseStatus,
    /// `server_status`: as the server sent it, before rules.
    ServerStatus,
    /// `http_first_req`.
    FirstRequest,
    ClientTimeout,
    ServerTimeout,
    TunnelTimeout,
    ConnectTimeout,
    QueueTimeout,
    TarpitTimeout,
    MaxRetries,
    /// The proxies' own: `fe_client_timeout`, `be_server_timeout`…
    FrontendClientTimeout,
    FrontendTarpitTimeout,
    BackendServerTimeout,
    BackendTunnelTimeout,
    BackendConnectTimeout,
    BackendQueueTimeout,
    BackendTarpitTimeout,
    BackendMaxRetries,
    /// Timers of the log: Th, Ti, TR, Tw, Tc, Tr, Td, Ta, Tu.
    TimerHandshake,
    TimerIdle,
    TimerRequest,
    TimerQueue,
    TimerConnect,
    TimerResponse,
    TimerData,
    TimerActive,
    TimerUser,
    /// Tq: from the accept date or the end of the last response.
    TimerRequestFromAccept,
    /// Tt: from the accept date to the end.
    TimerTotal,
    LastRuleLine,
    /// `src_is_local` and its kin: whether the address is one of this machine.
    SourceIsLocal,
    DestinationIsLocal,
    FrontSourceIsLocal,
    FrontDestinationIsLocal,
    /// `fc_settings_streams_limit`: 1 for HTTP/1 and TCP.
    FrontStreamsLimit,
    BackStreamsLimit,
    /// `set-priority-class`, `set-priority-offset`.
    PriorityClass,
    PriorityOffset,
    /// `req.bytes_out`: sent to the server; `res.bytes_out`: sent to the client.
    RequestBytesOut,
    ResponseBytesOut,
    /// `fs.aborted`, `bs.aborted`: that side ended the stream early.
    FrontAborted,
    BackAborted,
    /// `fs.id`, `bs.id`: the number of the stream in its connection, 0 where there are none.
    FrontStreamId,
    BackStreamId,
    /// `fs.rst_code`, `bs.rst_code`: of HTTP/2 only.
    FrontResetCode,
    BackResetCode,
}
