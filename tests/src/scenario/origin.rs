//! The servers of a scenario: they answer by themselves and keep what they got.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::task::AbortHandle;

use super::bytes;
use super::message::request;
use super::script::Script;
use crate::{Origin, Peer};

/// What every server got so far, with the server's name, in order.
#[derive(Clone, Default)]
pub(super) struct Received(Arc<Mutex<Vec<Arrival>>>);

/// A server's name and what it got.
type Arrival = (String, Vec<u8>);

impl Received {
    fn push(&self, name: &str, bytes: Vec<u8>) {
        self.0.lock().expect("received").push((name.to_owned(), bytes));
    }

    /// What came since the last time.
    pub(super) fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.0.lock().expect("received"))
    }
}

/// A listening server.
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What happens after an answer.
#[derive(Clone, Copy)]
enum Then {
    Keep,
    Close,
    Reset,
    Hang,
}

type Answers = Arc<Mutex<VecDeque<(Vec<u8>, Then)>>>;

/// Starts the server `name` with the answers that the script has for it.
pub(super) fn start(name: &str, script: &Script, received: &Received) -> Result<Server, String> {
    let mut answers = VecDeque::new();
    for step in script.of("reply").filter(|step| step.arg(0) == name) {
        let then = match step.arg(1) {
            "" => Then::Keep,
            "close" => Then::Close,
            "reset" => Then::Reset,
            "hang" => Then::Hang,
            other => return Err(format!("a reply cannot '{other}'")),
        };
        answers.push_back((bytes::read(&step.lines)?, then));
    }
    let raw = script.of("raw").any(|step| step.args.iter().any(|arg| arg == name));
    let answers: Answers = Arc::new(Mutex::new(answers));
    let origin = Origin::bind();
    let addr = origin.addr();
    let (name, received) = (name.to_owned(), received.clone());
    let task = tokio::spawn(async move {
        loop {
            let peer = origin.accept_any().await;
            let (name, received, answers) = (name.clone(), received.clone(), answers.clone());
            if raw {
                tokio::spawn(answer_bytes(peer, name, received, answers));
            } else {
                tokio::spawn(answer_http(peer, name, received, answers));
            }
        }
    });
    Ok(Server { addr, task: task.abort_handle() })
}

async fn answer_http(mut peer: Peer, name: String, received: Received, answers: Answers) {
    while let Some(message) = request(&mut peer).await {
        let is_head = message.starts_with(b"HEAD ");
        received.push(&name, message);
        let answer = answers.lock().expect("answers").pop_front();
        let (bytes, then) = answer.unwrap_or_else(|| {
            let body = if is_head { "" } else { name.as_str() };
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", name.len());
            (text.into_bytes(), Then::Keep)
        });
        if peer.write_all(&bytes).await.is_err() {
            return;
        }
        match then {
            Then::Keep => {}
            Then::Close => return,
            Then::Reset => return peer.reset(),
            Then::Hang => {
                peer.rest().await;
                return;
            }
        }
    }
}

/// Everything until the client side ends, then the answer.
async fn answer_bytes(mut peer: Peer, name: String, received: Received, answers: Answers) {
    let message = peer.rest().await;
    received.push(&name, message);
    let answer = answers.lock().expect("answers").pop_front();
    let (bytes, _) = answer.unwrap_or_else(|| (name.into_bytes(), Then::Close));
    // Who does not read the answer any more says so by what the scenario expects.
    drop(peer.write_all(&bytes).await);
}
