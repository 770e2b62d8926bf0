//! HTTP/2 of checks (manual 5.2 `check-proto`, `check-alpn`): one request at a time, whose response is told in HTTP/1,
//! so that it is judged as any other.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Connection, ResponseFuture, SendRequest};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use sockeye_config::model::HttpSend;
use sockeye_conn::Socket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection in HTTP/2. Nobody but its check moves it: frames are sent and read while the check waits.
pub(crate) struct Http2 {
    /// `None` once it has ended.
    connection: Option<Connection<Io, Bytes>>,
    sender: SendRequest<Bytes>,
    https: bool,
    answer: Answer,
    /// Of the answer, in HTTP/1: what has not been read yet.
    text: Bytes,
}

enum Answer {
    Awaited(ResponseFuture),
    Body(RecvStream),
    Over,
}

impl Http2 {
    /// Begins to speak HTTP/2. `head_bytes_max`: the most that header fields of an answer may take.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn start(socket: Socket, head_bytes_max: usize) -> io::Result<Self> {
        let https = socket.tls().is_some();
        let head_bytes_max = u32::try_from(head_bytes_max).unwrap_or(u32::MAX);
        let mut builder = h2::client::Builder::new();
        builder.enable_push(false).max_header_list_size(head_bytes_max);
        let (sender, connection) = builder.handshake(Io(socket)).await.map_err(io_error)?;
        Ok(Self { connection: Some(connection), sender, https, answer: Answer::Over, text: Bytes::new() })
    }

    /// Sends a request. What is left of the answer before is given up.
    ///
    /// # Errors
    /// When the connection is broken or takes no more requests, or the request has no form in HTTP/2.
    pub(crate) async fn send(&mut self, send: Option<&HttpSend>) -> io::Result<()> {
        self.answer = Answer::Over;
        self.text = Bytes::new();
        let request = send.and_then(|send| request(send, self.https)).ok_or(io::ErrorKind::InvalidInput)?;
        let body = send.and_then(|send| send.body.as_deref()).unwrap_or_default();
        poll_fn(|cx| {
            let broken = self.poll_frames(cx);
            match self.sender.poll_ready(cx) {
                Poll::Pending => broken.map(Err),
                Poll::Ready(ready) => Poll::Ready(ready.map_err(io_error)),
            }
        })
        .await?;
        let (response, mut stream) = self.sender.send_request(request, body.is_empty()).map_err(io_error)?;
        if !body.is_empty() {
            // The library keeps it until the server has room for it.
            stream.send_data(Bytes::copy_from_slice(body), true).map_err(io_error)?;
        }
        self.answer = Answer::Awaited(response);
        Ok(())
    }

    /// Reads the answer as HTTP/1 would have it; 0 is its end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if !self.text.is_empty() {
                let part = self.text.split_to(buffer.len().min(self.text.len()));
                buffer[..part.len()].copy_from_slice(&part);
                return Poll::Ready(Ok(part.len()));
            }
            let broken = self.poll_frames(cx);
            match &mut self.answer {
                Answer::Awaited(response) => match Pin::new(response).poll(cx) {
                    Poll::Ready(Ok(response)) => {
                        let (head, body) = response.into_parts();
                        self.text = head_text(head.status.as_u16(), &head.headers);
                        self.answer = if body.is_end_stream() { Answer::Over } else { Answer::Body(body) };
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(io_error(error))),
                    Poll::Pending => return broken.map(Err),
                },
                Answer::Body(body) => match body.poll_data(cx) {
                    Poll::Ready(Some(Ok(data))) => {
                        // Fails only when the stream is gone, which the next turn finds out.
                        let _ = body.flow_control().release_capacity(data.len());
                        self.text = data;
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io_error(error))),
                    Poll::Ready(None) => self.answer = Answer::Over,
                    Poll::Pending => return broken.map(Err),
                },
                Answer::Over => return Poll::Ready(Ok(0)),
            }
        }
    }

    /// Moves frames; ready with the reason when there is no connection any more.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(io::ErrorKind::UnexpectedEof.into());
        };
        let Poll::Ready(ended) = Pin::new(connection).poll(cx) else { return Poll::Pending };
        self.connection = None;
        Poll::Ready(ended.map_or_else(io_error, |()| io::ErrorKind::UnexpectedEof.into()))
    }
}

impl std::fmt::Debug for Http2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http2").field("connection", &self.connection).finish_non_exhaustive()
    }
}

/// The error of the socket, if that is what it was. Its number does not come through the library.
fn io_error(error: h2::Error) -> io::Error {
    match error.get_io().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionReset) => io::Error::from_raw_os_error(ECONNRESET),
        Some(kind) => kind.into(),
        None => io::Error::other(error),
    }
}

