//! What a fetch needs to be there, as HAProxy's messages call it.

use crate::expression::Expr;
use crate::stage::Stage;

/// Says that `expr` stands where its fetch is not valid.
pub fn unavailable(expr: &Expr) -> String {
    format!(
        "sample fetch <{}> may not be reliably used here because it needs '{}' which is not available here.",
        expr.fetch_name(),
        needs(expr)
    )
}

/// The first stages of a fetch tell most of its needs; its name tells the rest.
fn needs(expr: &Expr) -> &'static str {
    let name = expr.fetch_name();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let stages = expr.stages();
    let of_buffer = starts(&["payload", "rdp_cookie"])
        || name.strip_prefix("re").and_then(|rest| rest.get(2..)).is_some_and(|rest| {
            ["len", "payload", "payload_lv", "ssl_", "rdp_cookie"].iter().any(|one| rest.starts_with(one))
        });
    match stages.iter().next() {
        Some(Stage::FrontendSession) => "client-side connection",
        Some(Stage::FrontendRequestContent) => {
            match (stages.contains(Stage::BackendResponseContent), stages.contains(Stage::Log)) {
                (false, _) if of_buffer => "request buffer",
                (false, _) => "HTTP request headers",
                (true, false) if of_buffer => "request buffer,response buffer",
                (true, false) => "HTTP request headers,HTTP response headers",
                (true, true) if starts(&["req.ver", "req_ver"]) => "HTTP request headers",
                (true, true) if starts(&["bytes_in"]) => "request buffer statistics",
                (true, true) if starts(&["txn.timer."]) => "transaction statistics",
                (true, true) => "HTTP request",
            }
        }
        Some(Stage::BackendRequestContent) => "backend",
        Some(Stage::BackendServerChoice) => "response buffer statistics",
        Some(Stage::ServerSource) if starts(&["res."]) => "HTTP response",
        Some(Stage::ServerSource) => "server",
        Some(Stage::BackendResponseContent) => match stages.contains(Stage::Log) {
            false if of_buffer => "response buffer",
            false => "HTTP response headers",
            true if starts(&["res.ver", "resp_ver"]) => "HTTP response headers",
            true if starts(&["ssl_bc", "bs.", "bc_nb_", "bc_settings_"]) => "server-side connection",
            true if starts(&["bc", "req.timer.", "txn.conn_retries", "txn.redispatched"]) => "server address",
            true => "HTTP response",
        },
        _ => "client address",
    }
}
