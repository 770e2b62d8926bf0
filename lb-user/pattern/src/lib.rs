//! Patterns that values are compared with: match methods, sets, maps, and the files they are read from.
//!
//! A [`Library`] holds every list of a configuration as a [`Reference`]; a [`Matcher`] is a method together with the
//! lists it looks through. Lists may change while they are used, by many threads.
//!
//! ```
//! use sockeye_pattern::{Key, Library, Matcher, Method};
//!
//! let mut library = Library::new(Box::new(|_| Ok(b"/ www\n/api v1\n".to_vec())), Box::new(|_| None));
//! let matcher = Matcher::of_map(&mut library, Method::Beg, "paths.map")?;
//! let value = |path: &str| matcher.find(Key::Bytes(path.as_bytes()))?.value.clone();
//! assert_eq!(value("/api/users").as_deref(), Some(b"v1".as_slice()));
//!
//! library.open("paths.map", true)?.upsert(b"/api", b"v2")?;
//! assert_eq!(value("/api/users").as_deref(), Some(b"v2".as_slice()));
//! # Ok::<(), String>(())
//! ```

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
