//! Actions of `tcp-request` and `tcp-response`.

use sockeye_syntax::words::Words;

use super::{Set, Side, argument};
use crate::action::{Action, Expected};

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
        "expect-proxy" if set == Set::TcpConnection => Action::Expect(layer4(words, name, Expected::Proxy)?),
        "expect-netscaler-cip" if set == Set::TcpConnection => {
            Action::Expect(layer4(words, name, Expected::NetscalerCip)?)
        }
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

/// The only layer at which headers are expected.
fn layer4(words: &mut Words<'_>, name: &str, expected: Expected) -> Result<Expected, String> {
    match words.next().unwrap_or_default() {
        "layer4" => Ok(expected),
        other => Err(format!("'{name}' only supports 'layer4' (got '{other}')")),
    }
}
