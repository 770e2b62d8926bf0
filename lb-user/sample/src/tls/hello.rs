//! The hellos of a TLS handshake: put together from its records, and what of a client's is kept for expressions.
//!
//! Every length is checked before it is believed; a hello that ends before its own lengths say is none.

use std::borrow::Cow;

// Numbers of RFC 8446 §4, RFC 8422 §5.1 and RFC 5246 §7.4.
const RECORD_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_GROUPS: u16 = 10;
const EXTENSION_POINT_FORMATS: u16 = 11;
const EXTENSION_SIGNATURES: u16 = 13;
const EXTENSION_VERSIONS: u16 = 43;

/// Records of one hello; a peer that cuts it finer than this is not looked at any further.
const RECORDS_MAX: usize = 64;

/// Lists of a client's hello, as long as `tune.ssl.capture-buffer-size` allows them to be in sum. Numbers of two bytes
/// are in network order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HelloCapture {
    /// The version that stands before the extensions; 0x0303 for TLS 1.2 and 1.3.
    pub version: u16,
    pub ciphers: Box<[u8]>,
    /// xxh64 of the ciphers, those that were not kept included.
    pub ciphers_hash: u64,
    /// Types of the extensions, in order.
    pub extensions: Box<[u8]>,
    /// Groups: "elliptic curves".
    pub groups: Box<[u8]>,
    /// Point formats, of one byte each.
    pub point_formats: Box<[u8]>,
    pub signatures: Box<[u8]>,
    /// `supported_versions`.
    pub versions: Box<[u8]>,
}

impl HelloCapture {
    /// Of the first bytes on the wire, which must hold the whole hello. `limit` is in bytes.
    #[must_use]
    pub fn from_records(bytes: &[u8], limit: usize) -> Option<Self> {
        match HandshakeMessage::read(bytes) {
            HandshakeMessage::Whole(CLIENT_HELLO, body) => Self::from_body(&body, limit),
            _ => None,
        }
    }

    /// Of the body of a ClientHello.
    #[must_use]
    pub fn from_body(body: &[u8], limit: usize) -> Option<Self> {
        let hello = ClientHello::parse(body)?;
        let ciphers = hello.ciphers.get(..limit).unwrap_or(hello.ciphers);
        let mut room = limit - ciphers.len();
        let mut extensions = Vec::new();
        for (kind, _) in hello.each_extension() {
            // Numbers are kept whole; where one does not fit, nothing after it is kept.
            let Some(left) = room.checked_sub(2) else {
                room = 0;
                break;
            };
            room = left;
            extensions.extend_from_slice(&kind.to_be_bytes());
        }
        let mut keep = |bytes: &[u8]| -> Box<[u8]> {
            let kept = bytes.len().min(room);
            room -= kept;
            bytes[..kept].into()
        };
        let list = |kind, short| hello.list(kind, short).unwrap_or_default();
        Some(Self {
            version: hello.version,
            ciphers_hash: twox_hash::XxHash64::oneshot(0, hello.ciphers),
            ciphers: ciphers.into(),
            extensions: extensions.into(),
            groups: keep(list(EXTENSION_GROUPS, false)),
            point_formats: keep(list(EXTENSION_POINT_FORMATS, true)),
            versions: keep(list(EXTENSION_VERSIONS, true)),
            signatures: keep(list(EXTENSION_SIGNATURES, false)),
        })
    }
}

/// What is known of the handshake at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum HandshakeMessage<'a> {
    /// The type and the body of its first message.
    Whole(u8, Cow<'a, [u8]>),
    Incomplete,
    /// Something else.
    None,
}

