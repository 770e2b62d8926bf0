//! Chunked bodies: what is refused, what is dropped, and that any split and any re-chunking give the same bytes.

use proptest::prelude::*;
use sockeye_http::Headers;
use sockeye_http::h1::Violation as V;
use sockeye_http::h1::{ChunkDecoder, ChunkHeader, Decoded, LAST_CHUNK, Limits, Strictness, encode_trailers};

/// Decodes pieces as they arrive: body, trailers as text, and bytes left over behind the end.
fn decode(pieces: &[&[u8]]) -> Result<Option<(Vec<u8>, String, usize)>, V> {
    let mut decoder = ChunkDecoder::new();
    let (mut body, mut left_over) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        while !decoder.is_done() {
            let (consumed, decoded) = decoder
                .decode(rest, &Limits::default(), Strictness::Strict)
                .map_err(|error| error.violation)?;
            if let Decoded::Data(range) = &decoded {
                body.extend_from_slice(&rest[range.clone()]);
            }
            rest = &rest[consumed..];
            if decoded == Decoded::NeedMore {
                assert!(rest.is_empty(), "everything is consumed before more is asked for");
                break;
            }
        }
        left_over += rest.len();
    }
    let trailers = decoder
        .trailers()
        .iter()
        .map(|(name, value)| format!("{}: {}\n", name.escape_ascii(), value.escape_ascii()));
    Ok(decoder.is_done().then(|| (body, trailers.collect(), left_over)))
}

fn check_bad(expected: V, inputs: &[&[u8]]) {
    for input in inputs {
        assert_eq!(decode(&[input]), Err(expected), "{}", input.escape_ascii());
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(decode(&bytes), Err(expected), "byte by byte: {}", input.escape_ascii());
    }
}

fn check_good(input: &[u8], body: &[u8], trailers: &str) {
    let expected = Ok(Some((body.to_vec(), trailers.to_owned(), 0)));
    assert_eq!(decode(&[input]), expected, "{}", input.escape_ascii());
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(decode(&bytes), expected, "byte by byte: {}", input.escape_ascii());
}

