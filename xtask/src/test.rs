//! `cargo xtask test`: every test of the workspace, and the examples in the documentation.

use anyhow::Result;

use crate::workspace::{cargo, checked, find_program, say};
use crate::{build_ebpf, setup};

/// Options of `test`.
#[derive(Default, clap::Args)]
pub(crate) struct Args {
    /// Given to nextest, such as a filter
    #[arg(last = true)]
    nextest: Vec<String>,
}

/// Builds what the tests start, then runs them.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(setup::Need::Test)?;
    build_ebpf::ensure()?;
    // The end-to-end tests start the daemon's binary, which a test build alone would not refresh. All targets
    // at once: built apart, the two would not share their dependencies.
    checked(cargo().args(["build", "--locked", "--workspace", "--all-targets"]))?;
    checked(cargo().args(["test", "--workspace", "--doc", "--quiet"]))?;
    if find_program("cargo-nextest").is_some() {
        // All failures of a run at once: the first alone seldom tells what broke.
        let run = ["nextest", "run", "--workspace", "--no-fail-fast"];
        return checked(cargo().args(run).args(&args.nextest));
    }
    say("cargo-nextest is not installed: tests run with cargo test");
    checked(
        cargo()
            .args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"])
            .args(&args.nextest),
    )
}
