//! What is at hand while expressions are compiled.

use std::sync::Arc;

use sockeye_pattern::Library;

use crate::arguments::{NameRef, Named};
use crate::language::Language;
use crate::variables::VariableNames;

/// Names that are to be resolved once the whole file was read.
pub type References = Vec<Arc<NameRef>>;

/// The surroundings of an expression in the file.
pub struct Compiler<'a> {
    pub language: &'a Language,
    pub variables: &'a mut VariableNames,
    /// Files of patterns and maps that were opened so far.
    pub patterns: &'a mut Library,
    pub references: &'a mut References,
    /// Where the expression stands, for messages at run time and for map files of a relative name.
    pub file: &'a str,
    pub line: u32,
    /// What should be said to the operator although the expression is valid.
    pub warnings: &'a mut Vec<String>,
}

impl Compiler<'_> {
    /// A name to be resolved later.
    pub fn name(&mut self, kind: Named, text: &str) -> Arc<NameRef> {
        let name = Arc::new(NameRef::new(kind, text));
        self.references.push(Arc::clone(&name));
        name
    }
}
