//! The Sockeye daemon. Read top to bottom, the modules are the path of a byte; ARCHITECTURE.md is the map of the
//! crates below.
//!
//! `process` starts and ends it; a connection enters through `frontend`, its exchanges are decided in `stream`, sent
//! by `mux` and the relay to a server that `backend` chooses. `health` watches the servers, `packet` has the kernel
//! forward what needs no connection, `stats` counts.

pub mod process;

pub mod health;

pub mod packet;

pub mod frontend;

pub mod stream;

pub mod backend;

pub mod services;

pub mod mux;

pub mod stats;
