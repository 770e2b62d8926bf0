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

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check};

    /// A connection request with `text` behind its fixed part.
    fn request(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        [&[3, 0, 0, length + 11, length + 6, 0xe0, 0, 0, 0, 0, 0], text.as_bytes()].concat()
    }

    /// Values from HAProxy 3.2.
    #[test]
    fn cookies() {
        check(
            &Case::buffer(request("Cookie: mstshash=user\r\n\u{1}\0\u{8}\0\u{3}\0\0\0"), false),
            &[
                ("req.rdp_cookie", Some("user")),
                ("rdp_cookie", Some("user")),
                ("req.rdp_cookie(MSTSHASH)", Some("user")),
                ("req.rdp_cookie(msts)", None),
                ("req.rdp_cookie_cnt", Some("1")),
                ("rdp_cookie_cnt(mstshash)", Some("1")),
                ("req.rdp_cookie_cnt(x)", Some("0")),
            ],
        );
        for (text, value) in [
            ("Cookie: mstshash=\r\n", Some("")),
            ("cookie:  msts=u\r\n", Some("u")),
            ("Cookie:msts=u\r\n", Some("u")),
            ("Cookie: msts=a=b\r\n", Some("a=b")),
            ("Cookie: mstshash=u\r\nCookie: msts=b\r\n", Some("u")),
            ("Cookie: msts=u\rx\n\r\n", None),
            ("Cookie: msts=u\n", None),
            ("Cookie: msts=u", None),
            ("Cookie: msts\r\n", None),
            ("", None),
        ] {
            let case = Case::buffer(request(text), false);
            assert_eq!(case.eval("req.rdp_cookie").value.as_deref(), value, "{text:?}");
            let count = if value.is_some() { "1" } else { "0" };
            assert_eq!(case.eval("req.rdp_cookie_cnt").value.as_deref(), Some(count), "{text:?}");
        }
        let other = [&[3, 0, 0, 0x2f][..], &[b'x'; 50]].concat();
        check(&Case::buffer(other, false), &[("req.rdp_cookie_cnt", Some("0"))]);
    }

    #[test]
    fn incomplete() {
        let bytes = request("Cookie: mstshash=user\r\n");
        for length in 0..bytes.len() {
            let outcome = Case::buffer(&bytes[..length], false).eval("req.rdp_cookie_cnt");
            assert_eq!((outcome.value, outcome.unfinished), (None, true), "{length}");
        }
    }
}
