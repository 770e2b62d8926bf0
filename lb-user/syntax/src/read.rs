//! Files in, `File` out: lines are lexed, conditions decided, sections cut, environment keywords obeyed.
//!
//! One bad line never hides the next: it is reported and left out. A condition that cannot be evaluated leaves out
//! its whole block, because either branch could be the wrong one.

use std::io;
use std::sync::Arc;

use crate::ast::{File, Section, Statement, Word};
use crate::condition::{self, Facts};
use crate::diag::{Diagnostic, Diagnostics, Location, Place, Severity};
use crate::lexer::{self, EmptyWord};
use crate::source::{Environment, Loader};
use crate::words::Words;

/// Levels of `.if` that may be open at once.
const CONDITION_DEPTH_MAX: usize = 99;

/// The section whose statements may change the environment.
const GLOBAL: &str = "global";

/// What reading needs beside the text.
pub struct Reader<'a> {
    pub loader: &'a dyn Loader,
    pub facts: &'a dyn Facts,
    /// The words that open a section.
    pub sections: &'a [&'a str],
    /// Read by `${NAME}`, changed by `setenv` and its kin for the lines that follow.
    pub env: &'a mut Environment,
}

impl Reader<'_> {
    /// Reads the files and folders named by `-f`, in order. `setenv`, `presetenv`, `unsetenv` and `resetenv` are
    /// obeyed here and do not appear in the result.
    ///
    /// A path that cannot be opened ends the reading, as in HAProxy. The result may name no source at all (empty
    /// folders): the caller shows its usage then.
    pub fn read(&mut self, paths: &[String], diags: &mut Diagnostics) -> File {
        let mut file = File::default();
        let mut texts = Vec::new();
        for path in paths {
            match self.expand(path) {
                Ok(found) => texts.extend(found),
                Err(error) => {
                    diags.alert_nowhere(format!(
                        "Cannot open configuration file/directory {path} : {}",
                        reason(&error)
                    ));
                    return file;
                }
            }
        }
        for (name, text) in texts {
            self.read_into(&name, &text, &mut file, diags);
        }
        file
    }

    /// Reads one text that is already in memory, under the name `name`.
    pub fn read_text(&mut self, name: &str, text: &[u8], diags: &mut Diagnostics) -> File {
        let mut file = File::default();
        self.read_into(name, text, &mut file, diags);
        file
    }

    /// A file itself, or a folder's `*.cfg` that are not hidden, in the order of their bytes.
    fn expand(&self, path: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
        let Some(mut names) = self.loader.list(path)? else {
            return Ok(vec![(path.to_owned(), self.loader.read(path)?)]);
        };
        names.retain(|name| name.ends_with(".cfg") && !name.starts_with('.'));
        names.sort_unstable();
        let mut out = Vec::new();
        for name in names {
            let path = format!("{}/{name}", path.trim_end_matches('/'));
            if self.loader.list(&path)?.is_none() {
                let text = self.loader.read(&path)?;
                out.push((path, text));
            }
        }
        Ok(out)
    }

    fn read_into(&mut self, name: &str, text: &[u8], file: &mut File, diags: &mut Diagnostics) {
        let name: Arc<str> = name.into();
        file.sources.push(name.clone());
        let mut one = OneFile {
            facts: self.facts,
            sections: self.sections,
            env: self.env,
            conditions: Vec::new(),
            section: None,
            location: Location { file: name, line: 0 },
            diags,
        };
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            one.location.line = one.location.line.saturating_add(1);
            one.line(line, &mut file.sections);
        }
        if !one.conditions.is_empty() {
            one.alert("non-terminated '.if' block.");
        }
        file.sections.extend(one.section);
    }
}

/// Evaluates the text of `-cc`, which is lexed like a line first. The error is the text of the alert.
pub fn check_condition(text: &str, facts: &dyn Facts, env: &Environment) -> Result<bool, String> {
    let lexed = lexer::lex(text.as_bytes(), &|name| env.lookup(name).map(str::to_owned));
    let lexed = lexed.map_err(|error| format!("Syntax Error in condition: {error}"))?;
    condition::evaluate_condition(&join(&lexed.words), facts, env)
        .map_err(|error| format!("Failed to evaluate condition: {}", error.kind))
}

