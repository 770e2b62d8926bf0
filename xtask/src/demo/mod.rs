//! The demo origins of `cargo xtask run`: two small HTTP/1.1 servers, so that the first start has something to
//! balance. `/` answers with the origin's name, `/slow` after a second, `/echo` with the request's body,
//! `/big` with 64 MiB, `/ws` upgrades to a WebSocket that echoes, anything else is 404.

mod websocket;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

/// Size of the answer of `/big`: enough to see the kernel forward it.
const BIG_BYTES: usize = 64 << 20;
/// How long `/slow` thinks.
const SLOW: Duration = Duration::from_secs(1);

type Body = BoxBody<Bytes, hyper::Error>;

/// Starts an origin on a port of the system's choice. It serves until the runtime ends.
pub(crate) async fn start(name: &'static str) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot bind a demo origin")?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        // An accept error (out of descriptors) ends the demo origin, not the program.
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, name));
        }
    });
    Ok(address)
}

async fn serve(stream: TcpStream, name: &'static str) {
    let service = service_fn(move |request| answer(request, name));
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new());
    // A client that breaks off is no news for a demo.
    let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn answer(request: Request<Incoming>, name: &'static str) -> Result<Response<Body>, Infallible> {
    Ok(match request.uri().path() {
        "/" => text(StatusCode::OK, format!("hello from {name}\n")),
        "/slow" => {
            tokio::time::sleep(SLOW).await;
            text(StatusCode::OK, format!("hello from {name}, after {SLOW:?}\n"))
        }
        "/echo" => Response::new(request.into_body().boxed()),
        "/big" => Response::new(full(vec![0; BIG_BYTES])),
        "/ws" => upgrade(request, name),
        path => text(StatusCode::NOT_FOUND, format!("{name} has no {path}\n")),
    })
}

fn upgrade(mut request: Request<Incoming>, name: &'static str) -> Response<Body> {
    let Some(key) =
        request.headers().get("sec-websocket-key").map(|key| websocket::accept_key(key.as_bytes()))
    else {
        return text(StatusCode::BAD_REQUEST, format!("{name}: /ws wants a WebSocket\n"));
    };
    tokio::spawn(async move {
        if let Ok(stream) = hyper::upgrade::on(&mut request).await {
            // The peer's end of the conversation is the end of the echo, however it comes.
            let _ = websocket::echo(TokioIo::new(stream)).await;
        }
    });
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, String::new());
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(value) = HeaderValue::from_str(&key) {
        headers.insert("sec-websocket-accept", value);
    }
    response
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(full(text.into_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn full(bytes: Vec<u8>) -> Body {
    Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn check(path: &str, expected_status: &str, expected_body: &str) {
        let mut stream = TcpStream::connect(start("one").await.unwrap()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert_eq!((head.split("\r\n").next().unwrap(), body), (expected_status, expected_body));
    }

    #[tokio::test]
    async fn origins_answer_with_their_name() {
        check("/", "HTTP/1.1 200 OK", "hello from one\n").await;
        check("/none", "HTTP/1.1 404 Not Found", "one has no /none\n").await;
        check("/ws", "HTTP/1.1 400 Bad Request", "one: /ws wants a WebSocket\n").await;
        check("/echo", "HTTP/1.1 200 OK", "").await;
    }
}
