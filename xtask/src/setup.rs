//! `cargo xtask setup`: installs what is missing, or prints the commands.
//!
//! The daemon needs a C compiler; everything else serves the kernel objects and the test runner. Without the
//! eBPF toolchain the daemon still builds and forwards in userspace, so its absence is reported, not fatal.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::{cargo_bin, checked, find_program, find_tool, is_interactive, output_of, say};

/// The release that works with the LLVM below. Newer ones need a newer rustc than Debian's.
const BPF_LINKER_VERSION: &str = "0.13.0";
/// Where Debian's `llvm-22-dev` installs; the same LLVM that built Debian's `rustc-web`.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// Needed by every build: mimalloc is C.
const BASE_PACKAGES: &[&str] = &["gcc", "libc6-dev"];
/// A Rust compiler with a prebuilt `core` for the kernel's virtual machine.
const EBPF_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];
/// What bpf-linker links with.
const LINKER_PACKAGES: &[&str] = &["llvm-22-dev", "libpolly-22-dev", "g++", "libzstd-dev", "zlib1g-dev"];
/// What tests make networks of namespaces with; without it they are skipped.
const NETWORK_PACKAGES: &[&str] = &["iproute2", "ethtool"];
/// What `test-kernels` boots kernels with; installed for that task alone.
const KERNEL_PACKAGES: &[&str] = &["qemu-system-x86"];

/// Options of `setup`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only say what is missing; exit with an error when something is
    #[arg(long)]
    check: bool,
}

/// Installs what is missing; with `--check` only reports it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let missing = Missing::find().narrowed(Need::Everything);
    if missing.is_empty() {
        say("setup: nothing is missing");
        return Ok(());
    }
    if args.check {
        say(format_args!("setup: missing: {}", missing.words().join(", ")));
        bail!("run `cargo xtask setup` to install it");
    }
    install(&missing)
}

/// What a task needs; installing the rest can wait for the task that wants it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Build,
    Test,
    /// `test-kernels`: an emulated machine beside everything.
    Kernels,
    Everything,
}

/// `setup` for the tasks that need it first: silent when there is nothing to do.
pub(crate) fn ensure(need: Need) -> Result<()> {
    let missing = Missing::find().narrowed(need);
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// What this machine lacks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    base: Vec<&'static str>,
    ebpf: Vec<&'static str>,
    linker: Vec<&'static str>,
    network: Vec<&'static str>,
    kernels: Vec<&'static str>,
    rust_components: Vec<&'static str>,
    nextest: bool,
    bpf_linker: bool,
}

impl Missing {
    fn find() -> Self {
        let packages = Packages::installed();
        let nightly = find_program("bpf-linker").is_some() && nightly_with_source().is_some();
        let bpf_linker = find_program("bpf-linker").is_none();
        Self {
            base: if find_program("cc").is_some() { Vec::new() } else { packages.lacking(BASE_PACKAGES) },
            ebpf: if nightly || has_debian_bpf_core() { Vec::new() } else { packages.lacking(EBPF_PACKAGES) },
            linker: if bpf_linker { packages.lacking(LINKER_PACKAGES) } else { Vec::new() },
            network: packages.for_tools(&["ip", "ethtool"], NETWORK_PACKAGES),
            kernels: packages.for_tools(&["qemu-system-x86_64"], KERNEL_PACKAGES),
            rust_components: missing_components(),
            nextest: find_program("cargo-nextest").is_none(),
            bpf_linker,
        }
    }

    /// Only what this task needs.
    fn narrowed(mut self, need: Need) -> Self {
        self.nextest &= need != Need::Build;
        if need == Need::Build {
            self.network.clear();
        }
        if need != Need::Everything {
            self.rust_components.clear();
        }
        if need != Need::Kernels {
            self.kernels.clear();
        }
        self
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn words(&self) -> Vec<&'static str> {
        let mut words =
            [&*self.base, &*self.ebpf, &*self.linker, &*self.network, &*self.kernels, &*self.rust_components]
                .concat();
        words.extend(self.nextest.then_some("cargo-nextest"));
        words.extend(self.bpf_linker.then_some("bpf-linker"));
        words
    }

