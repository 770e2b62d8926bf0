//! The few forms of CBOR that formats use (RFC 8949, 3).

/// A map of indefinite length.
pub(super) const MAP: u8 = 0xbf;
/// A list of indefinite length.
pub(super) const LIST: u8 = 0x9f;
/// A text of indefinite length: chunks follow.
pub(super) const TEXT: u8 = 0x7f;
/// Bytes of indefinite length: chunks follow.
pub(super) const BYTES: u8 = 0x5f;
/// The end of what has an indefinite length.
pub(super) const BREAK: u8 = 0xff;
pub(super) const NULL: u8 = 0xf6;
pub(super) const FALSE: u8 = 0xf4;
pub(super) const TRUE: u8 = 0xf5;

/// The major types that have a number in their head.
#[derive(Debug, Clone, Copy)]
pub(super) enum Major {
    Unsigned = 0,
    Negative = 1,
    Bytes = 2,
    Text = 3,
}

/// The head of an item in the shortest form, and how many of its bytes count.
pub(super) fn head(major: Major, value: u64) -> ([u8; 9], usize) {
    let major = (major as u8) << 5;
    let mut head = [0; 9];
    let length = match value {
        0..24 => 0,
        24..0x100 => 1,
        0x100..0x1_0000 => 2,
        0x1_0000..0x1_0000_0000 => 4,
        _ => 8,
    };
    let bytes = value.to_be_bytes();
    head[0] = major
        | match length {
            0 => bytes[7],
            1 => 24,
            2 => 25,
            4 => 26,
            _ => 27,
        };
    head[1..=length].copy_from_slice(&bytes[8 - length..]);
    (head, length + 1)
}

/// The head of a number, which is the whole number.
pub(super) fn number(value: i64) -> ([u8; 9], usize) {
    match u64::try_from(value) {
        Ok(value) => head(Major::Unsigned, value),
        Err(_) => head(Major::Negative, !value.cast_unsigned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8949, appendix A.
    #[test]
    fn numbers() {
        let check = |value: i64, expected: &[u8]| {
            let (head, length) = number(value);
            assert_eq!(&head[..length], expected, "{value}");
        };
        check(0, &[0x00]);
        check(23, &[0x17]);
        check(24, &[0x18, 0x18]);
        check(1000, &[0x19, 0x03, 0xe8]);
        check(1_000_000, &[0x1a, 0x00, 0x0f, 0x42, 0x40]);
        check(1_000_000_000_000, &[0x1b, 0x00, 0x00, 0x00, 0xe8, 0xd4, 0xa5, 0x10, 0x00]);
        check(-1, &[0x20]);
        check(-500, &[0x39, 0x01, 0xf3]);
        check(i64::MIN, &[0x3b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    }
}
