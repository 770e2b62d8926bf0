//! The body of a fuzz target: any bytes as a header. The crate's own tests drive it.

use crate::read::{Endpoints, Header, Parsed, Transport, Version, parse};
use crate::write::{Extras, write_v1, write_v2};
use crate::{cip, tlv};

/// Reads `data` as a header in every way, whole and in pieces, and writes anew what it says.
///
/// # Panics
/// When pieces say something else than the whole, when a reader asks for bytes behind the header, or when what was
/// written does not read as the same.
pub fn any_bytes(data: &[u8]) {
    let whole = consistent(data, |bytes| parse(bytes).map_err(|error| error.to_string()));
    if let Some(header) = whole {
        same_again(&header);
    }
    let magic = data.first_chunk().map_or(0, |magic| u32::from_be_bytes(*magic));
    for magic in [magic, 0] {
        consistent(data, |bytes| cip::parse(bytes, magic).map_err(|error| error.to_string()));
    }
}

/// Feeds every start of `data` to `read`: each must ask for more until the one that decides, and none for more than the
/// header has.
fn consistent<'a>(
    data: &'a [u8],
    read: impl Fn(&'a [u8]) -> Result<Parsed<'a>, String>,
) -> Option<Header<'a>> {
    let whole = read(data);
    let length = match &whole {
        Ok(Parsed::Header(header)) => Some(header.length),
        _ => None,
    };
    assert!(length.is_none_or(|length| length <= data.len()));
    for end in 0..data.len().min(ENDS_MAX) {
        match (read(&data[..end]), length) {
            (Ok(Parsed::NeedMore(more)), _) => {
                assert!(more > 0, "waits for nothing");
                assert!(length.is_none_or(|length| end + more <= length), "asks for what follows");
            }
            (Ok(Parsed::Header(header)), Some(length)) => {
                assert!(end >= length, "a header too early");
                assert_eq!(Ok(Parsed::Header(header)), whole);
            }
            (Ok(Parsed::Header(_)), None) => panic!("a start is a header, the whole is not"),
            (Err(_), _) => assert!(whole.is_err(), "an error that more bytes mend"),
        }
    }
    match whole {
        Ok(Parsed::Header(header)) => Some(header),
        _ => None,
    }
}

/// Starts that are tried: the square of it is the work.
const ENDS_MAX: usize = 512;

