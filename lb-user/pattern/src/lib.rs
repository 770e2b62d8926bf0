//! Patterns that values are compared with: match methods, sets, maps, and the files they are read from.
//!
//! A [`Library`] holds every list of a configuration as a [`Reference`]; a [`Matcher`] is a method together with the
//! lists it looks through. Lists may change while they are used, by many threads.

mod index;
mod library;
mod method;
mod pattern;
mod reference;
mod regex;

pub use index::Key;
pub use library::{Flags, Library, Loader, Matcher, Resolver};
pub use method::{Method, Wants};
pub use reference::{Entry, Reference};
pub use regex::{Captures, Regex};
