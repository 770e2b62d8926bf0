//! Bytes of field names, values and targets: what they may be (RFC 9110 §5), found eight at a time.

/// Which of the first 64 letters are capitals.
pub(crate) fn capitals_of(name: &[u8]) -> u64 {
    let mut capitals = 0;
    for (index, byte) in name.iter().take(64).enumerate() {
        capitals |= u64::from(byte.is_ascii_uppercase()) << index;
    }
    capitals
}

/// Checks that `text` up to `length` is a name, eight bytes at a time, and returns its capitals like [`capitals_of`];
/// `None`: not a name. `text` may go on behind the name, and is best if it does: names then need no tail loop.
pub(crate) fn scan_name(text: &[u8], length: usize) -> Option<u64> {
    let name = &text[..length];
    let mut capitals = 0u64;
    let mut offset = 0;
    while offset < length {
        let word = text.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok());
        // The end of the buffer, or a name longer than the mask: one byte at a time.
        let (Some(bytes), true) = (word, offset < 64) else {
            return is_valid_name(name).then(|| capitals_of(name));
        };
        let word = u64::from_le_bytes(bytes);
        let inside = if length - offset >= 8 { HIGH } else { HIGH & ((1 << (8 * (length - offset))) - 1) };
        // Adding carries into a byte's high bit when the byte is at least the bound; bytes above 127 have been refused
        // by the first test, so nothing carries between bytes.
        let low = word & !HIGH;
        let at_least = |value: u64, bound: u64| value + (0x80 - bound) * ONES;
        let upper = at_least(low, 0x41) & !at_least(low, 0x5b);
        let lower = at_least(low, 0x61) & !at_least(low, 0x7b);
        let hyphen = at_least(low, 0x2d) & !at_least(low, 0x2e);
        if ((upper | lower | hyphen) & !word & inside) != inside {
            // Rare but valid: digits, underscore and the like.
            return is_valid_name(name).then(|| capitals_of(name));
        }
        // One bit per byte to eight neighbouring bits: the multiplication moves bit 8i to bit 56 + i.
        let bits = ((upper & inside) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        capitals |= bits << offset;
        offset += 8;
    }
    (length > 0).then_some(capitals)
}

