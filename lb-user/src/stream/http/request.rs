//! Bytes in: the head of a request, and its body as far as it has to be waited for.

use std::task::Poll;
use std::time::SystemTime;

use sockeye_conn::{Buffer, clock};
use sockeye_http::h1;
use sockeye_http::h1::ParseError;

use tokio::time::Instant;

use super::super::abort::{Cause, Ending, Stage};
use super::reply::send_raw;
use super::{Next, Refusal, Transaction, request_rules};
use crate::mux::outgoing::Arrival;
use crate::stats::Invalid;

/// What no request of HTTP/1 begins with, as much of it as is there when it is found not to be one.
const PREFACE_START: &[u8] = b"PRI * HTTP/2.0\r\n";

/// How the head of the request came in.
pub(super) enum Head {
    Complete,
    /// The client closed before its first byte.
    Nothing,
    /// The client speaks HTTP/2 without having been asked (RFC 9113 §3.3).
    Http2,
}

impl Transaction<'_> {
    /// Reads until the request's head is complete and valid.
    pub(super) async fn read_head(&mut self) -> Result<Head, Refusal> {
        let cfg = self.session.frontend.cfg;
        let mut rules = request_rules(self.session.frontend);
        rules.limits.translated = self.session.is_stream();
        let limit = cfg.timeout_http_request.or(cfg.timeout_client);
        // `timeout http-request` counts from the first byte of a request, or from accept for the first one.
        let from = if self.session.requests == 1 { self.session.accepted_at } else { self.facts.started_at };
        self.timer.set(limit.and_then(|limit| from.checked_add(limit)));
        loop {
            if !self.input.is_empty() {
                self.facts.received = true;
                match h1::parse_request(
                    self.input.filled(),
                    &mut self.heads.request,
                    &rules.limits,
                    rules.strictness,
                ) {
                    Ok(Some(used)) => {
                        self.input.consume(used);
                        return Ok(Head::Complete);
                    }
                    Ok(None) if self.input.is_full() => return Err(Refusal::invalid(Cause::Proxy, 400)),
                    Ok(None) => {}
                    Err(_) if self.is_preface() => return Ok(Head::Http2),
                    Err(error) => {
                        self.keep_invalid_request(&error);
                        return Err(Refusal::invalid(Cause::Proxy, error.status()));
                    }
                }
            }
            match self.read_more().await {
                Read::Some => {}
                // A connection that became HTTP must be HTTP: its end is no better than any other bytes.
                Read::End if self.session.upgraded && self.session.requests == 1 => {
                    return Err(Refusal::invalid(Cause::Proxy, 400));
                }
                Read::End if self.input.is_empty() => return Ok(Head::Nothing),
                Read::End | Read::Failed => return Err(Refusal::invalid(Cause::Client, 400)),
                Read::Late => return Err(Refusal::invalid(Cause::ClientTimeout, 408)),
                Read::Killed => return Err(Refusal::invalid(self.control.cause(), 500)),
            }
        }
    }

    /// Whether the connection begins with the preface of HTTP/2, where that is looked for.
    fn is_preface(&self) -> bool {
        self.session.requests == 1
            && self.session.listener.cfg.proto.is_none()
            && !self.session.frontend.cfg.options.disable_h2_upgrade
            && self.input.filled().starts_with(PREFACE_START)
    }

    pub(super) fn keep_invalid_request(&self, error: &ParseError) {
        self.session.frontend.last_invalid.keep(Invalid {
            when: SystemTime::now(),
            client: self.session.peer,
            other: None,
            server: None,
            bytes: self.input.filled().to_vec(),
            position: error.position,
            reason: error.to_string(),
        });
    }

    /// Reads once into the input buffer, within the timer.
    pub(super) async fn read_more(&mut self) -> Read {
        if self.input.capacity() == 0 {
            *self.input = Buffer::take();
        }
        std::future::poll_fn(|cx| {
            if self.control.is_killed() {
                return Poll::Ready(Read::Killed);
            }
            loop {
                match self.session.client.read_now(self.input.space()) {
                    Ok(Some(0)) => return Poll::Ready(Read::End),
                    Ok(Some(n)) => {
                        self.input.advance(n);
                        return Poll::Ready(Read::Some);
                    }
                    Ok(None) => {}
                    Err(_) => return Poll::Ready(Read::Failed),
                }
                if self.session.client.poll_read_ready(cx).is_pending() {
                    return self.timer.poll_expired(cx).map(|()| Read::Late);
                }
            }
        })
        .await
    }

    /// The client closed where a request could have begun. One that never sent any may still be there to read why it
    /// got nothing.
    pub(super) async fn nothing(mut self) -> Next {
        let options = &self.session.frontend.cfg.options;
        if self.session.requests == 1 && !options.http_ignore_probes {
            let reply = self.session.frontend.replies.raw(400);
            send_raw(self.session, &reply).await;
            if !options.dontlognull {
                self.facts.ending = Ending::new(Cause::Client, Stage::Request);
                self.facts.status = Some(400);
                self.log();
            }
        }
        Next::Close
    }

    /// `option http-buffer-request`: waits for the whole body, or as much of it as a buffer holds.
    pub(super) async fn buffer_body(&mut self) -> Result<(), Refusal> {
        let deadline = self.timer.deadline();
        self.read_body(deadline, None).await?;
        if self.heads.ruled {
            self.decode_body_at_hand();
        }
        Ok(())
    }

    /// Waits until `deadline` for the whole body, for as much as a buffer holds, or for `enough` bytes of it.
    pub(super) async fn read_body(
        &mut self,
        deadline: Option<Instant>,
        enough: Option<u64>,
    ) -> Result<(), Refusal> {
        self.timer.set(deadline);
        if self.heads.request.body.is_empty() {
            return Ok(());
        }
        if self.heads.request.expect_continue {
            send_raw(self.session, b"HTTP/1.1 100 Continue\r\n\r\n").await;
            self.heads.request.headers_mut().remove(b"expect");
            self.heads.request.expect_continue = false;
        }
        let rules = request_rules(self.session.frontend);
        let received_at = self.facts.received_at.take();
        let mut arrival = Arrival::default();
        while !arrival.is_whole(self.heads.request.body, self.input.filled(), rules)
            && enough.is_none_or(|enough| arrival.content() < enough)
            && !self.input.is_full()
        {
            match self.read_more().await {
                Read::Some => {}
                Read::End | Read::Failed => return Err(Refusal::invalid(Cause::Client, 400)),
                Read::Late => return Err(Refusal::invalid(Cause::ClientTimeout, 408)),
                Read::Killed => return Err(Refusal::invalid(self.control.cause(), 500)),
            }
        }
        self.facts.received_at = received_at.map(|_| clock::now());
        Ok(())
    }
}

/// How a read ended.
pub(super) enum Read {
    Some,
    End,
    Failed,
    Late,
    Killed,
}
