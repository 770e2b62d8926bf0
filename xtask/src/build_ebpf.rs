//! `cargo xtask build-ebpf`: the kernel programs of `lb-ebpf`, one object per attach point, into `target/bpf`.
//!
//! The build script of `accel` embeds what lies there, so the daemon builds with or without them. Debian's
//! `rustc-web` has a prebuilt `core` for the target; elsewhere a nightly with `rust-src` builds it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::setup::{has_debian_bpf_core, nightly_with_source};
use crate::workspace::{bpf_objects, cargo_bin, find_program, root, say};

const TARGET: &str = "bpfel-unknown-none";

/// Builds the kernel objects; fails when the toolchain is not there.
pub(crate) fn run() -> Result<()> {
    let Some(toolchain) = Toolchain::find() else {
        bail!("no compiler for {TARGET} with bpf-linker: run `cargo xtask setup`");
    };
    build(&toolchain)
}

/// Builds the kernel objects when this machine can; for the tasks that want them and can do without.
pub(crate) fn ensure() -> Result<()> {
    match Toolchain::find() {
        Some(toolchain) => build(&toolchain),
        None => {
            say("building without kernel objects: no eBPF toolchain (`cargo xtask setup` installs it)");
            Ok(())
        }
    }
}

/// The compilers that can produce kernel objects.
enum Toolchain {
    /// Debian's `rustc-web`, which has the target's `core` in its package.
    Debian,
    /// A nightly of rustup by this name, which builds `core` from its source.
    Nightly(String),
}

impl Toolchain {
    fn find() -> Option<Self> {
        find_program("bpf-linker")?;
        if has_debian_bpf_core() { Some(Self::Debian) } else { nightly_with_source().map(Self::Nightly) }
    }

    /// Cargo of this toolchain, free of what the outer cargo and rustup put into the environment.
    fn cargo(&self) -> Command {
        let mut command = match self {
            Self::Debian => {
                let mut command = Command::new("/usr/bin/cargo");
                // The programs use nightly features of the target; the compiler is a stable one.
                command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
                command
            }
            Self::Nightly(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "cargo"]).env_remove("RUSTC");
                command
            }
        };
        for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTDOC", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(name);
        }
        for name in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"] {
            command.env_remove(name);
        }
        command.env("PATH", path_with_cargo_bin());
        command
    }
}

fn path_with_cargo_bin() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(cargo_bin());
    std::env::join_paths(folders).unwrap_or(path)
}

fn build(toolchain: &Toolchain) -> Result<()> {
    let folder = root().join("lb-ebpf");
    if !folder.join("Cargo.toml").is_file() {
        bail!("{} has no Cargo.toml", folder.display());
    }
    let mut command = toolchain.cargo();
    command.current_dir(&folder).args(["build", "--release", "--locked", "--target", TARGET]);
    command.arg("--message-format=json-render-diagnostics");
    if let Toolchain::Nightly(_) = toolchain {
        command.args(["-Z", "build-std=core"]);
    }
    say(format_args!("$ (cd lb-ebpf && cargo build --release --target {TARGET})"));
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo for lb-ebpf")?;
    if !output.status.success() {
        bail!("lb-ebpf does not build: {}", output.status);
    }
    let built = executables(&String::from_utf8_lossy(&output.stdout));
    if built.is_empty() {
        bail!("lb-ebpf has no binary target");
    }
    publish(&built, &bpf_objects())
}

/// The paths of the programs in cargo's messages.
fn executables(messages: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["reason"] == "compiler-artifact").then_some(())?;
        Some(PathBuf::from(message["executable"].as_str()?))
    };
    messages.lines().filter_map(path).collect()
}

/// Makes `folder` hold exactly these objects. An unchanged one is left alone, so that the daemon is not rebuilt.
fn publish(built: &[PathBuf], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut names = Vec::new();
    for source in built {
        let name = source.file_stem().context("an object without a name")?.to_owned();
        let object = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        let place = folder.join(&name);
        if fs::read(&place).ok().as_ref() != Some(&object) {
            fs::write(&place, &object).with_context(|| format!("cannot write {}", place.display()))?;
            say(format_args!("{}: {} bytes", place.display(), object.len()));
        }
        names.push(name);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !names.contains(&entry.file_name()) {
            fs::remove_file(entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_read_from_cargo_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"/x/sockmap"}"#,
            "\nnot json\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executables(messages), [PathBuf::from("/x/sockmap")]);
    }

    #[test]
    fn publishing_replaces_changed_and_removes_stale_objects() {
        let place = tempfile::tempdir().unwrap();
        let (built, folder) = (place.path().join("sockmap"), place.path().join("bpf"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("stale"), "old").unwrap();
        for content in ["one", "two"] {
            fs::write(&built, content).unwrap();
            publish(std::slice::from_ref(&built), &folder).unwrap();
            assert_eq!(fs::read_to_string(folder.join("sockmap")).unwrap(), content);
        }
        let kept = fs::metadata(folder.join("sockmap")).unwrap().modified().unwrap();
        publish(&[built], &folder).unwrap();
        assert_eq!(fs::metadata(folder.join("sockmap")).unwrap().modified().unwrap(), kept);
        assert!(!folder.join("stale").exists());
    }
}
