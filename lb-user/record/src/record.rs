//! TLS records once the handshake is over: sealed and opened in place, in the caller's buffers (RFC 8446 §5, RFC 5246 §6.2).
//!
//! rustls shakes hands and hands over the keys; what follows is this, since every byte of every connection passes here
//! and its own path copies each of them twice more.

use std::ops::Range;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

/// Bytes of content a record may carry (RFC 8446 §5.1).
pub const CONTENT_BYTES_MAX: usize = 16_384;
/// What TLS 1.2 allows a record to grow by encryption is not needed by the ciphers we speak: this is TLS 1.3's limit.
const EXPANSION_BYTES_MAX: usize = 256;
/// Type, version, length.
pub(crate) const HEADER_BYTES: usize = 5;
/// A whole record at most.
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + CONTENT_BYTES_MAX + EXPANSION_BYTES_MAX;
/// What goes before the content of a record at most: the header, and the explicit nonce of TLS 1.2.
pub const HEADROOM_BYTES_MAX: usize = HEADER_BYTES + EXPLICIT_NONCE_BYTES;
/// What a sealed record is longer than its headroom and content, at most.
pub const TAILROOM_BYTES: usize = 1 + TAG_BYTES;

const EXPLICIT_NONCE_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const LEGACY_VERSION: [u8; 2] = [3, 3];

/// Records that one AES-GCM key may protect (RFC 8446 §5.5), with room to spare; then TLS 1.3 takes a new one.
const RECORDS_PER_KEY_MAX: u64 = 1 << 23;

/// What a record carries (RFC 8446 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentType {
    ChangeCipherSpec = 20,
    Alert = 21,
    Handshake = 22,
    Data = 23,
}

impl ContentType {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            20 => Some(Self::ChangeCipherSpec),
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::Data),
            _ => None,
        }
    }
}

/// Why a record cannot be used. Each is the end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("not a TLS record")]
    Type,
    #[error("a record is longer than TLS allows")]
    TooLong,
    #[error("a record does not decrypt")]
    Decrypt,
    #[error("a record's key is worn out")]
    WornOut,
}

impl RecordError {
    /// The alert that tells the peer (RFC 8446 §6.2).
    pub fn alert(self) -> u8 {
        match self {
            Self::Type => 10,
            Self::TooLong => 22,
            Self::Decrypt => 20,
            Self::WornOut => 80,
        }
    }
}

/// How nonces and authenticated data are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// TLS 1.3: the type is encrypted, too.
    Tls13,
    /// TLS 1.2 with AES-GCM: half of the nonce is sent (RFC 5288).
    Tls12Explicit,
    /// TLS 1.2 with ChaCha20 (RFC 7905).
    Tls12,
}

/// The keys of one direction.
struct Keys {
    key: LessSafeKey,
    iv: [u8; NONCE_BYTES],
    sequence: u64,
    form: Form,
}

impl Keys {
    fn new(version: ProtocolVersion, sequence: u64, secrets: &ConnectionTrafficSecrets) -> Option<Self> {
        let (algorithm, key, iv, gcm): (&'static Algorithm, _, _, _) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv, false),
            _ => return None,
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?);
        let form = match (version, gcm) {
            (ProtocolVersion::TLSv1_3, _) => Form::Tls13,
            (_, true) => Form::Tls12Explicit,
            (_, false) => Form::Tls12,
        };
        Some(Self { key, iv: iv.as_ref().try_into().ok()?, sequence, form })
    }

    /// The nonce of the next record: the sequence number, mixed into the initial one.
    fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = self.iv;
        for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= sequence;
        }
        nonce
    }

    /// Additional data of TLS 1.2 (RFC 5246 §6.2.3.3).
    fn aad12(&self, kind: u8, length: usize) -> [u8; 13] {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8] = kind;
        aad[9..11].copy_from_slice(&LEGACY_VERSION);
        aad[11..].copy_from_slice(&length16(length));
        aad
    }

    fn explicit_bytes(&self) -> usize {
        if self.form == Form::Tls12Explicit { EXPLICIT_NONCE_BYTES } else { 0 }
    }
}

/// A length that a record's header can say.
fn length16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// The direction to the peer.
pub struct Sealer(Keys);

impl Sealer {
    /// `None`: a cipher that is not ours.
    pub fn new(version: ProtocolVersion, sequence: u64, secrets: &ConnectionTrafficSecrets) -> Option<Self> {
        Keys::new(version, sequence, secrets).map(Self)
    }

