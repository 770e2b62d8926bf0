//! The first process of a kernel under test: mounts what tests look at, loads modules, runs the tests, powers off.
//!
//! It talks to the host through the console, in lines that begin with [`MARK`]; see `report.rs`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, finit_module, reboot, uname};
use serde::{Deserialize, Serialize};

/// Begins every line that is for the host.
pub(super) const MARK: &str = "@@ ";
/// Where the initramfs says what there is to do.
pub(super) const PLAN: &str = "/plan.json";
/// Where the daemon is, if tests start it.
pub(super) const DAEMON: &str = "/bin/sockeye";
/// `MODULE_INIT_COMPRESSED_FILE` of module.h(uapi): the kernel unpacks the module itself.
const COMPRESSED: i32 = 4;
/// Rounds of the tests with random packets: emulated, each takes ten times as long.
const ROUNDS: &str = "2000";

/// The longest test takes some ten seconds, emulated.
const SILENCE_MAX: Timespec = Timespec { tv_sec: 180, tv_nsec: 0 };

/// What there is to do.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Files in `/modules`, in the order of loading.
    pub(super) modules: Vec<String>,
    /// Programs in `/tests`.
    pub(super) tests: Vec<String>,
    /// Only tests whose name contains this.
    pub(super) filter: Option<String>,
    /// No tests whose names contain one of these.
    pub(super) skip: Vec<String>,
}

/// Does it all; returns only when the power cannot be switched off.
pub(crate) fn run() -> Result<()> {
    if !rustix::process::getpid().is_init() {
        anyhow::bail!("this is the first process of a kernel under test; see `cargo xtask test-kernels`");
    }
    // The kernel gives its first process the console as its three standard streams.
    let outcome = run_plan();
    if let Err(error) = &outcome {
        tell(format_args!("error {error:#}"));
    }
    reboot(RebootCommand::PowerOff).context("power off")?;
    outcome
}

fn run_plan() -> Result<()> {
    let plan: Plan = serde_json::from_slice(&fs::read(PLAN).context(PLAN)?)?;
    for (kind, place) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
        ("bpf", "/sys/fs/bpf"),
        ("cgroup2", "/sys/fs/cgroup"),
    ] {
        mount(kind, place, kind, MountFlags::empty(), None).with_context(|| format!("mount {kind}"))?;
    }
    std::os::unix::fs::symlink("/run", "/var/run").context("/var/run")?;
    tell(format_args!("release {}", uname().release().to_string_lossy()));
    for module in &plan.modules {
        let file = File::open(format!("/modules/{module}")).with_context(|| module.clone())?;
        let flags = if module.ends_with(".ko") { 0 } else { COMPRESSED };
        if let Err(error) = finit_module(&file, c"", flags) {
            tell(format_args!("warning {module}: {error}"));
        }
    }
    let up = Command::new("/bin/ip").args(["link", "set", "lo", "up"]).status().context("ip")?;
    anyhow::ensure!(up.success(), "the loopback interface: {up}");
    for test in &plan.tests {
        run_test(test, &plan).with_context(|| test.clone())?;
    }
    tell("done");
    Ok(())
}

/// Runs one program; its output goes to the host line by line. One that says nothing for too long is killed.
fn run_test(name: &str, plan: &Plan) -> Result<()> {
    let (mut reader, writer) = io::pipe()?;
    let mut command = Command::new(format!("/tests/{name}"));
    command.args(["--test-threads", "1", "--color", "never"]).args(&plan.filter);
    command.args(plan.skip.iter().flat_map(|part| ["--skip", part]));
    command.env("PATH", "/bin").env("SOCKEYE_TEST_ROUNDS", ROUNDS).env("SOCKEYE_BIN", DAEMON);
    command.stdin(Stdio::null()).stderr(writer.try_clone()?).stdout(writer);
    tell(format_args!("begin {name}"));
    let mut child = command.spawn()?;
    // Holds the pipe's writing end; it would never be at its end.
    drop(command);
    let mut pending = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&SILENCE_MAX))? == 0 {
            // What it started may hold the pipe, so its end is not waited for.
            pending.extend(b"silent for too long\n");
            pending.extend(where_it_is(child.id()).as_bytes());
            child.kill()?;
            break;
        }
        let read = reader.read(&mut buffer)?;
        pending.extend(&buffer[..read]);
        while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            tell(format_args!("| {}", String::from_utf8_lossy(&line[..end])));
        }
        if read == 0 {
            break;
        }
    }
    for line in String::from_utf8_lossy(&pending).lines() {
        tell(format_args!("| {line}"));
    }
    let status = child.wait()?;
    match status.code() {
        Some(0) => tell(format_args!("end {name} ok")),
        _ => tell(format_args!("end {name} {status}")),
    }
    Ok(())
}

/// Where the threads of a process are in the kernel.
fn where_it_is(pid: u32) -> String {
    let mut text = String::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        for file in ["comm", "status", "stack"] {
            let content = fs::read_to_string(task.path().join(file)).unwrap_or_default();
            // Of its long status only whether it runs or waits.
            let lines = content.lines().filter(|line| file != "status" || line.starts_with("State:"));
            text.extend(lines.map(|line| format!("{line}\n")));
        }
    }
    text
}

fn tell(line: impl std::fmt::Display) {
    // Nobody is left to tell that the console is gone.
    let _ = writeln!(io::stdout().lock(), "{MARK}{line}");
}