/// An open `.if`.
struct Block {
    branch: Branch,
    else_seen: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Branch {
    /// The lines of this branch count.
    Taken,
    /// No condition was true so far.
    Waiting,
    /// A branch was taken already, the block around is left out, or a condition was wrong.
    Over,
}

/// The state while one file is read; sections and conditions end with it.
struct OneFile<'a> {
    facts: &'a dyn Facts,
    sections: &'a [&'a str],
    env: &'a mut Environment,
    conditions: Vec<Block>,
    section: Option<Section>,
    location: Location,
    diags: &'a mut Diagnostics,
}

impl OneFile<'_> {
    fn line(&mut self, line: &[u8], sections: &mut Vec<Section>) {
        let (body, ended) = match line.strip_suffix(b"\n") {
            Some(body) => (body, true),
            None => (line, false),
        };
        let nul = body.iter().position(|byte| *byte == 0);
        if !ended {
            let position = nul.unwrap_or(body.len()) + 1;
            self.alert(format!(
                "Missing LF on last line, file might have been truncated at position {position}."
            ));
            return;
        }
        if let Some(nul) = nul {
            self.alert(format!("Stray NUL character at position {}.", nul + 1));
            return;
        }
        let lexed = match lexer::lex(body, &|name| self.lookup(name)) {
            Ok(lexed) => lexed,
            Err(error) => {
                self.alert(error.render(body));
                // Its `.endif` will come all the same.
                if body.trim_ascii_start().split(u8::is_ascii_whitespace).next() == Some(b".if") {
                    self.conditions.push(Block { branch: Branch::Over, else_seen: false });
                }
                return;
            }
        };
        if let Some(EmptyWord { number, column }) = lexed.empty {
            let message = format!(
                "argument number {number} at position {column} is empty and marks the end of the argument list; all subsequent arguments will be ignored:\n{}",
                lexer::excerpt(body, column)
            );
            self.reading(Severity::Warning, message);
        }
        let Some(keyword) = lexed.words.first() else { return };
        if self.condition(&keyword.text, &lexed.words[1..]) || !self.is_taken() {
            return;
        }
        if keyword.text.starts_with('.') {
            self.directive(&keyword.text, &lexed.words[1..]);
            return;
        }
        let statement = Statement { words: lexed.words, location: self.location.clone() };
        self.statement(statement, sections);
    }

    fn statement(&mut self, statement: Statement, sections: &mut Vec<Section>) {
        if self.sections.contains(&statement.keyword()) {
            sections.extend(self.section.replace(Section { header: statement, statements: Vec::new() }));
            return;
        }
        let Some(section) = &mut self.section else {
            self.unknown(&statement);
            return;
        };
        let in_global = section.keyword() == GLOBAL;
        if !(in_global && change_environment(&statement, self.env, self.diags)) {
            section.statements.push(statement);
        }
    }

    /// A statement before any section.
    fn unknown(&mut self, statement: &Statement) {
        let word = statement.keyword();
        self.alert(format!("unknown keyword '{word}' out of section."));
        if word.starts_with('\u{feff}') {
            let message = "the file starts with a byte order mark (EF BB BF): save it as UTF-8 without one.";
            self.reading(Severity::Notice, message);
        }
    }

    /// Variables of the environment and those the reader itself knows.
    fn lookup(&self, name: &str) -> Option<String> {
        match name {
            ".FILE" => Some(self.location.file.to_string()),
            ".LINE" => Some(self.location.line.to_string()),
            ".SECTION" => Some(match &self.section {
                Some(section) => section.name().unwrap_or_else(|| section.keyword()).to_owned(),
                None => String::new(),
            }),
            _ => self.env.lookup(name).map(str::to_owned),
        }
    }

    fn is_taken(&self) -> bool {
        self.conditions.last().is_none_or(|block| block.branch == Branch::Taken)
    }

    /// `.if`, `.elif`, `.else`, `.endif`; returns whether it was one of them.
    fn condition(&mut self, keyword: &str, arguments: &[Word]) -> bool {
        match keyword {
            ".if" => {
                let branch = if self.is_taken() { self.evaluate(".if", arguments) } else { Branch::Over };
                if self.conditions.len() == CONDITION_DEPTH_MAX {
                    self.alert(format!("too many nested '.if', max is {}.", CONDITION_DEPTH_MAX + 1));
                }
                self.conditions.push(Block { branch, else_seen: false });
            }
            ".elif" => match self.open_block(".elif") {
                Some(Branch::Waiting) => {
                    let branch = self.evaluate(".elif", arguments);
                    self.set_branch(branch);
                }
                Some(_) => self.set_branch(Branch::Over),
                None => {}
            },
            ".else" => {
                if let Some(branch) = self.open_block(".else") {
                    self.no_arguments(".else", arguments);
                    let waiting = branch == Branch::Waiting;
                    self.set_branch(if waiting { Branch::Taken } else { Branch::Over });
                    if let Some(block) = self.conditions.last_mut() {
                        block.else_seen = true;
                    }
                }
            }
            ".endif" => {
                if self.conditions.pop().is_none() {
                    self.alert("lone '.endif' with no matching '.if'.");
                }
                self.no_arguments(".endif", arguments);
            }
            _ => return false,
        }
        true
    }

    /// The branch of the innermost block, if `directive` may stand here.
    fn open_block(&mut self, directive: &str) -> Option<Branch> {
        let Some(block) = self.conditions.last() else {
            self.alert(format!("lone '{directive}' with no matching '.if'."));
            return None;
        };
        if block.else_seen {
            self.alert(format!("'{directive}' after '.else' is not permitted."));
            self.set_branch(Branch::Over);
            return None;
        }
        Some(block.branch)
    }

    fn set_branch(&mut self, branch: Branch) {
        if let Some(block) = self.conditions.last_mut() {
            block.branch = branch;
        }
    }

    fn no_arguments(&mut self, directive: &str, arguments: &[Word]) {
        if let Some(extra) = arguments.first() {
            self.alert(format!("Unexpected argument '{}' for '{directive}'.", extra.text));
        }
    }

    fn evaluate(&mut self, directive: &str, arguments: &[Word]) -> Branch {
        let text = join(arguments);
        match condition::evaluate_condition(&text, self.facts, self.env) {
            Ok(true) => Branch::Taken,
            Ok(false) => Branch::Waiting,
            Err(error) => {
                self.alert(error.render(directive, &text));
                Branch::Over
            }
        }
    }

    /// `.notice` and its kin: a message from the author of the file.
    fn directive(&mut self, directive: &str, arguments: &[Word]) {
        let severity = match directive {
            ".diag" => Severity::Diag,
            ".notice" => Severity::Notice,
            ".warning" => Severity::Warning,
            ".alert" => Severity::Alert,
            _ => {
                self.alert(format!("unknown directive '{directive}'."));
                return;
            }
        };
        if let Some(extra) = arguments.get(1) {
            self.alert(format!(
                "Unexpected argument '{}' for '{directive}'. Use quotes if the message should contain spaces.",
                extra.text
            ));
            return;
        }
        let text = arguments.first().map_or("", |word| &word.text);
        self.reading(severity, format!("'{text}'."));
    }

    fn alert(&mut self, message: impl Into<String>) {
        self.reading(Severity::Alert, message);
    }

    fn reading(&mut self, severity: Severity, message: impl Into<String>) {
        self.diags.push(Diagnostic::new(severity, Place::Reading(self.location.clone()), message));
    }
}

