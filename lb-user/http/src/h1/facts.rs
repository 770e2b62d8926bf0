//! What the fields of a head mean to a proxy: framing, persistence, routing, switching of protocols. One pass over the
//! fields that matter; what must not go on is removed or refused here, once, for both directions.

use super::error::{ParseError, Violation};
use super::parse::{Limits, Strictness};
use crate::body::{self, BodyLength, Framing};
use crate::headers::{Field, Headers, Known};
use crate::message::{Method, RequestFacts, RequestHead, ResponseHead, Version};
use crate::scan::{list_elements, trim};
use crate::uri::{Authority, Form, Parts, default_port};

/// Judges a request's fields and sets its facts. Positions are offsets into the head.
pub(super) fn of_request(
    head: &mut RequestHead,
    limits: &Limits,
    strictness: Strictness,
) -> Result<(), ParseError> {
    // The option relaxes Transfer-Encoding in responses only; nothing relaxes a request's framing.
    let mut fields = Fields::default();
    fields.collect(&head.headers, Strictness::Strict)?;
    let form = Form::of(head.method, head.target())
        .ok_or_else(|| ParseError::new(Violation::BadTargetForm, head.target.range().start))?;
    check_routing(head, form, &fields, strictness)?;

    let http11 = head.version >= Version::Http11;
    let framing = fields.framing;
    if let Some(position) = fields.transfer_encoding_at {
        // RFC 9112 §6.1: "A client MUST NOT send a request containing Transfer-Encoding unless it knows the server will
        // handle HTTP/1.1 requests"; an HTTP/1.0 hop before us has not understood it.
        if !http11 {
            return Err(ParseError::new(Violation::TransferEncodingInHttp10, position));
        }
        // RFC 9112 §6.3: "If a Transfer-Encoding header field is present in a request and the chunked transfer coding
        // is not the final encoding, the message body length cannot be determined reliably".
        if !framing.chunked || fields.coded_before_chunked {
            let violation = if framing.chunked {
                Violation::UnsupportedTransferCoding
            } else {
                Violation::BadTransferEncoding
            };
            return Err(ParseError::new(violation, position));
        }
    }
    head.body = body::request_body(framing);
    if !http11
        && !limits.payload_with_any_method
        && matches!(head.method, Method::Get | Method::Head | Method::Delete)
        && !head.body.is_empty()
    {
        return Err(ParseError::new(Violation::UnexpectedPayload, 0));
    }

    // RFC 9112 §9.3, in its order. §6.1 adds for both framing fields at once: "the server MUST close the connection
    // after responding to such a request".
    head.keep_alive = !fields.close
        && (http11 || (head.version == Version::Http10 && fields.keep_alive))
        && !(framing.chunked && framing.content_length.is_some());
    head.expect_continue = http11 && fields.expect_continue;
    // HTTP/2 has no `Connection` that could nominate it (RFC 9113 §8.2.2).
    let nominates_te = fields.nominates_te || head.version == Version::Http2;
    head.te_trailers = http11 && nominates_te && fields.te_trailers;

    let switch = switch_of(&head.headers, &fields, http11, fields.upgrade_token);
    head.upgrade = switch != Switch::No;
    if head.upgrade && strictness == Strictness::Strict {
        check_websocket_request(head)?;
    }
    drop_fields(&mut head.headers, &fields, switch, framing.chunked, false);
    if form != Form::Origin {
        normalize_target(head, form);
    }
    Ok(())
}

