//! Rules that wait: for a body, for a while, for the end of a tarpit.

use std::task::Poll;
use std::time::Duration;

use sockeye_conn::{Buffer, clock};
use sockeye_http::BodyLength;
use sockeye_http::h1::{ChunkDecoder, Decoded};

use super::super::abort::{Cause, Ending, Stage};
use super::forward::Answered;
use super::{Refusal, Transaction};
use crate::services::replies::Reply;

impl Transaction<'_> {
    /// `tarpit`: the reply comes only after a while.
    pub(super) async fn tarpit(&mut self, reply: Reply) -> Refusal {
        let fe = self.session.frontend.cfg;
        let be = self.facts.backend.map(|backend| backend.cfg);
        let limit = self
            .heads
            .decided
            .timeouts
            .tarpit
            .or_else(|| be.and_then(|be| be.timeout_tarpit))
            .or(fe.timeout_tarpit)
            .or_else(|| be.and_then(|be| be.timeout_connect))
            .or_else(|| self.session.frontend.backend.and_then(|backend| backend.cfg.timeout_connect));
        self.facts.received_at = None;
        self.facts.tarpitted_at = Some(clock::now());
        // A client that gives up gets the reply at once: it may have ended its direction alone.
        let waited = self.wait(limit.unwrap_or_default(), true).await;
        self.facts.released_at = Some(clock::now());
        let mut refusal = Refusal::with_reply(Cause::Proxy, Stage::Tarpit, reply);
        if let Waited::Killed = waited {
            refusal.ending = Ending::new(self.control.cause(), Stage::Tarpit);
        }
        refusal
    }

    /// Lets time pass. A client that has ended its direction may still wait for a response; with `until_end` its end
    /// counts as leaving. What the timer was set to before, it is set to again.
    pub(super) async fn wait(&mut self, time: Duration, until_end: bool) -> Waited {
        let before = self.timer.deadline();
        self.timer.set(clock::now().checked_add(time));
        let (session, control, timer) = (&*self.session, self.control, &mut *self.timer);
        let waited = std::future::poll_fn(|cx| {
            if control.is_killed() {
                return Poll::Ready(Waited::Killed);
            }
            let left = match until_end {
                true => session.client.is_closed_by_peer(cx),
                false => matches!(session.client.poll_peek(cx), Poll::Ready(Err(_))),
            };
            if left {
                return Poll::Ready(Waited::Left);
            }
            timer.poll_expired(cx).map(|()| Waited::Over)
        })
        .await;
        self.timer.set(before);
        waited
    }

    /// The same for rules behind which the request goes on: whether it does not.
    pub(super) async fn wait_or_refuse(&mut self, time: Duration, stage: Stage) -> Option<Refusal> {
        match self.wait(time, false).await {
            Waited::Over => None,
            Waited::Left => Some(Refusal { silent: true, ..Refusal::new(Cause::Client, stage, 400) }),
            Waited::Killed => Some(Refusal::new(self.control.cause(), stage, 503)),
        }
    }

    /// Waits for the body, or as much of it as a rule needs or a buffer holds.
    pub(super) async fn wait_for_body(&mut self, time: Duration, at_least: u64) -> Result<(), Refusal> {
        let enough = (at_least > 0).then_some(at_least);
        let before = self.timer.deadline();
        let deadline = clock::now().checked_add(time);
        let waited = self.read_body(deadline, enough).await;
        self.timer.set(before);
        self.decode_body_at_hand();
        // The head was understood: the reply is one of the exchange.
        waited.map_err(|refusal| Refusal {
            invalid: false,
            silent: refusal.ending.cause == Cause::Client,
            ..refusal
        })
    }

    /// Waits for the content of the response, or as much of it as a rule needs or a buffer holds. What is left of the
    /// request goes on meanwhile: the server may want it first.
    pub(super) async fn wait_for_response(
        &mut self,
        answered: &mut Answered,
        time: Duration,
        at_least: u64,
    ) -> Result<(), Refusal> {
        let before = self.timer.deadline();
        self.timer.set(clock::now().checked_add(time));
        let mut ended = false;
        loop {
            if !self.look_at_response(answered, ended) {
                break;
            }
            let heads = &*self.heads;
            let enough = at_least > 0 && heads.response_body.len() as u64 >= at_least;
            if heads.response_whole || enough || answered.server_input.is_full() {
                break;
            }
            if ended {
                return Err(Refusal::new(Cause::Server, Stage::Headers, 502));
            }
            if answered.server_input.capacity() == 0 {
                answered.server_input = Buffer::take();
            }
            let (control, timer) = (self.control, &mut *self.timer);
            let (socket, input) = (&mut answered.reached.socket, &mut answered.server_input);
            let (client, client_input) = (&mut self.session.client, &mut *self.input);
            let (request, request_done) = (&mut answered.request, &mut answered.request_done);
            // A request that breaks is found to be broken by who sends the response.
            let mut request_broke = false;
            let read = std::future::poll_fn(|cx| {
                if control.is_killed() {
                    return Poll::Ready(None);
                }
                if !*request_done && !request_broke {
                    match request.poll(cx, client, client_input, socket) {
                        Poll::Ready(Ok(())) => *request_done = true,
                        Poll::Ready(Err(_)) => request_broke = true,
                        Poll::Pending => {}
                    }
                }
                match socket.poll_read(cx, input.space()) {
                    Poll::Ready(read) => Poll::Ready(Some(read)),
                    Poll::Pending => timer.poll_expired(cx).map(|()| None),
                }
            })
            .await;
            match read {
                Some(Ok(0)) => ended = true,
                Some(Ok(n)) => answered.server_input.advance(n),
                Some(Err(_)) => return Err(Refusal::new(Cause::Server, Stage::Headers, 502)),
                None if self.control.is_killed() => {
                    return Err(Refusal::new(self.control.cause(), Stage::Headers, 503));
                }
                None => return Err(Refusal::new(Cause::ServerTimeout, Stage::Headers, 504)),
            }
        }
        self.timer.set(before);
        Ok(())
    }

    /// Shows rules as much of the response's content as is there. `false`: it has none.
    pub(super) fn look_at_response(&mut self, answered: &mut Answered, ended: bool) -> bool {
        let heads = &mut *self.heads;
        let bytes = answered.server_input.filled();
        heads.response_body.clear();
        heads.response_whole = match heads.response.body {
            BodyLength::None | BodyLength::Tunnel => return false,
            BodyLength::Length(length) => {
                let here = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
                heads.response_body.extend_from_slice(&bytes[..here]);
                here as u64 == length
            }
            BodyLength::UntilClose => {
                heads.response_body.extend_from_slice(bytes);
                ended
            }
            BodyLength::Chunked => {
                let rules = super::response_rules(answered.backend);
                let (whole, merged) = decode_chunks(bytes, rules, &mut heads.response_body);
                if let Some(merged) = merged {
                    answered.server_input.clear();
                    answered.server_input.append(&merged);
                }
                whole
            }
        };
        true
    }

    /// Decodes the chunks that are at hand, so that expressions can look at the body.
    pub(super) fn decode_body_at_hand(&mut self) {
        if self.heads.request.body != BodyLength::Chunked {
            return;
        }
        let heads = &mut *self.heads;
        heads.body.clear();
        let mut decoder = ChunkDecoder::new();
        let limits = super::request_rules(self.session.frontend);
        let mut rest = self.input.filled();
        heads.body_whole = loop {
            match decoder.decode(rest, &limits.limits, limits.strictness) {
                Ok((used, Decoded::Data(data))) => {
                    heads.body.extend_from_slice(&rest[data]);
                    rest = &rest[used..];
                }
                Ok((_, Decoded::Done)) => break true,
                Ok((_, Decoded::NeedMore)) | Err(_) => break false,
            }
        };
    }
}

