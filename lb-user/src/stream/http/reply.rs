//! Replies of our own, and closing a connection without losing them.

use std::time::Duration;

use sockeye_config::model::ConnectionMode;
use sockeye_conn::clock;
use sockeye_http::h1::{ChunkDecoder, ConnectionHeader, Decoded, EncodeOptions};
use sockeye_http::{BodyLength, Version, h1};

use super::super::abort::Cause;
use super::request::Read;
use super::{Next, Refusal, Transaction, request_rules};
use crate::frontend::session::{LINGER_BYTES_MAX, LINGER_LIMIT, Session};
use crate::frontend::worker;
use crate::services::replies::Reply;

/// How long a reply of ours may take to be accepted by the client's socket.
const REPLY_LIMIT: Duration = Duration::from_secs(10);

impl Transaction<'_> {
    /// Answers with an error and decides about the connection.
    pub(super) async fn refuse(&mut self, refusal: Refusal) -> Next {
        self.facts.ending = refusal.ending;
        self.facts.ended_at = Some(clock::now());
        self.control.server.set(None);
        if matches!(refusal.ending.cause, Cause::Killed | Cause::Down) {
            self.log_unless_logged();
            return Next::Close;
        }
        let replies = match self.facts.backend {
            Some(backend) if backend.replies.has(refusal.status) => &backend.replies,
            _ => &self.session.frontend.replies,
        };
        if refusal.invalid {
            let silent = refusal.status == 408 && self.session.frontend.cfg.options.http_ignore_probes;
            if !silent {
                self.facts.status = Some(refusal.status);
                let reply = replies.raw(refusal.status);
                // Not counted as downloaded: the reply belongs to no exchange.
                send_raw(self.session, &reply).await;
            }
            self.log_unless_logged();
            return Next::Linger;
        }
        if refusal.silent {
            self.log_unless_logged();
            return Next::Close;
        }
        let consumed = self.request_read || self.heads.request.body.is_empty() || self.take_body_at_hand();
        if let Some(reply) = refusal.reply {
            return self.answer(&reply, consumed).await;
        }
        let reply = self.own_reply(refusal.status);
        self.answer(&reply, consumed).await
    }

    /// Takes the body of the request from the buffer if all of it is there, so that the next request may follow.
    fn take_body_at_hand(&mut self) -> bool {
        if self.encoded {
            // What is left of it belongs to the message on its way to the server.
            return false;
        }
        match self.heads.request.body {
            BodyLength::Length(length) => {
                let Some(length) = usize::try_from(length).ok().filter(|length| *length <= self.input.len())
                else {
                    return false;
                };
                self.input.consume(length);
                true
            }
            BodyLength::Chunked => {
                let rules = request_rules(self.session.frontend);
                let mut decoder = ChunkDecoder::new();
                let mut used = 0;
                loop {
                    match decoder.decode(&self.input.filled()[used..], &rules.limits, rules.strictness) {
                        Ok((n, Decoded::Data(_))) => used += n,
                        Ok((n, Decoded::Done)) => {
                            self.input.consume(used + n);
                            return true;
                        }
                        Ok((_, Decoded::NeedMore)) | Err(_) => return false,
                    }
                }
            }
            _ => false,
        }
    }

    /// Sends a reply of our own. `whole` is whether the request has been read to its end.
    pub(super) async fn answer(&mut self, reply: &Reply, whole: bool) -> Next {
        let mode = self.session.frontend.cfg.options.connection;
        if reply.silent {
            return self.say_nothing(reply);
        }
        let mut out = self.heads.take_response_bytes();
        let is_11 = self.heads.request.version() >= Version::Http11;
        let mut ruled = self.has_after_rules();
        let failed;
        let mut reply = reply;
        if ruled {
            reply.fill(&mut self.heads.response);
            if Box::pin(self.after_response_rules()).await.is_err() {
                // No rule changes this one.
                failed = self.own_reply(500);
                reply = &failed;
                ruled = false;
                if reply.silent {
                    return self.say_nothing(reply);
                }
            }
        }
        let (status, closes) = match ruled {
            true => {
                (self.heads.response.status(), reply.closes || self.heads.response.headers().asks_close())
            }
            false => (reply.status, reply.closes),
        };
        let may_keep = !closes
            && self.heads.request.keep_alive
            && mode != ConnectionMode::Close
            // Clients take a rule's 1xx for one that another response follows.
            && status >= 200
            && !worker::is_stopping();
        let keeps = whole && may_keep;
        let drains = may_keep
            && !self.encoded
            // Whether a client that has not been told to go on sends its body is anybody's guess (RFC 9110 §10.1.1).
            && !self.heads.request.expect_continue
            && !self.session.is_stream();
        // HAProxy announces the end only of connections whose requests were read whole; so do clients know it.
        let announces = !keeps && (whole || self.encoded || closes);
        let shown = if ruled { status } else { reply.shown };
        let head_only = self.expects_no_body(shown);
        if ruled {
            let connection = match (!announces, is_11) {
                (false, _) => ConnectionHeader::Close,
                (true, false) => ConnectionHeader::KeepAlive,
                (true, true) => ConnectionHeader::None,
            };
            h1::encode_response(&self.heads.response, &mut out, EncodeOptions { connection });
            if !head_only {
                out.extend_from_slice(reply.body());
            }
        } else {
            reply.encode(!announces, is_11, head_only, &mut out);
        }
        self.facts.status = Some(status);
        self.facts.downloaded = send_raw(self.session, &out).await;
        self.heads.give_response_bytes(out);
        let now = clock::now();
        self.facts.ended_at = Some(now);
        self.session.idle_since = now;
        self.session.handshake = Duration::ZERO;
        self.log_unless_logged();
        match (keeps, whole) {
            (true, _) => Next::KeepAlive,
            (false, true) => self.close_or_linger(),
            (false, false) if drains && Box::pin(self.drain()).await => {
                self.session.idle_since = clock::now();
                Next::KeepAlive
            }
            (false, false) => Next::Linger,
        }
    }

    /// The end of a request whose reply is an empty file.
    fn say_nothing(&mut self, reply: &Reply) -> Next {
        self.facts.status = Some(reply.status);
        self.log_unless_logged();
        Next::Close
    }

    /// Takes the rest of a body that nobody wants, within limits, so that the next request may follow. Returns whether
    /// that is all of it.
    async fn drain(&mut self) -> bool {
        let rules = request_rules(self.session.frontend);
        let body = self.heads.request.body;
        let mut decoder = ChunkDecoder::new();
        let mut taken = 0;
        self.timer.set(clock::now().checked_add(LINGER_LIMIT));
        loop {
            match body {
                BodyLength::None | BodyLength::UntilClose | BodyLength::Tunnel => return false,
                BodyLength::Length(length) => {
                    let here = usize::try_from(length - taken).unwrap_or(usize::MAX).min(self.input.len());
                    self.input.consume(here);
                    taken += here as u64;
                    if taken == length {
                        return true;
                    }
                }
                BodyLength::Chunked => {
                    match decoder.decode(self.input.filled(), &rules.limits, rules.strictness) {
                        Ok((used, decoded)) => {
                            self.input.consume(used);
                            taken += used as u64;
                            match decoded {
                                Decoded::Done => return true,
                                Decoded::Data(_) if taken < LINGER_BYTES_MAX as u64 => continue,
                                Decoded::Data(_) => return false,
                                Decoded::NeedMore => {}
                            }
                        }
                        Err(_) => return false,
                    }
                }
            }
            if taken >= LINGER_BYTES_MAX as u64 || !matches!(self.read_more().await, Read::Some) {
                return false;
            }
        }
    }
}

/// Sends bytes of our own; returns how many were accepted.
pub(super) async fn send_raw(session: &mut Session, bytes: &[u8]) -> u64 {
    let mut sent = 0;
    let sending = async {
        while sent < bytes.len() {
            match std::future::poll_fn(|cx| session.client.poll_write(cx, &bytes[sent..])).await {
                Ok(n) if n > 0 => sent += n,
                _ => break,
            }
        }
    };
    // A client that does not take a reply of a few hundred bytes is gone or hostile.
    let _ = tokio::time::timeout(REPLY_LIMIT, sending).await;
    sent as u64
}
