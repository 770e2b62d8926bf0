//! The words of the language: their signatures, and the functions behind those that are obeyed.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use crate::arguments::Arg;
use crate::compile::Compiler;
use crate::scene::Scene;
use crate::stage::Stages;
use crate::value::{Type, Value};

/// Every fetch that HAProxy registers, and where it is valid.
const FETCHES: &str = include_str!("fetches.txt");
/// Every converter that HAProxy registers.
const CONVERTERS: &str = include_str!("converters.txt");

/// Evaluates a fetch. `None`: there is no such thing in the scene.
pub type Run = for<'a> fn(&Scene<'a>, &'a [Arg]) -> Option<Value<'a>>;
/// Shows every value of a fetch that may have several (all fields of a name) until the visitor says `true`.
pub type Each = for<'a> fn(&Scene<'a>, &'a [Arg], &mut dyn FnMut(Value<'a>) -> bool);
/// Checks arguments when the file is read, and replaces them by what is faster to use. The error is a message.
pub type Prepare = fn(&mut [Arg], &mut Compiler<'_>) -> Result<(), String>;
/// Evaluates a converter; its input has its input type already. `None`: the expression has no value.
pub type Convert = for<'a> fn(Value<'a>, &'a [Arg], &Scene<'a>) -> Option<Value<'a>>;

/// A fetch that is obeyed.
#[derive(Clone, Copy)]
pub struct Fetch {
    pub name: &'static str,
    pub run: Run,
    /// For fetches that conditions ask for all values and other users for one.
    pub each: Option<Each>,
    pub prepare: Option<Prepare>,
}

impl Fetch {
    pub const fn new(name: &'static str, run: Run) -> Self {
        Self { name, run, each: None, prepare: None }
    }

    /// With a visitor of all values.
    pub const fn each(self, each: Each) -> Self {
        Self { each: Some(each), ..self }
    }

    /// With a check of its arguments.
    pub const fn prepare(self, prepare: Prepare) -> Self {
        Self { prepare: Some(prepare), ..self }
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A converter that is obeyed.
#[derive(Clone, Copy)]
pub struct Converter {
    pub name: &'static str,
    pub run: Convert,
    pub prepare: Option<Prepare>,
}

impl Converter {
    pub const fn new(name: &'static str, run: Convert) -> Self {
        Self { name, run, prepare: None }
    }

    /// With a check of its arguments.
    pub const fn prepare(self, prepare: Prepare) -> Self {
        Self { prepare: Some(prepare), ..self }
    }
}

impl fmt::Debug for Converter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The words that are obeyed.
#[derive(Debug, Default)]
pub struct Language {
    fetches: HashMap<&'static str, &'static Fetch>,
    converters: HashMap<&'static str, &'static Converter>,
    acl_words: HashMap<&'static str, (&'static str, &'static str)>,
    predefined_acls: HashMap<&'static str, &'static [&'static str]>,
}

/// A word of ACLs: its name, the fetch it stands for, and the match method.
pub type AclWord = (&'static str, &'static str, &'static str);
/// An ACL that always exists: its name and its words.
pub type PredefinedAcl = (&'static str, &'static [&'static str]);

impl Language {
    pub fn new(fetches: &[&'static [Fetch]], converters: &[&'static [Converter]]) -> Self {
        Self {
            fetches: fetches.iter().copied().flatten().map(|fetch| (fetch.name, fetch)).collect(),
            converters: converters.iter().copied().flatten().map(|conv| (conv.name, conv)).collect(),
            ..Self::default()
        }
    }

    /// With the words of ACLs and the ACLs that always exist.
    pub fn with_acls(mut self, words: &[AclWord], predefined: &[PredefinedAcl]) -> Self {
        self.acl_words = words.iter().map(|(name, fetch, method)| (*name, (*fetch, *method))).collect();
        self.predefined_acls = predefined.iter().copied().collect();
        self
    }

    /// What a word of ACLs stands for: a fetch and a match method.
    pub fn acl_word(&self, name: &str) -> Option<(&'static str, &'static str)> {
        self.acl_words.get(name).copied()
    }

    /// The words of an ACL that always exists.
    pub fn predefined_acl(&self, name: &str) -> Option<&'static [&'static str]> {
        self.predefined_acls.get(name).copied()
    }

    pub fn fetch(&self, name: &str) -> Option<&'static Fetch> {
        self.fetches.get(name).copied()
    }

    pub fn converter(&self, name: &str) -> Option<&'static Converter> {
        self.converters.get(name).copied()
    }
}

/// What kind of argument a word takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArgKind {
    Str,
    Int,
    Frontend,
    Backend,
    Server,
    Table,
    UserList,
    Ipv4,
    Ipv6,
    Mask4,
    Mask6,
}

impl ArgKind {
    fn of_name(name: &str) -> Self {
        match name {
            "integer" => Self::Int,
            "frontend" => Self::Frontend,
            "backend" => Self::Backend,
            "server" => Self::Server,
            "table" => Self::Table,
            "user_list" => Self::UserList,
            "IPv4_address" => Self::Ipv4,
            "IPv6_address" => Self::Ipv6,
            "IPv4_mask" => Self::Mask4,
            "IPv6_mask" => Self::Mask6,
            // Regular expressions and field numbers are text to the word's own `prepare`.
            _ => Self::Str,
        }
    }

    /// As messages call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Str => "string",
            Self::Int => "integer",
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Server => "server",
            Self::Table => "table",
            Self::UserList => "user list",
            Self::Ipv4 => "IPv4 address",
            Self::Ipv6 => "IPv6 address",
            Self::Mask4 => "IPv4 mask",
            Self::Mask6 => "IPv6 mask",
        }
    }
}

