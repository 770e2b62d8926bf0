//! The log-format language (manual 8.2.6), parsed once: text, aliases of log fields, sample expressions.
//!
//! What an alias stands for is known only by the caller, which writes it through a [`Writer`].

mod alias;
mod cbor;
mod json;
mod needs;
pub mod number;
mod parse;
mod writer;

pub use alias::Alias;
pub use needs::unavailable;
pub use parse::FormatError;
pub use writer::{Marks, Writer, push_ip};

use crate::compile::Compiler;
use crate::expression::Expr;
use crate::scene::Scene;
use crate::stage::Stages;
use crate::value::Type;

/// Writes what an alias stands for, in the way the flags say: through a [`Writer`].
pub type WriteAlias<'a> = dyn FnMut(Alias, Flags, &mut Vec<u8>) + 'a;

/// A parsed format.
#[derive(Debug, Clone, PartialEq)]
pub struct Format {
    items: Box<[Item]>,
    /// What `%o` said last: with an encoding, the format is one map of its named items.
    whole: Flags,
    has_aliases: bool,
    /// As it was written.
    text: Box<str>,
}

/// What a format is for, which decides about blanks, missing values and bytes that could do harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// A log line: runs of blanks (not tabs) are one blank; `-` stands for what is missing.
    #[default]
    Log,
    /// A unique id: runs of blanks are one blank.
    UniqueId,
    /// A header's value, a location: what must not be in there is written `%XX`; quotes and encodings of expressions
    /// are not wanted.
    Header,
    /// A body, a variable, a path: as it is.
    Text,
}

/// One part of a format.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Text(Box<[u8]>),
    /// A blank, left out where the line is empty or ends in one already.
    Blank,
    Field(Field),
}

/// A part that differs from one use to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub what: What,
    pub flags: Flags,
    /// `%(name)…`: its key in an encoded format.
    pub name: Option<Box<str>>,
}

/// Where the value of a field comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Alias(Alias),
    Expr(Expr),
}

/// How an item is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// `Q`: strings in quotes, empty ones too.
    pub quote: bool,
    /// `X`: addresses, ports and some numbers in hexadecimal.
    pub hex: bool,
    /// `E`: a backslash before `"`, `\` and `]`.
    pub escape: bool,
    /// `bin`: expressions are not cut at a zero byte; CBOR is not written in hexadecimal digits.
    pub binary: bool,
    /// `utf8`: JSON lets valid UTF-8 through.
    pub utf8: bool,
    pub encoding: Option<Encoding>,
    /// `%(:type)…`: what the value becomes in an encoding.
    pub as_type: Option<Type>,
    pub purpose: Purpose,
}

/// `json` and `cbor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Cbor,
}

impl Format {
    /// Parses a format that will be evaluated in one of `stages`.
    ///
    /// # Errors
    /// A message without place; the caller knows the keyword.
    pub fn parse(
        text: &str,
        purpose: Purpose,
        stages: Stages,
        compiler: &mut Compiler<'_>,
    ) -> Result<Self, FormatError> {
        parse::parse(text, purpose, Some((stages, compiler)))
    }

    /// Parses a format of text and aliases alone, such as the fixed ones.
    ///
    /// # Errors
    /// Also for an expression.
    pub fn of_aliases(text: &str, purpose: Purpose) -> Result<Self, FormatError> {
        parse::parse(text, purpose, None)
    }

    /// A text that is always the same and holds no format: `%` is only `%`.
    pub fn literal(text: &str) -> Self {
        let item = (!text.is_empty()).then(|| Item::Text(text.as_bytes().into()));
        Self {
            items: item.into_iter().collect(),
            whole: Flags::default(),
            has_aliases: false,
            text: text.into(),
        }
    }

    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it gives nothing, ever.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The text, if the format gives the same one every time.
    pub fn constant(&self) -> Option<&[u8]> {
        match &*self.items {
            [] if self.whole.encoding.is_none() => Some(b""),
            [Item::Text(text)] if self.whole.encoding.is_none() => Some(text),
            _ => None,
        }
    }

    /// Whether a caller has to know what aliases stand for.
    #[inline]
    pub fn has_aliases(&self) -> bool {
        self.has_aliases
    }

