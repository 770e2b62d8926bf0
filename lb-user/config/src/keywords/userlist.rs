//! `userlist NAME`: users, groups and passwords (manual 12.3).

use sockeye_auth::Draft as UserListDraft;
use sockeye_syntax::ast::Section;
use sockeye_syntax::diag::Diagnostics;
use sockeye_syntax::words::Words;

use super::server::invalid_character;
use crate::draft::Draft;

/// Reads one section.
pub(crate) fn section(section: &Section, draft: &mut Draft, diags: &mut Diagnostics) {
    let mut words = Words::new(&section.header, diags);
    let Some(name) = words.next() else {
        words.alert("'userlist' expects <name> as arguments.");
        return;
    };
    words.end();
    if let Some(character) = invalid_character(name) {
        words.alert(format!("character '{character}' is not permitted in 'userlist' name '{name}'."));
    }
    if draft.userlists.iter().any(|known| *known.name == *name) {
        words.warning(format!("ignoring duplicated userlist '{name}'."));
        return;
    }
    let mut list = UserListDraft::new(name);
    for statement in &section.statements {
        let mut words = Words::new(statement, diags);
        let texts: Vec<&str> = statement.words.iter().map(|word| word.text.as_str()).collect();
        match list.statement(&texts) {
            Ok(None) => {}
            Ok(Some(warning)) => words.warning(warning),
            Err(message) => words.alert(message),
        }
        words.skip_rest();
    }
    match list.finish() {
        Ok(list) => draft.userlists.push(list),
        Err(messages) => {
            for message in messages {
                diags.alert(section.location(), message);
            }
        }
    }
}
