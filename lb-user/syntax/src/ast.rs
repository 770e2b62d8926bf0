//! What was written, with where: a file is sections, a section statements, a statement words.
//!
//! Quotes, escapes, variables, comments and conditions are already resolved; no word has been interpreted.

use std::sync::Arc;

use crate::diag::Location;

/// All files of one configuration, in reading order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// The names of the files that were read, as diagnostics show them.
    pub sources: Vec<Arc<str>>,
    pub sections: Vec<Section>,
}

/// A section: the line that opens it and the statements up to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub header: Statement,
    pub statements: Vec<Statement>,
}

impl Section {
    /// `frontend`, `global`, ...
    pub fn keyword(&self) -> &str {
        self.header.keyword()
    }

    /// The word after the keyword, if any.
    pub fn name(&self) -> Option<&str> {
        self.header.words.get(1).map(|word| word.text.as_str())
    }

    pub fn location(&self) -> &Location {
        &self.header.location
    }
}

/// One non-empty line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// At least one, and none of them empty.
    pub words: Vec<Word>,
    pub location: Location,
}

impl Statement {
    /// The first word.
    pub fn keyword(&self) -> &str {
        self.words.first().map_or("", |word| &word.text)
    }
}

/// One word after unquoting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word; bytes that are not UTF-8 are replaced here and exact in `bytes()`.
    pub text: String,
    /// Where it starts in its line, counted in bytes from one.
    pub column: u32,
    raw: Option<Box<[u8]>>,
}

impl Word {
    pub fn new(bytes: Vec<u8>, column: u32) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self { text, column, raw: None },
            Err(error) => Self {
                text: String::from_utf8_lossy(error.as_bytes()).into_owned(),
                column,
                raw: Some(error.into_bytes().into_boxed_slice()),
            },
        }
    }

    /// The exact bytes: `\xHH` can write what is not UTF-8.
    pub fn bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.text.as_bytes())
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), column: 1, raw: None }
    }
}
