//! Developer tasks, called as `cargo xtask TASK`. One file per task; no shell scripts.
//!
//! Two of them are all that a newcomer needs: `cargo xtask run` and `cargo xtask test`.
//! xtask depends on nothing else of the workspace, so that it builds while the rest does not.

mod bench;
mod build;
mod build_ebpf;
mod ci;
mod compat_doc;
mod demo;
mod kernels;
mod run;
mod setup;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer tasks of Sockeye.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing to build everything, or print the commands
    Setup(setup::Args),
    /// Build the kernel objects of lb-ebpf into target/bpf
    BuildEbpf,
    /// Set up, build the kernel objects and the daemon
    Build(build::Args),
    /// Build and start the daemon: with two demo origins, or on your own file with `-- -f my.cfg`
    Run(run::Args),
    /// Build and run every test; arguments after `--` go to nextest
    Test(test::Args),
    /// What must pass before a merge: fmt, clippy, docs, tests, tidy
    Ci,
    /// Boot older and newer kernels under qemu: every program through the verifier, then the packet tests
    TestKernels(kernels::Args),
    /// The first process of such a kernel
    #[command(hide = true)]
    KernelGuest,
    /// Check module order, purity, unsafe, file sizes and example configurations
    Tidy,
    /// Write docs/compat.md from the keyword tables
    CompatDoc(compat_doc::Args),
    /// Measure against HAProxy and nginx in the same run
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Setup(args) => setup::run(&args),
        Task::BuildEbpf => build_ebpf::run(),
        Task::Build(args) => build::run(&args),
        Task::Run(args) => run::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Ci => ci::run(),
        Task::TestKernels(args) => kernels::run(&args),
        Task::KernelGuest => kernels::run_guest(),
        Task::Tidy => tidy::run(),
        Task::CompatDoc(args) => compat_doc::run(&args),
        Task::Bench(args) => bench::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            workspace::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
