//! The ABI between the kernel programs and the daemon: map keys, values, verdicts and limits, nothing else.
//!
//! Everything here is `repr(C)` with fixed-width integers and explicit padding: both sides map the same bytes.
//! A file here has the name of its program in `lb-ebpf` and of its user side in `lb-user/accel`.
#![cfg_attr(not(test), no_std)]

pub mod packet;
pub mod shield;
pub mod sockmap;
pub mod steer;

pub mod counters;
pub mod limits;