#[test]
fn sizes() {
    check_bad(
        V::BadChunkSize,
        &[
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b"\r\nabc\r\n0\r\n\r\n",
            b";a\r\nabc\r\n0\r\n\r\n",
            b"g\r\n",
            b"3h\r\nabc\r\n0\r\n\r\n",
            b"3,3\r\n",
            b"3_3\r\n",
            b"3.\r\n",
            b"\x003\r\n",
            b"\n3\r\n",
            b"\"3\"\r\n",
            b"3\r\nabc\r\n\r\n",
            b"3\r\nabc\r\n-1\r\n\r\n",
            b"\xef\xbc\x93\r\n",
        ],
    );
    check_bad(
        V::ChunkSizeOverflow,
        &[
            b"ffffffffffffffff\r\n",
            b"10000000000000003\r\nabc\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\n",
            b"00000000000000003\r\nabc\r\n0\r\n\r\n",
            b"0000000000000000\r\n\r\n",
        ],
    );
    check_bad(V::BareLf, &[b"3\nabc\r\n0\r\n\r\n", b"3 \nabc\r\n0\r\n\r\n", b"0\n\n", b"0\n\r\n"]);
    check_bad(V::BareCr, &[b"3\rabc\r\n0\r\n\r\n", b"3\r\r\nabc\r\n0\r\n\r\n", b"0\r\r\n\r\n", b"3 \r \n"]);
    check_bad(
        V::BadChunkEnd,
        &[
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabc0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"3\r\nabc\rX0\r\n\r\n",
            b"3\r\nabc\r\r\n0\r\n\r\n",
            b"3\r\nabc \r\n0\r\n\r\n",
        ],
    );
    check_good(b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789", "");
    check_good(b"000000000000003\r\nabc\r\n000\r\n\r\n", b"abc", "");
    check_good(b"3 \r\nabc\r\n0 \t\r\n\r\n", b"abc", "");
    check_good(b"0\r\n\r\n", b"", "");
}

#[test]
fn extensions() {
    for good in [
        &b"3;a\r\nabc\r\n0\r\n\r\n"[..],
        b"3;a=b\r\nabc\r\n0\r\n\r\n",
        b"3;a=b;c=\"d\";e\r\nabc\r\n0\r\n\r\n",
        b"3 ; a = b ; c = \"d;\\\"\\\\\xe9\t \" \r\nabc\r\n0;last\r\n\r\n",
    ] {
        check_good(good, b"abc", "");
    }
    check_bad(
        V::BadChunkExtension,
        &[
            b"3;\r\n",
            b"3;;\r\n",
            b"3;=b\r\n",
            b"3;a=\r\n",
            b"3;a b\r\n",
            b"3 a\r\n",
            b"3;a=\"b\r\nabc\r\n0\r\n\r\n",
            b"3;a=\"b\\\r\n",
            b"3;a=\"b\"c\r\n",
            b"3;a\0b\r\n",
            b"3;a=\"\0\"\r\n",
            b"3;a=\"\x7f\"\r\n",
            b"3;a=\"\x01\"\r\n",
            b"3;a=b=c\r\n",
            b"3;a\x80\r\n",
            b"3;a=\x80\r\n",
            b"3;(a)\r\n",
        ],
    );
    check_bad(
        V::BareLf,
        &[b"3;\nabc\r\n", b"3;a\nabc\r\n", b"3;a=\"\n\"\r\n", b"3;a=b\nabc\r\n", b"3;a=\"b\\\n\"\r\n"],
    );
    check_bad(V::BareCr, &[b"3;a\rb\r\n", b"3;a\r\r\n", b"3;a=b\r;c\r\n"]);
    let long = [&b"3;"[..], &b"a".repeat(1024), b"\r\nabc\r\n0\r\n\r\n"].concat();
    check_bad(V::ChunkExtensionTooLong, &[&long, &[&b"3"[..], &b" ".repeat(1025)].concat()]);
    let allowed = [&b"3;"[..], &b"a".repeat(1023), b"\r\nabc\r\n0\r\n\r\n"].concat();
    check_good(&allowed, b"abc", "");
}

#[test]
fn trailers() {
    check_good(b"0\r\nX-T: 1\r\nETag:  \"x\" \r\nX-T: 2\r\n\r\n", b"", "x-t: 1\netag: \\\"x\\\"\nx-t: 2\n");
    // Everything that frames, routes, authenticates or controls is dropped.
    check_good(
        b"0\r\nHost: y\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\nAuthorization: z\r\nConnection: a\r\n\
          Set-Cookie: c\r\nX-Forwarded-For: i\r\nTrailer: t\r\nContent-Type: m\r\nTE: u\r\nX: kept\r\n\r\n",
        b"",
        "x: kept\n",
    );
    check_bad(V::ObsFold, &[b"0\r\nX: y\r\n z\r\n\r\n", b"0\r\n X: y\r\n\r\n"]);
    check_bad(V::SpaceBeforeColon, &[b"0\r\nX : y\r\n\r\n"]);
    check_bad(V::BadFieldName, &[b"0\r\nX@: y\r\n\r\n", b"0\r\nX\0: y\r\n\r\n"]);
    check_bad(V::BadFieldValue, &[b"0\r\nX: \0\r\n\r\n"]);
    check_bad(V::MissingColon, &[b"0\r\nGET / HTTP/1.1\r\n\r\n", b"0\r\nX\r\n\r\n"]);
    check_bad(V::EmptyFieldName, &[b"0\r\n: y\r\n\r\n"]);
    check_bad(V::BareCr, &[b"0\r\nX: a\rb\r\n\r\n"]);
    check_bad(V::BareLf, &[b"0\r\n\n", b"0\r\nX: a\n\r\n", b"0\r\nX: a\r\n\n"]);
    check_bad(V::TooManyFields, &[&[b"0\r\n", &b"X: y\r\n".repeat(101)[..], b"\r\n"].concat()]);
    check_bad(V::TrailersTooLarge, &[&[b"0\r\nX: ", &b"y".repeat(16_384)[..], b"\r\n\r\n"].concat()]);
}

#[test]
fn bytes_behind_the_end_are_left_alone() {
    assert_eq!(decode(&[b"0\r\n\r\nGET / HTTP/1.1"]), Ok(Some((Vec::new(), String::new(), 14))));
    assert_eq!(decode(&[b"0\r\nX: y\r\n\r\nGET"]), Ok(Some((Vec::new(), "x: y\n".to_owned(), 3))));
    assert_eq!(decode(&[b"3\r\nabc\r\n0\r\n\r"]), Ok(None));
}

#[test]
fn data_may_pass_beside_the_decoder() {
    let mut decoder = ChunkDecoder::new();
    let limits = Limits::default();
    assert_eq!(decoder.decode(b"40\r\n", &limits, Strictness::Strict), Ok((4, Decoded::NeedMore)));
    assert_eq!(decoder.data_remaining(), 64);
    decoder.skip_data(60);
    assert_eq!(decoder.decode(b"abcd\r\n0", &limits, Strictness::Strict), Ok((4, Decoded::Data(0..4))));
    assert_eq!(decoder.data_remaining(), 0);
    assert_eq!(decoder.decode(b"\r\n0\r\n\r\n", &limits, Strictness::Strict), Ok((7, Decoded::Done)));
    decoder.reset();
    assert_eq!(decoder.decode(b"1\r\nx", &limits, Strictness::Strict), Ok((4, Decoded::Data(3..4))));
}

#[test]
fn chunk_headers() {
    for (length, expected) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (65_536, "10000\r\n")] {
        assert_eq!(ChunkHeader::new(length).as_bytes(), expected.as_bytes());
    }
    assert_eq!(ChunkHeader::new(u64::MAX).as_bytes(), b"ffffffffffffffff\r\n");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn encoding_then_decoding_in_any_pieces_is_the_identity(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
        trailers in proptest::collection::vec(("x-[a-z]{1,8}", "[!-~]{0,12}"), 0..3),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        pipelined in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(ChunkHeader::new(chunk.len() as u64).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        let mut fields = Headers::new();
        for (name, value) in &trailers {
            fields.append(name.as_bytes(), value.as_bytes());
        }
        if trailers.is_empty() {
            wire.extend_from_slice(LAST_CHUNK);
        } else {
            encode_trailers(&fields, &mut wire);
        }
        wire.extend_from_slice(&pipelined);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&wire[start..cut]);
            start = cut;
        }
        pieces.push(&wire[start..]);
        let (body, read, left_over) = decode(&pieces).expect("valid").expect("complete");
        prop_assert_eq!(body, chunks.concat());
        let kept: String = fields
            .iter()
            .filter(|(name, _)| !name.starts_with(b"x-forwarded-"))
            .map(|(name, value)| format!("{}: {}\n", name.escape_ascii(), value.escape_ascii()))
            .collect();
        prop_assert_eq!(read, kept);
        prop_assert_eq!(left_over, pipelined.len());
    }
}
