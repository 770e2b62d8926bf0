//! The few bytes of DER that x509-parser reads but does not hand out.

/// The parts that a signature check needs.
pub(super) struct Signed<'a> {
    /// What is signed, with its header.
    pub(super) message: &'a [u8],
    /// The content of the AlgorithmIdentifier.
    pub(super) algorithm: &'a [u8],
    pub(super) signature: &'a [u8],
}

/// Takes a certificate or a revocation list apart: both are a SEQUENCE of what is signed, algorithm and signature.
pub(super) fn signed(der: &[u8]) -> Option<Signed<'_>> {
    let (whole, _) = element(der, SEQUENCE)?;
    let (content, rest) = element(whole.content, SEQUENCE)?;
    let (algorithm, rest) = element(rest, SEQUENCE)?;
    let (signature, _) = element(rest, BIT_STRING)?;
    Some(Signed { message: content.raw, algorithm: algorithm.content, signature: bits(signature.content)? })
}

/// The content of the AlgorithmIdentifier and the bits of the key of a SubjectPublicKeyInfo.
pub(super) fn public_key(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (whole, _) = element(spki, SEQUENCE)?;
    let (algorithm, rest) = element(whole.content, SEQUENCE)?;
    let (key, _) = element(rest, BIT_STRING)?;
    Some((algorithm.content, bits(key.content)?))
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;

struct Element<'a> {
    raw: &'a [u8],
    content: &'a [u8],
}

/// The first element of `bytes`, which must have `tag`, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
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
    let raw = &bytes[..bytes.len() - after.len()];
    (first == tag).then_some((Element { raw, content }, after))
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
        for bytes in [&[][..], &[0x30], &[0x30, 0x81], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 5, 0], &[0x30, 0x80, 0]] {
            assert!(signed(bytes).is_none(), "{bytes:?}");
            assert!(public_key(bytes).is_none(), "{bytes:?}");
        }
    }
}
