//! Heads on the way out: the normal form. Names lower case, order kept, one `connection` at the end, framing written
//! from [`BodyLength`] and from nothing else; what concerned only the hop before is left out (RFC 9110 §7.6.1).

use crate::body::BodyLength;
use crate::headers::{Field, Headers, Known};
use crate::message::{Method, RequestHead, ResponseHead, Version, reason_phrase};
use crate::uri::Parts;

/// What this hop is told about its connection. For HTTP/1.1 persistence is the default and `None` says it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ConnectionHeader {
    /// No `connection` field.
    #[default]
    None,
    /// `connection: close`
    Close,
    /// `connection: keep-alive`, for HTTP/1.0 peers.
    KeepAlive,
    /// `connection: upgrade` in the place of the one received, and the `upgrade` field goes on.
    Upgrade,
}

/// How to write a head.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EncodeOptions {
    /// See [`ConnectionHeader`].
    pub connection: ConnectionHeader,
}

/// Appends a request's head, empty line included.
pub fn encode_request(head: &RequestHead, out: &mut Vec<u8>, options: EncodeOptions) {
    let headers = &head.headers;
    out.reserve(headers.text.len() + RESERVE_BYTES);
    let mut run = Run::new(&headers.text);
    if is_line_as_received(head) {
        run.add(out, head.line.start, head.line.end + 2);
    } else {
        out.extend_from_slice(headers.slice(head.method_text));
        out.push(b' ');
        out.extend_from_slice(sent_target(head));
        out.push(b' ');
        out.extend_from_slice(version_to_write(head.version));
        out.extend_from_slice(b"\r\n");
    }
    // A request without body has no framing field at all, whatever rules added.
    let framing = Framing { body: head.body, keep_announced: false };
    let extras = Extras { te_trailers: head.te_trailers, required_upgrade: false };
    encode_fields(headers, out, run, options.connection, framing, extras);
}

/// The target as it goes out: as received, but for one from HTTP/2: there scheme and authority are always said, and on this wire they
/// would make it a request to a proxy.
pub fn sent_target(head: &RequestHead) -> &[u8] {
    let target = head.target();
    if head.version != Version::Http2 || head.method == Method::Connect {
        return target;
    }
    match Parts::of(target).authority {
        Some(authority) => match target_after_authority(target, authority) {
            [] if head.method == Method::Options => b"*",
            [] => b"/",
            rest => rest,
        },
        None => target,
    }
}

/// What follows the authority of an absolute target.
fn target_after_authority<'a>(target: &'a [u8], authority: &[u8]) -> &'a [u8] {
    let start = memchr::memmem::find(target, b"://").map_or(0, |colon| colon + b"://".len());
    target.get(start + authority.len()..).unwrap_or_default()
}

/// Whether the request line stands in the arena as it is to be written.
fn is_line_as_received(head: &RequestHead) -> bool {
    let (line, method, target) = (head.line, head.method_text, head.target);
    head.version == Version::Http11
        && method.start == line.start
        && target.start == method.end + 1
        && head.headers.text.get(target.end as usize..line.end as usize + 2) == Some(b" HTTP/1.1\r\n")
}

/// Appends a response's head, empty line included.
pub fn encode_response(head: &ResponseHead, out: &mut Vec<u8>, options: EncodeOptions) {
    let headers = &head.headers;
    out.reserve(headers.text.len() + RESERVE_BYTES);
    let status = head.status;
    let mut run = Run::new(&headers.text);
    if is_status_line_as_received(head) {
        run.add(out, 0, head.reason.end + 2);
    } else {
        encode_status_line(head, out);
    }
    // The answer to HEAD and a 304 announce the body that a GET would get (RFC 9110 §8.6).
    let framing = Framing { body: head.body, keep_announced: status >= 200 && status != 204 };
    // RFC 9110 §15.5.22: a 426 says what to upgrade to. Any other offer is made to us alone.
    let extras = Extras { te_trailers: false, required_upgrade: status == 426 };
    encode_fields(headers, out, run, options.connection, framing, extras);
}

/// Whether the status line stands at the start of the arena as it is to be written.
fn is_status_line_as_received(head: &ResponseHead) -> bool {
    let text = &head.headers.text;
    let (status, reason) = (head.status, head.reason);
    let Some([version @ .., b' ', a, b, c, b' ']) = text.first_chunk::<13>() else { return false };
    head.version == Version::Http11
        && version == b"HTTP/1.1"
        && [a, b, c] == [&digit(status / 100), &digit(status / 10), &digit(status)]
        && status <= 999
        && reason.start == 13
        && reason.end > reason.start
        && text.get(reason.end as usize..reason.end as usize + 2) == Some(b"\r\n")
}

fn encode_status_line(head: &ResponseHead, out: &mut Vec<u8>) {
    out.extend_from_slice(version_to_write(head.version));
    let status = head.status;
    if status > 999 {
        out.push(b' ');
        out.extend_from_slice(status.to_string().as_bytes());
        out.push(b' ');
    } else {
        out.extend_from_slice(&[b' ', digit(status / 100), digit(status / 10), digit(status), b' ']);
    }
    let reason = head.headers.slice(head.reason);
    out.extend_from_slice(if reason.is_empty() { reason_phrase(status).as_bytes() } else { reason });
    out.extend_from_slice(b"\r\n");
}

fn digit(value: u16) -> u8 {
    b'0' + u8::try_from(value % 10).unwrap_or(0)
}

/// What is written besides the arena's text: status, framing and connection fields.
const RESERVE_BYTES: usize = 128;

