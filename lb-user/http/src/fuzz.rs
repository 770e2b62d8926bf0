//! The bodies of the fuzz targets: each takes any bytes, parses them, and asserts what must hold of whatever was
//! accepted. The crate's own tests drive them with random and mutated input, so that every test run is a smoke run.

use crate::h1::{
    ChunkDecoder, Decoded, EncodeOptions, Limits, Strictness, encode_request, encode_response, parse_request,
    parse_response,
};
use crate::message::{Method, RequestFacts, RequestHead, ResponseHead, Version};

/// Any bytes as a request and its body.
pub fn h1_request(data: &[u8]) {
    for strictness in [Strictness::Strict, Strictness::Relaxed] {
        let limits = Limits::default();
        let mut head = RequestHead::new();
        let Ok(Some(consumed)) = parse_request(data, &mut head, &limits, strictness) else { continue };
        assert!(consumed <= data.len());
        drive_body(&data[consumed..], &limits, strictness);
        if strictness == Strictness::Relaxed {
            continue;
        }
        let mut first = Vec::new();
        encode_request(&head, &mut first, EncodeOptions::default());
        let mut again = RequestHead::new();
        let parsed =
            parse_request(&first, &mut again, &Limits { head_bytes_max: usize::MAX, ..limits }, strictness);
        assert_eq!(parsed, Ok(Some(first.len())), "what is sent must be accepted");
        assert_eq!(head.body, again.body, "what is sent must be framed alike");
        let mut second = Vec::new();
        encode_request(&again, &mut second, EncodeOptions::default());
        assert_eq!(first, second, "the normal form is a fixed point");
    }
}

/// Any bytes as a response to each kind of request.
pub fn h1_response(data: &[u8]) {
    let requests = [Method::Get, Method::Head, Method::Connect].into_iter().flat_map(|method| {
        [false, true].map(|upgrade| RequestFacts { method, version: Version::Http11, upgrade })
    });
    for request in requests {
        for strictness in [Strictness::Strict, Strictness::Relaxed] {
            let limits = Limits::default();
            let mut head = ResponseHead::new();
            let Ok(Some(consumed)) = parse_response(data, &mut head, request, &limits, strictness) else {
                continue;
            };
            assert!(consumed <= data.len());
            drive_body(&data[consumed..], &limits, strictness);
            if strictness == Strictness::Relaxed || head.status() == 101 {
                continue;
            }
            let mut first = Vec::new();
            encode_response(&head, &mut first, EncodeOptions::default());
            let mut again = ResponseHead::new();
            let limits = Limits { head_bytes_max: usize::MAX, ..limits };
            let parsed = parse_response(&first, &mut again, request, &limits, strictness);
            assert_eq!(parsed, Ok(Some(first.len())), "what is sent must be accepted");
            assert_eq!(head.body, again.body, "what is sent must be framed alike");
            let mut second = Vec::new();
            encode_response(&again, &mut second, EncodeOptions::default());
            assert_eq!(first, second, "the normal form is a fixed point");
        }
    }
}

/// Decodes to the end, checking that ranges stay inside and that it always gets on.
fn drive_body(mut input: &[u8], limits: &Limits, strictness: Strictness) {
    let mut decoder = ChunkDecoder::new();
    while let Ok((consumed, decoded)) = decoder.decode(input, limits, strictness) {
        assert!(consumed <= input.len());
        match decoded {
            Decoded::Data(range) => assert!(!range.is_empty() && range.end <= consumed),
            Decoded::NeedMore => {
                assert_eq!(consumed, input.len());
                break;
            }
            Decoded::Done => {
                assert!(decoder.is_done());
                break;
            }
        }
        input = &input[consumed..];
    }
}
