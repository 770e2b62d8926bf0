//! DER (X.690), as far as certificates need it: values one after the other, borrowed.
//!
//! A certificate is looked at again for each expression, and most want one field of it: nothing is allocated and what
//! is not asked for is skipped. The chain has been through the library's own checks before.

// Tags that certificates consist of.
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// One value: its tag, what it holds, and both with the length between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
    pub(crate) whole: &'a [u8],
}

/// Reads values from the front.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next value; `None` at the end and where a length is wrong.
    pub(crate) fn any(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        // Tags of several bytes do not occur in certificates.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            // Without an end, or longer than any handshake message.
            _ => return None,
        };
        let (body, after) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - after.len()];
        self.0 = after;
        Some(Element { tag, body, whole })
    }

    /// What the next value holds, if it has this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|element| element.tag == tag).map(|element| element.body)
    }

    /// The next value if it has this tag; otherwise nothing is read.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        (self.0.first() == Some(&tag)).then(|| self.expect(tag))?
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        self.any()
    }
}

/// An object identifier with its numbers and dots. Numbers of more than 128 bits are none.
pub(crate) fn dotted(oid: &[u8]) -> Option<String> {
    use std::fmt::Write as _;

    let mut text = String::new();
    let mut number = 0_u128;
    let mut inside = false;
    for byte in oid {
        if number.leading_zeros() < 7 {
            return None;
        }
        number = number << 7 | u128::from(byte & 0x7f);
        inside = byte & 0x80 != 0;
        if inside {
            continue;
        }
        if text.is_empty() {
            let first = (number / 40).min(2);
            let _ = write!(text, "{first}.{}", number - 40 * first);
        } else {
            let _ = write!(text, ".{number}");
        }
        number = 0;
    }
    (!inside && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{Reader, dotted};

    #[test]
    fn object_identifiers() {
        let rows: &[(&[u8], Option<&str>)] = &[
            (b"\x55\x04\x03", Some("2.5.4.3")),
            (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", Some("1.2.840.113549.1.1.11")),
            (b"\x88\x37\x01", Some("2.999.1")),
            (b"\x09\x92\x26", Some("0.9.2342")),
            (b"", None),
            (b"\x55\x84", None),
            (&[0xff; 40], None),
        ];
        for (bytes, expected) in rows {
            assert_eq!(dotted(bytes).as_deref(), *expected);
        }
    }

    #[test]
    fn wrong_lengths() {
        for bytes in [
            &b""[..],
            b"\x30",
            b"\x30\x02\x00",
            b"\x30\x80\0\0",
            b"\x30\x84\0\0\0\0",
            b"\x1f\x81\x00",
            b"\x30\x82\x01",
        ] {
            assert_eq!(Reader(bytes).any(), None, "{bytes:x?}");
        }
        let element = Reader(b"\x30\x81\x01abc").any().unwrap();
        assert_eq!((element.body, element.whole), (&b"a"[..], &b"\x30\x81\x01a"[..]));
    }
}
