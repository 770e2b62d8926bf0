//! The stages of `mode tcp`: a backend, a server, bytes both ways, a log line.

use std::task::Poll;

use sockeye_conn::{Buffer, clock};

use super::abort::{Cause, Ending, Stage};
use super::balance_key;
use super::duplex::{self, DuplexOutcome, DuplexTimeouts};
use super::log::{self, Facts};
use super::retry::{self, Attempts, Begun, Want};
use crate::backend::Backend;
use crate::backend::assign::Wish;
use crate::frontend::session::Session;
use crate::frontend::worker::Control;
use crate::stats::PROCESS;

/// Carries one client connection to a server and back.
pub async fn serve(mut session: Box<Session>, control: &Control) {
    let mut facts = Facts::new(&session);
    facts.number = PROCESS.streams.next();
    log::connect(&session);
    let mut attempts = Attempts::default();
    let Some(backend) = session.frontend.backend else {
        facts.ending = Ending::new(Cause::Server, Stage::Connect);
        facts.received = take_request(&mut session).await;
        log::stream(&session, &facts, &attempts, None);
        return;
    };
    facts.enter_backend(backend);
    let key = balance_key::tcp(&backend.cfg.balance, &session.peer);
    let wish = Wish { key: key.as_deref(), ..Wish::default() };
    let reached =
        retry::reach(&mut session, backend, Want { wish, reuse: None }, &mut attempts, Begun::Nothing).await;
    let mut reached = match reached {
        Ok(reached) => reached,
        Err(unreached) => {
            facts.received = take_request(&mut session).await;
            facts.leave_backend();
            facts.ending = unreached.ending;
            facts.server = unreached.server;
            log::stream(&session, &facts, &attempts, None);
            return;
        }
    };
    let server = reached.slot.server();
    control.server.set(Some(server.id));
    facts.use_server(server);
    facts.keep_server_ends(&session, &reached.socket);
    if session.frontend.cfg.options.logasap {
        log::stream(&session, &facts, &attempts, None);
    }
    let limits = timeouts(&session, backend);
    let outcome = duplex::run(
        &mut session.client,
        &mut reached.socket,
        (Buffer::none(), Buffer::none()),
        &session.frontend.relay,
        limits,
        control,
    )
    .await;
    control.server.set(None);
    close(&session, &facts, outcome.ending);
    let vacancy = reached.slot.vacate();
    drop(reached.socket);
    finish(&session, facts, &attempts, outcome);
    drop(vacancy);
}

fn finish(session: &Session, mut facts: Facts, attempts: &Attempts, outcome: DuplexOutcome) {
    facts.ending = outcome.ending;
    facts.uploaded = outcome.uploaded;
    facts.downloaded = outcome.downloaded;
    facts.ended_at = Some(clock::now());
    facts.leave_backend();
    if !session.frontend.cfg.options.logasap {
        log::stream(session, &facts, attempts, None);
    }
}

/// Takes what the client has sent in vain, as much as a buffer holds: closing with unread bytes would reset the
/// connection instead of ending it. Returns whether there was anything.
async fn take_request(session: &mut Session) -> bool {
    let mut buffer = Buffer::take();
    std::future::poll_fn(|cx| match session.client.poll_read(cx, buffer.space()) {
        Poll::Ready(Ok(length)) => Poll::Ready(length > 0),
        Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(false),
    })
    .await
}

fn close(session: &Session, facts: &Facts, ending: Ending) {
    let nolinger = facts.backend.is_some_and(|backend| backend.cfg.options.nolinger);
    if nolinger || matches!(ending.cause, Cause::Killed | Cause::Down) {
        session.client.reset_on_close();
    }
}

fn timeouts(session: &Session, backend: &Backend) -> DuplexTimeouts {
    let fe = session.frontend.cfg;
    let be = backend.cfg;
    DuplexTimeouts {
        client: be.timeout_tunnel.or(fe.timeout_client),
        server: be.timeout_tunnel.or(be.timeout_server),
        client_fin: fe.timeout_client_fin,
        server_fin: be.timeout_server_fin,
    }
}