/// Judges a response's fields and sets its facts.
pub(super) fn of_response(
    head: &mut ResponseHead,
    request: RequestFacts,
    strictness: Strictness,
) -> Result<(), ParseError> {
    let mut fields = Fields::default();
    fields.collect(&head.headers, strictness)?;
    let http11 = head.version >= Version::Http11;
    let coded_until_close = fields.transfer_encoding_at.is_some() && !fields.framing.chunked;
    let framing = Framing { coded_until_close, ..fields.framing };
    if let Some(position) = fields.transfer_encoding_at {
        let empty_is_accepted = strictness == Strictness::Relaxed && !fields.coded_before_chunked;
        if fields.coded_before_chunked || (!framing.chunked && !empty_is_accepted) {
            return Err(ParseError::new(Violation::UnsupportedTransferCoding, position));
        }
    }
    let switch = switch_of(&head.headers, &fields, http11, fields.upgrade_token);
    if head.status == 101 {
        // RFC 9110 §7.8: "A server MUST NOT switch to a protocol that was not indicated by the client".
        if !request.upgrade || switch == Switch::No {
            return Err(ParseError::new(Violation::UnaskedUpgrade, 0));
        }
        if strictness == Strictness::Strict {
            check_websocket_response(head)?;
        }
    }
    head.interim = head.status < 200 && head.status != 101;
    head.body = body::response_body(request, head.status, framing);

    let bodyless = head.status < 200 || head.status == 204 || head.body == BodyLength::Tunnel;
    // A server that announces a body where there can be none may well send it: its next bytes are not to be trusted.
    let announces_impossible_body =
        bodyless && (framing.chunked || framing.content_length.is_some_and(|length| length > 0));
    head.keep_alive = !fields.close
        && (http11 || (head.version == Version::Http10 && fields.keep_alive))
        && !matches!(head.body, BodyLength::UntilClose | BodyLength::Tunnel)
        && !announces_impossible_body
        // RFC 9112 §6.1: Transfer-Encoding in HTTP/1.0, or beside Content-Length, is faulty framing.
        && !(framing.chunked && (framing.content_length.is_some() || !http11));
    let drop_length = bodyless || framing.chunked || coded_until_close;
    drop_fields(&mut head.headers, &fields, switch, drop_length, bodyless || coded_until_close);
    Ok(())
}

/// What one pass over the fields found.
#[derive(Default)]
struct Fields {
    framing: Framing,
    transfer_encoding_at: Option<usize>,
    coded_before_chunked: bool,
    /// A field appears again that goes on once.
    repeated_length: bool,
    repeated_host: bool,
    connection: bool,
    close: bool,
    keep_alive: bool,
    upgrade_token: bool,
    nominates_te: bool,
    /// `Connection` names fields of its own.
    nominates_others: bool,
    has_upgrade: bool,
    has_http2_settings: bool,
    te_trailers: bool,
    expect_continue: bool,
    host: Option<Field>,
}

impl Fields {
    fn collect(&mut self, headers: &Headers, encoding_strictness: Strictness) -> Result<(), ParseError> {
        for field in &headers.fields {
            if field.known == Known::Other {
                continue;
            }
            let value = headers.slice(field.value);
            let position = field.value.range().start;
            match field.known {
                Known::ContentLength => self.content_length(value, position)?,
                Known::TransferEncoding => self.transfer_encoding(value, position, encoding_strictness)?,
                Known::Connection => self.connection(value),
                Known::Host => self.host(headers, *field)?,
                Known::Upgrade => self.has_upgrade = true,
                Known::Http2Settings => self.has_http2_settings = true,
                Known::Te => {
                    self.te_trailers |=
                        list_elements(value).any(|element| element.eq_ignore_ascii_case(b"trailers"));
                }
                Known::Expect => self.expect_continue |= value.eq_ignore_ascii_case(b"100-continue"),
                _ => {}
            }
        }
        Ok(())
    }

    /// RFC 9110 §8.6: `1*DIGIT`. A list of the same number "MAY" be collapsed, and is, as HAProxy does: one goes on.
    fn content_length(&mut self, value: &[u8], position: usize) -> Result<(), ParseError> {
        if self.framing.content_length.is_none()
            && let Ok(number) = decimal(value)
        {
            self.framing.content_length = Some(number);
            return Ok(());
        }
        let mut offset = 0;
        for element in value.split(|&byte| byte == b',') {
            let number =
                decimal(trim(element)).map_err(|violation| ParseError::new(violation, position + offset))?;
            match self.framing.content_length {
                Some(known) if known != number => {
                    return Err(ParseError::new(Violation::ContentLengthConflict, position + offset));
                }
                Some(_) => self.repeated_length = true,
                None => self.framing.content_length = Some(number),
            }
            offset += element.len() + 1;
        }
        Ok(())
    }

