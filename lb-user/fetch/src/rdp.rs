//! The cookie at the start of a remote desktop connection (manual 7.3.5; MS-RDPBCGR §2.2.1.1).

use sockeye_sample::{Arg, Fetch, Scene, Value};

use crate::arguments;
use crate::http::Side;
use crate::payload::{buffer, wait_for_more};

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("rdp_cookie", text),
    Fetch::new("req.rdp_cookie", text),
    Fetch::new("rdp_cookie_cnt", count),
    Fetch::new("req.rdp_cookie_cnt", count),
];

/// TPKT header, then the fixed part of an X.224 connection request.
const HEADER_BYTES: usize = 11;

/// What is known of the cookie at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
enum Cookie<'a> {
    /// Its name and value.
    Found(&'a [u8], &'a [u8]),
    Incomplete,
    None,
}

impl<'a> Cookie<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Self::Incomplete };
        let [3, 0, high, low, indicator, 0xe0, 0, 0, _, _, _] = *header else { return Self::None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length != usize::from(indicator) + 5 {
            return Self::None;
        }
        let Some(rest) = rest.get(..length.saturating_sub(HEADER_BYTES)) else { return Self::Incomplete };
        let Some((word, mut rest)) = rest.split_first_chunk::<7>() else { return Self::None };
        if !word.eq_ignore_ascii_case(b"cookie:") {
            return Self::None;
        }
        while let [b' ', after @ ..] = rest {
            rest = after;
        }
        let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { return Self::None };
        if !rest[end..].starts_with(b"\r\n") {
            return Self::None;
        }
        match memchr::memchr(b'=', &rest[..end]) {
            Some(equals) => Self::Found(&rest[..equals], &rest[equals + 1..end]),
            None => Self::None,
        }
    }
}

/// The value of the cookie, if it has the name that is asked for; `Some(None)`: there is no such cookie.
fn find<'a>(scene: &Scene<'a>, args: &[Arg]) -> Option<Option<&'a [u8]>> {
    let buffer = buffer(scene, Side::Request)?;
    let wanted = arguments::text(args, 0);
    match Cookie::read(buffer.bytes) {
        Cookie::Found(name, value) if wanted.is_empty() || name.eq_ignore_ascii_case(wanted) => {
            Some(Some(value))
        }
        Cookie::Incomplete => {
            wait_for_more(scene, &buffer);
            None
        }
        _ => Some(None),
    }
}

/// `req.rdp_cookie([name])`
fn text<'a>(scene: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    find(scene, args).flatten().map(Value::str)
}

/// `req.rdp_cookie_cnt([name])`: only the first cookie is looked at.
fn count<'a>(scene: &Scene<'a>, args: &'a [Arg]) -> Option<Value<'a>> {
    find(scene, args).map(|cookie| Value::Int(cookie.is_some().into()))
}
