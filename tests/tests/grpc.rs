//! gRPC through the daemon: in TLS from the client, in clear and in TLS to the server. Client and server are made of the
//! `h2` crate and say what gRPC's do (messages with a prefix of five bytes, the status in trailers).

#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use lb_tests::multiplex::{self, Client, Server};
use lb_tests::tls::{Demand, Offer, Site};
use lb_tests::{Origin, Rig, tls, within};

/// A message as it is sent.
fn message(content: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(content.len()).unwrap());
    out.extend_from_slice(content);
    out.freeze()
}

/// Reads messages out of a body.
struct Messages {
    body: RecvStream,
    bytes: BytesMut,
}

impl Messages {
    fn new(body: RecvStream) -> Self {
        Self { body, bytes: BytesMut::new() }
    }

    async fn next(&mut self) -> Option<Result<Bytes, h2::Error>> {
        loop {
            if self.bytes.len() >= 5 {
                let length = (&self.bytes[1..5]).get_u32() as usize;
                if self.bytes.len() >= 5 + length {
                    self.bytes.advance(5);
                    return Some(Ok(self.bytes.split_to(length).freeze()));
                }
            }
            match within("a message", self.body.data()).await? {
                Ok(data) => {
                    let _ = self.body.flow_control().release_capacity(data.len());
                    self.bytes.extend_from_slice(&data);
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn grpc_status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}

/// The service: `/Echo` answers each message with itself, `/Count` with `n` all of them at once, `/Many` sends as many
/// as it is asked for, `/Fail` has no body, `/Half` breaks off after a message, `/Wait` never answers.
async fn service(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    gone: tokio::sync::mpsc::UnboundedSender<Option<Reason>>,
) {
    assert_eq!(request.headers()["te"], "trailers");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let path = request.uri().path().to_owned();
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    if path == "/Fail" {
        response.headers_mut().extend(grpc_status("9"));
        respond.send_response(response, true).unwrap();
        return;
    }
    if path == "/Wait" {
        gone.send(None).unwrap();
        let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
        gone.send(Some(reason)).unwrap();
        return;
    }
    let mut messages = Messages::new(request.into_body());
    let mut down = respond.send_response(response, false).unwrap();
    let mut count = 0;
    while let Some(Ok(content)) = messages.next().await {
        count += 1;
        match &*path {
            "/Echo" => multiplex::write(&mut down, message(&content), false).await.unwrap(),
            "/Many" => {
                for number in 0..std::str::from_utf8(&content).unwrap().parse::<u32>().unwrap() {
                    multiplex::write(&mut down, message(&number.to_be_bytes()), false).await.unwrap();
                }
            }
            _ => {}
        }
    }
    if path == "/Count" {
        multiplex::write(&mut down, message(count.to_string().as_bytes()), false).await.unwrap();
    }
    let code = if path == "/Half" { "15" } else { "0" };
    down.send_trailers(grpc_status(code)).unwrap();
}

/// What came of a call: its messages and its status.
async fn call(client: &mut Client, path: &str, messages: &[Bytes]) -> (Vec<Bytes>, String) {
    let request = Request::post(format!("https://site.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "5S");
    let (response, mut up) = client.send(multiplex::build(request), false).await;
    let sending = async {
        for content in messages {
            multiplex::write(&mut up, message(content), false).await.unwrap();
        }
        let _ = up.send_data(Bytes::new(), true);
    };
    let receiving = async {
        let response = within("a response", response).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"application/grpc".parse().unwrap())
        );
        let at_once = response.headers().get("grpc-status").cloned();
        let mut messages = Messages::new(response.into_body());
        let mut received = Vec::new();
        while let Some(content) = messages.next().await {
            received.push(content.unwrap());
        }
        let trailers = within("trailers", messages.body.trailers()).await.unwrap();
        let status = at_once.or_else(|| trailers?.get("grpc-status").cloned()).expect("a status");
        (received, status.to_str().unwrap().to_owned())
    };
    tokio::join!(sending, receiving).1
}

/// All kinds of calls, on one connection.
async fn check(client: &mut Client, mut gone: tokio::sync::mpsc::UnboundedReceiver<Option<Reason>>) {
    let small: Vec<Bytes> = (0..50u32).map(|n| Bytes::from(format!("message {n}"))).collect();
    let large = Bytes::from(vec![7; 1_500_000]);
    let ok = || "0".to_owned();
    assert_eq!(call(client, "/Echo", &small[..1]).await, (small[..1].to_vec(), ok()));
    assert_eq!(call(client, "/Echo", &[Bytes::new()]).await, (vec![Bytes::new()], ok()));
    assert_eq!(call(client, "/Echo", &small).await, (small.clone(), ok()));
    assert!(call(client, "/Echo", std::slice::from_ref(&large)).await == (vec![large], ok()));
    assert_eq!(call(client, "/Count", &small).await, (vec![Bytes::from("50")], ok()));
    let (many, status) = call(client, "/Many", &[Bytes::from("500")]).await;
    assert!((many.len(), &*status) == (500, "0") && many[499][..] == 499u32.to_be_bytes());
    assert_eq!(call(client, "/Fail", &[]).await, (vec![], "9".to_owned()));
    assert_eq!(call(client, "/Half", &small[..1]).await, (vec![], "15".to_owned()));
    // A deadline that passes, or a call that is given up, is a reset: the server hears of it, the connection stays.
    let request = Request::post("https://site.test/Wait")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let (response, mut up) = client.send(multiplex::build(request), false).await;
    multiplex::write(&mut up, message(b"begun"), false).await.unwrap();
    assert_eq!(within("the call", gone.recv()).await, Some(None));
    up.send_reset(Reason::CANCEL);
    assert_eq!(within("the reset", gone.recv()).await, Some(Some(Reason::CANCEL)));
    drop(response);
    assert_eq!(call(client, "/Echo", &small[..1]).await, (small[..1].to_vec(), ok()));
}

#[tokio::test]
async fn every_kind_of_call_reaches_a_server_in_clear() {
    let site = Site::new();
    let origin = Origin::bind();
    let setup = site.setup("alpn h2", &Rig::http().server("proto h2"));
    let mut daemon = setup.at("s1", origin.addr()).start();
    let offer = Offer { alpn: &["h2"], ..Offer::default() };
    let mut client = Client::tls(site.client(offer).secure(&mut daemon).await).await;
    let (sender, gone) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let sender = sender.clone();
            let server = Server::new(origin.accept().await).await;
            server.serve(move |request, respond| service(request, respond, sender.clone()));
        }
    });
    check(&mut client, gone).await;
}

#[tokio::test]
async fn every_kind_of_call_reaches_a_server_in_tls() {
    let site = Site::new();
    let origin = Origin::bind();
    let plan = Rig::http().server("ssl ca-file <tls>/ca.pem verifyhost site.test alpn h2");
    let mut daemon = site.setup("alpn h2", &plan).at("s1", origin.addr()).start();
    let offer = Offer { alpn: &["h2"], ..Offer::default() };
    let mut client = Client::tls(site.client(offer).secure(&mut daemon).await).await;
    let acceptor = tls::Server::new(&site.leaf, Demand { alpn: &["h2"], ..Demand::default() });
    let (sender, gone) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let sender = sender.clone();
            let server = Server::tls(acceptor.accept(origin.accept().await).await).await;
            server.serve(move |request, respond| service(request, respond, sender.clone()));
        }
    });
    check(&mut client, gone).await;
}
