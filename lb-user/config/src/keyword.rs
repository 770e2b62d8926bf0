//! A word of the language and what reading it does.
//!
//! Words are found in the static tables of the `keywords` folder; there is no registration. A word that HAProxy knows
//! is in a table even if Sockeye does not obey it: its standing says why, and a diagnostic says it to the operator.

use std::fmt;
use std::ops::BitOr;

use sockeye_syntax::diag::did_you_mean;
use sockeye_syntax::words::Words;

/// One row of a table; `P` is the parser of its class of words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyword<P> {
    /// As written; words of two parts (`timeout client`) are in tables of their own, by their second part.
    pub(crate) name: &'static str,
    pub(crate) sections: Sections,
    pub(crate) status: Status<P>,
    /// What it does in one line; for words without effect the reason.
    pub(crate) help: &'static str,
    /// Words that belong to it when it is one of several in a statement (bind and server options).
    pub(crate) arguments: usize,
}

/// Whether a word is obeyed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Status<P> {
    Supported(P),
    /// Accepted with a notice: the table's help text says why there is nothing to do.
    NoEffect,
    NotYet,
    /// HAProxy removed it; the text is the whole message, with what to write instead.
    Removed(&'static str),
}

/// A word that is obeyed.
pub(crate) const fn supported<P: Copy>(
    name: &'static str,
    sections: Sections,
    parser: P,
    help: &'static str,
) -> Keyword<P> {
    Keyword { name, sections, status: Status::Supported(parser), help, arguments: 0 }
}

/// A word with nothing to act on, and why.
pub(crate) const fn no_effect<P: Copy>(
    name: &'static str,
    sections: Sections,
    reason: &'static str,
) -> Keyword<P> {
    Keyword { name, sections, status: Status::NoEffect, help: reason, arguments: 0 }
}

/// A word that a later version will obey.
pub(crate) const fn not_yet<P: Copy>(name: &'static str, sections: Sections) -> Keyword<P> {
    Keyword { name, sections, status: Status::NotYet, help: "not implemented yet", arguments: 0 }
}

/// A word that HAProxy removed.
pub(crate) const fn removed<P: Copy>(
    name: &'static str,
    sections: Sections,
    message: &'static str,
) -> Keyword<P> {
    Keyword {
        name,
        sections,
        status: Status::Removed(message),
        help: "removed from the language",
        arguments: 0,
    }
}

/// The same word with that many arguments, for options of bind and server lines.
pub(crate) const fn takes<P: Copy>(arguments: usize, keyword: Keyword<P>) -> Keyword<P> {
    Keyword { arguments, ..keyword }
}

impl<P: Copy> Keyword<P> {
    /// The parser, or a diagnostic that says why there is none, after which the statement is skipped.
    pub(crate) fn parser(&self, words: &mut Words<'_>) -> Option<P> {
        match self.status {
            Status::Supported(parser) => return Some(parser),
            Status::NoEffect => {
                let message = format!("'{}' has no effect: {}.", words.keyword(), self.help);
                words.notice(message);
            }
            Status::NotYet => {
                let message = not_yet_message(words.keyword());
                words.alert(message);
            }
            Status::Removed(message) => words.alert(message),
        }
        words.skip_rest();
        None
    }
}

/// The message for a word that is known and not implemented.
pub(crate) fn not_yet_message(word: &str) -> String {
    format!("'{word}' is known to HAProxy but not implemented in Sockeye yet.")
}

/// Misspelt words that get advice; after that many errors the file is something else, and looking for the nearest
/// word costs more than the rest of reading.
const HINTS_MAX: usize = 200;

/// The end of a message about an unknown word: what was probably meant, or nothing.
pub(crate) fn hint<'a>(
    words: &mut Words<'_>,
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    if words.diags().alerts() < HINTS_MAX && name.len() <= NAME_BYTES_MAX {
        did_you_mean(name, candidates)
    } else {
        String::new()
    }
}

/// Longer than any word of the language, misspelt.
const NAME_BYTES_MAX: usize = 64;

/// The row of `name`.
pub(crate) fn find<'a, P>(table: &'a [Keyword<P>], name: &str) -> Option<&'a Keyword<P>> {
    table.iter().find(|keyword| keyword.name == name)
}

/// A set of section kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sections(u8);

impl Sections {
    pub const GLOBAL: Self = Self(1);
    pub const DEFAULTS: Self = Self(2);
    pub const FRONTEND: Self = Self(4);
    pub const LISTEN: Self = Self(8);
    pub const BACKEND: Self = Self(16);
    /// `defaults`, `frontend` and `listen`.
    pub const CLIENT_SIDE: Self = Self(2 | 4 | 8);
    /// `defaults`, `listen` and `backend`.
    pub const SERVER_SIDE: Self = Self(2 | 8 | 16);
    /// `defaults` and all proxies.
    pub const ALL_PROXIES: Self = Self(2 | 4 | 8 | 16);
    /// `frontend` and `listen`.
    pub const FRONTENDS: Self = Self(4 | 8);
    /// `backend` and `listen`.
    pub const BACKENDS: Self = Self(8 | 16);
    /// All proxies but not `defaults`.
    pub const PROXIES: Self = Self(4 | 8 | 16);
    pub const NAMES: &[(&str, Self)] = &[
        ("global", Self::GLOBAL),
        ("defaults", Self::DEFAULTS),
        ("frontend", Self::FRONTEND),
        ("listen", Self::LISTEN),
        ("backend", Self::BACKEND),
    ];

    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Sections {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Sections {
    /// The names, with commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            Self::NAMES.iter().filter(|(_, one)| self.contains(*one)).map(|(name, _)| *name).collect();
        f.write_str(&names.join(", "))
    }
}

/// A word as lists of words show it, whatever its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub class: Class,
    /// The words in front of it in such a list: `bind <addr> `, `option `, or nothing.
    pub prefix: &'static str,
    pub name: &'static str,
    /// What HAProxy's list shows behind it: the number of arguments, `*` for a beginning, a signature.
    pub suffix: &'static str,
    /// Empty for words that do not belong to one of the five common sections.
    pub sections: Option<Sections>,
    pub standing: Standing,
    pub help: &'static str,
}

/// Where a word is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Section,
    Global,
    Proxy,
    Timeout,
    Option,
    Bind,
    Server,
    HttpCheck,
    TcpCheck,
    /// Actions of rules: `http-request deny`.
    Action,
    /// Keywords inside sections that are not read yet.
    OtherSection,
    Converter,
    Fetch,
    Acl,
    Filter,
    Service,
    Cli,
}

/// Whether a word is obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Supported,
    NoEffect,
    NotYet,
    Removed,
}

impl<P: Copy> Keyword<P> {
    pub(crate) fn listed(&self, class: Class, prefix: &'static str) -> Listed {
        Listed {
            class,
            prefix,
            name: self.name,
            suffix: "",
            sections: Some(self.sections),
            standing: match self.status {
                Status::Supported(_) => Standing::Supported,
                Status::NoEffect => Standing::NoEffect,
                Status::NotYet => Standing::NotYet,
                Status::Removed(_) => Standing::Removed,
            },
            help: self.help,
        }
    }
}

/// Every word of the language that is known, with its standing.
pub fn all() -> Vec<Listed> {
    crate::keywords::all()
}
