//! What is at hand while expressions are compiled.

use std::sync::Arc;

use sockeye_pattern::Library;

use crate::arguments::{Named, NameRef};
use crate::language::Language;
use crate::variables::VariableNames;

/// Names that are to be resolved once the whole file was read.
pub type References = Vec<Arc<NameRef>>;

/// What all expressions of a configuration share.
#[derive(Debug)]
pub struct Expressions {
    pub language: &'static Language,
    pub variables: VariableNames,
    /// Files of patterns and maps that were opened so far.
    pub patterns: Library,
    pub references: References,
}

impl Expressions {
    pub fn new(language: &'static Language, patterns: Library) -> Self {
        Self { language, variables: VariableNames::default(), patterns, references: References::new() }
    }

    /// A compiler for a statement at that place, in the proxy of that name.
    pub fn compiler<'a>(
        &'a mut self,
        file: &'a str,
        line: u32,
        proxy: &'a str,
        warnings: &'a mut Vec<String>,
    ) -> Compiler<'a> {
        Compiler {
            language: self.language,
            variables: &mut self.variables,
            patterns: &mut self.patterns,
            references: &mut self.references,
            proxy,
            file,
            line,
            warnings,
        }
    }
}

/// The surroundings of an expression in the file.
pub struct Compiler<'a> {
    pub language: &'a Language,
    pub variables: &'a mut VariableNames,
    /// Files of patterns and maps that were opened so far.
    pub patterns: &'a mut Library,
    pub references: &'a mut References,
    /// The proxy that an omitted name means.
    pub proxy: &'a str,
    /// Where the expression stands, for messages at run time and for map files of a relative name.
    pub file: &'a str,
    pub line: u32,
    /// What should be said to the operator although the expression is valid.
    pub warnings: &'a mut Vec<String>,
}

impl Compiler<'_> {
    /// A name to be resolved later; an empty one is that of the proxy in which it stands.
    pub fn name(&mut self, kind: Named, text: &str) -> Arc<NameRef> {
        let text = if text.is_empty() { self.proxy } else { text };
        let name = Arc::new(NameRef::new(kind, text));
        self.references.push(Arc::clone(&name));
        name
    }
}