    /// The expressions in it.
    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.fields().filter_map(|field| match &field.what {
            What::Expr(expr) => Some(expr),
            What::Alias(_) => None,
        })
    }

    /// The aliases in it.
    pub fn aliases(&self) -> impl Iterator<Item = Alias> {
        self.fields().filter_map(|field| match field.what {
            What::Alias(alias) => Some(alias),
            What::Expr(_) => None,
        })
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.items.iter().filter_map(|item| match item {
            Item::Field(field) => Some(field),
            _ => None,
        })
    }

    /// Appends what the format gives in `scene`.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, scene: &Scene<'_>, aliases: &mut WriteAlias<'_>) {
        self.write_in(out, Some(scene), aliases);
    }

    /// Appends what a format without aliases gives; an alias in it gives nothing.
    #[inline]
    pub fn write_exprs(&self, out: &mut Vec<u8>, scene: &Scene<'_>) {
        self.write(out, scene, &mut |_, flags, out| Writer::new(flags, out).missing());
    }

    /// Appends what a format without expressions gives; an expression in it is missing.
    pub fn write_aliases(&self, out: &mut Vec<u8>, aliases: &mut WriteAlias<'_>) {
        self.write_in(out, None, aliases);
    }

    #[inline]
    fn write_in(&self, out: &mut Vec<u8>, scene: Option<&Scene<'_>>, aliases: &mut WriteAlias<'_>) {
        match (&*self.items, self.whole.encoding) {
            ([Item::Text(text)], None) => out.extend_from_slice(text),
            (_, None) => self.write_items(out, scene, aliases),
            (_, Some(encoding)) => self.write_map(encoding, out, scene, aliases),
        }
    }

    fn write_items(&self, out: &mut Vec<u8>, scene: Option<&Scene<'_>>, aliases: &mut WriteAlias<'_>) {
        // A blank at the start is left out, as is one after another.
        let mut blank = true;
        for item in &self.items {
            match item {
                Item::Text(text) => {
                    out.extend_from_slice(text);
                    blank = false;
                }
                Item::Blank if blank => {}
                Item::Blank => {
                    out.push(b' ');
                    blank = true;
                }
                Item::Field(field) => {
                    let before = out.len();
                    field.write(field.flags, out, scene, aliases);
                    blank &= out.len() == before;
                }
            }
        }
    }

    /// One map of the named items; text between them and items without a name are left out.
    fn write_map(
        &self,
        encoding: Encoding,
        out: &mut Vec<u8>,
        scene: Option<&Scene<'_>>,
        aliases: &mut WriteAlias<'_>,
    ) {
        let mut writer = Writer::new(self.whole, out);
        match encoding {
            Encoding::Json => writer.raw(b"{"),
            Encoding::Cbor => writer.raw(&[cbor::MAP]),
        }
        let mut first = true;
        for field in self.fields() {
            let Some(name) = &field.name else { continue };
            let flags = Flags {
                encoding: self.whole.encoding,
                binary: self.whole.binary,
                utf8: self.whole.utf8 || field.flags.utf8,
                ..field.flags
            };
            let mut writer = Writer::new(flags, out);
            if encoding == Encoding::Json {
                writer.raw(if first { b"\"" } else { b", \"" });
                writer.raw(name.as_bytes());
                writer.raw(b"\": ");
            } else {
                writer.text(name.as_bytes());
            }
            first = false;
            field.write(flags, out, scene, aliases);
        }
        let mut writer = Writer::new(self.whole, out);
        match encoding {
            Encoding::Json => writer.raw(b"}"),
            Encoding::Cbor => writer.raw(&[cbor::BREAK]),
        }
    }
}

impl Field {
    #[inline]
    fn write(
        &self,
        flags: Flags,
        out: &mut Vec<u8>,
        scene: Option<&Scene<'_>>,
        aliases: &mut WriteAlias<'_>,
    ) {
        match &self.what {
            What::Expr(expr) => Writer::new(flags, out).value(scene.and_then(|scene| expr.eval(scene))),
            What::Alias(alias) => aliases(*alias, flags, out),
        }
    }
}
