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