    /// RFC 9112 §6.1. Strict about what list syntax forgives: every obfuscation that some server reads as `chunked` and
    /// another does not is refused, not interpreted.
    fn transfer_encoding(
        &mut self,
        value: &[u8],
        position: usize,
        strictness: Strictness,
    ) -> Result<(), ParseError> {
        self.transfer_encoding_at.get_or_insert(position);
        let mut offset = 0;
        for element in value.split(|&byte| byte == b',') {
            let coding = trim(element);
            let at = position + offset;
            offset += element.len() + 1;
            if coding.eq_ignore_ascii_case(b"chunked") {
                // "A sender MUST NOT apply the chunked transfer coding more than once to a message body".
                if self.framing.chunked && strictness == Strictness::Strict {
                    return Err(ParseError::new(Violation::ChunkedNotLast, at));
                }
                self.framing.chunked = true;
            } else if self.framing.chunked {
                return Err(ParseError::new(Violation::ChunkedNotLast, at));
            } else if coding.is_empty() {
                if strictness == Strictness::Strict {
                    return Err(ParseError::new(Violation::BadTransferEncoding, at));
                }
            } else if is_registered_coding(coding) {
                self.coded_before_chunked = true;
            } else {
                return Err(ParseError::new(Violation::BadTransferEncoding, at));
            }
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        self.connection = true;
        // What nearly all say.
        if value.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
            return;
        }
        for option in list_elements(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade_token = true;
            } else if option.eq_ignore_ascii_case(b"te") {
                self.nominates_te = true;
            } else {
                self.nominates_others = true;
            }
        }
    }

    /// RFC 9112 §3.2 asks to refuse several Host fields. HAProxy lets identical ones through as one, which is safe:
    /// only one goes on.
    fn host(&mut self, headers: &Headers, field: Field) -> Result<(), ParseError> {
        match self.host {
            None => self.host = Some(field),
            Some(first) if headers.slice(first.value).eq_ignore_ascii_case(headers.slice(field.value)) => {
                self.repeated_host = true;
            }
            Some(_) => return Err(ParseError::new(Violation::HostConflict, field.value.range().start)),
        }
        Ok(())
    }
}

/// Host and target name the same place, and both are valid.
fn check_routing(
    head: &RequestHead,
    form: Form,
    fields: &Fields,
    strictness: Strictness,
) -> Result<(), ParseError> {
    let strict = strictness == Strictness::Strict;
    let target_at = head.target.range().start;
    let host = match fields.host {
        // An empty Host is what a client sends whose target has no authority (RFC 9112 §3.2).
        Some(field) if field.value.range().is_empty() => Some((None, field.value.range().start)),
        Some(field) => {
            let at = field.value.range().start;
            let authority = Authority::parse(head.headers.slice(field.value))
                .ok_or_else(|| ParseError::new(Violation::BadHost, at))?;
            Some((Some(authority), at))
        }
        None => None,
    };
    let (authority, default_ports): (&[u8], &[u16]) = match form {
        Form::Origin | Form::Asterisk => return Ok(()),
        Form::Authority => (head.target(), &[80, 443]),
        Form::Absolute => {
            let parts = Parts::of(head.target());
            let authority = parts.authority.unwrap_or_default();
            match default_port(parts.scheme.unwrap_or_default()) {
                Some(80) => (authority, &[80]),
                Some(443) => (authority, &[443]),
                _ => (authority, &[]),
            }
        }
    };
    if !strict {
        // The manual: no check on the authority for CONNECT, none of the authority against Host.
        return Ok(());
    }
    let bad_target = ParseError::new(Violation::BadTargetForm, target_at);
    let authority = Authority::parse(authority).ok_or(bad_target)?;
    if form == Form::Authority && authority.port.is_none() {
        return Err(bad_target);
    }
    let Some((host, at)) = host else { return Ok(()) };
    let same = host.is_some_and(|host| {
        host.is_same(&authority, None)
            || default_ports.iter().any(|&port| host.is_same(&authority, Some(port)))
    });
    if same { Ok(()) } else { Err(ParseError::new(Violation::HostMismatch, at)) }
}

