//! The three proxies: their configurations, equal in what they do, and their processes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::affinity::Cpus;
use super::origin::Origins;
use super::rules;
use super::scenario::Setup;
use super::tls;

/// How often and how many times we look whether a proxy listens: 10 s in all.
const READY_INTERVAL: Duration = Duration::from_millis(20);
const READY_ATTEMPTS: u32 = 500;
/// How much of a failed proxy's output is shown.
const LAST_WORDS_BYTES: usize = 2000;
/// Client connections over HTTP; twice as many descriptors must be allowed.
const MAXCONN_HTTP: u32 = 8000;
/// Client connections over TCP: each may want two pipes as well.
const MAXCONN_TCP: u32 = 2000;

/// The certificate and its key, in the proxy's folder.
const CERTIFICATE: &str = "site.pem";

/// Which program, in which role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Haproxy,
    Nginx,
    Sockeye,
    /// Sockeye told to forward with sockmap.
    SockeyeSockmap,
}

/// One column of the comparison.
pub(super) struct Contender {
    pub(super) kind: Kind,
    pub(super) name: &'static str,
    command: Vec<String>,
}

impl Contender {
    pub(super) fn haproxy(command: &str) -> Self {
        Self::new(Kind::Haproxy, HAPROXY, command)
    }

    pub(super) fn nginx(command: &str) -> Self {
        Self::new(Kind::Nginx, NGINX, command)
    }

    pub(super) fn sockeye(command: &str) -> Self {
        Self::new(Kind::Sockeye, SOCKEYE, command)
    }

    pub(super) fn sockeye_sockmap(command: &str) -> Self {
        Self::new(Kind::SockeyeSockmap, SOCKEYE_SOCKMAP, command)
    }

    fn new(kind: Kind, name: &'static str, command: &str) -> Self {
        Self { kind, name, command: command.split_whitespace().map(str::to_owned).collect() }
    }

    /// The command with its arguments, as it was given.
    pub(super) fn line(&self) -> String {
        self.command.join(" ")
    }

    fn command(&self) -> Result<Command> {
        let (program, args) =
            self.command.split_first().with_context(|| format!("{}: no command", self.name))?;
        // The proxies run in folders of their own, so a path must not depend on ours.
        let program = if program.contains('/') { std::path::absolute(program)? } else { program.into() };
        let mut command = Command::new(program);
        command.args(args);
        Ok(command)
    }
}

/// The names of the columns.
pub(super) const HAPROXY: &str = "haproxy";
pub(super) const NGINX: &str = "nginx";
pub(super) const SOCKEYE: &str = "sockeye";
pub(super) const SOCKEYE_SOCKMAP: &str = "sockeye sockmap";

/// A running proxy. Dropping it stops it.
pub(super) struct Proxy {
    child: Child,
    addr: SocketAddr,
    folder: TempDir,
}