impl<'a> HandshakeMessage<'a> {
    /// The first message of the handshake records that `bytes` begin with.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Self {
        let mut rest = Reader(bytes);
        let mut message = Cow::Borrowed(&[][..]);
        for _ in 0..RECORDS_MAX {
            let Some((kind, after)) = rest.u8() else { return Self::Incomplete };
            if kind != RECORD_HANDSHAKE {
                return Self::None;
            }
            let Some((major, after)) = Reader(after).u8() else { return Self::Incomplete };
            if major != 3 {
                return Self::None;
            }
            let Some((_, after)) = Reader(after).u8() else { return Self::Incomplete };
            let length = match Reader(after).u16() {
                Some((0, _)) => return Self::None,
                Some((length, _)) => usize::from(length),
                None => return Self::Incomplete,
            };
            let Some((fragment, after)) = Reader(&after[2..]).take(length) else { return Self::Incomplete };
            if message.is_empty() {
                message = Cow::Borrowed(fragment);
            } else {
                message.to_mut().extend_from_slice(fragment);
            }
            if let Some((kind, end)) = Self::first(&message) {
                return match message {
                    Cow::Borrowed(message) => Self::Whole(kind, Cow::Borrowed(&message[4..end])),
                    Cow::Owned(message) => Self::Whole(kind, Cow::Owned(message[4..end].to_vec())),
                };
            }
            rest = Reader(after);
        }
        Self::None
    }

    /// Type and end of the message that `bytes` begin with, once it is there.
    fn first(bytes: &[u8]) -> Option<(u8, usize)> {
        let (kind, rest) = Reader(bytes).u8()?;
        let (high, rest) = Reader(rest).u8()?;
        let (low, _) = Reader(rest).u16()?;
        let end = 4 + (usize::from(high) << 16 | usize::from(low));
        (end <= bytes.len()).then_some((kind, end))
    }
}

/// The fields of a client's hello that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHello<'a> {
    pub version: u16,
    pub ciphers: &'a [u8],
    /// All of them; `None` where the hello ends before (it may, up to TLS 1.2).
    pub extensions: Option<&'a [u8]>,
}

impl<'a> ClientHello<'a> {
    /// Of the body of the message. SSL 3.0 and before are nothing.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (version, rest) = Reader(body).u16()?;
        let (_random, rest) = Reader(rest).take(32)?;
        let (_session, rest) = Reader(rest).block8()?;
        let (ciphers, rest) = Reader(rest).block16()?;
        let (_compressions, rest) = Reader(rest).block8()?;
        let extensions = if rest.is_empty() { None } else { Some(Reader(rest).block16()?.0) };
        (version >= 0x301).then_some(Self { version, ciphers, extensions })
    }

    /// What the first extension of a type holds, if there is one; nothing at all where the lengths contradict each other.
    #[must_use]
    pub fn extension(&self, wanted: u16) -> Option<Option<&'a [u8]>> {
        let mut extensions = self.extensions?;
        while !extensions.is_empty() {
            let (kind, rest) = Reader(extensions).u16()?;
            let (body, rest) = Reader(rest).block16()?;
            if kind == wanted {
                return Some(Some(body));
            }
            extensions = rest;
        }
        Some(None)
    }

    /// Types and bodies of the extensions, as far as their lengths are true.
    fn each_extension(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.extensions.unwrap_or_default();
        std::iter::from_fn(move || {
            let (kind, after) = Reader(rest).u16()?;
            let (body, after) = Reader(after).block16()?;
            rest = after;
            Some((kind, body))
        })
    }

    /// The list that an extension consists of, its length before it in one byte or two.
    fn list(&self, kind: u16, short: bool) -> Option<&'a [u8]> {
        let body = Reader(self.extension(kind)??);
        if short { body.block8() } else { body.block16() }.map(|(list, _)| list)
    }
}

