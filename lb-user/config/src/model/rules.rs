//! What the rules of all proxies share.

use std::fmt;
use std::sync::Arc;

use sockeye_auth::UserList;
use sockeye_pattern::Reference;
use sockeye_sample::{Expr, Format, VarId, VariableNames};

/// Lists and names that rules refer to.
#[derive(Clone, Default)]
pub struct Shared {
    pub variables: VariableNames,
    /// Files and lists of patterns, maps among them.
    pub patterns: Vec<Arc<Reference>>,
    pub userlists: Vec<Arc<UserList>>,
    /// `set-var`, `set-var-fmt` of `global`, in the order of the file.
    pub start: Vec<Arc<StartVariable>>,
}

/// A variable of the process that has a value from the start.
#[derive(Debug)]
pub struct StartVariable {
    pub var: VarId,
    pub value: StartValue,
}

/// What a variable starts with; evaluated when the process starts.
#[derive(Debug)]
pub enum StartValue {
    Expr(Expr),
    Format(Format),
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("patterns", &self.patterns.len()).finish_non_exhaustive()
    }
}

impl PartialEq for Shared {
    /// Lists are the same when they are one.
    fn eq(&self, other: &Self) -> bool {
        self.patterns.len() == other.patterns.len()
            && self.patterns.iter().zip(&other.patterns).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}
