//! Heads: start line and fields, from the bytes received so far.
//!
//! Parsing starts anew with each call: with the whole head in the buffer, which is nearly always, one pass does it all,
//! and a head that comes in pieces costs a scan of its lines per piece. The same bytes give the same result however
//! they were split: a line is judged when it is complete, and lines are judged in order.

use memchr::memchr;

use super::error::{ParseError, Violation};
use super::facts;
use super::lines::Lines;
use crate::headers::Span;
use crate::message::{Method, RequestFacts, RequestHead, ResponseHead, Version};
use crate::scan::{is_token_byte, is_valid_value, plain_length, visible_length};

/// How much of `option accept-unsafe-violations-in-http-request/-response` applies.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Strictness {
    /// RFC 9110 and RFC 9112.
    #[default]
    Strict,
    /// The option is set. Accepts: bare LF and folded lines (normalised), control characters in values except CR and
    /// LF, invalid names (the field is dropped), bytes above 127 and fragments in targets, user information in
    /// authorities, any authority in CONNECT, a Host that differs from the authority, `GET /path` of HTTP/0.9,
    /// versions with several digits, WebSocket handshakes without their keys, and in responses an empty
    /// Transfer-Encoding or `chunked` repeated. Framing is never relaxed in requests.
    Relaxed,
}

/// Limits of one head.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `tune.http.maxhdr`: a message has fewer fields than this.
    pub fields_max: usize,
    /// Bytes of a head, start line and empty line included: `tune.bufsize` less `tune.maxrewrite`.
    pub head_bytes_max: usize,
    /// `h1-accept-payload-with-any-method`: HTTP/1.0 GET, HEAD and DELETE may carry a body.
    pub payload_with_any_method: bool,
    /// The head was translated from HTTP/2: its request line says `HTTP/2.0`, which no client can say on a connection of
    /// its own.
    pub translated: bool,
}

impl Default for Limits {
    /// HAProxy's defaults: `maxhdr` 101, 16384 - 1024 bytes.
    fn default() -> Self {
        Self { fields_max: 101, head_bytes_max: 15_360, payload_with_any_method: false, translated: false }
    }
}

/// Empty lines skipped before a request. RFC 9112 §2.2 asks for at least one (old browsers sent one after a POST);
/// HAProxy skips any number, which lets a client keep a connection busy for nothing.
pub(super) const EMPTY_LINES_MAX: usize = 8;

/// Parses the head of a request at the start of `buf`. `Ok(None)`: incomplete, call again with more. `Ok(Some(n))`:
/// `head` is filled and the body starts at byte `n`. Otherwise `head` is in no particular state.
///
/// # Errors
/// The first violation; the connection must be answered [`ParseError::status`] and closed.
pub fn parse_request(
    buf: &[u8],
    head: &mut RequestHead,
    limits: &Limits,
    strictness: Strictness,
) -> Result<Option<usize>, ParseError> {
    head.clear();
    let view = &buf[..buf.len().min(limits.head_bytes_max)];
    let incomplete = || {
        if view.len() < limits.head_bytes_max {
            Ok(None)
        } else {
            Err(ParseError::new(Violation::HeadTooLarge, view.len()))
        }
    };
    let Some(base) = skip_empty_lines(view, strictness)? else { return incomplete() };

    // The method is judged before its line is complete, so that a peer that speaks something else learns at once.
    let Some(length) = view[base..].iter().position(|&byte| !is_token_byte(byte)) else {
        return incomplete();
    };
    let method_end = base + length;
    if length == 0 || view[method_end] != b' ' {
        return Err(ParseError::new(Violation::BadMethod, method_end));
    }

    let mut lines = Lines { bytes: view, position: base, strictness };
    // The method and the space after it lie before any LF, hence inside the line.
    let target_start = method_end + 1;
    let plain_end = target_start + visible_length(&view[target_start..]);
    let (target_end, line_end);
    if plain_end > target_start && view[plain_end..].starts_with(b" HTTP/1.1\r\n") {
        // Nearly all lines; the others are read below, which would find the same here.
        (target_end, line_end) = (plain_end, plain_end + b" HTTP/1.1".len());
        lines.position = line_end + b"\r\n".len();
        head.version = Version::Http11;
        head.method = Method::of(&view[base..method_end]);
    } else {
        let Some(line) = lines.next()? else {
            return incomplete()
                .map_err(|error| ParseError::new(Violation::RequestLineTooLong, error.position));
        };
        line_end = line.end;
        target_end =
            memchr(b' ', &view[target_start..line_end]).map_or(line_end, |length| target_start + length);
        check_target(view, target_start, target_end, strictness)?;
        head.method = Method::of(&view[base..method_end]);
        head.version = if limits.translated && view[target_end..line_end] == *b" HTTP/2.0" {
            Version::Http2
        } else if target_end < line_end {
            parse_version(&view[target_end + 1..line_end], target_end + 1, strictness)?
        } else if strictness == Strictness::Relaxed && head.method == Method::Get {
            // RFC 1945 §4.1 Simple-Request: the line is the whole request.
            Version::Http09
        } else {
            return Err(ParseError::new(Violation::BadVersion, line_end));
        };
    }
    let span = |start: usize, end: usize| Span::new(start - base, end - base);
    head.line = span(base, line_end);
    head.method_text = span(base, method_end);
    head.target = span(target_start, target_end);

    if head.version == Version::Http09 {
        head.headers.text.extend_from_slice(&view[base..lines.position]);
    } else {
        let Some(folded) = lines.fields(base, &mut head.headers.fields, limits.fields_max)? else {
            return incomplete();
        };
        head.headers.text.extend_from_slice(&view[base..lines.position]);
        folded.finish(&mut head.headers);
    }
    facts::of_request(head, limits, strictness)
        .map_err(|error| ParseError { position: error.position + base, ..error })?;
    Ok(Some(lines.position))
}