/// Reads from the front: each method gives what it read and what follows, or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    #[must_use]
    pub fn take(&self, length: usize) -> Option<(&'a [u8], &'a [u8])> {
        self.0.split_at_checked(length)
    }

    #[must_use]
    pub fn u8(&self) -> Option<(u8, &'a [u8])> {
        self.0.split_first().map(|(byte, rest)| (*byte, rest))
    }

    #[must_use]
    pub fn u16(&self) -> Option<(u16, &'a [u8])> {
        self.0.split_first_chunk().map(|(bytes, rest)| (u16::from_be_bytes(*bytes), rest))
    }

    /// A block with its length in one byte before it.
    #[must_use]
    pub fn block8(&self) -> Option<(&'a [u8], &'a [u8])> {
        let (length, rest) = self.u8()?;
        Reader(rest).take(length.into())
    }

    /// A block with its length in two bytes before it.
    #[must_use]
    pub fn block16(&self) -> Option<(&'a [u8], &'a [u8])> {
        let (length, rest) = self.u16()?;
        Reader(rest).take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HandshakeMessage, HelloCapture};

    fn block8(bytes: &[u8]) -> Vec<u8> {
        [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    fn block16(bytes: &[u8]) -> Vec<u8> {
        [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &block16(body)].concat()
    }

    /// A hello with GREASE (RFC 8701) in every list.
    fn hello(extensions: Option<&[Vec<u8>]>) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend(0..32);
        body.extend(block8(b"session"));
        body.extend(block16(b"\x0a\x0a\xee\xee\0\x2e\0\xff\x56\0"));
        body.extend(block8(b"\0"));
        body.extend(extensions.map(|extensions| block16(&extensions.concat())).unwrap_or_default());
        let message = [&[1, 0], &block16(&body)[..]].concat();
        [&[22, 3, 1], &block16(&message)[..]].concat()
    }

    fn greased() -> Vec<u8> {
        hello(Some(&[
            extension(0x1a1a, b""),
            extension(0, &block16(&[&[0], &block16(b"a.example")[..]].concat())),
            extension(10, &block16(b"\x2a\x2a\0\x1d\0\x17")),
            extension(11, &block8(b"\0\x01")),
            extension(16, &block16(&block8(b"h2"))),
            extension(13, &block16(b"\x3a\x3a\x04\x03\x08\x07")),
            extension(43, &block8(b"\x4a\x4a\x03\x04\x03\x03")),
            extension(0x5a5a, b"\0"),
        ]))
    }

    /// Ciphers, extensions, groups, point formats, signatures, versions: as HAProxy 3.2 keeps them of the same bytes.
    #[test]
    fn kept_as_far_as_the_buffer_goes() {
        let rows: &[(usize, &str)] = &[
            (5, "0a0aeeee00 - - - - -"),
            (15, "0a0aeeee002e00ff5600 1a1a0000 - - - -"),
            (28, "0a0aeeee002e00ff5600 1a1a0000000a000b0010000d002b5a5a 2a2a - - -"),
            (34, "0a0aeeee002e00ff5600 1a1a0000000a000b0010000d002b5a5a 2a2a001d0017 0001 - -"),
            (36, "0a0aeeee002e00ff5600 1a1a0000000a000b0010000d002b5a5a 2a2a001d0017 0001 - 4a4a"),
            (
                44,
                "0a0aeeee002e00ff5600 1a1a0000000a000b0010000d002b5a5a 2a2a001d0017 0001 3a3a0403 4a4a03040303",
            ),
            (
                99,
                "0a0aeeee002e00ff5600 1a1a0000000a000b0010000d002b5a5a 2a2a001d0017 0001 3a3a04030807 4a4a03040303",
            ),
        ];
        for (limit, expected) in rows {
            let capture = HelloCapture::from_records(&greased(), *limit).unwrap();
            let lists = [
                &capture.ciphers,
                &capture.extensions,
                &capture.groups,
                &capture.point_formats,
                &capture.signatures,
                &capture.versions,
            ];
            let shown = lists.map(|list| match &**list {
                [] => "-".to_owned(),
                list => list.iter().map(|byte| format!("{byte:02x}")).collect(),
            });
            assert_eq!(shown.join(" "), *expected, "{limit}");
            assert_eq!(capture.ciphers_hash.cast_signed(), -4_269_161_734_638_793_816);
            assert_eq!(capture.version, 0x303);
        }
        let bare = HelloCapture::from_records(&hello(None), 99).unwrap();
        assert_eq!((bare.ciphers.len(), bare.extensions.len()), (10, 0));
    }

    proptest! {
        /// Whatever comes, at most `limit` bytes are kept, and nothing panics.
        #[test]
        fn any_bytes(at in 0_usize..150, value: u8, end in 0_usize..200, limit in 0_usize..60) {
            let mut bytes = greased();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(end);
            prop_assert!(!matches!(HandshakeMessage::read(&bytes), HandshakeMessage::Whole(..)) || end > 40);
            if let Some(capture) = HelloCapture::from_records(&bytes, limit) {
                let kept = capture.ciphers.len() + capture.extensions.len() + capture.groups.len()
                    + capture.point_formats.len() + capture.signatures.len() + capture.versions.len();
                prop_assert!(kept <= limit);
            }
        }
    }
}
