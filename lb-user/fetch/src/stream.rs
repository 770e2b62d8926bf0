//! The stream and what it belongs to (manual 7.3.2, 7.3.3): names, timeouts, timers, dates, bytes.

use std::time::UNIX_EPOCH;

use sockeye_sample::{Arg, Date, Fetch, Number, Scene, Text, Value};

use crate::arguments::{self, only_unit};
use crate::process::in_units;

/// What the stream knows about itself.
pub(crate) static FETCHES: &[Fetch] = &[
    // Who is involved.
    Fetch::new("be_id", |scene, _| number(scene, Number::BackendId)),
    Fetch::new("be_name", |scene, _| text(scene, Text::BackendName)),
    Fetch::new("dst_conn", |scene, _| number(scene, Number::ListenerConnections)),
    Fetch::new("fe_defbe", |scene, _| text(scene, Text::DefaultBackend)),
    Fetch::new("fe_id", |scene, _| number(scene, Number::FrontendId)),
    Fetch::new("fe_name", |scene, _| text(scene, Text::FrontendName)),
    Fetch::new("so_id", |scene, _| number(scene, Number::ListenerId)),
    Fetch::new("so_name", |scene, _| text(scene, Text::ListenerName)),
    Fetch::new("srv_id", |scene, _| number(scene, Number::ServerId)),
    Fetch::new("srv_name", |scene, _| text(scene, Text::ServerName)),
    // Timeouts, in milliseconds.
    Fetch::new("be_connect_timeout", |scene, _| number(scene, Number::BackendConnectTimeout)),
    Fetch::new("be_queue_timeout", |scene, _| number(scene, Number::BackendQueueTimeout)),
    Fetch::new("be_server_timeout", |scene, _| number(scene, Number::BackendServerTimeout)),
    Fetch::new("be_tarpit_timeout", |scene, _| number(scene, Number::BackendTarpitTimeout)),
    Fetch::new("be_tunnel_timeout", |scene, _| number(scene, Number::BackendTunnelTimeout)),
    Fetch::new("cur_client_timeout", |scene, _| number(scene, Number::ClientTimeout)),
    Fetch::new("cur_connect_timeout", |scene, _| number(scene, Number::ConnectTimeout)),
    Fetch::new("cur_queue_timeout", |scene, _| number(scene, Number::QueueTimeout)),
    Fetch::new("cur_server_timeout", |scene, _| number(scene, Number::ServerTimeout)),
    Fetch::new("cur_tarpit_timeout", |scene, _| number(scene, Number::TarpitTimeout)),
    Fetch::new("cur_tunnel_timeout", |scene, _| number(scene, Number::TunnelTimeout)),
    Fetch::new("fe_client_timeout", |scene, _| number(scene, Number::FrontendClientTimeout)),
    Fetch::new("fe_tarpit_timeout", |scene, _| number(scene, Number::FrontendTarpitTimeout)),
    // Retries and queues.
    Fetch::new("bc_be_queue", |scene, _| number(scene, Number::BackendQueue)),
    Fetch::new("bc_srv_queue", |scene, _| number(scene, Number::ServerQueue)),
    Fetch::new("be_max_retries", |scene, _| number(scene, Number::BackendMaxRetries)),
    Fetch::new("cur_max_retries", |scene, _| number(scene, Number::MaxRetries)),
    Fetch::new("prio_class", |scene, _| number(scene, Number::PriorityClass)),
    Fetch::new("prio_offset", |scene, _| number(scene, Number::PriorityOffset)),
    Fetch::new("txn.conn_retries", |scene, _| number(scene, Number::Retries)),
    Fetch::new("txn.redispatched", |scene, _| flag(scene, Number::Redispatched)),
    // Timers of the log, in milliseconds.
    Fetch::new("bc.timer.connect", |scene, _| number(scene, Number::TimerConnect)),
    Fetch::new("fc.timer.handshake", |scene, _| number(scene, Number::TimerHandshake)),
    Fetch::new("fc.timer.total", |scene, _| number(scene, Number::TimerTotal)),
    Fetch::new("req.timer.hdr", |scene, _| number(scene, Number::TimerRequest)),
    Fetch::new("req.timer.idle", |scene, _| number(scene, Number::TimerIdle)),
    Fetch::new("req.timer.queue", |scene, _| number(scene, Number::TimerQueue)),
    Fetch::new("req.timer.tq", |scene, _| number(scene, Number::TimerRequestFromAccept)),
    Fetch::new("res.timer.data", |scene, _| number(scene, Number::TimerData)),
    Fetch::new("res.timer.hdr", |scene, _| number(scene, Number::TimerResponse)),
    Fetch::new("txn.timer.total", |scene, _| number(scene, Number::TimerActive)),
    Fetch::new("txn.timer.user", |scene, _| number(scene, Number::TimerUser)),
    // Dates.
    Fetch::new("accept_date", |scene, args| date(scene, args, Date::Accept)).prepare(only_unit),
    Fetch::new("request_date", |scene, args| date(scene, args, Date::Request)).prepare(only_unit),
    // Bytes.
    Fetch::new("bytes_in", |scene, _| number(scene, Number::BytesIn)),
    Fetch::new("bytes_out", |scene, _| number(scene, Number::BytesOut)),
    Fetch::new("req.bytes_in", |scene, _| number(scene, Number::BytesIn)),
    Fetch::new("req.bytes_out", |scene, _| number(scene, Number::RequestBytesOut)),
    Fetch::new("res.bytes_in", |scene, _| number(scene, Number::BytesOut)),
    Fetch::new("res.bytes_out", |scene, _| number(scene, Number::ResponseBytesOut)),
    // How it went.
    Fetch::new("last_entity", |scene, _| text(scene, Text::LastEntity)),
    Fetch::new("last_rule_file", |scene, _| text(scene, Text::LastRuleFile)),
    Fetch::new("last_rule_line", |scene, _| number(scene, Number::LastRuleLine)),
    Fetch::new("txn.id32", |scene, _| number(scene, Number::TransactionId)),
    Fetch::new("txn.sess_term_state", |scene, _| text(scene, Text::TerminationState)),
    Fetch::new("unique-id", |scene, _| scene.facts?.unique_id(scene.request).map(Value::str)),
    Fetch::new("waiting_entity", |scene, _| text(scene, Text::WaitingEntity)),
    // The multiplexers' streams (manual 7.3.4).
    Fetch::new("fs.aborted", |scene, _| flag(scene, Number::FrontAborted)),
    Fetch::new("bs.aborted", |scene, _| flag(scene, Number::BackAborted)),
    Fetch::new("fs.id", |scene, _| number(scene, Number::FrontStreamId)),
    Fetch::new("bs.id", |scene, _| number(scene, Number::BackStreamId)),
    Fetch::new("fs.rst_code", |scene, _| number(scene, Number::FrontResetCode)),
    Fetch::new("bs.rst_code", |scene, _| number(scene, Number::BackResetCode)),
];

