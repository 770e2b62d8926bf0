//! Distinguished names: one attribute of them, or the whole in the forms of HAProxy, of LDAP and of OpenSSL's one line.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::der::{OID, Reader, SEQUENCE, SET, dotted};
use super::oids;

/// One attribute of a name.
#[derive(Debug, Clone, Copy)]
struct Attribute<'a> {
    oid: &'a [u8],
    tag: u8,
    value: &'a [u8],
    /// The value with tag and length.
    whole: &'a [u8],
    /// Attributes with the same number stand in one set.
    set: usize,
}

impl<'a> Attribute<'a> {
    /// OpenSSL's short name, or the identifier in numbers.
    fn name(&self) -> Option<Cow<'static, str>> {
        match oids::attribute(self.oid) {
            Some(name) => Some(Cow::Borrowed(name)),
            None => dotted(self.oid).map(Cow::Owned),
        }
    }

    /// The value as it stands there, whatever its encoding. A zero byte with something after it has no value: it is
    /// there to deceive what takes the value for a C string.
    fn raw(&self) -> Option<&'a [u8]> {
        let zeros = self.value.iter().rev().take_while(|byte| **byte == 0).count();
        let value = &self.value[..self.value.len() - zeros];
        (!value.contains(&0)).then_some(value)
    }

    /// The value as UTF-8; `None` if its type is no text.
    fn text(&self) -> Option<Option<Cow<'a, [u8]>>> {
        let wide = |width: usize| {
            let mut text = String::new();
            for unit in self.value.chunks(width) {
                let number = unit.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
                text.push(char::from_u32(number).filter(|_| unit.len() == width)?);
            }
            Some(Cow::Owned(text.into_bytes()))
        };
        Some(match self.tag {
            TAG_UTF8 => Some(Cow::Borrowed(self.value)),
            // NumericString to IA5String, UTCTime, GeneralizedTime, VisibleString: a byte is a character of Latin-1.
            0x12..=0x14 | 0x16..=0x18 | 0x1a if self.value.is_ascii() => Some(Cow::Borrowed(self.value)),
            0x12..=0x14 | 0x16..=0x18 | 0x1a => {
                let text: String = self.value.iter().map(|byte| char::from(*byte)).collect();
                Some(Cow::Owned(text.into_bytes()))
            }
            TAG_UNIVERSAL => wide(4),
            TAG_BMP => wide(2),
            _ => return None,
        })
    }
}

const TAG_UTF8: u8 = 0x0c;
const TAG_UNIVERSAL: u8 = 0x1c;
const TAG_BMP: u8 = 0x1e;

/// The attributes of a name in order, as far as it can be read.
fn attributes(name: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let sets = Reader(Reader(name).expect(SEQUENCE).unwrap_or_default());
    sets.enumerate().filter(|(_, set)| set.tag == SET).flat_map(|(set, attributes)| {
        Reader(attributes.body).filter_map(move |attribute| {
            let mut fields = Reader(attribute.body);
            let oid = fields.expect(OID)?;
            let value = fields.any()?;
            Some(Attribute { oid, tag: value.tag, value: value.body, whole: value.whole, set })
        })
    })
}

/// The value of an attribute by its name, case ignored: the `occurrence`th of that name, from the end if negative.
pub(crate) fn attribute<'a>(name: &'a [u8], wanted: &[u8], occurrence: i64) -> Option<&'a [u8]> {
    let matches = |attribute: &Attribute<'_>| {
        attribute.name().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(wanted))
    };
    let skipped = usize::try_from(occurrence.unsigned_abs()).ok()?.checked_sub(1)?;
    if occurrence > 0 {
        attributes(name).filter(matches).nth(skipped)?.raw()
    } else {
        let all: Vec<_> = attributes(name).filter(matches).collect();
        all.into_iter().rev().nth(skipped)?.raw()
    }
}

/// `/C=FR/O=Company`; `None` if any value cannot be told, or there is none.
pub(crate) fn slashes(name: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for attribute in attributes(name) {
        text.push(b'/');
        text.extend_from_slice(attribute.name()?.as_bytes());
        text.push(b'=');
        text.extend_from_slice(attribute.raw()?);
    }
    (!text.is_empty()).then_some(text)
}

/// The form of RFC 2253: last attribute first.
pub(crate) fn rfc2253(name: &[u8]) -> Option<Vec<u8>> {
    let mut all: Vec<_> = attributes(name).collect();
    all.reverse();
    joined(&all, &Form { comma: ",", plus: "+", equals: "=", quotes: false })
}

/// OpenSSL's `oneline` form: `C = FR, O = Company`.
pub(crate) fn one_line(name: &[u8]) -> Option<Vec<u8>> {
    let all: Vec<_> = attributes(name).collect();
    joined(&all, &Form { comma: ", ", plus: " + ", equals: " = ", quotes: true })
}

/// How a name is written.
struct Form {
    comma: &'static str,
    plus: &'static str,
    equals: &'static str,
    /// Values that need it are quoted, rather than escaped character by character.
    quotes: bool,
}

fn joined(all: &[Attribute<'_>], form: &Form) -> Option<Vec<u8>> {
    let mut text = String::new();
    let mut last = None;
    for attribute in all {
        text.push_str(match last {
            None => "",
            Some(set) if set == attribute.set => form.plus,
            Some(_) => form.comma,
        });
        last = Some(attribute.set);
        text.push_str(&attribute.name()?);
        text.push_str(form.equals);
        let known = oids::attribute(attribute.oid).is_some();
        match attribute.text().filter(|_| known) {
            Some(value) => escape(&mut text, &value?, form.quotes),
            None => {
                text.push('#');
                for byte in attribute.whole {
                    let _ = write!(text, "{byte:02X}");
                }
            }
        }
    }
    (!text.is_empty()).then(|| text.into_bytes())
}

/// Writes a value with what RFC 2253 §2.4 wants escaped, and all that is not printable ASCII as `\XX`.
fn escape(text: &mut String, value: &[u8], quotes: bool) {
    let start = text.len();
    let mut quoted = false;
    for (index, byte) in value.iter().enumerate() {
        let special = match byte {
            b',' | b'+' | b'<' | b'>' | b';' => true,
            b'#' => index == 0,
            b' ' => index == 0 || index + 1 == value.len(),
            _ => false,
        };
        match byte {
            _ if special && quotes => {
                quoted = true;
                text.push(char::from(*byte));
            }
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            _ if special => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
    if quoted {
        text.insert(start, '"');
        text.push('"');
    }
}
