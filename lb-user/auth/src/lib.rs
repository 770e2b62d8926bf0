//! Users, groups and passwords (manual 12.2): the `userlist` section and checks against it.
//!
//! Pure: words of statements come in, a [`UserList`] comes out; the clock and the random key of the [`Verifier`] are
//! arguments. Passwords are those of crypt(3), which takes milliseconds on purpose: a worker checks through its
//! `Verifier`, which remembers what was right a moment ago.

mod basic;
mod crypt;
mod des;
mod md5;
mod section;
mod verifier;

pub use basic::{Credentials, basic};
pub use crypt::{Hash, HashError};
pub use section::{Draft, Password, Secret, User, UserList};
pub use verifier::{Digest, Verifier};
