//! One HTTP/1 exchange on the wire: the request goes out while the response comes in.
//!
//! Both are driven from the session's task. A server may answer before it has read the whole request, a client
//! may stop reading while it still sends: neither direction ever waits for the other.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use sockeye_conn::{Buffer, Socket, Timer, clock};
use sockeye_http::h1::{self, ParseError};
use sockeye_http::{RequestFacts, ResponseHead};

use super::Rules;
use super::outgoing::{MoveError, Outgoing};
use crate::frontend::worker::Control;

/// The two connections of an exchange and the messages between them.
#[derive(Debug)]
pub struct Exchange<'a> {
    pub client: &'a mut Socket,
    pub client_input: &'a mut Buffer,
    pub server: &'a mut Socket,
    pub server_input: &'a mut Buffer,
    pub timer: &'a mut Timer,
    pub control: &'a Control,
    pub timeout_client: Option<Duration>,
    pub timeout_server: Option<Duration>,
    pub request: &'a mut Outgoing,
    /// Whether all of the request has been sent.
    pub request_done: bool,
    /// The response, once its head is known; interim responses before it.
    pub response: Option<Outgoing>,
    /// Everything received from the server so far.
    pub received: u64,
    /// Whether the client may still be found to have reset its connection; false once it has sent more, or its end.
    watch_client: bool,
    /// Progress, and who waits for the receiver, when the timer was last set; `None` before the first wait: an
    /// exchange that has nothing to wait for sets none.
    mark: Option<(u64, bool, bool)>,
}

/// Which side failed, and how.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("client: {0}")]
    Client(MoveError),
    #[error("server: {0}")]
    Server(MoveError),
    #[error("the client is too slow")]
    ClientTimeout,
    #[error("the server is too slow")]
    ServerTimeout,
    #[error("invalid response: {0}")]
    InvalidResponse(ParseError),
    #[error("the response head does not fit the buffer")]
    ResponseTooLarge,
    #[error("more interim responses than are plausible")]
    TooManyInterim,
    #[error("ended from outside")]
    Killed,
}

impl<'a> Exchange<'a> {
    /// An exchange whose request is ready to be sent.
    #[allow(clippy::too_many_arguments, reason = "two connections have two of everything")]
    pub fn new(
        client: (&'a mut Socket, &'a mut Buffer),
        server: (&'a mut Socket, &'a mut Buffer),
        timer: &'a mut Timer,
        control: &'a Control,
        timeouts: (Option<Duration>, Option<Duration>),
        request: &'a mut Outgoing,
    ) -> Self {
        Self {
            client: client.0,
            client_input: client.1,
            server: server.0,
            server_input: server.1,
            timer,
            control,
            timeout_client: timeouts.0,
            timeout_server: timeouts.1,
            request,
            request_done: false,
            response: None,
            received: 0,
            watch_client: true,
            mark: None,
        }
    }

    /// Sends the request and reads until the head of a response is complete.
    pub async fn response_head(
        &mut self,
        head: &mut ResponseHead,
        facts: RequestFacts,
        rules: Rules,
    ) -> Result<(), Failure> {
        std::future::poll_fn(|cx| {
            self.poll_with_limits(cx, |exchange, cx| exchange.poll_head(cx, head, facts, rules))
        })
        .await
    }

    /// Sends the response that [`response`](Self::response) holds to its end. An interim one leaves the request
    /// going on; after a final one the request need not be complete.
    pub async fn finish_response(&mut self) -> Result<(), Failure> {
        self.mark = None;
        std::future::poll_fn(|cx| self.poll_with_limits(cx, Self::poll_response)).await
    }

