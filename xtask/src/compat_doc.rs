//! `cargo xtask compat-doc`: writes `docs/compat.md` from the keyword tables, or checks that it is up to date.
//!
//! The text is made by a test of `sockeye-config`, which compares it with the file: xtask itself depends on nothing
//! of the workspace.

use anyhow::Result;

use crate::workspace::{cargo, checked};

/// Options of `compat-doc`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail when the document is not what the tables say, and write nothing
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "sockeye-config", "--test", "compat"]);
    if args.check {
        command.env_remove("UPDATE_EXPECT");
    } else {
        command.env("UPDATE_EXPECT", "1");
    }
    checked(&mut command)
}
