//! `cargo xtask build`: set up, kernel objects, daemon.

use std::path::PathBuf;

use anyhow::Result;

use crate::workspace::{cargo, checked, target};
use crate::{build_ebpf, setup};

/// Options of `build`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Optimize fully; the default profile `quick` is nearly as fast and builds in a quarter of the time
    #[arg(long)]
    release: bool,
}

/// Builds everything that a user of the daemon needs.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(setup::Need::Build)?;
    build_ebpf::ensure()?;
    let binary = daemon(if args.release { Profile::Release } else { Profile::Quick })?;
    crate::workspace::say(format_args!("built {}", binary.display()));
    Ok(())
}

/// How the daemon is compiled; the profiles are in the root `Cargo.toml`.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    Quick,
    Release,
}

/// Builds the daemon and returns its path.
pub(crate) fn daemon(profile: Profile) -> Result<PathBuf> {
    let name = match profile {
        Profile::Quick => "quick",
        Profile::Release => "release",
    };
    checked(cargo().args(["build", "--locked", "--package", "sockeye", "--profile", name]))?;
    Ok(target().join(name).join("sockeye"))
}
