//! The hellos of a TLS handshake: put together from its records, and what of a client's is kept for expressions.
//!
//! Every length is checked before it is believed; a hello that ends before its own lengths say is none.

use std::borrow::Cow;

// Numbers of RFC 8446 §4, RFC 8422 §5.1 and RFC 5246 §7.4.
const RECORD_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
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
        let mut room = limit;
        let mut keep = |bytes: &[u8]| -> Box<[u8]> {
            let kept = bytes.len().min(room);
            room -= kept;
            bytes[..kept].into()
        };
        let ciphers = keep(hello.ciphers);
        let extensions: Vec<u8> = hello.each_extension().flat_map(|(kind, _)| kind.to_be_bytes()).collect();
        let list = |kind, short| hello.list(kind, short).unwrap_or_default();
        Some(Self {
            version: hello.version,
            ciphers_hash: twox_hash::XxHash64::oneshot(0, hello.ciphers),
            ciphers,
            extensions: keep(&extensions),
            groups: keep(list(EXTENSION_GROUPS, false)),
            point_formats: keep(list(EXTENSION_POINT_FORMATS, true)),
            versions: keep(list(EXTENSION_VERSIONS, true)),
            signatures: keep(list(EXTENSION_SIGNATURES, false)),
        })
    }
}

/// The random bytes and the session id of the hello, of a client or a server, that `records` begin with.
#[must_use]
pub fn hello_randoms(records: &[u8]) -> Option<([u8; 32], Vec<u8>)> {
    match HandshakeMessage::read(records) {
        HandshakeMessage::Whole(CLIENT_HELLO | SERVER_HELLO, body) => {
            let random = *body.get(2..)?.first_chunk()?;
            let (session, _) = Reader(&body[34..]).block8()?;
            Some((random, session.to_vec()))
        }
        _ => None,
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
