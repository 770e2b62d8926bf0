//! Actions of `tcp-request` and `tcp-response`.

use sockeye_syntax::words::Words;

use super::{Set, Side, argument};
use crate::action::Action;

/// `None`: not one of these.
pub(super) fn action(
    name: &str,
    words: &mut Words<'_>,
    set: Set,
    side: Side,
) -> Result<Option<Action>, String> {
    Ok(Some(match name {
        "accept" => Action::Allow,
        "reject" => Action::Reject,
        "close" if set == Set::TcpResponse => Action::Close,
        "switch-mode" if set == Set::TcpContent => {
            if !side.frontend {
                return Err("'switch-mode' is only for sections that accept connections".to_owned());
            }
            match argument(words, "'http'")? {
                "http" => {}
                other => return Err(format!("'switch-mode' knows only 'http', not '{other}'")),
            }
            if words.take("proto") {
                match argument(words, "a protocol after 'proto'")? {
                    "h1" => {}
                    other => return Err(format!("protocol '{other}' is not available here yet")),
                }
            }
            Action::SwitchHttp
        }
        _ => return Ok(None),
    }))
}
