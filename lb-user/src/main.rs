//! argv in, exit status out.

use std::process::ExitCode;

/// See the root Cargo.toml for why.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sockeye::process::run(std::env::args_os())
}
