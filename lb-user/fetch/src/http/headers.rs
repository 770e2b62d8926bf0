//! Header fields: `hdr`, `fhdr` and their kin, for both directions.

use std::net::{IpAddr, Ipv4Addr};

use sockeye_sample::{Arg, Compiler, Fetch, Scene, Value};

use super::Side::{self, Request, Response};
use super::fields::{self, FROM_END_MAX, Split};
use crate::arguments::{self, leading_int};

/// A table row: the words for one direction differ only in that.
macro_rules! sided {
    ($name:literal, $one:ident, $each:ident, $side:expr $(, $more:expr)*) => {
        Fetch::new($name, |scene, args| $one(scene, args, $side(scene) $(, $more)*))
            .each(|scene, args, visit| $each(scene, args, $side(scene) $(, $more)*, visit))
            .prepare(prepare_occurrence)
    };
}

const REQUEST: fn(&Scene<'_>) -> Side = |_| Request;
const RESPONSE: fn(&Scene<'_>) -> Side = |_| Response;
/// The direction in which the expression stands.
const HERE: fn(&Scene<'_>) -> Side = |scene| Side::of_stage(scene.stage);

pub(crate) static FETCHES: &[Fetch] = &[
    sided!("hdr", text, each_text, HERE, Split::AtCommas),
    sided!("req.hdr", text, each_text, REQUEST, Split::AtCommas),
    sided!("req.fhdr", text, each_text, REQUEST, Split::Never),
    sided!("res.hdr", text, each_text, RESPONSE, Split::AtCommas),
    sided!("res.fhdr", text, each_text, RESPONSE, Split::Never),
    sided!("shdr", text, each_text, RESPONSE, Split::AtCommas),
    sided!("hdr_ip", address, each_address, REQUEST),
    sided!("req.hdr_ip", address, each_address, REQUEST),
    sided!("res.hdr_ip", address, each_address, RESPONSE),
    sided!("shdr_ip", address, each_address, RESPONSE),
    sided!("hdr_val", number, each_number, REQUEST),
    sided!("req.hdr_val", number, each_number, REQUEST),
    sided!("res.hdr_val", number, each_number, RESPONSE),
    sided!("shdr_val", number, each_number, RESPONSE),
    Fetch::new("hdr_cnt", |scene, args| count(scene, args, Request, Split::AtCommas)).prepare(prepare_name),
    Fetch::new("req.hdr_cnt", |scene, args| count(scene, args, Request, Split::AtCommas))
        .prepare(prepare_name),
    Fetch::new("req.fhdr_cnt", |scene, args| count(scene, args, Request, Split::Never)).prepare(prepare_name),
    Fetch::new("res.hdr_cnt", |scene, args| count(scene, args, Response, Split::AtCommas))
        .prepare(prepare_name),
    Fetch::new("res.fhdr_cnt", |scene, args| count(scene, args, Response, Split::Never))
        .prepare(prepare_name),
    Fetch::new("shdr_cnt", |scene, args| count(scene, args, Response, Split::AtCommas)).prepare(prepare_name),
    Fetch::new("req.hdr_names", |scene, args| names(scene, args, Request)),
    Fetch::new("res.hdr_names", |scene, args| names(scene, args, Response)),
    Fetch::new("req.hdrs", |scene, _| lines(scene, Request)),
    Fetch::new("res.hdrs", |scene, _| lines(scene, Response)),
    Fetch::new("req.hdrs_bin", |scene, _| strings(scene, Request)),
    Fetch::new("res.hdrs_bin", |scene, _| strings(scene, Response)),
];

/// The second argument, 0 being the same as none.
fn occurrence(args: &[Arg]) -> Option<i64> {
    arguments::int(args, 1).filter(|occurrence| *occurrence != 0)
}

/// Names are compared in lower case, as heads have them.
#[expect(clippy::unnecessary_wraps, reason = "the signature of all that prepare arguments")]
fn prepare_name(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    if let Some(Arg::Str(name)) = args.first_mut() {
        name.make_ascii_lowercase();
    }
    Ok(())
}

fn prepare_occurrence(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    prepare_name(args, compiler)?;
    match occurrence(args) {
        Some(occurrence) if occurrence < -FROM_END_MAX => {
            Err(format!("header occurrence must be >= -{FROM_END_MAX}"))
        }
        _ => Ok(()),
    }
}

/// One value: the last unless another one is asked for.
fn bytes<'a>(scene: &Scene<'a>, args: &[Arg], side: Side, split: Split) -> Option<&'a [u8]> {
    let occurrence = occurrence(args).unwrap_or(-1);
    fields::value_at(side.headers(scene)?, arguments::text(args, 0), split, occurrence)
}

/// Every value, or the one that is asked for, until `visit` says `true`.
fn each<'a>(
    scene: &Scene<'a>,
    args: &[Arg],
    side: Side,
    split: Split,
    mut visit: impl FnMut(&'a [u8]) -> bool,
) {
    if occurrence(args).is_some() {
        if let Some(value) = bytes(scene, args, side, split) {
            visit(value);
        }
    } else if let Some(headers) = side.headers(scene) {
        let _ = fields::values(headers, arguments::text(args, 0), split).any(visit);
    }
}

fn text<'a>(scene: &Scene<'a>, args: &[Arg], side: Side, split: Split) -> Option<Value<'a>> {
    bytes(scene, args, side, split).map(Value::str)
}