/// RFC 3986 §6.2.3, as HAProxy applies it: the default port of the scheme goes from the target and Host becomes the
/// authority that is left; an empty path becomes "/". For CONNECT only Host loses its default port.
#[cold]
fn normalize_target(head: &mut RequestHead, form: Form) {
    let target = head.target();
    let (authority, scheme) = match form {
        Form::Origin | Form::Asterisk => return,
        Form::Authority => (target, None),
        Form::Absolute => {
            let parts = Parts::of(target);
            (parts.authority.unwrap_or_default(), parts.scheme)
        }
    };
    let Some(parsed) = Authority::parse(authority) else { return };
    let has_colon = parsed.host.len() < authority.len();
    let is_default = match (scheme, parsed.port) {
        (None, port) => matches!(port, Some(80 | 443)),
        (Some(_), None) => has_colon,
        (Some(scheme), port) => default_port(scheme) == port,
    };
    let host = parsed.host.to_vec();
    let Some(scheme) = scheme else {
        if is_default {
            head.headers.replace_known(Known::Host, &host);
        }
        return;
    };
    let authority_at = scheme.len() + b"://".len();
    let rest = &target[authority_at + authority.len()..];
    let add_slash = rest.is_empty() && head.method != Method::Options;
    if !is_default && !add_slash {
        return;
    }
    let authority = if is_default { &host[..] } else { authority };
    let slash: &[u8] = if add_slash { b"/" } else { b"" };
    let normal = [&target[..authority_at], authority, rest, slash].concat();
    // HAProxy logs the target like this too.
    let line = [head.method_text(), b" ", &normal, b" ", version_text(head)].concat();
    head.line = head.headers.push_text(&line);
    head.set_target(&normal);
    if is_default {
        head.headers.replace_known(Known::Host, &host);
    }
}

/// The last word of the request line.
fn version_text(head: &RequestHead) -> &[u8] {
    head.request_line().rsplit(|byte| *byte == b' ').next().unwrap_or_default()
}

/// Whether a message asks for, or answers with, another protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Switch {
    No,
    /// Everything in `Upgrade` goes on.
    Yes,
    /// `Upgrade` also lists h2c, which must be taken out.
    WithoutH2c,
}

/// RFC 9110 §7.8: Upgrade counts in HTTP/1.1 only, and only when `Connection` says so. `h2c` never goes on: a server
/// that took it would speak a protocol past us in which our rules see nothing (and RFC 9113 §3.1 retired it).
fn switch_of(headers: &Headers, fields: &Fields, http11: bool, nominated: bool) -> Switch {
    if !http11 || !nominated || !fields.has_upgrade {
        return Switch::No;
    }
    let mut switch = Switch::No;
    let mut h2c = false;
    for value in headers.all_known(Known::Upgrade) {
        for protocol in list_elements(value) {
            if is_h2(protocol) {
                h2c = true;
            } else {
                switch = Switch::Yes;
            }
        }
    }
    if h2c && switch == Switch::Yes { Switch::WithoutH2c } else { switch }
}

/// `h2c`, `h2`, and with a version after a slash.
fn is_h2(protocol: &[u8]) -> bool {
    let name = protocol.split(|&byte| byte == b'/').next().unwrap_or_default();
    name.eq_ignore_ascii_case(b"h2c") || name.eq_ignore_ascii_case(b"h2")
}

fn is_websocket(headers: &Headers) -> bool {
    headers
        .all_known(Known::Upgrade)
        .flat_map(list_elements)
        .any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// RFC 6455 §4.1: the key is 16 bytes in base64. Without one the server cannot answer, and something else is going on.
fn check_websocket_request(head: &RequestHead) -> Result<(), ParseError> {
    if !is_websocket(&head.headers) {
        return Ok(());
    }
    let mut keys = head.headers.all_known(Known::SecWebsocketKey);
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_base64(key, 24, 2) => Ok(()),
        _ => Err(ParseError::new(Violation::BadWebsocketKey, 0)),
    }
}

/// RFC 6455 §4.2.2: the answer is 20 bytes in base64. Whether it fits the key is the client's to judge.
fn check_websocket_response(head: &ResponseHead) -> Result<(), ParseError> {
    if !is_websocket(&head.headers) {
        return Ok(());
    }
    let mut answers = head.headers.all_known(Known::SecWebsocketAccept);
    match (answers.next(), answers.next()) {
        (Some(answer), None) if is_base64(answer, 28, 1) => Ok(()),
        _ => Err(ParseError::new(Violation::BadWebsocketAccept, 0)),
    }
}

fn is_base64(text: &[u8], length: usize, padding: usize) -> bool {
    text.len() == length
        && text[..length - padding]
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        && text[length - padding..].iter().all(|&byte| byte == b'=')
}

