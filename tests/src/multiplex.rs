//! HTTP/2 by the book: a client and an origin on the `h2` crate.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::{Connection, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::tls::Stream;
use crate::{Peer, within};

/// A client's connection.
pub struct Client {
    pub requests: SendRequest<Bytes>,
    driver: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    pub async fn new(peer: Peer) -> Self {
        Self::with(peer, &mut h2::client::Builder::new()).await
    }

    pub async fn with(peer: Peer, builder: &mut h2::client::Builder) -> Self {
        Self::over(peer.into_tcp(), builder).await
    }

    /// On a connection that has agreed on HTTP/2 in its TLS handshake.
    pub async fn tls(peer: Peer) -> Self {
        Self::over(peer.into_tls(), &h2::client::Builder::new()).await
    }

    async fn over<T>(socket: T, builder: &h2::client::Builder) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = builder.handshake(socket);
        let (requests, connection) = within("HTTP/2 settings", handshake).await.expect("HTTP/2");
        Self { requests, driver: tokio::spawn(connection) }
    }

    /// Sends a request; its body, if it goes on, and its response.
    pub async fn send(&mut self, request: Request<()>, ended: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut requests =
            within("room for a stream", self.requests.clone().ready()).await.expect("a stream");
        requests.send_request(request, ended).expect("a request")
    }

    /// A request without body and its whole response.
    pub async fn get(&mut self, path: &str) -> Whole {
        let (response, _) = self.send(get(path), true).await;
        whole(response).await
    }

    /// How the connection ended.
    pub async fn ended(self) -> Result<(), h2::Error> {
        drop(self.requests);
        within("the end of the connection", self.driver).await.expect("no panic")
    }
}

/// A GET with an authority.
pub fn get(path: &str) -> Request<()> {
    build(Request::get(format!("http://a.example{path}")))
}

pub fn post(path: &str) -> Request<()> {
    build(Request::post(format!("http://a.example{path}")))
}

pub fn build(request: http::request::Builder) -> Request<()> {
    request.version(http::Version::HTTP_2).body(()).expect("a request")
}

/// A message read to its end.
#[derive(Debug)]
pub struct Whole {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Whole {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Waits for a whole response.
pub async fn whole(response: ResponseFuture) -> Whole {
    let response = within("a response", response).await.expect("a response");
    let (head, body) = response.into_parts();
    let (body, trailers) = read(body).await.expect("a whole body");
    Whole { status: head.status.as_u16(), headers: head.headers, body, trailers }
}

/// Reads a body to its end.
pub async fn read(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = within("a body", body.data()).await {
        let data = data?;
        bytes.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((bytes, within("trailers", body.trailers()).await?))
}

/// Sends all of a body within the peer's windows, and its end with `last`.
pub async fn write(stream: &mut SendStream<Bytes>, mut bytes: Bytes, last: bool) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let waiting = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        let Some(capacity) = within("a window", waiting).await else {
            return Err(h2::Reason::CANCEL.into());
        };
        let piece = bytes.split_to(capacity?.min(bytes.len()));
        stream.send_data(piece, bytes.is_empty() && last)?;
    }
    Ok(())
}

/// An origin's side of a connection. Streams go on only while it is polled: see [`Server::drive`].
pub struct Server<T = TcpStream> {
    connection: Connection<T, Bytes>,
}

impl Server {
    pub async fn new(peer: Peer) -> Self {
        Self::with(peer, &mut h2::server::Builder::new()).await
    }

    pub async fn with(peer: Peer, builder: &mut h2::server::Builder) -> Self {
        let handshake = builder.handshake(peer.into_tcp());
        Self { connection: within("HTTP/2 settings", handshake).await.expect("HTTP/2") }
    }
}

impl Server<Stream> {
    /// On a connection that has agreed on HTTP/2 in its TLS handshake.
    pub async fn tls(peer: Peer) -> Self {
        let handshake = h2::server::Builder::new().handshake(peer.into_tls());
        Self { connection: within("HTTP/2 settings", handshake).await.expect("HTTP/2") }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Server<T> {
    /// The next request; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<(Request<RecvStream>, SendResponse<Bytes>)> {
        within("a request", self.connection.accept()).await?.ok()
    }

    /// Answers every request with `answer` until the connection ends.
    pub fn serve<F>(mut self, answer: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(async move {
            while let Some(Ok((request, respond))) = self.connection.accept().await {
                tokio::spawn(answer(request, respond));
            }
        });
    }

    /// Lets the frames flow without taking another request.
    pub async fn drive<R>(&mut self, until: impl Future<Output = R>) -> R {
        tokio::select! {
            done = until => done,
            other = self.connection.accept() => panic!("another request: {:?}", other.is_some()),
        }
    }

    /// GOAWAY; what is under way may end.
    pub fn leave(&mut self) {
        self.connection.graceful_shutdown();
    }
}

/// A response with this status.
pub fn answer(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).expect("a response")
}
