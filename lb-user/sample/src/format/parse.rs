//! Format strings read: `%[expression]`, `%alias`, `%(name:type){flags}…`, `%%`, and text.

use super::needs::unavailable;
use super::{Alias, Encoding, Field, Flags, Format, Item, Purpose, What};
use crate::compile::Compiler;
use crate::expression::Expr;
use crate::stage::Stages;
use crate::value::Type;

/// Why a format was refused. The message is the whole explanation, but for the keyword.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormatError(pub String);

/// What expressions need, or nothing where only aliases may be used.
type Surroundings<'a, 'c> = Option<(Stages, &'a mut Compiler<'c>)>;

pub(super) fn parse(
    text: &str,
    purpose: Purpose,
    surroundings: Surroundings<'_, '_>,
) -> Result<Format, FormatError> {
    let common = Flags { purpose, ..Flags::default() };
    let mut parser =
        Parser { whole: text, rest: text, common, surroundings, items: Vec::new(), text: Vec::new() };
    parser.parse()?;
    let (items, whole) = (parser.items, parser.common);
    let is_alias = |item: &Item| matches!(item, Item::Field(Field { what: What::Alias(_), .. }));
    let has_aliases = items.iter().any(is_alias);
    Ok(Format { items: items.into(), whole, has_aliases, text: text.into() })
}

struct Parser<'a, 's, 'c> {
    whole: &'a str,
    rest: &'a str,
    /// The flags that `%o` set for all items after it.
    common: Flags,
    surroundings: Surroundings<'s, 'c>,
    items: Vec<Item>,
    /// Text not yet made an item.
    text: Vec<u8>,
}

