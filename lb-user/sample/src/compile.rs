//! What is at hand while expressions are compiled.

use std::sync::Arc;

use sockeye_pattern::Library;

use crate::acl::AclScope;
use crate::arguments::{NameRef, Named};
use crate::language::Language;
use crate::variables::VariableNames;

/// Names that are to be resolved once the whole file was read.
pub type References = Vec<Reference>;

/// A name and where it was written.
#[derive(Debug, Clone)]
pub struct Reference {
    pub name: Arc<NameRef>,
    pub file: Box<str>,
    pub line: u32,
}

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

    /// A compiler for a statement at that place, in the proxy of that name; it knows no ACLs yet.
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
            acls: AclScope::default(),
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
    /// The ACLs of the section.
    pub acls: AclScope,
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
        let text = match kind {
            _ if text.is_empty() => self.proxy.to_owned(),
            Named::Server if !text.contains('/') => format!("{}/{text}", self.proxy),
            _ => text.to_owned(),
        };
        let name = Arc::new(NameRef::new(kind, &text));
        self.references.push(Reference { name: Arc::clone(&name), file: self.file.into(), line: self.line });
        name
    }
}
