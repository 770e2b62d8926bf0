//! Cookies of both directions.

use sockeye_sample::{Arg, Fetch, Scene, Value};

use super::Side::{self, Request, Response};
use super::fields::{self, Split, find_unquoted, trim};
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
    sided!("set-cookie", text, each_text, RESPONSE),
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

/// Every cookie: name and value, in order. A `Cookie` field has many, a `Set-Cookie` field one with attributes.
fn cookies<'a>(scene: &Scene<'a>, side: Side) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let name: &[u8] = if side == Request { b"cookie" } else { b"set-cookie" };
    let fields = side
        .headers(scene)
        .into_iter()
        .flat_map(move |headers| fields::values(headers, name, Split::AtCommas));
    fields.flat_map(move |field| {
        let mut rest = Some(field);
        std::iter::from_fn(move || {
            let text = rest.take()?;
            let end = find_unquoted(text, |byte| byte == b';');
            if side == Request {
                rest = text.get(end + 1..);
            }
            Some(&text[..end])
        })
        .filter_map(move |cookie| {
            let equals = memchr::memchr(b'=', cookie)?;
            let name = trim(&cookie[..equals]);
            // RFC 2109 let clients send `$Version` and `$Path` along.
            let is_attribute = side == Request && name.starts_with(b"$");
            (!is_attribute).then(|| (name, trim(&cookie[equals + 1..])))
        })
    })
}

/// The values of cookies called `name`, or of all if that is empty.
fn values<'a>(scene: &Scene<'a>, name: &[u8], side: Side) -> impl Iterator<Item = &'a [u8]> {
    cookies(scene, side).filter(move |(of, _)| name.is_empty() || *of == name).map(|(_, value)| value)
}

/// The last value of a name; without a name the first of all.
fn bytes<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<&'a [u8]> {
    let name = arguments::text(args, 0);
    let mut values = values(scene, name, side);
    if name.is_empty() { values.next() } else { values.last() }
}

fn text<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    bytes(scene, args, side).map(Value::str)
}

fn each_text<'a>(scene: &Scene<'a>, args: &[Arg], side: Side, visit: &mut dyn FnMut(Value<'a>) -> bool) {
    let _ = values(scene, arguments::text(args, 0), side).any(|value| visit(Value::str(value)));
}

fn number<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    bytes(scene, args, side).map(|text| Value::Int(leading_int(text)))
}

fn each_number<'a>(scene: &Scene<'a>, args: &[Arg], side: Side, visit: &mut dyn FnMut(Value<'a>) -> bool) {
    let _ = values(scene, arguments::text(args, 0), side).any(|value| visit(Value::Int(leading_int(value))));
}

fn count<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    side.headers(scene)?;
    i64::try_from(values(scene, arguments::text(args, 0), side).count()).ok().map(Value::Int)
}

/// `req.cook_names([delim])`
fn names<'a>(scene: &Scene<'a>, args: &[Arg], side: Side) -> Option<Value<'a>> {
    side.headers(scene)?;
    let delimiter = arguments::text(args, 0).first().copied().unwrap_or(b',');
    Some(Value::string(join(cookies(scene, side).map(|(name, _)| name), delimiter)))
}
