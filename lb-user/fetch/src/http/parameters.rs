//! Parameters of the query string and of url-encoded bodies. Nothing is decoded.

use sockeye_sample::{Arg, Compiler, Fetch, Scene, Value};

use super::{body, request};
use crate::arguments::{self, leading_int};

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("url_param", |scene, args| first(in_url(scene, args)?).map(Value::str))
        .each(|scene, args, visit| each(in_url(scene, args), visit))
        .prepare(prepare_url),
    Fetch::new("urlp", |scene, args| first(in_url(scene, args)?).map(Value::str))
        .each(|scene, args, visit| each(in_url(scene, args), visit))
        .prepare(prepare_url),
    Fetch::new("urlp_val", |scene, args| {
        first(in_url(scene, args)?).map(|text| Value::Int(leading_int(text)))
    })
    .each(|scene, args, visit| {
        each(in_url(scene, args), &mut |value| {
            visit(Value::Int(leading_int(value.bytes().unwrap_or_default())))
        });
    })
    .prepare(prepare_url),
    Fetch::new("req.body_param", |scene, args| first(in_body(scene, args)?).map(Value::bin))
        .each(|scene, args, visit| each(in_body(scene, args), visit))
        .prepare(prepare_body),
];

/// Where parameters are looked for, and which.
struct Search<'a, 'n> {
    text: &'a [u8],
    name: &'n [u8],
    delimiter: u8,
    any_case: bool,
}

/// `url_param(name,delimiter,i)`: what follows the first delimiter, a question mark unless told otherwise.
fn in_url<'a, 'n>(scene: &Scene<'a>, args: &'n [Arg]) -> Option<Search<'a, 'n>> {
    let target = request(scene)?.target();
    let delimiter = arguments::text(args, 1).first().copied().unwrap_or(b'?');
    let start = memchr::memchr(delimiter, target)? + 1;
    Some(Search {
        text: &target[start..],
        name: arguments::text(args, 0),
        delimiter,
        any_case: arguments::int(args, 2).is_some(),
    })
}

/// `req.body_param(name,i)`
fn in_body<'a, 'n>(scene: &Scene<'a>, args: &'n [Arg]) -> Option<Search<'a, 'n>> {
    Some(Search {
        text: body::of_request(scene)?,
        name: arguments::text(args, 0),
        delimiter: b'&',
        any_case: arguments::int(args, 1).is_some(),
    })
}

fn values<'a>(search: Search<'a, '_>) -> impl Iterator<Item = &'a [u8]> {
    let Search { text, name, delimiter, any_case } = search;
    text.split(move |byte| matches!(*byte, b'&' | b';') || *byte == delimiter).filter_map(move |parameter| {
        let equals = memchr::memchr(b'=', parameter)?;
        let (found, value) = (&parameter[..equals], &parameter[equals + 1..]);
        let wanted = name.is_empty() || found == name || any_case && found.eq_ignore_ascii_case(name);
        wanted.then_some(value)
    })
}

fn first<'a>(search: Search<'a, '_>) -> Option<&'a [u8]> {
    values(search).next()
}

fn each<'a>(search: Option<Search<'a, '_>>, visit: &mut dyn FnMut(Value<'a>) -> bool) {
    let _ = search.is_some_and(|search| values(search).any(|value| visit(Value::str(value))));
}

/// `i` in third place makes names match in any case.
fn prepare_url(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    any_case(args, 2, compiler)
}

fn prepare_body(args: &mut [Arg], compiler: &mut Compiler<'_>) -> Result<(), String> {
    any_case(args, 1, compiler)
}

/// HAProxy takes any word for this argument and obeys only `i`.
fn any_case(args: &mut [Arg], index: usize, compiler: &mut Compiler<'_>) -> Result<(), String> {
    let any_case = match arguments::word(args, index)? {
        None => return Ok(()),
        Some(word) => {
            if word != "i" {
                compiler.warnings.push(format!("argument '{word}' has no effect: only 'i' is known"));
            }
            word.starts_with('i')
        }
    };
    if let Some(arg) = args.get_mut(index) {
        *arg = if any_case { Arg::Int(1) } else { Arg::Absent };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_each};

    fn case(target: &str) -> Case {
        Case::request(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"))
    }

    fn form(body: &str) -> Case {
        Case::request(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// Values from HAProxy 3.2.
    #[test]
    fn of_urls() {
        let many = case("/a/b.html?x=1&y=&z&x=2;w=3");
        check(
            &many,
            &[
                ("url_param(x)", Some("1")),
                ("url_param(y)", Some("")),
                ("url_param(z)", None),
                ("url_param(w)", Some("3")),
                ("url_param", Some("1")),
                ("url_param(X)", None),
                ("url_param(X,,i)", Some("1")),
                ("url_param(b.html,/)", None),
                ("url_param(html?x,.)", Some("1")),
                ("url_param(html?x)", None),
                ("urlp(y)", Some("")),
                ("urlp_val(x)", Some("1")),
                ("urlp_val(w)", Some("3")),
                ("urlp_val(none)", None),
            ],
        );
        check_each(
            &many,
            &[
                ("url_param(x)", &["1", "2"]),
                ("url_param", &["1", "", "2", "3"]),
                ("urlp_val(x)", &["1", "2"]),
                ("urlp(none)", &[]),
            ],
        );
        let odd = case("/?a&b=2&=3&b=5");
        check(&odd, &[("url_param", Some("2")), ("url_param(a)", None), ("url_param(b)", Some("2"))]);
        check_each(&odd, &[("url_param", &["2", "3", "5"])]);
        check(&case("/foo"), &[("url_param", None), ("url_param(a)", None)]);
        check(&case("/foo?"), &[("url_param", None), ("url_param(a)", None)]);
        check(
            &case("/foo;JS=1/a?JS=2"),
            &[("url_param(JS,;)", Some("1/a?JS=2")), ("url_param(JS)", Some("2"))],
        );
    }

    #[test]
    fn of_bodies() {
        let case = form("a=1&b=2;c=3&A=4&d&e=");
        check(
            &case,
            &[
                ("req.body_param", Some("1")),
                ("req.body_param(a)", Some("1")),
                ("req.body_param(b)", Some("2")),
                ("req.body_param(c)", Some("3")),
                ("req.body_param(A)", Some("4")),
                ("req.body_param(A,i)", Some("1")),
                ("req.body_param(d)", None),
                ("req.body_param(e)", Some("")),
            ],
        );
        check_each(
            &case,
            &[("req.body_param(a,i)", &["1", "4"]), ("req.body_param", &["1", "2", "3", "4", ""])],
        );
        check(&form("abcde"), &[("req.body_param", None)]);
    }
}
