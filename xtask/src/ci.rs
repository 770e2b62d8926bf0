//! `cargo xtask ci`: what must pass before a merge.

use anyhow::Result;

use crate::workspace::{cargo, checked};
use crate::{build_ebpf, kernels, setup, test, tidy};

/// Stops at the first step that fails; the cheap steps come first.
pub(crate) fn run() -> Result<()> {
    setup::ensure(setup::Need::Everything)?;
    checked(cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run()?;
    build_ebpf::ensure()?;
    checked(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    let mut docs = cargo();
    docs.env("RUSTDOCFLAGS", "--deny warnings").args([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]);
    checked(&mut docs)?;
    test::run(&test::Args::default())?;
    kernels::run_in_ci()
}