    /// Whether the key is worn out and TLS 1.3 must take a new one before the next record.
    pub fn is_worn(&self) -> bool {
        self.0.form == Form::Tls13 && self.0.sequence >= RECORDS_PER_KEY_MAX
    }

    /// Bytes of a record before its content.
    pub fn headroom(&self) -> usize {
        HEADER_BYTES + self.0.explicit_bytes()
    }

    /// Seals the content, `length` bytes at [`headroom`](Self::headroom) of `space`, into a record at the start of `space`;
    /// how long it is.
    ///
    /// `space` must reach [`TAILROOM_BYTES`] beyond the content, which is at most [`CONTENT_BYTES_MAX`].
    ///
    /// # Errors
    /// After 2⁶⁴ records, or for content that does not fit.
    pub fn seal(&mut self, kind: ContentType, space: &mut [u8], length: usize) -> Result<usize, RecordError> {
        let content = self.headroom();
        let keys = &mut self.0;
        if length > CONTENT_BYTES_MAX || space.len() < content + length + TAILROOM_BYTES {
            return Err(RecordError::TooLong);
        }
        let next = keys.sequence.checked_add(1).ok_or(RecordError::WornOut)?;
        let nonce = keys.nonce();
        let mut end = content + length;
        let outer = if keys.form == Form::Tls13 {
            space[end] = kind as u8;
            end += 1;
            ContentType::Data
        } else {
            kind
        };
        let mut header = [outer as u8, LEGACY_VERSION[0], LEGACY_VERSION[1], 0, 0];
        header[3..].copy_from_slice(&length16(end - HEADER_BYTES + TAG_BYTES));
        space[..HEADER_BYTES].copy_from_slice(&header);
        space[HEADER_BYTES..content].copy_from_slice(&nonce[NONCE_BYTES - keys.explicit_bytes()..]);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = &mut space[content..end];
        let tag = if keys.form == Form::Tls13 {
            keys.key.seal_in_place_separate_tag(nonce, Aad::from(header), sealed)
        } else {
            keys.key.seal_in_place_separate_tag(nonce, Aad::from(keys.aad12(kind as u8, length)), sealed)
        }
        .map_err(|_| RecordError::WornOut)?;
        space[end..end + TAG_BYTES].copy_from_slice(tag.as_ref());
        keys.sequence = next;
        Ok(end + TAG_BYTES)
    }
}

/// The direction from the peer.
pub struct Opener(Keys);

impl Opener {
    /// `None`: a cipher that is not ours.
    pub fn new(version: ProtocolVersion, sequence: u64, secrets: &ConnectionTrafficSecrets) -> Option<Self> {
        Keys::new(version, sequence, secrets).map(Self)
    }

