//! Cookies of both directions.

use sockeye_http::Known;
use sockeye_sample::{Arg, Fetch, Scene, Value};

use super::Side::{self, Request, Response};
use super::fields::{self, Elements, Split, find_unquoted, trim};
use super::headers::join;
use crate::arguments::{self, leading_int};

/// A table row: the words for one direction differ only in that.
macro_rules! sided {
    ($name:literal, $one:ident, $each:ident, $side:expr) => {
        Fetch::new($name, |scene, args| $one(scene, args, $side(scene)))
            .each(|scene, args, visit| $each(scene, args, $side(scene), visit))
    };
}

const REQUEST: fn(&Scene<'_>) -> Side = |_| Request;
const RESPONSE: fn(&Scene<'_>) -> Side = |_| Response;
/// The direction in which the expression stands.
const HERE: fn(&Scene<'_>) -> Side = |scene| Side::of_stage(scene.stage);

pub(crate) static FETCHES: &[Fetch] = &[
    sided!("cook", text, each_text, REQUEST),
    sided!("cookie", text, each_text, HERE),
    sided!("req.cook", text, each_text, REQUEST),
    sided!("res.cook", text, each_text, RESPONSE),
    sided!("scook", text, each_text, RESPONSE),
    sided!("cook_val", number, each_number, REQUEST),
    sided!("req.cook_val", number, each_number, REQUEST),
    sided!("res.cook_val", number, each_number, RESPONSE),
    sided!("scook_val", number, each_number, RESPONSE),
    Fetch::new("cook_cnt", |scene, args| count(scene, args, Request)),
    Fetch::new("req.cook_cnt", |scene, args| count(scene, args, Request)),
    Fetch::new("res.cook_cnt", |scene, args| count(scene, args, Response)),
    Fetch::new("scook_cnt", |scene, args| count(scene, args, Response)),
    Fetch::new("req.cook_names", |scene, args| names(scene, args, Request)),
    Fetch::new("res.cook_names", |scene, args| names(scene, args, Response)),
];

/// Every cookie: name and value, in order.
fn cookies<'a>(scene: &Scene<'a>, side: Side, split: Split) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let name: &[u8] = if side == Request { b"cookie" } else { b"set-cookie" };
    let headers = side.headers(scene);
    let fields = headers.into_iter().flat_map(move |headers| fields::values(headers, name, split));
    fields.flat_map(move |field| {
        // What follows the first cookie of a response is its attributes.
        Pairs(field).take(if side == Request { usize::MAX } else { 1 })
    })
}

/// Names and values between semicolons and commas. Quotes protect these in values, and stay part of them.
struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let end = memchr::memchr3(b'=', b';', b',', self.0)?;
            let (name, rest) = self.0.split_at(end);
            let (delimiter, rest) = rest.split_first()?;
            self.0 = rest;
            if *delimiter != b'=' {
                continue;
            }
            let end = find_unquoted::<b';', b','>(rest);
            self.0 = rest.get(end + 1..).unwrap_or_default();
            let name = trim(name);
            // RFC 2109 let clients send `$Version` and `$Path` along.
            if !name.starts_with(b"$") {
                return Some((name, trim(&rest[..end])));
            }
        }
    }
}

/// Shows the values of cookies called `name`, or of all if that is empty, until `visit` says `true`.
fn visit_values<'a>(scene: &Scene<'a>, name: &[u8], side: Side, visit: &mut dyn FnMut(&'a [u8]) -> bool) {
    if name.is_empty() || name.starts_with(b"$") || side == Response {
        let _ = cookies(scene, side, Split::AtCommas)
            .filter(|(of, _)| name.is_empty() || *of == name)
            .any(|(_, value)| visit(value));
        return;
    }
    let Some(headers) = side.headers(scene) else { return };
    for line in headers.all_known(Known::Cookie) {
        let done = if memchr::memchr(b'"', line).is_some() {
            let mut pairs = Elements::list(line).flat_map(Pairs);
            pairs.any(|(of, value)| of == name && visit(value))
        } else {
            // Without quotes every semicolon and comma separates: what each part begins with decides.
            let ends = memchr::memchr2_iter(b';', b',', line).chain([line.len()]);
            let mut start = 0;
            let mut parts = ends.map(|end| &line[std::mem::replace(&mut start, end + 1)..end]);
            parts.any(|part| plain_value(part, name).is_some_and(&mut *visit))
        };
        if done {
            return;
        }
    }
}