/// How a wait ended.
pub(super) enum Waited {
    Over,
    /// The client is gone.
    Left,
    Killed,
}

/// Decodes the chunks in `bytes` into `out`: whether the last one is there, and then all of them as one chunk, which is
/// how HAProxy sends on what it held.
fn decode_chunks(bytes: &[u8], rules: crate::mux::Rules, out: &mut Vec<u8>) -> (bool, Option<Vec<u8>>) {
    let mut decoder = ChunkDecoder::new();
    let mut rest = bytes;
    loop {
        match decoder.decode(rest, &rules.limits, rules.strictness) {
            Ok((used, Decoded::Data(data))) => {
                out.extend_from_slice(&rest[data]);
                rest = &rest[used..];
            }
            Ok((used, Decoded::Done)) => {
                // Trailers and what is behind the message stay where they are.
                let merges = used == rest.len() && decoder.trailers().is_empty() && !out.is_empty();
                let merged = merges.then(|| {
                    let mut merged = format!("{:x}\r\n", out.len()).into_bytes();
                    merged.extend_from_slice(out);
                    merged.extend_from_slice(b"\r\n0\r\n\r\n");
                    merged
                });
                return (true, merged.filter(|merged| merged.len() <= bytes.len()));
            }
            Ok((_, Decoded::NeedMore)) | Err(_) => return (false, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use sockeye_http::h1::{Limits, Strictness};

    use super::*;

    #[test]
    fn chunks_that_were_waited_for_are_one() {
        let check = |bytes: &str, content: &str, whole: bool, merged: Option<&str>| {
            let rules = crate::mux::Rules { limits: Limits::default(), strictness: Strictness::Strict };
            let mut out = Vec::new();
            let decoded = decode_chunks(bytes.as_bytes(), rules, &mut out);
            assert_eq!(out, content.as_bytes(), "{bytes:?}");
            assert_eq!(decoded, (whole, merged.map(|merged| merged.as_bytes().to_vec())), "{bytes:?}");
        };
        check("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc", true, Some("3\r\nabc\r\n0\r\n\r\n"));
        check("0\r\n\r\n", "", true, None);
        check("1\r\na\r\n2\r\nb", "ab", false, None);
        check("1\r\na\r\n0\r\nx: y\r\n\r\n", "a", true, None);
        check("1\r\na\r\n0\r\n\r\nmore", "a", true, None);
        check("zz\r\n", "", false, None);
    }
}
