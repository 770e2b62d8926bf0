//! Patterns that values are compared with: match methods, sets, maps, and the files they are read from.

mod library;

pub use library::Library;
