//! What the daemon counts. Counters are plain atomics read by whoever reports; nobody waits for anybody.

mod counters;
mod invalid;

pub use counters::{Gauge, PROCESS, Process, Rate, Total};
pub use invalid::{Invalid, LastInvalid};
