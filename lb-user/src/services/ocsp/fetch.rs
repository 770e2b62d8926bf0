//! One question to one responder, by HTTP/1.1. RFC 6960 appendix A.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sockeye_tls::OcspRequest;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Bytes of a response at most: real ones have 300 to 3,000.
const RESPONSE_MAX: usize = 64 << 10;
/// Bytes of its head at most; also how much is read at a time.
const HEAD_MAX: usize = 16 << 10;
/// To find the responder's address and to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// For all of it, attempts and pauses included.
const LIMIT: Duration = Duration::from_secs(30);
/// Attempts after the first one, when nothing was answered.
const RETRIES: u32 = 3;
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks, through `proxy` if there is one. The result is the body, unchecked.
pub(super) async fn fetch(request: &OcspRequest, proxy: Option<SocketAddr>) -> Result<Vec<u8>, Failure> {
    let mut trace = Trace::new(request);
    let exchanged = match timeout(LIMIT, exchange(request, proxy, &mut trace)).await {
        Ok(exchanged) => exchanged,
        Err(_) if trace.connected.is_none() => Err(Failed::NoConnection(*b"sC")),
        Err(_) => Err(Failed::TimedOut),
    };
    let (status, termination) = match exchanged {
        Ok(body) => return Ok(body),
        Err(Failed::NotOcsp) => return Err(Failure::NotOcsp),
        Err(Failed::NoConnection(termination)) => (503, termination),
        Err(Failed::Closed) => (502, *b"SH"),
        Err(Failed::Invalid) => (502, *b"PH"),
        Err(Failed::TimedOut) => (504, *b"sH"),
        Err(Failed::CutOff) => (200, *b"SD"),
        Err(Failed::TooLarge) => (200, *b"PD"),
        Err(Failed::Status(status)) => (status.as_u16(), *b"--"),
    };
    let milliseconds = |from: Instant, to: Instant| (to - from).as_millis();
    Err(Failure::Http(HttpFailure {
        status,
        termination,
        connect: trace.connected.map(|at| milliseconds(trace.began, at)),
        response: trace.connected.zip(trace.answered).map(|(from, to)| milliseconds(from, to)),
        total: trace.began.elapsed().as_millis(),
        retries: trace.retries,
        request: trace.request,
    }))
}

/// Why there is no body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Http(HttpFailure),
    /// The answer says that it is no OCSP response.
    NotOcsp,
}

/// An exchange that failed. Displayed as `option httplog` shows it, from the timers on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HttpFailure {
    /// What a proxy would have answered, or what the responder did.
    status: u16,
    termination: [u8; 2],
    /// Milliseconds.
    connect: Option<u128>,
    response: Option<u128>,
    total: u128,
    retries: u32,
    request: String,
}

impl HttpFailure {
    /// Whether it is logged under `option dontlog-normal`.
    pub(super) fn is_error(&self) -> bool {
        self.status >= 500 || self.termination != *b"--"
    }
}

impl fmt::Display for HttpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let timer = |time: Option<u128>| time.map_or_else(|| "-1".to_owned(), |time| time.to_string());
        let (connect, response) = (timer(self.connect), timer(self.response));
        let [cause, stage] = self.termination.map(char::from);
        let Self { status, total, retries, request, .. } = self;
        write!(
            f,
            "0/0/{connect}/{response}/{total} {status} 0 - - {cause}{stage}-- 0/0/0/0/{retries} 0/0 {{}} \"{request} HTTP/1.1\""
        )
    }
}

/// How far an exchange came.
struct Trace {
    began: Instant,
    connected: Option<Instant>,
    answered: Option<Instant>,
    retries: u32,
    /// Method and address.
    request: String,
}

impl Trace {
    fn new(request: &OcspRequest) -> Self {
        let request = match request.get() {
            Some(uri) => format!("GET {uri}"),
            None => format!("POST {}", request.uri),
        };
        Self { began: Instant::now(), connected: None, answered: None, retries: 0, request }
    }
}

enum Failed {
    NoConnection([u8; 2]),
    /// Before an answer.
    Closed,
    /// Something else than HTTP was answered.
    Invalid,
    TimedOut,
    Status(StatusCode),
    NotOcsp,
    CutOff,
    TooLarge,
}

async fn exchange(
    request: &OcspRequest,
    proxy: Option<SocketAddr>,
    trace: &mut Trace,
) -> Result<Vec<u8>, Failed> {
    let Some(question) = Question::new(request, proxy.is_some()) else {
        return Err(Failed::NoConnection(*b"PC"));
    };
    loop {
        let failed = match question.ask(proxy, trace).await {
            // The connection must live until the body is here.
            Ok((response, _connection)) => return read(response).await,
            Err(failed) => failed,
        };
        if trace.retries == RETRIES {
            return Err(failed);
        }
        match failed {
            Failed::NoConnection(_) => sleep(PAUSE).await,
            Failed::Closed => {}
            _ => return Err(failed),
        }
        trace.retries += 1;
        trace.connected = None;
    }
}