fn each_text<'a>(
    scene: &Scene<'a>,
    args: &[Arg],
    side: Side,
    split: Split,
    visit: &mut dyn FnMut(Value<'a>) -> bool,
) {
    each(scene, args, side, split, |value| visit(Value::str(value)));
}

fn number<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    bytes(scene, args, side, Split::AtCommas).map(|text| Value::Int(leading_int(text)))
}

fn each_number<'a>(scene: &Scene<'a>, args: &[Arg], side: Side, visit: &mut dyn FnMut(Value<'a>) -> bool) {
    each(scene, args, side, Split::AtCommas, |value| visit(Value::Int(leading_int(value))));
}

fn address<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    parse_address(bytes(scene, args, side, Split::AtCommas)?).map(Value::ip)
}

fn each_address<'a>(scene: &Scene<'a>, args: &[Arg], side: Side, visit: &mut dyn FnMut(Value<'a>) -> bool) {
    each(scene, args, side, Split::AtCommas, |value| {
        parse_address(value).is_some_and(|addr| visit(Value::ip(addr)))
    });
}

/// An IPv4 address with a port or without, or an IPv6 address in brackets or without; not both.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    if let [b'[', addr @ .., b']'] = text {
        return parse_ipv6(addr);
    }
    if let Some(addr) = parse_ipv6(text) {
        return Some(addr);
    }
    let addr = match memchr::memchr(b':', text) {
        Some(colon) => {
            parse_decimal(&text[colon + 1..], u16::MAX)?;
            &text[..colon]
        }
        None => text,
    };
    parse_ipv4(addr).map(IpAddr::V4)
}

fn parse_ipv6(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok().map(IpAddr::V6)
}

/// Leading zeros do not make a number octal.
fn parse_ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut numbers = text.split(|byte| *byte == b'.').map(|part| parse_decimal(part, 255));
    let mut octets = [0; 4];
    for octet in &mut octets {
        *octet = u8::try_from(numbers.next()??).ok()?;
    }
    numbers.next().is_none().then(|| Ipv4Addr::from(octets))
}

fn parse_decimal(text: &[u8], max: u16) -> Option<u16> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u16, |number, digit| {
        let digit = char::from(*digit).to_digit(10).and_then(|digit| u16::try_from(digit).ok())?;
        number.checked_mul(10)?.checked_add(digit).filter(|number| *number <= max)
    })
}

fn count<'a>(scene: &Scene<'a>, args: &[Arg], side: Side, split: Split) -> Option<Value<'a>> {
    let count = fields::values(side.headers(scene)?, arguments::text(args, 0), split).count();
    i64::try_from(count).ok().map(Value::Int)
}

/// `req.hdr_names([delim])`
fn names<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    let delimiter = arguments::text(args, 0).first().copied().unwrap_or(b',');
    Some(Value::string(join(side.headers(scene)?.iter().map(|(name, _)| name), delimiter)))
}

/// Texts with a byte between them; none before the first that is not empty.
pub(super) fn join<'a>(texts: impl Iterator<Item = &'a [u8]>, delimiter: u8) -> Vec<u8> {
    let mut joined = Vec::new();
    for text in texts {
        if !joined.is_empty() {
            joined.push(delimiter);
        }
        joined.extend_from_slice(text);
    }
    joined
}

/// `req.hdrs`: as they would be written, with the empty line.
fn lines<'a>(scene: &Scene<'a>, side: Side) -> Option<Value<'a>> {
    let mut text = Vec::new();
    for (name, value) in side.headers(scene)?.iter() {
        text.extend_from_slice(name);
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    Some(Value::binary(text))
}

