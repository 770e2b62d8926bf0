//! Where the fields of kernel structures are, from the kernel's own description of its types (BTF).
//!
//! The programs are written in Rust, whose compiler emits no relocations for the kernel's layout; so the loader
//! looks the few offsets up and hands them over as constants. Format: Documentation/bpf/btf.rst.

/// Why an offset could not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    #[error("type information is truncated or not of this format")]
    Malformed,
    #[error("the kernel has no struct {0}")]
    NoStruct(&'static str),
    #[error("the kernel's struct has no field {0}")]
    NoField(&'static str),
}

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES_MIN: usize = 24;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
/// Struct in struct in struct: deeper nesting than any path we follow.
const DEPTH_MAX: usize = 16;

/// The kernel's types, indexed.
pub(crate) struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Byte offset of each type in `types`; type ids start at 1.
    offsets: Vec<usize>,
}

/// The head of one type.
#[derive(Clone, Copy)]
struct Type {
    /// Where its members start.
    rest: usize,
    name: u32,
    kind: u32,
    members: usize,
    /// Member offsets carry a bit-field size in their upper byte.
    flagged: bool,
}

impl<'a> Btf<'a> {
    pub(crate) fn parse(data: &'a [u8]) -> Result<Self, BtfError> {
        let word = |at: usize| word(data, at);
        let magic = data.get(..2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
        if magic != Some(MAGIC) || data.len() < HEADER_BYTES_MIN {
            return Err(BtfError::Malformed);
        }
        let header = word(4)? as usize;
        let section = |offset: u32, length: u32| {
            let start = header.checked_add(offset as usize)?;
            data.get(start..start.checked_add(length as usize)?)
        };
        let types = section(word(8)?, word(12)?).ok_or(BtfError::Malformed)?;
        let strings = section(word(16)?, word(20)?).ok_or(BtfError::Malformed)?;
        let mut btf = Self { types, strings, offsets: Vec::new() };
        let mut at = 0;
        while at < types.len() {
            btf.offsets.push(at);
            let info = btf.head(at)?;
            at = info.rest + tail_bytes(info).ok_or(BtfError::Malformed)?;
        }
        Ok(btf)
    }

    /// Byte offset of a field in `struct name`, following `path` through nested structs.
    pub(crate) fn offset(&self, name: &'static str, path: &[&'static str]) -> Result<u64, BtfError> {
        let mut current = None;
        for &at in &self.offsets {
            let head = self.head(at)?;
            // A forward declaration has the same name and no members.
            if head.kind == KIND_STRUCT && head.members > 0 && self.is_named(head.name, name) {
                current = Some(head);
                break;
            }
        }
        let mut current = current.ok_or(BtfError::NoStruct(name))?;
        let mut bits = 0;
        for (step, &field) in path.iter().enumerate() {
            let (type_id, offset) =
                self.member(current, field, DEPTH_MAX)?.ok_or(BtfError::NoField(field))?;
            bits += u64::from(offset);
            if step + 1 < path.len() {
                current = self.by_id(type_id)?;
            }
        }
        Ok(bits / 8)
    }

    /// Type and bit offset of a field, looking into unnamed structs and unions too.
    fn member(&self, of: Type, field: &str, depth: usize) -> Result<Option<(u32, u32)>, BtfError> {
        if !matches!(of.kind, KIND_STRUCT | KIND_UNION) || depth == 0 {
            return Ok(None);
        }
        for index in 0..of.members {
            let at = of.rest + index * 12;
            let (name, type_id) = (word(self.types, at)?, word(self.types, at + 4)?);
            let raw = word(self.types, at + 8)?;
            let offset = if of.flagged { raw & 0x00ff_ffff } else { raw };
            if self.is_named(name, field) {
                return Ok(Some((type_id, offset)));
            }
            if self.is_named(name, "")
                && let Some((type_id, inner)) = self.member(self.by_id(type_id)?, field, depth - 1)?
            {
                return Ok(Some((type_id, offset + inner)));
            }
        }
        Ok(None)
    }

    fn by_id(&self, id: u32) -> Result<Type, BtfError> {
        let index = (id as usize).checked_sub(1).ok_or(BtfError::Malformed)?;
        self.head(*self.offsets.get(index).ok_or(BtfError::Malformed)?)
    }

    fn head(&self, at: usize) -> Result<Type, BtfError> {
        let info = word(self.types, at + 4)?;
        // The third word is a size or a type, which no caller needs.
        word(self.types, at + 8)?;
        Ok(Type {
            rest: at + 12,
            name: word(self.types, at)?,
            kind: (info >> 24) & 0x1f,
            members: (info & 0xffff) as usize,
            flagged: info >> 31 == 1,
        })
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let text = self.strings.get(offset as usize..).unwrap_or_default();
        text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// Bytes that follow the head of a type.
fn tail_bytes(head: Type) -> Option<usize> {
    Some(match head.kind {
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Array.
        3 => 12,
        // Struct, union, data section, 64-bit enum.
        KIND_STRUCT | KIND_UNION | 15 | 19 => head.members * 12,
        // Enum, function prototype.
        6 | 13 => head.members * 8,
        _ => return None,
    })
}

fn word(data: &[u8], at: usize) -> Result<u32, BtfError> {
    let bytes = data.get(at..at + 4).ok_or(BtfError::Malformed)?;
    Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct inner { int a; union { int b; }; }; struct outer { int x; struct inner y; };`
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0inner\0a\0b\0outer\0x\0y\0";
        let mut types: Vec<u32> = Vec::new();
        types.extend([1, 1 << 24, 4, 32]);
        types.extend([0, (KIND_UNION << 24) | 1, 4, 13, 1, 0]);
        types.extend([5, (KIND_STRUCT << 24) | 2, 8, 11, 1, 0, 0, 2, 32]);
        types.extend([15, (KIND_STRUCT << 24) | 2, 12, 21, 1, 0, 23, 3, 32]);
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_le_bytes).collect();
        let mut data = vec![0x9f, 0xeb, 1, 0];
        for length in [24, 0, types.len(), types.len(), strings.len()] {
            data.extend(u32::try_from(length).unwrap().to_le_bytes());
        }
        data.extend(types);
        data.extend(strings);
        data
    }

    #[test]
    fn follows_nested_and_unnamed_members() {
        let data = sample();
        let btf = Btf::parse(&data).unwrap();
        assert_eq!(btf.offset("outer", &["x"]), Ok(0));
        assert_eq!(btf.offset("outer", &["y", "a"]), Ok(4));
        assert_eq!(btf.offset("outer", &["y", "b"]), Ok(8));
        assert_eq!(btf.offset("outer", &["z"]), Err(BtfError::NoField("z")));
        assert_eq!(btf.offset("oute", &["x"]), Err(BtfError::NoStruct("oute")));
    }

    #[test]
    fn truncation_is_an_error_and_no_panic() {
        let data = sample();
        for length in 0..data.len() {
            assert!(Btf::parse(&data[..length]).is_err(), "{length}");
        }
    }
}
