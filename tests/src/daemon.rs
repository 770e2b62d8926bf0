//! The daemon under test: its configuration, its process, its output, its end.
//!
//! In a configuration `<name>` stands for an address given with [`Setup::at`], or else for a fresh reserved address of
//! 127.0.0.1 that [`Daemon::connect`] knows by that name; `<name.port>` is its port alone, `<dir>` the test's folder.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{Lines, Peer, Reserved, within};

/// Whether the daemon under test is HAProxy itself, for the few points where ours is stricter on purpose.
pub fn is_haproxy() -> bool {
    command_line().last().is_some_and(|word| word.ends_with("haproxy"))
}

/// The program and its leading arguments.
pub fn command_line() -> &'static [String] {
    static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    WORDS.get_or_init(|| match std::env::var("SOCKEYE_BIN") {
        Ok(line) => line.split_whitespace().map(str::to_owned).collect(),
        Err(_) => vec![built_binary().to_string_lossy().into_owned()],
    })
}

/// `target/PROFILE/sockeye`, beside the `deps` folder that holds the running test.
fn built_binary() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test");
    let profile = test.parent().and_then(Path::parent).expect("target/PROFILE/deps/TEST");
    let binary = profile.join("sockeye");
    assert!(binary.exists(), "{} is missing: `cargo xtask test` builds it", binary.display());
    binary
}

/// A daemon that is not started yet.
pub struct Setup {
    cfg: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    program: Option<PathBuf>,
    wrapper: Vec<String>,
    names: BTreeMap<String, String>,
    reserved: Vec<Reserved>,
    dir: TempDir,
}

impl Setup {
    pub fn new(cfg: impl Display) -> Self {
        let dir = tempfile::Builder::new().prefix("sockeye-test-").tempdir().expect("a temporary folder");
        let names = BTreeMap::from([("dir".to_owned(), dir.path().to_string_lossy().into_owned())]);
        Self {
            cfg: cfg.to_string(),
            args: Vec::new(),
            env: Vec::new(),
            program: None,
            wrapper: Vec::new(),
            names,
            reserved: Vec::new(),
            dir,
        }
    }

    /// `<name>` in the configuration becomes `value`.
    pub fn at(mut self, name: &str, value: impl Display) -> Self {
        self.names.insert(name.to_owned(), value.to_string());
        self
    }

    /// `<name>` becomes this reserved address, which stays reserved.
    pub fn reserved(mut self, name: &str, reserved: Reserved) -> Self {
        self.names.insert(name.to_owned(), reserved.addr().to_string());
        self.reserved.push(reserved);
        self
    }

    /// A further argument, after `-db -f CFG`.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs this program instead of the usual one.
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// Runs the daemon through this program, which ends by executing its arguments.
    pub fn wrap(mut self, wrapper: &[impl AsRef<str>]) -> Self {
        self.wrapper = wrapper.iter().map(|word| word.as_ref().to_owned()).collect();
        self
    }

    /// A further file in the test's folder.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.dir.path().join(name), content).expect("a file");
        self
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the daemon in the foreground. It may not be ready yet: [`Daemon::connect`] waits for that.
    pub fn start(mut self) -> Daemon {
        let cfg = self.write_cfg();
        let args = [vec!["-db".to_owned(), "-f".to_owned(), cfg], std::mem::take(&mut self.args)].concat();
        self.spawn(args)
    }

    /// Runs the daemon with `-f CFG` and the given arguments until it ends by itself.
    pub async fn run(mut self) -> Exit {
        let cfg = self.write_cfg();
        let args = [vec!["-f".to_owned(), cfg], std::mem::take(&mut self.args)].concat();
        self.spawn(args).exit().await
    }

    /// Like [`Setup::run`] for a daemon that goes to the background: its ports stay known and reserved.
    pub async fn run_and_keep(mut self) -> (Daemon, Exit) {
        let cfg = self.write_cfg();
        let args = [vec!["-f".to_owned(), cfg], std::mem::take(&mut self.args)].concat();
        let mut daemon = self.spawn(args);
        let exit = daemon.wait_exit().await;
        daemon.background = true;
        (daemon, exit)
    }

    /// Runs the daemon with the given arguments alone until it ends by itself.
    pub async fn run_bare(mut self) -> Exit {
        self.write_cfg();
        let args = std::mem::take(&mut self.args);
        self.spawn(args).exit().await
    }

    /// Fills the names in and writes the file; its path.
    fn write_cfg(&mut self) -> String {
        let cfg = self.fill(&self.cfg.clone());
        let path = self.dir.path().join("test.cfg");
        std::fs::write(&path, &cfg).expect("the configuration");
        self.cfg = cfg;
        let args = std::mem::take(&mut self.args);
        self.args = args.iter().map(|arg| self.fill(arg)).collect();
        path.to_string_lossy().into_owned()
    }

