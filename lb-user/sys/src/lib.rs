//! Safe wrappers of the Linux calls the daemon needs and no crate offers.
//!
//! One of the two crates where `unsafe` is allowed; each block says which invariant it keeps.
#![allow(unsafe_code)]

pub mod netlink;
pub mod process;
pub mod readiness;
pub mod sockopt;
pub mod splice;
pub mod tcp_info;
