//! The expression language: typed values, sample expressions, variables and format strings.
//!
//! Pure: what an expression looks at is a [`Scene`], put together by the caller. An expression is compiled and
//! type-checked when the file is read; evaluating it allocates only where a value is made anew. The words of the
//! language are in crates above this one, which hand their tables in through [`Language`].

mod acl;
mod arguments;
mod cast;
mod compile;
mod expression;
pub mod format;
mod language;
mod scene;
mod stage;
pub mod tls;
mod value;
mod variables;

pub use acl::{Acl, AclScope, Condition, FETCHES as ACL_FETCHES, Verdict};
pub use arguments::{Arg, NameRef, Named, Target};
pub use compile::{Compiler, Expressions, Reference, References};
pub use expression::{Expr, ExprError};
pub use format::{Alias, Format, FormatError, Purpose, WriteAlias};
pub use language::{
    AclWord, Convert, Converter, Each, Fetch, Language, PredefinedAcl, Prepare, Run, Signature, Signatures,
    converters, fetches,
};
pub use scene::{
    Address, Body, Bytes, Console, Date, Facts, Now, Number, ProcessNumber, ProcessText, ProxyNumber, Scene,
    ServerNumber, Text, World,
};
pub use stage::{Stage, Stages};
pub use tls::{TlsFacts, TlsSide};
pub use value::{OwnedValue, Type, Value};
pub use variables::{Scope, VarId, VariableNames, Variables, VariablesInUse};