    fn fill(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find('<') {
            out.push_str(&rest[..start]);
            rest = &rest[start..];
            match placeholder(rest) {
                Some((name, part, length)) => {
                    let value = self.value(name);
                    out.push_str(match part {
                        "" => &value,
                        "port" => value.rsplit_once(':').map_or(&value, |(_, port)| port),
                        part => panic!("<{name}.{part}>: no such part"),
                    });
                    rest = &rest[length..];
                }
                None => {
                    out.push('<');
                    rest = &rest[1..];
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn value(&mut self, name: &str) -> String {
        if let Some(value) = self.names.get(name) {
            return value.clone();
        }
        let reserved = Reserved::v4();
        let value = reserved.addr().to_string();
        self.names.insert(name.to_owned(), value.clone());
        self.reserved.push(reserved);
        value
    }

    fn spawn(self, args: Vec<String>) -> Daemon {
        let mut program = self.wrapper;
        match &self.program {
            Some(path) => program.push(path.to_string_lossy().into_owned()),
            None => program.extend_from_slice(command_line()),
        }
        let mut child = Command::new(&program[0])
            .args(&program[1..])
            .args(&args)
            .envs(self.env)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|err| panic!("cannot run {program:?}: {err}"));
        let stdout = Lines::from_reader(child.stdout.take().expect("a pipe"));
        let stderr = Lines::from_reader(child.stderr.take().expect("a pipe"));
        let pid = Pid::from_raw(child.id().expect("a running child").cast_signed()).expect("a pid");
        Daemon {
            child,
            pid,
            stdout,
            stderr,
            cfg: self.cfg,
            names: self.names,
            _reserved: self.reserved,
            dir: self.dir,
            background: false,
        }
    }
}

/// `<name>` or `<name.part>` at the start of `text`: name, part, length.
fn placeholder(text: &str) -> Option<(&str, &str, usize)> {
    let end = text.find('>')?;
    let inner = &text[1..end];
    let plain = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let (name, part) = inner.split_once('.').unwrap_or((inner, ""));
    (!name.is_empty() && plain(name) && plain(part)).then_some((name, part, end + 1))
}

/// A started daemon. Dropping it kills it; a failing test prints its configuration and output.
pub struct Daemon {
    child: Child,
    pid: Pid,
    /// What it wrote to standard output: the log, with `log stdout`.
    pub stdout: Lines,
    /// What it wrote to standard error: its diagnostics.
    pub stderr: Lines,
    cfg: String,
    names: BTreeMap<String, String>,
    _reserved: Vec<Reserved>,
    dir: TempDir,
    /// The process that we started has ended on purpose: its child is the daemon.
    background: bool,
}

/// How a daemon ended.
#[derive(Debug)]
pub struct Exit {
    /// Exit status, or nothing when a signal killed it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Daemon {
    /// Starts a daemon whose configuration names no origin of the test.
    pub fn start(cfg: impl Display) -> Self {
        Setup::new(cfg).start()
    }

    /// The address that `<name>` stands for.
    pub fn addr(&self, name: &str) -> SocketAddr {
        let value = self.names.get(name).unwrap_or_else(|| panic!("<{name}> is not in the configuration"));
        value.parse().unwrap_or_else(|_| panic!("<{name}> is {value}, not an address and port"))
    }

    /// Every name and what it stands for.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A connection to `<name>`, as soon as the daemon listens there.
    #[track_caller]
    pub fn connect(&mut self, name: &str) -> impl Future<Output = Peer> {
        let addr = self.addr(name);
        self.connect_to(addr)
    }

    /// A connection to `addr`, as soon as the daemon listens there.
    #[track_caller]
    pub fn connect_to(&mut self, addr: SocketAddr) -> impl Future<Output = Peer> {
        within(format!("the daemon to listen on {addr}"), async move {
            loop {
                match Peer::connect(addr).await {
                    Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => self.tick().await,
                    outcome => return outcome.expect("a connection"),
                }
            }
        })
    }

    /// A connection to `<name>` whose source address is `from`.
    #[track_caller]
    pub fn connect_from(&mut self, from: IpAddr, name: &str) -> impl Future<Output = Peer> {
        let addr = self.addr(name);
        within(format!("the daemon to listen on {addr}"), async move {
            loop {
                match Peer::connect_from(from, addr).await {
                    Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => self.tick().await,
                    outcome => return outcome.expect("a connection"),
                }
            }
        })
    }

    /// A connection to a unix socket, as soon as the daemon listens there.
    #[track_caller]
    pub fn connect_unix(&mut self, path: &Path) -> impl Future<Output = Peer> {
        within(format!("the daemon to listen on {}", path.display()), async move {
            loop {
                match Peer::connect_unix(path).await {
                    Ok(peer) => return peer,
                    Err(_) => self.tick().await,
                }
            }
        })
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("the daemon runs");
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn exit(mut self) -> impl Future<Output = Exit> {
        within("the end of the daemon", async move { self.wait_exit().await })
    }

    async fn wait_exit(&mut self) -> Exit {
        let status = within("the end of the daemon", self.child.wait()).await.expect("a child");
        self.stdout.ended().await;
        self.stderr.ended().await;
        Exit { code: status.code(), stdout: self.stdout.text(), stderr: self.stderr.text() }
    }

    /// One step of waiting for the daemon to get ready; fails at once when it has ended.
    async fn tick(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait()
            && !self.background
        {
            self.stderr.ended().await;
            panic!("the daemon ended ({status})");
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- configuration\n{}", self.cfg);
            eprintln!(
                "--- standard output\n{}\n--- standard error\n{}",
                self.stdout.text(),
                self.stderr.text()
            );
        }
    }
}