    fn poll_with_limits(
        &mut self,
        cx: &mut Context<'_>,
        mut step: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<Result<(), Failure>>,
    ) -> Poll<Result<(), Failure>> {
        if self.control.is_killed() {
            return Poll::Ready(Err(Failure::Killed));
        }
        let asked = self.poll_request(cx);
        // A response that is there already explains a request that cannot be sent any more.
        if let Poll::Ready(done) = step(self, cx) {
            return Poll::Ready(done);
        }
        if let Poll::Ready(Err(failure)) = asked {
            return Poll::Ready(Err(failure));
        }
        if let Poll::Ready(error) = self.poll_client_reset(cx) {
            return Poll::Ready(Err(Failure::Client(MoveError::Read(error))));
        }
        let standing = self.standing();
        if self.mark != Some(standing) {
            self.mark = Some(standing);
            self.restart_timer();
        }
        if self.timer.poll_expired(cx).is_ready() {
            return Poll::Ready(Err(self.late()));
        }
        Poll::Pending
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.request_done {
            return Poll::Ready(Ok(()));
        }
        match self.request.poll(cx, self.client, self.client_input, self.server) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                self.request_done = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error @ MoveError::Write(_))) => Poll::Ready(Err(Failure::Server(error))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::Client(error))),
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
        facts: RequestFacts,
        rules: Rules,
    ) -> Poll<Result<(), Failure>> {
        let lost = |error| Failure::Server(MoveError::Read(error));
        loop {
            if !self.server_input.is_empty() {
                match h1::parse_response(
                    self.server_input.filled(),
                    head,
                    facts,
                    &rules.limits,
                    rules.strictness,
                ) {
                    Ok(Some(used)) => {
                        self.server_input.consume(used);
                        return Poll::Ready(Ok(()));
                    }
                    Ok(None) if self.server_input.is_full() => {
                        return Poll::Ready(Err(Failure::ResponseTooLarge));
                    }
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(Failure::InvalidResponse(error))),
                }
            }
            // A connection that waits for its server owns no buffer.
            match self.server.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(lost(error))),
            }
            if self.server_input.capacity() == 0 {
                *self.server_input = Buffer::take();
            }
            match self.server.read_now(self.server_input.space()) {
                // Not ready after all, which it now knows.
                Ok(None) => {}
                Ok(Some(0)) => return Poll::Ready(Err(Failure::Server(MoveError::Truncated))),
                Ok(Some(n)) => {
                    self.server_input.advance(n);
                    self.received += n as u64;
                }
                Err(error) => return Poll::Ready(Err(lost(error))),
            }
        }
    }

    /// Ready when the client, whose request is complete, has reset its connection. Its end alone is no reason to
    /// stop: it may wait for the response all the same.
    fn poll_client_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.request_done || !self.watch_client {
            return Poll::Pending;
        }
        match self.client.poll_peek(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(_)) => {
                self.watch_client = false;
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(error),
        }
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Some(response) = &mut self.response else { return Poll::Ready(Ok(())) };
        match response.poll(cx, self.server, self.server_input, self.client) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error @ MoveError::Write(_))) => Poll::Ready(Err(Failure::Client(error))),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::Server(error))),
        }
    }

    fn progress(&self) -> u64 {
        self.request.moved()
            + self.received
            + self.response.as_ref().map_or(0, Outgoing::moved)
            + u64::from(self.request_done)
    }

    /// What the limit in force depends on.
    fn standing(&self) -> (u64, bool, bool) {
        let response = self.response.as_ref().is_some_and(Outgoing::is_blocked);
        (self.progress(), self.request.is_blocked(), response)
    }

    fn restart_timer(&mut self) {
        let limit = self.limit().map(|(limit, _)| limit);
        self.timer.set(limit.and_then(|limit| clock::now().checked_add(limit)));
    }

    /// The shorter of the limits on what the two directions wait for, and whose it is.
    fn limit(&self) -> Option<(Duration, Failure)> {
        let client = || self.timeout_client.map(|limit| (limit, Failure::ClientTimeout));
        let server = || self.timeout_server.map(|limit| (limit, Failure::ServerTimeout));
        let request = match (self.request_done, self.request.is_blocked()) {
            (true, _) => None,
            (false, true) => server(),
            (false, false) => client(),
        };
        let response = match &self.response {
            Some(response) if response.is_blocked() => client(),
            Some(_) => server(),
            // The server need not answer before it has the request.
            None if self.request_done => server(),
            None => None,
        };
        match (request, response) {
            (Some(request), Some(response)) => Some(if response.0 < request.0 { response } else { request }),
            (limit, None) | (None, limit) => limit,
        }
    }

    fn late(&self) -> Failure {
        self.limit().map_or(Failure::ServerTimeout, |(_, failure)| failure)
    }
}
