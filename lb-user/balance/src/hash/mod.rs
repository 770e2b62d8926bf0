//! The same key, the same server: hash functions, and the two ways from a hash to a server.

mod consistent;
mod functions;
mod map;

pub(crate) use consistent::{Bound, Consistent};
pub use functions::{avalanche, hash};
pub(crate) use map::{MapBased, Table};