#[derive(Clone, Copy)]
struct Framing {
    body: BodyLength,
    /// Without body, framing fields that are there go on.
    keep_announced: bool,
}

/// Hop-by-hop fields that go on nevertheless.
#[derive(Clone, Copy)]
struct Extras {
    /// `TE: trailers`, which we support.
    te_trailers: bool,
    /// The `Upgrade` of a response that demands one.
    required_upgrade: bool,
}

/// A piece of the arena that goes out as it is. Names are lower case there and a field that was received as
/// `name: value` CRLF is in the normal form: what stands together is copied together.
struct Run<'a> {
    text: &'a [u8],
    start: u32,
    end: u32,
}

impl<'a> Run<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, start: 0, end: 0 }
    }

    /// Appends a piece of the arena, now or with what comes after it.
    fn add(&mut self, out: &mut Vec<u8>, start: u32, end: u32) {
        if start != self.end {
            self.flush(out);
            self.start = start;
        }
        self.end = end;
    }

    /// Appends what was put off.
    fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.text[self.start as usize..self.end as usize]);
        self.start = self.end;
    }

    fn field(&mut self, out: &mut Vec<u8>, field: &Field) {
        let (name, value) = (field.name, field.value);
        let between = self.text.get(name.end as usize..value.start as usize);
        let after = self.text.get(value.end as usize..).and_then(<[u8]>::first_chunk);
        if between == Some(b": ") && after == Some(b"\r\n") {
            self.add(out, name.start, value.end + 2);
        } else {
            self.flush(out);
            push_field(out, &self.text[name.range()], &self.text[value.range()]);
        }
    }
}

fn encode_fields(
    headers: &Headers,
    out: &mut Vec<u8>,
    mut run: Run<'_>,
    connection: ConnectionHeader,
    framing: Framing,
    extras: Extras,
) {
    let upgrading = connection == ConnectionHeader::Upgrade;
    let mut connection_written = false;
    let mut te_written = false;
    let mut framing_written = false;
    for field in &headers.fields {
        let value = headers.slice(field.value);
        match field.known {
            Known::Other => {
                if !field.hop_by_hop {
                    run.field(out, field);
                }
            }
            Known::Connection => {
                if upgrading && !connection_written {
                    run.flush(out);
                    push_field(out, b"connection", b"upgrade");
                    connection_written = true;
                }
            }
            Known::Upgrade => {
                if upgrading || extras.required_upgrade {
                    run.flush(out);
                    push_field(out, b"upgrade", value);
                }
            }
            Known::KeepAlive | Known::ProxyConnection | Known::Http2Settings => {}
            Known::Te => {
                if extras.te_trailers && !te_written {
                    run.flush(out);
                    push_field(out, b"te", b"trailers");
                    te_written = true;
                }
            }
            Known::ContentLength => {
                if !framing_written {
                    run.flush(out);
                    framing_written = framing.encode(out, Some((Known::ContentLength, value)));
                }
            }
            Known::TransferEncoding => {
                if !framing_written {
                    run.flush(out);
                    framing_written = framing.encode(out, Some((Known::TransferEncoding, value)));
                }
            }
            _ => {
                if !field.hop_by_hop {
                    run.field(out, field);
                }
            }
        }
    }
    run.flush(out);
    if !framing_written {
        framing.encode(out, None);
    }
    let option: &[u8] = match connection {
        ConnectionHeader::Upgrade if !connection_written => b"upgrade",
        ConnectionHeader::Close => b"close",
        ConnectionHeader::KeepAlive => b"keep-alive",
        _ => b"",
    };
    match (option.is_empty(), te_written && !upgrading) {
        (false, false) => push_field(out, b"connection", option),
        (true, true) => push_field(out, b"connection", b"te"),
        (false, true) => {
            out.extend_from_slice(b"connection: ");
            out.extend_from_slice(option);
            out.extend_from_slice(b", te\r\n");
        }
        (true, false) => {}
    }
    out.extend_from_slice(b"\r\n");
}

impl Framing {
    /// Writes the one framing field, where the received one stood or at the end. Returns whether it did.
    fn encode(self, out: &mut Vec<u8>, received: Option<(Known, &[u8])>) -> bool {
        match (self.body, received) {
            (BodyLength::Chunked, _) => push_field(out, b"transfer-encoding", b"chunked"),
            (BodyLength::Length(length), _) => {
                out.extend_from_slice(b"content-length: ");
                push_decimal(out, length);
                out.extend_from_slice(b"\r\n");
            }
            (BodyLength::None, Some((Known::TransferEncoding, _))) if self.keep_announced => {
                push_field(out, b"transfer-encoding", b"chunked");
            }
            (BodyLength::None, Some((_, value))) if self.keep_announced => {
                push_field(out, b"content-length", first_element(value));
            }
            (BodyLength::None | BodyLength::UntilClose | BodyLength::Tunnel, _) => return false,
        }
        true
    }
}

/// The parser accepts a list of equal lengths; one of them goes on.
fn first_element(value: &[u8]) -> &[u8] {
    crate::scan::list_elements(value).next().unwrap_or_default()
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    // 20 digits hold any u64.
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// HAProxy keeps a peer's 1.0; anything else, HTTP/2 included, is 1.1 on this wire.
fn version_to_write(version: Version) -> &'static [u8] {
    match version {
        Version::Http09 | Version::Http10 => b"HTTP/1.0",
        Version::Http11 | Version::Http2 => b"HTTP/1.1",
    }
}
