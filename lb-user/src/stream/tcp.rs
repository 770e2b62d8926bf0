//! The stages of `mode tcp`: a backend, a server, bytes both ways, a log line.

use std::task::Poll;

use sockeye_config::model::Mode;
use sockeye_conn::{Buffer, clock};
use sockeye_sample::{Bytes, Stage as RuleStage};

use super::abort::{Cause, Ending, Stage};
use super::balance_key;
use super::capture::Captured;
use super::duplex::{self, DuplexOutcome, DuplexTimeouts, Upload};
use super::log::{self, Facts};
use super::proxy_header::Told;
use super::retry::{self, Attempts, Begun, Want};
use super::rules::decided::Decided;
use super::rules::scene::View;
use super::rules::tcp::{Content, Inspected, ServerSide};
use super::rules::{chosen_backend, chosen_server};
use crate::backend::Backend;
use crate::backend::assign::Wish;
use crate::frontend::session::Session;
use crate::frontend::worker::Control;
use crate::stats::PROCESS;

/// Carries one client connection to a server and back. With `switch-mode http` or a backend of `mode http`, hands back
/// the session and what was read of it.
pub async fn serve(mut session: Box<Session>, control: &Control) -> Option<(Box<Session>, Buffer)> {
    let mut facts = Facts::new(&session);
    facts.number = PROCESS.streams.next();
    log::connect(&session);
    let mut attempts = Attempts::default();
    let mut decided = Decided::default();
    let mut input = Buffer::none();
    let frontend = session.frontend;
    if frontend.ruled {
        facts.captured = Captured::empty(&frontend.cfg.captures);
        let rules = &frontend.cfg.rules;
        let mut inspected = Inspected {
            session: &mut session,
            facts: &mut facts,
            attempts: &attempts,
            decided: &mut decided,
            input: &mut input,
            control,
            server: None,
        };
        let stage = RuleStage::FrontendRequestContent;
        let content = Box::pin(inspected.run(&rules.tcp_content, stage, rules.inspect_delay)).await;
        if content == Content::Http {
            return Some((session, input));
        }
        if !admitted(content, &session, &mut facts, &attempts, &decided, control, &input) {
            return None;
        }
    }
    let backend = if frontend.ruled {
        let view = View { session: &session, facts: &facts, attempts: &attempts, decided: &decided };
        let bytes = Bytes { bytes: input.filled(), closed: true, waited: true };
        chosen_backend(&view, None, Some(bytes))
    } else {
        frontend.backend
    };
    // Only a name made by a format string leads to one whose servers get packets.
    let Some(backend) = backend.filter(|backend| backend.cfg.mode != Mode::Packet) else {
        facts.ending = Ending::new(Cause::Server, Stage::Connect);
        facts.received = !input.is_empty() || take_request(&mut session).await;
        log::stream(&session, &facts, &attempts, None, &decided);
        return None;
    };
    if backend.cfg.mode == Mode::Http {
        return Some((session, input));
    }
    facts.enter_backend(backend);
    let own = frontend.backend_is_own() && backend.is_listen() && frontend.name() == backend.name();
    let mut chosen = None;
    if backend.ruled {
        if !own {
            let rules = &backend.cfg.rules;
            let mut inspected = Inspected {
                session: &mut session,
                facts: &mut facts,
                attempts: &attempts,
                decided: &mut decided,
                input: &mut input,
                control,
                server: None,
            };
            let stage = RuleStage::BackendRequestContent;
            let content = Box::pin(inspected.run(&rules.tcp_content, stage, rules.inspect_delay)).await;
            if !admitted(content, &session, &mut facts, &attempts, &decided, control, &input) {
                return None;
            }
        }
        let view = View { session: &session, facts: &facts, attempts: &attempts, decided: &decided };
        let bytes = Bytes { bytes: input.filled(), closed: true, waited: true };
        chosen = chosen_server(&view, backend, None, Some(bytes));
    }
    attempts.obey(&decided);
    let key = balance_key::tcp(&backend.cfg.balance, &session.peer);
    let priority = decided.priority();
    let wish = Wish { key: key.as_deref(), chosen, priority, ..Wish::default() };
    let told = Told { facts: &facts, decided: &decided, request: None };
    let want = Want { wish, reuse: None, told };
    let reached = retry::reach(&mut session, backend, want, &mut attempts, Begun::Nothing).await;
    let mut reached = match reached {
        Ok(reached) => reached,
        Err(unreached) => {
            facts.received = !input.is_empty() || take_request(&mut session).await;
            facts.leave_backend();
            facts.ending = unreached.ending;
            facts.server = unreached.server;
            log::stream(&session, &facts, &attempts, None, &decided);
            return None;
        }
    };
    let server = reached.slot.server();
    control.server.set(Some(server.id));
    facts.use_server(server);
    facts.keep_server_ends(&session, &reached.socket);
    if session.frontend.cfg.options.logasap {
        log::stream(&session, &facts, &attempts, None, &decided);
    }
    let limits = timeouts(&session, backend, &decided);
    let policies = frontend.relay_policies(backend);
    let rules = &backend.cfg.rules;
    let outcome = if rules.tcp_response.is_empty() {
        let first = (input, Buffer::none());
        duplex::run(&mut session.client, &mut reached.socket, first, policies, limits, control).await
    } else {
        let mut upload = Upload::new(policies, input);
        let mut response = Buffer::take();
        decided.begin_response();
        let mut inspected = Inspected {
            session: &mut session,
            facts: &mut facts,
            attempts: &attempts,
            decided: &mut decided,
            input: &mut response,
            control,
            server: Some(ServerSide { socket: &mut reached.socket, upload: &mut upload }),
        };
        let stage = RuleStage::BackendResponseContent;
        let delay = rules.response_inspect_delay;
        let content = Box::pin(inspected.run(&rules.tcp_response, stage, delay)).await;
        let mut outcome = DuplexOutcome {
            ending: Ending::default(),
            uploaded: upload.moved(),
            // What was read counts, as in HAProxy, even if the client does not get it.
            downloaded: response.len() as u64,
        };
        let (client, server) = (&mut session.client, &mut reached.socket);
        match content {
            Content::Accepted | Content::Http => {
                duplex::run_behind(client, server, (upload, response), policies, limits, control).await
            }
            Content::Closed => {
                duplex::send_last(client, server, response, policies, limits.client, control).await;
                outcome
            }
            Content::Rejected | Content::Dropped | Content::ClientGone => {
                outcome.ending = Ending::new(Cause::Proxy, Stage::Data);
                outcome
            }
            Content::Killed => {
                outcome.ending = Ending::new(control.cause(), Stage::Data);
                outcome
            }
            Content::Over(ending) => {
                outcome.ending = ending;
                outcome
            }
        }
    };
    control.server.set(None);
    close(&session, &facts, outcome.ending);
    let vacancy = reached.slot.vacate();
    drop(reached.socket);
    finish(&session, facts, &attempts, outcome, &decided);
    drop(vacancy);
    None
}