    /// Every package.
    fn packages(&self) -> Vec<&'static str> {
        [&*self.base, &*self.ebpf, &*self.linker, &*self.network, &*self.kernels].concat()
    }
}

/// The Debian packages that are installed; empty elsewhere.
struct Packages(Vec<String>);

impl Packages {
    fn installed() -> Self {
        let all = [BASE_PACKAGES, EBPF_PACKAGES, LINKER_PACKAGES, NETWORK_PACKAGES, KERNEL_PACKAGES].concat();
        // dpkg-query fails when one name is unknown and still prints the others, so the status is not looked at.
        let output = Command::new("dpkg-query")
            .args(["-W", "-f", "${Package} ${db:Status-Abbrev}\n"])
            .args(all)
            .output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        Self(installed_names(&text))
    }

    /// The packages to install for these programs; none if they are there, from wherever.
    fn for_tools(&self, tools: &[&str], packages: &[&'static str]) -> Vec<&'static str> {
        let is_there = |tool: &&str| find_tool(tool).is_some();
        if tools.iter().all(is_there) { Vec::new() } else { self.lacking(packages) }
    }

    fn lacking(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        wanted.iter().copied().filter(|name| !self.0.iter().any(|have| have == name)).collect()
    }
}

/// The names in `dpkg-query` output whose state is installed.
fn installed_names(text: &str) -> Vec<String> {
    let installed =
        |line: &str| Some(line.split_once(' ').filter(|(_, state)| state.starts_with("ii"))?.0.to_owned());
    text.lines().filter_map(installed).collect()
}

/// Whether Debian's compiler with a core for the kernel's virtual machine is there.
pub(crate) fn has_debian_bpf_core() -> bool {
    let paths = ["/usr/bin/rustc", "/usr/bin/cargo"];
    paths.iter().all(|path| Path::new(path).is_file())
        && output_of("/usr/bin/rustc", &["--print", "target-libdir", "--target", "bpfel-unknown-none"])
            .is_some_and(|folder| Path::new(folder.trim()).is_dir())
}

/// The name of a nightly toolchain of rustup that can build `core` itself.
pub(crate) fn nightly_with_source() -> Option<String> {
    let list = output_of("rustup", &["toolchain", "list"])?;
    let nightly =
        list.lines().filter_map(|line| line.split(' ').next()).find(|name| name.starts_with("nightly"))?;
    let sysroot = output_of("rustup", &["run", nightly, "rustc", "--print", "sysroot"])?;
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    source.is_dir().then(|| nightly.to_owned())
}

fn missing_components() -> Vec<&'static str> {
    if find_program("rustup").is_none() {
        // Rust from a package manager: rustfmt and clippy come, or do not come, from there too.
        return Vec::new();
    }
    // rustup leaves a proxy for components that are not installed, so the program's presence says nothing.
    let works = |program: &str| output_of(program, &["--version"]).is_some();
    let wanted = [("rustfmt", "rustfmt"), ("clippy-driver", "clippy")];
    wanted.into_iter().filter(|(program, _)| !works(program)).map(|(_, component)| component).collect()
}

fn install(missing: &Missing) -> Result<()> {
    say(format_args!("setup: missing: {}", missing.words().join(", ")));
    let packages = missing.packages();
    if !packages.is_empty() {
        match Apt::find() {
            Some(apt) => install_packages(&apt, missing)?,
            None => say(format_args!("setup: {}", by_hand(missing))),
        }
    }
    if !missing.base.is_empty() && find_program("cc").is_none() {
        bail!("no C compiler: install gcc or clang");
    }
    if !missing.rust_components.is_empty() {
        checked(Command::new("rustup").args(["component", "add"]).args(&missing.rust_components))?;
    }
    if missing.bpf_linker {
        if Path::new(LLVM_PREFIX).join("include/llvm").is_dir() {
            let mut command = Command::new("cargo");
            command.env("LLVM_PREFIX", LLVM_PREFIX).args(["install", "bpf-linker", "--locked"]);
            command.args(["--version", BPF_LINKER_VERSION, "--no-default-features", "--features", "llvm-22"]);
            if let Err(error) = checked(&mut command) {
                say(format_args!("setup: {error:#}; the daemon builds without kernel objects"));
            }
        } else {
            say("setup: no LLVM 22 for bpf-linker; the daemon builds without kernel objects");
        }
    }
    if missing.nextest {
        let mut command = Command::new("cargo");
        if let Err(error) = checked(command.args(["install", "cargo-nextest", "--locked"])) {
            say(format_args!("setup: {error:#}; tests run with cargo test"));
        }
    }
    if cargo_bin().is_none() {
        say("setup: neither CARGO_HOME nor HOME is set: installed programs may not be found");
    }
    Ok(())
}

/// How apt-get may be called here.
struct Apt {
    sudo: bool,
}

impl Apt {
    /// Nothing elsewhere than on Debian's family, and nothing without the right to install.
    fn find() -> Option<Self> {
        find_program("apt-get")?;
        if rustix::process::geteuid().is_root() {
            return Some(Self { sudo: false });
        }
        find_program("sudo")?;
        let allowed = is_interactive() || output_of("sudo", &["-n", "true"]).is_some();
        allowed.then_some(Self { sudo: true })
    }

