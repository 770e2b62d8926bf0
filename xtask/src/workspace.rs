//! Where things are, and how the tasks start other programs.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the checkout: the folder that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable at compile time to xtask's own folder, one below the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Cargo's output folder, `CARGO_TARGET_DIR` obeyed.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Where `build-ebpf` leaves the kernel objects and where the build script of `accel` looks for them.
pub(crate) fn bpf_objects() -> PathBuf {
    std::env::var_os("SOCKEYE_BPF_DIR").map_or_else(|| root().join("target/bpf"), PathBuf::from)
}

/// The cargo that called us, in the root of the checkout.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// One line of progress. It goes to the standard error, so that results on the standard output can be piped.
pub(crate) fn say(line: impl Display) {
    // A closed standard error must not stop a build.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Runs the command, shown as it would be typed, and fails when it does.
pub(crate) fn checked(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    say(format_args!("$ {shown}"));
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// The standard output of a command that succeeds; nothing when it is absent or fails.
pub(crate) fn output_of(program: impl AsRef<OsStr>, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first program of this name in `PATH` or cargo's own folder, which a fresh shell may not list.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(cargo_bin())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Like [`find_program`], also where an administrator's tools are, which an ordinary user's `PATH` does not list.
pub(crate) fn find_tool(name: &str) -> Option<PathBuf> {
    let sbin = ["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(name));
    find_program(name).or_else(|| sbin.into_iter().find(|path| path.is_file()))
}

/// The folder where `cargo install` puts programs.
pub(crate) fn cargo_bin() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    Some(home.join("bin"))
}

/// Whether somebody can answer a question, such as the password of sudo.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal()
}

/// A command as it would be typed.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}
