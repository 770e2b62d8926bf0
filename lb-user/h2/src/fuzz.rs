//! What must hold for any input, for the fuzz targets and for tests: no panic, and one message stays one message.

use http::{HeaderName, HeaderValue, Request};
use sockeye_http::h1::{Limits, Strictness, parse_request};
use sockeye_http::{BodyLength, Method, RequestFacts, RequestHead, Version};

use crate::meter::Meter;
use crate::request::{Kind, Translated, encode_head};
use crate::response::{ResponseReader, Step};
use crate::upstream;

/// A request of HTTP/2 made of `data`, one part a line: whatever it is translated to, the HTTP/1 parser takes it for one
/// head, to its last byte, or refuses it.
///
/// # Panics
/// When that does not hold.
pub fn request(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let method = lines.next().unwrap_or_default();
    let uri = lines.next().unwrap_or_default();
    let Ok(mut request) = Request::builder().method(method).uri(uri).body(()) else { return };
    while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            request.headers_mut().append(name, value);
        }
    }
    let head = request.into_parts().0;
    for (protocol, ended) in [(None, true), (None, false), (Some("websocket"), false)] {
        let mut text = Vec::new();
        let Ok(translated) = encode_head(&head, protocol, ended, [1; 16], &mut text) else { continue };
        let limits =
            Limits { translated: true, head_bytes_max: usize::MAX, fields_max: 10_000, ..Limits::default() };
        let mut parsed = RequestHead::new();
        if let Ok(used) = parse_request(&text, &mut parsed, &limits, Strictness::Strict) {
            assert_eq!(used, Some(text.len()), "one head");
            assert_eq!(parsed.version(), Version::Http2);
            assert_eq!(parsed.body == BodyLength::Chunked, translated.chunked);
        }
    }
}

/// Bytes of HTTP/1 as a response to a client and as a request to a server, in pieces of the first byte's length: the
/// same comes of them as in one piece.
///
/// # Panics
/// When that does not hold.
pub fn messages(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let piece = usize::from(*piece).max(1);
    assert_eq!(response(bytes, piece), response(bytes, usize::MAX));
    assert_eq!(upstream(bytes, piece), upstream(bytes, usize::MAX));
    let (mut whole, mut pieces) = (Meter::of_client(), Meter::of_client());
    whole.received(bytes);
    for part in bytes.chunks(piece) {
        pieces.received(part);
    }
    assert_eq!(whole.glitches(), pieces.glitches());
}

/// Everything a response comes to, content apart from the rest.
fn response(bytes: &[u8], piece: usize) -> (Vec<u8>, String) {
    let facts = RequestFacts { method: Method::Get, version: Version::Http11, upgrade: false };
    let mut reader = ResponseReader::new(&Translated { kind: Kind::Exchange, chunked: false, facts });
    read(bytes, piece, |input, ended| {
        let done = reader.is_done();
        let (used, step) = reader.step(input, ended).map_err(|_| ())?;
        Ok(match step {
            _ if done => (used, Found::End(String::new())),
            Step::NeedMore => (used, Found::More),
            Step::Data(range) => (used, Found::Data(range)),
            Step::End(trailers) => (used, Found::End(format!("{trailers:?}"))),
            other => (used, Found::Other(format!("{other:?}"))),
        })
    })
}

/// The same for a request.
fn upstream(bytes: &[u8], piece: usize) -> (Vec<u8>, String) {
    let mut reader = upstream::RequestReader::new(false);
    read(bytes, piece, |input, ended| {
        let done = reader.is_done();
        let (used, step) = reader.step(input, ended).map_err(|_| ())?;
        Ok(match step {
            _ if done => (used, Found::End(String::new())),
            upstream::Step::NeedMore => (used, Found::More),
            upstream::Step::Data(range) => (used, Found::Data(range)),
            upstream::Step::End(trailers) => (used, Found::End(format!("{trailers:?}"))),
            other @ upstream::Step::Head(..) => (used, Found::Other(format!("{other:?}"))),
        })
    })
}

enum Found {
    More,
    Data(std::ops::Range<usize>),
    End(String),
    Other(String),
}

fn read(
    bytes: &[u8],
    piece: usize,
    mut step: impl FnMut(&[u8], bool) -> Result<(usize, Found), ()>,
) -> (Vec<u8>, String) {
    let (mut at, mut seen) = (0usize, 0usize);
    let (mut content, mut rest) = (Vec::new(), String::new());
    loop {
        let ended = seen == bytes.len();
        let Ok((used, found)) = step(&bytes[at..seen], ended) else {
            // How much content came before a fault depends on the pieces.
            return (Vec::new(), rest + "broken");
        };
        let start = at;
        at += used;
        match found {
            Found::More if used == 0 && ended => return (content, rest + "waits"),
            Found::More if used == 0 => seen = seen.saturating_add(piece).min(bytes.len()),
            Found::More => {}
            Found::Data(range) => content.extend_from_slice(&bytes[start..][range]),
            Found::Other(text) => rest += &text,
            Found::End(text) => return (content, rest + &text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// Text in which what matters to messages is frequent.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(vec![
            "HTTP/1.1 200 OK\r\n",
            "GET / HTTP/1.1\r\n",
            "POST http://a/b HTTP/1.1\r\n",
            "host: a\r\n",
            "content-length: 3\r\n",
            "transfer-encoding: chunked\r\n",
            "\r\n",
            "abc",
            "3\r\nabc\r\n",
            "0\r\n",
            "x: y\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "\n",
            " ",
            "connection: upgrade\r\nupgrade: websocket\r\n",
            "5;x\r\n",
            "\0",
        ]);
        prop::collection::vec(word, 0..14).prop_map(|words| words.concat().into_bytes())
    }

    /// Lines of a request of HTTP/2.
    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(vec![
            "GET",
            "POST",
            "OPTIONS",
            "CONNECT",
            "*",
            "/",
            "http://a/b",
            "https://a:443",
            "a:80",
            "//x",
            "host",
            "a",
            "cookie",
            "c=1",
            "content-length",
            "0",
            "7",
            "te",
            "trailers",
            "connection",
            "x",
            " y",
            "\u{e9}",
            "transfer-encoding",
        ]);
        prop::collection::vec(word, 2..14).prop_map(|words| words.join("\n").into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn one_message_stays_one(lines in lines(), text in text(), piece in 1u8..40) {
            super::request(&lines);
            super::messages(&[&[piece], &text[..]].concat());
        }
    }
}
