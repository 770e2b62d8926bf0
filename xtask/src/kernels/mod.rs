//! `cargo xtask test-kernels`: the kernel programs under the kernels that Debian ships.
//!
//! Each kernel is fetched as a package, unpacked and never installed; qemu emulates the processor, so that this works
//! where there is no hardware virtualization. A small initramfs holds the tests and what they run; in it `guest` is
//! the first process. A program that a kernel refuses makes its tests skip, and a skipped test is a failure here.

mod archive;
mod fetch;
mod guest;
mod image;
mod report;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::{cargo, checked, find_program, say, shown, target};
use crate::{build_ebpf, setup};
use image::Test;
use report::Report;

pub(crate) use guest::run as run_guest;

/// The oldest kernel that we support and the one of Debian's stable release: what CI tests.
const IN_CI: [&str; 2] = ["6.1", "6.12"];
/// Tests that CI has no time for, by parts of their names: at tc the steps are those of XDP, through whose verifier they go
/// anyway, and what is not about the kernel was tested outside.
const SKIPPED_IN_CI: [&str; 3] = ["tc::", "tests::", "inside::"];
/// The test programs that CI runs: all programs through the verifier, and packets one by one. The others send packets
/// between namespaces, in real time, which an emulated processor has too little of while the machine does something else.
const PROGRAMS_IN_CI: [&str; 5] = ["packet", "shield", "sockmap", "steer", "verifier"];
/// All that are tested by default; the last is whatever is newest.
const ALL: [&str; 3] = ["6.1", "6.12", fetch::NEWEST];
/// Emulation is some ten times slower than the processor; a kernel that hangs must not hang us.
const PATIENCE: Duration = Duration::from_mins(15);
/// The tests' maps and the unpacked initramfs fit twice.
const MEMORY_MIB: u32 = 1536;

/// Options of `test-kernels`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these, by the first numbers of their version such as 6.1, or `newest`
    #[arg(long, value_name = "VERSION")]
    kernel: Vec<String>,
    /// Only what CI tests
    #[arg(long, conflicts_with = "kernel")]
    in_ci: bool,
    /// Test the kernel objects that are there, without building them
    #[arg(long)]
    as_built: bool,
    /// Run the daemon in network namespaces there, too
    #[arg(long)]
    network: bool,
    /// Print everything that the kernels and tests print
    #[arg(long)]
    verbose: bool,
    /// Only tests whose names contain this
    filter: Option<String>,
}

/// Boots every kernel, prints the table, fails when anything failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.in_ci {
        return run_in_ci();
    }
    let wanted: Vec<&str> = match &*args.kernel {
        [] => ALL.to_vec(),
        kernels => kernels.iter().map(String::as_str).collect(),
    };
    setup::ensure(setup::Need::Kernels)?;
    if !args.as_built {
        build_ebpf::run()?;
    }
    let choice = Choice {
        filter: args.filter.as_deref(),
        network: args.network,
        verbose: args.verbose,
        ..Choice::default()
    };
    run_on(&fetch::kernels(&wanted)?, &choice)
}

/// What `ci` runs. Where qemu and the kernels cannot be had, that is said and no failure: it says nothing about us.
pub(crate) fn run_in_ci() -> Result<()> {
    let kernels = match setup::ensure(setup::Need::Kernels).and_then(|()| fetch::kernels(&IN_CI)) {
        Ok(kernels) => kernels,
        Err(error) => {
            say(format_args!("test-kernels: skipped: {error:#}"));
            return Ok(());
        }
    };
    build_ebpf::run()?;
    let choice = Choice { skip: &SKIPPED_IN_CI, programs: &PROGRAMS_IN_CI, ..Choice::default() };
    run_on(&kernels, &choice)
}

/// Which tests run, and how much is said.
#[derive(Default)]
struct Choice<'a> {
    filter: Option<&'a str>,
    skip: &'a [&'a str],
    /// Test programs by name; none: all.
    programs: &'a [&'a str],
    network: bool,
    verbose: bool,
}