/// Obeys `setenv`, `presetenv`, `unsetenv` and `resetenv`; false if the statement is something else.
fn change_environment(statement: &Statement, env: &mut Environment, diags: &mut Diagnostics) -> bool {
    let mut words = Words::new(statement, diags);
    match statement.keyword() {
        keyword @ ("setenv" | "presetenv") => {
            let keep = keyword == "presetenv";
            if let Some((name, value)) = assignment(&mut words)
                && !(keep && env.lookup(name).is_some())
            {
                env.set(name, value);
            }
        }
        "unsetenv" => {
            if words.is_end() {
                words.alert("'unsetenv' expects at least one variable name.");
            }
            while let Some(name) = words.next() {
                env.unset(name);
            }
        }
        "resetenv" => {
            let kept = words.rest();
            env.retain(|name| kept.iter().any(|word| word.text == name));
        }
        _ => return false,
    }
    true
}

fn assignment<'a>(words: &mut Words<'a>) -> Option<(&'a str, &'a str)> {
    let keyword = words.keyword().to_owned();
    let Some(name) = words.next() else {
        words.alert(format!("'{keyword}' expects environment variable name."));
        return None;
    };
    let Some(value) = words.next() else {
        words.alert(format!("'{keyword}' expects environment variable value for '{name}'."));
        return None;
    };
    if !words.end() {
        return None;
    }
    if name.contains('=') {
        words.alert(format!("'{keyword}' failed on variable '{name}' : Invalid argument."));
        return None;
    }
    Some((name, value))
}

fn join(words: &[Word]) -> String {
    words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// The text of an input error without Rust's `(os error N)`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