/// The request and where it goes.
struct Question {
    head: Request<()>,
    body: Bytes,
    host: String,
    port: u16,
}

impl Question {
    /// `None`: the certificate's address is no address.
    fn new(request: &OcspRequest, by_proxy: bool) -> Option<Self> {
        let (method, uri, body) = match request.get() {
            Some(uri) => (Method::GET, uri, Bytes::new()),
            None => (Method::POST, request.uri.clone(), Bytes::from(request.body.clone())),
        };
        let uri: Uri = uri.parse().ok()?;
        let authority = uri.authority()?.clone();
        let address = authority.as_str().rsplit('@').next()?.to_owned();
        let is_post = method == Method::POST;
        let target = if by_proxy { uri } else { uri.path_and_query()?.as_str().parse().ok()? };
        let mut head = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, address)
            .header(ACCEPT, "*/*")
            .header(USER_AGENT, "Sockeye");
        if is_post {
            head = head.header(CONTENT_TYPE, "application/ocsp-request");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Self { head: head.body(()).ok()?, body, host, port: authority.port_u16().unwrap_or(80) })
    }

    /// Sends it over a connection of its own, which ends with the second value.
    async fn ask(
        &self,
        proxy: Option<SocketAddr>,
        trace: &mut Trace,
    ) -> Result<(Response<Incoming>, JoinSet<()>), Failed> {
        let connecting = async {
            match proxy {
                Some(address) => TcpStream::connect(address).await,
                // Names are looked up on a thread for what blocks.
                None => TcpStream::connect((&*self.host, self.port)).await,
            }
        };
        let stream = match timeout(CONNECT_LIMIT, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return Err(Failed::NoConnection(*b"SC")),
            Err(_) => return Err(Failed::NoConnection(*b"sC")),
        };
        trace.connected = Some(Instant::now());
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_MAX);
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|_| Failed::Closed)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async {
            // What goes wrong is told to who waits for the answer.
            let _ = connection.await;
        });
        let request = self.head.clone().map(|()| Full::new(self.body.clone()));
        let response = sender.send_request(request).await;
        let response =
            response.map_err(|error| if error.is_parse() { Failed::Invalid } else { Failed::Closed })?;
        trace.answered = Some(Instant::now());
        Ok((response, tasks))
    }
}

/// The body of an answer that is an OCSP response by its own account.
async fn read(response: Response<Incoming>) -> Result<Vec<u8>, Failed> {
    if response.status() != StatusCode::OK {
        return Err(Failed::Status(response.status()));
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/ocsp-response") {
        return Err(Failed::NotOcsp);
    }
    let body = Limited::new(response.into_body(), RESPONSE_MAX).collect().await;
    let body =
        body.map_err(|error| if error.is::<LengthLimitError>() { Failed::TooLarge } else { Failed::CutOff })?;
    Ok(body.to_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        let check = |uri: &str, bytes: usize, by_proxy: bool, expected: Option<&str>| {
            let request = OcspRequest { uri: uri.to_owned(), body: vec![0; bytes] };
            let found = Question::new(&request, by_proxy).map(|question| {
                let Question { head, body, host, port } = &question;
                let [to, kind] = [HOST, CONTENT_TYPE].map(|name| {
                    head.headers().get(name).map_or("-", |value| value.to_str().unwrap()).to_owned()
                });
                let (method, target, body) = (head.method(), head.uri(), body.len());
                format!("{host} {port}: {method} {target} {to} {kind} {body}")
            });
            assert_eq!(found.as_deref(), expected, "{uri}");
        };
        check("http://a.test", 3, false, Some("a.test 80: GET /AAAA a.test - 0"));
        check("http://a.test:81/x/", 3, false, Some("a.test 81: GET /x/AAAA a.test:81 - 0"));
        check("http://a.test/x", 3, true, Some("a.test 80: GET http://a.test/x/AAAA a.test - 0"));
        check("http://[::1]:81", 3, false, Some("::1 81: GET /AAAA [::1]:81 - 0"));
        check("http://user@a.test/", 3, false, Some("a.test 80: GET /AAAA a.test - 0"));
        let post = "a.test 80: POST /x a.test application/ocsp-request 300";
        check("http://a.test/x", 300, false, Some(post));
        check("http://a b/", 3, false, None);
        check("http://", 3, false, None);
    }
}
