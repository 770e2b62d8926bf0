//! `http-errors NAME`: replies that several proxies share (manual 12.4).

use std::sync::Arc;

use sockeye_syntax::ast::Section;
use sockeye_syntax::diag::Diagnostics;
use sockeye_syntax::words::Words;

use super::errorfile;
use crate::draft::Draft;
use crate::model::ErrorFiles;
use crate::scope::Surroundings;

/// Reads one section. Sections of one name are one.
pub(crate) fn section(
    section: &Section,
    draft: &mut Draft,
    around: &Surroundings<'_>,
    diags: &mut Diagnostics,
) {
    let mut words = Words::new(&section.header, diags);
    let Some(name) = words.next() else {
        words.alert("http-errors: missing section name.");
        return;
    };
    words.end();
    let name: Arc<str> = name.into();
    let mut files = draft.errors.remove(&name).unwrap_or_default();
    for statement in &section.statements {
        let mut words = Words::new(statement, diags);
        match words.keyword() {
            "errorfile" => errorfile::one(&mut words, &mut files, around, &draft.global),
            other => {
                let message = format!("unknown keyword '{other}' in 'http-errors' section");
                words.alert(message);
                words.skip_rest();
            }
        }
    }
    draft.errors.insert(name, ErrorFiles(files.0));
}