fn number<'a>(scene: &Scene<'a>, what: Number) -> Option<Value<'a>> {
    scene.number(what).map(Value::Int)
}

fn flag<'a>(scene: &Scene<'a>, what: Number) -> Option<Value<'a>> {
    scene.number(what).map(|value| Value::Bool(value != 0))
}

fn text<'a>(scene: &Scene<'a>, what: Text) -> Option<Value<'a>> {
    scene.text(what).map(Value::str)
}

/// `accept_date([unit])`, `request_date([unit])`
fn date<'a>(scene: &Scene<'a>, args: &[Arg], what: Date) -> Option<Value<'a>> {
    let since = scene.facts?.date(what)?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Value::Int(in_units(since, arguments::int(args, 0))))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_refused};

    #[test]
    fn the_stream() {
        check(
            &Case::default(),
            &[
                ("fe_name", Some("fe")),
                ("fe_id", Some("1")),
                ("be_name", None),
                ("cur_client_timeout", None),
                ("accept_date", Some("1700000000")),
                ("accept_date(ms)", Some("1700000000500")),
                ("request_date", None),
                ("unique-id", Some("id-1")),
                ("fs.rst_code", None),
            ],
        );
        check_refused(&[("accept_date(h)", "expects 's', 'ms' or 'us', got 'h'")]);
    }
}
