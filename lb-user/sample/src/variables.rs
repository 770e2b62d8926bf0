//! Variables (manual 2.8 and `set-var`): a value under a name, for as long as its scope lives.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::value::{OwnedValue, Value};

/// How long a variable lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The process; shared by all threads.
    Proc,
    /// A client connection.
    Sess,
    /// A request and its response.
    Txn,
    /// Until the request is forwarded.
    Req,
    /// While the response is processed.
    Res,
    /// A health check.
    Check,
    /// Of the stream that made this one (`psess`, `ptxn`, `preq`, `pres`): there is none here, so nothing is ever in
    /// it.
    Parent,
}

impl Scope {
    /// The word before the first dot.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "proc" => Self::Proc,
            "sess" => Self::Sess,
            "txn" => Self::Txn,
            "req" => Self::Req,
            "res" => Self::Res,
            "check" => Self::Check,
            "psess" | "ptxn" | "preq" | "pres" => Self::Parent,
            _ => return None,
        })
    }
}

/// A variable: its scope, and the number that stands for its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VarId {
    pub scope: Scope,
    name: u32,
}

/// The names of all variables of a configuration.
#[derive(Debug, Clone, Default)]
pub struct VariableNames {
    numbers: HashMap<Box<str>, u32>,
}

impl VariableNames {
    /// The variable called `text`: a scope, a dot and letters, digits, dots or underscores.
    ///
    /// # Errors
    /// A message that says what is wrong with the name.
    pub fn intern(&mut self, text: &str) -> Result<VarId, String> {
        let unscoped = || {
            format!(
                "invalid variable name '{text}'. A variable name must start with its scope. The scope can be \
                 'proc', '(p)sess', '(p)txn', '(p)req', '(p)res' or 'check'"
            )
        };
        let (scope, name) = text.split_once('.').ok_or_else(unscoped)?;
        let scope = Scope::of_name(scope).ok_or_else(unscoped)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
        if let Some(bad) = name.bytes().find(|byte| !allowed(*byte)) {
            return Err(format!(
                "invalid variable name '{text}' at char '{}'",
                char::from(bad).escape_default()
            ));
        }
        if name.is_empty() {
            return Err(format!("invalid variable name '{text}': nothing follows the scope"));
        }
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        let name = match self.numbers.get(name) {
            Some(number) => *number,
            None => {
                self.numbers.insert(name.into(), next);
                next
            }
        };
        Ok(VarId { scope, name })
    }

    /// Every name with its number, for `dump_all_vars` and its like.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.numbers.iter().map(|(name, number)| (&**name, *number))
    }
}

/// The variables of one scope. Few, so they are looked for one after the other.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    values: Vec<(u32, OwnedValue)>,
}

/// A scope takes no more variables than this; a configuration that names them dynamically would grow without end.
const VARIABLES_MAX: usize = 1024;

impl Variables {
    pub fn get(&self, id: VarId) -> Option<&OwnedValue> {
        self.values.iter().find(|(name, _)| *name == id.name).map(|(_, value)| value)
    }

    /// Whether it was set; a scope that is full takes no more.
    pub fn set(&mut self, id: VarId, value: OwnedValue) -> bool {
        if let Some((_, known)) = self.values.iter_mut().find(|(name, _)| *name == id.name) {
            *known = value;
        } else if self.values.len() < VARIABLES_MAX {
            self.values.push((id.name, value));
        } else {
            return false;
        }
        true
    }

    pub fn unset(&mut self, id: VarId) {
        self.values.retain(|(name, _)| *name != id.name);
    }

    pub fn clear(&mut self) {
        self.values.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The scopes that an expression can reach. A scope that does not exist there is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct VariablesInUse<'a> {
    pub proc: Option<&'a RwLock<Variables>>,
    pub sess: Option<&'a RefCell<Variables>>,
    pub txn: Option<&'a RefCell<Variables>>,
    /// `req` before the response has begun, `res` after: they never exist at the same time.
    pub req: Option<&'a RefCell<Variables>>,
    pub res: Option<&'a RefCell<Variables>>,
    pub check: Option<&'a RefCell<Variables>>,
}

impl<'a> VariablesInUse<'a> {
    fn local(&self, scope: Scope) -> Option<&'a RefCell<Variables>> {
        match scope {
            Scope::Proc | Scope::Parent => None,
            Scope::Sess => self.sess,
            Scope::Txn => self.txn,
            Scope::Req => self.req,
            Scope::Res => self.res,
            Scope::Check => self.check,
        }
    }

    /// A copy of the variable's value.
    pub fn get(&self, id: VarId) -> Option<OwnedValue> {
        if id.scope == Scope::Proc {
            return self.proc?.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        }
        self.local(id.scope)?.borrow().get(id).cloned()
    }

    /// Whether it was set.
    pub fn set(&self, id: VarId, value: Value<'_>) -> bool {
        if id.scope == Scope::Proc {
            let Some(proc) = self.proc else { return false };
            return proc.write().unwrap_or_else(PoisonError::into_inner).set(id, value.into_owned());
        }
        self.local(id.scope).is_some_and(|scope| scope.borrow_mut().set(id, value.into_owned()))
    }

    pub fn unset(&self, id: VarId) {
        if id.scope == Scope::Proc {
            if let Some(proc) = self.proc {
                proc.write().unwrap_or_else(PoisonError::into_inner).unset(id);
            }
        } else if let Some(scope) = self.local(id.scope) {
            scope.borrow_mut().unset(id);
        }
    }
}
