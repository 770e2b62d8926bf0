//! The fields of one message: an ordered list with duplicates over one text arena.
//!
//! Every name and value is a range into `text`, so a message costs two allocations for its whole life and none when its
//! storage is reused. Names are kept lower case (HAProxy writes them so); which letters were capitals as received is
//! remembered for `h1-case-adjust` and for captures. Removed or replaced text stays in the arena until [`Headers::clear`].

/// Fields that mean something to a proxy; known once at parse time, so that nothing compares strings afterwards.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Known {
    /// Any other field.
    #[default]
    Other,
    /// `accept-encoding`
    AcceptEncoding,
    /// `connection`
    Connection,
    /// `content-length`
    ContentLength,
    /// `cookie`
    Cookie,
    /// `expect`
    Expect,
    /// `host`
    Host,
    /// `http2-settings`, the h2c upgrade of RFC 7540 §3.2
    Http2Settings,
    /// `keep-alive`
    KeepAlive,
    /// `proxy-connection`, a misspelling of `connection` by old clients of proxies
    ProxyConnection,
    /// `sec-websocket-accept`
    SecWebsocketAccept,
    /// `sec-websocket-key`
    SecWebsocketKey,
    /// `set-cookie`
    SetCookie,
    /// `te`
    Te,
    /// `trailer`
    Trailer,
    /// `transfer-encoding`
    TransferEncoding,
    /// `upgrade`
    Upgrade,
    /// `x-forwarded-for`
    XForwardedFor,
}

impl Known {
    /// Classifies a lower-case name.
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"te" => Self::Te,
            b"host" => Self::Host,
            b"cookie" => Self::Cookie,
            b"expect" => Self::Expect,
            b"trailer" => Self::Trailer,
            b"upgrade" => Self::Upgrade,
            b"connection" => Self::Connection,
            b"keep-alive" => Self::KeepAlive,
            b"set-cookie" => Self::SetCookie,
            b"content-length" => Self::ContentLength,
            b"http2-settings" => Self::Http2Settings,
            b"accept-encoding" => Self::AcceptEncoding,
            b"x-forwarded-for" => Self::XForwardedFor,
            b"proxy-connection" => Self::ProxyConnection,
            b"sec-websocket-key" => Self::SecWebsocketKey,
            b"transfer-encoding" => Self::TransferEncoding,
            b"sec-websocket-accept" => Self::SecWebsocketAccept,
            _ => Self::Other,
        }
    }
}

/// Ordered fields with duplicates; see the module.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    pub(crate) text: Vec<u8>,
    pub(crate) fields: Vec<Field>,
}

/// One field as ranges into the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub(crate) name: Span,
    pub(crate) value: Span,
    /// Bit i set: byte i of the name was a capital. Names are remembered to their 64th letter.
    pub(crate) capitals: u64,
    pub(crate) known: Known,
    /// Nominated by `Connection` in the message as received: for this hop only, never written (RFC 9110 §7.6.1).
    pub(crate) hop_by_hop: bool,
}

/// A name that is used again and again, made ready: nothing looks at its letters one by one any more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldName {
    /// In lower case.
    text: Box<[u8]>,
    capitals: u64,
    known: Known,
}

impl FieldName {
    /// A name in any case. The caller vouches for it: [`is_valid_name`].
    pub fn new(name: &[u8]) -> Self {
        let text = name.to_ascii_lowercase();
        Self { capitals: capitals_of(name), known: Known::of(&text), text: text.into() }
    }

    /// In lower case.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    fn is_of(&self, field: &Field, text: &[u8]) -> bool {
        // Lengths differ nearly always, which costs less than a look at the text.
        field.name.len() == self.text.len() && text[field.name.range()] == *self.text
    }
}

/// A range of the arena. `u32`: a head is at most [`TEXT_BYTES_MAX`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// Ranges are `u32` and heads are a buffer long (`tune.bufsize`, 16 KiB); anything near this is a bug of the caller.
pub const TEXT_BYTES_MAX: usize = 1 << 30;

/// Arena a fresh head starts with: a typical browser request with what the rules add to it.
const TEXT_BYTES_TYPICAL: usize = 1024;
/// Fields a fresh head has room for.
const FIELDS_TYPICAL: usize = 24;

impl Headers {
    /// Empty, with room for a typical message.
    pub fn new() -> Self {
        Self { text: Vec::with_capacity(TEXT_BYTES_TYPICAL), fields: Vec::with_capacity(FIELDS_TYPICAL) }
    }

    /// Forgets every field, keeps the storage.
    pub fn clear(&mut self) {
        self.text.clear();
        self.fields.clear();
    }