/// Parses the head of a response to `request` at the start of `buf`; see [`parse_request`].
///
/// # Errors
/// The first violation; the client is answered 502 and the server's connection closed.
pub fn parse_response(
    buf: &[u8],
    head: &mut ResponseHead,
    request: RequestFacts,
    limits: &Limits,
    strictness: Strictness,
) -> Result<Option<usize>, ParseError> {
    head.clear();
    let view = &buf[..buf.len().min(limits.head_bytes_max)];
    let incomplete = || {
        if view.len() < limits.head_bytes_max {
            Ok(None)
        } else {
            Err(ParseError::new(Violation::HeadTooLarge, view.len()))
        }
    };
    let mut lines = Lines { bytes: view, position: 0, strictness };
    if !plain_status_line(&mut lines, head) && !status_line(&mut lines, head)? {
        return incomplete();
    }
    let Some(folded) = lines.fields(0, &mut head.headers.fields, limits.fields_max)? else {
        return incomplete();
    };
    head.headers.text.extend_from_slice(&view[..lines.position]);
    folded.finish(&mut head.headers);
    facts::of_response(head, request, strictness)?;
    Ok(Some(lines.position))
}

/// The status line that nearly all are: HTTP/1.x, three digits, a reason without tabs. Returns whether it was one; the
/// others are for [`status_line`], which would find the same here.
fn plain_status_line(lines: &mut Lines<'_>, head: &mut ResponseHead) -> bool {
    let view = lines.bytes;
    let Some((start, rest)) = view.split_first_chunk::<13>() else { return false };
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', digits @ .., b' '] = start
    else {
        return false;
    };
    let [first @ b'1'..=b'9', second @ b'0'..=b'9', third @ b'0'..=b'9'] = digits else { return false };
    let length = plain_length(rest);
    if !rest[length..].starts_with(b"\r\n") {
        return false;
    }
    let digit = |byte: &u8| u16::from(byte - b'0');
    head.version = if *minor == b'1' { Version::Http11 } else { Version::Http10 };
    head.status = digit(first) * 100 + digit(second) * 10 + digit(third);
    head.reason = Span::new(start.len(), start.len() + length);
    lines.position = start.len() + length + b"\r\n".len();
    true
}

/// Any status line. Returns whether it was complete.
fn status_line(lines: &mut Lines<'_>, head: &mut ResponseHead) -> Result<bool, ParseError> {
    let (view, strictness) = (lines.bytes, lines.strictness);
    // A server that speaks something else is found out by its first bytes.
    let prefix = view.len().min(b"HTTP/".len());
    if let Some(at) = (0..prefix).find(|&at| view[at] != b"HTTP/"[at]) {
        return Err(ParseError::new(Violation::BadVersion, at));
    }
    let Some(line) = lines.next()? else { return Ok(false) };
    let line_end = line.end;
    let version_end = memchr(b' ', &view[..line_end]).unwrap_or(line_end);
    head.version = parse_version(&view[..version_end], 0, strictness)?;

    let status_start = (version_end + 1).min(line_end);
    let status_end =
        memchr(b' ', &view[status_start..line_end]).map_or(line_end, |length| status_start + length);
    head.status = parse_status(&view[status_start..status_end], strictness)
        .ok_or_else(|| ParseError::new(Violation::BadStatus, status_start))?;
    let reason_start = (status_end + 1).min(line_end);
    let reason = &view[reason_start..line_end];
    if !is_valid_value(reason) {
        let at = reason.iter().position(|&byte| !is_valid_value(&[byte])).unwrap_or(0);
        let violation = if reason[at] == b'\r' { Violation::BareCr } else { Violation::BadReason };
        return Err(ParseError::new(violation, reason_start + at));
    }
    head.reason = Span::new(reason_start, line_end);
    Ok(true)
}

