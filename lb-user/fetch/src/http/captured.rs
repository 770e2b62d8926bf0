//! What was kept of a request and its response: captured headers, the first line, cache and compression.

use sockeye_sample::{Arg, Compiler, Fetch, Scene, Text, Value};

use super::start_line::path_and_query;
use crate::arguments;

pub(crate) static FETCHES: &[Fetch] = &[
    Fetch::new("capture.req.hdr", |scene, args| header(scene, args, true)).prepare(prepare_slot),
    Fetch::new("capture.res.hdr", |scene, args| header(scene, args, false)).prepare(prepare_slot),
    Fetch::new("capture.req.method", |scene, _| {
        scene.text(Text::RequestMethod).or_else(|| line(scene).map(|(method, _, _)| method)).map(Value::str)
    }),
    Fetch::new("capture.req.uri", |scene, _| {
        let uri = scene.text(Text::RequestUri).or_else(|| line(scene).map(|(_, uri, _)| uri))?;
        path_and_query(uri).map(Value::str)
    }),
    Fetch::new("capture.req.ver", |scene, _| {
        scene
            .text(Text::RequestVersion)
            .or_else(|| line(scene).map(|(_, _, version)| version))
            // The manual knows two versions; HAProxy calls HTTP/2 by the nearest.
            .map(|version| if version == b"HTTP/2.0" { b"HTTP/1.1" } else { version })
            .map(Value::str)
    }),
    Fetch::new("capture.res.ver", |scene, _| {
        let version = scene.response.map(|response| response.version().as_str().as_bytes());
        scene.text(Text::ResponseVersion).or(version).map(Value::str)
    }),
    Fetch::new("res.cache_hit", |scene, _| Some(Value::Bool(scene.text(Text::CacheName).is_some()))),
    Fetch::new("res.cache_name", |scene, _| {
        Some(Value::str(scene.text(Text::CacheName).unwrap_or_default()))
    }),
    Fetch::new("res.comp", |scene, _| Some(Value::Bool(scene.text(Text::CompressionAlgorithm).is_some()))),
    Fetch::new("res.comp_algo", |scene, _| scene.text(Text::CompressionAlgorithm).map(Value::str)),
];

/// Method, target and version of the request line as it was received.
fn line<'a>(scene: &Scene<'a>) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
    let line = scene.request?.request_line();
    let first = memchr::memchr(b' ', line)?;
    let last = memchr::memrchr(b' ', line)?;
    (first < last).then(|| (&line[..first], &line[first + 1..last], &line[last + 1..]))
}

/// `capture.req.hdr(slot)`
fn header<'a>(scene: &Scene<'a>, args: &[Arg], request: bool) -> Option<Value<'a>> {
    let slot = usize::try_from(arguments::int(args, 0)?).ok()?;
    scene.facts?.capture(request, slot).map(Value::string)
}

fn prepare_slot(args: &mut [Arg], _: &mut Compiler<'_>) -> Result<(), String> {
    match arguments::int(args, 0) {
        Some(..0) => Err("capture identifier must be >= 0".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Case, check, check_refused};

    #[test]
    fn captured() {
        check(
            &Case::response("HTTP/1.1 200 OK\r\n\r\n"),
            &[
                ("capture.req.hdr(1)", Some("kept")),
                ("capture.req.hdr(0)", None),
                ("capture.res.hdr(1)", None),
                ("capture.req.method", Some("PUT")),
                ("capture.req.uri", Some("/p?q")),
                ("capture.req.ver", Some("HTTP/1.1")),
                ("capture.res.ver", Some("HTTP/1.1")),
                ("res.cache_hit", Some("0")),
                ("res.cache_name", Some("")),
                ("res.comp", Some("0")),
                ("res.comp_algo", None),
            ],
        );
        check_refused(&[("capture.req.hdr(-1)", "capture identifier must be >= 0")]);
    }
}