fn run_on(kernels: &[fetch::Kernel], choice: &Choice<'_>) -> Result<()> {
    if find_program(QEMU).is_none() {
        bail!("no {QEMU}: install qemu-system-x86 (Debian) or your system's package of it");
    }
    let mut tests = build_tests(if choice.network { &NETWORK_TESTS } else { &TESTS })?;
    tests.retain(|test| choice.programs.is_empty() || choice.programs.contains(&&*test.name));
    let daemon = choice.network.then(build_daemon).transpose()?;
    let folder = fetch::folder();
    let mut reports = Vec::new();
    // Two at a time on two processors: an emulated one uses one of ours.
    let width = thread::available_parallelism().map_or(1, usize::from);
    for group in kernels.chunks(width) {
        let boots = group.iter().map(|kernel| {
            let initrd = folder.join(format!("initrd-{}", kernel.release));
            image::write(&initrd, kernel, &tests, daemon.as_deref(), choice.filter, choice.skip)?;
            let (kernel, verbose) = (kernel.clone(), choice.verbose);
            Ok(thread::spawn(move || boot(&kernel, &initrd, verbose)))
        });
        for boot in boots.collect::<Result<Vec<_>>>()? {
            match boot.join() {
                Ok(report) => reports.push(report?),
                Err(_) => bail!("the thread of a kernel ended"),
            }
        }
    }
    say(report::table(&reports));
    if reports.iter().any(|report| !report.failures().is_empty()) {
        bail!("a kernel failed");
    }
    Ok(())
}

const QEMU: &str = "qemu-system-x86_64";

/// The packages whose tests run, and which of their test programs: all, or those that begin so.
const TESTS: [(&str, &str); 1] = [("sockeye-accel", "")];
/// Those with `--network`.
const NETWORK_TESTS: [(&str, &str); 2] = [("sockeye-accel", ""), ("lb-tests", "packet_")];

/// Builds the test programs; their names and paths.
fn build_tests(wanted: &[(&str, &str)]) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for (package, prefix) in wanted {
        let mut command = cargo();
        command.args(["test", "--locked", "--no-run", "--package", package, "--tests"]);
        command.arg("--message-format=json-render-diagnostics");
        let shown = shown(&command);
        say(format_args!("$ {shown}"));
        let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
        if !output.status.success() {
            bail!("{shown}: {}", output.status);
        }
        tests.extend(
            test_programs(&String::from_utf8_lossy(&output.stdout))
                .into_iter()
                .filter(|test| test.name.starts_with(prefix)),
        );
    }
    if tests.is_empty() {
        bail!("no test programs");
    }
    Ok(tests)
}

/// Builds the daemon; its path.
fn build_daemon() -> Result<PathBuf> {
    checked(cargo().args(["build", "--locked", "--bin", "sockeye"]))?;
    Ok(target().join("debug/sockeye"))
}

/// The test programs in cargo's messages.
fn test_programs(messages: &str) -> Vec<Test> {
    let test = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["reason"] == "compiler-artifact" && message["profile"]["test"] == true).then_some(())?;
        Some(Test {
            name: message["target"]["name"].as_str()?.to_owned(),
            program: PathBuf::from(message["executable"].as_str()?),
        })
    };
    messages.lines().filter_map(test).collect()
}

/// Boots one kernel and reads its console until it powers off.
fn boot(kernel: &fetch::Kernel, initrd: &Path, verbose: bool) -> Result<Report> {
    let release = &kernel.release;
    let mut command = Command::new(QEMU);
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", &format!("{MEMORY_MIB}M")]);
    command.args(["-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initrd);
    // Everything after the dashes is given to the first process.
    command.args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init -- kernel-guest"]);
    say(format_args!("$ {}", shown(&command)));
    let begun = Instant::now();
    let mut qemu = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("cannot start {QEMU}"))?;
    let console = qemu.stdout.take().context("a pipe")?;
    let mut report = Report::new(release);
    let lines = spawn_reader(console);
    loop {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        match lines.recv_timeout(left) {
            Ok(line) => {
                if verbose {
                    say(format_args!("{release} {:.1} s: {line}", begun.elapsed().as_secs_f32()));
                }
                report.line(&line);
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                report.fail(format!("not done after {} s", PATIENCE.as_secs()));
                qemu.kill().context("qemu")?;
                break;
            }
        }
    }
    let status = qemu.wait().context("qemu")?;
    report.end(begun.elapsed());
    if !status.success() && report.failures().is_empty() {
        report.fail(format!("{QEMU}: {status}"));
    }
    Ok(report)
}

/// The console's lines, read in a thread so that waiting for them can end.
fn spawn_reader(console: std::process::ChildStdout) -> std::sync::mpsc::Receiver<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut console = BufReader::new(console);
        let mut line = Vec::new();
        while console.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_read_from_cargo_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","profile":{"test":false},"target":{"name":"x"},"executable":"/x/x"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","profile":{"test":true},"target":{"name":"packet"},"executable":"/x/p"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let tests = test_programs(messages);
        assert_eq!(tests.len(), 1);
        assert_eq!((&*tests[0].name, &*tests[0].program), ("packet", Path::new("/x/p")));
    }
}