/// Whether the stream goes on after its rules; if not, it is logged.
fn admitted(
    content: Content,
    session: &Session,
    facts: &mut Facts,
    attempts: &Attempts,
    decided: &Decided,
    control: &Control,
    input: &Buffer,
) -> bool {
    facts.ending = match content {
        Content::Accepted | Content::Http => return true,
        Content::Rejected | Content::Dropped => Ending::new(Cause::Proxy, Stage::Request),
        Content::ClientGone => Ending::new(Cause::Client, Stage::Request),
        Content::Closed => Ending::default(),
        Content::Over(ending) => ending,
        Content::Killed => Ending::new(control.cause(), Stage::Request),
    };
    facts.received = !input.is_empty();
    facts.ended_at = Some(clock::now());
    facts.leave_backend();
    log::stream(session, facts, attempts, None, decided);
    false
}

fn finish(
    session: &Session,
    mut facts: Facts,
    attempts: &Attempts,
    outcome: DuplexOutcome,
    decided: &Decided,
) {
    facts.ending = outcome.ending;
    facts.uploaded = outcome.uploaded;
    facts.downloaded = outcome.downloaded;
    facts.ended_at = Some(clock::now());
    facts.leave_backend();
    if !session.frontend.cfg.options.logasap {
        log::stream(session, &facts, attempts, None, decided);
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

fn timeouts(session: &Session, backend: &Backend, decided: &Decided) -> DuplexTimeouts {
    let fe = session.frontend.cfg;
    let be = backend.cfg;
    let rules = &decided.timeouts;
    let tunnel = rules.tunnel.or(be.timeout_tunnel);
    DuplexTimeouts {
        client: tunnel.or(rules.client).or(fe.timeout_client),
        server: tunnel.or(rules.server).or(be.timeout_server),
        client_fin: fe.timeout_client_fin,
        server_fin: be.timeout_server_fin,
    }
}
