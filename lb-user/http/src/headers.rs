//! The fields of one message: an ordered list with duplicates over one text arena.
//!
//! Every name and value is a range into `text`, so a message costs two allocations for its whole life and none when its
//! storage is reused. Names are kept lower case (HAProxy writes them so); which letters were capitals as received is
//! remembered for `h1-case-adjust` and for captures. Removed or replaced text stays in the arena until [`Headers::clear`].

use crate::scan::{capitals_of, list_elements};

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
