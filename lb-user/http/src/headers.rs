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
    /// Classifies a name in any case: by length and first letter, then one comparison.
    pub fn of(name: &[u8]) -> Self {
        let Some(&first) = name.first() else { return Self::Other };
        let (candidate, spelled): (Self, &[u8]) = match (name.len(), first | 0x20) {
            (2, b't') => (Self::Te, b"te"),
            (4, b'h') => (Self::Host, b"host"),
            (6, b'c') => (Self::Cookie, b"cookie"),
            (6, b'e') => (Self::Expect, b"expect"),
            (7, b't') => (Self::Trailer, b"trailer"),
            (7, b'u') => (Self::Upgrade, b"upgrade"),
            (10, b'c') => (Self::Connection, b"connection"),
            (10, b'k') => (Self::KeepAlive, b"keep-alive"),
            (10, b's') => (Self::SetCookie, b"set-cookie"),
            (14, b'c') => (Self::ContentLength, b"content-length"),
            (14, b'h') => (Self::Http2Settings, b"http2-settings"),
            (15, b'a') => (Self::AcceptEncoding, b"accept-encoding"),
            (15, b'x') => (Self::XForwardedFor, b"x-forwarded-for"),
            (16, b'p') => (Self::ProxyConnection, b"proxy-connection"),
            (17, b's') => (Self::SecWebsocketKey, b"sec-websocket-key"),
            (17, b't') => (Self::TransferEncoding, b"transfer-encoding"),
            (20, b's') => (Self::SecWebsocketAccept, b"sec-websocket-accept"),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(spelled) { candidate } else { Self::Other }
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

/// A field name is a token (RFC 9110 §5.1): at least one character, none but letters, digits and ``!#$%&'*+-.^_`|~``.
pub fn is_valid_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| is_token_byte(byte))
}

/// A field value holds no control character but tab, and no DEL (RFC 9110 §5.5); bytes above 127 are opaque data.
pub fn is_valid_value(value: &[u8]) -> bool {
    // One flag for the whole slice instead of an early exit: the compiler turns this into vector code.
    !value.iter().fold(false, |bad, &byte| bad | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f))
}

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