    /// Opens a whole record in place: what it carries, and where in `record` the content is.
    ///
    /// # Errors
    /// For anything but a record that the peer sealed next.
    pub fn open(&mut self, record: &mut [u8]) -> Result<(ContentType, Range<usize>), RecordError> {
        let keys = &mut self.0;
        let next = keys.sequence.checked_add(1).ok_or(RecordError::WornOut)?;
        let (header, sealed) = record.split_first_chunk_mut::<HEADER_BYTES>().ok_or(RecordError::Type)?;
        let explicit = keys.explicit_bytes();
        if sealed.len() < explicit + TAG_BYTES {
            return Err(RecordError::Decrypt);
        }
        let length = sealed.len() - explicit - TAG_BYTES;
        let mut nonce = keys.nonce();
        if explicit > 0 {
            nonce[..4].copy_from_slice(&keys.iv[..4]);
            nonce[4..].copy_from_slice(&sealed[..explicit]);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = if keys.form == Form::Tls13 {
            if header[0] != ContentType::Data as u8 {
                return Err(RecordError::Type);
            }
            keys.key.open_in_place(nonce, Aad::from(*header), &mut sealed[explicit..])
        } else {
            let aad = Aad::from(keys.aad12(header[0], length));
            keys.key.open_in_place(nonce, aad, &mut sealed[explicit..])
        };
        let content = opened.map_err(|_| RecordError::Decrypt)?;
        keys.sequence = next;
        let (kind, length) = if keys.form == Form::Tls13 {
            // The type is the last byte that is not padding.
            let at = content.iter().rposition(|byte| *byte != 0).ok_or(RecordError::Type)?;
            (content[at], at)
        } else {
            (header[0], content.len())
        };
        if length > CONTENT_BYTES_MAX {
            return Err(RecordError::TooLong);
        }
        let start = HEADER_BYTES + explicit;
        Ok((ContentType::from_byte(kind).ok_or(RecordError::Type)?, start..start + length))
    }
}

/// How long the record is that `bytes` begin with, header included; `None` while the header is not complete.
///
/// # Errors
/// When no record begins like that.
pub fn record_length(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    if ContentType::from_byte(header[0]).is_none() || header[1] != LEGACY_VERSION[0] {
        return Err(RecordError::Type);
    }
    let length = HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length > RECORD_BYTES_MAX { Err(RecordError::TooLong) } else { Ok(Some(length)) }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::cipher::{AeadKey, Iv};

    use super::*;

    fn secrets(cipher: usize) -> ConnectionTrafficSecrets {
        let key = AeadKey::from([7; 32]);
        let iv = Iv::new([9; 12]);
        match cipher {
            0 => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
            _ => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
        }
    }

    fn pair(version: ProtocolVersion, cipher: usize) -> (Sealer, Opener) {
        let sealer = Sealer::new(version, 5, &secrets(cipher)).unwrap();
        (sealer, Opener::new(version, 5, &secrets(cipher)).unwrap())
    }

    const FORMS: [(ProtocolVersion, usize); 4] = [
        (ProtocolVersion::TLSv1_3, 0),
        (ProtocolVersion::TLSv1_3, 1),
        (ProtocolVersion::TLSv1_2, 0),
        (ProtocolVersion::TLSv1_2, 1),
    ];

    fn sealed(sealer: &mut Sealer, kind: ContentType, content: &[u8]) -> Vec<u8> {
        let mut space = vec![0; HEADROOM_BYTES_MAX + content.len() + TAILROOM_BYTES];
        space[sealer.headroom()..][..content.len()].copy_from_slice(content);
        let length = sealer.seal(kind, &mut space, content.len()).unwrap();
        space.truncate(length);
        space
    }

    #[test]
    fn what_is_sealed_opens_in_order_only() {
        for (version, cipher) in FORMS {
            let (mut sealer, mut opener) = pair(version, cipher);
            for length in [0, 1, 1_000, CONTENT_BYTES_MAX] {
                let content: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
                let mut record = sealed(&mut sealer, ContentType::Data, &content);
                assert_eq!(record_length(&record), Ok(Some(record.len())));
                let (kind, range) = opener.open(&mut record).unwrap();
                assert_eq!((kind, &record[range]), (ContentType::Data, &content[..]), "{version:?} {cipher}");
            }
            let first = sealed(&mut sealer, ContentType::Alert, &[1, 0]);
            let mut second = sealed(&mut sealer, ContentType::Data, b"later");
            // With an explicit nonce it is the additional data that tells.
            assert_eq!(opener.open(&mut second), Err(RecordError::Decrypt));
            assert_eq!(opener.open(&mut first.clone()).map(|(kind, _)| kind), Ok(ContentType::Alert));
            assert_eq!(opener.open(&mut first.clone()), Err(RecordError::Decrypt), "replayed");
        }
    }

    #[test]
    fn a_changed_byte_is_found_wherever_it_is() {
        for (version, cipher) in FORMS {
            let (mut sealer, mut opener) = pair(version, cipher);
            let record = sealed(&mut sealer, ContentType::Data, b"content");
            for at in 0..record.len() {
                // The version is checked before, the length by whoever collects the record.
                if (1..5).contains(&at) {
                    continue;
                }
                let mut changed = record.clone();
                changed[at] ^= 1;
                assert!(opener.open(&mut changed).is_err(), "{version:?} {cipher} byte {at}");
            }
            assert!(opener.open(&mut record.clone()).is_ok());
        }
    }

    #[test]
    fn lengths_and_types_of_the_header() {
        let check = |bytes: &[u8], expected| assert_eq!(record_length(bytes), expected, "{bytes:?}");
        check(&[], Ok(None));
        check(&[23, 3, 3, 0], Ok(None));
        check(&[23, 3, 3, 0, 20], Ok(Some(25)));
        check(&[23, 3, 3, 0x41, 0], Ok(Some(RECORD_BYTES_MAX)));
        check(&[23, 3, 3, 0x41, 1], Err(RecordError::TooLong));
        check(b"GET / ", Err(RecordError::Type));
        check(&[23, 2, 0, 0, 1], Err(RecordError::Type));
    }

    #[test]
    fn short_records_do_not_open() {
        for (version, cipher) in FORMS {
            let (_, mut opener) = pair(version, cipher);
            for length in 0..40 {
                assert!(opener.open(&mut vec![23; length]).is_err());
            }
        }
    }
}
