//! Field lines: from bytes to ranges. Shared by heads and trailers, so that both are equally strict.

use memchr::memchr;

use super::error::{ParseError, Violation};
use super::parse::Strictness;
use crate::headers::{Field, Headers, Known, Span};
use crate::scan::{is_token_byte, is_valid_value, plain_length, scan_letters, scan_name};

/// Reads lines of `bytes` from `position`. `bytes` is cut at the size limit by the caller.
pub(super) struct Lines<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) position: usize,
    pub(super) strictness: Strictness,
}

impl Lines<'_> {
    /// The next line without its CRLF, or `None` while its end has not arrived.
    pub(super) fn next(&mut self) -> Result<Option<std::ops::Range<usize>>, ParseError> {
        let start = self.position;
        let Some(length) = memchr(b'\n', &self.bytes[start..]) else { return Ok(None) };
        let line_feed = start + length;
        self.position = line_feed + 1;
        if length > 0 && self.bytes[line_feed - 1] == b'\r' {
            return Ok(Some(start..line_feed - 1));
        }
        // RFC 9112 §2.2: "a recipient MAY recognize a single LF as a line terminator". A proxy before us that does not
        // would have forwarded as one value what we would read as two fields.
        if self.strictness == Strictness::Strict {
            return Err(ParseError::new(Violation::BareLf, line_feed));
        }
        Ok(Some(start..line_feed))
    }

    /// Reads field lines up to and including the empty line; `None` while it has not arrived. The ranges pushed to
    /// `fields` are offsets into `bytes` less `base`. Returns whether any value was folded.
    pub(super) fn fields(
        &mut self,
        base: usize,
        fields: &mut Vec<Field>,
        fields_max: usize,
    ) -> Result<Option<Folded>, ParseError> {
        let mut folded = Folded(false);
        let mut dropped = false;
        loop {
            while fields.len() + 1 < fields_max
                && let Some((field, end)) = self.plain_field(base)
            {
                fields.push(field);
                dropped = false;
                self.position = end;
            }
            let Some(line) = self.next()? else { return Ok(None) };
            if line.is_empty() {
                return Ok(Some(folded));
            }
            if matches!(self.bytes[line.start], b' ' | b'\t') {
                // What continues a dropped field is dropped with it; `fold` still judges it.
                let previous = if dropped { None } else { fields.last_mut() };
                self.fold(base, line, previous, dropped)?;
                folded = Folded(true);
                continue;
            }
            // HAProxy counts the end of the list too: with 101, a message has at most 100 fields.
            if fields.len() + 1 >= fields_max {
                return Err(ParseError::new(Violation::TooManyFields, line.start));
            }
            let field = self.field(base, line)?;
            dropped = field.is_none();
            fields.extend(field);
        }
    }

    /// The field line that nearly all are: a name of letters and hyphens, a valid value, CRLF; and where the next line
    /// starts. Anything else, the empty line and what is invalid or has not arrived included, is `None` and read by
    /// [`Self::next`] and [`Self::field`], which find the same where this finds something.
    #[inline]
    fn plain_field(&self, base: usize) -> Option<(Field, usize)> {
        let text = self.bytes.get(self.position..)?;
        let (colon, capitals) = scan_letters(text)?;
        if colon == 0 || text.get(colon) != Some(&b':') {
            return None;
        }
        let mut start = colon + 1;
        while matches!(text.get(start), Some(b' ' | b'\t')) {
            start += 1;
        }
        let line_end = start + plain_length(text.get(start..)?);
        let [b'\r', b'\n', ..] = text.get(line_end..)? else { return None };
        let mut end = line_end;
        while end > start && matches!(text[end - 1], b' ' | b'\t') {
            end -= 1;
        }
        let offset = self.position - base;
        let field = Field {
            name: Span::new(offset, offset + colon),
            value: Span::new(offset + start, offset + end),
            capitals,
            known: Known::Other,
            hop_by_hop: false,
        };
        Some((field, self.position + line_end + 2))
    }

    /// One `name: value`. `None`: dropped, as relaxed mode does with invalid names.
    fn field(&self, base: usize, line: std::ops::Range<usize>) -> Result<Option<Field>, ParseError> {
        let text = &self.bytes[line.clone()];
        let Some(colon) = memchr(b':', text) else {
            let at = text.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(0);
            let violation = if text[at] == b'\r' { Violation::BareCr } else { Violation::MissingColon };
            return Err(ParseError::new(violation, line.start + at));
        };
        let name = &text[..colon];
        let Some(capitals) = scan_name(&self.bytes[line.start..], colon) else {
            return self.bad_name(line.start, name).map(|()| None);
        };
        let (mut start, mut end) = (colon + 1, text.len());
        while start < end && matches!(text[start], b' ' | b'\t') {
            start += 1;
        }
        while start < end && matches!(text[end - 1], b' ' | b'\t') {
            end -= 1;
        }
        self.check_value(line.start + start, &text[start..end])?;
        let offset = line.start - base;
        Ok(Some(Field {
            name: Span::new(offset, offset + colon),
            value: Span::new(offset + start, offset + end),
            capitals,
            known: Known::Other,
            hop_by_hop: false,
        }))
    }

    #[cold]
    fn bad_name(&self, position: usize, name: &[u8]) -> Result<(), ParseError> {
        let Some(at) = name.iter().position(|&byte| !is_token_byte(byte)) else {
            return Err(ParseError::new(Violation::EmptyFieldName, position));
        };
        let rest_is_blank = name[at..].iter().all(|byte| matches!(byte, b' ' | b'\t'));
        let violation = match name[at] {
            // "No whitespace is allowed between the field name and colon" (RFC 9112 §5.1): not even in relaxed mode.
            b' ' | b'\t' if rest_is_blank => Violation::SpaceBeforeColon,
            b'\r' => Violation::BareCr,
            _ if self.strictness == Strictness::Relaxed => return Ok(()),
            _ => Violation::BadFieldName,
        };
        Err(ParseError::new(violation, position + at))
    }

    fn check_value(&self, position: usize, value: &[u8]) -> Result<(), ParseError> {
        if is_valid_value(value) { Ok(()) } else { self.bad_value(position, value) }
    }

    #[cold]
    fn bad_value(&self, position: usize, value: &[u8]) -> Result<(), ParseError> {
        let is_bad = |byte: u8| match self.strictness {
            Strictness::Strict => (byte < 0x20 && byte != b'\t') || byte == 0x7f,
            // HAProxy refuses only CR and LF here, and NUL unless relaxed.
            Strictness::Relaxed => byte == b'\r',
        };
        let Some(at) = value.iter().position(|&byte| is_bad(byte)) else { return Ok(()) };
        let violation = if value[at] == b'\r' { Violation::BareCr } else { Violation::BadFieldValue };
        Err(ParseError::new(violation, position + at))
    }

    /// A line that continues the value before it. RFC 9112 §5.2: "MUST either reject the message […] or replace each
    /// received obs-fold with one or more SP octets": rejected, or replaced in relaxed mode (see [`Folded`]).
    #[cold]
    fn fold(
        &self,
        base: usize,
        line: std::ops::Range<usize>,
        previous: Option<&mut Field>,
        previous_is_dropped: bool,
    ) -> Result<(), ParseError> {
        if self.strictness == Strictness::Strict || (previous.is_none() && !previous_is_dropped) {
            return Err(ParseError::new(Violation::ObsFold, line.start));
        }
        let (mut start, mut end) = (line.start, line.end);
        while start < end && matches!(self.bytes[start], b' ' | b'\t') {
            start += 1;
        }
        while start < end && matches!(self.bytes[end - 1], b' ' | b'\t') {
            end -= 1;
        }
        self.check_value(start, &self.bytes[start..end])?;
        let Some(previous) = previous else { return Ok(()) };
        if start < end {
            let added = Span::new(start - base, end - base);
            let was_empty = previous.value.start == previous.value.end;
            previous.value = if was_empty { added } else { Span { end: added.end, ..previous.value } };
        }
        Ok(())
    }
}

