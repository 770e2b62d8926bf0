//! Proxies and servers by names that are known only at run time.

use sockeye_sample::{Converter, Number, ProxyNumber, Scene, ServerNumber, Target, Value};

pub(crate) static TABLE: &[Converter] = &[
    Converter::new("fe_exists", |value, _, scene| {
        Some(Value::Bool(scene.world.frontend_named(value.bytes()?).is_some()))
    }),
    Converter::new("nbsrv", |value, _, scene| {
        let backend = scene.world.backend_named(value.bytes()?)?;
        scene.world.proxy(Target::Backend(backend), ProxyNumber::UsableServers).map(Value::Int)
    }),
    Converter::new("srv_is_up", |value, _, scene| {
        server(&value, scene, ServerNumber::IsUp).map(|is_up| Value::Bool(is_up != 0))
    }),
    Converter::new("srv_queue", |value, _, scene| server(&value, scene, ServerNumber::Queue).map(Value::Int)),
];

/// A number of `[BACKEND/]SERVER`; without a backend, the one that the stream goes to.
fn server(name: &Value<'_>, scene: &Scene<'_>, what: ServerNumber) -> Option<i64> {
    let name = name.bytes()?;
    let (backend, server) = match memchr::memchr(b'/', name) {
        Some(at) => (scene.world.backend_named(&name[..at])?, &name[at + 1..]),
        None => (usize::try_from(scene.number(Number::BackendIndex)?).ok()?, name),
    };
    let server = scene.world.server_named(backend, server)?;
    scene.world.server(backend, server, what)
}