    fn get(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new(if self.sudo { "sudo" } else { "apt-get" });
        if self.sudo {
            command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        checked(command.env("DEBIAN_FRONTEND", "noninteractive").args(args))
    }
}

fn install_packages(apt: &Apt, missing: &Missing) -> Result<()> {
    let packages = missing.packages();
    if !packages.iter().all(|name| has_candidate(name))
        && let Err(error) = apt.get(&["update"])
    {
        say(format_args!("setup: {error:#}"));
    }
    let mut wanted = [&*missing.base, &*missing.network, &*missing.kernels].concat();
    let kernel_side = [&*missing.ebpf, &*missing.linker].concat();
    match kernel_side.iter().find(|name| !has_candidate(name)) {
        None => wanted.extend(&kernel_side),
        Some(name) => say(format_args!("setup: this release has no package {name}; {}", by_hand(missing))),
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let install = [&["install", "-y", "--no-install-recommends"], &*wanted].concat();
    if let Err(error) = apt.get(&install) {
        say(format_args!("setup: {error:#}; {}", by_hand(missing)));
    }
    Ok(())
}

/// Whether apt knows a version of the package that can be installed.
fn has_candidate(name: &str) -> bool {
    output_of("apt-cache", &["policy", name])
        .is_some_and(|text| text.contains("Candidate:") && !text.contains("Candidate: (none)"))
}

/// The exact commands for a machine where we cannot install.
fn by_hand(missing: &Missing) -> String {
    let mut text = String::from("install it yourself:\n");
    if find_program("apt-get").is_some() && missing.packages().iter().all(|name| has_candidate(name)) {
        text += &format!("  apt-get install --no-install-recommends {}\n", missing.packages().join(" "));
    } else {
        text += "  a C compiler (cc)\n";
        text += "  rustup toolchain install nightly --component rust-src\n";
        text += "  LLVM 22 with its development files, then\n";
    }
    if missing.bpf_linker {
        text += &format!(
            "  LLVM_PREFIX={LLVM_PREFIX} cargo install bpf-linker --version {BPF_LINKER_VERSION} --locked \
             --no-default-features --features llvm-22\n"
        );
    }
    text + "the daemon builds and runs without the kernel side"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let text = "gcc ii \nrustc-web un \nllvm-22-dev rc \ng++ ii \n";
        assert_eq!(installed_names(text), ["gcc", "g++"]);
        let packages = Packages(installed_names(text));
        assert_eq!(packages.lacking(&["gcc", "rustc-web", "zlib1g-dev"]), ["rustc-web", "zlib1g-dev"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = Missing { ebpf: vec!["rustc-web"], nextest: true, ..Missing::default() };
        assert_eq!(missing.words(), ["rustc-web", "cargo-nextest"]);
        assert!(!missing.is_empty());
        assert_eq!(missing.narrowed(Need::Build).words(), ["rustc-web"]);
        assert!(Missing::default().is_empty());
    }
}
