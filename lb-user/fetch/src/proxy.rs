//! Frontends, backends and servers as numbers that change (manual 7.3.2): `be_conn`, `nbsrv`, `srv_is_up`…

use sockeye_sample::{Arg, Fetch, ProxyNumber, Scene, ServerNumber, Target, Value};

/// Each takes the name of its proxy or server; a proxy that is not named is the one in which the expression stands.
pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("avg_queue", |scene, args| proxy(scene, args, ProxyNumber::QueueAverage)),
    Fetch::new("be_conn", |scene, args| proxy(scene, args, ProxyNumber::Connections)),
    Fetch::new("be_conn_free", |scene, args| proxy(scene, args, ProxyNumber::ServerConnectionsFree)),
    Fetch::new("be_sess_rate", |scene, args| proxy(scene, args, ProxyNumber::SessionRate)),
    Fetch::new("connslots", |scene, args| proxy(scene, args, ProxyNumber::ConnectionSlots)),
    Fetch::new("fe_conn", |scene, args| proxy(scene, args, ProxyNumber::Connections)),
    Fetch::new("fe_req_rate", |scene, args| proxy(scene, args, ProxyNumber::RequestRate)),
    Fetch::new("fe_sess_rate", |scene, args| proxy(scene, args, ProxyNumber::SessionRate)),
    Fetch::new("nbsrv", |scene, args| proxy(scene, args, ProxyNumber::UsableServers)),
    Fetch::new("queue", |scene, args| proxy(scene, args, ProxyNumber::Queue)),
    Fetch::new("srv_conn", |scene, args| server(scene, args, ServerNumber::Connections)),
    Fetch::new("srv_conn_free", |scene, args| server(scene, args, ServerNumber::ConnectionsFree)),
    Fetch::new("srv_is_up", |scene, args| {
        server(scene, args, ServerNumber::IsUp)?.to_int().map(|up| Value::Bool(up != 0))
    }),
    Fetch::new("srv_iweight", |scene, args| server(scene, args, ServerNumber::InitialWeight)),
    Fetch::new("srv_queue", |scene, args| server(scene, args, ServerNumber::Queue)),
    Fetch::new("srv_sess_rate", |scene, args| server(scene, args, ServerNumber::SessionRate)),
    Fetch::new("srv_uweight", |scene, args| server(scene, args, ServerNumber::UserWeight)),
    Fetch::new("srv_weight", |scene, args| server(scene, args, ServerNumber::Weight)),
];

fn proxy<'a>(scene: &Scene<'a>, args: &[Arg], what: ProxyNumber) -> Option<Value<'a>> {
    scene.world.proxy(args.first()?.target()?, what).map(Value::Int)
}

fn server<'a>(scene: &Scene<'a>, args: &[Arg], what: ServerNumber) -> Option<Value<'a>> {
    let Target::Server { backend, server } = args.first()?.target()? else { return None };
    scene.world.server(backend, server, what).map(Value::Int)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check};

    #[test]
    fn numbers() {
        check(
            &Case::default(),
            &[
                ("fe_conn", Some("21")),
                ("fe_conn(fe)", Some("21")),
                ("be_conn(be)", Some("22")),
                ("nbsrv(be)", Some("2")),
                ("connslots(be)", Some("-1")),
                ("queue(be)", None),
                ("srv_is_up(be/s1)", Some("1")),
                ("srv_weight(be/s1)", Some("100")),
                ("srv_conn(be/s1)", None),
            ],
        );
    }
}