/// How many letters and hyphens `text` begins with, and which of them are capitals like [`capitals_of`]. `None`: too
/// many, or too near the end of `text`, for a scan eight bytes at a time.
#[inline]
pub(crate) fn scan_letters(text: &[u8]) -> Option<(usize, u64)> {
    let mut capitals = 0u64;
    for offset in (0..64).step_by(8) {
        let word = u64::from_le_bytes(*text.get(offset..)?.first_chunk()?);
        // As in `scan_name`. Setting bit 5 makes a capital small, and no other byte a letter.
        let small = (word | (0x20 * ONES)) & !HIGH;
        let at_least = |value: u64, bound: u64| value + (0x80 - bound) * ONES;
        let letters = at_least(small, 0x61) & !at_least(small, 0x7b);
        let others = at_least((word & !HIGH) ^ (0x2d * ONES), 1);
        let outside = ((others & !letters) | word) & HIGH;
        let length = outside.trailing_zeros() / 8;
        let inside = if outside == 0 { HIGH } else { HIGH & ((1 << (8 * length)) - 1) };
        let upper = letters & (!word << 2) & inside;
        capitals |= ((upper >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << offset;
        if outside != 0 {
            return Some((offset + length as usize, capitals));
        }
    }
    None
}

/// How many bytes `text` begins with that are neither control characters (tab is one) nor DEL.
#[inline]
pub(crate) fn plain_length(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // Not exact per byte, but the lowest is.
        let found = has_control(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_control = |&byte: &u8| byte < 0x20 || byte == 0x7f;
    words.len() * 8 + rest.iter().position(is_control).unwrap_or(rest.len())
}

/// How many bytes `text` begins with that are visible ASCII without `#`: what a request target may hold.
#[inline]
pub(crate) fn visible_length(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // As in `has_control`: the lowest is exact.
        let below = |word: u64, bound: u64| word.wrapping_sub(bound * ONES) & !word & HIGH;
        let found = below(word, 0x21)
            | below(word ^ (0x7f * ONES), 1)
            | below(word ^ (u64::from(b'#') * ONES), 1)
            | (word & HIGH);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_other = |&byte: &u8| byte <= 0x20 || byte >= 0x7f || byte == b'#';
    words.len() * 8 + rest.iter().position(is_other).unwrap_or(rest.len())
}

/// A field name is a token (RFC 9110 §5.1): at least one character, none but letters, digits and ``!#$%&'*+-.^_`|~``.
pub fn is_valid_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| is_token_byte(byte))
}

/// A field value holds no control character but tab, and no DEL (RFC 9110 §5.5); bytes above 127 are opaque data.
pub fn is_valid_value(value: &[u8]) -> bool {
    let is_bad = |&byte: &u8| (byte < 0x20 && byte != b'\t') || byte == 0x7f;
    let (words, rest) = value.as_chunks::<8>();
    let suspicious = words.iter().fold(0, |found, word| found | has_control(u64::from_le_bytes(*word)));
    // Tabs are suspicious too; they are rare enough to look again.
    !rest.iter().any(is_bad) && (suspicious == 0 || !value.iter().any(is_bad))
}

/// Not 0 when a byte of `word` is below 0x20 or 0x7f; exact as a whole, not per byte.
fn has_control(word: u64) -> u64 {
    let below = |word: u64, bound: u64| word.wrapping_sub(bound * ONES) & !word & HIGH;
    below(word, 0x20) | below(word ^ (0x7f * ONES), 1)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// `tchar` of RFC 9110 §5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[byte as usize]
}

static TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        // The loop stays below 256, so the cast keeps the value.
        #[allow(clippy::cast_possible_truncation)]
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric()
            || matches!(
                character,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// The elements of a comma-separated list, without surrounding white space and without empty ones (RFC 9110 §5.6.1.2).
/// Only for lists of tokens: quoted strings with commas are not understood.
pub fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Strips spaces and tabs on both sides (OWS of RFC 9110 §5.6.3).
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The word-wise scan and the byte-wise definition agree, whatever lies behind the name.
    #[test]
    fn scan_name_is_valid_name_and_capitals() {
        let mut random = fastrand::Rng::with_seed(1);
        let interesting = b"aZzA-0_@[`{\x00\x7f\x80\xff: mM/.#";
        for _ in 0..20_000 {
            let text: Vec<u8> =
                (0..random.usize(1..90)).map(|_| interesting[random.usize(..interesting.len())]).collect();
            for mostly_letters in [false, true] {
                let mut text = text.clone();
                if mostly_letters {
                    let odd = random.usize(..text.len());
                    for (index, byte) in text.iter_mut().enumerate() {
                        if index != odd {
                            *byte = if random.bool() { random.uppercase() } else { random.lowercase() } as u8;
                        }
                    }
                }
                let length = random.usize(..=text.len());
                let name = &text[..length];
                let expected = is_valid_name(name).then(|| capitals_of(name));
                assert_eq!(scan_name(&text, length), expected, "{}", name.escape_ascii());
                let letters = text.iter().take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'-');
                let letters = letters.count();
                if let Some(found) = scan_letters(&text) {
                    assert_eq!(found, (letters, capitals_of(&text[..letters])), "{}", text.escape_ascii());
                } else {
                    assert!(letters >= 64 || letters + 8 > text.len(), "{}", text.escape_ascii());
                }
                let plain = text.iter().take_while(|byte| **byte >= 0x20 && **byte != 0x7f).count();
                assert_eq!(plain_length(&text), plain, "{}", text.escape_ascii());
                let visible = text.iter().take_while(|byte| matches!(byte, b'!'..=b'~') && **byte != b'#');
                assert_eq!(visible_length(&text), visible.count(), "{}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn is_valid_value_refuses_each_control_character_at_each_place() {
        for byte in 0..=255u8 {
            let expected = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
            for length in 1..40 {
                for position in 0..length {
                    for filler in [b'a', b'\t', 0xff, 0x80] {
                        let mut value = vec![filler; length];
                        value[position] = byte;
                        assert_eq!(is_valid_value(&value), expected, "{}", value.escape_ascii());
                    }
                }
            }
        }
    }

    #[test]
    fn lists() {
        let check = |value: &str, expected: &[&str]| {
            let elements: Vec<_> = list_elements(value.as_bytes()).collect();
            assert_eq!(
                elements,
                expected.iter().map(|text| text.as_bytes()).collect::<Vec<_>>(),
                "{value:?}"
            );
        };
        check("", &[]);
        check(" , ,", &[]);
        check("a", &["a"]);
        check(" a ,\tb\t, c d,", &["a", "b", "c d"]);
    }
}