/// Whether values run over line ends, which [`Self::finish`] must blank once they are in the arena.
#[derive(Clone, Copy)]
pub(super) struct Folded(bool);

impl Folded {
    /// Once the text is in the arena: lower-cases and classifies the names, replaces line ends inside values by spaces.
    pub(super) fn finish(self, headers: &mut Headers) {
        let Headers { text, fields } = headers;
        for field in fields {
            let name = &mut text[field.name.range()];
            if name.len() > 64 {
                name.make_ascii_lowercase();
            }
            // A name has two or three capitals: cheaper one by one than a loop over all letters.
            let mut capitals = field.capitals;
            while capitals != 0 {
                name[capitals.trailing_zeros() as usize] |= 0x20;
                capitals &= capitals - 1;
            }
            field.known = Known::of(name);
            if self.0 {
                for byte in &mut text[field.value.range()] {
                    if matches!(byte, b'\r' | b'\n') {
                        *byte = b' ';
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The short way and the long way read the same lines alike.
    #[test]
    fn plain_fields_are_fields() {
        let mut random = fastrand::Rng::with_seed(1);
        let pieces = [
            &b"Host"[..],
            b"content-length",
            b":",
            b": ",
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b"\t",
            b"abcdefgh",
            b"A",
            b"_",
            b"7",
            b"\x80",
            b"\x7f",
            b"\0",
            b"a-long-name-of-more-than-sixty-four-letters-is-no-plain-name-at-all",
        ];
        let mut plain = 0;
        for _ in 0..50_000 {
            let mut text = Vec::new();
            for _ in 0..random.usize(1..8) {
                text.extend_from_slice(pieces[random.usize(..pieces.len())]);
            }
            text.extend_from_slice(b"\r\n\r\n12345678");
            for strictness in [Strictness::Strict, Strictness::Relaxed] {
                let mut lines = Lines { bytes: &text, position: 0, strictness };
                let Some((field, end)) = lines.plain_field(0) else { continue };
                plain += 1;
                let line = lines.next().unwrap().unwrap();
                let expected = lines.field(0, line).unwrap().unwrap();
                assert_eq!(end, lines.position, "{}", text.escape_ascii());
                assert_eq!(
                    (field.name, field.value, field.capitals),
                    (expected.name, expected.value, expected.capitals),
                    "{}",
                    text.escape_ascii()
                );
            }
        }
        assert!(plain > 1000);
    }
}
