//! Values of fields as `hdr` and `fhdr` see them: one per comma or one per line, counted from either end.

use sockeye_http::Headers;

/// How far back an occurrence may be counted from the end, as in HAProxy.
pub(crate) const FROM_END_MAX: i64 = 10;

/// Whether a field is one value, or a list of values with commas between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    Never,
    AtCommas,
}

/// The values of the fields called `name`, or of all fields if that is empty, in order. The name is in lower case, as
/// those of a head are.
pub(crate) fn values<'a>(headers: &'a Headers, name: &[u8], split: Split) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.iter().filter(move |(of, _)| name.is_empty() || *of == name).map(|(_, value)| value);
    lines.flat_map(move |line| match split {
        Split::Never => Elements::whole(line),
        Split::AtCommas => Elements::list(line),
    })
}

/// The value at `occurrence`: from 1 for the first, from -1 for the last.
pub(crate) fn value_at<'a>(
    headers: &'a Headers,
    name: &[u8],
    split: Split,
    occurrence: i64,
) -> Option<&'a [u8]> {
    if occurrence == -1 {
        return values(headers, name, split).last();
    }
    let index = if occurrence > 0 {
        occurrence - 1
    } else if occurrence >= -FROM_END_MAX {
        i64::try_from(values(headers, name, split).count()).ok()? + occurrence
    } else {
        return None;
    };
    values(headers, name, split).nth(usize::try_from(index).ok()?)
}

/// The elements of one field.
pub(crate) struct Elements<'a> {
    rest: Option<&'a [u8]>,
    split: Split,
}

impl<'a> Elements<'a> {
    fn whole(line: &'a [u8]) -> Self {
        Self { rest: Some(line), split: Split::Never }
    }

    pub(crate) fn list(line: &'a [u8]) -> Self {
        Self { rest: Some(line), split: Split::AtCommas }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        if self.split == Split::Never {
            return Some(rest);
        }
        let end = find_unquoted::<b',', b','>(rest);
        self.rest = rest.get(end + 1..);
        Some(trim(&rest[..end]))
    }
}

/// Where the first byte is that is `A` or `B`, outside of double quotes; the length if there is none.
pub(crate) fn find_unquoted<const A: u8, const B: u8>(text: &[u8]) -> usize {
    // Most texts have no quotes.
    let from = match memchr::memchr3(A, B, b'"', text) {
        None => return text.len(),
        Some(at) if text[at] != b'"' => return at,
        Some(at) => at,
    };
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in text.iter().enumerate().skip(from) {
        match *byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if !quoted && (byte == A || byte == B) => return index,
            _ => {}
        }
    }
    text.len()
}

/// Without spaces and tabs on both sides.
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
    use proptest::prelude::*;
    use sockeye_http::Headers;

    use super::{FROM_END_MAX, Split, value_at, values};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Counting from either end gives what visiting all gives.
        #[test]
        fn occurrences(lines in proptest::collection::vec("[ab,\"\\\\ \t]{0,12}", 0..4)) {
            let mut headers = Headers::new();
            for line in &lines {
                headers.append(b"X", line.as_bytes());
                headers.append(b"Y", b"other");
            }
            for split in [Split::AtCommas, Split::Never] {
                let all: Vec<_> = values(&headers, b"x", split).collect();
                prop_assert!(split == Split::AtCommas || all.len() == lines.len());
                for (from_start, from_end) in (1..20).map(|occurrence| (occurrence, -occurrence)) {
                    let index = usize::try_from(from_start).unwrap();
                    prop_assert_eq!(value_at(&headers, b"x", split, from_start), all.get(index - 1).copied());
                    let expected = all.len().checked_sub(index).filter(|_| from_start <= FROM_END_MAX);
                    prop_assert_eq!(value_at(&headers, b"x", split, from_end), expected.map(|index| all[index]));
                }
            }
        }
    }
}