/// `req.hdrs_bin`: names and values with their lengths before them, then two empty ones.
fn strings<'a>(scene: &Scene<'a>, side: Side) -> Option<Value<'a>> {
    let mut out = Vec::new();
    for (name, value) in side.headers(scene)?.iter() {
        push_string(&mut out, name);
        push_string(&mut out, value);
    }
    out.extend_from_slice(&[0, 0]);
    Some(Value::binary(out))
}

fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    push_varint(out, text.len());
    out.extend_from_slice(text);
}

/// The variable integer of HAProxy's SPOE and peers protocols: 4 bits beside the first marker, then 7 at a time.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is written")]
fn push_varint(out: &mut Vec<u8>, value: usize) {
    if value < 0xf0 {
        out.push(value as u8);
        return;
    }
    out.push(value as u8 | 0xf0);
    let mut rest = (value - 0xf0) >> 4;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest = (rest - 0x80) >> 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_each, check_refused};

    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: Example.COM:8080\r\nX: a, b ,,c\r\nX: \"q,r\" , d\\,e\r\nE:\r\nT: a,\r\n\
        T2: ,a\r\nN: 12abc\r\nN2: -5\r\nN3: +7\r\nN4: abc\r\nN5: 99999999999\r\nN6: 1, x\r\n\
        O: 1,2,3,4,5,6,7,8,9,10,11,12\r\n\r\n";

    /// Values from HAProxy 3.2, except for numbers beyond 32 bits.
    #[test]
    fn one_value() {
        check(
            &Case::request(REQUEST),
            &[
                ("req.hdr(x)", Some("e")),
                ("req.hdr(X,1)", Some("a")),
                ("req.hdr(x,2)", Some("b")),
                ("req.hdr(x,3)", Some("")),
                ("req.hdr(x,4)", Some("c")),
                ("req.hdr(x,5)", Some("\\\"q,r\\\"")),
                ("req.hdr(x,6)", Some("d\\\\")),
                ("req.hdr(x,7)", Some("e")),
                ("req.hdr(x,8)", None),
                ("req.hdr(x,-1)", Some("e")),
                ("req.hdr(x,-2)", Some("d\\\\")),
                ("req.hdr(x,-7)", Some("a")),
                ("req.hdr(x,-8)", None),
                ("req.hdr(x,0)", Some("e")),
                ("hdr(x)", Some("e")),
                ("req.hdr(o,-10)", Some("3")),
                ("req.hdr(o,3)", Some("3")),
                ("req.hdr(e)", Some("")),
                ("req.hdr(t)", Some("")),
                ("req.hdr(t,1)", Some("a")),
                ("req.hdr(t2,1)", Some("")),
                ("req.hdr(none)", None),
                ("req.hdr(,1)", Some("Example.COM:8080")),
                ("req.hdr(,2)", Some("a")),
                ("req.fhdr(x)", Some("\\\"q,r\\\" , d\\\\,e")),
                ("req.fhdr(x,1)", Some("a, b ,,c")),
                ("req.fhdr(x,-2)", Some("a, b ,,c")),
                ("req.fhdr(e)", Some("")),
                ("req.hdr_val(n)", Some("12")),
                ("req.hdr_val(n2)", Some("-5")),
                ("req.hdr_val(n3)", Some("0")),
                ("req.hdr_val(n4)", Some("0")),
                ("req.hdr_val(n5)", Some("99999999999")),
                ("req.hdr_val(n6)", Some("0")),
                ("req.hdr_val(n6,1)", Some("1")),
                ("hdr_val(none)", None),
                ("res.hdr(x)", None),
            ],
        );
    }

    #[test]
    fn counts_and_names() {
        check(
            &Case::request(REQUEST),
            &[
                ("req.hdr_cnt(x)", Some("7")),
                ("req.fhdr_cnt(x)", Some("2")),
                ("req.hdr_cnt(e)", Some("1")),
                ("req.fhdr_cnt(e)", Some("1")),
                ("req.hdr_cnt(t)", Some("2")),
                ("req.hdr_cnt(t2)", Some("2")),
                ("req.hdr_cnt(none)", Some("0")),
                ("hdr_cnt", Some("32")),
                ("req.fhdr_cnt", Some("13")),
                ("req.hdr_names", Some("host,x,x,e,t,t2,n,n2,n3,n4,n5,n6,o")),
                ("req.hdr_names(abc)", Some("hostaxaxaeatat2anan2an3an4an5an6ao")),
                ("res.hdr_cnt(x)", None),
            ],
        );
        let long = format!("GET / HTTP/1.1\r\nHost: h\r\nS: {}\r\n\r\n", "x".repeat(3000));
        check(
            &Case::request("GET /x HTTP/1.0\r\n\r\n"),
            &[
                ("req.hdr_cnt", Some("0")),
                ("req.hdr_names", Some("")),
                ("req.hdrs", Some("\\r\\n")),
                ("req.hdrs_bin", Some("\\x00\\x00")),
            ],
        );
        let packed = format!("\\x04host\\x01h\\x01s\\xf8\\xac\\x00{}\\x00\\x00", "x".repeat(3000));
        check(&Case::request(long), &[("req.hdrs_bin", Some(&packed))]);
        check(
            &Case::request("GET / HTTP/1.1\r\nHOST: a\r\nE:\r\n\r\n"),
            &[("req.hdrs", Some("host: a\\r\\ne: \\r\\n\\r\\n"))],
        );
    }

    #[test]
    fn all_values() {
        check_each(
            &Case::request(
                "GET / HTTP/1.1\r\nHost: h\r\nIP: foo, 1.2.3.4, 5\r\nX: a,b\r\nX: c\r\nN: 1,x\r\n\r\n",
            ),
            &[
                ("req.hdr(x)", &["a", "b", "c"]),
                ("req.hdr(x,0)", &["a", "b", "c"]),
                ("req.hdr(x,-2)", &["b"]),
                ("req.fhdr(x)", &["a,b", "c"]),
                ("req.hdr", &["h", "foo", "1.2.3.4", "5", "a", "b", "c", "1", "x"]),
                ("req.hdr(none)", &[]),
                ("hdr_ip(ip)", &["1.2.3.4"]),
                ("hdr_ip", &["1.2.3.4"]),
                ("hdr_ip(ip,1)", &[]),
                ("hdr_val(n)", &["1", "0"]),
            ],
        );
    }

    #[test]
    fn responses() {
        let case = Case::response("HTTP/1.1 200 OK\r\nX: a,b\r\nIP: ::1\r\nN: 5\r\n\r\n");
        check(
            &case,
            &[
                ("res.hdr(x)", Some("b")),
                ("shdr(x,1)", Some("a")),
                ("hdr(x)", Some("b")),
                ("res.fhdr(x)", Some("a,b")),
                ("res.hdr_cnt(x)", Some("2")),
                ("shdr_cnt(x)", Some("2")),
                ("res.fhdr_cnt", Some("3")),
                ("res.hdr_ip(ip)", Some("::1")),
                ("shdr_ip(ip)", Some("::1")),
                ("res.hdr_val(n)", Some("5")),
                ("shdr_val(n)", Some("5")),
                ("res.hdr_names", Some("x,ip,n")),
                ("res.hdrs", Some("x: a,b\\r\\nip: ::1\\r\\nn: 5\\r\\n\\r\\n")),
                ("req.hdr(x)", None),
            ],
        );
    }

    #[test]
    fn addresses() {
        let rows = [
            ("1.2.3.4", Some("1.2.3.4")),
            ("1.2.3.4:80", Some("1.2.3.4")),
            ("1.2.3.4:99999", None),
            ("1.2.3.4:", None),
            ("1.2.3.4:8a", None),
            ("::1", Some("::1")),
            ("[::1]", Some("::1")),
            ("[::1]:80", None),
            ("\"[::1]\"", None),
            ("[::1", None),
            ("1.2.3", None),
            ("1.2.3.4.5", None),
            ("1.2.3.04", Some("1.2.3.4")),
            ("01.2.3.4", Some("1.2.3.4")),
            ("1.2.3.4x", None),
            ("1.2.3.256", None),
            ("[1.2.3.4]", None),
            ("1", None),
            ("1.2.3.4/8", None),
            ("::ffff:1.2.3.4", Some("::ffff:1.2.3.4")),
            ("fe80::1%eth0", None),
            ("2001:db8::1:80", Some("2001:db8::1:80")),
            ("foo, 1.2.3.4", Some("1.2.3.4")),
            ("", None),
        ];
        for (text, expected) in rows {
            let case = Case::request(format!("GET / HTTP/1.1\r\nHost: h\r\nIP: {text}\r\n\r\n"));
            assert_eq!(case.eval("req.hdr_ip(ip)").value.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn refused() {
        check_refused(&[
            ("req.hdr(a,-11)", "invalid args in fetch method 'req.hdr' : header occurrence must be >= -10"),
            ("req.hdr(a,x)", "failed to parse 'x' as type 'integer' at position 2"),
        ]);
    }
}
