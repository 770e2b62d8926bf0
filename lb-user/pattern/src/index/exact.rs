//! Whole texts by their hash. The texts themselves stay in the entries: 100,000 of them cost some 4 MB here.

use std::collections::HashMap;
use std::collections::hash_map::{Entry as Place, RandomState};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use super::ids::Ids;
use super::{Entries, Id};

/// How the text of an entry stands for what is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    AsIs,
    /// Upper and lower case are the same.
    Folded,
    /// Hexadecimal digits.
    Hex,
}

/// Up to this many entries are compared one after the other, which is faster than a hash.
const FEW: usize = 4;

/// Entries by the hash of their text.
#[derive(Debug)]
pub(crate) struct Exact {
    form: Form,
    /// All of them in order, while there were never more than a few.
    few: Option<Vec<Id>>,
    keys: RandomState,
    places: HashMap<u64, Ids, BuildHasherDefault<AlreadyHashed>>,
}

impl Exact {
    pub(crate) fn new(form: Form) -> Self {
        Self { form, few: Some(Vec::new()), keys: RandomState::new(), places: HashMap::default() }
    }

    /// `key` is the text as it is looked for: of hexadecimal digits, the bytes.
    pub(crate) fn put(&mut self, key: &[u8], id: Id) {
        self.places.entry(self.hash(key)).or_default().push(id);
        self.few.take_if(|few| few.len() == FEW);
        if let Some(few) = &mut self.few {
            few.push(id);
        }
    }

    pub(crate) fn remove(&mut self, key: &[u8], id: Id) {
        if let Some(few) = &mut self.few {
            few.retain(|known| *known != id);
        }
        if let Place::Occupied(mut place) = self.places.entry(self.hash(key))
            && place.get_mut().remove(id)
        {
            place.remove();
        }
    }

    /// The first entry with that text.
    pub(crate) fn find(&self, key: &[u8], entries: &Entries) -> Option<Id> {
        self.all(key, entries).next()
    }

    /// All entries with that text.
    pub(crate) fn all<'a>(&'a self, key: &'a [u8], entries: &'a Entries) -> impl Iterator<Item = Id> + 'a {
        let ids = match &self.few {
            Some(few) => few,
            None => self.places.get(&self.hash(key)).map_or(&[][..], Ids::as_slice),
        };
        ids.iter().copied().filter(move |id| {
            let entry = entries.get(*id as usize).and_then(Option::as_ref);
            entry.is_some_and(|entry| self.is_same(&entry.pattern, key))
        })
    }

    fn is_same(&self, pattern: &[u8], key: &[u8]) -> bool {
        match self.form {
            Form::AsIs => pattern == key,
            Form::Folded => pattern.eq_ignore_ascii_case(key),
            Form::Hex => {
                pattern.len() == key.len() * 2
                    && pattern.chunks_exact(2).zip(key).all(|(pair, byte)| {
                        let digit = |at: usize| char::from(pair[at]).to_digit(16);
                        digit(0).zip(digit(1)).is_some_and(|(high, low)| high << 4 | low == u32::from(*byte))
                    })
            }
        }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.keys.build_hasher();
        if self.form == Form::Folded {
            // Folded in pieces on the stack: looking something up allocates nothing.
            for piece in key.chunks(64) {
                let mut folded = [0; 64];
                let folded = &mut folded[..piece.len()];
                folded.copy_from_slice(piece);
                folded.make_ascii_lowercase();
                hasher.write(folded);
            }
        } else {
            hasher.write(key);
        }
        hasher.finish()
    }
}

/// The keys of the map are hashes, made with a secret.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
