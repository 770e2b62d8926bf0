//! `cargo xtask run`: from nothing to a proxy that serves.
//!
//! Without arguments it starts two demo origins and the daemon on `configs/quickstart.cfg`, and says what to try.
//! With arguments after `--` it starts the daemon with them and nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};

use crate::build::{Profile, daemon};
use crate::workspace::{root, say, target};
use crate::{build_ebpf, demo, setup};

/// The ports that the quickstart prefers: HTTP, plain TCP, HTTPS.
const PORTS: [u16; 3] = [8080, 8090, 8443];
/// How often and how many times we look whether the daemon listens: 10 s in all.
const READY_INTERVAL: Duration = Duration::from_millis(50);
const READY_ATTEMPTS: u32 = 200;

/// Options of `run`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Given to the daemon, such as `-f my.cfg`; without any, the quickstart runs
    #[arg(last = true)]
    daemon: Vec<String>,
    /// Optimize fully; building takes longer
    #[arg(long)]
    release: bool,
}

/// Builds and runs until the daemon ends or we are told to.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(setup::Need::Build)?;
    build_ebpf::ensure()?;
    let binary = daemon(if args.release { Profile::Release } else { Profile::Quick })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if args.daemon.is_empty() {
            return quickstart(&binary).await;
        }
        let mut command = Command::new(&binary);
        command.args(&args.daemon);
        say(format_args!("$ {}", crate::workspace::shown(&command)));
        wait(spawn(command)?).await
    })
}

async fn quickstart(binary: &Path) -> Result<()> {
    let (one, two) = (demo::start("origin-one").await?, demo::start("origin-two").await?);
    let (http, tcp, https) =
        (free_port(PORTS[0]).await?, free_port(PORTS[1]).await?, free_port(PORTS[2]).await?);
    let certificate = certificate()?;
    let mut command = Command::new(binary);
    command.current_dir(root()).args(["-f", "configs/quickstart.cfg", "-db"]);
    command.env("ORIGIN_ONE", one.to_string()).env("ORIGIN_TWO", two.to_string());
    command.env("HTTP_PORT", http.to_string()).env("TCP_PORT", tcp.to_string());
    command.env("HTTPS_PORT", https.to_string()).env("DEMO_CERTIFICATE", &certificate);
    let mut child = spawn(command)?;
    tokio::select! {
        status = child.wait() => return ended(status?),
        listening = listens(http) => listening?,
    }
    say(what_to_try(http, tcp, https, [one, two]));
    wait(child).await
}

/// A certificate for this machine and its key, made anew at every start: nobody has a reason to trust it.
fn certificate() -> Result<PathBuf> {
    let names = ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()];
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
    let file = target().join("demo.pem");
    std::fs::write(&file, format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem()))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn spawn(command: Command) -> Result<Child> {
    let shown = crate::workspace::shown(&command);
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().with_context(|| format!("cannot start {shown}"))
}

/// The preferred port when nobody has it, else one that the system chooses.
async fn free_port(preferred: u16) -> Result<u16> {
    if TcpListener::bind((Ipv4Addr::LOCALHOST, preferred)).await.is_ok() {
        return Ok(preferred);
    }
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port())
}

async fn listens(port: u16) -> Result<()> {
    for _ in 0..READY_ATTEMPTS {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(READY_INTERVAL).await;
    }
    bail!("the daemon does not listen on port {port}")
}

/// Waits for the daemon. The terminal sends Ctrl-C to the daemon too; a TERM to us alone is passed on.
async fn wait(mut child: Child) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            status = child.wait() => return ended(status?),
            _ = interrupt.recv() => tell(&child, rustix::process::Signal::INT),
            _ = terminate.recv() => tell(&child, rustix::process::Signal::TERM),
        }
    }
}

fn tell(child: &Child, signal: rustix::process::Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended meanwhile; then there is nobody to tell.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// A daemon that was told to stop has done well, however it reports that.
fn ended(status: ExitStatus) -> Result<()> {
    use std::os::unix::process::ExitStatusExt;
    const STOPPED: [i32; 2] = [2, 15];
    let told = status.signal().is_some_and(|signal| STOPPED.contains(&signal))
        || status.code().is_some_and(|code| STOPPED.iter().any(|signal| code == 128 + signal));
    if status.success() || told { Ok(()) } else { bail!("the daemon ended: {status}") }
}

fn what_to_try(http: u16, tcp: u16, https: u16, origins: [SocketAddr; 2]) -> String {
    let [one, two] = origins;
    format!(
        "\n\
         Sockeye serves configs/quickstart.cfg. Its log is this terminal; its first lines say what the kernel\n\
         accelerates. Demo origins: {one} and {two}. In another terminal, try:\n\
         \n\
         \x20 curl http://127.0.0.1:{http}/                      HTTP, round robin: call it twice\n\
         \x20 curl -k https://127.0.0.1:{https}/                  TLS and HTTP/2, with a certificate made for this run\n\
         \x20 curl http://127.0.0.1:{http}/slow                  an answer that takes a second\n\
         \x20 curl -d 'some text' http://127.0.0.1:{http}/echo   a request with a body\n\
         \x20 curl -o /dev/null http://127.0.0.1:{http}/big      64 MiB, forwarded in the kernel\n\
         \x20 curl http://127.0.0.1:{tcp}/                      the same origins in mode tcp\n\
         \x20 a WebSocket client on ws://127.0.0.1:{http}/ws      what you send comes back\n\
         \n\
         Your own file: cargo xtask run -- -f my.cfg        Stop: Ctrl-C\n"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_daemon_that_was_stopped_has_done_well() {
        for (raw, well) in [
            (0, true),
            (2, true),
            (15, true),
            (130 << 8, true),
            (143 << 8, true),
            (1 << 8, false),
            (9, false),
        ] {
            assert_eq!(ended(ExitStatus::from_raw(raw)).is_ok(), well, "{raw}");
        }
    }
}