/// Removes what must not be seen by anybody after us. Marks what `Connection` nominated.
fn drop_fields(
    headers: &mut Headers,
    fields: &Fields,
    switch: Switch,
    drop_length: bool,
    drop_encoding: bool,
) {
    let has_length = fields.framing.content_length.is_some();
    let drop_upgrade = fields.has_upgrade && switch == Switch::No;
    let something = fields.repeated_length
        || fields.repeated_host
        || fields.has_http2_settings
        || drop_upgrade
        || (drop_length && has_length)
        || (drop_encoding && fields.transfer_encoding_at.is_some());
    if something {
        let (mut seen_length, mut seen_host) = (false, false);
        headers.fields.retain(|field| match field.known {
            Known::ContentLength => !drop_length && !std::mem::replace(&mut seen_length, true),
            Known::Host => !std::mem::replace(&mut seen_host, true),
            Known::TransferEncoding => !drop_encoding,
            Known::Upgrade => !drop_upgrade,
            Known::Http2Settings => false,
            _ => true,
        });
    }
    if switch == Switch::WithoutH2c {
        strip_h2c(headers);
    }
    if fields.close || fields.keep_alive {
        strip_persistence(headers);
    }
    if fields.nominates_others {
        mark_nominated(headers);
    }
}

/// What a peer says of its own connection is understood and gone, so that rules neither see it nor are mistaken for it:
/// a `close` that they add is their own.
fn strip_persistence(headers: &mut Headers) {
    let is_said = |element: &[u8]| {
        element.eq_ignore_ascii_case(b"close") || element.eq_ignore_ascii_case(b"keep-alive")
    };
    let mut index = 0;
    while let Some(field) = headers.fields.get(index) {
        if field.known != Known::Connection || !list_elements(headers.slice(field.value)).any(is_said) {
            index += 1;
            continue;
        }
        let rest: Vec<&[u8]> =
            list_elements(headers.slice(field.value)).filter(|element| !is_said(element)).collect();
        if rest.is_empty() {
            headers.fields.remove(index);
        } else {
            let rest = rest.join(&b", "[..]);
            headers.replace_at(index, &rest);
            index += 1;
        }
    }
}

#[cold]
fn strip_h2c(headers: &mut Headers) {
    for index in 0..headers.fields.len() {
        if headers.fields[index].known != Known::Upgrade {
            continue;
        }
        let kept: Vec<&[u8]> = list_elements(headers.slice(headers.fields[index].value))
            .filter(|protocol| !is_h2(protocol))
            .collect();
        let kept = kept.join(&b", "[..]);
        headers.replace_at(index, &kept);
    }
    let Headers { text, fields } = headers;
    fields.retain(|field| field.known != Known::Upgrade || !text[field.value.range()].is_empty());
}

/// RFC 9110 §7.6.1: "Intermediaries MUST parse a received Connection header field before a message is forwarded and, for
/// each connection-option in this field, remove any header field(s) from the message with the same name". Fields that
/// "are intended for all recipients" cannot be nominated; removing Host or a cookie at a client's wish would be an attack.
#[cold]
fn mark_nominated(headers: &mut Headers) {
    let Headers { text, fields } = headers;
    for index in 0..fields.len() {
        let name = &text[fields[index].name.range()];
        let nominated = fields
            .iter()
            .filter(|field| field.known == Known::Connection)
            .flat_map(|field| list_elements(&text[field.value.range()]))
            .any(|option| option.eq_ignore_ascii_case(name));
        if nominated && !is_for_all_recipients(name) {
            fields[index].hop_by_hop = true;
        }
    }
}

fn is_for_all_recipients(name: &[u8]) -> bool {
    name.starts_with(b"content-")
        || matches!(
            name,
            b"host"
                | b"transfer-encoding"
                | b"upgrade"
                | b"te"
                | b"authorization"
                | b"cache-control"
                | b"cookie"
                | b"set-cookie"
                | b"date"
                | b"expect"
                | b"forwarded"
                | b"via"
                | b"x-forwarded-for"
                | b"x-forwarded-host"
                | b"x-forwarded-proto"
                | b"x-real-ip"
        )
}

/// The transfer codings of the IANA registry besides chunked, with their old aliases and `identity` of RFC 2616.
fn is_registered_coding(coding: &[u8]) -> bool {
    [&b"gzip"[..], b"x-gzip", b"compress", b"x-compress", b"deflate", b"identity"]
        .iter()
        .any(|known| coding.eq_ignore_ascii_case(known))
}

/// `1*DIGIT` that fits 64 bits.
fn decimal(digits: &[u8]) -> Result<u64, Violation> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Violation::BadContentLength);
    }
    digits
        .iter()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or(Violation::ContentLengthOverflow)
}
