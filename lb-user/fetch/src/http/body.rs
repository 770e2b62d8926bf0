//! Bodies, as much of them as is at hand. To wait for them is the business of rules and options, not of fetches.

use sockeye_sample::{Body, Fetch, Scene, Value};

use super::request;

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("req.body", |scene, _| of_request(scene).map(Value::bin)),
    Fetch::new("req.body_len", |scene, _| of_request(scene).and_then(|body| length(body.len()))),
    Fetch::new("req.body_size", |scene, _| {
        request(scene)?;
        size(&scene.request_body)
    }),
    Fetch::new("res.body", |scene, _| of_response(scene).map(Value::bin)),
    Fetch::new("res.body_len", |scene, _| of_response(scene).and_then(|body| length(body.len()))),
    Fetch::new("res.body_size", |scene, _| {
        scene.response?;
        size(&scene.response_body)
    }),
];

/// The bytes of the request's body that are at hand.
pub(super) fn of_request<'a>(scene: &Scene<'a>) -> Option<&'a [u8]> {
    request(scene)?;
    Some(scene.request_body.bytes)
}

fn of_response<'a>(scene: &Scene<'a>) -> Option<&'a [u8]> {
    scene.response?;
    Some(scene.response_body.bytes)
}

fn length<'a>(length: usize) -> Option<Value<'a>> {
    i64::try_from(length).ok().map(Value::Int)
}

/// What the head announces, or else what is at hand.
fn size<'a>(body: &Body<'_>) -> Option<Value<'a>> {
    let size = body.length.unwrap_or(body.bytes.len() as u64);
    i64::try_from(size).ok().map(Value::Int)
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check};

    #[test]
    fn bodies() {
        check(
            &Case::request("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab\0"),
            &[
                ("req.body", Some("ab\\x00")),
                ("req.body_len", Some("3")),
                ("req.body_size", Some("9")),
                ("res.body", None),
                ("res.body_len", None),
            ],
        );
        check(
            &Case::request("GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
            &[("req.body", Some("")), ("req.body_len", Some("0")), ("req.body_size", Some("0"))],
        );
        check(
            &Case::response("HTTP/1.1 200 OK\r\n\r\nabc"),
            &[
                ("res.body", Some("abc")),
                ("res.body_len", Some("3")),
                ("res.body_size", Some("3")),
                ("req.body", None),
                ("req.body_size", None),
            ],
        );
    }
}
