//! Life of the daemon: from the command line to the last session.
//!
//! [`run`] reads the arguments and the configuration, [`boot`] makes running objects of it and binds, [`control`]
//! is the main thread's loop once the workers serve.

pub mod args;
pub mod boot;
pub mod control;
pub mod limits;
pub mod logs;
pub mod objects;
pub mod offload;
pub mod resolve;
pub mod run;
pub mod steer;
pub mod subcommands;
pub mod threads;
pub mod version;

pub use run::run;
