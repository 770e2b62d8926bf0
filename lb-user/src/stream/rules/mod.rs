//! What the file decides: rule sets run over a stream.
//!
//! A set is gone through without waiting; what needs the network or a clock stops it with a [`Step`], and the caller
//! goes on behind that rule. [`decided`] keeps what rules changed about a stream, [`scene`] is what expressions see.

mod change;
mod choice;
pub mod decided;
mod messages;
pub mod password;
pub mod reply;
mod rewrite;
mod run;
pub mod scene;
pub mod tcp;
pub mod world;

pub use change::{Change, apply};
pub use choice::{chosen_backend, chosen_server, holds};
pub use messages::Messages;
pub use run::{Run, Step};