/// Of Linux.
const ECONNRESET: i32 = 104;

/// `None`: HTTP/2 has no form for it.
fn request(send: &HttpSend, https: bool) -> Option<Request<()>> {
    let mut headers = HeaderMap::new();
    let mut host = None;
    for (name, value) in &send.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        if name == header::HOST {
            host = host.or(Some(&**value));
        } else if !is_of_connection(&name) {
            headers.append(name, HeaderValue::from_str(value).ok()?);
        }
    }
    let method = Method::from_bytes(send.method.as_bytes()).ok()?;
    let body = send.body.as_deref().unwrap_or_default();
    if !body.is_empty() || matches!(method, Method::POST | Method::PUT | Method::PATCH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri(&send.uri, host, https)?;
    if request.uri().authority().is_none() {
        // Relative, as nobody has said of what: the library takes it from those who pass HTTP/1 on.
        *request.version_mut() = Version::HTTP_11;
    } else {
        *request.version_mut() = Version::HTTP_2;
    }
    *request.headers_mut() = headers;
    Some(request)
}

/// RFC 9113 §8.2.2, and the length, which is ours to say.
fn is_of_connection(name: &HeaderName) -> bool {
    const NAMES: [&str; 8] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "te",
        "http2-settings",
        "content-length",
    ];
    NAMES.contains(&name.as_str())
}

/// `text` with the authority that the Host field names, or else its own.
fn uri(text: &str, host: Option<&str>, https: bool) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    let reached = if https { Scheme::HTTPS } else { Scheme::HTTP };
    let (scheme, own, path) = match text.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            (Scheme::try_from(scheme).ok()?, authority, path)
        }
        None => (reached, "", text),
    };
    let authority = host.unwrap_or(own);
    if !authority.is_empty() {
        parts.authority = Some(Authority::try_from(authority).ok()?);
        parts.scheme = Some(scheme);
    }
    let path = if path.is_empty() { "/" } else { path };
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

/// The head of an answer in HTTP/1. There is no reason phrase in HTTP/2.
fn head_text(status: u16, headers: &HeaderMap) -> Bytes {
    let mut text = format!("HTTP/1.1 {status} \r\n").into_bytes();
    for (name, value) in headers {
        // They mean nothing here and must not frame anything (RFC 9113 §8.2.2).
        if is_of_connection(name) && name != header::CONTENT_LENGTH {
            continue;
        }
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    text.into()
}

/// A socket as the frame layer wants it.
#[derive(Debug)]
struct Io(Socket);

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf.initialize_unfilled()).map_ok(|n| buf.advance(n))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown_write())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, headers: &[(&str, &str)], body: Option<&str>, expected: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let send = HttpSend {
            method: words[0].into(),
            uri: words[1].into(),
            version: "HTTP/1.1".into(),
            headers: headers.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
            body: body.map(|body| body.as_bytes().into()),
            comment: None,
        };
        let shown = request(&send, true).map_or_else(
            || "no form".to_owned(),
            |request| {
                let fields: Vec<String> = request
                    .headers()
                    .iter()
                    .map(|(name, value)| format!(" {name}={}", value.to_str().unwrap()))
                    .collect();
                format!("{} {}{}", request.method(), request.uri(), fields.concat())
            },
        );
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn requests() {
        check("GET /x?y", &[], None, "GET /x?y");
        check("OPTIONS *", &[], None, "OPTIONS *");
        check(
            "POST /p",
            &[("Host", "foo.example"), ("X-Foo", "bar"), ("Connection", "close"), ("Content-Length", "9")],
            Some("abc"),
            "POST https://foo.example/p x-foo=bar content-length=3",
        );
        check("PUT /", &[("host", "a")], None, "PUT https://a/ content-length=0");
        check("GET http://own.example/abs", &[], None, "GET http://own.example/abs");
        check("GET https://own.example", &[("Host", "other")], None, "GET https://other/");
        check("GET /", &[("X", "a\nb")], None, "no form");
        check("G(T /", &[], None, "no form");
        check("GET /", &[("Host", "a b")], None, "no form");
    }

    #[test]
    fn answers() {
        let mut headers = HeaderMap::new();
        headers.append("content-length", HeaderValue::from_static("3"));
        headers.append("x-a", HeaderValue::from_static("b"));
        headers.append("transfer-encoding", HeaderValue::from_static("chunked"));
        assert_eq!(&*head_text(503, &headers), b"HTTP/1.1 503 \r\ncontent-length: 3\r\nx-a: b\r\n\r\n");
    }
}
