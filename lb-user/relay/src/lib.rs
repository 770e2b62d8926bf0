//! Moving bytes whose way is decided: `mode tcp`, HTTP bodies of known length, tunnels.
//!
//! A [`Pump`] moves one direction from one socket to another by the cheapest path its [`Policy`] allows. It
//! starts with small copies, reads more at a time while reads come back full, and leaves a bulky direction to
//! the kernel. It owns no task and no timer: the caller polls it, propagates the end it reports, and closes the
//! sockets. Whatever path it takes, the bytes and the end that the peer sees are the same.

mod policy;

mod pump;

mod copy;
mod sockmap;
mod splice;
mod watch;

mod buffers;
mod counters;
mod pipes;

pub use counters::{Counters, PathCounters, count_copied, counters};
pub use pipes::PipeLimits;
pub use policy::{Path, Policy, Splice};
pub use pump::{End, Pump, RelayError};
