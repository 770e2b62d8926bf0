//! Which server: every balancing algorithm of the manual's `balance` keyword, for one backend.
//!
//! Pure: loads and random numbers are arguments. A [`Balance`] sits behind a short lock that the workers share,
//! so choosing allocates nothing.

mod algorithm;

pub use algorithm::{Algorithm, Hash, HashFunction, HashMethod, HashSource, Random};