/// The value of a part without quotes and delimiters, if it is the cookie called `name`.
fn plain_value<'a>(part: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = trim(part).strip_prefix(name)?;
    trim(rest).strip_prefix(b"=").map(trim)
}

/// The last value of a name; without a name the first of all.
fn bytes<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<&'a [u8]> {
    let name = arguments::text(args, 0);
    let mut found = None;
    visit_values(scene, name, side, &mut |value| {
        found = Some(value);
        name.is_empty()
    });
    found
}

fn text<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    bytes(scene, args, side).map(Value::str)
}

fn each_text<'a>(scene: &Scene<'a>, args: &[Arg], side: Side, visit: &mut dyn FnMut(Value<'a>) -> bool) {
    visit_values(scene, arguments::text(args, 0), side, &mut |value| visit(Value::str(value)));
}

fn number<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    bytes(scene, args, side).map(|text| Value::Int(leading_int(text)))
}

fn each_number<'a>(scene: &Scene<'a>, args: &[Arg], side: Side, visit: &mut dyn FnMut(Value<'a>) -> bool) {
    visit_values(scene, arguments::text(args, 0), side, &mut |value| visit(Value::Int(leading_int(value))));
}

fn count<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    side.headers(scene)?;
    let mut count = 0;
    visit_values(scene, arguments::text(args, 0), side, &mut |_| {
        count += 1;
        false
    });
    Some(Value::Int(count))
}