/// Where the request line starts, or `None` while only empty lines have arrived.
fn skip_empty_lines(view: &[u8], strictness: Strictness) -> Result<Option<usize>, ParseError> {
    let mut position = 0;
    for _ in 0..=EMPTY_LINES_MAX {
        match view[position..] {
            [] | [b'\r'] => return Ok(None),
            [b'\r', b'\n', ..] => position += 2,
            [b'\n', ..] if strictness == Strictness::Relaxed => position += 1,
            [b'\n', ..] => return Err(ParseError::new(Violation::BareLf, position)),
            [b'\r', ..] => return Err(ParseError::new(Violation::BareCr, position)),
            _ => return Ok(Some(position)),
        }
    }
    Err(ParseError::new(Violation::TooManyEmptyLines, position))
}

/// Characters of a request target: visible ASCII without `#`; relaxed adds `#` and bytes above 127. HAProxy does not
/// check the rest of RFC 3986's set either: `"<>\^{|}` and the back tick are common in the wild.
fn check_target(view: &[u8], start: usize, end: usize, strictness: Strictness) -> Result<(), ParseError> {
    let target = &view[start..end];
    if target.is_empty() {
        return Err(ParseError::new(Violation::BadTarget, start));
    }
    let is_bad = |byte: u8| (byte <= 0x20) | (byte >= 0x7f) | (byte == b'#');
    if !target.iter().fold(false, |bad, &byte| bad | is_bad(byte)) {
        return Ok(());
    }
    let relaxed = strictness == Strictness::Relaxed;
    let refused = |byte: u8| is_bad(byte) && !(relaxed && (byte == b'#' || byte > 0x7f));
    let Some(at) = target.iter().position(|&byte| refused(byte)) else { return Ok(()) };
    let violation = match target[at] {
        b'\r' => Violation::BareCr,
        b'#' => Violation::Fragment,
        _ => Violation::BadTarget,
    };
    Err(ParseError::new(violation, start + at))
}

/// `HTTP-version` of RFC 9112 §2.3. A higher minor version is understood as 1.1 (RFC 9110 §2.5).
fn parse_version(text: &[u8], position: usize, strictness: Strictness) -> Result<Version, ParseError> {
    match text {
        b"HTTP/1.1" => return Ok(Version::Http11),
        b"HTTP/1.0" => return Ok(Version::Http10),
        _ => {}
    }
    let bad = ParseError::new(Violation::BadVersion, position);
    let unsupported = ParseError::new(Violation::UnsupportedVersion, position);
    if let Some(at) = text.iter().position(|&byte| byte == b'\r') {
        return Err(ParseError::new(Violation::BareCr, position + at));
    }
    let numbers = text.strip_prefix(b"HTTP/").ok_or(bad)?;
    match numbers {
        [b'1', b'.', b'1'..=b'9'] => return Ok(Version::Http11),
        [b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(unsupported),
        _ => {}
    }
    let dot = numbers.iter().position(|&byte| byte == b'.').ok_or(bad)?;
    let number = |digits: &[u8]| -> Option<u32> {
        if digits.is_empty() || digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        Some(digits.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
    };
    let major = number(&numbers[..dot]).ok_or(bad)?;
    let minor = number(&numbers[dot + 1..]).ok_or(bad)?;
    match (strictness, major, minor) {
        (Strictness::Strict, ..) => Err(bad),
        (Strictness::Relaxed, 1, 0) => Ok(Version::Http10),
        (Strictness::Relaxed, 1, _) => Ok(Version::Http11),
        (Strictness::Relaxed, ..) => Err(unsupported),
    }
}

/// Three digits from 100 up; relaxed: any that fit 16 bits.
fn parse_status(text: &[u8], strictness: Strictness) -> Option<u16> {
    let length_fits = text.len() == 3 || (strictness == Strictness::Relaxed && (3..=5).contains(&text.len()));
    if !length_fits || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = text.iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    u16::try_from(value).ok().filter(|&status| status >= 100)
}
