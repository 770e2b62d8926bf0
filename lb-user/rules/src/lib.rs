//! The rule engine: rule sets as the file writes them, and what their actions do to a message.
//!
//! Pure: conditions and actions are compiled when the file is read; the daemon goes through the sets, gives each
//! rule its scene, and does what needs a socket or a timer. What changes a message is here.

mod action;
mod rule;

pub mod edit;
pub mod normalize;
pub mod parse;
pub mod redirect;
pub mod reply;

pub use action::{
    Action, Expected, LogLevel, NameMatch, Normalizer, NumberOr, SilentDrop, TimeoutKind, VarConditions,
};
pub use redirect::{Cookie, Redirect, RedirectKind};
pub use reply::{Content, ReplyRule};
pub use rule::{BackendName, PersistRule, Rule, RuleSets, Rules, ServerName, UseBackend, UseServer};