    /// Number of fields, duplicates counted.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// True without any field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Every field in order: lower-case name, value without surrounding white space.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + ExactSizeIterator {
        self.fields.iter().map(|field| (self.slice(field.name), self.slice(field.value)))
    }

    /// The names as received, capitals included (to their 64th letter), in the order of [`Self::iter`].
    pub fn names_as_received(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.fields.iter().map(|field| {
            let mut name = self.slice(field.name).to_vec();
            for (index, byte) in name.iter_mut().take(64).enumerate() {
                if field.capitals >> index & 1 == 1 {
                    byte.make_ascii_uppercase();
                }
            }
            name
        })
    }

    /// The first value of `name`, in any case.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|field| self.slice(field.name).eq_ignore_ascii_case(name))
            .map(|field| self.slice(field.value))
    }

    /// Every value of `name` in order, one per field line.
    pub fn get_all<'a>(&'a self, name: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a [u8]> + 'a {
        self.fields
            .iter()
            .filter(move |field| self.slice(field.name).eq_ignore_ascii_case(name))
            .map(|field| self.slice(field.value))
    }

    /// The first value of a field known at parse time; compares no text.
    pub fn known(&self, known: Known) -> Option<&[u8]> {
        self.all_known(known).next()
    }

    /// Every value of a known field in order.
    pub fn all_known(&self, known: Known) -> impl DoubleEndedIterator<Item = &[u8]> {
        debug_assert!(known != Known::Other, "unknown fields are found by name");
        self.fields.iter().filter(move |field| field.known == known).map(|field| self.slice(field.value))
    }

    /// Whether `Connection` says `close`. Parsing takes that out of a message as received: what is left is a rule's word.
    pub fn asks_close(&self) -> bool {
        let elements = self.all_known(Known::Connection).flat_map(list_elements);
        elements.into_iter().any(|element| element.eq_ignore_ascii_case(b"close"))
    }

    /// True when a field of this name is present.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// Adds a field at the end. The caller vouches for the text: [`is_valid_name`] and [`is_valid_value`].
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        let name = self.push_name(name);
        let value_span = self.push_text(value);
        let known = Known::of(self.slice(name.0));
        self.fields.push(Field {
            name: name.0,
            value: value_span,
            capitals: name.1,
            known,
            hop_by_hop: false,
        });
    }

    /// Removes every field of `name`, then adds one at the end, as `http-request set-header` does.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.remove(name);
        self.append(name, value);
    }

    /// Removes every field of `name`; returns how many there were.
    pub fn remove(&mut self, name: &[u8]) -> usize {
        let before = self.fields.len();
        let text = &self.text;
        self.fields.retain(|field| !text[field.name.range()].eq_ignore_ascii_case(name));
        before - self.fields.len()
    }

    /// Bytes of all text that is held, that of fields that are gone included: an upper bound of what is in use.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// [`append`](Self::append) of a name made ready.
    pub fn append_named(&mut self, name: &FieldName, value: &[u8]) {
        self.text.reserve(name.text.len() + value.len());
        let name_span = self.push_text(&name.text);
        let value = self.push_text(value);
        self.fields.push(Field {
            name: name_span,
            value,
            capitals: name.capitals,
            known: name.known,
            hop_by_hop: false,
        });
    }

    /// [`set`](Self::set) of a name made ready.
    pub fn set_named(&mut self, name: &FieldName, value: &[u8]) {
        self.remove_named(name);
        self.append_named(name, value);
    }

    /// [`remove`](Self::remove) of a name made ready.
    pub fn remove_named(&mut self, name: &FieldName) -> usize {
        let before = self.fields.len();
        let text = &self.text;
        if self.fields.iter().any(|field| name.is_of(field, text)) {
            self.fields.retain(|field| !name.is_of(field, text));
        }
        before - self.fields.len()
    }

    /// The place of the first field of that name from `start` on (position in [`Self::iter`]), and its value.
    pub fn next_named(&self, name: &FieldName, start: usize) -> Option<(usize, &[u8])> {
        let fields = self.fields.get(start..)?;
        let at = fields.iter().position(|field| name.is_of(field, &self.text))?;
        Some((start + at, self.slice(fields[at].value)))
    }

    /// Removes every field of a known name; returns how many there were.
    pub fn remove_known(&mut self, known: Known) -> usize {
        let before = self.fields.len();
        self.fields.retain(|field| field.known != known);
        before - self.fields.len()
    }

    /// Removes the fields for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let text = &self.text;
        self.fields.retain(|field| keep(&text[field.name.range()], &text[field.value.range()]));
    }

    /// Replaces the value of the field at `index` (position in [`Self::iter`]) in place.
    pub fn replace_at(&mut self, index: usize, value: &[u8]) {
        let value = self.push_text(value);
        if let Some(field) = self.fields.get_mut(index) {
            field.value = value;
        }
    }

    /// Replaces the values of all fields of a known name.
    pub(crate) fn replace_known(&mut self, known: Known, value: &[u8]) {
        let value = self.push_text(value);
        for field in self.fields.iter_mut().filter(|field| field.known == known) {
            field.value = value;
        }
    }

    pub(crate) fn slice(&self, span: Span) -> &[u8] {
        &self.text[span.range()]
    }

    pub(crate) fn push_text(&mut self, bytes: &[u8]) -> Span {
        let start = self.text.len();
        self.text.extend_from_slice(bytes);
        Span::new(start, self.text.len())
    }

    fn push_name(&mut self, name: &[u8]) -> (Span, u64) {
        let span = self.push_text(name);
        let stored = &mut self.text[span.range()];
        let capitals = capitals_of(stored);
        stored.make_ascii_lowercase();
        (span, capitals)
    }
}

/// Fields are equal when their names and values are, in order; where they lie in the arena does not matter.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= TEXT_BYTES_MAX);
        // Heads are limited far below 4 GiB by whoever fills the buffer; saturating keeps even a bug from wrapping.
        Self { start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
    }

    fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

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