/// `req.cook_names([delim])`
fn names<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    side.headers(scene)?;
    let delimiter = arguments::text(args, 0).first().copied().unwrap_or(b',');
    // A date in `Expires` has a comma, which only here is not taken for the end of a cookie.
    let split = if side == Request { Split::AtCommas } else { Split::Never };
    let names = cookies(scene, side, split);
    Some(Value::string(join(names.map(|(name, _)| name), delimiter)))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_each};

    fn case(fields: &str) -> Case {
        Case::request(format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
    }

    /// Values from HAProxy 3.2.
    #[test]
    fn of_requests() {
        let many = case("Cookie: a=1; b = 2 ; c; d=\"x;y\"; =5; e=\r\nCookie: a=3,b=9; f=\"q\"z; g=1=2\r\n");
        check(
            &many,
            &[
                ("req.cook(a)", Some("3")),
                ("req.cook(b)", Some("9")),
                ("req.cook(c)", None),
                ("req.cook(d)", Some("\\\"x;y\\\"")),
                ("req.cook(e)", Some("")),
                ("req.cook(f)", Some("\\\"q\\\"z")),
                ("req.cook(g)", Some("1=2")),
                ("req.cook", Some("1")),
                ("req.cook(A)", None),
                ("cook(a)", Some("3")),
                ("cookie(a)", Some("3")),
                ("req.cook_cnt(a)", Some("2")),
                ("req.cook_cnt", Some("9")),
                ("cook_cnt(none)", Some("0")),
                ("req.cook_val(a)", Some("3")),
                ("cook_val", Some("1")),
                ("req.cook_val(none)", None),
                ("req.cook_names", Some("a,b,d,,e,a,b,f,g")),
                ("req.cook_names(;)", Some("a;b;d;;e;a;b;f;g")),
            ],
        );
        check_each(
            &many,
            &[
                ("req.cook(a)", &["1", "3"]),
                ("req.cook_val(b)", &["2", "9"]),
                ("req.cook(none)", &[]),
                ("cook", &["1", "2", "\\\"x;y\\\"", "5", "", "3", "9", "\\\"q\\\"z", "1=2"]),
            ],
        );
        let none: &[_] = &[
            ("req.cook", None),
            ("req.cook_cnt", Some("0")),
            ("req.cook_names", Some("")),
            ("req.cook_val", None),
        ];
        check(&case(""), none);
        check(&case("Cookie: \r\n"), none);
        check(
            &case("Cookie: a\r\nCookie: ; ;a=1;;b=2;\r\n"),
            &[("req.cook", Some("1")), ("req.cook_names", Some("a,b")), ("req.cook(b)", Some("2"))],
        );
        check(
            &case("Cookie: a=\"1, 2\"; $b=2\r\n"),
            &[("req.cook(a)", Some("\\\"1, 2\\\"")), ("req.cook($b)", None), ("req.cook_cnt", Some("1"))],
        );
        check(
            &case("Cookie: \ta\t=\t1\t;b=2\r\n"),
            &[("req.cook(a)", Some("1")), ("req.cook_names", Some("a,b"))],
        );
        check(
            &case("Cookie: a=x y; b=\\\";c=\"\\\";z\"\r\n"),
            &[("req.cook(a)", Some("x y")), ("req.cook(c)", None), ("req.cook_names", Some("a,b"))],
        );
    }

    /// Quotes in names are nothing special, quotes in values are. HAProxy finds `a=` at the end of a field only without
    /// a name, against its manual.
    #[test]
    fn quotes_and_ends() {
        for (field, first, names) in [
            ("\"a=1;b=2", "1", "\\\"a,b"),
            ("x\"a=1;b=2\"c=3", "1", "x\\\"a,b"),
            ("b=\"1,a=2", "\\\"1,a=2", "b"),
            ("b=1\"2;a=2", "1\\\"2;a=2", "b"),
            ("b=\"1\\\";a=2\";c=3", "\\\"1\\\\\\\";a=2\\\"", "b,c"),
            ("a;b,c=1,a=5", "1", "c,a"),
            ("a b=1; a=2", "1", "a b,a"),
            ("a=\"1\"x;b=2\"", "\\\"1\\\"x", "a,b"),
            ("$a=1;b=2", "2", "b"),
            ("a=", "", "a"),
            ("=1; =2; b=3", "1", "b"),
        ] {
            let case = case(&format!("Cookie: {field}\r\n"));
            check(&case, &[("req.cook", Some(first)), ("req.cook_names", Some(names))]);
        }
        check(&case("Cookie: b=1;a=\r\n"), &[("req.cook(a)", Some(""))]);
    }

    #[test]
    fn of_responses() {
        check(
            &Case::response(
                "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Expires=Wed, 21 Oct 2015 07:28:00 GMT; Path=/\r\n\r\n",
            ),
            // The comma of the date.
            &[("res.cook(a)", Some("1")), ("res.cook_cnt", Some("2")), ("res.cook_names", Some("a"))],
        );
        check(
            &Case::response("HTTP/1.1 200 OK\r\nSet-Cookie: a; b=2; c=3\r\n\r\n"),
            &[("res.cook(b)", Some("2")), ("res.cook(c)", None), ("res.cook_names", Some("b"))],
        );
        let case = Case::response(
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=\"x;y\"; HttpOnly\r\nSet-Cookie: a=2\r\n\r\n",
        );
        check(
            &case,
            &[
                ("res.cook(a)", Some("2")),
                ("scook(a)", Some("2")),
                ("cookie(a)", Some("2")),
                ("res.cook(b)", Some("\\\"x;y\\\"")),
                ("res.cook", Some("1")),
                ("res.cook_cnt", Some("3")),
                ("scook_cnt(a)", Some("2")),
                ("res.cook_val(a)", Some("2")),
                ("scook_val", Some("1")),
                ("res.cook_names", Some("a,b,a")),
                ("req.cook(a)", None),
            ],
        );
    }
}
