//! What RFC 9113 and RFC 7541 forbid a client, one row for each rule: the bytes, and how the daemon must take them.
//!
//! Where a list of codes has more than one, the first is the RFC's and the others are what the frame layer says instead;
//! codes are for diagnosis (RFC 9113 §7), the end they announce is what counts. What a request's fields may be is in
//! `h2_abuse.rs`, too.

mod frames;
mod messages;

use std::time::Duration;

use lb_tests::frames::*;
use lb_tests::{Daemon, Origin, Peer, Rig, Setup};

/// How long any row may take.
const ROW: Duration = Duration::from_secs(5);
/// The stream that shows that the connection still works.
const LAST: u32 = 99;
const WHOLE: u8 = END_STREAM | END_HEADERS;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 0x20;

/// How the daemon takes what a row sends.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// GOAWAY with one of these codes, and the end of the connection.
    Ends(&'static [u32]),
    /// RST_STREAM of stream 1 with one of these codes; the connection goes on.
    Resets(&'static [u32]),
    /// An answer of this status for stream 1; the connection goes on.
    Answers(u16),
    /// Nothing of it: the connection goes on, no stream is reset.
    Works,
}
use Expect::{Answers, Ends, Resets, Works};

const PROTOCOL: Expect = Ends(&[PROTOCOL_ERROR]);
const SIZE: Expect = Ends(&[FRAME_SIZE_ERROR]);
const FLOW: Expect = Ends(&[FLOW_CONTROL_ERROR]);
const CLOSED: Expect = Ends(&[STREAM_CLOSED, PROTOCOL_ERROR]);
/// A field block that cannot be decoded; the frame layer has the general code for it.
const COMPRESSION: Expect = Ends(&[COMPRESSION_ERROR, PROTOCOL_ERROR]);
const MALFORMED: Expect = Resets(&[PROTOCOL_ERROR]);

/// One rule: section and words, what is sent behind the settings, what comes of it.
type Row = (&'static str, Vec<u8>, Expect);

/// Runs all rows and names those that fail.
async fn check(cfg: lb_tests::rig::Plan, rows: Vec<Row>) {
    let origin = Origin::bind();
    let mut daemon = Setup::new(cfg.cfg()).at("s1", origin.addr()).start();
    let mut failures = Vec::new();
    for (name, bytes, expected) in rows {
        let client = Frames::client(daemon.connect("fe").await, &[]).await;
        let row = tokio::time::timeout(ROW, tokio::spawn(row(client, bytes, expected))).await;
        match row {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(failure))) => failures.push(format!("{name}: {expected:?}, but {failure}")),
            Ok(Err(panic)) => failures.push(format!("{name}: {expected:?}, but {panic}")),
            Err(_) => failures.push(format!("{name}: {expected:?}, but nothing happens")),
        }
    }
    works(&mut daemon).await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The daemon takes new connections.
async fn works(daemon: &mut Daemon) {
    let mut client = Frames::client(daemon.connect("fe").await, &[]).await;
    client.get(1, "/").await;
    assert_eq!(client.wait(HEADERS).await.status(), Some(200));
}

/// What is wrong with the daemon's reaction.
async fn row(mut client: Frames, bytes: Vec<u8>, expected: Expect) -> Option<String> {
    client.peer.try_send(bytes).await;
    if let Works = expected {
        client.get(LAST, "/").await;
    }
    loop {
        let frame = client.next().await;
        match (frame.kind, expected) {
            (HEADERS, Ends([0])) => {}
            (GOAWAY, Ends(codes)) => {
                client.peer.rest().await;
                return (!codes.contains(&frame.code())).then(|| format!("{frame:?}"));
            }
            (GOAWAY, _) => return Some(format!("{frame:?}")),
            (RST_STREAM, Resets(codes)) if frame.stream == 1 => {
                if !codes.contains(&frame.code()) {
                    return Some(format!("{frame:?}"));
                }
                client.get(LAST, "/").await;
            }
            (RST_STREAM, Works) => return Some(format!("{frame:?}")),
            (RST_STREAM, _) if frame.stream == 1 => return Some(format!("{frame:?}")),
            (HEADERS, Answers(status)) if frame.stream == 1 => {
                if frame.status() != Some(status) {
                    return Some(format!("{frame:?}"));
                }
                client.get(LAST, "/").await;
            }
            (HEADERS, Resets(_) | Ends(_)) if frame.stream == 1 => return Some(format!("{frame:?}")),
            (HEADERS, _) if frame.stream == LAST => {
                return (frame.status() != Some(200)).then(|| format!("{frame:?}"));
            }
            _ => {}
        }
    }
}

/// `/` is answered by the daemon, anything else waits for a server that never answers.
fn plan() -> lb_tests::rig::Plan {
    Rig::http().quiet().frontend("http-request return status 200 if { path / }")
}

fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, block)
}

/// A request on stream 1 that waits, its body open or not.
fn waiting(flags: u8) -> Vec<u8> {
    headers(flags | END_HEADERS, 1, &request("/wait"))
}

/// What follows a request on stream 1 whose body is open.
fn open(bytes: Vec<u8>) -> Vec<u8> {
    [waiting(0), bytes].concat()
}

fn update(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// A request for `/` in one field block, with `more` behind its fields.
fn asks(more: &[u8]) -> Vec<u8> {
    headers(WHOLE, 1, &[&request("/"), more].concat())
}

/// A request for `/` with these fields in front of a body.
fn posts(list: &[(&str, &str)], body: &[Vec<u8>]) -> Vec<u8> {
    let head = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/wait")];
    let block = fields(&[&head, list].concat());
    [headers(END_HEADERS, 1, &block), body.concat()].concat()
}

fn data(flags: u8, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, flags, 1, bytes)
}