impl Proxy {
    /// Starts it on its own core, with a folder of its own for all that it writes.
    pub(super) fn start(contender: &Contender, setup: Setup, origins: &Origins, cpus: &Cpus) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir()?;
        let addr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let file = folder.path().join("proxy.cfg");
        let mut command = contender.command()?;
        if matches!(setup, Setup::Https | Setup::TlsBulk) {
            fs::write(folder.path().join(CERTIFICATE), &tls::identity()?.pem)?;
        }
        match contender.kind {
            Kind::Nginx => {
                let module = stream_module(contender)?;
                fs::write(&file, nginx_configuration(setup, addr, origins, folder.path(), &module))?;
                command.arg("-p").arg(folder.path()).arg("-e").arg("stderr").arg("-c").arg(&file);
            }
            kind => {
                let rules = match setup {
                    Setup::HttpRules { entries } => rules::write(folder.path(), entries)?,
                    _ => String::new(),
                };
                fs::write(&file, haproxy_configuration(setup, addr, origins, kind, &rules))?;
                command.arg("-db").arg("-f").arg(&file);
            }
        }
        let output = fs::File::create(folder.path().join("output"))?;
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child =
            cpus.on_proxy(|| command.spawn())?.with_context(|| format!("cannot start {}", contender.name))?;
        Ok(Self { child, addr, folder })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) async fn wait_ready(&mut self) -> Result<()> {
        for _ in 0..READY_ATTEMPTS {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {status}");
            }
            if TcpStream::connect(self.addr).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
        bail!("it does not listen on {}", self.addr)
    }

    /// The end of what the proxy has written.
    pub(super) fn last_words(&self) -> String {
        let text = fs::read(self.folder.path().join("output")).unwrap_or_default();
        let start = text.len().saturating_sub(LAST_WORDS_BYTES);
        format!("the proxy said: {}", String::from_utf8_lossy(&text[start..]).trim())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // TERM, not KILL: nginx's master then ends its workers too.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// The line that loads nginx's `stream` module, empty when it is built in.
fn stream_module(contender: &Contender) -> Result<String> {
    let output = contender.command()?.arg("-V").output().context("cannot start nginx")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !text.contains("--with-stream=dynamic") {
        return Ok(String::new());
    }
    let modules = text.split_whitespace().find_map(|word| word.strip_prefix("--modules-path="));
    Ok(format!("load_module {}/ngx_stream_module.so;\n", modules.unwrap_or("modules")))
}

/// The file that HAProxy and Sockeye both read.
fn haproxy_configuration(
    setup: Setup,
    addr: SocketAddr,
    origins: &Origins,
    kind: Kind,
    rules: &str,
) -> String {
    let sockmap = if kind == Kind::SockeyeSockmap { "    ebpf.splice sockmap\n" } else { "" };
    let log = match (setup, origins.log.local_addr()) {
        (Setup::HttpLogged, Ok(addr)) => format!("    log {addr} local0\n    option httplog\n"),
        _ => String::new(),
    };
    let (mode, maxconn, server) = match setup {
        Setup::Http | Setup::HttpLogged | Setup::HttpRules { .. } | Setup::Https => {
            ("http\n    http-reuse always", MAXCONN_HTTP, origins.http)
        }
        Setup::TlsBulk => ("tcp", MAXCONN_TCP, origins.bulk),
        Setup::Bulk => ("tcp\n    option splice-auto", MAXCONN_TCP, origins.bulk),
        Setup::Echo => ("tcp\n    option splice-auto", MAXCONN_TCP, origins.echo),
    };
    let ssl = match setup {
        Setup::Https => format!(" ssl crt {CERTIFICATE} alpn h2,http/1.1"),
        Setup::TlsBulk => format!(" ssl crt {CERTIFICATE}"),
        _ => String::new(),
    };
    format!(
        "global\n    nbthread 1\n    maxconn {maxconn}\n{sockmap}\
         defaults\n    mode {mode}\n{log}\
         \x20   timeout connect 5s\n    timeout client 5m\n    timeout server 5m\n\
         frontend load\n    bind {addr}{ssl}\n    maxconn {maxconn}\n{rules}    default_backend origin\n\
         backend origin\n    server one {server}\n"
    )
}

fn nginx_configuration(
    setup: Setup,
    addr: SocketAddr,
    origins: &Origins,
    folder: &Path,
    stream_module: &str,
) -> String {
    let folder = folder.display();
    let common = format!(
        "user root;\nworker_processes 1;\nworker_rlimit_nofile 19000;\ndaemon off;\n\
         pid {folder}/nginx.pid;\nerror_log stderr error;\nevents {{ worker_connections 18000; }}\n"
    );
    let ssl = format!(
        "ssl_certificate {folder}/{CERTIFICATE};\n    ssl_certificate_key {folder}/{CERTIFICATE};\n    \
         ssl_session_tickets on;\n"
    );
    let stream = |server: SocketAddr, tls: bool| {
        let (word, ssl) = if tls { (" ssl", &*ssl) } else { ("", "") };
        format!(
            "{stream_module}{common}stream {{\n  proxy_timeout 5m;\n  server {{\n    listen {addr}{word} backlog=1024;\n    {ssl}\
             tcp_nodelay on;\n    proxy_pass {server};\n  }}\n}}\n"
        )
    };
    let log = match (setup, origins.log.local_addr()) {
        (Setup::HttpLogged, Ok(addr)) => format!("access_log syslog:server={addr} combined"),
        _ => "access_log off".to_owned(),
    };
    match setup {
        Setup::Bulk => stream(origins.bulk, false),
        Setup::TlsBulk => stream(origins.bulk, true),
        Setup::Echo => stream(origins.echo, false),
        Setup::Http | Setup::HttpLogged | Setup::HttpRules { .. } | Setup::Https => {
            let (word, ssl) = if setup == Setup::Https {
                (" ssl", format!("http2 on;\n    {ssl}"))
            } else {
                ("", String::new())
            };
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let temporary = temporary.map(|name| format!("  {name}_temp_path {folder}/{name};\n")).concat();
            format!(
                "{common}http {{\n  {log};\n  keepalive_timeout 5m;\n  keepalive_requests 1000000000;\n{temporary}  \
                 upstream origin {{\n    server {server};\n    keepalive 64;\n    \
                 keepalive_requests 1000000000;\n  }}\n  \
                 server {{\n    listen {addr}{word} backlog=1024;\n    {ssl}location / {{\n      proxy_pass http://origin;\n      \
                 proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n    }}\n  }}\n}}\n",
                server = origins.http,
            )
        }
    }
}