/// What a word takes and gives.
#[derive(Debug)]
pub struct Signature {
    pub name: &'static str,
    pub(crate) args: Vec<ArgKind>,
    /// How many arguments must be there.
    pub(crate) required: usize,
    /// Of a fetch: where it is valid.
    pub stages: Stages,
    /// Of a converter: what it is applied to.
    pub input: Type,
    /// `Any` for what is known only when it is there.
    pub output: Type,
    /// The output has the type of the input.
    pub same: bool,
}

/// Signatures by name.
pub type Signatures = HashMap<&'static str, Signature>;

/// Every fetch that HAProxy has, obeyed or not.
pub fn fetches() -> &'static Signatures {
    static SIGNATURES: LazyLock<Signatures> = LazyLock::new(|| {
        read(FETCHES, |stages, output| (Stages::of_row(stages), Type::Any, output.to_owned()))
    });
    &SIGNATURES
}

/// Every converter that HAProxy has, obeyed or not.
pub fn converters() -> &'static Signatures {
    static SIGNATURES: LazyLock<Signatures> = LazyLock::new(|| {
        read(CONVERTERS, |input, output| {
            (Stages::ALL, Type::of_name(input).unwrap_or(Type::Any), output.to_owned())
        })
    });
    &SIGNATURES
}

fn read(
    text: &'static str,
    types: impl Fn(&'static str, &'static str) -> (Stages, Type, String),
) -> Signatures {
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|row| {
        let mut columns = row.split(' ');
        let (name, args) = (columns.next()?, columns.next()?);
        let (stages, input, output) = types(columns.next()?, columns.next()?);
        let (args, required) = arguments(args);
        let same = output == "same";
        let output = Type::of_name(&output)?;
        Some((name, Signature { name, args, required, stages, input, output, same }))
    })
    .collect()
}

/// `string[,integer]`: the kinds, and how many come before the bracket.
fn arguments(text: &str) -> (Vec<ArgKind>, usize) {
    if text == "-" {
        return (Vec::new(), 0);
    }
    let (required, optional) = text.split_once('[').unwrap_or((text, ""));
    let kinds = |text: &str| -> Vec<ArgKind> {
        text.trim_matches([',', ']']).split(',').filter(|one| !one.is_empty()).map(ArgKind::of_name).collect()
    };
    let mut args = kinds(required);
    let required = args.len();
    args.extend(kinds(optional));
    (args, required)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::Stage;

    #[test]
    fn signatures_are_read() {
        assert_eq!(fetches().len(), 562);
        assert_eq!(converters().len(), 208);
        let hdr = &fetches()["req.hdr"];
        assert_eq!((hdr.args.as_slice(), hdr.required), ([ArgKind::Str, ArgKind::Int].as_slice(), 0));
        assert!(hdr.stages.contains(Stage::FrontendRequestHeader) && !hdr.stages.contains(Stage::Log));
        let bytes = &converters()["bytes"];
        assert_eq!((bytes.args.len(), bytes.required, bytes.input), (2, 1, Type::Bin));
    }
}
