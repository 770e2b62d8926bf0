//! The name that a server behind TLS is asked for (`sni`).

use sockeye_sample::{Stage, Type, Value};

use super::proxy_header::Told;
use super::retry::Attempts;
use super::rules::scene::View;
use crate::backend::Server;
use crate::frontend::session::Session;

/// The name that a server is asked for, and that its certificate must have (`sni`). `None`: none.
pub fn server_name(
    server: &Server,
    session: &Session,
    attempts: &Attempts,
    told: Told<'_>,
) -> Option<String> {
    let expr = server.cfg.sni.as_ref().filter(|_| server.cfg.ssl)?;
    let view = View { session, facts: told.facts, attempts, decided: told.decided };
    let mut scene = view.scene(Stage::ServerSource);
    scene.request = told.request;
    match expr.eval_as(Type::Str, &scene)? {
        Value::Str(name) if !name.is_empty() => std::str::from_utf8(&name).ok().map(str::to_owned),
        _ => None,
    }
}
