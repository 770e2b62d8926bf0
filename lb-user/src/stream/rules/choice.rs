//! Which backend and which server rules choose.

use std::cell::OnceCell;

use sockeye_http::RequestHead;
use sockeye_rules::{BackendName, ServerName};
use sockeye_sample::{Format, Stage, Target, Verdict};

use super::scene::View;
use super::world;
use crate::backend::assign::Named;
use crate::backend::{Backend, Server};

/// Whether `condition` holds now.
pub fn holds(
    condition: Option<&sockeye_sample::Condition>,
    view: &View<'_>,
    request: Option<&RequestHead>,
    buffer: Option<sockeye_sample::Bytes<'_>>,
    stage: Stage,
) -> bool {
    let Some(condition) = condition else { return true };
    let sniffed = OnceCell::new();
    let mut scene = view.scene(stage);
    scene.request = request;
    scene.buffer = buffer;
    scene.sniffed = buffer.is_some().then_some(&sniffed);
    condition.eval(&scene) == Verdict::Pass
}

/// The backend of the first `use_backend` rule that holds, or the default one.
pub fn chosen_backend(
    view: &View<'_>,
    request: Option<&RequestHead>,
    buffer: Option<sockeye_sample::Bytes<'_>>,
) -> Option<&'static Backend> {
    let frontend = view.session.frontend;
    for rule in &frontend.cfg.rules.use_backend {
        if !holds(rule.condition.as_ref(), view, request, buffer, Stage::FrontendUseBackend) {
            continue;
        }
        match &rule.target {
            BackendName::Static(name) => {
                if let Some(Target::Backend(index)) = name.target() {
                    return world::world().backend(index);
                }
            }
            BackendName::Dynamic(format) => {
                let name = written(format, view, request, buffer, Stage::FrontendUseBackend);
                // A name that no backend has ends the search, as HAProxy's does.
                return world::world().find_backend(&name).or(frontend.backend);
            }
        }
    }
    frontend.backend
}

/// The server of the first `use-server` rule that holds and whose server may be used; servers that are down may be
/// where `force-persist` holds.
pub fn chosen_server(
    view: &View<'_>,
    backend: &'static Backend,
    request: Option<&RequestHead>,
    buffer: Option<sockeye_sample::Bytes<'_>>,
) -> Option<Named> {
    let rules = &backend.cfg.rules;
    for rule in &rules.use_server {
        if !holds(rule.condition.as_ref(), view, request, buffer, Stage::BackendServerChoice) {
            continue;
        }
        let index = match &rule.target {
            ServerName::Static(name) => match name.target() {
                Some(Target::Server { server, .. }) => Some(server),
                _ => None,
            },
            ServerName::Dynamic(format) => {
                let name = written(format, view, request, buffer, Stage::BackendServerChoice);
                let named = |server: &Server| server.name().as_bytes() == name;
                // A name that no server has ends the search, as HAProxy's does.
                Some(backend.servers.iter().position(named)?)
            }
        };
        let Some(index) = index else { continue };
        if backend.servers[index].is_up() {
            return Some(Named { index, forced: false });
        }
        if forced(view, backend, request, buffer) {
            return Some(Named { index, forced: true });
        }
    }
    None
}

/// Whether the first persistence rule that holds is a `force-persist`.
fn forced(
    view: &View<'_>,
    backend: &'static Backend,
    request: Option<&RequestHead>,
    buffer: Option<sockeye_sample::Bytes<'_>>,
) -> bool {
    let mut rules = backend.cfg.rules.persist.iter();
    let rule =
        rules.find(|rule| holds(Some(&rule.condition), view, request, buffer, Stage::BackendServerChoice));
    rule.is_some_and(|rule| rule.force)
}

fn written(
    format: &Format,
    view: &View<'_>,
    request: Option<&RequestHead>,
    buffer: Option<sockeye_sample::Bytes<'_>>,
    stage: Stage,
) -> Vec<u8> {
    let mut scene = view.scene(stage);
    scene.request = request;
    scene.buffer = buffer;
    let mut out = Vec::new();
    view.write(format, &scene, request, &mut out);
    out
}
