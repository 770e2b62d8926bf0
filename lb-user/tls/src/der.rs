//! The few bytes of DER that x509-parser does not read, or reads but does not hand out.

/// The parts that a signature check needs.
pub(crate) struct Signed<'a> {
    /// What is signed, with its header.
    pub(crate) message: &'a [u8],
    /// The content of the AlgorithmIdentifier.
    pub(crate) algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
}

/// Takes a certificate or a revocation list apart: both are a SEQUENCE of what is signed, algorithm and signature.
pub(crate) fn signed(der: &[u8]) -> Option<Signed<'_>> {
    let mut parts = Reader(Reader(der).take(SEQUENCE)?);
    let message = parts.take_raw(SEQUENCE)?;
    let algorithm = parts.take(SEQUENCE)?;
    Some(Signed { message, algorithm, signature: bits(parts.take(BIT_STRING)?)? })
}

/// The content of the AlgorithmIdentifier and the bits of the key of a SubjectPublicKeyInfo.
pub(crate) fn public_key(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = Reader(Reader(spki).take(SEQUENCE)?);
    Some((parts.take(SEQUENCE)?, bits(parts.take(BIT_STRING)?)?))
}

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;

/// `[number]` of a structure, constructed.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Takes elements from the front.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next element, which must have `tag`.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next(tag).map(|(_, content)| content)
    }

    /// The next element as it is, which must have `tag`.
    pub(crate) fn take_raw(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next(tag).map(|(raw, _)| raw)
    }

    fn next(&mut self, tag: u8) -> Option<(&'a [u8], &'a [u8])> {
        let (&first, rest) = self.0.split_first()?;
        let (&short, rest) = rest.split_first()?;
        let (length, rest) = match short {
            0..=0x7f => (usize::from(short), rest),
            // Four bytes of length reach 4 GB.
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
                (length.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        if first != tag {
            return None;
        }
        let raw = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some((raw, content))
    }
}

/// One element.
pub(crate) fn write(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let length: usize = content.iter().map(|part| part.len()).sum();
    let mut der = vec![tag];
    let bytes = length.to_be_bytes();
    let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1)..];
    match (length, u8::try_from(bytes.len())) {
        (0..=0x7f, _) => der.extend_from_slice(bytes),
        (_, Ok(count)) => {
            der.push(0x80 | count);
            der.extend_from_slice(bytes);
        }
        (_, Err(_)) => {}
    }
    content.iter().for_each(|part| der.extend_from_slice(part));
    der
}

/// A BIT STRING of whole bytes.
fn bits(content: &[u8]) -> Option<&[u8]> {
    match content.split_first()? {
        (0, bits) => Some(bits),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_der_is_nothing() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 0x81],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 5, 0],
            &[0x30, 0x80, 0],
        ] {
            assert!(signed(bytes).is_none(), "{bytes:?}");
            assert!(public_key(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 127, 128, 255, 256, 65_536] {
            let content = vec![7; length];
            let der = write(SEQUENCE, &[&content]);
            let mut reader = Reader(&der);
            assert_eq!(reader.take(INTEGER), None);
            assert_eq!(reader.take(SEQUENCE), Some(&content[..]), "{length}");
            assert_eq!(reader.peek(), None);
        }
    }
}