fn same_again(header: &Header<'_>) {
    let ends = match header.endpoints {
        None => None,
        Some(Endpoints::Inet { transport: Transport::Stream, source, destination }) => {
            Some((source, destination))
        }
        // There is no writer for these.
        Some(Endpoints::Inet { .. } | Endpoints::Unix { .. }) => return,
    };
    let mut out = Vec::new();
    match header.version {
        Version::V1 => write_v1(ends, &mut out),
        Version::V2 | Version::Cip => {
            let custom: Vec<_> =
                header.tlvs.filter(|tlv| tlv.kind != tlv::CRC32C).map(|tlv| (tlv.kind, tlv.value)).collect();
            let extras = Extras { custom: &custom, ..Extras::default() };
            // Shorter than what was read.
            let written = write_v2(ends, &extras, &mut out);
            assert!(written.is_ok());
        }
    }
    match parse(&out) {
        Ok(Parsed::Header(again)) => {
            assert_eq!(again.length, out.len());
            assert_eq!(again.endpoints, header.endpoints);
            let shown = |header: &Header<'_>| {
                header
                    .tlvs
                    .filter(|tlv| tlv.kind != tlv::CRC32C)
                    .map(|tlv| (tlv.kind, tlv.value.to_vec()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(shown(&again), shown(header));
        }
        other => panic!("not a header: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proptest::prelude::*;

    use super::any_bytes;
    use crate::read::{Endpoints, Parsed, Transport, parse};
    use crate::tlv::{self, SslFacts, Tlvs};
    use crate::write::{Extras, write_v1, write_v2};

    fn alike() -> impl Strategy<Value = Vec<u8>> {
        let words: &[&[u8]] = &[
            b"PROXY ",
            b"TCP4 ",
            b"TCP6 ",
            b"UNKNOWN",
            b"192.0.2.1 ",
            b"::1 ",
            b"80 ",
            b"65536",
            b"443\r\n",
            b"\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13",
            b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x04",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8",
            &[1; 12],
            &[0; 108],
            b"\x03\0\x04\0\0\0\0",
            b"\xe0\0\x01x",
            b"\0\0\0\0\0\0\0\x28",
            b"\0\x01\0\x28",
            b"\x45\0\0\0\0\0\0\0\0\x06\0\0",
        ];
        let piece = prop_oneof![
            4 => proptest::sample::select(words).prop_map(<[u8]>::to_vec),
            1 => proptest::collection::vec(any::<u8>(), 0..8),
        ];
        proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
    }

    fn text(max: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..max))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn nothing_panics(data in alike()) {
            any_bytes(&data);
        }

        #[test]
        fn noise(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            any_bytes(&data);
        }

        #[test]
        fn what_is_written_is_read(
            ends in proptest::option::of(any::<(SocketAddr, SocketAddr)>()),
            (alpn, authority, unique_id, netns) in (text(20), text(256), text(129), text(20)),
            (version, common_name, cipher, signature, key) in (text(9), text(64), text(40), text(20), text(9)),
            ssl in proptest::option::of(any::<(u8, u32)>()),
            custom in proptest::collection::vec((0xe0_u8..=0xff, proptest::collection::vec(any::<u8>(), 0..20)), 0..4),
            crc32c: bool,
            padding in proptest::option::of(0_u16..99),
        ) {
            let custom: Vec<_> = custom.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
            let facts = ssl.map(|(client, verify)| SslFacts {
                client,
                verify,
                version: version.as_deref(),
                common_name: common_name.as_deref(),
                cipher: cipher.as_deref(),
                signature: signature.as_deref(),
                key: key.as_deref(),
            });
            let extras = Extras {
                custom: &custom,
                crc32c,
                alpn: alpn.as_deref(),
                authority: authority.as_deref(),
                unique_id: unique_id.as_deref(),
                ssl: facts,
                netns: netns.as_deref(),
                padding,
            };
            let mut out = b"before".to_vec();
            write_v2(ends, &extras, &mut out).unwrap();
            let Ok(Parsed::Header(header)) = parse(&out[6..]) else { panic!("{}", out.escape_ascii()) };
            prop_assert_eq!(header.length, out.len() - 6);
            check_ends(header.endpoints, ends);
            for (kind, value) in [
                (tlv::ALPN, &alpn),
                (tlv::AUTHORITY, &authority),
                (tlv::UNIQUE_ID, &unique_id),
                (tlv::NETNS, &netns),
            ] {
                prop_assert_eq!(header.tlvs.find(kind, 0), value.as_deref());
                prop_assert_eq!(header.tlvs.find(kind, 1), None);
            }
            let kept: Vec<_> =
                header.tlvs.filter(|tlv| tlv.kind >= 0xe0).map(|tlv| (tlv.kind, tlv.value)).collect();
            prop_assert_eq!(kept, custom);
            prop_assert_eq!(header.tlvs.find(tlv::CRC32C, 0).is_some(), crc32c);
            prop_assert_eq!(header.tlvs.find(tlv::SSL, 0).is_some(), facts.is_some());
            if let (Some(value), Some(facts)) = (header.tlvs.find(tlv::SSL, 0), facts) {
                prop_assert_eq!(value[0], facts.client);
                prop_assert_eq!(&value[1..5], facts.verify.to_be_bytes());
                let inner = Tlvs::new(&value[5..]).unwrap();
                prop_assert_eq!(inner.find(tlv::SSL_VERSION, 0), facts.version);
                prop_assert_eq!(inner.find(tlv::SSL_CN, 0), facts.common_name);
                prop_assert_eq!(inner.find(tlv::SSL_CIPHER, 0), facts.cipher);
                prop_assert_eq!(inner.find(tlv::SSL_SIG_ALG, 0), facts.signature);
                prop_assert_eq!(inner.find(tlv::SSL_KEY_ALG, 0), facts.key);
            }
            let mut line = Vec::new();
            write_v1(ends, &mut line);
            let Ok(Parsed::Header(header)) = parse(&line) else { panic!("{}", line.escape_ascii()) };
            prop_assert_eq!(header.length, line.len());
            check_ends(header.endpoints, ends);
            any_bytes(&out[6..]);
            any_bytes(&line);
        }
    }

    #[track_caller]
    fn check_ends(read: Option<Endpoints<'_>>, written: Option<(SocketAddr, SocketAddr)>) {
        let bare = |addr: SocketAddr| (addr.ip().to_canonical(), addr.port());
        let read = read.map(|endpoints| match endpoints {
            Endpoints::Inet { transport: Transport::Stream, source, destination } => {
                (bare(source), bare(destination))
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(read, written.map(|(source, destination)| (bare(source), bare(destination))));
    }

    #[test]
    fn too_long() {
        let value = vec![0; 40_000];
        let extras = Extras { custom: &[(0xe0, &value), (0xe1, &value)], ..Extras::default() };
        let mut out = b"before".to_vec();
        assert!(write_v2(None, &extras, &mut out).is_err());
        assert_eq!(out, b"before");
        let value = vec![0; 65_536];
        let extras = Extras { authority: Some(&value), ..Extras::default() };
        assert!(write_v2(None, &extras, &mut out).is_err());
    }
}
