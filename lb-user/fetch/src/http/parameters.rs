//! Parameters of the query string and of url-encoded bodies. Nothing is decoded.

use sockeye_sample::{Arg, Compiler, Fetch, Scene, Value};

use super::{body, request};
use crate::arguments;

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("url_param", |scene, args| first(in_url(scene, args)?).map(Value::str))
        .each(|scene, args, visit| each(in_url(scene, args), visit))
        .prepare(|args, _| prepare_url(args)),
    Fetch::new("urlp", |scene, args| first(in_url(scene, args)?).map(Value::str))
        .each(|scene, args, visit| each(in_url(scene, args), visit))
        .prepare(|args, _| prepare_url(args)),
    Fetch::new("urlp_val", |scene, args| Value::str(first(in_url(scene, args)?)?).to_int().map(Value::Int))
        .each(|scene, args, visit| {
            each(in_url(scene, args), &mut |value| {
                value.to_int().is_some_and(|number| visit(Value::Int(number)))
            });
        })
        .prepare(|args, _| prepare_url(args)),
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

fn prepare_url(args: &mut [Arg]) -> Result<(), String> {
    if arguments::text(args, 1).len() > 1 {
        return Err("delimiter must be a single character".to_owned());
    }
    any_case(args, 2)
}

fn prepare_body(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    any_case(args, 1)
}

/// Accepts `i` at `index`.
fn any_case(args: &mut [Arg], index: usize) -> Result<(), String> {
    match arguments::word(args, index)? {
        None => {}
        Some("i") => args[index] = Arg::Int(1),
        Some(_) => return Err("the only supported option is 'i' for case-insensitivity".to_owned()),
    }
    Ok(())
}