impl<'a> Parser<'a, '_, '_> {
    fn parse(&mut self) -> Result<(), FormatError> {
        let merges = matches!(self.common.purpose, Purpose::Log | Purpose::UniqueId);
        while let Some(first) = self.rest.chars().next() {
            match first {
                '%' => {
                    self.rest = &self.rest[1..];
                    self.item()?;
                }
                ' ' if merges => {
                    self.rest = self.rest.trim_start_matches(' ');
                    self.end_text();
                    self.items.push(Item::Blank);
                }
                _ => {
                    let special = |c: char| c == '%' || merges && c == ' ';
                    let end = self.rest.find(special).unwrap_or(self.rest.len());
                    self.text.extend_from_slice(&self.rest.as_bytes()[..end]);
                    self.rest = &self.rest[end..];
                }
            }
        }
        self.end_text();
        Ok(())
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.items.push(Item::Text(std::mem::take(&mut self.text).into()));
        }
    }

    /// What follows a `%`: `%`, or `(name:type)` `{flags}` and a name or `[expression]`.
    fn item(&mut self) -> Result<(), FormatError> {
        if let Some(rest) = self.rest.strip_prefix('%') {
            self.text.push(b'%');
            self.rest = rest;
            return Ok(());
        }
        let (name, as_type) = if self.rest.starts_with('(') { self.name()? } else { (None, None) };
        let written = match self.rest.strip_prefix('{') {
            Some(rest) => {
                let Some(end) = rest.find('}') else {
                    return Err(FormatError(format!("truncated line after '{rest}'.")));
                };
                self.rest = &rest[end + 1..];
                Some(&rest[..end])
            }
            None => None,
        };
        let flags = self.flags(written.unwrap_or_default());
        let what = if let Some(rest) = self.rest.strip_prefix('[') {
            What::Expr(self.expression(rest)?)
        } else {
            let Some(alias) = self.alias(written)? else {
                self.common = flags;
                return Ok(());
            };
            What::Alias(alias)
        };
        // `bin` is for the whole format alone.
        let flags = Flags { binary: self.common.binary, as_type, ..flags };
        self.end_text();
        self.items.push(Item::Field(Field { what, flags, name }));
        Ok(())
    }

    /// `(name:type)`; both may be missing.
    fn name(&mut self) -> Result<(Option<Box<str>>, Option<Type>), FormatError> {
        let inside = &self.rest[1..];
        let end = inside
            .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'))
            .unwrap_or(inside.len());
        let name = (end > 0).then(|| inside[..end].into());
        let after = &inside[end..];
        match after.chars().next() {
            Some(')') => {
                self.rest = &after[1..];
                Ok((name, None))
            }
            Some(':') => {
                let Some(end) = after.find(')') else {
                    return Err(FormatError(format!("truncated line after '{}'.", &after[1..])));
                };
                let as_type = match &after[1..end] {
                    "str" => Some(Type::Str),
                    "sint" => Some(Type::Int),
                    "bool" => Some(Type::Bool),
                    "raw" => Some(Type::Bin),
                    other => {
                        return Err(FormatError(format!(
                            "unexpected output type '{other}' at position {} line : '{}'. Supported types are: str, \
                             sint, bool, raw.",
                            self.position(&after[1..]),
                            self.whole
                        )));
                    }
                };
                self.rest = &after[end + 1..];
                Ok((name, as_type))
            }
            Some(wrong) => Err(FormatError(format!(
                "invalid character in custom name near '{wrong}' at position {} line : '{}'.",
                self.position(after),
                self.whole
            ))),
            None => Err(FormatError(format!("truncated line after '{inside}'."))),
        }
    }

    /// An alias; `None` for `%o`.
    fn alias(&mut self, written: Option<&str>) -> Result<Option<Alias>, FormatError> {
        match (self.rest.chars().next(), written) {
            (Some(first), _) if first.is_ascii_alphabetic() => {}
            (_, Some(written)) => {
                return Err(FormatError(format!(
                    "parse argument modifier without alias name near '%{{{written}}}'."
                )));
            }
            (None, None) => return Err(FormatError("truncated line after '%'.".to_owned())),
            (Some(wrong), None) => {
                return Err(FormatError(format!(
                    "unexpected alias name near '{wrong}' at position {} line : '{}'. Maybe you want to write a single \
                     '%', use the syntax '%%'.",
                    self.position(self.rest),
                    self.whole
                )));
            }
        }
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        if name == "o" {
            return Ok(None);
        }
        Alias::named(name).map(Some).ok_or_else(|| {
            FormatError(format!(
                "no such format alias '{name}'. If you wanted to emit the '%' character verbatim, you need to use '%%'."
            ))
        })
    }

    /// The expression that `text` begins with, and the bracket behind it.
    fn expression(&mut self, text: &'a str) -> Result<Expr, FormatError> {
        let Some((stages, compiler)) = &mut self.surroundings else {
            return Err(FormatError(format!("expressions cannot be used here: '%[{text}'")));
        };
        let (expr, used) = Expr::parse_prefix(text, compiler)
            .map_err(|error| FormatError(format!("failed to parse sample expression <{text}> : {error}.")))?;
        let rest = &text[used..];
        self.rest = match rest.chars().next() {
            Some(']') => &rest[1..],
            Some(wrong) => {
                return Err(FormatError(format!(
                    "expected ']' after '{}', but found '{wrong}'.",
                    &text[..used]
                )));
            }
            None => return Err(FormatError(format!("missing ']' after '{text}'."))),
        };
        if !expr.stages().intersects(*stages) {
            return Err(FormatError(unavailable(&expr)));
        }
        Ok(expr)
    }

    /// The flags of `%o` so far with `{…}` applied. Words that are no flag are left out, as HAProxy does.
    fn flags(&mut self, written: &str) -> Flags {
        let mut flags = self.common;
        for word in written.split(',').filter(|word| !word.is_empty()) {
            let (on, name) = match word.split_at_checked(1) {
                Some(("+", name)) => (true, name),
                Some(("-", name)) => (false, name),
                _ => (true, ""),
            };
            // The first encoding that is set stays.
            let encoding = |wanted: Encoding| match (on, flags.encoding) {
                (true, None) if flags.purpose != Purpose::Header => Some(wanted),
                (false, Some(set)) if set == wanted => None,
                (_, set) => set,
            };
            match name {
                "Q" => flags.quote = on,
                "X" => flags.hex = on,
                "E" => flags.escape = on,
                "bin" => flags.binary = on,
                "utf8" => flags.utf8 = on,
                "json" => flags.encoding = encoding(Encoding::Json),
                "cbor" => flags.encoding = encoding(Encoding::Cbor),
                _ => {
                    if let Some((_, compiler)) = &mut self.surroundings {
                        compiler.warnings.push(format!(
                            "'{word}' in '{}' is no format flag and has no effect: flags are +Q, +X, +E, +bin, +json, \
                             +utf8 and +cbor, or with '-' to remove them",
                            self.whole
                        ));
                    }
                }
            }
        }
        flags
    }

    /// Where `part`, the end of the format, begins.
    fn position(&self, part: &str) -> usize {
        self.whole.len() - part.len()
    }
}
